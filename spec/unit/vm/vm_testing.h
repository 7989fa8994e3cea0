// SPDX-License-Identifier: Apache-2.0
// What the tests of this room stand on: a contract with an endpoint of each kind, a small prelude in place of the library,
// services made of a text, ports that keep what they are sent, and a host that knows one of them.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "msg/metadata.h"
#include "pb/protoc.h"
#include "vm/embedded.h"
#include "vm/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char CONTRACT[] = "syntax = \"proto3\"; package t;\n"
                               "service T {\n"
                               "  rpc Unary(Req) returns (Rsp);\n"
                               "  rpc Nothing(Req) returns (Empty);\n"
                               "  rpc Server(Req) returns (stream Rsp);\n"
                               "  rpc Client(stream Req) returns (Rsp);\n"
                               "  rpc Bidi(stream Req) returns (stream Rsp);\n"
                               "  rpc Missing(Req) returns (Rsp);\n"
                               "}\n"
                               "message Req { string text = 1; int64 n = 2; }\n"
                               "message Rsp { string text = 1; int64 n = 2; }\n"
                               "message Empty {}\n";

// `check` raises what a (w) function failed with; main.lua returns { Unary = function ... end, on_start = ... }.
static const char PRELUDE[] =
    "local core = ...\n"
    "rawset(_G, 'core', core)\n"
    "core.ctx_mt, core.stream_mt = {}, {}\n"
    "function _G.check(ok, ...)\n"
    "  if ok then return ... end\n"
    "  local code, message, id, details = ...\n"
    "  error({ code = code, message = message, id = id, details = details }, 0)\n"
    "end\n"
    "function core.on_error(err, traceback)\n"
    "  if type(err) == 'table' then return err.code, err.message, err.id, err.details, err.http "
    "end\n"
    "  _G.last_error = tostring(err)\n"
    "  return 'INTERNAL', 'internal error'\n"
    "end\n"
    "function core.definition(v)\n"
    "  if type(v) ~= 'table' then error('main.lua:1: return a table', 0) end\n"
    "  local handlers = {}\n"
    "  for _, s in ipairs(core.contract()) do\n"
    "    for _, m in ipairs(s.methods) do handlers[m.index] = v[m.name] end\n"
    "  end\n"
    "  return { handlers = handlers, http = v.http, deadlines = v.deadlines, limits = v.limits, "
    "on_start = "
    "v.on_start,\n"
    "    on_stop = v.on_stop, describe = function() return 'described' end }\n"
    "end\n"
    "local resume, yield, TAG = coroutine.resume, coroutine.yield, core.TAG\n"
    "local function pass(co, ok, first, ...)\n"
    "  if first ~= TAG then return ok, first, ... end\n"
    "  return pass(co, resume(co, yield(TAG)))\n"
    "end\n"
    "function coroutine.resume(co, ...) return pass(co, resume(co, ...)) end\n";

const struct embedded_file EMBEDDED_FILES[] = {
    {"lua/mica/prelude.lua", (const unsigned char *)PRELUDE, sizeof PRELUDE - 1},
    {"lua/mica/extra.lua", (const unsigned char *)"return 'extra', ...", 19},
    {"services/platform/small/main.lua", (const unsigned char *)"return {}", 9},
};
const size_t EMBEDDED_COUNT = sizeof EMBEDDED_FILES / sizeof EMBEDDED_FILES[0];
const unsigned char EMBEDDED_PROTOS[] = "";
const size_t EMBEDDED_PROTOS_SIZE = 0;

// ---- files

