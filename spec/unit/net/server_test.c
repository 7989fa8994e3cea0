// SPDX-License-Identifier: Apache-2.0
// End to end: acceptor, loops and connections with a small server on port 0, asked by curl, h2load,
// raw sockets and our own client.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOPS 2

// ---- a server

struct call {
    struct buf body;
};

static atomic_int open_calls;

static void on_head(struct http_stream *s) {
    s->user = calloc(1, sizeof(struct call));
    assert_non_null(s->user);
    atomic_fetch_add(&open_calls, 1);
}

static void on_data(struct http_stream *s, struct str bytes) {
    struct call *c = s->user;
    buf_append_str(&c->body, bytes);
    http_consume(s, bytes.n);
}

// Answers with the request's body, or 8 MB of 'x', or never.
static void on_end(struct http_stream *s) {
    struct call *c = s->user;
    if (str_is(s->path, "/hang")) return;
    if (str_is(s->path, "/close")) {
        conn_close(conn_of(s->session));
        return;
    }
    http_respond(s, 200, NULL, 0, false);
    if (str_is(s->path, "/big")) {
        struct blob *big = blob_new(NULL, 8 * 1024 * 1024);
        memset(big->p, 'x', big->n);
        http_send_blob(s, big);
    } else if (str_is(s->path, "/peer")) {
        http_send(s, conn_peer(conn_of(s->session)));
        if (!conn_peer_is_loopback(conn_of(s->session))) http_reset(s, 2);
    } else {
        http_send_blob(s, buf_take(&c->body));
    }
    http_finish(s, NULL, 0);
}

static void on_writable(struct http_stream *s) { (void)s; }

static void on_closed(struct http_stream *s, enum http_close why) {
    struct call *c = s->user;
    (void)why;
    buf_free(&c->body);
    free(c);
    atomic_fetch_sub(&open_calls, 1);
}

static const struct http_events SERVER = {
    .head = on_head, .data = on_data, .end = on_end, .writable = on_writable, .closed = on_closed};

struct server {
    struct loop loops[LOOPS];
    struct door door;
    uv_loop_t main;
    uv_async_t quit;
    pthread_t thread;
    struct acceptor *acceptor;
    int port;
};

static struct server server;

static void no_messages(struct loop *loop, struct message *m) {
    (void)loop;
    message_delete(m);
}

static void on_quit(uv_async_t *handle) {
    acceptor_close(server.acceptor);
    uv_close((uv_handle_t *)handle, NULL);
}

static void *main_thread(void *arg) {
    (void)arg;
    uv_run(&server.main, UV_RUN_DEFAULT);
    return NULL;
}

static void server_begin(int64_t head_timeout, int64_t idle_timeout, unsigned max) {
    struct err err = {0};
    memset(&server, 0, sizeof server);
    server.door = (struct door){.name = "test",
                                .events = &SERVER,
                                .limits = HTTP_LIMITS,
                                .head_timeout = head_timeout,
                                .idle_timeout = idle_timeout,
                                .max_connections = max};
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(loop_create(&server.loops[i], i, &err), 0);
        server.loops[i].deliver = no_messages;
        assert_int_equal(loop_start(&server.loops[i], &err), 0);
    }
    assert_int_equal(uv_loop_init(&server.main), 0);
    uv_async_init(&server.main, &server.quit, on_quit);
    server.acceptor =
        acceptor_new(&server.main, "127.0.0.1:0", &server.door, server.loops, LOOPS, &err);
    assert_non_null(server.acceptor);
    server.port = atoi(strrchr(acceptor_address(server.acceptor), ':') + 1);
    assert_in_range(server.port, 1, 65535);
    acceptor_start(server.acceptor);
    assert_int_equal(pthread_create(&server.thread, NULL, main_thread, NULL), 0);
}

static void server_end(void) {
    uv_async_send(&server.quit);
    pthread_join(server.thread, NULL);
    assert_int_equal(uv_loop_close(&server.main), 0);
    for (unsigned i = 0; i < LOOPS; i++) loop_stop(&server.loops[i]);
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(loop_open_connections(&server.loops[i]), 0);
        loop_destroy(&server.loops[i]);
    }
    assert_int_equal(atomic_load(&open_calls), 0);
}

