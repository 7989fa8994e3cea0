// SPDX-License-Identifier: Apache-2.0
// What a VM has once for all its pools: the registry's entries, the values null and unknown, the
// mark of arrays, and the table of functions that the library builds mica.json, mica.int64 and
// mica.null from.
//
// null and unknown are light userdata at addresses of this file. No pointer that comes from a VM is
// ever followed: a service can hand these values around, but not make others.
#include "lua_internal.h"

const char LUA_KEY_INT64 = 'i', LUA_KEY_INTERNED = 'n', LUA_KEY_ARRAY = 'a', LUA_KEY_BUF = 'b';
const char LUA_NULL = '0', LUA_UNKNOWN = 'u';

void lua_push_key(lua_State *L, const char *key) {
    lua_pushlightuserdata(L, (void *)key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

bool lua_has_metatable(lua_State *L, int index, const char *key) {
    if (!lua_getmetatable(L, index)) return false;
    lua_push_key(L, key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static int buf_gc(lua_State *L) {
    buf_free(lua_touserdata(L, 1));
    return 0;
}

struct buf *lua_push_buf(lua_State *L) {
    struct buf *b = lua_newuserdata(L, sizeof *b);
    *b = (struct buf){0};
    lua_push_key(L, &LUA_KEY_BUF);
    lua_setmetatable(L, -2);
    return b;
}

void lua_mark_array(lua_State *L) {
    lua_push_key(L, &LUA_KEY_ARRAY);
    lua_setmetatable(L, -2);
}

bool lua_is_array(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TTABLE && lua_has_metatable(L, index, &LUA_KEY_ARRAY);
}

const char *lua_kind(lua_State *L, int index) {
    if (lua_is_null(L, index)) return "null";
    if (lua_type(L, index) == LUA_TUSERDATA && lua_has_metatable(L, index, &LUA_KEY_INT64))
        return "int64";
    return luaL_typename(L, index);
}

static int array(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        if (!lua_is_array(L, 1))
            return luaL_error(L, "array: the table has a metatable of its own");
    }
    lua_settop(L, 1);
    lua_mark_array(L);
    return 1;
}

static int is_array(lua_State *L) {
    lua_pushboolean(L, lua_gettop(L) > 0 && lua_is_array(L, 1));
    return 1;
}

static int constant_tostring(lua_State *L) {
    if (lua_is_null(L, 1)) {
        lua_pushliteral(L, "null");
    } else if (lua_touserdata(L, 1) == &LUA_UNKNOWN) {
        lua_pushliteral(L, "proto.unknown");
    } else {
        lua_pushfstring(L, "userdata: %p", lua_touserdata(L, 1));
    }
    return 1;
}

// A metatable under `key` in the registry, with one method and a text for getmetatable.
static void make_metatable(lua_State *L, const char *key, const char *method,
                           lua_CFunction function, const char *text) {
    lua_pushlightuserdata(L, (void *)key);
    lua_newtable(L);
    if (function != NULL) {
        lua_pushcfunction(L, function);
        lua_setfield(L, -2, method);
    }
    lua_pushstring(L, text);
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void open_once(lua_State *L) {
    make_metatable(L, &LUA_KEY_ARRAY, NULL, NULL, "array");
    make_metatable(L, &LUA_KEY_BUF, "__gc", buf_gc, "buf");
    lua_push_null(L); // all light userdata share one metatable
    lua_newtable(L);
    lua_pushcfunction(L, constant_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "constant");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    lua_int64_open(L);
}

void pb_lua_open(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"int64", lua_int64_make},
        {"compare", lua_int64_compare},
        {"array", array},
        {"is_array", is_array},
        {"json_encode", lua_json_encode},
        {"json_decode", lua_json_decode},
    };
    lua_push_key(L, &LUA_KEY_BUF);
    bool fresh = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (fresh) open_once(L);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_push_null(L);
    lua_setfield(L, -2, "null");
    lua_push_unknown(L);
    lua_setfield(L, -2, "unknown");
}
