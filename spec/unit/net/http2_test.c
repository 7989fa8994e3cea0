// SPDX-License-Identifier: Apache-2.0
// HTTP/2 sessions as pure functions: a server and a client connected back to back through buffers,
// and a server that is fed hand-made frames of a hostile client.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/recorder.h"

#include <stdlib.h>

struct pair {
    struct recorder sr, cr; // server's and client's
    struct http_session *server, *client;
    size_t cut;   // bytes are fed in pieces of at most this size
    size_t drain; // and drained so
};

static void pair_begin(struct pair *p, const struct http_limits *server,
                       const struct http_limits *client) {
    *p = (struct pair){.cut = 100000, .drain = 100000};
    p->server = http2_server_new(&RECORDER_EVENTS, server, &p->sr);
    p->client = http2_client_new(&RECORDER_EVENTS, client, &p->cr);
    assert_non_null(p->server);
    assert_non_null(p->client);
}

static bool move(struct pair *p, struct http_session *from, struct http_session *to) {
    struct buf out = {0};
    assert_int_equal(http_drain(from, &out, p->drain), 0);
    for (size_t at = 0; at < out.n;) {
        size_t n = out.n - at < p->cut ? out.n - at : p->cut;
        char *copy = malloc(n);
        memcpy(copy, buf_p(&out) + at, n);
        assert_int_equal(http_feed(to, (struct str){copy, n}), 0);
        free(copy);
        at += n;
    }
    bool moved = out.n > 0;
    buf_free(&out);
    return moved;
}

// Until both are silent.
static void pump(struct pair *p) {
    bool more = true;
    while (more) {
        bool a = move(p, p->client, p->server);
        bool b = move(p, p->server, p->client);
        more = a || b || http_wants_write(p->client) || http_wants_write(p->server);
        if (!a && !b) break;
    }
}

static void pair_end(struct pair *p) {
    http_session_delete(p->server);
    http_session_delete(p->client);
    assert_int_equal(p->sr.heads, p->sr.closes);
    buf_free(&p->sr.log);
    buf_free(&p->cr.log);
}

static struct http_stream *request(struct pair *p, const char *path, bool end) {
    struct http_header te = {str_of("TE"), str_of("trailers")};
    return http_request(p->client, str_of("POST"), str_of("http"), str_of("host"), str_of(path),
                        &te, 1, end, &p->cr);
}

static const struct http_header OK_TRAILERS[] = {{{"grpc-status", 11}, {"0", 1}}};
static const struct http_header GRPC[] = {{{"Content-Type", 12}, {"application/grpc", 16}},
                                          {{"Connection", 10}, {"close", 5}}};

static void answer(struct recorder *r, struct http_stream *s) {
    (void)r;
    assert_int_equal(http_respond(s, 200, GRPC, 2, false), 0);
    assert_int_equal(http_send(s, str_of("hello ")), 0);
    assert_int_equal(http_send_blob(s, blob_new("world", 5)), 0);
    assert_int_equal(http_finish(s, OK_TRAILERS, 1), 0);
}

// ---- exchanges

static void unary(size_t cut, size_t drain) {
    struct pair p;
    pair_begin(&p, NULL, NULL);
    p.cut = cut;
    p.drain = drain;
    p.sr.on_end = answer;
    struct http_stream *s = request(&p, "/a", false);
    assert_non_null(s);
    struct http_header t = {str_of("x-sum"), str_of("9")};
    assert_int_equal(http_send(s, str_of("body")), 0);
    assert_int_equal(http_finish(s, &t, 1), 0);
    pump(&p);
    assert_string_equal(buf_cstr(&p.sr.log),
                        "head POST /a at host te=trailers\ndata body\nend x-sum=9\nclosed done\n");
    assert_string_equal(buf_cstr(&p.cr.log), "head 200 content-type=application/grpc\ndata hello "
                                             "world\nend grpc-status=0\nclosed done\n");
    assert_int_equal(http_open_streams(p.server), 0);
    assert_int_equal(http_open_streams(p.client), 0);
    pair_end(&p);
}

