// SPDX-License-Identifier: Apache-2.0
// core: tasks and requests (bindings.h has the list).
#include "base/clock.h"
#include "msg/metadata.h"
#include "vm/vm_internal.h"

#include <math.h>
#include <stdio.h>

#define FOREVER 1e8 // seconds; longer than any instance lives

static struct task *running_task(struct vm *vm, lua_State *L, const char *function) {
    if (vm->running == NULL || vm->loading) {
        luaL_error(L, "main.lua declares, handlers act: %s cannot be used while it is loaded",
                   function);
    }
    return vm->running;
}

static double seconds_arg(lua_State *L, int arg) {
    double seconds = luaL_checknumber(L, arg);
    luaL_argcheck(L, !isnan(seconds), arg, "not a number of seconds");
    return seconds < 0 ? 0 : seconds > FOREVER ? FOREVER : seconds;
}

static int64_t from_now(double seconds) { return clock_now() + (int64_t)(seconds * NS_PER_SECOND); }

// ---- tasks

static int spawn(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct request *r = running_task(vm, L, "spawn")->request;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (r->phase == PHASE_ENDING) return luaL_error(L, "spawn: the request has ended");
    struct task *t = task_new(vm, L, r, ROLE_SPAWNED, lua_gettop(L) - 1);
    handle_push_number(L, &t->handle);
    return 1;
}

static int background(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct request *r = running_task(vm, L, "background")->request;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct task *t = request_background(vm, L, r, lua_gettop(L) - 1);
    handle_push_number(L, &t->handle);
    return 1;
}

static int current(lua_State *L) {
    struct vm *vm = bind_vm(L);
    if (vm->running == NULL) return 0;
    handle_push_number(L, &vm->running->handle);
    return 1;
}

static int park(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t = task_waiting(vm, L, "waiting");
    int n = task_refused(vm, t, L);
    return n != 0 ? n : task_park(vm, t, L, WAIT_PARK);
}

static int wake(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t = handle_check_number(vm, L, 1, HANDLE_TASK);
    bool parked = t != NULL && t->state == TASK_PARKED && t->wait.kind == WAIT_PARK;
    if (parked) {
        int n = lua_gettop(L) - 1;
        if (!lua_checkstack(t->co, n + 1)) return luaL_error(L, "wake: too many values");
        lua_pushboolean(t->co, 1);
        lua_xmove(L, t->co, n);
        task_ready(vm, t, WAKE_VALUES);
    }
    lua_pushboolean(L, parked);
    return 1;
}

static int cancel(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t = handle_check_number(vm, L, 1, HANDLE_TASK);
    if (t != NULL) task_cancel(vm, t);
    return 0;
}

static int sleep_task(lua_State *L) {
    struct vm *vm = bind_vm(L);
    double seconds = seconds_arg(L, 1);
    struct task *t = task_waiting(vm, L, "sleep");
    int n = task_refused(vm, t, L);
    if (n != 0) return n;
    t->wait.until = from_now(seconds);
    return task_park(vm, t, L, WAIT_SLEEP);
}

static int fail(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct request *r = running_task(vm, L, "fail")->request;
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    task_error(vm, L, L, LUA_ERRRUN);
    request_raise(vm, r, &vm->outcome);
    return 0;
}

// The two halves of core.deadline, whose middle must be Lua, since a C function cannot go on after a wait.
static int deadline_push(lua_State *L) {
    struct vm *vm = bind_vm(L);
    double seconds = seconds_arg(L, 1);
    struct task *t = task_waiting(vm, L, "timeout");
    struct deadline *d = vm_alloc(vm, sizeof *d);
    if (d == NULL) return luaL_error(L, "not enough memory");
    d->at = from_now(seconds);
    if (t->deadline != NULL && t->deadline->at < d->at) d->at = t->deadline->at;
    d->outer = t->deadline;
    t->deadline = d;
    lua_pushinteger(L, (lua_Integer)t->deadlines++);
    return 1;
}

static int deadline_pop(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct task *t = running_task(vm, L, "timeout");
    unsigned depth = (unsigned)luaL_checkinteger(L, 1);
    while (t->deadlines > depth && t->deadline != NULL) {
        struct deadline *d = t->deadline;
        t->deadline = d->outer;
        t->deadlines--;
        vm_free(vm, d, sizeof *d);
    }
    return 0;
}

static const char DEADLINE[] = "local push, pop, pcall, error = ...\n"
                               "local function finish(depth, ok, ...)\n"
                               "  pop(depth)\n"
                               "  if not ok then error((...), 0) end\n"
                               "  return true, ...\n"
                               "end\n"
                               "return function(seconds, fn, ...)\n"
                               "  return finish(push(seconds), pcall(fn, ...))\n"
                               "end\n";

