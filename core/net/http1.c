// SPDX-License-Identifier: Apache-2.0
// HTTP/1.0 and 1.1, server side (RFC 9112), with llhttp: what comes in.
//
// One request at a time: HEAD -> BODY -> WAIT -> HEAD. Nothing is parsed while a complete request
// waits for its answer; bytes that come meanwhile (pipelined requests) are kept in `backlog`, and
// the connection is not read while there is one.
//
// Smuggling: two parsers that disagree about where a request ends are the way in, so everything
// doubtful is refused and the connection closed after the answer: what http1_head.c does not let
// pass; and then: one Host, a target without odd bytes.
//
// Between requests a session holds nothing but itself: 10,000 idle connections are the rule, not the exception.
//
// Events are told from here and from drain, never from inside llhttp except `data`.
#include "net/http1.h"

#include <stdlib.h>

#define BACKLOG_MAX (1024 * 1024)
#define UNCONSUMED_MAX (256 * 1024)

// ---- llhttp's callbacks: they gather

static int on_headers_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->head_done = true;
    h->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; // an upgrade is not offered: an ordinary request
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    struct stream *st = h->cur;
    h->between = 0;
    if (st == NULL) { // its answer is complete already
        if (n > h->discard_left)
            return fail(h, 413, "the request is longer than what is read of it");
        h->discard_left -= n;
        return 0;
    }
    if (st->reset) return 0;
    st->unconsumed += n;
    session_tell_data(st, (struct str){at, n});
    return 0;
}

static const llhttp_settings_t SETTINGS = {
    .on_url = http1_on_url,
    .on_header_field = http1_on_field,
    .on_header_value = http1_on_value,
    .on_header_value_complete = http1_on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = http1_on_chunk_header,
    .on_body = on_body,
    .on_message_complete = http1_on_message_complete,
};

// ---- a head is complete

// GET http://host/path is the same as GET /path with that Host (RFC 9112 section 3.2.2).
static int take_target(struct http1 *h, struct stream *st) {
    struct str t = st->s.path;
    for (size_t i = 0; i < t.n; i++) {
        // char is signed: bytes above 0x7F as well
        if (t.p[i] <= 0x20 || t.p[i] == 0x7F || t.p[i] == '#')
            return fail(h, 400, "the request target has a character that must be percent-encoded");
    }
    size_t skip = str_starts(t, "http://") ? 7 : str_starts(t, "https://") ? 8 : 0;
    if (skip > 0) {
        const char *host = t.p + skip;
        size_t left = t.n - skip;
        size_t n = 0;
        while (n < left && host[n] != '/' && host[n] != '?') n++;
        st->s.authority = (struct str){host, n};
        st->s.path = n < left && host[n] == '/' ? (struct str){host + n, left - n} : str_of("/");
        return 0;
    }
    if (str_is(st->s.method, "CONNECT")) return 0;
    if (t.n == 0 || (t.p[0] != '/' && !str_is(t, "*")))
        return fail(h, 400, "the request target must begin with a slash");
    return 0;
}

// What else is known: whom it is for, and what is expected.
static int take_known(struct http1 *h, struct stream *st) {
    unsigned hosts = 0;
    for (size_t i = 0; i < st->s.header_count; i++) {
        struct str name = st->s.headers[i].name;
        struct str value = st->s.headers[i].value;
        if (str_is(name, "host")) {
            hosts++;
            if (st->s.authority.n == 0) st->s.authority = value;
        } else if (str_is(name, "expect")) {
            if (!str_is_nocase(value, "100-continue"))
                return fail(h, 417, "only the expectation 100-continue can be met");
            h->expects = h->parser.http_minor > 0;
        }
    }
    if (hosts > 1 || (hosts == 0 && h->parser.http_minor > 0))
        return fail(h, 400, "exactly one host header is needed");
    return 0;
}

static int begin_request(struct http1 *h) {
    struct stream *st = http_stream_new(&h->base);
    if (st == NULL) return fail(h, 503, "out of memory");
    h->cur = st;
    h->expects = false;
    st->s.method = str_of(llhttp_method_name(h->parser.method));
    st->is_head = h->parser.method == HTTP_HEAD;
    if (http1_take_lines(h, st, false) < 0 || take_target(h, st) < 0 ||
        http1_check_framing(h, st) < 0 || take_known(h, st) < 0)
        return -1;
    http1_gathered_clear(h);
    h->state = H1_BODY;
    st->head_done = true;
    st->reported = true;
    if (h->message_done) h->expects = false; // there is no body to wait for
    http1_take_upgrade(h, st);
    session_tell_head(st);
    if (h->expects && !st->responded && !st->reset) http1_continue(h);
    return 0;
}

static int end_request(struct http1 *h) {
    struct stream *st = h->cur;
    http1_expect_head(h);
    if (st == NULL) { // answered already
        http1_gathered_clear(h);
        h->state = H1_HEAD;
        return 0;
    }
    if (http1_take_lines(h, st, true) < 0) return -1;
    http1_gathered_clear(h);
    if (h->tunnel) {
        http1_tunnel_begin(h);
        return 0;
    }
    h->state = H1_WAIT;
    st->input_ended = true;
    session_tell_end(st);
    return 0;
}

// ---- parsing

static int parse_step(struct http1 *h, struct str bytes, size_t *used) {
    int rc;
    bool done;
    if (h->state == H1_TUNNEL) {
        *used = bytes.n;
        http1_tunnel_data(h, bytes);
        return 0;
    }
    if (h->state == H1_HEAD) {
        rc = http1_parse_head(h, bytes, used, &done);
        if (rc == 0 && done) rc = begin_request(h);
    } else {
        rc = http1_parse_body(h, bytes, used);
    }
    if (rc < 0) return rc;
    return h->message_done ? end_request(h) : 0;
}

