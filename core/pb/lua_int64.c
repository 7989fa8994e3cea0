// SPDX-License-Identifier: Apache-2.0
// 64-bit integers that a Lua number cannot hold exactly: immutable full userdata.
//
// There is one kind for int64 and uint64: a value is anywhere from -2^63 to 2^64-1, and the field
// that it is written to checks its own range. Every value exists at most once in a VM (a weak table
// in the registry, keyed by its bytes), so that `==` is identity and an int64 works as the key of a
// table.
//
// Arithmetic takes int64s and integral numbers, gives int64s, and raises on overflow. `/` divides
// towards zero and `%` has the sign of the dividend, so that (a / b) * b + a % b == a. `<` and `<=`
// work between two int64s (Lua 5.1 asks for the same type); `compare` also takes numbers.
#include "lua_internal.h"

#include <math.h>

struct boxed {
    uint64_t bits;
    bool is_big; // beyond INT64_MAX: bits is unsigned
};

static int128 unbox(const struct boxed *b) {
    return b->is_big ? (int128)b->bits : (int128)(int64_t)b->bits;
}

static bool in_range(int128 v) { return v >= INT64_MIN && v <= (int128)UINT64_MAX; }

void lua_int64_push(lua_State *L, int128 v) {
    struct boxed value = {(uint64_t)v, v > INT64_MAX};
    char key[9];
    memcpy(key, &value.bits, 8);
    key[8] = (char)value.is_big;
    lua_push_key(L, &LUA_KEY_INTERNED);
    lua_pushlstring(L, key, sizeof key);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        struct boxed *b = lua_newuserdata(L, sizeof *b);
        *b = value;
        lua_push_key(L, &LUA_KEY_INT64);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
}

bool lua_int64_get(lua_State *L, int index, int128 *v) {
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_has_metatable(L, index, &LUA_KEY_INT64))
        return false;
    *v = unbox(lua_touserdata(L, index));
    return true;
}

bool lua_int64_parse(struct str text, int128 *v) {
    bool minus = text.n > 0 && text.p[0] == '-';
    size_t i = minus;
    int128 sum = 0;
    if (i == text.n || text.n - i > 20) return false;
    for (; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        sum = sum * 10 + (text.p[i] - '0');
    }
    *v = minus ? -sum : sum;
    return in_range(*v);
}

bool lua_int64_from_number(double d, int128 *v) {
    if (!(d >= -9223372036854775808.0 && d < 18446744073709551616.0) || d != floor(d)) return false;
    *v = (int128)d;
    return true;
}

size_t lua_int64_format(int128 v, char text[24]) {
    char digits[24];
    size_t n = 0, used = 0;
    unsigned __int128 left = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    do {
        digits[n++] = (char)('0' + (int)(left % 10));
        left /= 10;
    } while (left > 0);
    if (v < 0) text[used++] = '-';
    while (n > 0) text[used++] = digits[--n];
    text[used] = '\0';
    return used;
}

void pb_lua_push_i64(lua_State *L, int64_t v, bool force) {
    if (!force && v >= -LUA_EXACT && v <= LUA_EXACT) {
        lua_pushnumber(L, (double)v);
    } else {
        lua_int64_push(L, v);
    }
}

void pb_lua_push_u64(lua_State *L, uint64_t v, bool force) {
    if (!force && v <= (uint64_t)LUA_EXACT) {
        lua_pushnumber(L, (double)v);
    } else {
        lua_int64_push(L, v);
    }
}

// ---- the Lua functions

static bool operand(lua_State *L, int index, int128 *v) {
    if (lua_type(L, index) == LUA_TNUMBER) return lua_int64_from_number(lua_tonumber(L, index), v);
    return lua_int64_get(L, index, v);
}

static int128 check_operand(lua_State *L, int index) {
    int128 v = 0;
    if (operand(L, index, &v)) return v;
    if (lua_type(L, index) == LUA_TNUMBER) {
        luaL_error(L, "int64: the number %f is not integral or beyond 64 bits",
                   lua_tonumber(L, index));
    }
    luaL_error(L, "int64: arithmetic with a %s (write mica.int64(...))", lua_kind(L, index));
    return v;
}

static int push_result(lua_State *L, bool overflow, int128 v) {
    if (overflow || !in_range(v)) return luaL_error(L, "int64: overflow");
    lua_int64_push(L, v);
    return 1;
}

static int on_add(lua_State *L) {
    return push_result(L, false, check_operand(L, 1) + check_operand(L, 2));
}

