// SPDX-License-Identifier: Apache-2.0
// What a peer sends, told to the user of the stream; where a request has a content-encoding that is understood, decoded.
//
// The user sees a request without content-encoding and without a length, and gives back bytes as it got them. What came
// waits in `in` as it is, still charged to flow control, and is given back when it has been decoded. So a peer can make us hold its window and,
// of what is decoded and not given back, DECODED_MAX: what unfolds to a thousand times its length is unfolded no faster than it is used.
// What users keep until they have answered (http_keep) is added up for a connection, like HTTP/2's bodies (http2_keep.c):
// over KEPT_MAX only the oldest goes on.
//
// At most DECODE_TURN bytes are made in a turn of the loop for one connection.
//
// A gRPC request is left alone: its messages are what is compressed, and grpc-encoding says how.
#include "net/session.h"

#include <stdlib.h>

#define DECODED_MAX (64 * 1024)
#define KEPT_MAX (2 * 1024 * 1024)
#define DECODE_TURN (128 * 1024)
#define PIECE (16 * 1024)

struct body_decoder {
    struct stream *st;
    struct body_decoder *next, *prev; // of the session, oldest first
    struct decoder *decoder;
    struct buf in;
    size_t at;         // of `in`
    size_t unconsumed; // decoded, told and not given back
    size_t kept;
    struct http_header coding,
        length; // taken out of the head; `length` without a name: there was none
    int64_t content_length;
    bool begun; // something has come: else the body is empty, whatever it claims to be
    bool running;
    bool over; // nothing more is decoded
};

// ---- the head

static void remove_header(struct stream *st, size_t at) {
    struct http_header *list = st->s.headers;
    st->s.header_count--;
    memmove(list + at, list + at + 1, (st->s.header_count - at) * sizeof *list);
}

static enum encoding read_encoding(struct stream *st, size_t *at) {
    enum encoding found = ENCODING_NONE;
    struct str type;
    if (http_header_get(st->s.headers, st->s.header_count, "content-type", &type) &&
        str_starts(type, "application/grpc"))
        return ENCODING_NONE;
    for (size_t i = 0; i < st->s.header_count; i++) {
        if (!str_is(st->s.headers[i].name, "content-encoding")) continue;
        if (found != ENCODING_NONE) return ENCODING_UNKNOWN; // one behind the other
        found = encoding_of(st->s.headers[i].value);
        *at = i;
    }
    return found;
}

static void link_last(struct http_session *h, struct body_decoder *d) {
    struct body_decoder **at = &h->decoding;
    while (*at != NULL) {
        d->prev = *at;
        at = &(*at)->next;
    }
    *at = d;
}

static void begin(struct stream *st, enum encoding which, size_t at) {
    struct body_decoder *d = calloc(1, sizeof *d);
    if (d == NULL || (d->decoder = decoder_new(which)) == NULL) {
        free(d);
        st->s.damaged = true; // told as such at its end: the memory for it is missing
        return;
    }
    d->st = st;
    st->decode = d;
    link_last(st->s.session, d);
    d->coding = st->s.headers[at];
    d->content_length = st->s.content_length;
    remove_header(st, at);
    for (size_t i = 0; i < st->s.header_count; i++) {
        if (!str_is(st->s.headers[i].name, "content-length")) continue;
        d->length = st->s.headers[i];
        remove_header(st, i--);
    }
    st->s.content_length = -1;
}

void session_tell_head(struct stream *st) {
    struct http_session *h = st->s.session;
    size_t at = 0;
    enum encoding which = ENCODING_NONE;
    // A tunnel's bytes are no content, whatever its request says.
    bool content = st->s.upgrade.n == 0;
    if (h->server && h->limits.decode && content) which = read_encoding(st, &at);
    st->s.foreign_encoding = which == ENCODING_UNKNOWN;
    if (which != ENCODING_NONE && which != ENCODING_UNKNOWN) begin(st, which, at);
    h->events->head(&st->s);
}

void http_as_is(struct http_stream *s) {
    struct stream *st = stream_of(s);
    struct body_decoder *d = st->decode;
    st->as_is = true;
    if (d == NULL) return;
    s->headers[s->header_count++] = d->coding; // there was room for both
    if (d->length.name.n > 0) s->headers[s->header_count++] = d->length;
    s->content_length = d->content_length;
    decode_delete(st);
}

// ---- the body

static void unlink(struct body_decoder *d) {
    struct http_session *h = d->st->s.session;
    if (d->prev != NULL) {
        d->prev->next = d->next;
    } else {
        h->decoding = d->next;
    }
    if (d->next != NULL) d->next->prev = d->prev;
}

static void drop_input(struct body_decoder *d) {
    session_give_back(d->st, d->in.n - d->at, false);
    buf_free(&d->in);
    d->at = 0;
}

