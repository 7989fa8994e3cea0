// SPDX-License-Identifier: Apache-2.0
// Content codings between a stream and its user, whoever that is: answers are compressed for peers that ask for it. So no
// handler knows of it, and each way of answering (a whole answer, lines, events, a file) has it.
//
// The head decides (answer_begin): the type is worth it, the body is long enough or of unknown length, nobody has encoded it
// or forbidden it, the peer wants it, and the loop's encoders have room. Such a head loses its content-length, gets
// content-encoding, and its strong ETag becomes a weak one, since the bytes differ (RFC 9110 section 8.8.3.3). A head that would have been
// encoded for another peer says `vary`.
//
// What is sent then waits as it is, in order, and goes through the encoder when the session is drained: at most
// ENCODE_TURN bytes of a connection in a turn of the loop, so that the others have theirs in between (about a tenth of a
// millisecond). When nothing waits any more, what is in the encoder is flushed: a message goes out in the turn in which it
// was sent, and messages of one turn share a flush.
#include "net/session.h"

#include <stdlib.h>

#define ENCODE_TURN (16 * 1024)
#define EXTRA 2 // headers that are added: content-encoding, vary

struct piece { // of a body, before it is encoded
    struct piece *next;
    struct blob *blob;
    struct str rest; // of its bytes
};

struct body_encoder {
    struct stream *st;
    struct body_encoder *next; // of the session, with something to do
    struct encoder *encoder;
    struct piece *first, *last;
    size_t waiting; // bytes in all pieces
    bool listed;
    bool above;     // more than HTTP_LOW_WATER waited
    bool unflushed; // the encoder may hold bytes back
    bool broken;    // no memory: the stream is reset
};

// ---- the head

static bool has_token(struct str list, const char *word) {
    while (list.n > 0) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma == NULL ? list.n : (size_t)(comma - list.p);
        struct str part = {list.p, n};
        while (part.n > 0 && part.p[0] == ' ') part = (struct str){part.p + 1, part.n - 1};
        while (part.n > 0 && part.p[part.n - 1] == ' ') part.n--;
        if (str_is_nocase(part, word)) return true;
        list = comma == NULL ? (struct str){NULL, 0} : (struct str){comma + 1, list.n - n - 1};
    }
    return false;
}

struct answer {
    bool worth;     // its type is
    bool forbidden; // encoded already, a part of something, or no-transform
    bool varies;    // says so already
    int64_t length; // -1: not known
};

static struct answer look(const struct http_header *headers, size_t count) {
    struct answer a = {.length = -1};
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name;
        struct str value = headers[i].value;
        switch (name.n) {
        case 4:
            a.varies |= str_is_nocase(name, "vary") &&
                        (has_token(value, "accept-encoding") || has_token(value, "*"));
            break;
        case 12: a.worth |= str_is_nocase(name, "content-type") && encoding_worth(value); break;
        case 13:
            a.forbidden |=
                str_is_nocase(name, "content-range") ||
                (str_is_nocase(name, "cache-control") && has_token(value, "no-transform"));
            break;
        case 14:
            if (str_is_nocase(name, "content-length")) number_parse(value, &a.length);
            break;
        case 16: a.forbidden |= str_is_nocase(name, "content-encoding"); break;
        default: break;
        }
    }
    return a;
}

// All accept-encoding lines as one; two short ones are joined, more are left out.
static enum encoding wanted(const struct stream *st) {
    enum encoding found = ENCODING_NONE;
    char joined[256];
    size_t n = 0;
    for (size_t i = 0; i < st->s.header_count; i++) {
        const struct http_header *h = &st->s.headers[i];
        if (h->name.n != 15 || memcmp(h->name.p, "accept-encoding", 15) != 0) continue;
        if (n == 0) found = encoding_choose(h->value);
        if (n + h->value.n + 1 > sizeof joined) break;
        if (n > 0) joined[n++] = ',';
        if (h->value.n > 0) memcpy(joined + n, h->value.p, h->value.n);
        n += h->value.n;
        found = encoding_choose((struct str){joined, n});
    }
    return found;
}

