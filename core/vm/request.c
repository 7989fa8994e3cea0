// SPDX-License-Identifier: Apache-2.0
// The life of a request.
//
//   RUNNING ── its main task ends, or it fails ──▶ ENDING ── no task is left ──▶ DEFERS ── none is left ──▶ DONE
//
// The answer leaves first, at the end of RUNNING. Then what the request started ends with it: tasks are cancelled (their
// waits fail, so their code runs to its end), calls that are out are cancelled at the callee, streams are closed. When the
// last task has gone the deferred functions run, last first, each a task, with 5 s together.
//
// A request that is late or whose caller has gone (`stop`) goes on running: every wait of it fails, again and again, and its
// own answer is dropped. The hash holds the requests that still want messages from their caller: those not answered.
//
// on_start's request stays in RUNNING after its main task has ended, since tasks spawned there live with the instance.
#include "base/clock.h"
#include "base/random.h"
#include "vm/vm_internal.h"

#include <assert.h>
#include <stdio.h>

#define DEFER_TIME (5 * NS_PER_SECOND)

// ---- finding by (reply, number)

static size_t hash_place(const struct vm *vm, const struct port *reply, uint64_t number) {
    uint64_t h = (number ^ (uintptr_t)reply >> 4) * 0x9E3779B97F4A7C15ULL;
    return (size_t)(h >> 32) & (vm->hash_cap - 1);
}

