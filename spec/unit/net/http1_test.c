// SPDX-License-Identifier: Apache-2.0
// HTTP/1 sessions as pure functions: bytes in, events and bytes out. Each exchange is run once in
// one piece, once byte by byte and once for every place where the bytes can be cut in two; all runs
// must agree.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/recorder.h"
#include "net/session.h"

#include <stdlib.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD_200 "HTTP/1.1 200 OK\r\n"

static const struct http_header LENGTH_5 = {{"Content-Length", 14}, {"5", 1}};

// Answers by the path: what the tests need of a server.
static void answer(struct recorder *r, struct http_stream *s) {
    (void)r;
    if (str_is(s->path, "/late")) return; // the test answers
    if (str_is(s->path, "/none")) {
        assert_int_equal(http_respond(s, 204, NULL, 0, true), 0);
    } else if (str_is(s->path, "/chunks")) {
        struct http_header t = {str_of("x-sum"), str_of("7")};
        assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
        assert_int_equal(http_send(s, str_of("hello ")), 0);
        assert_int_equal(http_send_blob(s, blob_new("world", 5)), 0);
        assert_int_equal(http_finish(s, &t, 1), 0);
    } else if (str_is(s->path, "/parts")) { // of blobs: one that is copied, one that is not
        struct blob *big = blob_new(NULL, 5000);
        for (size_t i = 0; i < big->n; i++) big->p[i] = (char)('a' + i % 26);
        assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
        assert_int_equal(http_send_part(s, blob_new("hello", 5), 1, 3), 0);
        assert_int_equal(http_send_part(s, blob_hold(big), 26, 2600), 0);
        assert_int_equal(http_send_part(s, big, 5000, 0), 0);
        assert_int_equal(http_finish(s, NULL, 0), 0);
    } else if (str_is(s->path, "/empty")) {
        assert_int_equal(http_respond(s, 200, NULL, 0, true), 0);
    } else {
        assert_int_equal(http_respond(s, 200, &LENGTH_5, 1, false), 0);
        assert_int_equal(http_send(s, str_of("hello")), 0);
        assert_int_equal(http_finish(s, NULL, 0), 0);
    }
}

static void early(struct recorder *r, struct http_stream *s) {
    static const struct http_header MORE = {{"x-more", 6}, {"1", 1}};
    if (str_is(s->path, "/tunnel")) {
        bool asked = s->upgrade.n > 0;
        assert_int_equal(http_upgrade(s, &MORE, 1), asked ? 0 : -STATUS_FAILED_PRECONDITION);
        if (asked) assert_int_equal(http_send(s, str_of("first")), 0);
    }
    if (str_starts(s->path, "/early")) answer(r, s);
}

static void late(struct recorder *r, struct http_stream *s) {
    if (!str_starts(s->path, "/early")) answer(r, s);
}

struct run {
    struct recorder r;
    struct buf out;
    struct http_session *h;
    int rc;
};

static void run_begin(struct run *run, const struct http_limits *limits) {
    *run = (struct run){.r = {.on_head = early, .on_end = late}};
    run->h = http1_server_new(&RECORDER_EVENTS, limits, &run->r);
    assert_non_null(run->h);
}

static void run_feed(struct run *run, const char *p, size_t n) {
    // A copy of exactly that size, so that the sanitizer sees any reading beyond it.
    char *copy = malloc(n == 0 ? 1 : n);
    memcpy(copy, p, n);
    int rc = http_feed(run->h, (struct str){copy, n});
    free(copy);
    if (rc < 0) run->rc = rc;
    while (http_wants_write(run->h)) assert_int_equal(http_drain(run->h, &run->out, 4096), 0);
}

static void run_end(struct run *run) {
    http_session_delete(run->h);
    assert_int_equal(run->r.heads, run->r.closes);
    buf_free(&run->r.log);
    buf_free(&run->out);
}

