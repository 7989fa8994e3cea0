// SPDX-License-Identifier: Apache-2.0
// What the api door says by itself: whole answers, errors as JSON, and its own few pages (/, /favicon.ico; /health and /metrics
// are in health_page.c and metrics_page.c). On the loop's thread.
//
// Every error has the same form, {"id","code","detail","status"}: whose error it is, the HTTP status, the text for
// people, HTTP's words for the status.
#include "base/clock.h"
#include "base/encode.h"
#include "net/encoding.h"
#include "pb/json_lex.h"
#include "rpc/gateway.h"

#include <stdarg.h>
#include <stdio.h>

#define METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#define REFUSED_BODY (64 * 1024)          // bytes of a refused request that are waited for
#define REFUSED_TIME (10 * NS_PER_SECOND) // and how long

// What is no UTF-8 becomes '?'.
void gateway_put_text(struct buf *out, struct str text) {
    if (utf8_valid(text)) {
        json_put_string(out, text);
        return;
    }
    struct buf ascii = {0};
    for (size_t i = 0; i < text.n; i++) buf_append_byte(&ascii, text.p[i] & 0x80 ? '?' : text.p[i]);
    json_put_string(out, buf_str(&ascii));
    out->failed = out->failed || ascii.failed;
    buf_free(&ascii);
}

struct str gateway_id(char out[ID_MAX], const struct route *route) {
    if (route == NULL) return str_of("api");
    int n = snprintf(out, ID_MAX, "%.*s.%.*s", (int)route->service.n, route->service.p,
                     (int)route->endpoint.n, route->endpoint.p);
    return (struct str){out, n < ID_MAX ? (size_t)n : ID_MAX - 1};
}

void gateway_put_error(struct buf *out, const struct gateway_error *e) {
    buf_append_text(out, "{\"id\":");
    gateway_put_text(out, e->id);
    buf_printf(out, ",\"code\":%d,\"detail\":", e->http);
    gateway_put_text(out, e->detail);
    buf_append_text(out, ",\"status\":");
    gateway_put_text(out, str_of(http_reason(e->http)));
    buf_append_byte(out, '}');
}

int gateway_send_whole(struct http_stream *s, int status, const struct headers *h,
                       struct blob *take_body) {
    int rc = http_respond(s, status, h->items, h->n, false);
    if (rc < 0) {
        blob_drop(take_body);
        return rc;
    }
    rc = http_send_blob(s, take_body);
    return rc < 0 ? rc : http_finish(s, NULL, 0);
}

static void add_error_headers(struct headers *h, int http, const struct blob *body,
                              const char *allow) {
    headers_add(h, "content-type", str_of("application/json"));
    headers_add_number(h, "content-length", body->n);
    if (http == 415) headers_add(h, "accept-encoding", str_of(ENCODINGS_TAKEN));
    if (http == 401) headers_add(h, "www-authenticate", str_of("Bearer"));
    bool usual = allow == NULL || allow[0] == '\0';
    if (http == 405) headers_add(h, "allow", str_of(usual ? METHODS : allow));
}

int gateway_send_error(struct rpc_loop *at, struct http_stream *s, const struct gateway_error *e,
                       const struct blob *leading, const struct blob *trailing) {
    struct buf text = {0};
    gateway_put_error(&text, e);
    struct blob *body = buf_take(&text);
    struct headers *h = &at->out;
    if (body == NULL || !headers_begin(h, leading, trailing, NULL)) {
        blob_drop(body);
        return -STATUS_RESOURCE_EXHAUSTED;
    }
    add_error_headers(h, e->http, body, e->allow);
    if (e->pushback) headers_add(h, "retry-after", str_of("1"));
    headers_add_metadata(h, leading);
    headers_add_metadata(h, trailing);
    return gateway_send_whole(s, e->http, h, body);
}

int gateway_send(struct rpc_loop *at, struct http_stream *s, const char *content_type,
                 struct blob *take_body, const struct blob *leading, const struct blob *trailing) {
    struct headers *h = &at->out;
    if (take_body == NULL || !headers_begin(h, leading, trailing, NULL)) {
        blob_drop(take_body);
        return -STATUS_RESOURCE_EXHAUSTED;
    }
    headers_add(h, "content-type", str_of(content_type));
    headers_add_number(h, "content-length", take_body->n);
    headers_add_metadata(h, leading);
    headers_add_metadata(h, trailing);
    return gateway_send_whole(s, 200, h, take_body);
}