static int hash_grow(struct vm *vm) {
    size_t old_cap = vm->hash_cap, cap = old_cap == 0 ? 16 : old_cap * 2;
    struct request **old = vm->hash, **hash = vm_alloc(vm, cap * sizeof(struct request *));
    if (hash == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    vm->hash = hash;
    vm->hash_cap = cap;
    for (size_t i = 0; i < old_cap; i++) {
        for (struct request *r = old[i], *next; r != NULL; r = next) {
            next = r->hash_next;
            size_t place = hash_place(vm, r->reply, r->number);
            r->hash_next = hash[place];
            hash[place] = r;
        }
    }
    vm_free(vm, old, old_cap * sizeof(struct request *));
    return 0;
}

int request_hash_add(struct vm *vm, struct request *r) {
    if (vm->hash_count >= vm->hash_cap && hash_grow(vm) != 0) return -STATUS_RESOURCE_EXHAUSTED;
    size_t place = hash_place(vm, r->reply, r->number);
    r->hash_next = vm->hash[place];
    vm->hash[place] = r;
    r->hashed = true;
    vm->hash_count++;
    return 0;
}

static void hash_remove(struct vm *vm, struct request *r) {
    if (!r->hashed) return;
    struct request **link = &vm->hash[hash_place(vm, r->reply, r->number)];
    while (*link != r) link = &(*link)->hash_next;
    *link = r->hash_next;
    r->hashed = false;
    vm->hash_count--;
}

struct request *request_find(struct vm *vm, const struct port *reply, uint64_t number) {
    if (vm->hash_cap == 0) return NULL;
    struct request *r = vm->hash[hash_place(vm, reply, number)];
    while (r != NULL && (r->reply != reply || r->number != number)) r = r->hash_next;
    return r;
}

// ---- beginning

static void timer_due(struct vm *vm, struct timer *timer) {
    struct request *r = (struct request *)((char *)timer - offsetof(struct request, timer));
    static const char TEXT[] = "the deadline has passed";
    if (r->phase == PHASE_RUNNING) {
        struct msg_fault *fault = msg_fault_new(str_of(TEXT), (struct str){"", 0}, NULL);
        r->gone = true;
        request_answer(vm, r, STATUS_DEADLINE_EXCEEDED, fault, NULL);
    }
    request_stop(vm, r, STATUS_DEADLINE_EXCEEDED, TEXT);
}

struct request *request_new(struct vm *vm, enum request_kind kind, struct msg_context *context) {
    struct request *r = vm_alloc(vm, sizeof *r);
    if (r == NULL) return NULL;
    if (handle_add(vm, &r->handle, HANDLE_REQUEST) != 0) {
        vm_free(vm, r, sizeof *r);
        return NULL;
    }
    uint64_t span = random_u64();
    memcpy(r->span, &span, sizeof r->span);
    r->kind = kind;
    r->refs = 1;
    r->defers = LUA_NOREF;
    r->timer.due = timer_due;
    r->context = msg_context_hold(context);
    r->next = vm->requests;
    if (r->next != NULL) r->next->link = &r->next;
    r->link = &vm->requests;
    vm->requests = r;
    if (kind == REQUEST_RPC) vm->working++;
    if (kind == REQUEST_RPC || kind == REQUEST_BACKGROUND) vm->open++;
    return r;
}

struct request *request_running(const struct vm *vm) {
    return vm->running == NULL ? NULL : vm->running->request;
}

void request_endpoint(const struct request *r, char *out, size_t n) {
    const struct pb_method *m = r->method;
    out[0] = '\0';
    if (r->handler.n > 0) {
        snprintf(out, n, "%.*s", (int)r->handler.n, r->handler.p);
    } else if (m != NULL) {
        snprintf(out, n, "%.*s.%.*s", (int)m->service->name.n, m->service->name.p, (int)m->name.n,
                 m->name.p);
    }
}

// ---- answering

static void name_fault(struct vm *vm, const struct request *r, struct msg_fault *fault) {
    char endpoint[256], id[400];
    if (fault == NULL || fault->id != NULL) return;
    request_endpoint(r, endpoint, sizeof endpoint);
    if (endpoint[0] == '\0') return;
    int n = snprintf(id, sizeof id, "%s.%s", vm->config.service, endpoint);
    if (n > 0 && (size_t)n < sizeof id) fault->id = blob_new(id, (size_t)n);
}

static struct blob *take_metadata(struct buf *b) { return b->n == 0 ? NULL : buf_take(b); }

// What is said of an answer's message, and of its headers.
static uint8_t packing_of(const struct request *r, bool message) {
    if (!r->packing.may) return MSG_COMPRESS_NO;
    return message && r->packing.all ? MSG_COMPRESS_YES : MSG_COMPRESS_MAY;
}

void request_send_headers(struct vm *vm, struct request *r) {
    if (r->headers_sent || r->headers.n == 0) return;
    r->headers_sent = true;
    struct message *m = message_new(MSG_HEADERS, r->number);
    if (m == NULL) return;
    m->generation = vm->config.generation;
    m->form = r->form;
    m->metadata = take_metadata(&r->headers);
    m->compress = packing_of(r, false);
    if (port_send(r->reply, m) < 0) message_delete(m);
}

static void send_response(struct vm *vm, struct request *r, int status, struct msg_fault *fault,
                          struct blob *body) {
    struct message *m = message_new(MSG_RESPONSE, r->number);
    if (m == NULL) { // the caller's own deadline ends the call
        msg_fault_delete(fault);
        blob_drop(body);
        return;
    }
    name_fault(vm, r, fault);
    m->generation = vm->config.generation;
    m->form = r->form;
    m->status = status;
    m->fault = fault;
    m->body = body;
    m->compress = packing_of(r, true);
    m->metadata = take_metadata(&r->trailers);
    if (!r->headers_sent) m->leading = take_metadata(&r->headers);
    if (port_send(r->reply, m) < 0) message_delete(m);
}

static bool is_fault(int status) {
    const unsigned faults = 1u << STATUS_UNKNOWN | 1u << STATUS_DEADLINE_EXCEEDED |
                            1u << STATUS_RESOURCE_EXHAUSTED | 1u << STATUS_INTERNAL |
                            1u << STATUS_UNAVAILABLE | 1u << STATUS_DATA_LOSS;
    return status > 0 && status < 32 && (faults >> status & 1) != 0;
}

void request_answer(struct vm *vm, struct request *r, int status, struct msg_fault *fault,
                    struct blob *body) {
    if (!r->answered && r->kind == REQUEST_RPC) {
        if (is_fault(status)) vm->faults++;
        hash_remove(vm, r);
        send_response(vm, r, status, fault, body);
        r->answered = true;
        return;
    }
    if (!r->answered && (r->kind == REQUEST_START || r->kind == REQUEST_STOP)) {
        struct hook *hook = r->kind == REQUEST_START ? &vm->start : &vm->stop;
        vm_hook_finish(vm, hook, -status, blob_str(fault == NULL ? NULL : fault->text));
    } else if (!r->answered && status != 0 && r->kind == REQUEST_BACKGROUND) {
        char text[600];
        struct str why = blob_str(fault == NULL ? NULL : fault->text);
        snprintf(text, sizeof text, "a background task failed: %s %.*s", status_name(status),
                 (int)why.n, why.p);
        vm_log(vm, LOG_WARN, r, str_of(text));
    }
    r->answered = true;
    msg_fault_delete(fault);
    blob_drop(body);
}

void request_forget_caller(struct vm *vm, struct request *r) {
    hash_remove(vm, r);
    r->answered = true;
}

// ---- ending

void request_stop(struct vm *vm, struct request *r, int status, const char *text) {
    if (r->stop == 0) {
        r->stop = status;
        r->stop_text = text;
    }
    vm_timer_clear(vm, &r->timer);
    for (struct task *t = r->tasks; t != NULL; t = t->next) task_fail(vm, t, r->stop, r->stop_text);
    if (r->stream != NULL)
        stream_fail_waiters(vm, r->stream, STATUS_CANCELLED, "the caller has gone");
}

static void cancel_tasks(struct vm *vm, struct request *r) {
    for (struct task *t = r->tasks, *next; t != NULL; t = next) {
        next = t->next;
        if (t->state == TASK_READY && !t->started) {
            task_free(vm, t, true);
        } else {
            task_cancel(vm, t);
        }
    }
}

static void sweep(struct vm *vm, struct request *r) {
    cancel_tasks(vm, r);
    while (r->streams != NULL)
        stream_free(vm, r->streams, STATUS_CANCELLED, "the stream has ended with its request");
    while (r->calls != NULL) call_abort(vm, r->calls, STATUS_CANCELLED);
}

void request_end(struct vm *vm, struct request *r) {
    if (r->phase != PHASE_RUNNING) return;
    assert(r->answered);
    r->phase = PHASE_ENDING;
    if (r->stop == 0) {
        r->stop = STATUS_CANCELLED;
        r->stop_text = "the request has ended";
    }
    vm_timer_clear(vm, &r->timer);
    sweep(vm, r);
}

static void unref(struct vm *vm, struct request *r) {
    while (r != NULL && --r->refs == 0) {
        struct request *parent = r->parent;
        handle_remove(vm, &r->handle);
        port_drop(r->reply);
        msg_context_drop(r->context);
        buf_free(&r->headers);
        buf_free(&r->trailers);
        blob_drop(r->answer);
        vm_free(vm, r, sizeof *r);
        r = parent;
    }
}

// Out of all lists; ctx stays readable while background tasks of it run.
static void leave(struct vm *vm, struct request *r) {
    r->phase = PHASE_DONE;
    hash_remove(vm, r);
    vm_timer_clear(vm, &r->timer);
    *r->link = r->next;
    if (r->next != NULL) r->next->link = r->link;
    if (r->kind == REQUEST_RPC) vm->working--;
    if (r->kind == REQUEST_RPC || r->kind == REQUEST_BACKGROUND) vm->open--;
    if (vm->instance == r) vm->instance = NULL;
    unref(vm, r);
}

static void unref_defers(struct vm *vm, lua_State *L, void *arg) {
    const struct request *r = arg;
    (void)vm;
    luaL_unref(L, LUA_REGISTRYINDEX, r->defers);
}

// Lets go of ctx and of the list of deferred functions. The former outside of vm_protect: a place that is there is
// overwritten, which allocates nothing and raises nothing.
static void unanchor(struct vm *vm, struct request *r) {
    lua_State *L = vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->anchors);
    lua_rawgeti(L, -1, (int)r->handle.index);
    if (!lua_isnil(L, -1)) { // else the place may not be there
        lua_pushnil(L);
        lua_rawseti(L, -3, (int)r->handle.index);
    }
    lua_pop(L, 2);
    if (r->defers != LUA_NOREF) vm_protect(vm, unref_defers, r, NULL);
}

