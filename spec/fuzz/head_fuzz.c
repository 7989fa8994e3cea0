// SPDX-License-Identifier: Apache-2.0
// The headers of a call: lines "name:value". They are read as a request's and as an answer's; grpc-timeout, traceparent and metadata that
// are accepted can be written and read again. Of raw HTTP: no secret reaches a service or is set by one, and no piece of an answer
// lies outside of its body.
#include "fuzz.h"

#include "msg/metadata.h"
#include "rpc/head.h"
#include "rpc/headers.h"
#include "rpc/web_head.h"

#define LINES_MOST 40

static size_t split(struct str text, struct http_header *headers) {
    size_t n = 0;
    while (text.n > 0 && n < LINES_MOST) {
        const char *line_end = memchr(text.p, '\n', text.n);
        size_t length = line_end == NULL ? text.n : (size_t)(line_end - text.p);
        const char *colon = memchr(text.p, ':', length);
        size_t name = colon == NULL ? length : (size_t)(colon - text.p);
        size_t value = colon == NULL ? length : name + 1;
        headers[n++] = (struct http_header){{text.p, name}, {text.p + value, length - value}};
        if (line_end == NULL) break;
        text.n -= length + 1;
        text.p += length + 1;
    }
    return n;
}

static void timeouts(struct str text) {
    int64_t ns, again;
    char written[16];
    if (!grpc_timeout_parse(text, &ns)) return;
    must(ns >= 0);
    size_t n = grpc_timeout_format(written, ns);
    must(n >= 2 && n <= 9);
    must(grpc_timeout_parse((struct str){written, n}, &again) && again >= ns);
}

static void traces(struct str text) {
    struct msg_context context = {0}, again = {0};
    char written[TRACEPARENT_LENGTH + 1];
    head_trace(&context, text);
    head_traceparent(written, &context);
    head_trace(&again, str_of(written));
    must(memcmp(context.trace_id, again.trace_id, 16) == 0 &&
         memcmp(context.span_id, again.span_id, 8) == 0);
    must(context.trace_flags == again.trace_flags);
}

static void metadata(const struct http_header *headers, size_t count) {
    struct buf first = {0};
    bool failed = false;
    struct blob *pairs = head_metadata(&first, headers, count, &failed);
    must(!failed);
    struct headers out = {.n = 0};
    must(headers_begin(&out, pairs, NULL, NULL));
    headers_add_metadata(&out, pairs);
    for (size_t i = 0; i < out.n; i++) {
        must(metadata_key_allowed(out.items[i].name));
        must(memchr(out.items[i].value.p, '\n', out.items[i].value.n) == NULL);
        must(memchr(out.items[i].value.p, '\r', out.items[i].value.n) == NULL);
    }
    headers_free(&out);
    blob_drop(pairs);
}

static void answers(const struct http_header *headers, size_t count) {
    int status;
    struct msg_fault *fault = NULL;
    if (!grpc_status_read(headers, count, &status, &fault)) return;
    struct headers out = {.n = 0};
    must(headers_begin(&out, NULL, NULL, fault));
    headers_add_status(&out, status, fault);
    for (size_t i = 0; i < out.n; i++)
        must(memchr(out.items[i].value.p, '\n', out.items[i].value.n) == NULL);
    headers_free(&out);
    msg_fault_delete(fault);
}

// Does a list of cookies hold one of ours?
static bool has_our_cookie(struct str value) {
    for (size_t at = 0; at < value.n;) {
        while (at < value.n && (value.p[at] == ' ' || value.p[at] == '\t' || value.p[at] == ';'))
            at++;
        size_t end = at;
        while (end < value.n && value.p[end] != ';' && value.p[end] != '=' && value.p[end] != ' ')
            end++;
        if (web_cookie_is_ours((struct str){value.p + at, end - at})) return true;
        const char *next = memchr(value.p + at, ';', value.n - at);
        at = next == NULL ? value.n : (size_t)(next - value.p);
    }
    return false;
}

static void raw_requests(const struct http_header *headers, size_t count) {
    struct web_line line = {.handler = str_of("GET /"), .host = str_of("h")};
    struct blob *head = web_request_head(&line, headers, count);
    must(head != NULL);
    struct metadata_pair pair;
    for (size_t at = 0; metadata_next(head, &at, &pair);) {
        must(!str_is(pair.key, "authorization") && !str_is(pair.key, "connection"));
        if (str_is(pair.key, "cookie")) must(!has_our_cookie(pair.value));
    }
    blob_drop(head);
}

static void raw_answers(const struct http_header *headers, size_t count) {
    static struct web_answer a; // not on the stack: it is long
    struct buf pairs = {0};
    for (size_t i = 0; i < count; i++) metadata_add(&pairs, headers[i].name, headers[i].value);
    struct blob *leading = buf_take(&pairs);
    struct headers out = {.n = 0};
    if (web_answer_read(leading, 1000, &a)) {
        must(a.status >= 200 && a.status <= 599 && a.piece_count <= WEB_PIECES_MAX);
        for (size_t i = 0; i < a.piece_count; i++) must(a.pieces[i].from + a.pieces[i].n <= 1000);
    }
    must(headers_begin(&out, leading, NULL, NULL));
    web_answer_headers(&out, leading, true);
    for (size_t i = 0; i < out.n; i++) {
        must(!str_is(out.items[i].name, "content-length") &&
             !str_is(out.items[i].name, "connection"));
        if (str_is(out.items[i].name, "set-cookie"))
            must(!has_our_cookie(out.items[i].value) ||
                 memchr(out.items[i].value.p, ';', out.items[i].value.n) != NULL);
    }
    headers_free(&out);
    blob_drop(leading);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    struct str text = input_rest(&in);
    char *copy = input_copy(text);
    text.p = copy;
    struct http_header headers[LINES_MOST];
    size_t count = split(text, headers);
    struct head head;
    head_read(&head, headers, count);
    head_namespace_valid(head.ns);
    head_type_is(head.content_type, "application/grpc");
    timeouts(head.timeout);
    traces(head.traceparent);
    metadata(headers, count);
    answers(headers, count);
    raw_requests(headers, count);
    raw_answers(headers, count);
    free(copy);
    return 0;
}
