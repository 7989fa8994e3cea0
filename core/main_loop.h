// SPDX-License-Identifier: Apache-2.0
// The main thread's loop: signals, acceptors, and what other threads ask it to do. Blocking work goes to libuv's thread pool
// from here.
#pragma once

#include "base/mpsc.h"
#include "base/status.h"

#include <uv.h>

struct main_loop {
    uv_loop_t uv;
    uv_async_t wake;
    struct mpsc tasks;
};

// Embedded in what it is for. Run once on the main thread.
struct main_task {
    struct mpsc_node link; // first
    void (*run)(struct main_task *task);
};

// Embedded in what it is for: `run` on a thread of the pool, then `done` on the main thread, which may free it.
struct main_work {
    struct main_task task; // first
    uv_work_t work;
    struct main_loop *loop;
    void (*run)(struct main_work *work);
    void (*done)(struct main_work *work);
};

int main_loop_create(struct main_loop *m, struct err *err);
void main_loop_run(struct main_loop *m);  // until main_loop_stop
void main_loop_stop(struct main_loop *m); // main thread
// Does what was posted, waits for the pool's work and for what is being closed. Nobody may post any more.
void main_loop_destroy(struct main_loop *m);
void main_loop_post(struct main_loop *m, struct main_task *task); // any thread
void main_loop_work(struct main_loop *m, struct main_work *work); // any thread
