// SPDX-License-Identifier: Apache-2.0
// The reverse proxy: connections to the addresses of a service, of one loop. All on that loop but forward_pool_end.
//
// A connection carries one request at a time. Requests wait in order for one; waiting and connecting are looked at in a turn of
// the loop of their own (`turn`), off the sessions' stacks, when the head of a request has been read with what came with
// it. Of the addresses that are not left out (choice.h) the one with the fewest connections at work is taken; where it has
// none that is free, one is made, and one that is free elsewhere serves meanwhile.
//
// Kept connections are closed after KEEP, before most servers do that (5 seconds is common), or before the time that the
// server's own `keep-alive: timeout=` says: a request on a connection that the server closes at that moment would be lost.
//
// Where all addresses have failed, the requests that have waited through it end; those that came later try again. The end: the forward
// goes with its last request, the connections are closed, and the pool is freed when nothing calls back any more
// (`pending`).
#include "rpc/forward_state.h"

#include "base/clock.h"
#include "base/random.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT (5 * NS_PER_SECOND)
#define KEEP (4 * NS_PER_SECOND)
#define SWEEP NS_PER_SECOND

#define FROM(p, member) ((struct forward_pool *)((char *)(p)-offsetof(struct forward_pool, member)))

// It takes no more requests; closes when it has none.
static void dismiss(struct forward_conn *c) {
    struct http_session *h = c->conn == NULL ? NULL : conn_session(c->conn);
    if (h != NULL) http_shutdown(h);
}

static struct forward_peer *peer_at(const struct forward_pool *p, size_t i) {
    return (struct forward_peer *)p->peers.list[i];
}

static void pool_free(struct forward_pool *p) {
    while (p->peers.count > 0) peer_free(p->peers.list[p->peers.count - 1]);
    peers_destroy(&p->peers);
    free(p);
}

static void settle(struct forward_pool *p) {
    assert(p->pending > 0);
    if (--p->pending == 0) pool_free(p);
}

// ---- turns

static void run_turn(struct loop *loop, struct loop_task *task);

static void turn_soon(struct forward_pool *p) {
    if (p->turn_posted || p->ended) return;
    p->turn_posted = true;
    p->pending++;
    loop_post(p->loop, &p->turn);
}

// ---- idle connections

static void idle_remove(struct forward_conn *c) {
    if (c->idle_link == NULL) return;
    *c->idle_link = c->next_idle;
    if (c->next_idle != NULL) c->next_idle->idle_link = c->idle_link;
    c->idle_link = NULL;
}

static void sweep(struct loop *loop, struct loop_timer *timer) {
    struct forward_pool *p = FROM(timer, sweep);
    int64_t now = loop_now(loop);
    p->sweeping = false;
    for (size_t i = 0; i < p->peers.count; i++) {
        struct forward_conn *next;
        for (struct forward_conn *c = peer_at(p, i)->idle; c != NULL; c = next) {
            next = c->next_idle;
            if (now - c->idle_since < c->keep) {
                p->sweeping = true;
                continue;
            }
            idle_remove(c);
            dismiss(c);
        }
    }
    if (p->sweeping) loop_timer_set(loop, timer, now + SWEEP);
}

static void idle_add(struct forward_conn *c) {
    struct forward_pool *p = c->pool;
    struct forward_peer *peer = c->peer;
    c->idle_since = loop_now(p->loop);
    c->next_idle = peer->idle;
    c->idle_link = &peer->idle;
    if (c->next_idle != NULL) c->next_idle->idle_link = &c->next_idle;
    peer->idle = c;
    if (p->sweeping) return;
    p->sweeping = true;
    loop_timer_set(p->loop, &p->sweep, c->idle_since + SWEEP); // without memory they stay
}

// ---- connections

static void free_conn(struct forward_conn *c) {
    struct forward_peer *peer = c->peer;
    idle_remove(c);
    *c->link = c->next;
    if (c->next != NULL) c->next->link = c->link;
    peer->count--;
    if (peer->conns == NULL && peer_choice(&peer->peer)->gone) peer_free(&peer->peer);
    free(c);
}

