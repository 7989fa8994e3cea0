// SPDX-License-Identifier: Apache-2.0
// gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) and gRPC-Web over HTTP/1.1 and HTTP/2
// (PROTOCOL-WEB.md, there; grpc_web.h), the server side of both doors.
//
// A method whose caller sends one message: the message is collected, and the REQUEST goes to the service when the caller
// has ended its side. A method whose caller streams: the REQUEST goes at once, each message is an ITEM, the caller's end is END;
// the service's CREDIT opens the caller's window (intake.h).
//
// Compression (https://github.com/grpc/grpc/blob/master/doc/compression.md): the caller's messages are decompressed here
// (grpc_frame.h; a unary call's when the call is complete, so that streams that are kept open hold what was sent and not what
// it unfolds to); the service's are compressed where the service asks for it, the caller accepts gzip, and it makes them
// shorter. The head of the answer has to say so before the first message; a call that does not ask never looks.
//
// An answer is always HTTP 200: head, messages, trailers with the status; or, when nothing was sent before, one block
// of headers with the status in it ("Trailers-Only"). gRPC-Web differs in how bytes go in and out, and comes from browsers: it is
// trusted as far as any other request over HTTP (account.c).
#include "rpc/call.h"
#include "rpc/cors.h"

#include <stdarg.h>
#include <stdio.h>

#define RETRY_PUSHBACK_MS "100"
#define FRAME_ON_STACK 1024

struct type {
    const char *name;
    enum msg_encoding encoding;
    enum grpc_web web;
};
static const struct type TYPES[] = {
    {"application/grpc", MSG_PROTO, GRPC_PLAIN},
    {"application/grpc+proto", MSG_PROTO, GRPC_PLAIN},
    {"application/grpc+json", MSG_JSON, GRPC_PLAIN},
    {"application/grpc-web", MSG_PROTO, GRPC_WEB},
    {"application/grpc-web+proto", MSG_PROTO, GRPC_WEB},
    {"application/grpc-web+json", MSG_JSON, GRPC_WEB},
    {"application/grpc-web-text", MSG_PROTO, GRPC_WEB_TEXT},
    {"application/grpc-web-text+proto", MSG_PROTO, GRPC_WEB_TEXT},
};
#define TYPE_COUNT (sizeof TYPES / sizeof TYPES[0])

// NULL: none of them.
static const struct type *type_of(struct str media_type) {
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (head_type_is(media_type, TYPES[i].name)) return &TYPES[i];
    }
    return NULL;
}

// ---- answers

