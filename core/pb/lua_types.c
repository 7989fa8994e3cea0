// SPDX-License-Identifier: Apache-2.0
// One metatable for every message type of a VM, made when first needed.
//
// Its array part holds the names of the fields and oneofs, so that decoding and encoding push them
// without hashing. Its __index makes reading strict: a table of the defaults of scalars without
// presence (LuaJIT follows it without a call), whose own __index is a C function for all the rest:
// a fresh table for a repeated field or a map, nil for what may be absent, an error for what the
// contract lacks. A field that was set is in the message itself and costs nothing.
//
// The types table leads from a metatable back to its message. Services never see a metatable
// (__metatable is the type's name), so the pointers in it can be trusted. It also holds an anchor
// that keeps the pool alive until the VM is closed, whenever the pb_lua itself is deleted.
#include "lua_internal.h"

#include "base/pool.h"
#include "json_reader.h"

#include <stdlib.h>

enum kind { KIND_NIL = 1, KIND_TABLE = 2 }; // what reading an absent field gives

// ---- reading what is absent

static int raise_no_field(lua_State *L, const struct pb_message *type) {
    if (lua_type(L, 2) != LUA_TSTRING) {
        lua_pushvalue(L, 2);
        const char *key = lua_type(L, 2) == LUA_TNUMBER ? lua_tostring(L, -1) : lua_kind(L, 2);
        return luaL_error(L, "%s has no field %s", type->full_name.p, key);
    }
    struct str near = pb_suggest_field(type, lua_to_str(L, 2));
    if (near.n == 0)
        return luaL_error(L, "%s has no field \"%s\"", type->full_name.p, lua_tostring(L, 2));
    return luaL_error(L, "%s has no field \"%s\" (did you mean \"%s\"?)", type->full_name.p,
                      lua_tostring(L, 2), near.p);
}

// upvalues: the message, the table of kinds by name
static int on_index(lua_State *L) {
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    switch ((int)lua_tonumber(L, -1)) {
    case KIND_NIL: lua_pushnil(L); return 1;
    case KIND_TABLE: lua_newtable(L); return 1;
    default: return raise_no_field(L, lua_touserdata(L, lua_upvalueindex(1)));
    }
}

void lua_push_zero(lua_State *L, const struct pb_field *field) {
    switch (field->type) {
    case PB_BOOL: lua_pushboolean(L, 0); break;
    case PB_STRING:
    case PB_BYTES: lua_pushliteral(L, ""); break;
    case PB_ENUM: lua_push_str(L, field->enumeration->values[0].name); break;
    default:
        if (field->jstype == PB_JS_STRING) {
            lua_pushliteral(L, "0");
        } else {
            lua_pushnumber(L, 0);
        }
    }
}

// ---- making a type

static void set_kind(lua_State *L, int kinds, enum kind kind) { // name on top
    lua_pushnumber(L, kind);
    lua_rawset(L, kinds);
}

static void make_index(lua_State *L, const struct pb_message *type, int mt) {
    lua_newtable(L);
    int defaults = lua_gettop(L);
    lua_newtable(L);
    int kinds = lua_gettop(L);
    for (size_t i = 0; i < type->count; i++) {
        const struct pb_field *field = &type->fields[i];
        lua_rawgeti(L, mt, (int)i + 1);
        if (field->repeated || field->has_presence || field->message != NULL) {
            set_kind(L, kinds, field->repeated ? KIND_TABLE : KIND_NIL);
        } else {
            lua_push_zero(L, field);
            lua_rawset(L, defaults);
        }
    }
    for (size_t i = 0; i < type->oneof_count; i++) {
        if (type->oneofs[i].synthetic) continue;
        lua_rawgeti(L, mt, (int)(type->count + i) + 1);
        set_kind(L, kinds, KIND_NIL);
    }
    lua_push_unknown(L);
    set_kind(L, kinds, KIND_NIL);
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, (void *)type);
    lua_pushvalue(L, kinds);
    lua_pushcclosure(L, on_index, 2);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, defaults);
    lua_pushvalue(L, defaults);
    lua_setfield(L, mt, "__index");
    lua_settop(L, mt);
}

