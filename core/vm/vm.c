// SPDX-License-Identifier: Apache-2.0
// A VM: its state, the way into Lua, its life from load to stop.
//
// The way in is vm_protect: a C function that lies at index 1 of the main thread's stack is called through lua_pcall and runs
// a body. Everything that may raise, which is everything that may allocate, happens in such a body; what it owns meanwhile is
// in the VM or in a structure of its caller's, never only in its own variables. vm_protect is never nested: what must look at
// errors within Lua uses lua_pcall.
//
// vm_* functions do, in order: what the message or order says, a bounded number of steps of ready tasks, then the callbacks of
// hooks that have ended.
#include "base/clock.h"
#include "base/random.h"
#include "vm/bindings.h"
#include "vm/vm_internal.h"

#include <assert.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>

#define BARE_MEMORY ((size_t)16 << 20)
#define BARE_CPU (100 * NS_PER_MS)
#define HOOK_INSTRUCTIONS 1000
#define START_SECONDS 10.0
#define STOP_SECONDS 5.0
#define TURN_TIME (2 * NS_PER_MS)
enum { TRAMPOLINE = 1, STEPS_MESSAGE = 16, STEPS_TURN = 64 };

const struct vm_limits VM_LIMITS = {
    .memory = (size_t)64 << 20,
    .deadline = 30,
    .concurrency = 1000,
    .queue = 10000,
    .message = (size_t)4 << 20,
};

// ---- memory and time

void *vm_alloc(struct vm *vm, size_t size) {
    void *p = arena_alloc(vm->arena, NULL, 0, size);
    if (p != NULL) memset(p, 0, size);
    return p;
}

void vm_free(struct vm *vm, void *p, size_t size) {
    if (p != NULL) arena_alloc(vm->arena, p, size, 0);
}

void *vm_grow(struct vm *vm, void *array, size_t old_size, size_t new_size) {
    char *p = arena_alloc(vm->arena, array, old_size, new_size);
    if (p != NULL) memset(p + old_size, 0, new_size - old_size);
    return p;
}

const char *vm_memory_text(struct vm *vm) {
    snprintf(vm->memory_text, sizeof vm->memory_text, "memory limit of %zu MB reached",
             vm->config.limits.memory >> 20);
    return vm->memory_text;
}

int vm_timer_set(struct vm *vm, struct timer *timer, int64_t at) {
    heap_remove(&vm->timers, &timer->node);
    return heap_add(&vm->timers, &timer->node, at);
}

void vm_timer_clear(struct vm *vm, struct timer *timer) { heap_remove(&vm->timers, &timer->node); }

// ---- the way in

static int trampoline(lua_State *L) {
    struct vm *vm = bind_vm(L);
    vm->body(vm, L, vm->body_arg);
    return 0;
}

static void tell(lua_State *L, int status, struct err *err) {
    size_t n = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    if (status == LUA_ERRMEM) text = "not enough memory";
    err_set(err, status == LUA_ERRMEM ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL, "%s",
            text == NULL ? "an error that is not a text" : text);
}

int vm_protect(struct vm *vm, vm_body *body, void *arg, struct err *err) {
    lua_State *L = vm->L;
    assert(!vm->inside);
    vm->inside = true;
    vm->body = body;
    vm->body_arg = arg;
    if (vm->config.bare) vm->cpu_end = clock_thread_cpu() + BARE_CPU;
    lua_pushvalue(L, TRAMPOLINE);
    int status = lua_pcall(L, 0, 0, 0);
    vm->inside = false;
    if (status != 0) tell(L, status, err);
    lua_settop(L, TRAMPOLINE);
    if (status == 0) return 0;
    return status == LUA_ERRMEM ? -STATUS_RESOURCE_EXHAUSTED : -STATUS_INTERNAL;
}

static int panic(lua_State *L) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    log_printf(LOG_ERROR, "vm", "a Lua error outside of every protected call: %s", text);
    return 0; // Lua then ends the process: the state is unusable, and the C stack with it. vm_protect exists so
        // that this is never reached
}

// Only in a bare VM. Once the time is over it raises at every instruction, so that no pcall can hold it.
static void count_hook(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_getfield(L, LUA_REGISTRYINDEX, "mica.vm");
    struct vm *vm = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (vm == NULL || clock_thread_cpu() < vm->cpu_end) return;
    lua_sethook(L, count_hook, LUA_MASKCOUNT, 1);
    lua_pushliteral(L, "main.lua ran longer than 100 ms while loading: it declares, handlers act");
    lua_error(L);
}

// ---- making

// What the prelude has put into core (at the top of the stack), for handle_push.
static int take_metatable(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    luaL_checktype(L, -1, LUA_TTABLE);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void set_up_library(struct vm *vm, lua_State *L) {
    struct err err = {0};
    bindings_push(vm, L);
    lua_pushvalue(L, -1);
    vm->core = luaL_ref(L, LUA_REGISTRYINDEX);
    vm_codec_own(vm);
    if (sandbox_library(vm, L, "lua/mica/prelude.lua", &err) != 0) bind_raise(L, &err);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 0);
    vm->ctx_mt = take_metatable(L, "ctx_mt");
    vm->stream_mt = take_metatable(L, "stream_mt");
}

