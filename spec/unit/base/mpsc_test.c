// SPDX-License-Identifier: Apache-2.0
// The queue with many producers: order, chains, and threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mpsc.h"

#include <pthread.h>
#include <stdlib.h>

#define PRODUCERS 4
#define EACH 20000

struct item {
    struct mpsc_node link;
    unsigned from, number;
};

static struct mpsc queue;
static struct item items[PRODUCERS][EACH];

static void test_order(void **state) {
    (void)state;
    struct mpsc q = {0};
    struct item a[6] = {0};
    assert_true(mpsc_empty(&q));
    assert_null(mpsc_take(&q));
    assert_true(mpsc_push(&q, &a[0].link)); // it was empty
    assert_false(mpsc_push(&q, &a[1].link));
    a[2].link.next = &a[3].link;
    a[3].link.next = &a[4].link;
    a[4].link.next = &a[5].link; // cut by `last`
    assert_false(mpsc_push_chain(&q, &a[2].link, &a[4].link));
    assert_false(mpsc_push(&q, &a[5].link));
    struct mpsc_node *n = mpsc_take(&q);
    for (int i = 0; i < 6; i++, n = n->next) assert_ptr_equal(n, &a[i].link);
    assert_null(n);
    assert_true(mpsc_empty(&q));
    assert_true(mpsc_push_chain(&q, &a[0].link, &a[0].link));
    assert_ptr_equal(mpsc_take(&q), &a[0].link);
}

static void *produce(void *arg) {
    struct item *mine = arg;
    for (unsigned i = 0; i < EACH;) {
        unsigned n = i % 3 == 0 && i + 4 <= EACH ? 4 : 1; // chains and single ones
        for (unsigned k = 0; k + 1 < n; k++) mine[i + k].link.next = &mine[i + k + 1].link;
        mpsc_push_chain(&queue, &mine[i].link, &mine[i + n - 1].link);
        i += n;
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[PRODUCERS];
    unsigned next[PRODUCERS] = {0};
    for (unsigned p = 0; p < PRODUCERS; p++) {
        for (unsigned i = 0; i < EACH; i++) items[p][i] = (struct item){.from = p, .number = i};
        assert_int_equal(pthread_create(&threads[p], NULL, produce, items[p]), 0);
    }
    for (unsigned seen = 0; seen < PRODUCERS * EACH;) {
        for (struct mpsc_node *n = mpsc_take(&queue); n != NULL; n = n->next, seen++) {
            struct item *item = (struct item *)n;
            assert_int_equal(item->number, next[item->from]++);
        }
    }
    for (unsigned p = 0; p < PRODUCERS; p++) pthread_join(threads[p], NULL);
    assert_true(mpsc_empty(&queue));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
