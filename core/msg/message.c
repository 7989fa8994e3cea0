// SPDX-License-Identifier: Apache-2.0
#include "msg/message.h"

#include "base/counters.h"
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>

struct message *message_new(enum msg_kind kind, uint64_t call) {
    struct message *m = pool_take_zeroed(sizeof *m);
    if (m == NULL) return NULL;
    counter_add(COUNTER_MESSAGES, 1);
    m->kind = (uint8_t)kind;
    m->call = call;
    return m;
}

void message_delete(struct message *m) {
    if (m == NULL) return;
    counter_add(COUNTER_MESSAGES, -1);
    port_drop(m->reply);
    msg_context_drop(m->context);
    if (m->contract != NULL) m->drop_contract(m->contract);
    blob_drop(m->body);
    blob_drop(m->metadata);
    blob_drop(m->leading);
    msg_fault_delete(m->fault);
    pool_give_sized(m, sizeof *m);
}

void message_park(struct message *m) {
    (void)m;
    counter_add(COUNTER_MESSAGES, -1);
}

void message_unpark(struct message *m) {
    (void)m;
    counter_add(COUNTER_MESSAGES, 1);
}

void message_delete_chain(struct mpsc_node *first) {
    while (first != NULL) {
        struct mpsc_node *next = first->next;
        message_delete(message_of(first));
        first = next;
    }
}

struct msg_context *msg_context_new(void) {
    struct msg_context *c = pool_take_zeroed(sizeof *c);
    if (c != NULL) atomic_init(&c->refs, 1);
    return c;
}

struct msg_context *msg_context_copy(const struct msg_context *from) {
    struct msg_context *c = msg_context_new();
    if (c == NULL) return NULL;
    c->ns = blob_hold(from->ns);
    c->account = blob_hold(from->account);
    c->caller = blob_hold(from->caller);
    c->peer = blob_hold(from->peer);
    c->metadata = blob_hold(from->metadata);
    c->request_id = from->request_id;
    memcpy(c->trace_id, from->trace_id, sizeof c->trace_id);
    memcpy(c->span_id, from->span_id, sizeof c->span_id);
    c->trace_flags = from->trace_flags;
    c->chain = from->chain;
    c->deadline = from->deadline;
    return c;
}

struct msg_context *msg_context_hold(struct msg_context *c) {
    if (c != NULL) atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void msg_context_drop(struct msg_context *c) {
    if (c == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    blob_drop(c->ns);
    blob_drop(c->account);
    blob_drop(c->caller);
    blob_drop(c->peer);
    blob_drop(c->metadata);
    pool_give_sized(c, sizeof *c);
}

struct msg_fault *msg_fault_new(struct str text, struct str id, struct blob *take_details) {
    struct msg_fault *f = calloc(1, sizeof *f);
    if (f == NULL) {
        blob_drop(take_details);
        return NULL;
    }
    f->text = blob_new(text.p, text.n);
    f->id = id.n == 0 ? NULL : blob_new(id.p, id.n);
    f->details = take_details;
    return f;
}

void msg_fault_delete(struct msg_fault *f) {
    if (f == NULL) return;
    blob_drop(f->text);
    blob_drop(f->id);
    blob_drop(f->details);
    free(f);
}

struct message *message_fault_new(uint64_t call, int status, const char *text) {
    struct message *m = message_new(MSG_RESPONSE, call);
    if (m == NULL) return NULL;
    m->status = status;
    if (text != NULL) m->fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
    return m;
}

void message_refuse(struct message *request, int status, const char *text) {
    struct message *m = message_fault_new(request->call, status, text);
    if (m != NULL && m->fault != NULL && status == STATUS_UNAVAILABLE)
        m->fault->again = MSG_AGAIN_UNBEGUN;
    if (m != NULL && (request->reply == NULL || port_send(request->reply, m) < 0))
        message_delete(m);
    message_delete(request);
}
