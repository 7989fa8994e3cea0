// SPDX-License-Identifier: Apache-2.0
// A port is where messages go: an instance's mailbox, a service's balancer, an I/O loop, a connection to another
// server, the core's own services. Who sends does not know which. Reference-counted; any thread may send.
#pragma once

#include <stdatomic.h>

struct message;
struct port;

struct port_ops {
    // Takes the message, whatever comes of it: 0, or a negative status when it was refused (full, stopped); then the
    // message is still the sender's, who answers its caller.
    int (*send)(struct port *port, struct message *m);
    void (*free)(struct port *port); // the last reference is gone
};

struct port {
    const struct port_ops *ops;
    atomic_uint refs;
};

void port_init(struct port *port, const struct port_ops *ops); // one reference, the caller's
struct port *port_hold(struct port *port);                     // NULL passes through
void port_drop(struct port *port);                             // NULL passes through
int port_send(struct port *port, struct message *m);
