// SPDX-License-Identifier: Apache-2.0
// Messages, contexts, ports and metadata: who owns what is checked by the leak checker.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "msg/message.h"
#include "msg/metadata.h"

#include <stdlib.h>

struct sink {
    struct port port;
    struct message *last;
    bool refuse;
    bool freed;
};

static int sink_send(struct port *port, struct message *m) {
    struct sink *s = (struct sink *)port;
    if (s->refuse) return -STATUS_UNAVAILABLE;
    s->last = m;
    return 0;
}

static void sink_free(struct port *port) { ((struct sink *)port)->freed = true; }

static const struct port_ops SINK = {sink_send, sink_free};

static void test_ports(void **state) {
    (void)state;
    struct sink s = {0};
    port_init(&s.port, &SINK);
    assert_ptr_equal(port_hold(&s.port), &s.port);
    port_drop(&s.port);
    assert_false(s.freed);
    port_drop(&s.port);
    assert_true(s.freed);
    assert_null(port_hold(NULL));
    port_drop(NULL);
}

static int contracts_dropped;
static void drop_contract(struct pb_pool *pool) {
    (void)pool;
    contracts_dropped++;
}

static void test_delete_drops_all(void **state) {
    (void)state;
    struct sink s = {0};
    port_init(&s.port, &SINK);
    struct message *m = message_new(MSG_REQUEST, 7);
    m->reply = port_hold(&s.port);
    m->context = msg_context_new();
    m->context->ns = blob_new("ns", 2);
    m->context->metadata = blob_new("m", 1);
    m->body = blob_new("body", 4);
    m->metadata = blob_new("x", 1);
    m->leading = blob_new("y", 1);
    m->fault = msg_fault_new(str_of("text"), str_of("id"), blob_new("details", 7));
    m->contract = (struct pb_pool *)&s;
    m->drop_contract = drop_contract;
    struct msg_context *copy = msg_context_copy(m->context);
    copy->deadline = 5; // the original is untouched
    assert_int_equal(m->context->deadline, 0);
    message_delete(m);
    assert_int_equal(contracts_dropped, 1);
    assert_true(str_is(blob_str(copy->ns), "ns"));
    msg_context_drop(msg_context_hold(copy));
    msg_context_drop(copy);
    msg_context_drop(NULL);
    message_delete(NULL);
    port_drop(&s.port);
    assert_true(s.freed);
}

static void test_refusal(void **state) {
    (void)state;
    struct sink s = {0};
    port_init(&s.port, &SINK);
    struct message *m = message_new(MSG_REQUEST, 7);
    m->reply = port_hold(&s.port);
    message_refuse(m, STATUS_NOT_FOUND, "no such thing");
    assert_non_null(s.last);
    assert_int_equal(s.last->kind, MSG_RESPONSE);
    assert_int_equal(s.last->call, 7);
    assert_int_equal(s.last->status, STATUS_NOT_FOUND);
    assert_true(str_is(blob_str(s.last->fault->text), "no such thing"));
    message_delete(s.last);
    // Nobody takes it: nothing leaks.
    s.refuse = true;
    m = message_new(MSG_REQUEST, 8);
    m->reply = port_hold(&s.port);
    message_refuse(m, STATUS_NOT_FOUND, NULL);
    message_refuse(message_new(MSG_REQUEST, 9), STATUS_NOT_FOUND, NULL); // no reply port
    port_drop(&s.port);
}

static void test_chain(void **state) {
    (void)state;
    struct message *a = message_new(MSG_ITEM, 1);
    struct message *b = message_new(MSG_ITEM, 2);
    a->link.next = &b->link;
    b->link.next = NULL;
    message_delete_chain(&a->link);
    message_delete_chain(NULL);
}

// ---- metadata

static void test_metadata(void **state) {
    (void)state;
    struct buf b = {0};
    metadata_add(&b, str_of("a"), str_of("1"));
    metadata_add(&b, str_of("empty"), str_of(""));
    metadata_add(&b, str_of("x-bin"), (struct str){"\0\xff", 2});
    metadata_add(&b, str_of("a"), str_of("2"));
    struct blob *blob = buf_take(&b);
    struct metadata_pair pair;
    static const char *const KEYS[] = {"a", "empty", "x-bin", "a"};
    size_t at = 0, n = 0;
    while (metadata_next(blob, &at, &pair)) assert_true(str_is(pair.key, KEYS[n++]));
    assert_int_equal(n, 4);
    assert_false(metadata_next(blob, &at, &pair));
    struct str value;
    assert_true(metadata_get(blob, str_of("a"), &value));
    assert_true(str_is(value, "1")); // the first
    assert_true(metadata_get(blob, str_of("x-bin"), &value));
    assert_int_equal(value.n, 2);
    assert_false(metadata_get(blob, str_of("b"), &value));
    assert_false(metadata_get(NULL, str_of("a"), &value));
    blob_drop(blob);
}

static void test_metadata_too_long(void **state) {
    (void)state;
    struct buf b = {0};
    char *key = malloc(70000);
    memset(key, 'k', 70000);
    metadata_add(&b, (struct str){key, 70000}, str_of("v"));
    assert_int_equal(b.n, 0); // left out, not cut
    metadata_add(&b, str_of("v"), (struct str){key, 70000});
    assert_int_equal(b.n, 70000 + 1 + 6);
    free(key);
    buf_free(&b);
}

static void test_keys(void **state) {
    (void)state;
    static const char *const GOOD[] = {"a", "x-y_z.9", "trace-bin", "grpc"};
    static const char *const BAD[] = {
        "",   "A",          "a b",  ":path",          "grpc-status", "content-type",
        "te", "connection", "host", "mica-namespace", "a\n",         "\xc3\xa4"};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_true(metadata_key_allowed(str_of(GOOD[i])));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_false(metadata_key_allowed(str_of(BAD[i])));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),    cmocka_unit_test(test_delete_drops_all),
        cmocka_unit_test(test_refusal),  cmocka_unit_test(test_chain),
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_metadata_too_long),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
