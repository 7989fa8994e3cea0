// SPDX-License-Identifier: Apache-2.0
// The front doors end to end, asked by our own client side (dial) through real sockets, and by grpcio and curl
// (door_client.py).
#include "echo_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static struct keeper client;
static struct port *dial;
static uint64_t next_call = 1;

static int set_up(void **state) {
    (void)state;
    server_begin();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    server_end();
    return 0;
}

static int set_up_client(void **state) {
    (void)state;
    keeper_create(&client);
    dial = rpc_dial(server.rpc, str_of(server.proxy_address), NULL);
    assert_non_null(dial);
    return 0;
}

static void wait_no_calls(void) {
    int64_t until = clock_now() + 5 * NS_PER_SECOND;
    while (rpc_open_calls(server.rpc) > 0) {
        if (clock_now() > until) fail_msg("%zu calls are left open", rpc_open_calls(server.rpc));
        usleep(1000);
    }
}

static int tear_down_client(void **state) {
    (void)state;
    port_drop(dial);
    wait_no_calls();
    int64_t until = clock_now() + 5 * NS_PER_SECOND; // the loop lets go of the client's calls
    while (atomic_load(&client.port.refs) > 1 && clock_now() < until) usleep(1000);
    assert_int_equal(atomic_load(&client.port.refs), 1);
    keeper_destroy(&client);
    return 0;
}

// ---- asking

struct ask {
    const char *method; // "Say"
    const char *what;   // metadata "do"
    const char *count, *size;
    struct blob *take_body;
    enum msg_encoding encoding;
    int64_t timeout;  // 0: none
    const char *path; // instead of a method
    const char *kind; // with it
};

static struct message *message_to(enum msg_kind kind, uint64_t call) {
    struct message *m = message_new(kind, call);
    m->reply = port_hold(&client.port);
    return m;
}

static void drop_pool(struct pb_pool *pool) { pb_pool_drop(pool); }

static void add(struct buf *b, const char *key, const char *value) {
    if (value != NULL) metadata_add(b, str_of(key), str_of(value));
}

static uint64_t ask(struct port *to, const struct ask *a) {
    struct message *m = message_to(MSG_REQUEST, next_call++);
    struct buf metadata = {0};
    char path[100];
    m->context = msg_context_new();
    m->context->ns = blob_new("mica", 4);
    m->context->deadline = a->timeout == 0 ? 0 : clock_now() + a->timeout;
    memset(m->context->trace_id, 7, 16);
    memset(m->context->span_id, 8, 8);
    add(&metadata, ":path", a->path);
    add(&metadata, ":kind", a->kind);
    add(&metadata, "do", a->what);
    add(&metadata, "count", a->count);
    add(&metadata, "size", a->size);
    m->context->metadata = buf_take(&metadata);
    m->form.encoding = (uint8_t)a->encoding;
    m->body = a->take_body;
    if (a->path == NULL) {
        snprintf(path, sizeof path, "/echo.Echo/%s", a->method);
        m->method = pb_find_path(echo.pool, str_of(path));
        assert_non_null(m->method);
        m->contract = pb_pool_hold(echo.pool);
        m->drop_contract = drop_pool;
    }
    uint64_t call = m->call;
    assert_int_equal(port_send(to, m), 0);
    return call;
}

static struct blob *text(const char *t) {
    return text_of((struct msg_form){.encoding = MSG_PROTO}, str_of(t));
}

static void send_on(uint64_t call, enum msg_kind kind, struct blob *take_body, uint32_t n) {
    struct message *m = message_to(kind, call);
    m->body = take_body;
    m->credit = n;
    assert_int_equal(port_send(dial, m), 0);
}

static struct message *take(enum msg_kind kind, uint64_t call) {
    struct message *m = keeper_take(&client, 10000);
    if (m == NULL) fail_msg("nothing came");
    assert_int_equal(m->call, call);
    if (m->kind != kind)
        fail_msg("kind %d came instead of %d: status %d %.*s", m->kind, kind, m->status,
                 m->fault == NULL ? 0 : (int)blob_str(m->fault->text).n,
                 m->fault == NULL ? "" : blob_str(m->fault->text).p);
    return m;
}

