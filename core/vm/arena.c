// SPDX-License-Identifier: Apache-2.0
// The allocator of a VM.
//
// Small blocks (up to 16 KB) come in 52 size classes: every 16 bytes up to 512, then four to a doubling. Each class has a
// list of free blocks; when it is empty a block is cut from the present chunk. Chunks are spans (span.h) that grow with the
// VM: the first is 32 KB, so that an idle VM stays small. Larger blocks are spans of their own, beyond 64 MB mappings.
// Lua tells the old size of every block, so blocks carry no header, and the size alone says where a block came from.
//
// What counts against the lines is what was asked for, to the byte, not what rounding adds. Only growth is refused: a
// shrinking realloc keeps its block when there is no smaller one. Such a block is later freed as what its size says, which is
// safe: a span or mapping that ends among the small blocks stays on the arena's lists and goes with it.
#include "vm/arena.h"

#include "vm/span.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { FINE = 32, CLASSES = 52 }; // classes 0 to 31: 16 to 512 bytes
#define SMALL_MAX ((size_t)16384)
#define CHUNK_FIRST ((size_t)32 << 10)
#define CHUNK_MAX ((size_t)1 << 20)

struct huge {
    struct huge *next;
    void *p;
    size_t size;
};

struct arena {
    atomic_size_t used; // written by the owner only
    size_t soft, hard, reserved;
    size_t chunked; // of these, in chunks
    bool refused;
    char *chunk, *chunk_end; // what is left of the present chunk
    void *free[CLASSES];     // blocks, linked through their first word
    struct span_list spans;
    struct huge *huge;
};

static unsigned class_of(size_t size) {
    if (size <= 512) return (unsigned)((size + 15) / 16) - 1;
    unsigned top =
        63 - (unsigned)__builtin_clzl(size - 1); // 2^top <= size - 1 < 2^(top + 1); 9 for 513
    size_t step = (size_t)1 << (top - 2);
    return FINE + (top - 9) * 4 + (unsigned)((size - 1 - ((size_t)1 << top)) / step);
}

static size_t class_size(unsigned class) {
    if (class < FINE) return (size_t)(class + 1) * 16;
    unsigned top = 9 + (class - FINE) / 4;
    return ((size_t)1 << top) + ((size_t)((class - FINE) % 4) + 1) * ((size_t)1 << (top - 2));
}

struct arena *arena_new(size_t soft, size_t hard) {
    struct arena *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    a->soft = soft;
    a->hard = hard;
    return a;
}

void arena_delete(struct arena *a) {
    if (a == NULL) return;
    while (a->huge != NULL) {
        struct huge *h = a->huge;
        a->huge = h->next;
        munmap(h->p, h->size);
        free(h);
    }
    span_give_all(&a->spans);
    free(a);
}

static void put(struct arena *a, void *p, unsigned class) {
    *(void **)p = a->free[class];
    a->free[class] = p;
    ASAN_POISON_MEMORY_REGION((char *)p + sizeof(void *), class_size(class) - sizeof(void *));
}

// What is left of a chunk becomes free blocks of the largest classes that fit.
static void retire_chunk(struct arena *a) {
    size_t left = (size_t)(a->chunk_end - a->chunk);
    while (left >= 16) {
        unsigned class = left >= SMALL_MAX ? CLASSES - 1 : class_of(left);
        if (class_size(class) > left) class --;
        size_t size = class_size(class);
        ASAN_UNPOISON_MEMORY_REGION(a->chunk, size);
        put(a, a->chunk, class);
        a->chunk += size;
        left -= size;
    }
    a->chunk = a->chunk_end = NULL;
}

static bool add_chunk(struct arena *a) {
    size_t size = CHUNK_FIRST;
    while (size < CHUNK_MAX && size * 4 <= a->chunked) size *= 2;
    char *p = span_take(&a->spans, size);
    if (p == NULL) return false;
    retire_chunk(a);
    a->chunk = p;
    a->chunk_end = p + size;
    a->reserved += size;
    a->chunked += size;
    ASAN_POISON_MEMORY_REGION(p, size);
    return true;
}

static void *take_small(struct arena *a, size_t size) {
    unsigned class = class_of(size);
    size_t rounded = class_size(class);
    void *p = a->free[class];
    assert(class < CLASSES && rounded >= size);
    if (p != NULL) {
        a->free[class] = *(void **)p;
    } else {
        if ((size_t)(a->chunk_end - a->chunk) < rounded && !add_chunk(a)) return NULL;
        p = a->chunk;
        a->chunk += rounded;
    }
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return p;
}

static size_t page_round(size_t size) { return (size + 4095) & ~(size_t)4095; }

