// SPDX-License-Identifier: Apache-2.0
// The lists of free blocks. Classes 1 to 16 are every 64 bytes up to 1,024; then four coarser ones up to POOL_MAX.
//
// Under AddressSanitizer and ThreadSanitizer nothing is kept, so that they see every use of a block that was given back.
// A thread's lists are freed when it ends.
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FINE = 16, CLASSES = 21, KEPT = 256 }; // KEPT: blocks of each class, at most
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS false
#else
#define KEEPS true
#endif

struct block {
    struct block *next;
};

struct list {
    struct block *first;
    unsigned count;
};

static const unsigned short COARSE[] = {1536, 2048, 3072, POOL_MAX};

static _Thread_local struct list lists[CLASSES];
static _Thread_local char registered; // release_lists will be called for this thread
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end;

unsigned pool_class(size_t size) {
    if (size <= 1024) return size == 0 ? 1 : (unsigned)((size + 63) / 64);
    for (unsigned i = 0; i < sizeof COARSE / sizeof COARSE[0]; i++) {
        if (size <= COARSE[i]) return FINE + 1 + i;
    }
    return 0;
}

static size_t class_size(unsigned class) {
    return class <= FINE ? (size_t) class * 64 : COARSE[class - FINE - 1];
}

static void release_lists(void *unused) {
    (void)unused;
    for (unsigned class = 1; class < CLASSES; class ++) {
        while (lists[class].first != NULL) {
            struct block *b = lists[class].first;
            lists[class].first = b->next;
            free(b);
        }
        lists[class].count = KEPT; // what other destructors still give goes to free
    }
}

static void make_key(void) { pthread_key_create(&at_end, release_lists); }

static void register_thread(void) {
    pthread_once(&once, make_key);
    pthread_setspecific(at_end, &registered); // any value but NULL
    registered = 1;
}

void *pool_take(unsigned class, size_t size) {
    if (class == 0) return malloc(size);
    struct list *list = &lists[class];
    struct block *b = list->first;
    if (b == NULL) return malloc(KEEPS ? class_size(class) : size);
    list->first = b->next;
    list->count--;
    return b;
}

void pool_give(void *p, unsigned class) {
    struct list *list = &lists[class];
    if (!KEEPS || class == 0 || p == NULL || list->count >= KEPT) {
        free(p);
        return;
    }
    if (!registered) register_thread();
    struct block *b = p;
    b->next = list->first;
    list->first = b;
    list->count++;
}

void *pool_take_zeroed(size_t size) {
    void *p = pool_take(pool_class(size), size);
    if (p != NULL) memset(p, 0, size);
    return p;
}
