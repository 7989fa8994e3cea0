// SPDX-License-Identifier: Apache-2.0
// Connections on their loop's thread: between a socket and an HTTP session.
//
// Reading: into one buffer per loop, fed to the session at once. Writing: sessions only say that
// they have output; at the end of a turn it is drained piece by piece, tried at once, and only what
// the socket does not take is handed to libuv together with its buffer.
//
// Back-pressure: above CONN_HIGH_WATER unsent bytes the session is not drained and the socket not
// read, until half of them have gone. A session may also ask not to be read (HTTP/1: pipelined
// requests, an unread body).
//
// TLS: where there is one, conn_tls.c stands between: it decrypts what was read and gives it to
// conn_input, and encrypts each piece before it is written.
//
// The end: gracefully, when the session has nothing more to say: our side is shut down, and the
// peer's bytes are thrown away for a moment, since closing a socket with unread bytes would reset
// the connection and could destroy the last answer on its way. At once by conn_close, which waits
// while the session is on the stack. In both cases the session is deleted first (its streams end),
// the memory is freed when libuv has let go of the handle.
//
// Abuse and fairness are in conn_guard.c.
//
// Time: one loop timer a connection, which is not moved by traffic. When it fires it looks at what
// is due and sets itself again, at most one period ahead, so a time limit that begins meanwhile is
// never missed.
#include "net/conn_state.h"

#include "base/clock.h"
#include "base/counters.h"
#include "net/abuse.h"
#include "net/address.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAIN_PIECE (64 * 1024)
#define DRAIN_ROUNDS 8 // pieces a connection may write in a turn before others have theirs
// A peer that has ended its side has most likely gone: what it asked for is cancelled when it is not
// answered soon. (Some send FIN behind a request and do wait: tools in a pipe.)
#define EOF_GRACE NS_PER_SECOND

static const char PREFACE[PREFACE_BYTES + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

// ---- making and ending

void tally_drop(struct tally *t) {
    if (t != NULL && atomic_fetch_sub(&t->refs, 1) == 1) free(t);
}

struct conn *conn_alloc(struct loop *loop) {
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->loop = loop;
    c->fd = -1;
    c->read_size = CONN_READ_FIRST;
    atomic_fetch_add(&loop->connections, 1);
    return c;
}

static void count_open(struct conn *c, int by) {
    if (c->door == NULL || c->door->open == NULL || c->counted == 0) return;
    atomic_fetch_add_explicit(&c->door->open[c->counted - 1], by, memory_order_relaxed);
}

// It can bring nothing new any more.
static void uncount(struct conn *c) {
    if (!c->uncounted) atomic_fetch_sub(&c->loop->connections, 1);
    c->uncounted = true;
}

static void conn_free(struct conn *c) {
    count_open(c, -1);
    if (c->tally != NULL) atomic_fetch_sub(&c->tally->open, 1);
    tally_drop(c->tally);
    tls_delete(c->tls);
    tls_context_drop(c->tls_context);
    blob_drop(c->note);
    uncount(c);
    free(c);
}

void conn_set_peer(struct conn *c, const struct sockaddr *addr) {
    c->peer_n = (unsigned char)address_format(addr, c->peer, sizeof c->peer);
    c->loopback = address_sockaddr_is_loopback(addr);
}

void conn_link(struct conn *c) {
    struct loop_state *s = c->loop->state;
    c->tcp.data = c;
    c->next = s->conns;
    if (s->conns != NULL) s->conns->prev = c;
    s->conns = c;
}

static void unlink_conn(struct conn *c) {
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        c->loop->state->conns = c->next;
    }
    if (c->next != NULL) c->next->prev = c->prev;
}

static void dirty_forget(struct conn *c) {
    if (c->dirty_at == NULL) return;
    *c->dirty_at = c->next_dirty;
    if (c->next_dirty != NULL) c->next_dirty->dirty_at = c->dirty_at;
    c->dirty_at = NULL;
}

void conn_wants_write(struct conn *c) {
    if (c->dirty_at != NULL || c->is_closed) return;
    struct loop_state *s = c->loop->state;
    c->next_dirty = s->dirty;
    if (s->dirty != NULL) s->dirty->dirty_at = &c->next_dirty;
    c->dirty_at = &s->dirty;
    s->dirty = c;
}

