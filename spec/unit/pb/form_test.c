// SPDX-License-Identifier: Apache-2.0
// Values of a path, a form and a query, and their merge with a body of JSON. (query_test.c has the names and types.)
#include "pb/json_fixture.h"

#include "pb/form.h"

struct values {
    const char *path; // "name=value", one
    const char *form; // pairs, of the field `under`
    const char *query;
    const char *under;
    const char *body;
};

static struct str text(const char *s) { return str_of(s == NULL ? "" : s); }

// The JSON that comes out, which pb_read_json must accept; or the text of the error.
static void check(const char *type, struct values v, const char *wanted) {
    struct err err = {0};
    struct buf json = {0}, wire = {0};
    const struct pb_message *m = fixture_type(type);
    struct pb_form *f = pb_form_new(m, &err);
    int rc = 0;
    if (v.path != NULL) {
        const char *equals = strchr(v.path, '=');
        rc = pb_form_add(f, FORM_PATH, (struct str){v.path, (size_t)(equals - v.path)}, FORM_TEXT,
                         str_of(equals + 1));
    }
    if (rc == 0 && v.form != NULL)
        rc = pb_form_add_pairs(f, FORM_BODY, text(v.under), str_of(v.form));
    if (rc == 0 && v.query != NULL)
        rc = pb_form_add_pairs(f, FORM_QUERY, str_of(""), str_of(v.query));
    if (rc == 0) rc = pb_form_write(f, text(v.under), text(v.body), &json);
    assert_string_equal(rc == 0 ? buf_cstr(&json) : err.text, wanted);
    if (rc == 0 && pb_json_to_wire(fixture_pool, m, buf_str(&json), &wire, &err) < 0)
        fail_msg("%s", err.text);
    pb_form_delete(f);
    buf_free(&json);
    buf_free(&wire);
}

static void test_ranks(void **state) {
    (void)state;
    check("codec3.Tree", (struct values){.path = "name=p", .form = "name=f", .query = "name=q"},
          "{\"name\":\"p\"}");
    check("codec3.Tree", (struct values){.form = "name=f", .query = "name=q&next.name=q"},
          "{\"name\":\"f\",\"next\":{\"name\":\"q\"}}");
    check("codec3.Tree",
          (struct values){.path = "next.name=p", .body = "{\"next\":{\"name\":\"b\"}}"},
          "{\"next\":{\"name\":\"p\"}}");
    check("codec3.Lists", (struct values){.form = "int32s=1&int32s=2", .query = "int32s=3"},
          "{\"int32s\":[1,2]}");
    check("codec3.Lists",
          (struct values){.form = "messages[0].a_bool", .query = "messages[0].a_string=x"},
          "{\"messages\":[{\"a_bool\":true}]}");
    check("codec3.Maps", (struct values){.form = "by_string.a=1", .query = "by_string.b=2"},
          "{\"by_string\":{\"a\":\"1\"}}");
}

static void test_body(void **state) {
    (void)state;
    check("codec3.Tree", (struct values){.body = " {\"name\" : \"b\" , \"children\":[{ }]} "},
          "{\"name\":\"b\",\"children\":[{ }]}");
    check("codec3.Tree", (struct values){.path = "name=p", .body = "{}"}, "{\"name\":\"p\"}");
    check("codec3.Tree",
          (struct values){.path = "next.name=p",
                          .query = "next.next.name=q&name=q",
                          .body = "{\"name\":\"b\",\"next\":{\"next\":{\"children\":[]}}}"},
          "{\"name\":\"b\",\"next\":{\"next\":{\"children\":[],\"name\":\"q\"},\"name\":\"p\"}}");
    check("codec3.Tree", (struct values){.query = "next.name=q", .body = "{\"next\":null}"},
          "{\"next\":{\"name\":\"q\"}}");
    check("codec3.Known", (struct values){.query = "value=q", .body = "{\"value\":null}"},
          "{\"value\":null}");
    check("codec3.Scalars",
          (struct values){.query = "an_int32=1&renamed=q", .body = "{\"anInt32\":2}"},
          "{\"anInt32\":2,\"renamed\":\"q\"}");
    check("codec3.Lists", (struct values){.query = "int32s=1", .body = "{\"int32s\":[2]}"},
          "{\"int32s\":[2]}");
    check("codec3.Scalars",
          (struct values){.query = "a_bool", .body = "{\"a_string\":\"\\u00e9\\\"\"}"},
          "{\"a_string\":\"\\u00e9\\\"\",\"a_bool\":true}");
}

static void test_oneofs(void **state) {
    (void)state;
    check("codec3.Choice", (struct values){.query = "email=q&left=1", .body = "{\"phone\":\"5\"}"},
          "{\"phone\":\"5\",\"left\":1}");
    check("codec3.Choice", (struct values){.query = "email=q", .body = "{\"phone\":null}"},
          "{\"phone\":null,\"email\":\"q\"}");
    check("codec3.Choice",
          (struct values){.query = "email=q", .under = "tree", .body = "{\"name\":\"b\"}"},
          "{\"tree\":{\"name\":\"b\"}}");
}

