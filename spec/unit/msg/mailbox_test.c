// SPDX-License-Identifier: Apache-2.0
// The mailbox: lanes, the limit, and the promise of `scheduled`: one reader at a time, no message
// left lying.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "msg/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

#define SENDERS 4
#define EACH 20000

static int put(struct mailbox *box, enum msg_kind kind, uint64_t call, bool *wake) {
    struct message *m = message_new(kind, call);
    assert_non_null(m);
    int rc = mailbox_send(box, m, wake);
    if (rc < 0) message_delete(m);
    return rc;
}

static void test_lanes(void **state) {
    (void)state;
    struct mailbox box;
    bool wake;
    mailbox_init(&box, 2);
    assert_int_equal(put(&box, MSG_REQUEST, 1, &wake), 0);
    assert_true(wake);
    assert_int_equal(put(&box, MSG_REQUEST, 2, &wake), 0);
    assert_false(wake); // it is scheduled already
    assert_int_equal(put(&box, MSG_REQUEST, 3, &wake), -STATUS_RESOURCE_EXHAUSTED);
    assert_false(wake);
    for (int i = 0; i < 100; i++)
        assert_int_equal(put(&box, MSG_RESPONSE, 9, &wake), 0); // never refused
    struct mpsc_node *control = mailbox_take_control(&box);
    assert_int_equal(message_of(control)->call, 9);
    message_delete_chain(control);
    struct mpsc_node *requests = mailbox_take_requests(&box);
    assert_int_equal(message_of(requests)->call, 1);
    assert_int_equal(message_of(requests->next)->call, 2);
    // Taken is not begun: their places are still taken.
    assert_int_equal(put(&box, MSG_REQUEST, 4, &wake), -STATUS_RESOURCE_EXHAUSTED);
    mailbox_begun(&box);
    assert_int_equal(put(&box, MSG_REQUEST, 5, &wake), 0);
    message_delete_chain(requests);
    message_delete_chain(mailbox_take_requests(&box));
}

static void test_rest(void **state) {
    (void)state;
    struct mailbox box;
    bool wake;
    mailbox_init(&box, 10);
    assert_int_equal(put(&box, MSG_ITEM, 1, &wake), 0);
    assert_true(wake);
    assert_false(mailbox_rest(&box)); // something is there: it stays scheduled
    assert_int_equal(put(&box, MSG_ITEM, 2, &wake), 0);
    assert_false(wake);
    message_delete_chain(mailbox_take_control(&box));
    assert_true(mailbox_rest(&box));
    assert_int_equal(put(&box, MSG_ITEM, 3, &wake), 0);
    assert_true(wake);
    message_delete_chain(mailbox_take_control(&box));
    mailbox_close(&box);
    assert_int_equal(put(&box, MSG_ITEM, 4, &wake), -STATUS_UNAVAILABLE);
    assert_int_equal(put(&box, MSG_REQUEST, 5, &wake), -STATUS_UNAVAILABLE);
}

// ---- threads: a run queue of one mailbox and two workers

static struct {
    struct mailbox box;
    sem_t runs; // how often the mailbox is in the run queue
    atomic_int running;
    atomic_bool two_at_once;
    atomic_bool over;
    unsigned seen, refused;
    uint64_t next[SENDERS];
    bool out_of_order;
} world;

static void handle(struct mpsc_node *node, bool requests) {
    for (struct mpsc_node *n = node; n != NULL; n = n->next) {
        struct message *m = message_of(n);
        if (requests) mailbox_begun(&world.box);
        if (m->kind == MSG_ITEM && m->call != world.next[m->status]++) world.out_of_order = true;
        world.seen++;
    }
    message_delete_chain(node);
}

static void *work(void *arg) {
    (void)arg;
    for (;;) {
        sem_wait(&world.runs);
        if (atomic_load(&world.over)) return NULL;
        if (atomic_fetch_add(&world.running, 1) != 0) atomic_store(&world.two_at_once, true);
        handle(mailbox_take_control(&world.box), false);
        handle(mailbox_take_requests(&world.box), true);
        atomic_fetch_sub(&world.running, 1);
        if (!mailbox_rest(&world.box)) sem_post(&world.runs);
    }
}

static void *send_all(void *arg) {
    int number = (int)(intptr_t)arg;
    unsigned refused = 0;
    for (uint64_t i = 0; i < EACH; i++) {
        bool wake;
        struct message *m = message_new(MSG_ITEM, i);
        m->status = number;
        if (mailbox_send(&world.box, m, &wake) < 0) abort();
        if (wake) sem_post(&world.runs);
        if (put(&world.box, MSG_REQUEST, i, &wake) < 0) refused++;
        if (wake) sem_post(&world.runs);
    }
    return (void *)(uintptr_t)refused;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t workers[2], senders[SENDERS];
    mailbox_init(&world.box, 8);
    sem_init(&world.runs, 0, 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&workers[i], NULL, work, NULL), 0);
    for (intptr_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i], NULL, send_all, (void *)i), 0);
    unsigned refused = 0;
    for (int i = 0; i < SENDERS; i++) {
        void *n;
        pthread_join(senders[i], &n);
        refused += (unsigned)(uintptr_t)n;
    }
    while (atomic_load(&world.box.scheduled))
        sched_yield(); // the workers come to rest by themselves
    atomic_store(&world.over, true);
    for (int i = 0; i < 2; i++) sem_post(&world.runs);
    for (int i = 0; i < 2; i++) pthread_join(workers[i], NULL);
    assert_false(atomic_load(&world.two_at_once));
    assert_false(world.out_of_order);
    assert_int_equal(world.seen + refused, SENDERS * EACH * 2); // nothing was left lying
    assert_int_equal(atomic_load(&world.box.waiting), 0);
    sem_destroy(&world.runs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
