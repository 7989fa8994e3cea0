// SPDX-License-Identifier: Apache-2.0
// The reverse proxy: the port of an HTTP service elsewhere. It stands in the directory, and with it in routes, so it lives as long as
// a request of it is under way. Nothing is sent to it as a message: it has no methods. Any thread; nothing here changes
// after it is made.
#include "rpc/forward_state.h"

#include "base/clock.h"

#include <stdlib.h>

#define ADDRESSES_MOST 4000 // bytes
#define FIRST_BYTE (60 * NS_PER_SECOND)
#define IDLE (300 * NS_PER_SECOND)

static int refuse(struct port *port, struct message *m) {
    (void)port;
    (void)m;
    return -STATUS_UNIMPLEMENTED; // no method leads here
}

static void forward_delete(struct forward *f) {
    for (unsigned i = 0; i < f->count; i++) {
        if (f->pools[i] == NULL) continue;
        if (atomic_load(&f->detached)) {
            forward_pool_drop(f->pools[i]);
        } else {
            forward_pool_end(f->pools[i]);
        }
    }
    tls_context_drop(f->tls);
    free(f->addresses);
    free(f);
}

static void forward_free(struct port *port) {
    struct forward *f = (struct forward *)port;
    if (!atomic_load(&f->detached)) {
        pthread_mutex_lock(&f->server->lock);
        *f->link = f->next;
        if (f->next != NULL) f->next->link = f->link;
        pthread_mutex_unlock(&f->server->lock);
    }
    forward_delete(f);
}

static const struct port_ops FORWARD_OPS = {.send = refuse, .free = forward_free};

struct forward *forward_of(struct port *port) {
    return port != NULL && port->ops == &FORWARD_OPS ? (struct forward *)port : NULL;
}

static int make_tls(struct forward *f, const struct forward_options *options, struct err *err) {
    if (!options->tls) return 0;
    struct tls_options tls = {.http1 = true, .ca = {options->ca, "ca"}};
    f->tls = tls_context_new(&tls, err);
    return f->tls == NULL ? -(int)err->code : 0;
}

static int make_pools(struct forward *f, unsigned count, bool local, struct err *err) {
    for (; f->count < count; f->count++) {
        struct forward_pool *p = forward_pool_new(f, f->count, err);
        f->pools[f->count] = p;
        if (p == NULL) return -(int)err->code;
        p->peers.beyond = !local;
    }
    return 0;
}

struct port *rpc_forward(struct rpc_server *s, const struct forward_options *options,
                         struct err *err) {
    if (options->addresses.n == 0 || options->addresses.n > ADDRESSES_MOST) {
        err_set(err, STATUS_INVALID_ARGUMENT, "addresses: 1 to %d bytes", ADDRESSES_MOST);
        return NULL;
    }
    struct forward *f = calloc(1, sizeof *f + s->loop_count * sizeof(struct forward_pool *));
    if (f != NULL) f->addresses = strndup(options->addresses.p, options->addresses.n);
    if (f == NULL || f->addresses == NULL) {
        free(f);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    port_init(&f->port, &FORWARD_OPS);
    f->server = s;
    f->strip_prefix = options->strip_prefix;
    f->backend_host = options->backend_host;
    f->credentials = options->credentials;
    f->first_byte = options->first_byte > 0 ? options->first_byte : FIRST_BYTE;
    f->idle = options->idle > 0 ? options->idle : IDLE;
    if (make_tls(f, options, err) < 0 || make_pools(f, s->loop_count, options->local, err) < 0) {
        atomic_store(&f->detached, true); // nothing of it is in motion
        forward_delete(f);
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    f->next = s->forwards;
    f->link = &s->forwards;
    if (f->next != NULL) f->next->link = &f->next;
    s->forwards = f;
    pthread_mutex_unlock(&s->lock);
    return &f->port;
}

void forwards_release(struct rpc_server *s) {
    pthread_mutex_lock(&s->lock);
    while (s->forwards != NULL) {
        struct forward *f = s->forwards;
        s->forwards = f->next;
        atomic_store(&f->detached, true);
    }
    pthread_mutex_unlock(&s->lock);
}