static void test_unary_in_all_pieces(void **state) {
    (void)state;
    for (size_t cut = 1; cut < 120; cut++) unary(cut, 100000);
    for (size_t drain = 1; drain < 200; drain += 7) unary(1000, drain);
}

static void trailers_only(struct recorder *r, struct http_stream *s) {
    (void)r;
    assert_int_equal(http_respond(s, 200, OK_TRAILERS, 1, true), 0);
}

static void test_trailers_only(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    p.sr.on_end = trailers_only;
    assert_non_null(request(&p, "/a", true));
    pump(&p);
    assert_string_equal(buf_cstr(&p.cr.log), "head 200 grpc-status=0\nend\nclosed done\n");
    pair_end(&p);
}

static void test_trailers_after_a_pause(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    assert_non_null(request(&p, "/a", true));
    pump(&p);
    struct http_stream *s = p.sr.last;
    assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
    pump(&p);
    assert_int_equal(p.cr.heads, 1); // the head does not wait for a body
    assert_int_equal(http_send(s, str_of("x")), 0);
    pump(&p);
    assert_int_equal(p.cr.data, 1);
    assert_int_equal(http_finish(s, OK_TRAILERS, 1), 0);
    pump(&p);
    assert_string_equal(buf_cstr(&p.cr.log), "head 200\ndata x\nend grpc-status=0\nclosed done\n");
    pair_end(&p);
}

static void test_empty_body_without_trailers(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    struct http_stream *c = request(&p, "/a", false);
    pump(&p);
    assert_int_equal(p.sr.ends, 0);
    assert_int_equal(http_finish(c, NULL, 0), 0);
    pump(&p);
    assert_int_equal(p.sr.ends, 1);
    assert_int_equal(http_respond(p.sr.last, 204, NULL, 0, false), 0);
    pump(&p);
    assert_string_equal(buf_cstr(&p.cr.log), "head 204\nend\nclosed done\n");
    pair_end(&p);
}

static void test_thousands_of_streams(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    p.sr.on_end = answer;
    unsigned sent = 0;
    while (p.cr.closes < 5000) {
        while (sent < 5000 && request(&p, "/a", true) != NULL) sent++;
        assert_in_range(http_open_streams(p.client), 1, 128);
        pump(&p);
    }
    assert_int_equal(p.sr.heads, 5000);
    assert_int_equal(p.cr.ends, 5000);
    assert_int_equal(p.cr.why, HTTP_CLOSE_DONE);
    pair_end(&p);
}

// ---- flow control

static void echo_all(struct recorder *r, struct http_stream *s) {
    (void)r;
    char piece[10000];
    memset(piece, 'y', sizeof piece);
    assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(http_send(s, (struct str){piece, sizeof piece}), 0);
    assert_int_equal(http_finish(s, OK_TRAILERS, 1), 0);
}

static void test_tiny_windows(void **state) {
    (void)state;
    struct http_limits tiny = HTTP_LIMITS;
    tiny.window = 100;
    tiny.connection_window = 65535;
    struct pair p;
    pair_begin(&p, &tiny, &tiny);
    p.sr.on_end = echo_all;
    struct http_stream *s = request(&p, "/a", false);
    char piece[30000];
    memset(piece, 'x', sizeof piece);
    assert_int_equal(http_send(s, (struct str){piece, sizeof piece}), 0);
    assert_int_equal(http_finish(s, NULL, 0), 0);
    pump(&p);
    assert_int_equal(p.sr.data, 30000);
    assert_int_equal(p.cr.data, 200000);
    assert_int_equal(p.cr.why, HTTP_CLOSE_DONE);
    pair_end(&p);
}

