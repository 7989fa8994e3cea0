// SPDX-License-Identifier: Apache-2.0
// Bytes: `str` (a borrowed slice), `blob` (reference-counted, immutable once shared) and `buf` (a growing builder
// whose storage becomes a blob without a copy).
//
// A blob may be held by any thread; its count is atomic. A buf belongs to one thread. Out of memory is sticky in a
// buf: `failed` is set, later appends do nothing, and the caller checks once at the end.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

static inline struct str str_of(const char *text) { return (struct str){text, strlen(text)}; }
static inline bool str_is(struct str s, const char *text) {
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}
static inline bool str_equal(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_starts(struct str s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

struct blob {
    atomic_uint refs;
    uint16_t pool; // the class of its memory, see pool.h
    bool body;     // counted as a message's body while it lives
    size_t n;
    char p[];
};

// All return NULL when memory ends. `blob_hold` and `blob_drop` accept NULL.
struct blob *blob_new(const void *bytes, size_t n);
struct blob *blob_hold(struct blob *blob);
void blob_drop(struct blob *blob);
// From here on it counts among the bodies of messages (counters.h). Before it is shared; nothing for NULL.
void blob_mark_body(struct blob *blob);
static inline struct str blob_str(const struct blob *blob) {
    return blob == NULL ? (struct str){"", 0} : (struct str){blob->p, blob->n};
}

struct buf {
    struct blob *blob; // storage with a count of one, or NULL; blob->n is set only by buf_take
    size_t n;          // bytes written
    size_t cap;        // bytes that fit
    bool failed;       // memory ended; what was written before is still there
};

void buf_free(struct buf *b);                 // releases the storage; b is empty and usable again
bool buf_reserve(struct buf *b, size_t more); // room for `more` further bytes
void buf_grow_append(struct buf *b, const void *bytes,
                     size_t n); // buf_append where there is no room
static inline void buf_append(struct buf *b, const void *bytes, size_t n) {
    if (n == 0) return;
    if (n > b->cap - b->n || b->failed) {
        buf_grow_append(b, bytes, n);
        return;
    }
    memcpy(b->blob->p + b->n, bytes, n);
    b->n += n;
}
static inline void buf_append_str(struct buf *b, struct str s) { buf_append(b, s.p, s.n); }
static inline void buf_append_text(struct buf *b, const char *text) {
    buf_append(b, text, strlen(text));
}
static inline void buf_append_byte(struct buf *b, char c) { buf_append(b, &c, 1); }
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Gives the bytes away as a blob (an empty one when nothing was written); NULL when memory ended. b is empty after.
struct blob *buf_take(struct buf *b);
// Makes the content a C string (adds a NUL that `n` does not count); "" when memory ended.
const char *buf_cstr(struct buf *b);
static inline char *buf_p(struct buf *b) { return b->blob == NULL ? NULL : b->blob->p; }
static inline struct str buf_str(const struct buf *b) {
    return (struct str){b->blob == NULL ? "" : b->blob->p, b->n};
}
