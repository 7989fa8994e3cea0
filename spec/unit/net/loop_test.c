// SPDX-License-Identifier: Apache-2.0
// Loops: messages from many threads in order, wake-ups, batches, tasks, timers, stopping under
// fire.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define SENDERS 4
#define EACH 20000

struct inbox {
    struct loop loop;
    atomic_uint received;
    atomic_bool out_of_order;
    atomic_bool elsewhere; // delivered on a wrong thread
    uint64_t next[SENDERS];
};

static void on_message(struct loop *loop, struct message *m) {
    struct inbox *box = loop->user;
    unsigned from = (unsigned)m->status;
    if (m->call != box->next[from]++) atomic_store(&box->out_of_order, true);
    if (!loop_is_current(loop)) atomic_store(&box->elsewhere, true);
    message_delete(m);
    atomic_fetch_add(&box->received, 1);
}

static void inbox_begin(struct inbox *box, unsigned index) {
    struct err err = {0};
    memset(box, 0, sizeof *box);
    assert_int_equal(loop_create(&box->loop, index, &err), 0);
    box->loop.deliver = on_message;
    box->loop.user = box;
    assert_int_equal(loop_start(&box->loop, &err), 0);
}

static void inbox_end(struct inbox *box) {
    loop_stop(&box->loop);
    loop_destroy(&box->loop);
    assert_false(atomic_load(&box->out_of_order));
    assert_false(atomic_load(&box->elsewhere));
}

static int send_one(struct loop *loop, unsigned from, uint64_t number) {
    struct message *m = message_new(MSG_ITEM, number);
    assert_non_null(m);
    m->status = (int)from;
    int rc = port_send(&loop->port, m);
    if (rc < 0) message_delete(m);
    return rc;
}

static void wait_for(atomic_uint *counter, unsigned n) {
    int64_t until = clock_now() + 20 * NS_PER_SECOND;
    while (atomic_load(counter) < n) {
        if (clock_now() > until) fail_msg("only %u of %u arrived", atomic_load(counter), n);
        usleep(200);
    }
}

struct sender {
    pthread_t thread;
    struct inbox *boxes;
    unsigned box_count;
    unsigned number;
    bool batched;
    bool sleepy; // pauses, so that the loop falls asleep in between
};

static void *send_many(void *arg) {
    struct sender *s = arg;
    if (s->batched) loop_batch_begin();
    for (uint64_t i = 0; i < EACH; i++) {
        for (unsigned b = 0; b < s->box_count; b++) send_one(&s->boxes[b].loop, s->number, i);
        if (s->batched && i % 37 == 0) loop_batch_flush();
        if (s->sleepy && i % 500 == 0) usleep(300);
    }
    if (s->batched) loop_batch_end();
    return NULL;
}

static void many_senders(unsigned boxes, bool batched, bool sleepy) {
    struct inbox *box = calloc(boxes, sizeof *box);
    struct sender senders[SENDERS];
    for (unsigned b = 0; b < boxes; b++) inbox_begin(&box[b], b);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){
            .boxes = box, .box_count = boxes, .number = i, .batched = batched, .sleepy = sleepy};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) pthread_join(senders[i].thread, NULL);
    for (unsigned b = 0; b < boxes; b++) wait_for(&box[b].received, SENDERS * EACH);
    for (unsigned b = 0; b < boxes; b++) inbox_end(&box[b]);
    free(box);
}

static void test_many_senders(void **state) {
    (void)state;
    many_senders(1, false, false);
    many_senders(1, false, true);
}

static void test_batches(void **state) {
    (void)state;
    many_senders(2, true, false);
    many_senders(2, true, true);
    many_senders(20, true, false); // more loops than a batch has room for
}

static void test_each_single_message_wakes(void **state) {
    (void)state;
    struct inbox box;
    inbox_begin(&box, 0);
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(send_one(&box.loop, 0, i), 0);
        wait_for(&box.received, i + 1);
    }
    inbox_end(&box);
}

static void test_batch_waits_for_the_flush(void **state) {
    (void)state;
    struct inbox box;
    inbox_begin(&box, 0);
    loop_batch_begin();
    for (unsigned i = 0; i < 10; i++) assert_int_equal(send_one(&box.loop, 0, i), 0);
    usleep(20000);
    assert_int_equal(atomic_load(&box.received), 0);
    loop_batch_flush();
    wait_for(&box.received, 10);
    loop_batch_end();
    inbox_end(&box);
}

// ---- stopping

static void *send_until_refused(void *arg) {
    struct sender *s = arg;
    uint64_t i = 0;
    while (send_one(&s->boxes[0].loop, s->number, i) == 0) i++;
    return NULL;
}

static void test_stop_under_fire(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct inbox box;
        struct sender senders[SENDERS];
        inbox_begin(&box, 0);
        for (unsigned i = 0; i < SENDERS; i++) {
            senders[i] = (struct sender){.boxes = &box, .number = i};
            assert_int_equal(
                pthread_create(&senders[i].thread, NULL, send_until_refused, &senders[i]), 0);
        }
        usleep(2000);
        loop_stop(&box.loop);
        for (unsigned i = 0; i < SENDERS; i++) pthread_join(senders[i].thread, NULL);
        assert_int_equal(send_one(&box.loop, 0, 0), -STATUS_UNAVAILABLE);
        loop_destroy(&box.loop); // what was not delivered is deleted: the leak checker watches
    }
}