static void *take_huge(struct arena *a, size_t size) {
    struct huge *h = malloc(sizeof *h);
    if (h == NULL) return NULL;
    h->size = page_round(size);
    h->p = mmap(NULL, h->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (h->p == MAP_FAILED) {
        free(h);
        return NULL;
    }
    h->next = a->huge;
    a->huge = h;
    a->reserved += h->size;
    return h->p;
}

static void give_huge(struct arena *a, void *p) {
    struct huge **link = &a->huge;
    while ((*link)->p != p) link = &(*link)->next;
    struct huge *h = *link;
    *link = h->next;
    a->reserved -= h->size;
    munmap(p, h->size);
    free(h);
}

static void *take(struct arena *a, size_t size) {
    if (size <= SMALL_MAX) return take_small(a, size);
    if (size > SPAN_MAX) return take_huge(a, size);
    void *p = span_take(&a->spans, size);
    if (p != NULL) a->reserved += span_size(size);
    return p;
}

static bool is_huge(const struct arena *a, const void *p) {
    const struct huge *h = a->huge;
    while (h != NULL && h->p != p) h = h->next;
    return h != NULL;
}

static void give(struct arena *a, void *p, size_t size) {
    if (size <= SMALL_MAX) {
        ASAN_UNPOISON_MEMORY_REGION(p, sizeof(void *));
        put(a, p, class_of(size));
    } else if (size > SPAN_MAX || is_huge(a, p)) {
        give_huge(a, p);
    } else {
        a->reserved -= span_size(size);
        span_give(&a->spans, p);
    }
}

// May a block of the one size serve for the other where it is?
static bool same_place(size_t a, size_t b) {
    if (a <= SMALL_MAX && b <= SMALL_MAX) return class_of(a) == class_of(b);
    if (a <= SMALL_MAX || b <= SMALL_MAX) return false;
    if (a <= SPAN_MAX && b <= SPAN_MAX) return span_size(a) == span_size(b);
    return a > SPAN_MAX && b > SPAN_MAX && page_round(a) == page_round(b);
}

static void count(struct arena *a, size_t less, size_t more) {
    size_t used = atomic_load_explicit(&a->used, memory_order_relaxed);
    assert(used >= less);
    atomic_store_explicit(&a->used, used - less + more, memory_order_relaxed);
}

static bool may_grow(struct arena *a, size_t by) {
    size_t used = atomic_load_explicit(&a->used, memory_order_relaxed);
    if (by <= a->hard && used <= a->hard - by) return true;
    a->refused = true;
    return false;
}

static void *resize(struct arena *a, void *p, size_t old_size, size_t new_size) {
    if (same_place(old_size, new_size)) {
        if (new_size <= SMALL_MAX) {
            ASAN_POISON_MEMORY_REGION(p, class_size(class_of(new_size)));
            ASAN_UNPOISON_MEMORY_REGION(p, new_size);
        }
        return p;
    }
    void *q = take(a, new_size);
    if (q == NULL) {
        if (new_size < old_size) return p;
        a->refused = true;
        return NULL;
    }
    memcpy(q, p, old_size < new_size ? old_size : new_size);
    give(a, p, old_size);
    return q;
}

// Most of what Lua asks for: a new block of a fine class of which one is free. NULL: the long way.
static void *take_fast(struct arena *a, size_t size) {
    size_t used = atomic_load_explicit(&a->used, memory_order_relaxed);
    if (size - 1 >= FINE * 16 || size > a->hard || used > a->hard - size) return NULL;
    void **list = &a->free[(size - 1) / 16];
    void *p = *list;
    if (p == NULL) return NULL;
    *list = *(void **)p;
    atomic_store_explicit(&a->used, used + size, memory_order_relaxed);
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return p;
}

void *arena_alloc(void *ud, void *p, size_t old_size, size_t new_size) {
    struct arena *a = ud;
    if (p == NULL) {
        void *fast = take_fast(a, new_size);
        if (fast != NULL) return fast;
        old_size = 0;
    } else if (new_size == 0 && old_size - 1 < FINE * 16) {
        ASAN_UNPOISON_MEMORY_REGION(p, sizeof(void *));
        put(a, p, (unsigned)(old_size - 1) / 16);
        count(a, old_size, 0);
        return NULL;
    }
    if (new_size == 0) {
        if (old_size != 0) {
            give(a, p, old_size);
            count(a, old_size, 0);
        }
        return NULL;
    }
    if (new_size > old_size && !may_grow(a, new_size - old_size)) return NULL;
    void *q = old_size == 0 ? take(a, new_size) : resize(a, p, old_size, new_size);
    if (q == NULL) {
        a->refused = true;
        return NULL;
    }
    count(a, old_size, new_size);
    return q;
}

bool arena_charge(struct arena *a, size_t bytes) {
    if (!may_grow(a, bytes)) return false;
    count(a, 0, bytes);
    return true;
}

void arena_uncharge(struct arena *a, size_t bytes) { count(a, bytes, 0); }

size_t arena_used(const struct arena *a) {
    return atomic_load_explicit(&a->used, memory_order_relaxed);
}

size_t arena_reserved(const struct arena *a) { return a->reserved; }

bool arena_over_soft(const struct arena *a) { return arena_used(a) > a->soft; }

bool arena_hit_hard(const struct arena *a) { return a->refused; }
