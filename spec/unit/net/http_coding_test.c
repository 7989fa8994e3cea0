// SPDX-License-Identifier: Apache-2.0
// Content codings between an HTTP/1 session and its user: heads that change and heads that do not, back-pressure both ways,
// slices of a turn, what unfolds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/encoding.h"
#include "net/recorder.h"
#include "net/session.h"

#include <stdlib.h>

static struct encoders pool;

struct run {
    struct recorder r;
    struct http_session *h;
    struct buf out;
};

static void begin(struct run *run, bool hold) {
    struct http_limits limits = HTTP_LIMITS;
    limits.compress_min = 100;
    limits.decode = true;
    *run = (struct run){.r = {.hold = hold}};
    run->h = http1_server_new(&RECORDER_EVENTS, &limits, &run->r);
    run->h->encoders = &pool;
    pool.spent = 0;
}

static void end(struct run *run) {
    http_session_delete(run->h);
    buf_free(&run->r.log);
    buf_free(&run->out);
    assert_int_equal(pool.alive, 0);
    encoders_free(&pool);
}

static void feed(struct run *run, const char *text) {
    assert_int_equal(http_feed(run->h, str_of(text)), 0);
}

static void drain(struct run *run) {
    while (http_wants_write(run->h)) assert_int_equal(http_drain(run->h, &run->out, 4096), 0);
}

// ---- heads

#define GET(headers) "GET / HTTP/1.1\r\nHost: a\r\n" headers "\r\n"
#define BR GET("Accept-Encoding: gzip, br\r\n")
#define H(name, value)                                                                             \
    {                                                                                              \
        {(name), sizeof(name) - 1}, { (value), sizeof(value) - 1 }                                 \
    }
#define JSON H("Content-Type", "application/json")
#define LONG H("Content-Length", "200")

