// SPDX-License-Identifier: Apache-2.0
// Memory for what is made and dropped with every call: messages, contexts, short blobs, HTTP streams.
//
// Each thread keeps a bounded number of free blocks a size class, so that taking one is a few instructions. Any thread may
// give back a block that another has taken: it goes to the giver's list. Requests and answers cross the same two
// threads in opposite directions, so the lists fill themselves; what is too many goes back to malloc.
#pragma once

#include <stddef.h>

#define POOL_MAX 4096 // bytes; what is larger comes from malloc and has class 0
#define POOL_FINE 16  // classes 1 to 16 are every 64 bytes up to 1,024; then come four coarser ones
#define POOL_CLASSES 21

// The calling thread's free blocks.
struct pool_block {
    struct pool_block *next;
};
struct pool_list {
    struct pool_block *first;
    unsigned room; // for so many more; 0 at first, until the thread has said where its lists end
};
extern _Thread_local struct pool_list pool_lists[POOL_CLASSES];

unsigned pool_class_coarse(size_t size);
void *pool_take_fresh(unsigned class, size_t size);
void pool_give_away(void *p, unsigned class);

// The class of a size. Blocks are aligned for every type.
static inline unsigned pool_class(size_t size) {
    return size - 1 < 64 * POOL_FINE ? (unsigned)((size + 63) / 64) : pool_class_coarse(size);
}

// NULL when memory ends. Not cleared. With class 0, `size` bytes from malloc.
static inline void *pool_take(unsigned class, size_t size) {
    struct pool_list *list = &pool_lists[class];
    struct pool_block *b = list->first;
    if (b == NULL) return pool_take_fresh(class, size);
    list->first = b->next;
    list->room++;
    return b;
}

static inline void pool_give(void *p, unsigned class) { // accepts NULL
    struct pool_list *list = &pool_lists[class];
    struct pool_block *b = p;
    if (list->room == 0 || p == NULL) {
        pool_give_away(p, class);
        return;
    }
    b->next = list->first;
    list->first = b;
    list->room--;
}

// For things of a fixed size.
void *pool_take_zeroed(size_t size);
static inline void pool_give_sized(void *p, size_t size) { pool_give(p, pool_class(size)); }
