// SPDX-License-Identifier: Apache-2.0
// Encoding, part two: scalars and enums from Lua values, and what an error says. Nothing is
// coerced: a value of another kind is an error that names the field, what was found, what is wanted
// and, where it is plain, what to write.
#include "lua_internal.h"
#include "suggest.h"

#include "base/encode.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

// ---- faults

struct text {
    char bytes[320];
    size_t n;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int more = vsnprintf(t->bytes + t->n, sizeof t->bytes - t->n, format, args);
    va_end(args);
    if (more < 0) return;
    t->n = t->n + (size_t)more < sizeof t->bytes ? t->n + (size_t)more : sizeof t->bytes - 1;
}

static void put_place(struct text *t, const struct lua_place *at) {
    if (at->field != NULL)
        put(t, "%s%.*s", t->n > 0 ? "." : "", (int)at->field->name.n, at->field->name.p);
    switch (at->kind) {
    case PLACE_WHOLE: break;
    case PLACE_INDEX:
    case PLACE_NUMBER: put(t, "[%lld]", at->number); break;
    case PLACE_TEXT:
        put(t, "[\"%.*s\"]", (int)(at->text.n > 40 ? 40 : at->text.n), at->text.p);
        break;
    }
}

int lua_fail(struct lua_reader *r, const struct lua_place *at, const char *format, ...) {
    const struct lua_place *places[24]; // of a very deep path, the innermost
    size_t n = 0;
    for (const struct lua_place *p = at; p != NULL && n < 24; p = p->up) places[n++] = p;
    struct text path = {.n = 0};
    put(&path, "%.*s", (int)(r->root->full_name.n > 200 ? 200 : r->root->full_name.n),
        r->root->full_name.p);
    while (n > 0) put_place(&path, places[--n]);
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(r->err, STATUS_INVALID_ARGUMENT, "%s: %s", path.bytes, text);
}

const char *lua_number_text(double d, char text[32]) {
    if (isnan(d)) return "NaN";
    if (isinf(d)) return d > 0 ? "infinity" : "-infinity";
    snprintf(text, 32, "%.17g", d);
    double shorter = 0;
    char fewer[32];
    snprintf(fewer, sizeof fewer, "%.15g", d);
    if (sscanf(fewer, "%lf", &shorter) == 1 && shorter == d) memcpy(text, fewer, sizeof fewer);
    return text;
}

static const char *advice(lua_State *L, const char *wanted, int index) {
    int found = lua_type(L, index);
    bool int64 = found == LUA_TUSERDATA && strcmp(lua_kind(L, index), "int64") == 0;
    if (strcmp(wanted, "string") == 0 && (found == LUA_TNUMBER || found == LUA_TBOOLEAN || int64)) {
        return " (write tostring(...))";
    }
    if (strcmp(wanted, "number") == 0 && found == LUA_TSTRING) return " (write tonumber(...))";
    if (strcmp(wanted, "boolean") == 0 && found == LUA_TNUMBER) return " (write x ~= 0)";
    if (strcmp(wanted, "boolean") == 0 && found == LUA_TSTRING) return " (write x == \"true\")";
    return "";
}

int lua_fail_type(struct lua_reader *r, const struct lua_place *at, const char *wanted, int index) {
    return lua_fail(r, at, "expected %s, got %s%s", wanted, lua_kind(r->L, index),
                    advice(r->L, wanted, index));
}

// ---- integers

static bool is_wide(enum pb_type type) {
    return type == PB_INT64 || type == PB_UINT64 || type == PB_SINT64 || type == PB_FIXED64 ||
           type == PB_SFIXED64;
}

static void integer_range(enum pb_type type, int128 *min, int128 *max, const char **name) {
    switch (type) {
    case PB_INT32:
    case PB_SINT32:
    case PB_SFIXED32: *min = INT32_MIN, *max = INT32_MAX, *name = "int32"; break;
    case PB_UINT32:
    case PB_FIXED32: *min = 0, *max = UINT32_MAX, *name = "uint32"; break;
    case PB_UINT64:
    case PB_FIXED64: *min = 0, *max = UINT64_MAX, *name = "uint64"; break;
    default: *min = INT64_MIN, *max = INT64_MAX, *name = "int64"; break;
    }
}

static int fail_number(struct lua_reader *r, const struct lua_place *at, double d,
                       const char *name) {
    char digits[32];
    const char *shown = lua_number_text(d, digits);
    if (!isfinite(d)) return lua_fail(r, at, "expected an integer, got %s", shown);
    if (d == floor(d)) return lua_fail(r, at, "%s is out of range for %s", shown, name);
    return lua_fail(r, at, "expected an integer, got %s (write math.floor(...))", shown);
}

