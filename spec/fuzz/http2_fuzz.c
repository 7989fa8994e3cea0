// SPDX-License-Identifier: Apache-2.0
// An HTTP/2 session against a peer that sends frames: a byte that chooses the side and the manners, then records of
//
//   kind, flags, stream, length, that many bytes
//
// A kind below 10 is a frame of that type; from 0x40 a HEADERS frame with one of the header blocks below; from 0x80 the bytes as they
// are, without a frame; from 0xC0 something that our side does. The session comes with its preface and SETTINGS exchanged. Every stream
// that has begun ends.
#include "fuzz.h"

#include "net/recorder.h"

#include "net/http2.h"

enum { CLIENT = 1, ANSWER_AT_HEAD = 2, HOLD_DATA = 4, LONG_ANSWER = 8, NEVER_ANSWER = 16 };

static uint8_t ways;
static struct http_stream *opened[4]; // client side

static void answer(struct http_stream *s) {
    static const struct http_header TYPE[] = {{{"content-type", 12}, {"application/grpc", 16}}};
    static const struct http_header TRAILER[] = {{{"grpc-status", 11}, {"0", 1}}};
    static const char LONG[100000];
    if (http_respond(s, 200, TYPE, 1, false) != 0) return;
    http_send(s, (struct str){LONG, ways & LONG_ANSWER ? sizeof LONG : 5});
    http_finish(s, TRAILER, 1);
}

static void on_head(struct recorder *r, struct http_stream *s) {
    (void)r;
    if ((ways & (CLIENT | NEVER_ANSWER)) == 0 && (ways & ANSWER_AT_HEAD)) answer(s);
}

static void on_end(struct recorder *r, struct http_stream *s) {
    (void)r;
    if ((ways & (CLIENT | NEVER_ANSWER | ANSWER_AT_HEAD)) == 0) answer(s);
}

static void on_closed(struct http_stream *s, enum http_close why) {
    for (size_t i = 0; i < 4; i++) {
        if (opened[i] == s) opened[i] = NULL;
    }
    // A request that was not reported by `head` is known to us all the same.
    recorder_closed(s, why);
}

static const struct http_events EVENTS = {.head = recorder_head,
                                          .data = recorder_data,
                                          .end = recorder_end,
                                          .writable = recorder_writable,
                                          .closed = on_closed};

static void put_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t stream,
                      struct str payload) {
    const unsigned char head[9] = {(unsigned char)(payload.n >> 16),
                                   (unsigned char)(payload.n >> 8),
                                   (unsigned char)payload.n,
                                   type,
                                   flags,
                                   (unsigned char)(stream >> 24),
                                   (unsigned char)(stream >> 16),
                                   (unsigned char)(stream >> 8),
                                   (unsigned char)stream};
    buf_append(out, head, sizeof head);
    buf_append_str(out, payload);
}

// Header blocks from the static table: GET / with and without an authority, POST, 200, trailers, a name that is none.
static const struct {
    const char *p;
    size_t n;
} BLOCKS[] = {{"\x82\x86\x84\x41\x01h", 6},
              {"\x83\x86\x84", 3},
              {"\x88", 1},
              {"\x89", 1},
              {"\x40\x01x\x01y", 5},
              {"\x40\x01X\x01y", 5},
              {"\x82\x82", 2},
              {"\xbe", 1},
              {"\x48\x03"
               "100",
               5},
              {"\x5c\x01"
               "5",
               3},
              {"\x3f\xe1\x1f", 3},
              {"\x83\x86\x84\x5c\x01"
               "5",
               6}};

static void do_something(struct http_session *h, struct recorder *r, uint8_t what) {
    struct http_stream *s = ways & CLIENT ? opened[what % 4] : r->last;
    switch (what % 6) {
    case 0: http_shutdown(h); break;
    case 1:
        if (s != NULL) http_reset(s, what);
        break;
    case 2:
        if (s != NULL && (ways & CLIENT)) http_send(s, str_of("more"));
        break;
    case 3:
        if (s != NULL && (ways & CLIENT)) http_finish(s, NULL, 0);
        break;
    case 4:
        if (s != NULL && (ways & CLIENT) == 0) answer(s);
        break;
    default:
        if (r->last != NULL) http_consume(r->last, stream_of(r->last)->unconsumed / 2);
        break;
    }
}

static void next_bytes(struct input *in, struct buf *out, struct http_session *h,
                       struct recorder *r) {
    uint8_t kind = input_byte(in), flags = input_byte(in), stream = input_byte(in),
            length = input_byte(in);
    out->n = 0;
    if (kind >= 0xC0) {
        do_something(h, r, flags);
    } else if (kind >= 0x80) {
        buf_append_str(out, input_take(in, length));
    } else if (kind >= 0x40) {
        struct str block = {BLOCKS[kind % 12].p, BLOCKS[kind % 12].n};
        put_frame(out, 1, flags, stream, block);
    } else {
        put_frame(out, kind % 11, flags, stream, input_take(in, length));
    }
}

static void drain(struct http_session *h) {
    struct buf out = {0};
    for (int i = 0; i < 100 && http_wants_write(h); i++) {
        if (http_drain(h, &out, 1 << 16) != 0) break;
        out.n = 0;
    }
    buf_free(&out);
}

static struct http_session *begin(struct recorder *r) {
    static const struct http_limits FEW = {
        .header_bytes = 4096, .streams = 8, .window = 70000, .connection_window = 100000};
    bool client = (ways & CLIENT) != 0;
    struct http_session *h =
        client ? http2_client_new(&EVENTS, &FEW, r) : http2_server_new(&EVENTS, &FEW, r);
    must(h != NULL);
    struct buf hello = {0};
    if (!client) buf_append_text(&hello, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&hello, 4, 0, 0, (struct str){"", 0});
    put_frame(&hello, 4, 1, 0, (struct str){"", 0});
    drain(h);
    must(http_feed(h, buf_str(&hello)) == 0);
    buf_free(&hello);
    for (size_t i = 0; client && i < 4; i++)
        opened[i] = http_request(h, str_of("POST"), str_of("http"), str_of("host"), str_of("/a"),
                                 NULL, 0, i % 2 == 0, r);
    drain(h);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    ways = input_byte(&in);
    struct recorder r = {.on_head = on_head, .on_end = on_end, .hold = (ways & HOLD_DATA) != 0};
    memset(opened, 0, sizeof opened);
    struct http_session *h = begin(&r);
    struct buf out = {0};
    int rc = 0;
    while (in.n > 0 && rc == 0) {
        next_bytes(&in, &out, h, &r);
        if (out.n > 0) {
            char *copy = input_copy(buf_str(&out));
            rc = http_feed(h, (struct str){copy, out.n});
            free(copy);
        }
        drain(h);
        must(http_open_streams(h) <= 16);
    }
    buf_free(&out);
    http_session_delete(h);
    if ((ways & CLIENT) == 0) must(r.heads == r.closes);
    for (size_t i = 0; i < 4; i++) must(opened[i] == NULL);
    buf_free(&r.log);
    return 0;
}
