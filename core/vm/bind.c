// SPDX-License-Identifier: Apache-2.0
// What the binding files share, and the table `core` put together from them.
//
// Every C function that Lua can reach is a closure whose first upvalue is its VM, so that no global and no registry look-up
// stands between a call and what it works on. Only the thread that runs the VM gets here.
#include "vm/bindings.h"
#include "vm/vm_internal.h"

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
    if (vm->own == NULL) vm->own = pb_lua_new(vm->L, vm->config.source->pool);
    if (vm->own == NULL) luaL_error(vm->L, "not enough memory");
    return vm->own;
}

struct pb_lua *vm_codec_platform(struct vm *vm) {
    if (vm->platform == NULL) vm->platform = pb_lua_new(vm->L, vm->config.host->platform);
    if (vm->platform == NULL) luaL_error(vm->L, "not enough memory");
    return vm->platform;
}

void bindings_push(struct vm *vm, lua_State *L) {
    lua_newtable(L);
    bind_proto(vm, L);
    bind_values(vm, L);
    bind_tasks(vm, L);
    bind_calls(vm, L);
    bind_files(vm, L);
}