static void on_conn_closed(struct conn *conn, void *user) {
    struct forward_conn *c = user;
    struct forward_pool *p = c->pool;
    (void)conn;
    free_conn(c);
    if (loop_is_current(p->loop) && p->waiting != NULL) turn_soon(p);
    settle(p);
}

static void cannot_connect(struct forward_pool *p, struct forward_peer *peer,
                           const struct err *err) {
    const char *name = peer->peer.name->address;
    bool named = strstr(err->text, name) != NULL;
    err_set(&p->peers.err, STATUS_UNAVAILABLE, "%.200s%s%.250s", named ? "" : name,
            named ? "" : ": ", err->text);
    peer_unreachable(&peer->peer);
}

static void on_connected(struct loop *loop, void *user, struct conn *conn, const struct err *err) {
    struct forward_conn *c = user;
    struct forward_pool *p = c->pool;
    bool current = loop_is_current(loop);
    p->opening--;
    peer_choice(&c->peer->peer)->calls--;
    if (conn == NULL) {
        if (current) cannot_connect(p, c->peer, err);
        free_conn(c);
        if (current) turn_soon(p);
        settle(p);
        return;
    }
    c->conn = conn;
    conn_on_close(conn, on_conn_closed, c);
    if (p->ended || peer_choice(&c->peer->peer)->gone) {
        dismiss(c);
    } else {
        idle_add(c);
    }
    turn_soon(p);
}

static void connect_peer(struct forward_pool *p, struct forward_peer *peer) {
    struct forward_conn *c = calloc(1, sizeof *c);
    if (c == NULL) return; // tried again with the next request
    *c = (struct forward_conn){
        .pool = p, .peer = peer, .next = peer->conns, .link = &peer->conns, .keep = KEEP};
    if (c->next != NULL) c->next->link = &c->next;
    peer->conns = c;
    peer->count++;
    p->opening++;
    p->pending++; // until the connection has closed
    peer_choice(&peer->peer)->calls++;
    peer_renew(&peer->peer);
    struct conn_tls tls = {p->forward->tls, peer->peer.name->host};
    const struct conn_side side = {http1_client_new, &FORWARD_EVENTS, NULL, CONNECT_TIMEOUT};
    conn_connect(p->loop, peer->peer.address, &tls, &side, on_connected, c);
}

static bool keeps(const struct forward_conn *c) {
    struct http_session *h = c->conn == NULL ? NULL : conn_session(c->conn);
    return h != NULL && http_room(h) == HTTP_ROOM_FREE && !c->pool->ended &&
           !peer_choice(&c->peer->peer)->gone && c->keep > 0;
}

void forward_conn_done(struct forward_conn *c) {
    c->call = NULL;
    c->used = true;
    peer_choice(&c->peer->peer)->calls--;
    if (keeps(c)) {
        idle_add(c);
    } else {
        dismiss(c);
    }
    if (c->pool->waiting != NULL) turn_soon(c->pool);
}

// ---- requests that wait

bool forward_wait(struct forward_call *fc) {
    struct forward_pool *p = fc->pool;
    if (p->waiting_count >= FORWARD_WAITING) return false;
    fc->is_waiting = true;
    fc->failures = p->peers.failures;
    fc->next = NULL;
    *p->waiting_end = fc;
    p->waiting_end = &fc->next;
    p->waiting_count++;
    turn_soon(p);
    return true;
}

void forward_unwait(struct forward_call *fc) {
    struct forward_pool *p = fc->pool;
    if (!fc->is_waiting) return;
    struct forward_call **at = &p->waiting;
    while (*at != fc) at = &(*at)->next;
    *at = fc->next;
    if (*at == NULL) p->waiting_end = at;
    fc->is_waiting = false;
    p->waiting_count--;
}

static void fail_disappointed(struct forward_pool *p) {
    struct forward_call *next;
    for (struct forward_call *fc = p->waiting; fc != NULL; fc = next) {
        next = fc->next;
        if (fc->failures == p->peers.failures) continue;
        forward_unwait(fc);
        forward_unreachable(fc, p->peers.err.text);
    }
}

static void start_first(struct forward_pool *p, struct forward_conn *c) {
    struct forward_call *fc = p->waiting;
    idle_remove(c);
    forward_unwait(fc);
    c->call = fc;
    peer_choice(&c->peer->peer)->calls++;
    forward_start(fc, c);
}