static void make_type(struct pb_lua *p, lua_State *L, int types, const struct pb_message *type) {
    lua_createtable(L, (int)(type->count + type->oneof_count), 2);
    int mt = lua_gettop(L);
    for (size_t i = 0; i < type->count; i++) {
        lua_push_str(L, type->fields[i].name);
        lua_rawseti(L, mt, (int)i + 1);
    }
    for (size_t i = 0; i < type->oneof_count; i++) {
        lua_push_str(L, type->oneofs[i].name);
        lua_rawseti(L, mt, (int)(type->count + i) + 1);
    }
    lua_push_str(L, type->full_name);
    lua_setfield(L, mt, "__metatable");
    make_index(L, type, mt);
    lua_pushvalue(L, mt);
    lua_pushlightuserdata(L, (void *)type);
    lua_rawset(L, types);
    lua_pushvalue(L, mt);
    lua_rawseti(L, types, (int)type->index + 1);
    p->ready[type->index] = 1;
}

void lua_push_types(struct pb_lua *p, lua_State *L) { lua_rawgeti(L, LUA_REGISTRYINDEX, p->types); }

void lua_push_type(struct pb_lua *p, lua_State *L, int types, const struct pb_message *type) {
    if (p->ready[type->index]) {
        lua_rawgeti(L, types, (int)type->index + 1);
    } else {
        luaL_checkstack(L, 10, "message types");
        make_type(p, L, types, type);
    }
}

// ---- the object

static int anchor_gc(lua_State *L) {
    struct pb_pool **pool = lua_touserdata(L, 1);
    pb_pool_drop(*pool);
    *pool = NULL;
    return 0;
}

// Runs protected: its argument is the pb_lua.
static int set_up(lua_State *L) {
    struct pb_lua *p = lua_touserdata(L, 1);
    pb_lua_open(L);
    lua_newtable(L);
    struct pb_pool **anchor = lua_newuserdata(L, sizeof(struct pb_pool *));
    *anchor = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, anchor_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *anchor = pb_pool_hold(p->pool);
    lua_rawseti(L, -2, 0);
    p->types = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct pb_lua *pb_lua_new(lua_State *L, struct pb_pool *pool) {
    struct pb_lua *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->pool = pb_pool_hold(pool);
    p->ready = calloc(pool->message_count + 1, sizeof *p->ready);
    p->hint = calloc(pool->message_count + 1, sizeof *p->hint);
    if (p->ready != NULL && p->hint != NULL) {
        if (lua_cpcall(L, set_up, p) == 0) return p;
        lua_pop(L, 1);
    }
    pb_lua_delete(p);
    return NULL;
}

void lua_release(struct pb_lua *p) {
    buf_free(&p->wire);
    pb_json_sink_delete(p->json);
    p->json = NULL;
    if (p->reader == NULL) return;
    json_reader_free(p->reader);
    pool_give_sized(p->reader, sizeof *p->reader);
    p->reader = NULL;
}

void pb_lua_delete(struct pb_lua *p) {
    if (p == NULL) return;
    lua_release(p);
    pb_pool_drop(p->pool);
    free(p->ready);
    free(p->hint);
    free(p);
}

struct pb_pool *pb_lua_pool(const struct pb_lua *p) {
    return p->pool;
}

void pb_lua_push_new(struct pb_lua *p, lua_State *L, const struct pb_message *type) {
    luaL_checkstack(L, 5, "a message");
    lua_newtable(L);
    lua_push_types(p, L);
    lua_push_type(p, L, lua_gettop(L), type);
    lua_setmetatable(L, -3);
    lua_pop(L, 1);
}

const struct pb_message *pb_lua_type(struct pb_lua *p, lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) return NULL;
    lua_push_types(p, L);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    const struct pb_message *type = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return type;
}

// ---- complete

