// SPDX-License-Identifier: Apache-2.0
// Private to rpc/: what each loop counts of the calls at the doors, by series: a door, a namespace, a service and an endpoint.
// A series has a number, found once when its route is installed, and a block a loop that only the loop writes;
// reading adds the blocks of all loops up.
//
// Numbers are given for the life of the process, so that a redeployed service goes on counting. There are at most
// CALL_SERIES_MAX; endpoints beyond share the series of what no route answers, which has no service.
#pragma once

#include "base/buf.h"
#include "base/histogram.h"

#define CALL_SERIES_MAX 16384
#define CALL_SERIES_NONE 0 // is not counted: the door's own pages
#define STATUS_COUNT 17

// The number of a series; without a service, that of what no route answers. Any thread.
uint32_t call_series(const char *door, struct str ns, struct str service, struct str endpoint);

struct call_counts { // written by one loop
    _Atomic(uint64_t) begun;
    _Atomic(uint64_t) ended[STATUS_COUNT];
    struct histogram seconds; // from the head of the request to the end of the answer
};

#define CALL_CHUNK 128
struct call_chunk {
    _Atomic(struct call_counts *) blocks[CALL_CHUNK];
};
struct call_stats { // of one loop; zeroed
    _Atomic(struct call_chunk *) chunks[CALL_SERIES_MAX / CALL_CHUNK];
};

struct call_counts *call_stats_make(struct call_stats *s, uint32_t series);
// The loop's thread. NULL: it is not counted (or memory ended).
static inline struct call_counts *call_stats_at(struct call_stats *s, uint32_t series) {
    struct call_chunk *chunk =
        atomic_load_explicit(&s->chunks[series / CALL_CHUNK], memory_order_relaxed);
    struct call_counts *c =
        chunk == NULL
            ? NULL
            : atomic_load_explicit(&chunk->blocks[series % CALL_CHUNK], memory_order_relaxed);
    return c != NULL ? c : call_stats_make(s, series);
}

static inline void call_counts_begin(struct call_counts *c) {
    if (c != NULL) histogram_raise(&c->begun, 1);
}
static inline void call_counts_end(struct call_counts *c, int status) {
    if (c == NULL) return;
    if (status < 0 || status >= STATUS_COUNT) status = 2; // UNKNOWN
    histogram_raise(&c->ended[status], 1);
}

// All families of calls, of `count` loops. Any thread.
void call_stats_render(struct call_stats *const *loops, unsigned count, struct buf *out);
void call_stats_free(struct call_stats *s); // the loop has ended
