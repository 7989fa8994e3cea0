// SPDX-License-Identifier: Apache-2.0
// A buddy allocator over regions of 64 MB that are reserved without being backed (MAP_NORESERVE): what is not touched costs
// nothing, so rounding up to a power of two wastes addresses, not memory.
//
// A region is cut into blocks of 16 KB. A span of order k is 2^k blocks at a place that is a multiple of 2^k; its buddy is
// the place with bit k flipped. The state of a span stands beside the region, under its first block: never in the memory
// itself, which may have been given back to the system. A block's number over all regions is its id (0 is no block: ids
// begin at 4,096), and links of both free lists and owners' lists are ids.
//
// One mutex for the process guards it all. It is taken when a VM grows by a span, not when it allocates.
#include "vm/span.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { BLOCKS = 4096, ORDERS = 13, MAX_REGIONS = 16384 };
enum { INSIDE = 0, FREE = 1, TAKEN = 2 }; // of a block: part of another's span, or the first of one

#define RELEASE_FROM                                                                               \
    ((size_t)64 << 10) // spans of this size go back to the system when they are freed

struct block {
    uint8_t state;
    uint8_t order;
    uint32_t next, prev; // ids
};

struct region {
    char *base;
    size_t free_blocks;
    struct block blocks[BLOCKS];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions[MAX_REGIONS]; // [0] is not used; NULL: no region
static uint32_t region_end = 1;
static uint32_t free_lists[ORDERS];
static unsigned spare; // regions that are all free

static struct block *block_of(uint32_t id) { return &regions[id / BLOCKS]->blocks[id % BLOCKS]; }

static void list_add(uint32_t *head, uint32_t id) {
    struct block *b = block_of(id);
    b->prev = 0;
    b->next = *head;
    if (*head != 0) block_of(*head)->prev = id;
    *head = id;
}

static void list_remove(uint32_t *head, uint32_t id) {
    struct block *b = block_of(id);
    if (b->prev != 0) {
        block_of(b->prev)->next = b->next;
    } else {
        assert(*head == id);
        *head = b->next;
    }
    if (b->next != 0) block_of(b->next)->prev = b->prev;
}

static void free_add(uint32_t id, unsigned order) {
    struct block *b = block_of(id);
    b->state = FREE;
    b->order = (uint8_t)order;
    list_add(&free_lists[order], id);
}

static void *reserve(void) {
    char *p = mmap(NULL, 2 * SPAN_MAX, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t before = (SPAN_MAX - (uintptr_t)p % SPAN_MAX) % SPAN_MAX;
    if (before > 0) munmap(p, before);
    munmap(p + before + SPAN_MAX, SPAN_MAX - before);
    return p + before;
}

static bool region_add(void) {
    uint32_t at = 1;
    while (at < region_end && regions[at] != NULL) at++;
    if (at == MAX_REGIONS) return false;
    struct region *r = calloc(1, sizeof *r);
    if (r == NULL) return false;
    r->base = reserve();
    if (r->base == NULL) {
        free(r);
        return false;
    }
    r->free_blocks = BLOCKS;
    regions[at] = r;
    if (at == region_end) region_end++;
    free_add(at * BLOCKS, ORDERS - 1);
    spare++;
    return true;
}

// The region that holds an address. Few regions are in use; the search is short beside what a span saves.
static uint32_t id_of(const void *p) {
    char *base = (char *)((uintptr_t)p & ~(SPAN_MAX - 1));
    for (uint32_t i = 1; i < region_end; i++) {
        if (regions[i] != NULL && regions[i]->base == base) {
            return i * BLOCKS + (uint32_t)((size_t)((const char *)p - base) / SPAN_MIN);
        }
    }
    assert(!"a span of a region that is known");
    return 0;
}

static unsigned order_of(size_t size) {
    unsigned order = 0;
    while ((SPAN_MIN << order) < size) order++;
    return order;
}

size_t span_size(size_t size) { return SPAN_MIN << order_of(size); }

void *span_take(struct span_list *owner, size_t size) {
    unsigned order = order_of(size), from = order;
    void *p = NULL;
    assert(order < ORDERS);
    pthread_mutex_lock(&mutex);
    while (from < ORDERS && free_lists[from] == 0) from++;
    if (from == ORDERS && region_add()) from = ORDERS - 1;
    if (from < ORDERS) {
        uint32_t id = free_lists[from];
        struct region *r = regions[id / BLOCKS];
        list_remove(&free_lists[from], id);
        while (from > order) { // the upper half of each cut stays free
            from--;
            free_add(id + (1u << from), from);
        }
        if (r->free_blocks == BLOCKS) spare--;
        r->free_blocks -= (size_t)1 << order;
        r->blocks[id % BLOCKS].state = TAKEN;
        r->blocks[id % BLOCKS].order = (uint8_t)order;
        list_add(&owner->first, id);
        p = r->base + (size_t)(id % BLOCKS) * SPAN_MIN;
    }
    pthread_mutex_unlock(&mutex);
    return p;
}

// Frees a span that is in no list and joins it with its buddies. A region that is then all free is kept once.
static void give(uint32_t id) {
    struct region *r = regions[id / BLOCKS];
    struct block *b = block_of(id);
    unsigned order = b->order;
    size_t size = SPAN_MIN << order;
    char *p = r->base + (size_t)(id % BLOCKS) * SPAN_MIN;
    assert(b->state == TAKEN);
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    if (size >= RELEASE_FROM) madvise(p, size, MADV_DONTNEED);
    r->free_blocks += (size_t)1 << order;
    b->state = INSIDE;
    while (order < ORDERS - 1) {
        uint32_t buddy = id ^ (1u << order);
        struct block *other = block_of(buddy);
        if (other->state != FREE || other->order != order) break;
        list_remove(&free_lists[order], buddy);
        other->state = INSIDE;
        id &= ~(1u << order);
        order++;
    }
    if (r->free_blocks < BLOCKS || spare == 0) {
        if (r->free_blocks == BLOCKS) spare++;
        free_add(id, order);
        return;
    }
    munmap(r->base, SPAN_MAX);
    regions[id / BLOCKS] = NULL;
    free(r);
}

void span_give(struct span_list *owner, void *p) {
    pthread_mutex_lock(&mutex);
    uint32_t id = id_of(p);
    list_remove(&owner->first, id);
    give(id);
    pthread_mutex_unlock(&mutex);
}

void span_give_all(struct span_list *owner) {
    pthread_mutex_lock(&mutex);
    while (owner->first != 0) {
        uint32_t id = owner->first;
        list_remove(&owner->first, id);
        give(id);
    }
    pthread_mutex_unlock(&mutex);
}
