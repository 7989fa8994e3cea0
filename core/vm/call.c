// SPDX-License-Identifier: Apache-2.0
// Calls that this VM makes.
//
// A target is a name that Lua asked for (core.resolve); it keeps its number for the VM's life and asks the host again when
// services have come or gone. A route is what the host answered: a port, a method, the contract. Calls hold the route they
// began with. Codecs belong to contracts and go with the last route that uses them.
//
// A call's number on the wire is its handle, so an answer finds the call it belongs to, or nothing. A call ends by RESPONSE, or
// by CANCEL when nobody waits for it any more (call_abort): a late answer is dropped.
#include "base/clock.h"
#include "vm/vm_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

// ---- routes

static void codec_drop(struct vm *vm, struct codec *codec) {
    if (codec == NULL || --codec->refs > 0) return;
    struct codec **link = &vm->codecs;
    while (*link != codec) link = &(*link)->next;
    *link = codec->next;
    pb_lua_delete(codec->lua);
    vm_free(vm, codec, sizeof *codec);
}

struct pb_lua *route_codec(struct vm *vm, lua_State *L, struct route *route) {
    struct pb_pool *pool = route->to.pool;
    if (pool == NULL) return NULL;
    if (pool == vm->config.source->pool) return vm_codec_own(vm);
    if (pool == vm->config.host->platform) return vm_codec_platform(vm);
    if (route->codec != NULL) return route->codec->lua;
    struct codec *codec = vm->codecs;
    while (codec != NULL && codec->pool != pool) codec = codec->next;
    if (codec == NULL) {
        struct pb_lua *lua = pb_lua_new(L, pool);
        codec = lua == NULL ? NULL : vm_alloc(vm, sizeof *codec);
        if (codec == NULL) {
            if (lua != NULL) pb_lua_delete(lua);
            luaL_error(L, "not enough memory");
            return NULL; // luaL_error does not come back, which compilers are not told
        }
        codec->pool = pool;
        codec->lua = lua;
        codec->next = vm->codecs;
        vm->codecs = codec;
    }
    codec->refs++;
    route->codec = codec;
    return codec->lua;
}

struct route *route_hold(struct route *route) {
    if (route != NULL) route->refs++;
    return route;
}

void route_drop(struct vm *vm, struct route *route) {
    if (route == NULL || --route->refs > 0) return;
    codec_drop(vm, route->codec);
    port_drop(route->to.port);
    pb_pool_drop(route->to.pool);
    free(route->label);
    free(route->path);
    vm_free(vm, route, sizeof *route);
}

static void target_release(struct vm_target *to) {
    port_drop(to->port);
    pb_pool_drop(to->pool);
}

