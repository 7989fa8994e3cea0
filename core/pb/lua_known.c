// SPDX-License-Identifier: Apache-2.0
// Encoding, part four: messages that have a form of their own in Lua. Times are a table, a number
// of seconds or a text; wrappers are the bare value; Struct, Value and ListValue are plain data.
// Any, FieldMask and Empty are messages as any other.
#include "lua_internal.h"

#include "base/encode.h"
#include "json_wkt.h"

#include <math.h>

#define MIN_TIMESTAMP (-62135596800.0) // the year 1
#define MAX_TIMESTAMP 253402300799.0   // the end of the year 9999
#define MAX_DURATION 315576000000.0    // 10,000 years

// ---- times

static int tell_time(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     const struct pb_message *type, int64_t seconds, int32_t nanos) {
    int rc = lua_read_open(r, at, field, type);
    union pb_value v = {.i = seconds};
    if (rc == 0 && seconds != 0) rc = r->sink->ops->value(r->sink, &type->fields[0], v);
    v.i = nanos;
    if (rc == 0 && nanos != 0) rc = r->sink->ops->value(r->sink, &type->fields[1], v);
    return rc < 0 ? rc : lua_read_close(r);
}

// A double of today's seconds is exact to a quarter of a microsecond, so a finer fraction would be
// noise.
static bool split_timestamp(double d, int64_t *seconds, int32_t *nanos) {
    if (!(d >= MIN_TIMESTAMP && d < MAX_TIMESTAMP + 1)) return false;
    double whole = floor(d), micros = floor((d - whole) * 1e6 + 0.5);
    if (micros >= 1e6) whole += 1, micros = 0;
    *seconds = (int64_t)whole;
    *nanos = (int32_t)micros * 1000;
    return whole <= MAX_TIMESTAMP;
}

static bool split_duration(double d, int64_t *seconds, int32_t *nanos) {
    if (!(fabs(d) <= MAX_DURATION)) return false;
    double whole = trunc(d), part = round((d - whole) * 1e9);
    if (fabs(part) >= 1e9) whole += part > 0 ? 1 : -1, part = 0;
    *seconds = (int64_t)whole;
    *nanos = (int32_t)part;
    return true;
}

// "250ms", "1h30m", "7d": numbers with units, as everywhere in the library.
static bool parse_units(struct str text, int64_t *seconds, int32_t *nanos) {
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
                 {"m", 60},    {"h", 3600},  {"d", 86400}};
    bool minus = text.n > 0 && text.p[0] == '-';
    double sum = 0;
    size_t i = minus;
    if (i == text.n) return false;
    while (i < text.n) {
        double value = 0, scale = 0;
        size_t digits = 0, unit;
        for (; i < text.n &&
               ((text.p[i] >= '0' && text.p[i] <= '9') || (text.p[i] == '.' && scale == 0));
             i++) {
            if (text.p[i] == '.') {
                scale = 1;
                continue;
            }
            value = value * 10 + (text.p[i] - '0');
            scale *= 10;
            digits++;
        }
        for (unit = i; i < text.n && text.p[i] >= 'a' && text.p[i] <= 'z';) i++;
        double factor = 0;
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            if (str_is((struct str){text.p + unit, i - unit}, units[k].name))
                factor = units[k].seconds;
        }
        if (digits == 0 || factor == 0) return false;
        sum += (scale > 0 ? value / scale : value) * factor;
    }
    return split_duration(minus ? -sum : sum, seconds, nanos);
}

static int read_time(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     const struct pb_message *type, int index) {
    lua_State *L = r->L;
    bool stamp = type->wkt == PB_WKT_TIMESTAMP, ok;
    int64_t seconds = 0;
    int32_t nanos = 0;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double d = lua_tonumber(L, index);
        ok = stamp ? split_timestamp(d, &seconds, &nanos) : split_duration(d, &seconds, &nanos);
        char digits[32];
        if (!ok) {
            return lua_fail(r, at, "%s is out of range for a %s", lua_number_text(d, digits),
                            stamp ? "Timestamp" : "Duration");
        }
    } else if (lua_type(L, index) == LUA_TSTRING) {
        struct str text = lua_to_str(L, index);
        ok = stamp
                 ? wkt_read_timestamp(text, &seconds, &nanos)
                 : wkt_read_duration(text, &seconds, &nanos) || parse_units(text, &seconds, &nanos);
        if (!ok) {
            return lua_fail(r, at, "\"%.*s\" is no %s", (int)(text.n > 40 ? 40 : text.n), text.p,
                            stamp ? "time (write \"2026-01-31T12:00:00Z\")"
                                  : "duration (write \"1.5s\")");
        }
    } else if (lua_type(L, index) == LUA_TTABLE) {
        int rc = lua_read_open(r, at, field, type);
        if (rc == 0) rc = lua_read_fields(r, at, type, index);
        return rc < 0 ? rc : lua_read_close(r);
    } else {
        return lua_fail_type(r, at, "table { seconds, nanos }, number of seconds or string", index);
    }
    return tell_time(r, at, field, type, seconds, nanos);
}

