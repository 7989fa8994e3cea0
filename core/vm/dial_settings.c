// SPDX-License-Identifier: Apache-2.0
// The TLS settings that this VM dials with. They are long texts, and asked for with every call: so they are told once, by core.tls,
// and have a number from then on. The same settings have the same number. What is in them is the host's to understand.
#include "vm/vm_internal.h"

#include <stdlib.h>

#define MOST 64

// A field of the table at 1, which is nil or a text without NUL, appended with a NUL.
static void add_field(lua_State *L, struct buf *out, const char *name) {
    size_t n = 0;
    lua_getfield(L, 1, name);
    const char *text = lua_isnil(L, -1) ? "" : luaL_checklstring(L, -1, &n);
    if (memchr(text, '\0', n) != NULL) luaL_error(L, "tls.%s holds a NUL byte", name);
    buf_append(out, text, n);
    buf_append_byte(out, '\0');
    lua_pop(L, 1);
}

static size_t number_of(struct vm *vm, lua_State *L, struct str settings) {
    for (size_t i = 0; i < vm->dial_settings_count; i++) {
        if (str_equal(blob_str(vm->dial_settings[i]), settings)) return i + 1;
    }
    if (vm->dial_settings_count == MOST)
        luaL_error(L, "a service dials with at most %d different tls settings", MOST);
    if (vm->dial_settings == NULL) vm->dial_settings = calloc(MOST, sizeof *vm->dial_settings);
    struct blob *kept = vm->dial_settings == NULL ? NULL : blob_new(settings.p, settings.n);
    if (kept == NULL) return (size_t)luaL_error(L, "not enough memory"); // does not come back
    vm->dial_settings[vm->dial_settings_count] = kept;
    return ++vm->dial_settings_count;
}

// tls({ ca =, cert =, key =, name = }) -> a number for dial, as a text.
int bind_tls(lua_State *L) {
    static const char *const FIELDS[] = {"ca", "cert", "key", "name"}; // in the order of the host
    struct vm *vm = bind_vm(L);
    char number[24];
    luaL_checktype(L, 1, LUA_TTABLE);
    vm->scratch.n = 0;
    vm->scratch.failed = false;
    for (size_t i = 0; i < 4; i++) add_field(L, &vm->scratch, FIELDS[i]);
    if (vm->scratch.failed) return luaL_error(L, "not enough memory");
    snprintf(number, sizeof number, "%zu", number_of(vm, L, buf_str(&vm->scratch)));
    lua_pushstring(L, number);
    return 1;
}

// What a number stands for; empty: no TLS.
struct str dial_settings(const struct vm *vm, struct str number) {
    if (number.n == 0) return (struct str){"", 0};
    size_t n = strtoul(number.p, NULL, 10); // the parts of a target end with a NUL
    return n >= 1 && n <= vm->dial_settings_count ? blob_str(vm->dial_settings[n - 1])
                                                  : (struct str){"", 0};
}

void dial_settings_free(struct vm *vm) {
    for (size_t i = 0; i < vm->dial_settings_count; i++) blob_drop(vm->dial_settings[i]);
    free(vm->dial_settings);
}
