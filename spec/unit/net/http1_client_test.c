// SPDX-License-Identifier: Apache-2.0
// The client side of HTTP/1.1 as a pure function: what is asked, the backend's bytes, what is seen of them. Every exchange is
// run in one piece, byte by byte, and cut in two at every place; all runs must agree.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/recorder.h"
#include "net/session.h"

#include <stdlib.h>

#define OK "HTTP/1.1 200 OK\r\n"

struct run {
    struct recorder r;
    struct buf out;
    struct http_session *h;
    struct http_stream *s;
    int rc;
};

static struct http_stream *ask_at(struct run *run, const char *method, const char *path,
                                  const struct http_header *headers, size_t count, bool end) {
    return http_request(run->h, str_of(method), str_of("http"), str_of("b:1"), str_of(path),
                        headers, count, end, NULL);
}

static void drain(struct run *run) {
    while (http_wants_write(run->h)) assert_int_equal(http_drain(run->h, &run->out, 4096), 0);
}

static void begin(struct run *run) {
    static const struct http_limits LIMITS = {.header_bytes = 1024};
    *run = (struct run){0};
    run->h = http1_client_new(&RECORDER_EVENTS, &LIMITS, &run->r);
    assert_non_null(run->h);
    assert_int_equal(http_room(run->h), HTTP_ROOM_FREE);
}

static void ask(struct run *run, const char *method) {
    run->s = ask_at(run, method, "/p?q", NULL, 0, true);
    assert_non_null(run->s);
    assert_int_equal(http_room(run->h), HTTP_ROOM_FULL);
    drain(run);
}

// A copy of exactly that size, so that the sanitizer sees any reading beyond it.
static void feed(struct run *run, const char *p, size_t n) {
    if (n == 0) return;
    char *copy = malloc(n);
    memcpy(copy, p, n);
    int rc = http_feed(run->h, (struct str){copy, n});
    free(copy);
    if (rc < 0) run->rc = rc;
    drain(run);
}

static void end(struct run *run) {
    http_session_delete(run->h);
    buf_free(&run->r.log);
    buf_free(&run->out);
}

// ---- answers

enum { FREE, ENDS, BROKEN };

struct row {
    const char *what, *method, *answer, *seen;
    int after; // what the connection is good for
    bool eof;  // and the backend ends it
};

#define CLOSED "closed peer\n"
#define DONE "closed done\n"
#define LONG_NAME                                                                                  \
    "x-"                                                                                           \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "a"
#define TEN(x) x x x x x x x x x x
#define INTERIM "HTTP/1.1 102 P\r\n\r\n"

