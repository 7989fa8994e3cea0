// SPDX-License-Identifier: Apache-2.0
// What the binding files (bind_*.c) share: each adds its functions to the table `core` (bindings.h), which is on the top of
// the stack, with the VM as upvalue 1.
#pragma once

#include "base/log.h"
#include "pb/lua.h"
#include "vm/vm.h"

#include <lauxlib.h>

struct vm *bind_vm(lua_State *L); // upvalue 1 of the running C function
void bind_functions(struct vm *vm, lua_State *L,
                    const luaL_Reg *functions); // into the table on the top
struct str bind_str(lua_State *L, int arg);     // a string argument; raises otherwise
void bind_push_str(lua_State *L, struct str s);
int bind_raise(
    lua_State *L,
    const struct err *err); // raises err->text as a plain text with position; never returns

const struct vm_config *vm_configuration(const struct vm *vm); // strings live as long as the VM
struct pb_lua *vm_codec_own(struct vm *vm);      // the codec of the service's contract
struct pb_lua *vm_codec_platform(struct vm *vm); // of the platform's

void bind_proto(
    struct vm *vm,
    lua_State *L); // bind_proto.c: contract, fields, enum_values, encode ... type, proto
void bind_values(struct vm *vm, lua_State *L); // bind_values.c: time, random, crypto, log, metrics
void bind_tasks(struct vm *vm, lua_State *L);  // bind_tasks.c: tasks and requests
void bind_calls(struct vm *vm, lua_State *L);  // bind_calls.c: calls and streams
void bind_files(struct vm *vm, lua_State *L);  // bind_files.c: identity, files, library, compile
