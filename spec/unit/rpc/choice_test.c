// SPDX-License-Identifier: Apache-2.0
// Which address a call goes to, and which are left out.
#include "base/clock.h"
#include "rpc/choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N 4
#define SECOND NS_PER_SECOND

static struct choice list[N];
static size_t turn;

static int set_up(void **state) {
    (void)state;
    memset(list, 0, sizeof list);
    turn = 0;
    for (int i = 0; i < N; i++) list[i].room = true;
    return 0;
}

static void test_ties_in_turn(void **state) {
    (void)state;
    for (size_t i = 0; i < 3 * N; i++) assert_int_equal(choice_pick(list, N, &turn, 1), i % N);
}

static void test_fewest_calls(void **state) {
    (void)state;
    size_t given[N] = {0};
    list[0].calls = 7;
    list[2].calls = 3;
    for (int i = 0; i < 20; i++) { // none of them ends
        size_t chosen = choice_pick(list, N, &turn, 1);
        list[chosen].calls++;
        given[chosen]++;
    }
    for (int i = 0; i < N; i++) assert_in_range(list[i].calls, 7, 8);
    assert_in_range(given[0], 0, 1);
}

static void test_room(void **state) {
    (void)state;
    list[1].room = list[3].room = false;
    for (int i = 0; i < 6; i++) assert_int_equal(choice_pick(list, N, &turn, 1) % 2, 0);
    list[0].room = false;
    list[2].gone = true;
    assert_int_equal(choice_pick(list, N, &turn, 1), N);
    assert_int_equal(choice_pick(list, 0, &turn, 1), 0); // of none
}

// The time of each leaving out: 1, 2, 4 ... 60 s, a fifth more or less.
static void test_times(void **state) {
    (void)state;
    static const int SECONDS[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct choice *c = &list[0];
    int64_t now = 5;
    for (size_t i = 0; i < sizeof SECONDS / sizeof SECONDS[0]; i++) {
        uint64_t random = i % 3 == 0 ? 0 : i % 3 == 1 ? UINT64_MAX : 123456789012345;
        choice_unreachable(c, now, random);
        int64_t time = c->out_until - now;
        assert_in_range(time, SECONDS[i] * SECOND * 4 / 5, SECONDS[i] * SECOND * 6 / 5);
        assert_in_range(time, 1, 60 * SECOND);
        assert_true(choice_is_out(c, now));
        int64_t until = c->out_until;
        choice_unreachable(c, now + 1, random); // it says nothing new
        assert_int_equal(c->out_until, until);
        now = c->out_until;
        assert_false(choice_is_out(c, now));
    }
    choice_answered(c);
    choice_unreachable(c, now, 0);
    assert_int_equal(c->out_until - now, SECOND * 4 / 5);
}

static void test_unavailable_in_a_row(void **state) {
    (void)state;
    struct choice *c = &list[0];
    for (int i = 0; i < 20; i++) { // never five in a row
        choice_unavailable(c, 1, 0);
        if (i % (CHOICE_FAILURES - 1) == CHOICE_FAILURES - 2) choice_answered(c);
        assert_false(choice_is_out(c, 1));
    }
    for (int i = 0; i < CHOICE_FAILURES; i++) choice_unavailable(c, 1, 0);
    assert_true(choice_is_out(c, 1));
    int64_t now = c->out_until;
    choice_unavailable(c, now, 0); // after its time it has one chance
    assert_true(choice_is_out(c, now));
    assert_int_equal(c->out_until - now, 2 * SECOND * 4 / 5);
}

static void test_left_out(void **state) {
    (void)state;
    choice_unreachable(&list[1], 1, 0);
    choice_unreachable(&list[2], 1, 0);
    list[0].calls = list[3].calls = 100;
    for (int i = 0; i < 6; i++) assert_int_equal(choice_pick(list, N, &turn, 1) % 3, 0);
    list[0].room = list[3].room = false; // their room is waited for
    assert_int_equal(choice_pick(list, N, &turn, 1), N);
    list[0].room = list[3].room = true;
    // Back after its time.
    assert_in_range(choice_pick(list, N, &turn, 1 + SECOND), 1, 2);
}

static void test_all_left_out(void **state) {
    (void)state;
    assert_false(choice_all_out(list, N, 1));
    for (int i = 0; i < N; i++) choice_unreachable(&list[i], 10 - i, 0);
    assert_true(choice_all_out(list, N, 10));
    assert_int_equal(choice_pick(list, N, &turn, 10), N - 1); // whose time ends first
    list[N - 1].room = false;
    assert_int_equal(choice_pick(list, N, &turn, 10), N - 2);
    struct choice one = {.room = true};
    choice_unreachable(&one, 1, 0);
    turn = 0;
    assert_int_equal(choice_pick(&one, 1, &turn, 1), 0); // the only one
    assert_true(choice_all_out(NULL, 0, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ties_in_turn, set_up),
        cmocka_unit_test_setup(test_fewest_calls, set_up),
        cmocka_unit_test_setup(test_room, set_up),
        cmocka_unit_test_setup(test_times, set_up),
        cmocka_unit_test_setup(test_unavailable_in_a_row, set_up),
        cmocka_unit_test_setup(test_left_out, set_up),
        cmocka_unit_test_setup(test_all_left_out, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
