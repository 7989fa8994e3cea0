// SPDX-License-Identifier: Apache-2.0
// The codec over standard input, for tests in other languages (spec/e2e/codec_differential.py,
// spec/conformance/run.py).
//
// A command is a line, and so is its answer: `ok <hex>` or `err <CODE> <text>`. "-" stands for no
// bytes.
//   load <path>          a serialized FileDescriptorSet; comes first
//   <op> <type> <hex>    a conversion of the bytes:
//     lua       binary -> Lua -> binary
//     wire      binary -> binary, by the reader and the sink alone
//     proto     binary -> ProtoJSON
//     micro     binary -> Micro's JSON
//     pretty    binary -> Micro's JSON on many lines
//     read      JSON -> binary
//     lenient   JSON -> binary, unknown fields and enum names ignored
//     json      JSON -> Micro's JSON, straight
//     lua_json  JSON -> Lua -> Micro's JSON
//     lua_read  JSON -> Lua -> binary
//     query     a query string -> JSON
//   script - <hex>       a Lua chunk or expression; the answer is its value as a text, or
//                        "error: <text>". It sees, with types by name:
//     decode(type, bytes), fromjson(type, text) -> value
//     encode(type, value) -> bytes; tojson(type, value) -> ProtoJSON
//     complete(type, value) -> value; show(value) -> text, keys in order
//     pb: what pb_lua_open gives
#include "base/encode.h"
#include "pb/lua.h"
#include "pb/form.h"
#include "pb/visit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

struct driver {
    struct pb_pool *pool;
    lua_State *L;
    struct pb_lua *lua;
};

// ---- scripts

static const char PRELUDE[] =
    "function show(v)\n"
    "  if type(v) == 'string' then return string.format('%q', v) end\n"
    "  if type(v) ~= 'table' then return tostring(v) end\n"
    "  local parts, n = {}, #v\n"
    "  for i = 1, n do parts[i] = show(v[i]) end\n"
    "  local named = {}\n"
    "  for k, item in pairs(v) do\n"
    "    if type(k) ~= 'number' or k < 1 or k > n then\n"
    "      named[#named + 1] = (type(k) == 'string' and k or '[' .. tostring(k) .. ']') .. '=' .. "
    "show(item)\n"
    "    end\n"
    "  end\n"
    "  table.sort(named)\n"
    "  for _, text in ipairs(named) do parts[#parts + 1] = text end\n"
    "  return '{' .. table.concat(parts, ', ') .. '}'\n"
    "end\n";

enum script_call { DECODE, FROM_JSON, ENCODE, TO_JSON, COMPLETE };

static int script_convert(struct driver *d, enum script_call call, const struct pb_message *type,
                          struct buf *out, struct err *err) {
    size_t n = 0;
    const char *p = call <= FROM_JSON ? luaL_checklstring(d->L, 2, &n) : NULL;
    switch (call) {
    case DECODE: return pb_lua_from_wire(d->lua, d->L, type, (struct str){p, n}, err);
    case FROM_JSON: return pb_lua_from_json(d->lua, d->L, type, (struct str){p, n}, err);
    case ENCODE: return pb_lua_to_wire(d->lua, d->L, 2, type, out, err);
    case TO_JSON: return pb_lua_to_json(d->lua, d->L, 2, type, &PB_JSON_PROTO, out, err);
    case COMPLETE: break;
    }
    return pb_lua_complete(d->lua, d->L, 2, type, err);
}

static int script_function(lua_State *L) {
    struct driver *d = lua_touserdata(L, lua_upvalueindex(1));
    enum script_call call = (enum script_call)lua_tointeger(L, lua_upvalueindex(2));
    const struct pb_message *type = pb_find_message(d->pool, str_of(luaL_checkstring(L, 1)));
    if (type == NULL) return luaL_error(L, "no type %s", lua_tostring(L, 1));
    struct err err = {0};
    struct buf out = {0};
    int rc = script_convert(d, call, type, &out, &err);
    if (rc == 0 && (call == ENCODE || call == TO_JSON)) lua_pushlstring(L, buf_cstr(&out), out.n);
    buf_free(&out);
    if (rc == 0) return 1; // what was pushed, or for complete its argument
    lua_pushstring(L, err.text);
    return lua_error(L);
}