// W/"..." for "..."; the header's own bytes stay where they are.
static bool weaken(struct stream *st, struct http_header *etag) {
    if (etag->value.n == 0 || etag->value.p[0] != '"') return true;
    char *p = stream_alloc(st, etag->value.n + 2);
    if (p == NULL) return false;
    memcpy(p, "W/", 2);
    memcpy(p + 2, etag->value.p, etag->value.n);
    etag->value = (struct str){p, etag->value.n + 2};
    return true;
}

// Begins an encoder for the stream; NULL: the answer goes as it is. A HEAD's answer has the head alone.
static bool encoder_begin(struct stream *st, enum encoding which) {
    struct encoders *pool = st->s.session->encoders;
    encode_delete(st); // of a head that could not be sent
    if (st->is_head) return true;
    struct body_encoder *b = calloc(1, sizeof *b);
    if (b == NULL) return false;
    b->st = st;
    b->encoder = encoders_take(pool, which);
    if (b->encoder == NULL) {
        free(b);
        return false;
    }
    st->encode = b;
    return true;
}

static enum encoding choose(struct stream *st, int status, const struct answer *a, bool end) {
    struct http_session *h = st->s.session;
    bool empty = (end && !st->is_head) || a->length == 0;
    bool old = http_session_version(h) == HTTP_1_0;
    if (empty || old || status == 206 || (st->no_body && !st->is_head)) return ENCODING_NONE;
    return wanted(st);
}

// Copies the list without what the encoded answer does not have, and with what it has.
static bool encoded_list(struct stream *st, const struct http_header *from, size_t count,
                         enum encoding which, struct http_header *to, size_t *n) {
    for (size_t i = 0; i < count; i++) {
        if (which != ENCODING_NONE && str_is_nocase(from[i].name, "content-length")) continue;
        to[(*n)++] = from[i];
        if (which != ENCODING_NONE && str_is_nocase(from[i].name, "etag") &&
            !weaken(st, &to[*n - 1]))
            return false;
    }
    if (which != ENCODING_NONE)
        to[(*n)++] = (struct http_header){str_of("content-encoding"), str_of(encoding_name(which))};
    return true;
}

int answer_begin(struct stream *st, int status, const struct http_header **headers, size_t *count,
                 bool end) {
    struct http_session *h = st->s.session;
    bool coding = h->limits.compress_min > 0 && h->encoders != NULL;
    struct answer a = {0};
    if (coding) a = look(*headers, *count);
    bool long_enough = a.length < 0 || (uint64_t)a.length >= h->limits.compress_min;
    bool worth = a.worth && !a.forbidden && long_enough;
    if (!worth) return 0;
    enum encoding which = choose(st, status, &a, end);
    if (which != ENCODING_NONE && !encoder_begin(st, which)) which = ENCODING_NONE;
    struct http_header *list = (void *)stream_alloc(st, (*count + EXTRA) * sizeof *list);
    size_t n = 0;
    if (list == NULL || !encoded_list(st, *headers, *count, which, list, &n))
        return -STATUS_RESOURCE_EXHAUSTED;
    if (!a.varies) list[n++] = (struct http_header){str_of("vary"), str_of("accept-encoding")};
    *headers = list;
    *count = n;
    return 0;
}

// ---- the body

static void list_up(struct body_encoder *b) {
    struct http_session *h = b->st->s.session;
    if (b->listed) return;
    b->listed = true;
    b->next = NULL;
    struct body_encoder **at = &h->encoding;
    while (*at != NULL) at = &(*at)->next;
    *at = b;
}

static void unlist(struct body_encoder *b) {
    if (!b->listed) return;
    struct body_encoder **at = &b->st->s.session->encoding;
    while (*at != b) at = &(*at)->next;
    *at = b->next;
    b->listed = false;
}