static void begin_defer(struct vm *vm, lua_State *L, void *arg) {
    struct request *r = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->defers);
    int n = (int)lua_objlen(L, -1);
    if (n == 0) return;
    lua_rawgeti(L, -1, n);
    lua_pushnil(L);
    lua_rawseti(L, -3, n);
    task_new(vm, L, r, ROLE_DEFER, 0);
}

static bool next_defer(struct vm *vm, struct request *r) {
    if (r->defers == LUA_NOREF) return false;
    if (r->phase == PHASE_ENDING) {
        r->phase = PHASE_DEFERS;
        r->stop = 0;
        r->deadline = clock_now() + DEFER_TIME;
        if (vm_timer_set(vm, &r->timer, r->deadline) != 0) return false;
    }
    return vm_protect(vm, begin_defer, r, NULL) == 0 && r->tasks != NULL;
}

void request_settle(struct vm *vm, struct request *r) {
    if (r->tasks != NULL || r->phase == PHASE_RUNNING) return;
    if (next_defer(vm, r)) return;
    sweep(vm, r);
    unanchor(vm, r);
    leave(vm, r);
}

void request_drop(struct vm *vm, struct request *r) {
    struct msg_fault *fault =
        msg_fault_new(str_of("the instance has stopped"), (struct str){"", 0}, NULL);
    request_answer(vm, r, STATUS_UNAVAILABLE, fault, NULL);
    while (r->streams != NULL) stream_free(vm, r->streams, STATUS_CANCELLED, "");
    while (r->tasks != NULL) task_drop(vm, r->tasks);
    while (r->calls != NULL) call_abort(vm, r->calls, STATUS_CANCELLED);
    leave(vm, r);
}