static void open_scripts(struct driver *d) {
    static const char *const NAMES[] = {"decode", "fromjson", "encode", "tojson", "complete"};
    for (int i = 0; i < (int)(sizeof NAMES / sizeof NAMES[0]); i++) {
        lua_pushlightuserdata(d->L, d);
        lua_pushinteger(d->L, i);
        lua_pushcclosure(d->L, script_function, 2);
        lua_setglobal(d->L, NAMES[i]);
    }
    if (luaL_dostring(d->L, PRELUDE) != 0) fprintf(stderr, "%s\n", lua_tostring(d->L, -1));
}

static void script(struct driver *d, struct str source, struct buf *out) {
    struct buf expression = {0};
    buf_append_text(&expression, "return ");
    buf_append_str(&expression, source);
    int rc = luaL_loadbuffer(d->L, buf_cstr(&expression), expression.n, "=script");
    if (rc != 0) rc = luaL_loadbuffer(d->L, source.p, source.n, "=script");
    buf_free(&expression);
    if (rc == 0) rc = lua_pcall(d->L, 0, 1, 0);
    if (rc != 0) buf_append_text(out, "error: ");
    lua_getglobal(d->L, "tostring");
    lua_insert(d->L, -2);
    lua_call(d->L, 1, 1);
    size_t n;
    const char *text = lua_tolstring(d->L, -1, &n);
    buf_append(out, text, n);
    lua_settop(d->L, 0);
}

// ---- conversions

static int load(struct driver *d, const char *path, struct err *err) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return err_set(err, STATUS_NOT_FOUND, "%s cannot be read", path);
    struct buf bytes = {0};
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, file)) > 0) buf_append(&bytes, part, n);
    fclose(file);
    struct blob *set = buf_take(&bytes);
    if (set != NULL) d->pool = pb_pool_new(set, err);
    blob_drop(set);
    if (d->pool == NULL) return -STATUS_INVALID_ARGUMENT;
    d->L = luaL_newstate();
    luaL_openlibs(d->L);
    pb_lua_open(d->L);
    lua_setglobal(d->L, "pb");
    open_scripts(d);
    lua_settop(d->L, 0);
    d->lua = pb_lua_new(d->L, d->pool);
    return d->lua == NULL ? err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory") : 0;
}

static int by_lua(struct driver *d, const struct pb_message *type, struct str in, bool json,
                  bool to_json, struct buf *out, struct err *err) {
    int rc = json ? pb_lua_from_json(d->lua, d->L, type, in, err)
                  : pb_lua_from_wire(d->lua, d->L, type, in, err);
    if (rc == 0) {
        rc = to_json ? pb_lua_to_json(d->lua, d->L, -1, type, &PB_JSON_MICRO, out, err)
                     : pb_lua_to_wire(d->lua, d->L, -1, type, out, err);
    }
    lua_settop(d->L, 0);
    return rc;
}

static int straight(const struct pb_message *type, struct str in, struct buf *out,
                    struct err *err) {
    struct pb_wire_sink sink;
    pb_wire_sink_init(&sink, out, err);
    return pb_read_wire(type, in, &sink.sink);
}

static int lenient(struct driver *d, const struct pb_message *type, struct str in, struct buf *out,
                   struct err *err) {
    const struct pb_json_options options = {.ignore_unknown = true};
    struct pb_wire_sink sink;
    pb_wire_sink_init(&sink, out, err);
    return pb_read_json(d->pool, type, in, &options, &sink.sink);
}

