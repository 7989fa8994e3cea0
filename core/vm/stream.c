// SPDX-License-Identifier: Apache-2.0
// Streams of messages: the one between a handler and its caller, and those of calls that the service makes. Both sides are
// the same thing here; they differ in where messages go (to the request's reply port, or to the call's port) and in how they
// end (the server's side by its request, the client's by a RESPONSE).
//
// Back-pressure: each side may have MSG_WINDOW bytes of bodies under way. `window` is what is left of ours; sending goes on
// while it is positive (so one message may be larger than the window) and waits while it is not. What the other side may
// send comes back as CREDIT when half a window has been read by Lua, not when it arrived.
//
// Who waits stands in `waiters`, oldest first, and may be a task of any request: a room that sends to all its streams. A task
// that waits for a stream that goes away gets a fault.
#include "msg/metadata.h"
#include "vm/vm_internal.h"

#include <assert.h>
#include <stdlib.h>

struct stream *stream_new(struct vm *vm, struct request *r, struct call *c) {
    struct stream *s = vm_alloc(vm, sizeof *s);
    if (s == NULL) return NULL;
    if (handle_add(vm, &s->handle, HANDLE_STREAM) != 0) {
        vm_free(vm, s, sizeof *s);
        return NULL;
    }
    s->request = r;
    s->window = MSG_WINDOW;
    s->in_last = &s->in_first;
    if (c == NULL) {
        s->method = r->method;
        s->receives = r->method == NULL || r->method->client_streaming;
        s->sends = r->method == NULL || r->method->server_streaming;
        s->in_end = !s->receives;
    } else {
        s->client = true;
        s->call = c;
        c->stream = s;
        s->packing.may = s->packing.all = c->compress;
        s->route = route_hold(c->route);
        s->method = c->route->to.method;
        s->receives = true;
        s->sends = s->method == NULL || s->method->client_streaming;
    }
    s->next = r->streams;
    if (s->next != NULL) s->next->link = &s->next;
    s->link = &r->streams;
    r->streams = s;
    return s;
}

void stream_restart(struct vm *vm, struct stream *s, struct call *c) {
    assert(s->client && s->call == NULL && !s->used && s->in_first == NULL && s->waiters == NULL);
    route_drop(vm, s->route);
    s->route = route_hold(c->route);
    s->method = c->route->to.method;
    s->call = c;
    c->stream = s;
    msg_fault_delete(s->fault);
    blob_drop(s->headers);
    blob_drop(s->trailers);
    s->fault = NULL;
    s->headers = s->trailers = NULL;
    s->status = 0;
    s->headers_known = s->in_end = false;
    s->window = MSG_WINDOW;
    s->taken = 0;
    if (s->out_end && s->sends) {
        s->end_sent = false;
        stream_close_send(vm, s);
    }
}

// ---- waiters

static void waiter_add(struct stream *s, struct task *t) {
    struct task **link = &s->waiters;
    while (*link != NULL) link = &(*link)->wait.next;
    *link = t;
    t->wait.next = NULL;
    t->wait.stream = s;
}

void stream_forget(struct stream *s, struct task *t) {
    struct task **link = &s->waiters;
    while (*link != NULL && *link != t) link = &(*link)->wait.next;
    if (*link == t) *link = t->wait.next;
    t->wait.next = NULL;
}

static struct task *waiter_first(const struct stream *s, enum wait_kind kind) {
    struct task *t = s->waiters;
    while (t != NULL && (t->wait.kind != kind || t->state != TASK_PARKED)) t = t->wait.next;
    return t;
}

void stream_fail_waiters(struct vm *vm, struct stream *s, int status, const char *text) {
    for (struct task *t = s->waiters, *next; t != NULL; t = next) {
        next = t->wait.next;
        task_fail(vm, t, status, text);
    }
}

void stream_discard(struct vm *vm, struct stream *s) {
    message_delete_chain(s->in_first);
    s->in_first = NULL;
    s->in_last = &s->in_first;
    arena_uncharge(vm->arena, s->held);
    s->held = 0;
}

void stream_free(struct vm *vm, struct stream *s, int status, const char *text) {
    if (s->call != NULL) call_abort(vm, s->call, status);
    stream_fail_waiters(vm, s, status, text);
    while (s->waiters != NULL) { // one whose yield was refused
        struct task *t = s->waiters;
        stream_forget(s, t);
        t->wait.stream = NULL;
    }
    stream_discard(vm, s);
    route_drop(vm, s->route);
    msg_fault_delete(s->fault);
    blob_drop(s->headers);
    blob_drop(s->trailers);
    *s->link = s->next;
    if (s->next != NULL) s->next->link = s->link;
    if (s->request->stream == s) s->request->stream = NULL;
    handle_remove(vm, &s->handle);
    vm_free(vm, s, sizeof *s);
}

