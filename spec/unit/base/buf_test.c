// SPDX-License-Identifier: Apache-2.0
// Buffers, blobs, encodings, statuses and log fields.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"

#include <pthread.h>
#include <stdlib.h>

#define TEXT(b, want) assert_string_equal(buf_cstr(b), want)

static void test_building(void **state) {
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_str(&b).n, 0);
    TEXT(&b, "");
    buf_append_text(&b, "ab");
    buf_append_byte(&b, 'c');
    buf_append(&b, "", 0);
    buf_append_str(&b, str_of("de"));
    buf_printf(&b, "%d-%s", 42, "x");
    TEXT(&b, "abcde42-x");
    struct blob *blob = buf_take(&b);
    assert_int_equal(blob->n, 9);
    assert_memory_equal(blob->p, "abcde42-x", 9);
    assert_int_equal(b.n, 0);
    blob_drop(blob);
    blob = buf_take(&b); // empty, not NULL
    assert_non_null(blob);
    assert_int_equal(blob->n, 0);
    blob_drop(blob);
    blob_drop(NULL);
    assert_null(blob_hold(NULL));
    assert_int_equal(blob_str(NULL).n, 0);
}

static void test_growth(void **state) {
    (void)state;
    struct buf b = {0};
    unsigned moves = 0;
    for (int i = 0; i < 100000; i++) {
        size_t cap = b.cap;
        buf_append_byte(&b, (char)i);
        if (b.cap != cap) moves++;
    }
    assert_int_equal(b.n, 100000);
    assert_in_range(moves, 1, 30);
    for (int i = 0; i < 100000; i++) assert_int_equal(buf_p(&b)[i], (char)i);
    buf_free(&b);
}

static void test_no_memory_is_sticky(void **state) {
    (void)state;
    struct buf b = {0};
    buf_append_text(&b, "kept");
    assert_false(buf_reserve(&b, SIZE_MAX)); // overflows
    assert_true(b.failed);
    assert_int_equal(b.n, 4);
    buf_append_text(&b, "lost");
    assert_int_equal(b.n, 4);
    assert_null(buf_take(&b));
    assert_false(b.failed); // usable again
    buf_append_text(&b, "new");
    TEXT(&b, "new");
    assert_false(buf_reserve(&b, SIZE_MAX - 20)); // with the header it would wrap around
    buf_free(&b);
    assert_null(blob_new(NULL, SIZE_MAX - 4)); // would wrap around to a small block
}

static void *hold_and_drop(void *arg) {
    struct blob *blob = arg;
    for (int i = 0; i < 20000; i++) {
        blob_hold(blob);
        blob_drop(blob);
    }
    blob_drop(blob);
    return NULL;
}

static void test_blob_is_shared_by_threads(void **state) {
    (void)state;
    struct blob *blob = blob_new("x", 1);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, blob_hold(blob)), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&blob->refs), 1);
    blob_drop(blob);
}

// ---- encodings

static void test_hex(void **state) {
    (void)state;
    struct buf b = {0};
    hex_encode(&b, (struct str){"\x00\xff\x1a", 3});
    TEXT(&b, "00ff1a");
    b.n = 0;
    assert_true(hex_decode(&b, str_of("00FF1a")));
    assert_memory_equal(buf_p(&b), "\x00\xff\x1a", 3);
    assert_false(hex_decode(&b, str_of("abc")));
    assert_false(hex_decode(&b, str_of("0g")));
    buf_free(&b);
}

