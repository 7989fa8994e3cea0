// SPDX-License-Identifier: Apache-2.0
// The tokenizer, numbers and strings, the texts of well-known types.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pb/json_lex.h"
#include "pb/json_wkt.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// The tokens of a text, one letter each; a fault as '!' with its offset behind.
static const char *tokens(struct str text) {
    static char out[500];
    struct buf scratch = {0};
    struct json_lex lex;
    json_lex_init(&lex, text, &scratch);
    size_t n = 0;
    for (;;) {
        enum json_token token = json_next(&lex);
        if (token == JSON_ERROR) {
            snprintf(out + n, sizeof out - n, "!%zu", lex.offset);
            assert_non_null(lex.error);
            break;
        }
        assert_true(n < sizeof out - 30);
        out[n++] = ".!{}[]ksntf0"[token];
        out[n] = '\0';
        if (token == JSON_END) break;
    }
    assert_int_equal(json_next(&lex), lex.error != NULL ? JSON_ERROR : JSON_END); // it stays there
    buf_free(&scratch);
    return out;
}

static void check_tokens(const char *text, const char *wanted) {
    // An exact copy on the heap, so that the sanitizer sees a byte read too much.
    size_t n = strlen(text);
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    char *place = copy + 1;
    memcpy(place, text, n);
    assert_string_equal(tokens((struct str){place, n}), wanted);
    free(copy);
}

static void test_grammar(void **state) {
    (void)state;
    check_tokens("{}", "{}.");
    check_tokens(" [ ] ", "[].");
    check_tokens("{\"a\":[1,2.5e3,-0,\"x\",true,false,null,{\"b\":{}}]}", "{k[nnnstf0{k{}}]}.");
    check_tokens("17", "n.");
    check_tokens("\"\"", "s.");
    check_tokens("", "!0");
    check_tokens("  ", "!2");
    check_tokens("{", "{!1");
    check_tokens("[1", "[n!2");
    check_tokens("[1,]", "[n!3");
    check_tokens("[,1]", "[!1");
    check_tokens("{\"a\":1,}", "{kn!7");
    check_tokens("{\"a\" 1}", "{!5");
    check_tokens("{a:1}", "{!1");
    check_tokens("{1:1}", "{!1");
    check_tokens("{\"a\":}", "{k!5");
    check_tokens("[1 2]", "[n!3");
    check_tokens("[1}", "[n!2");
    check_tokens("{\"a\":1]", "{kn!6");
    check_tokens("]", "!0");
    check_tokens("1 1", "n!2");
    check_tokens("{}{}", "{}!2");
    check_tokens("nul", "!0");
    check_tokens("True", "!0");
    check_tokens("'a'", "!0");
    check_tokens("// a\n1", "!0");
    check_tokens("NaN", "!0");
    check_tokens("\xEF\xBB\xBF{}", "!0");
    check_tokens("[1\v]", "[n!2");
}

static void test_numbers_grammar(void **state) {
    (void)state;
    static const char *const GOOD[] = {"0",   "-0",   "10",    "1.5",     "0.5",
                                       "1e5", "1E+5", "1e-05", "-1.25e10"};
    static const char *const BAD[] = {"01", "-",   "+1",  ".5",   "1.",  "1.e5",
                                      "1e", "1e+", "-01", "0x10", "1_0", "--1"};
    double v;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        check_tokens(GOOD[i], "n.");
        assert_true(json_double(str_of(GOOD[i]), &v));
        assert_true(v == strtod(GOOD[i], NULL));
    }
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_non_null(strchr(tokens(str_of(BAD[i])), '!'));
        assert_false(json_double(str_of(BAD[i]), &v));
    }
    assert_false(json_double(str_of(" 1"), &v));
    assert_false(json_double(str_of("1 "), &v));
    assert_false(json_double(str_of(""), &v));
    assert_false(json_double(str_of("nan"), &v));
}

static void check_string(const char *json, const char *wanted) {
    struct buf scratch = {0};
    struct json_lex lex;
    json_lex_init(&lex, str_of(json), &scratch);
    enum json_token token = json_next(&lex);
    if (wanted == NULL) {
        assert_int_equal(token, JSON_ERROR);
    } else {
        assert_int_equal(token, JSON_STRING);
        assert_int_equal(lex.text.n, strlen(wanted));
        assert_memory_equal(lex.text.p, wanted, lex.text.n);
        bool escaped = strchr(json, '\\') != NULL;
        assert_int_equal(escaped, scratch.blob != NULL); // without escapes, a slice of the input
    }
    buf_free(&scratch);
}