static int set_up(lua_State *L) {
    struct vm *vm = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, vm);
    lua_setfield(L, LUA_REGISTRYINDEX, "mica.vm");
    sandbox_open(vm, L);
    if (vm->config.bare) {
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
        vm->cpu_end = clock_thread_cpu() + BARE_CPU;
        lua_sethook(L, count_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    }
    // What a VM once needed stays its own, so nothing is let grow until load.c says so.
    lua_gc(L, LUA_GCSETPAUSE, 100);
    lua_gc(L, LUA_GCSETSTEPMUL, 400);
    lua_newtable(L);
    vm->anchors = luaL_ref(L, LUA_REGISTRYINDEX);
    set_up_library(vm, L);
    return 0;
}

static int make_trampoline(lua_State *L) {
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, trampoline, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "mica.trampoline");
    return 0;
}

static void limits_default(struct vm_limits *l) {
    if (l->memory == 0) l->memory = VM_LIMITS.memory;
    if (l->deadline <= 0) l->deadline = VM_LIMITS.deadline;
    if (l->concurrency == 0) l->concurrency = VM_LIMITS.concurrency;
    if (l->queue == 0) l->queue = VM_LIMITS.queue;
    if (l->message == 0) l->message = VM_LIMITS.message;
}

static int copy_natives(struct vm *vm, const char *const *natives) {
    size_t n = 0;
    while (natives != NULL && natives[n] != NULL) n++;
    const char **copy = calloc(n + 1, sizeof *copy);
    vm->config.natives = copy;
    for (size_t i = 0; copy != NULL && i < n; i++) {
        if ((copy[i] = strdup(natives[i])) == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    }
    return copy == NULL ? -STATUS_RESOURCE_EXHAUSTED : 0;
}

static int copy_config(struct vm *vm, const struct vm_config *config) {
    const char *version = config->version == NULL ? "" : config->version;
    vm->config = *config;
    vm->config.source = source_hold(config->source);
    vm->config.ns = strdup(config->ns == NULL ? "" : config->ns);
    vm->config.service = strdup(config->service);
    vm->config.version = strdup(version);
    vm->service_name = blob_new(config->service, strlen(config->service));
    if (config->bare) vm->config.limits.memory = BARE_MEMORY;
    limits_default(&vm->config.limits);
    if (copy_natives(vm, config->natives) != 0) return -STATUS_RESOURCE_EXHAUSTED;
    if (asprintf(&vm->log_source, "%s%s%s/%u", config->service, version[0] == '\0' ? "" : "@",
                 version, config->instance) < 0) {
        vm->log_source = NULL;
    }
    bool complete = vm->config.ns != NULL && vm->config.service != NULL &&
                    vm->config.version != NULL && vm->service_name != NULL &&
                    vm->log_source != NULL;
    return complete ? 0 : -STATUS_RESOURCE_EXHAUSTED;
}

static int open_state(struct vm *vm, struct err *err) {
    size_t hard = vm->config.limits.memory;
    vm->arena = arena_new(hard / 5 * 4, hard);
    vm->L = vm->arena == NULL ? NULL : lua_newstate(arena_alloc, vm->arena);
    if (vm->L == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    lua_State *L = vm->L;
    lua_atpanic(L, panic);
    vm->inside = true;
    int status = lua_cpcall(L, make_trampoline, vm);
    if (status == 0) status = lua_cpcall(L, set_up, vm);
    vm->inside = false;
    if (status != 0) {
        tell(L, status, err);
        return -(status == LUA_ERRMEM ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL);
    }
    lua_settop(L, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, "mica.trampoline");
    return 0;
}

struct vm *vm_new(const struct vm_config *config, struct err *err) {
    struct vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    vm->ready_last = &vm->ready;
    vm->handlers = vm->http = vm->on_start = vm->on_stop = vm->describe = LUA_NOREF;
    vm->loading = true;
    if (copy_config(vm, config) != 0) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else if (open_state(vm, err) == 0) {
        return vm;
    }
    vm_delete(vm);
    return NULL;
}

static void free_config(struct vm *vm) {
    const char *const *natives = vm->config.natives;
    for (size_t i = 0; natives != NULL && natives[i] != NULL; i++) free((void *)natives[i]);
    free((void *)natives);
    free((void *)vm->config.ns);
    free((void *)vm->config.service);
    free((void *)vm->config.version);
    free(vm->log_source);
    blob_drop(vm->service_name);
    source_drop(vm->config.source);
}

void vm_delete(struct vm *vm) {
    if (vm == NULL) return;
    while (vm->requests != NULL) request_drop(vm, vm->requests);
    task_release_idle(vm);
    targets_free(vm);
    dial_settings_free(vm);
    if (vm->own != NULL) pb_lua_delete(vm->own);
    if (vm->platform != NULL) pb_lua_delete(vm->platform);
    assert(vm->codecs == NULL);
    if (vm->L != NULL) {
        lua_sethook(vm->L, NULL, 0, 0);
        lua_close(vm->L); // machine code lies outside of the arena
    }
    heap_free(&vm->timers);
    buf_free(&vm->scratch);
    buf_free(&vm->scratch_metadata);
    msg_fault_delete(vm->outcome.fault);
    blob_drop(vm->outcome.body);
    blob_drop(vm->start.text);
    blob_drop(vm->stop.text);
    arena_delete(vm->arena);
    free_config(vm);
    free(vm);
}

// ---- hooks

void vm_hook_finish(struct vm *vm, struct hook *hook, int status, struct str text) {
    (void)vm;
    if (hook->finished) return;
    hook->finished = true;
    hook->status = status;
    hook->text = text.n == 0 ? NULL : blob_new(text.p, text.n);
}

static void report(struct vm *vm, struct hook *hook) {
    vm_hook_done done = hook->done;
    char text[500];
    if (!hook->finished || done == NULL) return;
    struct str s = blob_str(hook->text);
    snprintf(text, sizeof text, "%.*s", (int)s.n, s.p);
    hook->done = NULL;
    done(vm, hook->user, hook->status, hook->status == 0 ? NULL : text);
}

// The end of every vm_* function that may have made progress.
static bool settle(struct vm *vm, unsigned steps) {
    bool more = task_run_ready(vm, steps);
    report(vm, &vm->start);
    report(vm, &vm->stop);
    return more;
}

void vm_start(struct vm *vm, vm_hook_done done, void *user) {
    vm->start = (struct hook){.done = done, .user = user};
    if (vm->on_start == LUA_NOREF) {
        vm_hook_finish(vm, &vm->start, 0, str_of(""));
    } else {
        request_hook(vm, REQUEST_START, vm->on_start, START_SECONDS);
    }
    settle(vm, STEPS_TURN);
}

void vm_stop(struct vm *vm, vm_hook_done done, void *user) {
    vm->stop = (struct hook){.done = done, .user = user};
    if (vm->instance != NULL) {
        struct request *r = vm->instance;
        request_answer(vm, r, STATUS_CANCELLED, NULL, NULL); // when on_start has not ended
        request_end(vm, r);
        request_settle(vm, r);
    }
    if (vm->on_stop == LUA_NOREF) {
        vm_hook_finish(vm, &vm->stop, 0, str_of(""));
    } else {
        request_hook(vm, REQUEST_STOP, vm->on_stop, STOP_SECONDS);
    }
    settle(vm, STEPS_TURN);
}

// ---- turns

void vm_receive(struct vm *vm, struct message *m) {
    switch (m->kind) {
    case MSG_REQUEST: request_receive(vm, m); break;
    case MSG_ITEM:
    case MSG_END:
    case MSG_CREDIT:
    case MSG_CANCEL:
    case MSG_HEADERS:
    case MSG_RESPONSE:
        // `reply` says where the caller is: it comes with what is meant for a callee, and with nothing else.
        if (m->reply != NULL) {
            request_message(vm, m);
        } else {
            call_message(vm, m);
        }
        break;
    default: message_delete(m); break; // timers and control orders are for who owns the VM
    }
    settle(vm, STEPS_MESSAGE);
}

bool vm_has_room(const struct vm *vm) {
    return vm->working - vm->nested < vm->config.limits.concurrency;
}

bool vm_run(struct vm *vm, int64_t now) {
    struct heap_node *first;
    int64_t end = clock_now() + TURN_TIME;
    while ((first = heap_first(&vm->timers)) != NULL && first->at <= now) {
        struct timer *timer = (struct timer *)first;
        vm_timer_clear(vm, timer);
        timer->due(vm, timer);
    }
    bool more = true;
    while (more && clock_now() < end) more = settle(vm, STEPS_TURN);
    return more;
}

int64_t vm_next_timer(const struct vm *vm) {
    const struct heap_node *first = heap_first(&vm->timers);
    return first == NULL ? INT64_MAX : first->at;
}

static void collect_body(struct vm *vm, lua_State *L, void *arg) {
    (void)vm;
    (void)arg;
    lua_gc(L, LUA_GCCOLLECT, 0);
}

void vm_collect(struct vm *vm) {
    if (!arena_over_soft(vm->arena) || arena_used(vm->arena) <= vm->collected) return;
    vm_protect(vm, collect_body, NULL, NULL);
    vm->collected = arena_used(vm->arena);
}

size_t vm_open_requests(const struct vm *vm) { return vm->open; }

void vm_cancel_all(struct vm *vm, int status, const char *text) {
    for (struct request *r = vm->requests; r != NULL; r = r->next) {
        if (r->phase != PHASE_RUNNING || (r->kind != REQUEST_RPC && r->kind != REQUEST_BACKGROUND))
            continue;
        struct msg_fault *fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
        request_answer(vm, r, status, fault, NULL);
        request_stop(vm, r, STATUS_CANCELLED, "the instance is being stopped");
    }
    settle(vm, STEPS_TURN);
}

bool vm_condemned(const struct vm *vm) { return vm->condemned || arena_hit_hard(vm->arena); }

size_t vm_memory(const struct vm *vm) { return arena_used(vm->arena); }

uint64_t vm_faults(const struct vm *vm) { return vm->faults; }
