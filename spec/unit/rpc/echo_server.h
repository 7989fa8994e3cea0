// SPDX-License-Identifier: Apache-2.0
// For the tests of the front doors: loops, both doors on free ports, and a service on a thread of its own that answers
// echo.Echo by what the metadata of a request asks for.
//
//   do=fail      NOT_FOUND with a text, an id and details       do=hang     no answer; counts the CANCEL
//   do=full      the port refuses with RESOURCE_EXHAUSTED       do=down     ... with UNAVAILABLE
//   do=account   the answer's text is the account, in hex       do=context  ... is "namespace peer metadata"
//   do=headers   HEADERS goes before the RESPONSE               do=break    a stream ends with INTERNAL
//   do=early     Gather answers after the first item            do=lazy     Gather gives no credit for half a second
//   count=N, size=N   how many items Count sends, and how long their text is
#pragma once

#include "rpc_testing.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/random.h"
#include "msg/metadata.h"
#include "pb/visit.h"
#include "rpc/door.h"

#include <mica/core/v1/core.pb-c.h>

#include <signal.h>

#define LOOPS 2

// ---- the service

struct served { // a call that streams, or hangs
    struct served *next;
    struct port *reply;
    uint64_t call;
    struct msg_form form;
    char method;
    char what[16];
    size_t left, size, items, bytes;
    int64_t credit;
    uint32_t owed; // credit kept back
    int64_t due;   // when it is given
};

static struct {
    struct keeper mail;
    pthread_t thread;
    atomic_bool stop;
    struct served *calls;
    atomic_int cancels, deadlines;
    atomic_size_t most_waiting; // bytes of items that came beyond the credit given
    struct pb_pool *pool;
} echo;

static bool asked(const struct message *m, const char *key, char *out, size_t n) {
    struct str value;
    out[0] = '\0';
    if (m->context == NULL || !metadata_get(m->context->metadata, str_of(key), &value))
        return false;
    snprintf(out, n, "%.*s", (int)value.n, value.p);
    return true;
}

static int echo_send(struct port *port, struct message *m) {
    char what[16];
    if (m->kind == MSG_REQUEST && asked(m, "do", what, sizeof what)) {
        if (strcmp(what, "full") == 0) return -STATUS_RESOURCE_EXHAUSTED;
        if (strcmp(what, "down") == 0) return -STATUS_UNAVAILABLE;
    }
    return keeper_send(port, m);
}

static void answer(struct port *reply, struct message *m) {
    if (m != NULL && port_send(reply, m) < 0) message_delete(m);
}

// {"text": ...} in the caller's encoding.
static struct blob *text_of(struct msg_form form, struct str text) {
    struct buf json = {0};
    struct buf wire = {0};
    buf_append_text(&json, "{\"text\":\"");
    for (size_t i = 0; i < text.n; i++) { // enough for what the tests say
        if (text.p[i] == '"' || text.p[i] == '\\') buf_append_byte(&json, '\\');
        buf_append_byte(&json, text.p[i]);
    }
    buf_append_text(&json, "\"}");
    if (form.encoding == MSG_JSON) return buf_take(&json);
    struct err err = {0};
    struct pb_message *type = pb_find_message(echo.pool, str_of("echo.Text"));
    if (pb_json_to_wire(echo.pool, type, buf_str(&json), &wire, &err) < 0) abort();
    buf_free(&json);
    return buf_take(&wire);
}

static struct blob *one_pair(const char *key, const char *value) {
    struct buf b = {0};
    metadata_add(&b, str_of(key), str_of(value));
    return buf_take(&b);
}

static struct message *response(uint64_t call, struct msg_form form, struct blob *take_body) {
    struct message *m = message_new(MSG_RESPONSE, call);
    m->form = form;
    m->body = take_body;
    m->leading = one_pair("x-leading", "first");
    m->metadata = one_pair("x-trailing-bin", "last");
    return m;
}

static void give_items(struct served *s) {
    while (s->left > 0 && s->credit > 0) {
        char text[70000];
        size_t n = s->size < sizeof text ? s->size : sizeof text - 1;
        memset(text, 'x', n);
        struct message *m = message_new(MSG_ITEM, s->call);
        m->form = s->form;
        m->body = text_of(s->form, (struct str){text, n});
        s->credit -= (int64_t)m->body->n;
        s->left--;
        answer(s->reply, m);
    }
}

