// SPDX-License-Identifier: Apache-2.0
// The reverse proxy: a request under way, between the client's stream and one of a connection to the service.
//
//   waiting    for a connection; what has come of the body is kept (c->body), the rest waits at the client
//   asked      the head has gone out, the body follows as it comes
//   headed     the answer has begun and is given back as it comes, maybe before the request is complete
//   tunnel     the protocol was switched (WebSocket): bytes both ways, until one side ends
//   answered   both may end in any order; what is left of a request whose answer is complete is dropped
//
// A request is made again only when nothing can have been done twice: nothing of it went out, or it is idempotent, had no body and
// met a kept connection that the server closed at that moment. What the client learns of a failure: 502 the answer is none,
// 503 nobody is there, 504 nothing came in time. Once the answer has begun only the end of its stream can tell.
//
// On the loop's thread. A forward_call lives as long as its call.
#include "rpc/forward_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/random.h"
#include "rpc/gateway.h"

#include <stddef.h>
#include <stdio.h>

#define ATTEMPTS 3
#define TEXT_MAX 400

static int64_t now_of(const struct forward_call *fc) { return loop_now(fc->pool->loop); }

static struct forward_conn *conn_of_stream(const struct http_stream *s) {
    return http_session_user(s->session);
}

static const char *address_of(const struct forward_conn *fconn) {
    return fconn->peer->peer.name->address;
}

// ---- ending

static void give_back_client(struct forward_call *fc) {
    if (fc->held == 0) return;
    http_consume(fc->call->stream, fc->held);
    fc->held = 0;
}

static void drop_stream(struct forward_call *fc) {
    struct http_stream *s = fc->stream;
    if (s == NULL) return;
    fc->stream = NULL;
    fc->conn = NULL;
    s->user = NULL;
    http_reset(s, HTTP2_CANCEL);
}

static void warn(struct forward_call *fc, const char *text) {
    struct forward_pool *p = fc->pool;
    const struct route *r = fc->call->route;
    if (now_of(fc) - p->warned_at < NS_PER_SECOND) return;
    p->warned_at = now_of(fc);
    log_printf(LOG_WARN, "server", "HTTP service %.*s: %s", (int)r->service.n, r->service.p, text);
}

// The client gets an error if it has had nothing of an answer yet; else its stream is broken off.
static void fail(struct forward_call *fc, int http, int status, const char *text, bool pushback) {
    struct call *c = fc->call;
    forward_unwait(fc);
    drop_stream(fc);
    loop_timer_clear(fc->pool->loop, &fc->timer);
    if (c->answered) return;
    give_back_client(fc);
    if (http >= 500) warn(fc, text);
    if (fc->headed) {
        call_answered(c, status);
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
        return;
    }
    struct msg_fault *fault = msg_fault_new(str_of(text), c->route->service, NULL);
    gateway_end_error(c, http, status, fault, NULL, pushback);
    msg_fault_delete(fault);
}

void forward_unreachable(struct forward_call *fc, const char *why) {
    fail(fc, 503, STATUS_UNAVAILABLE, why, true);
}

static void too_late(struct forward_call *fc) {
    char text[TEXT_MAX];
    const struct call *c = fc->call;
    if (fc->is_waiting) {
        fail(fc, 503, STATUS_UNAVAILABLE, "no connection to the service was free in time", true);
    } else if (!fc->headed && !c->request_ended && fc->held == 0) {
        fail(fc, 408, STATUS_DEADLINE_EXCEEDED, "the request did not come in time", false);
    } else {
        snprintf(text, sizeof text, "%.200s %s in time", address_of(fc->conn),
                 fc->headed ? "did not go on with its answer" : "did not answer");
        choice_unavailable(peer_choice(&fc->conn->peer->peer), clock_now(), random_u64());
        fail(fc, 504, STATUS_DEADLINE_EXCEEDED, text, false);
    }
}

static void on_timer(struct loop *loop, struct loop_timer *timer) {
    struct forward_call *fc =
        (struct forward_call *)((char *)timer - offsetof(struct forward_call, timer));
    const struct forward *f = fc->forward;
    int64_t due = fc->progress + (fc->headed ? f->idle : f->first_byte);
    if (due > loop_now(loop)) {
        loop_timer_set(loop, timer, due);
    } else {
        too_late(fc);
    }
}

