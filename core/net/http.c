// SPDX-License-Identifier: Apache-2.0
// The interface of net/http.h: checks what callers give, keeps the rules that do not depend on the
// version, and hands on to http1.c or http2.c through the session's table of functions.
//
// Everything that a caller sends as a header is checked here, once: a name must be a token (RFC
// 9110 section 5.6.2) and a value must not hold CR, LF or NUL, so that no answer can be split.
#include "net/abuse.h"
#include "net/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

const struct http_limits HTTP_LIMITS = {
    .header_bytes = 16 * 1024,
    .streams = 128,
    .window = 64 * 1024,
    .connection_window = 4 * 1024 * 1024,
};

bool str_is_nocase(struct str s, const char *lower) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (c != lower[i] || c == '\0') return false;
    }
    return lower[s.n] == '\0';
}

bool number_parse(struct str s, int64_t *out) {
    int64_t n = 0;
    if (s.n == 0) return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = s.p[i] - '0';
        if (digit < 0 || digit > 9 || n > (INT64_MAX - digit) / 10) return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

bool header_is_connection(struct str name) {
    switch (name.n) {
    case 7: return str_is_nocase(name, "upgrade");
    case 10: return str_is_nocase(name, "connection") || str_is_nocase(name, "keep-alive");
    case 16: return str_is_nocase(name, "proxy-connection");
    case 17: return str_is_nocase(name, "transfer-encoding");
    default: return false;
    }
}

// Which characters may be in a name (RFC 9110 section 5.6.2): letters, digits and !#$%&'*+-.^_`|~
static const bool TOKEN[256] = {
    ['!'] = 1,         ['#' ... '\''] = 1, ['*'] = 1,         ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1,  ['^' ... 'z'] = 1, ['|'] = 1, ['~'] = 1};

bool header_token_char(unsigned char c) { return TOKEN[c]; }

#define EACH_BYTE(x) (UINT64_C(0x0101010101010101) * (x))

// May one of these eight bytes be below 0x20 or 0x7F? Never false when one is; seldom true when none is.
static bool suspicious(uint64_t w) {
    uint64_t low = (w - EACH_BYTE(0x20)) & ~w;
    uint64_t del = w ^ EACH_BYTE(0x7F);
    del = (del - EACH_BYTE(1)) & ~del;
    return ((low | del) & EACH_BYTE(0x80)) != 0;
}

static bool bytes_sound(struct str value) {
    unsigned char wrong = 0;
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        wrong |= (unsigned char)((c < 0x20 && c != '\t') || c == 0x7F);
    }
    return wrong == 0;
}

bool header_value_sound(struct str value) {
    if (value.n < 8) return bytes_sound(value);
    uint64_t w;
    memcpy(&w, value.p + value.n - 8, 8); // the last eight, which overlap
    bool doubt = suspicious(w);
    for (size_t i = 0; i + 8 < value.n && !doubt; i += 8) {
        memcpy(&w, value.p + i, 8);
        doubt = suspicious(w);
    }
    return !doubt || bytes_sound(value);
}

bool headers_sound(const struct http_header *headers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name;
        if (name.n == 0 || !header_value_sound(headers[i].value)) return false;
        bool token = true;
        for (size_t k = 0; k < name.n; k++) token &= TOKEN[(unsigned char)name.p[k]];
        if (!token) return false;
    }
    return true;
}

bool http_header_get(const struct http_header *headers, size_t count, const char *name,
                     struct str *value) {
    size_t n = strlen(name);
    for (size_t i = 0; i < count; i++) {
        if (headers[i].name.n == n && memcmp(headers[i].name.p, name, n) == 0) {
            *value = headers[i].value;
            return true;
        }
    }
    return false;
}

// ---- sessions

void session_init(struct http_session *h, const struct session_ops *ops,
                  const struct http_events *events, const struct http_limits *limits, void *user) {
    h->ops = ops;
    h->events = events;
    h->limits = limits == NULL ? HTTP_LIMITS : *limits;
    h->user = user;
    h->abuse = ABUSE_NONE;
}

void http_session_delete(struct http_session *h) {
    if (h == NULL) return;
    h->shutting_down = true;
    h->touched = NULL;
    while (h->streams != NULL) stream_close(h->streams, HTTP_CLOSE_PEER);
    h->ops->free(h);
}

bool http_is_ending(const struct http_session *h) { return h->shutting_down; }
void *http_session_user(const struct http_session *h) { return h->user; }
size_t *http_session_note(struct http_session *h) { return &h->note; }
size_t http_open_streams(const struct http_session *h) { return h->open; }
int http_feed(struct http_session *h, struct str bytes) { return h->ops->feed(h, bytes); }
void session_turn(struct http_session *h) {
    encode_turn(h);
    decode_turn(h);
}

