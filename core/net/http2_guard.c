// SPDX-License-Identifier: Apache-2.0
// HTTP/2: what a peer may do that is of no use (net/abuse.h), counted frame by frame.
//
// nghttp2 1.52 bounds some of it itself: CONTINUATION frames of a header list (8), entries of a
// SETTINGS frame (32), answers to PING and SETTINGS that wait to be sent (1,000). It does not count
// resets that it is made to send, nor what costs only time. The one bucket that it has, for the
// peer's resets, ends a connection as INTERNAL_ERROR; it is set aside for ours.
//
// A session that is given up says GOAWAY with ENHANCE_YOUR_CALM and nothing else: what waited to be
// sent is dropped, and its streams end. The frame is written here, since nghttp2 would put it behind what waits.
#include "net/http2.h"

#include <stdio.h>

#define SMALL_DATA 256           // bytes; a larger frame pays for itself
#define CRUMB 64                 // bytes; a smaller piece of a longer body is one
#define WHOLE_PIECE 1024         // a piece of this size makes up for one
#define FREE_FIELDS 100          // of a header list; each one more is counted
#define IDLE_BYTES (1024 * 1024) // without a request, a body, or an answer that goes out
#define BOMB 16                  // times the limit of a header list

int http2_give_up(struct http2 *h, enum abuse kind, const char *detail) {
    if (h->base.abuse == ABUSE_NONE) {
        h->base.abuse = (uint8_t)kind;
        snprintf(h->base.fault, sizeof h->base.fault, "%s", detail);
        h->goodbye = true;
        h->base.broken = NGHTTP2_ENHANCE_YOUR_CALM;
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int spend(struct http2 *h, enum abuse kind) {
    return abuse_spend(&h->budgets, kind) ? 0 : http2_give_up(h, kind, "");
}

static bool gone(nghttp2_session *ng, int32_t id) {
    return nghttp2_session_get_stream_user_data(ng, id) == NULL;
}

// ---- in

static int guard_data(struct http2 *h, const nghttp2_frame_hd *hd) {
    if (hd->length >= SMALL_DATA) return 0;
    bool end = hd->flags & NGHTTP2_FLAG_END_STREAM;
    if (hd->length == 0 && !end) return spend(h, ABUSE_EMPTY_DATA);
    return gone(h->ng, hd->stream_id) ? spend(h, ABUSE_IDLE_FRAMES) : 0;
}

static int guard_headers(struct http2 *h, const nghttp2_frame_hd *hd) {
    h->head = hd->stream_id;
    if (hd->stream_id > nghttp2_session_get_last_proc_stream_id(h->ng)) return 0;
    // For a stream that is gone: unpacked (the table of HPACK needs it) and dropped.
    return h->base.server && gone(h->ng, hd->stream_id) ? spend(h, ABUSE_PROVOKED) : 0;
}

int http2_guard_begin(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user) {
    struct http2 *h = user;
    bool ack = hd->flags & NGHTTP2_FLAG_ACK;
    (void)ng;
    h->head = 0;
    switch (hd->type) {
    case NGHTTP2_DATA: return guard_data(h, hd);
    case NGHTTP2_HEADERS: return guard_headers(h, hd);
    case NGHTTP2_CONTINUATION: return 0;
    case NGHTTP2_RST_STREAM: return h->base.server ? spend(h, ABUSE_RESETS) : 0;
    case NGHTTP2_SETTINGS: return spend(h, ack ? ABUSE_IDLE_FRAMES : ABUSE_SETTINGS);
    case NGHTTP2_PING: return spend(h, ack ? ABUSE_IDLE_FRAMES : ABUSE_PINGS);
    case NGHTTP2_GOAWAY: return spend(h, ABUSE_GOAWAYS);
    case NGHTTP2_WINDOW_UPDATE: return spend(h, ABUSE_WINDOW_UPDATES);
    default: return spend(h, ABUSE_IDLE_FRAMES);
    }
}

// A frame that is whole.
int http2_guard_whole(struct http2 *h, const nghttp2_frame *frame) {
    if (frame->hd.type == NGHTTP2_HEADERS) h->head = 0;
    if (frame->hd.type != NGHTTP2_DATA || frame->hd.length == 0) return 0;
    bool padding_only = frame->hd.length == frame->data.padlen;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    return padding_only && !end ? spend(h, ABUSE_EMPTY_DATA) : 0;
}

// One more field of a header list. Lists that are over their limit cost a reset, or are bombs.
int http2_guard_field(struct http2 *h, struct stream *st) {
    if (!st->refused) return ++st->fields > FREE_FIELDS ? spend(h, ABUSE_FIELDS) : 0;
    bool bomb = st->header_bytes / BOMB > h->base.limits.header_bytes;
    return bomb ? http2_give_up(h, ABUSE_HEADER_BOMB, "") : 0;
}

// A header list is whole; its (first) frame had so many bytes. What unpacks to less than it was is
// no list but changes of the table's size.
int http2_guard_list(struct http2 *h, const struct stream *st, size_t length) {
    bool hollow = length > 2 * st->header_bytes + SMALL_DATA;
    return hollow ? http2_give_up(h, ABUSE_HEADER_BOMB, "") : 0;
}

// All of it was parsed. What nghttp2 skips without telling (frames of unknown types) is seen here.
void http2_guard_fed(struct http2 *h, size_t bytes) {
    h->idle_bytes += bytes;
    if (h->idle_bytes > IDLE_BYTES) http2_give_up(h, ABUSE_IDLE_FRAMES, "");
}

// nghttp2 has given up reading.
void http2_guard_failed(struct http2 *h, int rc) {
    switch (rc) {
    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_CALLBACK_FAILURE: return; // it is said already, or memory has ended
    case NGHTTP2_ERR_FLOODED: http2_give_up(h, ABUSE_PINGS, "answers are not read"); return;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: http2_give_up(h, ABUSE_CONTINUATION, ""); return;
    default: http2_give_up(h, ABUSE_BROKEN_HTTP2, nghttp2_strerror(rc)); return;
    }
}

// ---- out

static int guard_piece(struct http2 *h, const struct stream *st, size_t length) {
    h->idle_bytes = 0;
    abuse_earn(&h->budgets, ABUSE_PINGS, 1);
    abuse_earn(&h->budgets, ABUSE_WINDOW_UPDATES, 4 + (int32_t)length / 2);
    if (length >= WHOLE_PIECE) {
        abuse_earn(&h->budgets, ABUSE_CRUMBS, 1);
    } else if (length < CRUMB && st != NULL && st->queued > 0) {
        return spend(h, ABUSE_CRUMBS);
    }
    return 0;
}

// nghttp2 ends the connection for an error of the peer.
static int guard_goaway(struct http2 *h, const nghttp2_goaway *goaway) {
    if (goaway->error_code == NGHTTP2_NO_ERROR || h->base.abuse != ABUSE_NONE) return 0;
    snprintf(h->base.fault, sizeof h->base.fault, "%s%s%.*s",
             nghttp2_http2_strerror(goaway->error_code), goaway->opaque_data_len > 0 ? ", " : "",
             (int)goaway->opaque_data_len, (const char *)goaway->opaque_data);
    h->base.abuse = ABUSE_BROKEN_HTTP2;
    return 0;
}

int http2_guard_sent(struct http2 *h, const nghttp2_frame *frame, const struct stream *st) {
    switch (frame->hd.type) {
    case NGHTTP2_DATA: return guard_piece(h, st, frame->hd.length);
    case NGHTTP2_GOAWAY: return guard_goaway(h, &frame->goaway);
    case NGHTTP2_RST_STREAM: {
        bool ours = st != NULL && st->reset;
        bool provoked = !ours && frame->rst_stream.error_code != NGHTTP2_NO_ERROR;
        return provoked ? spend(h, ABUSE_PROVOKED) : 0;
    }
    default: return 0;
    }
}

void http2_guard_done(struct http2 *h) {
    abuse_earn(&h->budgets, ABUSE_RESETS, 1);
    abuse_earn(&h->budgets, ABUSE_PROVOKED, 1);
    abuse_earn(&h->budgets, ABUSE_PINGS, 1);
    abuse_earn(&h->budgets, ABUSE_WINDOW_UPDATES, 4);
    abuse_earn(&h->budgets, ABUSE_IDLE_FRAMES, 4);
}

// The last frame of a session that is given up.
void http2_say_goodbye(struct http2 *h, struct buf *out) {
    uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(h->ng);
    const unsigned char frame[] = {0,
                                   0,
                                   8,
                                   NGHTTP2_GOAWAY,
                                   0,
                                   0,
                                   0,
                                   0,
                                   0,
                                   (unsigned char)(last >> 24),
                                   (unsigned char)(last >> 16),
                                   (unsigned char)(last >> 8),
                                   (unsigned char)last,
                                   0,
                                   0,
                                   0,
                                   NGHTTP2_ENHANCE_YOUR_CALM};
    buf_append(out, frame, sizeof frame);
    h->goodbye = false;
}
