// SPDX-License-Identifier: Apache-2.0
// HTTP/1.0 and 1.1, server side (RFC 9112), with llhttp: what comes in.
//
// One request at a time: HEAD -> BODY -> WAIT -> HEAD. Nothing is parsed while a complete request
// waits for its answer; bytes that come meanwhile (pipelined requests) are kept in `backlog`, and
// the connection is not read while there is one.
//
// Smuggling: two parsers that disagree about where a request ends are the way in, so everything
// doubtful is refused and the connection closed after the answer. Before llhttp sees bytes of a
// head, a line check walks over them: lines end with CR LF and nothing else, no line continues the
// one before (obs-fold), the head is bounded. It finds the end of the head on its own, and llhttp
// must find the same. The lines behind the last chunk are checked in the same way. Then: one Host; content-length
// once, digits only, and not together with transfer-encoding; transfer-encoding exactly "chunked",
// not in HTTP/1.0; a target without odd bytes. What stands between the contents of two chunks (the size and its
// extensions, which nobody uses) is CHUNK_LINE at most.
//
// Between requests a session holds nothing but itself: 10,000 idle connections are the rule, not the exception.
//
// Events are told from here and from drain, never from inside llhttp except `data`.
#include "net/http1.h"

#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKLOG_MAX (1024 * 1024)
#define CHUNK_LINE 256
#define LINES_FIRST 16
#define BLANK_LINES 16 // before a request
#define UNCONSUMED_MAX (256 * 1024)

// ---- llhttp's callbacks: they gather

static int fail(struct http1 *h, int status, const char *detail) {
    if (h->fault == 0) {
        h->fault = status;
        h->detail = detail;
        // What a peer sends on purpose is logged as such; not what we cannot do.
        if (status != 503 && status != 417)
            snprintf(h->base.fault, sizeof h->base.fault, "%s", detail);
    }
    return -1;
}

static int gather(struct http1 *h, const char *at, size_t n) {
    buf_append(&h->head, at, n);
    if (h->head.failed) return fail(h, 503, "out of memory");
    if (h->head.n > h->base.limits.header_bytes) return fail(h, 431, "the trailers are too long");
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    h->url_n += n;
    return gather(h, at, n);
}

// The first lines are in the pool's memory: they are given back with every head, so that an idle connection holds none.
static bool more_lines(struct http1 *h) {
    size_t cap = h->line_cap == 0 ? LINES_FIRST : h->line_cap * 2;
    size_t size = cap * sizeof *h->lines;
    struct http1_line *lines = pool_take(pool_class(size), size);
    if (lines == NULL) return false;
    if (h->line_count > 0) memcpy(lines, h->lines, h->line_count * sizeof *lines);
    if (h->line_cap > 0) pool_give_sized(h->lines, h->line_cap * sizeof *h->lines);
    h->lines = lines;
    h->line_cap = cap;
    return true;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    if (h->line_count == 0 || h->in_value) {
        unsigned most = h->base.limits.fields;
        if (most > 0 && h->line_count == most) return fail(h, 431, "there are too many headers");
        if (h->line_count == h->line_cap && !more_lines(h)) return fail(h, 503, "out of memory");
        h->lines[h->line_count++] = (struct http1_line){.name = h->head.n};
        h->in_value = false;
    }
    h->lines[h->line_count - 1].name_n += n;
    return gather(h, at, n);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    if (h->line_count == 0) return fail(h, 400, "malformed header");
    struct http1_line *line = &h->lines[h->line_count - 1];
    if (!h->in_value) line->value = h->head.n;
    h->in_value = true;
    line->value_n += n;
    return gather(h, at, n);
}

static int on_header_value_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->in_value = true; // an empty value has no span
    return 0;
}

static int on_headers_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->head_done = true;
    h->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; // an upgrade is not offered: an ordinary request
    return 0;
}