static void test_unconsumed_stalls_one_stream_only(void **state) {
    (void)state;
    struct http_limits limits = HTTP_LIMITS;
    limits.window = 70000;
    limits.connection_window = 200000;
    struct pair p;
    pair_begin(&p, &limits, NULL);
    pump(&p); // the server's window is known
    p.sr.hold = true;
    struct http_stream *slow = request(&p, "/slow", false);
    char piece[100000];
    memset(piece, 'x', sizeof piece);
    assert_int_equal(http_send(slow, (struct str){piece, sizeof piece}), 0);
    pump(&p);
    assert_int_equal(p.sr.held, 70000);
    assert_int_equal(http_queued(slow), 30000);
    struct http_stream *at_server = p.sr.last;
    p.sr.hold = false;
    p.sr.on_end = answer;
    for (int i = 0; i < 10; i++) {
        struct http_stream *fast = request(&p, "/fast", false);
        assert_int_equal(http_send(fast, (struct str){piece, sizeof piece}), 0);
        assert_int_equal(http_finish(fast, NULL, 0), 0);
        pump(&p);
    }
    assert_int_equal(p.cr.closes, 10);
    assert_int_equal(http_queued(slow), 30000);
    http_consume(at_server, p.sr.held);
    pump(&p);
    assert_int_equal(http_queued(slow), 0);
    pair_end(&p);
}

// What a stream did not consume when it ended must not be lost to the connection.
static void test_windows_come_back_from_dead_streams(void **state) {
    (void)state;
    struct http_limits limits = HTTP_LIMITS;
    limits.connection_window = 100000;
    struct pair p;
    pair_begin(&p, &limits, NULL);
    p.sr.hold = true;
    char piece[60000];
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 20; i++) {
        size_t before = p.sr.data;
        struct http_stream *s = request(&p, "/a", false);
        assert_int_equal(http_send(s, (struct str){piece, sizeof piece}), 0);
        pump(&p);
        assert_int_equal(p.sr.data - before, 60000);
        if (i % 2 == 0) {
            http_reset(s, 8);
        } else {
            http_reset(p.sr.last, 8);
        }
        pump(&p);
        assert_int_equal(http_open_streams(p.server), 0);
    }
    pair_end(&p);
}

static void test_writable(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    p.drain = 20000;
    assert_non_null(request(&p, "/a", true));
    pump(&p);
    struct http_stream *s = p.sr.last;
    assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
    struct blob *big = blob_new(NULL, 200000);
    memset(big->p, 'z', big->n);
    assert_int_equal(http_send_blob(s, blob_hold(big)), 0);
    assert_int_equal(http_queued(s), 200000);
    struct buf out = {0};
    assert_int_equal(http_drain(p.server, &out, 20000), 0);
    assert_in_range(out.n, 20000, 20000 + 16400 + 100); // about what was asked for
    assert_int_equal(http_feed(p.client, buf_str(&out)), 0);
    buf_free(&out);
    assert_int_equal(p.sr.writables, 0);
    pump(&p);
    assert_int_equal(p.sr.writables, 1);
    assert_int_equal(p.cr.data, 200000);
    blob_drop(big);
    pair_end(&p);
}

// ---- ends

static void test_answer_before_the_request_ends(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    p.sr.on_head = answer;
    struct http_stream *s = request(&p, "/a", false);
    assert_int_equal(http_send(s, str_of("some")), 0);
    pump(&p);
    assert_string_equal(buf_cstr(&p.cr.log), "head 200 content-type=application/grpc\ndata hello "
                                             "world\nend grpc-status=0\nclosed done\n");
    assert_int_equal(p.sr.why, HTTP_CLOSE_DONE);
    assert_int_equal(http_open_streams(p.server), 0);
    pair_end(&p);
}

