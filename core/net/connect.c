// SPDX-License-Identifier: Apache-2.0
// Connecting to an IP address of another server (resolve.h knows what a name means): shaking hands
// where there is TLS, making a client session. The time limit is for all of it.
//
// A `connecting` lives from conn_connect until libuv has called back for the attempt; `done` is
// called once and never from inside conn_connect.
#include "net/address.h"
#include "net/conn_state.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct connecting {
    struct loop_task task; // tells a failure later
    struct loop *loop;
    struct loop_timer timer;
    uv_connect_t connect;
    struct conn *conn; // the attempt under way
    bool told;
    struct err err;
    conn_client make;
    const struct http_events *events;
    struct http_limits limits;
    conn_done done;
    void *user;
    struct tls_context *tls; // NULL: plain
    char host[256];          // whom the certificate must be for
    char address[300];
};

static void free_connecting(struct connecting *w) {
    tls_context_drop(w->tls);
    free(w);
}

static void tell(struct connecting *w, struct conn *c) {
    if (w->told) return;
    w->told = true;
    loop_timer_clear(w->loop, &w->timer);
    w->done(w->loop, w->user, c, c == NULL ? &w->err : NULL);
}

static void fail(struct connecting *w) {
    tell(w, NULL);
    free_connecting(w);
}

static void run_fail(struct loop *loop, struct loop_task *task) {
    (void)loop;
    fail((struct connecting *)task); // its first field
}

static void fault(struct connecting *w, const char *what) {
    err_set(&w->err, STATUS_UNAVAILABLE, "cannot connect to %s: %s", w->address, what);
}

static struct connecting *let_go(struct conn *c) {
    struct connecting *w = c->connecting;
    w->conn = NULL;
    c->connecting = NULL;
    return w;
}

// The connection stands. False: there is no memory for its session.
static bool carry(struct connecting *w, struct conn *c) {
    struct http_session *h = w->make(w->events, &w->limits, w->user);
    if (h == NULL) return false;
    conn_carry(c, h);
    tell(w, c);
    free_connecting(w);
    return true;
}

// ---- the handshake: until connect_ready or on_lost, one of which comes

// The connection has ended, its memory has not.
static void on_lost(struct conn *c, void *user) {
    struct connecting *w = user;
    const char *why = c->tls == NULL ? "" : tls_fault(c->tls);
    let_go(c);
    if (w->err.code == 0) {
        fault(w, why[0] != '\0' ? why : "the server closed the connection during the handshake");
    }
    fail(w);
}

void connect_ready(struct conn *c) {
    struct connecting *w = let_go(c);
    conn_on_close(c, NULL, NULL);
    if (carry(w, c)) return;
    fault(w, uv_strerror(UV_ENOMEM));
    conn_close(c);
    fail(w);
}

// False: it cannot begin; nothing is left of it but the connection.
static bool shake_hands(struct connecting *w, struct conn *c) {
    c->tls = tls_new(w->tls, w->host);
    if (c->tls == NULL || !conn_tls_begin(c)) return false;
    c->connecting = w;
    w->conn = c;
    conn_on_close(c, on_lost, w);
    conn_read(c);
    return true;
}

static void on_connected(uv_connect_t *req, int status) {
    struct connecting *w =
        (struct connecting *)((char *)req - offsetof(struct connecting, connect));
    struct conn *c = w->conn;
    let_go(c);
    bool sound = status == 0 && !w->told && !c->is_closed;
    if (sound) {
        uv_tcp_nodelay(&c->tcp, 1);
        if (w->tls != NULL ? shake_hands(w, c) : carry(w, c)) return;
        status = UV_ENOMEM;
    }
    if (w->loop->state->stopping) {
        fault(w, "the server is stopping");
    } else if (w->err.code == 0 || status != UV_ECANCELED) {
        fault(w, uv_strerror(status));
    }
    conn_close(c);
    fail(w);
}

static void on_timeout(struct loop *loop, struct loop_timer *timer) {
    struct connecting *w =
        (struct connecting *)((char *)timer - offsetof(struct connecting, timer));
    (void)loop;
    fault(w, w->conn->tls != NULL ? "no TLS handshake in time" : "no answer in time");
    // What is under way calls back once more, finds `told`, and frees.
    tell(w, NULL);
    conn_close(w->conn);
}

// 0: on_connected or on_timeout will come.
static int attempt(struct connecting *w, const struct sockaddr *to) {
    struct conn *c = conn_alloc(w->loop);
    if (c == NULL) return UV_ENOMEM;
    int rc = uv_tcp_init(&w->loop->uv, &c->tcp);
    assert(rc == 0); // without a family it makes no socket and cannot fail
    conn_link(c);
    conn_set_peer(c, to);
    c->connecting = w;
    w->conn = c;
    rc = uv_tcp_connect(&w->connect, &c->tcp, to, on_connected);
    if (rc == 0) return 0;
    let_go(c);
    conn_close(c);
    return rc;
}

static int begin(struct connecting *w, int64_t timeout) {
    struct sockaddr_storage to;
    int rc = address_literal(w->address, &to, &w->err);
    if (rc < 0) return rc;
    if (w->loop->state->stopping) {
        fault(w, "the server is stopping");
        return -STATUS_UNAVAILABLE;
    }
    w->timer.fire = on_timeout;
    rc = loop_timer_set(w->loop, &w->timer, clock_now() + timeout);
    if (rc < 0) return err_set(&w->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    rc = attempt(w, (const struct sockaddr *)&to);
    if (rc == 0) return 0;
    loop_timer_clear(w->loop, &w->timer);
    fault(w, uv_strerror(rc));
    return -STATUS_UNAVAILABLE;
}

void conn_connect(struct loop *loop, const char *address, const struct conn_tls *tls,
                  const struct conn_side *side, conn_done done, void *user) {
    struct connecting *w = calloc(1, sizeof *w);
    if (w == NULL) {
        // Nothing to remember the caller by: the one case where it is told at once.
        struct err err;
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        done(loop, user, NULL, &err);
        return;
    }
    w->loop = loop;
    w->make = side->make;
    w->events = side->events;
    w->limits = side->limits == NULL ? HTTP_LIMITS : *side->limits;
    w->done = done;
    w->user = user;
    if (tls != NULL) w->tls = tls_context_hold(tls->context);
    if (w->tls != NULL) {
        assert(tls->host != NULL && tls->host[0] != '\0');
        snprintf(w->host, sizeof w->host, "%s", tls->host);
    }
    snprintf(w->address, sizeof w->address, "%s", address);
    if (begin(w, side->timeout) < 0) {
        w->task.run = run_fail;
        loop_post(loop, &w->task);
    }
}
