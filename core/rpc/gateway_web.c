// SPDX-License-Identifier: Apache-2.0
// Raw HTTP: requests for the functions that a service declares under `http`, and their answers.
//
// A body that says it is short is gathered and goes in the REQUEST; any other goes as ITEMs of raw bytes, then END. The service's
// credit bounds what is under way: without credit bytes wait in `body` and are not given back to HTTP's flow control, so the
// caller stalls when its window is used up. The answer comes as HEADERS, ITEMs and RESPONSE, or whole in the RESPONSE; of
// a file the body is the file's own memory, of which what is asked for is sent without a copy.
//
// Deadlines: the server's default from the head of the request to the head of the answer. While a body is under way the time begins
// anew with every piece of it, and an answer that has begun may last.
#include "rpc/gateway.h"
#include "rpc/web_head.h"

#define WHOLE_MOST (32 * 1024) // a body that goes in the REQUEST

// ---- the answer

static void break_off(struct call *c, int status) {
    call_cancel(c, STATUS_CANCELLED);
    if (!c->answered) call_answered(c, status);
    http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static bool is_head(const struct call *c) { return str_is(c->stream->method, "HEAD"); }

static void end_error(struct call *c, int status, const struct msg_fault *fault,
                      const struct message *m, bool pushback) {
    if (c->headed) { // only the end of the connection says that what has come is not all
        break_off(c, status);
        return;
    }
    gateway_end_error(c, gateway_http(status, fault), status, fault, m, pushback);
}

static uint64_t length_of(const struct web_answer *a, const struct blob *body) {
    uint64_t n = a->piece_count == 0 ? blob_str(body).n : 0;
    for (size_t i = 0; i < a->piece_count; i++) n += a->pieces[i].text.n + a->pieces[i].n;
    return n;
}

static bool send_body(struct call *c, const struct web_answer *a, struct blob *body) {
    if (a->piece_count == 0) return body == NULL || http_send_blob(c->stream, blob_hold(body)) == 0;
    for (size_t i = 0; i < a->piece_count; i++) {
        const struct web_piece *p = &a->pieces[i];
        if (http_send(c->stream, p->text) < 0) return false;
        if (p->n > 0 && http_send_part(c->stream, blob_hold(body), p->from, p->n) < 0) return false;
    }
    return true;
}

static bool send_whole(struct call *c, const struct blob *leading, const struct message *m) {
    struct web_answer a;
    struct headers *h = &c->at->out;
    bool read = web_answer_read(leading, blob_str(m->body).n, &a);
    call_answered(c, read ? status_counted(a.status) : STATUS_INTERNAL);
    if (!read || !headers_begin(h, leading, m->metadata, NULL)) return false;
    bool empty = a.status == 204 || a.status == 304;
    if (!empty) headers_add_number(h, "content-length", length_of(&a, m->body));
    web_answer_headers(h, leading, true);
    headers_add_metadata(h, m->metadata);
    bool end = empty || is_head(c) || length_of(&a, m->body) == 0;
    if (http_respond(c->stream, a.status, h->items, h->n, end) < 0) return false;
    return end || (send_body(c, &a, m->body) && http_finish(c->stream, NULL, 0) == 0);
}

static void on_headers(struct call *c, struct message *m) {
    struct web_answer a;
    struct headers *h = &c->at->out;
    c->headed = true;
    loop_timer_clear(c->at->loop, &c->timer);
    bool sent = web_answer_read(m->metadata, 0, &a) && headers_begin(h, m->metadata, NULL, NULL);
    if (sent) {
        c->refusal_status = status_counted(a.status);
        web_answer_headers(h, m->metadata, false);
        sent = http_respond(c->stream, a.status, h->items, h->n, false) == 0;
    }
    if (!sent) break_off(c, STATUS_INTERNAL);
}

static void on_item(struct call *c, struct message *m) {
    if (!c->headed || http_send_blob(c->stream, blob_hold(m->body)) < 0) {
        break_off(c, STATUS_INTERNAL);
        return;
    }
    call_item_queued(c, m->body);
}

static bool send_end(struct call *c, const struct message *m) {
    struct headers *h = &c->at->out;
    call_answered(c, c->refusal_status);
    if (m->metadata == NULL) return http_finish(c->stream, NULL, 0) == 0;
    if (!headers_begin(h, NULL, m->metadata, NULL)) return false;
    headers_add_metadata(h, m->metadata);
    return http_finish(c->stream, h->items, h->n) == 0;
}

static void on_response(struct call *c, struct message *m) {
    if (m->status != STATUS_OK) {
        end_error(c, m->status, m->fault, m, false);
        return;
    }
    if (!(c->headed ? send_end(c, m) : send_whole(c, m->leading, m)))
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    end_error(c, status, fault, NULL, pushback);
}

// ---- the request

// The body is under way: time begins anew.
static void touch(struct call *c) {
    int64_t time = c->at->server->options.default_deadline;
    if (!c->headed && time > 0)
        loop_timer_set(c->at->loop, &c->timer, loop_now(c->at->loop) + time);
}

static bool send_item(struct call *c, struct blob *take) {
    if (take == NULL) {
        call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the body");
        return false;
    }
    c->intake.credit -= message_weight(take);
    if (call_tell(c, MSG_ITEM, take, 0, 0) == 0) return true;
    call_fail(c, STATUS_UNAVAILABLE, "the service takes no more of the body");
    return false;
}

static void give(struct call *c, struct str bytes) {
    touch(c);
    if (c->body.n == 0 && c->intake.credit > 0) {
        send_item(c, blob_new(bytes.p, bytes.n));
        http_consume(c->stream, bytes.n);
        return;
    }
    buf_append_str(&c->body, bytes);
    if (c->body.failed) call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the body");
}

// It says that it is short, and is so far.
static bool is_short(const struct call *c, struct str more) {
    int64_t length = c->stream->content_length;
    return length >= 0 && length <= WHOLE_MOST && c->body.n + more.n <= WHOLE_MOST;
}

static void begin_stream(struct call *c) {
    c->streams = true;
    c->intake.credit = MSG_WINDOW;
    c->context->deadline = 0; // nobody has seen it yet
    call_request(c, NULL);
    if (!c->answered && c->body.n > 0) send_item(c, buf_take(&c->body)); // given back already
}

static void on_data(struct call *c, struct str bytes) {
    if (!c->streams && is_short(c, bytes)) {
        http_keep(c->stream, bytes.n);
        buf_append_str(&c->body, bytes);
        return;
    }
    if (!c->streams) begin_stream(c);
    if (c->answered) { // it was refused
        http_consume(c->stream, bytes.n);
    } else {
        give(c, bytes);
    }
}

static void end_of_stream(struct call *c) {
    touch(c);
    c->request_ended = true;
    call_tell(c, MSG_END, NULL, 0, 0);
}

static void on_end(struct call *c) {
    if (c->streams) {
        if (c->body.n == 0) end_of_stream(c); // else when the service has taken what waits
        return;
    }
    c->request_ended = true;
    struct blob *body = NULL;
    if (c->body.n > 0 || c->body.failed) {
        body = buf_take(&c->body);
        if (body == NULL) {
            call_fail(c, STATUS_RESOURCE_EXHAUSTED, "no memory for the body");
            return;
        }
    }
    call_request(c, body);
}

static void on_credit(struct call *c, uint32_t credit) {
    if (!c->streams) return;
    c->intake.credit += credit;
    size_t n = c->body.n;
    if (n > 0 && c->intake.credit > 0) {
        touch(c);
        if (!send_item(c, buf_take(&c->body))) return;
        http_consume(c->stream, n);
    }
    if (c->body.n == 0 && c->stream->remote_ended && !c->request_ended) end_of_stream(c);
}

static const struct call_form WEB = {
    .data = on_data,
    .end = on_end,
    .headers = on_headers,
    .item = on_item,
    .credit = on_credit,
    .response = on_response,
    .fail = on_fail,
};

// The cleaned path below the base; a slash at its end tells a folder from a file, so it stays.
static struct str path_below(struct request *r, struct buf *out) {
    struct str clean = buf_str(&r->at->clean);
    size_t base = r->route->prefix.n;
    if (clean.n > base) buf_append(out, clean.p + base, clean.n - base);
    bool folder = r->path.n > 0 && r->path.p[r->path.n - 1] == '/';
    if (out->n == 0 || (folder && buf_p(out)[out->n - 1] != '/')) buf_append_byte(out, '/');
    return buf_str(out);
}

static struct blob *request_head(struct request *r) {
    const struct http_stream *s = r->stream;
    const struct door *door = conn_door(r->conn);
    bool tls = door->tls != NULL && *door->tls != NULL;
    struct buf path = {0};
    struct web_line line = {.handler = r->route->endpoint,
                            .method = s->method,
                            .url = s->path,
                            .path = path_below(r, &path),
                            .base = r->route->prefix,
                            .host = s->authority,
                            .scheme = str_of(tls ? "https" : "http"),
                            .params = r->params,
                            .param_count = r->param_count};
    struct blob *head = path.failed ? NULL : web_request_head(&line, s->headers, s->header_count);
    buf_free(&path);
    return head;
}

void gateway_web_head(struct request *r, struct blob *account) {
    int64_t time = r->at->server->options.default_deadline;
    int64_t deadline = time > 0 ? loop_now(r->at->loop) + time : 0;
    struct blob *head = request_head(r);
    if (head == NULL || call_new(r, &WEB, account, head, deadline) == NULL)
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "no memory for the call");
}
