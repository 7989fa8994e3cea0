// SPDX-License-Identifier: Apache-2.0
// HTTP/2: what callers ask for, given to nghttp2 as frames to be sent. Nothing here writes;
// http_drain does.
//
// A body is pulled by nghttp2 through a data provider: while the stream's queue is empty and not
// finished the provider is deferred, and http2_queued resumes it. Trailers are submitted by the
// provider at the end of the body, since nghttp2 would otherwise send them before it.
#include "net/http2.h"

#include <stdlib.h>

#define NV_ON_STACK 32

// Values that differ with every request are not worth a place in the peer's table, where they drive out others.
static uint8_t flags_of(struct str name) {
    bool differs = str_is(name, "traceparent") || str_is(name, "grpc-timeout") ||
                   str_is(name, "mica-request-id");
    return differs ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
}

static nghttp2_nv nv_of(struct str name, struct str value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n,
                        value.n,
                        flags_of(name)}; // nghttp2 copies both and makes the name lower case
}

// Appends what belongs into an HTTP/2 header block: connection headers are HTTP/1's.
static size_t put_headers(nghttp2_nv *nv, const struct http_header *headers, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!header_is_connection(headers[i].name))
            nv[n++] = nv_of(headers[i].name, headers[i].value);
    }
    return n;
}

static nghttp2_nv *nv_room(nghttp2_nv *stack, size_t n) {
    stack[0] = (nghttp2_nv){0}; // or gcc believes that an empty list is read
    return n <= NV_ON_STACK ? stack : malloc(n * sizeof *stack);
}

static int submit_trailers(nghttp2_session *ng, struct stream *st) {
    nghttp2_nv stack[NV_ON_STACK];
    nghttp2_nv *nv = nv_room(stack, st->out_trailer_count);
    if (nv == NULL) return NGHTTP2_ERR_NOMEM;
    size_t n = put_headers(nv, st->out_trailers, st->out_trailer_count);
    int rc = nghttp2_submit_trailer(ng, st->id, nv, n);
    if (nv != stack) free(nv);
    return rc;
}

ssize_t http2_read_body(nghttp2_session *ng, int32_t id, uint8_t *bytes, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *user) {
    struct stream *st = source->ptr;
    (void)id, (void)bytes, (void)user;
    size_t n = st->queued < length ? st->queued : length;
    if (n == 0 && !st->finished) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == st->queued && st->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->out_trailer_count > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (submit_trailers(ng, st) != 0) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    }
    return (ssize_t)n;
}

int http2_respond(struct stream *st, int status, const struct http_header *headers, size_t count,
                  bool end) {
    struct http2 *h = http2_of(st->s.session);
    http2_keep_end(st);
    nghttp2_nv stack[NV_ON_STACK];
    nghttp2_nv *nv = nv_room(stack, count + 1);
    if (nv == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    char digits[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                      (char)('0' + status % 10), '\0'};
    nv[0] = nv_of(str_of(":status"), (struct str){digits, 3});
    size_t n = 1 + put_headers(nv + 1, headers, count);
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = http2_read_body};
    int rc = nghttp2_submit_response(h->ng, st->id, nv, n, end ? NULL : &provider);
    if (nv != stack) free(nv);
    return http2_error(rc);
}

int http2_upgrade(struct stream *st, const struct http_header *headers, size_t count) {
    return http2_respond(st, 200, headers, count, false); // RFC 8441 section 4
}

void http2_queued(struct stream *st) {
    if (!st->deferred) return;
    st->deferred = false;
    // Fails only when the stream is gone or ending, which `closed` tells.
    nghttp2_session_resume_data(http2_of(st->s.session)->ng, st->id);
}

void http2_reset(struct stream *st, uint32_t code) {
    nghttp2_submit_rst_stream(http2_of(st->s.session)->ng, NGHTTP2_FLAG_NONE, st->id, code);
}

void http2_consume(struct stream *st, size_t bytes) {
    nghttp2_session_consume(http2_of(st->s.session)->ng, st->id, bytes);
}

void http2_shutdown(struct http_session *base) {
    struct http2 *h = http2_of(base);
    if (!base->server) {
        nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
        return;
    }
    // Two steps (RFC 9113 section 6.8): the notice, and one round trip later the last stream id.
    nghttp2_submit_shutdown_notice(h->ng);
    nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, (const uint8_t *)HTTP2_SHUTDOWN_PING);
}

// ---- client

enum http_room http_room(const struct http_session *base) {
    struct http2 *h = http2_of((struct http_session *)(uintptr_t)base);
    if (base->shutting_down || !nghttp2_session_check_request_allowed(h->ng))
        return HTTP_ROOM_ENDING;
    if (!h->peer_settings) return HTTP_ROOM_UNKNOWN;
    uint32_t limit =
        nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return base->open < limit ? HTTP_ROOM_FREE : HTTP_ROOM_FULL;
}

const char *http2_error_name(uint32_t code) { return nghttp2_http2_strerror(code); }

void http_ping(struct http_session *base) {
    nghttp2_submit_ping(http2_of(base)->ng, NGHTTP2_FLAG_NONE, (const uint8_t *)"mica-hey");
    if (base->touched != NULL) base->touched(base);
}

// Before the peer's SETTINGS are here its limit is unknown: 100 is what RFC 9113 recommends as the
// least.
static bool may_open(struct http2 *h) {
    enum http_room room = http_room(&h->base);
    return room == HTTP_ROOM_FREE || (room == HTTP_ROOM_UNKNOWN && h->base.open < 100);
}

static int submit_request(struct http2 *h, struct stream *st, const struct http_header pseudo[4],
                          const struct http_header *headers, size_t count, bool end) {
    nghttp2_nv stack[NV_ON_STACK];
    nghttp2_nv *nv = nv_room(stack, count + 4);
    if (nv == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    for (int i = 0; i < 4; i++) nv[i] = nv_of(pseudo[i].name, pseudo[i].value);
    size_t n = 4 + put_headers(nv + 4, headers, count);
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = http2_read_body};
    int32_t id = nghttp2_submit_request(h->ng, NULL, nv, n, end ? NULL : &provider, st);
    if (nv != stack) free(nv);
    if (id < 0) return http2_error(id);
    st->id = id;
    return 0;
}

struct http_stream *http_request(struct http_session *base, struct str method, struct str scheme,
                                 struct str authority, struct str path,
                                 const struct http_header *headers, size_t count, bool end,
                                 void *user) {
    const struct http_header pseudo[4] = {{str_of(":method"), method},
                                          {str_of(":scheme"), scheme},
                                          {str_of(":authority"), authority},
                                          {str_of(":path"), path}};
    if (base->server || !may_open(http2_of(base)) || !headers_sound(headers, count)) return NULL;
    for (int i = 0; i < 4; i++) {
        if (!header_value_sound(pseudo[i].value)) return NULL;
    }
    struct stream *st = http_stream_new(base);
    if (st == NULL) return NULL;
    st->s.user = user;
    st->responded = true; // body may be sent
    st->sealed = st->finished = end;
    if (!stream_keep(st, method, &st->s.method) || !stream_keep(st, path, &st->s.path) ||
        !stream_keep(st, authority, &st->s.authority) ||
        submit_request(http2_of(base), st, pseudo, headers, count, end) < 0) {
        stream_delete(st);
        return NULL;
    }
    st->reported = true;
    if (base->touched != NULL) base->touched(base);
    return &st->s;
}
