// SPDX-License-Identifier: Apache-2.0
// A chained hash table of calls under way. It doubles when there are as many calls as buckets; where memory for that ends it
// stays as it is, with longer chains.
#include "rpc/dial_table.h"

#include "rpc/dial.h"

#include <stdlib.h>

#define FIRST_CAP 64

static size_t bucket_of(const struct dial_table *t, const struct port *reply, uint64_t number) {
    uint64_t h = (number ^ (uint64_t)(uintptr_t)reply >> 4) * 0x9E3779B97F4A7C15u;
    return (size_t)(h >> 32) & (t->cap - 1);
}

static void put(struct dial_table *t, struct dial_call *c) {
    struct dial_call **bucket = &t->buckets[bucket_of(t, c->request->reply, c->request->call)];
    c->next_in_table = *bucket;
    *bucket = c;
}

static int grow(struct dial_table *t) {
    struct dial_table bigger = {.cap = t->cap == 0 ? FIRST_CAP : 2 * t->cap, .count = t->count};
    bigger.buckets = calloc(bigger.cap, sizeof(struct dial_call *));
    if (bigger.buckets == NULL) return t->cap == 0 ? -STATUS_RESOURCE_EXHAUSTED : 0;
    for (size_t i = 0; i < t->cap; i++) {
        for (struct dial_call *c = t->buckets[i]; c != NULL;) {
            struct dial_call *next = c->next_in_table;
            put(&bigger, c);
            c = next;
        }
    }
    free(t->buckets);
    *t = bigger;
    return 0;
}

struct dial_call *dial_table_find(const struct dial_table *t, const struct port *reply,
                                  uint64_t number) {
    if (t->cap == 0) return NULL;
    struct dial_call *c = t->buckets[bucket_of(t, reply, number)];
    while (c != NULL && (c->request->call != number || c->request->reply != reply))
        c = c->next_in_table;
    return c;
}

int dial_table_add(struct dial_table *t, struct dial_call *c) {
    if (t->count >= t->cap) {
        int rc = grow(t);
        if (rc < 0) return rc;
    }
    put(t, c);
    t->count++;
    return 0;
}

void dial_table_remove(struct dial_table *t, struct dial_call *c) {
    struct dial_call **at = &t->buckets[bucket_of(t, c->request->reply, c->request->call)];
    while (*at != c) at = &(*at)->next_in_table;
    *at = c->next_in_table;
    t->count--;
}

struct dial_call *dial_table_any(const struct dial_table *t) {
    for (size_t i = 0; t->count > 0 && i < t->cap; i++) {
        if (t->buckets[i] != NULL) return t->buckets[i];
    }
    return NULL;
}

void dial_table_free(struct dial_table *t) {
    free(t->buckets);
    *t = (struct dial_table){0};
}
