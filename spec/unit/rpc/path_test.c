// SPDX-License-Identifier: Apache-2.0
// The spelling of paths at the api door.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/route.h"

static void expect(const char *path, const char *clean, const char *normal) {
    struct buf c = {0};
    struct buf n = {0};
    assert_int_equal(route_normalize(str_of(path), &c, &n), 0);
    assert_string_equal(buf_cstr(&c), clean);
    assert_string_equal(buf_cstr(&n), normal);
    buf_free(&c);
    buf_free(&n);
}

static void refused(struct str path) {
    struct buf c = {0};
    struct buf n = {0};
    assert_int_equal(route_normalize(path, &c, &n), -STATUS_INVALID_ARGUMENT);
    buf_free(&c);
    buf_free(&n);
}

static void test_paths_as_micro_has_them(void **state) {
    (void)state;
    expect("/foo", "/foo", "/foo");
    expect("/foo/bar", "/foo/bar", "/foo/bar");
    expect("/foo/bar/baz", "/foo/bar/baz", "/foo/bar/baz");
    expect("/foo/bar/baz/cat/dog", "/foo/bar/baz/cat/dog", "/foo/bar/baz/cat/dog");
    expect("/v1/foo/bar", "/v1/foo/bar", "/v1/foo/bar");
    expect("/foo/bar-baz", "/foo/bar-baz", "/foo/barBaz");
    expect("/foo-bar/call", "/foo-bar/call", "/fooBar/call");
    expect("/foo//bar/../baz/", "/foo/baz", "/foo/baz");
}

static void test_letters(void **state) {
    (void)state;
    expect("/helloworld/Helloworld/Call", "/helloworld/Helloworld/Call",
           "/helloworld/helloworld/call");
    expect("/blog-posts/Save-It", "/blog-posts/Save-It", "/blogPosts/saveIt");
    expect("/a--b", "/a--b", "/aB");
    expect("/-a-", "/-a-", "/a");
    expect("/x-1y", "/x-1y", "/x1y");
    expect("/\xC3\x84rger", "/\xC3\x84rger", "/\xC3\x84rger"); // only ASCII has two cases here
}

static void test_cleaning(void **state) {
    (void)state;
    expect("/", "/", "/");
    expect("//", "/", "/");
    expect("/.", "/", "/");
    expect("/..", "/", "/");
    expect("/../../foo", "/foo", "/foo");
    expect("/foo/./bar/", "/foo/bar", "/foo/bar");
    expect("/foo/bar/../..", "/", "/");
    expect("/foo/...", "/foo/...", "/foo/...");
}

static void test_encoding(void **state) {
    (void)state;
    expect("/f%6Fo", "/foo", "/foo");
    expect("/foo/%2e%2E/bar", "/bar", "/bar"); // no way around the cleaning
    expect("/foo/%2e", "/foo", "/foo");
    expect("/a%20b", "/a b", "/a b");
    expect("/100%", "/100%", "/100%");
    expect("/%C3%A4", "/\xC3\xA4", "/\xC3\xA4");
    expect("/foo%2Dbar", "/foo-bar", "/fooBar");
    expect("/a+b", "/a+b", "/a+b"); // plus is a space in queries only
}

static void test_what_is_refused(void **state) {
    (void)state;
    refused(str_of(""));
    refused(str_of("foo"));
    refused(str_of("*"));
    refused(str_of("/foo%2Fbar"));
    refused(str_of("/foo/..%2f..%2fetc"));
    refused(str_of("/foo%00"));
    refused((struct str){"/fo\0o", 5});
    refused(str_of("/%C3"));
    refused(str_of("/\xFF"));
    refused(str_of("/%C0%AF"));
}

static void test_buffers_are_used_again(void **state) {
    (void)state;
    struct buf c = {0};
    struct buf n = {0};
    assert_int_equal(route_normalize(str_of("/a-long-one/that/stays"), &c, &n), 0);
    assert_int_equal(route_normalize(str_of("/b"), &c, &n), 0);
    assert_string_equal(buf_cstr(&c), "/b");
    assert_string_equal(buf_cstr(&n), "/b");
    buf_free(&c);
    buf_free(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_as_micro_has_them),
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_cleaning),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_buffers_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
