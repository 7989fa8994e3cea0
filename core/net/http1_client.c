// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1, client side (RFC 9112), with llhttp: requests that are made, and the answers to them.
//
// One request at a time, never pipelined: http_room is FREE between exchanges only, and after one whose both halves are
// complete and whose answer lets the connection live. Anything else ends the connection with the exchange: an answer that is
// complete before its request, "connection: close", HTTP/1.0 without keep-alive, a body until the end of the connection.
//
// An answer may be the way in as a request may: what is doubtful about where it ends breaks the connection (http1_head.c, one
// framing only), and bytes that belong to no answer are never taken for one. So nothing is parsed before the request went
// out, and what comes behind an answer ends the connection.
//
// Answers 1xx are passed over, INTERIMS_MAX of them, but for 101 to a request that asked for it by an `upgrade` header. From
// there on the stream is a tunnel (http1_tunnel.c): `data` and http_send carry the other protocol's bytes, either side's end is
// the end of it.
//
// A request of which nothing went out ends with HTTP_CLOSE_REFUSED, one whose answer did not come whole with HTTP_CLOSE_PEER;
// http_fault says what was wrong.
#include "net/http1.h"

#include <stdlib.h>

#define INTERIMS_MAX 16

static bool no_body(const struct http1 *h) {
    unsigned status = h->parser.status_code;
    return h->cur->is_head || status < 200 || status == 204 || status == 304;
}

static int on_headers_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->head_done = true;
    h->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; // llhttp sees none of a tunnel's bytes
    return no_body(h) ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    struct stream *st = h->cur;
    h->between = 0;
    if (st->reset) return 0;
    st->unconsumed += n;
    session_tell_data(st, (struct str){at, n});
    return 0;
}

static const llhttp_settings_t SETTINGS = {
    .on_header_field = http1_on_field,
    .on_header_value = http1_on_value,
    .on_header_value_complete = http1_on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = http1_on_chunk_header,
    .on_body = on_body,
    .on_message_complete = http1_on_message_complete,
};

// ---- an answer

static int begin_answer(struct http1 *h) {
    struct stream *st = h->cur;
    int status = h->parser.status_code;
    if (status < 100 || status > 599) return fail(h, 502, "the status is none of HTTP's");
    if (status < 200 && status != 101) {
        http1_gathered_clear(h);
        return ++h->interims > INTERIMS_MAX ? fail(h, 502, "too many interim answers") : 0;
    }
    if (http1_take_lines(h, st, false) < 0 || http1_check_framing(h, st) < 0) return -1;
    if (status == 101 && !h->upgrades)
        return fail(h, 502, "the protocol is switched and nobody asked for it");
    http1_gathered_clear(h);
    st->head_done = true;
    st->s.status = status;
    h->state = H1_BODY;
    if (status == 101) {
        http1_tunnel_begin(h);
        h->keep_alive = h->chunked = st->sealed = st->finished = st->ended = false;
        h->body_left = -1;
    }
    if (!st->reset) session_tell_head(st);
    return 0;
}

// `rest`: there are bytes behind it.
static int end_answer(struct http1 *h, bool rest) {
    struct stream *st = h->cur;
    http1_expect_head(h);
    if (!st->head_done || h->state == H1_TUNNEL)
        return 0; // an interim answer, or the head of a tunnel
    if (http1_take_lines(h, st, true) < 0) return -1;
    http1_gathered_clear(h);
    if (rest || !st->ended || h->out.n > 0 || !h->keep_alive || h->base.shutting_down)
        h->closing = true;
    h->state = H1_HEAD;
    h->cur = NULL;
    h->out.n = 0;
    st->input_ended = true;
    session_tell_end(st);
    if (st->reset) h->closing = true;
    stream_close(st, st->reset ? HTTP_CLOSE_LOCAL : HTTP_CLOSE_DONE);
    return 0;
}

static void give_up(struct http1 *h) {
    struct stream *st = h->cur;
    enum http_close why = h->out.n > 0 ? HTTP_CLOSE_REFUSED : HTTP_CLOSE_PEER;
    h->closing = true;
    h->cur = NULL;
    h->out.n = 0;
    if (st != NULL) stream_close(st, st->reset ? HTTP_CLOSE_LOCAL : why);
}

// ---- parsing

static int parse_step(struct http1 *h, struct str bytes, size_t *used) {
    int rc;
    bool done;
    *used = bytes.n;
    if (h->state == H1_TUNNEL) {
        http1_tunnel_data(h, bytes);
        return 0;
    }
    if (h->state == H1_HEAD) {
        rc = http1_parse_head(h, bytes, used, &done);
        if (rc == 0 && done) rc = begin_answer(h);
    } else {
        rc = http1_parse_body(h, bytes, used);
    }
    if (rc < 0) return rc;
    return h->message_done ? end_answer(h, *used < bytes.n) : 0;
}

