// SPDX-License-Identifier: Apache-2.0
// A request to a gRPC server elsewhere: from the caller's messages to an HTTP/2 stream, and back.
//
// How the answer comes is told by the method. Without one (the caller has no contract) it is told by ":kind" of the context's
// metadata: "unary", "server", "client" or "bidi"; without that a caller that sends its body with the REQUEST is taken for
// unary until a second message comes, which makes it a stream.
//
// Items from the server go through an intake, so the caller's credit opens the server's window. RESPONSE is made when
// the server has ended, and sent when all items before it have gone. A stream that the server did not begin
// (REFUSED_STREAM, GOAWAY) is begun again, unless items have been sent on it or the caller wants to do that itself
// (`attempts`); a caller learns from the fault whether its call had begun.
//
// Whatever the server sends ends the call with a status at the latest when its stream ends: an answer that is no gRPC by
// the mapping of HTTP's status (http-grpc-status-mapping.md), a reset by that of its code (PROTOCOL-HTTP2.md), a broken connection as
// UNAVAILABLE, one that breaks HTTP/2's rules as INTERNAL. On the loop's thread.
#include "base/clock.h"
#include "base/pool.h"
#include "base/random.h"
#include "msg/metadata.h"
#include "rpc/dial.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define ATTEMPTS 3
#define CREDIT_STEP (MSG_WINDOW / 4)
#define FRAME_ON_STACK 1024

// ---- to the caller

static int give(struct dial_call *c, struct message *m) {
    int rc = port_send(c->request->reply, m);
    if (rc < 0) message_delete(m);
    return rc;
}

static int give_item(struct intake *in, struct blob *take) {
    struct dial_call *c = (struct dial_call *)((char *)in - offsetof(struct dial_call, intake));
    struct message *m = message_new(MSG_ITEM, c->request->call);
    if (m == NULL) {
        blob_drop(take);
        return -STATUS_RESOURCE_EXHAUSTED;
    }
    m->form = c->request->form;
    m->body = take;
    if (in->frame.compressed) m->compress = MSG_COMPRESS_YES;
    return give(c, m);
}

static void give_credit(struct dial_call *c) {
    if (c->uncredited == 0) return;
    struct message *m = message_new(MSG_CREDIT, c->request->call);
    if (m == NULL) return; // tried again with the next item, or when the queue is short
    m->credit = c->uncredited;
    c->uncredited = 0;
    give(c, m);
}

void dial_call_delete(struct dial_call *c) {
    struct dial *d = c->dial;
    loop_timer_clear(d->loop, &c->timer);
    dial_unwait(d, c);
    dial_table_remove(&d->calls, c);
    if (c->stream != NULL) c->stream->user = NULL;
    message_delete(c->request);
    message_delete(c->final);
    message_delete_chain(c->early);
    blob_drop(c->message);
    blob_drop(c->leading);
    intake_destroy(&c->intake);
    pool_give_sized(c, sizeof *c);
    port_drop(&d->port);
}

// The stream is of no more use: if it still goes on, the server is told.
static void leave_stream(struct dial_call *c) {
    struct http_stream *s = c->stream;
    if (s == NULL) return;
    c->stream = NULL;
    s->user = NULL;
    if (!s->remote_ended || !c->sent_end) http_reset(s, HTTP2_CANCEL);
}

static void finish(struct dial_call *c) {
    struct message *m = c->final;
    c->final = NULL;
    leave_stream(c);
    if (m != NULL) give(c, m);
    dial_call_delete(c);
}

void dial_call_fail(struct dial_call *c, int status, const char *text) {
    message_delete(c->final);
    c->final = message_fault_new(c->request->call, status, text);
    finish(c);
}

void dial_call_fail_unbegun(struct dial_call *c, int status, const char *text) {
    message_delete(c->final);
    c->final = message_fault_new(c->request->call, status, text);
    if (c->final != NULL && c->final->fault != NULL) c->final->fault->again = MSG_AGAIN_UNBEGUN;
    finish(c);
}

static void finish_when_given(struct dial_call *c) {
    if (!c->streams_in || intake_empty(&c->intake)) finish(c);
}

