// SPDX-License-Identifier: Apache-2.0
// An instance: a VM with a mailbox, run in turns by the workers. It makes its VM, hands in its mail, replaces it when it
// has hit its memory line, and drains and stops it.
//
// Reference-counted as the port that its VM gives to those it calls. Whoever holds it may outlive the VM: what is then sent
// is refused with UNAVAILABLE. An instance holds itself while it is in a run queue.
#pragma once

#include "base/histogram.h"
#include "msg/mailbox.h"
#include "sched/pending.h"
#include "sched/sched.h"
#include "vm/vm.h"

#include <pthread.h>

// NEW -> STARTING -> SERVING -> (DRAINING -> STOPPING) -> STOPPED. A VM that must be replaced goes back to STARTING, after
// WAITING when that happens too often. FAILED: the first start failed; it waits to be stopped.
enum instance_state {
    INSTANCE_NEW,
    INSTANCE_STARTING, // main.lua and on_start
    INSTANCE_SERVING,
    INSTANCE_WAITING, // no VM: until retry_at
    INSTANCE_FAILED,  // no VM
    INSTANCE_DRAINING,
    INSTANCE_STOPPING, // on_stop
    INSTANCE_STOPPED   // no VM
};

struct instance;

// Called on a worker's thread, each once.
struct instance_events {
    // 0, or a negative status and a text: then it must still be stopped.
    void (*started)(void *user, int status, const char *text);
    // The VM is gone; `finished`: requests that ended by themselves while it drained.
    void (*stopped)(void *user, uint64_t finished);
};

struct instance_config {
    struct vm_config vm; // all it points to outlives `stopped`; `self` is filled in
    struct sched *sched;
    struct instance_events events;
    void *user;
};

struct instance {
    struct port port;
    struct runnable runnable;
    struct mailbox box;
    struct instance_config config;
    char label[160]; // "posts@v2/0", in the log
    // Set by any thread.
    atomic_uint orders;          // ORDER_... of instance.c
    _Atomic(int64_t) stop_until; // with ORDER_STOP
    _Atomic(int64_t) armed;      // the wake-up asked of sched; INT64_MAX: none
    // Read by any thread.
    atomic_int state; // enum instance_state
    atomic_uint open; // vm_open_requests after the last turn
    atomic_uint restarts;
    atomic_size_t memory;
    _Atomic(uint64_t) begun;    // requests handed in
    _Atomic(uint64_t) faults;   // vm_faults of all VMs so far
    struct histogram queue;     // how long requests waited to be begun
    pthread_mutex_t error_lock; // of last_error
    char last_error[300]; // why a VM was replaced or did not start; "" while that has not been
    // Of the thread that runs it.
    struct vm *vm;
    uint64_t faults_before; // of VMs that are gone
    struct pending pending;
    struct mpsc_node *control, *control_last; // control messages that did not fit in a turn
    bool reported;                            // `started` has been called
    bool stop_wanted;
    bool hook_done; // on_start or on_stop has ended, with:
    int hook_status;
    char hook_text[500];
    int64_t made_at; // the VM
    int64_t retry_at;
    int64_t end_at;       // of the present phase of stopping
    unsigned streak;      // restarts that followed each other closely
    uint64_t left_behind; // requests when draining began; then those that finished
    bool cancelled;
};

struct instance *instance_new(const struct instance_config *config,
                              struct err *err); // one reference
void instance_start(struct instance *i);        // once
// Drains until `until` (clock_now), then cancels what is left with UNAVAILABLE, runs on_stop and ends. Any thread.
void instance_stop(struct instance *i, int64_t until);

static inline struct port *instance_port(struct instance *i) { return &i->port; }
static inline enum instance_state instance_state(const struct instance *i) {
    return (enum instance_state)atomic_load_explicit(&i->state, memory_order_relaxed);
}
// Requests that wait or are at work, for the choice among instances.
static inline unsigned instance_load(const struct instance *i) {
    return atomic_load_explicit(&i->box.waiting, memory_order_relaxed) +
           atomic_load_explicit(&i->open, memory_order_relaxed);
}

// ---- between instance.c (mail and turns) and life.c (the VM's life); the running thread only
// Does what the state wants next, before mail is handed in and after: makes, replaces, drains, stops the VM.
void life_before_mail(struct instance *i, int64_t now);
void life_after_run(struct instance *i, int64_t now);
int64_t
life_next(const struct instance *i); // when life_before_mail must be called again at the latest
