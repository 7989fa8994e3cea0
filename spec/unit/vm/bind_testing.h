// SPDX-License-Identifier: Apache-2.0
// For the tests of binding files that need no engine: what vm/bind.h promises, on a VM of zeroes with a plain lua_State, and
// `lua_true`, which runs a piece of Lua with the table `core`.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "vm/vm_internal.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct vm VM;
static struct request REQUEST;
static bool request_is_running;

struct vm *bind_vm(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

void bind_functions(struct vm *vm, lua_State *L, const luaL_Reg *functions) {
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_pushlightuserdata(L, vm);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
}

struct str bind_str(lua_State *L, int arg) {
    struct str s;
    luaL_checktype(L, arg, LUA_TSTRING);
    s.p = lua_tolstring(L, arg, &s.n);
    return s;
}

void bind_push_str(lua_State *L, struct str s) { lua_pushlstring(L, s.n == 0 ? "" : s.p, s.n); }
int bind_raise(lua_State *L, const struct err *err) { return luaL_error(L, "%s", err->text); }
const struct vm_config *vm_configuration(const struct vm *vm) { return &vm->config; }
struct pb_lua *vm_codec_own(struct vm *vm) {
    return vm->own;
}
struct pb_lua *vm_codec_platform(struct vm *vm) {
    return vm->platform;
}
struct request *request_running(const struct vm *vm) {
    (void)vm;
    return request_is_running ? &REQUEST : NULL;
}

// Runs the text, which sees `core`; it must end without an error and return something true.
static inline void lua_true(const char *text) {
    lua_State *L = VM.L;
    if (luaL_loadstring(L, text) != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s\nin: %s", lua_tostring(L, -1), text);
    if (!lua_toboolean(L, -1)) fail_msg("not true: %s", text);
    lua_settop(L, 0);
}

// The text must raise an error that holds `part`.
static inline void lua_raises(const char *part, const char *text) {
    lua_State *L = VM.L;
    if (luaL_loadstring(L, text) != 0) fail_msg("%s", lua_tostring(L, -1));
    if (lua_pcall(L, 0, 0, 0) == 0) fail_msg("raised nothing: %s", text);
    const char *err = lua_tostring(L, -1);
    if (err == NULL || strstr(err, part) == NULL)
        fail_msg("wanted %s\ngot %s", part, err == NULL ? "(no text)" : err);
    lua_settop(L, 0);
}

// How many more allocations of the state succeed; SIZE_MAX: all.
static size_t allocations_left = SIZE_MAX;

static inline void *counted_alloc(void *unused, void *p, size_t old, size_t size) {
    (void)unused;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (size > old && allocations_left != SIZE_MAX) {
        if (allocations_left == 0) return NULL;
        allocations_left--;
    }
    return realloc(p, size);
}

static inline void open_core(void (*bind)(struct vm *vm, lua_State *L)) {
    VM.L = lua_newstate(counted_alloc, NULL);
    assert_non_null(VM.L);
    luaL_openlibs(VM.L);
    lua_newtable(VM.L);
    bind(&VM, VM.L);
    lua_setglobal(VM.L, "core");
}
