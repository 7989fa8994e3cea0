// SPDX-License-Identifier: Apache-2.0
// An HTTP/1 server session: two bytes that choose how it answers and how the bytes come, then what the peer sends. Every stream
// that has begun ends, and in pieces the same requests are seen as in one.
#include "fuzz.h"

#include "net/recorder.h"

#include "net/http1.h"

enum {
    ANSWER_AT_HEAD = 1,
    ANSWER_LATE = 2,
    ANSWER_TRAILERS = 4,
    HOLD_DATA = 8,
    SHUT_DOWN = 16,
    UPGRADE = 32
};

static uint8_t ways;

static void answer(struct http_stream *s) {
    static const struct http_header TYPE[] = {{{"content-type", 12}, {"text/plain", 10}},
                                              {{"content-length", 14}, {"5", 1}}};
    static const struct http_header TRAILER[] = {{{"x-sum", 5}, {"9", 1}}};
    bool trailers = (ways & ANSWER_TRAILERS) != 0;
    if (http_respond(s, 200, TYPE, trailers ? 1 : 2, false) != 0) return;
    http_send(s, str_of("hello"));
    http_finish(s, trailers ? TRAILER : NULL, trailers ? 1 : 0);
}

static void on_head(struct recorder *r, struct http_stream *s) {
    (void)r;
    if ((ways & UPGRADE) && s->upgrade.n > 0) {
        must(http_upgrade(s, NULL, 0) == 0 && http_send(s, str_of("hello")) == 0);
    } else if (ways & ANSWER_AT_HEAD) {
        answer(s);
    }
}

static void on_end(struct recorder *r, struct http_stream *s) {
    (void)r;
    if ((ways & (ANSWER_AT_HEAD | ANSWER_LATE)) == 0) answer(s);
}

static void drain(struct http_session *h, struct buf *out) {
    for (int i = 0; i < 1000 && http_wants_write(h); i++) must(http_drain(h, out, 64) == 0);
    must(!http_wants_write(h));
}

// What was seen; `out` becomes what was answered. Negative: refused.
static int run(struct recorder *r, struct str bytes, size_t piece, struct buf *out) {
    *r = (struct recorder){.on_head = on_head, .on_end = on_end, .hold = (ways & HOLD_DATA) != 0};
    struct http_session *h = http1_server_new(&RECORDER_EVENTS, NULL, r);
    must(h != NULL);
    int rc = 0;
    while (bytes.n > 0 && rc == 0 && !http_wants_close(h)) {
        struct str part = {bytes.p, bytes.n < piece ? bytes.n : piece};
        char *copy = input_copy(part);
        rc = http_feed(h, (struct str){copy, part.n});
        free(copy);
        if ((ways & ANSWER_LATE) && r->last != NULL && r->last->remote_ended) answer(r->last);
        drain(h, out);
        bytes.p += part.n;
        bytes.n -= part.n;
        if (r->last != NULL) http_consume(r->last, stream_of(r->last)->unconsumed);
    }
    if (ways & SHUT_DOWN) http_shutdown(h);
    drain(h, out);
    if (rc == 0) h->ops->eof(h);
    drain(h, out);
    http_session_delete(h);
    must(r->heads == r->closes);
    return rc;
}

static bool told_fault(struct buf *out) {
    return strstr(buf_cstr(out), "HTTP/1.1 4") != NULL ||
           strstr(buf_cstr(out), "HTTP/1.1 5") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    struct recorder whole, pieces;
    struct buf out = {0}, out_pieces = {0};
    ways = input_byte(&in);
    size_t piece = 1 + input_byte(&in) % 32;
    struct str bytes = input_rest(&in);
    int rc = run(&whole, bytes, bytes.n, &out);
    run(&pieces, bytes, piece, &out_pieces);
    // With answers that come before or after the end of a request, the rest meets another state. After a fault, what came
    // with it may be seen or not, and of two faults either may be told.
    if (rc == 0 && (ways & (ANSWER_AT_HEAD | ANSWER_LATE)) == 0 && !told_fault(&out)) {
        must(whole.heads == pieces.heads && whole.ends == pieces.ends);
        must(str_equal(buf_str(&whole.log), buf_str(&pieces.log)));
        must(str_equal(buf_str(&out), buf_str(&out_pieces)));
    }
    buf_free(&whole.log);
    buf_free(&pieces.log);
    buf_free(&out);
    buf_free(&out_pieces);
    return 0;
}