static inline void write_file(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline char *temporary_folder(void) {
    char *folder = strdup("/tmp/mica-vm-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static inline void remove_folder(char *folder) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(folder);
}

static inline struct pb_pool *contract_pool(void) { // compiled once
    static struct blob *set;
    struct err err = {0};
    if (set == NULL) {
        const char *const files[] = {"t.proto"};
        char *folder = temporary_folder();
        write_file(folder, "t.proto", CONTRACT);
        if (protoc_compile(folder, files, 1, &set, &err) != 0) fail_msg("%s", err.text);
        remove_folder(folder);
    }
    struct pb_pool *pool = pb_pool_new(set, &err);
    if (pool == NULL) fail_msg("%s", err.text);
    return pool;
}

static inline struct source *source_of(const char *main) {
    struct source *s = calloc(1, sizeof *s);
    atomic_init(&s->refs, 1);
    s->name = strdup("t");
    s->folder = strdup("/nowhere/t");
    s->files = calloc(1, sizeof *s->files);
    s->file_count = 1;
    s->files[0].path = str_of(strdup("main.lua"));
    s->files[0].content = blob_new(main, strlen(main));
    s->pool = contract_pool();
    s->protos = calloc(1, sizeof *s->protos);
    s->foreign = calloc(1, sizeof *s->foreign);
    s->proto_count = 1;
    s->protos[0] = str_of(strdup("t.proto"));
    return s;
}

// ---- a port that keeps what it gets

struct keeper {
    struct port port; // first
    struct message *kept[256];
    size_t first, count;
    int refuse; // 0, or the status that requests are refused with
};

static int keeper_send(struct port *port, struct message *m) {
    struct keeper *k = (struct keeper *)port;
    if (k->refuse != 0 && m->kind == MSG_REQUEST) return k->refuse;
    assert_true(k->count < 256);
    k->kept[k->count++] = m;
    return 0;
}

static void keeper_free(struct port *port) { free(port); }

static inline struct keeper *keeper_new(void) {
    static const struct port_ops OPS = {keeper_send, keeper_free};
    struct keeper *k = calloc(1, sizeof *k);
    port_init(&k->port, &OPS);
    return k;
}

static inline void keeper_empty(struct keeper *k) {
    while (k->first < k->count) message_delete(k->kept[k->first++]);
}

static inline void keeper_drop(struct keeper *k) {
    assert_int_equal(atomic_load(&k->port.refs), 1); // nobody else holds it any more
    port_drop(&k->port);
}

// The next message, which must be of this kind.
static inline struct message *keeper_take(struct keeper *k, enum msg_kind kind) {
    if (k->first == k->count) fail_msg("nothing came, wanted kind %d", kind);
    struct message *m = k->kept[k->first++];
    assert_int_equal(m->kind, kind);
    return m;
}

static inline size_t keeper_waiting(const struct keeper *k) { return k->count - k->first; }

// ---- a VM with a caller and a world

struct world {
    struct vm_host host; // first
    struct keeper *caller, *self, *other;
    struct pb_pool *other_pool; // service "other" speaks the same contract, in a pool of its own
    uint64_t epoch;
    bool other_gone;
    struct source *source;
    struct vm *vm;
    int hook_status; // 99: not yet
    char hook_text[500];
};

static int host_resolve(struct vm_host *host, struct str ns, struct str service, struct str version,
                        struct str endpoint, struct vm_target *out, struct err *err) {
    struct world *w = (struct world *)host;
    char path[128];
    (void)version;
    assert_true(str_is(ns, "mica"));
    if (!str_is(service, "other") || w->other_gone) {
        return err_set(err, STATUS_UNAVAILABLE, "no service \"%.*s\" is running", (int)service.n,
                       service.p);
    }
    snprintf(path, sizeof path, "/t.T/%.*s", (int)endpoint.n - 2, endpoint.p + 2);
    struct pb_method *m = pb_find_path(w->other_pool, str_of(path));
    if (m == NULL) return err_set(err, STATUS_UNIMPLEMENTED, "no such endpoint");
    *out = (struct vm_target){port_hold(&w->other->port), pb_pool_hold(w->other_pool), m, 1};
    return 0;
}

static uint64_t host_epoch(struct vm_host *host) { return ((struct world *)host)->epoch; }

static int host_native(struct vm_host *host, struct str capability, struct str method,
                       struct vm_target *out, struct err *err) {
    (void)capability;
    (void)method;
    return host_resolve(host, str_of("mica"), str_of("other"), str_of(""), str_of("T.Unary"), out,
                        err);
}

static struct port *host_dial(struct vm_host *host, struct str address, struct str tls,
                              struct err *err) {
    (void)tls;
    struct world *w = (struct world *)host;
    if (!str_is(address, "there:1")) {
        err_set(err, STATUS_UNAVAILABLE, "nobody at %.*s", (int)address.n, address.p);
        return NULL;
    }
    return port_hold(&w->other->port);
}

static inline struct vm_config world_config(struct world *w) {
    static const char *const NATIVES[] = {"routes", NULL};
    return (struct vm_config){.ns = "mica",
                              .service = "t",
                              .version = "v1",
                              .generation = 7,
                              .source = w->source,
                              .natives = NATIVES,
                              .host = &w->host,
                              .self = &w->self->port};
}

static inline struct world *world_new(const char *main) {
    struct world *w = calloc(1, sizeof *w);
    random_start();
    w->caller = keeper_new();
    w->self = keeper_new();
    w->other = keeper_new();
    w->other_pool = contract_pool();
    w->source = source_of(main);
    w->host = (struct vm_host){host_resolve, host_epoch, host_native, host_dial, w->other_pool, 0};
    w->hook_status = 99;
    return w;
}

// Loaded and ready.
static inline struct world *world_of(const char *main) {
    struct world *w = world_new(main);
    struct vm_config config = world_config(w);
    struct err err = {0};
    w->vm = vm_new(&config, &err);
    if (w->vm == NULL) fail_msg("vm_new: %s", err.text);
    if (vm_load(w->vm, &err) != 0) fail_msg("vm_load: %s", err.text);
    return w;
}

static inline void world_end(struct world *w) {
    vm_delete(w->vm);
    keeper_empty(w->caller);
    keeper_empty(w->self);
    keeper_empty(w->other);
    keeper_drop(w->caller);
    keeper_drop(w->self);
    keeper_drop(w->other);
    pb_pool_drop(w->other_pool);
    source_drop(w->source);
    free(w);
}

static inline void hook_done(struct vm *vm, void *user, int status, const char *text) {
    struct world *w = user;
    (void)vm;
    w->hook_status = status;
    snprintf(w->hook_text, sizeof w->hook_text, "%s", text == NULL ? "" : text);
}

// ---- messages

// { text = ..., n = ... } in the binary form.
static inline struct blob *encoded(const char *text, unsigned n) {
    struct buf b = {0};
    size_t length = strlen(text);
    if (length > 0) {
        buf_append_byte(&b, 0x0A);
        for (; length >= 0x80; length >>= 7) buf_append_byte(&b, (char)(length | 0x80));
        buf_append_byte(&b, (char)length);
        buf_append_text(&b, text);
    }
    if (n > 0) {
        buf_append_byte(&b, 0x10);
        for (; n >= 0x80; n >>= 7) buf_append_byte(&b, (char)(n | 0x80));
        buf_append_byte(&b, (char)n);
    }
    return buf_take(&b);
}

static inline struct message *request(struct world *w, const char *method, uint64_t call,
                                      struct blob *body) {
    char path[64];
    struct message *m = message_new(MSG_REQUEST, call);
    snprintf(path, sizeof path, "/t.T/%s", method);
    m->reply = port_hold(&w->caller->port);
    m->contract = pb_pool_hold(w->source->pool);
    m->drop_contract = pb_pool_drop;
    m->method = pb_find_path(w->source->pool, str_of(path));
    m->context = msg_context_new();
    m->context->ns = blob_new("mica", 4);
    m->context->request_id = 0xABC;
    m->body = body;
    return m;
}

static inline void ask(struct world *w, const char *method, uint64_t call, const char *text) {
    vm_receive(w->vm, request(w, method, call, encoded(text, 0)));
}

// From the caller, of a call that has begun.
static inline void follow(struct world *w, enum msg_kind kind, uint64_t call, struct blob *body,
                          uint32_t credit) {
    struct message *m = message_new(kind, call);
    m->reply = port_hold(&w->caller->port);
    m->body = body;
    m->credit = credit;
    vm_receive(w->vm, m);
}

// To the VM as a caller.
static inline void answer(struct world *w, enum msg_kind kind, uint64_t call, struct blob *body,
                          int status, const char *text) {
    struct message *m = message_new(kind, call);
    m->body = body;
    m->status = status;
    if (text != NULL) m->fault = msg_fault_new(str_of(text), str_of("other.T.Unary"), NULL);
    vm_receive(w->vm, m);
}

static inline void run(struct world *w) {
    while (vm_run(w->vm, clock_now()) || vm_next_timer(w->vm) <= clock_now()) continue;
}

// Lets the clock go on without waiting: everything that is due within `seconds` is due.
static inline void advance(struct world *w, double seconds) {
    int64_t now = clock_now() + (int64_t)(seconds * NS_PER_SECOND);
    while (vm_run(w->vm, now)) continue;
    run(w);
}

static inline void expect_answer(struct world *w, uint64_t call, struct blob *body) {
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    if (m->status != 0)
        fail_msg("%s: %.*s", status_name(m->status), (int)m->fault->text->n, m->fault->text->p);
    assert_int_equal(m->call, call);
    assert_int_equal(m->generation, 7);
    assert_non_null(m->body);
    assert_int_equal(m->body->n, body->n);
    assert_memory_equal(m->body->p, body->p, body->n);
    blob_drop(body);
    message_delete(m);
}

static inline void expect_text(const struct blob *b, const char *text) {
    struct str s = blob_str(b);
    if (!str_is(s, text)) fail_msg("got \"%.*s\", wanted \"%s\"", (int)s.n, s.p, text);
}

static inline void expect_fault(struct world *w, uint64_t call, int status, const char *text) {
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->call, call);
    if (m->status != status) {
        fail_msg("%s instead of %s: %.*s", status_name(m->status), status_name(status),
                 m->fault == NULL ? 0 : (int)m->fault->text->n,
                 m->fault == NULL ? "" : m->fault->text->p);
    }
    assert_non_null(m->fault);
    expect_text(m->fault->text, text);
    message_delete(m);
}
