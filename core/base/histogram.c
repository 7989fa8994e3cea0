// SPDX-License-Identifier: Apache-2.0
#include "base/histogram.h"

const int64_t HISTOGRAM_BOUND[HISTOGRAM_BOUNDS] = {
    100000,   250000,    500000,    1000000,   2500000,    5000000,    10000000,   25000000,
    50000000, 100000000, 250000000, 500000000, 1000000000, 2500000000, 5000000000, 10000000000};
const char *const HISTOGRAM_TEXT[HISTOGRAM_BOUNDS] = {
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
    "0.05",   "0.1",     "0.25",   "0.5",   "1",      "2.5",   "5",    "10"};

void histogram_add_to(const struct histogram *h, struct histogram_sum *sum) {
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        uint64_t n = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        sum->buckets[i] += n;
        sum->count += n;
    }
    sum->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
}
