// SPDX-License-Identifier: Apache-2.0
// The Lua ends of the visitor, and what a VM keeps for them. lua-api.md section 5 is the contract of the values.
//
// A `pb_lua` belongs to one lua_State and one pool, and is touched by the thread that runs the VM. It caches in the
// VM's registry: the names of fields as Lua strings, and one metatable a message type (made when first needed), which
// makes reading strict. Functions here may raise Lua errors only for memory; call them inside a protected call.
#pragma once

#include "pb/visit.h"

#include <lua.h>

struct pb_lua;

// Registers what the codec needs in L: the metatables of int64 and null, and the key proto.unknown. NULL: memory ended.
// Holds the pool. L must have the `pb_lua_open` globals set up once (several pools may share one L).
struct pb_lua *pb_lua_new(lua_State *L, struct pb_pool *pool);
void pb_lua_delete(struct pb_lua *p); // before lua_close, or after it: touches no Lua state
struct pb_pool *pb_lua_pool(const struct pb_lua *p);

// Decoding pushes one table (or what the well-known type is in Lua) onto L; on failure nothing is pushed and a negative
// status is returned with `err` filled.
int pb_lua_from_wire(struct pb_lua *p, lua_State *L, const struct pb_message *type,
                     struct str bytes, struct err *err);
int pb_lua_from_json(struct pb_lua *p, lua_State *L, const struct pb_message *type, struct str json,
                     struct err *err);

// Encoding reads the value at `index`. A fault of the value is -STATUS_INVALID_ARGUMENT and names the path, what was
// found and what is wanted: `posts.SaveResponse.id: expected string, got number (write tostring(...))`.
int pb_lua_to_wire(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                   struct buf *out, struct err *err);
int pb_lua_to_json(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                   const struct pb_json_style *style, struct buf *out, struct err *err);

// An empty message of the type with its strict metatable, pushed. `pb_lua_type`: the type of the message at `index`, NULL
// when it is no message.
void pb_lua_push_new(struct pb_lua *p, lua_State *L, const struct pb_message *type);
const struct pb_message *pb_lua_type(struct pb_lua *p, lua_State *L, int index);

// Once a lua_State: the int64 metatable (with its arithmetic), `mica.null` and the mark of JSON arrays, kept in the
// registry. pb_lua_open pushes a table with what the library exposes:
//   int64(x) -> int64            from a number, a decimal string or an int64; raises otherwise
//   compare(a, b) -> -1, 0, 1    between int64s and numbers
//   null                         the value of JSON null
//   array(t) -> t                marks a table as a list (an empty one too)
//   is_array(t) -> boolean
//   unknown                      the key under which unknown fields are kept (raw bytes)
//   json_encode(v, pretty) -> string    any plain value, keys sorted; raises with the path of what has no JSON form
//   json_decode(s) -> value             raises with the offset of the fault; null becomes mica.null
void pb_lua_open(lua_State *L);
// Pushes an int64 (a number when `force` is false and it fits in 2^53).
void pb_lua_push_i64(lua_State *L, int64_t v, bool force);
void pb_lua_push_u64(lua_State *L, uint64_t v, bool force);

// Fills in every field that is not set with its default, for `proto.complete`; pushes nothing, changes the table.
int pb_lua_complete(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                    struct err *err);
