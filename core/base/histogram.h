// SPDX-License-Identifier: Apache-2.0
// Durations in fixed buckets, from 100 microseconds to 10 seconds. One thread at a time observes (a loop, or the worker that
// runs an instance); any thread may read meanwhile.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 16
extern const int64_t
    HISTOGRAM_BOUND[HISTOGRAM_BOUNDS]; // nanoseconds; the bound itself belongs to its bucket
extern const char *const HISTOGRAM_TEXT[HISTOGRAM_BOUNDS]; // the same in seconds

struct histogram {
    _Atomic(uint64_t)
        buckets[HISTOGRAM_BOUNDS + 1]; // not cumulative; the last one is above all bounds
    _Atomic(uint64_t) sum;             // nanoseconds
};

// What several histograms have seen together.
struct histogram_sum {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1];
    uint64_t count, sum;
};

// Adds without a locked instruction, since nobody else writes.
static inline void histogram_raise(_Atomic(uint64_t) *n, uint64_t by) {
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static inline void histogram_observe(struct histogram *h, int64_t nanoseconds) {
    int i = 0;
    if (nanoseconds < 0) nanoseconds = 0; // two clocks read at different moments
    while (i < HISTOGRAM_BOUNDS && nanoseconds > HISTOGRAM_BOUND[i]) i++;
    histogram_raise(&h->buckets[i], 1);
    histogram_raise(&h->sum, (uint64_t)nanoseconds);
}

void histogram_add_to(const struct histogram *h, struct histogram_sum *sum);
