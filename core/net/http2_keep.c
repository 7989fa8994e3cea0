// SPDX-License-Identifier: Apache-2.0
// HTTP/2: bodies of requests that are kept until they are whole and answered, and long messages of streams until they are whole
// and taken.
//
// A body may be megabytes, and a connection has many streams: together they would be hundreds of
// megabytes that a peer makes us hold by sending all of each body but its end. So what is kept for
// a connection is added up. Over KEPT_MAX a stream's window is not opened again, until others have
// been answered; only the oldest one still gets room, so that there is always one that can become
// whole. The connection's own window is given back in any case: messages of streams go on.
//
// A stream's charge ends when its user says so (http_keep_end), with the head of its answer, or with the stream.
#include "net/http2.h"

#define KEPT_MAX (2 * 1024 * 1024)

static void give_room(struct http2 *h, struct stream *st) {
    size_t n = st->withheld;
    st->withheld = 0;
    h->withheld -= n;
    nghttp2_session_consume_stream(h->ng, st->id, n); // fails only when it is gone
}

static struct stream *oldest_kept(struct http2 *h) {
    struct stream *found = NULL;
    for (struct stream *st = h->base.streams; st != NULL; st = st->next) { // newest first
        if (st->kept > 0) found = st;
    }
    return found;
}

// Opens the windows that may be opened now.
static void look_again(struct http2 *h) {
    if (h->withheld == 0) return;
    if (h->kept > KEPT_MAX) {
        struct stream *oldest = oldest_kept(h);
        if (oldest != NULL && oldest->withheld > 0) give_room(h, oldest);
        return;
    }
    for (struct stream *st = h->base.streams; st != NULL; st = st->next) {
        if (st->withheld > 0) give_room(h, st);
    }
}

void http2_keep(struct stream *st, size_t bytes) {
    struct http2 *h = http2_of(st->s.session);
    st->kept += bytes;
    h->kept += bytes;
    st->withheld += bytes;
    h->withheld += bytes;
    nghttp2_session_consume_connection(h->ng, bytes);
    look_again(h);
}

void http2_keep_end(struct stream *st) {
    struct http2 *h = http2_of(st->s.session);
    if (st->kept == 0) return;
    h->kept -= st->kept;
    st->kept = 0;
    if (st->withheld > 0) give_room(h, st);
    look_again(h);
}