// The size of a chunk has been read. llhttp stops behind the line of the last one, whose trailers are checked as a head is.
static int on_chunk_header(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->between = 0;
    h->last_chunk = parser->content_length == 0;
    return h->last_chunk ? HPE_PAUSED : 0;
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

static int on_message_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->message_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t SETTINGS = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

// ---- the line check

// A line is complete. True when it was the blank one at the end of the head.
static bool line_complete(struct http1 *h) {
    bool blank = h->line_bytes == 2;
    h->line_bytes = 0;
    if (blank && h->first_line) {
        h->head_bytes = 0; // an empty line before a request is ignored (RFC 9112 section 2.2)
        h->blank_lines++;
        return false;
    }
    h->first_line = false;
    return blank;
}

// In a request line one space stands between two parts (RFC 9112 section 3), and none before the first.
static bool spaces_sound(const struct http1 *h, const char *p, size_t n) {
    char before = h->line_bytes == 0 ? ' ' : h->last;
    for (size_t i = 0; i < n; i++) {
        if (before == ' ' && p[i] == ' ') return false;
        before = p[i];
    }
    return true;
}

// Checks a piece of one line, which ends at its LF or where the bytes end.
static int check_piece(struct http1 *h, const char *p, size_t n, bool whole) {
    const char *cr = memchr(p, '\r', n);
    bool stray = cr != NULL && cr + 1 < p + n && cr[1] != '\n';
    bool split = h->last == '\r' && p[0] != '\n';
    char before = n > 1 ? p[n - 2] : h->last;
    if (stray || split || (whole && before != '\r'))
        return fail(h, 400, "a line must end with CR LF");
    if (h->line_bytes == 0 && !h->first_line && (p[0] == ' ' || p[0] == '\t'))
        return fail(h, 400, "a header line must not continue the one before");
    if (h->first_line && !spaces_sound(h, p, n))
        return fail(h, 400, "the request line must have one space between its parts");
    h->last = p[n - 1];
    h->line_bytes += n;
    h->head_bytes += n;
    if (h->head_bytes <= h->base.limits.header_bytes) return 0;
    if (h->state == H1_TRAILERS) return fail(h, 431, "the trailers are too long");
    return h->first_line ? fail(h, 414, "the request line is too long")
                         : fail(h, 431, "the request headers are too long");
}

// Walks over bytes of a head. *used: how many belong to it; *done: its end was found.
static int check_head(struct http1 *h, struct str bytes, size_t *used, bool *done) {
    *done = false;
    size_t i = 0;
    while (i < bytes.n && !*done) {
        const char *p = bytes.p + i;
        const char *lf = memchr(p, '\n', bytes.n - i);
        size_t n = lf == NULL ? bytes.n - i : (size_t)(lf - p) + 1;
        if (check_piece(h, p, n, lf != NULL) < 0) return -1;
        i += n;
        if (lf != NULL) *done = line_complete(h);
        if (h->blank_lines > BLANK_LINES) return fail(h, 400, "there are too many empty lines");
    }
    *used = i;
    return 0;
}

// ---- a head is complete

static struct str trimmed(const char *p, size_t n) {
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) n--;
    return (struct str){p, n};
}

// Copies what was gathered into the stream, names in lower case.
static int take_lines(struct http1 *h, struct stream *st, bool trailer) {
    char *p = stream_alloc(st, h->head.n);
    if (p == NULL) return fail(h, 503, "out of memory");
    if (h->head.n > 0) memcpy(p, buf_p(&h->head), h->head.n);
    if (!trailer) st->s.path = (struct str){p, h->url_n};
    for (size_t i = 0; i < h->line_count; i++) {
        const struct http1_line *line = &h->lines[i];
        char *name = p + line->name;
        for (size_t k = 0; k < line->name_n; k++) {
            if (!header_token_char((unsigned char)name[k]))
                return fail(h, 400, "a header name has a character that is not allowed");
            if (name[k] >= 'A' && name[k] <= 'Z') name[k] = (char)(name[k] + 32);
        }
        struct str value = trimmed(p + line->value, line->value_n);
        if (line->name_n == 0 || !header_value_sound(value))
            return fail(h, 400, "malformed header");
        if (!stream_add_header(st, trailer, (struct str){name, line->name_n}, value))
            return fail(h, 503, "out of memory");
    }
    return 0;
}

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

