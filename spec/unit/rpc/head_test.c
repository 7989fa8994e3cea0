// SPDX-License-Identifier: Apache-2.0
// What the headers of requests say, and what is said in the headers of answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "msg/metadata.h"
#include "rpc/head.h"
#include "rpc/headers.h"

#include <inttypes.h>
#include <stdio.h>

#define S(text) ((struct str){(text), sizeof(text) - 1})

static void test_timeouts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ns; // -1: malformed
    } CASES[] = {
        {"0n", 0},
        {"1n", 1},
        {"250u", 250000},
        {"100m", 100000000},
        {"5S", 5000000000},
        {"2M", 120000000000},
        {"1H", 3600000000000},
        {"99999999n", 99999999},
        {"99999999H", INT64_MAX},
        {"00000001S", 1000000000},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"1s", -1},
        {"-1S", -1},
        {"+1S", -1},
        {"1.5S", -1},
        {"123456789S", -1},
        {"1 S", -1},
        {"1SS", -1},
        {"0x1S", -1},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int64_t ns = -1;
        bool ok = grpc_timeout_parse(str_of(CASES[i].text), &ns);
        if (ok != (CASES[i].ns >= 0) || ns != CASES[i].ns)
            fail_msg("%s: %" PRId64 " instead of %" PRId64, CASES[i].text, ns, CASES[i].ns);
    }
}

static void test_timeouts_written(void **state) {
    (void)state;
    static const int64_t CASES[] = {
        0,          1,           999,           99999998,          99999999,  100000000,
        1234567890, 30000000000, 3600000000001, 86400000000000000, INT64_MAX, -5};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[16];
        int64_t back;
        size_t n = grpc_timeout_format(text, CASES[i]);
        assert_true(n <= 9);
        assert_true(grpc_timeout_parse((struct str){text, n}, &back));
        int64_t wanted = CASES[i] < 0 ? 0 : CASES[i];
        assert_true(back >= wanted);                                           // never too early
        assert_true(back - wanted <= wanted / 20000 + 1 || back == INT64_MAX); // nor much too late
    }
}

static void test_namespaces(void **state) {
    (void)state;
    char longest[65];
    memset(longest, 'a', sizeof longest);
    assert_true(head_namespace_valid(S("mica")));
    assert_true(head_namespace_valid(S("0-a")));
    assert_true(head_namespace_valid((struct str){longest, 63}));
    assert_false(head_namespace_valid((struct str){longest, 64}));
    assert_false(head_namespace_valid(S("")));
    assert_false(head_namespace_valid(S("-a")));
    assert_false(head_namespace_valid(S("Mica")));
    assert_false(head_namespace_valid(S("a.b")));
    assert_false(head_namespace_valid(S("a\0b")));
}

static void test_media_types(void **state) {
    (void)state;
    assert_true(head_type_is(S("application/json"), "application/json"));
    assert_true(head_type_is(S("Application/JSON; charset=utf-8"), "application/json"));
    assert_true(head_type_is(S("application/json ;x"), "application/json"));
    assert_false(head_type_is(S("application/jsonx"), "application/json"));
    assert_false(head_type_is(S("application/grpc-web"), "application/grpc"));
    assert_false(head_type_is(S(""), "application/grpc"));
}

static void test_reading(void **state) {
    (void)state;
    struct head h;
    const struct http_header both[] = {{S("micro-namespace"), S("old")},
                                       {S("mica-namespace"), S("new")},
                                       {S("content-type"), S("application/grpc")},
                                       {S("grpc-timeout"), S("1S")}};
    head_read(&h, both, 4);
    assert_true(str_is(h.ns, "new"));
    assert_true(str_is(h.content_type, "application/grpc"));
    assert_true(str_is(h.timeout, "1S"));
    assert_int_equal(h.origin.n, 0);
    head_read(&h, both, 1);
    assert_true(str_is(h.ns, "old"));
    head_read(&h, NULL, 0);
    assert_int_equal(h.ns.n, 0);
}