static void test_never_started(void **state) {
    (void)state;
    struct loop loop;
    assert_int_equal(loop_create(&loop, 0, NULL), 0);
    assert_int_equal(send_one(&loop, 0, 0), 0);
    loop_stop(&loop);
    assert_int_equal(send_one(&loop, 0, 0), -STATUS_UNAVAILABLE);
    loop_destroy(&loop);
}

// ---- tasks and timers

struct job {
    struct loop_task task;
    atomic_uint ran;
    unsigned count;
    struct job *again;
};

static void run_job(struct loop *loop, struct loop_task *task) {
    struct job *job = (struct job *)task;
    if (job->again != NULL && ++job->count < 1000) loop_post(loop, &job->again->task);
    atomic_fetch_add(&job->ran, 1);
}

static void test_tasks(void **state) {
    (void)state;
    struct inbox box;
    struct job job = {.task.run = run_job};
    job.again = &job; // a task that posts itself neither blocks the loop nor is lost
    inbox_begin(&box, 0);
    loop_post(&box.loop, &job.task);
    for (unsigned i = 0; i < 100; i++) assert_int_equal(send_one(&box.loop, 0, i), 0);
    wait_for(&box.received, 100);
    wait_for(&job.ran, 1000);
    inbox_end(&box);
}

static void test_task_too_late_is_run_by_destroy(void **state) {
    (void)state;
    struct inbox box;
    struct job job = {.task.run = run_job};
    inbox_begin(&box, 0);
    loop_stop(&box.loop);
    loop_post(&box.loop, &job.task);
    assert_int_equal(atomic_load(&job.ran), 0);
    loop_destroy(&box.loop);
    assert_int_equal(atomic_load(&job.ran), 1);
}

#define TIMERS 200

struct alarm {
    struct loop_timer timer;
    int64_t at;
    int64_t fired;
    unsigned place; // in the order of firing
};

static struct {
    struct loop_task task;
    struct alarm alarms[TIMERS];
    atomic_uint fired;
    unsigned repeats;
    struct loop_timer repeating;
} clockwork;

static void on_alarm(struct loop *loop, struct loop_timer *timer) {
    struct alarm *a = (struct alarm *)timer;
    assert_true(loop_is_current(loop));
    a->fired = clock_now();
    a->place = atomic_fetch_add(&clockwork.fired, 1);
}

static void on_repeat(struct loop *loop, struct loop_timer *timer) {
    if (++clockwork.repeats < 50) loop_timer_set(loop, timer, loop_now(loop));
}

static void set_alarms(struct loop *loop, struct loop_task *task) {
    (void)task;
    int64_t now = clock_now();
    for (unsigned i = 0; i < TIMERS; i++) {
        struct alarm *a = &clockwork.alarms[i];
        a->timer.fire = on_alarm;
        a->at = now + (int64_t)(i * 7919 % TIMERS) * NS_PER_MS / 2;
        assert_int_equal(loop_timer_set(loop, &a->timer, a->at + NS_PER_SECOND), 0);
        assert_int_equal(loop_timer_set(loop, &a->timer, a->at), 0); // moves it
    }
    for (unsigned i = 0; i < TIMERS; i += 10) loop_timer_clear(loop, &clockwork.alarms[i].timer);
    clockwork.repeating.fire = on_repeat;
    assert_int_equal(loop_timer_set(loop, &clockwork.repeating, now), 0);
}

static void test_timers(void **state) {
    (void)state;
    struct inbox box;
    memset(&clockwork, 0, sizeof clockwork);
    inbox_begin(&box, 0);
    clockwork.task.run = set_alarms;
    loop_post(&box.loop, &clockwork.task);
    wait_for(&clockwork.fired, TIMERS - TIMERS / 10);
    usleep(20000);
    inbox_end(&box);
    assert_int_equal(atomic_load(&clockwork.fired), TIMERS - TIMERS / 10);
    assert_int_equal(clockwork.repeats, 50);
    for (unsigned i = 0; i < TIMERS; i++) {
        struct alarm *a = &clockwork.alarms[i];
        assert_int_equal(a->fired == 0, i % 10 == 0);
        if (a->fired == 0) continue;
        assert_true(a->fired >= a->at);
        assert_true(a->fired < a->at + NS_PER_SECOND); // not the first setting
        for (unsigned k = 0; k < TIMERS; k++) {
            struct alarm *b = &clockwork.alarms[k];
            if (b->fired != 0 && a->at < b->at) assert_true(a->place < b->place);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_each_single_message_wakes),
        cmocka_unit_test(test_batch_waits_for_the_flush),
        cmocka_unit_test(test_stop_under_fire),
        cmocka_unit_test(test_never_started),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_task_too_late_is_run_by_destroy),
        cmocka_unit_test(test_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