struct framing {
    unsigned hosts, lengths, encodings;
    bool chunked;
};

static int take_known(struct http1 *h, struct stream *st, struct framing *f) {
    for (size_t i = 0; i < st->s.header_count; i++) {
        struct str name = st->s.headers[i].name;
        struct str value = st->s.headers[i].value;
        if (str_is(name, "host")) {
            f->hosts++;
            if (st->s.authority.n == 0) st->s.authority = value;
        } else if (str_is(name, "content-length")) {
            f->lengths++;
            if (!number_parse(value, &st->s.content_length))
                return fail(h, 400, "content-length is not a number");
        } else if (str_is(name, "transfer-encoding")) {
            f->encodings++;
            f->chunked = str_is_nocase(value, "chunked");
        } else if (str_is(name, "expect")) {
            if (!str_is_nocase(value, "100-continue"))
                return fail(h, 417, "only the expectation 100-continue can be met");
            h->expects = h->parser.http_minor > 0;
        }
    }
    return 0;
}

static int check_framing(struct http1 *h, const struct framing *f) {
    bool old = h->parser.http_minor == 0;
    if (h->parser.http_major != 1 || h->parser.http_minor > 1)
        return fail(h, 505, "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here");
    if (f->hosts > 1 || (f->hosts == 0 && !old))
        return fail(h, 400, "exactly one host header is needed");
    if (f->lengths > 1) return fail(h, 400, "content-length is given twice");
    if (f->lengths > 0 && f->encodings > 0)
        return fail(h, 400, "content-length and transfer-encoding exclude each other");
    if (f->encodings > 1 || (f->encodings == 1 && old))
        return fail(h, 400, "this transfer-encoding is not allowed");
    if (f->encodings == 1 && !f->chunked)
        return fail(h, 501, "the only transfer-encoding that is understood is chunked");
    return 0;
}

static void gathered_clear(struct http1 *h) {
    buf_free(&h->head);
    h->url_n = 0;
    h->line_count = 0;
    if (h->line_cap > 0) pool_give_sized(h->lines, h->line_cap * sizeof *h->lines);
    h->lines = NULL;
    h->line_cap = 0;
    h->in_value = false;
}

