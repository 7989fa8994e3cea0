// SPDX-License-Identifier: Apache-2.0
// An HTTP/2 session's own state, shared by http2.c (frames in and out) and http2_submit.c (what
// callers ask for).
#pragma once

#include "net/abuse.h"
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
    int unsent;            // client streams whose request was refused by nghttp2 before it went out
    bool goodbye;          // given up, and GOAWAY is still to be said
    int32_t head;          // the stream whose header list is coming in; 0: none
    size_t kept, withheld; // sums over the streams
    size_t idle_bytes;     // that came in since the last ones that were of use
    struct abuse_budgets budgets;
    // http2_recv.c
    size_t recv_skip;            // bytes of the present frame that are still to come
    uint32_t recv_newest;        // of the streams that the peer has opened
    unsigned char recv_held[13]; // of a frame of which not enough has come
    size_t recv_held_n;
};

static inline struct http2 *http2_of(struct http_session *h) { return (struct http2 *)h; }

#define HTTP2_SHUTDOWN_PING "shutdown" // the eight bytes of the PING behind the notice

extern const struct session_ops HTTP2_OPS;
int http2_error(int rc); // an nghttp2 error as a status

// The parts of HTTP2_OPS that are in http2_submit.c.
int http2_respond(struct stream *st, int status, const struct http_header *headers, size_t count,
                  bool end);
int http2_upgrade(struct stream *st, const struct http_header *headers, size_t count);
enum http_room http2_room(const struct http_session *h);
int http2_request(struct stream *st, struct str scheme, const struct http_header *headers,
                  size_t count, bool end);
void http2_queued(struct stream *st);
void http2_reset(struct stream *st, uint32_t code);
void http2_consume(struct stream *st, size_t bytes);
void http2_shutdown(struct http_session *h);
ssize_t http2_read_body(nghttp2_session *ng, int32_t id, uint8_t *bytes, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *user);

// http2_recv.c: bytes from the peer. An nghttp2 error, or 0.
void http2_recv_begin(struct http2 *h); // of a server
int http2_recv(struct http2 *h, struct str bytes);

// http2_keep.c
void http2_keep(struct stream *st, size_t bytes);
void http2_keep_end(struct stream *st); // its answer has begun, or it ends

// http2_guard.c: what is called where, to count what is of no use. An int that is not 0 is to be
// returned from nghttp2's callback: the session is given up.
int http2_give_up(struct http2 *h, enum abuse kind, const char *detail);
int http2_guard_begin(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user);
int http2_guard_whole(struct http2 *h, const nghttp2_frame *frame);
int http2_guard_field(struct http2 *h, struct stream *st);
int http2_guard_list(struct http2 *h, const struct stream *st, size_t length);
void http2_guard_fed(struct http2 *h, size_t bytes);
void http2_guard_failed(struct http2 *h, int rc);
int http2_guard_sent(struct http2 *h, const nghttp2_frame *frame, const struct stream *st);
void http2_guard_done(struct http2 *h); // an answer has gone out whole
void http2_say_goodbye(struct http2 *h, struct buf *out);
