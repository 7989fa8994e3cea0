// SPDX-License-Identifier: Apache-2.0
// I/O loops: threads with a libuv loop each. A loop's connections, sessions, calls and timers are touched by its thread
// only; other threads send it messages (a loop is a port) and functions to run.
//
// One turn: read what came in (sessions queue work), run posted functions and messages, then write each connection that
// has something to say once (the "dirty" list), so that many answers share a write.
#pragma once

#include "base/heap.h"
#include "msg/message.h"

#include <uv.h>

struct loop;
struct conn;

// A function to be run on the loop's thread. Embedded in what it is for.
struct loop_task {
    struct mpsc_node link;
    void (*run)(struct loop *loop, struct loop_task *task);
};

struct loop_timer {
    struct heap_node node;
    void (*fire)(struct loop *loop, struct loop_timer *timer);
};

struct loop {
    struct port port; // messages sent here reach `deliver`
    uv_loop_t uv;
    unsigned index;
    // Set before loop_start, called on the loop's thread; the message is given away.
    void (*deliver)(struct loop *loop, struct message *m);
    void *user; // of who set `deliver`
    // Called on the loop's thread when a turn has done its work and before the loop may sleep, and once at its end; may be NULL.
    void (*hand_over)(void);
    void (*hand_over_end)(void);
    atomic_uint connections;  // open ones; so that the acceptor finds the emptiest
    struct loop_state *state; // loop.c's own
};

// A loop is created, given `deliver`, started, and stopped: loop_stop closes what is open, ends the thread and waits for it.
int loop_create(struct loop *loop, unsigned index, struct err *err);
int loop_start(struct loop *loop, struct err *err);
void loop_stop(struct loop *loop);    // any other thread
void loop_destroy(struct loop *loop); // after loop_stop

void loop_post(struct loop *loop, struct loop_task *task); // any thread
bool loop_is_current(const struct loop *loop);
int64_t
loop_cpu(struct loop *loop); // CPU time of its thread, nanoseconds; any thread, while it runs
int64_t loop_now(struct loop *loop); // clock_now at the beginning of the turn, cheap

// Loop thread only. A timer fires once, at or shortly after `at` (clock_now).
int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

// Sending many messages to loops from a worker: batched per loop, one push and at most one wake-up when flushed.
// The calling thread's own; `loop_batch_flush` before the thread sleeps. Without a batch begun, port_send pushes at once.
void loop_batch_begin(void);
void loop_batch_flush(void);
void loop_batch_end(void); // flushes and goes back to sending at once