int gateway_send_empty(struct rpc_loop *at, struct http_stream *s, const struct blob *leading,
                       const struct blob *trailing) {
    struct headers *h = &at->out;
    if (!headers_begin(h, leading, trailing, NULL)) return -STATUS_RESOURCE_EXHAUSTED;
    headers_add_metadata(h, leading);
    headers_add_metadata(h, trailing);
    return http_respond(s, 204, h->items, h->n, true);
}

// ---- refusals

// A request that is refused while its body is still coming: some clients take an answer before the
// end of what they send for a broken connection. A short body is therefore waited for.

static void refuse_now(struct call *c) {
    struct headers *h = &c->at->out;
    struct blob *body = c->message;
    c->message = NULL;
    call_answered(c, c->refusal_status);
    bool sent = headers_begin(h, NULL, NULL, NULL);
    if (sent) {
        add_error_headers(h, c->refusal, body, buf_cstr(&c->body));
        sent = gateway_send_whole(c->stream, c->refusal, h, body) == 0;
    } else {
        blob_drop(body);
    }
    if (!sent) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void refused_data(struct call *c, struct str bytes) {
    http_consume(c->stream, bytes.n);
    c->uncredited += (uint32_t)bytes.n;
    if (c->uncredited > REFUSED_BODY) refuse_now(c);
}

static void refused_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    (void)status, (void)fault, (void)pushback; // it has waited long enough
    refuse_now(c);
}

static const struct call_form REFUSED_FORM = {
    .data = refused_data,
    .end = refuse_now,
    .fail = refused_fail,
};

void gateway_refuse(struct request *r, int http, int status, const char *format, ...) {
    char text[600];
    char id[ID_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct gateway_error e = {.http = http,
                              .allow = r->allow,
                              .id = gateway_id(id, r->route),
                              .detail = {text, n < (int)sizeof text ? (size_t)n : sizeof text - 1}};
    struct call *c = NULL;
    // What would have become a tunnel has no body, and no end either.
    bool tunnel = r->stream->upgrade.n > 0 || str_is(r->stream->method, "CONNECT");
    if (!tunnel && r->stream->content_length != 0 && r->stream->content_length <= REFUSED_BODY)
        c = call_new_bare(r, &REFUSED_FORM, loop_now(r->at->loop) + REFUSED_TIME);
    if (c != NULL) {
        struct buf body = {0};
        gateway_put_error(&body, &e);
        c->message = buf_take(&body);
        if (r->allow != NULL)
            buf_append_text(&c->body, r->allow); // of such a call, what "allow" says
        c->refusal = http;
        c->refusal_status = status;
        if (c->message != NULL) return;
        call_answered(c, status);
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
        return;
    }
    request_refused(r, status);
    if (gateway_send_error(r->at, r->stream, &e, NULL, NULL) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
}

// ---- the door's own pages

static void send_options(struct request *r) {
    const struct http_header headers[] = {{str_of("allow"), str_of(METHODS)}};
    if (http_respond(r->stream, 204, headers, 1, true) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
}

bool gateway_fixed(struct request *r) {
    static const char VERSION[] = "{\"version\":\"" MICA_VERSION "\"}";
    if (str_is(r->stream->method, "OPTIONS")) {
        send_options(r);
        return true;
    }
    if (!str_is(r->stream->method, "GET") && !str_is(r->stream->method, "HEAD")) return false;
    if (health_page(r)) return true;
    const char *type = "application/json";
    struct blob *body;
    if (str_is(r->path, "/")) {
        body = blob_new(VERSION, sizeof VERSION - 1);
    } else if (str_is(r->path, "/favicon.ico")) {
        type = "image/x-icon";
        body = blob_new(NULL, 0);
    } else if (str_is(r->path, "/metrics") && r->at->server->metrics.port != NULL) {
        metrics_page(r);
        return true;
    } else {
        return false;
    }
    if (gateway_send(r->at, r->stream, type, body, NULL, NULL) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
    return true;
}
