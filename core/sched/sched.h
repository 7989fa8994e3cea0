// SPDX-License-Identifier: Apache-2.0
// Workers: the threads that run instances. Each has a run queue; an idle one takes from a busy one. An instance is in at
// most one queue, and on at most one worker, at a time (mailbox.scheduled sees to it).
//
// A turn of an instance: control messages, then requests as far as its concurrency allows, then due timers and ready tasks;
// bounded in messages and time, then it goes to the tail of the queue. What a turn sends to I/O loops leaves in one batch
// at its end.
#pragma once

#include "base/heap.h"
#include "msg/message.h"

struct sched;
struct runnable;

// What a worker runs: embedded in an instance.
struct runnable {
    struct runnable *next;
    // One turn on a worker's thread. True: there is more to do, put me at the tail.
    bool (*turn)(struct runnable *r);
    struct heap_node timer; // sched's: when it wants to be run at the latest
    unsigned home;          // the worker that ran it last
};

struct sched *sched_new(unsigned workers, struct err *err); // started
void sched_stop(struct sched *s);   // ends and joins the workers after their present turns
void sched_delete(struct sched *s); // after sched_stop

void sched_ready(struct sched *s, struct runnable *r); // any thread; r is in no queue now
// r wants a turn at or after `at` (clock_now) even without mail; replaces an earlier wish; INT64_MAX: none. Any thread. When
// the time comes `due` is called (on any worker's thread), which makes it ready if it is not scheduled.
void sched_wake_at(struct sched *s, struct runnable *r, int64_t at, void (*due)(struct runnable *r));
void sched_forget(struct sched *s, struct runnable *r); // before it is freed: no timer of it is left
unsigned sched_workers(const struct sched *s);
