// SPDX-License-Identifier: Apache-2.0
// Counters of the hot path: each thread adds to numbers of its own, who reads adds up those of all threads. Adding is a load
// and a store, without a lock and without a cache line that another thread writes.
//
// A number may be raised by one thread and lowered by another (a message made on a loop and freed by a worker): only the
// sum means something. A sum is read while others count, so two of them need not belong to the same moment.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum counter {
    COUNTER_MESSAGES,       // alive, without those that somebody keeps on purpose (message_park)
    COUNTER_BODIES,         // of messages, alive
    COUNTER_STREAMS,        // HTTP streams open at the doors, without scrapes
    COUNTER_CLIENT_STREAMS, // and of connections that we have made
    COUNTER_CLOSED,         // streams that have ended; four counters, by enum http_close
    COUNTER_CLOSED_LAST = COUNTER_CLOSED + 3,
    COUNTER_CLIENT_CLOSED,
    COUNTER_CLIENT_CLOSED_LAST = COUNTER_CLIENT_CLOSED + 3,
    COUNTER_RECEIVED, // bytes
    COUNTER_CLIENT_RECEIVED,
    COUNTER_SENT,
    COUNTER_CLIENT_SENT,
    COUNTER_ACCEPTED,     // connections
    COUNTER_TURNED_AWAY,  // connections over a door's limit
    COUNTER_STORE_GROUPS, // transactions
    COUNTER_STORE_BATCHES,
    COUNTER_STORE_READS,
    COUNTERS
};

struct counters {
    _Atomic(int64_t) n[COUNTERS];
    bool listed;
    struct counters *next, **link;
};

extern _Thread_local struct counters counters_here;
void counters_join(void); // lists the calling thread's until it ends

static inline void counter_add(enum counter c, int64_t by) {
    if (!counters_here.listed) counters_join();
    _Atomic(int64_t) *n = &counters_here.n[c];
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

// The sums over all threads that are and were. Any thread.
void counters_sum(int64_t out[COUNTERS]);