// ---- from the client

static void send_body(struct forward_call *fc, struct str bytes) {
    fc->sent_body = true;
    if (bytes.n > 0 && http_send(fc->stream, bytes) < 0)
        fail(fc, 502, STATUS_UNAVAILABLE, "no memory for the request", true);
}

static void send_end(struct forward_call *fc) {
    if (!fc->has_body || fc->sent_end) return;
    fc->sent_end = true;
    const struct http_stream *s = fc->call->stream;
    struct forward_headers h;
    forward_headers_begin(&h);
    forward_answer_headers(&h, 0, s->trailers, s->trailer_count);
    http_finish(fc->stream, h.items, h.n);
    forward_headers_free(&h);
}

static void on_client_data(struct call *c, struct str bytes) {
    struct forward_call *fc = c->forward;
    fc->progress = now_of(fc);
    fc->held += bytes.n;
    if (fc->is_waiting) {
        buf_append_str(&c->body, bytes);
        if (c->body.failed) forward_unreachable(fc, "no memory for the request");
        return;
    }
    if (fc->stream != NULL) send_body(fc, bytes);
    if (fc->stream == NULL || http_queued(fc->stream) < HTTP_LOW_WATER) give_back_client(fc);
}

static void on_client_end(struct call *c) {
    struct forward_call *fc = c->forward;
    c->request_ended = true;
    fc->progress = now_of(fc);
    if (fc->stream != NULL) send_end(fc);
}

static void on_client_writable(struct call *c) {
    struct forward_call *fc = c->forward;
    fc->progress = now_of(fc);
    if (fc->stream != NULL && fc->unsent > 0) http_consume(fc->stream, fc->unsent);
    fc->unsent = 0;
}

static void on_client_closed(struct call *c) {
    struct forward_call *fc = c->forward;
    c->forward = NULL;
    forward_unwait(fc);
    if (fc->tunnel && fc->stream != NULL && !fc->sent_end) { // what it has said last still goes out
        fc->stream->user = NULL;
        http_finish(fc->stream, NULL, 0);
        fc->stream = NULL;
    }
    drop_stream(fc);
    loop_timer_clear(fc->pool->loop, &fc->timer);
    pool_give_sized(fc, sizeof *fc);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    fail(c->forward, status_http(status), status, fault == NULL ? "" : blob_str(fault->text).p,
         pushback);
}

static const struct call_form FORWARD_FORM = {
    .data = on_client_data,
    .end = on_client_end,
    .writable = on_client_writable,
    .closed = on_client_closed,
    .fail = on_fail,
};

void forward_head(struct request *r, struct blob *account) {
    struct forward *f = forward_of(r->route->port);
    struct str target;
    if (f == NULL) {
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "the service has just been registered anew");
        return;
    }
    if (!forward_target(r->stream->path, r->route->prefix, f->strip_prefix, &r->at->clean,
                        &target)) {
        gateway_refuse(
            r, 400, STATUS_INVALID_ARGUMENT,
            "the path must begin with \"%.*s\" as written here, and no segment of it may "
            "be \".\" or \"..\"",
            (int)r->route->prefix.n, r->route->prefix.p);
        return;
    }
    if (r->head.chain >= MSG_MAX_CHAIN) {
        gateway_refuse(r, 503, STATUS_RESOURCE_EXHAUSTED,
                       "calls are 32 deep: do services call each other in a circle?");
        return;
    }
    struct forward_call *fc = pool_take_zeroed(sizeof *fc);
    struct call *c = fc == NULL ? NULL : call_new(r, &FORWARD_FORM, account, NULL, 0);
    if (c == NULL) {
        pool_give_sized(fc, sizeof *fc);
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "no memory for the call");
        return;
    }
    http_as_is(r->stream);
    c->forward = fc;
    *fc = (struct forward_call){.call = c,
                                .forward = f,
                                .pool = f->pools[r->at->loop->index],
                                .progress = loop_now(r->at->loop),
                                .timer.fire = on_timer};
    loop_timer_set(r->at->loop, &fc->timer, fc->progress + f->first_byte);
    if (!forward_wait(fc)) forward_unreachable(fc, "too many requests wait for the service");
}

