// SPDX-License-Identifier: Apache-2.0
// An HTTP/1 server session: two bytes that choose how it answers and how the bytes come, then what the peer sends. Every stream
// that has begun ends, and in pieces the same requests (pipelined ones, bodies that are decoded) are seen as in one, and get the same answers.
#include "fuzz.h"

#include "net/recorder.h"

#include "net/http1.h"

enum {
    ANSWER_AT_HEAD = 1,
    ANSWER_LATE = 2,
    ANSWER_TRAILERS = 4,
    HOLD_DATA = 8,
    SHUT_DOWN = 16,
    CODED = 32,
    UPGRADE = 64
};

static uint8_t ways;
static bool
    damaged; // a body was not what its content-encoding says: how much of it is told depends on the pieces
static struct encoders pool;

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
    damaged |= s->damaged;
    if ((ways & (ANSWER_AT_HEAD | ANSWER_LATE)) == 0) answer(s);
}

static void drain(struct http_session *h, struct buf *out) {
    for (int i = 0; i < 1000 && http_wants_write(h); i++) must(http_drain(h, out, 64) == 0);
    must(!http_wants_write(h));
}

// What was seen; `out` becomes what was answered. Negative: refused.
static int run(struct recorder *r, struct str bytes, size_t piece, struct buf *out) {
    *r = (struct recorder){.on_head = on_head, .on_end = on_end, .hold = (ways & HOLD_DATA) != 0};
    struct http_limits limits = HTTP_LIMITS;
    if (ways & CODED) {
        limits.decode = true;
        limits.compress_min = 1;
        limits.fields = 20;
    }
    struct http_session *h = http1_server_new(&RECORDER_EVENTS, &limits, r);
    must(h != NULL);
    h->encoders = &pool;
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
        pool.spent = 0; // whether there is time must not depend on the time
        if (r->last != NULL) {
            bool decoded = stream_of(r->last)->decode != NULL;
            http_consume(r->last, decoded ? SIZE_MAX : stream_of(r->last)->unconsumed);
        }
    }
    if (ways & SHUT_DOWN) http_shutdown(h);
    drain(h, out);
    if (rc == 0) h->ops->eof(h);
    drain(h, out);
    http_session_delete(h);
    must(r->heads == r->closes && pool.alive == 0);
    return rc;
}

static bool told_fault(struct buf *out) { // there may be compressed bodies in it
    return out->n > 0 && (memmem(buf_p(out), out->n, "HTTP/1.1 4", 10) != NULL ||
                          memmem(buf_p(out), out->n, "HTTP/1.1 5", 10) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    struct recorder whole, pieces;
    struct buf out = {0}, out_pieces = {0};
    ways = input_byte(&in);
    damaged = false;
    size_t piece = 1 + input_byte(&in) % 32;
    struct str bytes = input_rest(&in);
    int rc = run(&whole, bytes, bytes.n, &out);
    run(&pieces, bytes, piece, &out_pieces);
    // With answers that come before or after the end of a request, the rest meets another state. After a fault, what came
    // with it may be seen or not, and of two faults either may be told.
    if (rc == 0 && (ways & (ANSWER_AT_HEAD | ANSWER_LATE)) == 0 && !told_fault(&out) && !damaged) {
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
