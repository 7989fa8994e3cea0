// SPDX-License-Identifier: Apache-2.0
// core/base/exposition.c, histogram.c and counters.c: Prometheus' text format 0.0.4 and what is written in it.
#include "base/exposition.h"

#include "base/counters.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>

static struct buf out;

static void expect(const char *text) {
    assert_false(out.failed);
    assert_string_equal(buf_cstr(&out), text);
    buf_free(&out);
}

static void test_labels_are_escaped(void **state) {
    (void)state;
    exposition_label(&out, "service", str_of("posts"));
    exposition_label(&out, "tag", str_of("a\"b\\c\nd"));
    exposition_label(&out, "text", str_of("gr\xc3\xbc\xc3\x9f"));
    exposition_label(&out, "bytes", str_of("a\xff"));
    exposition_label(&out, "empty", str_of(""));
    expect("service=\"posts\",tag=\"a\\\"b\\\\c\\nd\",text=\"gr\xc3\xbc\xc3\x9f\",bytes=\"a?\","
           "empty=\"\"");
}

static void test_samples(void **state) {
    (void)state;
    exposition_family(&out, "x_total", "counter", "What x is.");
    exposition_sample(&out, "x_total", str_of(""), 3);
    exposition_sample(&out, "x_total", str_of("a=\"b\""), 0.1);
    expect("# HELP x_total What x is.\n# TYPE x_total counter\nx_total 3\nx_total{a=\"b\"} 0.1\n");
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } CASES[] = {{0, "0"},
                 {-0.25, "-0.25"},
                 {1e15, "1e+15"},
                 {123456789012345, "123456789012345"},
                 {9007199254740992, "9007199254740992"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {INFINITY, "+Inf"},
                 {-INFINITY, "-Inf"},
                 {NAN, "NaN"}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        exposition_number(&out, CASES[i].value);
        expect(CASES[i].text);
    }
}

static void test_buckets(void **state) {
    (void)state;
    struct histogram h = {0}, other = {0};
    struct histogram_sum sum = {0};
    histogram_observe(&h, 0);
    histogram_observe(&h, -5);     // two clocks: no time
    histogram_observe(&h, 100000); // a bound belongs to its bucket
    histogram_observe(&h, 100001);
    histogram_observe(&other, INT64_C(11000000000));
    histogram_add_to(&h, &sum);
    histogram_add_to(&other, &sum);
    assert_int_equal(sum.buckets[0], 3);
    assert_int_equal(sum.buckets[1], 1);
    assert_int_equal(sum.buckets[HISTOGRAM_BOUNDS], 1);
    assert_int_equal(sum.count, 5);
    exposition_histogram(&out, "t_seconds", str_of("a=\"b\""), &sum);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text, "t_seconds_bucket{a=\"b\",le=\"0.0001\"} 3\n"));
    assert_non_null(strstr(text, "t_seconds_bucket{a=\"b\",le=\"0.00025\"} 4\n"));
    assert_non_null(strstr(text, "t_seconds_bucket{a=\"b\",le=\"10\"} 4\n"));
    assert_non_null(strstr(text,
                           "t_seconds_bucket{a=\"b\",le=\"+Inf\"} 5\n"
                           "t_seconds_sum{a=\"b\"} 11.000200001\nt_seconds_count{a=\"b\"} 5\n"));
    buf_free(&out);
}

static void test_bounds_ascend_and_match_their_text(void **state) {
    (void)state;
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        exposition_number(&out, (double)HISTOGRAM_BOUND[i] / 1e9);
        expect(HISTOGRAM_TEXT[i]);
        if (i > 0) assert_true(HISTOGRAM_BOUND[i] > HISTOGRAM_BOUND[i - 1]);
    }
}

// ---- counters
static int64_t sum_of(enum counter c) {
    int64_t n[COUNTERS];
    counters_sum(n);
    return n[c];
}

static void *raise_many(void *arg) {
    (void)arg;
    for (int i = 0; i < 100000; i++) counter_add(COUNTER_MESSAGES, 2);
    for (int i = 0; i < 100000; i++) counter_add(COUNTER_STREAMS, -1);
    return NULL;
}

static void test_counters_of_threads_that_are_and_were(void **state) {
    (void)state;
    pthread_t threads[4];
    int64_t before = sum_of(COUNTER_MESSAGES), streams = sum_of(COUNTER_STREAMS);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, raise_many, NULL), 0);
    for (int i = 0; i < 400000; i++) counter_add(COUNTER_STREAMS, 1);
    assert_true(sum_of(COUNTER_MESSAGES) >= before); // read while they count
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(sum_of(COUNTER_MESSAGES), before + 800000);
    assert_int_equal(sum_of(COUNTER_STREAMS), streams);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_bounds_ascend_and_match_their_text),
        cmocka_unit_test(test_counters_of_threads_that_are_and_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
