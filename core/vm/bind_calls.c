// SPDX-License-Identifier: Apache-2.0
// core: calls and streams (bindings.h has the list).
#include "msg/metadata.h"
#include "vm/vm_internal.h"

#include <stdlib.h>

// ---- targets

static void check_not_bare(struct vm *vm, lua_State *L) {
    if (vm->config.bare)
        luaL_error(L, "main.lua declares, handlers act: it calls nothing while it is loaded");
}

static const char *shape_of(const struct pb_method *m) {
    if (m->client_streaming) return m->server_streaming ? "bidi" : "client";
    return m->server_streaming ? "server" : "unary";
}

static int push_target(struct vm *vm, lua_State *L, int status, size_t number,
                       const struct err *err) {
    if (status != 0) {
        lua_pushnil(L);
        lua_pushstring(L, status_name((int)err->code));
        lua_pushstring(L, err->text);
        return 3;
    }
    const struct pb_method *m = vm->targets[number].route->to.method;
    lua_pushnumber(L, (double)number);
    if (m == NULL) return 1;
    lua_pushstring(L, shape_of(m));
    lua_pushboolean(L, m->idempotency > 0);
    return 3;
}

// The namespace that names are looked up in: the service's own; for the platform's, which have none, the request's.
static struct str namespace_of(const struct vm *vm) {
    const struct request *r = request_running(vm);
    if (vm->config.ns[0] != '\0' || r == NULL) return str_of(vm->config.ns);
    return blob_str(r->context->ns);
}

static int resolve(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct err err = {0};
    size_t number = 0;
    struct str parts[4] = {namespace_of(vm), bind_str(L, 1), {"", 0}, bind_str(L, 2)};
    if (!lua_isnoneornil(L, 3)) parts[2] = bind_str(L, 3);
    check_not_bare(vm, L);
    int status = target_find(vm, TARGET_SERVICE, parts, 4, &number, &err);
    return push_target(vm, L, status, number, &err);
}

static bool granted(const struct vm *vm, struct str capability) {
    const char *const *n = vm->config.natives;
    if (str_is(capability, "crypto")) return true; // every service's, through mica.crypto
    while (n != NULL && *n != NULL && !str_is(capability, *n)) n++;
    return n != NULL && *n != NULL;
}

static int native(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct err err = {0};
    size_t number = 0;
    struct str parts[2] = {bind_str(L, 1), bind_str(L, 2)};
    check_not_bare(vm, L);
    int status = -STATUS_PERMISSION_DENIED;
    if (granted(vm, parts[0])) {
        status = target_find(vm, TARGET_NATIVE, parts, 2, &number, &err);
    } else {
        err_set(&err, STATUS_PERMISSION_DENIED, "service %s has no capability \"%s\"",
                vm->config.service, parts[0].p);
    }
    return push_target(vm, L, status, number, &err);
}

static int dial(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct err err = {0};
    size_t number = 0;
    bool contract = lua_toboolean(L, 4);
    struct str parts[4] = {
        bind_str(L, 1), bind_str(L, 2), {"", 0}, str_of(contract ? "contract" : "")};
    if (!lua_isnoneornil(L, 3)) parts[2] = bind_str(L, 3);
    check_not_bare(vm, L);
    int status = target_find(vm, TARGET_DIAL, parts, 4, &number, &err);
    return push_target(vm, L, status, number, &err);
}

// ---- options

static void add_value(struct vm *vm, lua_State *L, struct str key, int index) {
    if (lua_type(L, index) != LUA_TSTRING) {
        luaL_error(L, "metadata \"%s\" must be a string or a list of strings", key.p);
    }
    struct str value;
    value.p = lua_tolstring(L, index, &value.n);
    metadata_check(L, key, value);
    metadata_add(&vm->scratch_metadata, key, value);
}

static void add_pair(struct vm *vm, lua_State *L, int table, struct str key) {
    lua_pushlstring(L, key.p, key.n);
    lua_rawget(L, table);
    if (lua_istable(L, -1)) {
        int n = (int)lua_objlen(L, -1);
        for (int i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            add_value(vm, L, key, lua_gettop(L));
            lua_pop(L, 1);
        }
    } else {
        add_value(vm, L, key, lua_gettop(L));
    }
    lua_pop(L, 1);
}

static int compare_keys(const void *a, const void *b) {
    const struct str *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

// In the order of keys, so that a call looks the same whatever order the table has.
static void add_metadata(struct vm *vm, lua_State *L, int table) {
    enum { MAX = 64 };
    struct str keys[MAX];
    size_t n = 0;
    luaL_checktype(L, table, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "the keys of metadata are strings");
        if (n == MAX) luaL_error(L, "metadata has more than %d keys", MAX);
        keys[n].p = lua_tolstring(L, -2, &keys[n].n); // stays while the table holds it
        n++;
        lua_pop(L, 1);
    }
    qsort(keys, n, sizeof keys[0], compare_keys);
    for (size_t i = 0; i < n; i++) add_pair(vm, L, table, keys[i]);
}

