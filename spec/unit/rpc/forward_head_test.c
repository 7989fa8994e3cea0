// SPDX-License-Identifier: Apache-2.0
// The heads of the reverse proxy: which headers go on, which do not, and what the service is asked for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/session.h"
#include "rpc/forward_state.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdio.h>

#define H(name, value)                                                                             \
    {                                                                                              \
        {name, sizeof(name) - 1}, { value, sizeof(value) - 1 }                                     \
    }
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static struct msg_context *context(void) {
    struct msg_context *c = msg_context_new();
    assert_non_null(c);
    c->ns = blob_new("mica", 4);
    c->request_id = 0xABC;
    memset(c->trace_id, 0x11, sizeof c->trace_id);
    memset(c->span_id, 0x22, sizeof c->span_id);
    c->trace_flags = 1;
    c->chain = 2;
    return c;
}

static struct blob *account(char *id) {
    char *scopes[] = {"read", "write,all"};
    Mica__Core__V1__Account a = MICA__CORE__V1__ACCOUNT__INIT;
    a.id = id;
    a.type = "user";
    a.n_scopes = 2;
    a.scopes = scopes;
    struct blob *out = blob_new(NULL, mica__core__v1__account__get_packed_size(&a));
    mica__core__v1__account__pack(&a, (uint8_t *)out->p);
    return out;
}

static void put(struct buf *text, const struct forward_headers *h) {
    assert_false(h->failed);
    for (size_t i = 0; i < h->n; i++) {
        buf_append_str(text, h->items[i].name);
        buf_append_text(text, ": ");
        buf_append_str(text, h->items[i].value);
        buf_append_byte(text, '\n');
    }
}

// What is made of a request's headers, as text; also in a list that has to grow.
static void check_request(const struct forward_facts *f, const struct http_header *in, size_t count,
                          const char *expected) {
    struct forward_headers h;
    struct buf text = {0};
    forward_headers_begin(&h);
    forward_request_headers(&h, f, in, count);
    put(&text, &h);
    assert_string_equal(buf_cstr(&text), expected);
    assert_true(headers_sound(h.items, h.n));
    buf_free(&text);
    forward_headers_free(&h);
}

#define OURS                                                                                       \
    "traceparent: 00-11111111111111111111111111111111-2222222222222222-01\n"                       \
    "mica-request-id: 0000000000000abc\nmica-chain: 3\nmica-namespace: mica\n"

static void requests(void **state) {
    (void)state;
    static const struct http_header IN[] = {H("host", "shop"),
                                            H("accept", "*/*"),
                                            H("connection", "close, X-Private ,te"),
                                            H("x-private", "1"),
                                            H("te", "trailers"),
                                            H("transfer-encoding", "chunked"),
                                            H("content-length", "5"),
                                            H("keep-alive", "1"),
                                            H("upgrade", "h2c"),
                                            H("http2-settings", "x"),
                                            H("proxy-authorization", "x"),
                                            H("authorization", "Bearer x"),
                                            H("expect", "100-continue"),
                                            H("forwarded", "for=1"),
                                            H("x-forwarded-for", "1.1.1.1"),
                                            H("x-forwarded-proto", "https"),
                                            H("x-forwarded-host", "evil"),
                                            H("x-forwarded-port", "1"),
                                            H("mica-account", "root"),
                                            H("mica-account-scopes", "all"),
                                            H("mica-account-new", "x"),
                                            H("mica-namespace", "other"),
                                            H("micro-namespace", "other"),
                                            H("mica-chain", "9"),
                                            H("mica-request-id", "9"),
                                            H("traceparent", "x"),
                                            H("cookie", "a=1"),
                                            H("cookie", "b=2"),
                                            H("mica-version", "v2"),
                                            H("x-list", "1"),
                                            H("x-list", "2")};
    struct msg_context *c = context();
    struct forward_facts f = {.peer = str_of("10.0.0.7:5000"),
                              .authority = str_of("shop"),
                              .content_length = 5,
                              .context = c};
    check_request(
        &f, IN, COUNT(IN),
        "accept: */*\nmica-version: v2\nx-list: 1\nx-list: 2\ncookie: a=1; b=2\n"
        "x-forwarded-for: 10.0.0.7\nx-forwarded-proto: http\nx-forwarded-host: shop\n" OURS
        "content-length: 5\n");
    f.near = f.tls = f.credentials = true;
    f.peer = str_of("[::1]:5000");
    f.content_length = -1;
    c->account = account("ad\xC3\xA4\n%");
    check_request(&f, IN, COUNT(IN),
                  "accept: */*\nauthorization: Bearer x\nmica-version: v2\nx-list: 1\nx-list: 2\n"
                  "cookie: a=1; b=2\nx-forwarded-for: 1.1.1.1, ::1\nx-forwarded-proto: https\n"
                  "x-forwarded-host: evil\n" OURS
                  "mica-account: ad%C3%A4%0A%25\nmica-account-type: user\n"
                  "mica-account-scopes: read,write,all\n");
    check_request(&f, NULL, 0,
                  "x-forwarded-for: ::1\nx-forwarded-proto: https\nx-forwarded-host: shop\n" OURS
                  "mica-account: ad%C3%A4%0A%25\nmica-account-type: user\n"
                  "mica-account-scopes: read,write,all\n");
    msg_context_drop(c);
}