static void credit(struct served *s, uint32_t n) {
    if (n == 0) return;
    struct message *m = message_new(MSG_CREDIT, s->call);
    m->credit = n;
    answer(s->reply, m);
}

static struct served **find_served(const struct message *m) {
    struct served **at = &echo.calls;
    while (*at != NULL && ((*at)->call != m->call || (*at)->reply != m->reply)) at = &(*at)->next;
    return at;
}

static void forget(struct served **at) {
    struct served *s = *at;
    *at = s->next;
    port_drop(s->reply);
    free(s);
}

static void finish(struct served **at, int status) {
    struct served *s = *at;
    struct message *m = status == 0 ? response(s->call, s->form, NULL)
                                    : message_fault_new(s->call, status, "it broke");
    if (s->method == 'G' && status == 0) {
        char text[100];
        int n = snprintf(text, sizeof text, "%zu items, %zu bytes", s->items, s->bytes);
        m->body = text_of(s->form, (struct str){text, (size_t)n});
    }
    answer(s->reply, m);
    forget(at);
}

static void say(struct message *m, const char *what) {
    struct buf text = {0};
    struct message *a;
    if (strcmp(what, "fail") == 0) {
        struct msg_fault *fault = msg_fault_new(
            str_of("no post \"7\" \xC3\xA4"), str_of("posts.Posts.Read"), blob_new("\x08\x05", 2));
        a = message_new(MSG_RESPONSE, m->call);
        a->status = STATUS_NOT_FOUND;
        a->fault = fault;
        a->metadata = one_pair("x-trailing", "t");
        answer(m->reply, a);
        return;
    }
    if (strcmp(what, "headers") == 0) {
        a = message_new(MSG_HEADERS, m->call);
        a->metadata = one_pair("x-early", "bird");
        answer(m->reply, a);
    }
    if (strcmp(what, "account") == 0) {
        if (m->context->account != NULL) hex_encode(&text, blob_str(m->context->account));
    } else if (strcmp(what, "context") == 0) {
        struct metadata_pair p;
        buf_append_str(&text, blob_str(m->context->ns));
        buf_append_byte(&text, ' ');
        buf_append_str(&text, blob_str(m->context->peer));
        for (size_t at = 0; metadata_next(m->context->metadata, &at, &p);)
            buf_printf(&text, " %.*s=%.*s", (int)p.key.n, p.key.p, (int)p.value.n, p.value.p);
    }
    bool made = strcmp(what, "account") == 0 || strcmp(what, "context") == 0;
    a = response(m->call, m->form, made ? text_of(m->form, buf_str(&text)) : blob_hold(m->body));
    if (strcmp(what, "headers") == 0) { // the leading ones have gone already
        blob_drop(a->leading);
        a->leading = NULL;
    }
    answer(m->reply, a);
    buf_free(&text);
}

static void serve_request(struct message *m) {
    char what[16], number[16];
    const struct pb_method *method = m->method;
    asked(m, "do", what, sizeof what);
    char first = method->name.p[0];
    if (first == 'S' && strcmp(what, "hang") != 0) {
        say(m, what);
        return;
    }
    struct served *s = calloc(1, sizeof *s);
    s->reply = port_hold(m->reply);
    s->call = m->call;
    s->form = m->form;
    s->method = first;
    s->credit = MSG_WINDOW;
    memcpy(s->what, what, sizeof what);
    s->left = asked(m, "count", number, sizeof number) ? (size_t)atoi(number) : 3;
    s->size = asked(m, "size", number, sizeof number) ? (size_t)atoi(number) : 5;
    s->next = echo.calls;
    echo.calls = s;
    if (first != 'C' || method->client_streaming || strcmp(what, "hang") == 0) return;
    give_items(s);
    if (s->left == 0) finish(&echo.calls, strcmp(what, "break") == 0 ? STATUS_INTERNAL : 0);
}

static void serve_item(struct served **at, struct message *m) {
    struct served *s = *at;
    s->items++;
    s->bytes += m->body->n;
    s->owed += (uint32_t)m->body->n;
    if (s->owed > atomic_load(&echo.most_waiting)) atomic_store(&echo.most_waiting, s->owed);
    if (s->method == 'C') {
        struct message *back = message_new(MSG_ITEM, s->call);
        back->form = s->form;
        back->body = blob_hold(m->body);
        answer(s->reply, back);
    }
    if (strcmp(s->what, "early") == 0) {
        finish(at, 0);
    } else if (strcmp(s->what, "lazy") != 0) {
        credit(s, s->owed);
        s->owed = 0;
    } else if (s->due == 0) {
        s->due = clock_now() + 60 * NS_PER_MS;
    }
}