static int read_wrapper(struct lua_reader *r, const struct lua_place *at,
                        const struct pb_field *field, const struct pb_message *type, int index) {
    union pb_value v;
    int rc = lua_read_scalar(r, at, &type->fields[0], index, &v);
    if (rc == 0) rc = lua_read_open(r, at, field, type);
    if (rc == 0 && !lua_scalar_is_zero(&type->fields[0], v))
        rc = r->sink->ops->value(r->sink, &type->fields[0], v);
    return rc < 0 ? rc : lua_read_close(r);
}

// ---- plain data

static int read_struct(struct lua_reader *r, const struct lua_place *at,
                       const struct pb_field *field, const struct pb_message *type, int index) {
    struct lua_place here = at == NULL ? (struct lua_place){.up = NULL} : *at;
    if (lua_type(r->L, index) != LUA_TTABLE) return lua_fail_type(r, at, "table", index);
    int rc = lua_read_open(r, at, field, type);
    if (rc == 0) rc = lua_read_map(r, &here, &type->fields[0], index);
    return rc < 0 ? rc : lua_read_close(r);
}

static int read_list_value(struct lua_reader *r, const struct lua_place *at,
                           const struct pb_field *field, const struct pb_message *type, int index) {
    lua_State *L = r->L;
    struct lua_place here = at == NULL ? (struct lua_place){.up = NULL} : *at;
    size_t n = 0;
    if (lua_type(L, index) != LUA_TTABLE) return lua_fail_type(r, at, "table (a list)", index);
    int rc = lua_read_length(r, &here, index, &n);
    if (rc == 0) rc = lua_read_open(r, at, field, type);
    if (rc == 0 && n > 0) rc = r->sink->ops->list(r->sink, &type->fields[0]);
    for (size_t i = 1; i <= n && rc == 0; i++) {
        struct lua_place place = {.up = at, .kind = PLACE_INDEX, .number = (long long)i};
        lua_rawgeti(L, index, (int)i);
        rc = lua_read_message(r, &place, &type->fields[0], type->fields[0].message, lua_gettop(L));
        lua_pop(L, 1);
    }
    if (rc == 0 && n > 0) rc = r->sink->ops->list_end(r->sink);
    return rc < 0 ? rc : lua_read_close(r);
}

// Marked as a list, or with a number among its keys; an empty table without the mark is an object.
static bool is_list(lua_State *L, int index) {
    if (lua_is_array(L, index)) return true;
    lua_pushnil(L);
    if (!lua_next(L, index)) return false;
    bool number = lua_type(L, -2) == LUA_TNUMBER;
    lua_pop(L, 2);
    return number;
}

// The content of a Value, as the member of its oneof that fits.
static int read_kind(struct lua_reader *r, const struct lua_place *at,
                     const struct pb_message *type, int index) {
    const struct pb_field *fields = type->fields; // null, number, string, bool, struct, list
    lua_State *L = r->L;
    union pb_value v = {.i = 0};
    char text[24], digits[32];
    int128 wide;
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        v.d = lua_tonumber(L, index);
        if (!isfinite(v.d))
            return lua_fail(r, at, "%s has no JSON form", lua_number_text(v.d, digits));
        return r->sink->ops->value(r->sink, &fields[1], v);
    case LUA_TSTRING:
        v.s = lua_to_str(L, index);
        if (!utf8_valid(v.s)) return lua_fail(r, at, "is not valid UTF-8");
        return r->sink->ops->value(r->sink, &fields[2], v);
    case LUA_TBOOLEAN:
        v.i = lua_toboolean(L, index);
        return r->sink->ops->value(r->sink, &fields[3], v);
    case LUA_TTABLE:
        if (is_list(L, index)) return read_list_value(r, at, &fields[5], fields[5].message, index);
        return read_struct(r, at, &fields[4], fields[4].message, index);
    default: break;
    }
    if (lua_is_null(L, index)) return r->sink->ops->value(r->sink, &fields[0], v);
    if (lua_int64_get(L, index, &wide)) { // JSON's numbers would round it
        v.s = (struct str){text, lua_int64_format(wide, text)};
        return r->sink->ops->value(r->sink, &fields[2], v);
    }
    return lua_fail(r, at, "a %s has no JSON form", lua_kind(L, index));
}

static int read_value(struct lua_reader *r, const struct lua_place *at,
                      const struct pb_field *field, const struct pb_message *type, int index) {
    int rc = lua_read_open(r, at, field, type);
    if (rc == 0) rc = read_kind(r, at, type, index);
    return rc < 0 ? rc : lua_read_close(r);
}

int lua_read_known(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                   const struct pb_message *type, int index) {
    switch (type->wkt) {
    case PB_WKT_TIMESTAMP:
    case PB_WKT_DURATION: return read_time(r, at, field, type, index);
    case PB_WKT_WRAPPER: return read_wrapper(r, at, field, type, index);
    case PB_WKT_STRUCT: return read_struct(r, at, field, type, index);
    case PB_WKT_VALUE: return read_value(r, at, field, type, index);
    case PB_WKT_LIST_VALUE: return read_list_value(r, at, field, type, index);
    default: break;
    }
    if (lua_type(r->L, index) != LUA_TTABLE) return lua_fail_type(r, at, "table", index);
    int rc = lua_read_open(r, at, field, type);
    if (rc == 0) rc = lua_read_fields(r, at, type, index);
    return rc < 0 ? rc : lua_read_close(r);
}