int http_drain(struct http_session *h, struct buf *out, size_t max) {
    if (h->conn == NULL) session_turn(h);
    if (h->decode_again) decode_run(h);
    if (h->encoding != NULL) encode_run(h);
    return h->ops->drain(h, out, max);
}
bool http_wants_write(struct http_session *h) {
    return h->writable != NULL || h->encoding != NULL || h->decode_again || h->ops->wants_write(h);
}
bool http_wants_close(struct http_session *h) { return h->ops->wants_close(h); }
bool session_wants_read(struct http_session *h) { return h->ops->wants_read(h); }
uint32_t session_head(struct http_session *h) { return h->ops->head(h); }
void session_eof(struct http_session *h) { h->ops->eof(h); }
bool session_awaits_body(struct http_session *h) {
    return h->ops->awaits_body != NULL && h->ops->awaits_body(h);
}
void session_give_up(struct http_session *h, int status, const char *detail) {
    h->ops->give_up(h, status, detail);
}

uint32_t http_broken(const struct http_session *h) { return h->broken; }
bool http_headers_too_long(const struct http_stream *s) { return stream_of_const(s)->refused; }

static void touch(struct http_session *h) {
    if (h->touched != NULL) h->touched(h);
}

void http_shutdown(struct http_session *h) {
    if (h->shutting_down) return;
    h->shutting_down = true;
    h->ops->shutdown(h);
    for (struct stream *st = h->streams, *next; st != NULL && h->events->draining != NULL;
         st = next) {
        next = st->next;
        if (st->upgraded && !st->finished && !st->reset) h->events->draining(&st->s);
    }
    touch(h);
}

// ---- streams

bool http_add_header(struct http_stream *s, const char *name, struct str value) {
    struct stream *st = stream_of(s);
    assert(s->session->server && !st->responded);
    for (struct added_header *a = st->added; a != NULL; a = a->next) {
        if (!str_is(a->header.name, name)) continue;
        a->header.value = value;
        return true;
    }
    struct added_header *added = (void *)stream_alloc(st, sizeof *added);
    if (added == NULL) return false;
    *added = (struct added_header){st->added, {str_of(name), value}};
    st->added = added;
    return true;
}

// *headers and what was added, as one list in the stream's memory.
static bool join_added(struct stream *st, const struct http_header **headers, size_t *count) {
    size_t n = *count;
    for (const struct added_header *a = st->added; a != NULL; a = a->next) n++;
    struct http_header *all = (void *)stream_alloc(st, n * sizeof *all);
    if (all == NULL) return false;
    if (*count > 0) memcpy(all, *headers, *count * sizeof *all);
    *headers = all;
    *count = n;
    for (const struct added_header *a = st->added; a != NULL; a = a->next) all[--n] = a->header;
    return true;
}

int http_respond(struct http_stream *s, int status, const struct http_header *headers, size_t count,
                 bool end) {
    struct stream *st = stream_of(s);
    if (st->reset) return -STATUS_CANCELLED;
    if (st->responded || !s->session->server) return -STATUS_FAILED_PRECONDITION;
    if (st->added != NULL && !join_added(st, &headers, &count)) return -STATUS_RESOURCE_EXHAUSTED;
    if (status < 200 || status > 599 || !headers_sound(headers, count))
        return -STATUS_INVALID_ARGUMENT;
    st->no_body = st->is_head || status == 204 || status == 304;
    end = end || st->no_body;
    int rc = answer_begin(st, status, &headers, &count, end);
    if (rc == 0) rc = s->session->ops->respond(st, status, headers, count, end);
    if (rc < 0) return rc;
    decode_keep_end(st);
    st->responded = true;
    st->sealed = st->finished = end;
    s->status = status;
    touch(s->session);
    return 0;
}

int http_upgrade(struct http_stream *s, const struct http_header *headers, size_t count) {
    struct stream *st = stream_of(s);
    if (st->reset) return -STATUS_CANCELLED;
    if (st->responded || s->upgrade.n == 0) return -STATUS_FAILED_PRECONDITION;
    if (!headers_sound(headers, count)) return -STATUS_INVALID_ARGUMENT;
    int rc = s->session->ops->upgrade(st, headers, count);
    if (rc < 0) return rc;
    st->responded = st->upgraded = true;
    s->status = 101;
    touch(s->session);
    return 0;
}

// May body be queued? 1: it is to be dropped; negative: no.
static int may_send(struct stream *st) {
    if (st->reset) return -STATUS_CANCELLED;
    if (!st->responded) return -STATUS_FAILED_PRECONDITION;
    if (st->no_body) return 1;
    return st->sealed ? -STATUS_FAILED_PRECONDITION : 0;
}