static int on_sub(lua_State *L) {
    return push_result(L, false, check_operand(L, 1) - check_operand(L, 2));
}

static int on_mul(lua_State *L) {
    int128 product = 0;
    bool overflow = __builtin_mul_overflow(check_operand(L, 1), check_operand(L, 2), &product);
    return push_result(L, overflow, product);
}

static int on_div(lua_State *L) {
    int128 a = check_operand(L, 1), b = check_operand(L, 2);
    if (b == 0) return luaL_error(L, "int64: division by zero");
    return push_result(L, false, a / b);
}

static int on_mod(lua_State *L) {
    int128 a = check_operand(L, 1), b = check_operand(L, 2);
    if (b == 0) return luaL_error(L, "int64: division by zero");
    return push_result(L, false, a % b);
}

static int on_minus(lua_State *L) { return push_result(L, false, -check_operand(L, 1)); }

static int on_less(lua_State *L) {
    lua_pushboolean(L, check_operand(L, 1) < check_operand(L, 2));
    return 1;
}

static int on_less_equal(lua_State *L) {
    lua_pushboolean(L, check_operand(L, 1) <= check_operand(L, 2));
    return 1;
}

static int on_tostring(lua_State *L) {
    char text[24];
    lua_pushlstring(L, text, lua_int64_format(check_operand(L, 1), text));
    return 1;
}

static int on_concat(lua_State *L) {
    for (int i = 1; i <= 2; i++) {
        int128 v;
        char text[24];
        if (lua_int64_get(L, i, &v)) {
            lua_pushlstring(L, text, lua_int64_format(v, text));
        } else if (lua_isstring(L, i)) {
            lua_pushvalue(L, i);
        } else {
            return luaL_error(L, "attempt to concatenate a %s", lua_kind(L, i));
        }
    }
    lua_concat(L, 2);
    return 1;
}

int lua_int64_make(lua_State *L) {
    int128 v = 0;
    bool ok =
        lua_type(L, 1) == LUA_TSTRING ? lua_int64_parse(lua_to_str(L, 1), &v) : operand(L, 1, &v);
    if (!ok && lua_type(L, 1) == LUA_TSTRING) {
        return luaL_error(L, "int64: \"%s\" is no decimal number of 64 bits", lua_tostring(L, 1));
    }
    if (!ok && lua_type(L, 1) == LUA_TNUMBER) {
        return luaL_error(L, "int64: the number %f is not integral or beyond 64 bits",
                          lua_tonumber(L, 1));
    }
    if (!ok) {
        return luaL_error(
            L, "int64: expected an integral number, a decimal string or an int64, got %s",
            lua_gettop(L) < 1 ? "nothing" : lua_kind(L, 1));
    }
    lua_int64_push(L, v);
    return 1;
}

int lua_int64_compare(lua_State *L) {
    int128 a = 0, b = 0;
    for (int i = 1; i <= 2; i++) {
        if (lua_type(L, i) == LUA_TNUMBER || lua_int64_get(L, i, &a)) continue;
        return luaL_error(L, "compare: expected a number or an int64, got %s", lua_kind(L, i));
    }
    int order;
    if (operand(L, 1, &a) && operand(L, 2, &b)) {
        order = (a > b) - (a < b);
    } else { // a fraction, an infinity or more than 64 bits: never equal to the other side
        long double x = lua_int64_get(L, 1, &a) ? (long double)a : (long double)lua_tonumber(L, 1);
        long double y = lua_int64_get(L, 2, &b) ? (long double)b : (long double)lua_tonumber(L, 2);
        if (x != x || y != y) return luaL_error(L, "compare: not a number");
        order = (x > y) - (x < y);
    }
    lua_pushnumber(L, order);
    return 1;
}

void lua_int64_open(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"__add", on_add},           {"__sub", on_sub},       {"__mul", on_mul},
        {"__div", on_div},           {"__mod", on_mod},       {"__unm", on_minus},
        {"__lt", on_less},           {"__le", on_less_equal}, {"__concat", on_concat},
        {"__tostring", on_tostring},
    };
    lua_pushlightuserdata(L, (void *)&LUA_KEY_INT64);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        lua_pushcfunction(L, methods[i].func);
        lua_setfield(L, -2, methods[i].name);
    }
    lua_pushliteral(L, "int64");
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);

    lua_pushlightuserdata(L, (void *)&LUA_KEY_INTERNED);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}
