// SPDX-License-Identifier: Apache-2.0
// Encoding, part one: walks a Lua value by descriptor and tells a sink. Fields go in the order of
// their numbers.
//
// Access is raw throughout: no metamethod of a service runs while a message is encoded, so nothing
// can change under the walk. Strictness costs one count: the keys that belong to the contract are
// counted on the way, and only when the table has more keys than those is the culprit looked for.
// Depth is bounded by the same limit as the format's, so a table that contains itself ends in an
// error, and the C stack is safe.
//
// All scratch memory is Lua's, on the C stack or the codec's (lua_release): a memory error leaves nothing behind. `out` is
// the caller's.
#include "lua_internal.h"
#include "wire.h"

#include <stdio.h>

int lua_read_open(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                  const struct pb_message *type) {
    if (r->depth > PB_MAX_DEPTH || !lua_checkstack(r->L, 20)) {
        return lua_fail(r, at, "nested more than %d deep (a table that contains itself?)",
                        PB_MAX_DEPTH);
    }
    r->depth++;
    return r->sink->ops->message(r->sink, field, type);
}

int lua_read_close(struct lua_reader *r) {
    r->depth--;
    return r->sink->ops->message_end(r->sink);
}

// ---- what the contract lacks

static bool is_own_key(lua_State *L, const struct pb_message *type, int index) {
    if (lua_touserdata(L, index) == &LUA_UNKNOWN) return true;
    if (lua_type(L, index) != LUA_TSTRING) return false;
    struct str key = lua_to_str(L, index);
    const struct pb_field *field = pb_field_by_name(type, key);
    if (field != NULL && str_equal(field->name, key)) return true;
    for (size_t i = 0; i < type->oneof_count; i++) {
        if (!type->oneofs[i].synthetic && str_equal(type->oneofs[i].name, key)) return true;
    }
    return false;
}

static int fail_key(struct lua_reader *r, const struct lua_place *at, const struct pb_message *type,
                    int index) {
    lua_State *L = r->L;
    char text[300];
    if (lua_type(L, index) == LUA_TSTRING) {
        struct str key = lua_to_str(L, index);
        struct str near = pb_suggest_field(type, key);
        int n = (int)(key.n > 60 ? 60 : key.n);
        if (near.n > 0) {
            snprintf(text, sizeof text, "has no field \"%.*s\" (did you mean \"%s\"?)", n, key.p,
                     near.p);
        } else {
            snprintf(text, sizeof text, "has no field \"%.*s\"", n, key.p);
        }
    } else if (lua_type(L, index) == LUA_TNUMBER) {
        snprintf(text, sizeof text, "has no field %.14g", lua_tonumber(L, index));
    } else {
        snprintf(text, sizeof text, "has no field that is a %s", lua_kind(L, index));
    }
    if (at != NULL) return lua_fail(r, at, "%s %s", type->full_name.p, text);
    return err_set(r->err, STATUS_INVALID_ARGUMENT, "%s %s", type->full_name.p, text);
}

static int check_keys(struct lua_reader *r, const struct lua_place *at,
                      const struct pb_message *type, int index, size_t known) {
    lua_State *L = r->L;
    size_t keys = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        keys++;
        lua_pop(L, 1);
    }
    if (keys == known) return 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (!is_own_key(L, type, -1)) return fail_key(r, at, type, lua_gettop(L));
    }
    return 0;
}

// ---- fields

static int read_element(struct lua_reader *r, const struct lua_place *at,
                        const struct pb_field *field, int index) {
    union pb_value v;
    if (field->message != NULL) return lua_read_message(r, at, field, field->message, index);
    int rc = lua_read_scalar(r, at, field, index, &v);
    if (rc < 0) return rc;
    if (!field->repeated && !field->has_presence && lua_scalar_is_zero(field, v)) return 0;
    return r->sink->ops->value(r->sink, field, v);
}

