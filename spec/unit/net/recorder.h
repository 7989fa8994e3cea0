// SPDX-License-Identifier: Apache-2.0
// For the tests of HTTP sessions: events as text, so that runs can be compared. Runs of `data`
// count as one, since their borders depend on how the bytes came. The user of each event is the
// session's: a struct recorder.
#pragma once

#include "net/http.h"

#include <stdio.h>

struct recorder {
    struct buf log;
    struct http_stream *last; // the latest with a head, NULL after it closed
    bool in_data;
    bool hold;   // do not consume what comes
    size_t held; // bytes not consumed
    size_t data; // bytes seen
    unsigned heads, ends, closes, writables;
    enum http_close why; // of the latest close
    void (*on_head)(struct recorder *r, struct http_stream *s);
    void (*on_end)(struct recorder *r, struct http_stream *s);
    void (*on_writable)(struct recorder *r, struct http_stream *s);
    void *user;
};

static inline struct recorder *recorder_of(struct http_stream *s) {
    return http_session_user(s->session);
}

static inline void recorder_event(struct recorder *r, const char *name) {
    if (r->in_data) buf_append_byte(&r->log, '\n');
    r->in_data = false;
    buf_append_text(&r->log, name);
}

static inline void recorder_headers(struct recorder *r, const struct http_header *h, size_t n) {
    for (size_t i = 0; i < n; i++) {
        buf_append_byte(&r->log, ' ');
        buf_append_str(&r->log, h[i].name);
        buf_append_byte(&r->log, '=');
        buf_append_str(&r->log, h[i].value);
    }
    buf_append_byte(&r->log, '\n');
}

static inline void recorder_head(struct http_stream *s) {
    struct recorder *r = recorder_of(s);
    r->heads++;
    r->last = s;
    recorder_event(r, "head ");
    if (s->status != 0) {
        buf_printf(&r->log, "%d", s->status);
    } else {
        buf_append_str(&r->log, s->method);
        buf_append_byte(&r->log, ' ');
        buf_append_str(&r->log, s->path);
        buf_append_text(&r->log, " at ");
        buf_append_str(&r->log, s->authority);
    }
    if (s->content_length >= 0) buf_printf(&r->log, " (%lld)", (long long)s->content_length);
    recorder_headers(r, s->headers, s->header_count);
    if (r->on_head != NULL) r->on_head(r, s);
}

static inline void recorder_data(struct http_stream *s, struct str bytes) {
    struct recorder *r = recorder_of(s);
    if (!r->in_data) buf_append_text(&r->log, "data ");
    r->in_data = true;
    if (r->log.n < 100000) buf_append_str(&r->log, bytes);
    r->data += bytes.n;
    if (r->hold) {
        r->held += bytes.n;
    } else {
        http_consume(s, bytes.n);
    }
}

static inline void recorder_end(struct http_stream *s) {
    struct recorder *r = recorder_of(s);
    r->ends++;
    recorder_event(r, "end");
    recorder_headers(r, s->trailers, s->trailer_count);
    if (r->on_end != NULL) r->on_end(r, s);
}

static inline void recorder_writable(struct http_stream *s) {
    struct recorder *r = recorder_of(s);
    r->writables++;
    if (r->on_writable != NULL) r->on_writable(r, s);
}

static inline void recorder_closed(struct http_stream *s, enum http_close why) {
    static const char *const WHY[] = {"closed done\n", "closed peer\n", "closed local\n",
                                      "closed refused\n"};
    struct recorder *r = recorder_of(s);
    r->closes++;
    r->why = why;
    if (r->last == s) r->last = NULL;
    recorder_event(r, WHY[why]);
}

static const struct http_events RECORDER_EVENTS = {
    .head = recorder_head,
    .data = recorder_data,
    .end = recorder_end,
    .writable = recorder_writable,
    .closed = recorder_closed,
};
