// SPDX-License-Identifier: Apache-2.0
// Decoding: a sink that builds Lua tables.
//
// Every open message, list, map or entry is a frame, with its values on the Lua stack from `slot`:
//   MESSAGE             the metatable (whose array part has the names), the table
//   ENTRY               the key, the value; nil until they came
//   WRAPPER, VALUE      the bare value; nil until it came
//   STRUCT, LIST_VALUE  the plain table
//   LIST, MAP           the table (of a Struct or ListValue: that one's own)
// A frame that ends leaves one value on top, which its parent takes. A message field that comes a
// second time goes on with the table of the first, which is how messages merge.
//
// The sink allocates only Lua's memory, since any call may leave it by a memory error. Unknown
// fields are gathered in a userdata that doubles (appending to a Lua string each time would be
// quadratic) and become strings at the end.
#include "lua_internal.h"

#include "base/pool.h"
#include "json_reader.h"

#include <assert.h>
#include <stdio.h>

enum kind { MESSAGE, ENTRY, WRAPPER, VALUE, STRUCT, LIST_VALUE, LIST, MAP };

struct frame {
    const struct pb_field *field; // what it is in its parent; NULL: the root
    const struct pb_message *type;
    int slot;
    int n;       // LIST: elements; MESSAGE: keys that were set
    bool merged; // the parent has it already
    enum kind kind;
};

struct lua_sink {
    struct pb_sink sink;
    struct pb_lua *p;
    lua_State *L;
    int types;   // stack index of the types table
    int pending; // of the list of messages with unknown fields; nil until there is one
    int pending_count;
    int depth;
    struct frame stack[2 * PB_MAX_DEPTH + 8];
};

struct gathered { // unknown fields, in a userdata
    size_t n, cap;
    char bytes[];
};

static struct frame *top_of(struct lua_sink *s) { return &s->stack[s->depth - 1]; }

// ---- errors

static size_t put_step(char *path, size_t n, size_t size, const struct frame *list,
                       const struct pb_field *field) {
    if (n >= size) return n;
    const char *dot = n > 0 ? "." : "";
    int more = list == NULL ? snprintf(path + n, size - n, "%s%s", dot, field->name.p)
                            : snprintf(path + n, size - n, "%s%s[%d]", dot, field->name.p, list->n);
    return n + (size_t)more;
}

static int no_exact_number(struct lua_sink *s, const struct pb_field *field) {
    char path[300] = "";
    size_t n = 0;
    for (int i = 1; i < s->depth; i++) {
        const struct frame *f = &s->stack[i];
        bool element =
            f->field->repeated && f->kind != LIST && f->kind != MAP; // its list has shown it
        if (!element) n = put_step(path, n, sizeof path, f->kind == LIST ? f : NULL, f->field);
    }
    if (top_of(s)->kind != LIST && top_of(s)->kind != ENTRY)
        put_step(path, n, sizeof path, NULL, field);
    return err_set(s->sink.err, STATUS_INVALID_ARGUMENT,
                   "%s: is beyond 2^53, which the contract excludes (JS_NUMBER)", path);
}

// ---- scalars

static bool is_unsigned(enum pb_type type) {
    return type == PB_UINT64 || type == PB_FIXED64 || type == PB_UINT32 || type == PB_FIXED32;
}

static bool is_exact(const struct pb_field *field, union pb_value v) {
    if (is_unsigned(field->type)) return v.u <= (uint64_t)LUA_EXACT;
    return v.i >= -LUA_EXACT && v.i <= LUA_EXACT;
}

static void push_decimal(lua_State *L, const struct pb_field *field, union pb_value v) {
    char text[24];
    int128 wide = is_unsigned(field->type) ? (int128)v.u : (int128)v.i;
    lua_pushlstring(L, text, lua_int64_format(wide, text));
}

