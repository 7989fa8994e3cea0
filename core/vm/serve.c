// SPDX-License-Identifier: Apache-2.0
// Where requests come from and what becomes of their values: a message is decoded straight into Lua and handed to its handler
// in a new task; what the handler returns is encoded in the form that was asked for.
//
// What the caller got wrong (a body that is not what the contract says) is INVALID_ARGUMENT and told to the caller. What the
// service got wrong (an answer that is not) is INTERNAL: the caller learns nothing of it, the text goes to the log.
#include "base/clock.h"
#include "base/random.h"
#include "msg/metadata.h"
#include "vm/vm_internal.h"

#include <assert.h>
#include <stdio.h>

#define BACKGROUND_TIME (30 * NS_PER_SECOND)

struct begin {
    struct request *r;
    const struct pb_method *method; // NULL: raw HTTP
    struct str handler;             // then: its key
    bool streams;                   // and whether its body does
    int64_t deadline;               // when it must be done; 0: never
    struct blob *body;
    int function; // of a hook: a reference
    struct err err;
};

void request_push_ctx(struct vm *vm, lua_State *L, struct request *r) {
    handle_push(L, &r->handle, vm->ctx_mt);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->anchors);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (int)r->handle.index);
    lua_pop(L, 1);
}

static void begin_handler(struct vm *vm, lua_State *L, void *arg) {
    struct begin *b = arg;
    struct request *r = b->r;
    const struct pb_method *m = r->method;
    int n = 1;
    if (m == NULL) {
        web_begin(vm, L, r, b->body, &b->err);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->handlers);
    lua_rawgeti(L, -1, (int)m->index);
    if (!lua_isfunction(L, -1)) {
        err_set(&b->err, STATUS_UNIMPLEMENTED,
                "service %s declares %.*s.%.*s, but has no handler for it", vm->config.service,
                (int)m->service->name.n, m->service->name.p, (int)m->name.n, m->name.p);
        return;
    }
    request_push_ctx(vm, L, r);
    if (!m->client_streaming) {
        bool json = r->form.encoding == MSG_JSON && !r->form.wire_in;
        if (stream_decode(vm, L, NULL, m->input, json, b->body, &b->err) != 0) return;
        n++;
    }
    if (r->stream != NULL) {
        handle_push(L, &r->stream->handle, vm->stream_mt);
        n++;
    }
    r->main = task_new(vm, L, r, ROLE_MAIN, n);
}

static const struct pb_method *find_method(struct vm *vm, const struct message *m,
                                           struct err *err) {
    const struct pb_method *asked = m->method;
    const struct pb_pool *own = vm->config.source->pool;
    if (asked == NULL || m->contract == own) return asked;
    const struct pb_method *method = pb_find_path(own, asked->path);
    if (method == NULL) {
        err_set(err, STATUS_UNIMPLEMENTED, "service %s has no endpoint %.*s", vm->config.service,
                (int)asked->path.n, asked->path.p);
    }
    return method;
}

static int64_t find_deadline(struct vm *vm, const struct message *m, const struct begin *b,
                             int64_t now) {
    const struct pb_method *method = b->method;
    if (method == NULL) return b->streams ? 0 : web_deadline(vm, m, now);
    if (m->context->deadline != 0) return m->context->deadline;
    if (method->client_streaming || method->server_streaming) return 0;
    double seconds = vm->deadlines == NULL ? 0 : vm->deadlines[method->index];
    if (seconds <= 0) seconds = vm->config.limits.deadline;
    return now + (int64_t)(seconds * NS_PER_SECOND);
}

// Which function a request is for.
static bool find_callee(struct vm *vm, const struct message *m, struct begin *b) {
    b->handler = web_handler(m);
    if (b->handler.n > 0) {
        b->streams = m->streams;
        return true;
    }
    b->method = find_method(vm, m, &b->err);
    if (b->method == NULL && b->err.code == 0)
        err_set(&b->err, STATUS_UNIMPLEMENTED, "the request names no method");
    return b->method != NULL;
}