static void on_closed(uv_handle_t *handle) {
    struct conn *c = handle->data;
    unlink_conn(c);
    if (c->closed != NULL) c->closed(c, c->closed_user);
    conn_free(c);
}

static void drop_session(struct conn *c) {
    struct http_session *h = c->session;
    if (h == NULL) return;
    bool busy = c->busy;
    c->busy = true; // a `closed` event may call conn_close
    http_session_delete(h);
    c->session = NULL;
    c->busy = busy;
}

static void close_now(struct conn *c) {
    if (c->is_closed) return;
    c->is_closed = true;
    dirty_forget(c);
    loop_timer_clear(c->loop, &c->timer);
    drop_session(c);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void conn_close(struct conn *c) {
    c->must_close = true;
    if (!c->busy) close_now(c);
}

// ---- reading

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    struct conn *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->loop->state->read_buffer, c->read_size);
}

static bool should_read(struct conn *c) {
    if (c->eof || c->is_closed || c->held_until != 0) return false;
    if (c->lingering) return !c->given_up;
    if (c->ending || c->unsent >= CONN_HIGH_WATER) return false;
    if (c->unsent > CONN_HIGH_WATER / 2 && !c->reading) return false;
    return c->session == NULL || session_wants_read(c->session);
}

static void update_reading(struct conn *c) {
    bool want = should_read(c);
    if (want == c->reading || c->is_closed) return;
    c->reading = want;
    if (!want) {
        uv_read_stop((uv_stream_t *)&c->tcp);
    } else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        conn_close(c);
    }
}

static void on_touched(struct http_session *h) { conn_wants_write(h->conn); }

static void carry(struct conn *c, struct http_session *session) {
    c->session = session;
    session->conn = c;
    session->touched = on_touched;
    session->encoders = &c->loop->state->encoders;
    c->counted = (uint8_t)(http_session_version(session) + 1);
    count_open(c, 1);
}

void conn_read(struct conn *c) { update_reading(c); }

void conn_carry(struct conn *c, struct http_session *session) {
    c->active = c->loop->state->now;
    carry(c, session);
    conn_wants_write(c);
    update_reading(c);
}

static void feed(struct conn *c, struct str bytes) {
    if (bytes.n == 0 || c->must_close || c->ending) return;
    c->busy = true;
    int rc = http_feed(c->session, bytes);
    conn_judge(c);
    if (rc < 0 && !c->ending && c->session->fault[0] != '\0') {
        conn_log_abuse(c, ABUSE_BROKEN_HTTP1, c->session->fault);
        abuse_remember(conn_peer(c), c->loop->state->now);
    }
    c->busy = false;
    if (rc < 0) c->ending = true;
}

// The first bytes of an accepted connection have told its version, or ALPN has.
static void begin(struct conn *c, bool http2, struct str first, struct str rest) {
    const struct door *door = c->door;
    assert(door != NULL);
    struct http_session *h = http2 ? http2_server_new(door->events, &door->limits, door->user)
                                   : http1_server_new(door->events, &door->limits, door->user);
    if (h == NULL) {
        conn_close(c);
        return;
    }
    carry(c, h);
    feed(c, first);
    feed(c, rest);
}

// HTTP/2 when the first bytes are its preface, which may come in pieces.
static void detect(struct conn *c, struct str bytes) {
    enum tls_alpn agreed = c->tls == NULL ? TLS_ALPN_NONE : tls_alpn(c->tls);
    if (agreed != TLS_ALPN_NONE) {
        begin(c, agreed == TLS_ALPN_H2, bytes, (struct str){"", 0});
        return;
    }
    struct str rest = bytes;
    unsigned n = c->preface_n;
    while (rest.n > 0 && n < PREFACE_BYTES && rest.p[0] == PREFACE[n]) {
        c->preface[n++] = *rest.p++;
        rest.n--;
    }
    c->preface_n = n;
    if (rest.n == 0 && n < PREFACE_BYTES) return;
    begin(c, n == PREFACE_BYTES, (struct str){c->preface, n}, rest);
}