// A dialled target has no contract: the caller may say how the method streams.
static void add_kind(struct vm *vm, lua_State *L, int options) {
    lua_getfield(L, options, "kind");
    if (!lua_isnil(L, -1))
        metadata_add(&vm->scratch_metadata, str_of(":kind"), str_of(luaL_checkstring(L, -1)));
    lua_pop(L, 1);
}

static struct call_options options_read(struct vm *vm, lua_State *L, int arg,
                                        const struct route *route) {
    struct call_options options = {0};
    vm->scratch_metadata.n = 0;
    vm->scratch_metadata.failed = false;
    if (route->path != NULL && route->to.method == NULL)
        metadata_add(&vm->scratch_metadata, str_of(":path"), str_of(route->path));
    if (lua_isnoneornil(L, arg)) return options;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_getfield(L, arg, "timeout");
    if (!lua_isnil(L, -1)) {
        options.timeout = luaL_checknumber(L, -1);
        if (!(options.timeout > 0 && options.timeout < 1e8))
            luaL_error(L, "timeout must be a positive number of seconds");
    }
    lua_getfield(L, arg, "as_service");
    options.as_service = lua_toboolean(L, -1);
    lua_getfield(L, arg, "info");
    options.wants_info = lua_toboolean(L, -1);
    lua_getfield(L, arg, "compress");
    options.compress = lua_toboolean(L, -1);
    lua_getfield(L, arg, "namespace");
    if (!lua_isnil(L, -1)) {
        if (route->path == NULL)
            luaL_error(L, "a service calls within its own namespace: only dialled servers take "
                          "\"namespace\"");
        options.ns.p = luaL_checklstring(L, -1, &options.ns.n); // the options keep it
    }
    lua_getfield(L, arg, "metadata");
    if (!lua_isnil(L, -1)) add_metadata(vm, L, lua_gettop(L));
    lua_pop(L, 6);
    if (route->path != NULL && route->to.method == NULL) add_kind(vm, L, arg);
    return options;
}

// ---- calls

static struct blob *encode_request(struct vm *vm, lua_State *L, int arg, struct route *route) {
    struct err err = {0};
    struct blob *body;
    if (route->to.method == NULL) {
        struct str text = bind_str(L, arg);
        body = blob_new(text.p, text.n);
        if (body == NULL) luaL_error(L, "not enough memory");
        return body;
    }
    struct msg_form proto = {.encoding = MSG_PROTO};
    struct pb_lua *codec = route_codec(vm, L, route);
    body = value_encode(vm, L, arg, codec, route->to.method->input, proto, &err);
    if (body == NULL) bind_raise(L, &err);
    return body;
}

// A call that could not begin.
static int push_err(lua_State *L, const struct err *err) {
    int n = task_push_fault(L, (int)err->code, str_of(err->text), NULL);
    if (err->code != STATUS_UNAVAILABLE) return n;
    lua_pushliteral(L, "unbegun");
    return n + 1;
}

// What call and open begin with: the task and where its call goes. Target, request and options begin at `arg`. NULL: `*n` values have been pushed (or it yields for
// good).
static struct route *begin_call(struct vm *vm, lua_State *L, int arg, struct task **t, int *n) {
    struct err err = {0};
    lua_settop(L, arg + 2);
    *t = task_waiting(vm, L, "a call");
    *n = task_refused(vm, *t, L);
    if (*n != 0) return NULL;
    struct target *target = target_check(vm, L, arg);
    if (target_refresh(vm, target, &err) == 0) return target->route;
    *n = push_err(L, &err);
    return NULL;
}

static int call(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct err err = {0};
    struct task *t;
    int n;
    struct route *route = begin_call(vm, L, 1, &t, &n);
    if (route == NULL) return n;
    const struct pb_method *m = route->to.method;
    if (m != NULL && (m->client_streaming || m->server_streaming))
        return luaL_error(L, "this endpoint streams: open it");
    struct call_options options = options_read(vm, L, 3, route);
    struct blob *body = encode_request(vm, L, 2, route);
    struct call *c = call_begin(vm, t, route, &options, body, &err);
    if (c == NULL) return push_err(L, &err);
    c->waiter = t;
    t->wait.call = c;
    return task_park(vm, t, L, WAIT_CALL);
}

