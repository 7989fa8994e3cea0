// SPDX-License-Identifier: Apache-2.0
// Streams: their memory, their headers and the queue of what is to be sent.
//
// The queue is a chain of chunks. The first chunk is a part of the stream; small sends are gathered
// in the last chunk that has room, a large blob becomes a chunk without being copied.
#include "net/session.h"

#include "base/counters.h"
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>

#define CHUNK_SIZE 4096
#define CHUNK_LEAST 64  // for what stands between two blobs: the head of a frame
#define BLOB_COPIED 512 // below it a blob is cheaper to copy than to chain

static void clear(struct stream *st, struct http_session *h) {
    memset(st, 0, offsetof(struct stream, first_headers));
    st->s.session = h;
    st->s.headers = st->first_headers;
    st->s.content_length = -1;
    st->header_cap = HEADERS_FIRST;
    st->arena = st->first_arena;
    st->arena_left = ARENA_FIRST;
    st->first_chunk.bytes = st->first_bytes;
    st->first_chunk.cap = CHUNK_FIRST;
    st->first = st->last = &st->first_chunk;
}

struct stream *http_stream_new(struct http_session *h) {
    struct stream *st = pool_take(pool_class(sizeof *st), sizeof *st);
    if (st == NULL) return NULL;
    clear(st, h);
    st->next = h->streams;
    if (h->streams != NULL) h->streams->prev = st;
    h->streams = st;
    h->open++;
    counter_add(h->server ? COUNTER_STREAMS : COUNTER_CLIENT_STREAMS, 1);
    return st;
}

static void chunk_free(struct stream *st, struct chunk *c) {
    blob_drop(c->blob);
    if (c != &st->first_chunk) free(c);
}

static void writable_forget(struct stream *st) {
    if (!st->writable_owed) return;
    struct http_session *h = st->s.session;
    if (st->prev_writable != NULL) {
        st->prev_writable->next_writable = st->next_writable;
    } else {
        h->writable = st->next_writable;
    }
    if (st->next_writable != NULL) st->next_writable->prev_writable = st->prev_writable;
    st->next_writable = st->prev_writable = NULL;
    st->writable_owed = false;
}

void stream_owe_writable(struct stream *st) {
    struct http_session *h = st->s.session;
    if (st->writable_owed) return;
    st->writable_owed = true;
    st->next_writable = h->writable;
    if (h->writable != NULL) h->writable->prev_writable = st;
    h->writable = st;
}

void session_tell_writable(struct http_session *h) {
    // Streams that come to owe it meanwhile are told in the next round: a callback must not keep
    // the loop here.
    struct stream *todo[64];
    size_t n = 0;
    while (h->writable != NULL && n < sizeof todo / sizeof todo[0]) {
        todo[n++] = h->writable;
        writable_forget(h->writable);
    }
    for (size_t i = 0; i < n; i++) {
        if (!todo[i]->reset && !todo[i]->sealed) h->events->writable(&todo[i]->s);
    }
}

