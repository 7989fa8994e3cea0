// SPDX-License-Identifier: Apache-2.0
// The part of `core` that knows the contract: what it says (contract, fields, enum_values) and conversions of single
// messages (encode, decode, json, from_json, new, complete, type), and the codec's own values (proto).
//
// Two codecs serve a VM: that of its own contract, and the platform's for names under "mica." and "google.". A name is
// looked up in the own contract first, since that may import either.
//
// A conversion keeps its bytes in a buf, outside the VM's arena, while Lua may raise for memory: so it runs as a `job` in a
// protected call of its own, the buf is freed, and only then is the error raised on. Run by the VM's thread, inside a
// protected call, as every binding is.
#include "vm/bind.h"

#include "vm/source.h"

#include <assert.h>

struct named_type {
    struct pb_lua *codec;
    const struct pb_message *type;
};

static bool belongs_to_platform(struct str name) {
    return str_starts(name, "mica.") || str_starts(name, "google.");
}

static struct named_type find_type(struct vm *vm, struct str name) {
    struct pb_lua *codec = vm_codec_own(vm);
    const struct pb_message *type = codec ? pb_find_message(pb_lua_pool(codec), name) : NULL;
    if (type == NULL && belongs_to_platform(name)) {
        codec = vm_codec_platform(vm);
        type = codec ? pb_find_message(pb_lua_pool(codec), name) : NULL;
    }
    return (struct named_type){type ? codec : NULL, type};
}

static struct named_type check_type(lua_State *L, int arg) {
    struct str name = bind_str(L, arg);
    struct named_type t = find_type(bind_vm(L), name);
    if (t.type == NULL) {
        luaL_error(L, "no message type \"%s\" in the contract of this service (import its .proto)",
                   name.p);
    }
    return t;
}

// ---- what the contract says

static void set_str(lua_State *L, const char *key, struct str value) {
    bind_push_str(L, value);
    lua_setfield(L, -2, key);
}

static void set_bool(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, key);
}

