// SPDX-License-Identifier: Apache-2.0
// The headers of a call: lines "name:value". They are read as a request's and as an answer's; grpc-timeout, traceparent and metadata that
// are accepted can be written and read again.
#include "fuzz.h"

#include "msg/metadata.h"
#include "rpc/head.h"
#include "rpc/headers.h"

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
    free(copy);
    return 0;
}
