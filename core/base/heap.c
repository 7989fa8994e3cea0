// SPDX-License-Identifier: Apache-2.0
#include "base/heap.h"

#include "base/status.h"

#include <assert.h>
#include <stdlib.h>

static void place(struct heap *heap, size_t i, struct heap_node *node) {
    heap->nodes[i] = node;
    node->place = i + 1;
}

static void sift_up(struct heap *heap, size_t i, struct heap_node *node) {
    while (i > 0 && heap->nodes[(i - 1) / 2]->at > node->at) {
        place(heap, i, heap->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(heap, i, node);
}

static void sift_down(struct heap *heap, size_t i, struct heap_node *node) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count) break;
        if (child + 1 < heap->count && heap->nodes[child + 1]->at < heap->nodes[child]->at) child++;
        if (heap->nodes[child]->at >= node->at) break;
        place(heap, i, heap->nodes[child]);
        i = child;
    }
    place(heap, i, node);
}

int heap_add(struct heap *heap, struct heap_node *node, int64_t at) {
    assert(node->place == 0);
    if (heap->count == heap->cap) {
        size_t cap = heap->cap == 0 ? 16 : heap->cap * 2;
        struct heap_node **nodes = realloc(heap->nodes, cap * sizeof *nodes);
        if (nodes == NULL) return -STATUS_RESOURCE_EXHAUSTED;
        heap->nodes = nodes;
        heap->cap = cap;
    }
    node->at = at;
    sift_up(heap, heap->count++, node);
    return 0;
}

void heap_remove(struct heap *heap, struct heap_node *node) {
    if (node->place == 0) return;
    size_t i = node->place - 1;
    assert(i < heap->count && heap->nodes[i] == node);
    node->place = 0;
    struct heap_node *last = heap->nodes[--heap->count];
    if (last == node) return;
    if (i > 0 && heap->nodes[(i - 1) / 2]->at > last->at) {
        sift_up(heap, i, last);
    } else {
        sift_down(heap, i, last);
    }
}

void heap_free(struct heap *heap) {
    free(heap->nodes);
    *heap = (struct heap){0};
}
