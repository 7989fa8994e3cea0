// SPDX-License-Identifier: Apache-2.0
// The map, against a plain array as its model; the heap, against sorting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/map.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 500

static struct str key_of(char *room, size_t size, unsigned i) {
    int n = snprintf(room, size, "key-%u%s", i, i % 3 == 0 ? "-and-much-longer-than-eight" : "");
    return (struct str){room, (size_t)n};
}

static void test_empty(void **state) {
    (void)state;
    struct map m = {0};
    assert_null(map_get(&m, str_of("x")));
    assert_null(map_remove(&m, str_of("x")));
    assert_null(map_next(&m, NULL));
    map_free(&m);
}

static void test_against_a_model(void **state) {
    (void)state;
    struct map m = {0};
    uintptr_t model[KEYS] = {0};
    size_t count = 0;
    for (int step = 0; step < 50000; step++) {
        unsigned i = (unsigned)(random_u64() % KEYS);
        char room[64];
        struct str key = key_of(room, sizeof room, i);
        assert_ptr_equal(map_get(&m, key), (void *)model[i]);
        if (random_u64() % 2 == 0) {
            uintptr_t value = (uintptr_t)step + 1;
            if (model[i] == 0) count++;
            model[i] = value;
            assert_int_equal(map_put(&m, key, (void *)value), 0);
        } else {
            if (model[i] != 0) count--;
            assert_ptr_equal(map_remove(&m, key), (void *)model[i]);
            model[i] = 0;
        }
        assert_int_equal(m.count, count);
    }
    size_t seen = 0;
    for (struct map_entry *e = map_next(&m, NULL); e != NULL; e = map_next(&m, e)) {
        unsigned i = (unsigned)atoi(e->key.p + 4);
        assert_ptr_equal(e->value, (void *)model[i]);
        seen++;
    }
    assert_int_equal(seen, count);
    map_free(&m);
}

static void test_keys_are_bytes(void **state) {
    (void)state;
    struct map m = {0};
    int a, b, c;
    assert_int_equal(map_put(&m, (struct str){"", 0}, &a), 0);
    assert_int_equal(map_put(&m, (struct str){"\0", 1}, &b), 0);
    assert_int_equal(map_put(&m, (struct str){"\0\0", 2}, &c), 0);
    assert_ptr_equal(map_get(&m, (struct str){NULL, 0}), &a);
    assert_ptr_equal(map_get(&m, (struct str){"\0", 1}), &b);
    assert_ptr_equal(map_get(&m, (struct str){"\0\0", 2}), &c);
    char changing[] = "abc"; // the map has a copy
    assert_int_equal(map_put(&m, str_of(changing), &a), 0);
    changing[0] = 'x';
    assert_ptr_equal(map_get(&m, str_of("abc")), &a);
    assert_int_equal(m.count, 4);
    map_free(&m);
}

// ---- heap

#define NODES 300

static int64_t check(const struct heap *h) {
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < h->count; i++) {
        assert_int_equal(h->nodes[i]->place, i + 1);
        if (i > 0) assert_true(h->nodes[(i - 1) / 2]->at <= h->nodes[i]->at);
        if (h->nodes[i]->at < least) least = h->nodes[i]->at;
    }
    return least;
}

static void test_heap(void **state) {
    (void)state;
    struct heap h = {0};
    struct heap_node nodes[NODES] = {0};
    assert_null(heap_first(&h));
    for (int step = 0; step < 20000; step++) {
        struct heap_node *n = &nodes[random_u64() % NODES];
        if (n->place != 0) {
            heap_remove(&h, n);
            assert_int_equal(n->place, 0);
            heap_remove(&h, n); // nothing
        } else {
            assert_int_equal(heap_add(&h, n, (int64_t)(random_u64() % 1000)), 0);
        }
        int64_t least = check(&h);
        if (h.count > 0) assert_int_equal(heap_first(&h)->at, least);
    }
    int64_t last = INT64_MIN;
    while (heap_first(&h) != NULL) {
        struct heap_node *n = heap_first(&h);
        assert_true(n->at >= last);
        last = n->at;
        heap_remove(&h, n);
    }
    heap_free(&h);
}

static int start(void **state) {
    (void)state;
    return random_start();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_heap),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