// Takes the references of `to`.
static struct route *route_new(struct vm *vm, struct vm_target to, const struct target *t,
                               struct err *err) {
    struct str name = t->parts[t->kind == TARGET_SERVICE ? 1 : 0];
    const char *what = t->kind == TARGET_SERVICE  ? "service "
                       : t->kind == TARGET_NATIVE ? "the platform's "
                                                  : "";
    struct route *route = vm_alloc(vm, sizeof *route);
    char *path = t->kind == TARGET_DIAL ? strndup(t->parts[1].p, t->parts[1].n) : NULL;
    char *label = NULL;
    bool failed = route == NULL || (t->kind == TARGET_DIAL && path == NULL) ||
                  asprintf(&label, "%s%.*s", what, (int)name.n, name.p) < 0;
    if (failed) {
        target_release(&to);
        free(path);
        vm_free(vm, route, sizeof *route);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    *route = (struct route){.refs = 1, .to = to, .label = label, .path = path};
    return route;
}

// ---- targets

static int ask_host(const struct vm *vm, const struct target *t, struct vm_target *to,
                    struct err *err) {
    struct vm_host *host = vm->config.host;
    const struct str *p = t->parts;
    switch (t->kind) {
    case TARGET_SERVICE: return host->resolve(host, p[0], p[1], p[2], p[3], to, err);
    case TARGET_NATIVE: return host->native(host, p[0], p[1], to, err);
    case TARGET_DIAL: break;
    }
    to->port = host->dial(host, p[0], dial_settings(vm, p[2]), err);
    return to->port == NULL ? -(int)err->code : 0;
}

// A dialled method of the service's own contract: nil for one that it lacks.
static int find_contract(struct vm *vm, const struct target *t, struct vm_target *to,
                         struct err *err) {
    struct pb_pool *pool = vm->config.source->pool;
    to->method = pb_find_path(pool, t->parts[1]);
    if (to->method == NULL) {
        port_drop(to->port);
        return err_set(err, STATUS_UNIMPLEMENTED, "the contract has no method %.*s",
                       (int)t->parts[1].n, t->parts[1].p);
    }
    to->pool = pb_pool_hold(pool);
    return 0;
}

int target_refresh(struct vm *vm, struct target *t, struct err *err) {
    struct vm_host *host = vm->config.host;
    struct vm_target to = {0};
    uint64_t epoch = t->kind == TARGET_SERVICE ? host->epoch(host) : 0;
    if (t->route != NULL && t->epoch == epoch) return 0;
    struct err why = {0};
    int status = ask_host(vm, t, &to, &why);
    if (status == 0 && t->kind == TARGET_DIAL && t->parts[3].n > 0)
        status = find_contract(vm, t, &to, &why);
    if (status == 0 && t->route != NULL && t->route->to.port == to.port &&
        t->route->to.method == to.method &&
        t->route->to.version == to.version) { // another service has changed
        target_release(&to);
        t->epoch = epoch;
        return 0;
    }
    route_drop(vm, t->route);
    t->route = NULL;
    if (status == 0) {
        t->route = route_new(vm, to, t, &why);
        t->epoch = epoch;
        if (t->route != NULL) return 0;
    }
    *err = why;
    return err->code == 0 ? err_set(err, STATUS_UNAVAILABLE, "the host gave no reason")
                          : -(int)err->code;
}

static int grow_targets(struct vm *vm) {
    if (vm->target_count < vm->target_cap) return 0;
    size_t cap = vm->target_cap == 0 ? 8 : vm->target_cap * 2;
    struct target *all = vm_grow(vm, vm->targets, vm->target_cap * sizeof *all, cap * sizeof *all);
    if (all == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    vm->targets = all;
    vm->target_cap = cap;
    return 0;
}

// A key of all parts; the parts are pointed into it.
static char *key_new(int kind, struct str *parts, size_t count, size_t *n) {
    *n = 1;
    for (size_t i = 0; i < count; i++) *n += parts[i].n + 1;
    char *key = malloc(*n), *at = key;
    if (key == NULL) return NULL;
    *at++ = (char)('0' + kind);
    for (size_t i = 0; i < count; i++) {
        memcpy(at, parts[i].p, parts[i].n);
        parts[i].p = at;
        at += parts[i].n;
        *at++ = '\0';
    }
    return key;
}

int target_find(struct vm *vm, int kind, const struct str *parts, size_t count, size_t *number,
                struct err *err) {
    struct target t = {.kind = kind};
    size_t n;
    assert(count <= sizeof t.parts / sizeof t.parts[0]);
    memcpy(t.parts, parts, count * sizeof *parts);
    t.key = key_new(kind, t.parts, count, &n);
    if (t.key == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    struct str key = {t.key, n};
    uintptr_t known = (uintptr_t)map_get(&vm->target_numbers, key);
    if (known != 0) {
        free(t.key);
        *number = known - 1;
        return target_refresh(vm, &vm->targets[*number], err);
    }
    int status = target_refresh(vm, &t, err);
    if (status == 0) {
        status = grow_targets(vm);
        if (status == 0)
            status = map_put(&vm->target_numbers, key, (void *)(uintptr_t)(vm->target_count + 1));
        if (status != 0) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (status != 0) {
        route_drop(vm, t.route);
        free(t.key);
        return status;
    }
    *number = vm->target_count++;
    vm->targets[*number] = t;
    return 0;
}

struct target *target_check(struct vm *vm, lua_State *L, int arg) {
    double number = luaL_checknumber(L, arg);
    if (!(number >= 0 && number < (double)vm->target_count)) luaL_argerror(L, arg, "no target");
    return &vm->targets[(size_t)number];
}

void targets_free(struct vm *vm) {
    for (size_t i = 0; i < vm->target_count; i++) {
        route_drop(vm, vm->targets[i].route);
        free(vm->targets[i].key);
    }
    vm->target_count = 0;
    map_free(&vm->target_numbers);
}

// ---- calls

struct message *call_message_new(struct vm *vm, const struct call *c, enum msg_kind kind) {
    struct message *m = message_new(kind, handle_number(&c->handle));
    if (m != NULL) m->reply = port_hold(vm->config.self);
    if (m != NULL && c->route->to.method == NULL) m->form.encoding = MSG_JSON;
    return m;
}

void call_send(struct call *c, struct message *take) {
    if (take != NULL && port_send(c->route->to.port, take) < 0) message_delete(take);
}

static void timer_due(struct vm *vm, struct timer *timer) {
    struct call *c = (struct call *)((char *)timer - offsetof(struct call, timer));
    static const char TEXT[] = "the call took longer than its timeout";
    if (c->waiter != NULL) {
        task_fail(vm, c->waiter, STATUS_DEADLINE_EXCEEDED, TEXT);
    } else if (c->stream != NULL) {
        stream_finish(vm, c->stream, STATUS_DEADLINE_EXCEEDED, TEXT);
    }
}

static struct msg_context *call_context(struct vm *vm, struct task *t,
                                        const struct call_options *options, int64_t deadline,
                                        bool abroad) {
    const struct request *r = t->request;
    struct msg_context *c = msg_context_copy(r->context);
    if (c == NULL) return NULL;
    c->chain++;
    c->deadline = deadline;
    memcpy(c->span_id, r->span, sizeof c->span_id);
    blob_drop(c->caller);
    c->caller = blob_hold(vm->service_name);
    blob_drop(c->metadata);
    c->metadata = vm->scratch_metadata.n == 0 ? NULL : buf_take(&vm->scratch_metadata);
    if (options->as_service) {
        blob_drop(c->account);
        c->account = NULL;
    }
    if (options->ns.n > 0 || abroad) { // others need not know where we live
        blob_drop(c->ns);
        c->ns = options->ns.n > 0 ? blob_new(options->ns.p, options->ns.n) : NULL;
    }
    return c;
}

static struct call *call_new(struct vm *vm, struct request *r, struct route *route,
                             bool wants_info) {
    struct call *c = vm_alloc(vm, sizeof *c);
    if (c == NULL) return NULL;
    if (handle_add(vm, &c->handle, HANDLE_CALL) != 0) {
        vm_free(vm, c, sizeof *c);
        return NULL;
    }
    c->request = r;
    c->wants_info = wants_info;
    c->route = route_hold(route);
    c->timer.due = timer_due;
    c->next = r->calls;
    if (c->next != NULL) c->next->link = &c->next;
    c->link = &r->calls;
    r->calls = c;
    return c;
}

void call_free(struct vm *vm, struct call *c) {
    vm_timer_clear(vm, &c->timer);
    *c->link = c->next;
    if (c->next != NULL) c->next->link = c->link;
    if (c->stream != NULL) c->stream->call = NULL;
    if (c->waiter != NULL) c->waiter->wait.call = NULL;
    handle_remove(vm, &c->handle);
    route_drop(vm, c->route);
    vm_free(vm, c, sizeof *c);
}

void call_abort(struct vm *vm, struct call *c, int status) {
    struct message *m = call_message_new(vm, c, MSG_CANCEL);
    if (m != NULL) m->status = status == STATUS_DEADLINE_EXCEEDED ? status : STATUS_CANCELLED;
    call_send(c, m);
    call_free(vm, c);
}

static struct message *call_request(struct vm *vm, struct task *t, struct call *c,
                                    const struct call_options *options, int64_t deadline,
                                    struct blob *body) {
    struct message *m = call_message_new(vm, c, MSG_REQUEST);
    if (m == NULL) {
        blob_drop(body);
        return NULL;
    }
    m->body = body;
    m->local = true;
    m->sent_at = clock_now();
    m->compress = options->compress ? MSG_COMPRESS_YES : MSG_COMPRESS_NO;
    m->method = c->route->to.method;
    if (c->route->to.pool != NULL) {
        m->contract = pb_pool_hold(c->route->to.pool);
        m->drop_contract = pb_pool_drop;
    }
    if (c->route->path != NULL) {
        m->most = vm->config.limits.message;
        m->attempts =
            m->method != NULL; // texts have no contract that would say what may be repeated
    }
    // Without a contract it is a Mica that is called (the command line does): it wants the namespace.
    bool abroad = c->route->path != NULL && m->method != NULL;
    m->context = call_context(vm, t, options, deadline, abroad);
    if (m->context == NULL) {
        message_delete(m);
        return NULL;
    }
    return m;
}

static void tell_refusal(const struct call *c, int status, struct err *err) {
    const char *who = c->route->label;
    if (status == -STATUS_RESOURCE_EXHAUSTED) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s is busy: its queue is full", who);
    } else if (status == -STATUS_UNAVAILABLE) {
        err_set(err, STATUS_UNAVAILABLE, "%s is not running", who);
    } else {
        err_set(err, (enum status) - status, "%s refused the call", who);
    }
}

struct call *call_begin(struct vm *vm, struct task *t, struct route *route,
                        const struct call_options *options, struct blob *take_body,
                        struct err *err) {
    int64_t deadline = task_deadline(t), limit = 0;
    if (t->request->context->chain >= MSG_MAX_CHAIN) {
        blob_drop(take_body);
        err_set(err, STATUS_RESOURCE_EXHAUSTED,
                "calls are %d deep: do services call each other in a circle?", MSG_MAX_CHAIN);
        return NULL;
    }
    if (options->timeout > 0) {
        limit = clock_now() + (int64_t)(options->timeout * NS_PER_SECOND);
        if (deadline == 0 || limit < deadline) deadline = limit;
    }
    struct call *c = call_new(vm, t->request, route, options->wants_info);
    if (c != NULL) c->compress = options->compress;
    if (c == NULL || (limit != 0 && vm_timer_set(vm, &c->timer, limit) != 0)) {
        blob_drop(take_body);
        if (c != NULL) call_free(vm, c);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s", vm_memory_text(vm));
        return NULL;
    }
    struct message *m = call_request(vm, t, c, options, deadline, take_body);
    int status = m == NULL ? -STATUS_RESOURCE_EXHAUSTED : port_send(route->to.port, m);
    if (status == 0) return c;
    message_delete(m);
    tell_refusal(c, status, err);
    call_free(vm, c);
    return NULL;
}

// The answer to a unary call.
static void answered(struct vm *vm, struct call *c, struct message *m) {
    struct task *t = c->waiter;
    const struct pb_method *method = c->route->to.method;
    if (t == NULL || t->state != TASK_PARKED) {
        message_delete(m);
        call_free(vm, c);
        return;
    }
    t->wait.call = NULL;
    struct message *info = c->wants_info ? m : NULL;
    if (m->status == 0) {
        t->wait.message = m;
        t->wait.info = info;
        t->wait.route = route_hold(c->route);
        t->wait.type = method == NULL ? NULL : method->output;
        t->wait.json = method == NULL;
        task_ready(vm, t, WAKE_MESSAGE);
    } else {
        task_ready(vm, t, WAKE_FAULT);
        t->wait.status = m->status;
        t->wait.text = "";
        t->wait.fault = m->fault;
        t->wait.info = info;
        m->fault = NULL;
        if (info == NULL) message_delete(m);
    }
    c->waiter = NULL;
    call_free(vm, c);
}

void call_message(struct vm *vm, struct message *take) {
    struct message *m = take;
    struct call *c = handle_find(vm, (uint32_t)m->call, (uint32_t)(m->call >> 32), HANDLE_CALL);
    struct stream *s = c == NULL ? NULL : c->stream;
    if (c != NULL && s == NULL && m->kind == MSG_RESPONSE) {
        answered(vm, c, m);
    } else if (s != NULL && m->kind == MSG_RESPONSE) {
        stream_response(vm, s, m);
    } else if (s != NULL && m->kind == MSG_ITEM) {
        stream_item(vm, s, m);
    } else if (s != NULL && m->kind == MSG_HEADERS) {
        stream_headers(vm, s, m);
    } else {
        if (s != NULL && m->kind == MSG_CREDIT) stream_credit(vm, s, m->credit);
        message_delete(m);
    }
}
