// SPDX-License-Identifier: Apache-2.0
// An HTTP/2 session's own state, shared by http2.c (frames in and out) and http2_submit.c (what
// callers ask for).
#pragma once

#include "net/session.h"

#include <nghttp2/nghttp2.h>

struct http2 {
    struct http_session base;
    nghttp2_session *ng;
    struct buf *out;           // during a drain
    size_t out_end;            // out->n at which no further DATA is begun
    struct stream *in_headers; // whose header block is being read; NULL: none that is known
    bool peer_settings;        // the peer's SETTINGS are here
    bool goaway_final;         // shutdown: the last stream id has been told
    int unsent;        // client streams whose request was refused by nghttp2 before it went out
    double resets;     // how many provoked resets are left before the connection is given up
    int64_t resets_at; // clock_now of the last one
};

static inline struct http2 *http2_of(struct http_session *h) { return (struct http2 *)h; }

extern const struct session_ops HTTP2_OPS;
int http2_error(int rc); // an nghttp2 error as a status

// The parts of HTTP2_OPS that are in http2_submit.c.
int http2_respond(struct stream *st, int status, const struct http_header *headers, size_t count,
                  bool end);
void http2_queued(struct stream *st);
void http2_reset(struct stream *st, uint32_t code);
void http2_consume(struct stream *st, size_t bytes);
void http2_shutdown(struct http_session *h);
ssize_t http2_read_body(nghttp2_session *ng, int32_t id, uint8_t *bytes, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *user);