bool encode_queue(struct stream *st, struct blob *take, size_t from, size_t n) {
    struct body_encoder *b = st->encode;
    if (take == NULL || n == 0) {
        blob_drop(take);
        return take != NULL;
    }
    struct piece *piece = malloc(sizeof *piece);
    if (piece == NULL) {
        blob_drop(take);
        return false;
    }
    *piece = (struct piece){NULL, take, {take->p + from, n}};
    if (b->first == NULL) {
        b->first = piece;
    } else {
        b->last->next = piece;
    }
    b->last = piece;
    b->waiting += n;
    st->s.session->queued += n;
    b->above |= b->waiting >= HTTP_LOW_WATER;
    list_up(b);
    return true;
}

void encode_end(struct stream *st) { list_up(st->encode); }

size_t encode_waiting(const struct stream *st) {
    return st->encode == NULL ? 0 : st->encode->waiting;
}

static void drop_first(struct body_encoder *b) {
    struct piece *piece = b->first;
    b->first = piece->next;
    blob_drop(piece->blob);
    free(piece);
}

static bool push(struct body_encoder *b, struct str bytes, enum encoder_op op) {
    struct http_session *h = b->st->s.session;
    struct buf out = {0};
    if (encoder_push(h->encoders, b->encoder, bytes, op, &out) == 0 &&
        stream_queue(b->st, buf_str(&out))) {
        buf_free(&out);
        return true;
    }
    buf_free(&out);
    b->broken = true;
    http_reset(&b->st->s, HTTP2_INTERNAL_ERROR);
    return false;
}

// Encodes a piece, or ends or flushes the body. False: there is nothing to do any more.
static bool step(struct body_encoder *b) {
    struct stream *st = b->st;
    struct http_session *h = st->s.session;
    if (st->reset || b->broken) return false;
    if (b->first == NULL) {
        bool end = st->sealed;
        if (!end && !b->unflushed) return false;
        if (!push(b, str_of(""), end ? ENCODER_END : ENCODER_FLUSH)) return false;
        b->unflushed = false;
        if (end) st->finished = true;
        return false;
    }
    struct str *rest = &b->first->rest;
    size_t n = rest->n < h->encode_room ? rest->n : h->encode_room;
    if (!push(b, (struct str){rest->p, n}, ENCODER_MORE)) return false;
    b->unflushed = true;
    *rest = (struct str){rest->p + n, rest->n - n};
    b->waiting -= n;
    h->queued -= n;
    h->encode_room -= n;
    if (rest->n == 0) drop_first(b);
    return true;
}

// True: it goes on in the next turn.
static bool run(struct body_encoder *b) {
    struct http_session *h = b->st->s.session;
    while (b->first == NULL || h->encode_room > 0) {
        // The peer does not take what there is: encode_again is called when it does.
        if (b->st->queued >= HTTP_HIGH_WATER || !step(b)) break;
    }
    if (b->above && b->waiting + b->st->queued < HTTP_LOW_WATER) {
        b->above = false;
        stream_owe_writable(b->st);
    }
    return b->first != NULL && h->encode_room == 0 && b->st->queued < HTTP_HIGH_WATER;
}

void encode_again(struct stream *st) {
    if (st->encode->first != NULL || (st->sealed && !st->finished)) list_up(st->encode);
}

void encode_turn(struct http_session *h) { h->encode_room = ENCODE_TURN; }

void encode_run(struct http_session *h) {
    struct body_encoder *todo = h->encoding;
    h->encoding = NULL;
    for (struct body_encoder *b = todo; b != NULL; b = b->next) b->listed = false;
    while (todo != NULL) {
        struct body_encoder *b = todo;
        todo = b->next;
        if (run(b)) list_up(b);
        h->ops->queued(b->st);
    }
}

void encode_delete(struct stream *st) {
    struct body_encoder *b = st->encode;
    if (b == NULL) return;
    unlist(b);
    st->s.session->queued -= b->waiting;
    while (b->first != NULL) drop_first(b);
    encoders_give(st->s.session->encoders, b->encoder);
    free(b);
    st->encode = NULL;
}
