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
    char *path;          // of a dialled server's method
};

// What core.resolve, native and dial answered: asks again when the services have changed.
struct target {
    enum { TARGET_SERVICE, TARGET_NATIVE, TARGET_DIAL } kind;
    char *key; // what it is found by; the strings below lie in it
    struct str
        parts[4]; // namespace, service, version, endpoint | capability, method | address, path
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
    struct route *route; // whose codec reads the message; NULL: the service's own
    const struct pb_message *type;
    bool json; // the message's encoding
    int status;
    const char *text; // static
    struct msg_fault *fault;
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
    const struct pb_method *method; // REQUEST_RPC
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
    struct buf headers, trailers;
    int defers; // reference to a list, LUA_NOREF
};

struct call {
    struct handle handle; // first; its number is the call's on the wire
    struct request *request;
    struct call *next, **link;
    struct route *route;
    struct task *waiter;   // unary
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
    int64_t window;                        // bytes that may be sent
    bool out_end;
    bool end_sent; // END is on its way: not before what waits to be sent
    int status;    // client: how the call ended
    struct msg_fault *fault;
    bool headers_known;
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
    int core, anchors, handlers, on_start, on_stop, describe; // references
    vm_body *body;                                            // what the trampoline runs
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
    size_t open;              // rpc and background
    size_t working;           // rpc
    size_t nested;            // of these, those that wait for a call
    struct request *instance; // on_start's: lives with the VM
    struct hook start, stop;

    struct target *targets;
    size_t target_count, target_cap;
    struct map target_numbers; // key -> number + 1
    struct codec *codecs;
    struct blob *service_name;
};

// ---- vm.c
// Runs `body` inside a protected call. 0; -STATUS_RESOURCE_EXHAUSTED when memory ended, -STATUS_INTERNAL and the text else.
int vm_protect(struct vm *vm, vm_body *body, void *arg, struct err *err);
void *vm_alloc(struct vm *vm, size_t size); // zeroed; NULL: at the hard line
void vm_free(struct vm *vm, void *p, size_t size);
void *vm_grow(struct vm *vm, void *array, size_t old_size, size_t new_size);
const char *vm_memory_text(struct vm *vm); // "memory limit of 64 MB reached"
int vm_timer_set(struct vm *vm, struct timer *timer, int64_t at);
void vm_timer_clear(struct vm *vm, struct timer *timer);
void vm_hook_finish(struct vm *vm, struct hook *hook, int status, struct str text);
void vm_log(struct vm *vm, enum log_level level, const struct request *r, struct str text);

// ---- handle.c
int handle_add(struct vm *vm, struct handle *h,
               enum handle_kind kind); // 0 or -STATUS_RESOURCE_EXHAUSTED
void handle_remove(struct vm *vm, struct handle *h);
void handle_renew(struct vm *vm, struct handle *h); // same place, another number
void *handle_find(struct vm *vm, uint32_t index, uint32_t generation, enum handle_kind kind);
static inline uint64_t handle_number(const struct handle *h) {
    return h->index | (uint64_t)h->generation << 32;
}
// As a userdata, with the metatable core[mt] if there is one.
void handle_push(struct vm *vm, lua_State *L, const struct handle *h, const char *mt);
// From a userdata; raises "bad argument" when it is something else; NULL when what it means is gone.
void *handle_check(struct vm *vm, lua_State *L, int arg, enum handle_kind kind, const char *what);
// As a number.
void handle_push_number(lua_State *L, const struct handle *h);
void *handle_check_number(struct vm *vm, lua_State *L, int arg, enum handle_kind kind);

// ---- serve.c
void request_receive(struct vm *vm, struct message *take); // a REQUEST
void request_message(struct vm *vm, struct message *take); // what follows it
void request_hook(struct vm *vm, enum request_kind kind, int function, double seconds);
// A background task of `parent` (may be NULL): fn and n arguments at the top of L, popped. Raises.
struct task *request_background(struct vm *vm, lua_State *L, struct request *parent, int n);
void request_encode(struct vm *vm, lua_State *L, struct request *r,
                    bool returned); // the answer, at the top, to vm->outcome
// The value at `index` as bytes of the form; NULL and `err`: what is wrong with it. Raises for memory.
struct blob *value_encode(struct vm *vm, lua_State *L, int index, struct pb_lua *codec,
                          const struct pb_message *type, struct msg_form form, struct err *err);

// ---- request.c
struct request *request_new(struct vm *vm, enum request_kind kind, struct msg_context *context);
void request_free_unused(struct vm *vm, struct request *r); // one that could not begin
// Answers (nothing when that was done before) and takes body and fault.
void request_answer(struct vm *vm, struct request *r, int status, struct msg_fault *fault,
                    struct blob *body);
void request_end(struct vm *vm, struct request *r); // cancels what is left of it
void request_settle(struct vm *vm,
                    struct request *r); // goes on with the ending when no task is left; may free r
void request_stop(struct vm *vm, struct request *r, int status,
                  const char *text); // every wait of it fails from now on
void request_drop(struct vm *vm,
                  struct request *r); // frees it with all it has, without Lua: the end of the VM
void request_finished(struct vm *vm, struct request *r, enum task_role role, bool cancelled,
                      struct outcome *take);
void request_send_headers(struct vm *vm, struct request *r); // unless they have been sent
// A task that nobody waits for has raised: the request fails with it. Takes what the outcome holds.
void request_raise(struct vm *vm, struct request *r, struct outcome *take);
void request_defer(lua_State *L, struct request *r);          // fn at the top, popped
void request_forget_caller(struct vm *vm, struct request *r); // it has gone and wants no answer
int request_hash_add(struct vm *vm, struct request *r);
struct request *request_find(struct vm *vm, const struct port *reply, uint64_t number);
void request_endpoint(const struct request *r, char *out, size_t n); // "Posts.Save", ""
struct request *request_running(const struct vm *vm);

