// SPDX-License-Identifier: Apache-2.0
// Calls of the front doors: their table, their messages to and from the service, their deadlines.
//
// Calls are pooled a loop: the memory of one is never given back while the server lives, so a number can always be
// looked up. All functions here run on the loop's thread.
//
// Credit for what a service streams: the service may have MSG_WINDOW bytes under way. Its credit is renewed when the
// bytes have been taken by HTTP and its queue for the stream is short; above HTTP_LOW_WATER it waits for `writable`. Small items
// share a renewal: a quarter of the window is collected first.
#include "rpc/call.h"
#include "rpc/transcode.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define CREDIT_STEP (MSG_WINDOW / 4)
#define JSON_GROWTH 4 // how much longer than the limit of a message its JSON may be

static uint64_t number_of(const struct call *c) { return (uint64_t)c->generation << 32 | c->index; }

struct call *call_find(struct rpc_loop *at, uint64_t number) {
    uint32_t index = (uint32_t)number;
    if (index >= at->call_count) return NULL;
    struct call *c = at->calls[index];
    return c->form != NULL && c->generation == (uint32_t)(number >> 32) ? c : NULL;
}

static struct call *take_spare(struct rpc_loop *at) {
    struct call *c = at->spare;
    if (c != NULL) {
        at->spare = c->next_spare;
        return c;
    }
    if (at->call_count == at->call_cap) {
        uint32_t cap = at->call_cap == 0 ? 64 : at->call_cap * 2;
        struct call **grown = realloc(at->calls, cap * sizeof *grown);
        if (grown == NULL) return NULL;
        at->calls = grown;
        at->call_cap = cap;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->at = at;
    c->index = at->call_count;
    at->calls[at->call_count++] = c;
    return c;
}

// ---- deadlines

static void on_deadline(struct loop *loop, struct loop_timer *timer) {
    struct call *c = (struct call *)((char *)timer - offsetof(struct call, timer));
    (void)loop;
    call_cancel(c, STATUS_DEADLINE_EXCEEDED);
    call_fail(c, STATUS_DEADLINE_EXCEEDED, "the call's deadline has passed");
}

// ---- beginning and ending

static struct msg_context *context_new(const struct request *r, const struct space *space,
                                       struct blob *account, struct blob *take_metadata,
                                       int64_t deadline) {
    struct msg_context *x = msg_context_new();
    if (x == NULL) {
        blob_drop(take_metadata);
        return NULL;
    }
    x->ns = blob_hold(space->ns);
    x->account = blob_hold(account);
    x->peer = peer_of(r->at, r->conn);
    x->metadata = take_metadata;
    x->request_id = r->request_id;
    x->deadline = deadline;
    x->chain = r->head.chain;
    head_trace(x, r->head.traceparent);
    return x;
}

struct call *call_new_bare(const struct request *r, const struct call_form *form,
                           int64_t deadline) {
    struct call *c = take_spare(r->at);
    if (c == NULL) return NULL;
    assert(c->form == NULL);
    *c = (struct call){.at = r->at,
                       .index = c->index,
                       .generation = c->generation + 1,
                       .form = form,
                       .stream = r->stream,
                       .view = r->view,
                       .table = route_table_hold(r->view->table),
                       .route = r->route,
                       .timer.fire = on_deadline};
    c->counts = request_counts(r);
    c->began = loop_now(r->at->loop);
    call_counts_begin(c->counts);
    if (c->counts == NULL) atomic_fetch_add(&r->at->server->uncounted, 1);
    r->stream->user = c;
    atomic_fetch_add_explicit(&r->at->open, 1, memory_order_relaxed);
    // Without memory for the timer the service's own clock still ends the call.
    if (deadline > 0) loop_timer_set(r->at->loop, &c->timer, deadline);
    return c;
}

struct call *call_new(const struct request *r, const struct call_form *form, struct blob *account,
                      struct blob *take_metadata, int64_t deadline) {
    struct space *space = space_get(r->view, r->ns);
    if (space == NULL) {
        blob_drop(take_metadata);
        return NULL;
    }
    struct msg_context *context = context_new(r, space, account, take_metadata, deadline);
    struct call *c = context == NULL ? NULL : call_new_bare(r, form, deadline);
    if (c == NULL) {
        msg_context_drop(context);
        return NULL;
    }
    c->context = context;
    return c;
}

void call_delete(struct call *c) {
    struct rpc_loop *at = c->at;
    call_cancel(c, STATUS_CANCELLED);
    if (!c->answered) call_answered(c, STATUS_CANCELLED);
    loop_timer_clear(at->loop, &c->timer);
    loop_timer_clear(at->loop, &c->beat);
    socket_delete(c->socket);
    parts_delete(c->parts);
    route_table_drop(c->table);
    msg_context_drop(c->context);
    buf_free(&c->body);
    buf_free(&c->texts);
    free(c->params);
    blob_drop(c->message);
    blob_drop(c->leading);
    intake_destroy(&c->intake);
    c->form = NULL;
    c->stream = NULL;
    c->next_spare = at->spare;
    at->spare = c;
    atomic_fetch_sub_explicit(&at->open, 1, memory_order_relaxed);
}

void call_delete_all(struct rpc_loop *at) {
    for (uint32_t i = 0; i < at->call_count; i++) {
        assert(at->calls[i]->form == NULL); // the connections have ended with the loop
        free(at->calls[i]);
    }
    free(at->calls);
    at->calls = NULL;
    at->spare = NULL;
    at->call_count = at->call_cap = 0;
}

void call_answered(struct call *c, int status) {
    assert(!c->answered);
    c->answered = true;
    packed_end(c);
    loop_timer_clear(c->at->loop, &c->timer);
    call_counts_end(c->counts, status);
    if (c->counts != NULL) {
        histogram_observe(&c->counts->seconds, loop_now(c->at->loop) - c->began);
    } else {
        atomic_fetch_sub(&c->at->server->uncounted, 1);
    }
}

void call_fail(struct call *c, int status, const char *format, ...) {
    if (c->answered) return;
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    call_cancel(c, STATUS_CANCELLED);
    struct msg_fault *fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
    c->form->fail(c, status, fault, false);
    msg_fault_delete(fault);
}

// ---- to the service

static struct message *new_message(struct call *c, enum msg_kind kind) {
    struct message *m = message_new(kind, number_of(c));
    if (m == NULL) return NULL;
    m->reply = port_hold(&c->at->loop->port);
    m->form = c->encoding;
    if (c->transcoded) m->form.encoding = MSG_PROTO;
    m->generation = c->route->generation;
    if (c->intake.frame.compressed) m->compress = MSG_COMPRESS_YES;
    return m;
}

static void drop_pool(struct pb_pool *pool) { pb_pool_drop(pool); }

static void warn_refused(struct call *c) {
    struct rpc_loop *at = c->at;
    int64_t now = loop_now(at->loop);
    at->warnings++;
    if (now - at->warned_at < NS_PER_SECOND) return;
    log_printf(LOG_WARN, "server",
               "service %.*s refuses requests: its queue is full (%u since the last line)",
               (int)c->route->service.n, c->route->service.p, at->warnings);
    at->warned_at = now;
    at->warnings = 0;
}

static void refused(struct call *c, int status) {
    char text[200];
    bool full = status == STATUS_RESOURCE_EXHAUSTED;
    if (full) warn_refused(c);
    int n =
        snprintf(text, sizeof text,
                 full ? "service \"%.*s\" has too many requests waiting: try again later"
                      : "service \"%.*s\" is not running",
                 (int)(c->route->service.n < 100 ? c->route->service.n : 100), c->route->service.p);
    struct msg_fault *fault =
        msg_fault_new((struct str){text, (size_t)n}, (struct str){"", 0}, NULL);
    c->form->fail(c, status, fault, full);
    msg_fault_delete(fault);
}

struct blob *call_to_service(struct call *c, struct blob *take_body) {
    if (!c->transcoded || c->encoding.wire_in || take_body == NULL) return take_body;
    struct err err = {0};
    const struct route *r = c->route;
    int64_t weight = message_weight(take_body);
    struct blob *wire = transcode_to_wire(r->pool, r->method->input, take_body, &err);
    if (wire == NULL) {
        call_fail(c, (int)err.code, "%s", err.text);
    } else {
        c->intake.credit += weight - message_weight(wire); // credit comes for what the service gets
    }
    return wire;
}

void call_request(struct call *c, struct blob *take_body) {
    if (take_body != NULL) {
        take_body = call_to_service(c, take_body);
        if (take_body == NULL) return;
    }
    struct message *m = new_message(c, MSG_REQUEST);
    if (m == NULL) {
        blob_drop(take_body);
        call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the request");
        return;
    }
    m->body = take_body;
    m->context = msg_context_hold(c->context);
    m->method = c->route->method;
    m->contract = pb_pool_hold(c->route->pool);
    m->drop_contract = drop_pool;
    m->streams = c->streams;
    m->sent_at = loop_now(c->at->loop);
    c->requested = true;
    int rc = port_send(c->route->port, m);
    if (rc == 0) return;
    c->requested = false;
    message_delete(m);
    refused(c, -rc);
}

int call_tell(struct call *c, enum msg_kind kind, struct blob *take_body, int status,
              uint32_t credit) {
    struct message *m = new_message(c, kind);
    if (m == NULL) {
        blob_drop(take_body);
        return -STATUS_RESOURCE_EXHAUSTED;
    }
    m->body = take_body;
    m->status = status;
    m->credit = credit;
    int rc = port_send(c->route->port, m);
    if (rc < 0) message_delete(m);
    return rc;
}

void call_cancel(struct call *c, int status) {
    if (!c->requested) return;
    c->requested = false;
    call_tell(c, MSG_CANCEL, NULL, status, 0);
}

static void renew(struct call *c) {
    if (c->uncredited == 0 || !c->requested) return;
    // If it is refused the service is ending, and says so by itself.
    call_tell(c, MSG_CREDIT, NULL, 0, c->uncredited);
    c->uncredited = 0;
}

void call_item_queued(struct call *c, const struct blob *body) {
    bool changed = c->transcoded || c->route->response_body != NULL;
    c->uncredited += changed ? c->wire_weight : message_weight(body);
    if (c->uncredited >= CREDIT_STEP && http_queued(c->stream) < HTTP_LOW_WATER) renew(c);
}

void call_writable(struct call *c) {
    if (!c->answered) renew(c);
}

// ---- from the service

int call_item(struct intake *in, struct blob *take) {
    struct call *c = call_of_intake(in);
    if (c->mapped && (take = gateway_map_message(c, take)) == NULL) return -STATUS_INVALID_ARGUMENT;
    struct blob *body = call_to_service(c, take);
    return body == NULL ? -STATUS_INVALID_ARGUMENT : call_tell(c, MSG_ITEM, body, 0, 0);
}

static void on_credit(struct call *c, const struct message *m) {
    if (c->form->credit != NULL) {
        c->form->credit(c, m->credit);
        return;
    }
    struct err err = {0};
    int rc = intake_credit(&c->intake, c->stream, m->credit, &err);
    if (rc < 0) {
        call_fail(c, -rc, "%s", err.text);
    } else if (c->stream->remote_ended && !c->request_ended) {
        c->form->end(c);
    }
}

// The body in the caller's form. False: it cannot be given, and the call has failed.
static bool transcode_answer(struct call *c, struct message *m) {
    if (m->body == NULL || m->form.encoding == MSG_JSON) return true;
    struct err err = {0};
    const struct route *r = c->route;
    c->wire_weight = message_weight(m->body); // credit is for what the service has sent
    m->body = transcode_to_json(r->pool, r->method->output, m->body, c->encoding,
                                JSON_GROWTH * c->at->server->options.max_message, &err);
    if (m->body != NULL) return true;
    if (m->kind == MSG_RESPONSE) c->requested = false;
    call_fail(
        c, err.code == STATUS_RESOURCE_EXHAUSTED ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL,
        "service \"%.*s\" answered with what is no %.*s: %.200s", (int)r->service.n, r->service.p,
        (int)r->method->output->full_name.n, r->method->output->full_name.p, err.text);
    return false;
}

// A field of the message is the answer. False: memory has ended, and the call has failed.
static bool take_field(struct call *c, struct message *m) {
    if (m->body == NULL) return true;
    if (!c->transcoded) c->wire_weight = message_weight(m->body);
    m->body = gateway_answer(c, m->body);
    if (m->body == NULL) call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    return m->body != NULL;
}

void call_deliver(struct loop *loop, struct message *take) {
    struct call *c = call_find(loop->user, take->call);
    if (c == NULL || !c->requested || c->answered) {
        message_delete(take);
        return;
    }
    if (c->transcoded && !transcode_answer(c, take)) {
        message_delete(take);
        return;
    }
    if (c->route->response_body != NULL && !take_field(c, take)) {
        message_delete(take);
        return;
    }
    const struct pb_method *method = c->route->method; // NULL: raw HTTP
    switch (take->kind) {
    case MSG_HEADERS:
        if (!c->headed) c->form->headers(c, take);
        break;
    case MSG_ITEM:
        if (method == NULL || method->server_streaming) c->form->item(c, take);
        break;
    case MSG_CREDIT:
        if (method == NULL || method->client_streaming) on_credit(c, take);
        break;
    case MSG_RESPONSE:
        c->requested = false;
        c->form->response(c, take);
        break;
    default: break;
    }
    message_delete(take);
}
