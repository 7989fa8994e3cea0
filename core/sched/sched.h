// SPDX-License-Identifier: Apache-2.0
// Workers: the threads that run instances. Each has a run queue; an idle one takes from a busy one. An instance is in at
// most one queue, and on at most one worker, at a time (mailbox.scheduled sees to it).
//
// A turn of an instance: control messages, then requests as far as its concurrency allows, then due timers and ready tasks;
// bounded in messages and time, then it goes to the tail of the queue. What a turn sends to I/O loops leaves in one batch
// at its end (the hooks: sched knows nothing of loops).
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
    // After a turn that returned false, when what it sent has left: true when there is more to do after all. After false
    // it is not touched again: it may be ready on another worker by then, or freed.
    bool (*rest)(struct runnable *r);
    void (*abandon)(
        struct runnable *r);         // from sched_delete: it is ready and will never get its turn
    struct heap_node timer;          // sched's: when it wants to be run at the latest
    void (*due)(struct runnable *r); // sched's, see sched_wake_at
    unsigned home;                   // the worker that ran it last; any number at first
};

// Called on every worker's thread; each may be NULL.
struct sched_hooks {
    void (*turn_begin)(void);   // before a turn: gather what it sends
    void (*turn_end)(void);     // after a turn: send it
    void (*before_sleep)(void); // nothing may be left unsent
};

struct sched *sched_new(unsigned workers, const struct sched_hooks *hooks,
                        struct err *err); // started
void sched_stop(struct sched *s);         // ends and joins the workers after their present turns
void sched_delete(struct sched *s);       // after sched_stop

void sched_ready(struct sched *s, struct runnable *r); // any thread; r is in no queue now
// For I/O threads: from the first call on, what this thread makes ready is kept back, and handed to the workers by
// the next call, with at most one wake-up for all that one worker gets. To be called before the thread sleeps.
void sched_hand_over(void);
void sched_hand_over_end(void); // the same, and nothing is kept back any more
// r wants a turn at or after `at` (clock_now) even without mail; replaces an earlier wish; INT64_MAX: none. Any thread. When
// the time comes `due` is called once (on any worker's thread; it may call sched_ready but not sched_wake_at), which makes r
// ready if it is not scheduled. When memory ends it is called at once: too early is harmless, never is not.
void sched_wake_at(struct sched *s, struct runnable *r, int64_t at,
                   void (*due)(struct runnable *r));
void sched_forget(
    struct sched *s,
    struct runnable *r); // before it is freed: `due` is not running and will not be called
unsigned sched_workers(const struct sched *s);
// CPU time of a worker's thread, nanoseconds; 0 when it has not begun. Any thread, while the workers run.
int64_t sched_worker_cpu(struct sched *s, unsigned worker);