static void test_heads(void **state) {
    (void)state;
    static const struct {
        const char *request;
        int status;
        struct http_header headers[4];
        size_t count;
        const char *has, *lacks;
    } ROWS[] = {
        {BR, 200, {JSON, LONG}, 2, "content-encoding: br\r\nvary: accept-encoding\r\n", "200\r\n"},
        {BR, 200, {JSON}, 1, "content-encoding: br\r\n", NULL},
        {BR, 404, {JSON, LONG}, 2, "content-encoding: br\r\n", NULL},
        {GET(""), 200, {JSON, LONG}, 2, "vary: accept-encoding\r\n", "content-encoding"},
        {BR, 200, {JSON, H("content-length", "99")}, 2, "length: 99", "vary"},
        {BR, 200, {H("content-type", "image/png"), LONG}, 2, "Length: 200", "vary"},
        {BR, 206, {JSON, LONG, H("content-range", "bytes 0-199/300")}, 3, "Length: 200", "vary"},
        {BR, 200, {JSON, LONG, H("Content-Encoding", "gzip")}, 3, "Encoding: gzip", "br"},
        {BR, 200, {JSON, H("Cache-Control", "public, no-transform")}, 2, "chunked", "vary"},
        {BR, 200, {JSON, H("ETag", "\"a\"")}, 2, "ETag: W/\"a\"\r\n", ": \"a\""},
        {BR, 200, {JSON, H("ETag", "W/\"a\"")}, 2, "ETag: W/\"a\"\r\n", "W/W/"},
        {GET(""), 200, {JSON, H("ETag", "\"a\"")}, 2, "ETag: \"a\"\r\n", "W/"},
        {BR, 200, {JSON, H("Vary", "Origin")}, 2, "Vary: Origin\r\n", NULL},
        {BR, 200, {JSON, H("Vary", "Origin, Accept-Encoding")}, 2, "Vary: Origin", "vary:"},
        {BR, 304, {JSON}, 1, "304", "content-encoding"},
        {GET("Accept-Encoding: br;q=0\r\nAccept-Encoding: gzip\r\n"),
         200,
         {JSON},
         1,
         "content-encoding: gzip",
         NULL},
        {"GET / HTTP/1.0\r\nAccept-Encoding: br\r\n\r\n",
         200,
         {JSON},
         1,
         "200",
         "content-encoding"},
        {"HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n",
         200,
         {JSON, LONG},
         2,
         "content-encoding: br",
         "ength: 200"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct run run;
        begin(&run, false);
        feed(&run, ROWS[i].request);
        assert_true(http_add_header(run.r.last, "x-id", str_of("7")));
        assert_int_equal(
            http_respond(run.r.last, ROWS[i].status, ROWS[i].headers, ROWS[i].count, false), 0);
        drain(&run);
        const char *head = buf_cstr(&run.out);
        bool ok = strstr(head, ROWS[i].has) != NULL && strstr(head, "x-id: 7\r\n") != NULL &&
                  (ROWS[i].lacks == NULL || strstr(head, ROWS[i].lacks) == NULL);
        if (!ok) fail_msg("row %zu: %s", i, head);
        end(&run);
    }
}

// ---- bodies out

static void test_a_turn_has_a_slice(void **state) {
    (void)state;
    static const struct http_header headers[] = {JSON};
    struct run run;
    begin(&run, false);
    feed(&run, BR);
    struct http_stream *s = run.r.last;
    struct blob *body = blob_new(NULL, 1000000);
    memset(body->p, 'a', body->n);
    assert_int_equal(http_respond(s, 200, headers, 1, false), 0);
    assert_int_equal(http_send_blob(s, body), 0);
    assert_int_equal(http_queued(s), 1000000);
    size_t before = http_queued(s);
    unsigned turns = 0;
    while (encode_waiting(stream_of(s)) > 0) {
        assert_int_equal(http_drain(run.h, &run.out, 4096), 0);
        assert_true(before - http_queued(s) <= 16 * 1024);
        before = http_queued(s);
        turns++;
    }
    assert_in_range(turns, 60, 63);
    drain(&run);
    assert_int_equal(run.r.writables, 1); // it was above the mark, and is below it
    assert_int_equal(http_queued(s), 0);
    assert_int_equal(http_finish(s, NULL, 0), 0);
    assert_int_equal(http_send(s, str_of("more")), -STATUS_FAILED_PRECONDITION);
    drain(&run);
    assert_int_equal(run.r.why, HTTP_CLOSE_DONE);
    assert_int_equal(run.h->queued, 0);
    end(&run);
}

static void test_broken_off_while_it_waits(void **state) {
    (void)state;
    static const struct http_header headers[] = {JSON};
    struct run run;
    begin(&run, false);
    feed(&run, BR);
    assert_int_equal(http_respond(run.r.last, 200, headers, 1, false), 0);
    assert_int_equal(http_send(run.r.last, str_of("hello")), 0);
    http_reset(run.r.last, 1);
    drain(&run);
    assert_int_equal(run.r.why, HTTP_CLOSE_LOCAL);
    end(&run);
}

// ---- bodies in

static void feed_coded(struct run *run, enum encoding which, struct str text, size_t cut) {
    struct buf packed = {0};
    struct buf head = {0};
    struct encoder *e = encoders_take(&pool, which);
    assert_int_equal(encoder_push(&pool, e, text, ENCODER_END, &packed), 0);
    encoders_give(&pool, e);
    packed.n -= cut;
    buf_printf(&head,
               "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
               encoding_name(which), packed.n);
    assert_int_equal(http_feed(run->h, buf_str(&head)), 0);
    assert_int_equal(http_feed(run->h, buf_str(&packed)), 0);
    buf_free(&head);
    buf_free(&packed);
}

static void test_unfolds_no_faster_than_it_is_used(void **state) {
    (void)state;
    size_t length = 5000000;
    char *text = calloc(1, length);
    for (int which = ENCODING_GZIP; which <= ENCODING_BR; which++) {
        struct run run;
        begin(&run, true);
        feed_coded(&run, (enum encoding)which, (struct str){text, length}, 0);
        assert_int_equal(run.r.last->header_count, 1); // host: neither encoding nor length
        assert_int_equal(run.r.last->content_length, -1);
        size_t seen = 0;
        while (run.r.ends == 0) {
            drain(&run);
            assert_in_range(run.r.held, 1, 64 * 1024 + 16 * 1024);
            seen += run.r.held;
            size_t held = run.r.held;
            run.r.held = 0;
            http_consume(run.r.last, held);
            drain(&run);
        }
        assert_int_equal(seen + run.r.held, length);
        assert_false(run.r.last->damaged);
        assert_true(run.r.last->remote_ended);
        end(&run);
    }
    free(text);
}

static void test_cut_off(void **state) {
    (void)state;
    for (int which = ENCODING_GZIP; which <= ENCODING_BR; which++) {
        struct run run;
        begin(&run, false);
        feed_coded(&run, (enum encoding)which, str_of("hello hello hello hello"), 3);
        drain(&run);
        assert_int_equal(run.r.ends, 1);
        assert_true(run.r.last->damaged);
        end(&run);
    }
}

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *headers;
        bool foreign;
    } ROWS[] = {
        {"Content-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", false},
        {"Content-Encoding: zstd\r\nContent-Length: 5\r\n\r\nhello", true},
        {"Content-Encoding: gzip, br\r\nContent-Length: 5\r\n\r\nhello", true},
        {"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
         true},
        {"Content-Type: application/grpc\r\nContent-Encoding: gzip\r\nContent-Length: "
         "5\r\n\r\nhello",
         false},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct run run;
        begin(&run, false);
        feed(&run, "POST / HTTP/1.1\r\nHost: a\r\n");
        feed(&run, ROWS[i].headers);
        assert_int_equal(run.r.last->foreign_encoding, ROWS[i].foreign);
        assert_int_equal(run.r.data, 5); // as it came
        assert_int_equal(run.r.ends, 1);
        end(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_a_turn_has_a_slice),
        cmocka_unit_test(test_broken_off_while_it_waits),
        cmocka_unit_test(test_unfolds_no_faster_than_it_is_used),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