// A rule of google.api.http: { method =, template =, body =, response_body = }.
static void push_rules(lua_State *L, const struct pb_method *m) {
    lua_createtable(L, (int)m->http_count, 0);
    for (size_t i = 0; i < m->http_count; i++) {
        lua_createtable(L, 0, 4);
        set_str(L, "method", m->http[i].method);
        set_str(L, "template", m->http[i].template);
        set_str(L, "body", m->http[i].body);
        set_str(L, "response_body", m->http[i].response_body);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_method(lua_State *L, const struct pb_method *m) {
    lua_createtable(L, 0, 11);
    set_str(L, "name", m->name);
    set_number(L, "index", (double)m->index);
    set_str(L, "path", m->path);
    set_str(L, "comment", m->comment);
    set_bool(L, "client_streaming", m->client_streaming);
    set_bool(L, "server_streaming", m->server_streaming);
    set_str(L, "input", m->input->full_name);
    set_str(L, "output", m->output->full_name);
    set_number(L, "idempotency", m->idempotency);
    set_number(L, "line", m->line);
    push_rules(L, m);
    lua_setfield(L, -2, "http");
}

static void push_service(lua_State *L, const struct pb_service *s) {
    lua_createtable(L, 0, 5);
    set_str(L, "name", s->name);
    set_str(L, "full_name", s->full_name);
    set_str(L, "file", s->file);
    set_str(L, "comment", s->comment);
    lua_createtable(L, (int)s->count, 0);
    for (size_t i = 0; i < s->count; i++) {
        push_method(L, &s->methods[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "methods");
}

static int push_services(lua_State *L, bool all) {
    struct vm *vm = bind_vm(L);
    const struct source *source = vm_configuration(vm)->source;
    lua_newtable(L);
    if (source == NULL || source->pool == NULL) return 1;
    int n = 0;
    for (size_t i = 0; i < source->pool->service_count; i++) {
        const struct pb_service *s = &source->pool->services[i];
        if (!all && !source_owns_proto(source, s->file)) continue;
        push_service(L, s);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

// contract(): the services of the service's own .proto files, not those of what they import.
static int contract(lua_State *L) { return push_services(L, false); }

// services(): these and all others that its .proto files know.
static int services(lua_State *L) { return push_services(L, true); }

// disown(file): it is the contract of another server.
static int disown(lua_State *L) {
    source_disown_proto(vm_configuration(bind_vm(L))->source, bind_str(L, 1));
    return 0;
}

static struct str rule_text(lua_State *L, const char *key) {
    struct str text;
    lua_getfield(L, 2, key);
    text.p = lua_tolstring(L, -1, &text.n); // the table keeps it
    lua_pop(L, 1);
    return text.p == NULL ? (struct str){"", 0} : text;
}

// check_http(path, rule): nil, or what is wrong with the rule for that method of the own contract.
static int check_http(lua_State *L) {
    struct pb_lua *codec = vm_codec_own(bind_vm(L));
    const struct pb_method *m = codec ? pb_find_path(pb_lua_pool(codec), bind_str(L, 1)) : NULL;
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, m != NULL, 1, "no such method");
    struct pb_http_rule rule = {rule_text(L, "method"), rule_text(L, "template"),
                                rule_text(L, "body"), rule_text(L, "response_body")};
    struct err err = {0};
    if (pb_http_rule_check(m, &rule, &err) == 0) return 0;
    lua_pushstring(L, err.text);
    return 1;
}

static const char *type_name(enum pb_type type) {
    static const char *const NAMES[] = {
        [PB_DOUBLE] = "double",     [PB_FLOAT] = "float",     [PB_INT64] = "int64",
        [PB_UINT64] = "uint64",     [PB_INT32] = "int32",     [PB_FIXED64] = "fixed64",
        [PB_FIXED32] = "fixed32",   [PB_BOOL] = "bool",       [PB_STRING] = "string",
        [PB_GROUP] = "group",       [PB_MESSAGE] = "message", [PB_BYTES] = "bytes",
        [PB_UINT32] = "uint32",     [PB_ENUM] = "enum",       [PB_SFIXED32] = "sfixed32",
        [PB_SFIXED64] = "sfixed64", [PB_SINT32] = "sint32",   [PB_SINT64] = "sint64",
    };
    assert(type >= PB_DOUBLE && type <= PB_SINT64);
    return NAMES[type];
}

static void push_field(lua_State *L, const struct pb_field *f) {
    lua_createtable(L, 0, 11);
    set_str(L, "name", f->name);
    set_str(L, "json_name", f->json_name);
    set_number(L, "number", f->number);
    set_str(L, "type", str_of(type_name(f->type)));
    set_bool(L, "repeated", f->repeated);
    set_bool(L, "map", f->is_map);
    set_bool(L, "presence", f->has_presence);
    if (f->oneof >= 0) set_str(L, "oneof", f->parent->oneofs[f->oneof].name);
    if (f->message != NULL) set_str(L, "message", f->message->full_name);
    if (f->enumeration != NULL) set_str(L, "enum", f->enumeration->full_name);
    set_str(L, "comment", f->comment);
}

static int fields(lua_State *L) {
    struct named_type t = find_type(bind_vm(L), bind_str(L, 1));
    if (t.type == NULL) return 0;
    lua_createtable(L, (int)t.type->count, 0);
    for (size_t i = 0; i < t.type->count; i++) {
        push_field(L, &t.type->fields[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int enum_values(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct str name = bind_str(L, 1);
    struct pb_lua *codec = vm_codec_own(vm);
    const struct pb_enum *e = codec ? pb_find_enum(pb_lua_pool(codec), name) : NULL;
    if (e == NULL && belongs_to_platform(name)) {
        codec = vm_codec_platform(vm);
        e = codec ? pb_find_enum(pb_lua_pool(codec), name) : NULL;
    }
    if (e == NULL) return 0;
    lua_createtable(L, (int)e->count, 0);
    for (size_t i = 0; i < e->count; i++) {
        bind_push_str(L, e->values[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

// ---- conversions

struct job {
    struct named_type t;
    struct pb_json_style style;
    struct buf out;
    struct err err;
    int rc;
    int (*run)(struct job *job, lua_State *L); // the value is at index 1; rc < 0: `err` says why
    bool gives_bytes;                          // the result is `out`, else what `run` pushed
};

static int run_job(lua_State *L) {
    struct job *job = lua_touserdata(L, 2);
    job->rc = job->run(job, L);
    if (job->rc < 0) return 0;
    if (job->gives_bytes) bind_push_str(L, buf_str(&job->out));
    return 1;
}

// Runs the job on the value at `arg` and leaves its result on the top.
static int perform(lua_State *L, int arg, struct job *job) {
    lua_pushcfunction(L, run_job);
    lua_pushvalue(L, arg);
    lua_pushlightuserdata(L, job);
    int failed = lua_pcall(L, 2, 1, 0);
    buf_free(&job->out);
    if (failed != 0) return lua_error(L);
    if (job->rc < 0) return bind_raise(L, &job->err);
    return 1;
}

static int to_wire(struct job *job, lua_State *L) {
    int rc = pb_lua_to_wire(job->t.codec, L, 1, job->t.type, &job->out, &job->err);
    if (rc == 0 && job->out.failed)
        rc = err_set(&job->err, STATUS_RESOURCE_EXHAUSTED, "not enough memory");
    return rc;
}

static int to_json(struct job *job, lua_State *L) {
    int rc = pb_lua_to_json(job->t.codec, L, 1, job->t.type, &job->style, &job->out, &job->err);
    if (rc == 0 && job->out.failed)
        rc = err_set(&job->err, STATUS_RESOURCE_EXHAUSTED, "not enough memory");
    return rc;
}

static struct str subject(lua_State *L) {
    struct str s;
    s.p = lua_tolstring(L, 1, &s.n);
    return s;
}

static int from_wire(struct job *job, lua_State *L) {
    return pb_lua_from_wire(job->t.codec, L, job->t.type, subject(L), &job->err);
}

static int from_json_text(struct job *job, lua_State *L) {
    return pb_lua_from_json(job->t.codec, L, job->t.type, subject(L), &job->err);
}

static int encode(lua_State *L) {
    struct job job = {.t = check_type(L, 1), .run = to_wire, .gives_bytes = true};
    luaL_checkany(L, 2);
    return perform(L, 2, &job);
}

static int decode(lua_State *L) {
    struct job job = {.t = check_type(L, 1), .run = from_wire};
    bind_str(L, 2);
    return perform(L, 2, &job);
}

static int from_json(lua_State *L) {
    struct job job = {.t = check_type(L, 1), .run = from_json_text};
    bind_str(L, 2);
    return perform(L, 2, &job);
}

static bool option_is(lua_State *L, int options, const char *key, const char *text) {
    lua_getfield(L, options, key);
    bool is = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), text) == 0;
    lua_pop(L, 1);
    return is;
}

// json(type, t, { names = "camel", defaults = false, int64 = "number", pretty = true })
static int json(lua_State *L) {
    struct job job = {.t = check_type(L, 1), .run = to_json, .gives_bytes = true};
    luaL_checkany(L, 2);
    job.style = PB_JSON_MICRO;
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        job.style.camel = option_is(L, 3, "names", "camel");
        job.style.int64_number = option_is(L, 3, "int64", "number");
        lua_getfield(L, 3, "defaults");
        job.style.no_defaults = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
        lua_getfield(L, 3, "pretty");
        job.style.pretty = lua_toboolean(L, -1);
        lua_pop(L, 2);
    }
    return perform(L, 2, &job);
}

// Goes through the wire, so that what comes out is as if it had been received: checked, and strict.
static int make_new(struct job *job, lua_State *L) {
    if (lua_isnil(L, 1)) {
        pb_lua_push_new(job->t.codec, L, job->t.type);
        return 0;
    }
    int rc = to_wire(job, L);
    if (rc < 0) return rc;
    return pb_lua_from_wire(job->t.codec, L, job->t.type, buf_str(&job->out), &job->err);
}

static int new_message(lua_State *L) {
    struct job job = {.t = check_type(L, 1), .run = make_new};
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
    return perform(L, 2, &job);
}

static struct named_type type_of(struct vm *vm, lua_State *L, int index) {
    struct pb_lua *codecs[] = {vm_codec_own(vm), vm_codec_platform(vm)};
    for (size_t i = 0; i < 2; i++) {
        const struct pb_message *type = codecs[i] ? pb_lua_type(codecs[i], L, index) : NULL;
        if (type != NULL) return (struct named_type){codecs[i], type};
    }
    return (struct named_type){NULL, NULL};
}

static int type(lua_State *L) {
    luaL_checkany(L, 1);
    struct named_type t = type_of(bind_vm(L), L, 1);
    if (t.type == NULL) return 0;
    bind_push_str(L, t.type->full_name);
    return 1;
}

static int complete_message(struct job *job, lua_State *L) {
    int rc = pb_lua_complete(job->t.codec, L, 1, job->t.type, &job->err);
    if (rc == 0) lua_pushvalue(L, 1);
    return rc;
}

static int complete(lua_State *L) {
    luaL_checkany(L, 1);
    struct job job = {.t = type_of(bind_vm(L), L, 1), .run = complete_message};
    if (job.t.type == NULL) {
        return luaL_error(
            L, "complete wants a message, as a handler gets it or mica.proto.new makes it");
    }
    return perform(L, 1, &job);
}

void bind_proto(struct vm *vm, lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {
        {"contract", contract}, {"check_http", check_http},
        {"services", services}, {"disown", disown},
        {"fields", fields},     {"enum_values", enum_values},
        {"encode", encode},     {"decode", decode},
        {"json", json},         {"from_json", from_json},
        {"new", new_message},   {"complete", complete},
        {"type", type},         {NULL, NULL},
    };
    bind_functions(vm, L, FUNCTIONS);
    pb_lua_open(L);
    lua_setfield(L, -2, "proto");
}
