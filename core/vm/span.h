// SPDX-License-Identifier: Apache-2.0
// Spans: pieces of memory of a power of two, 16 KB to 64 MB, cut from few large reservations of the process, so that ten
// thousand VMs do not need ten thousand mappings (vm.max_map_count is 65,530). Any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SPAN_MIN ((size_t)16 << 10)
#define SPAN_MAX ((size_t)64 << 20)

// Spans of one owner are linked, so that all of them can be given back without a look at their content.
struct span_list {
    uint32_t first; // 0: empty
};

size_t span_size(size_t size); // what span_take really takes for `size`
void *span_take(struct span_list *owner,
                size_t size); // NULL when the system has no more; size <= SPAN_MAX
void span_give(struct span_list *owner, void *p);
void span_give_all(struct span_list *owner);
