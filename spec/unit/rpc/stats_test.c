// SPDX-License-Identifier: Apache-2.0
// core/rpc/stats.c: series of calls, counted by loops and added up.
#include "rpc/stats.h"

#include "base/random.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

static struct call_stats loops[2];
static struct call_stats *const LOOPS[] = {&loops[0], &loops[1]};

static uint32_t series(const char *service, const char *endpoint) {
    return call_series("proxy", str_of("mica"), str_of(service), str_of(endpoint));
}

static void count(struct call_stats *s, uint32_t number, int status) {
    struct call_counts *c = call_stats_at(s, number);
    call_counts_begin(c);
    call_counts_end(c, status);
    if (c != NULL) histogram_observe(&c->seconds, 2000000);
}

static bool rendered(const char *piece) {
    struct buf out = {0};
    call_stats_render(LOOPS, 2, &out);
    assert_false(out.failed);
    bool found = strstr(buf_cstr(&out), piece) != NULL;
    buf_free(&out);
    return found;
}

#define SAVE "{door=\"proxy\",namespace=\"mica\",service=\"posts\",endpoint=\"Posts.Save\""

static void test_a_series_has_one_number(void **state) {
    (void)state;
    uint32_t a = series("posts", "Posts.Save");
    assert_int_not_equal(a, CALL_SERIES_NONE);
    assert_int_equal(series("posts", "Posts.Save"), a);
    assert_int_not_equal(series("posts", "Posts.Read"), a);
    assert_int_not_equal(call_series("api", str_of("mica"), str_of("posts"), str_of("Posts.Save")),
                         a);
}

static void test_loops_are_added_up(void **state) {
    (void)state;
    uint32_t a = series("posts", "Posts.Save");
    assert_false(rendered(SAVE)); // nothing yet
    count(&loops[0], a, STATUS_OK);
    count(&loops[1], a, STATUS_OK);
    count(&loops[1], a, STATUS_NOT_FOUND);
    count(&loops[1], a, 99);
    call_counts_begin(call_stats_at(&loops[0], a));
    assert_true(rendered("mica_calls_total" SAVE ",code=\"OK\"} 2\n"));
    assert_true(rendered("mica_calls_total" SAVE ",code=\"NOT_FOUND\"} 1\n"));
    assert_true(rendered("mica_calls_total" SAVE ",code=\"UNKNOWN\"} 1\n"));
    assert_true(rendered("mica_calls_in_flight" SAVE "} 1\n"));
    assert_true(rendered("mica_call_duration_seconds_bucket" SAVE ",le=\"0.0025\"} 4\n"));
    assert_true(rendered("mica_call_duration_seconds_sum" SAVE "} 0.008\n"));
}

static void test_pages_are_not_counted(void **state) {
    (void)state;
    assert_null(call_stats_at(&loops[0], CALL_SERIES_NONE));
    count(&loops[0], CALL_SERIES_NONE, STATUS_OK);
}

static void *count_many(void *arg) {
    uint32_t a = series("busy", "Busy.Call");
    for (int i = 0; i < 200000; i++) count(arg, a, STATUS_OK);
    return NULL;
}

static void test_reading_while_loops_count(void **state) {
    (void)state;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, &loops[i]), 0);
    for (int i = 0; i < 50; i++) rendered("");
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_true(rendered("service=\"busy\",endpoint=\"Busy.Call\",code=\"OK\"} 400000\n"));
}

// Last: it fills the table.
static void test_the_number_of_series_is_bounded(void **state) {
    (void)state;
    const struct str none = {"", 0};
    uint32_t last = 0;
    for (int i = 0; i < CALL_SERIES_MAX + 10; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%d", i);
        last = series(name, "S.Call");
        assert_true(last != CALL_SERIES_NONE && last < CALL_SERIES_MAX);
    }
    assert_int_equal(last, call_series("proxy", none, none, none));
    assert_int_not_equal(call_series("api", none, none, none), last);
    count(&loops[0], last, STATUS_OK);
    assert_true(rendered("mica_calls_total{door=\"proxy\",namespace=\"\",service=\"\",endpoint="
                         "\"\",code=\"OK\"} 1\n"));
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) call_stats_free(&loops[i]);
    return 0;
}

int main(void) {
    if (random_start() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_series_has_one_number),
        cmocka_unit_test(test_loops_are_added_up),
        cmocka_unit_test(test_pages_are_not_counted),
        cmocka_unit_test(test_reading_while_loops_count),
        cmocka_unit_test(test_the_number_of_series_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
