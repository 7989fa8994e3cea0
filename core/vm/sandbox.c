// SPDX-License-Identifier: Apache-2.0
// What a service's code finds in its state: the language, and nothing that reaches out of it.
//
// Isolation comes from which C functions exist here, not from tricks with environments. Opened are base, table, string, math,
// bit and coroutine; jit is opened because that switches the compiler on, and taken away. Everything that loads bytecode,
// reads files, changes environments or makes userdata is gone; `load` takes texts only. `require`, coroutines that pass waits
// on and the guard of globals come from lua/mica/prelude.lua.
//
// The literal 1LL makes LuaJIT put its FFI into the registry's _LOADED, which is reachable from no Lua value here.
#include "base/clock.h"
#include "base/random.h"
#include "vm/embedded.h"
#include "vm/vm_internal.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void open_library(lua_State *L, lua_CFunction open, const char *name) {
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

static void remove_field(lua_State *L, const char *table, const char *name) {
    lua_getglobal(L, table);
    lua_pushnil(L);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

// ---- load

// Calls the reader until it returns nil or "", and leaves all it returned as one string.
static void read_pieces(lua_State *L, int reader) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (;;) {
        lua_pushvalue(L, reader);
        lua_call(L, 0, 1);
        if (lua_isnil(L, -1) || (lua_isstring(L, -1) && lua_objlen(L, -1) == 0)) break;
        if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
        luaL_addvalue(&b);
    }
    lua_pop(L, 1);
    luaL_pushresult(&b);
}

// load(text or reader, chunkname, mode, env): `mode` is always "t".
static int load_text(lua_State *L) {
    size_t n;
    bool has_env = !lua_isnone(L, 4);
    lua_settop(L, 4);
    const char *name = luaL_optstring(L, 2, NULL);
    if (lua_isfunction(L, 1)) {
        read_pieces(L, 1);
        lua_replace(L, 1);
        if (name == NULL) name = "=(load)";
    }
    const char *text = luaL_checklstring(L, 1, &n);
    if (n > 0 && text[0] == '\x1b') {
        lua_pushnil(L);
        lua_pushliteral(L, "bytecode cannot be loaded: pass the text of the chunk");
        return 2;
    }
    if (luaL_loadbufferx(L, text, n, name == NULL ? text : name, "t") != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 4);
        lua_setfenv(L, -2);
    }
    return 1;
}

// ---- the rest of the replaced functions

static int print(lua_State *L) {
    struct vm *vm = bind_vm(L);
    int n = lua_gettop(L);
    luaL_Buffer b;
    lua_getglobal(L, "tostring");
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, n + 1);
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "'tostring' must return a string to 'print'");
        lua_replace(L, i);
    }
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1) luaL_addchar(&b, '\t');
        lua_pushvalue(L, i);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    vm_log(vm, LOG_INFO, request_running(vm), bind_str(L, lua_gettop(L)));
    return 0;
}

static int collect_garbage(lua_State *L) {
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "count") != 0) {
        return luaL_error(
            L, "collectgarbage(\"%s\") is the platform's: only \"count\" can be asked", what);
    }
    lua_pushnumber(L, lua_gc(L, LUA_GCCOUNT, 0) + lua_gc(L, LUA_GCCOUNTB, 0) / 1024.0);
    return 1;
}

// debug.traceback([thread,] [message [, level]])
static int traceback(lua_State *L) {
    lua_State *of = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    int arg = of == L && !lua_isthread(L, 1) ? 1 : 2;
    if (!lua_isnoneornil(L, arg) && !lua_isstring(L, arg)) {
        lua_pushvalue(L, arg);
        return 1;
    }
    luaL_traceback(L, of, lua_tostring(L, arg), luaL_optint(L, arg + 1, of == L ? 1 : 0));
    return 1;
}

static int os_clock(lua_State *L) {
    lua_pushnumber(L, (double)clock_now() / NS_PER_SECOND);
    return 1;
}

static int time_field(lua_State *L, const char *name, int missing) {
    lua_getfield(L, 1, name);
    if (lua_isnil(L, -1) && missing < 0) luaL_error(L, "field '%s' missing in date table", name);
    int v = lua_isnil(L, -1) ? missing : (int)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return v;
}

// Times are UTC, whatever the machine's zone is.
static int os_time(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, (double)(clock_unix() / NS_PER_SECOND));
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tm tm = {
        .tm_sec = time_field(L, "sec", 0),
        .tm_min = time_field(L, "min", 0),
        .tm_hour = time_field(L, "hour", 12),
        .tm_mday = time_field(L, "day", -1),
        .tm_mon = time_field(L, "month", -1) - 1,
        .tm_year = time_field(L, "year", -1) - 1900,
    };
    lua_pushnumber(L, (double)timegm(&tm));
    return 1;
}

static void set_int(lua_State *L, const char *name, int v) {
    lua_pushinteger(L, v);
    lua_setfield(L, -2, name);
}