static void push_deadline(struct vm *vm, lua_State *L) {
    if (luaL_loadbuffer(L, DEADLINE, sizeof DEADLINE - 1, "=deadline") != 0) lua_error(L);
    lua_pushlightuserdata(L, vm);
    lua_pushcclosure(L, deadline_push, 1);
    lua_pushlightuserdata(L, vm);
    lua_pushcclosure(L, deadline_pop, 1);
    lua_getglobal(L, "pcall");
    lua_getglobal(L, "error");
    lua_call(L, 4, 1);
    lua_setfield(L, -2, "deadline");
}

// ---- requests

static int context(lua_State *L) {
    struct vm *vm = bind_vm(L);
    const struct request *r = request_running(vm);
    if (r == NULL) return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->anchors);
    lua_rawgeti(L, -1, (int)r->handle.index);
    return 1;
}

static struct request *ctx_arg(struct vm *vm, lua_State *L) {
    struct request *r = handle_check(vm, L, 1, HANDLE_REQUEST, "ctx");
    if (r == NULL)
        luaL_error(L, "the request of this ctx has ended: read what is needed of it before");
    return r;
}

static void push_hex(lua_State *L, const unsigned char *bytes, size_t n) {
    char out[64];
    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    lua_pushlstring(L, out, 2 * n);
}

static void push_optional(lua_State *L, const struct blob *b) {
    if (b == NULL || b->n == 0) {
        lua_pushnil(L);
    } else {
        bind_push_str(L, blob_str(b));
    }
}

static void push_account(struct vm *vm, lua_State *L, const struct request *r) {
    static const char TYPE[] = "mica.core.v1.Account";
    struct err err = {0};
    const struct blob *account = r->context->account;
    if (account == NULL) {
        lua_pushnil(L);
        return;
    }
    const struct pb_message *type = pb_find_message(vm->config.host->platform, str_of(TYPE));
    if (type == NULL) luaL_error(L, "the platform's contracts lack %s", TYPE);
    if (pb_lua_from_wire(vm_codec_platform(vm), L, type, blob_str(account), &err) != 0)
        bind_raise(L, &err);
}

static void push_deadline_of(lua_State *L, const struct request *r, bool remaining) {
    if (r->deadline == 0) {
        lua_pushnil(L);
        return;
    }
    double left = (double)(r->deadline - clock_now()) / NS_PER_SECOND;
    lua_pushnumber(L,
                   remaining ? (left < 0 ? 0 : left) : (double)clock_unix() / NS_PER_SECOND + left);
}

static void push_id(lua_State *L, uint64_t id) {
    char hex[20];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)id);
    lua_pushstring(L, hex);
}

static void push_endpoint(lua_State *L, const struct request *r) {
    char endpoint[256];
    request_endpoint(r, endpoint, sizeof endpoint);
    lua_pushstring(L, endpoint);
}

static int ctx(lua_State *L) {
    static const char *const KEYS[] = {"service",   "endpoint",  "kind",       "version",
                                       "instance",  "id",        "trace",      "peer",
                                       "namespace", "caller",    "account",    "deadline",
                                       "remaining", "cancelled", "compressed", NULL};
    enum {
        SERVICE,
        ENDPOINT,
        KIND,
        VERSION,
        INSTANCE,
        ID,
        TRACE,
        PEER,
        NAMESPACE,
        CALLER,
        ACCOUNT,
        DEADLINE_AT,
        REMAINING,
        CANCELLED
    };
    static const char *const KINDS[] = {"rpc", "start", "stop", "background"};
    struct vm *vm = bind_vm(L);
    int key = luaL_checkoption(L, 2, NULL, KEYS);
    const struct request *r = ctx_arg(vm, L);
    switch (key) {
    case SERVICE: lua_pushstring(L, vm->config.service); break;
    case ENDPOINT: push_endpoint(L, r); break;
    case KIND:
        lua_pushstring(L, r->kind == REQUEST_RPC && r->handler.n > 0 ? "http" : KINDS[r->kind]);
        break;
    case VERSION: lua_pushstring(L, vm->config.version); break;
    case INSTANCE: lua_pushinteger(L, (lua_Integer)vm->config.instance); break;
    case ID: push_id(L, r->context->request_id); break;
    case TRACE: push_hex(L, r->context->trace_id, sizeof r->context->trace_id); break;
    case PEER: push_optional(L, r->context->peer); break;
    case NAMESPACE:
        bind_push_str(L, r->context->ns == NULL ? str_of(vm->config.ns) : blob_str(r->context->ns));
        break;
    case CALLER: push_optional(L, r->context->caller); break;
    case ACCOUNT: push_account(vm, L, r); break;
    case DEADLINE_AT: push_deadline_of(L, r, false); break;
    case REMAINING: push_deadline_of(L, r, true); break;
    case CANCELLED: lua_pushboolean(L, r->gone || r->phase == PHASE_DONE); break;
    default: lua_pushboolean(L, r->compressed); break;
    }
    return 1;
}