// A proto2 default as descriptor.proto spells it; bytes are C-escaped there.
static void push_bytes_default(lua_State *L, struct str text) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < text.n; i++) {
        const char *letters = "n\nr\rt\ta\ab\bf\fv\v";
        if (text.p[i] != '\\' || i + 1 == text.n) {
            luaL_addchar(&b, text.p[i]);
            continue;
        }
        char c = text.p[++i];
        if (c >= '0' && c <= '7') {
            int byte = 0;
            size_t stop = i + 3;
            for (; i < text.n && i < stop && text.p[i] >= '0' && text.p[i] <= '7'; i++)
                byte = byte * 8 + text.p[i] - '0';
            i--;
            luaL_addchar(&b, (char)byte);
            continue;
        }
        for (const char *l = letters; *l != '\0'; l += 2) {
            if (*l != c) continue;
            c = l[1];
            break;
        }
        luaL_addchar(&b, c);
    }
    luaL_pushresult(&b);
}

static void push_default(lua_State *L, const struct pb_field *field) {
    struct str text = field->default_text; // NUL-terminated, as all texts of a pool
    int128 v;
    switch (field->type) {
    case PB_STRING: lua_push_str(L, text); break;
    case PB_BYTES: push_bytes_default(L, text); break;
    case PB_BOOL: lua_pushboolean(L, str_is(text, "true")); break;
    case PB_ENUM: lua_push_str(L, text); break;
    case PB_DOUBLE:
    case PB_FLOAT: lua_pushnumber(L, strtod(text.p, NULL)); break;
    default:
        if (!lua_int64_parse(text, &v)) {
            lua_push_zero(L, field);
        } else {
            union pb_value value = {.i = (int64_t)v};
            lua_push_integer(L, field, value);
        }
    }
}

struct completion {
    struct pb_lua *p;
    struct err *err;
    int types;
};

static int complete(struct completion *c, lua_State *L, int index, const struct pb_message *type,
                    int depth);

// The messages in the field's value, which is on top: one, or those of a list or map.
static int complete_inner(struct completion *c, lua_State *L, const struct pb_field *field,
                          int depth) {
    const struct pb_message *type =
        field->is_map ? field->message->fields[1].message : field->message;
    if (type == NULL || type->wkt != PB_WKT_NONE || lua_type(L, -1) != LUA_TTABLE) return 0;
    int value = lua_gettop(L), rc = 0;
    if (!field->repeated) return complete(c, L, value, type, depth);
    lua_pushnil(L);
    while (rc == 0 && lua_next(L, value)) {
        rc = lua_type(L, -1) == LUA_TTABLE ? complete(c, L, lua_gettop(L), type, depth) : 0;
        lua_pop(L, 1);
    }
    return rc;
}

static int complete(struct completion *c, lua_State *L, int index, const struct pb_message *type,
                    int depth) {
    if (depth > PB_MAX_DEPTH || !lua_checkstack(L, 10)) {
        return err_set(c->err, STATUS_INVALID_ARGUMENT, "%s: nested more than %d deep",
                       type->full_name.p, PB_MAX_DEPTH);
    }
    lua_push_type(c->p, L, c->types, type);
    int names = lua_gettop(L), rc = 0;
    for (size_t i = 0; i < type->count && rc == 0; i++) {
        const struct pb_field *field = &type->fields[i];
        lua_rawgeti(L, names, (int)i + 1);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        if (!lua_isnil(L, -1)) {
            rc = complete_inner(c, L, field, depth + 1);
        } else if (field->repeated || !field->has_presence ||
                   (field->default_text.n > 0 && field->oneof < 0)) {
            lua_pop(L, 1);
            if (field->repeated) {
                lua_newtable(L);
            } else if (field->default_text.n > 0) {
                push_default(L, field);
            } else {
                lua_push_zero(L, field);
            }
            lua_rawset(L, index);
        }
        lua_settop(L, names);
    }
    lua_settop(L, names - 1);
    return rc;
}

int pb_lua_complete(struct pb_lua *p, lua_State *L, int index, const struct pb_message *type,
                    struct err *err) {
    int top = lua_gettop(L);
    if (index < 0) index = top + 1 + index;
    if (lua_type(L, index) != LUA_TTABLE) {
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s: expected table, got %s",
                       type->full_name.p, lua_kind(L, index));
    }
    lua_push_types(p, L);
    struct completion c = {p, err, lua_gettop(L)};
    int rc = complete(&c, L, index, type, 0);
    lua_settop(L, top);
    return rc;
}