static void test_strings(void **state) {
    (void)state;
    check_string("\"plain\"", "plain");
    check_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    check_string("\"a\\u0041\\u00e9\\u65E5z\"", "aA\xC3\xA9\xE6\x97\xA5z");
    check_string("\"\\ud83d\\uDE00\"", "\xF0\x9F\x98\x80");
    check_string("\"\xC3\xA9\xF0\x9F\x98\x80\"", "\xC3\xA9\xF0\x9F\x98\x80");
    check_string("\"\\ud83d\"", NULL);
    check_string("\"\\ud83dx\"", NULL);
    check_string("\"\\ud83d\\u0041\"", NULL);
    check_string("\"\\ude00\"", NULL);
    check_string("\"\\u12\"", NULL);
    check_string("\"\\u12G4\"", NULL);
    check_string("\"\\x41\"", NULL);
    check_string("\"open", NULL);
    check_string("\"open\\", NULL);
    check_string("\"a\nb\"", NULL);
    check_string("\"a\x01\"", NULL);
    check_string("\"\xC3\"", NULL);         // cut off
    check_string("\"\xC0\xAF\"", NULL);     // overlong
    check_string("\"\xED\xA0\x80\"", NULL); // a surrogate
    check_string("\"\xC3\\u00a9\"", NULL);
}

static void test_depth(void **state) {
    (void)state;
    struct buf text = {0};
    struct buf scratch = {0};
    struct json_lex lex;
    for (int i = 0; i < JSON_MAX_DEPTH + 1; i++) buf_append_byte(&text, '[');
    json_lex_init(&lex, buf_str(&text), &scratch);
    for (unsigned i = 1; i <= JSON_MAX_DEPTH; i++) {
        assert_int_equal(json_next(&lex), JSON_ARRAY);
        assert_int_equal(lex.depth, i);
    }
    assert_int_equal(json_next(&lex), JSON_ERROR);
    buf_free(&text);

    json_lex_init(&lex, str_of("[{\"a\":[[1],{\"b\":2}]},7]"), &scratch);
    assert_int_equal(json_next(&lex), JSON_ARRAY);
    assert_true(json_skip(&lex, json_next(&lex)));
    assert_int_equal(lex.depth, 1);
    assert_int_equal(json_next(&lex), JSON_NUMBER);
    assert_true(json_skip(&lex, JSON_NUMBER));
    assert_int_equal(json_next(&lex), JSON_ARRAY_END);
    json_lex_init(&lex, str_of("[[1"), &scratch);
    assert_false(json_skip(&lex, json_next(&lex)));
    buf_free(&scratch);
}

static void test_position(void **state) {
    (void)state;
    struct buf scratch = {0};
    struct json_lex lex;
    unsigned line, column;
    json_lex_init(&lex, str_of("{\n  \"a\": x}"), &scratch);
    while (json_next(&lex) != JSON_ERROR) {
    }
    json_position(&lex, lex.offset, &line, &column);
    assert_int_equal(line, 2);
    assert_int_equal(column, 8);
}

static void check_i64(const char *text, bool good, int64_t wanted) {
    int64_t v = 0;
    assert_int_equal(json_i64(str_of(text), &v), good);
    if (good) assert_true(v == wanted);
}

static void check_u64(const char *text, bool good, uint64_t wanted) {
    uint64_t v = 0;
    assert_int_equal(json_u64(str_of(text), &v), good);
    if (good) assert_true(v == wanted);
}

static void test_integers(void **state) {
    (void)state;
    check_i64("0", true, 0);
    check_i64("-0", true, 0);
    check_i64("1e3", true, 1000);
    check_i64("1.0", true, 1);
    check_i64("1.50e1", true, 15);
    check_i64("1000e-3", true, 1);
    check_i64("0.00e999999999999", true, 0);
    check_i64("9223372036854775807", true, INT64_MAX);
    check_i64("9223372036854775808", false, 0);
    check_i64("-9223372036854775808", true, INT64_MIN);
    check_i64("-9223372036854775809", false, 0);
    check_i64("9007199254740993", true, 9007199254740993);
    check_i64("9.007199254740993e15", true, 9007199254740993);
    check_i64("1.00000000000000000000000000000000", true, 1);
    check_i64("0.5", false, 0);
    check_i64("1e-1", false, 0);
    check_i64("1e19", false, 0);
    check_i64("1e999999999999", false, 0);
    check_i64("123456789012345678901234567890", false, 0);
    check_i64("1.00000000000000000000000000000001", false, 0);
    check_u64("18446744073709551615", true, UINT64_MAX);
    check_u64("18446744073709551616", false, 0);
    check_u64("-1", false, 0);
    check_u64("-0", true, 0);
}