void lua_push_integer(lua_State *L, const struct pb_field *field, union pb_value v) {
    if (field->jstype == PB_JS_STRING) {
        push_decimal(L, field, v);
    } else if (is_unsigned(field->type)) {
        pb_lua_push_u64(L, v.u, false);
    } else {
        pb_lua_push_i64(L, v.i, false);
    }
}

static void push_enum(lua_State *L, const struct pb_enum *e, int32_t number) {
    const struct pb_enum_value *value = pb_enum_by_number(e, number);
    if (value != NULL) {
        lua_push_str(L, value->name);
    } else {
        lua_pushnumber(L, number);
    }
}

static int push_scalar(struct lua_sink *s, const struct pb_field *field, union pb_value v) {
    lua_State *L = s->L;
    switch (field->type) {
    case PB_DOUBLE:
    case PB_FLOAT: lua_pushnumber(L, v.d); break;
    case PB_BOOL: lua_pushboolean(L, v.i != 0); break;
    case PB_STRING:
    case PB_BYTES: lua_push_str(L, v.s); break;
    case PB_ENUM: push_enum(L, field->enumeration, (int32_t)v.i); break;
    case PB_UINT32:
    case PB_FIXED32: lua_pushnumber(L, (double)v.u); break;
    case PB_INT32:
    case PB_SINT32:
    case PB_SFIXED32: lua_pushnumber(L, (double)v.i); break;
    default:
        if (field->jstype == PB_JS_NUMBER && !is_exact(field, v)) return no_exact_number(s, field);
        lua_push_integer(L, field, v);
    }
    return 0;
}

static bool is_wide(enum pb_type type) {
    return type == PB_INT64 || type == PB_UINT64 || type == PB_SINT64 || type == PB_FIXED64 ||
           type == PB_SFIXED64;
}

// ---- giving a value to the frame that contains it

// The oneof's name in a message becomes the member's; what another member held is cleared.
static void set_oneof(lua_State *L, const struct frame *f, const struct pb_field *field) {
    int names = f->slot, table = f->slot + 1;
    lua_rawgeti(L, names, (int)f->type->count + field->oneof + 1);
    lua_pushvalue(L, -1);
    lua_rawget(L, table);
    lua_rawgeti(L, names, (int)field->index + 1);
    if (lua_rawequal(L, -1, -2)) {
        lua_pop(L, 3);
        return;
    }
    lua_insert(L, -2); // oneof, member, former
    if (!lua_isnil(L, -1)) {
        lua_pushnil(L);
        lua_rawset(L, table);
    } else {
        lua_pop(L, 1);
    }
    lua_rawset(L, table);
}

// Takes the value on top.
static void give(struct lua_sink *s, const struct pb_field *field) {
    if (s->depth == 0) return; // the root: it is the result
    lua_State *L = s->L;
    struct frame *f = top_of(s);
    switch (f->kind) {
    case MESSAGE:
        if (field->oneof >= 0) set_oneof(L, f, field);
        lua_rawgeti(L, f->slot, (int)field->index + 1);
        lua_insert(L, -2);
        lua_rawset(L, f->slot + 1);
        f->n++;
        break;
    case ENTRY: lua_replace(L, field->number == 1 ? f->slot : f->slot + 1); break;
    case LIST: lua_rawseti(L, f->slot, ++f->n); break;
    default: lua_replace(L, f->slot); break;
    }
}

static int on_value(struct pb_sink *sink, const struct pb_field *field, union pb_value v) {
    struct lua_sink *s = (struct lua_sink *)sink;
    const struct frame *f = top_of(s);
    if (f->kind == VALUE && field->number == 1) {
        lua_push_null(s->L);
    } else if (f->kind == ENTRY && field->number == 1 && is_wide(field->type) &&
               !is_exact(field, v)) {
        push_decimal(s->L, field, v); // an int64 would not be found by who looks the key up
    } else {
        int rc = push_scalar(s, field, v);
        if (rc < 0) return rc;
    }
    give(s, field);
    return 0;
}

