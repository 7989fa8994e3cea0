// SPDX-License-Identifier: Apache-2.0
// The client side: a port whose requests go to a gRPC server elsewhere.
//
// A dial lives on one loop, chosen when it is made. Any thread sends: messages are queued and the loop is told once for many.
// On the loop: the first request connects; the connection is used for all calls and made anew when it has ended and
// there are calls to make. Calls that find no connection or no free stream wait in order.
//
// One address with the same TLS settings has one dial, shared by all who ask for it while somebody holds it. When the last reference goes, on whichever
// thread, the loop closes the connection and frees it. After the server is deleted (the loops have stopped) a dial
// only refuses; whoever drops it last frees it.
#include "rpc/dial.h"

#include "base/clock.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT (5 * NS_PER_SECOND)
#define ATTEMPTS 3

static struct dial *dial_of(struct port *port) { return (struct dial *)port; }

#define FROM_TASK(task, member) ((struct dial *)((char *)(task)-offsetof(struct dial, member)))

// ---- waiting calls

void dial_wait(struct dial *d, struct dial_call *c) {
    assert(!c->is_waiting);
    c->is_waiting = true;
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

// Every waiting call ends with this fault.
static void fail_waiting(struct dial *d, int status, const char *text) {
    while (d->waiting != NULL) {
        struct dial_call *c = d->waiting;
        dial_unwait(d, c);
        dial_call_fail(c, status, text);
    }
}

// The loop has stopped and the callers with it: nobody is left to answer.
static void forget_all(struct dial *d) {
    while (d->calls.count > 0) dial_call_delete(map_next(&d->calls, NULL)->value);
}

static void connect_now(struct dial *d);

static void start_waiting(struct dial *d) {
    if (d->waiting == NULL || d->connecting) return;
    if (d->conn == NULL) {
        connect_now(d);
        return;
    }
    if (conn_session(d->conn) == NULL) return; // closing: on_conn_closed comes back here
    while (d->waiting != NULL) {
        struct dial_call *c = d->waiting;
        dial_unwait(d, c);
        if (dial_call_start(c)) continue;
        // Put back in front: a stream that ends, or the connection's end, tries it again.
        c->next = d->waiting;
        if (d->waiting == NULL) d->waiting_end = &c->next;
        d->waiting = c;
        c->is_waiting = true;
        if (http_open_streams(conn_session(d->conn)) > 0) return;
        dial_unwait(d, c);
        if (++c->attempts < ATTEMPTS) {
            dial_wait(d, c);
            conn_close(d->conn);
            return;
        }
        dial_call_fail(c, STATUS_UNAVAILABLE, "the server takes no requests");
    }
}

static void on_conn_closed(struct conn *conn, void *user) {
    struct dial *d = user;
    if (d->conn == conn) d->conn = NULL;
    if (loop_is_current(d->loop)) dial_again(d);
}

static void on_connected(struct loop *loop, void *user, struct conn *conn, const struct err *err) {
    struct dial *d = user;
    d->connecting = false;
    if (!loop_is_current(loop) || atomic_load(&d->detached)) {
        forget_all(d);
    } else if (conn == NULL) {
        fail_waiting(d, err->code == STATUS_OK ? STATUS_UNAVAILABLE : (int)err->code, err->text);
    } else {
        d->conn = conn;
        conn_on_close(conn, on_conn_closed, d);
        start_waiting(d);
    }
    port_drop(&d->port);
}

static void connect_now(struct dial *d) {
    d->connecting = true;
    port_hold(&d->port);
    conn_connect(d->loop, d->address, &d->tls.conn, &DIAL_EVENTS, &HTTP_LIMITS, CONNECT_TIMEOUT, d,
                 on_connected, d);
}

static void run_retry(struct loop *loop, struct loop_task *task) {
    struct dial *d = FROM_TASK(task, retry);
    d->retry_posted = false;
    if (!loop_is_current(loop) || atomic_load(&d->detached)) {
        forget_all(d);
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
        forget_all(d);
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
    map_free(&d->calls);
    dial_tls_destroy(&d->tls);
    free(d);
}

static void unlink_dial(struct dial *d) { // holds the server's lock
    *d->link = d->next;
    if (d->next != NULL) d->next->link = d->link;
}

static void run_end(struct loop *loop, struct loop_task *task) {
    struct dial *d = FROM_TASK(task, end);
    if (!atomic_load(&d->detached)) {
        pthread_mutex_lock(&d->server->lock);
        unlink_dial(d);
        pthread_mutex_unlock(&d->server->lock);
    }
    if (d->conn != NULL && loop_is_current(loop)) {
        conn_on_close(d->conn, NULL, NULL);
        conn_close(d->conn);
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

static struct dial *find_dial(struct rpc_server *s, struct str address, struct str settings) {
    for (struct dial *d = s->dials; d != NULL; d = d->next) {
        if (str_is(address, d->address) && str_equal(settings, blob_str(d->tls.settings)) &&
            try_hold(&d->port))
            return d;
    }
    return NULL;
}

// Takes `tls` when it succeeds.
static struct dial *dial_new(struct rpc_server *s, struct str address, struct dial_tls *tls) {
    struct dial *d = calloc(1, sizeof *d + address.n + 1);
    if (d == NULL) return NULL;
    port_init(&d->port, &DIAL_OPS);
    memcpy(d->address, address.p, address.n);
    d->tls = *tls;
    *tls = (struct dial_tls){0};
    d->server = s;
    d->at = &s->loops[atomic_fetch_add(&s->next_dial, 1) % s->loop_count];
    d->loop = d->at->loop;
    d->task.run = run_inbox;
    d->retry.run = run_retry;
    d->end.run = run_end;
    d->waiting_end = &d->waiting;
    d->next = s->dials;
    d->link = &s->dials;
    if (d->next != NULL) d->next->link = &d->next;
    s->dials = d;
    return d;
}

// The dial that is there, or a new one. Making its TLS context takes time, so that is done without the lock.
static struct dial *get_dial(struct rpc_server *s, struct str address, struct str settings,
                             struct err *err) {
    struct dial_tls tls;
    pthread_mutex_lock(&s->lock);
    struct dial *d = find_dial(s, address, settings);
    pthread_mutex_unlock(&s->lock);
    if (d != NULL || dial_tls_create(&tls, settings, err) < 0) return d;
    pthread_mutex_lock(&s->lock);
    d = find_dial(s, address, settings);
    if (d == NULL) d = dial_new(s, address, &tls);
    pthread_mutex_unlock(&s->lock);
    dial_tls_destroy(&tls);
    if (d == NULL)
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory to dial %.*s", (int)address.n,
                address.p);
    return d;
}

struct port *rpc_dial_tls(struct rpc_server *s, struct str address, struct str settings,
                          struct err *err) {
    const char *colon = address.n == 0 ? NULL : memrchr(address.p, ':', address.n);
    if (colon == NULL || colon + 1 == address.p + address.n || address.n > 255) {
        err_set(err, STATUS_INVALID_ARGUMENT, "\"%.*s\" is no address: host:port is expected",
                (int)(address.n < 100 ? address.n : 100), address.p);
        return NULL;
    }
    struct dial *d = get_dial(s, address, settings, err);
    return d == NULL ? NULL : &d->port;
}

struct port *rpc_dial(struct rpc_server *s, struct str address, struct err *err) {
    return rpc_dial_tls(s, address, (struct str){"", 0}, err);
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
