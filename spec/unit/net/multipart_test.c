// SPDX-License-Identifier: Apache-2.0
// Reading multipart/form-data: whole, in two pieces cut at every place, and byte by byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/multipart.h"

#include <stdlib.h>

// What is read, as "name(file;type)[content]", "!" and the error, "$" at the closing delimiter. `pieces` counts those of content.
struct reading {
    struct multipart m;
    struct buf text;
    unsigned pieces;
};

static void feed(struct reading *r, struct str bytes) {
    enum multipart_event event;
    while ((event = multipart_next(&r->m, &bytes)) != MULTIPART_MORE) {
        if (event == MULTIPART_PART) {
            buf_append_str(&r->text, r->m.name);
            if (r->m.has_filename || r->m.content_type.n > 0)
                buf_printf(&r->text, "(%.*s%s;%.*s)", (int)r->m.filename.n, r->m.filename.p,
                           r->m.has_filename ? "" : "-", (int)r->m.content_type.n,
                           r->m.content_type.p);
            buf_append_byte(&r->text, '[');
        }
        if (event == MULTIPART_DATA) {
            assert_true(r->m.data.n > 0);
            buf_append_str(&r->text, r->m.data);
            r->pieces++;
        }
        if (event == MULTIPART_PART_END) buf_append_byte(&r->text, ']');
        if (event == MULTIPART_ERROR) {
            buf_printf(&r->text, "!%s", r->m.error);
            return;
        }
    }
    assert_int_equal(bytes.n, 0);
}

// Each piece has an allocation of its own size, so that the sanitizer sees a read beyond the end.
static void feed_copy(struct reading *r, struct str bytes) {
    if (bytes.n == 0 || r->m.error != NULL) return;
    char *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    feed(r, (struct str){copy, bytes.n});
    free(copy);
}

static void check_cut(struct str body, size_t first, size_t step, const char *wanted) {
    struct reading r = {.pieces = 0};
    multipart_create(&r.m, str_of("XX"));
    feed_copy(&r, (struct str){body.p, first});
    for (size_t at = first; at < body.n; at += step)
        feed_copy(&r, (struct str){body.p + at, body.n - at < step ? body.n - at : step});
    if (multipart_ended(&r.m)) buf_append_byte(&r.text, '$');
    assert_string_equal(buf_cstr(&r.text), wanted);
    multipart_destroy(&r.m);
    buf_free(&r.text);
}

static void check(const char *text, const char *wanted) {
    struct str body = str_of(text);
    check_cut(body, body.n, 1, wanted);
    check_cut(body, 0, 1, wanted);
    for (size_t i = 1; i < body.n; i++) check_cut(body, i, body.n, wanted);
}

#define DISPOSITION "Content-Disposition: form-data; name="

static void test_parts(void **state) {
    (void)state;
    check("--XX\r\n" DISPOSITION "\"a\"\r\n\r\nhello\r\n--XX--\r\n", "a[hello]$");
    check("--XX\r\n" DISPOSITION "a\r\n\r\n\r\n--XX--", "a[]$");
    check("--XX\r\n" DISPOSITION "a\r\n\r\n--XX--", "a[]$"); // no line for an empty content
    check(
        "--XX\r\n" DISPOSITION "\"a\"\r\n\r\none\r\n--XX\r\n" DISPOSITION
        "\"b\"; filename=\"x y.png\"\r\nContent-Type: image/png\r\n\r\ntwo\r\nlines\r\n--XX--\r\n",
        "a[one]b(x y.png;image/png)[two\r\nlines]$");
    check("preamble\r\nof lines\r\n--XX\r\n" DISPOSITION "a\r\n\r\n1\r\n--XX--epilogue\r\n--XX\r\n",
          "a[1]$");
    check("--XX \t\r\n" DISPOSITION "a\r\n\r\n1\r\n--XX--", "a[1]$"); // spaces behind a boundary
    check("--XX\r\ncontent-type: text/plain; charset=utf-8\r\nX-Other: "
          "y\r\ncontent-disposition:form-data"
          ";name=a\r\n\r\n1\r\n--XX--",
          "a(-;text/plain; charset=utf-8)[1]$");
    check("--XX\r\n" DISPOSITION "\"a\"; filename=\"\"\r\n\r\n\r\n--XX--", "a(;)[]$");
    check("--XX--", "$");
}

static void test_content_that_looks_like_a_boundary(void **state) {
    (void)state;
    check("--XX\r\n" DISPOSITION "a\r\n\r\n\r\r\n-\r\n--\r\n--X\r\n--Y--XX\n--XX\r\n--XX--",
          "a[\r\r\n-\r\n--\r\n--X\r\n--Y--XX\n--XX]$");
    check("--XX\r\n" DISPOSITION "a\r\n\r\n--X\r\n--XX--", "a[--X]$");
    check("--XX\r\n" DISPOSITION "a\r\n\r\n--X--XX\r\n--XX--", "a[--X--XX]$");
    check("--XX\r\n" DISPOSITION "a\r\n\r\n\r\n\r\n--XX--", "a[\r\n]$");
}