// Memory has ended or the answer cannot be said: the stream breaks off, the service is told.
static void break_off(struct call *c) {
    call_cancel(c, STATUS_CANCELLED);
    if (!c->answered) call_answered(c, STATUS_RESOURCE_EXHAUSTED);
    http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static bool accepts_gzip(const struct call *c) {
    struct str list;
    const struct http_stream *s = c->stream;
    return http_header_get(s->headers, s->header_count, "grpc-accept-encoding", &list) &&
           headers_list_has(list, "gzip");
}

// `compress`: enum msg_compress of the first message.
static bool send_head(struct call *c, const struct blob *leading, int compress) {
    struct headers *h = &c->at->out;
    c->headed = true;
    c->gzip = compress != MSG_COMPRESS_NO && accepts_gzip(c);
    if (!headers_begin(h, leading, NULL, NULL)) return false;
    headers_add(h, "content-type", c->content_type);
    if (c->gzip) headers_add(h, "grpc-encoding", str_of("gzip"));
    headers_add_metadata(h, leading);
    return http_respond(c->stream, 200, h->items, h->n, false) == 0;
}

static bool send_buf(struct call *c, struct buf *take) {
    struct blob *bytes = take->failed ? NULL : buf_take(take);
    buf_free(take);
    return bytes != NULL && http_send_blob(c->stream, bytes) == 0;
}

static bool send_text(struct call *c, const unsigned char head[GRPC_FRAME_HEAD],
                      struct blob *take) {
    struct buf text = {0};
    grpc_web_put_text(&text, head, blob_str(take));
    blob_drop(take);
    return send_buf(c, &text);
}

// Takes the body.
static bool send_frame(struct call *c, struct blob *take, int compress) {
    struct blob *packed = NULL;
    if (compress == MSG_COMPRESS_YES && c->gzip) packed = gzip_pack(&c->at->gzip, blob_str(take));
    if (packed != NULL) {
        blob_drop(take);
        take = packed;
    }
    struct str body = blob_str(take);
    unsigned char frame[GRPC_FRAME_HEAD + FRAME_ON_STACK];
    grpc_frame_head(frame, body.n, packed != NULL);
    if (c->web == GRPC_WEB_TEXT) return send_text(c, frame, take);
    if (body.n > FRAME_ON_STACK)
        return http_send(c->stream, (struct str){(char *)frame, GRPC_FRAME_HEAD}) == 0
                   ? http_send_blob(c->stream, take) == 0
                   : (blob_drop(take), false);
    memcpy(frame + GRPC_FRAME_HEAD, body.p, body.n);
    bool sent = http_send(c->stream, (struct str){(char *)frame, GRPC_FRAME_HEAD + body.n}) == 0;
    blob_drop(take);
    return sent;
}

static void add_end(struct headers *h, int status, const struct msg_fault *fault, bool pushback) {
    headers_add_status(h, status, fault);
    if (status == STATUS_UNIMPLEMENTED)
        headers_add(h, "grpc-accept-encoding", str_of(GRPC_ENCODINGS));
    if (pushback) headers_add(h, "grpc-retry-pushback-ms", str_of(RETRY_PUSHBACK_MS));
}

static bool send_trailers(struct call *c, const struct headers *h) {
    if (c->web == GRPC_PLAIN) return http_finish(c->stream, h->items, h->n) == 0;
    struct buf frame = {0};
    grpc_web_put_trailers(&frame, h, c->web);
    return send_buf(c, &frame) && http_finish(c->stream, NULL, 0) == 0;
}

static void end_call(struct call *c, int status, const struct msg_fault *fault,
                     const struct blob *leading, const struct blob *trailing, bool pushback) {
    struct headers *h = &c->at->out;
    if (!headers_begin(h, leading, trailing, fault)) {
        break_off(c);
        return;
    }
    call_answered(c, status);
    if (!c->headed) {
        headers_add(h, "content-type", c->content_type);
        headers_add_metadata(h, leading);
    }
    add_end(h, status, fault, pushback);
    const struct rpc_door *door = conn_door(conn_of(c->stream->session))->user;
    if (status != STATUS_OK && door->index != DOOR_API) // there every head has it
        headers_add_hex(h, "mica-request-id", c->context->request_id);
    headers_add_metadata(h, trailing);
    bool sent =
        c->headed ? send_trailers(c, h) : http_respond(c->stream, 200, h->items, h->n, true) == 0;
    if (!sent) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

// ---- from the service

static void on_headers(struct call *c, struct message *m) {
    if (!send_head(c, m->metadata, m->compress)) break_off(c);
}

static void on_item(struct call *c, struct message *m) {
    struct blob *body = m->body;
    m->body = NULL;
    if ((!c->headed && !send_head(c, NULL, m->compress)) ||
        !send_frame(c, blob_hold(body), m->compress)) {
        break_off(c);
    } else {
        call_item_queued(c, body);
    }
    blob_drop(body);
}

static void on_response(struct call *c, struct message *m) {
    bool message = m->status == STATUS_OK && !c->route->method->server_streaming;
    if (message) {
        struct blob *body = m->body;
        m->body = NULL;
        if (c->headed || send_head(c, m->leading, m->compress)) {
            message = send_frame(c, body, m->compress);
        } else {
            message = false;
            blob_drop(body);
        }
        if (!message) {
            break_off(c);
            return;
        }
    }
    end_call(c, m->status, m->fault, c->headed ? NULL : m->leading, m->metadata, false);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    end_call(c, status, fault, NULL, NULL, pushback);
}

// ---- from the caller

static void collect(struct call *c, struct str bytes) {
    struct err err = {0};
    http_keep(c->stream, bytes.n);
    while (bytes.n > 0) {
        if (c->message != NULL) {
            call_fail(c, STATUS_INTERNAL, "the call has more than one message");
            return;
        }
        int rc = grpc_frame_feed(&c->intake.frame, &bytes, &c->message, &err);
        if (rc < 0) {
            call_fail(c, -rc, "%s", err.text);
            return;
        }
    }
}

static void on_data(struct call *c, struct str bytes) {
    if (!c->route->method->client_streaming) {
        collect(c, bytes);
        return;
    }
    struct err err = {0};
    int rc = intake_data(&c->intake, c->stream, bytes, &err);
    if (rc < 0) call_fail(c, -rc, "%s", err.text);
}

// The one message of a call whose caller does not stream, decompressed. NULL: the call has failed.
static struct blob *take_message(struct call *c) {
    struct blob *message = c->message;
    c->message = NULL;
    if (!c->intake.frame.compressed) return message;
    struct blob *packed = message;
    struct err err = {0};
    int rc = gzip_unpack(&c->at->gzip, blob_str(packed), c->intake.frame.max, &message, &err);
    blob_drop(packed);
    if (rc == 0) return message;
    call_fail(c, -rc, "%s", err.text);
    return NULL;
}

void grpc_request(struct call *c) {
    struct blob *message = take_message(c);
    if (message != NULL) call_request(c, message);
}

static void on_end(struct call *c) {
    if (!intake_empty(&c->intake)) return; // comes again when there is credit
    c->request_ended = true;
    if (!grpc_frame_between(&c->intake.frame)) {
        call_fail(c, STATUS_INTERNAL, "the call's last message is cut off");
    } else if (c->route->method->client_streaming) {
        call_tell(c, MSG_END, NULL, 0, 0);
    } else if (c->message == NULL) {
        call_fail(c, STATUS_INTERNAL, "the call has no message");
    } else if (!c->intake.frame.compressed || packed_room(c)) {
        grpc_request(c);
    }
}

static const struct call_form GRPC_FORM = {
    .data = on_data,
    .end = on_end,
    .headers = on_headers,
    .item = on_item,
    .response = on_response,
    .fail = on_fail,
};

// ---- gRPC-Web as text

// Characters are given back to flow control when their group is complete: as many as it has bytes with these bytes, the others now.
static void on_text(struct call *c, struct str text) {
    struct buf bytes = {0};
    size_t complete = c->text.n + text.n;
    bool sound = grpc_web_decode(&c->text, text, &bytes);
    if (sound) {
        http_consume(c->stream, complete - c->text.n - bytes.n);
        on_data(c, buf_str(&bytes));
    } else {
        call_fail(c, bytes.failed ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL,
                  bytes.failed ? "no memory for a message" : "the body is not base64");
    }
    buf_free(&bytes);
}

static void on_text_end(struct call *c) {
    if (c->text.n > 0) {
        call_fail(c, STATUS_INTERNAL, "the body is not base64: its last group is not padded");
    } else {
        on_end(c);
    }
}

static const struct call_form TEXT_FORM = {
    .data = on_text,
    .end = on_text_end,
    .headers = on_headers,
    .item = on_item,
    .response = on_response,
    .fail = on_fail,
};

// ---- heads

// An HTTP error, for what is no gRPC call.
static void refuse_http(struct request *r, int status, const char *text) {
    const struct http_header headers[] = {
        {str_of("content-type"), str_of("text/plain; charset=utf-8")},
        {str_of("allow"), str_of("POST")}};
    request_refused(r, STATUS_UNIMPLEMENTED);
    if (http_respond(r->stream, status, headers, status == 405 ? 2 : 1, false) < 0 ||
        http_send(r->stream, str_of(text)) < 0 || http_finish(r->stream, NULL, 0) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
}

// Trailers-Only, for a call that is not begun.
__attribute__((format(printf, 4, 5))) static void
refuse(struct request *r, const char *content_type, int status, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct headers *h = &r->at->out;
    struct msg_fault *fault = msg_fault_new(str_of(text), (struct str){"", 0}, NULL);
    request_refused(r, status);
    bool sent = headers_begin(h, NULL, NULL, fault);
    if (sent) {
        headers_add(h, "content-type", str_of(content_type));
        add_end(h, status, fault, false);
        sent = http_respond(r->stream, 200, h->items, h->n, true) == 0;
    }
    if (!sent) http_reset(r->stream, HTTP2_INTERNAL_ERROR);
    msg_fault_delete(fault);
}

static void refuse_unknown(struct request *r, const char *type) {
    struct str path = r->path;
    size_t slash = path.n;
    while (slash > 0 && path.p[slash - 1] != '/') slash--;
    if (slash < 2) {
        refuse(r, type, STATUS_UNIMPLEMENTED, "\"%.*s\" is no path of a gRPC method",
               (int)(path.n < 100 ? path.n : 100), path.p);
        return;
    }
    struct str service = {path.p + 1, slash - 2 < 100 ? slash - 2 : 100};
    struct str method = {path.p + slash, path.n - slash < 100 ? path.n - slash : 100};
    refuse(r, type, STATUS_UNIMPLEMENTED,
           "namespace \"%.*s\" has no service \"%.*s\" with a method \"%.*s\"", (int)r->ns.n,
           r->ns.p, (int)service.n, service.p, (int)method.n, method.p);
}

// The api door's own table knows paths in normal form; what it lacks is looked up among the proxy's, which are gRPC's.
const struct route *grpc_route(struct request *r) {
    const struct route *route =
        route_find_again(&r->view->last_route, r->view->table, r->ns, r->path, r->head.version);
    if (route != NULL || r->view == &r->at->views[DOOR_PROXY]) return route;
    struct door_view *proxy = &r->at->views[DOOR_PROXY];
    door_refresh(proxy);
    route = route_find_again(&proxy->last_route, proxy->table, r->ns, r->path, r->head.version);
    if (route != NULL) r->view = proxy;
    return route;
}

// A caller of gRPC-Web may want the answer in another form than its request has.
static const struct type *answer_type(const struct request *r, const struct type *asked) {
    struct str accept;
    if (asked->web == GRPC_PLAIN ||
        !http_header_get(r->stream->headers, r->stream->header_count, "accept", &accept))
        return asked;
    const struct type *type = type_of(accept);
    bool fits = type != NULL && type->web != GRPC_PLAIN && type->encoding == asked->encoding;
    return fits ? type : asked;
}

static void begin(struct request *r, const struct type *type, int64_t deadline) {
    const struct type *answer = answer_type(r, type);
    struct space *space = space_get(r->view, r->ns);
    struct blob *account = space == NULL ? NULL : account_of(r, space, type->web == GRPC_PLAIN);
    if (account == NULL && !r->route->public) {
        refuse(r, answer->name, STATUS_UNAUTHENTICATED, "an account is required");
        return;
    }
    bool failed;
    struct buf first = {0};
    struct blob *metadata =
        head_metadata(&first, r->stream->headers, r->stream->header_count, &failed);
    const struct call_form *form = type->web == GRPC_WEB_TEXT ? &TEXT_FORM : &GRPC_FORM;
    struct call *c = failed ? NULL : call_new(r, form, account, metadata, deadline);
    if (c == NULL) {
        refuse(r, answer->name, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
        return;
    }
    c->content_type = str_of(answer->name);
    c->web = (uint8_t)answer->web;
    c->encoding = (struct msg_form){.encoding = (uint8_t)type->encoding};
    c->transcoded = r->route->outside && type->encoding == MSG_JSON;
    intake_create(&c->intake, r->at->server->options.max_message, call_item);
    if (str_is(r->head.encoding, "gzip")) c->intake.frame.gzip = &r->at->gzip;
    c->intake.frame.keep_packed = !r->route->method->client_streaming;
    if (r->route->method->client_streaming) call_request(c, NULL);
}

void grpc_head(struct request *r) {
    const struct type *type = type_of(r->head.content_type);
    if (type == NULL) {
        refuse_http(r, 415,
                    "This address speaks gRPC: content-type application/grpc is expected.\n");
        return;
    }
    if (type->web == GRPC_PLAIN && http_session_version(r->stream->session) != HTTP_2) {
        refuse_http(r, 505, "gRPC needs HTTP/2.\n");
        return;
    }
    if (!str_is(r->stream->method, "POST")) {
        refuse_http(r, 405, "gRPC calls are POST requests.\n");
        return;
    }
    const char *name = type->name;
    int64_t timeout = 0;
    if (!head_namespace_valid(r->ns)) {
        refuse(r, name, STATUS_INVALID_ARGUMENT,
               "the namespace must match [a-z0-9][a-z0-9-]{0,62}");
    } else if (r->head.timeout.n > 0 && !grpc_timeout_parse(r->head.timeout, &timeout)) {
        refuse(r, name, STATUS_INVALID_ARGUMENT,
               "grpc-timeout must be 1 to 8 digits and one of H M S m u n");
    } else if (r->head.encoding.n > 0 && !str_is(r->head.encoding, "gzip") &&
               !str_is(r->head.encoding, "identity")) {
        refuse(r, name, STATUS_UNIMPLEMENTED,
               "grpc-encoding \"%.*s\" is not supported: use gzip or identity",
               (int)(r->head.encoding.n < 50 ? r->head.encoding.n : 50), r->head.encoding.p);
    } else if ((r->route = grpc_route(r)) == NULL) {
        refuse_unknown(r, name);
    } else {
        cors_answer(r);
        const struct pb_method *method = r->route->method;
        bool unary = !method->client_streaming && !method->server_streaming;
        bool timed = r->head.timeout.n > 0;
        if (!timed && unary) timeout = r->at->server->options.default_deadline;
        int64_t now = loop_now(r->at->loop);
        int64_t deadline = !timed && timeout == 0      ? 0
                           : timeout > INT64_MAX - now ? 0
                                                       : now + timeout;
        begin(r, type, deadline);
    }
}
