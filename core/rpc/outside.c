// SPDX-License-Identifier: Apache-2.0
// A service that runs elsewhere: a port over one dial a loop.
//
// A call from a front door uses the dial of its own loop, so that it is never handed to another thread: request, answer and
// both connections are touched by one. A caller that is no loop (a VM) always uses the same one, found by its reply port:
// all messages of a call must take the same way, and the callee knows a call by (reply port, number).
//
// Any thread sends; nothing here changes after it is made. Which of several addresses a call goes to is the dial's choice.
#include "rpc/outside.h"

#include "rpc/call.h"
#include "rpc/dial.h"

#include <assert.h>
#include <stdlib.h>

struct outside {
    struct port port; // first
    void *keep;
    void (*drop)(void *keep);
    struct rpc_server *server;
    unsigned count;       // of loops
    struct port *dials[]; // by loop
};

static unsigned loop_of(const struct outside *o, const struct port *reply) {
    for (unsigned i = 0; i < o->count; i++) {
        if (reply == &o->server->loops[i].loop->port) return i;
    }
    assert(o->count > 0);
    return (unsigned)(((uintptr_t)reply >> 6) % o->count);
}

static int outside_send(struct port *port, struct message *m) {
    struct outside *o = (struct outside *)port;
    return port_send(o->dials[loop_of(o, m->reply)], m);
}

static void outside_free(struct port *port) {
    struct outside *o = (struct outside *)port;
    for (unsigned i = 0; i < o->count; i++) port_drop(o->dials[i]);
    if (o->drop != NULL) o->drop(o->keep);
    free(o);
}

static const struct port_ops OUTSIDE_OPS = {.send = outside_send, .free = outside_free};

struct port *rpc_outside(struct rpc_server *s, const struct outside_options *options,
                         struct err *err) {
    struct outside *o = calloc(1, sizeof *o + s->loop_count * sizeof(struct port *));
    if (o == NULL) {
        if (options->drop != NULL) options->drop(options->keep);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    port_init(&o->port, &OUTSIDE_OPS);
    o->keep = options->keep;
    o->drop = options->drop;
    o->server = s;
    for (; o->count < s->loop_count; o->count++) {
        struct dial_spec spec = {
            .at = &s->loops[o->count], .address = options->addresses, .beyond = !options->local};
        o->dials[o->count] = dial_get(s, &spec, err);
        if (o->dials[o->count] == NULL) {
            port_drop(&o->port);
            return NULL;
        }
    }
    return &o->port;
}
