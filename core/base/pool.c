// SPDX-License-Identifier: Apache-2.0
// The rare ways of the pool: lists that are empty or full, threads that begin and end.
//
// Under AddressSanitizer and ThreadSanitizer nothing is kept, so that they see every use of a block that was given back.
// A thread's lists are freed when it ends. Class 0 never has room: its blocks are malloc's.
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// What a list keeps at most: so many blocks, or more of small ones, up to so many bytes. A loop with some hundred calls under
// way swings by a few blocks of some classes for each.
#define KEPT_BLOCKS 256
#define KEPT_BYTES (256 * 1024)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS false
#else
#define KEEPS true
#endif

static const unsigned short COARSE[] = {1536, 2048, 3072, POOL_MAX};

_Thread_local struct pool_list pool_lists[POOL_CLASSES];

static _Thread_local enum { NEW, KEEPING, ENDING } state;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end;

unsigned pool_class_coarse(size_t size) {
    if (size == 0) return 1;
    for (unsigned i = 0; i < sizeof COARSE / sizeof COARSE[0]; i++) {
        if (size <= COARSE[i]) return POOL_FINE + 1 + i;
    }
    return 0;
}

static size_t class_size(unsigned class) {
    return class <= POOL_FINE ? (size_t) class * 64 : COARSE[class - POOL_FINE - 1];
}

static void release_lists(void *unused) {
    (void)unused;
    state = ENDING; // what other destructors still give goes to free
    for (unsigned class = 1; class < POOL_CLASSES; class ++) {
        struct pool_block *b = pool_lists[class].first;
        pool_lists[class] = (struct pool_list){NULL, 0};
        while (b != NULL) {
            struct pool_block *next = b->next;
            free(b);
            b = next;
        }
    }
}

static void make_key(void) { pthread_key_create(&at_end, release_lists); }

static void begin_keeping(void) {
    state = KEEPING;
    pthread_once(&once, make_key);
    pthread_setspecific(at_end, pool_lists); // any value but NULL
    for (unsigned class = 1; class < POOL_CLASSES; class ++) {
        unsigned n = (unsigned)(KEPT_BYTES / class_size(class));
        pool_lists[class].room += n < KEPT_BLOCKS ? KEPT_BLOCKS : n;
    }
}

void *pool_take_fresh(unsigned class, size_t size) {
    return malloc(class == 0 || !KEEPS ? size : class_size(class));
}

void pool_give_away(void *p, unsigned class) {
    if (KEEPS && state == NEW && class != 0 && p != NULL) {
        begin_keeping();
        pool_give(p, class);
    } else {
        free(p);
    }
}

void *pool_take_zeroed(size_t size) {
    void *p = pool_take(pool_class(size), size);
    if (p != NULL) memset(p, 0, size);
    return p;
}
