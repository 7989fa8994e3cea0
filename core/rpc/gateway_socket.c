// SPDX-License-Identifier: Apache-2.0
// WebSocket (RFC 6455; RFC 8441 on HTTP/2) for every kind of endpoint: one call a socket.
//
//   text      messages as JSON, both ways        binary    messages as protobuf, both ways
//   ""        an empty text: I have finished sending. (WebSocket has no half close, and no JSON text is empty.)
//
// The subprotocol ("mica.json", "mica.proto") says which of the two is spoken, else the first message does. What the endpoint
// takes once is the first message; what it takes as a stream are all of them until the empty text. Every answer is a message.
//
// The end: all is well, 1000. A call that fails says {"error":{...}} as its last text and closes with 4000 + its gRPC status and
// "NAME: detail"; with 1001 where the reason is that the server goes (or the connection has reached its age): come back. What breaks
// the protocol is told by the protocol's own codes. A peer that closes has cancelled its call.
//
// Bounds: what comes in waits unparsed while the service gives no credit (intake.h); a message has the limit of all messages; what
// goes out is bounded by the service's credit, and pongs and pings only join a short queue. Pings, pongs and fragments that carry
// next to nothing have budgets (net/abuse.h). A peer that is silent for three heartbeats, two of them pings, has gone.
#include "rpc/gateway.h"

#include "base/clock.h"
#include "msg/metadata.h"
#include "net/websocket.h"
#include "pb/json_lex.h"
#include "rpc/cors.h"

#include <stdio.h>
#include <stdlib.h>

#define SILENCES 3         // heartbeats
#define FRAME_ON_STACK 512 // longer messages are not copied

struct socket {
    struct websocket in;
    struct abuse_budgets budgets;
    uint8_t kind;   // WEBSOCKET_TEXT or _BINARY; 0: the first message will say
    bool begun;     // the REQUEST was sent
    bool heard;     // since the last heartbeat
    uint8_t silent; // heartbeats since then
    unsigned code;  // the peer has broken the protocol: the close code
};

void socket_delete(struct socket *s) {
    if (s == NULL) return;
    websocket_destroy(&s->in);
    free(s);
}

static bool streams(const struct call *c) { return c->route->method->client_streaming; }

// ---- to the peer

static bool send_frame(struct call *c, enum websocket_kind kind, struct blob *body) {
    char frame[WEBSOCKET_HEAD_MAX + FRAME_ON_STACK];
    struct str bytes = blob_str(body);
    size_t n = websocket_head(frame, kind, bytes.n);
    if (bytes.n > FRAME_ON_STACK)
        return http_send(c->stream, (struct str){frame, n}) == 0 &&
               http_send_blob(c->stream, blob_hold(body)) == 0;
    memcpy(frame + n, bytes.p, bytes.n);
    return http_send(c->stream, (struct str){frame, n + bytes.n}) == 0;
}

static void send_control(struct call *c, enum websocket_kind kind, struct str payload) {
    char frame[WEBSOCKET_HEAD_MAX + WEBSOCKET_CONTROL_MAX];
    if (http_queued(c->stream) > HTTP_LOW_WATER) return; // it does not read
    size_t n = websocket_head(frame, kind, payload.n);
    memcpy(frame + n, payload.p, payload.n);
    // Without memory for it the peer sees no pong; nothing depends on it.
    http_send(c->stream, (struct str){frame, n + payload.n});
}

