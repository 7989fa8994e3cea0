// SPDX-License-Identifier: Apache-2.0
// core/base/metrics.c: what services count. The series of one process are shared by all
// tests of this file, so each uses names of its own.
#include "base/metrics.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>

static struct str S(const char *text) {
    return str_of(text);
}

static bool
rendered(const char *piece) {
    struct buf out = {0};
    metrics_render(&out);
    assert_false(out.failed);
    bool found = strstr(buf_cstr(&out), piece) != NULL;
    if (!found) printf("not found: %s\nin:\n%s\n", piece, buf_cstr(&out));
    buf_free(&out);
    return found;
}

static void test_counter_adds(void **state) {
    (void)state;
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("adds"), S(""), 1));
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("adds"), S(""), 2.5));
    assert_true(rendered("# TYPE adds counter\nadds 3.5\n"));
}

static void test_counter_never_falls(void **state) {
    (void)state;
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("falls"), S(""), 4));
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S("falls"), S(""), -1));
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S("falls"), S(""), NAN));
    assert_true(rendered("\nfalls 4\n"));
}

static void test_gauge_keeps_the_last(void **state) {
    (void)state;
    assert_true(metrics_record(METRIC_GAUGE, S("me"), S("level"), S("place=\"a\""), 7));
    assert_true(metrics_record(METRIC_GAUGE, S("me"), S("level"), S("place=\"a\""), -2));
    assert_true(rendered("# TYPE level gauge\nlevel{place=\"a\"} -2\n"));
}

static void test_series_are_sorted_by_labels(void **state) {
    (void)state;
    metrics_record(METRIC_COUNTER, S("me"), S("sorted"), S("x=\"b\""), 1);
    metrics_record(METRIC_COUNTER, S("me"), S("sorted"), S("x=\"a\""), 1);
    metrics_record(METRIC_COUNTER, S("me"), S("sorted"), S(""), 1);
    assert_true(
        rendered("# TYPE sorted counter\nsorted 1\nsorted{x=\"a\"} 1\nsorted{x=\"b\"} 1\n"));
}

static void test_timing_is_a_cumulative_histogram(void **state) {
    (void)state;
    metrics_record(METRIC_TIMING, S("me"), S("took"), S("m=\"x\""),
                   0.001); // a bound belongs to its bucket
    metrics_record(METRIC_TIMING, S("me"), S("took"), S("m=\"x\""), 0.3);
    metrics_record(METRIC_TIMING, S("me"), S("took"), S("m=\"x\""), 60);
    assert_true(rendered("# TYPE took histogram\ntook_bucket{m=\"x\",le=\"0.0001\"} 0\n"));
    assert_true(rendered("took_bucket{m=\"x\",le=\"0.001\"} 1\n"));
    assert_true(rendered("took_bucket{m=\"x\",le=\"0.25\"} 1\n"));
    assert_true(rendered("took_bucket{m=\"x\",le=\"0.5\"} 2\n"));
    assert_true(rendered("took_bucket{m=\"x\",le=\"10\"} 2\n"));
    assert_true(rendered("took_bucket{m=\"x\",le=\"+Inf\"} 3\n"));
    assert_true(rendered("took_sum{m=\"x\"} 60.301\n"));
    assert_true(rendered("took_count{m=\"x\"} 3\n"));
    metrics_record(METRIC_TIMING, S("me"), S("took_bare"), S(""), 1);
    assert_true(rendered("took_bare_bucket{le=\"1\"} 1\n"));
    assert_false(metrics_record(METRIC_TIMING, S("me"), S("took"), S("m=\"x\""), INFINITY));
}

static void test_names_are_checked(void **state) {
    (void)state;
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S(""), S(""), 1));
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S("9lives"), S(""), 1));
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S("with space"), S(""), 1));
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S("dotted.name"), S(""), 1));
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("_a:9"), S(""), 1));
}

static void test_a_name_has_one_kind(void **state) {
    (void)state;
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("kind"), S(""), 1));
    assert_false(metrics_record(METRIC_GAUGE, S("me"), S("kind"), S(""), 1));
    assert_false(metrics_record(METRIC_TIMING, S("me"), S("kind"), S(""), 1));
    assert_true(rendered("# TYPE kind counter\nkind 1\n"));
}

