// SPDX-License-Identifier: Apache-2.0
// What the Lua ends of the codec share: the registry's keys, int64 values, type tables, the
// encoder's state and its error paths. Everything here runs on the VM's thread inside a protected
// call.
#pragma once

#include "pb/lua.h"

#include <lauxlib.h>

typedef __int128 int128; // holds every int64 and uint64, and their sums

struct pb_lua {
    struct pb_pool *pool;
    int types; // registry reference: [message.index + 1] -> metatable, [metatable] -> message
    unsigned char *ready; // by message.index: the metatable has been made
    uint16_t *hint;       // by message.index: how many keys a decoded table usually has
    // What a conversion holds outside of Lua's memory. A memory error may leave the conversion in the midst: then it is
    // freed when the next one begins.
    struct buf wire;
    struct pb_json_sink *json;
    struct json_reader *reader;
};

// Addresses that serve as keys of the registry, and as the values null and unknown.
extern const char LUA_KEY_INT64, LUA_KEY_INTERNED, LUA_KEY_ARRAY, LUA_KEY_BUF;
extern const char LUA_NULL, LUA_UNKNOWN;

#define LUA_EXACT 9007199254740992LL // 2^53: up to it a number holds every integer

static inline void lua_push_null(lua_State *L) { lua_pushlightuserdata(L, (void *)&LUA_NULL); }
static inline void lua_push_unknown(lua_State *L) {
    lua_pushlightuserdata(L, (void *)&LUA_UNKNOWN);
}
static inline bool lua_is_null(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == &LUA_NULL;
}
static inline void lua_push_str(lua_State *L, struct str s) { lua_pushlstring(L, s.p, s.n); }
static inline struct str lua_to_str(lua_State *L,
                                    int index) { // of a string: numbers would be changed in place
    struct str s;
    s.p = lua_tolstring(L, index, &s.n);
    return s;
}

// ---- lua_open.c
void lua_push_key(lua_State *L, const char *key); // what the registry holds under the key
bool lua_has_metatable(lua_State *L, int index, const char *key);
struct buf *
lua_push_buf(lua_State *L);        // a buffer that the garbage collector frees, whatever happens
void lua_mark_array(lua_State *L); // the table on top
bool lua_is_array(lua_State *L, int index);
const char *lua_kind(lua_State *L,
                     int index); // the name of a value's type, int64 and null included

// ---- lua_int64.c
void lua_int64_open(lua_State *L);           // makes the metatable and the table of interned values
void lua_int64_push(lua_State *L, int128 v); // an int64, whatever its size; v is in range
bool lua_int64_get(lua_State *L, int index, int128 *v); // false: no int64
bool lua_int64_parse(struct str text, int128 *v); // a decimal of any sign within int64 and uint64
bool lua_int64_from_number(double d, int128 *v);  // false: not integral or beyond 64 bits
size_t lua_int64_format(int128 v, char text[24]);
int lua_int64_make(lua_State *L); // the Lua functions int64 and compare
int lua_int64_compare(lua_State *L);

// ---- lua_json.c
int lua_json_encode(lua_State *L);
int lua_json_decode(lua_State *L);

// ---- lua_types.c
// Frees what a conversion held, or an earlier one that did not come to its end.
void lua_release(struct pb_lua *p);
// Pushes the metatable of a type; its array part holds the names of the fields by field.index + 1
// and, after them, of the oneofs. `types` is the stack index of the types table.
void lua_push_types(struct pb_lua *p, lua_State *L);
void lua_push_type(struct pb_lua *p, lua_State *L, int types, const struct pb_message *type);
void lua_push_zero(lua_State *L,
                   const struct pb_field *field); // the zero value of a scalar or an enum
void lua_push_integer(lua_State *L, const struct pb_field *field,
                      union pb_value v); // a 64-bit field's value

// ---- the encoder: lua_read.c, lua_scalar.c, lua_keys.c, lua_known.c
struct lua_reader {
    struct pb_lua *p;
    lua_State *L;
    struct pb_sink *sink;
    const struct pb_message *root;
    struct err *err;
    int types; // stack index of the types table
    int depth;
};

// Where the encoder is: a chain on the C stack.
struct lua_place {
    const struct lua_place *up;
    const struct pb_field *field; // NULL inside a Value or Struct
    enum { PLACE_WHOLE, PLACE_INDEX, PLACE_NUMBER, PLACE_TEXT } kind;
    long long number; // PLACE_INDEX from 1, PLACE_NUMBER the key of a map
    struct str text;
};

struct lua_key { // a key of a map, with what sorts it and what finds it again
    union pb_value v;
    enum { KEY_NUMBER, KEY_TEXT, KEY_BOOL, KEY_INT64 } kind;
    bool big; // of KEY_INT64: v.u counts, not v.i (int128 is aligned wider than Lua's memory)
    double number;
    struct str text;
};

int lua_fail(struct lua_reader *r, const struct lua_place *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// "expected <wanted>, got <what is at index>", with what to write instead where that is plain.
int lua_fail_type(struct lua_reader *r, const struct lua_place *at, const char *wanted, int index);

// How a number is written in an error text; `text` is the room for it.
const char *lua_number_text(double d, char text[32]);

// All read the value at the absolute `index` and leave the stack as it was (unless they fail).
int lua_read_scalar(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                    int index, union pb_value *v);
bool lua_scalar_is_zero(const struct pb_field *field, union pb_value v);
int lua_read_message(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     const struct pb_message *type, int index);
int lua_read_known(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                   const struct pb_message *type, int index);
int lua_read_fields(struct lua_reader *r, const struct lua_place *at, const struct pb_message *type,
                    int index);
int lua_read_map(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                 int index);
// The length of a sequence without holes; an error names the first fault.
int lua_read_length(struct lua_reader *r, const struct lua_place *at, int index, size_t *n);
// The keys of the table in order, in memory of Lua that is pushed. `field`: the key field of a map;
// NULL: strings.
int lua_read_keys(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                  int index, struct lua_key **keys, size_t *n);
void lua_push_map_key(lua_State *L, const struct lua_key *key);
struct lua_place lua_key_place(const struct lua_place *up, const struct pb_field *map,
                               const struct lua_key *key);
// The events around a message, counting the depth.
int lua_read_open(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                  const struct pb_message *type);
int lua_read_close(struct lua_reader *r);