static const struct row ROWS[] = {
    {"a length", "GET", OK "Content-Length: 5\r\nX: y\r\n\r\nhello",
     "head 200 (5) content-length=5 x=y\ndata hello\nend\n" DONE, FREE, false},
    {"chunks and trailers", "GET",
     OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
     "head 200 transfer-encoding=chunked\ndata hello\nend x-sum=7\n" DONE, FREE, false},
    {"nothing", "GET", OK "content-length: 0\r\n\r\n", "head 200 (0) content-length=0\nend\n" DONE,
     FREE, false},
    {"until the end", "GET", OK "\r\nhello", "head 200\ndata hello\nend\n" DONE, ENDS, true},
    {"until the end, empty", "GET", OK "\r\n", "head 200\nend\n" DONE, ENDS, true},
    {"connection: close", "GET", OK "connection: close\r\ncontent-length: 1\r\n\r\nx",
     "head 200 (1) connection=close content-length=1\ndata x\nend\n" DONE, ENDS, false},
    {"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
     "head 200 (1) content-length=1\ndata x\nend\n" DONE, ENDS, false},
    {"HTTP/1.0 kept", "GET",
     "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
     "head 200 (1) connection=keep-alive content-length=1\ndata x\nend\n" DONE, FREE, false},
    {"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "head 204\nend\n" DONE, FREE, false},
    {"304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
     "head 304 (9) content-length=9\nend\n" DONE, FREE, false},
    {"HEAD with a length", "HEAD", OK "content-length: 9\r\n\r\n",
     "head 200 (9) content-length=9\nend\n" DONE, FREE, false},
    {"HEAD, chunked", "HEAD", OK "transfer-encoding: chunked\r\n\r\n",
     "head 200 transfer-encoding=chunked\nend\n" DONE, FREE, false},
    {"an interim answer", "GET",
     "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK
     "content-length: 0\r\n\r\n",
     "head 200 (0) content-length=0\nend\n" DONE, FREE, false},
    {"no reason", "GET", "HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n",
     "head 404 (0) content-length=0\nend\n" DONE, FREE, false},
    // What ends elsewhere than it should.
    {"cut in the head", "GET", OK "content-le", CLOSED, ENDS, true},
    {"cut in the body", "GET", OK "content-length: 5\r\n\r\nhell",
     "head 200 (5) content-length=5\ndata hell\n" CLOSED, ENDS, true},
    {"cut in a chunk", "GET", OK "transfer-encoding: chunked\r\n\r\n5\r\nhell",
     "head 200 transfer-encoding=chunked\ndata hell\n" CLOSED, ENDS, true},
    {"no last chunk", "GET", OK "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
     "head 200 transfer-encoding=chunked\ndata hello\n" CLOSED, ENDS, true},
    {"no answer", "GET", "", CLOSED, ENDS, true},
    // Two ways to see where it ends.
    {"two lengths", "GET", OK "content-length: 5\r\ncontent-length: 6\r\n\r\nhello", CLOSED, BROKEN,
     false},
    {"the same length twice", "GET", OK "content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
     CLOSED, BROKEN, false},
    {"a list of lengths", "GET", OK "content-length: 5, 5\r\n\r\nhello", CLOSED, BROKEN, false},
    {"a length with a sign", "GET", OK "content-length: +5\r\n\r\nhello", CLOSED, BROKEN, false},
    {"length and chunks", "GET",
     OK "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", CLOSED, BROKEN, false},
    {"chunks and length", "GET",
     OK "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", CLOSED, BROKEN, false},
    {"gzip, chunked", "GET", OK "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", CLOSED, BROKEN,
     false},
    {"identity", "GET", OK "transfer-encoding: identity\r\n\r\nx", CLOSED, BROKEN, false},
    {"chunks in 1.0", "GET", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
     CLOSED, BROKEN, false},
    {"a space before the colon", "GET", OK "content-length : 5\r\n\r\nhello", CLOSED, BROKEN,
     false},
    {"a folded line", "GET", OK "x: a\r\n b\r\ncontent-length: 0\r\n\r\n", CLOSED, BROKEN, false},
    {"LF alone", "GET", "HTTP/1.1 200 OK\ncontent-length: 0\n\n", CLOSED, BROKEN, false},
    {"CR in a value", "GET", OK "x: a\rb\r\ncontent-length: 0\r\n\r\n", CLOSED, BROKEN, false},
    {"an odd chunk size", "GET", OK "transfer-encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n",
     "head 200 transfer-encoding=chunked\n" CLOSED, BROKEN, false},
    {"a chunk size over 64 bits", "GET",
     OK "transfer-encoding: chunked\r\n\r\n11111111111111111\r\nx",
     "head 200 transfer-encoding=chunked\n" CLOSED, BROKEN, false},
    {"a chunk that ends elsewhere", "GET",
     OK "transfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
     "head 200 transfer-encoding=chunked\ndata hello\n" CLOSED, BROKEN, false},
    // Other nonsense.
    {"an empty line first", "GET", "\r\n" OK "content-length: 0\r\n\r\n", CLOSED, BROKEN, false},
    {"garbage", "GET", "\x16\x03\x01 garbage\r\n\r\n", CLOSED, BROKEN, false},
    {"another protocol", "GET", "SSH-2.0-OpenSSH_9.2\r\n", CLOSED, BROKEN, false},
    {"HTTP/2.0", "GET", "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", CLOSED, BROKEN, false},
    {"status 000", "GET", "HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n", CLOSED, BROKEN, false},
    {"status 999", "GET", "HTTP/1.1 999 OK\r\ncontent-length: 0\r\n\r\n", CLOSED, BROKEN, false},
    {"101 that nobody asked for", "GET",
     "HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", CLOSED, BROKEN, false},
    {"a flood of interim answers", "GET", TEN(INTERIM) TEN(INTERIM), CLOSED, BROKEN, false},
    {"a long head", "GET", OK TEN(LONG_NAME ": y\r\n") TEN(LONG_NAME ": y\r\n") "\r\n", CLOSED,
     BROKEN, false},
    {"a long status line", "GET", "HTTP/1.1 200 " TEN(LONG_NAME) TEN(LONG_NAME) "\r\n\r\n", CLOSED,
     BROKEN, false},
    {"long trailers", "GET",
     OK "transfer-encoding: chunked\r\n\r\n0\r\n" TEN(LONG_NAME ": y\r\n")
         TEN(LONG_NAME ": y\r\n") "\r\n",
     "head 200 transfer-encoding=chunked\n" CLOSED, BROKEN, false},
};

static void try_row(const struct row *row, size_t first, size_t step) {
    struct run run;
    size_t n = strlen(row->answer);
    begin(&run);
    ask(&run, row->method);
    assert_string_equal(buf_cstr(&run.out) + strlen(row->method),
                        " /p?q HTTP/1.1\r\nhost: b:1\r\n\r\n");
    feed(&run, row->answer, first);
    for (size_t at = first; at < n; at += step)
        feed(&run, row->answer + at, n - at < step ? n - at : step);
    if (row->eof) run.h->ops->eof(run.h);
    drain(&run);
    if (strcmp(buf_cstr(&run.r.log), row->seen) != 0)
        fail_msg("%s, cut at %zu: seen\n%s", row->what, first, buf_cstr(&run.r.log));
    assert_int_equal(run.rc < 0, row->after == BROKEN);
    assert_int_equal(http_fault(run.h)[0] != '\0', row->after == BROKEN);
    assert_int_equal(http_room(run.h), row->after == FREE ? HTTP_ROOM_FREE : HTTP_ROOM_ENDING);
    assert_int_equal(http_wants_close(run.h), row->after != FREE);
    end(&run);
}

static void answers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        size_t n = strlen(ROWS[i].answer);
        try_row(&ROWS[i], n, 1);
        try_row(&ROWS[i], 0, 1);
        for (size_t cut = 1; cut < n; cut++) try_row(&ROWS[i], cut, n);
    }
}