static void test_numbers(void **state) {
    (void)state;
    metrics_record(METRIC_GAUGE, S("me"), S("number"), S("n=\"1\""), 1e15);
    metrics_record(METRIC_GAUGE, S("me"), S("number"), S("n=\"2\""), INFINITY);
    metrics_record(METRIC_GAUGE, S("me"), S("number"), S("n=\"3\""), -INFINITY);
    metrics_record(METRIC_GAUGE, S("me"), S("number"), S("n=\"4\""), NAN);
    metrics_record(METRIC_GAUGE, S("me"), S("number"), S("n=\"5\""), 123456789);
    assert_true(rendered("number{n=\"1\"} 1e+15\n"));
    assert_true(rendered("number{n=\"2\"} +Inf\n"));
    assert_true(rendered("number{n=\"3\"} -Inf\n"));
    assert_true(rendered("number{n=\"4\"} NaN\n"));
    assert_true(rendered("number{n=\"5\"} 123456789\n"));
}

static void test_names_of_histograms_are_taken(void **state) {
    (void)state;
    assert_true(metrics_record(METRIC_TIMING, S("me"), S("wait"), S(""), 1));
    assert_false(metrics_record(METRIC_COUNTER, S("me"), S("wait_count"), S(""), 1));
    assert_false(metrics_record(METRIC_GAUGE, S("me"), S("wait_bucket"), S(""), 1));
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("rest_sum"), S(""), 1));
    assert_false(metrics_record(METRIC_TIMING, S("me"), S("rest"), S(""), 1));
}

static void test_a_timing_is_no_negative_or_endless_time(void **state) {
    (void)state;
    assert_false(metrics_record(METRIC_TIMING, S("me"), S("span"), S(""), -1));
    assert_false(metrics_record(METRIC_TIMING, S("me"), S("span"), S(""), NAN));
    assert_false(metrics_record(METRIC_TIMING, S("me"), S("span"), S(""), 1e300));
}

static void test_an_owner_has_a_bound_and_an_end(void **state) {
    (void)state;
    for (int i = 0; i < METRICS_OWNER_MAX; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "i=\"%d\"", i);
        assert_true(metrics_record(METRIC_COUNTER, S("you"), S("yours"), S(labels), 1));
    }
    assert_false(metrics_record(METRIC_COUNTER, S("you"), S("yours"), S("i=\"x\""), 1));
    assert_true(metrics_record(METRIC_COUNTER, S("you"), S("yours"), S("i=\"5\""), 1));
    assert_true(metrics_record(METRIC_COUNTER, S("me"), S("yours"), S("i=\"x\""), 7));
    metrics_forget(S("nobody"));
    metrics_forget(S("you"));
    assert_true(rendered("# TYPE yours counter\nyours{i=\"x\"} 7\n"));
    assert_true(metrics_record(METRIC_GAUGE, S("you"), S("yours_now"), S(""), 1));
    metrics_forget(S("you"));
    assert_true(
        metrics_record(METRIC_COUNTER, S("me"), S("yours_now"), S(""), 1)); // the name is free
}

static void *count_many(void *unused) {
    (void)unused;
    for (int i = 0; i < 10000; i++) metrics_record(METRIC_COUNTER, S("me"), S("threads"), S(""), 1);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, NULL), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_true(rendered("\nthreads 40000\n"));
}

// Last: it fills the table.
static void test_a_full_table_drops_and_says_so(void **state) {
    (void)state;
    bool all = true;
    for (int i = 0; i < METRICS_MAX; i++) {
        char labels[32], owner[32];
        snprintf(labels, sizeof labels, "i=\"%d\"", i);
        snprintf(owner, sizeof owner, "owner %d", i / 500);
        all = metrics_record(METRIC_COUNTER, S(owner), S("many"), S(labels), 1) && all;
    }
    assert_false(all);
    assert_false(metrics_record(METRIC_COUNTER, S("new"), S("one_more"), S(""), 1));
    assert_true(metrics_record(METRIC_COUNTER, S("owner 0"), S("many"), S("i=\"0\""),
                               1)); // what is there goes on
    assert_true(rendered("many{i=\"0\"} 2\n"));
    assert_true(rendered("# TYPE mica_metrics_dropped_total counter\nmica_metrics_dropped_total "));
}

int main(void) {
    if (random_start() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter_adds),
        cmocka_unit_test(test_counter_never_falls),
        cmocka_unit_test(test_gauge_keeps_the_last),
        cmocka_unit_test(test_series_are_sorted_by_labels),
        cmocka_unit_test(test_timing_is_a_cumulative_histogram),
        cmocka_unit_test(test_names_are_checked),
        cmocka_unit_test(test_a_name_has_one_kind),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_names_of_histograms_are_taken),
        cmocka_unit_test(test_a_timing_is_no_negative_or_endless_time),
        cmocka_unit_test(test_an_owner_has_a_bound_and_an_end),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_a_full_table_drops_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
