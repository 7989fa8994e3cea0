// SPDX-License-Identifier: Apache-2.0
// Connecting to another server: resolve (on libuv's threads), try the addresses one after the
// other, shake hands where there is TLS, make an HTTP/2 client session. The time limit is for all of
// it. A server that was reached and whose handshake fails is the answer: no other address is tried.
//
// A `connecting` lives from conn_connect until libuv has called back for everything begun; `done`
// is called once and never from inside conn_connect.
#include "net/address.h"
#include "net/conn_state.h"

#include "base/clock.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

struct connecting {
    struct loop_task task; // tells a failure later
    struct loop *loop;
    struct loop_timer timer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    struct addrinfo *list, *next; // all addresses, and the one to try next
    struct conn *conn;            // the attempt under way
    bool told;
    struct err err;
    const struct http_events *events;
    struct http_limits limits;
    void *session_user;
    conn_done done;
    void *user;
    struct tls_context *tls; // NULL: plain
    char host[256];          // whom the certificate must be for
    char address[300];
};

static void free_connecting(struct connecting *w) {
    if (w->list != NULL) uv_freeaddrinfo(w->list);
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

static void on_connected(uv_connect_t *req, int status);

static void try_next(struct connecting *w) {
    while (w->next != NULL && !w->told && !w->loop->state->stopping) {
        struct addrinfo *ai = w->next;
        w->next = ai->ai_next;
        struct conn *c = conn_alloc(w->loop);
        if (c == NULL) break;
        int rc = uv_tcp_init(&w->loop->uv, &c->tcp);
        assert(rc == 0); // without a family it makes no socket and cannot fail
        conn_link(c);
        conn_set_peer(c, ai->ai_addr);
        c->connecting = w;
        w->conn = c;
        rc = uv_tcp_connect(&w->connect, &c->tcp, ai->ai_addr, on_connected);
        if (rc == 0) return;
        fault(w, uv_strerror(rc));
        w->conn = NULL;
        c->connecting = NULL;
        conn_close(c);
    }
    if (w->loop->state->stopping) fault(w, "the server is stopping");
    if (w->err.code == 0) fault(w, "no address");
    fail(w);
}

static struct connecting *let_go(struct conn *c) {
    struct connecting *w = c->connecting;
    w->conn = NULL;
    c->connecting = NULL;
    return w;
}

// The connection stands. False: there is no memory for its session.
static bool carry(struct connecting *w, struct conn *c) {
    struct http_session *h = http2_client_new(w->events, &w->limits, w->session_user);
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
    if (w->err.code == 0 || status != UV_ECANCELED) fault(w, uv_strerror(status));
    conn_close(c);
    try_next(w);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list) {
    struct connecting *w =
        (struct connecting *)((char *)req - offsetof(struct connecting, resolve));
    w->list = w->next = list;
    if (status != 0) fault(w, uv_strerror(status));
    try_next(w);
}

static void on_timeout(struct loop *loop, struct loop_timer *timer) {
    struct connecting *w =
        (struct connecting *)((char *)timer - offsetof(struct connecting, timer));
    (void)loop;
    bool shaking = w->conn != NULL && w->conn->tls != NULL;
    fault(w, shaking ? "no TLS handshake in time" : "no answer in time");
    // What is under way calls back once more, finds `told`, and frees.
    if (w->conn != NULL) {
        tell(w, NULL);
        conn_close(w->conn);
    } else {
        uv_cancel((uv_req_t *)&w->resolve);
        tell(w, NULL);
    }
}

static int begin(struct connecting *w, int64_t timeout) {
    struct address a;
    int rc = address_split(w->address, &a, &w->err);
    if (rc < 0) return rc;
    if (w->loop->state->stopping) {
        fault(w, "the server is stopping");
        return -STATUS_UNAVAILABLE;
    }
    w->timer.fire = on_timeout;
    if (w->host[0] == '\0')
        snprintf(w->host, sizeof w->host, "%s", a.host[0] == '\0' ? "localhost" : a.host);
    rc = loop_timer_set(w->loop, &w->timer, clock_now() + timeout);
    if (rc < 0) return err_set(&w->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    rc = uv_getaddrinfo(&w->loop->uv, &w->resolve, on_resolved,
                        a.host[0] == '\0' ? "localhost" : a.host, a.port, &hints);
    if (rc == 0) return 0;
    loop_timer_clear(w->loop, &w->timer);
    fault(w, uv_strerror(rc));
    return -STATUS_UNAVAILABLE;
}

void conn_connect(struct loop *loop, const char *address, const struct conn_tls *tls,
                  const struct http_events *events, const struct http_limits *limits,
                  int64_t timeout, void *session_user, conn_done done, void *user) {
    struct connecting *w = calloc(1, sizeof *w);
    if (w == NULL) {
        // Nothing to remember the caller by: the one case where it is told at once.
        struct err err;
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        done(loop, user, NULL, &err);
        return;
    }
    w->loop = loop;
    w->events = events;
    w->limits = limits == NULL ? HTTP_LIMITS : *limits;
    w->session_user = session_user;
    w->done = done;
    w->user = user;
    if (tls != NULL) w->tls = tls_context_hold(tls->context);
    if (tls != NULL && tls->host != NULL) snprintf(w->host, sizeof w->host, "%s", tls->host);
    snprintf(w->address, sizeof w->address, "%s", address);
    if (begin(w, timeout) < 0) {
        w->task.run = run_fail;
        loop_post(loop, &w->task);
    }
}
