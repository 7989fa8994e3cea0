// SPDX-License-Identifier: Apache-2.0
// Tasks: the coroutines in which a service's code runs.
//
//   IDLE ──task_new──▶ READY ──▶ RUNNING ──(w) function──▶ PARKED ──task_ready──▶ READY ...
//                                   └──returns or raises──▶ DONE
//
// A (w) function says in `wait` what it waits for and yields TASK_TAG; an author's own coroutines pass that on (the library's
// resume and wrap do), so what is resumed here is always the task's outermost coroutine, and the values it is resumed with
// are what the (w) function returns: true and results, or false and a fault.
//
// Cancelling a task makes its present wait fail, and every later one at once, so its code runs to its end by itself. Code that
// catches the failure and waits again and again is left where it waits the hundredth time and never resumed.
//
// A coroutine that has returned is used again by the next task; one that has raised, or was left, is garbage.
#include "base/clock.h"
#include "vm/vm_internal.h"

#include <assert.h>

enum { IDLE_MAX = 32, REFUSALS_MAX = 100 };

const char TASK_TAG = 0;

static void timer_due(struct vm *vm, struct timer *timer);

static struct task *new_struct(struct vm *vm) {
    struct task *t = vm->idle;
    if (t != NULL) {
        vm->idle = t->ready_next;
        vm->idle_count--;
        return t;
    }
    t = vm_alloc(vm, sizeof *t);
    if (t != NULL && handle_add(vm, &t->handle, HANDLE_TASK) != 0) {
        vm_free(vm, t, sizeof *t);
        return NULL;
    }
    if (t != NULL) t->timer.due = timer_due;
    return t;
}

static void to_idle(struct vm *vm, struct task *t) {
    t->ready_next = vm->idle;
    vm->idle = t;
    vm->idle_count++;
}

struct task *task_new(struct vm *vm, lua_State *L, struct request *r, enum task_role role, int n) {
    struct task *t = new_struct(vm);
    if (t == NULL) luaL_error(L, "not enough memory");
    if (t->co == NULL) {
        to_idle(vm, t); // so that it is not lost if the next lines raise
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm->anchors);
        lua_State *co = lua_newthread(L);
        lua_rawseti(L, -2, (int)t->handle.index);
        lua_pop(L, 1);
        t->co = co;
        new_struct(vm);
    }
    if (!lua_checkstack(t->co, n + 1)) {
        to_idle(vm, t);
        luaL_error(L, "too many arguments");
    }
    lua_xmove(L, t->co, n + 1);
    t->request = r;
    t->role = role;
    t->next = r->tasks;
    if (t->next != NULL) t->next->link = &t->next;
    t->link = &r->tasks;
    r->tasks = t;
    t->state = TASK_PARKED;
    task_ready(vm, t, WAKE_VALUES);
    return t;
}

static void wait_clear(struct task *t) {
    struct wait *w = &t->wait;
    if (w->stream != NULL) stream_forget(w->stream, t);
    blob_drop(w->blob);
    if (w->info != w->message) message_delete(w->info);
    message_delete(w->message);
    msg_fault_delete(w->fault);
}

// Leaves what the task waits for; a call that nobody waits for any more is cancelled.
static void wait_end(struct vm *vm, struct task *t, int status) {
    struct call *call = t->wait.call;
    vm_timer_clear(vm, &t->timer);
    wait_clear(t);
    if (t->wait.route != NULL) route_drop(vm, t->wait.route);
    t->wait = (struct wait){0};
    if (call != NULL) call_abort(vm, call, status);
}

static void unlink_task(struct task *t) {
    *t->link = t->next;
    if (t->next != NULL) t->next->link = t->link;
}

static void forget(struct vm *vm, struct task *t) {
    if (t->request->main == t) t->request->main = NULL;
    unlink_task(t);
    wait_end(vm, t, STATUS_CANCELLED);
    while (t->deadline != NULL) {
        struct deadline *d = t->deadline;
        t->deadline = d->outer;
        vm_free(vm, d, sizeof *d);
    }
}

static void unanchor(struct vm *vm, lua_State *L, void *arg) {
    const struct task *t = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->anchors);
    lua_pushnil(L);
    lua_rawseti(L, -2, (int)t->handle.index);
}

