// SPDX-License-Identifier: Apache-2.0
// TLS of a connection, on its loop's thread: between the socket's bytes (conn.c) and those of the session.
//
// What is read is decrypted into one buffer per loop and given on as conn_input; each piece that a session has to say is
// encrypted as a whole, so that many answers still go out in one write. What TLS itself has to say (handshake, alerts) is
// written at once, through the same queue, so that reading stops for a peer that does not take it.
//
// A handshake that fails, is cut off or takes too long is logged: one line a minute and loop, with the number of those
// that were not; each of them at level debug. A client that speaks plain HTTP/1 to a TLS door is told so.
#include "net/conn_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

#define COMPLAIN_EVERY (60 * NS_PER_SECOND)

static const char NO_TLS[] = "HTTP/1.1 400 Bad Request\r\n"
                             "content-type: text/plain; charset=utf-8\r\n"
                             "content-length: 46\r\n"
                             "connection: close\r\n"
                             "\r\n"
                             "This address speaks TLS only: use https://...\n";

// ---- faults

void conn_tls_cut(struct conn *c, const char *why) {
    struct loop_state *s = c->loop->state;
    if (c->door == NULL) return; // the client side tells who has asked for the connection
    log_printf(LOG_DEBUG, c->door->name, "TLS handshake with %s: %s", c->peer, why);
    s->tls_failures++;
    if (s->tls_complained != 0 && s->now - s->tls_complained < COMPLAIN_EVERY) return;
    if (s->tls_failures == 1) {
        log_printf(LOG_WARN, c->door->name, "a TLS handshake failed, with %s: %s", c->peer, why);
    } else {
        log_printf(LOG_WARN, c->door->name, "%lu TLS handshakes failed, the last with %s: %s",
                   s->tls_failures, c->peer, why);
    }
    s->tls_complained = s->now;
    s->tls_failures = 0;
}

// The first bytes are a method of HTTP/1: capitals and a space. (A client that begins with HTTP/2's preface would not understand the
// answer.)
static bool is_http1(struct str first) {
    size_t n = 0;
    while (n < first.n && first.p[n] >= 'A' && first.p[n] <= 'Z') n++;
    return n >= 3 && n < first.n && first.p[n] == ' ' && !str_starts(first, "PRI ");
}

// Writes what is left to say, an alert most often, and ends.
static void fail(struct conn *c, struct write_buffer *take, bool plain) {
    if (!tls_ready(c->tls)) conn_tls_cut(c, tls_fault(c->tls));
    if (plain && c->door != NULL) {
        take->buf.n = 0; // OpenSSL's alert would be taken for a part of the answer
        buf_append(&take->buf, NO_TLS, sizeof NO_TLS - 1);
    }
    if (take->buf.n == 0) {
        write_buffer_put(c->loop->state, take);
    } else if (!conn_write_out(c, take)) {
        c->must_close = true;
    }
    conn_linger(c);
}

// ---- input

static char *plain_buffer(struct loop_state *s) {
    if (s->plain_buffer == NULL) s->plain_buffer = malloc(LOOP_READ_BUFFER);
    return s->plain_buffer;
}

// Writes what TLS has to say; gives an empty buffer for more, or NULL after closing.
static struct write_buffer *say(struct conn *c, struct write_buffer *w) {
    if (w->buf.n == 0) return w;
    bool sound = !w->buf.failed && conn_write_out(c, w);
    w = sound ? write_buffer_get(c->loop->state) : NULL;
    if (w == NULL) conn_close(c);
    return w;
}

// The bytes are decrypted; `was_ready`: the handshake was complete before.
static void give(struct conn *c, bool was_ready, struct str plain) {
    if (!was_ready && tls_ready(c->tls) && c->connecting != NULL) connect_ready(c);
    if (plain.n > 0 && !c->is_closed) conn_input(c, plain);
    if (tls_peer_ended(c->tls) && !c->eof && !c->is_closed && !c->lingering) {
        conn_eof(c);
        conn_wants_write(c);
    }
}

static void input(struct conn *c, struct str bytes, char *plain) {
    struct write_buffer *w = write_buffer_get(c->loop->state);
    bool http1 = !tls_ready(c->tls) && is_http1(bytes);
    size_t n = 1;
    if (w == NULL) {
        conn_close(c);
        return;
    }
    while (n > 0 && !c->is_closed && !c->lingering) {
        bool was_ready = tls_ready(c->tls);
        if (tls_read(c->tls, &bytes, plain, LOOP_READ_BUFFER, &n, &w->buf) < 0) {
            fail(c, w, http1 && !was_ready);
            return;
        }
        w = say(c, w);
        if (w == NULL) return;
        give(c, was_ready, (struct str){plain, n});
    }
    write_buffer_put(c->loop->state, w);
}

void conn_tls_input(struct conn *c, struct str bytes) {
    char *plain = plain_buffer(c->loop->state);
    if (c->lingering) return;
    if (plain == NULL) {
        conn_close(c);
    } else {
        input(c, bytes, plain);
    }
}

// ---- output

bool conn_tls_begin(struct conn *c) {
    struct write_buffer *w = write_buffer_get(c->loop->state);
    struct str nothing = {"", 0};
    size_t n;
    if (w == NULL) return false;
    if (tls_read(c->tls, &nothing, NULL, 0, &n, &w->buf) == 0 && !w->buf.failed)
        return conn_write_out(c, w);
    write_buffer_put(c->loop->state, w);
    return false;
}

struct write_buffer *conn_tls_seal(struct conn *c, struct write_buffer *take) {
    struct loop_state *s = c->loop->state;
    struct write_buffer *sealed = write_buffer_get(s);
    if (sealed != NULL && tls_write(c->tls, buf_str(&take->buf), &sealed->buf) < 0) {
        write_buffer_put(s, sealed);
        sealed = NULL;
    }
    write_buffer_put(s, take);
    return sealed;
}

void conn_tls_end(struct conn *c) {
    struct write_buffer *w = write_buffer_get(c->loop->state);
    if (w == NULL) return;
    tls_end(c->tls, &w->buf);
    if (w->buf.n == 0) {
        write_buffer_put(c->loop->state, w);
    } else if (!conn_write_out(c, w)) {
        c->must_close = true;
    }
}
