// SPDX-License-Identifier: Apache-2.0
// Answers of many messages as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), for who
// asks with `accept: text/event-stream`.
//
//   retry: 2000            once, at the beginning: how long EventSource waits before it comes back
//   id: 42                 where the service says which field that is (Route.event_id)
//   data: {...}            one message
//   :                      nothing: a heartbeat, after a silence of rpc_heartbeat
//   event: error           the end, with the error as data, or
//   event: end             the end, and all is well
//
// EventSource takes every end of the connection for a fault and comes back. What it should not ask for again ends with
// the id END_ID, which it brings along as Last-Event-ID; such a request gets 204, and EventSource stops (by the standard). Only
// UNAVAILABLE, which says "again, soon", keeps the last id: EventSource comes back and goes on from there.
//
// The head is sent with the first message, so that an error before it is an HTTP status, or a moment after the request (so that
// `open` fires and proxies see an answer).
#include "rpc/gateway.h"

#include "base/clock.h"
#include "pb/json_lex.h"

#define RETRY "retry: 2000\n\n"
#define END_ID "mica:end"
#define HEAD_AFTER NS_PER_SECOND

bool gateway_events_wanted(const struct request *r) {
    const struct http_stream *s = r->stream;
    struct str accept;
    if (!http_header_get(s->headers, s->header_count, "accept", &accept)) return false;
    for (size_t at = 0; at < accept.n;) {
        size_t end = at;
        while (end < accept.n && accept.p[end] != ',') end++;
        while (at < end && accept.p[at] == ' ') at++;
        if (head_type_is((struct str){accept.p + at, end - at}, EVENT_STREAM)) return true;
        at = end + 1;
    }
    return false;
}

bool gateway_events_over(struct request *r) {
    struct str last;
    const struct http_stream *s = r->stream;
    if (!http_header_get(s->headers, s->header_count, "last-event-id", &last)) return false;
    if (str_is(last, END_ID)) {
        if (http_respond(r->stream, 204, NULL, 0, true) < 0)
            http_reset(r->stream, HTTP2_INTERNAL_ERROR);
        return true;
    }
    if (r->route->resume == NULL || last.n == 0 || r->param_count == ROUTE_PARAMS_MAX) return false;
    r->at->params[r->param_count++] = (struct route_param){r->route->resume->name, last};
    return false;
}

// ---- ids

// The value of a field of the message, as text; empty: it is not there.
static struct str id_of(struct json_lex *lex, const struct pb_field *field) {
    if (json_next(lex) != JSON_OBJECT) return str_of("");
    while (json_next(lex) == JSON_KEY) {
        bool found = str_equal(lex->text, field->name) || str_equal(lex->text, field->json_name);
        enum json_token value = json_next(lex);
        if (found) return value == JSON_STRING || value == JSON_NUMBER ? lex->text : str_of("");
        if (!json_skip(lex, value)) break;
    }
    return str_of("");
}

// An id with a line end or NUL cannot be said; other controls are no ids either.
static bool can_be_said(struct str id) {
    for (size_t i = 0; i < id.n; i++) {
        if ((unsigned char)id.p[i] < 0x20) return false;
    }
    return id.n > 0;
}

static void put_id(struct buf *out, const struct call *c, struct str body) {
    if (c->route->event_id == NULL) return;
    struct buf scratch = {0};
    struct json_lex lex;
    json_lex_init(&lex, body, &scratch);
    struct str id = id_of(&lex, c->route->event_id);
    if (can_be_said(id)) {
        buf_append_text(out, "id: ");
        buf_append_str(out, id);
        buf_append_byte(out, '\n');
    }
    buf_free(&scratch);
}

// ---- the answer

static bool send_head(struct call *c, const struct blob *leading) {
    struct headers *h = &c->at->out;
    c->headed = true;
    if (!headers_begin(h, leading, NULL, NULL)) return false;
    headers_add(h, "content-type", str_of(EVENT_STREAM));
    headers_add(h, "cache-control", str_of("no-store"));
    headers_add(h, "x-accel-buffering", str_of("no")); // nginx: as it comes
    headers_add_metadata(h, leading);
    return http_respond(c->stream, 200, h->items, h->n, false) == 0 &&
           http_send(c->stream, str_of(RETRY)) == 0;
}