static void test_floats(void **state) {
    (void)state;
    double d;
    float f;
    assert_true(json_double(str_of("1.7976931348623157e308"), &d) && d == DBL_MAX);
    assert_false(json_double(str_of("1.7976931348623159e308"), &d));
    assert_false(json_double(str_of("1e999999999999"), &d));
    assert_true(json_double(str_of("1e-999999999999"), &d) && d == 0);
    assert_true(json_double(str_of("5e-324"), &d) && d > 0);
    assert_true(json_double(str_of("-0"), &d) && signbit(d) != 0);
    assert_true(json_double(str_of("123456789012345678901234567890"), &d) &&
                d == 123456789012345678901234567890.0);
    assert_true(json_float(str_of("3.4028235e38"), &f) && f == FLT_MAX);
    assert_false(json_float(str_of("3.5e38"), &f));
    assert_true(json_float(str_of("0.1"), &f) && f == 0.1F);
    assert_true(json_float(str_of("16777217"), &f) && f == 16777216.0F);
    // A number far longer than any buffer on the stack.
    struct buf text = {0};
    buf_append_text(&text, "0.");
    for (int i = 0; i < 3000; i++) buf_append_byte(&text, '3');
    assert_true(json_double(buf_str(&text), &d) && d == 1.0 / 3);
    // Places and an exponent beyond what is counted do not cancel out.
    int64_t i;
    text.n = 2;
    for (int k = 0; k < 1500000; k++) buf_append_byte(&text, '0');
    buf_append_text(&text, "1e1000000");
    assert_true(json_double(buf_str(&text), &d) && d == 0);
    assert_false(json_i64(buf_str(&text), &i));
    buf_free(&text);
}

static void check_put(double v, const char *wanted) {
    struct buf out = {0};
    json_put_double(&out, v);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
}

static void check_put_float(float v, const char *wanted) {
    struct buf out = {0};
    json_put_float(&out, v);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
}

static void test_shortest(void **state) {
    (void)state;
    check_put(0, "0");
    check_put(-0.0, "-0.0");
    check_put(1, "1");
    check_put(-1.5, "-1.5");
    check_put(0.1, "0.1");
    check_put(0.1 + 0.2, "0.30000000000000004");
    check_put(123456.789, "123456.789");
    check_put(9007199254740993.0, "9007199254740992");
    check_put(5e-324, "5e-324");
    check_put(1e23, "1e+23");
    check_put(DBL_MAX, "1.7976931348623157e+308");
    check_put((double)NAN, "\"NaN\"");
    check_put(-(double)INFINITY, "\"-Infinity\"");
    check_put_float(0.1F, "0.1");
    check_put_float(16777216.0F, "16777216");
    check_put_float(FLT_MAX, "3.4028235e+38");
    check_put_float(1e-45F, "1e-45");
    check_put_float(1.0F / 3, "0.33333334");
    uint64_t seed = 88172645463325252ULL;
    for (int i = 0; i < 20000; i++) { // any bits read back as they were
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        double d, again;
        float f, f_again;
        uint32_t half = (uint32_t)seed;
        memcpy(&d, &seed, sizeof d);
        memcpy(&f, &half, sizeof f);
        if (i % 2 == 0) d = (double)(int64_t)(seed % 100000000) / 1000;
        struct buf out = {0};
        json_put_double(&out, d);
        if (isfinite(d)) assert_true(json_double(buf_str(&out), &again) && again == d);
        out.n = 0;
        json_put_float(&out, f);
        if (isfinite(f)) assert_true(json_float(buf_str(&out), &f_again) && f_again == f);
        buf_free(&out);
    }
}

static void test_put_string(void **state) {
    (void)state;
    struct buf out = {0};
    json_put_string(&out, (struct str){"a\"\\\b\f\n\r\t\0\x1f\x7f</é", 15});
    assert_string_equal(buf_cstr(&out), "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f</é\"");
    out.n = 0;
    json_put_i64(&out, INT64_MIN);
    json_put_u64(&out, UINT64_MAX);
    assert_string_equal(buf_cstr(&out), "-922337203685477580818446744073709551615");
    buf_free(&out);
}

static void check_time(const char *text, const char *again, int64_t seconds, int32_t nanos) {
    int64_t s;
    int32_t n;
    struct buf out = {0};
    assert_true(wkt_read_timestamp(str_of(text), &s, &n));
    assert_true(s == seconds);
    assert_int_equal(n, nanos);
    assert_true(wkt_put_timestamp(&out, s, n));
    assert_string_equal(buf_cstr(&out), again);
    buf_free(&out);
}

