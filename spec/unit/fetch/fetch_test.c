// SPDX-License-Identifier: Apache-2.0
// Requests to a server of one thread that answers by the path it is asked for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fetch/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

// ---- the server

static int listener;
static unsigned port;
static char request[64 * 1024]; // the last one, complete

static const struct {
    const char *path, *answer;
} ANSWERS[] = {
    {"/hello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One:  a b \r\nX-Empty:\r\n\r\nhello"},
    {"/missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"},
    {"/there",
     "HTTP/1.1 302 Found\r\nLocation: /hello\r\nX-Old: 1\r\nContent-Length: 4\r\n\r\nelse"},
    {"/round", "HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n"},
    {"/file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"},
    {"/long", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789"},
    {"/broken", "nonsense\r\n\r\n"},
    {"/silent", ""},
};

static bool complete(void) {
    const char *end = strstr(request, "\r\n\r\n");
    const char *length = strcasestr(request, "content-length:");
    if (end == NULL) return false;
    return length == NULL || strlen(end + 4) >= (size_t)atoi(length + 15);
}

static void answer_one(int fd) {
    size_t n = 0;
    memset(request, 0, sizeof request);
    while (!complete() && n + 1 < sizeof request) {
        ssize_t got = read(fd, request + n, sizeof request - 1 - n);
        if (got <= 0) return;
        n += (size_t)got;
    }
    const char *path = strchr(request, ' ') + 1;
    const char *text = NULL;
    for (size_t i = 0; i < sizeof ANSWERS / sizeof ANSWERS[0]; i++) {
        size_t size = strlen(ANSWERS[i].path);
        if (strncmp(path, ANSWERS[i].path, size) == 0 && path[size] == ' ')
            text = ANSWERS[i].answer;
    }
    if (text != NULL && text[0] == '\0') {
        while (read(fd, request, sizeof request) > 0) {
        } // until the client gives up
    } else if (text != NULL) {
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    }
}

static void *serve(void *arg) {
    (void)arg;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) answer_one(fd);
    return NULL;
}

// ---- requests

struct asked {
    struct fetch_request request; // first
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    int status;
    struct err err;
    char body[256], url[256], header[64];
    size_t headers;
};

static void on_done(struct fetch_request *r, const struct fetch_answer *answer,
                    const struct err *err) {
    struct asked *a = (struct asked *)r;
    pthread_mutex_lock(&a->lock);
    a->err = *err;
    if (answer != NULL) {
        a->status = answer->status;
        a->headers = answer->header_count;
        snprintf(a->body, sizeof a->body, "%.*s", (int)answer->body.n, answer->body.p);
        snprintf(a->url, sizeof a->url, "%s", answer->url);
        for (size_t i = 0; i < answer->header_count; i++) {
            if (str_is(answer->headers[i].name, "x-one"))
                snprintf(a->header, sizeof a->header, "%.*s", (int)answer->headers[i].value.n,
                         answer->headers[i].value.p);
        }
    }
    a->done = true;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->lock);
}

static struct fetch *fetch;

static struct asked asked_new(const char *method, const char *url) {
    return (struct asked){.request = {.method = method,
                                      .url = url,
                                      .body = {"", 0},
                                      .ca = {"", 0},
                                      .timeout = 10,
                                      .body_most = 100,
                                      .done = on_done},
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .ended = PTHREAD_COND_INITIALIZER};
}