static int metadata(lua_State *L) {
    const struct request *r = ctx_arg(bind_vm(L), L);
    struct str value;
    if (!metadata_get(r->context->metadata, bind_str(L, 2), &value)) return 0;
    bind_push_str(L, value);
    return 1;
}

static int metadata_all(lua_State *L) {
    const struct request *r = ctx_arg(bind_vm(L), L);
    struct str key = bind_str(L, 2);
    struct metadata_pair pair;
    size_t at = 0;
    int n = 0;
    lua_newtable(L);
    while (metadata_next(r->context->metadata, &at, &pair)) {
        if (!str_equal(pair.key, key)) continue;
        bind_push_str(L, pair.value);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

// Sorted, each once: the list stays short, so it is searched and shifted.
static int metadata_keys(lua_State *L) {
    const struct request *r = ctx_arg(bind_vm(L), L);
    struct metadata_pair pair;
    size_t at = 0;
    int n = 0;
    lua_newtable(L);
    while (metadata_next(r->context->metadata, &at, &pair)) {
        if (str_starts(pair.key, ":")) continue; // the platform's own
        int place = n + 1;
        bool known = false;
        bind_push_str(L, pair.key);
        for (; place > 1; place--) {
            lua_rawgeti(L, -2, place - 1);
            known = lua_rawequal(L, -1, -2) != 0;
            bool less = !known && lua_lessthan(L, -2, -1);
            lua_pop(L, 1);
            if (!less) break;
        }
        if (known) {
            lua_pop(L, 1);
            continue;
        }
        for (int i = n; i >= place; i--) {
            lua_rawgeti(L, -2, i);
            lua_rawseti(L, -3, i + 1);
        }
        lua_rawseti(L, -2, place);
        n++;
    }
    return 1;
}

static bool value_allowed(struct str key, struct str value) {
    if (key.n > 4 && memcmp(key.p + key.n - 4, "-bin", 4) == 0) return true;
    for (size_t i = 0; i < value.n; i++) {
        if ((unsigned char)value.p[i] < 0x20 || (unsigned char)value.p[i] > 0x7E) return false;
    }
    return true;
}

void metadata_check(lua_State *L, struct str key, struct str value) {
    if (!metadata_key_allowed(key)) {
        luaL_error(L,
                   "metadata key \"%s\" is not allowed: lower-case letters, digits, '-', '_' and "
                   "'.', and none of HTTP's or "
                   "gRPC's own",
                   key.p);
    }
    if (!value_allowed(key, value)) {
        luaL_error(
            L, "metadata \"%s\" holds bytes that are not printable ASCII: name the key \"%s-bin\"",
            key.p, key.p);
    }
}

static int set_header(lua_State *L) {
    struct request *r = ctx_arg(bind_vm(L), L);
    struct str key = bind_str(L, 2), value = bind_str(L, 3);
    metadata_check(L, key, value);
    if (r->headers_sent || r->answered)
        return luaL_error(L, "set_header: the headers have been sent already");
    metadata_add(&r->headers, key, value);
    return 0;
}

static int set_trailer(lua_State *L) {
    struct request *r = ctx_arg(bind_vm(L), L);
    struct str key = bind_str(L, 2), value = bind_str(L, 3);
    metadata_check(L, key, value);
    if (r->answered) return luaL_error(L, "set_trailer: the request has been answered already");
    metadata_add(&r->trailers, key, value);
    return 0;
}

static int compress(lua_State *L) {
    struct request *r = ctx_arg(bind_vm(L), L);
    bool on = lua_toboolean(L, 2) != 0;
    if (on && !r->packing.may && (r->headers_sent || r->answered))
        return luaL_error(L, "compress: the headers have been sent already");
    r->packing.may |= on;
    r->packing.all = on;
    return 0;
}

static int defer(lua_State *L) {
    struct request *r = ctx_arg(bind_vm(L), L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (r->phase != PHASE_RUNNING) return luaL_error(L, "defer: the request has ended");
    lua_settop(L, 2);
    request_defer(L, r);
    return 0;
}

void bind_tasks(struct vm *vm, lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {
        {"spawn", spawn},
        {"background", background},
        {"current", current},
        {"park", park},
        {"wake", wake},
        {"cancel", cancel},
        {"sleep", sleep_task},
        {"fail", fail},
        {"context", context},
        {"ctx", ctx},
        {"metadata", metadata},
        {"metadata_all", metadata_all},
        {"metadata_keys", metadata_keys},
        {"set_header", set_header},
        {"set_trailer", set_trailer},
        {"compress", compress},
        {"defer", defer},
        {NULL, NULL},
    };
    bind_functions(vm, L, FUNCTIONS);
    push_deadline(vm, L);
    lua_pushlightuserdata(L, (void *)&TASK_TAG);
    lua_setfield(L, -2, "TAG");
}
