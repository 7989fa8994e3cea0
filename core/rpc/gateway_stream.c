// SPDX-License-Identifier: Apache-2.0
// Answers of many messages as newline-delimited JSON: one line a message; an error after the first line is a last line
// {"error":{...}}. Who asks for server-sent events gets those (gateway_events.c).
#include "rpc/gateway.h"

#define NDJSON "application/x-ndjson"

void gateway_stream_break(struct call *c) {
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
static bool send_error_line(struct call *c, int http, const struct msg_fault *fault) {
    char id[ID_MAX];
    struct gateway_error e = gateway_error_of(c, http, fault, id);
    struct buf line = {0};
    buf_append_text(&line, "{\"error\":");
    gateway_put_error(&line, &e);
    buf_append_text(&line, "}\n");
    struct blob *text = buf_take(&line);
    return text != NULL && http_send_blob(c->stream, text) == 0 &&
           http_finish(c->stream, NULL, 0) == 0;
}

static void end_error(struct call *c, int status, const struct msg_fault *fault,
                      const struct message *m, bool pushback) {
    if (!c->headed) {
        gateway_end_error(c, gateway_http(status, fault), status, fault, m, pushback);
        return;
    }
    call_answered(c, status);
    if (!send_error_line(c, gateway_http(status, fault), fault))
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_headers(struct call *c, struct message *m) {
    if (!send_head(c, m->metadata, false)) gateway_stream_break(c);
}

static void on_item(struct call *c, struct message *m) {
    size_t n = blob_str(m->body).n;
    if ((!c->headed && !send_head(c, NULL, false)) ||
        (n > 0 && http_send_blob(c->stream, blob_hold(m->body)) < 0) ||
        http_send(c->stream, str_of("\n")) < 0) {
        gateway_stream_break(c);
        return;
    }
    call_item_queued(c, m->body);
}

static void on_response(struct call *c, struct message *m) {
    if (m->status != STATUS_OK) {
        end_error(c, m->status, m->fault, m, false);
        return;
    }
    call_answered(c, STATUS_OK);
    bool sent = c->headed ? http_finish(c->stream, NULL, 0) == 0 : send_head(c, m->leading, true);
    if (!sent) http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    end_error(c, status, fault, NULL, pushback);
}

const struct call_form GATEWAY_STREAM = {
    .data = gateway_data,
    .end = gateway_end,
    .headers = on_headers,
    .item = on_item,
    .response = on_response,
    .fail = on_fail,
};

void gateway_stream_head(struct request *r) {
    bool events = gateway_events_wanted(r);
    const struct http_header head[] = {
        {str_of("content-type"), str_of(events ? EVENT_STREAM : NDJSON)}};
    if (http_respond(r->stream, 200, head, 1, true) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
}
