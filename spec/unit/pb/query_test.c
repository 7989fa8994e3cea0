// SPDX-License-Identifier: Apache-2.0
// Query strings and forms as JSON.
#include "pb/json_fixture.h"

#include "pb/form.h"

// The JSON of a query, which pb_read_json must accept as well; or the text of the error.
static void check(const char *type, const char *query, const char *wanted) {
    struct buf json = {0};
    struct buf wire = {0};
    struct err err = {0};
    const struct pb_message *m = fixture_type(type);
    int rc = pb_query_to_json(m, str_of(query), &json, &err);
    assert_string_equal(rc == 0 ? buf_cstr(&json) : err.text, wanted);
    if (rc == 0) {
        rc = pb_json_to_wire(fixture_pool, m, buf_str(&json), &wire, &err);
        if (rc < 0) fail_msg("%s", err.text);
    } else {
        assert_int_equal(rc, -STATUS_INVALID_ARGUMENT);
        assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
        assert_int_equal(json.n, 0);
    }
    buf_free(&json);
    buf_free(&wire);
}

static void test_scalars(void **state) {
    (void)state;
    check("codec3.Scalars", "", "{}");
    check("codec3.Scalars", "&&", "{}");
    check("codec3.Scalars", "a_string=Ada&anInt32=-7&a_double=1.5&an_int64=9007199254740993",
          "{\"a_string\":\"Ada\",\"an_int32\":-7,\"a_double\":1.5,\"an_int64\":9007199254740993}");
    check("codec3.Scalars", "a_string=42&id=17&color=RED&some_bytes=YQ%3D%3D",
          "{\"a_string\":\"42\",\"id\":17,\"color\":\"RED\",\"some_bytes\":\"YQ==\"}");
    check("codec3.Scalars", "color=1&a_double=NaN", "{\"color\":1,\"a_double\":\"NaN\"}");
    check("codec3.Scalars", "a_string=", "{\"a_string\":\"\"}");
    check("codec3.Scalars", "a_string", "{\"a_string\":\"\"}");
}

static void test_bools(void **state) {
    (void)state;
    check("codec3.Scalars", "a_bool", "{\"a_bool\":true}");
    check("codec3.Scalars", "a_bool=", "{\"a_bool\":true}");
    check("codec3.Scalars", "aBool=true", "{\"a_bool\":true}");
    check("codec3.Scalars", "a_bool=on", "{\"a_bool\":true}");
    check("codec3.Scalars", "a_bool=1", "{\"a_bool\":true}");
    check("codec3.Scalars", "a_bool=0", "{\"a_bool\":false}");
    check("codec3.Scalars", "a_bool=false", "{\"a_bool\":false}");
}

static void test_percent(void **state) {
    (void)state;
    check("codec3.Scalars", "a_string=a+b%20c%2Bd%C3%A9%26%3D%22",
          "{\"a_string\":\"a b c+d\xC3\xA9&=\\\"\"}");
    check("codec3.Maps", "by_string%5Ba%2Eb%5D=1", "{\"by_string\":{\"a.b\":\"1\"}}");
    check("codec3.Scalars", "a_string=%FF", "the query is not valid UTF-8");
    check("codec3.Scalars", "a_string=%zz%", "{\"a_string\":\"%zz%\"}");
}

static void test_lists(void **state) {
    (void)state;
    check("codec3.Lists", "int32s=1&strings=a&int32s=2", "{\"int32s\":[1,2],\"strings\":[\"a\"]}");
    check("codec3.Lists", "int32s[]=1&int32s[]=2", "{\"int32s\":[1,2]}");
    check("codec3.Lists", "strings[0]=a&strings[1]=b", "{\"strings\":[\"a\",\"b\"]}");
    check("codec3.Lists", "messages[0].a_bool&messages[1][a_string]=x&messages[0].an_int32=3",
          "{\"messages\":[{\"a_bool\":true,\"an_int32\":3},{\"a_string\":\"x\"}]}");
    check("codec3.Lists", "strings[1]=b",
          "strings[1]: elements of a list are written [] or [0], [1] ... without a gap");
    check("codec3.Lists", "strings[x]=b",
          "strings[x]: elements of a list are written [] or [0], [1] ... without a gap");
    check("codec3.Lists", "strings[0]=a&strings[0]=b", "strings[0]: is set twice");
}

static void test_messages(void **state) {
    (void)state;
    check("codec3.All", "tree.name=a&scalars[a_bool]&tree[next].name=b",
          "{\"tree\":{\"name\":\"a\",\"next\":{\"name\":\"b\"}},\"scalars\":{\"a_bool\":true}}");
    check("codec3.All", "tree=x", "tree: is a message: name a field of it");
    check("codec3.All", "tree.name.x=1", "tree.name.x: is a single value and has no fields");
    check("codec3.All", "tree.children=x", "tree.children: is a message: name a field of it");
    check("codec3.Scalars", "a_string=a&a_string=b", "a_string: is set twice");
    check("codec3.Scalars", "a_string=a&aString=b", "aString: is set twice");
}