static void server_default(void) { server_begin(5 * NS_PER_SECOND, 30 * NS_PER_SECOND, 1000); }

static size_t connections(void) {
    size_t n = 0;
    for (unsigned i = 0; i < LOOPS; i++) n += loop_open_connections(&server.loops[i]);
    return n;
}

static void wait_connections(size_t n) {
    int64_t until = clock_now() + 10 * NS_PER_SECOND;
    while (connections() != n) {
        if (clock_now() > until) fail_msg("%zu connections, not %zu", connections(), n);
        usleep(1000);
    }
}

// ---- raw clients

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void put(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

// Reads until the end of the connection or `want` is there; the milliseconds it took.
static int64_t get(int fd, struct buf *out, const char *want) {
    int64_t begin = clock_now();
    out->n = 0;
    buf_cstr(out);
    while (want == NULL || strstr(buf_cstr(out), want) == NULL) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 10000) != 1) fail_msg("nothing came after: %s", buf_cstr(out));
        char piece[65536];
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0) break;
        buf_append(out, piece, (size_t)n);
    }
    return (clock_now() - begin) / NS_PER_MS;
}

static void run(const char *format, struct buf *out) {
    char command[1000];
    snprintf(command, sizeof command, format, server.port, server.port);
    out->n = 0;
    FILE *f = popen(command, "r");
    assert_non_null(f);
    char piece[65536];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) buf_append(out, piece, n);
    int rc = pclose(f);
    if (rc != 0) fail_msg("%s ended with %d: %s", command, rc, buf_cstr(out));
}

static bool installed(const char *program) {
    char command[100];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", program);
    return system(command) == 0;
}

// ---- tests

static void test_curl(void **state) {
    (void)state;
    if (!installed("curl")) skip();
    struct buf out = {0};
    server_default();
    run("curl -sS -w ' %%{http_version} %%{num_connects}\n' -d one http://127.0.0.1:%d/a "
        "-d one http://127.0.0.1:%d/b",
        &out);
    assert_string_equal(buf_cstr(&out), "one&one 1.1 1\none&one 1.1 0\n"); // kept alive
    run("curl -sS --http2-prior-knowledge -w ' %%{http_version}\n' -d two http://127.0.0.1:%d/a",
        &out);
    assert_string_equal(buf_cstr(&out), "two 2\n");
    run("curl -sS --http2 -w ' %%{http_version}\n' -d up http://127.0.0.1:%d/a", &out);
    assert_string_equal(buf_cstr(&out), "up 1.1\n"); // an upgrade to h2c is not offered
    run("head -c 3000000 /dev/zero | curl -sS --data-binary @- http://127.0.0.1:%d/echo | wc -c",
        &out);
    assert_int_equal(atoi(buf_cstr(&out)), 3000000);
    run("head -c 3000000 /dev/zero | curl -sS --http2-prior-knowledge --data-binary @- "
        "http://127.0.0.1:%d/echo | wc -c",
        &out);
    assert_int_equal(atoi(buf_cstr(&out)), 3000000);
    run("curl -sS http://127.0.0.1:%d/peer", &out);
    assert_memory_equal(buf_cstr(&out), "127.0.0.1:", 10);
    server_end();
    buf_free(&out);
}

static void test_h2load(void **state) {
    (void)state;
    if (!installed("h2load")) skip();
    struct buf out = {0};
    server_default();
    run("h2load -n 2000 -c 4 -m 32 http://127.0.0.1:%d/a", &out);
    if (strstr(buf_cstr(&out), "2000 succeeded, 0 failed") == NULL) fail_msg("%s", buf_cstr(&out));
    run("h2load --h1 -n 2000 -c 4 -m 8 http://127.0.0.1:%d/a", &out); // pipelined
    if (strstr(buf_cstr(&out), "2000 succeeded, 0 failed") == NULL) fail_msg("%s", buf_cstr(&out));
    run("h2load -n 20 -c 2 -m 5 http://127.0.0.1:%d/big", &out);
    if (strstr(buf_cstr(&out), "20 succeeded, 0 failed") == NULL) fail_msg("%s", buf_cstr(&out));
    server_end();
    buf_free(&out);
}