static void test_names(void **state) {
    (void)state;
    check("--XX\r\n" DISPOSITION "\"a\\\"b\\\\c%22d%0D%0ae%41\"\r\n\r\n1\r\n--XX--",
          "a\"b\\c\"d\r\ne%41[1]$");
    check("--XX\r\n" DISPOSITION
          "\"a\"; filename=\"C:\\dir;x=\\\"y\\\".txt\"; x\r\n\r\n1\r\n--XX--",
          "a(C:\\dir;x=\"y\".txt;)[1]$");
    check("--XX\r\nContent-Disposition: FORM-DATA; FileName=f; NAME=\xC3\xA4\r\n\r\n1\r\n--XX--",
          "\xC3\xA4(f;)[1]$");
}

static void test_faults(void **state) {
    (void)state;
    check("--XX\r\n\r\n1\r\n--XX--", "!a part has no name");
    check("--XX\r\n" DISPOSITION "\"\"\r\n\r\n1\r\n--XX--", "!a part has no name");
    check("--XX\r\n" DISPOSITION "\xFF\r\n\r\n1", "!the name of a part is not valid UTF-8");
    check("--XX\r\n" DISPOSITION "a; filename=\xFF\r\n\r\n",
          "!the name of a part is not valid UTF-8");
    check("--XX\r\n" DISPOSITION "\"a\r\n\r\n1\r\n--XX--", "!the headers of a part are malformed");
    check("--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n",
          "!the headers of a part are malformed");
    check("--XX\r\n" DISPOSITION "a\r\n folded: x\r\n\r\n", "!the headers of a part are malformed");
    check("--XX\r\nno colon\r\n\r\n", "!the headers of a part are malformed");
    check("--XXY\r\n", "!the boundary stands within a line");
    check("--XX\r\r", "!the boundary stands within a line");
    check("--XX-\r\n", "!the boundary stands within a line");
    check("--XX --\r\n", "!the boundary stands within a line");
    check("--XX\r\n" DISPOSITION "a\r\n\r\n1\r\n--XXy\r\n",
          "a[1]!the boundary stands within a line");
    check("--XX\r\n" DISPOSITION "a\r\n\r\ncut off\r\n--X", "a[cut off");
    check("", "");
}

static void fill(struct buf *body, const char *what, size_t n) {
    for (size_t i = 0; i < n; i++) buf_append_text(body, what);
}

static void expect(struct buf *body, const char *wanted) {
    struct reading r = {.pieces = 0};
    multipart_create(&r.m, str_of("XX"));
    feed(&r, buf_str(body));
    const char *text = buf_cstr(&r.text);
    if (strstr(text, wanted) == NULL) fail_msg("%.200s", text);
    multipart_destroy(&r.m);
    buf_free(&r.text);
    buf_free(body);
}

static void test_limits(void **state) {
    (void)state;
    struct buf body = {0};
    fill(&body, "--XX\r\nx: ", 1);
    fill(&body, "x", 8 * 1024);
    expect(&body, "!the headers of a part are over 8 KB");
    fill(&body, "line\r\n", 3000);
    expect(&body, "!too much stands around the parts");
    fill(&body, "--XX--", 1);
    fill(&body, "line\r\n", 3000);
    expect(&body, "!too much stands around the parts");
    fill(&body, "--XX\r\n" DISPOSITION "a\r\n\r\n\r\n", 1001);
    expect(&body, "!the form has over 1000 parts");
}

static void test_content_comes_in_large_pieces(void **state) {
    (void)state;
    struct buf body = {0};
    struct reading r = {.pieces = 0};
    multipart_create(&r.m, str_of("XX"));
    fill(&body, "--XX\r\n" DISPOSITION "a\r\n\r\n", 1);
    fill(&body, "\r\n--X\r", 1000);
    fill(&body, "\r\n--XX--", 1);
    feed(&r, buf_str(&body));
    assert_true(multipart_ended(&r.m));
    assert_true(r.pieces <= 2);
    multipart_destroy(&r.m);
    buf_free(&r.text);
    buf_free(&body);
}

static void boundary(const char *content_type, const char *wanted) {
    char out[MULTIPART_BOUNDARY_MAX];
    size_t n = 0;
    bool found = multipart_boundary(str_of(content_type), out, &n);
    assert_int_equal(found, wanted != NULL);
    if (found) assert_true(str_is((struct str){out, n}, wanted));
}

static void test_boundaries(void **state) {
    (void)state;
    boundary("multipart/form-data; boundary=abc", "abc");
    boundary("multipart/form-data;Boundary=\"a b:c\" ; charset=utf-8", "a b:c");
    boundary("multipart/form-data; charset=utf-8; boundary=----WebKitFormBoundaryX0",
             "----WebKitFormBoundaryX0");
    boundary("multipart/form-data", NULL);
    boundary("multipart/form-data; boundary", NULL);
    boundary("multipart/form-data; boundary=", NULL);
    boundary("multipart/form-data; boundary=\"x", NULL);
    boundary("multipart/form-data; boundary=\"x \"", NULL);
    boundary("multipart/form-data; boundary=a\rb", NULL);
    boundary("multipart/form-data; boundary="
             "0123456789012345678901234567890123456789012345678901234567890123456789",
             "0123456789012345678901234567890123456789012345678901234567890123456789");
    boundary("multipart/form-data; boundary="
             "01234567890123456789012345678901234567890123456789012345678901234567890",
             NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_content_that_looks_like_a_boundary),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_content_comes_in_large_pieces),
        cmocka_unit_test(test_boundaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
