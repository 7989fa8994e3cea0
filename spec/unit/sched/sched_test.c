// SPDX-License-Identifier: Apache-2.0
// Workers, queues and timers, with runnables that only count.
#include "sched/sched.h"

#include "base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka needs the four above
#include <cmocka.h>

struct counter {
    struct runnable runnable; // first
    struct sched *sched;
    atomic_bool scheduled;
    atomic_bool running;
    atomic_int wanted; // turns asked for and not yet done
    atomic_int turns;
    atomic_int overlaps;
    atomic_int abandoned;
    int repeat;        // turns that ask for another one
    atomic_bool *gate; // a turn waits until it opens
    _Atomic(int64_t) last_at;
};

static bool counter_turn(struct runnable *r) {
    struct counter *c = (struct counter *)r;
    if (atomic_exchange(&c->running, true)) atomic_fetch_add(&c->overlaps, 1);
    while (c->gate != NULL && !atomic_load(c->gate)) usleep(100);
    atomic_store(&c->last_at, clock_now());
    atomic_fetch_add(&c->turns, 1);
    bool again = c->repeat > 0 && c->repeat-- > 0;
    atomic_store(&c->wanted, 0);
    atomic_store(&c->running, false);
    return again;
}

static bool counter_rest(struct runnable *r) {
    struct counter *c = (struct counter *)r;
    atomic_store(&c->scheduled, false);
    return atomic_load(&c->wanted) > 0 && !atomic_exchange(&c->scheduled, true);
}

static void counter_abandon(struct runnable *r) {
    atomic_fetch_add(&((struct counter *)r)->abandoned, 1);
}

static void counter_init(struct counter *c, struct sched *s) {
    *c = (struct counter){
        .sched = s,
        .runnable = {.turn = counter_turn, .rest = counter_rest, .abandon = counter_abandon}};
}

static void poke(struct counter *c) {
    atomic_fetch_add(&c->wanted, 1);
    if (!atomic_exchange(&c->scheduled, true)) sched_ready(c->sched, &c->runnable);
}

static void due(struct runnable *r) { poke((struct counter *)r); }

static bool reaches(atomic_int *n, int wanted) {
    for (int i = 0; i < 50000 && atomic_load(n) < wanted; i++) usleep(100);
    return atomic_load(n) >= wanted;
}

static bool settles(struct counter *c) {
    for (int i = 0; i < 50000; i++) {
        if (atomic_load(&c->wanted) == 0 && !atomic_load(&c->scheduled)) return true;
        usleep(100);
    }
    return false;
}

static void end(struct sched *s) {
    sched_stop(s);
    sched_delete(s);
}

static void runs_what_is_ready(void **state) {
    (void)state;
    struct sched *s = sched_new(2, NULL, NULL);
    assert_non_null(s);
    assert_int_equal(sched_workers(s), 2);
    struct counter c[10];
    for (int i = 0; i < 10; i++) counter_init(&c[i], s);
    c[3].repeat = 5;
    for (int i = 0; i < 10; i++) poke(&c[i]);
    for (int i = 0; i < 10; i++) assert_true(reaches(&c[i].turns, i == 3 ? 6 : 1));
    for (int i = 0; i < 10; i++) assert_true(settles(&c[i]));
    end(s);
    for (int i = 0; i < 10; i++) assert_int_equal(atomic_load(&c[i].turns), i == 3 ? 6 : 1);
}

static void *poke_often(void *arg) {
    struct counter *c = arg;
    for (int n = 0; n < 5000; n++) {
        poke(&c[n % 7]);
        if (n % 64 == 0) usleep(50); // so that workers fall asleep now and then
    }
    return NULL;
}

static void loses_no_wake_up(void **state) {
    (void)state;
    struct sched *s = sched_new(4, NULL, NULL);
    struct counter c[7];
    for (int i = 0; i < 7; i++) counter_init(&c[i], s);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, poke_often, c);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 7; i++) {
        assert_true(settles(&c[i]));
        assert_int_equal(atomic_load(&c[i].overlaps), 0);
    }
    end(s);
}

static void wakes_a_sleeper_each_time(void **state) {
    (void)state;
    struct sched *s = sched_new(2, NULL, NULL);
    struct counter c;
    counter_init(&c, s);
    for (int n = 1; n <= 300; n++) {
        poke(&c);
        assert_true(reaches(&c.turns, n));
        assert_true(settles(&c));
    }
    end(s);
}

static void an_idle_worker_takes_from_a_busy_one(void **state) {
    (void)state;
    struct sched *s = sched_new(2, NULL, NULL);
    atomic_bool gate = false;
    struct counter slow, quick;
    counter_init(&slow, s);
    counter_init(&quick, s);
    slow.gate = &gate;
    poke(&slow);
    usleep(2000);
    for (unsigned home = 0; home < 2; home++) {
        quick.runnable.home = home; // one of them is the busy worker
        poke(&quick);
        assert_true(reaches(&quick.turns, (int)home + 1));
        assert_true(settles(&quick));
    }
    assert_int_equal(atomic_load(&slow.turns), 0);
    atomic_store(&gate, true);
    assert_true(reaches(&slow.turns, 1));
    end(s);
}

// A runnable whose turn makes another one ready.
struct chain {
    struct runnable runnable;
    struct counter *next;
};

static bool chain_turn(struct runnable *r) {
    poke(((struct chain *)r)->next);
    return false;
}