void request_free_unused(struct vm *vm, struct request *r) {
    r->answered = true;
    r->phase = PHASE_ENDING;
    request_settle(vm, r);
}

static void main_finished(struct vm *vm, struct request *r, struct outcome *o) {
    bool ok = o->how == OUT_RETURNED && o->status == 0;
    int status = o->how == OUT_DROPPED ? STATUS_CANCELLED : o->status;
    request_answer(vm, r, ok ? 0 : status, o->fault, o->body);
    o->fault = NULL;
    o->body = NULL;
    if (r->kind == REQUEST_START && ok && r->stop == 0) { // lives on, without a deadline
        r->deadline = 0;
        vm_timer_clear(vm, &r->timer);
        return;
    }
    request_end(vm, r);
}

static void log_fault(struct vm *vm, const struct request *r, const char *what,
                      const struct outcome *o) {
    char text[700];
    struct str why = blob_str(o->fault == NULL ? NULL : o->fault->text);
    snprintf(text, sizeof text, "%s: %s %.*s", what, status_name(o->status), (int)why.n, why.p);
    vm_log(vm, LOG_WARN, r, str_of(text));
}

void request_raise(struct vm *vm, struct request *r, struct outcome *take) {
    struct outcome o = *take;
    *take = (struct outcome){0};
    if (r->phase != PHASE_RUNNING || r->stop != 0) {
        msg_fault_delete(o.fault); // it ends already, and this is what came of it
    } else if (r->kind == REQUEST_START && r->answered) {
        log_fault(vm, r, "a task of on_start failed, the instance is replaced", &o);
        vm->condemned = true;
        msg_fault_delete(o.fault);
    } else {
        request_answer(vm, r, o.status, o.fault, NULL);
        request_end(vm, r);
    }
}

void request_finished(struct vm *vm, struct request *r, enum task_role role, bool cancelled,
                      struct outcome *take) {
    bool raised = take->how == OUT_RAISED;
    if (role == ROLE_MAIN) {
        main_finished(vm, r, take);
    } else if (role == ROLE_DEFER) {
        if (raised) log_fault(vm, r, "a deferred function failed", take);
        cancel_tasks(vm, r);
    } else if (raised && !cancelled) {
        request_raise(vm, r, take);
    }
    msg_fault_delete(take->fault);
    blob_drop(take->body);
    request_settle(vm, r);
}

void request_defer(lua_State *L, struct request *r) {
    if (r->defers == LUA_NOREF) {
        lua_newtable(L);
        r->defers = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->defers);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 1);
}
