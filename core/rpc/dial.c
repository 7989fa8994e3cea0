// SPDX-License-Identifier: Apache-2.0
// The client side: a port whose requests go to a gRPC server elsewhere.
//
// A dial lives on one loop, chosen when it is made. Any thread sends: messages are queued and the loop is told once for many.
// On the loop: connections are made and chosen by dial_pool.c. Calls that find no connection or no free stream wait in order.
//
// A list of addresses with the same TLS settings has one dial, shared by all who ask for it while somebody holds it. When the last reference goes, on
// whichever thread, the loop closes the connections and frees it. After the server is deleted (the loops have stopped) a dial
// only refuses; whoever drops it last frees it.
#include "rpc/dial.h"

#include "base/clock.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define ADDRESS_MOST 2000 // bytes of a list of addresses

static struct dial *dial_of(struct port *port) { return (struct dial *)port; }

#define FROM_TASK(task, member) ((struct dial *)((char *)(task)-offsetof(struct dial, member)))

// ---- waiting calls

void dial_wait(struct dial *d, struct dial_call *c) {
    assert(!c->is_waiting);
    c->is_waiting = true;
    c->failures = d->peers.failures;
    c->next = NULL;
    *d->waiting_end = c;
    d->waiting_end = &c->next;
}

void dial_unwait(struct dial *d, struct dial_call *c) {
    if (!c->is_waiting) return;
    struct dial_call **at = &d->waiting;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    if (*at == NULL) d->waiting_end = at;
    c->is_waiting = false;
}

void dial_forget_all(struct dial *d) {
    while (d->calls.count > 0) dial_call_delete(dial_table_any(&d->calls));
}

static void start_waiting(struct dial *d) {
    while (d->waiting != NULL) {
        struct dial_conn *dc = pool_pick(d);
        if (dc == NULL) break;
        struct dial_call *c = d->waiting;
        dial_unwait(d, c);
        dial_call_start(c, dc);
    }
    pool_connect(d);
}

static void run_retry(struct loop *loop, struct loop_task *task) {
    struct dial *d = FROM_TASK(task, retry);
    d->retry_posted = false;
    if (!loop_is_current(loop) || atomic_load(&d->detached)) {
        dial_forget_all(d);
    } else {
        start_waiting(d);
    }
    port_drop(&d->port);
}

void dial_again(struct dial *d) {
    if (d->waiting == NULL || d->retry_posted) return;
    d->retry_posted = true;
    port_hold(&d->port);
    loop_post(d->loop, &d->retry);
}

// ---- the port

static void run_inbox(struct loop *loop, struct loop_task *task) {
    struct dial *d = FROM_TASK(task, task);
    struct mpsc_node *node = mpsc_take(&d->inbox);
    if (!loop_is_current(loop) || atomic_load(&d->detached)) {
        message_delete_chain(node);
        dial_forget_all(d);
    } else {
        while (node != NULL) {
            struct mpsc_node *next = node->next;
            dial_call_message(d, message_of(node));
            node = next;
        }
        start_waiting(d);
    }
    port_drop(&d->port);
}

static int dial_send(struct port *port, struct message *m) {
    struct dial *d = dial_of(port);
    if (atomic_load(&d->detached)) return -STATUS_UNAVAILABLE;
    if (mpsc_push(&d->inbox, &m->link)) {
        port_hold(port); // the task's
        loop_post(d->loop, &d->task);
    }
    return 0;
}

static void dial_destroy(struct dial *d) {
    assert(d->calls.count == 0 && d->waiting == NULL);
    message_delete_chain(mpsc_take(&d->inbox));
    pool_destroy(d);
    dial_table_free(&d->calls);
    dial_tls_destroy(&d->tls);
    free(d);
}

static void unlink_dial(struct dial *d) { // holds the server's lock
    *d->link = d->next;
    if (d->next != NULL) d->next->link = d->link;
}

static void run_end(struct loop *loop, struct loop_task *task) {
    struct dial *d = FROM_TASK(task, end);
    (void)loop;
    if (!atomic_load(&d->detached)) {
        pthread_mutex_lock(&d->server->lock);
        unlink_dial(d);
        pthread_mutex_unlock(&d->server->lock);
    }
    dial_destroy(d);
}