static void serve(struct message *m) {
    if (m->kind == MSG_REQUEST) {
        serve_request(m);
        return;
    }
    struct served **at = find_served(m);
    if (*at == NULL) return;
    struct served *s = *at;
    if (m->kind == MSG_CANCEL) {
        atomic_fetch_add(m->status == STATUS_DEADLINE_EXCEEDED ? &echo.deadlines : &echo.cancels,
                         1);
        forget(at);
    } else if (m->kind == MSG_CREDIT) {
        s->credit += m->credit;
        if (s->items == 0) give_items(s); // a chat gives back what it gets, and nothing of its own
        if (s->method == 'C' && s->left == 0 && s->items == 0)
            finish(at, strcmp(s->what, "break") == 0 ? STATUS_INTERNAL : 0);
    } else if (m->kind == MSG_ITEM) {
        serve_item(at, m);
    } else if (m->kind == MSG_END && strcmp(s->what, "hang") != 0) {
        finish(at, 0);
    }
}

static void *echo_thread(void *arg) {
    (void)arg;
    while (!atomic_load(&echo.stop)) {
        struct message *m = keeper_take(&echo.mail, 20);
        if (m != NULL) serve(m);
        message_delete(m);
        for (struct served *s = echo.calls; s != NULL; s = s->next) {
            if (s->due == 0 || clock_now() < s->due) continue;
            credit(s, s->owed);
            s->owed = 0;
            s->due = 0;
        }
    }
    while (echo.calls != NULL) forget(&echo.calls);
    return NULL;
}

static void echo_begin(void) {
    static const struct port_ops OPS = {.send = echo_send, .free = keeper_freed};
    keeper_create(&echo.mail);
    echo.mail.port.ops = &OPS;
    echo.pool = echo_pool();
    assert_int_equal(pthread_create(&echo.thread, NULL, echo_thread, NULL), 0);
}

static void echo_stop(void) {
    atomic_store(&echo.stop, true);
    pthread_join(echo.thread, NULL);
}

static void echo_end(void) {
    keeper_destroy(&echo.mail);
    pb_pool_drop(echo.pool);
}

// ---- the server

static struct {
    struct loop loops[LOOPS];
    struct directory *directory;
    struct route_slot *api, *proxy;
    struct rpc_server *rpc;
    uv_loop_t main;
    uv_async_t quit;
    pthread_t thread;
    struct acceptor *doors[2];
    struct door door[2];
    char api_address[64], proxy_address[64];
} server;

// The page that /metrics answers; here of the doors alone.
static int send_metrics(struct port *port, struct message *m) {
    (void)port;
    struct message *answer = message_new(MSG_RESPONSE, m->call);
    struct buf page = {0};
    rpc_render_metrics(server.rpc, &page);
    answer->body = buf_take(&page);
    if (m->kind != MSG_REQUEST || port_send(m->reply, answer) < 0) message_delete(answer);
    message_delete(m);
    return 0;
}
static void keep_metrics(struct port *port) { (void)port; }
static struct port metrics_port;

static void on_quit(uv_async_t *handle) {
    for (int i = 0; i < 2; i++) acceptor_close(server.doors[i]);
    uv_close((uv_handle_t *)handle, NULL);
}

static void *main_thread(void *arg) {
    (void)arg;
    uv_run(&server.main, UV_RUN_DEFAULT);
    return NULL;
}

