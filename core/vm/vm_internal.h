// SPDX-License-Identifier: Apache-2.0
// What the files of this room share: the VM, and what it keeps for its work. Nothing outside core/vm includes this.
//
//   vm ── handles: requests, tasks, calls and streams by number; whoever holds a number of one that is gone finds nothing
//    ├─ request: a call to serve (or on_start, on_stop, a background task)
//    │    ├─ tasks: coroutines; one of them is the main one, whose end is the request's
//    │    ├─ calls: what the request has asked of others and not been answered
//    │    └─ streams: the one to its caller, and those of its calls
//    └─ ready: the tasks that have something to run on
//
// Memory of all of these comes from the VM's arena, so it is counted and freed with the VM.
// Functions that take a lua_State may raise and run inside vm_protect; all others never touch Lua.
#pragma once

#include "base/heap.h"
#include "base/map.h"
#include "vm/arena.h"
#include "vm/bind.h"

struct handle {
    uint32_t index;
    uint32_t generation;
    uint8_t kind; // enum handle_kind
};
enum handle_kind { HANDLE_REQUEST, HANDLE_TASK, HANDLE_CALL, HANDLE_STREAM };

struct slot {
    struct handle *handle; // NULL: free
    uint32_t generation;
    uint32_t next_free;
};

struct timer {
    struct heap_node node; // first
    void (*due)(struct vm *vm, struct timer *timer);
};

// A codec for the contract of a service that this one calls.
struct codec {
    unsigned refs;
    struct pb_pool *pool; // held by `lua`
    struct pb_lua *lua;
    struct codec *next;
};

// Where calls to an endpoint go at present.
struct route {
    unsigned refs;
    struct vm_target to; // pool and method are NULL for dialled servers
    struct codec *codec; // made at the first use; NULL for the VM's own two
    char *label;         // "service posts", for messages
    char *path;          // of a dialled server's method; NULL: the call stays here
};

// What core.resolve, native and dial answered: asks again when the services have changed.
struct target {
    enum { TARGET_SERVICE, TARGET_NATIVE, TARGET_DIAL } kind;
    char *key;           // what it is found by; the strings below lie in it
    struct str parts[4]; // namespace, service, version, endpoint | capability, method |
                         // address, path, "contract" where the method is in our own
    struct route *route; // NULL: could not be resolved
    uint64_t epoch;      // of the host when it was resolved
};

enum wait_kind {
    WAIT_NONE,
    WAIT_PARK,
    WAIT_SLEEP,
    WAIT_CALL,
    WAIT_RECV,
    WAIT_SEND,
    WAIT_HEADER,
    WAIT_TRAILER,
    WAIT_GONE
};

// With what a task goes on.
enum wake_kind {
    WAKE_VALUES,   // the values that lie on its coroutine's stack
    WAKE_TRUE,     // true
    WAKE_END,      // true, nil
    WAKE_FAULT,    // false, and `status` with `fault` or `text`
    WAKE_MESSAGE,  // true, and `message` decoded as `type`
    WAKE_METADATA, // true, and `blob` as a table
};

struct wait {
    enum wait_kind kind;
    enum wake_kind wake;
    struct task *next;     // among the stream's waiters
    struct stream *stream; // WAIT_RECV to WAIT_TRAILER
    struct call *call;     // WAIT_CALL
    int64_t until;         // WAIT_SLEEP
    struct blob *blob;     // what to send, or metadata
    struct message *message;
    struct message *info; // the answer whose metadata the caller wants; may be `message`
    struct route *route;  // whose codec reads the message; NULL: the service's own
    const struct pb_message *type;
    uint8_t compress; // enum msg_compress, of what to send
    bool json;        // the message's encoding
    int status;
    const char *text; // static
    struct msg_fault *fault;
};

// Are messages of one side compressed where they leave the node? `may` is told with the headers and cannot become true later.
struct packing {
    bool may, all;
};

struct deadline {
    int64_t at;
    struct deadline *outer;
};

enum task_state { TASK_IDLE, TASK_READY, TASK_RUNNING, TASK_PARKED, TASK_DONE };
enum task_role { ROLE_MAIN, ROLE_SPAWNED, ROLE_DEFER };

struct task {
    struct handle handle; // first
    lua_State *co;        // anchored in vm->anchors under the handle's index; NULL: none at present
    struct request *request;
    struct task *next, **link; // among the request's tasks
    struct task *ready_next;   // in vm->ready; or in vm->idle
    enum task_state state;
    enum task_role role;
    bool queued; // in vm->ready
    bool started;
    bool cancelled;
    unsigned refusals; // waits that were refused since it was cancelled
    struct wait wait;
    struct timer timer;
    struct deadline *deadline; // the innermost of core.deadline
    unsigned deadlines;        // how many
};

enum request_kind { REQUEST_RPC, REQUEST_START, REQUEST_STOP, REQUEST_BACKGROUND };
enum request_phase { PHASE_RUNNING, PHASE_ENDING, PHASE_DEFERS, PHASE_DONE };