// ---- to the service

static bool put_headers(struct forward_call *fc, struct forward_headers *h) {
    const struct call *c = fc->call;
    const struct http_stream *s = c->stream;
    struct conn *conn = conn_of(s->session);
    struct forward_facts facts = {.peer = conn_peer(conn),
                                  .near = conn_peer_is_loopback(conn),
                                  .tls = conn_is_tls(conn),
                                  .authority = s->authority,
                                  .credentials = fc->forward->credentials,
                                  .content_length = fc->has_body ? s->content_length : -1,
                                  .upgrade = s->upgrade,
                                  .context = c->context};
    forward_request_headers(h, &facts, s->headers, s->header_count);
    return !h->failed;
}

void forward_start(struct forward_call *fc, struct forward_conn *fconn) {
    struct call *c = fc->call;
    const struct http_stream *s = c->stream;
    struct forward *f = fc->forward;
    struct forward_headers h;
    struct str target = {"", 0};
    fc->attempts++;
    fc->has_body = s->upgrade.n == 0 && (!c->request_ended || c->body.n > 0);
    fc->sent_end = false;
    forward_target(s->path, c->route->prefix, f->strip_prefix, &c->at->clean, &target);
    struct str host = s->authority;
    if (host.n == 0 || f->backend_host) host = str_of(address_of(fconn));
    forward_headers_begin(&h);
    if (put_headers(fc, &h))
        fc->stream = http_request(conn_session(fconn->conn), s->method, str_of("http"), host,
                                  target, h.items, h.n, !fc->has_body, fc);
    bool failed = h.failed;
    forward_headers_free(&h);
    if (fc->stream == NULL) {
        forward_conn_done(fconn);
        if (failed)
            forward_unreachable(fc, "no memory for the request");
        else
            fail(fc, 400, STATUS_INVALID_ARGUMENT, "the request cannot be written as HTTP/1.1",
                 false);
        return;
    }
    fc->conn = fconn;
    fc->progress = now_of(fc);
    if (c->body.n > 0) send_body(fc, buf_str(&c->body));
    buf_free(&c->body);
    if (fc->stream == NULL) return;
    if (c->request_ended) send_end(fc);
    if (http_queued(fc->stream) < HTTP_LOW_WATER) give_back_client(fc);
}

// ---- from the service

// What an answer says of its address.
static void judge(struct forward_conn *fconn, int status) {
    struct choice *choice = peer_choice(&fconn->peer->peer);
    if (status == 502 || status == 503 || status == 504) {
        choice_unavailable(choice, clock_now(), random_u64());
    } else {
        choice_answered(choice);
    }
}

static void read_keep(struct forward_conn *fconn, const struct http_stream *s) {
    struct str value;
    if (!http_header_get(s->headers, s->header_count, "keep-alive", &value)) return;
    for (size_t i = 0; i + 8 < value.n; i++) {
        if (memcmp(value.p + i, "timeout=", 8) != 0) continue;
        int64_t seconds = 0;
        for (i += 8; i < value.n && value.p[i] >= '0' && value.p[i] <= '9' && seconds < 1000; i++)
            seconds = seconds * 10 + (value.p[i] - '0');
        int64_t keep = (seconds - 1) * NS_PER_SECOND;
        if (keep < fconn->keep) fconn->keep = keep;
        return;
    }
}

// The head of the answer, for the client.
static int respond(struct forward_call *fc, const struct http_stream *s) {
    struct http_stream *client = fc->call->stream;
    struct forward_headers h;
    int rc = -STATUS_RESOURCE_EXHAUSTED;
    forward_headers_begin(&h);
    forward_answer_headers(&h, s->status, s->headers, s->header_count);
    if (h.failed) {
        // rc says it
    } else if (s->status == 101) {
        fc->tunnel = fc->has_body = true;
        if (http_session_version(client->session) == HTTP_2)
            forward_headers_remove(&h, "sec-websocket-accept"); // it was not asked for
        rc = http_upgrade(client, h.items, h.n);
    } else {
        rc = http_respond(client, s->status, h.items, h.n, false);
    }
    forward_headers_free(&h);
    return rc;
}