// ---- to the other side

static bool peer_listens(const struct stream *s) {
    return s->client ? s->call != NULL : !s->request->answered;
}

static void send_message(struct vm *vm, struct stream *s, enum msg_kind kind, struct blob *body,
                         uint8_t compress, uint32_t credit) {
    struct request *r = s->request;
    struct message *m = NULL;
    if (peer_listens(s))
        m = s->client ? call_message_new(vm, s->call, kind) : message_new(kind, r->number);
    if (m == NULL) {
        blob_drop(body);
        return;
    }
    m->body = body;
    m->compress = compress;
    m->credit = credit;
    if (s->client) {
        call_send(s->call, m);
        return;
    }
    m->form = r->form;
    m->generation = vm->config.generation;
    if (port_send(r->reply, m) < 0) message_delete(m);
}

static void transmit(struct vm *vm, struct stream *s, struct blob *body, uint8_t compress) {
    if (!s->client) {
        request_send_headers(vm, s->request);
        s->request->headers_sent = true;
    }
    s->used = true;
    s->window -= message_weight(body);
    send_message(vm, s, MSG_ITEM, body, compress, 0);
}

static void consumed(struct vm *vm, struct stream *s, const struct message *m) {
    s->taken += message_weight(m->body);
    if (s->taken < MSG_WINDOW / 2 || s->in_end) return;
    send_message(vm, s, MSG_CREDIT, NULL, MSG_COMPRESS_NO, s->taken);
    s->taken = 0;
}

void stream_credit(struct vm *vm, struct stream *s, uint32_t credit) {
    struct task *t;
    s->window += credit;
    while (s->window > 0 && (t = waiter_first(s, WAIT_SEND)) != NULL) {
        struct blob *body = t->wait.blob;
        t->wait.blob = NULL;
        transmit(vm, s, body, t->wait.compress);
        task_ready(vm, t, WAKE_TRUE);
    }
    if (s->out_end) stream_close_send(vm, s);
}

void stream_close_send(struct vm *vm, struct stream *s) {
    s->out_end = true;
    if (s->end_sent || waiter_first(s, WAIT_SEND) != NULL) return;
    s->end_sent = true;
    send_message(vm, s, MSG_END, NULL, MSG_COMPRESS_NO, 0);
}

// ---- from the other side

// Gives `wait` what it takes to decode m; m is the task's then.
static void expect(struct stream *s, struct task *t, struct message *take) {
    t->wait.message = take;
    s->compressed = take->compress == MSG_COMPRESS_YES;
    t->wait.route = route_hold(s->route);
    if (s->method != NULL) t->wait.type = s->client ? s->method->output : s->method->input;
    t->wait.json = s->client ? s->method == NULL
                             : s->request->form.encoding == MSG_JSON && !s->request->form.wire_in;
}

static size_t weight(const struct message *m) {
    return sizeof *m + (m->body == NULL ? 0 : m->body->n);
}

static void overflow(struct vm *vm, struct stream *s) {
    const char *text = vm_memory_text(vm);
    vm->condemned = true;
    if (s->client) {
        stream_finish(vm, s, STATUS_RESOURCE_EXHAUSTED, text);
        return;
    }
    struct msg_fault *fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
    request_answer(vm, s->request, STATUS_RESOURCE_EXHAUSTED, fault, NULL);
    request_stop(vm, s->request, STATUS_CANCELLED, "the memory limit was reached");
}

void stream_item(struct vm *vm, struct stream *s, struct message *take) {
    s->used = true;
    if (s->in_end) {
        message_delete(take);
        return;
    }
    struct task *t = s->in_first == NULL ? waiter_first(s, WAIT_RECV) : NULL;
    if (t != NULL) {
        expect(s, t, take);
        consumed(vm, s, take);
        task_ready(vm, t, WAKE_MESSAGE);
        return;
    }
    if (!arena_charge(vm->arena, weight(take))) {
        message_delete(take);
        overflow(vm, s);
        return;
    }
    s->held += weight(take);
    take->link.next = NULL;
    *s->in_last = &take->link;
    s->in_last = &take->link.next;
}

