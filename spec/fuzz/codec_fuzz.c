// SPDX-License-Identifier: Apache-2.0
// The codec on binary input: a byte that chooses the type, then the message.
//
//   - What is accepted is written again, through the wire sink and through Lua; both forms are accepted, and stay as they are
//     when they are read and written once more.
//   - JSON that was written is read again, and written again it is the same text.
#include "fuzz.h"

#include "pb/lua.h"

#include <lauxlib.h>

static lua_State *L;
static struct pb_lua *lua;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    L = luaL_newstate();
    must(L != NULL);
    pb_lua_open(L);
    lua_settop(L, 0);
    lua = pb_lua_new(L, fixture_pool());
    must(lua != NULL);
    return 0;
}

static int straight(const struct pb_message *type, struct str in, struct buf *out) {
    struct err err = {0};
    struct pb_wire_sink sink;
    pb_wire_sink_init(&sink, out, &err);
    return pb_read_wire(type, in, &sink.sink);
}

static int by_lua(const struct pb_message *type, struct str in, struct buf *out, struct err *err) {
    int rc = pb_lua_from_wire(lua, L, type, in, err);
    if (rc == 0) rc = pb_lua_to_wire(lua, L, -1, type, out, err);
    lua_settop(L, 0);
    return rc;
}

// Whether the fault is one of depth, which is counted differently where messages are inside of an Any.
static bool too_deep(const struct err *err) {
    return strstr(err->text, "nested") != NULL || strstr(err->text, "too deep") != NULL;
}

static void through_json(const struct pb_message *type, struct str wire,
                         const struct pb_json_style *style) {
    struct err err = {0};
    struct buf first = {0}, second = {0}, back = {0};
    if (pb_wire_to_json(fixture_pool(), type, wire, style, &first, &err) == 0) {
        int rc = pb_json_to_wire(fixture_pool(), type, buf_str(&first), &back, &err);
        must(rc == 0 || too_deep(&err));
        if (rc == 0) {
            rc = pb_wire_to_json(fixture_pool(), type, buf_str(&back), style, &second, &err);
            must(rc == 0 && str_equal(buf_str(&first), buf_str(&second)));
        }
    }
    buf_free(&first);
    buf_free(&second);
    buf_free(&back);
}

static void through_lua(const struct pb_message *type, struct str in) {
    struct err err = {0};
    struct buf first = {0}, second = {0};
    // Refused though the bytes are sound: integers that [jstype] excludes, and what Lua cannot hold.
    if (by_lua(type, in, &first, &err) == 0) {
        must(by_lua(type, buf_str(&first), &second, &err) == 0);
        must(str_equal(buf_str(&first), buf_str(&second)));
    }
    buf_free(&first);
    buf_free(&second);
    static unsigned turns;
    if (++turns % 512 == 0) lua_gc(L, LUA_GCCOLLECT, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    const struct pb_message *type = fixture_type(input_byte(&in));
    struct str wire = input_rest(&in);
    char *copy = input_copy(wire);
    wire.p = copy;
    struct buf first = {0}, second = {0};
    if (straight(type, wire, &first) == 0) {
        must(straight(type, buf_str(&first), &second) == 0);
        must(str_equal(buf_str(&first), buf_str(&second)));
        through_json(type, wire, &PB_JSON_PROTO);
        through_json(type, wire, &PB_JSON_MICRO);
    }
    through_lua(type, wire);
    buf_free(&first);
    buf_free(&second);
    free(copy);
    return 0;
}
