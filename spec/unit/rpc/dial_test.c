// SPDX-License-Identifier: Apache-2.0
// The connections of a dial, with a server that is a bare socket on a thread: kept alive by PINGs, given up without an answer,
// closed when idle, made anew. Times are those of the test.
#include "rpc_testing.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "msg/metadata.h"
#include "rpc/door.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#define PREFACE 24
#define MS NS_PER_MS

// ---- the server: it answers SETTINGS, and what else it is told to

enum { SETTINGS = 4, PING = 6, GOAWAY = 7, HEADERS = 1 };

static struct {
    int listener;
    char address[40];
    pthread_t thread;
    atomic_bool stop, mute; // mute: PINGs are not answered
    atomic_bool greets;     // SETTINGS are sent
    atomic_int connections, closed, pings, requests, goaways;
} peer;

static void send_frame(int fd, int kind, int flags, const void *payload, size_t n) {
    unsigned char frame[64] = {0, 0, (unsigned char)n, (unsigned char)kind, (unsigned char)flags};
    memcpy(frame + 9, payload, n);
    send(fd, frame, 9 + n, MSG_NOSIGNAL);
}

static bool read_all(int fd, unsigned char *to, size_t n) {
    while (n > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (atomic_load(&peer.stop)) return false;
        if (poll(&ready, 1, 10) <= 0) continue;
        ssize_t got = recv(fd, to, n, 0);
        if (got <= 0) return false;
        to += got;
        n -= (size_t)got;
    }
    return true;
}

static void talk(int fd) {
    unsigned char head[9], payload[4096];
    if (!read_all(fd, payload, PREFACE)) return;
    if (atomic_load(&peer.greets)) send_frame(fd, SETTINGS, 0, "", 0);
    while (read_all(fd, head, sizeof head)) {
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (n > sizeof payload || !read_all(fd, payload, n)) return;
        if (head[3] == SETTINGS && (head[4] & 1) == 0) send_frame(fd, SETTINGS, 1, "", 0);
        if (head[3] == HEADERS) atomic_fetch_add(&peer.requests, 1);
        if (head[3] == GOAWAY) atomic_fetch_add(&peer.goaways, 1);
        if (head[3] != PING || (head[4] & 1) != 0) continue;
        atomic_fetch_add(&peer.pings, 1);
        if (!atomic_load(&peer.mute)) send_frame(fd, PING, 1, payload, n);
    }
}

static void *peer_thread(void *arg) {
    (void)arg;
    while (!atomic_load(&peer.stop)) {
        struct pollfd ready = {.fd = peer.listener, .events = POLLIN};
        if (poll(&ready, 1, 10) <= 0) continue;
        int fd = accept(peer.listener, NULL, NULL);
        if (fd < 0) continue;
        atomic_fetch_add(&peer.connections, 1);
        talk(fd);
        atomic_fetch_add(&peer.closed, 1);
        close(fd);
    }
    return NULL;
}

static void peer_begin(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    memset(&peer, 0, sizeof peer);
    atomic_store(&peer.greets, true);
    peer.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(peer.listener, 5), 0);
    assert_int_equal(getsockname(peer.listener, (struct sockaddr *)&at, &n), 0);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%d", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&peer.thread, NULL, peer_thread, NULL), 0);
}

static void peer_end(void) {
    atomic_store(&peer.stop, true);
    pthread_join(peer.thread, NULL);
    close(peer.listener);
}

// ---- the client

static struct loop loop;
static struct rpc_server *rpc;
static struct keeper client;
static struct directory *directory;
static struct route_slot *slots[2];

static void client_begin(struct rpc_dial_times times) {
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_OFF);
    assert_int_equal(random_start(), 0);
    directory = directory_new();
    for (int i = 0; i < 2; i++) slots[i] = route_slot_new();
    struct rpc_options options = {.directory = directory,
                                  .api = slots[0],
                                  .proxy = slots[1],
                                  .max_message = 1 << 20,
                                  .dial_times = times};
    assert_int_equal(loop_create(&loop, 0, &err), 0);
    rpc = rpc_server_new(&options, &loop, 1, &err);
    assert_non_null(rpc);
    assert_int_equal(loop_start(&loop, &err), 0);
    keeper_create(&client);
    peer_begin();
}

static void client_end(void) {
    loop_stop(&loop);
    rpc_server_delete(rpc);
    loop_destroy(&loop);
    for (int i = 0; i < 2; i++) route_slot_delete(slots[i]);
    directory_delete(directory);
    peer_end();
    assert_int_equal(atomic_load(&client.port.refs), 1);
    keeper_destroy(&client);
}

static void request(struct port *to, uint64_t call, int64_t timeout) {
    struct message *m = message_new(MSG_REQUEST, call);
    struct buf metadata = {0};
    m->reply = port_hold(&client.port);
    m->context = msg_context_new();
    m->context->deadline = timeout == 0 ? 0 : clock_now() + timeout;
    metadata_add(&metadata, str_of(":path"), str_of("/a.B/C"));
    m->context->metadata = buf_take(&metadata);
    m->form.encoding = MSG_JSON;
    m->body = blob_new("{}", 2);
    assert_int_equal(port_send(to, m), 0);
}

