// SPDX-License-Identifier: Apache-2.0
// The JSON readers: a byte that chooses the type, then the text.
//
//   - Text that is accepted is written again, and that text is accepted and stays as it is.
//   - The way through Lua makes the same text.
//   - 255: plain values, as mica.json has them.
#include "fuzz.h"

#include "pb/json_lex.h"
#include "pb/lua.h"

#include <lauxlib.h>
#include <lualib.h>

static lua_State *L;
static struct pb_lua *lua;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    L = luaL_newstate();
    must(L != NULL);
    luaopen_base(L);
    pb_lua_open(L);
    lua_setglobal(L, "pb");
    lua_settop(L, 0);
    lua = pb_lua_new(L, fixture_pool());
    must(lua != NULL);
    return 0;
}

static bool well_formed(struct str text) {
    struct json_lex lex;
    struct buf scratch = {0};
    json_lex_init(&lex, text, &scratch);
    bool whole = json_skip(&lex, json_next(&lex)) && json_next(&lex) == JSON_END;
    buf_free(&scratch);
    return whole;
}

static void through_lua(const struct pb_message *type, struct str text, struct str wanted) {
    struct err err = {0};
    struct buf out = {0};
    if (pb_lua_from_json(lua, L, type, text, &err) == 0) {
        // What Lua holds can be out of the range of JSON only where the text was, too.
        int rc = pb_lua_to_json(lua, L, -1, type, &PB_JSON_PROTO, &out, &err);
        must(rc == 0 && str_equal(buf_str(&out), wanted));
    }
    lua_settop(L, 0);
    buf_free(&out);
}

static void typed(const struct pb_message *type, struct str text) {
    struct err err = {0};
    struct buf wire = {0}, first = {0}, again = {0}, second = {0};
    struct pb_pool *pool = fixture_pool();
    if (pb_json_to_wire(pool, type, text, &wire, &err) == 0) {
        must(well_formed(text));
        must(pb_wire_to_json(pool, type, buf_str(&wire), &PB_JSON_PROTO, &first, &err) == 0);
        must(pb_json_to_wire(pool, type, buf_str(&first), &again, &err) == 0);
        must(pb_wire_to_json(pool, type, buf_str(&again), &PB_JSON_PROTO, &second, &err) == 0);
        must(str_equal(buf_str(&first), buf_str(&second)));
        through_lua(type, text, buf_str(&first));
    }
    buf_free(&wire);
    buf_free(&first);
    buf_free(&again);
    buf_free(&second);
}

// pb.json_encode(pb.json_decode(text)), as a string at the top; false: refused.
static bool decode_encode(struct str text) {
    lua_getglobal(L, "pb");
    lua_getfield(L, -1, "json_encode");
    lua_getfield(L, -2, "json_decode");
    lua_pushlstring(L, text.p, text.n);
    if (lua_pcall(L, 1, 1, 0) != 0) return false;
    must(lua_pcall(L, 1, 1, 0) == 0);
    return true;
}

static void plain(struct str text) {
    if (decode_encode(text)) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        struct str first = {p, n};
        must(well_formed(text) && well_formed(first));
        must(decode_encode(first));
        p = lua_tolstring(L, -1, &n);
        must(str_equal(first, (struct str){p, n}));
    }
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT,
           0); // buffers are owned by userdata, which the leak checker does not see
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    uint8_t choice = input_byte(&in);
    struct str text = input_rest(&in);
    char *copy = input_copy(text);
    text.p = copy;
    if (choice == 255) {
        plain(text);
    } else {
        typed(fixture_type(choice), text);
    }
    free(copy);
    static unsigned turns;
    if (++turns % 512 == 0) lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}