static void reuse_or_free(struct vm *vm, struct task *t) {
    handle_renew(vm, &t->handle); // its number means nothing from now on
    if (t->queued) {              // task_run_ready comes by
        t->state = TASK_DONE;
        return;
    }
    if (vm->idle_count < IDLE_MAX ||
        vm->inside) { // inside: Lua is running, and must not be entered again
        *t = (struct task){.handle = t->handle, .co = t->co, .timer = {.due = timer_due}};
        to_idle(vm, t);
        return;
    }
    if (t->co != NULL) vm_protect(vm, unanchor, t, NULL);
    handle_remove(vm, &t->handle);
    vm_free(vm, t, sizeof *t);
}

void task_free(struct vm *vm, struct task *t, bool reusable) {
    forget(vm, t);
    if (reusable) {
        lua_settop(t->co, 0);
    } else {
        vm_protect(vm, unanchor, t, NULL);
        t->co = NULL;
    }
    reuse_or_free(vm, t);
}

void task_drop(struct vm *vm, struct task *t) {
    forget(vm, t);
    t->co = NULL;
    if (t->queued) {
        t->state = TASK_DONE; // task_release_idle comes by
        return;
    }
    handle_remove(vm, &t->handle);
    vm_free(vm, t, sizeof *t);
}

void task_release_idle(struct vm *vm) {
    while (vm->ready != NULL) {
        struct task *t = vm->ready;
        vm->ready = t->ready_next;
        t->ready_next = NULL;
        handle_remove(vm, &t->handle);
        vm_free(vm, t, sizeof *t);
    }
    vm->ready_last = &vm->ready;
    while (vm->idle != NULL) {
        struct task *t = vm->idle;
        vm->idle = t->ready_next;
        handle_remove(vm, &t->handle);
        vm_free(vm, t, sizeof *t);
    }
}

// ---- waiting

static bool waits_for_call(const struct task *t) {
    const struct stream *s = t->wait.stream;
    return t->wait.kind == WAIT_CALL || (s != NULL && s->client);
}

static void count_nested(struct vm *vm, struct request *r, int by) {
    bool before = r->nested > 0;
    r->nested = (unsigned)((int)r->nested + by);
    if (r->kind == REQUEST_RPC && before != (r->nested > 0)) vm->nested += before ? (size_t)-1 : 1;
}

static void parked(struct vm *vm, struct task *t) {
    t->state = TASK_PARKED;
    if (waits_for_call(t)) count_nested(vm, t->request, 1);
}

void task_ready(struct vm *vm, struct task *t, enum wake_kind wake) {
    assert(t->state == TASK_PARKED);
    if (waits_for_call(t)) count_nested(vm, t->request, -1);
    if (t->wait.stream != NULL) stream_forget(t->wait.stream, t);
    t->wait.stream = NULL;
    vm_timer_clear(vm, &t->timer);
    t->wait.kind = WAIT_NONE;
    t->wait.wake = wake;
    t->state = TASK_READY;
    assert(!t->queued);
    t->queued = true;
    t->ready_next = NULL;
    *vm->ready_last = t;
    vm->ready_last = &t->ready_next;
}

void task_fail(struct vm *vm, struct task *t, int status, const char *text) {
    if (t->state != TASK_PARKED) return;
    struct call *call = t->wait.call;
    bool nested = waits_for_call(t);
    if (nested) count_nested(vm, t->request, -1);
    t->wait.call = NULL;
    wait_end(vm, t, status);
    task_ready(vm, t, WAKE_FAULT);
    t->wait.status = status;
    t->wait.text = text;
    if (call != NULL) call_abort(vm, call, status);
}

static struct msg_fault *fault_copy(const struct msg_fault *from) {
    if (from == NULL) return NULL;
    struct msg_fault *f =
        msg_fault_new(blob_str(from->text), blob_str(from->id), blob_hold(from->details));
    if (f != NULL) f->again = from->again;
    if (f != NULL) f->pushback = from->pushback;
    return f;
}

void task_fault(struct vm *vm, struct task *t, int status, const struct msg_fault *fault) {
    struct msg_fault *copy = fault_copy(fault);
    task_fail(vm, t, status, "");
    t->wait.fault = copy;
}