static void test_resets(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    struct http_stream *s = request(&p, "/a", true);
    pump(&p);
    http_reset(s, 8);
    pump(&p);
    assert_int_equal(p.sr.why, HTTP_CLOSE_PEER);
    assert_int_equal(p.cr.why, HTTP_CLOSE_LOCAL);
    // The server's, in the middle of an answer.
    assert_non_null(request(&p, "/b", true));
    pump(&p);
    s = p.sr.last;
    assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
    assert_int_equal(http_send(s, str_of("x")), 0);
    pump(&p);
    http_reset(s, 2);
    http_reset(s, 2);
    assert_int_equal(http_send(s, str_of("y")), -STATUS_CANCELLED);
    pump(&p);
    assert_int_equal(p.sr.why, HTTP_CLOSE_LOCAL);
    assert_int_equal(p.cr.why, HTTP_CLOSE_PEER);
    // One that was never sent.
    s = request(&p, "/c", true);
    http_reset(s, 8);
    pump(&p);
    assert_int_equal(p.sr.heads, 2);
    assert_int_equal(p.cr.closes, 3);
    assert_int_equal(p.cr.why, HTTP_CLOSE_LOCAL);
    // Refused by the server.
    assert_non_null(request(&p, "/d", true));
    pump(&p);
    http_reset(p.sr.last, 7);
    pump(&p);
    assert_int_equal(p.cr.why, HTTP_CLOSE_REFUSED);
    pair_end(&p);
}

static void test_delete_ends_streams(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    for (int i = 0; i < 10; i++) assert_non_null(request(&p, "/a", false));
    pump(&p);
    assert_int_equal(http_open_streams(p.server), 10);
    pair_end(&p);
    assert_int_equal(p.sr.closes, 10);
    assert_int_equal(p.cr.closes, 10);
    assert_int_equal(p.sr.why, HTTP_CLOSE_PEER);
}

static void test_shutdown(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    assert_non_null(request(&p, "/a", true));
    pump(&p);
    struct http_stream *s = p.sr.last;
    http_shutdown(p.server);
    // Sent before the client knows: it must still be served (that is what the notice is for).
    assert_non_null(request(&p, "/b", true));
    pump(&p);
    assert_int_equal(p.sr.heads, 2);
    assert_null(request(&p, "/c", true));
    assert_false(http_wants_close(p.server));
    answer(&p.sr, s);
    answer(&p.sr, p.sr.last);
    pump(&p);
    assert_int_equal(p.cr.ends, 2);
    assert_true(http_wants_close(p.server));
    assert_true(http_wants_close(p.client));
    pair_end(&p);
    // And of the client.
    pair_begin(&p, NULL, NULL);
    p.sr.on_end = answer;
    assert_non_null(request(&p, "/a", true));
    http_shutdown(p.client);
    assert_null(request(&p, "/b", true));
    pump(&p);
    assert_int_equal(p.cr.closes, 1);
    assert_true(http_wants_close(p.client));
    pair_end(&p);
}

// ---- limits

static void test_stream_limit_of_the_peer(void **state) {
    (void)state;
    struct http_limits few = HTTP_LIMITS;
    few.streams = 3;
    struct pair p;
    pair_begin(&p, &few, NULL);
    pump(&p);
    for (int i = 0; i < 3; i++) assert_non_null(request(&p, "/a", true));
    assert_null(request(&p, "/a", true));
    pump(&p);
    assert_int_equal(p.sr.heads, 3);
    answer(&p.sr, p.sr.last);
    pump(&p);
    assert_non_null(request(&p, "/a", true));
    pair_end(&p);
}

static void test_too_many_before_settings_are_refused(void **state) {
    (void)state;
    struct http_limits few = HTTP_LIMITS;
    few.streams = 3;
    struct pair p;
    pair_begin(&p, &few, NULL);
    for (int i = 0; i < 5; i++) assert_non_null(request(&p, "/a", true));
    pump(&p);
    assert_int_equal(p.sr.heads, 3);
    assert_int_equal(p.cr.closes, 2);
    assert_int_equal(p.cr.why, HTTP_CLOSE_REFUSED); // safe to send again
    pair_end(&p);
}

