// SPDX-License-Identifier: Apache-2.0
// The list of the threads' counters. A thread that ends leaves its numbers in `gone`. One mutex guards the list and `gone`;
// the numbers themselves are written by their thread only.
#include "base/counters.h"

#include <pthread.h>

_Thread_local struct counters counters_here;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end;
static bool has_key;
static struct counters *list;
static int64_t gone[COUNTERS];

static void leave(void *value) {
    struct counters *c = value;
    pthread_mutex_lock(&lock);
    *c->link = c->next;
    if (c->next != NULL) c->next->link = c->link;
    for (int i = 0; i < COUNTERS; i++)
        gone[i] += atomic_exchange_explicit(&c->n[i], 0, memory_order_relaxed);
    c->listed = false; // another destructor of this thread may still count: it joins again
    pthread_mutex_unlock(&lock);
}

static void make_key(void) { has_key = pthread_key_create(&at_end, leave) == 0; }

void counters_join(void) {
    struct counters *c = &counters_here;
    pthread_once(&once, make_key);
    // Without a key the numbers would outlive the thread's memory: then this thread is not counted.
    if (!has_key || pthread_setspecific(at_end, c) != 0) return;
    pthread_mutex_lock(&lock);
    c->next = list;
    c->link = &list;
    if (list != NULL) list->link = &c->next;
    list = c;
    c->listed = true;
    pthread_mutex_unlock(&lock);
}

void counters_sum(int64_t out[COUNTERS]) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < COUNTERS; i++) out[i] = gone[i];
    for (struct counters *c = list; c != NULL; c = c->next) {
        for (int i = 0; i < COUNTERS; i++)
            out[i] += atomic_load_explicit(&c->n[i], memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
}