static int feed(struct http_session *base, struct str bytes) {
    struct http1 *h = http1_of(base);
    if (h->closing || bytes.n == 0) return h->fault == 0 ? 0 : -STATUS_INVALID_ARGUMENT;
    bool asked = h->cur != NULL && h->out.n == 0;
    for (size_t at = 0; asked && at < bytes.n && h->cur != NULL && !h->closing;) {
        size_t used = 0;
        if (parse_step(h, (struct str){bytes.p + at, bytes.n - at}, &used) < 0) give_up(h);
        at += used;
    }
    if (!asked) give_up(h);
    return h->fault == 0 ? 0 : -STATUS_INVALID_ARGUMENT;
}

static void eof(struct http_session *base) {
    struct http1 *h = http1_of(base);
    struct stream *st = h->cur;
    h->eof = true;
    if (st != NULL && h->state == H1_TUNNEL) {
        h->cur = NULL;
        h->closing = st->input_ended = true;
        session_tell_end(st);
        stream_close(st, st->reset ? HTTP_CLOSE_LOCAL : HTTP_CLOSE_DONE);
        return;
    }
    if (st != NULL && h->state == H1_BODY) {
        h->keep_alive = false;
        llhttp_finish(&h->parser); // completes a body that ends with the connection
        if (h->message_done && end_answer(h, false) == 0) return;
    }
    give_up(h);
}

// ---- a request

// As HTTP/1 can write it: a target with a space or a control character in it would be another request.
static bool line_sound(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] == 0x7F) return false; // char is signed
    }
    return s.n > 0;
}

static bool method_sound(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (!header_token_char((unsigned char)s.p[i])) return false;
    }
    return s.n > 0;
}

static bool has_body_by_nature(struct str method) {
    return str_is(method, "POST") || str_is(method, "PUT") || str_is(method, "PATCH");
}

static void put_headers(struct http1 *h, const struct stream *st, const struct http_header *headers,
                        size_t count, bool end) {
    struct buf *out = &h->out;
    buf_append_str(out, st->s.method);
    buf_append_byte(out, ' ');
    buf_append_str(out, st->s.path);
    buf_append_text(out, " HTTP/1.1\r\n");
    http1_put_header(out, &(struct http_header){str_of("host"), st->s.authority});
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name;
        if (str_is_nocase(name, "upgrade")) {
            h->upgrades = true;
            buf_append_text(out, "connection: upgrade\r\nupgrade: ");
            buf_append_str(out, headers[i].value);
            buf_append_text(out, "\r\n");
        } else if (!str_is_nocase(name, "host")) {
            http1_put_header(out, &headers[i]);
        }
    }
    if (h->body_left < 0 && !end) {
        h->chunked = true;
        buf_append_text(out, "transfer-encoding: chunked\r\n");
    } else if (h->body_left < 0 && has_body_by_nature(st->s.method)) {
        buf_append_text(out, "content-length: 0\r\n");
    }
    buf_append_text(out, "\r\n");
}

static int request(struct stream *st, struct str scheme, const struct http_header *headers,
                   size_t count, bool end) {
    struct http1 *h = http1_of(st->s.session);
    (void)scheme;
    if (!method_sound(st->s.method) || !line_sound(st->s.path) || !line_sound(st->s.authority))
        return -STATUS_INVALID_ARGUMENT;
    int rc = http1_given_length(headers, count, &h->body_left);
    if (rc < 0) return rc;
    if (end && h->body_left > 0) return -STATUS_INVALID_ARGUMENT;
    h->chunked = h->upgrades = false;
    h->interims = 0;
    put_headers(h, st, headers, count, end);
    if (h->out.failed || (h->upgrades && !end)) {
        buf_free(&h->out);
        return h->upgrades ? -STATUS_INVALID_ARGUMENT : -STATUS_RESOURCE_EXHAUSTED;
    }
    h->cur = st;
    return 0;
}

static void reset(struct stream *st, uint32_t code) {
    (void)code; // the next drain ends the stream and the connection
    struct http1 *h = http1_of(st->s.session);
    if (h->cur == st) h->out.n = 0;
}

// ---- the table

static void shut_down(struct http_session *base) {
    struct http1 *h = http1_of(base);
    if (h->cur == NULL) h->closing = true;
}

static enum http_room room(const struct http_session *base) {
    const struct http1 *h = (const struct http1 *)base;
    if (base->shutting_down || h->closing) return HTTP_ROOM_ENDING;
    return h->cur == NULL ? HTTP_ROOM_FREE : HTTP_ROOM_FULL;
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
    .shutdown = shut_down,
    .room = room,
    .request = request,
    .queued = http1_queued,
    .reset = reset,
    .consume = http1_consume,
};

struct http_session *http1_client_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user) {
    struct http1 *h = calloc(1, sizeof *h);
    if (h == NULL) return NULL;
    session_init(&h->base, &OPS, events, limits, user);
    h->first_line = true;
    h->body_left = -1;
    llhttp_init(&h->parser, HTTP_RESPONSE, &SETTINGS);
    h->parser.data = h;
    return &h->base;
}
