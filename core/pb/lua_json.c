// SPDX-License-Identifier: Apache-2.0
// mica.json: plain Lua data as JSON and back, with no contract involved. What has no JSON form
// (functions, NaN, a table that is neither list nor object, one that contains itself) raises with
// its path; nothing is dropped silently.
//
// Output is determined by the value: keys in the order of their bytes, numbers in the shortest form
// that reads back the same. An int64 is written as a decimal string, as protobuf's JSON does. The
// buffers belong to the garbage collector, so that an error in the midst leaks nothing.
#include "lua_internal.h"

#include "base/encode.h"
#include "json_lex.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// ---- encoding

struct step { // the path, a chain on the C stack; the root has neither key nor index
    const struct step *up;
    struct str key; // p NULL: index
    size_t index;
    int depth;
};

struct writer {
    lua_State *L;
    struct buf *out;
    bool pretty;
};

static void encode_value(struct writer *w, const struct step *at, int index);

static int fail(struct writer *w, const struct step *at, const char *text) {
    const struct step *steps[16]; // of a very deep path, the innermost
    char path[400] = "";
    size_t n = 0, used = 0;
    for (const struct step *s = at; s->up != NULL && n < 16; s = s->up) steps[n++] = s;
    while (n > 0 && used < sizeof path) {
        const struct step *s = steps[--n];
        int more = s->key.p == NULL
                       ? snprintf(path + used, sizeof path - used, "[%zu]", s->index)
                       : snprintf(path + used, sizeof path - used, "%s%.*s", used > 0 ? "." : "",
                                  (int)(s->key.n > 40 ? 40 : s->key.n), s->key.p);
        used += (size_t)more;
    }
    return luaL_error(w->L, "json: %s%s%s", path, used > 0 ? ": " : "", text);
}

static void line(struct writer *w, int depth) {
    if (!w->pretty) return;
    buf_append_byte(w->out, '\n');
    for (int i = 0; i < depth; i++) buf_append_text(w->out, "  ");
}

static int by_bytes(const void *a, const void *b) {
    const struct str *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n == 0 ? 0 : memcmp(x->p, y->p, n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

// The keys of an object, sorted, in a userdata that is pushed.
static struct str *sorted_keys(struct writer *w, const struct step *at, int index, size_t count) {
    lua_State *L = w->L;
    struct str *keys = lua_newuserdata(L, count * sizeof *keys);
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_touserdata(L, -1) == &LUA_UNKNOWN) continue; // a message's unknown fields
        if (lua_type(L, -1) != LUA_TSTRING) fail(w, at, "mixes a list and an object");
        keys[n] = lua_to_str(L, -1);
        if (!utf8_valid(keys[n])) fail(w, at, "a key is not valid UTF-8");
        n++;
    }
    qsort(keys, n, sizeof *keys, by_bytes);
    return keys;
}

static void encode_object(struct writer *w, const struct step *at, int index, size_t count) {
    lua_State *L = w->L;
    struct str *keys = sorted_keys(w, at, index, count);
    buf_append_byte(w->out, '{');
    for (size_t i = 0; i < count; i++) {
        struct step step = {.up = at, .key = keys[i], .depth = at->depth + 1};
        if (i > 0) buf_append_byte(w->out, ',');
        line(w, step.depth);
        json_put_string(w->out, keys[i]);
        buf_append_text(w->out, w->pretty ? ": " : ":");
        lua_push_str(L, keys[i]);
        lua_rawget(L, index);
        encode_value(w, &step, lua_gettop(L));
        lua_pop(L, 1);
    }
    line(w, at->depth);
    buf_append_byte(w->out, '}');
    lua_pop(L, 1);
}

static void encode_list(struct writer *w, const struct step *at, int index, size_t count) {
    lua_State *L = w->L;
    buf_append_byte(w->out, '[');
    for (size_t i = 1; i <= count; i++) {
        struct step step = {.up = at, .index = i, .depth = at->depth + 1};
        if (i > 1) buf_append_byte(w->out, ',');
        line(w, step.depth);
        lua_rawgeti(L, index, (int)i);
        if (lua_isnil(L, -1))
            fail(w, at,
                 "is neither a list (1, 2, 3 ... without holes) nor an object (all strings)");
        encode_value(w, &step, lua_gettop(L));
        lua_pop(L, 1);
    }
    if (count > 0) line(w, at->depth);
    buf_append_byte(w->out, ']');
}

static void encode_table(struct writer *w, const struct step *at, int index) {
    lua_State *L = w->L;
    size_t count = 0;
    bool numbers = lua_is_array(L, index);
    if (at->depth >= PB_MAX_DEPTH)
        fail(w, at, "nested more than 100 deep (a table that contains itself?)");
    luaL_checkstack(L, 10, "json");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_touserdata(L, -1) == &LUA_UNKNOWN) continue;
        if (lua_type(L, -1) == LUA_TNUMBER) numbers = true;
        count++;
    }
    if (numbers) {
        encode_list(w, at, index, count);
    } else if (count > 0) {
        encode_object(w, at, index, count);
    } else {
        buf_append_text(w->out, "{}");
    }
}

