// SPDX-License-Identifier: Apache-2.0
// The part of `core` that needs no answer from anybody: time, randomness, digests, text encodings, the log, metrics.
//
// Time and randomness come through base/clock.h and base/random.h only, so that a recorder can stand there. Bytes that are
// built up live in userdata of the VM while they grow, where their size is known beforehand, and in a buf otherwise; a buf
// is filled without calling Lua and handed over in one protected step (push_buf), so that a memory error of the VM cannot
// leak it. Run by the VM's thread, inside a protected call, as every binding is.
#include "base/clock.h"
#include "base/encode.h"
#include "base/exposition.h"
#include "base/metrics.h"
#include "base/random.h"
#include "vm/vm_internal.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RANDOM_MAX 65536
#define FIELDS_MAX 100 // of a log record, and tags of a metric

// ---- time

static int now(lua_State *L) {
    lua_pushnumber(L,
                   (double)(clock_unix() / 1000) / 1e6); // microseconds: what a double holds of it
    return 1;
}

static int monotonic(lua_State *L) {
    lua_pushnumber(L, (double)clock_now() / 1e9);
    return 1;
}

// format_time(seconds, strftime): UTC
static int format_time(lua_State *L) {
    double seconds = floor(luaL_checknumber(L, 1));
    struct str format = bind_str(L, 2);
    if (!(fabs(seconds) < 1e12)) return luaL_error(L, "%f is no time", seconds);
    if (strlen(format.p) != format.n || format.n > 200) {
        return luaL_error(L, "a time format is at most 200 characters, without a zero byte");
    }
    time_t t = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&t, &utc) == NULL) return luaL_error(L, "%f is no time", seconds);
    char text[2000];
    // strftime gives 0 for an empty result as well as for too long a one; a space in front tells them apart.
    char spaced[202];
    snprintf(spaced, sizeof spaced, " %s", format.p);
    size_t n = strftime(text, sizeof text, spaced, &utc);
    if (n == 0) return luaL_error(L, "the time in format \"%s\" is too long", format.p);
    lua_pushlstring(L, text + 1, n - 1);
    return 1;
}

// ---- randomness and digests

static int random_string(lua_State *L) {
    lua_Number n = luaL_checknumber(L, 1);
    if (!(n >= 0 && n <= RANDOM_MAX) || n != floor(n)) {
        return luaL_error(L, "random wants a number of bytes, 0 to %d", RANDOM_MAX);
    }
    size_t size = (size_t)n;
    void *bytes = lua_newuserdata(L, size + 1);
    random_bytes(bytes, size);
    lua_pushlstring(L, bytes, size);
    return 1;
}

static int sha256(lua_State *L) {
    struct str s = bind_str(L, 1);
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, (const unsigned char *)s.p, s.n);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

// hmac(key, s): HMAC-SHA-256
static int hmac(lua_State *L) {
    struct str key = bind_str(L, 1), s = bind_str(L, 2);
    crypto_auth_hmacsha256_state state;
    unsigned char digest[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)key.p, key.n);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)s.p, s.n);
    crypto_auth_hmacsha256_final(&state, digest);
    sodium_memzero(&state, sizeof state);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

// The time it takes depends on the lengths only.
static int equal(lua_State *L) {
    struct str a = bind_str(L, 1), b = bind_str(L, 2);
    lua_pushboolean(L, a.n == b.n && sodium_memcmp(a.p, b.p, a.n) == 0);
    return 1;
}

// ---- text encodings

struct conversion {
    bool (*run)(struct buf *out, struct str in);
    struct str in;
    struct buf out;
    bool ok;
};

static int push_conversion(lua_State *L) {
    struct conversion *c = lua_touserdata(L, 1);
    bind_push_str(L, buf_str(&c->out));
    return 1;
}