void task_cancel(struct vm *vm, struct task *t) {
    if (t->cancelled) return;
    t->cancelled = true;
    task_fail(vm, t, STATUS_CANCELLED, "the task was cancelled");
}

int64_t task_deadline(const struct task *t) {
    int64_t at = t->request->deadline;
    if (t->deadline != NULL && (at == 0 || t->deadline->at < at)) at = t->deadline->at;
    return at;
}

static void timer_due(struct vm *vm, struct timer *timer) {
    struct task *t = (struct task *)((char *)timer - offsetof(struct task, timer));
    int64_t limit = t->deadline == NULL ? INT64_MAX : t->deadline->at;
    if (t->state != TASK_PARKED) return;
    if (t->wait.kind == WAIT_SLEEP && t->wait.until <= limit) {
        task_ready(vm, t, WAKE_TRUE);
    } else {
        task_fail(vm, t, STATUS_DEADLINE_EXCEEDED, "the deadline has passed");
    }
}

struct task *task_waiting(struct vm *vm, lua_State *L, const char *function) {
    struct task *t = vm->running;
    if (vm->loading || vm->config.bare || t == NULL) {
        luaL_error(L, "main.lua declares, handlers act: %s cannot be used while it is loaded",
                   function);
        return NULL;
    }
    if (!lua_isyieldable(L)) {
        luaL_error(L,
                   "%s may have to wait, which is not possible here (in a sort comparator, a gsub "
                   "callback, a metamethod or while a module is loaded)",
                   function);
    }
    wait_end(vm, t, STATUS_CANCELLED); // of an earlier wait whose yield was refused
    return t;
}

// What the caller should know before it tries again: "unbegun", "unseen" or nil; the seconds to wait, false (never) or nil.
static void push_repeat(lua_State *L, const struct msg_fault *fault) {
    static const char *const AGAIN[] = {NULL, "unbegun", "unseen"};
    lua_pushstring(L, AGAIN[fault->again]); // nil for NULL
    if (fault->pushback == 0) {
        lua_pushnil(L);
    } else if (fault->pushback == MSG_NEVER) {
        lua_pushboolean(L, 0);
    } else {
        lua_pushnumber(L, (fault->pushback - 1) / 1000.0);
    }
}

int task_push_fault(lua_State *L, int status, struct str text, const struct msg_fault *fault) {
    lua_pushboolean(L, 0);
    lua_pushstring(L, status_name(status));
    bind_push_str(L, fault == NULL || fault->text == NULL ? text : blob_str(fault->text));
    if (fault != NULL && fault->id != NULL) {
        bind_push_str(L, blob_str(fault->id));
    } else {
        lua_pushnil(L);
    }
    if (fault != NULL && fault->details != NULL) {
        bind_push_str(L, blob_str(fault->details));
    } else {
        lua_pushnil(L);
    }
    if (fault == NULL || (fault->again == MSG_AGAIN_NO && fault->pushback == 0)) return 5;
    push_repeat(L, fault);
    return 7;
}

int task_refused(struct vm *vm, struct task *t, lua_State *L) {
    struct request *r = t->request;
    int status = r->stop;
    const char *text = r->stop_text;
    if (status == 0 && t->cancelled) {
        status = STATUS_CANCELLED;
        text = "the task was cancelled";
    } else if (status == 0 && t->deadline != NULL && t->deadline->at <= clock_now()) {
        status = STATUS_DEADLINE_EXCEEDED;
        text = "the deadline has passed";
    }
    if (status == 0) return 0;
    bool leave = r->stop != 0 || t->cancelled;
    if (leave && ++t->refusals >= REFUSALS_MAX) return task_park(vm, t, L, WAIT_GONE);
    return task_push_fault(L, status, str_of(text), NULL);
}

int task_park(struct vm *vm, struct task *t, lua_State *L, enum wait_kind kind) {
    int64_t at = kind == WAIT_SLEEP ? t->wait.until : INT64_MAX;
    if (t->deadline != NULL && t->deadline->at < at) at = t->deadline->at;
    t->wait.kind = kind;
    if (at != INT64_MAX && vm_timer_set(vm, &t->timer, at) != 0) luaL_error(L, "not enough memory");
    lua_pushlightuserdata(L, (void *)&TASK_TAG);
    return lua_yield(L, 1);
}

// ---- running