static void install(char *door, const char *const paths[][3], size_t count, bool trusted) {
    Mica__Core__V1__InstallRequest request = MICA__CORE__V1__INSTALL_REQUEST__INIT;
    Mica__Core__V1__Account account = MICA__CORE__V1__ACCOUNT__INIT;
    Mica__Core__V1__Route routes[16], *list[16];
    for (size_t i = 0; i < count; i++) {
        mica__core__v1__route__init(&routes[i]);
        routes[i].namespace_ = "mica";
        routes[i].path = (char *)(uintptr_t)paths[i][0];
        routes[i].endpoint = (char *)(uintptr_t)paths[i][1];
        routes[i].public_ = paths[i][2][0] == 'p';
        routes[i].prefix = (char *)(uintptr_t)(paths[i][2] + 1);
        routes[i].service = "echo";
        list[i] = &routes[i];
    }
    request.door = door;
    request.routes = list;
    request.n_routes = count;
    account.id = "admin";
    char *scopes[] = {"admin"};
    account.scopes = scopes;
    account.n_scopes = 1;
    if (trusted) request.loopback = &account;
    uint8_t bytes[8192];
    size_t n = mica__core__v1__install_request__pack(&request, bytes);
    struct buf out = {0};
    struct err err = {0};
    if (route_install(server.directory, server.api, server.proxy, (struct str){(char *)bytes, n},
                      &out, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(out.n, 0); // nothing is missing
    buf_free(&out);
}

static void install_all(bool trusted) {
    static const char *const PROXY[][3] = {{"/echo.Echo/Say", "Echo.Say", "p"},
                                           {"/echo.Echo/Count", "Echo.Count", "p"},
                                           {"/echo.Echo/Gather", "Echo.Gather", "p"},
                                           {"/echo.Echo/Chat", "Echo.Chat", "p"},
                                           {"/echo.Other/Say", "Other.Say", "-"}};
    static const char *const API[][3] = {
        {"/echo/say", "Echo.Say", "p"},        {"/echo/echo/say", "Echo.Say", "p"},
        {"/echo/count", "Echo.Count", "p"},    {"/echo/gather", "Echo.Gather", "p"},
        {"/echo/other/say", "Other.Say", "-"}, {"/blogPosts/say", "Echo.Say", "p/blog-posts"}};
    install("proxy", PROXY, sizeof PROXY / sizeof PROXY[0], trusted);
    install("api", API, sizeof API / sizeof API[0], trusted);
}

static struct acceptor *open_door(int i, char address[64]) {
    struct err err = {0};
    struct acceptor *a =
        acceptor_new(&server.main, "127.0.0.1:0", &server.door[i], server.loops, LOOPS, &err);
    if (a == NULL) fail_msg("%s", err.text);
    snprintf(address, 64, "%s", acceptor_address(a));
    acceptor_start(a);
    return a;
}

static void server_begin(void) {
    struct err err = {0};
    assert_int_equal(random_start(), 0);
    log_set_level(LOG_OFF);
    signal(SIGPIPE, SIG_IGN); // as the server does
    echo_begin();
    server.directory = directory_new();
    server.api = route_slot_new();
    server.proxy = route_slot_new();
    assert_int_equal(put_version(server.directory, "mica", "echo", "", &echo.mail.port, echo.pool,
                                 NULL, NULL, 1),
                     0);
    struct rpc_options options = {.directory = server.directory,
                                  .api = server.api,
                                  .proxy = server.proxy,
                                  .max_message = 4 << 20,
                                  .default_deadline = 30 * NS_PER_SECOND};
    for (unsigned i = 0; i < LOOPS; i++)
        assert_int_equal(loop_create(&server.loops[i], i, &err), 0);
    server.rpc = rpc_server_new(&options, server.loops, LOOPS, &err);
    assert_non_null(server.rpc);
    static const struct port_ops METRICS = {send_metrics, keep_metrics};
    port_init(&metrics_port, &METRICS);
    rpc_serve_metrics(server.rpc, &metrics_port);
    install_all(true);
    for (unsigned i = 0; i < LOOPS; i++) assert_int_equal(loop_start(&server.loops[i], &err), 0);
    assert_int_equal(uv_loop_init(&server.main), 0);
    uv_async_init(&server.main, &server.quit, on_quit);
    server.door[0] = rpc_door_api(server.rpc);
    server.door[1] = rpc_door_proxy(server.rpc);
    server.doors[0] = open_door(0, server.api_address);
    server.doors[1] = open_door(1, server.proxy_address);
    assert_int_equal(pthread_create(&server.thread, NULL, main_thread, NULL), 0);
}

static void server_end(void) {
    uv_async_send(&server.quit);
    pthread_join(server.thread, NULL);
    assert_int_equal(uv_loop_close(&server.main), 0);
    for (unsigned i = 0; i < LOOPS; i++) loop_stop(&server.loops[i]);
    assert_int_equal(rpc_open_calls(server.rpc), 0);
    rpc_server_delete(server.rpc);
    echo_stop(); // it may send to the loops until here
    for (unsigned i = 0; i < LOOPS; i++) loop_destroy(&server.loops[i]);
    route_slot_delete(server.api);
    route_slot_delete(server.proxy);
    directory_delete(server.directory);
    echo_end();
}