static void test_maps(void **state) {
    (void)state;
    check("codec3.Maps", "by_string[a]=1&by_string.b=2&by_int32[7]=x",
          "{\"by_string\":{\"a\":\"1\",\"b\":\"2\"},\"by_int32\":{\"7\":\"x\"}}");
    check("codec3.Maps", "trees[a].name=x&trees[a].next.name=y",
          "{\"trees\":{\"a\":{\"name\":\"x\",\"next\":{\"name\":\"y\"}}}}");
    check("codec3.Maps", "by_string[a]=1&by_string[a]=2", "by_string[a]: is set twice");
    check("codec3.Maps", "by_string=1", "by_string: is a message: name a field of it");
}

static void test_known_types(void **state) {
    (void)state;
    check("codec3.Known", "time=2024-05-01T00:00:00Z&duration=2s&mask=a,bC",
          "{\"time\":\"2024-05-01T00:00:00Z\",\"duration\":\"2s\",\"mask\":\"a,bC\"}");
    check("codec3.Known", "int64_value=7&bool_value&string_value=8&bytes_value=YQ",
          "{\"int64_value\":7,\"bool_value\":true,\"string_value\":\"8\",\"bytes_value\":\"YQ\"}");
    check("codec3.Known", "strings=a&strings=b&value=x",
          "{\"strings\":[\"a\",\"b\"],\"value\":\"x\"}");
    check("codec3.Known", "struct[a]=1&struct.b=x", "{\"struct\":{\"a\":\"1\",\"b\":\"x\"}}");
    check("codec3.Known", "struct=x", "struct: is a message: name a field of it");
    check("codec3.Known", "any=x", "any: is a message: name a field of it");
    check("codec3.Known", "time.seconds=1", "time.seconds: is a single value and has no fields");
    check("google.protobuf.Empty", "", "{}");
}

static void test_unknown(void **state) {
    (void)state;
    check("codec3.Scalars", "a_strin=1",
          "codec3.Scalars has no field \"a_strin\" (did you mean \"a_string\"?)");
    check("codec3.All", "tree.next.nam=1",
          "tree.next.nam: codec3.Tree has no field \"nam\" (did you mean \"name\"?)");
    check("codec3.Scalars", "=1", ": is no path like a.b or a[b]");
    check("codec3.All", "tree.=1", "tree.: is no path like a.b or a[b]");
    check("codec3.All", "tree[next=1", "tree[next: is no path like a.b or a[b]");
    check("codec3.All", "tree[next]name=1", "tree[next]name: is no path like a.b or a[b]");
}

static void test_wrong_values(void **state) {
    (void)state;
    // What is not of the type is for the reader to refuse.
    static const char *const QUERIES[] = {"an_int32=x",   "an_int32=",  "an_int32=1.5",
                                          "a_bool=maybe", "color=PINK", "a_uint32=-1",
                                          "a_double=0x10"};
    for (size_t i = 0; i < sizeof QUERIES / sizeof QUERIES[0]; i++) {
        struct buf json = {0};
        struct buf wire = {0};
        struct err err = {0};
        const struct pb_message *m = fixture_type("codec3.Scalars");
        assert_int_equal(pb_query_to_json(m, str_of(QUERIES[i]), &json, &err), 0);
        assert_int_equal(pb_json_to_wire(fixture_pool, m, buf_str(&json), &wire, &err),
                         -STATUS_INVALID_ARGUMENT);
        buf_free(&json);
        buf_free(&wire);
    }
}

static void test_limits(void **state) {
    (void)state;
    struct buf query = {0};
    struct buf json = {0};
    struct err err = {0};
    const struct pb_message *lists = fixture_type("codec3.Lists");
    for (int i = 0; i < 1000; i++) buf_append_text(&query, i == 0 ? "int32s=1" : "&int32s=1");
    assert_int_equal(pb_query_to_json(lists, buf_str(&query), &json, &err), 0);
    buf_append_text(&query, "&int32s=1");
    assert_int_equal(pb_query_to_json(lists, buf_str(&query), &json, &err),
                     -STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "the request has over 1000 values");
    query.n = 0;
    for (int i = 0; i < 31; i++) buf_append_text(&query, "next.");
    buf_append_text(&query, "name=x");
    assert_int_equal(pb_query_to_json(fixture_type("codec3.Tree"), buf_str(&query), &json, &err),
                     0);
    query.n = 0;
    for (int i = 0; i < 32; i++) buf_append_text(&query, "next.");
    buf_append_text(&query, "name=x");
    assert_int_equal(pb_query_to_json(fixture_type("codec3.Tree"), buf_str(&query), &json, &err),
                     -STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "too many parts"));
    buf_free(&query);
    buf_free(&json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),      cmocka_unit_test(test_bools),
        cmocka_unit_test(test_percent),      cmocka_unit_test(test_lists),
        cmocka_unit_test(test_messages),     cmocka_unit_test(test_maps),
        cmocka_unit_test(test_known_types),  cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_wrong_values), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("query", tests, fixture_setup, fixture_teardown);
}