// ---- one after the other

static void keeps_the_connection(void **state) {
    (void)state;
    struct run run;
    begin(&run);
    for (int i = 0; i < 3; i++) {
        ask(&run, "GET");
        feed(&run, OK "content-length: 2\r\n\r\nhi", strlen(OK) + 23);
        assert_int_equal(run.r.ends, i + 1);
        assert_int_equal(http_room(run.h), HTTP_ROOM_FREE);
    }
    run.h->ops->eof(run.h);
    assert_true(http_wants_close(run.h));
    end(&run);
}

static void takes_nothing_for_an_answer(void **state) {
    (void)state;
    static const char TWO[] = OK "content-length: 0\r\n\r\n" OK "content-length: 0\r\n\r\n";
    struct run run;
    begin(&run); // two answers to one request
    ask(&run, "GET");
    feed(&run, TWO, sizeof TWO - 1);
    assert_int_equal(run.r.heads, 1);
    assert_int_equal(http_room(run.h), HTTP_ROOM_ENDING);
    end(&run);

    begin(&run); // an answer to none
    feed(&run, OK, strlen(OK));
    assert_int_equal(http_room(run.h), HTTP_ROOM_ENDING);
    end(&run);

    begin(&run); // one that came before the request went out
    assert_non_null(ask_at(&run, "GET", "/", NULL, 0, true));
    int rc = http_feed(run.h, str_of(TWO));
    assert_int_equal(rc, 0);
    assert_int_equal(run.r.heads, 0);
    assert_int_equal(run.r.why, HTTP_CLOSE_REFUSED);
    assert_int_equal(run.out.n, 0);
    assert_true(http_wants_close(run.h));
    end(&run);
}