static void dial_free(struct port *port) {
    struct dial *d = dial_of(port);
    if (atomic_load(&d->detached)) {
        dial_destroy(d);
    } else {
        loop_post(d->loop, &d->end);
    }
}

static const struct port_ops DIAL_OPS = {.send = dial_send, .free = dial_free};

// ---- making and finding

// A reference, unless the last one has gone already.
static bool try_hold(struct port *port) {
    unsigned refs = atomic_load(&port->refs);
    while (refs > 0) {
        if (atomic_compare_exchange_weak(&port->refs, &refs, refs + 1)) return true;
    }
    return false;
}

static struct dial *find_dial(struct rpc_server *s, const struct dial_spec *spec) {
    for (struct dial *d = s->dials; d != NULL; d = d->next) {
        if (spec->at != NULL && d->at != spec->at) continue;
        if (d->peers.beyond == spec->beyond && str_is(spec->address, d->address) &&
            str_equal(spec->settings, blob_str(d->tls.settings)) && try_hold(&d->port))
            return d;
    }
    return NULL;
}

// Takes `tls` when it succeeds. Holds the server's lock.
static struct dial *dial_new(struct rpc_server *s, const struct dial_spec *spec,
                             struct dial_tls *tls, struct err *err) {
    struct str address = spec->address;
    struct dial *d = calloc(1, sizeof *d + address.n + 1);
    if (d == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory to dial %.*s", (int)address.n,
                address.p);
        return NULL;
    }
    port_init(&d->port, &DIAL_OPS);
    memcpy(d->address, address.p, address.n);
    d->server = s;
    d->waiting_end = &d->waiting;
    if (pool_create(d, err) < 0) {
        dial_destroy(d);
        return NULL;
    }
    d->tls = *tls;
    *tls = (struct dial_tls){0};
    d->at = spec->at;
    if (d->at == NULL) d->at = &s->loops[atomic_fetch_add(&s->next_dial, 1) % s->loop_count];
    d->loop = d->peers.loop = d->at->loop;
    d->peers.beyond = spec->beyond;
    d->task.run = run_inbox;
    d->retry.run = run_retry;
    d->end.run = run_end;
    d->next = s->dials;
    d->link = &s->dials;
    if (d->next != NULL) d->next->link = &d->next;
    s->dials = d;
    return d;
}

// The dial that is there, or a new one. Making its TLS context takes time, so that is done without the lock.
static struct dial *get_dial(struct rpc_server *s, const struct dial_spec *spec, struct err *err) {
    struct dial_tls tls;
    pthread_mutex_lock(&s->lock);
    struct dial *d = find_dial(s, spec);
    pthread_mutex_unlock(&s->lock);
    if (d != NULL || dial_tls_create(&tls, spec->settings, err) < 0) return d;
    pthread_mutex_lock(&s->lock);
    d = find_dial(s, spec);
    if (d == NULL) d = dial_new(s, spec, &tls, err);
    pthread_mutex_unlock(&s->lock);
    dial_tls_destroy(&tls);
    return d;
}

struct port *dial_get(struct rpc_server *s, const struct dial_spec *spec, struct err *err) {
    struct str address = spec->address;
    if (address.n == 0 || address.n > ADDRESS_MOST) {
        err_set(err, STATUS_INVALID_ARGUMENT, "an address is host:port, at most %d bytes in all",
                ADDRESS_MOST);
        return NULL;
    }
    struct dial *d = get_dial(s, spec, err);
    return d == NULL ? NULL : &d->port;
}

struct port *rpc_dial(struct rpc_server *s, struct str address, struct err *err) {
    return dial_get(s, &(struct dial_spec){.address = address}, err);
}

struct port *rpc_dial_tls(struct rpc_server *s, struct str address, struct str settings,
                          struct err *err) {
    return dial_get(s, &(struct dial_spec){.address = address, .settings = settings}, err);
}

void dials_release(struct rpc_server *s) {
    pthread_mutex_lock(&s->lock);
    while (s->dials != NULL) {
        struct dial *d = s->dials;
        unlink_dial(d);
        d->server = NULL;
        d->at = NULL;
        atomic_store(&d->detached, true);
    }
    pthread_mutex_unlock(&s->lock);
}
