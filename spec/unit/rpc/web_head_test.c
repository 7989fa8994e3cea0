// SPDX-License-Identifier: Apache-2.0
// The heads of raw HTTP: what of a request reaches a service, what of an answer goes out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "msg/metadata.h"
#include "rpc/web_head.h"

#include <stdlib.h>

static struct http_header header(const char *name, const char *value) {
    return (struct http_header){str_of(name), str_of(value)};
}

// Pairs as "key=value;" in order.
static const char *shown(const struct blob *metadata) {
    static struct buf text;
    struct metadata_pair pair;
    text.n = 0;
    for (size_t at = 0; metadata_next(metadata, &at, &pair);) {
        buf_append_str(&text, pair.key);
        buf_append_byte(&text, '=');
        buf_append_str(&text, pair.value);
        buf_append_text(&text, " | ");
    }
    return buf_cstr(&text);
}

static void test_request(void **state) {
    (void)state;
    const struct route_param params[] = {{str_of("id"), str_of("a=b")}, {str_of("rest"), {"", 0}}};
    struct web_line line = {str_of("GET /{id}"), str_of("GET"), str_of("/s/a?x"),
                            str_of("/a"),        str_of("/s"),  str_of("h"),
                            str_of("http"),      params,        2};
    const struct http_header headers[] = {header("authorization", "Bearer secret"),
                                          header("proxy-authorization", "secret"),
                                          header("connection", "close"),
                                          header("te", "trailers"),
                                          header("transfer-encoding", "chunked"),
                                          header("upgrade", "h2c"),
                                          header("expect", "100-continue"),
                                          header("host", "other"),
                                          header("content-type", "text/x"),
                                          header("x-bin", "AQ"),
                                          header("x-y", "1"),
                                          header("x-y", "2")};
    struct blob *head = web_request_head(&line, headers, sizeof headers / sizeof headers[0]);
    assert_string_equal(shown(head), ":handler=GET /{id} | :method=GET | :url=/s/a?x | :path=/a | "
                                     ":base=/s | :host=h | :scheme=http | :param=id=a=b | "
                                     ":param=rest= | host=h | content-type=text/x | x-bin=AQ | "
                                     "x-y=1 | x-y=2 | ");
    blob_drop(head);
}

static void check_cookies(const char *given, const char *wanted) {
    struct web_line line = {.handler = str_of("k")};
    const struct http_header cookie = header("cookie", given);
    struct blob *head = web_request_head(&line, &cookie, 1);
    struct str got = {"(none)", 6};
    metadata_get(head, str_of("cookie"), &got);
    if (!str_is(got, wanted)) fail_msg("%s: got \"%.*s\"", given, (int)got.n, got.p);
    blob_drop(head);
}

static void test_cookies(void **state) {
    (void)state;
    check_cookies("a=1; b=2", "a=1; b=2");
    check_cookies("mica-token=x", "(none)");
    check_cookies("a=1; mica-token=x; b=2", "a=1; b=2");
    check_cookies("micro-token=x; b=2", "b=2");
    check_cookies("a=1;MICA-x=1;__Host-mica-token=x;__Secure-Micro-y=z", "a=1");
    check_cookies("micah=1; a-mica-b=2", "micah=1; a-mica-b=2");
    check_cookies("", "(none)");
    check_cookies("\tmica-token=x;; =", "=");
}

static struct blob *leading(const struct http_header *pairs, size_t n) {
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) metadata_add(&b, pairs[i].name, pairs[i].value);
    return buf_take(&b);
}

static void test_answer_headers(void **state) {
    (void)state;
    static struct headers h;
    const struct http_header pairs[] = {header(":status", "200"),
                                        header("content-type", "text/x"),
                                        header("content-length", "5"),
                                        header("connection", "close"),
                                        header("transfer-encoding", "x"),
                                        header("keep-alive", "x"),
                                        header("trailer", "x"),
                                        header("set-cookie", "a=1"),
                                        header("set-cookie", "mica-token=1"),
                                        header("set-cookie", " __Host-mica-token=1"),
                                        header("x-y", "1"),
                                        header("x-y", "2")};
    struct blob *m = leading(pairs, sizeof pairs / sizeof pairs[0]);
    for (int own = 0; own < 2; own++) {
        struct buf text = {0};
        assert_true(headers_begin(&h, m, NULL, NULL));
        web_answer_headers(&h, m, own == 1);
        for (size_t i = 0; i < h.n; i++)
            buf_printf(&text, "%.*s=%.*s ", (int)h.items[i].name.n, h.items[i].name.p,
                       (int)h.items[i].value.n, h.items[i].value.p);
        assert_string_equal(
            buf_cstr(&text),
            own == 1 ? "content-type=text/x set-cookie=a=1 x-y=1 x-y=2 "
                     : "content-type=text/x content-length=5 set-cookie=a=1 x-y=1 x-y=2 ");
        buf_free(&text);
    }
    headers_free(&h);
    blob_drop(m);
}

static bool read_status(const char *status, struct web_answer *a) {
    const struct http_header pair = header(":status", status);
    struct blob *m = leading(&pair, 1);
    bool ok = web_answer_read(m, 0, a);
    blob_drop(m);
    return ok;
}

static bool read_piece(uint64_t from, uint64_t n, size_t bytes, struct web_answer *a) {
    uint64_t range[2] = {from, n};
    char value[sizeof range + 4];
    memcpy(value, range, sizeof range);
    memcpy(value + sizeof range, "text", 4);
    const struct http_header pairs[] = {header(":status", "206"),
                                        {str_of(":piece"), {value, bytes}}};
    struct blob *m = leading(pairs, 2);
    bool ok = web_answer_read(m, 10, a);
    blob_drop(m);
    return ok;
}

static void test_answers(void **state) {
    (void)state;
    struct web_answer a;
    static const char *const BAD[] = {"", "20", "2000", "199", "600", "2x0", "-20"};
    assert_true(read_status("200", &a));
    assert_int_equal(a.status, 200);
    assert_true(read_status("599", &a));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) assert_false(read_status(BAD[i], &a));
    assert_false(web_answer_read(NULL, 0, &a));
    assert_true(read_piece(2, 8, 16, &a));
    assert_int_equal(a.piece_count, 1);
    assert_int_equal(a.pieces[0].from, 2);
    assert_int_equal(a.pieces[0].n, 8);
    assert_int_equal(a.pieces[0].text.n, 0);
    assert_true(read_piece(10, 0, 20, &a));
    assert_false(read_piece(2, 9, 16, &a));
    assert_false(read_piece(11, 0, 16, &a));
    assert_false(read_piece(2, UINT64_MAX, 16, &a));
    assert_false(read_piece(0, 1, 15, &a));
    const struct http_header empty = {{"", 0}, {"", 0}}; // found by the fuzzer
    static struct headers h;
    struct blob *m = leading(&empty, 1);
    assert_true(headers_begin(&h, m, NULL, NULL));
    web_answer_headers(&h, m, true);
    headers_free(&h);
    blob_drop(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_answer_headers),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
