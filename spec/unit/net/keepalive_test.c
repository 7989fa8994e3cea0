// SPDX-License-Identifier: Apache-2.0
// Pings and ages of a connection without a socket: `busy` keeps conn_close from more than taking note.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include "net/conn_state.h"

#define SECOND NS_PER_SECOND

static void ignore(struct http_stream *s) { (void)s; }
static void ignore_data(struct http_stream *s, struct str bytes) { http_consume(s, bytes.n); }
static void ignore_closed(struct http_stream *s, enum http_close why) { (void)s, (void)why; }
static const struct http_events EVENTS = {.head = ignore,
                                          .data = ignore_data,
                                          .end = ignore,
                                          .writable = ignore,
                                          .closed = ignore_closed};

static struct {
    struct loop loop;
    struct door door;
    struct conn conn;
    struct http_session *client;
} at;

// Moves what either side has to say; returns how many bytes the server has said.
static size_t talk(void) {
    size_t said = 0;
    for (bool more = true; more;) {
        struct buf up = {0}, down = {0};
        assert_int_equal(http_drain(at.client, &up, 1 << 20), 0);
        assert_int_equal(http_feed(at.conn.session, buf_str(&up)), 0);
        assert_int_equal(http_drain(at.conn.session, &down, 1 << 20), 0);
        assert_int_equal(http_feed(at.client, buf_str(&down)), 0);
        said += down.n;
        more = up.n + down.n > 0;
        buf_free(&up);
        buf_free(&down);
    }
    return said;
}

static int set_up(void **state) {
    struct err err;
    (void)state;
    memset(&at, 0, sizeof at);
    assert_int_equal(random_start(), 0);
    assert_int_equal(loop_create(&at.loop, 0, &err), 0);
    at.door = (struct door){.name = "test", .events = &EVENTS, .limits = HTTP_LIMITS};
    at.conn = (struct conn){.loop = &at.loop, .door = &at.door, .reading = true, .busy = true};
    at.conn.session = http2_server_new(&EVENTS, NULL, NULL);
    at.client = http2_client_new(&EVENTS, NULL, NULL);
    assert_true(at.conn.session != NULL && at.client != NULL);
    talk();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    at.loop.state->dirty = NULL; // the connection is no real one
    http_session_delete(at.client);
    http_session_delete(at.conn.session);
    loop_destroy(&at.loop);
    return 0;
}

static void open_request(void) {
    assert_non_null(http_request(at.client, str_of("POST"), str_of("http"), str_of("x"),
                                 str_of("/"), NULL, 0, false, NULL));
    talk();
    assert_int_equal(http_open_streams(at.conn.session), 1);
}

static void test_ping(void **state) {
    (void)state;
    struct conn *c = &at.conn;
    at.door.ping_interval = 60 * SECOND;
    at.door.ping_timeout = 20 * SECOND;
    c->heard = 1000 * SECOND;
    assert_true(keepalive_due(c) == INT64_MAX); // nothing is asked for
    open_request();
    assert_true(keepalive_due(c) == 1060 * SECOND);
    keepalive_turn(c, 1059 * SECOND); // too early
    assert_int_equal(talk(), 0);
    keepalive_turn(c, 1060 * SECOND);
    assert_int_equal(talk(), 17); // a PING
    assert_true(keepalive_due(c) == 1080 * SECOND);
    c->heard = 1070 * SECOND; // an answer
    assert_true(keepalive_due(c) == 1130 * SECOND);
    keepalive_turn(c, 1130 * SECOND);
    assert_false(c->must_close);
    keepalive_turn(c, 1149 * SECOND);
    assert_false(c->must_close);
    keepalive_turn(c, 1150 * SECOND); // silence
    assert_true(c->must_close);
}

static void test_silence_that_says_nothing(void **state) {
    (void)state;
    struct conn *c = &at.conn;
    at.door.ping_interval = SECOND;
    at.door.ping_timeout = SECOND;
    c->heard = SECOND;
    open_request();
    c->unsent = 1;
    assert_true(keepalive_due(c) == INT64_MAX); // it does not read: a PING would not come through
    c->unsent = 0;
    c->reading = false;
    assert_true(keepalive_due(c) == INT64_MAX); // we do not listen
    c->reading = true;
    c->ending = true;
    assert_true(keepalive_due(c) == INT64_MAX);
    c->ending = false;
    at.door.ping_interval = 0;
    assert_true(keepalive_due(c) == INT64_MAX);
}

static void test_age(void **state) {
    (void)state;
    struct conn *c = &at.conn;
    int64_t least = INT64_MAX, most = 0;
    at.door.max_age = 100 * SECOND;
    at.door.age_grace = 30 * SECOND;
    for (int i = 0; i < 1000; i++) {
        keepalive_begin(c, 1000 * SECOND);
        least = c->retire_at < least ? c->retire_at : least;
        most = c->retire_at > most ? c->retire_at : most;
    }
    assert_true(least >= 1090 * SECOND && least < 1095 * SECOND);
    assert_true(most <= 1110 * SECOND && most > 1105 * SECOND);
    open_request();
    assert_true(keepalive_due(c) == c->retire_at);
    int64_t now = c->retire_at;
    keepalive_turn(c, now);
    assert_true(c->retired && !c->must_close);
    talk(); // GOAWAY, PING, and GOAWAY again
    assert_null(http_request(at.client, str_of("POST"), str_of("http"), str_of("x"), str_of("/"),
                             NULL, 0, false, NULL)); // nothing new
    assert_int_equal(http_open_streams(at.conn.session), 1);
    assert_true(keepalive_due(c) == now + 30 * SECOND);
    keepalive_turn(c, now + 30 * SECOND - 1);
    assert_false(c->must_close);
    keepalive_turn(c, now + 30 * SECOND);
    assert_true(c->must_close);
}

static void test_no_limits(void **state) {
    (void)state;
    struct conn *c = &at.conn;
    keepalive_begin(c, SECOND);
    open_request();
    assert_true(keepalive_due(c) == INT64_MAX);
    at.door.max_age = SECOND; // without a grace what is open may go on for ever
    keepalive_begin(c, SECOND);
    keepalive_turn(c, 3 * SECOND);
    assert_true(c->retired);
    assert_true(keepalive_due(c) == INT64_MAX);
}

// The acknowledgement of a ping for life is not taken for that of the farewell.
static void test_ping_before_shutdown(void **state) {
    (void)state;
    struct buf ping = {0}, ack = {0}, farewell = {0};
    open_request();
    http_ping(at.conn.session);
    assert_int_equal(http_drain(at.conn.session, &ping, 1 << 20), 0);
    assert_int_equal(http_feed(at.client, buf_str(&ping)), 0);
    assert_int_equal(http_drain(at.client, &ack, 1 << 20), 0);
    http_shutdown(at.conn.session);
    assert_int_equal(http_drain(at.conn.session, &farewell, 1 << 20), 0);
    size_t notice = farewell.n;
    assert_int_equal(notice, 17 + 17); // GOAWAY, PING
    assert_int_equal(http_feed(at.conn.session, buf_str(&ack)), 0);
    assert_int_equal(http_drain(at.conn.session, &farewell, 1 << 20), 0);
    assert_int_equal(farewell.n, notice); // nothing further
    assert_int_equal(http_feed(at.client, buf_str(&farewell)), 0);
    assert_int_equal(talk(), 17); // now the last stream's id
    buf_free(&ping);
    buf_free(&ack);
    buf_free(&farewell);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_ping), TEST(test_silence_that_says_nothing),
                                       TEST(test_age), TEST(test_no_limits),
                                       TEST(test_ping_before_shutdown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
