// SPDX-License-Identifier: Apache-2.0
// Blobs and buffers. A buffer grows by half, so that a long one is copied a bounded number of times.
#include "base/buf.h"

#include "base/counters.h"
#include "base/pool.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOB_MAX (PTRDIFF_MAX - sizeof(struct blob))
#define SMALLEST (128 - sizeof(struct blob))

// With room for `n` bytes; the sum must not wrap around. Short ones are all of one class, whether they were built in a buf or
// copied: what comes in with requests and what goes out with answers then balance in the pools of the threads.
static struct blob *blob_take(size_t n) {
    if (n < SMALLEST) n = SMALLEST;
    unsigned class = pool_class(sizeof(struct blob) + n);
    struct blob *blob = pool_take(class, sizeof *blob + n);
    if (blob == NULL) return NULL;
    atomic_init(&blob->refs, 1);
    blob->pool = (uint16_t) class;
    blob->body = false;
    return blob;
}

struct blob *blob_new(const void *bytes, size_t n) {
    struct blob *blob = n > BLOB_MAX ? NULL : blob_take(n);
    if (blob == NULL) return NULL;
    blob->n = n;
    if (n > 0 && bytes != NULL) memcpy(blob->p, bytes, n);
    return blob;
}

struct blob *blob_hold(struct blob *blob) {
    if (blob != NULL) atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void blob_drop(struct blob *blob) {
    if (blob == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    if (blob->body) counter_add(COUNTER_BODIES, -1);
    pool_give(blob, blob->pool);
}

void blob_mark_body(struct blob *blob) {
    if (blob == NULL || blob->body || atomic_load_explicit(&blob->refs, memory_order_relaxed) > 1)
        return;
    blob->body = true;
    counter_add(COUNTER_BODIES, 1);
}

// The storage of a buf with room for `cap` bytes of which the first `n` are kept; NULL: it is as it was.
static struct blob *storage_grow(struct blob *old, size_t n, size_t cap) {
    if (old != NULL && old->pool == 0) return realloc(old, sizeof *old + cap); // keeps `pool`
    struct blob *grown = blob_take(cap);
    if (grown == NULL || old == NULL) return grown;
    memcpy(grown->p, old->p, n);
    pool_give(old, old->pool);
    return grown;
}

void buf_free(struct buf *b) {
    blob_drop(b->blob);
    *b = (struct buf){0};
}

bool buf_reserve(struct buf *b, size_t more) {
    if (b->failed) return false;
    if (b->cap - b->n >= more) return true;
    struct blob *grown = NULL;
    size_t cap = b->cap + b->cap / 2;
    if (more <= BLOB_MAX - b->n) {
        if (cap < b->n + more) cap = b->n + more;
        if (cap < SMALLEST) cap = SMALLEST;
        grown = storage_grow(b->blob, b->n, cap);
    }
    if (grown == NULL) {
        b->failed = true;
        return false;
    }
    b->blob = grown;
    b->cap = cap;
    return true;
}

void buf_grow_append(struct buf *b, const void *bytes, size_t n) {
    if (!buf_reserve(b, n)) return;
    memcpy(b->blob->p + b->n, bytes, n);
    b->n += n;
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && buf_reserve(b, (size_t)n + 1)) {
        vsnprintf(b->blob->p + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

struct blob *buf_take(struct buf *b) {
    struct blob *blob = b->blob;
    if (b->failed) {
        buf_free(b);
        return NULL;
    }
    if (blob == NULL) return blob_new(NULL, 0);
    blob->n = b->n;
    *b = (struct buf){0};
    return blob;
}

const char *buf_cstr(struct buf *b) {
    if (!buf_reserve(b, 1)) return "";
    b->blob->p[b->n] = '\0';
    return b->blob->p;
}