static void test_header_limit(void **state) {
    (void)state;
    struct http_limits small = HTTP_LIMITS;
    small.header_bytes = 1000;
    struct pair p;
    pair_begin(&p, &small, NULL);
    p.sr.on_end = answer;
    char value[3000];
    memset(value, 'v', sizeof value);
    for (size_t n = 500; n <= 3000; n += 2500) {
        struct http_header h = {str_of("x"), {value, n}};
        assert_non_null(http_request(p.client, str_of("GET"), str_of("http"), str_of("h"),
                                     str_of("/"), &h, 1, true, &p.cr));
        pump(&p);
    }
    assert_int_equal(p.sr.heads, 1); // the second never came up
    assert_int_equal(p.cr.closes, 2);
    assert_int_equal(p.cr.why, HTTP_CLOSE_PEER);
    assert_non_null(request(&p, "/still-alive", true));
    pump(&p);
    assert_int_equal(p.cr.why, HTTP_CLOSE_DONE);
    pair_end(&p);
}

static void test_arguments_are_checked(void **state) {
    (void)state;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    struct http_header bad = {str_of("x"), str_of("a\nb")};
    struct http_session *c = p.client;
    struct str get = str_of("GET"), http = str_of("http"), host = str_of("h");
    assert_null(http_request(c, get, http, host, str_of("/"), &bad, 1, true, NULL));
    assert_null(http_request(c, get, http, host, str_of("/\r\n"), NULL, 0, true, NULL));
    assert_null(http_request(p.server, get, http, host, str_of("/"), NULL, 0, true, NULL));
    assert_int_equal(http_open_streams(c), 0);
    pair_end(&p);
}

// ---- hostile peers

static void put_frame(struct buf *b, unsigned type, unsigned flags, uint32_t id, const void *bytes,
                      size_t n) {
    unsigned char head[9] = {
        (unsigned char)(n >> 16),  (unsigned char)(n >> 8),  (unsigned char)n,
        (unsigned char)type,       (unsigned char)flags,     (unsigned char)(id >> 24),
        (unsigned char)(id >> 16), (unsigned char)(id >> 8), (unsigned char)id};
    buf_append(b, head, 9);
    buf_append(b, bytes, n);
}