static void expect_fault(uint64_t call, int status, const char *part) {
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, status);
    assert_non_null(m->fault);
    char said[600];
    snprintf(said, sizeof said, "%.*s", (int)blob_str(m->fault->text).n,
             blob_str(m->fault->text).p);
    if (strstr(said, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", said, part);
    message_delete(m);
}

static bool has(const struct blob *metadata, const char *key, const char *value) {
    struct str got;
    return metadata_get(metadata, str_of(key), &got) && str_is(got, value);
}

// ---- unary

static void test_unary(void **state) {
    (void)state;
    for (int json = 0; json < 2; json++) {
        struct ask a = {.method = "Say", .encoding = json ? MSG_JSON : MSG_PROTO};
        a.take_body = text_of((struct msg_form){.encoding = (uint8_t)a.encoding}, str_of("hello"));
        struct blob *sent = blob_hold(a.take_body);
        uint64_t call = ask(dial, &a);
        struct message *m = take(MSG_RESPONSE, call);
        assert_int_equal(m->status, 0);
        assert_true(str_equal(blob_str(m->body), blob_str(sent)));
        assert_true(has(m->leading, "x-leading", "first"));
        assert_true(has(m->metadata, "x-trailing-bin", "last"));
        message_delete(m);
        blob_drop(sent);
    }
}

static void test_headers_before_the_answer(void **state) {
    (void)state;
    uint64_t call =
        ask(dial, &(struct ask){.method = "Say", .what = "headers", .take_body = text("x")});
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, 0);
    assert_true(has(m->leading, "x-early", "bird"));
    message_delete(m);
}

static void test_fault(void **state) {
    (void)state;
    uint64_t call =
        ask(dial, &(struct ask){.method = "Say", .what = "fail", .take_body = text("x")});
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, STATUS_NOT_FOUND);
    assert_true(str_is(blob_str(m->fault->text), "no post \"7\" \xC3\xA4"));
    assert_true(str_is(blob_str(m->fault->id), "posts.Posts.Read"));
    assert_true(str_is(blob_str(m->fault->details), "\x08\x05"));
    assert_true(has(m->metadata, "x-trailing", "t"));
    message_delete(m);
}

static void test_sizes(void **state) {
    (void)state;
    static const size_t SIZES[] = {0, 1, 1000, 1019, 1100, 65536, 300000, 3000000};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        struct blob *body = blob_new(NULL, SIZES[i]);
        memset(body->p, 'z', body->n); // the echo does not look inside
        uint64_t call = ask(dial, &(struct ask){.method = "Say", .take_body = blob_hold(body)});
        struct message *m = take(MSG_RESPONSE, call);
        assert_int_equal(m->status, 0);
        assert_true(str_equal(blob_str(m->body), blob_str(body)));
        message_delete(m);
        blob_drop(body);
    }
    struct blob *huge = blob_new(NULL, (4 << 20) + 1);
    memset(huge->p, 0, huge->n);
    expect_fault(ask(dial, &(struct ask){.method = "Say", .take_body = huge}),
                 STATUS_RESOURCE_EXHAUSTED, "longer than the limit");
}

static void test_refusals(void **state) {
    (void)state;
    expect_fault(ask(dial, &(struct ask){.method = "Say", .what = "full", .take_body = text("x")}),
                 STATUS_RESOURCE_EXHAUSTED, "\"echo\" has too many requests waiting");
    expect_fault(ask(dial, &(struct ask){.method = "Say", .what = "down", .take_body = text("x")}),
                 STATUS_UNAVAILABLE, "\"echo\" is not running");
    expect_fault(ask(dial, &(struct ask){.path = "/echo.Echo/Shout", .take_body = text("x")}),
                 STATUS_UNIMPLEMENTED, "no service \"echo.Echo\" with a method \"Shout\"");
    expect_fault(ask(dial, &(struct ask){.path = "nonsense", .take_body = text("x")}),
                 STATUS_INVALID_ARGUMENT, "names no method");
}

static void test_deadline(void **state) {
    (void)state;
    int before = atomic_load(&echo.deadlines) + atomic_load(&echo.cancels);
    int64_t begin = clock_now();
    uint64_t call = ask(dial, &(struct ask){.method = "Say",
                                            .what = "hang",
                                            .take_body = text("x"),
                                            .timeout = 200 * NS_PER_MS});
    expect_fault(call, STATUS_DEADLINE_EXCEEDED, "deadline");
    int64_t took = clock_now() - begin;
    assert_in_range(took / NS_PER_MS, 195, 2000);
    int64_t until = clock_now() + 5 * NS_PER_SECOND;
    while (atomic_load(&echo.deadlines) + atomic_load(&echo.cancels) == before &&
           clock_now() < until)
        usleep(1000);
    assert_int_equal(atomic_load(&echo.deadlines) + atomic_load(&echo.cancels), before + 1);
}

