// SPDX-License-Identifier: Apache-2.0
// A min-heap of points in time, for timers: a node is embedded in what it times and knows its place, so that
// cancelling is cheap (and constant in the usual case, where the cancelled one is the latest). One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t at;   // nanoseconds, clock_now
    size_t place; // 1-based place in the heap; 0: not in it
};

struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t cap;
};

int heap_add(struct heap *heap, struct heap_node *node,
             int64_t at);                                    // 0 or -STATUS_RESOURCE_EXHAUSTED
void heap_remove(struct heap *heap, struct heap_node *node); // nothing when it is not in the heap
void heap_free(struct heap *heap);
static inline struct heap_node *heap_first(const struct heap *heap) {
    return heap->count == 0 ? NULL : heap->nodes[0];
}