static int read_list(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     int index) {
    lua_State *L = r->L;
    size_t n = 0;
    if (lua_type(L, index) != LUA_TTABLE) return lua_fail_type(r, at, "table (a list)", index);
    int rc = lua_read_length(r, at, index, &n);
    if (rc < 0 || n == 0) return rc;
    rc = r->sink->ops->list(r->sink, field);
    for (size_t i = 1; i <= n && rc == 0; i++) {
        struct lua_place place = {
            .up = at->up, .field = field, .kind = PLACE_INDEX, .number = (long long)i};
        lua_rawgeti(L, index, (int)i);
        rc = read_element(r, &place, field, lua_gettop(L));
        lua_pop(L, 1);
    }
    return rc < 0 ? rc : r->sink->ops->list_end(r->sink);
}

static int read_entry(struct lua_reader *r, const struct lua_place *at, const struct pb_field *map,
                      const struct lua_key *key, int index) {
    const struct pb_field *fields = map->message->fields;
    union pb_value v;
    int rc = lua_read_open(r, at, map, map->message);
    if (rc == 0) rc = r->sink->ops->value(r->sink, &fields[0], key->v);
    if (rc < 0) return rc;
    if (fields[1].message != NULL) {
        rc = lua_read_message(r, at, &fields[1], fields[1].message, index);
    } else {
        rc = lua_read_scalar(r, at, &fields[1], index, &v);
        if (rc == 0) rc = r->sink->ops->value(r->sink, &fields[1], v);
    }
    return rc < 0 ? rc : lua_read_close(r);
}

// `at->field` is what the error paths show, `field` what the sink is told; they differ inside a
// Struct.
int lua_read_map(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                 int index) {
    lua_State *L = r->L;
    struct lua_key *keys;
    size_t n;
    if (lua_type(L, index) != LUA_TTABLE) return lua_fail_type(r, at, "table (a map)", index);
    bool plain = field->parent->wkt == PB_WKT_STRUCT;
    int rc = lua_read_keys(r, at, plain ? NULL : &field->message->fields[0], index, &keys, &n);
    if (rc == 0 && n > 0) rc = r->sink->ops->list(r->sink, field);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct lua_place place =
            plain ? lua_key_place(at, NULL, &keys[i]) : lua_key_place(at->up, field, &keys[i]);
        lua_push_map_key(L, &keys[i]);
        lua_rawget(L, index);
        rc = read_entry(r, &place, field, &keys[i], lua_gettop(L));
        lua_pop(L, 1);
    }
    lua_pop(L, 1); // the keys
    return rc < 0 || n == 0 ? rc : r->sink->ops->list_end(r->sink);
}

static int read_field(struct lua_reader *r, const struct lua_place *up,
                      const struct pb_field *field, int index) {
    struct lua_place at = {.up = up, .field = field};
    if (field->is_map) return lua_read_map(r, &at, field, index);
    if (field->repeated) return read_list(r, &at, field, index);
    return read_element(r, &at, field, index);
}

// Another member of the field's oneof that is set as well is an error.
static int check_oneof(struct lua_reader *r, const struct lua_place *up,
                       const struct pb_field *field, int names, int index) {
    lua_State *L = r->L;
    const struct pb_message *type = field->parent;
    for (size_t i = field->index + 1; i < type->count; i++) {
        if (type->fields[i].oneof != field->oneof) continue;
        lua_rawgeti(L, names, (int)i + 1);
        lua_rawget(L, index);
        bool set = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (!set) continue;
        struct str name = type->oneofs[field->oneof].name;
        return lua_fail(r, up, "of the oneof %s, both \"%s\" and \"%s\" are set", name.p,
                        field->name.p, type->fields[i].name.p);
    }
    return 0;
}

// The names of oneofs among the keys: each says a member's name. Adds how many there are to
// `known`.
static int check_oneof_names(struct lua_reader *r, const struct lua_place *up,
                             const struct pb_message *type, int names, int index, size_t *known) {
    lua_State *L = r->L;
    for (size_t i = 0; i < type->oneof_count; i++) {
        if (type->oneofs[i].synthetic) continue;
        lua_rawgeti(L, names, (int)(type->count + i) + 1);
        lua_rawget(L, index);
        if (!lua_isnil(L, -1)) {
            const struct pb_field *member = NULL;
            if (lua_type(L, -1) == LUA_TSTRING) member = pb_field_by_name(type, lua_to_str(L, -1));
            if (member == NULL || member->oneof != (int)i) {
                return lua_fail(r, up, "%s is a oneof: it holds the name of the member that is set",
                                type->oneofs[i].name.p);
            }
            ++*known;
        }
        lua_pop(L, 1);
    }
    return 0;
}