static bool chain_rest(struct runnable *r) {
    (void)r;
    return false;
}

static void what_a_turn_makes_ready_is_run(void **state) {
    (void)state;
    struct sched *s = sched_new(2, NULL, NULL);
    struct counter c;
    counter_init(&c, s);
    struct chain first = {
        .runnable = {.turn = chain_turn, .rest = chain_rest, .abandon = counter_abandon},
        .next = &c};
    for (int n = 1; n <= 200; n++) {
        c.runnable.home = (unsigned)n;
        sched_ready(s, &first.runnable);
        assert_true(reaches(&c.turns, n));
        assert_true(settles(&c));
    }
    end(s);
}

static void timers_fire_at_their_time(void **state) {
    (void)state;
    struct sched *s = sched_new(2, NULL, NULL);
    struct counter c[3];
    int64_t now = clock_now();
    for (int i = 0; i < 3; i++) counter_init(&c[i], s);
    usleep(1000); // both workers sleep, without a timer
    sched_wake_at(s, &c[2].runnable, now + 60 * NS_PER_MS, due);
    sched_wake_at(s, &c[0].runnable, now + 20 * NS_PER_MS,
                  due); // earlier than what the timekeeper waits for
    sched_wake_at(s, &c[1].runnable, now + 40 * NS_PER_MS, due);
    for (int i = 0; i < 3; i++) {
        assert_true(reaches(&c[i].turns, 1));
        int64_t at = now + (i + 1) * 20 * NS_PER_MS;
        assert_true(atomic_load(&c[i].last_at) >= at);
    }
    assert_true(atomic_load(&c[0].last_at) < atomic_load(&c[2].last_at));
    end(s);
}

static void a_timer_is_replaced_and_cancelled(void **state) {
    (void)state;
    struct sched *s = sched_new(1, NULL, NULL);
    struct counter moved, cancelled, forgotten;
    counter_init(&moved, s);
    counter_init(&cancelled, s);
    counter_init(&forgotten, s);
    int64_t now = clock_now();
    sched_wake_at(s, &moved.runnable, now + 3600 * NS_PER_SECOND, due);
    sched_wake_at(s, &cancelled.runnable, now + 15 * NS_PER_MS, due);
    sched_wake_at(s, &forgotten.runnable, now + 15 * NS_PER_MS, due);
    sched_wake_at(s, &moved.runnable, now + 30 * NS_PER_MS, due);
    sched_wake_at(s, &cancelled.runnable, INT64_MAX, due);
    sched_forget(s, &forgotten.runnable);
    assert_true(reaches(&moved.turns, 1));
    assert_true(settles(&moved));
    assert_int_equal(atomic_load(&cancelled.turns), 0);
    assert_int_equal(atomic_load(&forgotten.turns), 0);
    assert_int_equal(atomic_load(&moved.turns), 1);
    sched_wake_at(s, &moved.runnable, now, due); // long past: at once
    assert_true(reaches(&moved.turns, 2));
    end(s);
}

static void a_busy_worker_sees_timers_between_turns(void **state) {
    (void)state;
    struct sched *s = sched_new(1, NULL, NULL);
    struct counter busy, timed;
    counter_init(&busy, s);
    counter_init(&timed, s);
    busy.repeat = 1 << 30;
    poke(&busy);
    sched_wake_at(s, &timed.runnable, clock_now() + 5 * NS_PER_MS, due);
    assert_true(reaches(&timed.turns, 1));
    end(s);
    assert_int_equal(atomic_load(&busy.abandoned), 1);
}

static atomic_int begins, ends, sleeps;
static void on_begin(void) { atomic_fetch_add(&begins, 1); }
static void on_end(void) { atomic_fetch_add(&ends, 1); }
static void on_sleep(void) { atomic_fetch_add(&sleeps, 1); }

static void hooks_are_called(void **state) {
    (void)state;
    struct sched_hooks hooks = {on_begin, on_end, on_sleep};
    struct sched *s = sched_new(1, &hooks, NULL);
    struct counter c;
    counter_init(&c, s);
    c.repeat = 2;
    poke(&c);
    assert_true(reaches(&c.turns, 3));
    end(s);
    assert_int_equal(atomic_load(&begins), 3);
    assert_int_equal(atomic_load(&ends), 3);
    assert_true(atomic_load(&sleeps) >= 1);
}

static void what_is_left_at_the_end_is_abandoned(void **state) {
    (void)state;
    struct sched *s = sched_new(1, NULL, NULL);
    struct counter c;
    counter_init(&c, s);
    sched_stop(s);
    poke(&c);
    sched_delete(s);
    assert_int_equal(atomic_load(&c.turns), 0);
    assert_int_equal(atomic_load(&c.abandoned), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_what_is_ready),
        cmocka_unit_test(loses_no_wake_up),
        cmocka_unit_test(wakes_a_sleeper_each_time),
        cmocka_unit_test(an_idle_worker_takes_from_a_busy_one),
        cmocka_unit_test(what_a_turn_makes_ready_is_run),
        cmocka_unit_test(timers_fire_at_their_time),
        cmocka_unit_test(a_timer_is_replaced_and_cancelled),
        cmocka_unit_test(a_busy_worker_sees_timers_between_turns),
        cmocka_unit_test(hooks_are_called),
        cmocka_unit_test(what_is_left_at_the_end_is_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
