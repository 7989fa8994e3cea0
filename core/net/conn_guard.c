// SPDX-License-Identifier: Apache-2.0
// Connections: abuse and fairness.
//
// Abuse (net/abuse.h): a session that gives its peer up gets a second for its last words; the socket
// is not read meanwhile, so that the peer's bytes cost nothing any more.
//
// Fairness: a connection is read at most once a turn, and how much at a time follows from how long
// its bytes take: about SLICE. So others wait for one slice of a busy peer, whatever it sends.
//
// Answers that are not read: see conn_unread.
#include "net/conn_state.h"

#include "base/clock.h"
#include "net/abuse.h"

#define SLICE (NS_PER_MS / 16)
// Answers that wait for a peer that has not read a step of them between two looks of the timer, which are this long apart or
// longer, are thrown away, with the connection. Less than that may wait for ever.
#define UNREAD_TIME (5 * NS_PER_SECOND)
#define UNREAD_MAX (8 * 1024 * 1024)
#define UNREAD_STEP (64 * 1024)
#define READ_LEAST 512

void conn_log_abuse(struct conn *c, enum abuse kind, const char *detail) {
    abuse_log(c->door == NULL ? "client" : c->door->name, conn_peer(c), kind, detail);
}

// Has the session given its peer up?
void conn_judge(struct conn *c) {
    if (c->session->abuse == ABUSE_NONE || c->given_up) return;
    c->given_up = c->ending = true;
    conn_log_abuse(c, c->session->abuse, c->session->fault);
    if (c->door != NULL) abuse_remember(conn_peer(c), c->loop->state->now);
    c->linger_until = c->loop->state->now + CONN_LINGER;
    if (c->door == NULL || loop_timer_set(c->loop, &c->timer, c->linger_until) < 0) conn_close(c);
}

// A full buffer was read: the rest has to wait for the next turn.
void conn_slice_end(struct conn *c, int64_t spent) {
    c->busy_reader = true;
    c->spent = spent;
    if (!c->reading || c->is_closed) return;
    c->reading = false;
    uv_read_stop((uv_stream_t *)&c->tcp);
    conn_wants_write(c); // whose end is update_reading
}

// How much is read in the next turn follows from what this one took, with what it made us write.
void conn_slice_adapt(struct conn *c, int64_t flushed) {
    c->busy_reader = false;
    int64_t spent = c->spent + flushed;
    if (spent > SLICE && c->read_size > READ_LEAST) c->read_size /= 2;
    if (spent < SLICE / 3 && c->read_size < LOOP_READ_BUFFER) c->read_size *= 2;
}

// Is very much waiting for a peer that has hardly read since the timer last looked?
bool conn_unread(struct conn *c, int64_t now) {
    struct http_session *h = c->session;
    if (h == NULL || c->ending || now - c->looked < UNREAD_TIME) return false;
    c->looked = now;
    bool reads = h->sent - c->sent_before >= UNREAD_STEP;
    c->sent_before = h->sent;
    return h->queued > UNREAD_MAX && !reads;
}