static void test_traces(void **state) {
    (void)state;
    struct msg_context *x = msg_context_new();
    const char *given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    char text[TRACEPARENT_LENGTH + 1];
    head_trace(x, str_of(given));
    head_traceparent(text, x);
    assert_string_equal(text, given);
    head_trace(x, str_of("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"));
    head_traceparent(text, x);
    assert_string_equal(text, given);
    static const char *const BROKEN[] = {
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333x-01",
    };
    for (size_t i = 0; i < sizeof BROKEN / sizeof BROKEN[0]; i++) {
        char other[TRACEPARENT_LENGTH + 1];
        head_trace(x, str_of(BROKEN[i]));
        head_traceparent(text, x);
        head_trace(x, str_of(BROKEN[i]));
        head_traceparent(other, x);
        assert_string_not_equal(text, given);
        assert_string_not_equal(text, other); // a new trace each time
        assert_string_equal(text + 53, "00");
    }
    msg_context_drop(x);
}

static const char *pairs(const struct blob *metadata) {
    static char text[1000];
    struct metadata_pair p;
    size_t n = 0;
    text[0] = '\0';
    for (size_t at = 0; metadata_next(metadata, &at, &p);)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s=%.*s;", (int)p.key.n, p.key.p,
                              (int)p.value.n, p.value.p);
    return text;
}

static void test_metadata_in(void **state) {
    (void)state;
    const struct http_header headers[] = {
        {S("content-type"), S("application/grpc")},
        {S("te"), S("trailers")},
        {S("user-agent"), S("x")},
        {S("grpc-encoding"), S("identity")},
        {S("authorization"), S("Bearer secret")},
        {S("mica-namespace"), S("n")},
        {S("micro-namespace"), S("n")},
        {S("traceparent"), S("t")},
        {S("x-a"), S("1")},
        {S("x-a"), S("2")},
        {S("data-bin"), S("aGk=")},
        {S("more-bin"), S("aGk, YQ")},
        {S("bad-bin"), S("!!!")},
        {S("cookie"), S("c=1")},
    };
    struct buf first = {0};
    bool failed;
    struct blob *m = head_metadata(&first, headers, sizeof headers / sizeof headers[0], &failed);
    assert_false(failed);
    assert_string_equal(pairs(m), "x-a=1;x-a=2;data-bin=hi;more-bin=hi;more-bin=a;cookie=c=1;");
    blob_drop(m);
    assert_null(head_metadata(&first, headers, 8, &failed));
    assert_false(failed);
    metadata_add(&first, str_of("method"), str_of("GET"));
    m = head_metadata(&first, headers + 8, 1, &failed);
    assert_string_equal(pairs(m), "method=GET;x-a=1;");
    blob_drop(m);
}

static const char *list(const struct headers *h) {
    static char text[9000];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < h->n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s=%.*s;", (int)h->items[i].name.n,
                              h->items[i].name.p, (int)h->items[i].value.n, h->items[i].value.p);
    return text;
}

static struct blob *metadata_of(const char *key, struct str value, const char *other,
                                struct str more) {
    struct buf b = {0};
    metadata_add(&b, str_of(key), value);
    metadata_add(&b, str_of(other), more);
    return buf_take(&b);
}

static void test_metadata_out(void **state) {
    (void)state;
    struct headers h = {.n = 0};
    struct blob *a = metadata_of("x-a", S("1"), "x-b-bin", S("\0\1\2\3"));
    struct blob *b = metadata_of("x-split", S("a\r\nset-cookie: b"), "content-length", S("5"));
    assert_true(headers_begin(&h, a, b, NULL));
    headers_add_number(&h, "content-length", 1234567890);
    headers_add_number(&h, "zero", 0);
    headers_add_hex(&h, "id", 0xAB);
    headers_add_metadata(&h, a);
    headers_add_metadata(&h, b);
    headers_add_metadata(&h, NULL);
    assert_string_equal(
        list(&h), "content-length=1234567890;zero=0;id=00000000000000ab;x-a=1;x-b-bin=AAECAw;");
    blob_drop(a);
    blob_drop(b);
    headers_free(&h);
}

