// SPDX-License-Identifier: Apache-2.0
// The head of a request at the api door, and unary calls.
//
// The path names an endpoint (path.c brings it into the form of the route table), the body or the query is the request
// (gateway_body.c). Answers are the service's JSON, or protobuf for who sent protobuf; errors have one form
// (gateway_page.c). An endpoint that its caller streams to takes lines of JSON (gateway_lines.c); every kind answers on a WebSocket
// (gateway_socket.c).
#include "rpc/gateway.h"
#include "msg/metadata.h"
#include "net/encoding.h"
#include "rpc/cors.h"

// ---- unary calls

struct gateway_error gateway_error_of(const struct call *c, int http, const struct msg_fault *fault,
                                      char id[ID_MAX]) {
    struct str name = blob_str(fault == NULL ? NULL : fault->id);
    return (struct gateway_error){.http = http,
                                  .id = name.n > 0 ? name : gateway_id(id, c->route),
                                  .detail = blob_str(fault == NULL ? NULL : fault->text)};
}

void gateway_end_error(struct call *c, int http, int status, const struct msg_fault *fault,
                       const struct message *m, bool pushback) {
    char id[ID_MAX];
    struct gateway_error e = gateway_error_of(c, http, fault, id);
    e.pushback = pushback;
    call_answered(c, status);
    if (gateway_send_error(c->at, c->stream, &e, m == NULL ? NULL : m->leading,
                           m == NULL ? NULL : m->metadata) < 0)
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

// What a unary answer has for headers waits for the answer: its length and status come first.
static void on_headers(struct call *c, struct message *m) {
    blob_drop(c->leading);
    c->leading = m->metadata;
    m->metadata = NULL;
}

static void on_response(struct call *c, struct message *m) {
    if (m->leading == NULL) {
        m->leading = c->leading;
        c->leading = NULL;
    }
    if (m->status != STATUS_OK) {
        gateway_end_error(c, gateway_http(m->status, m->fault), m->status, m->fault, m, false);
        return;
    }
    bool proto = c->encoding.encoding == MSG_PROTO;
    struct blob *body = m->body;
    m->body = NULL;
    if (body == NULL) body = proto ? blob_new(NULL, 0) : blob_hold(c->at->server->empty_object);
    call_answered(c, STATUS_OK);
    if (c->route->empty && gateway_answer_empty(c, body)) {
        blob_drop(body);
        if (gateway_send_empty(c->at, c->stream, m->leading, m->metadata) < 0)
            http_reset(c->stream, HTTP2_INTERNAL_ERROR);
        return;
    }
    const char *type = proto ? "application/protobuf" : "application/json";
    if (gateway_send(c->at, c->stream, type, body, m->leading, m->metadata) < 0)
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    gateway_end_error(c, status_http(status), status, fault, NULL, pushback);
}

static const struct call_form UNARY = {
    .data = gateway_data,
    .end = gateway_end,
    .headers = on_headers,
    .response = on_response,
    .fail = on_fail,
};

// ---- heads

static void refuse_unrouted(struct request *r, const struct route_query *q) {
    struct buf allow = {0};
    route_methods(r->view->table, q, &allow);
    r->allow = buf_cstr(&allow);
    int path_n = (int)(q->clean.n < 300 ? q->clean.n : 300);
    int method_n = (int)(q->method.n < 40 ? q->method.n : 40);
    if (allow.n > 0) {
        gateway_refuse(r, 405, STATUS_UNIMPLEMENTED, "\"%.*s\" is not for %.*s, but for %s", path_n,
                       q->clean.p, method_n, q->method.p, r->allow);
    } else if (!route_method_usual(q->method)) {
        gateway_refuse(r, 405, STATUS_UNIMPLEMENTED, "method %.*s is not known here", method_n,
                       q->method.p);
    } else {
        gateway_refuse(r, 404, STATUS_NOT_FOUND,
                       "no service answers \"%.*s\" in namespace \"%.*s\"", path_n, q->clean.p,
                       (int)r->ns.n, r->ns.p);
    }
    buf_free(&allow);
}

// An endpoint that is found by method and path alone, as most are.
static void remember(struct request *r) {
    const struct route_table *table = r->view->table;
    bool plain = r->route->kind == ROUTE_ENDPOINT && r->param_count == 0 &&
                 r->head.version.n == 0 && !table->hosts;
    if (plain)
        route_remember_http(&r->view->last_http, r->route, r->ns, r->stream->method, r->path);
}

// Of the path that was normalized last.
static struct route_query query_of(const struct request *r, struct str method) {
    return (struct route_query){.ns = r->ns,
                                .clean = buf_str(&r->at->clean),
                                .normal = buf_str(&r->at->normal),
                                .method = method,
                                .host = r->stream->authority,
                                .version = r->head.version};
}

const struct route *gateway_look(struct request *r, struct str method) {
    struct rpc_loop *at = r->at;
    if (!head_namespace_valid(r->ns)) return NULL;
    const struct route *route = NULL;
    if (r->view == &at->views[DOOR_API] && route_normalize(r->path, &at->clean, &at->normal) == 0) {
        struct route_query q = query_of(r, method);
        size_t count;
        route = route_match(r->view->table, &q, at->params, &count);
    }
    return route != NULL ? route : grpc_route(r);
}

// Fills r->route and r->params. False: the request is answered.
static bool find_route(struct request *r) {
    struct rpc_loop *at = r->at;
    r->params = at->params;
    if (r->head.version.n == 0)
        r->route = route_recall_http(&r->view->last_http, r->ns, r->stream->method, r->path);
    if (r->route != NULL) {
        cors_answer(r);
        return true;
    }
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
    struct route_query q = query_of(r, r->stream->method);
    r->route = route_match(r->view->table, &q, at->params, &r->param_count);
    if (r->route == NULL) {
        refuse_unrouted(r, &q);
        return false;
    }
    remember(r);
    cors_answer(r);
    return true;
}

// A caller's stream is lines of JSON. False: the request is answered.
static bool lines_acceptable(struct request *r, enum body_kind kind) {
    struct str endpoint = r->route->endpoint;
    if (!r->route->method->client_streaming) {
        if (kind != BODY_LINES) return true;
        gateway_refuse(r, 415, STATUS_INVALID_ARGUMENT,
                       "%.*s takes one message: send it as application/json", (int)endpoint.n,
                       endpoint.p);
        return false;
    }
    if (kind == BODY_LINES || kind == BODY_MULTIPART) return true;
    bool get = kind == BODY_QUERY;
    r->allow = get ? "POST" : NULL;
    gateway_refuse(r, get ? 405 : 415, STATUS_INVALID_ARGUMENT,
                   "%.*s takes a stream from its caller: POST application/x-ndjson, a message a "
                   "line, or a form with files, or open a WebSocket",
                   (int)endpoint.n, endpoint.p);
    return false;
}

// What can be said before the call begins. False: the request is answered.
static bool acceptable(struct request *r, enum body_kind kind) {
    if (r->stream->foreign_encoding) {
        gateway_refuse(r, 415, STATUS_INVALID_ARGUMENT,
                       "this content-encoding is not understood here: use one of " ENCODINGS_TAKEN
                       ", or none");
        return false;
    }
    const struct pb_method *method = r->route->method;
    size_t limit = r->at->server->options.max_message;
    if (!lines_acceptable(r, kind)) return false;
    if (kind == BODY_UNKNOWN || (kind == BODY_PROTO && method->server_streaming)) {
        gateway_refuse(r, 415, STATUS_INVALID_ARGUMENT,
                       "content-type %.*s is not understood here: use application/json",
                       (int)(r->head.content_type.n < 100 ? r->head.content_type.n : 100),
                       r->head.content_type.p);
        return false;
    }
    if (!method->client_streaming && r->stream->content_length > 0 &&
        (uint64_t)r->stream->content_length > limit) {
        gateway_refuse(r, 413, STATUS_RESOURCE_EXHAUSTED,
                       "the body is longer than the limit of %zu bytes", limit);
        return false;
    }
    return true;
}

struct blob *gateway_metadata(const struct request *r, bool *failed) {
    struct buf first = {0};
    metadata_add(&first, str_of("host"), r->stream->authority);
    metadata_add(&first, str_of("method"), r->stream->method);
    metadata_add(&first, str_of("url"), r->stream->path);
    return head_metadata(&first, r->stream->headers, r->stream->header_count, failed);
}

static void begin(struct request *r, struct blob *account, enum body_kind kind) {
    struct rpc_server *s = r->at->server;
    const struct pb_method *method = r->route->method;
    bool unary = !method->server_streaming && !method->client_streaming;
    bool timed = unary && s->options.default_deadline > 0;
    int64_t deadline = timed ? loop_now(r->at->loop) + s->options.default_deadline : 0;
    bool failed;
    struct blob *metadata = gateway_metadata(r, &failed);
    const struct call_form *form = !method->server_streaming  ? &UNARY
                                   : gateway_events_wanted(r) ? &GATEWAY_EVENTS
                                                              : &GATEWAY_STREAM;
    struct call *c = failed ? NULL : call_new(r, form, account, metadata, deadline);
    if (c == NULL) {
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "no memory for the call");
        return;
    }
    c->body_kind = (uint8_t)kind;
    if (!gateway_map_begin(c, r)) {
        call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
        return;
    }
    c->encoding = gateway_form(r);
    c->encoding.encoding = kind == BODY_PROTO ? MSG_PROTO : MSG_JSON;
    c->transcoded = r->route->outside && kind != BODY_PROTO;
    if (form == &GATEWAY_EVENTS) gateway_events_begin(c);
    if (kind == BODY_LINES) gateway_lines_begin(c);
    if (kind == BODY_MULTIPART && method->client_streaming) gateway_parts_begin(c);
}

