// SPDX-License-Identifier: Apache-2.0
// A VM's memory: an allocator for lua_newstate over chunks that the VM owns, so that it can be counted exactly, refused
// at a line, and given back at once when the VM ends.
//
// Two lines: above `soft` the VM collects garbage between messages; at `hard` an allocation fails and Lua raises "not
// enough memory". What C holds on behalf of the VM is charged to the same account. The thread that runs the VM only;
// `used` may be read by any thread.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(size_t soft, size_t hard); // NULL when memory ends
void arena_delete(struct arena *a);                // everything at once
// A lua_Alloc; `ud` is the arena.
void *arena_alloc(void *ud, void *p, size_t old_size, size_t new_size);
bool arena_charge(
    struct arena *a,
    size_t bytes); // false: it would cross the hard line (and `arena_hit_hard` is set)
void arena_uncharge(struct arena *a, size_t bytes);
size_t arena_used(const struct arena *a);
size_t arena_reserved(const struct arena *a); // what the system has given for it
bool arena_over_soft(const struct arena *a);
bool arena_hit_hard(const struct arena *a); // an allocation was refused since it was made
