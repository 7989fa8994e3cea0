// SPDX-License-Identifier: Apache-2.0
// HTTP/2: bytes from the peer on their way to nghttp2, past one kind of frame that it must not see.
//
// gRPC's C library (C++, Python, Ruby, PHP, C#) sends RST_STREAM for a call that is cancelled, or late, before its HEADERS went
// out: for a stream that was never opened. RFC 9113 section 5.1 makes that an error of the connection, nghttp2 ends it, and
// with it every other call of that client. So such a reset is dropped here, and counted among the resets.
//
// For this the frames' heads are looked at: how many bytes of the present frame are still to come (`recv_skip`), and of a frame whose
// head is not whole the bytes that are (`recv_held`). All else is handed on in as few pieces as it came in.
#include "net/http2.h"

#include <string.h>

#define HEAD 9 // RFC 9113 section 4.1
#define RESET_LENGTH 4

static size_t length_of(const unsigned char *head) {
    return (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
}

static uint32_t stream_of_head(const unsigned char *head) {
    return ((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]) &
           0x7FFFFFFF;
}

static bool is_reset(const unsigned char *head) {
    return head[3] == NGHTTP2_RST_STREAM && length_of(head) == RESET_LENGTH;
}

// How much of a frame must be there before it is known what becomes of it.
static size_t wanted(const unsigned char *head, size_t n) {
    return n >= HEAD && is_reset(head) ? HEAD + RESET_LENGTH : HEAD;
}

// A frame's head is whole. True: the frame is dropped.
static bool look(struct http2 *h, const unsigned char *head) {
    uint32_t id = stream_of_head(head);
    bool newer = (id & 1) && id > h->recv_newest;
    if (newer && head[3] == NGHTTP2_HEADERS) h->recv_newest = id;
    return newer && is_reset(head);
}

static int hand_on(struct http2 *h, const unsigned char *bytes, size_t n) {
    if (n == 0) return 0;
    ssize_t rc = nghttp2_session_mem_recv(h->ng, bytes, n);
    return rc < 0 ? (int)rc : 0;
}

static int dropped(struct http2 *h) {
    return abuse_spend(&h->budgets, ABUSE_RESETS) ? 0 : http2_give_up(h, ABUSE_RESETS, "");
}

// Goes on with a head that came in pieces; *from moves behind what was taken.
static int take_held(struct http2 *h, const unsigned char **from, const unsigned char *end) {
    while (*from < end && h->recv_held_n < wanted(h->recv_held, h->recv_held_n))
        h->recv_held[h->recv_held_n++] = *(*from)++;
    size_t n = h->recv_held_n;
    if (n < wanted(h->recv_held, n)) return 0;
    h->recv_held_n = 0;
    if (look(h, h->recv_held)) return dropped(h);
    h->recv_skip = HEAD + length_of(h->recv_held) - n;
    return hand_on(h, h->recv_held, n);
}

void http2_recv_begin(struct http2 *h) { h->recv_skip = NGHTTP2_CLIENT_MAGIC_LEN; }

int http2_recv(struct http2 *h, struct str bytes) {
    const unsigned char *from = (const unsigned char *)bytes.p; // not handed on yet
    const unsigned char *p = from;
    const unsigned char *end = from + bytes.n;
    if (!h->base.server) return hand_on(h, from, bytes.n);
    int rc = 0;
    while (p < end && rc == 0) {
        size_t left = (size_t)(end - p);
        if (h->recv_skip > 0) {
            size_t n = h->recv_skip < left ? h->recv_skip : left;
            h->recv_skip -= n;
            p += n;
        } else if (h->recv_held_n > 0 || left < HEAD || left < wanted(p, left)) {
            rc = hand_on(h, from, (size_t)(p - from));
            if (rc == 0) rc = take_held(h, &p, end);
            from = p;
        } else if (look(h, p)) {
            rc = hand_on(h, from, (size_t)(p - from));
            if (rc == 0) rc = dropped(h);
            from = p += HEAD + RESET_LENGTH;
        } else {
            h->recv_skip = HEAD + length_of(p);
        }
    }
    return rc == 0 ? hand_on(h, from, (size_t)(p - from)) : rc;
}