static void same(struct run *run, struct buf *log, struct buf *out, bool close) {
    assert_string_equal(buf_cstr(&run->r.log), buf_cstr(log));
    assert_string_equal(buf_cstr(&run->out), buf_cstr(out));
    assert_int_equal(http_wants_close(run->h), close);
}

// Runs `in` cut in all ways; checks the output against `want` and, if given, the events against
// `events`.
static void exchange(const char *in, const char *want, const char *events, bool close) {
    size_t n = strlen(in);
    struct run whole;
    run_begin(&whole, NULL);
    run_feed(&whole, in, n);
    assert_string_equal(buf_cstr(&whole.out), want);
    if (events != NULL) assert_string_equal(buf_cstr(&whole.r.log), events);
    assert_int_equal(http_wants_close(whole.h), close);
    for (size_t cut = 0; cut <= n; cut++) {
        struct run run;
        run_begin(&run, NULL);
        run_feed(&run, in, cut);
        run_feed(&run, in + cut, n - cut);
        same(&run, &whole.r.log, &whole.out, close);
        run_end(&run);
    }
    struct run bytes;
    run_begin(&bytes, NULL);
    for (size_t i = 0; i < n; i++) run_feed(&bytes, in + i, 1);
    same(&bytes, &whole.r.log, &whole.out, close);
    run_end(&bytes);
    run_end(&whole);
}

static void fault_with(const struct http_limits *limits, const char *in, int status) {
    size_t n = strlen(in);
    char want[64];
    snprintf(want, sizeof want, "HTTP/1.1 %d ", status);
    for (size_t cut = 0; cut <= n; cut += n > 1000 ? n / 7 : 1) {
        struct run run;
        run_begin(&run, limits);
        run_feed(&run, in, cut);
        run_feed(&run, in + cut, n - cut);
        const char *out = buf_cstr(&run.out);
        if (strncmp(out, want, strlen(want)) != 0) print_error("for %s\ngot %s\n", in, out);
        assert_memory_equal(out, want, strlen(want));
        assert_non_null(strstr(out, "connection: close\r\n"));
        assert_non_null(strstr(out, "{\"id\":\"api\",\"code\":"));
        assert_true(run.rc < 0);
        assert_true(http_wants_close(run.h));
        assert_int_equal(run.r.ends, 0);
        run_end(&run);
    }
}

static void fault(const char *in, int status) { fault_with(NULL, in, status); }

// ---- requests that are fine

static void test_get(void **state) {
    (void)state;
    exchange(GET, HEAD_200 "Content-Length: 5\r\n\r\nhello",
             "head GET / at a host=a\nend\nclosed done\n", false);
    exchange("\r\n\r\n" GET, HEAD_200 "Content-Length: 5\r\n\r\nhello", NULL, false);
    exchange("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", NULL,
             false);
    exchange("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n", HEAD_200 "content-length: 0\r\n\r\n", NULL,
             false);
}

static void test_headers(void **state) {
    (void)state;
    exchange(
        "GET /x?y=%20z HTTP/1.1\r\nHOST: a:1\r\nX-Empty:\r\nX-Spaces:  a  b \t\r\nX-Empty: "
        "2\r\n\r\n",
        HEAD_200 "Content-Length: 5\r\n\r\nhello",
        "head GET /x?y=%20z at a:1 host=a:1 x-empty= x-spaces=a  b x-empty=2\nend\nclosed done\n",
        false);
    exchange("GET http://b/p?q HTTP/1.1\r\nHost: a\r\n\r\n",
             HEAD_200 "Content-Length: 5\r\n\r\nhello",
             "head GET /p?q at b host=a\nend\nclosed done\n", false);
}