static void put_preface(struct buf *b) {
    buf_append_text(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(b, 4, 0, 0, NULL, 0);
}

// :method GET, :scheme http, :path /, :authority a
static const unsigned char GET_BLOCK[] = {0x82, 0x86, 0x84, 0x41, 0x01, 'a'};

static struct http_session *hostile_begin(struct recorder *r) {
    *r = (struct recorder){0};
    struct http_session *h = http2_server_new(&RECORDER_EVENTS, NULL, r);
    assert_non_null(h);
    return h;
}

// Feeds and drains; true while the session lives.
static bool attack(struct http_session *h, struct buf *in) {
    int rc = http_feed(h, buf_str(in));
    in->n = 0;
    struct buf out = {0};
    while (http_wants_write(h)) {
        size_t before = out.n;
        if (http_drain(h, &out, 65536) < 0 || out.n == before) break;
    }
    buf_free(&out);
    return rc == 0 && !http_wants_close(h);
}

static void hostile_end(struct http_session *h, struct recorder *r, struct buf *in) {
    http_session_delete(h);
    assert_int_equal(r->heads, r->closes);
    buf_free(&r->log);
    buf_free(in);
}

static void test_rapid_reset(void **state) {
    (void)state;
    struct recorder r;
    struct buf in = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    int n = 0;
    while (attack(h, &in) && n < 5000) {
        uint32_t id = (uint32_t)n++ * 2 + 1;
        put_frame(&in, 1, 5, id, GET_BLOCK, sizeof GET_BLOCK);
        put_frame(&in, 3, 0, id, "\0\0\0\x08", 4);
    }
    assert_in_range(n, 150, 400);
    hostile_end(h, &r, &in);
}

// gRPC's C library resets streams that it has not opened: see http2_recv.c. In pieces of every size.
static void test_resets_of_unopened_streams(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 60; piece++) {
        struct recorder r;
        struct buf all = {0}, in = {0};
        struct http_session *h = hostile_begin(&r);
        put_preface(&all);
        put_frame(&all, 3, 0, 3, "\0\0\0\x08", 4);
        put_frame(&all, 1, 5, 1, GET_BLOCK, sizeof GET_BLOCK);
        put_frame(&all, 3, 0, 5, "\0\0\0\x08", 4);
        put_frame(&all, 3, 0, 7, "\0\0\0\x08", 4);
        put_frame(&all, 1, 5, 5, GET_BLOCK, sizeof GET_BLOCK); // it may be opened afterwards
        put_frame(&all, 3, 0, 5, "\0\0\0\x08", 4);             // and that one counts
        for (size_t at = 0; at < all.n; at += piece) {
            buf_append(&in, buf_p(&all) + at, piece < all.n - at ? piece : all.n - at);
            assert_true(attack(h, &in));
        }
        assert_int_equal(r.heads, 2);
        assert_int_equal(r.closes, 1);
        put_frame(&in, 3, 0, 9, "\0\0\0\x08\0",
                  5); // a frame that is malformed is nothing of that kind
        assert_false(attack(h, &in));
        buf_free(&all);
        hostile_end(h, &r, &in);
    }
    struct recorder r;
    struct buf in = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    int n = 0;
    while (attack(h, &in) && n < 5000) put_frame(&in, 3, 0, (uint32_t)n++ * 2 + 1, "\0\0\0\x08", 4);
    assert_in_range(n, 150, 400); // they are counted among the resets
    hostile_end(h, &r, &in);
}

static void test_made_to_reset(void **state) {
    (void)state;
    // A window update that overflows makes the server reset the stream (CVE-2025-8671).
    struct recorder r;
    struct buf in = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    int n = 0;
    while (attack(h, &in) && n < 5000) {
        uint32_t id = (uint32_t)n++ * 2 + 1;
        put_frame(&in, 1, 5, id, GET_BLOCK, sizeof GET_BLOCK);
        put_frame(&in, 8, 0, id, "\x7f\xff\xff\xff", 4);
    }
    assert_in_range(n, 200, 500);
    assert_in_range(r.heads, 200, 500);
    hostile_end(h, &r, &in);
}

static void test_many_small_headers(void **state) {
    (void)state;
    // 7,000 fields of one byte each, from the dynamic table: small on the wire, large in memory.
    struct recorder r;
    struct buf in = {0};
    struct buf block = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    buf_append(&block, GET_BLOCK, sizeof GET_BLOCK);
    buf_append(&block, "\x40\x01x\x00", 4); // adds "x: " to the table
    for (int i = 0; i < 7000; i++) buf_append_byte(&block, (char)0xbe);
    put_frame(&in, 1, 5, 1, buf_p(&block), block.n);
    assert_true(attack(h, &in));
    assert_int_equal(r.heads, 0);
    buf_free(&block);
    hostile_end(h, &r, &in);
}

// Gives the frame again and again; how often until the session was given up.
static int flood(unsigned type, unsigned flags, uint32_t id, const char *bytes, size_t size) {
    struct recorder r;
    struct buf in = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    put_frame(&in, 1, 4, 1, GET_BLOCK, sizeof GET_BLOCK);
    int n = 0;
    for (; n < 200000 && attack(h, &in); n += 10) {
        for (int i = 0; i < 10; i++) put_frame(&in, type, flags, id, bytes, size);
    }
    assert_false(http_wants_write(h));
    assert_int_equal(http_feed(h, str_of("x")), -STATUS_RESOURCE_EXHAUSTED);
    hostile_end(h, &r, &in);
    return n;
}