// ---- messages

// What the parent has for the field so far, or nil.
static void push_former(struct lua_sink *s, const struct pb_field *field) {
    lua_State *L = s->L;
    const struct frame *f = s->depth == 0 ? NULL : top_of(s);
    if (f == NULL || f->kind == LIST || f->kind == MAP) {
        lua_pushnil(L);
    } else if (f->kind == MESSAGE) {
        lua_rawgeti(L, f->slot, (int)field->index + 1);
        lua_rawget(L, f->slot + 1);
    } else if (f->kind == ENTRY) {
        lua_pushvalue(L, f->slot + 1);
    } else {
        lua_pushvalue(L, f->slot);
    }
}

static enum kind kind_of(const struct pb_field *field, const struct pb_message *type) {
    switch (type->wkt) {
    case PB_WKT_WRAPPER: return WRAPPER;
    case PB_WKT_VALUE: return VALUE;
    case PB_WKT_STRUCT: return STRUCT;
    case PB_WKT_LIST_VALUE: return LIST_VALUE;
    default: return field != NULL && field->is_map ? ENTRY : MESSAGE;
    }
}

// Pushes the table of a frame: the former one, or a new one.
static bool push_table(struct lua_sink *s, enum kind kind, const struct pb_field *field,
                       const struct pb_message *type) {
    lua_State *L = s->L;
    push_former(s, field);
    bool usable = lua_type(L, -1) == LUA_TTABLE;
    // In a Value, a list does not go on with an object, nor the other way round.
    if (usable && top_of(s)->kind == VALUE) usable = lua_is_array(L, -1) == (kind == LIST_VALUE);
    if (usable) return true;
    lua_pop(L, 1);
    lua_createtable(L, 0, kind == MESSAGE ? s->p->hint[type->index] : 0);
    if (kind == LIST_VALUE) lua_mark_array(L);
    return false;
}

static int on_message(struct pb_sink *sink, const struct pb_field *field,
                      const struct pb_message *type) {
    struct lua_sink *s = (struct lua_sink *)sink;
    lua_State *L = s->L;
    if (s->depth >= (int)(sizeof s->stack / sizeof *s->stack) || !lua_checkstack(L, 12)) {
        return err_set(sink->err, STATUS_INVALID_ARGUMENT, "nested more than %d deep",
                       PB_MAX_DEPTH);
    }
    struct frame f = {
        .field = field, .type = type, .kind = kind_of(field, type), .slot = lua_gettop(L) + 1};
    switch (f.kind) {
    case MESSAGE:
        lua_push_type(s->p, L, s->types, type);
        f.merged = push_table(s, f.kind, field, type);
        if (!f.merged) {
            lua_pushvalue(L, f.slot);
            lua_setmetatable(L, -2);
        }
        break;
    case STRUCT:
    case LIST_VALUE: f.merged = push_table(s, f.kind, field, type); break;
    case ENTRY:
        lua_pushnil(L);
        lua_pushnil(L);
        break;
    default: push_former(s, field); break;
    }
    s->stack[s->depth++] = f;
    return 0;
}

// Seconds and nanos are always there, so that a service can compute with a Timestamp that it hands
// on as plain data.
static void fill_time(lua_State *L, const struct frame *f) {
    for (int i = 1; i <= 2; i++) {
        lua_rawgeti(L, f->slot, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, f->slot + 1);
        bool absent = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (absent) {
            lua_pushnumber(L, 0);
            lua_rawset(L, f->slot + 1);
        } else {
            lua_pop(L, 1);
        }
    }
}