// ---- requests

static const struct http_header LENGTH_5 = {{"content-length", 14}, {"5", 1}};

static void writes_bodies(void **state) {
    (void)state;
    const struct http_header trailer = {str_of("x-sum"), str_of("7")};
    struct run run;
    begin(&run);
    struct http_stream *s = ask_at(&run, "POST", "/a", &LENGTH_5, 1, false);
    assert_int_equal(http_send(s, str_of("hello")), 0);
    assert_int_equal(http_finish(s, NULL, 0), 0);
    drain(&run);
    assert_string_equal(buf_cstr(&run.out),
                        "POST /a HTTP/1.1\r\nhost: b:1\r\ncontent-length: 5\r\n\r\nhello");
    feed(&run, OK "content-length: 0\r\n\r\n", strlen(OK) + 21);
    assert_int_equal(http_room(run.h), HTTP_ROOM_FREE);
    run.out.n = 0;

    s = ask_at(&run, "PUT", "/a", NULL, 0, false);
    assert_int_equal(http_send(s, str_of("hello")), 0);
    drain(&run);
    assert_int_equal(http_finish(s, &trailer, 1), 0);
    drain(&run);
    assert_string_equal(buf_cstr(&run.out),
                        "PUT /a HTTP/1.1\r\nhost: b:1\r\ntransfer-encoding: chunked\r\n\r\n"
                        "5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
    feed(&run, OK "content-length: 0\r\n\r\n", strlen(OK) + 21);
    run.out.n = 0;

    s = ask_at(&run, "POST", "/a", NULL, 0, true);
    drain(&run);
    assert_string_equal(buf_cstr(&run.out),
                        "POST /a HTTP/1.1\r\nhost: b:1\r\ncontent-length: 0\r\n\r\n");
    end(&run);
}

static void keeps_lengths(void **state) {
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct run run;
        begin(&run);
        struct http_stream *s = ask_at(&run, "POST", "/a", &LENGTH_5, 1, false);
        assert_int_equal(http_send(s, str_of(more ? "hello!" : "hell")), 0);
        assert_int_equal(http_finish(s, NULL, 0), 0);
        drain(&run);
        assert_int_equal(run.r.why, HTTP_CLOSE_LOCAL);
        assert_null(strchr(buf_cstr(&run.out), '!'));
        assert_true(http_wants_close(run.h));
        end(&run);
    }
}

static void an_answer_before_the_request_ends(void **state) {
    (void)state;
    struct run run;
    begin(&run);
    struct http_stream *s = ask_at(&run, "POST", "/a", &LENGTH_5, 1, false);
    assert_int_equal(http_send(s, str_of("he")), 0);
    drain(&run);
    feed(&run, "HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n", 38);
    assert_string_equal(buf_cstr(&run.r.log), "head 413 (0) content-length=0\nend\n" DONE);
    assert_true(http_wants_close(run.h));
    end(&run);
}

static void resets(void **state) {
    (void)state;
    struct run run;
    begin(&run);
    ask(&run, "GET");
    feed(&run, OK "content-length: 9\r\n\r\nhe", strlen(OK) + 23);
    http_reset(run.s, 0);
    drain(&run);
    assert_int_equal(run.r.why, HTTP_CLOSE_LOCAL);
    assert_true(http_wants_close(run.h));
    end(&run);

    begin(&run); // before it went out
    http_reset(ask_at(&run, "GET", "/", NULL, 0, true), 0);
    drain(&run);
    assert_int_equal(run.out.n, 0);
    assert_int_equal(run.r.why, HTTP_CLOSE_LOCAL);
    end(&run);
}

