// SPDX-License-Identifier: Apache-2.0
// The connections of a dial: addresses connected to, connections kept alive and closed. All on the dial's
// loop.
//
// Every address that is not left out (choice.h) is connected to as soon as there is a call, so that calls are spread over all
// of them; they wait only while none is OPEN. A connection is OPEN when the server's SETTINGS are here: before that nothing is
// sent, so a server that cannot be talked to has begun nothing, and its limit of streams is known. Where the limit is reached a
// further connection is made, up to DIAL_CONNS.
//
// Attempts that came to nothing leave the address out and are counted in peers.failures. When all addresses are left out they are all
// tried again, but only for calls that came after the last failure: one that has waited through it fails. So no call waits longer
// than one round of attempts, and a server that breaks off every connection is not connected to in a circle.
//
// Addresses that are gone (peers.h) finish their calls. Keep-alive: with calls open and nothing heard for `ping_after` a PING is sent, and without a sign of life
// for `ping_wait` the connection is given up. While only PINGs go to and fro they are sent every `ping_again`: gRPC servers take
// more than two in five minutes without data for an attack.
#include "rpc/dial.h"

#include "base/clock.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT (5 * NS_PER_SECOND)

static const struct rpc_dial_times DEFAULT_TIMES = {
    .ping_after = 30 * NS_PER_SECOND,
    .ping_wait = 10 * NS_PER_SECOND,
    .ping_again = 310 * NS_PER_SECOND,
    .idle = 240 * NS_PER_SECOND,
};

static const struct rpc_dial_times *times(const struct dial *d) {
    const struct rpc_dial_times *given = &d->server->options.dial_times;
    return given->idle > 0 ? given : &DEFAULT_TIMES;
}

// ---- addresses

// The connections of one that is gone take no more calls and end with those that they have.
static void retire(struct peer *peer) {
    struct dial_peer *p = (struct dial_peer *)peer;
    peer_choice(peer)->gone = true;
    for (struct dial_conn *dc = p->conns; dc != NULL; dc = dc->next) {
        if (dc->conn != NULL && conn_session(dc->conn) != NULL)
            http_shutdown(conn_session(dc->conn));
    }
    if (p->conns == NULL) peer_free(peer);
}

static struct dial *dial_of(struct peers *p) {
    return (struct dial *)((char *)p - offsetof(struct dial, peers));
}

static void on_resolving(struct peers *p) { port_hold(&dial_of(p)->port); }

static void on_settled(struct peers *p) {
    struct dial *d = dial_of(p);
    if (!loop_is_current(d->loop) || atomic_load(&d->detached)) dial_forget_all(d);
    dial_again(d);
    port_drop(&d->port);
}

static const struct peers_owner OWNER = {
    .peer_size = sizeof(struct dial_peer),
    .retire = retire,
    .begun = on_resolving,
    .settled = on_settled,
};

static struct dial_peer *peer_at(const struct dial *d, size_t i) {
    return (struct dial_peer *)d->peers.list[i];
}

// ---- a connection's states

static void set_timer(struct dial_conn *dc, int64_t at) {
    // Without memory it is only not looked after.
    loop_timer_set(dc->dial->loop, &dc->timer, at);
}

static void free_conn(struct dial_conn *dc) {
    struct dial_peer *p = dc->peer;
    loop_timer_clear(dc->dial->loop, &dc->timer);
    *dc->link = dc->next;
    if (dc->next != NULL) dc->next->link = dc->link;
    if (p->conns == NULL && peer_choice(&p->peer)->gone) peer_free(&p->peer);
    free(dc);
}

// From CONNECTING over GREETING and OPEN to ENDING; any of them may be left out.
static void become(struct dial_conn *dc, enum dial_state state) {
    bool was_opening = dc->state < DIAL_OPEN;
    if (state == dc->state) return;
    assert(state > dc->state);
    dc->state = state;
    if (was_opening && state >= DIAL_OPEN) {
        dc->peer->opening--;
        dc->dial->opening--;
    }
    if (state == DIAL_ENDING) dc->peer->alive--;
}

static void cannot_connect(struct dial_conn *dc, const struct err *err) {
    struct dial *d = dc->dial;
    const char *name = dc->peer->peer.name->address;
    d->peers.err = *err;
    if (d->peers.err.code == 0) d->peers.err.code = STATUS_UNAVAILABLE;
    if (strstr(err->text, name) == NULL)
        err_set(&d->peers.err, d->peers.err.code, "%.200s: %.250s", name, err->text);
    peer_unreachable(&dc->peer->peer);
}

