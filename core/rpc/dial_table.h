// SPDX-License-Identifier: Apache-2.0
// The calls of a dial by what their callers know them by: the reply port and a number. Both are of this process, so the hash
// needs no secret, and calls are linked by themselves, so nothing is allocated for one. On the dial's loop.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct dial_call;
struct port;

struct dial_table {
    struct dial_call **buckets; // chains by dial_call.next_in_table
    size_t cap;                 // a power of two, or 0
    size_t count;
};

struct dial_call *dial_table_find(const struct dial_table *t, const struct port *reply,
                                  uint64_t number); // NULL when absent
// It must not be there yet. 0 or -STATUS_RESOURCE_EXHAUSTED.
int dial_table_add(struct dial_table *t, struct dial_call *c);
void dial_table_remove(struct dial_table *t, struct dial_call *c);
struct dial_call *dial_table_any(const struct dial_table *t); // NULL when empty
void dial_table_free(struct dial_table *t);
