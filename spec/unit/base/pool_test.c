// SPDX-License-Identifier: Apache-2.0
#include "base/pool.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

static void test_every_size_fits_its_class(void **state) {
    (void)state;
    unsigned before = 1;
    for (size_t size = 0; size <= POOL_MAX; size++) {
        unsigned class = pool_class(size);
        assert_true(class == before || class == before + 1);
        before = class;
        char *p = pool_take(class, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        memset(p, 0xA5, size);
        pool_give(p, class);
    }
    assert_int_equal(pool_class(POOL_MAX + 1), 0);
    assert_int_equal(pool_class(SIZE_MAX), 0);
}

static void test_large_ones_come_from_malloc(void **state) {
    (void)state;
    char *p = pool_take(0, 100000);
    assert_non_null(p);
    memset(p, 1, 100000);
    pool_give(p, 0);
    pool_give(NULL, 0);
    pool_give(NULL, 3);
}

static void test_zeroed(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        unsigned char *p = pool_take_zeroed(200);
        for (int i = 0; i < 200; i++) assert_int_equal(p[i], 0);
        memset(p, 0xFF, 200);
        pool_give_sized(p, 200);
    }
}

// More than a list keeps, and blocks that are given back by another thread than the one that took them.
#define MANY 5000
static void *give_all(void *arg) {
    void **blocks = arg;
    for (int i = 0; i < MANY; i++) pool_give_sized(blocks[i], 300);
    return NULL;
}

static void test_given_back_elsewhere(void **state) {
    (void)state;
    static void *blocks[MANY];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            blocks[i] = pool_take_zeroed(300);
            memset(blocks[i], i, 300);
        }
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, give_all, blocks), 0);
        pthread_join(thread, NULL);
    }
}

static void test_a_buffer_grows_through_all_classes(void **state) {
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 100000; i++) buf_append_byte(&b, (char)i);
    assert_false(b.failed);
    struct blob *blob = buf_take(&b);
    assert_int_equal(blob->n, 100000);
    for (int i = 0; i < 100000; i++) assert_int_equal(blob->p[i], (char)i);
    blob_drop(blob);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_fits_its_class),
        cmocka_unit_test(test_large_ones_come_from_malloc),
        cmocka_unit_test(test_zeroed),
        cmocka_unit_test(test_given_back_elsewhere),
        cmocka_unit_test(test_a_buffer_grows_through_all_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