static void test_bodies(void **state) {
    (void)state;
    exchange("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
             HEAD_200 "Content-Length: 5\r\n\r\nhello",
             "head POST /a at a (4) host=a content-length=4\ndata body\nend\nclosed done\n", false);
    exchange("POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
             "4\r\nbody\r\n0A;x=y\r\n0123456789\r\n0\r\nX-Sum: 14\r\n\r\n",
             HEAD_200 "Content-Length: 5\r\n\r\nhello",
             "head POST /b at a host=a transfer-encoding=chunked\ndata body0123456789\nend "
             "x-sum=14\nclosed done\n",
             false);
}

static void test_chunked_answer(void **state) {
    (void)state;
    exchange("GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n" GET,
             HEAD_200
             "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\nx-sum: 7\r\n\r\n" HEAD_200
             "Content-Length: 5\r\n\r\nhello",
             NULL, false);
}

static void test_parts_of_blobs(void **state) {
    (void)state;
    struct buf wanted = {0};
    buf_append_text(&wanted, HEAD_200 "connection: close\r\n\r\nell");
    for (int i = 0; i < 100; i++) buf_append_text(&wanted, "abcdefghijklmnopqrstuvwxyz");
    exchange("GET /parts HTTP/1.0\r\n\r\n", buf_cstr(&wanted), NULL, true);
    buf_free(&wanted);
}

static void test_head_has_no_body(void **state) {
    (void)state;
    exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n" GET,
             HEAD_200 "Content-Length: 5\r\n\r\n" HEAD_200 "\r\n" HEAD_200
                      "Content-Length: 5\r\n\r\nhello",
             NULL, false);
}

static void test_versions(void **state) {
    (void)state;
    exchange("GET / HTTP/1.0\r\n\r\n",
             HEAD_200 "Content-Length: 5\r\nconnection: close\r\n\r\nhello",
             "head GET / at \nend\nclosed done\n", true);
    exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
             HEAD_200 "Content-Length: 5\r\nconnection: keep-alive\r\n\r\nhello", NULL, false);
    exchange("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
             HEAD_200 "connection: close\r\n\r\nhello world", NULL, true);
    exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET,
             HEAD_200 "Content-Length: 5\r\nconnection: close\r\n\r\nhello", NULL, true);
    exchange("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n" GET,
             HEAD_200 "Content-Length: 5\r\n\r\nhello" HEAD_200 "Content-Length: 5\r\n\r\nhello",
             NULL, false);
    // An upgrade is an ordinary request.
    exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
             "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" GET,
             HEAD_200 "Content-Length: 5\r\n\r\nhello" HEAD_200 "Content-Length: 5\r\n\r\nhello",
             NULL, false);
}

#define TUNNEL                                                                                     \
    "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "              \
    "websocket\r\n\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-more: "    \
    "1\r\n\r\n"

static void test_tunnel(void **state) {
    (void)state;
    // What comes behind the request is the tunnel's, even if it looks like HTTP; there is no `end`.
    exchange(
        TUNNEL GET, SWITCHED "first",
        "head GET /tunnel at a host=a connection=keep-alive, Upgrade upgrade=websocket\ndata " GET,
        false);
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, TUNNEL, strlen(TUNNEL));
    run.out.n = 0;
    struct http_stream *s = run.r.last;
    assert_int_equal(http_send(s, str_of("more")), 0);
    assert_int_equal(http_finish(s, NULL, 0), 0);
    run_feed(&run, "late", 4);
    assert_string_equal(buf_cstr(&run.out), "more"); // no chunks
    assert_true(http_wants_close(run.h));
    assert_int_equal(run.r.why, HTTP_CLOSE_DONE);
    run_end(&run);
    // The end of the connection is the end of the tunnel.
    run_begin(&run, NULL);
    run_feed(&run, TUNNEL, strlen(TUNNEL));
    session_eof(run.h);
    assert_int_equal(run.r.closes, 1);
    assert_int_equal(run.r.why, HTTP_CLOSE_PEER);
    run_end(&run);
}

