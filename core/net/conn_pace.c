// SPDX-License-Identifier: Apache-2.0
// Connections: bodies that do not come on, in either direction.
//
// While a request's body is awaited (HTTP/1) the peer must send, and while bytes wait for it the peer must take, PACE_LEAST in the
// door's body_timeout; else the connection ends: with 408 where an answer is still to be given. So who holds a request or an answer open by
// a byte now and then holds it no longer. What we do not read, or have not made yet, is not the peer's fault: the
// clock stands still then. HTTP/2's bodies are bounded by their calls' deadlines and its windows.
//
// Looked at by conn.c's timer, so a stall is found after one to two timeouts.
#include "net/conn_state.h"

#include "base/clock.h"
#include "net/abuse.h"

#define PACE_LEAST 1024

static enum conn_pace kind_of(const struct conn *c) {
    if (c->door == NULL || c->door->body_timeout == 0 || c->lingering) return PACE_NONE;
    if (c->unsent > 0) return PACE_OUT;
    bool body = c->reading && c->session != NULL && session_awaits_body(c->session);
    return body ? PACE_IN : PACE_NONE;
}

static uint64_t moved(const struct conn *c, enum conn_pace kind) {
    if (kind == PACE_IN) return c->received;
    return c->written - uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

void conn_pace_note(struct conn *c, int64_t now) {
    enum conn_pace kind = kind_of(c);
    if (kind == c->pace) return;
    c->pace = kind;
    c->pace_since = now;
    c->pace_mark = moved(c, kind);
}

int64_t conn_pace_due(const struct conn *c) {
    return c->pace == PACE_NONE ? INT64_MAX : c->pace_since + c->door->body_timeout;
}

bool conn_pace_turn(struct conn *c, int64_t now) {
    conn_pace_note(c, now);
    if (c->pace == PACE_NONE) return false;
    uint64_t mark = moved(c, c->pace);
    if (mark - c->pace_mark >= PACE_LEAST) {
        c->pace_since = now;
        c->pace_mark = mark;
    }
    if (conn_pace_due(c) > now) return false;
    conn_log_abuse(c, c->pace == PACE_IN ? ABUSE_SLOW_BODY : ABUSE_SLOW_READER, "");
    abuse_remember(conn_peer(c), now);
    if (c->pace == PACE_OUT) {
        conn_close(c);
        return true;
    }
    c->busy = true;
    session_give_up(c->session, 408, "the body of the request does not come");
    c->busy = false;
    c->ending = true;
    conn_wants_write(c);
    if (c->must_close || loop_timer_set(c->loop, &c->timer, now + CONN_LINGER) < 0) conn_close(c);
    return true;
}