static void on_deadline(struct loop *loop, struct loop_timer *timer) {
    struct dial_call *c = (struct dial_call *)((char *)timer - offsetof(struct dial_call, timer));
    (void)loop;
    dial_call_fail(c, STATUS_DEADLINE_EXCEEDED, "the call's deadline has passed");
}

// ---- from the caller

static void read_kind(struct dial_call *c) {
    const struct message *m = c->request;
    const struct pb_method *method = m->method;
    struct str kind;
    if (method != NULL) {
        c->streams_in = method->server_streaming;
        c->streams_out = method->client_streaming;
    } else if (metadata_get(m->context->metadata, str_of(":kind"), &kind)) {
        c->streams_in = str_is(kind, "server") || str_is(kind, "bidi");
        c->streams_out = str_is(kind, "client") || str_is(kind, "bidi");
    } else {
        c->may_stream_in = true;
        c->streams_out = m->body == NULL;
        c->streams_in = c->streams_out;
    }
}

static struct dial_call *call_of(struct dial *d, struct message *take_request) {
    struct dial_call *c = pool_take_zeroed(sizeof *c);
    if (c != NULL) c->request = take_request;
    if (c == NULL || dial_table_add(&d->calls, c) < 0) {
        if (c != NULL) pool_give_sized(c, sizeof *c);
        message_refuse(take_request, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
        return NULL;
    }
    c->dial = d;
    port_hold(&d->port);
    c->early_end = &c->early;
    c->timer.fire = on_deadline;
    size_t most = take_request->most;
    intake_create(&c->intake, most > 0 ? most : d->server->options.max_message, give_item);
    read_kind(c);
    return c;
}

static void begin(struct dial *d, struct message *take) {
    if (take->reply == NULL || take->context == NULL ||
        dial_table_find(&d->calls, take->reply, take->call) != NULL) {
        message_refuse(take, STATUS_INTERNAL, "the request cannot be answered");
        return;
    }
    struct dial_call *c = call_of(d, take);
    if (c == NULL) return;
    int64_t deadline = c->request->context->deadline;
    // A call of a front door on this loop has a timer there, which cancels.
    bool timed = deadline > 0 && take->reply != &d->loop->port;
    if (timed) loop_timer_set(d->loop, &c->timer, deadline);
    dial_wait(d, c);
}

// False: the stream cannot take it.
static bool send_frame(struct dial_call *c, const struct message *m) {
    unsigned char frame[GRPC_FRAME_HEAD + FRAME_ON_STACK];
    struct blob *packed = NULL;
    if (m->compress == MSG_COMPRESS_YES) packed = gzip_pack(&c->dial->at->gzip, blob_str(m->body));
    struct blob *body = packed != NULL ? packed : blob_hold(m->body);
    struct str message = blob_str(body);
    bool small = message.n <= FRAME_ON_STACK; // copied, so that it is one piece with its head
    grpc_frame_head(frame, message.n, packed != NULL);
    if (small && message.n > 0) memcpy(frame + GRPC_FRAME_HEAD, message.p, message.n);
    size_t n = GRPC_FRAME_HEAD + (small ? message.n : 0);
    bool sent = http_send(c->stream, (struct str){(char *)frame, n}) == 0;
    if (sent && !small) return http_send_blob(c->stream, body) == 0;
    blob_drop(body);
    return sent;
}

static bool send_end(struct dial_call *c) {
    if (c->sent_end) return true;
    c->sent_end = true;
    return http_finish(c->stream, NULL, 0) == 0;
}

static bool send_item(struct dial_call *c, struct message *m) {
    c->sent_items = true;
    if (c->sent_end || !send_frame(c, m)) return false;
    c->uncredited += message_weight(m->body);
    if (c->uncredited >= CREDIT_STEP && http_queued(c->stream) < HTTP_LOW_WATER) give_credit(c);
    return true;
}

// An ITEM or END, on a stream that has begun. Takes the message. False: the call has failed and is
// gone.
static bool forward(struct dial_call *c, struct message *take) {
    bool sent = take->kind == MSG_END ? send_end(c) : send_item(c, take);
    message_delete(take);
    if (!sent) dial_call_fail(c, STATUS_UNAVAILABLE, "the server takes no more messages");
    return sent;
}

static void keep_early(struct dial_call *c, struct message *take) {
    take->link.next = NULL;
    *c->early_end = &take->link;
    c->early_end = &take->link.next;
}

static void on_credit(struct dial_call *c, uint32_t credit) {
    struct err err = {0};
    int rc = intake_credit(&c->intake, c->stream, credit, &err);
    if (rc < 0) {
        dial_call_fail(c, -rc, err.text);
    } else if (c->final != NULL) {
        finish_when_given(c);
    }
}

static void cancel(struct dial_call *c) {
    message_delete(c->final);
    c->final = NULL;
    finish(c);
}

void dial_call_message(struct dial *d, struct message *take) {
    if (take->kind == MSG_REQUEST) {
        begin(d, take);
        return;
    }
    struct dial_call *c = dial_table_find(&d->calls, take->reply, take->call);
    bool to_server = take->kind == MSG_ITEM || take->kind == MSG_END;
    if (c != NULL && to_server && c->streams_out && c->final == NULL) {
        if (c->stream == NULL) {
            keep_early(c, take);
        } else {
            forward(c, take);
        }
        return;
    }
    if (c != NULL && take->kind == MSG_CREDIT) on_credit(c, take->credit);
    if (c != NULL && take->kind == MSG_CANCEL) cancel(c);
    message_delete(take);
}

// ---- beginning the stream

static struct str path_of(const struct message *request) {
    const struct pb_method *method = request->method;
    struct str path = {"", 0};
    if (method != NULL) return method->path;
    metadata_get(request->context->metadata, str_of(":path"), &path);
    return path;
}

static bool put_headers(struct dial_call *c, struct headers *h, char timeout[16],
                        char trace[TRACEPARENT_LENGTH + 1]) {
    const struct message *request = c->request;
    const struct msg_context *context = request->context;
    if (!headers_begin(h, context->metadata, NULL, NULL)) return false;
    bool json = request->form.encoding == MSG_JSON;
    headers_add(h, "content-type",
                str_of(json ? "application/grpc+json" : "application/grpc+proto"));
    headers_add(h, "te", str_of("trailers"));
    headers_add(h, "grpc-accept-encoding", str_of(GRPC_ENCODINGS));
    if (request->compress != MSG_COMPRESS_NO) headers_add(h, "grpc-encoding", str_of("gzip"));
    headers_add(h, "user-agent", str_of("mica/" MICA_VERSION));
    if (context->deadline > 0) {
        size_t n = grpc_timeout_format(timeout, context->deadline - clock_now());
        headers_add(h, "grpc-timeout", (struct str){timeout, n});
    }
    // A call that comes back to a Mica is known to be deeper by one: servers that call each other in a circle end.
    headers_add_number(h, "mica-chain", context->chain + 1u);
    head_traceparent(trace, context);
    headers_add(h, "traceparent", (struct str){trace, TRACEPARENT_LENGTH});
    struct str ns = blob_str(context->ns);
    metadata_get(context->metadata, str_of("mica-namespace"),
                 &ns); // a caller may choose another one
    if (ns.n > 0) headers_add(h, "mica-namespace", ns);
    headers_add_metadata(h, context->metadata);
    return true;
}

static void send_request(struct dial_call *c) {
    // A call that streams may have its first message in the REQUEST.
    bool sent = c->request->body == NULL && c->streams_out ? true : send_frame(c, c->request);
    if (sent && !c->streams_out) sent = send_end(c);
    if (!sent) {
        dial_call_fail(c, STATUS_UNAVAILABLE, "the server takes no messages");
        return;
    }
    while (c->early != NULL) {
        struct message *m = message_of(c->early);
        c->early = c->early->next;
        if (c->early == NULL) c->early_end = &c->early;
        if (!forward(c, m)) return;
    }
}

void dial_call_start(struct dial_call *c, struct dial_conn *dc) {
    char timeout[16];
    char trace[TRACEPARENT_LENGTH + 1];
    struct headers *h = &c->dial->at->out;
    struct str path = path_of(c->request);
    if (path.n < 2 || path.p[0] != '/') {
        dial_call_fail(c, STATUS_INVALID_ARGUMENT, "the request names no method");
        return;
    }
    if (c->request->context->chain >= MSG_MAX_CHAIN) {
        dial_call_fail(c, STATUS_RESOURCE_EXHAUSTED,
                       "calls are 32 deep: do services call each other in a circle?");
        return;
    }
    if (!put_headers(c, h, timeout, trace)) {
        dial_call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the call");
        return;
    }
    bool tls = c->dial->tls.settings != NULL;
    c->stream = http_request(conn_session(dc->conn), str_of("POST"), str_of(tls ? "https" : "http"),
                             str_of(dc->peer->peer.name->address), path, h->items, h->n, false, c);
    if (c->stream == NULL) { // there was room for it, so it is the request
        dial_call_fail(c, STATUS_INTERNAL, "the request cannot be written as HTTP/2 headers");
        return;
    }
    pool_call_begun(dc);
    send_request(c);
}

// ---- from the server

static struct dial_conn *conn_of_stream(const struct http_stream *s) {
    return http_session_user(s->session);
}

// The server has answered the call: what that says of its address.
static void judge(const struct http_stream *s, int status) {
    struct dial_peer *p = conn_of_stream(s)->peer;
    if (status == STATUS_UNAVAILABLE) {
        choice_unavailable(peer_choice(&p->peer), clock_now(), random_u64());
    } else {
        choice_answered(peer_choice(&p->peer));
    }
}

static void not_grpc(struct dial_call *c) {
    char text[FAULT_TEXT];
    enum status status = dial_fault_not_grpc(c->stream, text);
    judge(c->stream, status);
    dial_call_fail(c, status, text);
}

static void on_head(struct http_stream *s) {
    struct dial_call *c = s->user;
    struct dial_conn *dc = conn_of_stream(s);
    dc->answered = dc->said = true;
    if (c == NULL) return;
    struct str type = {"", 0};
    struct str status;
    http_header_get(s->headers, s->header_count, "content-type", &type);
    c->headed = true;
    if (http_header_get(s->headers, s->header_count, "grpc-status", &status))
        return; // Trailers-Only
    if (s->status != 200 || !str_starts(type, "application/grpc")) {
        not_grpc(c); // what it says besides is not waited for: it may never end
        return;
    }
    // Another encoding than ours cannot be used by the server, which knows what is accepted: a message that is compressed
    // nevertheless fails in the frame parser.
    struct str encoding;
    if (http_header_get(s->headers, s->header_count, "grpc-encoding", &encoding) &&
        str_is(encoding, "gzip"))
        c->intake.frame.gzip = &c->dial->at->gzip;
    struct buf first = {0};
    bool failed;
    c->leading = head_metadata(&first, s->headers, s->header_count, &failed);
    if (!c->streams_in || c->leading == NULL) return;
    struct message *m = message_new(MSG_HEADERS, c->request->call);
    if (m == NULL) return; // it goes with the RESPONSE
    m->metadata = c->leading;
    c->leading = NULL;
    give(c, m);
}

// One message is the answer; a second one makes a stream of a call that may be one.
static int collect(struct dial_call *c, struct str *bytes, struct err *err) {
    struct blob *message = NULL;
    int rc = grpc_frame_feed(&c->intake.frame, bytes, &message, err);
    if (rc <= 0) return rc;
    if (c->message == NULL) {
        c->message = message;
        return 0;
    }
    if (!c->may_stream_in) {
        blob_drop(message);
        return err_set(err, STATUS_INTERNAL, "the server answered with more than one message");
    }
    c->streams_in = true;
    c->intake.credit -= (int64_t)message_weight(c->message) + message_weight(message);
    rc = give_item(&c->intake, c->message);
    c->message = NULL;
    if (rc == 0) return give_item(&c->intake, message);
    blob_drop(message);
    return rc;
}

static void on_data(struct http_stream *s, struct str bytes) {
    struct dial_call *c = s->user;
    struct err err = {0};
    int rc = 0;
    conn_of_stream(s)->said = true;
    if (c == NULL) {
        http_consume(s, bytes.n);
        return;
    }
    if (!c->streams_in) {
        size_t n = bytes.n;
        while (bytes.n > 0 && rc == 0 && !c->streams_in) rc = collect(c, &bytes, &err);
        http_consume(s, n - bytes.n);
    }
    if (rc == 0 && bytes.n > 0) rc = intake_data(&c->intake, s, bytes, &err);
    if (rc < 0)
        dial_call_fail(c, -rc, err.text[0] == '\0' ? "the answer cannot be given on" : err.text);
}

static struct message *make_response(struct dial_call *c, const struct http_header *headers,
                                     size_t count) {
    int status;
    struct msg_fault *fault;
    if (!grpc_status_read(headers, count, &status, &fault))
        return message_fault_new(c->request->call, STATUS_UNKNOWN,
                                 "the server ended the call without a grpc-status");
    bool unary = !c->streams_in;
    if (status == STATUS_OK && unary && c->message == NULL)
        return message_fault_new(c->request->call, STATUS_INTERNAL,
                                 "the server answered without a message");
    if (status == STATUS_OK && !grpc_frame_between(&c->intake.frame) && intake_empty(&c->intake))
        return message_fault_new(c->request->call, STATUS_INTERNAL,
                                 "the server's last message is cut off");
    struct message *m = message_new(MSG_RESPONSE, c->request->call);
    if (m == NULL) {
        msg_fault_delete(fault);
        return NULL;
    }
    bool failed;
    struct buf first = {0};
    m->status = status;
    m->fault = fault;
    m->form = c->request->form;
    m->metadata = head_metadata(&first, headers, count, &failed);
    m->leading = c->leading;
    c->leading = NULL;
    if (unary && status == STATUS_OK) {
        m->body = c->message;
        c->message = NULL;
        if (c->intake.frame.compressed) m->compress = MSG_COMPRESS_YES;
    }
    return m;
}

static void on_end(struct http_stream *s) {
    struct dial_call *c = s->user;
    if (c == NULL || c->final != NULL) return;
    bool trailers = s->trailer_count > 0;
    c->final = make_response(c, trailers ? s->trailers : s->headers,
                             trailers ? s->trailer_count : s->header_count);
    judge(s, c->final == NULL ? STATUS_OK : c->final->status);
    finish_when_given(c);
}

static void on_writable(struct http_stream *s) {
    struct dial_call *c = s->user;
    if (c != NULL) give_credit(c);
}

static bool begin_again(struct dial_call *c) {
    unsigned most = c->request->attempts == 0 ? ATTEMPTS : c->request->attempts;
    if (c->sent_items || ++c->attempts >= most) return false;
    c->sent_end = false;
    dial_wait(c->dial, c);
    return true;
}

// The stream has ended and the call has not, or items of it wait for credit.
static void lost(struct dial_call *c, const struct http_stream *s, enum http_close why) {
    char text[FAULT_TEXT];
    c->stream = NULL;
    if (c->final != NULL) return;
    if (why == HTTP_CLOSE_REFUSED && !c->headed) {
        if (begin_again(c)) return;
        snprintf(text, sizeof text, "%.200s takes no more calls on this connection",
                 conn_of_stream(s)->peer->peer.name->address);
        dial_call_fail_unbegun(c, STATUS_UNAVAILABLE, text);
        return;
    }
    enum status status = dial_fault_lost(s, text);
    if (status == STATUS_UNAVAILABLE && !s->was_reset) conn_of_stream(s)->lost = true;
    dial_call_fail(c, status, text);
}

static void on_closed(struct http_stream *s, enum http_close why) {
    struct dial_call *c = s->user;
    struct dial_conn *dc = conn_of_stream(s);
    s->user = NULL;
    if (c != NULL) lost(c, s, why);
    pool_call_closed(dc);
    dial_again(dc->dial); // its place is free for one that waits
}

const struct http_events DIAL_EVENTS = {
    .head = on_head,
    .data = on_data,
    .end = on_end,
    .writable = on_writable,
    .closed = on_closed,
    .changed = pool_changed,
};
