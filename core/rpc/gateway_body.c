// SPDX-License-Identifier: Apache-2.0
// From an HTTP request to the message that the service gets.
//
// JSON goes to the service as it came, where it is decoded once; queries and forms become JSON here, typed by the contract.
// A body of application/protobuf goes as such.
#include "pb/visit.h"
#include "rpc/gateway.h"

#include <stdio.h>

enum body_kind gateway_body_kind(const struct request *r) {
    static const struct {
        const char *type;
        enum body_kind kind;
    } KINDS[] = {{"application/json", BODY_JSON},
                 {"text/json", BODY_JSON},
                 {"text/plain", BODY_JSON},
                 {"application/x-www-form-urlencoded", BODY_FORM},
                 {"application/x-ndjson", BODY_LINES},
                 {"application/jsonl", BODY_LINES},
                 {"application/protobuf", BODY_PROTO},
                 {"application/x-protobuf", BODY_PROTO}};
    if (str_is(r->stream->method, "GET") || str_is(r->stream->method, "HEAD")) return BODY_QUERY;
    if (r->head.content_type.n == 0) return BODY_JSON;
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (head_type_is(r->head.content_type, KINDS[i].type)) return KINDS[i].kind;
    }
    return BODY_UNKNOWN;
}

void gateway_data(struct call *c, struct str bytes) {
    size_t limit = c->at->server->options.max_message;
    if (c->body_kind == BODY_LINES) {
        gateway_lines_data(c, bytes);
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

static struct str query_of(const struct call *c) {
    struct str path = c->stream->path;
    const char *mark = memchr(path.p, '?', path.n);
    if (mark == NULL) return (struct str){"", 0};
    return (struct str){mark + 1, path.n - (size_t)(mark + 1 - path.p)};
}

// curl -d sends JSON under a form's name when nothing else is said; no field of a form begins with a brace.
static bool looks_like_json(struct str body) {
    size_t i = 0;
    while (i < body.n &&
           (body.p[i] == ' ' || body.p[i] == '\t' || body.p[i] == '\r' || body.p[i] == '\n'))
        i++;
    return i < body.n && body.p[i] == '{';
}

void gateway_end(struct call *c) {
    if (c->body_kind == BODY_LINES) {
        gateway_lines_end(c);
        return;
    }
    c->request_ended = true;
    struct str pairs = {"", 0};
    if (c->body_kind == BODY_QUERY || (c->body_kind == BODY_JSON && c->body.n == 0))
        pairs = query_of(c);
    if (c->body_kind == BODY_FORM && !looks_like_json(buf_str(&c->body))) pairs = buf_str(&c->body);
    struct err err = {0};
    struct buf json = {0};
    struct blob *body;
    if (pairs.n > 0) {
        int rc = pb_query_to_json(c->route->method->input, pairs, &json, &err);
        if (rc < 0) {
            buf_free(&json);
            call_fail(c, -rc, "%s", err.text);
            return;
        }
        body = buf_take(&json);
    } else if (c->body.n == 0 && c->body_kind != BODY_PROTO) {
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