static void expect_end(uint64_t call, int status, const char *part, bool unbegun) {
    struct message *m = keeper_take(&client, 10000);
    if (m == NULL) fail_msg("nothing came");
    assert_int_equal(m->kind, MSG_RESPONSE);
    assert_int_equal(m->call, call);
    assert_int_equal(m->status, status);
    assert_non_null(m->fault);
    char said[600];
    snprintf(said, sizeof said, "%.*s", (int)blob_str(m->fault->text).n,
             blob_str(m->fault->text).p);
    if (strstr(said, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", said, part);
    assert_int_equal(m->fault->again, unbegun ? MSG_AGAIN_UNBEGUN : MSG_AGAIN_NO);
    message_delete(m);
}

static void wait_for(atomic_int *n, int least) {
    int64_t until = clock_now() + 10 * NS_PER_SECOND;
    while (atomic_load(n) < least) {
        if (clock_now() > until) fail_msg("%d instead of %d", atomic_load(n), least);
        usleep(1000);
    }
}

static void test_pings(void **state) {
    (void)state;
    client_begin((struct rpc_dial_times){20 * MS, 2000 * MS, 200 * MS, NS_PER_SECOND});
    struct port *p = rpc_dial(rpc, str_of(peer.address), NULL);
    request(p, 1, 0);
    wait_for(&peer.pings, 1);
    int64_t first = clock_now();
    wait_for(&peer.pings, 3); // nothing about calls is said: they come more seldom
    assert_true(clock_now() - first > 300 * MS);
    assert_int_equal(atomic_load(&peer.connections), 1);
    assert_null(keeper_take(&client, 1)); // the call goes on
    port_drop(p);
    client_end();
}

static void test_silence(void **state) {
    (void)state;
    client_begin((struct rpc_dial_times){30 * MS, 60 * MS, 100 * MS, NS_PER_SECOND});
    atomic_store(&peer.mute, true);
    struct port *p = rpc_dial(rpc, str_of(peer.address), NULL);
    request(p, 1, 0);
    expect_end(1, STATUS_UNAVAILABLE, "did not answer a PING", false);
    wait_for(&peer.closed, 1);
    atomic_store(&peer.mute, false);
    request(p, 2, 0); // on a connection of its own
    wait_for(&peer.requests, 2);
    assert_int_equal(atomic_load(&peer.connections), 2);
    port_drop(p);
    client_end();
}

static void test_idle(void **state) {
    (void)state;
    client_begin((struct rpc_dial_times){20 * MS, 500 * MS, 500 * MS, 60 * MS});
    struct port *p = rpc_dial(rpc, str_of(peer.address), NULL);
    request(p, 1, 10 * MS);
    expect_end(1, STATUS_DEADLINE_EXCEEDED, "deadline", false);
    wait_for(&peer.closed, 1);
    assert_int_equal(atomic_load(&peer.goaways), 1); // it said good-bye
    assert_int_equal(atomic_load(&peer.pings), 0);
    int before = atomic_load(&peer.requests); // 0 when the deadline came before the connection did
    request(p, 2, 0);                         // no failure of the server: connected to at once
    wait_for(&peer.requests, before + 1);
    port_drop(p);
    client_end();
}

// The last reference goes while calls, connections and names are in every state.
static void test_ends(void **state) {
    (void)state;
    char both[100];
    for (int i = 0; i < 4; i++) {
        client_begin((struct rpc_dial_times){0});
        atomic_store(&peer.greets, i < 2);
        snprintf(both, sizeof both, "%s,localhost:1,no-such-host.invalid:1", peer.address);
        struct port *p = rpc_dial(rpc, str_of(i % 2 == 0 ? peer.address : both), NULL);
        request(p, 1, 0);
        if (i == 1) wait_for(&peer.requests, 1);
        if (i == 2) wait_for(&peer.connections, 1);
        port_drop(p);
        client_end();
    }
}

static void test_lists(void **state) {
    (void)state;
    static const char *const WRONG[] = {"", ",", "a:1,", "a:1,,b:2", "a:1,b", "a:1,[::1:2"};
    struct err err;
    client_begin((struct rpc_dial_times){0});
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        err = (struct err){0};
        assert_null(rpc_dial(rpc, str_of(WRONG[i]), &err));
        assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    }
    struct buf many = {0};
    for (int i = 0; i < 17; i++) buf_printf(&many, "%sa:%d", i == 0 ? "" : ",", i + 1);
    assert_null(rpc_dial(rpc, buf_str(&many), &err));
    assert_non_null(strstr(err.text, "more than 16 addresses"));
    buf_free(&many);
    // None of them can be reached: the calls hear of it after one round, and the next ones after another.
    struct port *p = rpc_dial(rpc, str_of("127.0.0.1:1,127.0.0.2:1"), &err);
    for (uint64_t call = 1; call <= 3; call++) {
        request(p, call, 0);
        expect_end(call, STATUS_UNAVAILABLE, "connection refused", true);
    }
    port_drop(p);
    client_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pings), cmocka_unit_test(test_silence), cmocka_unit_test(test_idle),
        cmocka_unit_test(test_ends),  cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