// What a server that was reached and cannot be talked to may be.
static void no_greeting(const struct dial_conn *dc, struct err *err) {
    const char *fault = conn_fault(dc->conn);
    bool tls = dc->dial->tls.settings != NULL;
    if (fault[0] == '\0')
        fault = tls ? "is it a gRPC server?" : "is it a gRPC server, and without TLS?";
    err_set(err, STATUS_UNAVAILABLE,
            dc->silent
                ? "%.200s takes connections, but has no room for calls or does not speak "
                  "HTTP/2: %.200s"
                : "the connection to %.200s broke off before the server spoke HTTP/2: %.200s",
            dc->peer->peer.name->address, fault);
}

static void on_conn_closed(struct conn *conn, void *user) {
    struct dial_conn *dc = user;
    struct dial *d = dc->dial;
    (void)conn;
    if (dc->state == DIAL_GREETING) {
        struct err err = {0};
        no_greeting(dc, &err);
        cannot_connect(dc, &err);
    } else if (!dc->judged && (dc->lost || !dc->answered)) {
        err_set(&d->peers.err, STATUS_UNAVAILABLE, "the connection to %.200s broke off",
                dc->peer->peer.name->address);
        peer_unreachable(&dc->peer->peer);
    }
    become(dc, DIAL_ENDING);
    free_conn(dc);
    if (loop_is_current(d->loop)) dial_again(d);
}

static void on_timer(struct loop *loop, struct loop_timer *timer);

static void on_connected(struct loop *loop, void *user, struct conn *conn, const struct err *err) {
    struct dial_conn *dc = user;
    struct dial *d = dc->dial;
    bool over = !loop_is_current(loop) || atomic_load(&d->detached);
    if (conn != NULL) {
        dc->conn = conn;
        become(dc, DIAL_GREETING);
        conn_on_close(conn, on_conn_closed, dc);
        set_timer(dc, dc->since + CONNECT_TIMEOUT);
        if (peer_choice(&dc->peer->peer)->gone) http_shutdown(conn_session(conn));
    } else {
        if (!over) cannot_connect(dc, err);
        become(dc, DIAL_ENDING);
        free_conn(dc);
        if (over)
            dial_forget_all(d);
        else
            dial_again(d);
    }
    port_drop(&d->port);
}

static void connect_now(struct dial *d, struct dial_peer *p) {
    struct dial_conn *dc = calloc(1, sizeof *dc);
    if (dc == NULL) return; // tried again with the next call
    dc->dial = d;
    dc->peer = p;
    dc->since = loop_now(d->loop);
    dc->timer.fire = on_timer;
    dc->next = p->conns;
    dc->link = &p->conns;
    if (dc->next != NULL) dc->next->link = &dc->next;
    p->conns = dc;
    p->alive++;
    p->opening++;
    d->opening++;
    port_hold(&d->port);
    struct conn_tls tls = d->tls.conn;
    if (tls.host == NULL || tls.host[0] == '\0') tls.host = p->peer.name->host;
    const struct conn_side side = {http2_client_new, &DIAL_EVENTS, NULL, CONNECT_TIMEOUT};
    conn_connect(d->loop, p->peer.address, &tls, &side, on_connected, dc);
}

void pool_changed(struct http_session *session) {
    struct dial_conn *dc = http_session_user(session);
    enum http_room room = http_room(session);
    if (room == HTTP_ROOM_ENDING) {
        if (!dc->answered && !dc->judged) { // at once, so that the next attempt has its pause
            struct err err = {0};
            err_set(&err, STATUS_UNAVAILABLE, "%.200s takes no calls: it ends its connections",
                    dc->peer->peer.name->address);
            cannot_connect(dc, &err);
            dc->judged = true;
        }
        become(dc, DIAL_ENDING);
    } else if (room == HTTP_ROOM_FREE && dc->state == DIAL_GREETING) {
        become(dc, DIAL_OPEN);
        dc->since = clock_now();
        set_timer(dc, dc->since + times(dc->dial)->ping_after);
    }
    dial_again(dc->dial);
}

// ---- keep-alive

// When something is to be done about a connection with calls: a PING, or the end of waiting for its answer.
static int64_t due_of_busy(const struct dial_conn *dc) {
    const struct rpc_dial_times *t = times(dc->dial);
    int64_t heard = conn_heard(dc->conn);
    if (dc->pinged >= heard && dc->pinged != 0) return dc->pinged + t->ping_wait;
    int64_t quiet = heard > dc->since ? heard : dc->since;
    return quiet + (dc->pinged == 0 || dc->said ? t->ping_after : t->ping_again);
}

static void look_after_busy(struct dial_conn *dc, int64_t now) {
    if (dc->pinged >= conn_heard(dc->conn) && dc->pinged != 0) {
        dc->silent = true;
        conn_close(dc->conn);
        return;
    }
    dc->pinged = now;
    dc->said = false;
    http_ping(conn_session(dc->conn));
}

