// SPDX-License-Identifier: Apache-2.0
// A queue with many producers and one consumer: producers push onto a stack with one compare-and-swap, the consumer
// takes everything at once and gets it in the order of pushing. No ABA, since nothing is ever popped singly.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mpsc_node {
    struct mpsc_node *next;
};

struct mpsc {
    _Atomic(struct mpsc_node *) head;
};

// Pushes a chain first..last that is linked in the order of pushing. Any thread. True when the queue was empty.
bool mpsc_push_chain(struct mpsc *q, struct mpsc_node *first, struct mpsc_node *last);
static inline bool mpsc_push(struct mpsc *q, struct mpsc_node *node) {
    return mpsc_push_chain(q, node, node);
}
struct mpsc_node *
mpsc_take(struct mpsc *q); // all, oldest first, linked by next; NULL when empty. Consumer only
static inline bool mpsc_empty(struct mpsc *q) { return atomic_load(&q->head) == NULL; }