static int read_integer(struct lua_reader *r, const struct lua_place *at,
                        const struct pb_field *field, int index, union pb_value *v) {
    lua_State *L = r->L;
    bool wide = is_wide(field->type) && field->jstype != PB_JS_NUMBER;
    int128 value = 0, min, max;
    const char *name;
    integer_range(field->type, &min, &max, &name);
    if (lua_type(L, index) == LUA_TNUMBER) {
        double d = lua_tonumber(L, index);
        if (!lua_int64_from_number(d, &value)) return fail_number(r, at, d, name);
    } else if (wide && lua_type(L, index) == LUA_TSTRING) {
        struct str text = lua_to_str(L, index);
        if (!lua_int64_parse(text, &value)) {
            return lua_fail(r, at, "\"%.*s\" is no decimal %s", (int)(text.n > 40 ? 40 : text.n),
                            text.p, name);
        }
    } else if (!wide || !lua_int64_get(L, index, &value)) {
        return lua_fail_type(r, at, wide ? "number, int64 or decimal string" : "number", index);
    }
    bool rounded = field->jstype == PB_JS_NUMBER && (value > LUA_EXACT || value < -LUA_EXACT);
    if (value < min || value > max || rounded) {
        char text[24];
        lua_int64_format(value, text);
        return lua_fail(r, at, "%s is out of range for %s", text,
                        rounded ? "JS_NUMBER (2^53)" : name);
    }
    v->i = (int64_t)value;
    return 0;
}

// ---- enums

static int fail_enum(struct lua_reader *r, const struct lua_place *at, const struct pb_enum *e,
                     struct str wrong) {
    const struct pb_enum_value *near = NULL;
    size_t best = wrong.n / 3 + 1;
    for (size_t i = 0; i < e->count; i++) {
        size_t distance = desc_distance(wrong, e->values[i].name);
        if (distance >= best) continue;
        best = distance;
        near = &e->values[i];
    }
    int n = (int)(wrong.n > 60 ? 60 : wrong.n);
    if (near == NULL)
        return lua_fail(r, at, "\"%.*s\" is no value of %s", n, wrong.p, e->full_name.p);
    return lua_fail(r, at, "\"%.*s\" is no value of %s (did you mean \"%s\"?)", n, wrong.p,
                    e->full_name.p, near->name.p);
}

static int read_enum(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     int index, union pb_value *v) {
    const struct pb_enum *e = field->enumeration;
    lua_State *L = r->L;
    if (lua_type(L, index) == LUA_TSTRING) {
        const struct pb_enum_value *value = pb_enum_by_name(e, lua_to_str(L, index));
        if (value == NULL) return fail_enum(r, at, e, lua_to_str(L, index));
        v->i = value->number;
        return 0;
    }
    if (e->is_null_value && lua_is_null(L, index)) {
        v->i = 0;
        return 0;
    }
    if (lua_type(L, index) != LUA_TNUMBER)
        return lua_fail_type(r, at, "the name of an enum value", index);
    double d = lua_tonumber(L, index);
    char digits[32];
    if (!(d >= INT32_MIN && d <= INT32_MAX) || d != floor(d)) {
        return lua_fail(r, at, "%s is no number of an enum value", lua_number_text(d, digits));
    }
    v->i = (int64_t)d;
    if (e->closed && pb_enum_by_number(e, (int32_t)v->i) == NULL) {
        return lua_fail(r, at, "%d is no value of %s", (int)v->i, e->full_name.p);
    }
    return 0;
}

// ---- all scalars

static int read_text(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     int index, union pb_value *v) {
    if (lua_type(r->L, index) != LUA_TSTRING) return lua_fail_type(r, at, "string", index);
    v->s = lua_to_str(r->L, index);
    if (field->type == PB_STRING && !utf8_valid(v->s)) {
        return lua_fail(r, at, "is not valid UTF-8 (other bytes want a field of type bytes)");
    }
    return 0;
}

static int read_number(struct lua_reader *r, const struct lua_place *at,
                       const struct pb_field *field, int index, union pb_value *v) {
    if (lua_type(r->L, index) != LUA_TNUMBER) return lua_fail_type(r, at, "number", index);
    v->d = lua_tonumber(r->L, index);
    if (field->type == PB_FLOAT && isfinite(v->d) && isinf((float)v->d)) {
        char digits[32];
        return lua_fail(r, at, "%s is out of range for float", lua_number_text(v->d, digits));
    }
    if (field->type == PB_FLOAT) v->d = (float)v->d; // so that what rounds to zero is the zero
    return 0;
}

int lua_read_scalar(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                    int index, union pb_value *v) {
    switch (field->type) {
    case PB_DOUBLE:
    case PB_FLOAT: return read_number(r, at, field, index, v);
    case PB_STRING:
    case PB_BYTES: return read_text(r, at, field, index, v);
    case PB_ENUM: return read_enum(r, at, field, index, v);
    case PB_BOOL:
        if (lua_type(r->L, index) != LUA_TBOOLEAN) return lua_fail_type(r, at, "boolean", index);
        v->i = lua_toboolean(r->L, index);
        return 0;
    default: return read_integer(r, at, field, index, v);
    }
}

bool lua_scalar_is_zero(const struct pb_field *field, union pb_value v) {
    return field->type == PB_STRING || field->type == PB_BYTES ? v.s.n == 0
                                                               : v.u == 0; // -0.0 is no zero
}