// Not asked for in the whole form, it is an ordinary request.
static void test_no_tunnel(void **state) {
    (void)state;
    static const char *const HEADS[] = {
        "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
        "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "POST /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: "
        "websocket\r\nContent-Length: 0\r\n\r\n",
        "GET /tunnel HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: "
        "websocket\r\nContent-Length: 1\r\n\r\nx"};
    for (size_t i = 0; i < sizeof HEADS / sizeof HEADS[0]; i++) {
        struct run run;
        run_begin(&run, NULL);
        run_feed(&run, HEADS[i], strlen(HEADS[i]));
        assert_int_equal(run.r.ends, 1);
        assert_true(buf_str(&run.out).n > 0 && str_starts(buf_str(&run.out), HEAD_200));
        run_end(&run);
    }
}

static void test_tunnel_back_pressure(void **state) {
    (void)state;
    struct run run;
    run_begin(&run, NULL);
    run.r.hold = true;
    run_feed(&run, TUNNEL, strlen(TUNNEL));
    char bytes[1024] = {0};
    size_t fed = 0;
    for (; session_wants_read(run.h) && fed < 10 * HTTP_LIMITS.window; fed += sizeof bytes)
        run_feed(&run, bytes, sizeof bytes);
    assert_in_range(fed, HTTP_LIMITS.window, HTTP_LIMITS.window + 2 * sizeof bytes);
    http_consume(run.r.last, fed);
    assert_true(session_wants_read(run.h));
    run_end(&run);
}

static void test_expect(void **state) {
    (void)state;
    const char *head =
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, head, strlen(head));
    assert_string_equal(buf_cstr(&run.out), "HTTP/1.1 100 Continue\r\n\r\n");
    run.out.n = 0;
    run_feed(&run, "ok", 2);
    assert_string_equal(buf_cstr(&run.out), HEAD_200 "Content-Length: 5\r\n\r\nhello");
    run_end(&run);
    // Answered without its body: none may follow, since the client may or may not send it.
    exchange("POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
             HEAD_200 "Content-Length: 5\r\nconnection: close\r\n\r\nhello", NULL, true);
    fault("POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 2\r\n\r\nok", 417);
}

static void test_early_answer(void **state) {
    (void)state;
    // The rest of the request is read and dropped, then the next one is served.
    const char *two = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" GET;
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, two, strlen(two) - strlen(GET) - 4);
    run_feed(&run, two + strlen(two) - strlen(GET) - 4, strlen(GET) + 4);
    assert_string_equal(buf_cstr(&run.out), HEAD_200 "Content-Length: 5\r\n\r\nhello" HEAD_200
                                                     "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(run.r.heads, 2);
    run_end(&run);
    // But not without end.
    const char *endless = "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    char piece[0x1000 + 16];
    int n = snprintf(piece, sizeof piece, "1000\r\n%04096d\r\n", 0);
    run_begin(&run, NULL);
    run_feed(&run, endless, strlen(endless));
    int pieces = 0;
    while (!http_wants_close(run.h) && pieces < 1000) {
        run_feed(&run, piece, (size_t)n);
        pieces++;
    }
    assert_in_range(pieces, 32, 128);
    run_end(&run);
}

static void test_pipelining(void **state) {
    (void)state;
    const char *in = "GET /late HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" GET;
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, in, strlen(in));
    assert_int_equal(run.r.heads, 1); // the next is not begun before this one is answered
    assert_false(session_wants_read(run.h));
    assert_int_equal(http_respond(run.r.last, 404, NULL, 0, true), 0);
    run_feed(&run, "", 0);
    assert_int_equal(run.r.heads, 3);
    assert_true(session_wants_read(run.h));
    assert_string_equal(buf_cstr(&run.out),
                        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n" HEAD_200
                        "Content-Length: 5\r\n\r\nhello" HEAD_200 "Content-Length: 5\r\n\r\nhello");
    run_end(&run);
}