static void on_timer(struct loop *loop, struct loop_timer *timer) {
    struct dial_conn *dc = (struct dial_conn *)((char *)timer - offsetof(struct dial_conn, timer));
    const struct rpc_dial_times *t = times(dc->dial);
    int64_t now = loop_now(loop);
    if (dc->state == DIAL_GREETING) {
        dc->silent = true;
        conn_close(dc->conn);
        return;
    }
    if (conn_session(dc->conn) == NULL) return; // closing
    int64_t due = dc->calls > 0 ? due_of_busy(dc) : dc->since + t->idle;
    if (due <= now && dc->calls > 0) {
        look_after_busy(dc, now);
        if (dc->silent) return;
        due = due_of_busy(dc);
    } else if (due <= now) {
        dc->judged = true; // not the server's fault, whether it had any calls or not
        become(dc, DIAL_ENDING);
        http_shutdown(conn_session(dc->conn));
        due = now + t->ping_after;
    }
    // At least so often, since traffic does not move the timer.
    set_timer(dc, due < now + t->ping_after ? due : now + t->ping_after);
}

// ---- calls

void pool_call_begun(struct dial_conn *dc) {
    if (dc->calls++ == 0) {
        dc->since = loop_now(dc->dial->loop);
        dc->pinged = 0;
    }
    peer_choice(&dc->peer->peer)->calls++;
}

void pool_call_closed(struct dial_conn *dc) {
    assert(dc->calls > 0);
    if (--dc->calls == 0) dc->since = clock_now();
    peer_choice(&dc->peer->peer)->calls--;
}

static struct dial_conn *conn_with_room(const struct dial_peer *p) {
    for (struct dial_conn *dc = p->conns; dc != NULL; dc = dc->next) {
        if (dc->state != DIAL_OPEN || conn_session(dc->conn) == NULL) continue;
        if (http_room(conn_session(dc->conn)) == HTTP_ROOM_FREE) return dc;
    }
    return NULL;
}

struct dial_conn *pool_pick(struct dial *d) {
    struct dial_conn *with_room[PEERS_MOST];
    struct peers *p = &d->peers;
    for (size_t i = 0; i < p->count; i++) {
        with_room[i] = conn_with_room(peer_at(d, i));
        p->choices[i].room = with_room[i] != NULL;
    }
    size_t i = choice_pick(p->choices, p->count, &p->turn, loop_now(d->loop));
    return i < p->count ? with_room[i] : NULL;
}

// Is there something to wait for: an attempt under way, or a connection whose streams may become free?
static bool hopeful(const struct dial *d) {
    if (d->opening > 0 || d->peers.resolving > 0) return true;
    for (size_t i = 0; i < d->peers.count; i++)
        if (peer_at(d, i)->alive > 0) return true;
    return false;
}

static void connect_peers(struct dial *d, bool all) {
    int64_t now = loop_now(d->loop);
    peers_resolve(&d->peers, all);
    for (size_t i = 0; i < d->peers.count; i++) {
        struct dial_peer *p = peer_at(d, i);
        const struct choice *choice = &d->peers.choices[i];
        if (choice->gone || (!all && choice_is_out(choice, now))) continue;
        bool full = d->waiting != NULL && p->opening == 0 && p->alive < DIAL_CONNS &&
                    conn_with_room(p) == NULL;
        if (p->alive > 0 && !full) continue;
        peer_renew(&p->peer);
        connect_now(d, p);
    }
}

// The calls that have waited through a failure end with it.
static void fail_disappointed(struct dial *d) {
    struct dial_call *next;
    for (struct dial_call *c = d->waiting; c != NULL; c = next) {
        next = c->next;
        if (c->failures == d->peers.failures) continue;
        dial_unwait(d, c);
        dial_call_fail_unbegun(c, (int)d->peers.err.code, d->peers.err.text);
    }
}

void pool_connect(struct dial *d) {
    connect_peers(d, false);
    if (d->waiting == NULL || hopeful(d)) return;
    fail_disappointed(d);
    if (d->waiting != NULL) connect_peers(d, true);
}

// ---- life

int pool_create(struct dial *d, struct err *err) {
    return peers_create(&d->peers, &OWNER, d->address, err);
}

void pool_destroy(struct dial *d) {
    while (d->peers.count > 0) {
        struct dial_peer *p = peer_at(d, d->peers.count - 1);
        for (struct dial_conn *dc = p->conns, *next; dc != NULL; dc = next) {
            next = dc->next;
            conn_on_close(dc->conn, NULL, NULL);
            conn_close(dc->conn); // its streams are nobody's; they close at once
            loop_timer_clear(d->loop, &dc->timer);
            free(dc);
        }
        p->conns = NULL;
        peer_free(&p->peer);
    }
    peers_destroy(&d->peers);
}