static int json_to_json(struct driver *d, const struct pb_message *type, struct str in,
                        struct buf *out, struct err *err) {
    struct pb_json_sink *sink = pb_json_sink_new(d->pool, &PB_JSON_MICRO, out, err);
    if (sink == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    int rc = pb_read_json(d->pool, type, in, NULL, pb_json_sink(sink));
    pb_json_sink_delete(sink);
    return rc;
}

static int convert(struct driver *d, const char *op, const struct pb_message *type, struct str in,
                   struct buf *out, struct err *err) {
    static const struct pb_json_style PRETTY = {.pretty = true};
    if (strcmp(op, "lua") == 0) return by_lua(d, type, in, false, false, out, err);
    if (strcmp(op, "wire") == 0) return straight(type, in, out, err);
    if (strcmp(op, "proto") == 0)
        return pb_wire_to_json(d->pool, type, in, &PB_JSON_PROTO, out, err);
    if (strcmp(op, "micro") == 0)
        return pb_wire_to_json(d->pool, type, in, &PB_JSON_MICRO, out, err);
    if (strcmp(op, "pretty") == 0) return pb_wire_to_json(d->pool, type, in, &PRETTY, out, err);
    if (strcmp(op, "read") == 0) return pb_json_to_wire(d->pool, type, in, out, err);
    if (strcmp(op, "lenient") == 0) return lenient(d, type, in, out, err);
    if (strcmp(op, "json") == 0) return json_to_json(d, type, in, out, err);
    if (strcmp(op, "lua_json") == 0) return by_lua(d, type, in, true, true, out, err);
    if (strcmp(op, "lua_read") == 0) return by_lua(d, type, in, true, false, out, err);
    if (strcmp(op, "query") == 0) return pb_query_to_json(type, in, out, err);
    return err_set(err, STATUS_UNIMPLEMENTED, "no operation \"%s\"", op);
}

static int run(struct driver *d, char *line, struct buf *out, struct err *err) {
    char *save = NULL;
    const char *op = strtok_r(line, " \n", &save);
    const char *name = strtok_r(NULL, " \n", &save);
    const char *hex = strtok_r(NULL, " \n", &save);
    if (op == NULL || name == NULL)
        return err_set(err, STATUS_INVALID_ARGUMENT, "malformed command");
    if (strcmp(op, "load") == 0) return load(d, name, err);
    bool is_script = strcmp(op, "script") == 0;
    const struct pb_message *type = d->pool == NULL ? NULL : pb_find_message(d->pool, str_of(name));
    if (d->pool == NULL || (type == NULL && !is_script))
        return err_set(err, STATUS_NOT_FOUND, "no type %s", name);
    struct buf in = {0};
    int rc = 0;
    if (hex == NULL || (strcmp(hex, "-") != 0 && !hex_decode(&in, str_of(hex)))) {
        rc = err_set(err, STATUS_INVALID_ARGUMENT, "malformed hex");
    } else if (is_script) {
        script(d, buf_str(&in), out);
    } else {
        rc = convert(d, op, type, buf_str(&in), out, err);
    }
    buf_free(&in);
    return rc;
}

int main(void) {
    struct driver d = {0};
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        struct err err = {0};
        struct buf out = {0};
        int rc = run(&d, line, &out, &err);
        if (rc == 0) {
            struct buf hex = {0};
            hex_encode(&hex, buf_str(&out));
            printf("ok %s\n", out.n == 0 ? "-" : buf_cstr(&hex));
            buf_free(&hex);
        } else {
            for (char *c = err.text; *c != '\0'; c++) {
                if (*c == '\n') *c = ' ';
            }
            printf("err %s %s\n", status_name(-rc), err.text);
        }
        buf_free(&out);
        fflush(stdout);
    }
    free(line);
    pb_lua_delete(d.lua);
    if (d.L != NULL) lua_close(d.L);
    pb_pool_drop(d.pool);
    return 0;
}
