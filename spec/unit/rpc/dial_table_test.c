// SPDX-License-Identifier: Apache-2.0
// The table of a dial's calls, compared with what it should hold.
#include "rpc_testing.h"

#include "rpc/dial.h"

#define MANY 3000

static struct keeper ports[3];
static struct message requests[MANY];
static struct dial_call calls[MANY];

static struct dial_call *call_at(size_t i) {
    requests[i].reply = &ports[i % 3].port;
    requests[i].call = (i / 3) << (i % 2 == 0 ? 0 : 32); // indexes, and generations above them
    calls[i].request = &requests[i];
    return &calls[i];
}

static struct dial_call *find(const struct dial_table *t, size_t i) {
    return dial_table_find(t, requests[i].reply, requests[i].call);
}

static void test_finds_what_was_added(void **state) {
    (void)state;
    struct dial_table t = {0};
    assert_null(dial_table_find(&t, &ports[0].port, 1));
    assert_null(dial_table_any(&t));
    size_t added = 0;
    for (size_t i = 0; i < MANY; i++) {
        call_at(i);
        if (find(&t, i) != NULL) continue; // the same port and number
        assert_int_equal(dial_table_add(&t, &calls[i]), 0);
        added++;
    }
    assert_int_equal(t.count, added);
    for (size_t i = 0; i < MANY; i++) assert_non_null(find(&t, i));
    for (size_t i = 0; i < MANY; i += 2) {
        if (find(&t, i) == &calls[i]) dial_table_remove(&t, &calls[i]);
        assert_null(find(&t, i));
    }
    while (t.count > 0) dial_table_remove(&t, dial_table_any(&t));
    assert_null(dial_table_any(&t));
    dial_table_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_finds_what_was_added)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