static void on_headers(struct call *c, struct message *m) {
    if (!send_head(c, m->metadata)) gateway_stream_break(c);
}

static void on_item(struct call *c, struct message *m) {
    struct buf head = {0};
    put_id(&head, c, blob_str(m->body));
    buf_append_text(&head, "data: ");
    bool sent = !head.failed && (c->headed || send_head(c, NULL)) &&
                http_send(c->stream, buf_str(&head)) == 0 &&
                http_send_blob(c->stream, blob_hold(m->body)) == 0 &&
                http_send(c->stream, str_of("\n\n")) == 0;
    buf_free(&head);
    if (!sent) {
        gateway_stream_break(c);
        return;
    }
    c->spoke = loop_now(c->at->loop);
    call_item_queued(c, m->body);
}

// The last event: `name` with `data`. An end that is final says so by its id.
static void finish(struct call *c, const char *name, struct str data, bool final) {
    struct buf last = {0};
    if (final) buf_append_text(&last, "id: " END_ID "\n");
    buf_printf(&last, "event: %s\ndata: ", name);
    buf_append_str(&last, data);
    buf_append_text(&last, "\n\n");
    bool sent = !last.failed && http_send(c->stream, buf_str(&last)) == 0 &&
                http_finish(c->stream, NULL, 0) == 0;
    buf_free(&last);
    if (!sent) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void end_error(struct call *c, int status, const struct msg_fault *fault,
                      const struct message *m, bool pushback) {
    int http = gateway_http(status, fault);
    if (!c->headed) {
        gateway_end_error(c, http, status, fault, m, pushback);
        return;
    }
    char id[ID_MAX];
    struct gateway_error e = gateway_error_of(c, http, fault, id);
    struct buf data = {0};
    gateway_put_error(&data, &e);
    call_answered(c, status);
    finish(c, "error", buf_str(&data), status != STATUS_UNAVAILABLE);
    buf_free(&data);
}

static void on_response(struct call *c, struct message *m) {
    if (m->status != STATUS_OK) {
        end_error(c, m->status, m->fault, m, false);
        return;
    }
    if (!c->headed && !send_head(c, m->leading)) {
        gateway_stream_break(c);
        return;
    }
    call_answered(c, STATUS_OK);
    finish(c, "end", str_of("{}"), true);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    end_error(c, status, fault, NULL, pushback);
}

const struct call_form GATEWAY_EVENTS = {
    .data = gateway_data,
    .end = gateway_end,
    .headers = on_headers,
    .item = on_item,
    .response = on_response,
    .fail = on_fail,
};

// ---- heartbeats

static void on_beat(struct loop *loop, struct loop_timer *timer) {
    struct call *c = (struct call *)((char *)timer - offsetof(struct call, beat));
    int64_t now = loop_now(loop);
    int64_t period = c->at->server->options.heartbeat;
    if (c->answered) return;
    bool sent = true;
    if (!c->requested) { // its body is still coming
        c->spoke = now;
    } else if (!c->headed) {
        sent = send_head(c, NULL);
        c->spoke = now;
    } else if (now - c->spoke >= period && http_queued(c->stream) == 0) {
        sent = http_send(c->stream, str_of(":\n\n")) == 0;
        c->spoke = now;
    }
    if (!sent) {
        gateway_stream_break(c);
    } else if (!c->headed) {
        loop_timer_set(loop, timer, now + HEAD_AFTER);
    } else if (period > 0) {
        loop_timer_set(loop, timer, (now - c->spoke >= period ? now : c->spoke) + period);
    }
}

void gateway_events_begin(struct call *c) {
    c->beat.fire = on_beat;
    // Without memory for the timer there are no heartbeats.
    loop_timer_set(c->at->loop, &c->beat, loop_now(c->at->loop) + HEAD_AFTER);
}