static void test_cancel(void **state) {
    (void)state;
    int before = atomic_load(&echo.cancels);
    uint64_t call =
        ask(dial, &(struct ask){.method = "Count", .what = "hang", .take_body = text("x")});
    int64_t until = clock_now() + 5 * NS_PER_SECOND;
    while (rpc_open_calls(server.rpc) == 0 && clock_now() < until) usleep(1000);
    send_on(call, MSG_CANCEL, NULL, 0);
    while (atomic_load(&echo.cancels) == before && clock_now() < until) usleep(1000);
    assert_int_equal(atomic_load(&echo.cancels), before + 1);
    assert_null(keeper_take(&client, 50)); // and nothing comes for a call that was cancelled
}

// More calls at once than a connection has streams.
static void test_many(void **state) {
    (void)state;
    enum { MANY = 1000 };
    uint64_t first = next_call;
    for (int i = 0; i < MANY; i++)
        ask(dial, &(struct ask){.method = "Say", .take_body = text("many")});
    bool seen[MANY] = {false};
    for (int i = 0; i < MANY; i++) {
        struct message *m = keeper_take(&client, 10000);
        assert_non_null(m);
        assert_int_equal(m->status, 0);
        assert_false(seen[m->call - first]);
        seen[m->call - first] = true;
        message_delete(m);
    }
}

// ---- streams

static void test_server_stream(void **state) {
    (void)state;
    uint64_t call =
        ask(dial, &(struct ask){.method = "Count", .count = "20", .take_body = text("x")});
    for (int i = 0; i < 20; i++) {
        struct message *m = take(MSG_ITEM, call);
        assert_true(str_is(blob_str(m->body), "\x0A\x05xxxxx"));
        message_delete(m);
    }
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, 0);
    assert_null(m->body);
    message_delete(m);
}

// Without credit from here the server's items stop, all the way back to the service.
static void test_server_stream_waits(void **state) {
    (void)state;
    enum { ITEM = 10000, COUNT = 400 };
    uint64_t call = ask(
        dial,
        &(struct ask){.method = "Count", .count = "400", .size = "10000", .take_body = text("x")});
    size_t items = 0, bytes = 0, owed = 0;
    struct message *m;
    while ((m = keeper_take(&client, 300)) != NULL) {
        assert_int_equal(m->kind, MSG_ITEM);
        items++;
        bytes += m->body->n;
        message_delete(m);
    }
    assert_true(bytes >= MSG_WINDOW && bytes <= MSG_WINDOW + ITEM + 10);
    owed = bytes;
    for (bool done = false; !done;) {
        if (owed > 0) send_on(call, MSG_CREDIT, NULL, (uint32_t)owed);
        owed = 0;
        m = keeper_take(&client, 10000);
        assert_non_null(m);
        if (m->kind == MSG_ITEM) {
            items++;
            owed = m->body->n;
        }
        done = m->kind == MSG_RESPONSE;
        message_delete(m);
    }
    assert_int_equal(items, COUNT);
}

static void test_stream_breaks(void **state) {
    (void)state;
    uint64_t call =
        ask(dial, &(struct ask){.method = "Count", .what = "break", .take_body = text("x")});
    for (int i = 0; i < 3; i++) message_delete(take(MSG_ITEM, call));
    expect_fault(call, STATUS_INTERNAL, "it broke");
}

static void test_client_stream(void **state) {
    (void)state;
    uint64_t call = ask(dial, &(struct ask){.method = "Gather"});
    for (int i = 0; i < 100; i++) send_on(call, MSG_ITEM, text("12345"), 0);
    send_on(call, MSG_END, NULL, 0);
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, 0);
    assert_non_null(memmem(m->body->p, m->body->n, "100 items, 700 bytes", 20));
    message_delete(m);
}

