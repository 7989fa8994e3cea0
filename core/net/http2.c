// SPDX-License-Identifier: Apache-2.0
// HTTP/2 (RFC 9113) with nghttp2, both sides: frames in (http_feed) and out (http_drain).
//
// nghttp2 checks the protocol: framing, HPACK, stream states, pseudo-headers, content-length. Its
// callbacks only record, tell events and submit; nothing calls nghttp2's send or receive from
// inside one. Bodies to the peer are copied once, from the stream's queue behind the frame header
// in the output (NO_COPY).
//
// Receive windows are ours: nghttp2 does not open them by itself. Bytes given to `data` are charged
// until http_consume; when a stream ends, what it did not consume is given back to the connection,
// so that no connection dries up.
//
// Abuse is counted in http2_guard.c. Header lists are counted as RFC 9113 section 6.5.2 says; one
// that is too long costs its stream, its fields are decoded and dropped.
#include "net/http2.h"

#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>

#define HEADER_OVERHEAD 32 // RFC 9113 section 6.5.2

int http2_error(int rc) {
    if (rc >= 0) return 0;
    switch (rc) {
    case NGHTTP2_ERR_NOMEM: return -STATUS_RESOURCE_EXHAUSTED;
    case NGHTTP2_ERR_FLOODED: return -STATUS_RESOURCE_EXHAUSTED;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC: return -STATUS_INVALID_ARGUMENT;
    case NGHTTP2_ERR_STREAM_CLOSED:
    case NGHTTP2_ERR_STREAM_CLOSING: return -STATUS_CANCELLED;
    default: return -STATUS_INTERNAL;
    }
}

static struct stream *find(nghttp2_session *ng, int32_t id) {
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(ng, id);
}

// ---- headers in

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct http2 *h = user;
    if (!h->base.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        h->in_headers = find(ng, frame->hd.stream_id);
        return 0;
    }
    h->in_headers = NULL;
    struct stream *st = http_stream_new(&h->base);
    if (st == NULL) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    st->id = frame->hd.stream_id;
    if (nghttp2_session_set_stream_user_data(ng, st->id, st) != 0) {
        stream_delete(st);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    h->in_headers = st;
    return 0;
}

static void take_pseudo(struct stream *st, struct str name, struct str value) {
    // nghttp2 lets only these and :scheme through (RFC 9113 section 8.3).
    if (name.n == 5) { // :path
        st->s.path = value;
    } else if (name.n == 10) { // :authority
        st->s.authority = value;
    } else if (str_is(name, ":method")) {
        st->s.method = value;
        st->is_head = str_is(value, "HEAD");
    } else if (str_is(name, ":protocol")) {
        st->s.upgrade = value;
    } else if (str_is(name, ":status")) {
        int64_t status = 0;
        number_parse(value, &status);
        st->s.status = (int)status;
    }
}

static bool take_header(struct stream *st, struct str name, struct str value) {
    // One allocation for both strings, and none where the arena has room.
    char *p = stream_alloc(st, name.n + value.n);
    if (p == NULL) return false;
    memcpy(p, name.p, name.n);
    if (value.n > 0) memcpy(p + name.n, value.p, value.n);
    name.p = p;
    value.p = p + name.n;
    if (p[0] == ':') {
        take_pseudo(st, name, value);
        return true;
    }
    if (!st->head_done) {
        if (name.n == 14 && str_is(name, "content-length"))
            number_parse(value, &st->s.content_length);
        if (name.n == 4 && str_is(name, "host") && st->s.authority.n == 0) st->s.authority = value;
    }
    return stream_add_header(st, st->head_done, name, value);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *user) {
    struct http2 *h = user;
    (void)flags, (void)ng, (void)frame;
    struct stream *st = h->in_headers;
    if (st == NULL) return 0;
    st->header_bytes += name_n + value_n + HEADER_OVERHEAD;
    if (st->header_bytes > h->base.limits.header_bytes) st->refused = true;
    int rc = http2_guard_field(h, st);
    if (rc != 0 || st->reset || st->refused) return rc;
    struct str n = {(const char *)name, name_n};
    struct str v = {(const char *)value, value_n};
    if (!take_header(st, n, v)) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
}

static void tell_end(struct stream *st) {
    if (st->input_ended) return;
    st->input_ended = true;
    if (st->reported) session_tell_end(st);
}