static void refuses_requests(void **state) {
    (void)state;
    static const struct http_header BAD[] = {{{"x", 1}, {"a\r\nb", 4}},
                                             {{"x y", 3}, {"a", 1}},
                                             {{"content-length", 14}, {"x", 1}},
                                             {{"content-length", 14}, {"5", 1}}};
    static const char *const PATHS[] = {"",      "/a b",      "/a\r\nx: y",
                                        "/a\tb", "/\xc3\xa4", "/a HTTP/1.1"};
    struct run run;
    begin(&run);
    for (size_t i = 0; i < 4; i++) assert_null(ask_at(&run, "GET", "/", &BAD[i], 1, true));
    for (size_t i = 0; i < 6; i++) assert_null(ask_at(&run, "GET", PATHS[i], NULL, 0, true));
    assert_null(ask_at(&run, "GE T", "/", NULL, 0, true));
    assert_null(ask_at(&run, "", "/", NULL, 0, true));
    assert_null(http_request(run.h, str_of("GET"), str_of("http"), str_of("a b"), str_of("/"), NULL,
                             0, true, NULL));
    drain(&run);
    assert_int_equal(run.out.n, 0);
    assert_int_equal(http_room(run.h), HTTP_ROOM_FREE);
    http_shutdown(run.h);
    assert_null(ask_at(&run, "GET", "/", NULL, 0, true));
    end(&run);
}

static void connection_headers_are_the_sessions(void **state) {
    (void)state;
    static const struct http_header OF_A_CALLER[] = {{{"Connection", 10}, {"x", 1}},
                                                     {{"Transfer-Encoding", 17}, {"x", 1}},
                                                     {{"Host", 4}, {"evil", 4}},
                                                     {{"keep-alive", 10}, {"1", 1}}};
    struct run run;
    begin(&run);
    assert_non_null(ask_at(&run, "GET", "/", OF_A_CALLER, 4, true));
    drain(&run);
    assert_string_equal(buf_cstr(&run.out), "GET / HTTP/1.1\r\nhost: b:1\r\n\r\n");
    end(&run);
}

// ---- tunnels

static void tunnels(void **state) {
    (void)state;
    static const struct http_header UPGRADE = {{"upgrade", 7}, {"websocket", 9}};
    static const char ANSWER[] =
        "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x02hi";
    for (size_t cut = 1; cut < sizeof ANSWER; cut++) {
        struct run run;
        begin(&run);
        struct http_stream *s = ask_at(&run, "GET", "/", &UPGRADE, 1, true);
        drain(&run);
        assert_string_equal(
            buf_cstr(&run.out),
            "GET / HTTP/1.1\r\nhost: b:1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        run.out.n = 0;
        feed(&run, ANSWER, cut);
        feed(&run, ANSWER + cut, sizeof ANSWER - 1 - cut);
        assert_int_equal(run.r.heads, 1);
        assert_int_equal(http_send(s, str_of("\x81\x01x")), 0);
        drain(&run);
        assert_string_equal(buf_cstr(&run.out), "\x81\x01x");
        run.h->ops->eof(run.h);
        assert_string_equal(
            buf_cstr(&run.r.log),
            "head 101 upgrade=websocket connection=upgrade\ndata \x81\x02hi\nend\n" DONE);
        assert_true(http_wants_close(run.h));
        end(&run);
    }
}

// ---- back-pressure

static void stops_reading(void **state) {
    (void)state;
    struct run run;
    char block[16 * 1024];
    begin(&run);
    run.r.hold = true;
    ask(&run, "GET");
    memset(block, 'x', sizeof block);
    feed(&run, OK "\r\n", strlen(OK) + 2);
    for (int i = 0; i < 17; i++) feed(&run, block, sizeof block);
    assert_false(run.h->ops->wants_read(run.h));
    http_consume(run.s, sizeof block);
    assert_true(run.h->ops->wants_read(run.h));
    end(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(keeps_the_connection),
        cmocka_unit_test(takes_nothing_for_an_answer),
        cmocka_unit_test(writes_bodies),
        cmocka_unit_test(keeps_lengths),
        cmocka_unit_test(an_answer_before_the_request_ends),
        cmocka_unit_test(resets),
        cmocka_unit_test(refuses_requests),
        cmocka_unit_test(connection_headers_are_the_sessions),
        cmocka_unit_test(tunnels),
        cmocka_unit_test(stops_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