// The server may have closed some of them a moment ago.
static struct forward_conn *idle_of(struct forward_peer *peer) {
    while (peer->idle != NULL && !keeps(peer->idle)) idle_remove(peer->idle);
    return peer->idle;
}

// The best peer that has a free connection, or (`any`) may get a further one. NULL: there is none.
static struct forward_peer *pick(struct forward_pool *p, bool any) {
    for (size_t i = 0; i < p->peers.count; i++) {
        struct forward_peer *peer = peer_at(p, i);
        p->peers.choices[i].room = idle_of(peer) != NULL || (any && peer->count < FORWARD_CONNS);
    }
    size_t i = choice_pick(p->peers.choices, p->peers.count, &p->peers.turn, loop_now(p->loop));
    return i < p->peers.count ? peer_at(p, i) : NULL;
}

// False: the first request that waits cannot be served now.
static bool serve_one(struct forward_pool *p) {
    struct forward_peer *peer = pick(p, true);
    if (peer == NULL) return false;
    if (peer->idle == NULL) {
        if (p->opening < p->waiting_count) connect_peer(p, peer);
        peer = pick(p, false);
        if (peer == NULL) return p->opening < p->waiting_count && pick(p, true) != NULL;
    }
    start_first(p, peer->idle);
    return true;
}

static void run_turn(struct loop *loop, struct loop_task *task) {
    struct forward_pool *p = FROM(task, turn);
    p->turn_posted = false;
    if (loop_is_current(loop) && !p->ended) {
        bool hopeless = p->opening == 0 && p->peers.resolving == 0 &&
                        choice_all_out(p->peers.choices, p->peers.count, loop_now(loop));
        if (hopeless) fail_disappointed(p);
        if (p->waiting != NULL) peers_resolve(&p->peers, p->peers.count == 0);
        unsigned attempts = p->waiting_count + FORWARD_CONNS; // connecting may come to nothing
        while (p->waiting != NULL && attempts-- > 0 && serve_one(p)) {
        }
    }
    settle(p);
}

// ---- life

static void retire(struct peer *peer) {
    struct forward_peer *fp = (struct forward_peer *)peer;
    peer_choice(peer)->gone = true;
    while (fp->idle != NULL) {
        struct forward_conn *c = fp->idle;
        idle_remove(c);
        dismiss(c);
    }
    if (fp->conns == NULL) peer_free(peer);
}

static void on_resolving(struct peers *peers) { FROM(peers, peers)->pending++; }

static void on_settled(struct peers *peers) {
    struct forward_pool *p = FROM(peers, peers);
    if (loop_is_current(p->loop)) turn_soon(p);
    settle(p);
}

static const struct peers_owner OWNER = {
    .peer_size = sizeof(struct forward_peer),
    .retire = retire,
    .begun = on_resolving,
    .settled = on_settled,
};

static void run_end(struct loop *loop, struct loop_task *task) {
    struct forward_pool *p = FROM(task, end);
    assert(p->waiting == NULL);
    p->ended = true;
    if (loop_is_current(loop)) {
        loop_timer_clear(loop, &p->sweep);
        for (size_t i = 0; i < p->peers.count; i++) {
            for (struct forward_conn *c = peer_at(p, i)->conns; c != NULL; c = c->next)
                if (c->conn != NULL) conn_close(c->conn);
        }
    }
    settle(p);
}

void forward_pool_end(struct forward_pool *p) { loop_post(p->loop, &p->end); }

void forward_pool_drop(struct forward_pool *p) {
    p->ended = true;
    settle(p);
}

struct forward_pool *forward_pool_new(struct forward *f, unsigned index, struct err *err) {
    struct forward_pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    p->forward = f;
    p->at = &f->server->loops[index];
    p->loop = p->peers.loop = p->at->loop;
    p->waiting_end = &p->waiting;
    p->pending = 1; // its forward's
    p->turn.run = run_turn;
    p->end.run = run_end;
    p->sweep.fire = sweep;
    if (peers_create(&p->peers, &OWNER, f->addresses, err) == 0) return p;
    forward_pool_drop(p);
    return NULL;
}