static void note_head(struct conn *c) {
    if (c->session == NULL || c->door == NULL) return;
    uint32_t head = session_head(c->session);
    if (head == 0) {
        c->head_since = 0;
    } else if (c->head_since == 0 || (c->head != 0 && head != c->head)) {
        c->head_since = c->loop->state->now;
    }
    c->head = head;
}

void conn_input(struct conn *c, struct str bytes) {
    c->active = c->heard = c->loop->state->now;
    c->received += bytes.n;
    if (c->door == NULL) c->heard = clock_now(); // the loop's time is that of before the poll
    if (c->lingering) return;
    if (c->session == NULL) {
        detect(c, bytes);
    } else {
        feed(c, bytes);
    }
    if (c->must_close) {
        close_now(c);
        return;
    }
    note_head(c);
    conn_pace_note(c, c->active);
    conn_wants_write(c);
}

void conn_eof(struct conn *c) {
    c->eof = true;
    if (c->lingering || c->session == NULL) {
        conn_close(c);
        return;
    }
    c->busy = true;
    session_eof(c->session);
    c->busy = false;
    if (c->must_close || loop_timer_set(c->loop, &c->timer, c->loop->state->now + EOF_GRACE) < 0) {
        close_now(c);
    } else {
        conn_wants_write(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct conn *c = stream->data;
    struct str bytes = {buf->base, n > 0 ? (size_t)n : 0};
    if (n == 0) return;
    if (n > 0) {
        counter_add(c->door != NULL ? COUNTER_RECEIVED : COUNTER_CLIENT_RECEIVED, n);
        bool full = (size_t)n == buf->len;
        int64_t began = full ? clock_now() : 0;
        if (c->tls == NULL) {
            conn_input(c, bytes);
        } else {
            conn_tls_input(c, bytes);
        }
        if (full) conn_slice_end(c, clock_now() - began);
    } else if (n == UV_EOF && c->tls == NULL) {
        c->reading = false;
        uv_read_stop(stream);
        conn_eof(c);
    } else {
        // Reset by the peer; or a TLS peer has gone without close_notify, which somebody else may have done to it.
        if (c->tls != NULL && tls_begun(c->tls) && !tls_ready(c->tls))
            conn_tls_cut(c, "the client has gone");
        conn_close(c);
    }
}

// ---- writing

static void on_written(uv_write_t *req, int status) {
    struct write_buffer *w = (struct write_buffer *)req; // its first field
    struct conn *c = w->conn;
    c->unsent -= w->left;
    write_buffer_put(c->loop->state, w);
    if (c->is_closed) return;
    if (status < 0) {
        conn_close(c);
        return;
    }
    c->active = c->loop->state->now;
    conn_wants_write(c);
}

// Writes what is in `w`, which it takes.
bool conn_write_out(struct conn *c, struct write_buffer *w) {
    struct loop_state *s = c->loop->state;
    uv_buf_t b = uv_buf_init(buf_p(&w->buf), (unsigned)w->buf.n);
    counter_add(c->door != NULL ? COUNTER_SENT : COUNTER_CLIENT_SENT, (int64_t)w->buf.n);
    c->written += w->buf.n;
    int n = c->unsent > 0 ? 0 : uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
    if (n == UV_EAGAIN) n = 0;
    if (n < 0) {
        write_buffer_put(s, w);
        return false;
    }
    if ((size_t)n == w->buf.n) {
        write_buffer_put(s, w);
        return true;
    }
    w->conn = c;
    w->left = w->buf.n - (size_t)n;
    b = uv_buf_init(b.base + n, (unsigned)w->left);
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0) {
        write_buffer_put(s, w);
        return false;
    }
    c->unsent += w->left;
    return true;
}

// One piece from the session to the socket. False: there is nothing (more) to do now.
static bool drain_piece(struct conn *c) {
    if (c->must_close || c->unsent >= CONN_HIGH_WATER || !http_wants_write(c->session))
        return false;
    struct write_buffer *w = write_buffer_get(c->loop->state);
    if (w == NULL || http_drain(c->session, &w->buf, DRAIN_PIECE) < 0) {
        if (w == NULL || w->buf.n == 0) c->must_close = true;
        c->ending = true;
    }
    if (w == NULL) return false;
    if (w->buf.n == 0) { // it had only to tell somebody something
        write_buffer_put(c->loop->state, w);
        return false;
    }
    c->active = c->loop->state->now;
    if (c->tls != NULL) w = conn_tls_seal(c, w);
    if (w == NULL || !conn_write_out(c, w)) c->must_close = true;
    return true;
}

static void on_shutdown(uv_shutdown_t *req, int status) {
    struct conn *c = req->handle->data;
    if (!c->is_closed && (status < 0 || c->eof)) conn_close(c);
}

void conn_linger(struct conn *c) {
    c->lingering = true;
    uncount(c);
    drop_session(c);
    if (c->tls != NULL) conn_tls_end(c);
    if (c->must_close || c->door == NULL || c->eof ||
        uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        close_now(c);
        return;
    }
    if (c->linger_until == 0) c->linger_until = c->loop->state->now + CONN_LINGER;
    if (loop_timer_set(c->loop, &c->timer, c->linger_until) < 0) close_now(c);
}

static void flush(struct conn *c) {
    if (c->session != NULL) {
        c->busy = true;
        int rounds = DRAIN_ROUNDS;
        session_turn(c->session);
        while (rounds > 0 && drain_piece(c)) rounds--;
        conn_judge(c);
        c->busy = false;
        if (c->must_close) {
            close_now(c);
            return;
        }
        note_head(c);
        bool more = http_wants_write(c->session);
        if (more && c->unsent < CONN_HIGH_WATER) {
            conn_wants_write(c);
        } else if (!more && c->unsent == 0 && (c->ending || http_wants_close(c->session))) {
            conn_linger(c);
        }
    }
    update_reading(c);
}

void conns_flush(struct loop *loop) {
    struct loop_state *s = loop->state;
    struct conn *list = s->dirty;
    s->dirty = NULL; // those that become dirty again are for the next turn
    if (list != NULL) list->dirty_at = &list;
    while (list != NULL) {
        struct conn *c = list;
        dirty_forget(c);
        int64_t began = c->busy_reader ? clock_now() : 0;
        flush(c);
        if (began != 0) conn_slice_adapt(c, clock_now() - began);
    }
}

void conns_close_all(struct loop *loop) {
    for (struct conn *c = loop->state->conns; c != NULL; c = c->next) conn_close(c);
}

// ---- time

// A door without a limit (0) is looked at once an hour.
static int64_t limit(int64_t timeout) { return timeout > 0 ? timeout : 3600 * NS_PER_SECOND; }

static int64_t period(const struct door *door) {
    int64_t waits = clock_earlier(limit(door->head_timeout), limit(door->idle_timeout));
    waits = clock_earlier(waits, limit(door->body_timeout));
    return clock_earlier(waits, clock_earlier(limit(door->ping_interval), limit(door->max_age)));
}

// When this connection has waited long enough for what it waits for; INT64_MAX: it is not waiting
// for its peer.
static int64_t due(struct conn *c) {
    if (c->linger_until != 0) return c->linger_until;
    if (c->held_until != 0) return c->held_until;
    if (c->unsent > 0) return c->active + limit(c->door->idle_timeout); // the peer does not read
    if (c->eof) return c->active + EOF_GRACE;
    if (c->head_since != 0) return c->head_since + limit(c->door->head_timeout);
    if (c->session != NULL && http_open_streams(c->session) > 0) return INT64_MAX;
    return c->active + limit(c->door->idle_timeout);
}

static void begin_reading(struct conn *c) {
    int64_t now = c->loop->state->now;
    c->held_until = 0;
    c->active = c->head_since = now;
    if (loop_timer_set(c->loop, &c->timer, now + period(c->door)) < 0) {
        conn_close(c);
    } else {
        update_reading(c);
    }
}

static void on_timer(struct loop *loop, struct loop_timer *timer) {
    struct conn *c = (struct conn *)((char *)timer - offsetof(struct conn, timer));
    int64_t now = loop->state->now;
    if (conn_unread(c, now)) {
        conn_log_abuse(c, ABUSE_UNREAD, "");
        abuse_remember(conn_peer(c), now);
        conn_close(c);
        return;
    }
    keepalive_turn(c, now);
    if (c->is_closed || conn_pace_turn(c, now)) return;
    int64_t at = due(c);
    if (at > now) {
        at = clock_earlier(clock_earlier(at, keepalive_due(c)), now + period(c->door));
        at = clock_earlier(at, conn_pace_due(c));
        if (loop_timer_set(loop, timer, at) < 0) conn_close(c);
        return;
    }
    if (c->held_until != 0 && c->linger_until == 0) {
        begin_reading(c);
        return;
    }
    bool shaking = c->tls != NULL && !tls_ready(c->tls); // logged as such
    if (c->head_since != 0 && c->unsent == 0 && c->linger_until == 0 && !c->eof && !shaking)
        conn_log_abuse(c, ABUSE_SLOW_HEAD, "");
    if (c->lingering || c->unsent > 0 || c->eof || c->head_since != 0 || c->session == NULL ||
        c->ending) {
        if (c->tls != NULL && !tls_ready(c->tls) && !c->lingering)
            conn_tls_cut(c, "it was not complete in time");
        conn_close(c);
        return;
    }
    // Idle: a client that looks gets to know (GOAWAY); the rest is as at any end.
    c->ending = true;
    session_eof(c->session);
    conn_wants_write(c);
    if (loop_timer_set(loop, timer, now + CONN_LINGER) < 0) conn_close(c);
}

// ---- accepted

void conn_adopt(struct loop *loop, struct loop_task *task) {
    struct conn *c = (struct conn *)task; // its first field
    struct loop_state *s = loop->state;
    if (s->stopping || uv_tcp_init(&loop->uv, &c->tcp) != 0) {
        close(c->fd);
        conn_free(c);
        return;
    }
    conn_link(c);
    c->heard = s->now;
    keepalive_begin(c, s->now);
    c->timer.fire = on_timer;
    if (uv_tcp_open(&c->tcp, c->fd) != 0) {
        close(c->fd);
        conn_close(c);
        return;
    }
    c->fd = -1;
    if (c->tls_context != NULL && (c->tls = tls_new(c->tls_context, NULL)) == NULL) {
        conn_close(c);
        return;
    }
    if (!abuse_recent(conn_peer(c), s->now)) {
        begin_reading(c);
        return;
    }
    c->held_until = s->now + ABUSE_PENALTY;
    if (loop_timer_set(loop, &c->timer, c->held_until) < 0) conn_close(c);
}

// ---- asking

struct conn *conn_of(struct http_session *h) {
    return h->conn;
}
struct http_session *conn_session(struct conn *c) {
    return c->session;
}
struct loop *conn_loop(struct conn *c) {
    return c->loop;
}
const struct door *conn_door(struct conn *c) { return c->door; }
struct str conn_peer(struct conn *c) {
    return (struct str){c->peer, c->peer_n};
}
bool conn_peer_is_loopback(struct conn *c) { return c->loopback; }
const char *conn_fault(struct conn *c) { return c->tls == NULL ? "" : tls_fault(c->tls); }
const struct tls_identity *conn_identity(struct conn *c) {
    return c->tls == NULL ? NULL : tls_identity(c->tls);
}
struct blob **conn_note(struct conn *c) {
    return &c->note;
}
int64_t conn_heard(const struct conn *c) { return c->heard; }

void conn_on_close(struct conn *c, void (*closed)(struct conn *c, void *user), void *user) {
    c->closed = closed;
    c->closed_user = user;
}

void loop_shutdown_connections(struct loop *loop) {
    for (struct conn *c = loop->state->conns; c != NULL; c = c->next) {
        if (c->is_closed || c->connecting != NULL) continue;
        if (c->session == NULL) {
            if (!c->lingering) conn_close(c);
            continue;
        }
        http_shutdown(c->session);
        conn_wants_write(c);
    }
}

size_t loop_open_connections(struct loop *loop) { return atomic_load(&loop->connections); }