static int read_unknown(struct lua_reader *r, const struct lua_place *up, int index,
                        size_t *known) {
    lua_State *L = r->L;
    int rc = 0;
    lua_push_unknown(L);
    lua_rawget(L, index);
    if (!lua_isnil(L, -1)) {
        bool ok = lua_type(L, -1) == LUA_TSTRING && wire_well_formed(lua_to_str(L, -1));
        ++*known;
        rc =
            ok ? r->sink->ops->unknown(r->sink, lua_to_str(L, -1))
               : lua_fail(r, up, "the value under proto.unknown must be the bytes of whole fields");
    }
    lua_pop(L, 1);
    return rc;
}

int lua_read_fields(struct lua_reader *r, const struct lua_place *at, const struct pb_message *type,
                    int index) {
    lua_State *L = r->L;
    size_t known = 0;
    int rc = 0;
    lua_push_type(r->p, L, r->types, type);
    int names = lua_gettop(L);
    for (size_t i = 0; i < type->count && rc == 0; i++) {
        const struct pb_field *field = &type->fields[i];
        lua_rawgeti(L, names, (int)i + 1);
        lua_rawget(L, index);
        if (!lua_isnil(L, -1)) {
            known++;
            if (field->oneof >= 0) rc = check_oneof(r, at, field, names, index);
            if (rc == 0) rc = read_field(r, at, field, names + 1);
        } else if (field->required) {
            struct lua_place place = {.up = at, .field = field};
            rc = lua_fail(r, &place, "is required");
        }
        if (rc == 0) lua_settop(L, names);
    }
    if (rc == 0 && type->oneof_count > 0) rc = check_oneof_names(r, at, type, names, index, &known);
    if (rc == 0) rc = read_unknown(r, at, index, &known);
    if (rc == 0) rc = check_keys(r, at, type, index, known);
    if (rc == 0) lua_settop(L, names - 1);
    return rc;
}

// ---- messages

int lua_read_message(struct lua_reader *r, const struct lua_place *at, const struct pb_field *field,
                     const struct pb_message *type, int index) {
    if (type->wkt != PB_WKT_NONE) return lua_read_known(r, at, field, type, index);
    if (lua_type(r->L, index) != LUA_TTABLE) return lua_fail_type(r, at, "table", index);
    int rc = lua_read_open(r, at, field, type);
    if (rc == 0) rc = lua_read_fields(r, at, type, index);
    return rc < 0 ? rc : lua_read_close(r);
}

static int read_root(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                     struct pb_sink *sink, struct err *err) {
    int top = lua_gettop(L);
    if (index < 0) index = top + 1 + index;
    luaL_checkstack(L, 20, "encoding");
    lua_push_types(p, L);
    struct lua_reader r = {
        .p = p, .L = L, .sink = sink, .root = type, .err = err, .types = top + 1};
    int rc = lua_read_message(&r, NULL, NULL, type, index);
    lua_settop(L, top);
    return rc;
}

int pb_lua_to_wire(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                   struct buf *out, struct err *err) {
    struct pb_wire_sink w;
    pb_wire_sink_init(&w, out, err);
    int rc = read_root(p, L, index, type, &w.sink, err);
    return rc == 0 ? pb_wire_sink_done(&w) : rc;
}

int pb_lua_to_json(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                   const struct pb_json_style *style, struct buf *out, struct err *err) {
    lua_release(p);
    p->json = pb_json_sink_new(p->pool, style, out, err);
    if (p->json == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    int rc = read_root(p, L, index, type, pb_json_sink(p->json), err);
    if (rc == 0 && out->failed) rc = err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    lua_release(p);
    return rc;
}
