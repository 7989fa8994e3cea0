// SPDX-License-Identifier: Apache-2.0
// What each file of this room does for the others, file by file. Included by vm_internal.h, which has the structures and
// the rules; nothing else includes this.
#pragma once

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

// ---- log.c
void vm_log(struct vm *vm, enum log_level level, const struct request *r, struct str text);
void vm_log_fields(struct vm *vm, enum log_level level, const struct request *r, struct str text,
                   const struct log_pair *fields, size_t count);

// ---- handle.c
int handle_add(struct vm *vm, struct handle *h,
               enum handle_kind kind); // 0 or -STATUS_RESOURCE_EXHAUSTED
void handle_remove(struct vm *vm, struct handle *h);
void handle_renew(struct vm *vm, struct handle *h); // same place, another number
void *handle_find(struct vm *vm, uint32_t index, uint32_t generation, enum handle_kind kind);
static inline uint64_t handle_number(const struct handle *h) {
    return h->index | (uint64_t)h->generation << 32;
}
// As a userdata, with the metatable that the registry has under `mt` (vm->ctx_mt, vm->stream_mt).
void handle_push(lua_State *L, const struct handle *h, int mt);
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
void request_push_ctx(struct vm *vm, lua_State *L, struct request *r);
void request_encode(struct vm *vm, lua_State *L, struct request *r,
                    bool returned); // the answer, at the top, to vm->outcome
// The value at `index` as bytes of the form; NULL and `err`: what is wrong with it. Raises for memory.
struct blob *value_encode(struct vm *vm, lua_State *L, int index, struct pb_lua *codec,
                          const struct pb_message *type, struct msg_form form, struct err *err);

// ---- web.c
struct str
web_handler(const struct message *m); // of a REQUEST: which raw HTTP handler it is for; empty: none
// When its head must be there: the door's time, or the service's, which may be less.
int64_t web_deadline(const struct vm *vm, const struct message *m, int64_t now);
// The task of a raw HTTP request; `err` is filled when there is no handler. Raises.
void web_begin(struct vm *vm, lua_State *L, struct request *r, const struct blob *body,
               struct err *err);
bool web_encode(struct vm *vm, struct request *r); // its answer to vm->outcome; false: it gave none
int bind_web(lua_State *L);

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
                    const struct msg_fault *fault); // 5 values, 7 where it may be tried again
int task_push_message(struct vm *vm, struct task *t,
                      lua_State *L);         // true and t->wait.message decoded, or a fault
int64_t task_deadline(const struct task *t); // the nearest of its own and its request's; 0: none
// The fault that a raised value (at the top of L, popped) stands for, to vm->outcome. `co` is where it was raised.
void task_error(struct vm *vm, lua_State *L, lua_State *co, int status);
extern const char TASK_TAG; // its address, as a light userdata, is core.TAG

// ---- dial_settings.c
int bind_tls(lua_State *L);
struct str dial_settings(const struct vm *vm, struct str number);
void dial_settings_free(struct vm *vm);

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
    bool wants_info; // unary: the metadata of the answer
    bool compress;
    struct str
        ns; // dialled servers only: the namespace that is asked for; empty: the request's own
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
// A client's stream that failed while it was fresh goes on with another call.
void stream_restart(struct vm *vm, struct stream *s, struct call *c);
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
// The message is at `arg`, and behind it whether it is compressed: nil for what holds for all.
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
