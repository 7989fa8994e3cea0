// SPDX-License-Identifier: Apache-2.0
// gRPC-Web's text, cut at every place, and its trailers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/grpc_web.h"

#include <stdlib.h>

// A copy on the heap, so that the sanitizer sees what is read beyond it.
static bool decode(struct grpc_web_text *t, const char *text, size_t n, struct buf *out) {
    char *copy = malloc(n + 1);
    if (n > 0) memcpy(copy, text, n);
    bool sound = grpc_web_decode(t, (struct str){copy, n}, out);
    free(copy);
    return sound;
}

static void test_every_cut(void **state) {
    (void)state;
    static const struct {
        const char *text, *bytes;
    } ROWS[] = {{"", ""},
                {"aGVsbG8=", "hello"},
                {"aGVsbG8gd29ybGQ=", "hello world"},
                {"aA==ZQ==bA==bG8=", "hello"}, // each letter or two by itself
                {"aGVsbG8=aGVsbG8=", "hellohello"},
                {"aGVsYQ==aGVsbG8h", "helahello!"}};
    for (size_t row = 0; row < sizeof ROWS / sizeof ROWS[0]; row++) {
        size_t n = strlen(ROWS[row].text);
        for (size_t a = 0; a <= n; a++) {
            for (size_t b = a; b <= n; b++) {
                struct grpc_web_text t = {.n = 0};
                struct buf out = {0};
                assert_true(decode(&t, ROWS[row].text, a, &out));
                assert_true(decode(&t, ROWS[row].text + a, b - a, &out));
                assert_true(decode(&t, ROWS[row].text + b, n - b, &out));
                assert_int_equal(t.n, 0);
                assert_string_equal(buf_cstr(&out), ROWS[row].bytes);
                buf_free(&out);
            }
        }
    }
}

static void test_incomplete(void **state) {
    (void)state;
    struct grpc_web_text t = {.n = 0};
    struct buf out = {0};
    assert_true(decode(&t, "aGVsbG8", 7, &out));
    assert_int_equal(t.n, 3);
    assert_string_equal(buf_cstr(&out), "hel");
    buf_free(&out);
}

static void test_no_base64(void **state) {
    (void)state;
    static const char *const WRONG[] = {"=AAA",
                                        "A=AA",
                                        "A===",
                                        "====",
                                        "AA=A",
                                        "AA A",
                                        "AA\r\n",
                                        "aGVsbG8=A===",
                                        "aGVsbG8=\x80"
                                        "AAA",
                                        "AAAA*AAA"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        size_t n = strlen(WRONG[i]);
        for (size_t cut = 0; cut <= n; cut++) {
            struct grpc_web_text t = {.n = 0};
            struct buf out = {0};
            bool sound =
                decode(&t, WRONG[i], cut, &out) && decode(&t, WRONG[i] + cut, n - cut, &out);
            assert_false(sound);
            assert_false(out.failed);
            buf_free(&out);
        }
    }
}

static void test_frames_as_text(void **state) {
    (void)state;
    char body[40];
    memset(body, 'x', sizeof body);
    for (size_t n = 0; n <= sizeof body; n++) {
        unsigned char head[GRPC_FRAME_HEAD];
        struct buf text = {0}, bytes = {0};
        struct grpc_web_text t = {.n = 0};
        grpc_frame_head(head, n, false);
        grpc_web_put_text(&text, head, (struct str){body, n});
        assert_int_equal(text.n % 4, 0);
        assert_true(grpc_web_decode(&t, buf_str(&text), &bytes));
        assert_int_equal(bytes.n, GRPC_FRAME_HEAD + n);
        assert_memory_equal(buf_p(&bytes), head, sizeof head);
        assert_memory_equal(buf_p(&bytes) + sizeof head, body, n);
        buf_free(&text);
        buf_free(&bytes);
    }
}

static void test_trailers(void **state) {
    (void)state;
    struct headers h = {.n = 0};
    struct buf bytes = {0}, text = {0};
    assert_true(headers_begin(&h, NULL, NULL, NULL));
    headers_add(&h, "grpc-status", str_of("5"));
    headers_add(&h, "x-end", str_of("a b"));
    grpc_web_put_trailers(&bytes, &h, GRPC_WEB);
    static const char FRAME[] = "\x80\0\0\0\x1cgrpc-status: 5\r\nx-end: a b\r\n";
    assert_int_equal(bytes.n, sizeof FRAME - 1);
    assert_memory_equal(buf_p(&bytes), FRAME, sizeof FRAME - 1);
    grpc_web_put_trailers(&text, &h, GRPC_WEB_TEXT);
    assert_string_equal(buf_cstr(&text), "gAAAABxncnBjLXN0YXR1czogNQ0KeC1lbmQ6IGEgYg0K");
    headers_free(&h);
    buf_free(&bytes);
    buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut), cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_no_base64), cmocka_unit_test(test_frames_as_text),
        cmocka_unit_test(test_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