int task_push_message(struct vm *vm, struct task *t, lua_State *L) {
    struct wait *w = &t->wait;
    struct err err = {0};
    lua_pushboolean(L, 1);
    if (stream_decode(vm, L, w->route, w->type, w->json, w->message->body, &err) == 0) return 2;
    lua_pop(L, 1);
    if (w->route != NULL) return task_push_fault(L, STATUS_INTERNAL, str_of(err.text), NULL);
    int n = task_push_fault(L, STATUS_INVALID_ARGUMENT, str_of(err.text), NULL);
    char endpoint[256];
    request_endpoint(t->request, endpoint, sizeof endpoint);
    lua_pushfstring(L, "%s.%s", vm->config.service, endpoint);
    lua_replace(L, -3);
    return n;
}

// Behind the `n` values of an answer: its leading and trailing metadata, as the 8th and 9th.
static int push_info(lua_State *L, int n, const struct message *answer) {
    for (; n < 7; n++) lua_pushnil(L);
    metadata_push(L, answer->leading);
    metadata_push(L, answer->metadata);
    return n + 2;
}

// Moves what the task goes on with to its coroutine; the number of values.
static int push_wake(struct vm *vm, struct task *t, lua_State *L) {
    struct wait *w = &t->wait;
    int n = 0;
    switch (w->wake) {
    case WAKE_VALUES: return lua_gettop(t->co) - (t->started ? 0 : 1);
    case WAKE_TRUE: lua_pushboolean(L, 1), n = 1; break;
    case WAKE_END:
        lua_pushboolean(L, 1);
        lua_pushnil(L);
        n = 2;
        break;
    case WAKE_FAULT: n = task_push_fault(L, w->status, str_of(w->text), w->fault); break;
    case WAKE_MESSAGE: n = task_push_message(vm, t, L); break;
    case WAKE_METADATA:
        lua_pushboolean(L, 1);
        metadata_push(L, w->blob);
        n = 2;
        break;
    }
    if (w->info != NULL) n = push_info(L, n, w->info);
    lua_settop(t->co, 0);
    lua_xmove(L, t->co, n);
    return n;
}

static const char *raised_text(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
}

static void outcome_set(struct vm *vm, int status, struct str text, struct str id,
                        struct blob *take_details) {
    vm->outcome.how = OUT_RAISED;
    vm->outcome.status = status;
    vm->outcome.fault = msg_fault_new(text, id, take_details);
}

static struct str optional(lua_State *L, int index) {
    struct str s = {"", 0};
    if (lua_type(L, index) == LUA_TSTRING) s.p = lua_tolstring(L, index, &s.n);
    return s;
}

// What the library's on_error says; false: it is missing, or failed itself.
static bool ask_library(struct vm *vm, lua_State *L, int value, int traceback) {
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->core);
    lua_getfield(L, -1, "on_error");
    lua_pushvalue(L, value);
    lua_pushvalue(L, traceback);
    if (!lua_isfunction(L, -3) || lua_pcall(L, 2, 5, 0) != 0) {
        lua_settop(L, top);
        return false;
    }
    struct str code = optional(L, -5), details = optional(L, -2);
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)code.n, code.p);
    int status = status_from_name(name);
    struct blob *blob = details.n == 0 ? NULL : blob_new(details.p, details.n);
    outcome_set(vm, status > 0 ? status : STATUS_UNKNOWN, optional(L, -4), optional(L, -3), blob);
    int http = lua_isnumber(L, -1) ? (int)lua_tointeger(L, -1) : 0;
    if (vm->outcome.fault != NULL && http >= 400 && http <= 599)
        vm->outcome.fault->http = (uint16_t)http;
    lua_settop(L, top);
    return true;
}

// Who hears of a hook's end is who deploys the service: a bug in it is no secret to them.
static void tell_author(struct vm *vm, const char *text) {
    const struct request *r = request_running(vm);
    bool hook = r != NULL && (r->kind == REQUEST_START || r->kind == REQUEST_STOP);
    if (!hook || text == NULL || vm->outcome.status != STATUS_INTERNAL) return;
    msg_fault_delete(vm->outcome.fault);
    vm->outcome.fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
}

