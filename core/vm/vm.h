// SPDX-License-Identifier: Apache-2.0
// A VM: one instance of a service. A lua_State in its own arena, the service's code in it, and the requests that it works
// on, each a set of coroutines (tasks).
//
// One thread at a time runs a VM (sched sees to it); no function here may be called while another one runs, and none is
// called from within Lua. Every entry into Lua is protected: a Lua error, memory included, ends the request that caused it
// and never unwinds through other C code.
#pragma once

#include "msg/message.h"
#include "vm/host.h"
#include "vm/source.h"

struct vm;

struct vm_limits {        // 0: the default
    size_t memory;        // 64 MB; the soft line is at 80 %
    double deadline;      // of a unary request whose caller named none: 30 s
    unsigned concurrency; // requests at work at a time: 1,000
    unsigned queue;       // waiting requests: 10,000 (the mailbox's limit; sched reads it)
    size_t message;       // bytes of one message: 4 MB
};
extern const struct vm_limits VM_LIMITS;

struct vm_config {
    const char *ns;
    const char *service;
    const char *version;
    unsigned instance;
    uint32_t generation;
    struct source *source; // held
    struct vm_limits limits;
    const char *const *natives; // capabilities, NULL-terminated; NULL: none
    bool bare; // only to read the definition: 16 MB, 100 ms, every platform call raises
    struct vm_host *host;
    struct port
        *self; // where answers to this VM go; not held (it is the instance, which owns the VM)
};

// Makes the state with sandbox and library. NULL: `err` is filled.
struct vm *vm_new(const struct vm_config *config, struct err *err);
void vm_delete(
    struct vm *vm); // answers every open request UNAVAILABLE, cancels every call that is out

// Runs main.lua and takes its definition. Faults (syntax error, a wrong definition) are -STATUS_INVALID_ARGUMENT with
// file:line: message.
int vm_load(struct vm *vm, struct err *err);
// The definition as an encoded mica.core.v1.Definition.
int vm_describe(struct vm *vm, struct buf *out, struct err *err);

// Begins on_start or on_stop, if the service has it. `done` hears of the end from a later vm_* call on the same thread
// (at once when there is nothing to run): 0, or a negative status and a text.
typedef void (*vm_hook_done)(struct vm *vm, void *user, int status, const char *text);
void vm_start(struct vm *vm, vm_hook_done done, void *user);
void vm_stop(struct vm *vm, vm_hook_done done, void *user);

// One message, taken. A REQUEST begins a request; more than the concurrency limit must not be handed in
// (vm_has_room). A CANCEL for a request that has not been handed in is sched's to match.
void vm_receive(struct vm *vm, struct message *m);
bool vm_has_room(const struct vm *vm);
// Runs what is due: timers and tasks that are ready. Called after the messages of a turn; true when more is ready.
bool vm_run(struct vm *vm, int64_t now);
int64_t vm_next_timer(const struct vm *vm); // clock_now; INT64_MAX: none
void vm_collect(struct vm *vm);             // between turns: garbage, when above the soft line

size_t vm_open_requests(
    const struct vm *vm); // requests and background tasks that have not ended (drain waits for 0)
void vm_cancel_all(struct vm *vm, int status, const char *text); // the end of the drain time
bool vm_condemned(const struct vm *vm); // it hit the hard memory line: replace it
size_t vm_memory(const struct vm *vm);
// Requests so far that ended with a status that is the service's fault (UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED,
// INTERNAL, UNAVAILABLE, DATA_LOSS).
uint64_t vm_faults(const struct vm *vm);
