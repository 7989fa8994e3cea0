// SPDX-License-Identifier: Apache-2.0
// What is said and read in headers: lists, statuses there and back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "msg/metadata.h"
#include "rpc/headers.h"

static void test_lists(void **state) {
    (void)state;
    static const char *const HAVE[] = {"gzip",           "identity,gzip",  "gzip,identity",
                                       "identity, gzip", "a ,  gzip  , b", ",gzip,"};
    static const char *const LACK[] = {"",      "gzi",  "gzipx",    "xgzip",
                                       "g zip", "GZIP", "identity", ","};
    for (size_t i = 0; i < sizeof HAVE / sizeof HAVE[0]; i++)
        assert_true(headers_list_has(str_of(HAVE[i]), "gzip"));
    for (size_t i = 0; i < sizeof LACK / sizeof LACK[0]; i++)
        assert_false(headers_list_has(str_of(LACK[i]), "gzip"));
}

static struct str value_of(const struct headers *h, const char *name) {
    struct str value = {NULL, 0};
    http_header_get(h->items, h->n, name, &value);
    return value;
}

static void there_and_back(int status, struct str text, struct str details) {
    static struct headers h;
    struct msg_fault *fault = msg_fault_new(text, str_of("posts.Posts.Read"),
                                            details.n == 0 ? NULL : blob_new(details.p, details.n));
    struct msg_fault *read = NULL;
    int got = -1;
    assert_non_null(fault);
    assert_true(headers_begin(&h, NULL, NULL, fault));
    headers_add_status(&h, status, fault);
    struct str said = value_of(&h, "grpc-message");
    for (size_t i = 0; i < said.n; i++) assert_true(said.p[i] >= 0x20 && said.p[i] <= 0x7E);
    struct str bytes = value_of(&h, "grpc-status-details-bin");
    assert_true(bytes.n == 0 || bytes.p[bytes.n - 1] != '=');
    assert_true(grpc_status_read(h.items, h.n, &got, &read));
    assert_int_equal(got, status);
    assert_true(str_equal(blob_str(read->text), text));
    assert_true(str_equal(blob_str(read->id), str_of("posts.Posts.Read")));
    assert_true(str_equal(blob_str(read->details), details));
    msg_fault_delete(read);
    msg_fault_delete(fault);
    headers_free(&h);
}

static void test_statuses(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"plain",         "100 % of it",
                                        "tab\tline\r\n", "\xe2\x98\xba \xf0\x9f\x98\x88",
                                        "%41",           "\x01\x1f\x7f"};
    for (int status = 1; status <= STATUS_UNAUTHENTICATED; status++) {
        for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
            there_and_back(status, str_of(TEXTS[i]), (struct str){"", 0});
            for (size_t n = 1; n < 6; n++)
                there_and_back(status, str_of(TEXTS[i]), (struct str){"\0\xff\x80z\0\n", n});
        }
    }
}

static void test_metadata_for_the_peer(void **state) {
    (void)state;
    static struct headers h;
    struct buf b = {0};
    metadata_add(&b, str_of("x-plain"), str_of("value"));
    metadata_add(&b, str_of("x-raw-bin"), (struct str){"\0\xff", 2});
    metadata_add(&b, str_of("x-plain"), str_of("again"));
    metadata_add(&b, str_of("grpc-status"), str_of("0"));     // not the service's to say
    metadata_add(&b, str_of("x-split"), str_of("a\r\nb: c")); // would be another header
    struct blob *metadata = buf_take(&b);
    assert_true(headers_begin(&h, metadata, NULL, NULL));
    headers_add_metadata(&h, metadata);
    assert_int_equal(h.n, 3);
    assert_true(str_is(h.items[0].value, "value") && str_is(h.items[1].value, "AP8") &&
                str_is(h.items[2].value, "again"));
    blob_drop(metadata);
    headers_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_metadata_for_the_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