static void wake_readers(struct vm *vm, struct stream *s) {
    struct task *t;
    while ((t = waiter_first(s, WAIT_RECV)) != NULL) {
        if (s->status != 0) {
            task_fault(vm, t, s->status, s->fault);
        } else {
            task_ready(vm, t, WAKE_END);
        }
    }
}

void stream_end(struct vm *vm, struct stream *s) {
    s->in_end = true;
    wake_readers(vm, s);
}

static void wake_metadata(struct vm *vm, struct stream *s, enum wait_kind kind,
                          struct blob *metadata) {
    struct task *t;
    while ((t = waiter_first(s, kind)) != NULL) {
        t->wait.blob = blob_hold(metadata);
        task_ready(vm, t, WAKE_METADATA);
    }
}

static void headers_known(struct vm *vm, struct stream *s, struct blob *take) {
    if (s->headers_known) {
        blob_drop(take);
        return;
    }
    s->headers_known = true;
    s->headers = take;
    wake_metadata(vm, s, WAIT_HEADER, take);
}

void stream_headers(struct vm *vm, struct stream *s, struct message *take) {
    s->used = true;
    headers_known(vm, s, take->metadata);
    take->metadata = NULL;
    message_delete(take);
}

static void senders_fail(struct vm *vm, struct stream *s) {
    struct task *t;
    while ((t = waiter_first(s, WAIT_SEND)) != NULL) {
        task_fault(vm, t, s->status == 0 ? STATUS_CANCELLED : s->status, s->fault);
    }
}

// It has come to nothing so far, and may yet come to something: who wants its headers hears of the failure.
static bool can_restart(const struct stream *s) {
    return s->client && s->call == NULL && s->status == STATUS_UNAVAILABLE && !s->used;
}

static void header_waiters_fail(struct vm *vm, struct stream *s) {
    struct task *t;
    while ((t = waiter_first(s, WAIT_HEADER)) != NULL) task_fault(vm, t, s->status, s->fault);
}

void stream_response(struct vm *vm, struct stream *s, struct message *take) {
    struct message *m = take;
    bool single = s->method == NULL ? m->body != NULL : !s->method->server_streaming;
    call_free(vm, s->call);
    s->trailers = m->metadata;
    m->metadata = NULL;
    s->status = m->status;
    s->fault = m->fault;
    m->fault = NULL;
    if (s->fault != NULL && s->used) {
        s->fault->again = MSG_AGAIN_NO;
    } else if (s->fault != NULL && s->fault->again == MSG_AGAIN_NO) {
        s->fault->again = MSG_AGAIN_UNSEEN;
    }
    if (can_restart(s)) header_waiters_fail(vm, s);
    headers_known(vm, s, m->leading);
    m->leading = NULL;
    if (single && m->status == 0) {
        stream_item(vm, s, m);
    } else {
        message_delete(m);
    }
    s->in_end = true;
    wake_readers(vm, s);
    wake_metadata(vm, s, WAIT_TRAILER, s->trailers);
    senders_fail(vm, s);
}

void stream_finish(struct vm *vm, struct stream *s, int status, const char *text) {
    if (s->call == NULL) return;
    call_abort(vm, s->call, status);
    s->in_end = true;
    s->status = status;
    s->fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
    headers_known(vm, s, NULL);
    stream_fail_waiters(vm, s, status, text);
}

// ---- for Lua

int stream_decode(struct vm *vm, lua_State *L, struct route *route, const struct pb_message *type,
                  bool json, const struct blob *body, struct err *err) {
    struct str bytes = blob_str(body);
    if (type == NULL) {
        bind_push_str(L, bytes);
        return 0;
    }
    struct pb_lua *codec = route == NULL ? vm_codec_own(vm) : route_codec(vm, L, route);
    if (!json) return pb_lua_from_wire(codec, L, type, bytes, err);
    return pb_lua_from_json(codec, L, type, bytes.n == 0 ? str_of("{}") : bytes, err);
}

static int push_end(struct stream *s, lua_State *L) {
    if (s->status != 0) return task_push_fault(L, s->status, (struct str){"", 0}, s->fault);
    lua_pushboolean(L, 1);
    lua_pushnil(L);
    return 2;
}

// Of a server's side whose caller has gone while another request's task uses it.
static int push_gone(lua_State *L) {
    return task_push_fault(L, STATUS_CANCELLED, str_of("the caller has gone"), NULL);
}