// The call of open and reopen; its target, request and options begin at `arg`. NULL: as begin_call.
static struct call *open_call(struct vm *vm, lua_State *L, int arg, struct task **t, int *n) {
    struct err err = {0};
    struct route *route = begin_call(vm, L, arg, t, n);
    if (route == NULL) return NULL;
    bool texts = route->to.method == NULL;
    struct call_options options = options_read(vm, L, arg + 2, route);
    struct blob *body = lua_isnil(L, arg + 1) ? NULL : encode_request(vm, L, arg + 1, route);
    if (texts) // there is no contract that would say it; what the options said counts
        metadata_add(&vm->scratch_metadata, str_of(":kind"),
                     str_of(body == NULL ? "bidi" : "server"));
    struct call *c = call_begin(vm, *t, route, &options, body, &err);
    if (c == NULL) *n = push_err(L, &err);
    return c;
}

static int open_stream(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t;
    int n;
    struct call *c = open_call(vm, L, 1, &t, &n);
    if (c == NULL) return n;
    struct stream *s = stream_new(vm, t->request, c);
    if (s == NULL) {
        call_abort(vm, c, STATUS_CANCELLED);
        return luaL_error(L, "not enough memory");
    }
    if (s->method == NULL) s->sends = lua_isnil(L, 2);
    s->out_end = s->end_sent = !s->sends;
    lua_pushboolean(L, 1);
    handle_push(L, &s->handle, vm->stream_mt);
    return 2;
}

// reopen(stream, target, request or nil, options): no value: it is not a stream that can be begun again.
static int reopen(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t;
    int n;
    struct stream *s = handle_check(vm, L, 1, HANDLE_STREAM, "stream");
    bool over = s != NULL && s->client && s->call == NULL && !s->used && s->waiters == NULL;
    if (s != NULL && s->call != NULL) { // another task has done so
        lua_pushboolean(L, 1);
        return 1;
    }
    if (!over || s->request != request_running(vm)) return 0;
    struct call *c = open_call(vm, L, 2, &t, &n);
    if (c == NULL) return n;
    stream_restart(vm, s, c);
    lua_pushboolean(L, 1);
    return 1;
}

// ---- streams

// What both ends of waiting on a stream begin with. NULL: `*n` values have been pushed (or it yields for good).
static struct stream *begin(struct vm *vm, lua_State *L, struct task **t, int *n) {
    struct stream *s = handle_check(vm, L, 1, HANDLE_STREAM, "stream");
    *t = task_waiting(vm, L, "a stream");
    *n = task_refused(vm, *t, L);
    if (*n != 0) return NULL;
    if (s == NULL) {
        struct str text = str_of("the stream has ended with its request");
        *n = task_push_fault(L, STATUS_CANCELLED, text, NULL);
    }
    return s;
}

static int send(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t;
    int n;
    lua_settop(L, 3);
    struct stream *s = begin(vm, L, &t, &n);
    return s == NULL ? n : stream_send(vm, s, t, L, 2);
}

static int recv(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t;
    int n;
    struct stream *s = begin(vm, L, &t, &n);
    return s == NULL ? n : stream_recv(vm, s, t, L);
}

static int header(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t;
    int n;
    struct stream *s = begin(vm, L, &t, &n);
    return s == NULL ? n : stream_metadata(vm, s, t, L, false);
}

static int trailer(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t;
    int n;
    struct stream *s = begin(vm, L, &t, &n);
    return s == NULL ? n : stream_metadata(vm, s, t, L, true);
}

static int compressed(lua_State *L) {
    const struct stream *s = handle_check(bind_vm(L), L, 1, HANDLE_STREAM, "stream");
    lua_pushboolean(L, s != NULL && s->compressed);
    return 1;
}

static int close_send(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct stream *s = handle_check(vm, L, 1, HANDLE_STREAM, "stream");
    if (s != NULL && !s->client) return luaL_error(L, "a handler ends its stream by returning");
    if (s != NULL) stream_close_send(vm, s);
    return 0;
}

static int cancel_stream(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct stream *s = handle_check(vm, L, 1, HANDLE_STREAM, "stream");
    if (s != NULL && !s->client)
        return luaL_error(L, "a handler ends its stream by returning or raising");
    if (s != NULL) {
        stream_discard(vm, s);
        stream_finish(vm, s, STATUS_CANCELLED, "the stream was cancelled");
    }
    return 0;
}

void bind_calls(struct vm *vm, lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {
        {"resolve", resolve},
        {"native", native},
        {"dial", dial},
        {"tls", bind_tls},
        {"call", call},
        {"open", open_stream},
        {"reopen", reopen},
        {"send", send},
        {"recv", recv},
        {"header", header},
        {"trailer", trailer},
        {"compressed", compressed},
        {"close_send", close_send},
        {"cancel_stream", cancel_stream},
        {NULL, NULL},
    };
    bind_functions(vm, L, FUNCTIONS);
}
