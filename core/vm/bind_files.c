// SPDX-License-Identifier: Apache-2.0
// core: identity, the service's files, the library's chunks, compiling (bindings.h has the list).
#include "vm/vm_internal.h"

#include <stdio.h>

static int file(lua_State *L) {
    const struct source_file *f = source_file(bind_vm(L)->config.source, bind_str(L, 1));
    if (f == NULL) return 0;
    bind_push_str(L, blob_str(f->content));
    return 1;
}

// "mica.errors" is lua/mica/errors.lua, "mica" lua/mica/init.lua, "argparse" argparse.lua.
static int library(lua_State *L) {
    static const char *const FORMS[] = {"lua/%s.lua", "lua/%s/init.lua", "%s.lua"};
    struct vm *vm = bind_vm(L);
    struct str name = bind_str(L, 1);
    char dotted[128], path[160];
    if (name.n >= sizeof dotted) return 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || (c == '.' && i > 0 && name.p[i - 1] != '.');
        if (!ok) return 0;
        dotted[i] = c == '.' ? '/' : c;
    }
    dotted[name.n] = '\0';
    for (size_t i = 0; i < sizeof FORMS / sizeof FORMS[0]; i++) {
        struct err err = {0};
        const char *form = FORMS[i];
        const char *at = strchr(form, '%');
        snprintf(path, sizeof path, "%.*s%s%s", (int)(at - form), form, dotted, at + 2);
        int status = sandbox_library(vm, L, path, &err);
        if (status == 0) return 1;
        if (status != -STATUS_NOT_FOUND) return luaL_error(L, "%s", err.text);
    }
    return 0;
}

// Text only: no verifier of bytecode exists. What is built into the program may be bytecode.
static int compile(lua_State *L) {
    struct str text = bind_str(L, 1);
    const char *name = luaL_checkstring(L, 2);
    bool builtin = bind_vm(L)->config.source->folder == NULL;
    if (luaL_loadbufferx(L, text.p, text.n, name, builtin ? "bt" : "t") == 0) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static void set_text(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void bind_files(struct vm *vm, lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {{"file", file},
                                         {"library", library},
                                         {"compile", compile},
                                         {"web", bind_web},
                                         {NULL, NULL}};
    bind_functions(vm, L, FUNCTIONS);
    set_text(L, "service", vm->config.service);
    set_text(L, "version", vm->config.version);
    set_text(L, "namespace", vm->config.ns);
    set_text(L, "release", MICA_VERSION);
    lua_pushinteger(L, (lua_Integer)vm->config.instance);
    lua_setfield(L, -2, "instance");
    lua_pushboolean(L, vm->config.bare);
    lua_setfield(L, -2, "bare");
}