void stream_delete(struct stream *st) {
    struct http_session *h = st->s.session;
    writable_forget(st);
    if (st->prev != NULL) {
        st->prev->next = st->next;
    } else {
        h->streams = st->next;
    }
    if (st->next != NULL) st->next->prev = st->prev;
    h->open--;
    encode_delete(st);
    decode_delete(st);
    counter_add(h->server ? COUNTER_STREAMS : COUNTER_CLIENT_STREAMS, -1);
    h->queued -= st->queued;
    for (struct chunk *c = st->first; c != NULL;) {
        struct chunk *next = c->next;
        chunk_free(st, c);
        c = next;
    }
    for (struct arena_block *b = st->blocks; b != NULL;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    pool_give_sized(st, sizeof *st);
}

void stream_close(struct stream *st, enum http_close why) {
    if (st->reported) {
        enum counter ends = st->s.session->server ? COUNTER_CLOSED : COUNTER_CLIENT_CLOSED;
        counter_add(ends + (enum counter)why, 1);
        st->s.session->events->closed(&st->s, why);
    }
    stream_delete(st);
}

char *stream_alloc(struct stream *st, size_t n) {
    n = (n + 7) & ~(size_t)7;
    if (n > st->arena_left) {
        size_t size = n > 2 * ARENA_FIRST ? n : 2 * ARENA_FIRST;
        struct arena_block *b = malloc(sizeof *b + size);
        if (b == NULL) return NULL;
        b->next = st->blocks;
        st->blocks = b;
        st->arena = (char *)(b + 1);
        st->arena_left = size;
    }
    char *p = st->arena;
    st->arena += n;
    st->arena_left -= n;
    return p;
}

bool stream_keep(struct stream *st, struct str from, struct str *to) {
    char *p = stream_alloc(st, from.n);
    if (p == NULL) return false;
    if (from.n > 0) memcpy(p, from.p, from.n);
    *to = (struct str){p, from.n};
    return true;
}

bool stream_add_header(struct stream *st, bool trailer, struct str name, struct str value) {
    struct http_header **items = trailer ? &st->s.trailers : &st->s.headers;
    size_t *count = trailer ? &st->s.trailer_count : &st->s.header_count;
    size_t *cap = trailer ? &st->trailer_cap : &st->header_cap;
    if (*count == *cap) {
        size_t more = *cap == 0 ? 8 : *cap * 2;
        struct http_header *grown = (void *)stream_alloc(st, more * sizeof *grown);
        if (grown == NULL) return false;
        if (*count > 0) memcpy(grown, *items, *count * sizeof *grown);
        *items = grown;
        *cap = more;
    }
    (*items)[(*count)++] = (struct http_header){name, value};
    return true;
}

static void count_queued(struct stream *st, size_t n) {
    st->queued += n;
    st->s.session->queued += n;
    if (st->queued >= HTTP_LOW_WATER) st->above = true;
}

static struct chunk *chunk_add(struct stream *st, size_t own) {
    struct chunk *c = malloc(sizeof *c + own);
    if (c == NULL) return NULL;
    *c = (struct chunk){.bytes = (char *)(c + 1), .cap = own};
    st->last->next = c;
    st->last = c;
    return c;
}

bool stream_queue(struct stream *st, struct str bytes) {
    if (bytes.n == 0) return true;
    struct chunk *c = st->last;
    if (c->cap - c->to < bytes.n || c->blob != NULL) {
        size_t own = c->blob != NULL && bytes.n <= CHUNK_LEAST ? CHUNK_LEAST : CHUNK_SIZE;
        c = chunk_add(st, bytes.n > own ? bytes.n : own);
        if (c == NULL) return false;
    }
    memcpy(c->bytes + c->to, bytes.p, bytes.n);
    c->to += bytes.n;
    count_queued(st, bytes.n);
    return true;
}

bool stream_queue_blob(struct stream *st, struct blob *take) {
    return stream_queue_part(st, take, 0, blob_str(take).n);
}

bool stream_queue_part(struct stream *st, struct blob *take, size_t from, size_t n) {
    assert(from + n <= blob_str(take).n);
    struct str bytes = {blob_str(take).p + from, n};
    if (bytes.n < BLOB_COPIED) {
        bool ok = stream_queue(st, bytes);
        blob_drop(take);
        return ok;
    }
    struct chunk *c = chunk_add(st, 0);
    if (c == NULL) {
        blob_drop(take);
        return false;
    }
    c->blob = take;
    c->bytes = take->p + from;
    c->to = c->cap = bytes.n;
    count_queued(st, bytes.n);
    return true;
}

void stream_dequeue(struct stream *st, struct buf *out, size_t n) {
    assert(n <= st->queued);
    st->queued -= n;
    st->s.session->queued -= n;
    st->s.session->sent += n;
    st->sent += n;
    while (n > 0) {
        struct chunk *c = st->first;
        size_t part = c->to - c->from;
        if (part > n) part = n;
        buf_append(out, c->bytes + c->from, part);
        c->from += part;
        n -= part;
        if (c->from < c->to) break;
        if (c->next != NULL) {
            st->first = c->next;
            chunk_free(st, c);
        } else {
            if (c->blob != NULL) c->cap = 0;
            blob_drop(c->blob);
            c->blob = NULL;
            c->from = c->to = 0;
        }
    }
    if (st->encode != NULL && st->queued < HTTP_LOW_WATER) encode_again(st);
    if (st->above && st->queued < HTTP_LOW_WATER) {
        st->above = false;
        stream_owe_writable(st);
    }
}

uint64_t http_sent(const struct http_stream *s) { return stream_of_const(s)->sent; }
