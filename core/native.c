// SPDX-License-Identifier: Apache-2.0
// Core services as ports: finding a method, reading a request, answering it.
//
// Requests come from platform services only, and their types are flat (no type contains itself), so protobuf-c, which does not
// limit nesting, may read them.
#include "native.h"

#include <assert.h>
#include <stdlib.h>

static int receive(struct port *port, struct message *m) {
    struct native_port *p = (struct native_port *)port;
    if (m->kind != MSG_REQUEST) {
        message_delete(m); // see native.h: cancellations are ignored, and no method streams
        return 0;
    }
    const struct pb_method *method = m->method;
    for (size_t i = 0; method != NULL && m->form.encoding == MSG_PROTO && i < p->service->count;
         i++) {
        if (!str_is(method->name, p->service->methods[i].name)) continue;
        p->service->methods[i].run(p->context, m);
        return 0;
    }
    message_refuse(m, STATUS_UNIMPLEMENTED, "the core has no such method");
    return 0;
}

static void keep(struct port *port) { (void)port; } // it is part of struct natives

void natives_add(struct natives *n, const struct native_service *service, void *context) {
    static const struct port_ops OPS = {receive, keep};
    assert(n->count < NATIVES_MAX);
    struct native_port *p = &n->ports[n->count++];
    port_init(&p->port, &OPS);
    p->service = service;
    p->context = context;
}

static struct native_port *find_port(struct natives *n, struct str capability) {
    for (size_t i = 0; i < n->count; i++) {
        if (str_is(capability, n->ports[i].service->capability)) return &n->ports[i];
    }
    return NULL;
}

int natives_find(struct natives *n, struct pb_pool *platform, struct str capability,
                 struct str method, struct vm_target *out, struct err *err) {
    struct native_port *p = find_port(n, capability);
    if (p == NULL)
        return err_set(err, STATUS_UNIMPLEMENTED, "this process has no capability %.*s",
                       (int)capability.n, capability.p);
    struct buf path = {0};
    buf_printf(&path, "/%s/%.*s", p->service->full_name, (int)method.n, method.p);
    const struct pb_method *found = pb_find_path(platform, buf_str(&path));
    buf_free(&path);
    if (found == NULL)
        return err_set(err, STATUS_UNIMPLEMENTED, "the capability %.*s has no method %.*s",
                       (int)capability.n, capability.p, (int)method.n, method.p);
    *out = (struct vm_target){
        .port = port_hold(&p->port), .pool = pb_pool_hold(platform), .method = found};
    return 0;
}

// ---- for the methods
void *native_read(struct message *request, const ProtobufCMessageDescriptor *type) {
    struct str body = blob_str(request->body);
    void *m = protobuf_c_message_unpack(type, NULL, body.n, (const uint8_t *)body.p);
    if (m == NULL) message_refuse(request, STATUS_INVALID_ARGUMENT, "malformed request");
    return m;
}

void native_answer_bytes(struct message *request, struct blob *take_body) {
    struct message *m = take_body == NULL ? NULL : message_new(MSG_RESPONSE, request->call);
    if (m == NULL) {
        blob_drop(take_body);
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    m->body = take_body;
    if (request->reply == NULL || port_send(request->reply, m) < 0) message_delete(m);
    message_delete(request);
}

void native_answer(struct message *request, const ProtobufCMessage *response) {
    size_t n = protobuf_c_message_get_packed_size(response);
    struct blob *body = NULL;
    struct buf b = {0};
    if (buf_reserve(&b, n + 1)) { // one more, so that an empty message has storage too
        protobuf_c_message_pack(response, (uint8_t *)buf_p(&b));
        b.n = n;
        body = buf_take(&b);
    }
    buf_free(&b);
    native_answer_bytes(request, body);
}

void native_fail(struct message *request, const struct err *err) {
    message_refuse(request, err->code == 0 ? STATUS_INTERNAL : (int)err->code, err->text);
}
