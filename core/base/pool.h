// SPDX-License-Identifier: Apache-2.0
// Memory for what is made and dropped with every call: messages, contexts, short blobs, HTTP streams.
//
// Each thread keeps a bounded number of free blocks a size class, so that taking one is a few instructions. Any thread may
// give back a block that another has taken: it goes to the giver's list. Requests and answers cross the same two
// threads in opposite directions, so the lists fill themselves; what is too many goes back to malloc.
#pragma once

#include <stddef.h>

#define POOL_MAX 4096 // bytes; what is larger comes from malloc and has class 0

// The class of a size. Blocks are aligned for every type.
unsigned pool_class(size_t size);
// NULL when memory ends. Not cleared. With class 0, `size` bytes from malloc.
void *pool_take(unsigned class, size_t size);
void pool_give(void *p, unsigned class); // accepts NULL

// For things of a fixed size.
void *pool_take_zeroed(size_t size);
static inline void pool_give_sized(void *p, size_t size) { pool_give(p, pool_class(size)); }
