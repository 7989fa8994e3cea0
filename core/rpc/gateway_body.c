// SPDX-License-Identifier: Apache-2.0
// The body of a request: what it is, and the gathering of it.
//
// JSON goes to the service as it came, where it is decoded once, and a body of application/protobuf goes as such, unless there are
// other values beside it (gateway_map.c).
#include "rpc/gateway.h"

#include <stdio.h>

static enum body_kind kind_by_type(struct str content_type) {
    static const struct {
        const char *type;
        enum body_kind kind;
    } KINDS[] = {{"application/json", BODY_JSON},
                 {"text/json", BODY_JSON},
                 {"text/plain", BODY_JSON},
                 {"application/x-www-form-urlencoded", BODY_FORM},
                 {"multipart/form-data", BODY_MULTIPART},
                 {"application/x-ndjson", BODY_LINES},
                 {"application/jsonl", BODY_LINES},
                 {"application/protobuf", BODY_PROTO},
                 {"application/x-protobuf", BODY_PROTO}};
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (head_type_is(content_type, KINDS[i].type)) return KINDS[i].kind;
    }
    return BODY_UNKNOWN;
}

// A path whose body is a field of bytes takes what is of no known type, and plain text; one of a string takes plain text.
static bool is_raw(const struct pb_field *field, enum body_kind kind, struct str content_type) {
    if (field == NULL || field->repeated) return false;
    bool plain = head_type_is(content_type, "text/plain");
    if (field->type == PB_BYTES) return plain || kind == BODY_UNKNOWN;
    return field->type == PB_STRING && plain;
}

enum body_kind gateway_body_kind(const struct request *r) {
    if (str_is(r->stream->method, "GET") || str_is(r->stream->method, "HEAD")) return BODY_QUERY;
    if (r->head.content_type.n == 0) return BODY_JSON;
    enum body_kind kind = kind_by_type(r->head.content_type);
    return is_raw(r->route->body, kind, r->head.content_type) ? BODY_RAW : kind;
}

void gateway_data(struct call *c, struct str bytes) {
    size_t limit = c->at->server->options.max_message;
    if (c->body_kind == BODY_LINES) {
        gateway_lines_data(c, bytes);
        return;
    }
    if (c->parts != NULL) {
        gateway_parts_data(c, bytes);
        return;
    }
    http_keep(c->stream, bytes.n);
    if (bytes.n > limit || c->body.n > limit - bytes.n) {
        char text[100];
        int n =
            snprintf(text, sizeof text, "the body is longer than the limit of %zu bytes", limit);
        struct msg_fault *fault = msg_fault_new((struct str){text, (size_t)n}, str_of(""), NULL);
        gateway_end_error(c, 413, STATUS_RESOURCE_EXHAUSTED, fault, NULL, false);
        msg_fault_delete(fault);
        return;
    }
    buf_append_str(&c->body, bytes);
}

void gateway_end(struct call *c) {
    if (c->body_kind == BODY_LINES) {
        gateway_lines_end(c);
        return;
    }
    if (c->parts != NULL) {
        gateway_parts_end(c);
        return;
    }
    c->request_ended = true;
    bool multipart = c->body_kind == BODY_MULTIPART;
    bool as_it_is = c->body_kind == BODY_JSON || c->body_kind == BODY_PROTO;
    struct blob *body;
    bool values = c->body_kind != BODY_QUERY && (c->body.n > 0 || multipart);
    if (c->mapped || (!as_it_is && values)) {
        body = gateway_map(c);
        if (body == NULL) return;
    } else if (c->body_kind == BODY_QUERY || (c->body.n == 0 && c->body_kind != BODY_PROTO)) {
        body = blob_hold(c->at->server->empty_object);
    } else {
        body = buf_take(&c->body);
    }
    if (body == NULL) {
        call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the request");
        return;
    }
    call_request(c, body);
}