static void test_backlog_is_bounded(void **state) {
    (void)state;
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n", 31);
    char junk[4096];
    memset(junk, 'G', sizeof junk);
    int n = 0;
    while (run.rc == 0 && n < 1000) {
        run_feed(&run, junk, sizeof junk);
        n++;
    }
    assert_in_range(n, 100, 300);
    run_end(&run);
}

static void test_body_waits_to_be_consumed(void **state) {
    (void)state;
    struct run run;
    run_begin(&run, NULL);
    run.r.hold = true;
    const char *head = "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    run_feed(&run, head, strlen(head));
    char piece[65536];
    memset(piece, 'x', sizeof piece);
    int n = 0;
    while (session_wants_read(run.h) && n < 100) {
        run_feed(&run, piece, sizeof piece);
        n++;
    }
    assert_int_equal(n, 5); // the first above 256 KB
    http_consume(run.r.last, run.r.held);
    assert_true(session_wants_read(run.h));
    run_end(&run);
}

static void test_half_close(void **state) {
    (void)state;
    const char *two = "GET /late HTTP/1.1\r\nHost: a\r\n\r\n" GET;
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, two, strlen(two));
    session_eof(run.h);
    assert_false(http_wants_close(run.h));
    assert_int_equal(http_respond(run.r.last, 200, NULL, 0, true), 0);
    while (http_wants_write(run.h)) http_drain(run.h, &run.out, 4096);
    assert_int_equal(run.r.closes, 2); // the pipelined one was answered too
    assert_true(http_wants_close(run.h));
    run_end(&run);
    // In the middle of a request there is nobody to wait for.
    run_begin(&run, NULL);
    run_feed(&run, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo", 50);
    session_eof(run.h);
    assert_true(http_wants_close(run.h));
    assert_int_equal(run.r.why, HTTP_CLOSE_PEER);
    run_end(&run);
}

// ---- answers