// Pushes what `run` makes of the argument; nil when it cannot read it.
static int convert(lua_State *L, bool (*run)(struct buf *out, struct str in)) {
    struct conversion c = {.in = bind_str(L, 1)};
    lua_pushcfunction(L, push_conversion); // before anything is held: it may raise for memory
    c.ok = run(&c.out, c.in);
    if (!c.ok || c.out.failed) {
        bool memory = c.out.failed;
        buf_free(&c.out);
        if (memory) return luaL_error(L, "not enough memory");
        lua_pushnil(L);
        return 1;
    }
    lua_pushlightuserdata(L, &c);
    int failed = lua_pcall(L, 1, 1, 0);
    buf_free(&c.out);
    return failed != 0 ? lua_error(L) : 1;
}

static bool to_hex(struct buf *out, struct str in) {
    hex_encode(out, in);
    return true;
}

static bool to_base64(struct buf *out, struct str in) {
    base64_encode(out, in);
    return true;
}

static int hex(lua_State *L) { return convert(L, to_hex); }
static int unhex(lua_State *L) { return convert(L, hex_decode); }
static int base64(lua_State *L) { return convert(L, to_base64); }
static int unbase64(lua_State *L) { return convert(L, base64_decode); }

// ---- named values: log fields and metric tags

static int by_key(const void *a, const void *b) {
    struct str x = ((const struct log_pair *)a)->key, y = ((const struct log_pair *)b)->key;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

// The text of the value on the top, which it replaces by that text.
static struct str value_text(lua_State *L) {
    if (lua_type(L, -1) == LUA_TBOOLEAN) {
        bool yes = lua_toboolean(L, -1);
        lua_pop(L, 1);
        lua_pushstring(L, yes ? "true" : "false");
    } else if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER) {
        if (luaL_callmeta(L, -1, "__tostring")) {
            lua_remove(L, -2);
        }
        if (!lua_isstring(L, -1)) {
            const char *kind = luaL_typename(L, -1);
            lua_pop(L, 1);
            lua_pushfstring(L, "(%s)", kind);
        }
    }
    struct str s;
    s.p = lua_tolstring(L, -1, &s.n);
    return s;
}

// Reads the table at `index` into a sorted list. The texts stay on the stack, which holds them; `what` names the table in
// messages.
static size_t read_pairs(lua_State *L, int index, const char *what,
                         struct log_pair list[FIELDS_MAX]) {
    size_t n = 0;
    if (lua_isnoneornil(L, index)) return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, FIELDS_MAX + 10, "too many values");
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            luaL_error(L, "%s have names: write { name = value }", what);
        }
        if (n == FIELDS_MAX) luaL_error(L, "at most %d %s", FIELDS_MAX, what);
        list[n].key.p = lua_tolstring(L, -2, &list[n].key.n);
        list[n].value = value_text(L);
        n++;
        lua_insert(L, -2); // the text below the key, for lua_next
    }
    qsort(list, n, sizeof *list, by_key);
    return n;
}

// log(level, text, fields)
static int check_level(lua_State *L) {
    int level = log_level_parse(luaL_checkstring(L, 1));
    if (level < 0 || level == LOG_OFF)
        return luaL_error(L, "no log level \"%s\"", lua_tostring(L, 1));
    return level;
}

// log_wants(level): would a line of it be written? Asked before work is put into the line.
static int log_level_wanted(lua_State *L) {
    lua_pushboolean(L, log_wants((enum log_level)check_level(L)));
    return 1;
}

static int log_line(lua_State *L) {
    struct vm *vm = bind_vm(L);
    int level = check_level(L);
    struct str text = bind_str(L, 2);
    if (!log_wants((enum log_level)level)) return 0;
    struct log_pair list[FIELDS_MAX];
    size_t n = read_pairs(L, 3, "log fields", list);
    vm_log_fields(vm, (enum log_level)level, request_running(vm), text, list, n);
    return 0;
}

// ---- metrics

static bool name_valid(struct str name, bool colon) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
        if (!letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return name.n > 0;
}

