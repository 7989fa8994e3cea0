// SPDX-License-Identifier: Apache-2.0
// Loading: main.lua runs once, the library checks what it returned (core.definition), and what the
// core needs of that is kept: handlers by method, deadlines, limits, hooks. While `loading` is set
// every function that may wait raises.
//
// A bare VM is loaded in the same way, to be described and thrown away. Only the thread that runs
// the VM.
#include "vm/vm_internal.h"

#include <math.h>

// Garbage is let grow by half, not to the double: no emergency collection exists at the hard line.
#define PAUSE_SERVING 200

static double number_field(lua_State *L, int table, const char *name) {
    lua_getfield(L, table, name);
    double v = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : 0;
    lua_pop(L, 1);
    return v > 0 && isfinite(v) ? v : 0;
}

// What the service says of itself may lower what the place grants. Memory and queue are given when the VM is made.
static void take_limits(struct vm *vm, lua_State *L, int definition) {
    struct vm_limits *l = &vm->config.limits;
    lua_getfield(L, definition, "limits");
    if (lua_istable(L, -1)) {
        int t = lua_gettop(L);
        double deadline = number_field(L, t, "deadline");
        double concurrency = number_field(L, t, "concurrency"),
               message = number_field(L, t, "message");
        if (deadline > 0 && deadline < l->deadline) l->deadline = deadline;
        if (concurrency >= 1 && concurrency < l->concurrency)
            l->concurrency = (unsigned)concurrency;
        if (message >= 1 && message < (double)l->message) l->message = (size_t)message;
    }
    lua_pop(L, 1);
}

static void take_deadlines(struct vm *vm, lua_State *L, int definition) {
    size_t count = vm->config.source->pool->method_count;
    vm->deadlines = count == 0 ? NULL : vm_alloc(vm, count * sizeof *vm->deadlines);
    lua_getfield(L, definition, "deadlines");
    for (size_t i = 0; vm->deadlines != NULL && lua_istable(L, -1) && i < count; i++) {
        lua_rawgeti(L, -1, (int)i);
        if (lua_isnumber(L, -1)) vm->deadlines[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int take_function(lua_State *L, int definition, const char *name) {
    lua_getfield(L, definition, name);
    if (lua_isfunction(L, -1)) return luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    return LUA_NOREF;
}

static void load_body(struct vm *vm, lua_State *L, void *arg) {
    const struct source_file *main = source_file(vm->config.source, str_of("main.lua"));
    (void)arg;
    if (main == NULL) {
        luaL_error(L, "the service has no main.lua");
        return;
    }
    const char *mode =
        vm->config.source->folder == NULL ? "bt" : "t"; // what is built in may be bytecode
    if (luaL_loadbufferx(L, main->content->p, main->content->n, "@main.lua", mode) != 0)
        lua_error(L);
    lua_call(L, 0, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->core);
    lua_getfield(L, -1, "definition");
    lua_pushvalue(L, -3);
    lua_call(L, 1, 1);
    int definition = lua_gettop(L);
    luaL_checktype(L, definition, LUA_TTABLE);
    lua_getfield(L, definition, "handlers");
    luaL_checktype(L, -1, LUA_TTABLE);
    vm->handlers = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, definition, "http");
    if (lua_istable(L, -1)) {
        vm->http = luaL_ref(L, LUA_REGISTRYINDEX);
    } else {
        lua_pop(L, 1);
    }
    take_limits(vm, L, definition);
    take_deadlines(vm, L, definition);
    vm->on_start = take_function(L, definition, "on_start");
    vm->on_stop = take_function(L, definition, "on_stop");
    vm->describe = take_function(L, definition, "describe");
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT, 0); // what only loading needed
    lua_gc(L, LUA_GCSETPAUSE, PAUSE_SERVING);
}

// lua_pcall within the body keeps an error value that is no string, so that it can say itself what it is.
static int call_load(lua_State *L) {
    load_body(bind_vm(L), L, NULL);
    return 0;
}

static void guarded_load(struct vm *vm, lua_State *L, void *arg) {
    struct err *err = arg;
    lua_pushlightuserdata(L, vm);
    lua_pushcclosure(L, call_load, 1);
    int status = lua_pcall(L, 0, 0, 0);
    if (status == 0) return;
    if (status == LUA_ERRMEM) {
        err_set(err, STATUS_INVALID_ARGUMENT, "main.lua: %s while loading", vm_memory_text(vm));
        return;
    }
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (text == NULL && luaL_callmeta(L, -1, "__tostring")) text = lua_tostring(L, -1);
    err_set(err, STATUS_INVALID_ARGUMENT, "%s",
            text == NULL ? "main.lua raised an error that is not a text" : text);
}

int vm_load(struct vm *vm, struct err *err) {
    struct err why = {0};
    struct err *out = err == NULL ? &why : err;
    *out = (struct err){0};
    vm->loading = true;
    int status = vm_protect(vm, guarded_load, out, out);
    vm->loading = false;
    if (status != 0) out->code = STATUS_INVALID_ARGUMENT;
    return out->code == 0 ? 0 : -(int)out->code;
}

static void describe_body(struct vm *vm, lua_State *L, void *arg) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->describe);
    lua_call(L, 0, 1);
    buf_append_str(arg, bind_str(L, lua_gettop(L)));
}

int vm_describe(struct vm *vm, struct buf *out, struct err *err) {
    if (vm->describe == LUA_NOREF)
        return err_set(err, STATUS_FAILED_PRECONDITION, "the service describes nothing");
    vm->loading = true;
    int status = vm_protect(vm, describe_body, out, err);
    vm->loading = false;
    return status;
}