static void finish(struct body_decoder *d, bool damaged) {
    struct stream *st = d->st;
    d->over = true;
    drop_input(d);
    if (st->reset || st->sealed) return;
    st->s.damaged = damaged;
    st->s.remote_ended = true;
    st->s.session->events->end(&st->s);
}

static const struct body_decoder *oldest_kept(const struct http_session *h) {
    const struct body_decoder *d = h->decoding;
    while (d != NULL && d->kept == 0) d = d->next;
    return d;
}

static bool may_run(const struct body_decoder *d) {
    const struct http_session *h = d->st->s.session;
    if (d->over || d->unconsumed >= DECODED_MAX) return false;
    return d->kept < DECODED_MAX || h->decoded_kept <= KEPT_MAX || oldest_kept(h) == d;
}

// Decodes one piece. False: there is nothing (more) to do with what is here.
static bool step(struct body_decoder *d) {
    struct stream *st = d->st;
    struct http_session *h = st->s.session;
    char piece[PIECE];
    if (st->reset || st->sealed) { // nobody wants it
        d->over = true;
        drop_input(d);
        return false;
    }
    struct str rest = {buf_str(&d->in).p + d->at, d->in.n - d->at};
    size_t before = rest.n;
    ssize_t n = decoder_pull(d->decoder, &rest, piece, sizeof piece);
    size_t taken = before - rest.n;
    d->at += taken;
    session_give_back(st, taken, false);
    bool stuck = n == 0 && taken == 0;
    if (n < 0 || (stuck && before > 0) || (stuck && st->input_ended)) {
        finish(d, n < 0 || before > 0 || (d->begun && !decoder_whole(d->decoder)));
        return false;
    }
    if (stuck) return false;
    h->decode_room -= (size_t)n < h->decode_room ? (size_t)n : h->decode_room;
    d->unconsumed += (size_t)n;
    if (n > 0) h->events->data(&st->s, (struct str){piece, (size_t)n});
    return true;
}

static void run(struct body_decoder *d) {
    struct http_session *h = d->st->s.session;
    if (d->running) return;
    d->running = true;
    while (may_run(d) && h->decode_room > 0) {
        if (!step(d)) break;
    }
    d->running = false;
    if (d->at == d->in.n) {
        d->in.n = d->at = 0;
    } else if (d->at > d->in.n / 2) {
        memmove(buf_p(&d->in), buf_p(&d->in) + d->at, d->in.n - d->at);
        d->in.n -= d->at;
        d->at = 0;
    }
    if (may_run(d) && h->decode_room == 0) h->decode_again = true;
}

void session_tell_data(struct stream *st, struct str bytes) {
    struct body_decoder *d = st->decode;
    if (d == NULL) {
        st->s.session->events->data(&st->s, bytes);
        return;
    }
    if (d->over) {
        session_give_back(st, bytes.n, false);
        return;
    }
    if (st->s.session->conn == NULL) decode_turn(st->s.session);
    d->begun |= bytes.n > 0;
    buf_append_str(&d->in, bytes);
    if (d->in.failed) {
        finish(d, true);
    } else {
        run(d);
    }
}

void session_tell_end(struct stream *st) {
    struct body_decoder *d = st->decode;
    if (d != NULL) {
        if (!d->over) run(d);
        return;
    }
    st->s.remote_ended = true;
    if (!st->reset) st->s.session->events->end(&st->s);
}

void decode_consume(struct stream *st, size_t bytes, bool keep) {
    struct body_decoder *d = st->decode;
    struct http_session *h = st->s.session;
    if (bytes > d->unconsumed) bytes = d->unconsumed;
    d->unconsumed -= bytes;
    if (keep) {
        d->kept += bytes;
        h->decoded_kept += bytes;
    }
    if (!d->running && !d->over)
        h->decode_again = true; // in the next drain: not from within the user's call
}

void decode_keep_end(struct stream *st) {
    struct body_decoder *d = st->decode;
    if (d == NULL) return;
    st->s.session->decoded_kept -= d->kept;
    d->kept = 0;
    st->s.session->decode_again = true;
}

void decode_turn(struct http_session *h) { h->decode_room = DECODE_TURN; }

void decode_run(struct http_session *h) {
    h->decode_again = false;
    for (struct body_decoder *d = h->decoding; d != NULL; d = d->next) {
        if (!d->over) run(d);
    }
}

void decode_delete(struct stream *st) {
    struct body_decoder *d = st->decode;
    if (d == NULL) return;
    struct http_session *h = st->s.session;
    h->decoded_kept -= d->kept;
    h->decode_again |= h->decoding != d || d->next != NULL;
    unlink(d);
    st->decode = NULL;
    decoder_delete(d->decoder);
    buf_free(&d->in);
    free(d);
}