static void end_entry(struct lua_sink *s, const struct frame *f) {
    lua_State *L = s->L;
    const struct pb_field *value = &f->type->fields[1];
    if (lua_isnil(L, f->slot)) {
        lua_push_zero(L, &f->type->fields[0]);
        lua_replace(L, f->slot);
    }
    if (lua_isnil(L, f->slot + 1)) {
        if (value->message == NULL) {
            lua_push_zero(L, value);
        } else if (value->message->wkt == PB_WKT_WRAPPER) {
            lua_push_zero(L, &value->message->fields[0]);
        } else if (value->message->wkt == PB_WKT_VALUE) {
            lua_push_null(L);
        } else if (kind_of(NULL, value->message) == MESSAGE) {
            pb_lua_push_new(s->p, L, value->message);
        } else {
            lua_newtable(L);
            if (value->message->wkt == PB_WKT_LIST_VALUE) lua_mark_array(L);
        }
        lua_replace(L, f->slot + 1);
    }
    lua_rawset(L, top_of(s)->slot); // the MAP's table
}

static int on_message_end(struct pb_sink *sink) {
    struct lua_sink *s = (struct lua_sink *)sink;
    lua_State *L = s->L;
    struct frame f = s->stack[--s->depth];
    switch (f.kind) {
    case ENTRY: end_entry(s, &f); return 0;
    case MESSAGE: {
        if (f.type->wkt == PB_WKT_TIMESTAMP || f.type->wkt == PB_WKT_DURATION) fill_time(L, &f);
        unsigned hint = (s->p->hint[f.type->index] + (unsigned)f.n + 1) / 2;
        s->p->hint[f.type->index] = (uint16_t)(hint > 256 ? 256 : hint);
        lua_replace(L, f.slot);
        break;
    }
    case WRAPPER:
    case VALUE:
        if (!lua_isnil(L, f.slot)) break;
        lua_pop(L, 1);
        if (f.kind == VALUE) {
            lua_push_null(L);
        } else {
            lua_push_zero(L, &f.type->fields[0]);
        }
        break;
    default: break;
    }
    if (f.merged) {
        lua_pop(L, 1);
    } else {
        give(s, f.field);
    }
    return 0;
}

// ---- lists

static int on_list(struct pb_sink *sink, const struct pb_field *field) {
    struct lua_sink *s = (struct lua_sink *)sink;
    lua_State *L = s->L;
    if (s->depth >= (int)(sizeof s->stack / sizeof *s->stack) || !lua_checkstack(L, 12)) {
        return err_set(sink->err, STATUS_INVALID_ARGUMENT, "nested more than %d deep",
                       PB_MAX_DEPTH);
    }
    struct frame f = {
        .field = field, .kind = field->is_map ? MAP : LIST, .slot = lua_gettop(L) + 1};
    push_former(s, field); // of a Struct or ListValue: its own table
    f.merged = lua_type(L, -1) == LUA_TTABLE;
    if (!f.merged) {
        lua_pop(L, 1);
        lua_newtable(L);
    } else if (f.kind == LIST) {
        f.n = (int)lua_objlen(L, -1);
    }
    s->stack[s->depth++] = f;
    return 0;
}

static int on_list_end(struct pb_sink *sink) {
    struct lua_sink *s = (struct lua_sink *)sink;
    struct frame f = s->stack[--s->depth];
    if (f.merged) {
        lua_pop(s->L, 1);
    } else {
        give(s, f.field);
    }
    return 0;
}

// ---- unknown fields

static struct gathered *push_gathered(lua_State *L, size_t cap) {
    struct gathered *g = lua_newuserdata(L, sizeof *g + cap);
    g->n = 0;
    g->cap = cap;
    return g;
}

static void remember_pending(struct lua_sink *s, int table) {
    lua_State *L = s->L;
    if (s->pending_count == 0) {
        lua_newtable(L);
        lua_replace(L, s->pending);
    }
    lua_pushvalue(L, table);
    lua_rawseti(L, s->pending, ++s->pending_count);
}