// ---- task.c
// A task whose function and arguments are the `n + 1` values at the top of L; they are popped. Raises.
struct task *task_new(struct vm *vm, lua_State *L, struct request *r, enum task_role role, int n);
void task_free(struct vm *vm, struct task *t, bool reusable);
void task_drop(struct vm *vm, struct task *t); // without Lua
void task_release_idle(struct vm *vm);
void task_ready(struct vm *vm, struct task *t, enum wake_kind wake);
void task_fail(struct vm *vm, struct task *t, int status,
               const char *text); // a parked one goes on with a fault
void task_fault(struct vm *vm, struct task *t, int status, const struct msg_fault *fault); // copied
void task_cancel(struct vm *vm, struct task *t);
bool task_run_ready(struct vm *vm, unsigned steps); // true: more is ready
// The running task, for a function that may wait; raises where waiting is not possible.
struct task *task_waiting(struct vm *vm, lua_State *L, const char *function);
// When the task's waits fail: pushes the fault and returns how many values, or yields for good; else 0.
int task_refused(struct vm *vm, struct task *t, lua_State *L);
// Ends the C function: `return task_park(...)`. Set what t->wait needs before.
int task_park(struct vm *vm, struct task *t, lua_State *L, enum wait_kind kind);
int task_push_fault(lua_State *L, int status, struct str text,
                    const struct msg_fault *fault); // 5 values
int task_push_message(struct vm *vm, struct task *t,
                      lua_State *L);         // true and t->wait.message decoded, or a fault
int64_t task_deadline(const struct task *t); // the nearest of its own and its request's; 0: none
// The fault that a raised value (at the top of L, popped) stands for, to vm->outcome. `co` is where it was raised.
void task_error(struct vm *vm, lua_State *L, lua_State *co, int status);
extern const char TASK_TAG; // its address, as a light userdata, is core.TAG

// ---- call.c
int target_find(struct vm *vm, int kind, const struct str *parts, size_t count, size_t *number,
                struct err *err);
struct target *target_check(struct vm *vm, lua_State *L, int arg);
int target_refresh(struct vm *vm, struct target *t,
                   struct err *err); // t->route is good when it returns 0
struct pb_lua *route_codec(struct vm *vm, lua_State *L, struct route *route); // NULL: dialled
struct route *route_hold(struct route *route);
void route_drop(struct vm *vm, struct route *route);
void targets_free(struct vm *vm);
struct call_options {
    double timeout; // seconds; 0: none
    bool as_service;
    struct str ns; // dialled servers only: the namespace that is asked for; empty: the request's own
};
// A call that is under way; NULL and `err` when it could not begin. Body is taken; metadata from vm->scratch_metadata.
struct call *call_begin(struct vm *vm, struct task *t, struct route *route,
                        const struct call_options *options, struct blob *take_body,
                        struct err *err);
void call_message(struct vm *vm, struct message *take);     // what comes back
void call_abort(struct vm *vm, struct call *c, int status); // tells the callee, frees
void call_free(struct vm *vm, struct call *c);
// A message to the other side of a call that this VM made; NULL when memory ends.
struct message *call_message_new(struct vm *vm, const struct call *c, enum msg_kind kind);
void call_send(struct call *c, struct message *take); // accepts NULL

// ---- stream.c
struct stream *stream_new(struct vm *vm, struct request *r,
                          struct call *c); // c NULL: the server's side
void stream_free(struct vm *vm, struct stream *s, int status,
                 const char *text); // who waits for it fails
void stream_item(struct vm *vm, struct stream *s, struct message *take);
void stream_end(struct vm *vm, struct stream *s); // the caller has finished sending
void stream_credit(struct vm *vm, struct stream *s, uint32_t credit);
void stream_headers(struct vm *vm, struct stream *s, struct message *take);
void stream_response(struct vm *vm, struct stream *s, struct message *take);
void stream_fail_waiters(struct vm *vm, struct stream *s, int status, const char *text);
void stream_finish(struct vm *vm, struct stream *s, int status,
                   const char *text);                 // client: ended from this side
void stream_forget(struct stream *s, struct task *t); // t does not wait for it any more
int stream_recv(struct vm *vm, struct stream *s, struct task *t, lua_State *L);
int stream_send(struct vm *vm, struct stream *s, struct task *t, lua_State *L, int arg);
int stream_metadata(struct vm *vm, struct stream *s, struct task *t, lua_State *L, bool trailer);
void stream_close_send(struct vm *vm, struct stream *s);
void stream_discard(struct vm *vm, struct stream *s); // what has come and was not read
// Pushes what a message holds; raises only for memory. 0, or a status and `err`.
int stream_decode(struct vm *vm, lua_State *L, struct route *route, const struct pb_message *type,
                  bool json, const struct blob *body, struct err *err);
void metadata_push(lua_State *L, const struct blob *metadata); // as a table
void metadata_check(lua_State *L, struct str key,
                    struct str value); // bind_tasks.c: raises when it may not be set

// ---- sandbox.c
void sandbox_open(struct vm *vm, lua_State *L);
// Pushes the chunk of a file of lua/; 0, or -STATUS_NOT_FOUND, or -STATUS_INTERNAL with the fault of the text.
int sandbox_library(struct vm *vm, lua_State *L, const char *path, struct err *err);