static void test_floods(void **state) {
    (void)state;
    assert_in_range(flood(6, 0, 0, "12345678", 8), 1000, 1500);     // PING
    assert_in_range(flood(4, 0, 0, NULL, 0), 90, 150);              // SETTINGS
    assert_in_range(flood(0, 0, 1, NULL, 0), 1000, 1500);           // empty DATA
    assert_in_range(flood(0, 8, 1, "\x03\0\0", 4), 1000, 1500);     // padding
    assert_in_range(flood(8, 0, 0, "\0\0\0\1", 4), 50000, 60000);   // WINDOW_UPDATE
    assert_in_range(flood(2, 0, 1, "\0\0\0\0\1", 5), 10000, 15000); // PRIORITY
    assert_in_range(flood(7, 0, 0, "\0\0\0\0\0\0\0\0", 8), 5, 30);  // GOAWAY
    assert_in_range(flood(0x42, 0, 0, "12345678", 8), 1024 * 1024 / 17 - 200, 70000); // unknown
}

// A session that is given up says GOAWAY and nothing else.
static void test_last_words(void **state) {
    (void)state;
    struct recorder r;
    struct buf in = {0}, out = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    for (int i = 0; i < 2000; i++) put_frame(&in, 6, 0, 0, "12345678", 8);
    assert_true(http_feed(h, buf_str(&in)) < 0);
    assert_int_equal(http_drain(h, &out, 65536), 0);
    assert_int_equal(out.n, 17);
    assert_memory_equal(buf_p(&out), "\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\x0b", 17);
    assert_true(http_wants_close(h));
    buf_free(&out);
    hostile_end(h, &r, &in);
}

static void test_bombs(void **state) {
    (void)state;
    struct recorder r;
    struct buf in = {0}, block = {0};
    struct http_session *h = hostile_begin(&r);
    put_preface(&in);
    buf_append(&block, GET_BLOCK, sizeof GET_BLOCK);
    buf_append(&block, "\x40\x01x\x00", 4); // adds "x: " to the table
    for (int i = 0; i < 12000; i++) buf_append_byte(&block, (char)0xbe);
    put_frame(&in, 1, 5, 1, buf_p(&block), block.n);
    assert_false(attack(h, &in));
    hostile_end(h, &r, &in);
    // Nothing but changes of the table's size before a small list.
    h = hostile_begin(&r);
    put_preface(&in);
    block.n = 0;
    for (int i = 0; i < 1000; i++) buf_append_byte(&block, 0x20);
    buf_append(&block, GET_BLOCK, sizeof GET_BLOCK);
    put_frame(&in, 1, 5, 1, buf_p(&block), block.n);
    assert_false(attack(h, &in));
    assert_int_equal(r.heads, 0);
    buf_free(&block);
    hostile_end(h, &r, &in);
}

// ---- kept bodies

static void keep_data(struct http_stream *s, struct str bytes) {
    recorder_of(s)->data += bytes.n;
    http_keep(s, bytes.n);
}

// Many bodies that are kept: together they stay under a bound, and the oldest can always go on.
static void test_kept_bodies(void **state) {
    (void)state;
    struct http_events keeping = RECORDER_EVENTS;
    keeping.data = keep_data;
    struct pair p;
    pair_begin(&p, NULL, NULL);
    http_session_delete(p.server);
    p.server = http2_server_new(&keeping, NULL, &p.sr);
    enum { BODIES = 50, SIZE = 400000 };
    struct http_stream *s[BODIES];
    char *bytes = calloc(1, SIZE);
    for (int i = 0; i < BODIES; i++) {
        s[i] = request(&p, "/keep", false);
        assert_non_null(s[i]);
        assert_int_equal(http_send(s[i], (struct str){bytes, SIZE}), 0);
    }
    pump(&p);
    // 2 MB and a window each, and the whole of the oldest.
    assert_in_range(p.sr.data, SIZE, 2 * 1024 * 1024 + BODIES * 65536 + SIZE);
    // Each that ends and is answered makes room, until all have come through.
    p.sr.on_end = answer;
    for (int i = 0; i < BODIES; i++) {
        assert_int_equal(http_finish(s[i], NULL, 0), 0);
        pump(&p);
    }
    assert_int_equal(p.sr.data, BODIES * SIZE);
    assert_int_equal(p.cr.closes, BODIES);
    assert_int_equal(p.cr.why, HTTP_CLOSE_DONE);
    free(bytes);
    pair_end(&p);
}