static void headers_complete(struct http2 *h, struct stream *st, bool end) {
    h->idle_bytes = 0;
    if (st->reset) return;
    if (st->refused) {
        // Not http_reset: the peer's doing, so it counts as one that it provoked.
        nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_ENHANCE_YOUR_CALM);
        return;
    }
    if (!st->head_done) {
        // The final head follows; what has come stays counted, or their number would have no limit.
        if (!h->base.server && st->s.status / 100 == 1) {
            st->s.header_count = 0;
            return;
        }
        st->header_bytes = 0; // trailers are counted anew
        st->fields = 0;
        st->head_done = true;
        st->reported = true;
        // RFC 8441: CONNECT with a :protocol is what GET with an upgrade is in HTTP/1.
        if (h->base.server && str_is(st->s.upgrade, "websocket")) {
            st->s.method = str_of("GET");
        } else {
            st->s.upgrade = str_of(""); // CONNECT to something else: not offered
        }
        session_tell_head(st);
    }
    if (end) tell_end(st);
}

static void on_ping_ack(struct http2 *h, const uint8_t *data) {
    // The peer has seen the notice: streams that it opened before are known by now.
    if (!h->base.server || !h->base.shutting_down || h->goaway_final) return;
    if (memcmp(data, HTTP2_SHUTDOWN_PING, 8) != 0) return; // of a ping that asked for life
    h->goaway_final = true;
    nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

static void tell_changed(struct http2 *h) {
    if (!h->base.server && h->base.events->changed != NULL) h->base.events->changed(&h->base);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct http2 *h = user;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct stream *st;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        st = find(ng, frame->hd.stream_id);
        if (st == NULL) break;
        if (http2_guard_list(h, st, frame->hd.length) != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
        headers_complete(h, st, end);
        break;
    case NGHTTP2_DATA:
        st = find(ng, frame->hd.stream_id);
        if (st != NULL && end) tell_end(st);
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) break;
        h->peer_settings = true;
        tell_changed(h);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) on_ping_ack(h, frame->ping.opaque_data);
        break;
    case NGHTTP2_GOAWAY:
        if (!h->base.server) h->base.shutting_down = true; // no new requests here
        tell_changed(h);
        break;
    default: break;
    }
    return http2_guard_whole(h, frame);
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                   void *user) {
    struct http2 *h = user;
    (void)flags;
    struct stream *st = find(ng, id);
    bool drop = st == NULL || st->reset || st->refused || !st->reported;
    if (drop || (h->base.server && st->ended)) {
        return nghttp2_session_consume(ng, id, n) == NGHTTP2_ERR_NOMEM
                   ? NGHTTP2_ERR_CALLBACK_FAILURE
                   : 0;
    }
    st->unconsumed += n;
    h->idle_bytes = 0;
    session_tell_data(st, (struct str){(const char *)bytes, n});
    return 0;
}

// ---- the ends of streams

static enum http_close reason(const struct http2 *h, const struct stream *st, uint32_t code) {
    if (st->reset) return HTTP_CLOSE_LOCAL;
    if (!h->base.server && (st->not_sent || code == NGHTTP2_REFUSED_STREAM))
        return HTTP_CLOSE_REFUSED;
    bool whole = h->base.server ? st->ended : st->input_ended;
    return whole && code == NGHTTP2_NO_ERROR ? HTTP_CLOSE_DONE : HTTP_CLOSE_PEER;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user) {
    struct http2 *h = user;
    struct stream *st = find(ng, id);
    if (st == NULL) return 0;
    if (st->not_sent) h->unsent--;
    enum http_close why = reason(h, st, code);
    if (why == HTTP_CLOSE_DONE) http2_guard_done(h);
    st->s.was_reset = true; // the end of the connection does not come by here
    st->s.reset_code = code;
    if (st->reported) h->base.events->closed(&st->s, why);
    if (h->in_headers == st) h->in_headers = NULL;
    http2_keep_end(st);
    size_t back = st->unconsumed; // after `closed`, which may consume
    stream_delete(st);
    nghttp2_session_set_stream_user_data(ng, id, NULL);
    if (back > 0 && nghttp2_session_consume_connection(ng, back) == NGHTTP2_ERR_NOMEM)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct http2 *h = user;
    struct stream *st = find(ng, frame->hd.stream_id);
    int rc = http2_guard_sent(h, frame, st);
    if (rc != 0) return rc;
    if (frame->hd.type == NGHTTP2_GOAWAY) h->base.broken = frame->goaway.error_code;
    bool may_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!may_end || st == NULL || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    st->ended = true;
    // An answer that is complete before its request: the rest of the request is of no use (RFC 9113
    // section 8.1).
    if (h->base.server && !st->input_ended)
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int error,
                             void *user) {
    struct http2 *h = user;
    (void)error;
    if (h->base.server || frame->hd.type != NGHTTP2_HEADERS ||
        frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct stream *st = find(ng, frame->hd.stream_id);
    if (st != NULL && !st->not_sent) {
        st->not_sent = true;
        h->unsent++;
    }
    return 0;
}

// ---- bodies out

static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *user) {
    struct http2 *h = user;
    struct stream *st = source->ptr;
    (void)ng;
    if (h->out->n >= h->out_end)
        return NGHTTP2_ERR_WOULDBLOCK; // the frame waits for the next drain
    assert(frame->data.padlen == 0);
    (void)frame;
    if (!buf_reserve(h->out, 9 + length)) return NGHTTP2_ERR_CALLBACK_FAILURE;
    buf_append(h->out, head, 9);
    stream_dequeue(st, h->out, length);
    return 0;
}