static void encode_number(struct writer *w, const struct step *at, double d) {
    if (!isfinite(d))
        fail(w, at, isnan(d) ? "NaN has no JSON form" : "an infinity has no JSON form");
    if (d == floor(d) && fabs(d) <= (double)LUA_EXACT && !(d == 0 && signbit(d))) {
        json_put_i64(w->out, (int64_t)d);
    } else {
        json_put_double(w->out, d);
    }
}

static void encode_value(struct writer *w, const struct step *at, int index) {
    lua_State *L = w->L;
    char text[60];
    int128 wide;
    switch (lua_type(L, index)) {
    case LUA_TTABLE: encode_table(w, at, index); return;
    case LUA_TSTRING:
        if (!utf8_valid(lua_to_str(L, index)))
            fail(w, at, "is not valid UTF-8 (encode bytes as base64)");
        json_put_string(w->out, lua_to_str(L, index));
        return;
    case LUA_TNUMBER: encode_number(w, at, lua_tonumber(L, index)); return;
    case LUA_TBOOLEAN: buf_append_text(w->out, lua_toboolean(L, index) ? "true" : "false"); return;
    default: break;
    }
    if (lua_isnil(L, index) || lua_is_null(L, index)) {
        buf_append_text(w->out, "null");
    } else if (lua_int64_get(L, index, &wide)) {
        size_t n = lua_int64_format(wide, text);
        json_put_string(w->out, (struct str){text, n});
    } else {
        snprintf(text, sizeof text, "a %s has no JSON form", lua_kind(L, index));
        fail(w, at, text);
    }
}

int lua_json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 2);
    struct writer w = {.L = L, .out = lua_push_buf(L), .pretty = lua_toboolean(L, 2)};
    struct step root = {.up = NULL};
    encode_value(&w, &root, 1);
    if (w.out->failed) return luaL_error(L, "not enough memory");
    lua_push_str(L, buf_str(w.out));
    buf_free(w.out);
    return 1;
}

// ---- decoding

static void decode_value(lua_State *L, struct json_lex *lex, enum json_token token);

static int fail_at(lua_State *L, struct json_lex *lex, const char *text) {
    unsigned row, column;
    json_position(lex, lex->offset, &row, &column);
    char place[80];
    snprintf(place, sizeof place, "offset %zu (line %u, column %u)", lex->offset, row, column);
    return luaL_error(L, "json: %s at %s", text, place);
}

static void decode_object(lua_State *L, struct json_lex *lex) {
    lua_newtable(L);
    for (enum json_token token = json_next(lex); token != JSON_OBJECT_END; token = json_next(lex)) {
        if (token != JSON_KEY) fail_at(L, lex, token == JSON_ERROR ? lex->error : "expected a key");
        lua_push_str(L, lex->text);
        decode_value(L, lex, json_next(lex));
        lua_rawset(L, -3);
    }
}

static void decode_list(lua_State *L, struct json_lex *lex) {
    int n = 0;
    lua_newtable(L);
    for (enum json_token token = json_next(lex); token != JSON_ARRAY_END; token = json_next(lex)) {
        decode_value(L, lex, token);
        lua_rawseti(L, -2, ++n);
    }
    lua_mark_array(L);
}

static void decode_value(lua_State *L, struct json_lex *lex, enum json_token token) {
    double d;
    if (lex->depth > PB_MAX_DEPTH) fail_at(L, lex, "nested more than 100 deep");
    luaL_checkstack(L, 10, "json");
    switch (token) {
    case JSON_OBJECT: decode_object(L, lex); break;
    case JSON_ARRAY: decode_list(L, lex); break;
    case JSON_STRING: lua_push_str(L, lex->text); break;
    case JSON_NUMBER:
        if (!json_double(lex->text, &d)) fail_at(L, lex, "the number is out of range");
        lua_pushnumber(L, d);
        break;
    case JSON_TRUE:
    case JSON_FALSE: lua_pushboolean(L, token == JSON_TRUE); break;
    case JSON_NULL: lua_push_null(L); break;
    case JSON_ERROR: fail_at(L, lex, lex->error); break;
    default: fail_at(L, lex, "expected a value"); break;
    }
}

int lua_json_decode(lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_settop(L, 1);
    struct buf *scratch = lua_push_buf(L);
    struct json_lex lex;
    json_lex_init(&lex, lua_to_str(L, 1), scratch);
    decode_value(L, &lex, json_next(&lex));
    if (json_next(&lex) != JSON_END) fail_at(L, &lex, lex.error);
    buf_free(scratch);
    return 1;
}