static bool queue(struct stream *st, struct str bytes) {
    return st->encode == NULL ? stream_queue(st, bytes)
                              : encode_queue(st, blob_new(bytes.p, bytes.n), 0, bytes.n);
}

static bool queue_part(struct stream *st, struct blob *take, size_t from, size_t n) {
    return st->encode == NULL ? stream_queue_part(st, take, from, n)
                              : encode_queue(st, take, from, n);
}

int http_send(struct http_stream *s, struct str bytes) {
    struct stream *st = stream_of(s);
    int rc = may_send(st);
    if (rc != 0) return rc < 0 ? rc : 0;
    if (!queue(st, bytes)) return -STATUS_RESOURCE_EXHAUSTED;
    s->session->ops->queued(st);
    touch(s->session);
    return 0;
}

int http_send_blob(struct http_stream *s, struct blob *take) {
    return http_send_part(s, take, 0, blob_str(take).n);
}

int http_send_part(struct http_stream *s, struct blob *take, size_t from, size_t n) {
    struct stream *st = stream_of(s);
    int rc = may_send(st);
    if (rc != 0) {
        blob_drop(take);
        return rc < 0 ? rc : 0;
    }
    if (!queue_part(st, take, from, n)) return -STATUS_RESOURCE_EXHAUSTED;
    s->session->ops->queued(st);
    touch(s->session);
    return 0;
}

size_t http_queued(const struct http_stream *s) {
    const struct stream *st = stream_of_const(s);
    return st->queued + encode_waiting(st);
}

static int keep_trailers(struct stream *st, const struct http_header *trailers, size_t count) {
    if (count == 0) return 0;
    st->out_trailers = (void *)stream_alloc(st, count * sizeof *trailers);
    if (st->out_trailers == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (header_is_connection(trailers[i].name)) continue;
        struct http_header *to = &st->out_trailers[n++];
        if (!stream_keep(st, trailers[i].name, &to->name) ||
            !stream_keep(st, trailers[i].value, &to->value))
            return -STATUS_RESOURCE_EXHAUSTED;
    }
    st->out_trailer_count = n;
    return 0;
}

int http_finish(struct http_stream *s, const struct http_header *trailers, size_t count) {
    struct stream *st = stream_of(s);
    int rc = may_send(st);
    if (rc != 0) return rc < 0 ? rc : 0;
    if (!headers_sound(trailers, count)) return -STATUS_INVALID_ARGUMENT;
    rc = keep_trailers(st, trailers, count);
    if (rc < 0) return rc;
    st->sealed = true;
    if (st->encode == NULL) {
        st->finished = true;
    } else {
        encode_end(st);
    }
    s->session->ops->queued(st);
    touch(s->session);
    return 0;
}

void http_reset(struct http_stream *s, uint32_t code) {
    struct stream *st = stream_of(s);
    if (st->reset) return;
    st->reset = true;
    s->session->ops->reset(st, code);
    touch(s->session);
}

void http_accuse(struct http_stream *s, enum abuse kind, const char *detail) {
    struct http_session *h = s->session;
    if (h->abuse != ABUSE_NONE) return;
    h->abuse = (uint8_t)kind;
    snprintf(h->fault, sizeof h->fault, "%s", detail);
    touch(h);
}

void session_give_back(struct stream *st, size_t bytes, bool keep) {
    const struct session_ops *ops = st->s.session->ops;
    assert(bytes <= st->unconsumed);
    if (bytes > st->unconsumed) bytes = st->unconsumed;
    if (bytes == 0) return;
    st->unconsumed -= bytes;
    if (keep && ops->keep != NULL) {
        ops->keep(st, bytes);
    } else {
        ops->consume(st, bytes);
    }
    touch(st->s.session);
}

static void give_back(struct http_stream *s, size_t bytes, bool keep) {
    struct stream *st = stream_of(s);
    if (st->decode == NULL) {
        session_give_back(st, bytes, keep);
        return;
    }
    decode_consume(st, bytes, keep);
    if (s->session->decode_again) touch(s->session);
}

void http_consume(struct http_stream *s, size_t bytes) { give_back(s, bytes, false); }

void http_keep(struct http_stream *s, size_t bytes) { give_back(s, bytes, true); }

void http_keep_end(struct http_stream *s) {
    const struct session_ops *ops = s->session->ops;
    decode_keep_end(stream_of(s));
    if (ops->keep_end != NULL) ops->keep_end(stream_of(s));
    touch(s->session);
}
