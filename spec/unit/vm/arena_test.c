// SPDX-License-Identifier: Apache-2.0
// The arena: exact counting, refusal at the line, blocks that do not overlap, whatever the sizes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "vm/arena.h"
#include "vm/span.h"

#include <stdlib.h>
#include <string.h>

static void test_counts_exactly(void **state) {
    (void)state;
    struct arena *a = arena_new(800, 1000);
    char *p = arena_alloc(a, NULL, 0, 100);
    assert_int_equal(arena_used(a), 100);
    p = arena_alloc(a, p, 100, 101); // the same block
    assert_int_equal(arena_used(a), 101);
    p = arena_alloc(a, p, 101, 700);
    assert_int_equal(arena_used(a), 700);
    assert_false(arena_over_soft(a));
    assert_true(arena_charge(a, 200));
    assert_true(arena_over_soft(a));
    assert_false(arena_charge(a, 101));
    assert_true(arena_hit_hard(a));
    arena_uncharge(a, 200);
    arena_alloc(a, p, 700, 0);
    assert_int_equal(arena_used(a), 0);
    arena_delete(a);
}

static void test_refuses_growth_only(void **state) {
    (void)state;
    struct arena *a = arena_new(800, 1000);
    char *p = arena_alloc(a, NULL, 0, 1000);
    assert_non_null(p);
    assert_false(arena_hit_hard(a));
    assert_null(arena_alloc(a, NULL, 0, 1));
    assert_null(arena_alloc(a, p, 1000, 1001));
    assert_true(arena_hit_hard(a));
    memset(p, 7, 1000); // what was there stays
    p = arena_alloc(a, p, 1000, 10);
    assert_non_null(p);
    assert_int_equal(p[9], 7);
    assert_int_equal(arena_used(a), 10);
    arena_delete(a);
}

static void test_a_small_one_stays_small(void **state) {
    (void)state;
    struct arena *a = arena_new(1 << 20, 1 << 21);
    for (int i = 0; i < 400; i++) assert_non_null(arena_alloc(a, NULL, 0, 64));
    assert_true(arena_reserved(a) <= 32 << 10);
    arena_delete(a);
}

struct block {
    unsigned char *p;
    size_t size;
    unsigned char mark;
};

static void check_block(const struct block *b) {
    for (size_t i = 0; i<b->size; i += b->size> 4096 ? 997 : 1) assert_int_equal(b->p[i], b->mark);
    if (b->size > 0) assert_int_equal(b->p[b->size - 1], b->mark);
}

static size_t random_size(void) {
    static const size_t EDGES[] = {1,     15,    16,     17,      511,           512,    513,
                                   640,   641,   16383,  16384,   16385,         32768,  32769,
                                   65536, 65537, 300000, 1 << 20, (1 << 20) + 1, 3 << 20};
    uint64_t r = random_u64();
    if (r % 4 == 0) return EDGES[(r >> 8) % (sizeof EDGES / sizeof EDGES[0])];
    return (r >> 8) % (r % 3 == 0 ? 20000 : 600) + 1;
}

static void test_against_a_model(void **state) {
    (void)state;
    enum { BLOCKS = 200, STEPS = 20000 };
    static struct block blocks[BLOCKS];
    struct arena *a = arena_new(1u << 30, 1u << 30);
    size_t used = 0;
    for (int step = 0; step < STEPS; step++) {
        struct block *b = &blocks[random_u64() % BLOCKS];
        size_t size = random_u64() % 5 == 0 ? 0 : random_size();
        check_block(b);
        unsigned char *p = arena_alloc(a, b->p, b->size, size);
        if (size > 0) {
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 16, 0);
            size_t kept = b->size < size ? b->size : size;
            for (size_t i = 0; i < kept; i += 61) assert_int_equal(p[i], b->mark);
        }
        used = used - b->size + size;
        assert_int_equal(arena_used(a), used);
        b->p = p;
        b->size = size;
        b->mark = (unsigned char)(random_u64() | 1);
        memset(b->p == NULL ? (unsigned char[1]){0} : b->p, b->mark, size);
    }
    for (int i = 0; i < BLOCKS; i++) {
        check_block(&blocks[i]);
        arena_alloc(a, blocks[i].p, blocks[i].size, 0);
    }
    assert_int_equal(arena_used(a), 0);
    arena_delete(a);
}

static void test_more_than_a_span(void **state) {
    (void)state;
    size_t size = SPAN_MAX + 5000;
    struct arena *a = arena_new((size_t)1 << 30, (size_t)1 << 30);
    char *p = arena_alloc(a, NULL, 0, size);
    assert_non_null(p);
    p[size - 1] = 5;
    p[100] = 6;
    p = arena_alloc(a, p, size, 2 * size);
    assert_int_equal(p[size - 1], 5);
    p = arena_alloc(a, p, 2 * size, 200);
    assert_int_equal(p[100], 6);
    assert_true(arena_reserved(a) < 1 << 20);
    arena_delete(a); // with the block
}

static void test_many_come_and_go(void **state) {
    (void)state;
    enum { ARENAS = 300 };
    struct arena *arenas[ARENAS];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < ARENAS; i++) {
            arenas[i] = arena_new(8 << 20, 8 << 20);
            char *small = arena_alloc(arenas[i], NULL, 0, 50);
            char *large = arena_alloc(arenas[i], NULL, 0, (size_t)(20000 + i * 1000));
            assert_non_null(small);
            assert_non_null(large);
            *small = *large = (char)i;
        }
        for (int i = 0; i < ARENAS; i++) arena_delete(arenas[(i * 7) % ARENAS]);
    }
}

static void test_spans_join_again(void **state) {
    (void)state;
    struct span_list owner = {0};
    void *p[64];
    for (int i = 0; i < 64; i++) assert_non_null(p[i] = span_take(&owner, SPAN_MAX / 64));
    for (int i = 0; i < 64; i += 2) span_give(&owner, p[i]);
    for (int i = 1; i < 64; i += 2) span_give(&owner, p[i]);
    assert_int_equal(owner.first, 0);
    char *whole = span_take(&owner, SPAN_MAX);
    assert_non_null(whole);
    whole[SPAN_MAX - 1] = 1;
    span_give_all(&owner);
    assert_int_equal(owner.first, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_exactly),          cmocka_unit_test(test_refuses_growth_only),
        cmocka_unit_test(test_a_small_one_stays_small), cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_more_than_a_span),        cmocka_unit_test(test_many_come_and_go),
        cmocka_unit_test(test_spans_join_again),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