// What is wrong with a request is answered if nothing of an answer went out yet; then the
// connection closes.
static void give_up(struct http1 *h) {
    struct stream *st = h->cur;
    bool answered = st == NULL ? h->state != H1_HEAD : st->responded;
    if (!answered) http1_answer_fault(h, h->fault, h->detail);
    h->closing = true;
    h->cur = NULL;
    buf_free(&h->backlog);
    if (st != NULL) stream_close(st, HTTP_CLOSE_PEER);
}

// Parses until a request is complete; returns how many bytes were used.
static size_t parse(struct http1 *h, struct str bytes) {
    size_t at = 0;
    h->parsing = true;
    while (at < bytes.n && h->state != H1_WAIT && !h->closing) {
        size_t used = 0;
        if (parse_step(h, (struct str){bytes.p + at, bytes.n - at}, &used) < 0) {
            give_up(h);
            break;
        }
        at += used;
    }
    h->parsing = false;
    return h->closing ? bytes.n : at;
}

static void eof(struct http_session *base) {
    struct http1 *h = http1_of(base);
    h->eof = true;
    if (h->state == H1_WAIT) return; // a half-closed peer may still wait for its answer
    struct stream *st = h->cur;
    h->cur = NULL;
    h->closing = true;
    buf_free(&h->backlog);
    if (st != NULL) stream_close(st, HTTP_CLOSE_PEER);
}

static void backlog_clear(struct http1 *h) {
    buf_free(&h->backlog);
    h->backlog_at = 0;
}

void http1_parse_backlog(struct http1 *h) {
    if (h->backlog.n > 0 && !h->parsing) {
        struct str rest = {buf_p(&h->backlog) + h->backlog_at, h->backlog.n - h->backlog_at};
        h->backlog_at += parse(h, rest);
        if (h->closing || h->backlog_at == h->backlog.n) backlog_clear(h);
    }
    if (h->eof && !h->closing) eof(&h->base);
}

static int feed(struct http_session *base, struct str bytes) {
    struct http1 *h = http1_of(base);
    if (h->closing) return h->fault == 0 ? 0 : -STATUS_INVALID_ARGUMENT;
    size_t used = 0;
    if (h->backlog.n == 0 && h->state != H1_WAIT) used = parse(h, bytes);
    if (used < bytes.n) {
        if (h->backlog.n - h->backlog_at + bytes.n - used > BACKLOG_MAX)
            return -STATUS_RESOURCE_EXHAUSTED;
        buf_append(&h->backlog, bytes.p + used, bytes.n - used);
        if (h->backlog.failed) return -STATUS_RESOURCE_EXHAUSTED;
    }
    return h->fault == 0 ? 0 : -STATUS_INVALID_ARGUMENT;
}

// ---- the table

static void shutdown_session(struct http_session *base) {
    struct http1 *h = http1_of(base);
    if (h->cur == NULL && h->state == H1_HEAD && h->head_bytes == 0) h->closing = true;
}

bool http1_wants_close(struct http_session *base) {
    struct http1 *h = http1_of(base);
    return h->closing && h->out.n == 0 && h->cur == NULL;
}

bool http1_wants_read(struct http_session *base) {
    struct http1 *h = http1_of(base);
    if (h->closing || h->backlog.n > 0) return false;
    size_t most = h->state == H1_TUNNEL ? h->base.limits.window : UNCONSUMED_MAX;
    return h->cur == NULL || h->cur->unconsumed <= most;
}

static bool awaits_body(struct http_session *base) {
    struct http1 *h = http1_of(base);
    return h->state == H1_BODY || h->state == H1_TRAILERS;
}

static void end_with(struct http_session *base, int status, const char *detail) {
    struct http1 *h = http1_of(base);
    fail(h, status, detail);
    give_up(h);
}

uint32_t http1_head(struct http_session *base) {
    struct http1 *h = http1_of(base);
    return h->state == H1_HEAD && h->head_bytes > 0;
}

enum http_version http1_version(const struct http_session *base) {
    return ((const struct http1 *)base)->parser.http_minor == 0 ? HTTP_1_0 : HTTP_1_1;
}

void http1_destroy(struct http_session *base) {
    struct http1 *h = http1_of(base);
    buf_free(&h->out);
    buf_free(&h->backlog);
    http1_gathered_clear(h);
    free(h);
}

static const struct session_ops OPS = {
    .version = http1_version,
    .free = http1_destroy,
    .feed = feed,
    .drain = http1_drain,
    .wants_write = http1_wants_write,
    .wants_close = http1_wants_close,
    .wants_read = http1_wants_read,
    .head = http1_head,
    .eof = eof,
    .awaits_body = awaits_body,
    .give_up = end_with,
    .shutdown = shutdown_session,
    .respond = http1_respond,
    .upgrade = http1_upgrade,
    .queued = http1_queued,
    .reset = http1_reset,
    .consume = http1_consume,
};

struct http_session *http1_server_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user) {
    struct http1 *h = calloc(1, sizeof *h);
    if (h == NULL) return NULL;
    session_init(&h->base, &OPS, events, limits, user);
    h->base.server = true;
    h->first_line = true;
    h->body_left = -1;
    llhttp_init(&h->parser, HTTP_REQUEST, &SETTINGS);
    h->parser.data = h;
    return &h->base;
}