static void test_slow_reader(void **state) {
    (void)state;
    server_default();
    struct buf out = {0};
    int fd = dial();
    put(fd, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    usleep(100000);
    get(fd, &out, NULL);
    assert_in_range(out.n, 8 * 1024 * 1024, 9 * 1024 * 1024);
    close(fd);
    server_end();
    buf_free(&out);
}

static void test_half_close(void **state) {
    (void)state;
    server_default();
    struct buf out = {0};
    int fd = dial();
    put(fd, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(fd, SHUT_WR);
    get(fd, &out, NULL);
    const char *first = strstr(buf_cstr(&out), "200 OK");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "200 OK"));
    close(fd);
    wait_connections(0);
    server_end();
    buf_free(&out);
}

static void test_refused_request_gets_its_answer(void **state) {
    (void)state;
    // The answer must arrive although much of what was sent is never looked at.
    server_default();
    struct buf out = {0};
    char junk[100001];
    memset(junk, 'j', sizeof junk - 1);
    junk[sizeof junk - 1] = '\0';
    int fd = dial();
    put(fd, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    put(fd, junk);
    get(fd, &out, "Bad Request\"}");
    assert_memory_equal(buf_cstr(&out), "HTTP/1.1 400 Bad Request\r\n", 26);
    close(fd);
    wait_connections(0);
    server_end();
    buf_free(&out);
}

static void test_preface_in_pieces(void **state) {
    (void)state;
    server_default();
    struct buf out = {0};
    int fd = dial();
    put(fd, "PRI * HTTP/2.0\r\n");
    usleep(20000);
    put(fd, "\r\nSM\r\n\r\n");
    assert_int_equal(send(fd, "\0\0\0\4\0\0\0\0\0", 9, 0), 9); // SETTINGS
    char head[9];
    assert_int_equal(recv(fd, head, 9, MSG_WAITALL), 9);
    assert_int_equal(head[3], 4); // and its own
    close(fd);
    // What only looks like it is HTTP/1.
    fd = dial();
    put(fd, "P");
    usleep(20000);
    put(fd, "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    get(fd, &out, "200 OK");
    close(fd);
    wait_connections(0);
    server_end();
    buf_free(&out);
}

static void test_time_limits(void **state) {
    (void)state;
    server_begin(200 * NS_PER_MS, 600 * NS_PER_MS, 1000);
    struct buf out = {0};
    int fd = dial(); // says nothing
    assert_in_range(get(fd, &out, NULL), 150, 500);
    close(fd);
    fd = dial(); // a head that never ends
    put(fd, "GET / HTTP/1.1\r\nHost:");
    assert_in_range(get(fd, &out, NULL), 150, 500);
    close(fd);
    fd = dial(); // a header list that never ends, HTTP/2
    out.n = 0;
    static const char HALF[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                               "\0\0\1\1\0\0\0\0\1\x82";
    assert_int_equal(send(fd, HALF, sizeof HALF - 1, 0), sizeof HALF - 1);
    assert_in_range(get(fd, &out, NULL), 150, 550);
    close(fd);
    out.n = 0;
    fd = dial(); // idle after a request
    put(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    int64_t ms = get(fd, &out, NULL);
    assert_in_range(ms, 500, 1200);
    assert_non_null(strstr(buf_cstr(&out), "200 OK"));
    close(fd);
    fd = dial(); // waiting for an answer is not idle
    put(fd, "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    usleep(1200000);
    assert_int_equal(connections(), 1);
    close(fd);
    server_end();
    buf_free(&out);
}

// Answers that are asked for and never read are thrown away; a stalled peer that asked for little is left alone.
static void test_unread_answers(void **state) {
    (void)state;
    server_begin(200 * NS_PER_MS, 600 * NS_PER_MS, 1000);
    struct buf out = {0};
    // Windows of 0, and two answers of 8 MB.
    static const char ASK[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"
                              "\0\0\x0b\1\5\0\0\0\1\x82\x86\x04\x04/big\x41\x01"
                              "a"
                              "\0\0\x0b\1\5\0\0\0\3\x82\x86\x04\x04/big\x41\x01"
                              "a";
    const size_t one = 24 + 15 + 20;
    int fd = dial();
    assert_int_equal(send(fd, ASK, one + 20, 0), one + 20);
    assert_in_range(get(fd, &out, NULL), 150, 1000);
    close(fd);
    wait_connections(0);
    fd = dial();
    usleep(300000); // it is held back for having been thrown out
    assert_int_equal(send(fd, ASK, one, 0), one);
    usleep(1000000);
    assert_int_equal(connections(), 1);
    close(fd);
    server_end();
    buf_free(&out);
}

static void test_most_connections(void **state) {
    (void)state;
    log_set_level(LOG_OFF);
    server_begin(5 * NS_PER_SECOND, 5 * NS_PER_SECOND, 4);
    struct buf out = {0};
    int fds[4];
    for (int i = 0; i < 4; i++) fds[i] = dial();
    wait_connections(4);
    for (unsigned i = 0; i < LOOPS; i++) // shared out
        assert_int_equal(loop_open_connections(&server.loops[i]), 4 / LOOPS);
    int over = dial();
    get(over, &out, NULL);
    assert_int_equal(out.n, 0);
    close(over);
    for (int i = 0; i < 4; i++) close(fds[i]);
    wait_connections(0);
    over = dial();
    put(over, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    get(over, &out, "200 OK");
    close(over);
    server_end();
    buf_free(&out);
    log_set_level(LOG_INFO);
}

static void test_out_of_descriptors(void **state) {
    (void)state;
    log_set_level(LOG_OFF);
    server_default();
    struct buf out = {0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit before, low;
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = (rlim_t)fd + 1; // no descriptor is left for accept
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    struct rusage a, b;
    getrusage(RUSAGE_SELF, &a);
    usleep(300000);
    getrusage(RUSAGE_SELF, &b);
    setrlimit(RLIMIT_NOFILE, &before);
    int64_t us = (b.ru_utime.tv_sec - a.ru_utime.tv_sec) * 1000000 + b.ru_utime.tv_usec -
                 a.ru_utime.tv_usec + (b.ru_stime.tv_sec - a.ru_stime.tv_sec) * 1000000 +
                 b.ru_stime.tv_usec - a.ru_stime.tv_usec;
    assert_in_range(us, 0, 100000); // it rests instead of spinning
    put(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    get(fd, &out, "200 OK"); // and goes on
    close(fd);
    server_end();
    buf_free(&out);
    log_set_level(LOG_INFO);
}

static void test_close_inside_an_event(void **state) {
    (void)state;
    server_default();
    struct buf out = {0};
    int fd = dial();
    put(fd, "GET /close HTTP/1.1\r\nHost: a\r\n\r\n");
    get(fd, &out, NULL);
    assert_int_equal(out.n, 0);
    close(fd);
    wait_connections(0);
    server_end();
    buf_free(&out);
}

static void test_stop_with_open_calls(void **state) {
    (void)state;
    server_default();
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = dial();
        put(fds[i], i % 2 == 0 ? "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"
                               : "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    usleep(50000);
    server_end();
    for (int i = 0; i < 8; i++) close(fds[i]);
}

static void shut_down(struct loop *loop, struct loop_task *task) {
    (void)task;
    loop_shutdown_connections(loop);
}

static void test_graceful_shutdown(void **state) {
    (void)state;
    server_default();
    struct buf out = {0};
    int fd = dial();
    put(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    get(fd, &out, "200 OK");
    struct loop_task tasks[LOOPS];
    for (unsigned i = 0; i < LOOPS; i++) {
        tasks[i].run = shut_down;
        loop_post(&server.loops[i], &tasks[i]);
    }
    assert_in_range(get(fd, &out, NULL), 0, 2000); // an idle connection ends at once
    close(fd);
    wait_connections(0);
    server_end();
    buf_free(&out);
}

// ---- our own client

static struct {
    struct loop_task task;
    char address[64];
    int64_t timeout;
    atomic_uint connected, failed, closed, answers, ends;
    struct conn *conn;
    struct err err;
    size_t bytes;
} client;

static void client_head(struct http_stream *s) {
    if (s->status == 200) atomic_fetch_add(&client.answers, 1);
}
static void client_data(struct http_stream *s, struct str bytes) {
    client.bytes += bytes.n;
    http_consume(s, bytes.n);
}
static void client_end(struct http_stream *s) {
    (void)s;
    atomic_fetch_add(&client.ends, 1);
}
static void client_stream_closed(struct http_stream *s, enum http_close why) { (void)s, (void)why; }
static const struct http_events CLIENT = {.head = client_head,
                                          .data = client_data,
                                          .end = client_end,
                                          .writable = on_writable,
                                          .closed = client_stream_closed};

static void client_closed(struct conn *c, void *user) {
    assert_ptr_equal(c, client.conn);
    assert_ptr_equal(user, &client);
    atomic_fetch_add(&client.closed, 1);
}

static void client_done(struct loop *loop, void *user, struct conn *c, const struct err *err) {
    assert_ptr_equal(user, &client);
    assert_true(loop_is_current(loop));
    client.conn = c;
    if (c == NULL) {
        client.err = *err;
        atomic_fetch_add(&client.failed, 1);
        return;
    }
    conn_on_close(c, client_closed, &client);
    struct http_session *h = conn_session(c);
    for (int i = 0; i < 20; i++) {
        struct http_stream *s =
            http_request(h, str_of("POST"), str_of("http"), str_of("a"),
                         str_of(i == 0 ? "/big" : "/echo"), NULL, 0, false, NULL);
        assert_non_null(s);
        http_send(s, str_of("ping!"));
        http_finish(s, NULL, 0);
    }
    atomic_fetch_add(&client.connected, 1);
}

static void client_begin(struct loop *loop, struct loop_task *task) {
    (void)task;
    const struct conn_side side = {http2_client_new, &CLIENT, NULL, client.timeout};
    conn_connect(loop, client.address, NULL, &side, client_done, &client);
    assert_int_equal(atomic_load(&client.failed), 0); // never from inside
}

static void client_connect(const char *address, int64_t timeout) {
    memset(&client, 0, sizeof client);
    snprintf(client.address, sizeof client.address, "%s", address);
    client.timeout = timeout;
    client.task.run = client_begin;
    loop_post(&server.loops[0], &client.task);
}

static void wait_counter(atomic_uint *counter, unsigned n) {
    int64_t until = clock_now() + 10 * NS_PER_SECOND;
    while (atomic_load(counter) != n) {
        if (clock_now() > until) fail_msg("%u, not %u", atomic_load(counter), n);
        usleep(1000);
    }
}

static void close_client(struct loop *loop, struct loop_task *task) {
    (void)loop, (void)task;
    conn_close(client.conn);
}

static void test_client(void **state) {
    (void)state;
    server_default();
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", server.port);
    client_connect(address, 5 * NS_PER_SECOND);
    wait_counter(&client.ends, 20);
    assert_int_equal(atomic_load(&client.answers), 20);
    struct loop_task task = {.run = close_client};
    loop_post(&server.loops[0], &task);
    wait_counter(&client.closed, 1);
    assert_int_equal(client.bytes, 8 * 1024 * 1024 + 19 * 5);
    wait_connections(0);
    server_end();
}

static void test_client_failures(void **state) {
    (void)state;
    server_default();
    client_connect("127.0.0.1:1", 5 * NS_PER_SECOND); // nobody listens
    wait_counter(&client.failed, 1);
    assert_int_equal(client.err.code, STATUS_UNAVAILABLE);
    assert_non_null(strstr(client.err.text, "cannot connect to 127.0.0.1:1: "));
    client_connect("nonsense", 5 * NS_PER_SECOND);
    wait_counter(&client.failed, 1);
    assert_int_equal(client.err.code, STATUS_INVALID_ARGUMENT);
    // A queue that is full: the handshake gets no answer.
    int quiet = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    assert_int_equal(bind(quiet, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(quiet, 0), 0);
    getsockname(quiet, (struct sockaddr *)&at, &n);
    int fill[2];
    for (int i = 0; i < 2; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(at.sin_port));
    client_connect(address, 200 * NS_PER_MS);
    wait_counter(&client.failed, 1);
    assert_non_null(strstr(client.err.text, "no answer in time"));
    for (int i = 0; i < 2; i++) close(fill[i]);
    client_connect(address, 30 * NS_PER_SECOND); // still waiting when the loop stops
    usleep(50000);
    server_end();
    close(quiet);
}

// ---- addresses

static void expect_fault(const char *address, enum status code, const char *text) {
    struct err err = {0};
    uv_loop_t main;
    uv_loop_init(&main);
    assert_null(acceptor_new(&main, address, &server.door, server.loops, 1, &err));
    assert_int_equal(err.code, code);
    if (strstr(err.text, text) == NULL) fail_msg("%s", err.text);
    assert_null(strchr(err.text, '\n'));
    assert_int_equal(uv_loop_close(&main), 0);
}

static void test_addresses_that_fail(void **state) {
    (void)state;
    server_default();
    char used[32];
    snprintf(used, sizeof used, "127.0.0.1:%d", server.port);
    expect_fault(used, STATUS_ALREADY_EXISTS,
                 "is already in use: stop the other program or choose another port");
    server_end();
    expect_fault("8080", STATUS_INVALID_ARGUMENT, "has no port");
    expect_fault("[::1]", STATUS_INVALID_ARGUMENT, "has no port");
    expect_fault("127.0.0.1:", STATUS_INVALID_ARGUMENT, "must be a number");
    expect_fault("127.0.0.1:x", STATUS_INVALID_ARGUMENT, "must be a number");
    expect_fault("127.0.0.1:65536", STATUS_INVALID_ARGUMENT, "must be a number");
    expect_fault("::1:80", STATUS_INVALID_ARGUMENT, "in brackets");
    expect_fault("no-such-host.invalid:80", STATUS_INVALID_ARGUMENT, "is not known");
    expect_fault("192.0.2.1:8080", STATUS_INVALID_ARGUMENT, "is not one of this machine");
}

static void test_loopback(void **state) {
    (void)state;
    struct err err = {0};
    assert_true(address_is_loopback("127.0.0.1:1", &err));
    assert_true(address_is_loopback("127.9.9.9:1", &err));
    assert_true(address_is_loopback("[::1]:1", &err));
    assert_true(address_is_loopback("[::ffff:127.0.0.1]:1", &err));
    assert_true(address_is_loopback("localhost:1", &err));
    assert_false(address_is_loopback(":1", &err));
    assert_false(address_is_loopback("0.0.0.0:1", &err));
    assert_false(address_is_loopback("[::]:1", &err));
    assert_false(address_is_loopback("192.0.2.1:1", &err));
    assert_int_equal(err.code, 0);
    assert_false(address_is_loopback("nonsense", &err));
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curl),
        cmocka_unit_test(test_h2load),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_refused_request_gets_its_answer),
        cmocka_unit_test(test_preface_in_pieces),
        cmocka_unit_test(test_time_limits),
        cmocka_unit_test(test_unread_answers),
        cmocka_unit_test(test_most_connections),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_close_inside_an_event),
        cmocka_unit_test(test_stop_with_open_calls),
        cmocka_unit_test(test_graceful_shutdown),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_client_failures),
        cmocka_unit_test(test_addresses_that_fail),
        cmocka_unit_test(test_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
