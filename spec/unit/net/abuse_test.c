// SPDX-License-Identifier: Apache-2.0
// Budgets, the limited log, and who was thrown out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/abuse.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

static int spend_all(struct abuse_budgets *b, enum abuse kind) {
    int n = 0;
    while (n < 1000000 && abuse_spend(b, kind)) n++;
    return n;
}

static void test_budgets(void **state) {
    (void)state;
    struct abuse_budgets b;
    abuse_budgets_init(&b);
    // All that may come at once, and no more; each kind for itself.
    assert_in_range(spend_all(&b, ABUSE_RESETS), 300, 360);
    assert_false(abuse_spend(&b, ABUSE_RESETS));
    assert_true(abuse_spend(&b, ABUSE_PINGS));
    // Time fills it, 20 a second.
    usleep(300000);
    assert_in_range(spend_all(&b, ABUSE_RESETS), 4, 40);
    // Useful work fills it, up to the brim and not beyond.
    abuse_earn(&b, ABUSE_RESETS, 5);
    assert_in_range(spend_all(&b, ABUSE_RESETS), 5, 10);
    for (int i = 0; i < 1000; i++) abuse_earn(&b, ABUSE_RESETS, 1);
    assert_in_range(spend_all(&b, ABUSE_RESETS), 300, 360);
    abuse_earn(&b, ABUSE_WINDOW_UPDATES, 1000000);
    assert_in_range(spend_all(&b, ABUSE_WINDOW_UPDATES), 50000, 60000);
}

static struct {
    struct log_sink sink;
    int lines;
    char last[300];
} caught;

static void catch_line(struct log_sink *sink, const struct log_entry *e) {
    (void)sink;
    caught.lines++;
    snprintf(caught.last, sizeof caught.last, "%.*s", (int)e->text.n, e->text.p);
}

static void test_log(void **state) {
    (void)state;
    caught.sink.write = catch_line;
    log_set_sink(&caught.sink);
    for (int i = 0; i < 1000; i++)
        abuse_log("proxy", str_of("192.0.2.1:1234"), ABUSE_PINGS, "answers are not read");
    assert_int_equal(caught.lines, 1);
    assert_string_equal(caught.last,
                        "connection of 192.0.2.1:1234 ended: PING flood: answers are not read");
    abuse_log("proxy", str_of("192.0.2.1:99"), ABUSE_SETTINGS, ""); // the same peer
    abuse_log("proxy", str_of("192.0.2.2:99"), ABUSE_PINGS, "");    // the same kind
    assert_int_equal(caught.lines, 1);
    abuse_log("proxy", str_of("192.0.2.2:99"), ABUSE_SETTINGS, "");
    assert_int_equal(caught.lines, 2);
    assert_string_equal(
        caught.last,
        "connection of 192.0.2.2:99 ended: SETTINGS flood (1 more since the last line)");
    abuse_log("api", str_of("192.0.2.3:99"), ABUSE_PINGS, ""); // another door
    assert_int_equal(caught.lines, 3);
    log_set_sink(NULL);
    for (int kind = 0; kind < ABUSE_KINDS; kind++) assert_non_null(abuse_name(kind));
}

static void test_thrown_out(void **state) {
    (void)state;
    int64_t now = clock_now();
    assert_false(abuse_recent(str_of("192.0.2.7:1"), now));
    abuse_remember(str_of("192.0.2.7:1"), now);
    assert_true(abuse_recent(str_of("192.0.2.7:2"), now)); // whatever its port
    assert_false(abuse_recent(str_of("192.0.2.8:1"), now));
    assert_false(abuse_recent(str_of("192.0.2.7:1"), now + ABUSE_PENALTY));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_thrown_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