struct request {
    struct handle handle;         // first
    struct request *next, **link; // among all of the VM
    struct request *hash_next;    // by (reply, number), until it is answered
    bool hashed;
    struct request *parent; // of a background task: kept so that its ctx stays readable
    unsigned refs;          // itself while it is open, and its background tasks
    enum request_kind kind;
    enum request_phase phase;
    struct port *reply; // NULL when nobody waits for an answer
    uint64_t number;    // the caller's
    struct msg_form form;
    struct msg_context *context;
    const struct pb_method *method; // REQUEST_RPC; NULL: raw HTTP
    struct str handler;             // of raw HTTP: its key, see web.c; empty: none
    unsigned char span[8];          // the caller of what it calls
    int64_t deadline;               // clock_now; 0: none
    struct timer timer;
    struct task *tasks;
    struct task *main;
    struct call *calls;
    struct stream *streams;
    struct stream *stream; // to its caller
    unsigned nested;       // tasks that wait for a call
    int stop;              // 0, or the status that every wait fails with
    const char *stop_text; // static
    bool gone;             // the caller has gone, or its deadline has passed
    bool answered;
    bool headers_sent;
    bool answer_said;       // raw HTTP: its head
    struct blob *answer;    // and its body, until the answer leaves
    bool compressed;        // its message came so
    struct packing packing; // of what it answers
    struct buf headers, trailers;
    int defers; // reference to a list, LUA_NOREF
};

struct call {
    struct handle handle; // first; its number is the call's on the wire
    struct request *request;
    struct call *next, **link;
    struct route *route;
    struct task *waiter;   // unary
    bool wants_info;       // with the metadata of the answer
    bool compress;         // what is sent, where it leaves the node
    struct stream *stream; // else
    struct timer timer;
};

struct stream {
    struct handle handle; // first
    struct request *request;
    struct stream *next, **link; // among the request's streams
    struct call *call;           // the client's side, until the call has ended
    bool client;
    bool receives, sends;                  // what the method's kind allows
    struct route *route;                   // client
    const struct pb_method *method;        // NULL: dialled, texts both ways
    struct mpsc_node *in_first, **in_last; // ITEMs
    size_t held;                           // bytes charged for them
    uint32_t taken;                        // bytes consumed, and not yet credited
    bool in_end;                           // no more will come
    bool compressed;                       // the message that was read last came so
    struct packing packing;                // client
    int64_t window;                        // bytes that may be sent
    bool out_end;
    bool end_sent; // END is on its way: not before what waits to be sent
    int status;    // client: how the call ended
    struct msg_fault *fault;
    bool headers_known;
    bool used; // client: something was received, or sent besides the request
    struct blob *headers, *trailers;
    struct task *waiters; // oldest first
};

// How a step of a task came out.
struct outcome {
    enum { OUT_PARKED, OUT_RETURNED, OUT_RAISED, OUT_DROPPED } how;
    int status; // of a main task's answer: 0 with `body`, else `fault`
    struct msg_fault *fault;
    struct blob *body;
};

struct hook {
    vm_hook_done done;
    void *user;
    bool finished;
    int status;
    struct blob *text;
};

typedef void vm_body(struct vm *vm, lua_State *L, void *arg);

struct vm {
    struct vm_config config; // strings are the VM's own
    struct arena *arena;
    lua_State *L; // runs nothing but vm_protect's trampoline, which lies at index 1
    char *log_source;
    double *deadlines; // seconds by method index; 0: the default
    struct pb_lua *own, *platform;
    int core, anchors, handlers, http, on_start, on_stop, describe; // references
    int ctx_mt, stream_mt;                                          // references
    vm_body *body;                                                  // what the trampoline runs
    void *body_arg;
    int64_t cpu_end; // bare: when clock_thread_cpu is too late
    bool inside;     // in vm_protect
    bool loading;    // main.lua declares
    bool condemned;
    char memory_text[64];
    size_t collected;       // bytes in use after the last collection
    struct outcome outcome; // here, so that an error cannot lose it
    struct buf scratch, scratch_metadata;

    struct slot *slots;
    uint32_t slot_count, slot_cap, slot_free;
    struct heap timers;
    struct task *ready, **ready_last;
    struct task *running;
    struct task *idle; // coroutines for the next tasks
    unsigned idle_count;

    struct request *requests;
    struct request **hash;
    size_t hash_cap, hash_count;
    uint64_t faults;          // rpc: answered with a status that is the service's fault
    size_t open;              // rpc and background
    size_t working;           // rpc
    size_t nested;            // of these, those that wait for a call
    struct request *instance; // on_start's: lives with the VM
    struct hook start, stop;

    struct target *targets;
    size_t target_count, target_cap;
    struct map target_numbers; // key -> number + 1
    struct codec *codecs;
    struct blob **dial_settings; // dial_settings.c
    size_t dial_settings_count;
    struct blob *service_name;
};

#include "vm/vm_parts.h"