static void test_timestamps(void **state) {
    (void)state;
    check_time("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0, 0);
    check_time("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", -62135596800, 0);
    check_time("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z", 253402300799,
               999999999);
    check_time("2024-02-29T12:00:00.5+05:30", "2024-02-29T06:30:00.500Z", 1709188200, 500000000);
    check_time("1969-12-31T23:59:59.000001-00:00", "1969-12-31T23:59:59.000001Z", -1, 1000);
    static const char *const BAD[] = {
        "2023-02-29T00:00:00Z",      "1900-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",      "2024-00-01T00:00:00Z",
        "2024-01-00T00:00:00Z",      "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",      "2024-01-01T00:00:60Z",
        "2024-01-01t00:00:00Z",      "2024-01-01T00:00:00z",
        "2024-01-01 00:00:00Z",      "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",     "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T00:00:00+0100",  "2024-01-01T00:00:00+24:00",
        "0000-01-01T00:00:00Z",      "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00", "2024-1-01T00:00:00Z",
        "2024-01-01T00:00:00ZZ",     ""};
    int64_t s;
    int32_t n;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        if (wkt_read_timestamp(str_of(BAD[i]), &s, &n)) fail_msg("%s is accepted", BAD[i]);
    }
    struct buf out = {0};
    assert_false(wkt_put_timestamp(&out, -62135596801, 0));
    assert_false(wkt_put_timestamp(&out, 253402300800, 0));
    assert_false(wkt_put_timestamp(&out, 0, -1));
    assert_false(wkt_put_timestamp(&out, 0, 1000000000));
    assert_int_equal(out.n, 0);
}

static void test_durations(void **state) {
    (void)state;
    static const struct {
        const char *text, *again;
        int64_t seconds;
        int32_t nanos;
    } GOOD[] = {{"0s", "0s", 0, 0},
                {"-0.5s", "-0.500s", 0, -500000000},
                {"1.000000001s", "1.000000001s", 1, 1},
                {"-3.1s", "-3.100s", -3, -100000000},
                {"315576000000s", "315576000000s", 315576000000, 0}};
    static const char *const BAD[] = {"1",
                                      "s",
                                      "1.s",
                                      ".5s",
                                      "+1s",
                                      "--1s",
                                      "1.0000000001s",
                                      "315576000001s",
                                      "1 s",
                                      "1sec",
                                      "99999999999999999999999s",
                                      ""};
    int64_t s;
    int32_t n;
    struct buf out = {0};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        assert_true(wkt_read_duration(str_of(GOOD[i].text), &s, &n));
        assert_true(s == GOOD[i].seconds && n == GOOD[i].nanos);
        out.n = 0;
        assert_true(wkt_put_duration(&out, s, n));
        assert_string_equal(buf_cstr(&out), GOOD[i].again);
    }
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        if (wkt_read_duration(str_of(BAD[i]), &s, &n)) fail_msg("%s is accepted", BAD[i]);
    }
    out.n = 0;
    assert_false(wkt_put_duration(&out, 1, -1));
    assert_false(wkt_put_duration(&out, -1, 1));
    assert_false(wkt_put_duration(&out, 315576000001, 0));
    assert_false(wkt_put_duration(&out, 0, 1000000000));
    assert_int_equal(out.n, 0);
    buf_free(&out);
}

static void test_masks(void **state) {
    (void)state;
    struct buf out = {0};
    assert_true(wkt_put_snake(&out, str_of("fooBar.bazQux1")));
    assert_string_equal(buf_cstr(&out), "foo_bar.baz_qux1");
    out.n = 0;
    assert_true(wkt_put_camel(&out, str_of("foo_bar.baz_qux1")));
    assert_string_equal(buf_cstr(&out), "fooBar.bazQux1");
    size_t before = out.n;
    assert_false(wkt_put_snake(&out, str_of("foo_bar")));
    static const char *const BAD[] = {"fooBar",  "foo_3", "foo__bar", "foo_",
                                      "foo_Bar", "a,b",   "a\"b"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_false(wkt_put_camel(&out, str_of(BAD[i])));
    assert_int_equal(out.n, before);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar),    cmocka_unit_test(test_numbers_grammar),
        cmocka_unit_test(test_strings),    cmocka_unit_test(test_depth),
        cmocka_unit_test(test_position),   cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats),     cmocka_unit_test(test_shortest),
        cmocka_unit_test(test_put_string), cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_durations),  cmocka_unit_test(test_masks),
    };
    return cmocka_run_group_tests_name("json_lex", tests, NULL, NULL);
}
