// SPDX-License-Identifier: Apache-2.0
// HTTP/1: what goes out. Heads are written into `out` when they are given; the body follows from
// the stream's queue while a drain asks for it, so the order on the wire is the order of the
// requests.
//
// When the last byte of an answer has gone out the stream ends; then the next request is parsed
// from the backlog, within the same drain. An answer that is complete before its request lets the
// rest of the request be discarded up to a bound, after which the connection closes.
#include "net/http1.h"

#include <stdio.h>

#define DISCARD_MAX (256 * 1024)

// Header names of an answer that are this file's own decision.
static bool skip_header(struct str name) { return header_is_connection(name); }

static void put_header(struct buf *out, struct str name, struct str value) {
    if (!buf_reserve(out, name.n + value.n + 4)) return;
    buf_append_str(out, name);
    buf_append(out, ": ", 2);
    buf_append_str(out, value);
    buf_append(out, "\r\n", 2);
}

void http1_put_header(struct buf *out, const struct http_header *header) {
    if (!skip_header(header->name)) put_header(out, header->name, header->value);
}

static void put_status_line(struct buf *out, int status) {
    if (status == 200) {
        buf_append_text(out, "HTTP/1.1 200 OK\r\n");
        return;
    }
    buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
}

void http1_continue(struct http1 *h) {
    buf_append_text(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
    h->expects = false;
}

void http1_answer_fault(struct http1 *h, int status, const char *detail) {
    const char *reason = http_reason(status);
    char body[512];
    int n = snprintf(body, sizeof body,
                     "{\"id\":\"api\",\"code\":%d,\"detail\":\"%s\",\"status\":\"%s\"}", status,
                     detail, reason);
    put_status_line(&h->out, status);
    buf_printf(
        &h->out,
        "content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s", n,
        body);
}

// How the body is delimited, and with it whether the connection may live on.
static void put_framing(struct http1 *h, struct stream *st, bool end) {
    if (st->no_body) return;
    if (end) {
        if (h->body_left < 0) buf_append_text(&h->out, "content-length: 0\r\n");
    } else if (h->body_left < 0 && h->parser.http_minor > 0) {
        h->chunked = true;
        buf_append_text(&h->out, "transfer-encoding: chunked\r\n");
    } else if (h->body_left < 0) {
        h->keep_alive = false; // HTTP/1.0: the end of the connection is the end of the body
    }
}

static void put_connection(struct http1 *h) {
    if (h->base.shutting_down || h->expects) h->keep_alive = false;
    if (!h->keep_alive) {
        buf_append_text(&h->out, "connection: close\r\n");
    } else if (h->parser.http_minor == 0) {
        buf_append_text(&h->out, "connection: keep-alive\r\n");
    }
}

int http1_respond(struct stream *st, int status, const struct http_header *headers, size_t count,
                  bool end) {
    struct http1 *h = http1_of(st->s.session);
    if (h->cur != st) return -STATUS_CANCELLED;
    h->body_left = -1;
    h->chunked = false;
    int64_t length = -1;
    for (size_t i = 0; i < count; i++) {
        if (!str_is_nocase(headers[i].name, "content-length")) continue;
        if (length >= 0 || !number_parse(headers[i].value, &length))
            return -STATUS_INVALID_ARGUMENT;
    }
    if (end && length > 0 && !st->no_body) return -STATUS_INVALID_ARGUMENT;
    h->body_left = length;
    put_status_line(&h->out, status);
    for (size_t i = 0; i < count; i++) http1_put_header(&h->out, &headers[i]);
    put_framing(h, st, end);
    put_connection(h);
    buf_append_text(&h->out, "\r\n");
    return 0;
}

void http1_queued(struct stream *st) { (void)st; } // a drain looks at the queue itself

void http1_reset(struct stream *st, uint32_t code) {
    (void)st, (void)code; // the next drain ends the stream and the connection
}

void http1_consume(struct stream *st, size_t bytes) { (void)st, (void)bytes; }

// ---- draining

static bool answer_waits(const struct stream *st) {
    return st->responded && !st->ended && (st->queued > 0 || st->finished);
}

bool http1_wants_write(struct http_session *base) {
    struct http1 *h = http1_of(base);
    if (h->out.n > 0) return true;
    return h->cur != NULL && (h->cur->reset || answer_waits(h->cur));
}

static void put_body(struct http1 *h, struct stream *st, struct buf *out, size_t max) {
    size_t n = st->queued < max ? st->queued : max;
    if (n == 0) return;
    if (h->chunked) {
        char size[24];
        int digits = snprintf(size, sizeof size, "%zx\r\n", n);
        buf_append(out, size, (size_t)digits);
        stream_dequeue(st, out, n);
        buf_append(out, "\r\n", 2);
        return;
    }
    stream_dequeue(st, out, n);
    if (h->body_left >= 0) h->body_left -= (int64_t)n;
}

static void put_end(struct http1 *h, struct stream *st, struct buf *out) {
    st->ended = true;
    if (!h->chunked) return;
    buf_append(out, "0\r\n", 3);
    for (size_t i = 0; i < st->out_trailer_count; i++) {
        struct str name = st->out_trailers[i].name;
        if (!skip_header(name) && !str_is_nocase(name, "content-length"))
            put_header(out, name, st->out_trailers[i].value);
    }
    buf_append(out, "\r\n", 2);
}

// Breaks off: what was promised cannot be kept, so only the end of the connection tells the peer.
static void break_off(struct http1 *h, enum http_close why) {
    struct stream *st = h->cur;
    h->cur = NULL;
    h->closing = true;
    stream_close(st, why);
}

static void answer_complete(struct http1 *h) {
    struct stream *st = h->cur;
    h->cur = NULL;
    if (h->state == H1_WAIT) {
        h->state = H1_HEAD;
    } else {
        h->discard_left = DISCARD_MAX;
    }
    if (!h->keep_alive || h->base.shutting_down) h->closing = true;
    stream_close(st, HTTP_CLOSE_DONE);
    if (!h->closing) http1_parse_backlog(h);
}

// One step of the present answer; false when there is nothing to do now.
static bool answer_step(struct http1 *h, struct buf *out, size_t max) {
    struct stream *st = h->cur;
    if (st == NULL) return false;
    if (st->reset) {
        break_off(h, HTTP_CLOSE_LOCAL);
        return false;
    }
    if (!answer_waits(st)) return false;
    bool fixed = !h->chunked && h->body_left >= 0 && !st->no_body;
    if (fixed && (int64_t)st->queued > h->body_left) {
        break_off(h, HTTP_CLOSE_LOCAL); // more than content-length promised
        return false;
    }
    put_body(h, st, out, max);
    if (!st->finished || st->queued > 0) return st->queued > 0;
    if (fixed && h->body_left > 0) {
        break_off(h, HTTP_CLOSE_LOCAL); // less than it
        return false;
    }
    put_end(h, st, out);
    answer_complete(h);
    return true;
}

int http1_drain(struct http_session *base, struct buf *out, size_t max) {
    struct http1 *h = http1_of(base);
    size_t end = out->n + max;
    bool more = true;
    while (more && out->n < end) {
        buf_append_str(out, buf_str(&h->out));
        h->out.n = 0;
        more = out->n < end && answer_step(h, out, end - out->n);
    }
    if (out->n < end && h->out.n > 0) {
        buf_append_str(out, buf_str(&h->out));
        h->out.n = 0;
    }
    session_tell_writable(base);
    if (h->out.n == 0 && !h->out.failed) buf_free(&h->out);
    return out->failed || h->out.failed ? -STATUS_RESOURCE_EXHAUSTED : 0;
}