// Says the last word, after which nothing of the peer counts.
static void finish(struct call *c, int status, unsigned code, struct str reason) {
    char frame[WEBSOCKET_CLOSE_MAX];
    size_t n = websocket_close(frame, code, reason);
    call_answered(c, status);
    if (http_send(c->stream, (struct str){frame, n}) < 0 || http_finish(c->stream, NULL, 0) < 0)
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void send_error(struct call *c, int status, const struct msg_fault *fault) {
    char id[ID_MAX];
    struct gateway_error e = gateway_error_of(c, gateway_http(status, fault), fault, id);
    struct buf text = {0};
    buf_append_text(&text, "{\"error\":");
    gateway_put_error(&text, &e);
    buf_append_byte(&text, '}');
    struct blob *body = buf_take(&text);
    if (body != NULL) send_frame(c, WEBSOCKET_TEXT, body); // the close code says the rest
    blob_drop(body);
}

static void end_error(struct call *c, int status, const struct msg_fault *fault) {
    struct socket *s = c->socket;
    struct str detail = fault == NULL ? str_of("") : blob_str(fault->text);
    if (s->code != 0) {
        finish(c, status, s->code, detail);
        return;
    }
    char reason[WEBSOCKET_CONTROL_MAX];
    int n = snprintf(reason, sizeof reason, "%s: %.*s", status_name(status),
                     (int)(detail.n < sizeof reason ? detail.n : sizeof reason), detail.p);
    size_t most = sizeof reason - 1;
    bool leaving = status == STATUS_UNAVAILABLE && http_is_ending(c->stream->session);
    send_error(c, status, fault);
    finish(c, status, leaving ? WEBSOCKET_GOING_AWAY : WEBSOCKET_STATUS + (unsigned)status,
           json_cut((struct str){reason, (size_t)n < most ? (size_t)n : most}, most));
}

// ---- from the service

static void on_headers(struct call *c, struct message *m) {
    (void)c, (void)m; // the head of the answer went out with the handshake
}

static bool send_message(struct call *c, struct blob *body) {
    return send_frame(c, (enum websocket_kind)c->socket->kind, body);
}

static void on_item(struct call *c, struct message *m) {
    if (send_message(c, m->body)) {
        call_item_queued(c, m->body);
    } else {
        gateway_stream_break(c);
    }
}

static void on_response(struct call *c, struct message *m) {
    if (m->status != STATUS_OK) {
        end_error(c, m->status, m->fault);
        return;
    }
    bool json = c->encoding.encoding == MSG_JSON;
    if (m->body == NULL && json) m->body = blob_hold(c->at->server->empty_object);
    if (!c->route->method->server_streaming && !send_message(c, m->body)) {
        gateway_stream_break(c);
        return;
    }
    finish(c, STATUS_OK, WEBSOCKET_DONE, str_of(""));
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    (void)pushback;
    end_error(c, status, fault);
}

// ---- from the peer

static void begin(struct call *c, struct blob *take_body) {
    struct socket *s = c->socket;
    const struct pb_method *method = c->route->method;
    int64_t most = c->at->server->options.default_deadline;
    s->begun = true;
    if (s->kind == 0) s->kind = WEBSOCKET_TEXT;
    c->encoding.encoding = s->kind == WEBSOCKET_TEXT ? MSG_JSON : MSG_PROTO;
    c->transcoded = c->route->outside && s->kind == WEBSOCKET_TEXT;
    if (!method->client_streaming && !method->server_streaming && most > 0) {
        c->context->deadline = loop_now(c->at->loop) + most; // the context is not shared yet
        loop_timer_set(c->at->loop, &c->timer, c->context->deadline);
    }
    if (take_body != NULL && c->mapped && (take_body = gateway_map_message(c, take_body)) == NULL)
        return;
    call_request(c, take_body);
}

// The empty text.
static void finished(struct call *c) {
    struct socket *s = c->socket;
    if (streams(c)) {
        if (!s->begun) begin(c, NULL);
        if (!c->answered && !c->request_ended) call_tell(c, MSG_END, NULL, 0, 0);
    } else if (!s->begun) { // a request with nothing in it
        bool json = s->kind != WEBSOCKET_BINARY;
        begin(c, json ? blob_hold(c->at->server->empty_object) : blob_new(NULL, 0));
    }
    c->request_ended = true;
}

static int take_message(struct intake *in, struct blob *take) {
    struct call *c = call_of_intake(in);
    struct socket *s = c->socket;
    if (streams(c) && !c->request_ended) {
        if (!s->begun) begin(c, NULL);
        if (!c->answered) return call_item(in, take);
        blob_drop(take);
        return 0;
    }
    in->credit = MSG_WINDOW; // one message needs none
    if (!s->begun) {
        begin(c, take);
        return 0;
    }
    blob_drop(take);
    call_fail(c, STATUS_INVALID_ARGUMENT,
              streams(c) ? "a message came after the empty text that ends them"
                         : "this endpoint takes one message");
    return 0;
}

static void gone(struct call *c, unsigned code) {
    call_cancel(c, STATUS_CANCELLED);
    finish(c, STATUS_CANCELLED, code, str_of(""));
}

static void take_control(struct call *c, const struct websocket_message *m) {
    if (m->kind == WEBSOCKET_CLOSE) {
        gone(c, m->code);
    } else if (!abuse_spend(&c->socket->budgets, ABUSE_SOCKET_CONTROLS)) {
        http_accuse(c->stream, ABUSE_SOCKET_CONTROLS, "");
        call_fail(c, STATUS_RESOURCE_EXHAUSTED, "too many pings");
    } else if (m->kind == WEBSOCKET_PING) {
        send_control(c, WEBSOCKET_PONG, m->control);
    }
}

static int broken(struct call *c, unsigned code, const char *fault, struct err *err) {
    c->socket->code = code;
    if (code == WEBSOCKET_BROKEN || code == WEBSOCKET_BROKEN_TEXT)
        http_accuse(c->stream, ABUSE_BROKEN_WEBSOCKET, fault);
    return err_set(err,
                   code == WEBSOCKET_TOO_BIG ? STATUS_RESOURCE_EXHAUSTED : STATUS_INVALID_ARGUMENT,
                   "%s", fault);
}

static bool spend_crumbs(struct call *c) {
    struct socket *s = c->socket;
    for (; s->in.crumbs > 0; s->in.crumbs--) {
        if (abuse_spend(&s->budgets, ABUSE_SOCKET_FRAGMENTS)) continue;
        http_accuse(c->stream, ABUSE_SOCKET_FRAGMENTS, "");
        call_fail(c, STATUS_RESOURCE_EXHAUSTED, "too many small fragments");
        return false;
    }
    return true;
}

// A message of data: 1 when it is one for the service.
static int take_data(struct call *c, struct websocket_message *m, struct blob **message,
                     struct err *err) {
    struct socket *s = c->socket;
    if (m->kind == WEBSOCKET_TEXT && m->body->n == 0) {
        blob_drop(m->body);
        finished(c);
        return 0;
    }
    if (s->kind == 0) s->kind = (uint8_t)m->kind;
    if (s->kind != m->kind) {
        blob_drop(m->body);
        return broken(c, WEBSOCKET_WRONG_KIND, "text and binary messages cannot be mixed", err);
    }
    *message = m->body;
    return 1;
}

static int next_message(struct intake *in, struct str *bytes, struct blob **message,
                        struct err *err) {
    struct call *c = call_of_intake(in);
    struct socket *s = c->socket;
    while (bytes->n > 0 && !c->answered) {
        struct websocket_message m;
        int rc = websocket_feed(&s->in, bytes, &m);
        in->under_way = s->in.message.n;
        if (rc < 0) return broken(c, (unsigned)-rc, s->in.fault, err);
        if (!spend_crumbs(c)) {
            if (rc == 1) blob_drop(m.body);
            break;
        }
        if (rc == 0) return 0;
        if (m.body == NULL) {
            take_control(c, &m);
        } else {
            rc = take_data(c, &m, message, err);
            if (rc != 0) return rc;
        }
    }
    *bytes = (struct str){bytes->p + bytes->n, 0}; // of an ended call nothing counts any more
    return 0;
}

static void on_data(struct call *c, struct str bytes) {
    struct err err = {0};
    c->socket->heard = true;
    int rc = intake_data(&c->intake, c->stream, bytes, &err);
    if (rc < 0) call_fail(c, -rc, "%s", err.text);
}

// HTTP/2: the peer has ended its side without a close frame.
static void on_end(struct call *c) { gone(c, WEBSOCKET_NO_CODE); }

// What has a natural end may come to it; a conversation has none.
static void on_draining(struct call *c) {
    bool open = !c->socket->begun || (streams(c) && !c->request_ended);
    if (!open) return;
    call_cancel(c, STATUS_CANCELLED);
    finish(c, STATUS_UNAVAILABLE, WEBSOCKET_GOING_AWAY, str_of("the connection ends: come back"));
}

static const struct call_form GATEWAY_SOCKET = {
    .data = on_data,
    .end = on_end,
    .headers = on_headers,
    .item = on_item,
    .response = on_response,
    .draining = on_draining,
    .fail = on_fail,
};

// ---- heartbeats

static void on_beat(struct loop *loop, struct loop_timer *timer) {
    struct call *c = (struct call *)((char *)timer - offsetof(struct call, beat));
    struct socket *s = c->socket;
    if (c->answered) return;
    // While nobody reads, the peer's silence says nothing.
    bool listening = intake_empty(&c->intake) && http_queued(c->stream) == 0;
    if (s->heard || !listening) s->silent = 0;
    s->heard = false;
    if (++s->silent > SILENCES) {
        call_cancel(c, STATUS_CANCELLED);
        call_answered(c, STATUS_CANCELLED);
        http_reset(c->stream, HTTP2_CANCEL);
        return;
    }
    if (s->silent > 1) send_control(c, WEBSOCKET_PING, str_of(""));
    loop_timer_set(loop, timer, loop_now(loop) + c->at->server->options.heartbeat);
}

// ---- the handshake

bool gateway_socket_wanted(const struct request *r) { return r->stream->upgrade.n > 0; }

static struct str header(const struct request *r, const char *name) {
    struct str value;
    const struct http_stream *s = r->stream;
    return http_header_get(s->headers, s->header_count, name, &value) ? value : str_of("");
}

static void refuse_version(struct request *r) {
    char id[ID_MAX];
    struct gateway_error e = {.http = 426,
                              .id = gateway_id(id, r->route),
                              .detail = str_of("version 13 of WebSocket is spoken here")};
    struct buf pairs = {0};
    metadata_add(&pairs, str_of("sec-websocket-version"), str_of("13"));
    struct blob *more = buf_take(&pairs);
    request_refused(r, STATUS_INVALID_ARGUMENT);
    if (gateway_send_error(r->at, r->stream, &e, more, NULL) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
    blob_drop(more);
}

// False: the request is answered. `accept` is empty on HTTP/2, which proves nothing by a key.
static bool acceptable(struct request *r, char accept[WEBSOCKET_ACCEPT + 1]) {
    accept[0] = '\0';
    bool http2 = http_session_version(r->stream->session) == HTTP_2;
    if (!str_is(header(r, "sec-websocket-version"), "13")) {
        refuse_version(r);
    } else if (!http2 && !websocket_accept(accept, header(r, "sec-websocket-key"))) {
        gateway_refuse(r, 400, STATUS_INVALID_ARGUMENT,
                       "sec-websocket-key must be 16 bytes as base64");
    } else if (http_is_ending(r->stream->session)) {
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "the connection ends: make another one");
    } else if (!cors_allowed(r)) { // a page may open one with what the browser knows of its user
        struct str origin = r->head.origin;
        gateway_refuse(r, 403, STATUS_PERMISSION_DENIED,
                       "pages of %.*s may not open WebSockets here",
                       (int)(origin.n < 200 ? origin.n : 200), origin.p);
    } else {
        return true;
    }
    return false;
}

// The subprotocol that is chosen; others that a client offers (a token, as Micro's do) are not for here.
static const char *subprotocol(const struct request *r, uint8_t *kind) {
    struct str offered = header(r, "sec-websocket-protocol");
    bool json = headers_list_has(offered, "mica.json");
    bool proto = headers_list_has(offered, "mica.proto");
    *kind = json ? WEBSOCKET_TEXT : proto ? WEBSOCKET_BINARY : 0;
    return json ? "mica.json" : proto ? "mica.proto" : NULL;
}

static bool open_socket(struct call *c, const char *accept, const char *chosen) {
    struct http_header headers[2];
    size_t n = 0;
    if (accept[0] != '\0')
        headers[n++] = (struct http_header){str_of("sec-websocket-accept"), str_of(accept)};
    if (chosen != NULL)
        headers[n++] = (struct http_header){str_of("sec-websocket-protocol"), str_of(chosen)};
    struct socket *s = calloc(1, sizeof *s);
    c->socket = s;
    if (s == NULL) return false;
    size_t max = c->at->server->options.max_message;
    websocket_create(&s->in, max);
    abuse_budgets_init(&s->budgets);
    intake_create(&c->intake, max, take_message);
    c->intake.next = next_message;
    c->headed = true;
    return http_upgrade(c->stream, headers, n) == 0;
}

void gateway_socket_head(struct request *r, struct blob *account) {
    char accept[WEBSOCKET_ACCEPT + 1];
    if (!acceptable(r, accept)) return;
    uint8_t kind;
    const char *chosen = subprotocol(r, &kind);
    bool failed;
    struct blob *metadata = gateway_metadata(r, &failed);
    struct call *c = failed ? NULL : call_new(r, &GATEWAY_SOCKET, account, metadata, 0);
    if (c == NULL) {
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "no memory for the call");
        return;
    }
    c->encoding = gateway_form(r);
    if (!gateway_map_begin(c, r) || !open_socket(c, accept, chosen)) {
        gateway_stream_break(c);
        return;
    }
    c->socket->kind = kind;
    int64_t period = c->at->server->options.heartbeat;
    c->beat.fire = on_beat;
    if (period > 0) loop_timer_set(c->at->loop, &c->beat, loop_now(c->at->loop) + period);
    if (streams(c) && kind != 0) begin(c, NULL);
}