static void long_lists(void **state) {
    (void)state;
    enum { MANY = 500 };
    static struct http_header in[MANY];
    static char names[MANY][8];
    struct msg_context *c = context();
    struct forward_facts f = {.peer = str_of("1.1.1.1:1"), .content_length = -1, .context = c};
    for (int i = 0; i < MANY; i++) {
        int n = snprintf(names[i], sizeof names[i], i % 2 ? "x-%d" : "cookie", i);
        in[i] = (struct http_header){{names[i], (size_t)n}, str_of("value=1")};
    }
    struct forward_headers h;
    struct str cookies;
    forward_headers_begin(&h);
    forward_request_headers(&h, &f, in, MANY);
    assert_false(h.failed);
    assert_int_equal(h.n, MANY / 2 + 1 + 2 + 4);
    assert_true(http_header_get(h.items, h.n, "cookie", &cookies));
    assert_int_equal(cookies.n, (MANY / 2) * 9 - 2);
    assert_true(headers_sound(h.items, h.n));
    forward_headers_free(&h);
    msg_context_drop(c);
}

static void sockets(void **state) {
    (void)state;
    static const struct http_header KEY[] = {H("sec-websocket-key", "abc")};
    struct msg_context *c = context();
    struct forward_facts f = {.peer = str_of("1.1.1.1:1"),
                              .content_length = -1,
                              .upgrade = str_of("websocket"),
                              .context = c};
    for (size_t own = 0; own < 2; own++) { // over HTTP/2 there is no key: it is made
        struct forward_headers h;
        struct str key, upgrade;
        forward_headers_begin(&h);
        forward_request_headers(&h, &f, KEY, own);
        assert_true(http_header_get(h.items, h.n, "sec-websocket-key", &key));
        assert_true(http_header_get(h.items, h.n, "upgrade", &upgrade));
        assert_int_equal(key.n, own ? 3 : 24);
        forward_headers_remove(&h, "sec-websocket-key");
        assert_false(http_header_get(h.items, h.n, "sec-websocket-key", &key));
        forward_headers_free(&h);
    }
    msg_context_drop(c);
}

static void answers(void **state) {
    (void)state;
    static const struct http_header IN[] = {H("content-type", "text/plain"),
                                            H("content-length", "5"),
                                            H("set-cookie", "a"),
                                            H("set-cookie", "b"),
                                            H("connection", "x-hop"),
                                            H("x-hop", "1"),
                                            H("keep-alive", "timeout=5"),
                                            H("transfer-encoding", "chunked"),
                                            H("trailer", "x"),
                                            H("upgrade", "websocket"),
                                            H("proxy-authenticate", "Basic"),
                                            H("mica-request-id", "1"),
                                            H("www-authenticate", "Basic")};
    static const struct {
        int status;
        const char *length;
    } ROWS[] = {
        {200, "content-length: 5\n"}, {304, "content-length: 5\n"}, {204, ""}, {101, ""}, {0, ""}};
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct forward_headers h;
        struct buf text = {0};
        char expected[300];
        snprintf(
            expected, sizeof expected,
            "content-type: text/plain\n%sset-cookie: a\nset-cookie: b\nwww-authenticate: Basic\n",
            ROWS[i].length);
        forward_headers_begin(&h);
        forward_answer_headers(&h, ROWS[i].status, IN, COUNT(IN));
        put(&text, &h);
        assert_string_equal(buf_cstr(&text), expected);
        buf_free(&text);
        forward_headers_free(&h);
    }
}

static void targets(void **state) {
    (void)state;
    static const struct {
        const char *path, *whole, *stripped; // NULL: refused
    } ROWS[] = {
        {"/shop", "/shop", "/"},
        {"/shop/", "/shop/", "/"},
        {"/shop?a=/../b", "/shop?a=/../b", "/?a=/../b"},
        {"/shop/a%2Fb//c/", "/shop/a%2Fb//c/", "/a%2Fb//c/"},
        {"/shop/..a/...", "/shop/..a/...", "/..a/..."},
        {"/shop/%2e%2e%2e", "/shop/%2e%2e%2e", "/%2e%2e%2e"},
        {"/shop/.%", "/shop/.%", "/.%"},
        {"/shop/..", NULL, NULL},
        {"/shop/./a", NULL, NULL},
        {"/shop/%2E", NULL, NULL},
        {"/shop/.%2e/a?b", NULL, NULL},
        {"/shop/a/%2e.", NULL, NULL},
        {"/shopping", NULL, NULL},
        {"/sho", NULL, NULL},
        {"//shop/a", NULL, NULL},
        {"/%73hop/a", NULL, NULL},
        {"", NULL, NULL},
        {"?", NULL, NULL},
    };
    struct buf scratch = {0};
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        for (int strip = 0; strip < 2; strip++) {
            const char *expected = strip ? ROWS[i].stripped : ROWS[i].whole;
            struct str target;
            bool ok = forward_target(str_of(ROWS[i].path), str_of("/shop"), strip != 0, &scratch,
                                     &target);
            assert_int_equal(ok, expected != NULL);
            if (ok && !str_is(target, expected))
                fail_msg("%s: %.*s", ROWS[i].path, (int)target.n, target.p);
        }
    }
    buf_free(&scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests), cmocka_unit_test(long_lists), cmocka_unit_test(sockets),
        cmocka_unit_test(answers),  cmocka_unit_test(targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