void task_error(struct vm *vm, lua_State *L, lua_State *co, int status) {
    struct str none = {"", 0};
    const char *text = raised_text(L, -1);
    bool memory = status == LUA_ERRMEM || (text != NULL && strcmp(text, "not enough memory") == 0);
    if (memory && arena_hit_hard(vm->arena)) {
        vm->condemned = true;
        outcome_set(vm, STATUS_RESOURCE_EXHAUSTED, str_of(vm_memory_text(vm)), none, NULL);
        lua_pop(L, 1);
        return;
    }
    luaL_traceback(L, co, text, 0);
    if (!ask_library(vm, L, lua_gettop(L) - 1, lua_gettop(L))) {
        vm_log(vm, LOG_ERROR, request_running(vm), str_of(lua_tostring(L, -1)));
        outcome_set(vm, STATUS_INTERNAL, str_of("internal error"), none, NULL);
    }
    tell_author(vm, text);
    lua_pop(L, 2);
}

static void yielded(struct vm *vm, lua_State *L, struct task *t) {
    bool ours = t->wait.kind != WAIT_NONE && lua_touserdata(t->co, 1) == (void *)&TASK_TAG;
    if (!ours) {
        lua_pushliteral(L, "coroutine.yield was called outside of a coroutine");
        task_error(vm, L, t->co, LUA_ERRRUN);
        return;
    }
    lua_settop(t->co, 0);
    vm->outcome.how = t->wait.kind == WAIT_GONE ? OUT_DROPPED : OUT_PARKED;
}

static void step_body(struct vm *vm, lua_State *L, void *arg) {
    struct task *t = arg;
    int n = push_wake(vm, t, L);
    wait_end(vm, t, STATUS_CANCELLED);
    t->started = true;
    int status = lua_resume(t->co, n);
    if (status == LUA_YIELD) {
        yielded(vm, L, t);
    } else if (status != 0) {
        lua_xmove(t->co, L, 1);
        task_error(vm, L, t->co, status);
    } else {
        vm->outcome.how = OUT_RETURNED;
        if (t->role == ROLE_MAIN && t->request->kind == REQUEST_RPC) {
            bool returned = lua_gettop(t->co) > 0 && !lua_isnil(t->co, 1);
            lua_settop(t->co, 1);
            lua_xmove(t->co, L, 1);
            request_encode(vm, L, t->request, returned);
        }
        lua_settop(t->co, 0);
    }
}

static void outcome_clear(struct vm *vm) {
    msg_fault_delete(vm->outcome.fault);
    blob_drop(vm->outcome.body);
    vm->outcome = (struct outcome){0};
}

static void step(struct vm *vm, struct task *t) {
    struct err err = {0};
    struct request *r = t->request;
    t->state = TASK_RUNNING;
    vm->running = t;
    outcome_clear(vm);
    bool broken = vm_protect(vm, step_body, t, &err) != 0;
    vm->running = NULL;
    if (broken) { // memory ended in our own code, beside the coroutine
        outcome_clear(vm);
        vm->condemned |= arena_hit_hard(vm->arena);
        bool memory = arena_hit_hard(vm->arena);
        const char *text = memory ? vm_memory_text(vm) : "internal error";
        outcome_set(vm, memory ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL, str_of(text),
                    (struct str){"", 0}, NULL);
        if (!memory) vm_log(vm, LOG_ERROR, r, str_of(err.text));
    }
    if (vm->outcome.how == OUT_PARKED) {
        parked(vm, t);
        return;
    }
    struct outcome outcome = vm->outcome;
    vm->outcome = (struct outcome){0};
    enum task_role role = t->role;
    bool cancelled = t->cancelled;
    bool main = r->main == t;
    task_free(vm, t, outcome.how == OUT_RETURNED && !broken);
    request_finished(vm, r, main ? ROLE_MAIN : role, cancelled, &outcome);
}

bool task_run_ready(struct vm *vm, unsigned steps) {
    while (vm->ready != NULL && steps-- > 0) {
        struct task *t = vm->ready;
        vm->ready = t->ready_next;
        if (vm->ready == NULL) vm->ready_last = &vm->ready;
        t->ready_next = NULL;
        t->queued = false;
        if (t->state == TASK_DONE) {
            reuse_or_free(vm, t);
        } else {
            step(vm, t);
        }
    }
    return vm->ready != NULL;
}