int stream_recv(struct vm *vm, struct stream *s, struct task *t, lua_State *L) {
    if (!s->receives)
        return luaL_error(
            L, "the caller of this endpoint sends no stream: its message is the request");
    struct message *m = message_of(s->in_first);
    if (m != NULL) {
        s->in_first = m->link.next;
        if (s->in_first == NULL) s->in_last = &s->in_first;
        s->held -= weight(m);
        arena_uncharge(vm->arena, weight(m));
        expect(s, t, m);
        consumed(vm, s, m);
        return task_push_message(vm, t, L);
    }
    if (s->in_end) return push_end(s, L);
    if (!peer_listens(s)) return push_gone(L);
    waiter_add(s, t);
    return task_park(vm, t, L, WAIT_RECV);
}

// Encodes the value at `arg` as an item; raises when it is none.
static struct blob *encode_item(struct vm *vm, struct stream *s, lua_State *L, int arg) {
    struct err err = {0};
    struct blob *body;
    if (s->method == NULL) {
        struct str text = bind_str(L, arg);
        body = blob_new(text.p, text.n);
        if (body == NULL) luaL_error(L, "not enough memory");
        return body;
    }
    if (s->client) {
        struct msg_form proto = {.encoding = MSG_PROTO};
        body =
            value_encode(vm, L, arg, route_codec(vm, L, s->route), s->method->input, proto, &err);
    } else {
        body =
            value_encode(vm, L, arg, vm_codec_own(vm), s->method->output, s->request->form, &err);
    }
    if (body == NULL) bind_raise(L, &err);
    return body;
}

// What is said of the next message: `arg` is a boolean, or nil for what holds for all. Raises when the headers went out
// without a word of compression.
static uint8_t choose_packing(struct stream *s, lua_State *L, int arg) {
    struct packing *p = s->client ? &s->packing : &s->request->packing;
    bool wanted = lua_isnil(L, arg) ? p->all : lua_toboolean(L, arg) != 0;
    bool begun = s->client || s->request->headers_sent;
    if (wanted && !p->may && begun)
        luaL_error(L, "send: compress comes too late: %s",
                   s->client ? "open the stream with { compress = true }"
                             : "call ctx:compress(true) before the first message");
    p->may |= wanted;
    return wanted ? MSG_COMPRESS_YES : p->may ? MSG_COMPRESS_MAY : MSG_COMPRESS_NO;
}

int stream_send(struct vm *vm, struct stream *s, struct task *t, lua_State *L, int arg) {
    if (!s->sends)
        return luaL_error(L, "this side sends no stream: %s",
                          s->client ? "the request went with the call" : "return the response");
    if (s->out_end) return luaL_error(L, "send after close_send");
    if (!peer_listens(s)) {
        if (!s->client) return push_gone(L);
        int status = s->status == 0 ? STATUS_CANCELLED : s->status;
        return task_push_fault(L, status, str_of("the call has ended"), s->fault);
    }
    uint8_t compress = choose_packing(s, L, arg + 1);
    struct blob *body = encode_item(vm, s, L, arg);
    if (s->window > 0 && waiter_first(s, WAIT_SEND) == NULL) {
        transmit(vm, s, body, compress);
        lua_pushboolean(L, 1);
        return 1;
    }
    t->wait.blob = body;
    t->wait.compress = compress;
    waiter_add(s, t);
    return task_park(vm, t, L, WAIT_SEND);
}

int stream_metadata(struct vm *vm, struct stream *s, struct task *t, lua_State *L, bool trailer) {
    if (!s->client)
        return luaL_error(
            L, "a handler reads the request's metadata from ctx, and sets its own there");
    if (!trailer && can_restart(s)) return push_end(s, L);
    if (trailer ? s->call == NULL : s->headers_known) {
        lua_pushboolean(L, 1);
        metadata_push(L, trailer ? s->trailers : s->headers);
        return 2;
    }
    waiter_add(s, t);
    return task_park(vm, t, L, trailer ? WAIT_TRAILER : WAIT_HEADER);
}

// A key that comes once is a string, one that comes more often a list of strings.
void metadata_push(lua_State *L, const struct blob *metadata) {
    struct metadata_pair pair;
    size_t at = 0;
    lua_newtable(L);
    while (metadata_next(metadata, &at, &pair)) {
        bind_push_str(L, pair.key);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_istable(L, -1)) {
            bind_push_str(L, pair.value);
            lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
            lua_pop(L, 2);
            continue;
        }
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            bind_push_str(L, pair.value);
        } else {
            lua_createtable(L, 2, 0);
            lua_insert(L, -2);
            lua_rawseti(L, -2, 1);
            bind_push_str(L, pair.value);
            lua_rawseti(L, -2, 2);
        }
        lua_rawset(L, -3);
    }
}