// The service gives no credit for a while: the doors hold items back, and give us credit only as they go.
static void test_client_stream_waits(void **state) {
    (void)state;
    atomic_store(&echo.most_waiting, 0);
    uint64_t call = ask(dial, &(struct ask){.method = "Gather", .what = "lazy"});
    int64_t room = MSG_WINDOW;
    char big[20001];
    memset(big, 'b', 20000);
    big[20000] = '\0';
    struct message *m;
    for (int sent = 0; sent < 200;) {
        while (room > 0 && sent < 200) {
            struct blob *body = text(big);
            room -= (int64_t)body->n;
            send_on(call, MSG_ITEM, body, 0);
            sent++;
        }
        if (sent == 200) break;
        m = take(MSG_CREDIT, call);
        room += m->credit;
        message_delete(m);
    }
    send_on(call, MSG_END, NULL, 0);
    while ((m = keeper_take(&client, 10000)) != NULL && m->kind == MSG_CREDIT) message_delete(m);
    assert_non_null(m);
    assert_int_equal(m->kind, MSG_RESPONSE);
    assert_non_null(memmem(m->body->p, m->body->n, "200 items", 9));
    message_delete(m);
    assert_true(atomic_load(&echo.most_waiting) <= MSG_WINDOW + 20010);
}

static void test_answer_before_the_end(void **state) {
    (void)state;
    uint64_t call = ask(dial, &(struct ask){.method = "Gather", .what = "early"});
    send_on(call, MSG_ITEM, text("one"), 0);
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, 0);
    message_delete(m);
    send_on(call, MSG_ITEM, text("late"), 0); // dropped
}

static void test_both_ways(void **state) {
    (void)state;
    uint64_t call = ask(dial, &(struct ask){.method = "Chat"});
    for (int i = 0; i < 50; i++) {
        char ball[20];
        snprintf(ball, sizeof ball, "ball %d", i);
        struct blob *body = text(ball);
        send_on(call, MSG_ITEM, blob_hold(body), 0);
        struct message *m = take(MSG_ITEM, call);
        assert_true(str_equal(blob_str(m->body), blob_str(body)));
        message_delete(m);
        blob_drop(body);
    }
    send_on(call, MSG_END, NULL, 0);
    message_delete(take(MSG_RESPONSE, call));
}

// ---- without a contract

static void test_by_path(void **state) {
    (void)state;
    struct ask a = {.path = "/echo.Echo/Say",
                    .encoding = MSG_JSON,
                    .take_body = blob_new("{\"text\":\"x\"}", 12)};
    uint64_t call = ask(dial, &a);
    struct message *m = take(MSG_RESPONSE, call);
    assert_int_equal(m->status, 0);
    assert_true(str_is(blob_str(m->body), "{\"text\":\"x\"}"));
    message_delete(m);
    // A second message shows that it is a stream.
    a = (struct ask){
        .path = "/echo.Echo/Count", .encoding = MSG_JSON, .take_body = blob_new("{}", 2)};
    call = ask(dial, &a);
    for (int i = 0; i < 3; i++) message_delete(take(MSG_ITEM, call));
    m = take(MSG_RESPONSE, call);
    assert_null(m->body);
    message_delete(m);
    // Said to be one, the first item does not wait for the second.
    a = (struct ask){.path = "/echo.Echo/Chat", .kind = "bidi", .encoding = MSG_JSON};
    call = ask(dial, &a);
    send_on(call, MSG_ITEM, blob_new("{}", 2), 0);
    message_delete(take(MSG_ITEM, call));
    send_on(call, MSG_END, NULL, 0);
    message_delete(take(MSG_RESPONSE, call));
}

// ---- connections

static void test_addresses(void **state) {
    (void)state;
    struct err err;
    assert_null(rpc_dial(server.rpc, str_of("nonsense"), &err));
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    assert_null(rpc_dial(server.rpc, str_of("host:"), &err));
    struct port *again = rpc_dial(server.rpc, str_of(server.proxy_address), &err);
    assert_ptr_equal(again, dial); // one for all who ask
    port_drop(again);
}

static void test_nobody_listens(void **state) {
    (void)state;
    struct port *p = rpc_dial(server.rpc, str_of("127.0.0.1:1"), NULL);
    expect_fault(ask(p, &(struct ask){.method = "Say", .take_body = text("x")}), STATUS_UNAVAILABLE,
                 "cannot connect to 127.0.0.1:1: connection refused");
    expect_fault(ask(p, &(struct ask){.method = "Say", .take_body = text("x")}), STATUS_UNAVAILABLE,
                 "refused");
    port_drop(p);
}