static void test_too_many(void **state) {
    (void)state;
    struct headers h = {.n = 0};
    assert_true(headers_begin(&h, NULL, NULL, NULL));
    for (int i = 0; i < 2 * HEADERS_MAX; i++) headers_add(&h, "x", S("y"));
    assert_int_equal(h.n, HEADERS_MAX);
    headers_free(&h);
}

static struct msg_fault *fault_of(const char *text, const char *id, const char *details) {
    struct blob *d = details == NULL ? NULL : blob_new(details, strlen(details));
    return msg_fault_new(str_of(text), str_of(id), d);
}

static void test_status_there_and_back(void **state) {
    (void)state;
    struct headers h = {.n = 0};
    struct msg_fault *f = fault_of("100% \xC3\xA4\n", "posts.Posts.Read", "detail");
    struct msg_fault *back;
    int status;
    assert_true(headers_begin(&h, NULL, NULL, f));
    headers_add_status(&h, STATUS_NOT_FOUND, f);
    assert_string_equal(list(&h),
                        "grpc-status=5;grpc-message=100%25 %C3%A4%0A;"
                        "grpc-status-details-bin=ZGV0YWls;mica-error-id=posts.Posts.Read;");
    assert_true(grpc_status_read(h.items, h.n, &status, &back));
    assert_int_equal(status, STATUS_NOT_FOUND);
    assert_true(str_is(blob_str(back->text), "100% \xC3\xA4\n"));
    assert_true(str_is(blob_str(back->id), "posts.Posts.Read"));
    assert_true(str_is(blob_str(back->details), "detail"));
    msg_fault_delete(back);
    msg_fault_delete(f);
    headers_free(&h);
}

static void test_long_faults_are_cut(void **state) {
    (void)state;
    struct headers h = {.n = 0};
    static char text[20001];
    for (size_t i = 0; i + 1 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA4", 2);
    struct msg_fault *f = fault_of(text + 1, "", text); // begins within a character: still no crash
    struct msg_fault *g = fault_of(text, "", NULL);
    struct msg_fault *back;
    int status;
    assert_true(headers_begin(&h, NULL, NULL, f));
    headers_add_status(&h, STATUS_INTERNAL, f);
    assert_int_equal(h.n, 2); // no details
    assert_true(headers_begin(&h, NULL, NULL, g));
    headers_add_status(&h, STATUS_INTERNAL, g);
    assert_true(grpc_status_read(h.items, h.n, &status, &back));
    assert_int_equal(back->text->n % 2, 0); // whole characters
    assert_true(back->text->n > 2000 && back->text->n <= 2048);
    msg_fault_delete(back);
    msg_fault_delete(f);
    msg_fault_delete(g);
    headers_free(&h);
}

static void test_status_read(void **state) {
    (void)state;
    struct msg_fault *f;
    int status;
    const struct http_header none[] = {{S("x"), S("y")}};
    const struct http_header odd[] = {{S("grpc-status"), S("1x")}};
    const struct http_header high[] = {{S("grpc-status"), S("42")}};
    const struct http_header ok[] = {{S("grpc-status"), S("0")}, {S("grpc-message"), S("ignored")}};
    assert_false(grpc_status_read(none, 1, &status, &f));
    assert_false(grpc_status_read(odd, 1, &status, &f));
    assert_true(grpc_status_read(high, 1, &status, &f));
    assert_int_equal(status, STATUS_UNKNOWN);
    msg_fault_delete(f);
    assert_true(grpc_status_read(ok, 2, &status, &f));
    assert_int_equal(status, STATUS_OK);
    assert_null(f);
}

static int set_up(void **state) {
    (void)state;
    return random_start();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_timeouts_written),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_media_types),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_metadata_in),
        cmocka_unit_test(test_metadata_out),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_status_there_and_back),
        cmocka_unit_test(test_long_faults_are_cut),
        cmocka_unit_test(test_status_read),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