static int on_unknown(struct pb_sink *sink, struct str bytes) {
    struct lua_sink *s = (struct lua_sink *)sink;
    lua_State *L = s->L;
    const struct frame *f = top_of(s);
    if (f->kind != MESSAGE) return 0; // the plain forms have no place for them
    int table = f->slot + 1;
    lua_push_unknown(L);
    lua_rawget(L, table);
    struct gathered *g = lua_touserdata(L, -1);
    if (g == NULL || g->cap - g->n < bytes.n) {
        size_t n = g == NULL ? 0 : g->n;
        lua_push_unknown(L);
        struct gathered *bigger = push_gathered(L, 2 * (n + bytes.n) + 32);
        if (n > 0) memcpy(bigger->bytes, g->bytes, n);
        bigger->n = n;
        lua_rawset(L, table);
        if (g == NULL) remember_pending(s, table);
        g = bigger;
    }
    memcpy(g->bytes + g->n, bytes.p, bytes.n);
    g->n += bytes.n;
    lua_pop(L, 1);
    return 0;
}

static void finish_unknown(struct lua_sink *s) {
    lua_State *L = s->L;
    for (int i = 1; i <= s->pending_count; i++) {
        lua_rawgeti(L, s->pending, i);
        lua_push_unknown(L);
        lua_push_unknown(L);
        lua_rawget(L, -3);
        const struct gathered *g = lua_touserdata(L, -1);
        lua_pushlstring(L, g->bytes, g->n);
        lua_remove(L, -2);
        lua_rawset(L, -3);
        lua_pop(L, 1);
    }
}

static const struct pb_sink_ops OPS = {
    .message = on_message,
    .message_end = on_message_end,
    .list = on_list,
    .list_end = on_list_end,
    .value = on_value,
    .unknown = on_unknown,
};

// Begins a sink on L's stack, where two values are kept for it.
static void begin(struct lua_sink *s, struct pb_lua *p, lua_State *L, struct err *err) {
    int base = lua_gettop(L);
    luaL_checkstack(L, 20, "decoding");
    lua_push_types(p, L);
    lua_pushnil(L);
    s->sink = (struct pb_sink){.ops = &OPS, .err = err};
    s->p = p;
    s->L = L;
    s->types = base + 1;
    s->pending = base + 2;
    s->pending_count = s->depth = 0;
}

// Leaves the message that was built, or nothing.
static int finish(struct lua_sink *s, int rc) {
    lua_State *L = s->L;
    if (rc < 0) {
        lua_settop(L, s->types - 1);
        return rc;
    }
    assert(lua_gettop(L) == s->types + 2);
    finish_unknown(s);
    lua_replace(L, s->types);
    lua_settop(L, s->types);
    return 0;
}

int pb_lua_from_wire(struct pb_lua *p, lua_State *L, const struct pb_message *type,
                     struct str bytes, struct err *err) {
    struct lua_sink s;
    begin(&s, p, L, err);
    return finish(&s, pb_read_wire(type, bytes, &s.sink));
}

static int from_json_directly(struct pb_lua *p, lua_State *L, const struct pb_message *type,
                              struct str json, struct err *err) {
    struct lua_sink s;
    p->reader = pool_take_zeroed(sizeof *p->reader);
    if (p->reader == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    begin(&s, p, L, err);
    return finish(&s, json_reader_run(p->reader, p->pool, type, json, &s.sink));
}

// A Lua memory error in the midst of it leaks nothing: the reader's memory is the codec's. For maps and well-known types it needs
// more than that; then it writes the binary form, and that is decoded.
int pb_lua_from_json(struct pb_lua *p, lua_State *L, const struct pb_message *type, struct str json,
                     struct err *err) {
    int rc;
    lua_release(p);
    if (!type->has_special) {
        rc = from_json_directly(p, L, type, json, err);
    } else {
        rc = pb_json_to_wire(p->pool, type, json, &p->wire, err);
        if (rc == 0) rc = pb_lua_from_wire(p, L, type, buf_str(&p->wire), err);
    }
    lua_release(p);
    return rc;
}