// A server that closes every connection at once, then one that is no HTTP/2.
static void *rude_thread(void *arg) {
    int listener = *(int *)arg;
    for (int i = 0; i < 2; i++) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) return NULL;
        char bytes[1000];
        if (recv(fd, bytes, sizeof bytes, 0) < 0) return NULL;
        if (i == 1) send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void test_rude_server(void **state) {
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, rude_thread, &listener), 0);
    char address[40];
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(at.sin_port));
    struct port *p = rpc_dial(server.rpc, str_of(address), NULL);
    for (int i = 0; i < 2; i++)
        expect_fault(ask(p, &(struct ask){.method = "Say", .take_body = text("x")}),
                     STATUS_UNAVAILABLE, "broke off");
    pthread_join(thread, NULL);
    port_drop(p);
    close(listener);
}

// A door that answers, but no gRPC: the mapping of HTTP's status.
static void test_not_grpc(void **state) {
    (void)state;
    struct port *p = rpc_dial(server.rpc, str_of(server.api_address), NULL);
    struct message *m;
    uint64_t call = ask(p, &(struct ask){.method = "Say", .take_body = text("api too")});
    m = take(MSG_RESPONSE, call); // the api door speaks gRPC as well
    assert_int_equal(m->status, 0);
    message_delete(m);
    port_drop(p);
}

// The routes of a door are changed while calls are made.
static void test_routes_change(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        install_all(true);
        uint64_t call = ask(dial, &(struct ask){.method = "Say", .take_body = text("x")});
        struct message *m = take(MSG_RESPONSE, call);
        assert_int_equal(m->status, 0);
        message_delete(m);
    }
}

// Calls are under way, in all states, when the server ends: nothing leaks, nobody waits for ever.
static void test_end_with_calls(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        ask(dial, &(struct ask){.method = "Say", .what = "hang", .take_body = text("x")});
        ask(dial, &(struct ask){
                      .method = "Count", .count = "1000", .size = "10000", .take_body = text("x")});
        uint64_t call = ask(dial, &(struct ask){.method = "Chat"});
        send_on(call, MSG_ITEM, text("x"), 0);
    }
    int64_t until = clock_now() + 5 * NS_PER_SECOND;
    while (rpc_open_calls(server.rpc) < 15 && clock_now() < until) usleep(1000);
    assert_int_equal(rpc_open_calls(server.rpc), 15);
    server_end();
    port_drop(dial);
    assert_int_equal(atomic_load(&client.port.refs), 1);
    keeper_destroy(&client);
    memset(&server, 0, sizeof server);
    memset(&echo, 0, sizeof echo);
    server_begin();
}

// ---- other people's clients

static void test_other_clients(void **state) {
    (void)state;
    char command[600];
    const char *end = strrchr(__FILE__, '/');
    snprintf(command, sizeof command, "/usr/bin/python3 %.*s/door_client.py %s %s",
             (int)(end - __FILE__), __FILE__, server.api_address, server.proxy_address);
    if (system("/usr/bin/python3 -c 'import grpc' 2>/dev/null && curl --version >/dev/null") != 0) {
        print_message("python3-grpcio or curl is not installed\n");
        skip();
    }
    fflush(NULL);
    if (system(command) != 0) fail_msg("%s", command);
    wait_no_calls();
}

#define WITH_CLIENT(test) cmocka_unit_test_setup_teardown(test, set_up_client, tear_down_client)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_CLIENT(test_unary),
        WITH_CLIENT(test_headers_before_the_answer),
        WITH_CLIENT(test_fault),
        WITH_CLIENT(test_sizes),
        WITH_CLIENT(test_refusals),
        WITH_CLIENT(test_deadline),
        WITH_CLIENT(test_cancel),
        WITH_CLIENT(test_many),
        WITH_CLIENT(test_server_stream),
        WITH_CLIENT(test_server_stream_waits),
        WITH_CLIENT(test_stream_breaks),
        WITH_CLIENT(test_client_stream),
        WITH_CLIENT(test_client_stream_waits),
        WITH_CLIENT(test_answer_before_the_end),
        WITH_CLIENT(test_both_ways),
        WITH_CLIENT(test_by_path),
        WITH_CLIENT(test_addresses),
        WITH_CLIENT(test_nobody_listens),
        WITH_CLIENT(test_rude_server),
        WITH_CLIENT(test_not_grpc),
        WITH_CLIENT(test_routes_change),
        cmocka_unit_test(test_other_clients),
        cmocka_unit_test_setup_teardown(test_end_with_calls, set_up_client, NULL),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
