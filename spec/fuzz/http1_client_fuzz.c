// SPDX-License-Identifier: Apache-2.0
// An HTTP/1 client session: two bytes that choose what is asked and how the bytes come, then what the backend sends. Every
// request that has begun ends, what follows an answer is never taken for another one, and in pieces the same is seen as in one.
#include "fuzz.h"

#include "net/recorder.h"

#include "net/http1.h"

enum {
    HEAD_METHOD = 1,
    BODY = 2,
    UPGRADE = 4,
    HOLD_DATA = 8,
    END_OF_BACKEND = 16,
    RESET_AT_HEAD = 32
};

static uint8_t ways;

static void on_head(struct recorder *r, struct http_stream *s) {
    (void)r;
    must(s->status == 101 ? (ways & UPGRADE) != 0 : s->status >= 200 && s->status <= 599);
    if (ways & RESET_AT_HEAD) http_reset(s, 0);
}

static void drain(struct http_session *h, struct buf *out) {
    for (int i = 0; i < 1000 && http_wants_write(h); i++) must(http_drain(h, out, 64) == 0);
    must(!http_wants_write(h));
}

static void ask(struct http_session *h) {
    static const struct http_header SOCKET = {{"upgrade", 7}, {"websocket", 9}};
    bool upgrade = (ways & (UPGRADE | BODY)) == UPGRADE;
    struct http_stream *s =
        http_request(h, str_of(ways & HEAD_METHOD ? "HEAD" : "GET"), str_of("http"), str_of("b"),
                     str_of("/"), &SOCKET, upgrade, !(ways & BODY), NULL);
    must(s != NULL);
    if ((ways & BODY) == 0) return;
    must(http_send(s, str_of("hello")) == 0);
    must(http_finish(s, NULL, 0) == 0);
}

static int run(struct recorder *r, struct str bytes, size_t piece) {
    struct buf out = {0};
    *r = (struct recorder){.on_head = on_head, .hold = (ways & HOLD_DATA) != 0};
    struct http_session *h = http1_client_new(&RECORDER_EVENTS, NULL, r);
    must(h != NULL);
    int rc = 0;
    unsigned asked = 0;
    while (bytes.n > 0 && rc == 0 && !http_wants_close(h)) {
        if (http_room(h) == HTTP_ROOM_FREE) {
            ask(h);
            asked++;
            drain(h, &out);
        }
        struct str part = {bytes.p, bytes.n < piece ? bytes.n : piece};
        char *copy = input_copy(part);
        rc = http_feed(h, (struct str){copy, part.n});
        free(copy);
        drain(h, &out);
        must(r->heads <= asked && r->closes <= asked);
        bytes.p += part.n;
        bytes.n -= part.n;
        if (r->last != NULL) http_consume(r->last, stream_of(r->last)->unconsumed);
    }
    if (rc == 0 && (ways & END_OF_BACKEND)) h->ops->eof(h);
    drain(h, &out);
    must((rc < 0) == (http_fault(h)[0] != '\0'));
    http_session_delete(h);
    must(r->closes == asked);
    buf_free(&out);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    struct recorder whole, pieces;
    ways = input_byte(&in);
    size_t piece = 1 + input_byte(&in) % 32;
    struct str bytes = input_rest(&in);
    int rc = run(&whole, bytes, bytes.n);
    int rc_pieces = run(&pieces, bytes, piece);
    // In one piece all is behind the first answer; in pieces a second request may be there for what comes later.
    if (whole.ends == 0 && !(ways & RESET_AT_HEAD)) {
        must(rc == rc_pieces);
        must(str_equal(buf_str(&whole.log), buf_str(&pieces.log)));
    }
    buf_free(&whole.log);
    buf_free(&pieces.log);
    return 0;
}
