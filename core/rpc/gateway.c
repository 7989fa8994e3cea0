// SPDX-License-Identifier: Apache-2.0
// JSON over HTTP: the api door.
//
// The path names an endpoint (path.c brings it into the form of the route table), the body or the query is the request.
// JSON goes to the service as it came, where it is decoded once; queries and forms become JSON here, typed by the contract.
// A body of application/protobuf goes and comes back as such. Answers are the service's JSON, errors have one
// form (gateway_page.c).
//
// An endpoint that streams to its caller answers with newline-delimited JSON, one line a message; an error after the first
// line is a last line {"error":{...}}. One that its caller streams to needs gRPC.
#include "msg/metadata.h"
#include "pb/visit.h"
#include "rpc/call.h"

#include <stdio.h>

#define NDJSON "application/x-ndjson"

enum body_kind { BODY_JSON, BODY_QUERY, BODY_FORM, BODY_PROTO, BODY_UNKNOWN };

// ---- answers

static void break_off(struct call *c) {
    call_cancel(c, STATUS_CANCELLED);
    if (!c->answered) call_answered(c, STATUS_RESOURCE_EXHAUSTED);
    http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static bool send_head(struct call *c, const struct blob *leading, bool end) {
    struct headers *h = &c->at->out;
    c->headed = true;
    if (!headers_begin(h, leading, NULL, NULL)) return false;
    headers_add(h, "content-type", str_of(NDJSON));
    headers_add_metadata(h, leading);
    return http_respond(c->stream, 200, h->items, h->n, end) == 0;
}

// The last line of a stream that has begun.
static bool send_error_line(struct call *c, const struct gateway_error *e) {
    struct buf line = {0};
    buf_append_text(&line, "{\"error\":");
    gateway_put_error(&line, e);
    buf_append_text(&line, "}\n");
    struct blob *text = buf_take(&line);
    return text != NULL && http_send_blob(c->stream, text) == 0 &&
           http_finish(c->stream, NULL, 0) == 0;
}

static void end_error(struct call *c, int http, int status, const struct msg_fault *fault,
                      const struct message *m, bool pushback) {
    char id[ID_MAX];
    bool named = fault != NULL && fault->id != NULL && fault->id->n > 0;
    struct gateway_error e = {.http = http,
                              .id = named ? blob_str(fault->id) : gateway_id(id, c->route),
                              .detail = fault == NULL ? str_of("") : blob_str(fault->text),
                              .request_id = c->context->request_id,
                              .pushback = pushback};
    call_answered(c, status);
    bool sent;
    if (c->headed) {
        sent = send_error_line(c, &e);
    } else {
        sent = gateway_send_error(c->at, c->stream, &e, m == NULL ? NULL : m->leading,
                                  m == NULL ? NULL : m->metadata) == 0;
    }
    if (!sent) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

// ---- from the service

static void on_headers(struct call *c, struct message *m) {
    // What a unary answer has for headers waits for the answer: its length and status come first.
    if (!c->route->method->server_streaming) {
        blob_drop(c->leading);
        c->leading = m->metadata;
        m->metadata = NULL;
    } else if (!send_head(c, m->metadata, false)) {
        break_off(c);
    }
}

static void on_item(struct call *c, struct message *m) {
    size_t n = blob_str(m->body).n;
    if ((!c->headed && !send_head(c, NULL, false)) ||
        (n > 0 && http_send_blob(c->stream, blob_hold(m->body)) < 0) ||
        http_send(c->stream, str_of("\n")) < 0) {
        break_off(c);
        return;
    }
    call_item_queued(c, m->body);
}

static void end_stream(struct call *c, struct message *m) {
    call_answered(c, STATUS_OK);
    bool sent = c->headed ? http_finish(c->stream, NULL, 0) == 0 : send_head(c, m->leading, true);
    if (!sent) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_response(struct call *c, struct message *m) {
    if (m->leading == NULL) {
        m->leading = c->leading;
        c->leading = NULL;
    }
    if (m->status != STATUS_OK) {
        end_error(c, status_http(m->status), m->status, m->fault, m, false);
        return;
    }
    if (c->route->method->server_streaming) {
        end_stream(c, m);
        return;
    }
    bool proto = c->encoding.encoding == MSG_PROTO;
    struct blob *body = m->body;
    m->body = NULL;
    if (body == NULL) body = proto ? blob_new(NULL, 0) : blob_hold(c->at->server->empty_object);
    call_answered(c, STATUS_OK);
    const char *type = proto ? "application/protobuf" : "application/json";
    if (gateway_send(c->at, c->stream, type, body, m->leading, m->metadata) < 0)
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    end_error(c, status_http(status), status, fault, NULL, pushback);
}

// ---- from the caller

static void on_data(struct call *c, struct str bytes) {
    size_t limit = c->at->server->options.max_message;
    http_keep(c->stream, bytes.n);
    if (bytes.n > limit || c->body.n > limit - bytes.n) {
        char text[100];
        int n =
            snprintf(text, sizeof text, "the body is longer than the limit of %zu bytes", limit);
        struct msg_fault *fault = msg_fault_new((struct str){text, (size_t)n}, str_of(""), NULL);
        end_error(c, 413, STATUS_RESOURCE_EXHAUSTED, fault, NULL, false);
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

static void on_end(struct call *c) {
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

static const struct call_form GATEWAY_FORM = {
    .data = on_data,
    .end = on_end,
    .headers = on_headers,
    .item = on_item,
    .response = on_response,
    .fail = on_fail,
};

// ---- heads

static enum body_kind kind_of(const struct request *r) {
    static const struct {
        const char *type;
        enum body_kind kind;
    } KINDS[] = {{"application/json", BODY_JSON},
                 {"text/json", BODY_JSON},
                 {"text/plain", BODY_JSON},
                 {"application/x-www-form-urlencoded", BODY_FORM},
                 {"application/protobuf", BODY_PROTO},
                 {"application/x-protobuf", BODY_PROTO}};
    if (str_is(r->stream->method, "GET") || str_is(r->stream->method, "HEAD")) return BODY_QUERY;
    if (r->head.content_type.n == 0) return BODY_JSON;
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (head_type_is(r->head.content_type, KINDS[i].type)) return KINDS[i].kind;
    }
    return BODY_UNKNOWN;
}

static bool method_allowed(struct str method) {
    static const char *const ALLOWED[] = {"POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"};
    for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
        if (str_is(method, ALLOWED[i])) return true;
    }
    return false;
}

// The path as written begins with the prefix, up to a "/" or the end.
static bool has_prefix(struct str clean, struct str prefix) {
    if (prefix.n == 0) return true;
    if (clean.n < prefix.n || memcmp(clean.p, prefix.p, prefix.n) != 0) return false;
    return clean.n == prefix.n || clean.p[prefix.n] == '/' || prefix.p[prefix.n - 1] == '/';
}

// Fills r->route. False: the request is answered.
static bool find_route(struct request *r) {
    struct rpc_loop *at = r->at;
    if (!head_namespace_valid(r->ns)) {
        gateway_refuse(r, 400, STATUS_INVALID_ARGUMENT,
                       "the namespace must match [a-z0-9][a-z0-9-]{0,62}");
        return false;
    }
    int rc = route_normalize(r->path, &at->clean, &at->normal);
    if (rc < 0) {
        buf_free(&at->clean);
        buf_free(&at->normal);
        gateway_refuse(
            r, status_http(-rc), -rc,
            "the path is malformed: it may hold no NUL, no encoded slash and only UTF-8");
        return false;
    }
    struct str clean = buf_str(&at->clean);
    const struct route *route =
        route_find_version(r->view->table, r->ns, buf_str(&at->normal), r->head.version);
    if (route != NULL && has_prefix(clean, route->prefix)) {
        r->route = route;
        return true;
    }
    gateway_refuse(r, 404, STATUS_NOT_FOUND, "no service answers \"%.*s\" in namespace \"%.*s\"",
                   (int)(clean.n < 300 ? clean.n : 300), clean.p, (int)r->ns.n, r->ns.p);
    return false;
}

// What can be said before the call begins. False: the request is answered.
static bool acceptable(struct request *r, enum body_kind kind) {
    const struct pb_method *method = r->route->method;
    size_t limit = r->at->server->options.max_message;
    if (method->client_streaming) {
        gateway_refuse(r, 501, STATUS_UNIMPLEMENTED,
                       "%.*s takes a stream from its caller: call it with gRPC",
                       (int)r->route->endpoint.n, r->route->endpoint.p);
        return false;
    }
    if (kind == BODY_UNKNOWN || (kind == BODY_PROTO && method->server_streaming)) {
        gateway_refuse(r, 415, STATUS_INVALID_ARGUMENT,
                       "content-type %.*s is not understood here: use application/json",
                       (int)(r->head.content_type.n < 100 ? r->head.content_type.n : 100),
                       r->head.content_type.p);
        return false;
    }
    if (r->stream->content_length > 0 && (uint64_t)r->stream->content_length > limit) {
        gateway_refuse(r, 413, STATUS_RESOURCE_EXHAUSTED,
                       "the body is longer than the limit of %zu bytes", limit);
        return false;
    }
    return true;
}

// Micro's names for what is no header of its own in HTTP/2.
static struct blob *metadata_of(struct request *r, bool *failed) {
    struct buf first = {0};
    metadata_add(&first, str_of("host"), r->stream->authority);
    metadata_add(&first, str_of("method"), r->stream->method);
    metadata_add(&first, str_of("url"), r->stream->path);
    return head_metadata(&first, r->stream->headers, r->stream->header_count, failed);
}

static void begin(struct request *r, struct blob *account, enum body_kind kind) {
    struct rpc_server *s = r->at->server;
    bool timed = !r->route->method->server_streaming && s->options.default_deadline > 0;
    int64_t deadline = timed ? loop_now(r->at->loop) + s->options.default_deadline : 0;
    bool failed;
    struct blob *metadata = metadata_of(r, &failed);
    struct call *c = failed ? NULL : call_new(r, &GATEWAY_FORM, account, metadata, deadline);
    if (c == NULL) {
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "no memory for the call");
        return;
    }
    c->body_kind = (uint8_t)kind;
    c->encoding.encoding = kind == BODY_PROTO ? MSG_PROTO : MSG_JSON;
    c->transcoded = r->route->outside && kind != BODY_PROTO;
}

void gateway_head(struct request *r) {
    if (gateway_fixed(r)) return;
    if (!method_allowed(r->stream->method)) {
        gateway_refuse(r, 405, STATUS_UNIMPLEMENTED, "method %.*s is not known here",
                       (int)(r->stream->method.n < 40 ? r->stream->method.n : 40),
                       r->stream->method.p);
        return;
    }
    if (!find_route(r)) return;
    struct space *space = space_get(r->view, r->ns);
    struct blob *account = space == NULL ? NULL : account_of(r, space, false);
    if (account == NULL && !r->route->public) {
        gateway_refuse(r, 401, STATUS_UNAUTHENTICATED, "an account is required");
        return;
    }
    enum body_kind kind = kind_of(r);
    if (!acceptable(r, kind)) return;
    if (r->route->method->server_streaming && str_is(r->stream->method, "HEAD")) {
        const struct http_header head[] = {{str_of("content-type"), str_of(NDJSON)}};
        if (http_respond(r->stream, 200, head, 1, true) < 0)
            http_reset(r->stream, HTTP2_INTERNAL_ERROR);
        return;
    }
    begin(r, account, kind);
}