static void test_a_field_as_body(void **state) {
    (void)state;
    check(
        "codec3.Tree",
        (struct values){.under = "next", .body = "{\"name\":\"b\"}", .query = "next.name=q&name=q"},
        "{\"next\":{\"name\":\"b\"},\"name\":\"q\"}");
    check("codec3.Tree", (struct values){.under = "next", .form = "name=f", .path = "next.name=p"},
          "{\"next\":{\"name\":\"p\"}}");
    check("codec3.Tree", (struct values){.under = "children", .body = "[{}]", .path = "name=p"},
          "{\"children\":[{}],\"name\":\"p\"}");
    check("codec3.Lists", (struct values){.under = "strings", .form = "[]=a&[]=b"},
          "[]: is no path like a.b or a[b]");
    check("codec3.Tree", (struct values){.under = "name", .body = "null", .query = "next.name=q"},
          "{\"name\":null,\"next\":{\"name\":\"q\"}}");
    check("codec3.Tree", (struct values){.under = "next", .query = "name=q"}, "{\"name\":\"q\"}");
}

static void test_faults(void **state) {
    (void)state;
    check("codec3.Tree", (struct values){.path = "name=p", .body = "{\"name\":\"b\""},
          "malformed JSON, line 1, column 12: the text ends too early");
    check("codec3.Tree", (struct values){.path = "name=p", .body = "{} {}"},
          "malformed JSON, line 1, column 4: something follows the value");
    check("codec3.Tree", (struct values){.under = "next", .body = "{},\"name\":\"smuggled\""},
          "malformed JSON, line 1, column 3: something follows the value");
    check("codec3.Tree", (struct values){.path = "name=p", .body = "\"x\""},
          "codec3.Tree: expected an object, got a string");
    check("codec3.Tree", (struct values){.form = "name=a&name=b"}, "name: is set twice");
    check("codec3.Tree", (struct values){.path = "name=\xFF"}, "name: is not valid UTF-8");
}

// A member that stands twice in the body stays a fault, whoever's value counts.
static void test_twice_in_the_body(void **state) {
    (void)state;
    struct err err = {0};
    struct buf json = {0}, wire = {0};
    const struct pb_message *m = fixture_type("codec3.Tree");
    struct pb_form *f = pb_form_new(m, &err);
    assert_int_equal(pb_form_add(f, FORM_PATH, str_of("next.name"), FORM_TEXT, str_of("p")), 0);
    assert_int_equal(
        pb_form_write(f, str_of(""), str_of("{\"next\":{},\"next\":{\"name\":\"b\"}}"), &json), 0);
    assert_int_equal(pb_json_to_wire(fixture_pool, m, buf_str(&json), &wire, &err),
                     -STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "next: is set twice");
    pb_form_delete(f);
    buf_free(&json);
    buf_free(&wire);
}

// What of `type` a file, and then a second one, makes.
static void file(const char *type, const char *name, const char *more, const char *wanted) {
    struct err err = {0};
    struct buf json = {0};
    struct pb_form *f = pb_form_new(fixture_type(type), &err);
    struct form_file first = {str_of("a.txt"), str_of("text/plain"), str_of("\xFFx")};
    int rc = pb_form_add_file(f, FORM_BODY, str_of(name), &first);
    if (rc == 0 && more != NULL) rc = pb_form_add_file(f, FORM_BODY, str_of(more), &first);
    if (rc == 0) rc = pb_form_write(f, str_of(""), str_of(""), &json);
    assert_string_equal(rc == 0 ? buf_cstr(&json) : err.text, wanted);
    pb_form_delete(f);
    buf_free(&json);
}

static void test_files(void **state) {
    (void)state;
    file("codec3.Scalars", "some_bytes", NULL, "{\"some_bytes\":\"/3g=\"}");
    file("codec3.Scalars", "a_string", NULL,
         "a_string: is no text in UTF-8: a field of bytes would take it");
    file("codec3.Scalars", "some_bytes", "some_bytes", "some_bytes: is set twice");
    file("codec3.Lists", "bytes_list", "bytes_list", "{\"bytes_list\":[\"/3g=\",\"/3g=\"]}");
    file("codec3.Known", "bytes_value", NULL, "{\"bytes_value\":\"/3g=\"}");
    file("codec3.All", "tree", NULL, "tree: is a message: name a field of it");
    assert_null(pb_form_file_data(fixture_type("codec3.Tree")));
    assert_null(pb_form_file_data(NULL));
}

static void test_json_values(void **state) {
    (void)state;
    struct err err = {0};
    struct buf json = {0};
    struct pb_form *f = pb_form_new(fixture_type("codec3.Lists"), &err);
    assert_int_equal(
        pb_form_add(f, FORM_BODY, str_of("messages"), FORM_JSON, str_of("{\"a_bool\":true}")), 0);
    assert_int_equal(pb_form_add(f, FORM_BODY, str_of("messages"), FORM_JSON, str_of("{}")), 0);
    assert_int_equal(pb_form_add(f, FORM_BODY, str_of("strings"), FORM_JSON, str_of(" [\"a\"]")),
                     0);
    assert_int_equal(pb_form_write(f, str_of(""), str_of(""), &json), 0);
    assert_string_equal(buf_cstr(&json),
                        "{\"messages\":[{\"a_bool\":true},{}],\"strings\": [\"a\"]}");
    assert_int_equal(pb_form_add(f, FORM_BODY, str_of("strings"), FORM_TEXT, str_of("b")),
                     -STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "strings: is set twice");
    pb_form_delete(f);
    buf_free(&json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),  cmocka_unit_test(test_body),
        cmocka_unit_test(test_oneofs), cmocka_unit_test(test_a_field_as_body),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_twice_in_the_body),
        cmocka_unit_test(test_files),  cmocka_unit_test(test_json_values),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
