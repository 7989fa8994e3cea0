// SPDX-License-Identifier: Apache-2.0
// Reading path templates.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pb/path_template.h"

#include <stdio.h>

// A template as "segment segment | name:from+count ... | verb", where "**" variables end in "+".
static const char *read(const char *text) {
    static struct buf out;
    struct path_template t;
    struct err err = {0};
    if (template_parse(str_of(text), &t, &err) < 0) fail_msg("%s: %s", text, err.text);
    out.n = 0;
    for (size_t i = 0; i < t.segment_count; i++) {
        const struct template_segment *s = &t.segments[i];
        if (i > 0) buf_append_byte(&out, ' ');
        if (s->kind == SEGMENT_LITERAL) buf_append_str(&out, s->text);
        if (s->kind == SEGMENT_ONE) buf_append_text(&out, "*");
        if (s->kind == SEGMENT_REST) buf_append_text(&out, "**");
    }
    buf_append_text(&out, "|");
    for (size_t i = 0; i < t.variable_count; i++) {
        const struct template_variable *v = &t.variables[i];
        buf_printf(&out, "%s%.*s:%d+%d%s", i == 0 ? "" : " ", (int)v->name.n, v->name.p, v->from,
                   v->count, v->rest ? "+" : "");
    }
    buf_append_text(&out, "|");
    buf_append_str(&out, t.verb);
    assert_int_equal(t.literal, strchr(buf_cstr(&out), '*') == NULL && t.variable_count == 0);
    return buf_cstr(&out);
}

static void test_templates(void **state) {
    (void)state;
    assert_string_equal(read("/"), "||");
    assert_string_equal(read("/:go"), "||go");
    assert_string_equal(read("/v1/posts"), "v1 posts||");
    assert_string_equal(read("/v1/posts:batchGet"), "v1 posts||batchGet");
    assert_string_equal(read("/*"), "*||");
    assert_string_equal(read("/**"), "**||");
    assert_string_equal(read("/a/*/b/**"), "a * b **||");
    assert_string_equal(read("/posts/{id}"), "posts *|id:1+1|");
    assert_string_equal(read("/{id}:undelete"), "*|id:0+1|undelete");
    assert_string_equal(read("/v1/{name=shelves/*}"), "v1 shelves *|name:1+2|");
    assert_string_equal(read("/v1/{name=shelves/*/books/**}:publish"),
                        "v1 shelves * books **|name:1+4+|publish");
    assert_string_equal(read("/{a.b_c.d1=**}"), "**|a.b_c.d1:0+1+|");
    assert_string_equal(read("/{a}/{b}/x/{c=y}"), "* * x y|a:0+1 b:1+1 c:3+1|");
    assert_string_equal(read("/{a=*}/x"), "* x|a:0+1|");
    assert_string_equal(read("/\xC3\xA4/a-b_c.d~e$f&g+h,i;j=k@l!(m)'"),
                        "\xC3\xA4 a-b_c.d~e$f&g+h,i;j=k@l!(m)'||");
}

static void refused(const char *text, const char *why) {
    struct path_template t;
    struct err err = {0};
    assert_int_equal(template_parse(str_of(text), &t, &err), -STATUS_INVALID_ARGUMENT);
    if (strstr(err.text, why) == NULL) fail_msg("%s: %s", text, err.text);
}

static void test_faults(void **state) {
    (void)state;
    refused("", "must begin with \"/\"");
    refused("posts", "must begin with \"/\"");
    refused("{id}", "must begin with \"/\"");
    refused("//", "segment is empty");
    refused("/a/", "segment is empty");
    refused("/a//b", "segment is empty");
    refused("/a/:v", "segment is empty");
    refused("/a:", "segment is empty");
    refused("/a:b:c", "after a segment comes");
    refused("/a:b/c", "after a segment comes");
    refused("/a?b", "after a segment comes");
    refused("/a%20b", "after a segment comes");
    refused("/a b", "after a segment comes");
    refused("/a\x7f", "after a segment comes");
    refused("/a*", "after a segment comes");
    refused("/*a", "after a segment comes");
    refused("/***", "after a segment comes");
    refused("/x{id}", "after a segment comes");
    refused("/{id}x", "after a segment comes");
    refused("/.", "can be . or ..");
    refused("/a/..", "can be . or ..");
    refused("/**/a", "** can only be the last");
    refused("/{a=**}/b", "** can only be the last");
    refused("/{a=**/b}", "** can only be the last");
    refused("/{a=**}/{b}", "** can only be the last");
    refused("/{", "name of a field");
    refused("/{}", "name of a field");
    refused("/{1a}", "name of a field");
    refused("/{a.}", "name of a field");
    refused("/{a..b}", "name of a field");
    refused("/{a", "\"}\" is missing");
    refused("/{a=", "segment is empty");
    refused("/{a=}", "segment is empty");
    refused("/{a=b/}", "segment is empty");
    refused("/{a=b", "\"}\" is missing");
    refused("/{a=b:c}", "\"}\" is missing");
    refused("/{a={b}}", "cannot hold another");
    refused("/{a}/{a}", "in it twice");
    refused("/\xFF", "not valid UTF-8");
    refused("/posts/{id", "path template \"/posts/{id\": ");
}

static void test_bounds(void **state) {
    (void)state;
    char text[2000] = "";
    for (int i = 0; i < 32; i++) strcat(text, "/a");
    read(text);
    strcat(text, "/a");
    refused(text, "over 32 segments");
    text[0] = '\0';
    for (int i = 0; i < 17; i++) sprintf(text + strlen(text), "/{v%d}", i);
    refused(text, "over 16 variables");
    memset(text, 'a', 1001);
    text[0] = '/';
    text[1001] = '\0';
    refused(text, "longer than 1000 bytes");
    text[1000] = '\0';
    read(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