static void test_garbage(void **state) {
    (void)state;
    struct recorder r;
    struct buf in = {0};
    struct http_session *h = hostile_begin(&r);
    buf_append_text(&in, "GET / HTTP/1.1\r\nHost: not http2\r\n\r\n");
    assert_false(attack(h, &in));
    hostile_end(h, &r, &in);
    // Every mutation of a byte of a valid request.
    static const unsigned char BYTES[] = {0, 1, 3, 5, 9, 0x20, 0x7f, 0x80, 0xff};
    struct buf good = {0};
    put_preface(&good);
    put_frame(&good, 1, 4, 1, GET_BLOCK, sizeof GET_BLOCK);
    put_frame(&good, 0, 1, 1, "body", 4);
    put_frame(&good, 6, 0, 0, "12345678", 8);
    for (size_t at = 24; at < good.n; at++) {
        for (size_t b = 0; b < sizeof BYTES; b++) {
            h = hostile_begin(&r);
            r.on_end = answer;
            buf_append_str(&in, buf_str(&good));
            buf_p(&in)[at] = (char)BYTES[b];
            attack(h, &in);
            hostile_end(h, &r, &in);
        }
    }
    buf_free(&good);
}

static void test_invalid_requests(void **state) {
    (void)state;
    // Refused by nghttp2 (RFC 9113 section 8): upper case, a connection header, no path, a second
    // :path.
    static const struct {
        const char *bytes;
        size_t n;
    } BLOCKS[] = {
        {"\x82\x86\x84\x41\x01"
         "a\x00\x01X\x01y",
         11},
        {"\x82\x86\x84\x41\x01"
         "a\x00\x0a"
         "connection\x01y",
         20},
        {"\x82\x86\x41\x01"
         "a",
         5},
        {"\x82\x86\x84\x84\x41\x01"
         "a",
         7},
    };
    for (size_t i = 0; i < sizeof BLOCKS / sizeof BLOCKS[0]; i++) {
        struct recorder r;
        struct buf in = {0};
        struct http_session *h = hostile_begin(&r);
        put_preface(&in);
        put_frame(&in, 1, 5, 1, BLOCKS[i].bytes, BLOCKS[i].n);
        attack(h, &in);
        assert_int_equal(r.heads, 0);
        hostile_end(h, &r, &in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary_in_all_pieces),
        cmocka_unit_test(test_trailers_only),
        cmocka_unit_test(test_trailers_after_a_pause),
        cmocka_unit_test(test_empty_body_without_trailers),
        cmocka_unit_test(test_thousands_of_streams),
        cmocka_unit_test(test_tiny_windows),
        cmocka_unit_test(test_unconsumed_stalls_one_stream_only),
        cmocka_unit_test(test_windows_come_back_from_dead_streams),
        cmocka_unit_test(test_writable),
        cmocka_unit_test(test_answer_before_the_request_ends),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_delete_ends_streams),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_stream_limit_of_the_peer),
        cmocka_unit_test(test_too_many_before_settings_are_refused),
        cmocka_unit_test(test_header_limit),
        cmocka_unit_test(test_arguments_are_checked),
        cmocka_unit_test(test_rapid_reset),
        cmocka_unit_test(test_made_to_reset),
        cmocka_unit_test(test_resets_of_unopened_streams),
        cmocka_unit_test(test_many_small_headers),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_kept_bodies),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_invalid_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