static void on_head(struct http_stream *s) {
    struct forward_call *fc = s->user;
    struct forward_conn *fconn = conn_of_stream(s);
    judge(fconn, s->status);
    read_keep(fconn, s);
    if (fc == NULL) return;
    int rc = respond(fc, s);
    fc->progress = now_of(fc);
    if (rc == 0) {
        fc->headed = true;
    } else {
        fail(fc, 502, STATUS_UNAVAILABLE, "the service's answer cannot be given back", false);
    }
}

static void on_data(struct http_stream *s, struct str bytes) {
    struct forward_call *fc = s->user;
    if (fc == NULL) {
        http_consume(s, bytes.n);
        return;
    }
    struct call *c = fc->call;
    fc->progress = now_of(fc);
    if (http_send(c->stream, bytes) < 0) {
        fail(fc, 502, STATUS_UNAVAILABLE, "no memory for the answer", false);
        return;
    }
    fc->unsent += bytes.n;
    if (http_queued(c->stream) >= HTTP_LOW_WATER) return;
    http_consume(s, fc->unsent);
    fc->unsent = 0;
}

static void on_end(struct http_stream *s) {
    struct forward_call *fc = s->user;
    if (fc == NULL) return;
    struct call *c = fc->call;
    fc->stream = NULL;
    fc->conn = NULL;
    s->user = NULL;
    loop_timer_clear(fc->pool->loop, &fc->timer);
    give_back_client(fc);
    struct forward_headers h;
    forward_headers_begin(&h);
    forward_answer_headers(&h, 0, s->trailers, s->trailer_count);
    call_answered(c, status_counted(s->status));
    if (http_finish(c->stream, h.items, h.n) < 0) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
    forward_headers_free(&h);
}

static void on_writable(struct http_stream *s) {
    struct forward_call *fc = s->user;
    if (fc == NULL) return;
    fc->progress = now_of(fc);
    give_back_client(fc);
}

static bool idempotent(struct str method) {
    static const char *const LIST[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof LIST / sizeof LIST[0]; i++) {
        if (str_is(method, LIST[i])) return true;
    }
    return false;
}

// May it be made again on another connection, without doing anything twice?
static bool again(const struct forward_call *fc, const struct http_stream *s, enum http_close why) {
    if (fc->headed || fc->sent_body || fc->attempts >= ATTEMPTS) return false;
    bool stale = conn_of_stream(s)->used && http_fault(s->session)[0] == '\0' &&
                 idempotent(fc->call->stream->method);
    return why == HTTP_CLOSE_REFUSED || stale;
}

// The stream has ended before its answer has.
static void lost(struct forward_call *fc, const struct http_stream *s, enum http_close why) {
    char text[TEXT_MAX];
    struct forward_conn *fconn = conn_of_stream(s);
    fc->stream = NULL;
    fc->conn = NULL;
    if (again(fc, s, why) && forward_wait(fc)) return;
    const char *fault = http_fault(s->session);
    if (fault[0] != '\0') {
        snprintf(text, sizeof text, "the answer of %.200s breaks HTTP: %s", address_of(fconn),
                 fault);
    } else {
        snprintf(text, sizeof text, "%.200s broke the connection off %s", address_of(fconn),
                 fc->headed ? "within its answer" : "before it answered");
    }
    choice_unavailable(peer_choice(&fconn->peer->peer), clock_now(), random_u64());
    fail(fc, 502, STATUS_UNAVAILABLE, text, false);
}

static void on_closed(struct http_stream *s, enum http_close why) {
    struct forward_call *fc = s->user;
    s->user = NULL;
    if (fc != NULL) lost(fc, s, why);
    forward_conn_done(conn_of_stream(s));
}

const struct http_events FORWARD_EVENTS = {
    .head = on_head,
    .data = on_data,
    .end = on_end,
    .writable = on_writable,
    .closed = on_closed,
};