// ---- the table

static int feed(struct http_session *base, struct str bytes) {
    struct http2 *h = http2_of(base);
    if (base->abuse != ABUSE_NONE) return -STATUS_RESOURCE_EXHAUSTED;
    int rc = http2_recv(h, bytes);
    if (rc == 0) {
        http2_guard_fed(h, bytes.n);
        return base->abuse == ABUSE_NONE ? 0 : -STATUS_RESOURCE_EXHAUSTED;
    }
    http2_guard_failed(h, rc);
    if (rc != NGHTTP2_ERR_NOMEM && base->broken == 0) base->broken = NGHTTP2_PROTOCOL_ERROR;
    return http2_error(rc);
}

// Requests that nghttp2 gave up without telling us by on_stream_close.
static void close_unsent(struct http2 *h) {
    for (struct stream *st = h->base.streams; st != NULL && h->unsent > 0;) {
        struct stream *next = st->next;
        if (st->not_sent) {
            h->unsent--;
            nghttp2_session_set_stream_user_data(h->ng, st->id, NULL);
            stream_close(st, st->reset ? HTTP_CLOSE_LOCAL : HTTP_CLOSE_REFUSED);
        }
        st = next;
    }
}

static int drain(struct http_session *base, struct buf *out, size_t max) {
    struct http2 *h = http2_of(base);
    int rc = 0;
    h->out = out;
    h->out_end = out->n + max;
    while (out->n < h->out_end && base->abuse == ABUSE_NONE) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->ng, &p);
        if (n < 0) rc = http2_error((int)n);
        if (n <= 0) break;
        buf_append(out, p, (size_t)n);
    }
    h->out = NULL;
    if (h->goodbye) {
        http2_say_goodbye(h, out);
        // What its streams hold is not for a peer that is given up, and nghttp2 is not asked again.
        while (base->streams != NULL) stream_close(base->streams, HTTP_CLOSE_PEER);
        rc = 0;
    }
    if (h->unsent > 0) close_unsent(h);
    session_tell_writable(base);
    return out->failed ? -STATUS_RESOURCE_EXHAUSTED : rc;
}

static bool wants_write(struct http_session *base) {
    struct http2 *h = http2_of(base);
    if (base->abuse != ABUSE_NONE) return h->goodbye;
    return nghttp2_session_want_write(h->ng) != 0;
}

static bool wants_close(struct http_session *base) {
    struct http2 *h = http2_of(base);
    if (base->abuse != ABUSE_NONE) return !h->goodbye;
    if (nghttp2_session_want_write(h->ng)) return false;
    if (!nghttp2_session_want_read(h->ng)) return true;
    return base->shutting_down && base->open == 0 && (!base->server || h->goaway_final);
}

static bool always(struct http_session *base) {
    (void)base;
    return true;
}

static uint32_t head(struct http_session *base) { return (uint32_t)http2_of(base)->head; }