static void await(struct asked *a) {
    pthread_mutex_lock(&a->lock);
    while (!a->done) pthread_cond_wait(&a->ended, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static const char *url_of(const char *path) {
    static char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
    return url;
}

static struct asked get(const char *path) { return asked_new("GET", url_of(path)); }

static void ask(struct asked *a) {
    fetch_begin(fetch, &a->request);
    await(a);
}

static void fails(struct asked a, enum status status, const char *text) {
    ask(&a);
    if (a.err.code != status || strstr(a.err.text, text) == NULL)
        fail_msg("%d %s (wanted %d %s)", a.err.code, a.err.text, status, text);
}

static void test_get(void **state) {
    (void)state;
    struct asked a = get("/hello");
    ask(&a);
    assert_int_equal(a.err.code, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "hello");
    assert_string_equal(a.header, "a b");
    assert_int_equal(a.headers, 3);
    assert_string_equal(a.url, url_of("/hello"));
    assert_non_null(strstr(request, "User-Agent: mica/"));
    a = get("/missing");
    ask(&a);
    assert_int_equal(a.status, 404);
    assert_string_equal(a.body, "no");
}

static void test_methods(void **state) {
    (void)state;
    struct fetch_header headers[] = {{str_of("Content-Type"), str_of("a/b")},
                                     {str_of("x-none"), str_of("")}};
    static const char *const METHODS[] = {"POST", "PUT", "DELETE"};
    for (size_t i = 0; i < 3; i++) {
        struct asked a = asked_new(METHODS[i], url_of("/hello"));
        a.request.headers = headers;
        a.request.header_count = 2;
        if (i < 2) a.request.body = str_of("what is sent");
        ask(&a);
        assert_int_equal(a.status, 200);
        assert_memory_equal(request, METHODS[i], strlen(METHODS[i]));
        assert_non_null(strstr(request, "Content-Type: a/b\r\n"));
        assert_null(strstr(request, "form"));
        assert_null(strstr(request, "Expect"));
        assert_non_null(strstr(request, "x-none:"));
        assert_true((strstr(request, "\r\n\r\nwhat is sent") != NULL) == (i < 2));
    }
    struct asked a = asked_new("HEAD", url_of("/hello"));
    ask(&a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "");
}

static void test_redirects(void **state) {
    (void)state;
    struct asked a = get("/there");
    ask(&a);
    assert_int_equal(a.status, 302);
    assert_string_equal(a.body, "else");
    a = get("/there");
    a.request.redirects = 1;
    ask(&a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "hello"); // and nothing of the answer before
    assert_int_equal(a.headers, 3);
    assert_string_equal(a.url, url_of("/hello"));
    a = get("/round");
    a.request.redirects = 3;
    fails(a, STATUS_UNAVAILABLE, "redirects");
    a = get("/file");
    a.request.redirects = 3;
    fails(a, STATUS_UNAVAILABLE, "file");
}

static bool nobody(const struct sockaddr *address) {
    assert_int_equal(address->sa_family, AF_INET);
    return false;
}

static void test_faults(void **state) {
    (void)state;
    struct asked a = get("/long");
    a.request.body_most = 19;
    fails(a, STATUS_RESOURCE_EXHAUSTED, "longer than it may be");
    a.request.body_most = 20;
    ask(&a);
    assert_int_equal(a.status, 200);
    fails(get("/broken"), STATUS_UNAVAILABLE, "/broken");
    a = get("/silent");
    a.request.timeout = 0.05;
    fails(a, STATUS_DEADLINE_EXCEEDED, "/silent");
    a = get("/hello");
    a.request.may_connect = nobody;
    fails(a, STATUS_PERMISSION_DENIED, "this machine");
    fails(asked_new("GET", "http://127.0.0.1:1/"), STATUS_UNAVAILABLE, "connect");
    fails(asked_new("GET", "ftp://127.0.0.1/"), STATUS_INVALID_ARGUMENT, "ftp");
    fails(asked_new("GET", "nonsense nonsense"), STATUS_INVALID_ARGUMENT, "");
    fails(asked_new("GET /x", url_of("/hello")), STATUS_INVALID_ARGUMENT, "method");
    char secure[64];
    snprintf(secure, sizeof secure, "https://127.0.0.1:%u/hello", port);
    a = asked_new("GET", secure);
    a.request.timeout = 2;
    ask(&a);
    assert_true(a.err.code == STATUS_UNAVAILABLE || a.err.code == STATUS_DEADLINE_EXCEEDED);
}

static void test_headers_that_are_none(void **state) {
    (void)state;
    struct fetch_header bad[] = {{str_of("x"), str_of("a\r\ny: b")},
                                 {str_of("x y"), str_of("a")},
                                 {str_of(""), str_of("a")},
                                 {str_of("x:"), str_of("a")}};
    for (size_t i = 0; i < 4; i++) {
        struct asked a = get("/hello");
        a.request.headers = &bad[i];
        a.request.header_count = 1;
        fails(a, STATUS_INVALID_ARGUMENT, "no header");
    }
}

// What is under way when it ends is answered.
static void test_end(void **state) {
    (void)state;
    struct err err = {0};
    struct fetch *f = fetch_new(&err);
    struct asked a = get("/silent");
    fetch_begin(f, &a.request);
    usleep(20000);
    assert_false(a.done);
    fetch_delete(f);
    assert_true(a.done);
    assert_int_equal(a.err.code, STATUS_UNAVAILABLE);
    fetch_delete(fetch_new(&err)); // one that was never used
    fetch_delete(NULL);
}

static int set_up(void **state) {
    (void)state;
    static pthread_t thread;
    struct err err = {0};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&at, n) != 0 || listen(listener, 10) != 0) return 1;
    getsockname(listener, (struct sockaddr *)&at, &n);
    port = ntohs(at.sin_port);
    fetch = fetch_new(&err);
    return fetch == NULL || pthread_create(&thread, NULL, serve, NULL) != 0;
}

static int tear_down(void **state) {
    (void)state;
    fetch_delete(fetch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_headers_that_are_none),
        cmocka_unit_test(test_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
