// SPDX-License-Identifier: Apache-2.0
// Encoding, part three: sequences and the keys of maps. Maps are written in the order of their
// keys, so that equal messages have equal bytes; the keys are collected into a userdata (memory
// that a Lua error frees) and sorted there. Texts of keys are borrowed from the table, which nobody
// changes meanwhile.
#include "lua_internal.h"

#include "base/encode.h"

#include <math.h>
#include <stdlib.h>

// ---- sequences

// Which key makes the table no sequence of length n; the count of keys says that there is one.
static int fail_sequence(struct lua_reader *r, const struct lua_place *at, int index, size_t n) {
    lua_State *L = r->L;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING) {
            struct str key = lua_to_str(L, -1);
            return lua_fail(r, at, "a list has no key \"%.*s\"", (int)(key.n > 40 ? 40 : key.n),
                            key.p);
        }
        double d = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0.5;
        if (d != floor(d) || d < 1) return lua_fail(r, at, "a list has only the keys 1, 2, 3 ...");
    }
    struct lua_place hole = *at;
    hole.kind = PLACE_INDEX;
    hole.number = (long long)n + 1;
    return lua_fail(r, &hole, "is nil, but later elements are not (a list has no holes)");
}

int lua_read_length(struct lua_reader *r, const struct lua_place *at, int index, size_t *n) {
    lua_State *L = r->L;
    size_t keys = 0, border = lua_objlen(L, index);
    if (!lua_checkstack(L, 10)) return lua_fail(r, at, "nested too deep");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        keys++;
        lua_pop(L, 1);
    }
    for (size_t i = 1; i <= border && keys != border; i++) { // the border may lie behind a hole
        lua_rawgeti(L, index, (int)i);
        bool hole = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (hole) border = i - 1;
    }
    if (keys != border) return fail_sequence(r, at, index, border);
    *n = border;
    return 0;
}

// ---- keys

static int by_text(const void *a, const void *b) {
    const struct lua_key *x = a, *y = b;
    size_t n = x->v.s.n < y->v.s.n ? x->v.s.n : y->v.s.n;
    int order = n == 0 ? 0 : memcmp(x->v.s.p, y->v.s.p, n);
    return order != 0 ? order : (x->v.s.n > y->v.s.n) - (x->v.s.n < y->v.s.n);
}

static int by_signed(const void *a, const void *b) {
    const struct lua_key *x = a, *y = b;
    return (x->v.i > y->v.i) - (x->v.i < y->v.i);
}

static int by_unsigned(const void *a, const void *b) {
    const struct lua_key *x = a, *y = b;
    return (x->v.u > y->v.u) - (x->v.u < y->v.u);
}

typedef int compare_keys(const void *a, const void *b);

static compare_keys *comparator(const struct pb_field *field) {
    if (field == NULL || field->type == PB_STRING) return by_text;
    bool is_unsigned = field->type == PB_UINT64 || field->type == PB_FIXED64;
    return is_unsigned ? by_unsigned : by_signed;
}

// The key on top of the stack.
static int read_key(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                    struct lua_key *key) {
    lua_State *L = r->L;
    int index = lua_gettop(L);
    int128 wide;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        key->kind = KEY_TEXT;
        key->text = lua_to_str(L, index);
        break;
    case LUA_TNUMBER:
        key->kind = KEY_NUMBER;
        key->number = lua_tonumber(L, index);
        break;
    case LUA_TBOOLEAN: key->kind = KEY_BOOL; break;
    default: key->kind = KEY_INT64; key->big = lua_int64_get(L, index, &wide) && wide > INT64_MAX;
    }
    if (field != NULL) {
        struct lua_place place = *at;
        if (key->kind == KEY_TEXT) {
            place.kind = PLACE_TEXT;
            place.text = key->text;
        }
        return lua_read_scalar(r, &place, field, index, &key->v);
    }
    if (key->kind != KEY_TEXT) {
        return lua_fail(r, at, "the keys of an object are strings, but one is a %s",
                        lua_kind(L, index));
    }
    key->v.s = key->text;
    if (!utf8_valid(key->text)) return lua_fail(r, at, "a key is not valid UTF-8");
    return 0;
}

int lua_read_keys(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                  int index, struct lua_key **keys, size_t *n) {
    lua_State *L = r->L;
    size_t count = 0, used = 0;
    if (!lua_checkstack(L, 10)) return lua_fail(r, at, "nested too deep");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        count++;
        lua_pop(L, 1);
    }
    *keys = lua_newuserdata(L, count * sizeof **keys + 1);
    *n = count;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        int rc = read_key(r, at, field, &(*keys)[used++]);
        if (rc < 0) return rc;
    }
    compare_keys *compare = comparator(field);
    qsort(*keys, count, sizeof **keys, compare);
    for (size_t i = 1; i < count;
         i++) { // 5, "5" and int64(5) are three keys of Lua, but one of a map
        if (compare(&(*keys)[i - 1], &(*keys)[i]) != 0) continue;
        struct lua_place place = lua_key_place(at->up, at->field, &(*keys)[i]);
        return lua_fail(r, &place, "the key is there twice");
    }
    return 0;
}

void lua_push_map_key(lua_State *L, const struct lua_key *key) {
    switch (key->kind) {
    case KEY_NUMBER: lua_pushnumber(L, key->number); break;
    case KEY_TEXT: lua_push_str(L, key->text); break;
    case KEY_BOOL: lua_pushboolean(L, key->v.i != 0); break;
    case KEY_INT64: lua_int64_push(L, key->big ? (int128)key->v.u : (int128)key->v.i); break;
    }
}

struct lua_place lua_key_place(const struct lua_place *up, const struct pb_field *map,
                               const struct lua_key *key) {
    struct lua_place place = {.up = up, .field = map};
    if (key->kind == KEY_TEXT) {
        place.kind = PLACE_TEXT;
        place.text = key->text;
    } else {
        place.kind = PLACE_NUMBER;
        place.number = key->v.i;
    }
    return place;
}
