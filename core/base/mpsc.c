// SPDX-License-Identifier: Apache-2.0
#include "base/mpsc.h"

static struct mpsc_node *reverse(struct mpsc_node *node) {
    struct mpsc_node *out = NULL;
    while (node != NULL) {
        struct mpsc_node *next = node->next;
        node->next = out;
        out = node;
        node = next;
    }
    return out;
}

bool mpsc_push_chain(struct mpsc *q, struct mpsc_node *first, struct mpsc_node *last) {
    last->next = NULL;
    struct mpsc_node *newest =
        first == last ? last : reverse(first); // the stack holds the newest on top
    struct mpsc_node *head = atomic_load_explicit(&q->head, memory_order_relaxed);
    do {
        first->next =
            head; // `first` is the oldest of the chain, so the rest of the stack follows it
    } while (!atomic_compare_exchange_weak(&q->head, &head, newest));
    return head == NULL;
}

struct mpsc_node *mpsc_take(struct mpsc *q) {
    return reverse(atomic_exchange(&q->head, NULL));
}