static void endpoint_head(struct request *r, struct blob *account) {
    if (gateway_socket_wanted(r)) {
        gateway_socket_head(r, account);
        return;
    }
    enum body_kind kind = gateway_body_kind(r);
    if (!acceptable(r, kind)) return;
    if (r->route->method->server_streaming && str_is(r->stream->method, "HEAD")) {
        gateway_stream_head(r);
        return;
    }
    if (r->route->method->server_streaming && gateway_events_wanted(r) && gateway_events_over(r))
        return;
    begin(r, account, kind);
}

void gateway_head(struct request *r) {
    if (gateway_fixed(r)) return;
    if (!find_route(r)) return;
    struct space *space = space_get(r->view, r->ns);
    struct blob *account = space == NULL ? NULL : account_of(r, space, false);
    if (account == NULL && !r->route->public) {
        gateway_refuse(r, 401, STATUS_UNAUTHENTICATED, "an account is required");
        return;
    }
    switch (r->route->kind) { // who answers
    case ROUTE_ENDPOINT: endpoint_head(r, account); return;
    case ROUTE_HANDLER: gateway_web_head(r, account); return;
    case ROUTE_FORWARD:
        gateway_refuse(r, 501, STATUS_UNIMPLEMENTED, "raw HTTP is not answered by this version");
        return;
    }
}
