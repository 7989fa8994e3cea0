// SPDX-License-Identifier: Apache-2.0
// Services that run elsewhere as ports: calls take one way, what they keep lives as long as they, and addresses of this machine
// are refused to those who may not name them.
#include "echo_server.h"

#include "rpc/outside.h"

static struct keeper client;
static int kept;

static void let_go(void *keep) { --*(int *)keep; }

static int set_up(void **state) {
    (void)state;
    server_begin();
    keeper_create(&client);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    server_end();
    keeper_destroy(&client);
    return 0;
}

static struct port *outside(const char *addresses, bool local) {
    struct err err = {0};
    struct outside_options options = {str_of(addresses), local, &kept, let_go};
    kept++;
    struct port *port = rpc_outside(server.rpc, &options, &err);
    if (port == NULL) assert_int_not_equal(err.code, 0);
    return port;
}

static struct message *ask(struct port *port, uint64_t number) {
    struct message *m = message_new(MSG_REQUEST, number);
    m->reply = port_hold(&client.port);
    m->context = msg_context_new();
    m->context->ns = blob_new("mica", 4);
    m->method = pb_find_path(echo.pool, str_of("/echo.Echo/Say"));
    m->body = text_of((struct msg_form){.encoding = MSG_PROTO}, str_of("x"));
    assert_int_equal(port_send(port, m), 0);
    m = keeper_take(&client, 10000);
    assert_non_null(m);
    assert_int_equal(m->call, number);
    return m;
}

static void wait_let_go(void) {
    int64_t until = clock_now() + 5 * NS_PER_SECOND;
    while ((kept > 0 || atomic_load(&client.port.refs) > 1) && clock_now() < until) usleep(1000);
    assert_int_equal(kept, 0);
    assert_int_equal(atomic_load(&client.port.refs), 1);
}

static void test_calls(void **state) {
    (void)state;
    struct port *port = outside(server.proxy_address, true);
    for (uint64_t i = 1; i < 20; i++) {
        struct message *m = ask(port, i);
        assert_int_equal(m->status, STATUS_OK);
        assert_non_null(m->body);
        message_delete(m);
    }
    assert_int_equal(kept, 1);
    port_drop(port);
    wait_let_go();
}

static void expect_fault(const char *addresses, bool local, const char *part) {
    struct port *port = outside(addresses, local);
    struct message *m = ask(port, 7);
    assert_int_equal(m->status, STATUS_UNAVAILABLE);
    struct str text = blob_str(m->fault->text);
    if (memmem(text.p, text.n, part, strlen(part)) == NULL)
        fail_msg("got \"%.*s\", wanted \"%s\"", (int)text.n, text.p, part);
    message_delete(m);
    port_drop(port);
    wait_let_go();
}

// A name may mean anything, so what it means is looked at, not how it is written.
static void test_this_machine(void **state) {
    (void)state;
    expect_fault(server.proxy_address, false, "own machine");
    expect_fault("localhost:1", false, "own machine");
    expect_fault("0:1", false, "own machine");
    expect_fault("2130706433:1", false, "own machine"); // 127.0.0.1
    expect_fault("[::1]:1,169.254.169.254:80", false, "own machine");
    expect_fault("127.0.0.1:1", true, "refused");
}

static void test_bad_addresses(void **state) {
    (void)state;
    assert_null(outside("nowhere", true));
    assert_null(outside("", true));
    assert_null(outside("127.0.0.1:1,", true));
    assert_int_equal(kept, 0); // what was to be kept is let go
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_bad_addresses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