static int begin_request(struct http1 *h) {
    struct stream *st = http_stream_new(&h->base);
    if (st == NULL) return fail(h, 503, "out of memory");
    h->cur = st;
    h->expects = false;
    struct framing framing = {0};
    st->s.method = str_of(llhttp_method_name(h->parser.method));
    st->is_head = h->parser.method == HTTP_HEAD;
    if (take_lines(h, st, false) < 0 || take_target(h, st) < 0 || take_known(h, st, &framing) < 0 ||
        check_framing(h, &framing) < 0)
        return -1;
    gathered_clear(h);
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
    h->message_done = h->head_done = false;
    h->blank_lines = 0;
    h->between = 0;
    h->head_bytes = h->line_bytes = 0;
    h->first_line = true;
    h->last = '\0';
    if (st == NULL) { // answered already
        gathered_clear(h);
        h->state = H1_HEAD;
        return 0;
    }
    if (take_lines(h, st, true) < 0) return -1;
    gathered_clear(h);
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

static const char *parser_reason(struct http1 *h) {
    switch (llhttp_get_errno(&h->parser)) {
    case HPE_INVALID_METHOD: return "the request method is not known";
    case HPE_INVALID_URL: return "the request target is malformed";
    case HPE_INVALID_VERSION: return "the HTTP version is malformed";
    case HPE_INVALID_HEADER_TOKEN: return "a header has a character that is not allowed";
    case HPE_INVALID_CONTENT_LENGTH: return "content-length is not a number";
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return "content-length is given twice, or together with transfer-encoding";
    case HPE_INVALID_TRANSFER_ENCODING: return "this transfer-encoding is not allowed";
    case HPE_INVALID_CHUNK_SIZE: return "the size of a chunk is malformed";
    default: return "the request is malformed";
    }
}

// Gives bytes to llhttp; *used tells how many of them belong to the message.
static int execute(struct http1 *h, struct str bytes, size_t *used) {
    *used = bytes.n;
    llhttp_errno_t e = llhttp_execute(&h->parser, bytes.p, bytes.n);
    if (e == HPE_PAUSED && (h->message_done || h->last_chunk)) {
        *used = (size_t)(llhttp_get_error_pos(&h->parser) - bytes.p);
        llhttp_resume(&h->parser);
        return 0;
    }
    return e == HPE_OK ? 0 : fail(h, 400, parser_reason(h));
}

static int parse_head(struct http1 *h, struct str bytes, size_t *used) {
    size_t n = 0;
    size_t taken = 0;
    bool done;
    if (check_head(h, bytes, &n, &done) < 0) return -1;
    if (execute(h, (struct str){bytes.p, n}, &taken) < 0) return -1;
    *used = n;
    if (done != h->head_done || taken != n) return fail(h, 400, "the request is malformed");
    return done ? begin_request(h) : 0;
}

static int parse_body(struct http1 *h, struct str bytes, size_t *used) {
    h->between += bytes.n; // unless something comes of them
    if (execute(h, bytes, used) < 0) return -1;
    if (h->between > CHUNK_LINE && !h->last_chunk && !h->message_done)
        return fail(h, 400, "the line of a chunk is too long");
    if (!h->last_chunk) return 0;
    h->last_chunk = false;
    h->state = H1_TRAILERS;
    h->head_bytes = h->line_bytes = 0;
    h->last = '\0';
    return 0;
}

static int parse_trailers(struct http1 *h, struct str bytes, size_t *used) {
    size_t n = 0;
    size_t taken = 0;
    bool done;
    if (check_head(h, bytes, &n, &done) < 0) return -1;
    if (execute(h, (struct str){bytes.p, n}, &taken) < 0) return -1;
    *used = n;
    if (done != h->message_done || taken != n) return fail(h, 400, "the trailers are malformed");
    return 0;
}

static int parse_step(struct http1 *h, struct str bytes, size_t *used) {
    if (h->state == H1_TUNNEL) {
        *used = bytes.n;
        http1_tunnel_data(h, bytes);
        return 0;
    }
    int rc = h->state == H1_HEAD       ? parse_head(h, bytes, used)
             : h->state == H1_TRAILERS ? parse_trailers(h, bytes, used)
                                       : parse_body(h, bytes, used);
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

static bool wants_close(struct http_session *base) {
    struct http1 *h = http1_of(base);
    return h->closing && h->out.n == 0 && h->cur == NULL;
}

static bool wants_read(struct http_session *base) {
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

static uint32_t head(struct http_session *base) {
    struct http1 *h = http1_of(base);
    return h->state == H1_HEAD && h->head_bytes > 0;
}

static void destroy(struct http_session *base) {
    struct http1 *h = http1_of(base);
    buf_free(&h->out);
    buf_free(&h->backlog);
    gathered_clear(h);
    free(h);
}

static const struct session_ops OPS = {
    .free = destroy,
    .feed = feed,
    .drain = http1_drain,
    .wants_write = http1_wants_write,
    .wants_close = wants_close,
    .wants_read = wants_read,
    .head = head,
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

enum http_version http_session_version(const struct http_session *h) {
    if (h->ops != &OPS) return HTTP_2;
    return ((const struct http1 *)h)->parser.http_minor == 0 ? HTTP_1_0 : HTTP_1_1;
}