static const char *const OWN_LABELS[] = {"service", "namespace", "le"};

static void check_tag(lua_State *L, struct str key) {
    if (!name_valid(key, false)) {
        luaL_error(L, "\"%s\" is no name of a tag: letters, digits and _", key.p);
    }
    for (size_t i = 0; i < sizeof OWN_LABELS / sizeof OWN_LABELS[0]; i++) {
        if (str_is(key, OWN_LABELS[i])) {
            luaL_error(L, "the tag \"%s\" is set by the platform: choose another name", key.p);
        }
    }
}

static void check_metric(lua_State *L, struct str name, enum metric_kind kind, lua_Number value) {
    if (!name_valid(name, true)) {
        luaL_error(L, "\"%s\" is no name of a metric: letters, digits, _ and :", name.p);
    }
    if (str_starts(name, "mica_") || str_starts(name, "process_")) {
        luaL_error(L, "metrics that begin with mica_ or process_ are the platform's: rename \"%s\"",
                   name.p);
    }
    if (kind == METRIC_COUNTER && !(value >= 0)) {
        luaL_error(L, "a count only grows: use metrics.gauge for what also falls");
    }
    if (kind == METRIC_TIMING && !(value >= 0)) {
        luaL_error(L, "a timing is a number of seconds, 0 or more");
    }
}

static bool ends_with(struct str s, const char *end) {
    size_t n = strlen(end);
    return s.n >= n && memcmp(s.p + s.n - n, end, n) == 0;
}

// Prometheus' convention: a counter's name ends with _total, a time's with its unit.
static void append_metric_name(struct buf *out, struct str name, enum metric_kind kind) {
    const char *end = kind == METRIC_COUNTER ? "_total" : kind == METRIC_TIMING ? "_seconds" : "";
    buf_append_str(out, name);
    if (!ends_with(name, end)) buf_append_text(out, end);
}

// metric(kind, name, value, tags). A full table drops the record, which metrics_render tells: it must not fail a request.
// Versions share their series: a count goes on over an update, and old versions leave nothing behind.
static int metric(lua_State *L) {
    static const char *const KINDS[] = {"count", "gauge", "timing", NULL};
    static const enum metric_kind KIND[] = {METRIC_COUNTER, METRIC_GAUGE, METRIC_TIMING};
    const struct vm_config *config = vm_configuration(bind_vm(L));
    enum metric_kind kind = KIND[luaL_checkoption(L, 1, NULL, KINDS)];
    struct str name = bind_str(L, 2);
    lua_Number value = luaL_checknumber(L, 3);
    check_metric(L, name, kind, value);
    struct log_pair list[FIELDS_MAX];
    size_t n = read_pairs(L, 4, "tags", list);
    for (size_t i = 0; i < n; i++) check_tag(L, list[i].key);
    struct buf labels = {0}, full = {0}; // nothing below calls Lua
    metrics_owner(&labels, config->ns, config->service);
    struct str owner = {NULL, labels.n};
    for (size_t i = 0; i < n; i++) exposition_label(&labels, list[i].key.p, list[i].value);
    append_metric_name(&full, name, kind);
    owner.p = buf_str(&labels).p;
    if (!labels.failed && !full.failed)
        metrics_record(kind, owner, buf_str(&full), buf_str(&labels), value);
    buf_free(&labels);
    buf_free(&full);
    return 0;
}

void bind_values(struct vm *vm, lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {
        {"now", now},
        {"monotonic", monotonic},
        {"format_time", format_time},
        {"random", random_string},
        {"sha256", sha256},
        {"hmac", hmac},
        {"equal", equal},
        {"hex", hex},
        {"unhex", unhex},
        {"base64", base64},
        {"unbase64", unbase64},
        {"log", log_line},
        {"log_wants", log_level_wanted},
        {"metric", metric},
        {NULL, NULL},
    };
    bind_functions(vm, L, FUNCTIONS);
}