// Without the peer's half there are no windows and no cancellations: the connection ends.
static void eof(struct http_session *base) {
    nghttp2_session_terminate_session(http2_of(base)->ng, NGHTTP2_NO_ERROR);
}

static void destroy(struct http_session *base) {
    struct http2 *h = http2_of(base);
    nghttp2_session_del(h->ng);
    free(h);
}

static enum http_version version(const struct http_session *base) {
    (void)base;
    return HTTP_2;
}

const struct session_ops HTTP2_OPS = {
    .version = version,
    .room = http2_room,
    .request = http2_request,
    .free = destroy,
    .feed = feed,
    .drain = drain,
    .wants_write = wants_write,
    .wants_close = wants_close,
    .wants_read = always,
    .head = head,
    .eof = eof,
    .shutdown = http2_shutdown,
    .respond = http2_respond,
    .upgrade = http2_upgrade,
    .queued = http2_queued,
    .reset = http2_reset,
    .consume = http2_consume,
    .keep = http2_keep,
    .keep_end = http2_keep_end,
};

// ---- nghttp2's memory, from the pool; it does not tell the size when it frees

struct piece {
    size_t size;
    unsigned class;
    _Alignas(16) char bytes[];
};

static struct piece *piece_of(void *bytes) {
    return (struct piece *)((char *)bytes - offsetof(struct piece, bytes));
}

static void *mem_malloc(size_t size, void *user) {
    (void)user;
    if (size > SIZE_MAX - sizeof(struct piece)) return NULL;
    unsigned class = pool_class(sizeof(struct piece) + size);
    struct piece *piece = pool_take(class, sizeof *piece + size);
    if (piece == NULL) return NULL;
    piece->size = size;
    piece->class = class;
    return piece->bytes;
}

static void mem_free(void *p, void *user) {
    (void)user;
    if (p != NULL) pool_give(piece_of(p), piece_of(p)->class);
}

static void *mem_calloc(size_t n, size_t size, void *user) {
    if (size > 0 && n > SIZE_MAX / size) return NULL;
    void *p = mem_malloc(n * size, user);
    return p == NULL ? NULL : memset(p, 0, n * size);
}

static void *mem_realloc(void *p, size_t size, void *user) {
    void *grown = mem_malloc(size, user);
    if (grown == NULL || p == NULL) return grown;
    size_t n = piece_of(p)->size;
    memcpy(grown, p, n < size ? n : size);
    mem_free(p, user);
    return grown;
}

static nghttp2_mem memory = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};

// ---- making one

static int set_callbacks(nghttp2_session_callbacks **out) {
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c) != 0) return -STATUS_RESOURCE_EXHAUSTED;
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, http2_guard_begin);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    *out = c;
    return 0;
}

static int make_session(struct http2 *h) {
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int rc = set_callbacks(&callbacks);
    if (rc == 0 && nghttp2_option_new(&option) != 0) rc = -STATUS_RESOURCE_EXHAUSTED;
    if (rc == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
        rc = h->base.server ? nghttp2_session_server_new3(&h->ng, callbacks, h, option, &memory)
                            : nghttp2_session_client_new3(&h->ng, callbacks, h, option, &memory);
        rc = http2_error(rc);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc;
}

static int submit_settings(struct http2 *h) {
    const struct http_limits *l = &h->base.limits;
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)l->window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)l->header_bytes},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->streams},
        // Plain queues instead of RFC 7540's tree of priorities.
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}, // RFC 8441; the server's to say
    };
    size_t count = sizeof entries / sizeof entries[0];
    if (!h->base.server) {
        entries[2] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
        count--;
    }
    int rc = nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, entries, count);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0,
                                                   (int32_t)l->connection_window);
    return http2_error(rc);
}

static struct http_session *http2_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user, bool server) {
    struct http2 *h = calloc(1, sizeof *h);
    if (h == NULL) return NULL;
    session_init(&h->base, &HTTP2_OPS, events, limits, user);
    h->base.server = server;
    abuse_budgets_init(&h->budgets);
    if (server) http2_recv_begin(h);
    if (make_session(h) < 0 || submit_settings(h) < 0) {
        nghttp2_session_del(h->ng);
        free(h);
        return NULL;
    }
    return &h->base;
}

struct http_session *http2_server_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user) {
    return http2_new(events, limits, user, true);
}

struct http_session *http2_client_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user) {
    return http2_new(events, limits, user, false);
}