static void test_base64(void **state) {
    (void)state;
    static const char *const PAIRS[][2] = {// RFC 4648 section 10
                                           {"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof PAIRS / sizeof PAIRS[0]; i++) {
        b.n = 0;
        base64_encode(&b, str_of(PAIRS[i][0]));
        TEXT(&b, PAIRS[i][1]);
        struct str text = str_of(PAIRS[i][1]);
        b.n = 0;
        assert_true(base64_decode(&b, text));
        TEXT(&b, PAIRS[i][0]);
        while (text.n > 0 && text.p[text.n - 1] == '=') text.n--; // unpadded is fine
        b.n = 0;
        assert_true(base64_decode(&b, text));
        TEXT(&b, PAIRS[i][0]);
    }
    b.n = 0;
    assert_true(base64_decode(&b, str_of("-_+/"))); // both alphabets
    assert_memory_equal(buf_p(&b), "\xfb\xff\xbf", 3);
    static const char *const BAD[] = {
        "Z", "Zg=", "Zg===", "Z===", "====", "Zm 9v", "Zm9v\n", "Zm=v"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_false(base64_decode(&b, str_of(BAD[i])));
    buf_free(&b);
}

static void test_round_trips(void **state) {
    (void)state;
    for (size_t n = 0; n < 200; n++) {
        char bytes[200];
        random_bytes(bytes, sizeof bytes);
        struct buf text = {0}, back = {0};
        base64_encode(&text, (struct str){bytes, n});
        assert_true(base64_decode(&back, buf_str(&text)));
        assert_true(str_equal(buf_str(&back), (struct str){bytes, n}));
        text.n = back.n = 0;
        percent_encode_message(&text, (struct str){bytes, n});
        for (size_t i = 0; i < text.n; i++) assert_in_range(buf_p(&text)[i], 0x20, 0x7E);
        percent_decode(&back, buf_str(&text), false);
        assert_true(str_equal(buf_str(&back), (struct str){bytes, n}));
        buf_free(&text);
        buf_free(&back);
    }
}

static void test_percent(void **state) {
    (void)state;
    struct buf b = {0};
    percent_encode_message(&b, str_of("a b%c\n\xc3\xa4"));
    TEXT(&b, "a b%25c%0A%C3%A4");
    static const char *const PAIRS[][2] = {{"%41%42", "AB"}, {"%4", "%4"},   {"%", "%"},
                                           {"%zz", "%zz"},   {"a%2", "a%2"}, {"%%41", "%A"},
                                           {"a+b", "a+b"}};
    for (size_t i = 0; i < sizeof PAIRS / sizeof PAIRS[0]; i++) {
        b.n = 0;
        percent_decode(&b, str_of(PAIRS[i][0]), false);
        TEXT(&b, PAIRS[i][1]);
    }
    b.n = 0;
    percent_decode(&b, str_of("a+b%2B"), true);
    TEXT(&b, "a b+");
    buf_free(&b);
}

static void test_utf8(void **state) {
    (void)state;
    static const char *const GOOD[] = {"",
                                       "abc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "twelve bytes\xc3\xa4 and more than eight"};
    static const char *const BAD[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc2", "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5", "\xff",
        "\xe2\x82",     "12345678\xff",     "1234567\xc3"};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_true(utf8_valid(str_of(GOOD[i])));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_false(utf8_valid(str_of(BAD[i])));
    // All code points: what utf8_put writes is valid, except the surrogates.
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[4];
        size_t n = utf8_put(bytes, c);
        assert_in_range(n, 1, 4);
        bool valid = utf8_valid((struct str){bytes, n});
        if (valid != (c < 0xD800 || c > 0xDFFF)) fail_msg("code point %x", c);
    }
}

// ---- status and log

static void test_status(void **state) {
    (void)state;
    for (int code = 0; code <= 16; code++)
        assert_int_equal(status_from_name(status_name(code)), code);
    assert_int_equal(status_from_name("nonsense"), -1);
    assert_string_equal(status_name(17), "UNKNOWN");
    assert_string_equal(status_name(-1), "UNKNOWN");
    assert_int_equal(status_http(STATUS_NOT_FOUND), 404);
    assert_int_equal(status_http(99), 500);
    assert_int_equal(status_from_http(503), STATUS_UNAVAILABLE);
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(202), "Accepted");
    assert_string_equal(http_reason(299), "Unknown");
    struct err err;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(err_set(&err, STATUS_ABORTED, "%s", text), -STATUS_ABORTED);
    assert_int_equal(strlen(err.text), sizeof err.text - 1); // cut, not overrun
    assert_int_equal(err_set(NULL, STATUS_ABORTED, "x"), -STATUS_ABORTED);
}

static void field(const char *value, const char *want) {
    struct buf b = {0};
    log_field(&b, str_of("k"), str_of(value));
    TEXT(&b, want);
    buf_free(&b);
}

static void test_log_fields(void **state) {
    (void)state;
    field("v", " k=v");
    field("", " k=\"\"");
    field("a b", " k=\"a b\"");
    field("a=b", " k=\"a=b\"");
    field("a\"b", " k=\"a\\\"b\"");
    field("a\nb", " k=\"a\\nb\"");
    field("a\x1b[0m", " k=\"a\\x1b[0m\"");
    field("\\ x", " k=\"\\\\ x\"");
    field("\xc3\xa4", " k=\xc3\xa4");
    assert_int_equal(log_level_parse("warn"), LOG_WARN);
    assert_int_equal(log_level_parse("off"), LOG_OFF);
    assert_int_equal(log_level_parse("loud"), -1);
    log_set_level(LOG_WARN);
    assert_false(log_wants(LOG_INFO));
    assert_true(log_wants(LOG_ERROR));
    log_set_level(LOG_INFO);
}

static int start(void **state) {
    (void)state;
    return random_start();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_building),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_no_memory_is_sticky),
        cmocka_unit_test(test_blob_is_shared_by_threads),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_log_fields),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
