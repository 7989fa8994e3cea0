// SPDX-License-Identifier: Apache-2.0
#include "msg/message.h"

#include <assert.h>
#include <stddef.h>

void port_init(struct port *port, const struct port_ops *ops) {
    port->ops = ops;
    atomic_init(&port->refs, 1);
}

struct port *port_hold(struct port *port) {
    if (port != NULL) atomic_fetch_add_explicit(&port->refs, 1, memory_order_relaxed);
    return port;
}

void port_drop(struct port *port) {
    if (port == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&port->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) port->ops->free(port);
}

int port_send(struct port *port, struct message *m) {
    blob_mark_body(m->body);
    return port->ops->send(port, m);
}