static void begin_late(struct run *run) {
    run_begin(run, NULL);
    run_feed(run, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n", 31);
    assert_non_null(run->r.last);
}

static void test_answers_are_checked(void **state) {
    (void)state;
    struct run run;
    begin_late(&run);
    struct http_stream *s = run.r.last;
    struct http_header split = {str_of("x"), str_of("a\r\nset-cookie: b")};
    struct http_header name = {str_of("x y"), str_of("a")};
    struct http_header own = {str_of("Connection"), str_of("keep-alive")};
    assert_int_equal(http_send(s, str_of("x")), -STATUS_FAILED_PRECONDITION);
    assert_int_equal(http_respond(s, 200, &split, 1, true), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(http_respond(s, 200, &name, 1, true), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(http_respond(s, 99, NULL, 0, true), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(http_respond(s, 200, &own, 1, true), 0);
    assert_int_equal(http_respond(s, 200, NULL, 0, true), -STATUS_FAILED_PRECONDITION);
    assert_int_equal(http_finish(s, NULL, 0), -STATUS_FAILED_PRECONDITION);
    run_feed(&run, "", 0);
    assert_string_equal(buf_cstr(&run.out), HEAD_200 "content-length: 0\r\n\r\n");
    run_end(&run);
}

static void test_broken_promise(void **state) {
    (void)state;
    static const char *const BODIES[] = {"hell", "hello!"};
    for (int i = 0; i < 2; i++) {
        struct run run;
        begin_late(&run);
        assert_int_equal(http_respond(run.r.last, 200, &LENGTH_5, 1, false), 0);
        assert_int_equal(http_send(run.r.last, str_of(BODIES[i])), 0);
        assert_int_equal(http_finish(run.r.last, NULL, 0), 0);
        run_feed(&run, "", 0);
        assert_int_equal(run.r.why, HTTP_CLOSE_LOCAL);
        assert_true(http_wants_close(run.h)); // the peer must not take it for whole
        run_end(&run);
    }
}

static void test_reset(void **state) {
    (void)state;
    struct run run;
    begin_late(&run);
    struct http_stream *s = run.r.last;
    assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
    assert_int_equal(http_send(s, str_of("half of it")), 0);
    run_feed(&run, "", 0);
    http_reset(s, 8);
    assert_int_equal(run.r.closes, 0); // not from inside the caller
    assert_int_equal(http_send(s, str_of("x")), -STATUS_CANCELLED);
    run_feed(&run, "", 0);
    assert_int_equal(run.r.why, HTTP_CLOSE_LOCAL);
    assert_true(http_wants_close(run.h));
    assert_null(strstr(buf_cstr(&run.out), "\r\n0\r\n"));
    run_end(&run);
}

static void test_large_answer_and_writable(void **state) {
    (void)state;
    struct run run;
    begin_late(&run);
    struct http_stream *s = run.r.last;
    char piece[50000];
    memset(piece, 'x', sizeof piece);
    assert_int_equal(http_respond(s, 200, NULL, 0, false), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(http_send(s, (struct str){piece, sizeof piece}), 0);
    assert_int_equal(http_queued(s), 500000);
    size_t before = 0;
    while (http_queued(s) >= HTTP_LOW_WATER) {
        assert_int_equal(run.r.writables, 0);
        assert_int_equal(http_drain(run.h, &run.out, 10000), 0);
        assert_in_range(run.out.n - before, 9000, 11000); // bounded pieces
        before = run.out.n;
    }
    assert_int_equal(run.r.writables, 1);
    assert_int_equal(http_finish(s, NULL, 0), 0);
    run_feed(&run, "", 0);
    assert_in_range(run.out.n, 500000, 503000);
    assert_int_equal(run.r.why, HTTP_CLOSE_DONE);
    run_end(&run);
}

static void test_shutdown(void **state) {
    (void)state;
    struct run run;
    run_begin(&run, NULL);
    http_shutdown(run.h);
    assert_true(http_wants_close(run.h));
    run_end(&run);
    begin_late(&run);
    http_shutdown(run.h);
    assert_false(http_wants_close(run.h));
    assert_int_equal(http_respond(run.r.last, 200, NULL, 0, true), 0);
    run_feed(&run, "", 0);
    assert_non_null(strstr(buf_cstr(&run.out), "connection: close\r\n"));
    assert_true(http_wants_close(run.h));
    run_end(&run);
}

static void test_delete_ends_streams(void **state) {
    (void)state;
    struct run run;
    begin_late(&run);
    http_session_delete(run.h);
    assert_int_equal(run.r.closes, 1);
    assert_int_equal(run.r.why, HTTP_CLOSE_PEER);
    buf_free(&run.r.log);
    buf_free(&run.out);
}

// ---- requests that are refused

static void test_malformed(void **state) {
    (void)state;
    fault("GARBAGE\r\n\r\n", 400);
    fault("GET / HTTP/1.1\r\n\r\n", 400);                       // no host
    fault("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400); // two
    fault("GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n", 400);  // a space in a name
    fault("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400);   // before the colon
    fault("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n", 400);
    fault("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400);
    fault("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    fault("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    fault("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    fault("GET /\r\nHost: a\r\n\r\n", 505); // HTTP/0.9
    fault("GET / HTTP/1.1\nHost: a\n\n", 400);
    fault("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    fault("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400);
}

static void test_smuggling(void **state) {
    (void)state;
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
    fault(POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    fault(POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400);
    fault(POST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody5", 400);
    fault(POST "Content-Length: 4, 4\r\n\r\nbody", 400);
    fault(POST "Content-Length: +4\r\n\r\nbody", 400);
    fault(POST "Content-Length: 0x4\r\n\r\nbody", 400);
    fault(POST "Content-Length: 99999999999999999999\r\n\r\nbody", 400);
    fault(POST "X: a\r\n b\r\n\r\n", 400);             // obs-fold
    fault(POST " Content-Length: 4\r\n\r\nbody", 400); // on the first header
    fault(POST "\tX: b\r\n\r\n", 400);
    fault("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    fault(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400);
    fault(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501);
    fault(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400);
    fault(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

static void test_bad_chunks(void **state) {
    (void)state;
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    fault(CHUNKED "x\r\nbody\r\n0\r\n\r\n", 400);
    fault(CHUNKED "-4\r\nbody\r\n0\r\n\r\n", 400);
    fault(CHUNKED " 4\r\nbody\r\n0\r\n\r\n", 400);
    fault(CHUNKED "4 \r\nbody\r\n0\r\n\r\n", 400);
    fault(CHUNKED "0x4\r\nbody\r\n0\r\n\r\n", 400);
    fault(CHUNKED "ffffffffffffffffff\r\nbody\r\n0\r\n\r\n", 400);
    fault(CHUNKED "4\nbody\r\n0\r\n\r\n", 400);
    // What follows a chunk's bytes must be CR LF (llhttp in strict mode).
    fault(CHUNKED "4\r\nbodyXX0\r\n\r\n", 400);
    fault(CHUNKED "4\r\nbody0\r\n\r\n", 400);
}

static void test_limits(void **state) {
    (void)state;
    struct http_limits limits = HTTP_LIMITS;
    limits.header_bytes = 1000;
    char in[3000];
    snprintf(in, sizeof in, "GET /%02000d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    fault_with(&limits, in, 414);
    snprintf(in, sizeof in, "GET / HTTP/1.1\r\nHost: a\r\nX: %02000d\r\n\r\n", 0);
    fault_with(&limits, in, 431);
    snprintf(in, sizeof in, CHUNKED "0\r\nX: %02000d\r\n\r\n", 0);
    fault_with(&limits, in, 431);
    // Each head has the whole limit.
    snprintf(in, sizeof in, "GET / HTTP/1.1\r\nHost: a\r\nX: %0900d\r\n\r\n", 0);
    struct run run;
    run_begin(&run, &limits);
    for (int i = 0; i < 5; i++) run_feed(&run, in, strlen(in));
    assert_int_equal(run.r.closes, 5);
    run_end(&run);
}

static void test_fault_after_the_answer_began(void **state) {
    (void)state;
    // No second answer may be mixed into the first.
    const char *in = "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbad\r\r";
    struct run run;
    run_begin(&run, NULL);
    run_feed(&run, in, strlen(in));
    assert_string_equal(buf_cstr(&run.out), HEAD_200 "Content-Length: 5\r\n\r\n");
    assert_int_equal(run.r.why, HTTP_CLOSE_PEER);
    assert_true(http_wants_close(run.h));
    run_end(&run);
}

// Every mutation of one byte of a valid exchange: no crash, no stream left over, an answer or
// nothing.
static void test_mutations(void **state) {
    (void)state;
    const char *in =
        POST "Transfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n" GET;
    static const char BYTES[] = {0,   '\n', '\r', ' ',  ':',        'a',
                                 '0', 'f',  ';',  '\t', (char)0x80, (char)0xff};
    char copy[512];
    size_t n = strlen(in);
    for (size_t at = 0; at < n; at++) {
        for (size_t b = 0; b < sizeof BYTES; b++) {
            memcpy(copy, in, n);
            copy[at] = BYTES[b];
            struct run run;
            run_begin(&run, NULL);
            run_feed(&run, copy, n);
            if (run.out.n > 0) assert_memory_equal(buf_p(&run.out), "HTTP/1.1 ", 9);
            run_end(&run);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_chunked_answer),
        cmocka_unit_test(test_parts_of_blobs),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_no_tunnel),
        cmocka_unit_test(test_tunnel_back_pressure),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_backlog_is_bounded),
        cmocka_unit_test(test_body_waits_to_be_consumed),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_answers_are_checked),
        cmocka_unit_test(test_broken_promise),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_large_answer_and_writable),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_delete_ends_streams),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_bad_chunks),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_fault_after_the_answer_began),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
