// SPDX-License-Identifier: Apache-2.0
// What an accepted connection has to do as time goes by, however busy it is: prove that its peer lives, and end at its age.
//
// Pings (HTTP/2). A peer from which nothing has come for `ping_interval` while a request of it is open is sent a PING. When
// still nothing has come `ping_timeout` later, it has gone without a word (a cable, a power switch): the connection is closed,
// so what it asked for is cancelled. Anything that comes is as good as the acknowledgement. Without open requests nobody waits
// for the peer, and the idle limit ends the connection. While bytes wait for the peer to take them, or its bytes for us,
// silence says nothing: then the idle limit counts too.
//
// Age. After `max_age`, a tenth more or less so that connections made together do not come back together, the peer is told to
// make another connection for what is new (GOAWAY; Connection: close). What is open has `age_grace` to end, and is cut off
// then.
//
// conn.c's timer asks keepalive_due when to call keepalive_turn. On the loop's thread.
#include "net/conn_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"

void keepalive_begin(struct conn *c, int64_t now) {
    int64_t age = c->door->max_age;
    if (age <= 0) return;
    c->retire_at = now + age - age / 10 + (int64_t)(random_u64() % (uint64_t)(age / 5 + 1));
}

// Is the peer's silence a sign?
static bool pinged_door(const struct conn *c) {
    return c->door->ping_interval > 0 && c->reading && c->unsent == 0 &&
           http_session_version(c->session) == HTTP_2 && http_open_streams(c->session) > 0;
}

static bool ping_is_out(const struct conn *c) { return c->pinged > c->heard; }

static int64_t ping_due(const struct conn *c) {
    if (!pinged_door(c)) return INT64_MAX;
    if (ping_is_out(c)) return c->pinged + c->door->ping_timeout;
    return c->heard + c->door->ping_interval;
}

static int64_t age_due(const struct conn *c) {
    if (c->retire_at == 0) return INT64_MAX;
    if (!c->retired) return c->retire_at;
    return c->door->age_grace > 0 ? c->retire_at + c->door->age_grace : INT64_MAX;
}

int64_t keepalive_due(const struct conn *c) {
    if (c->session == NULL || c->lingering || c->ending || c->eof) return INT64_MAX;
    return clock_earlier(ping_due(c), age_due(c));
}

static void close_saying(struct conn *c, const char *why) {
    log_printf(LOG_DEBUG, c->door->name, "connection of %.*s with %zu open requests is closed: %s",
               (int)c->peer_n, c->peer, http_open_streams(c->session), why);
    conn_close(c);
}

static void ping_turn(struct conn *c, int64_t now) {
    if (ping_is_out(c)) {
        close_saying(c, "it does not answer pings");
        return;
    }
    c->pinged = now;
    http_ping(c->session);
}

static void age_turn(struct conn *c, int64_t now) {
    if (c->retired) {
        close_saying(c, "it is too old");
        return;
    }
    c->retired = true;
    c->retire_at = now;
    http_shutdown(c->session);
    conn_wants_write(c);
}

void keepalive_turn(struct conn *c, int64_t now) {
    if (keepalive_due(c) > now) return;
    if (age_due(c) <= now) {
        age_turn(c, now);
    } else {
        ping_turn(c, now);
    }
}