// What can be said of a request before anything is made for it: its function, and when it must be done.
static bool admit(struct vm *vm, struct message *m, struct begin *b) {
    if (m->context == NULL && (m->context = msg_context_new()) == NULL) {
        err_set(&b->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    if (!find_callee(vm, m, b)) return false;
    if (b->method != NULL && m->body != NULL && m->body->n > vm->config.limits.message) {
        err_set(&b->err, STATUS_RESOURCE_EXHAUSTED,
                "the request has %zu bytes, the limit of service %s is %zu", m->body->n,
                vm->config.service, vm->config.limits.message);
        return false;
    }
    int64_t now = clock_now();
    b->deadline = find_deadline(vm, m, b, now);
    if (b->deadline != 0 && b->deadline <= now) {
        err_set(&b->err, STATUS_DEADLINE_EXCEEDED,
                "the deadline had passed before the service began");
        return false;
    }
    return true;
}

static int set_up(struct vm *vm, struct request *r, const struct begin *b) {
    const struct pb_method *m = b->method;
    if (m == NULL ? b->streams : m->client_streaming || m->server_streaming) {
        r->stream = stream_new(vm, r, NULL);
        if (r->stream == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    }
    if (request_hash_add(vm, r) != 0) return -STATUS_RESOURCE_EXHAUSTED;
    if (r->deadline != 0) return vm_timer_set(vm, &r->timer, r->deadline);
    return 0;
}

static void not_begun(struct vm *vm, struct request *r, int status, const char *text) {
    struct msg_fault *fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
    request_answer(vm, r, status, fault, NULL);
    request_free_unused(vm, r);
}

// A body that could not be run: what its vm_protect said as the answer.
static int begin_failed(struct vm *vm, struct begin *b, int status) {
    if (status == 0) return b->err.code == 0 ? 0 : (int)b->err.code;
    if (arena_hit_hard(vm->arena)) {
        vm->condemned = true;
        err_set(&b->err, STATUS_RESOURCE_EXHAUSTED, "%s", vm_memory_text(vm));
        return STATUS_RESOURCE_EXHAUSTED;
    }
    vm_log(vm, LOG_ERROR, b->r, str_of(b->err.text));
    err_set(&b->err, STATUS_INTERNAL, "internal error");
    return STATUS_INTERNAL;
}

void request_receive(struct vm *vm, struct message *take) {
    struct message *m = take;
    struct begin b = {.function = LUA_NOREF};
    if (!admit(vm, m, &b)) {
        message_refuse(m, (int)b.err.code, b.err.text);
        return;
    }
    struct request *r = request_new(vm, REQUEST_RPC, m->context);
    if (r == NULL) {
        vm->condemned |= arena_hit_hard(vm->arena);
        message_refuse(m, STATUS_RESOURCE_EXHAUSTED, vm_memory_text(vm));
        return;
    }
    r->method = b.method;
    r->handler = b.handler; // the context keeps it
    r->deadline = b.deadline;
    r->form = m->form;
    r->compressed = m->compress == MSG_COMPRESS_YES;
    r->number = m->call;
    r->reply = m->reply;
    m->reply = NULL;
    b.r = r;
    b.body = m->body;
    if (r->reply == NULL) r->answered = true; // nobody wants to know
    if (set_up(vm, r, &b) != 0) {
        vm->condemned |= arena_hit_hard(vm->arena);
        not_begun(vm, r, STATUS_RESOURCE_EXHAUSTED, vm_memory_text(vm));
    } else {
        int status = begin_failed(vm, &b, vm_protect(vm, begin_handler, &b, &b.err));
        if (status != 0) not_begun(vm, r, status, b.err.text);
    }
    message_delete(m);
}

void request_message(struct vm *vm, struct message *take) {
    struct request *r = request_find(vm, take->reply, take->call);
    struct stream *s = r == NULL ? NULL : r->stream;
    if (r != NULL && take->kind == MSG_CANCEL) {
        bool late = take->status == STATUS_DEADLINE_EXCEEDED;
        r->gone = true;
        request_forget_caller(vm, r);
        request_stop(vm, r, late ? STATUS_DEADLINE_EXCEEDED : STATUS_CANCELLED,
                     late ? "the deadline has passed" : "the caller has gone");
    } else if (s != NULL && take->kind == MSG_ITEM) {
        stream_item(vm, s, take);
        return;
    } else if (s != NULL && take->kind == MSG_END) {
        stream_end(vm, s);
    } else if (s != NULL && take->kind == MSG_CREDIT) {
        stream_credit(vm, s, take->credit);
    }
    message_delete(take);
}

// ---- what is not a call

static void begin_hook(struct vm *vm, lua_State *L, void *arg) {
    struct begin *b = arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, b->function);
    request_push_ctx(vm, L, b->r);
    b->r->main = task_new(vm, L, b->r, ROLE_MAIN, 1);
}

static struct msg_context *hook_context(const struct vm *vm) {
    struct msg_context *c = msg_context_new();
    if (c == NULL) return NULL;
    c->ns = blob_new(vm->config.ns, strlen(vm->config.ns));
    c->request_id = random_u64();
    random_bytes(c->trace_id, sizeof c->trace_id);
    return c;
}

void request_hook(struct vm *vm, enum request_kind kind, int function, double seconds) {
    struct hook *hook = kind == REQUEST_START ? &vm->start : &vm->stop;
    struct msg_context *context = hook_context(vm);
    struct request *r = context == NULL ? NULL : request_new(vm, kind, context);
    struct begin b = {.r = r, .function = function};
    msg_context_drop(context);
    if (r == NULL) {
        vm_hook_finish(vm, hook, -STATUS_RESOURCE_EXHAUSTED, str_of("out of memory"));
        return;
    }
    r->deadline = clock_now() + (int64_t)(seconds * NS_PER_SECOND);
    if (kind == REQUEST_START) vm->instance = r;
    int status = vm_timer_set(vm, &r->timer, r->deadline);
    if (status == 0) status = begin_failed(vm, &b, vm_protect(vm, begin_hook, &b, &b.err));
    if (status != 0) not_begun(vm, r, status < 0 ? -status : status, b.err.text);
}

static struct request *background_request(struct vm *vm, struct request *parent) {
    struct request *r = request_new(vm, REQUEST_BACKGROUND, parent->context);
    if (r == NULL) return NULL;
    r->method = parent->method;
    r->handler = parent->handler;
    r->deadline = clock_now() + BACKGROUND_TIME;
    r->parent = parent;
    parent->refs++;
    return r;
}

struct task *request_background(struct vm *vm, lua_State *L, struct request *parent, int n) {
    struct request *r = background_request(vm, parent);
    if (r == NULL || vm_timer_set(vm, &r->timer, r->deadline) != 0)
        luaL_error(L, "not enough memory");
    request_push_ctx(vm, L, r);
    lua_pop(L, 1);
    r->main = task_new(vm, L, r, ROLE_MAIN, n);
    return r->main;
}

// ---- answers

struct blob *value_encode(struct vm *vm, lua_State *L, int index, struct pb_lua *codec,
                          const struct pb_message *type, struct msg_form form, struct err *err) {
    struct buf *out = &vm->scratch;
    int status;
    out->n = 0;
    out->failed = false;
    if (form.encoding == MSG_JSON) {
        struct pb_json_style style = {.camel = form.json_camel,
                                      .no_defaults = form.json_compact,
                                      .int64_number = form.json_int64_number};
        status = pb_lua_to_json(codec, L, index, type, &style, out, err);
    } else {
        status = pb_lua_to_wire(codec, L, index, type, out, err);
    }
    if (status == 0 && out->n > vm->config.limits.message) {
        status = err_set(err, STATUS_RESOURCE_EXHAUSTED,
                         "a message of %zu bytes is over the limit of %zu", out->n,
                         vm->config.limits.message);
    }
    struct blob *blob = status == 0 ? buf_take(out) : NULL;
    if (blob == NULL) buf_free(out);
    if (blob == NULL && err->code == 0) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return blob;
}

static void wrong_answer(struct vm *vm, const struct request *r, const struct err *err) {
    bool large = err->code == STATUS_RESOURCE_EXHAUSTED;
    const char *text = large ? err->text : "internal error";
    vm_log(vm, LOG_ERROR, r, str_of(err->text));
    vm->outcome.status = large ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL;
    vm->outcome.fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
}

void request_encode(struct vm *vm, lua_State *L, struct request *r, bool returned) {
    const struct pb_method *m = r->method;
    struct err err = {0};
    if (r->answered) return;
    if (m == NULL) {
        if (web_encode(vm, r)) return;
        err_set(&err, STATUS_INTERNAL, "%.*s gave no answer", (int)r->handler.n, r->handler.p);
        wrong_answer(vm, r, &err);
        return;
    }
    if (m->server_streaming) return;
    if (!returned) {
        char endpoint[256];
        request_endpoint(r, endpoint, sizeof endpoint);
        if (m->output->count > 0) {
            err_set(&err, STATUS_INTERNAL, "%s returned nothing: return a %.*s", endpoint,
                    (int)m->output->full_name.n, m->output->full_name.p);
            wrong_answer(vm, r, &err);
            return;
        }
        lua_newtable(L);
    }
    vm->outcome.body =
        value_encode(vm, L, lua_gettop(L), vm_codec_own(vm), m->output, r->form, &err);
    if (vm->outcome.body == NULL) wrong_answer(vm, r, &err);
}