static int push_date_table(lua_State *L, const struct tm *tm) {
    lua_createtable(L, 0, 9);
    set_int(L, "year", tm->tm_year + 1900);
    set_int(L, "month", tm->tm_mon + 1);
    set_int(L, "day", tm->tm_mday);
    set_int(L, "hour", tm->tm_hour);
    set_int(L, "min", tm->tm_min);
    set_int(L, "sec", tm->tm_sec);
    set_int(L, "wday", tm->tm_wday + 1);
    set_int(L, "yday", tm->tm_yday + 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "isdst");
    return 1;
}

static int os_date(lua_State *L) {
    const char *format = luaL_optstring(L, 1, "%c");
    double seconds = luaL_optnumber(L, 2, (double)(clock_unix() / NS_PER_SECOND));
    struct tm tm;
    char out[512];
    luaL_argcheck(L, seconds > -1e14 && seconds < 1e14, 2, "not a time");
    time_t t = (time_t)seconds;
    if (gmtime_r(&t, &tm) == NULL) return luaL_argerror(L, 2, "not a time");
    if (*format == '!') format++;
    if (strncmp(format, "*t", 2) == 0) return push_date_table(L, &tm);
    size_t n = strftime(out, sizeof out, format, &tm);
    if (n == 0 && *format != '\0')
        return luaL_error(L, "the date would be longer than %d bytes", (int)sizeof out);
    lua_pushlstring(L, out, n);
    return 1;
}

// ---- putting it together

static void open_tables(struct vm *vm, lua_State *L) {
    static const luaL_Reg OS[] = {
        {"time", os_time}, {"date", os_date}, {"clock", os_clock}, {NULL, NULL}};
    static const luaL_Reg DEBUG[] = {{"traceback", traceback}, {NULL, NULL}};
    lua_newtable(L);
    bind_functions(vm, L, OS);
    lua_setglobal(L, "os");
    lua_newtable(L);
    bind_functions(vm, L, DEBUG);
    lua_setglobal(L, "debug");
}

static void protect_strings(lua_State *L) {
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushliteral(L, "protected");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

static void seed_random(lua_State *L) {
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, (double)(random_u64() >> 11));
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

void sandbox_open(struct vm *vm, lua_State *L) {
    static const char *const GONE[] = {"dofile",  "loadfile", "newproxy", "getfenv",
                                       "setfenv", "gcinfo",   "module",   "require",
                                       "package", "jit",      NULL};
    static const luaL_Reg REPLACED[] = {{"load", load_text},
                                        {"loadstring", load_text},
                                        {"print", print},
                                        {"collectgarbage", collect_garbage},
                                        {NULL, NULL}};
    open_library(L, luaopen_base, "");
    open_library(L, luaopen_table, LUA_TABLIBNAME);
    open_library(L, luaopen_string, LUA_STRLIBNAME);
    open_library(L, luaopen_math, LUA_MATHLIBNAME);
    open_library(L, luaopen_bit, LUA_BITLIBNAME);
    open_library(L, luaopen_jit, LUA_JITLIBNAME);
    for (const char *const *name = GONE; *name != NULL; name++) {
        lua_pushnil(L);
        lua_setglobal(L, *name);
    }
    remove_field(L, "string", "dump");
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    bind_functions(vm, L, REPLACED);
    lua_pop(L, 1);
    open_tables(vm, L);
    protect_strings(L);
    seed_random(L);
}

// ---- the library's chunks

static int load_embedded(lua_State *L, const char *path, const char *chunk, struct err *err) {
    for (size_t i = 0; i < EMBEDDED_COUNT; i++) {
        const struct embedded_file *f = &EMBEDDED_FILES[i];
        if (strcmp(f->path, path) != 0) continue;
        if (luaL_loadbuffer(L, (const char *)f->bytes, f->n, chunk) == 0) return 0;
        err_set(err, STATUS_INTERNAL, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
        return -STATUS_INTERNAL;
    }
    return err_set(err, STATUS_NOT_FOUND, "there is no library file %s", path);
}

// A file of a checkout; -STATUS_NOT_FOUND when it cannot be read.
static int load_from(struct vm *vm, lua_State *L, const char *root, const char *path,
                     const char *chunk, struct err *err) {
    char name[1024], piece[4096];
    struct buf *text = &vm->scratch;
    size_t n;
    text->n = 0;
    snprintf(name, sizeof name, "%s/%s", root, path);
    FILE *f = fopen(name, "re");
    if (f == NULL) return -STATUS_NOT_FOUND;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) buf_append(text, piece, n);
    fclose(f);
    struct str s = buf_str(text);
    int status = luaL_loadbuffer(L, s.p, s.n, chunk);
    buf_free(text);
    if (status == 0) return 0;
    err_set(err, STATUS_INTERNAL, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return -STATUS_INTERNAL;
}

int sandbox_library(struct vm *vm, lua_State *L, const char *path, struct err *err) {
    const char *root = getenv("MICA_LUA_PATH");
    char chunk[256];
    snprintf(chunk, sizeof chunk, "@%s", path);
    if (root != NULL && root[0] != '\0') {
        int status = load_from(vm, L, root, path, chunk, err);
        if (status != -STATUS_NOT_FOUND) return status;
    }
    return load_embedded(L, path, chunk, err);
}
