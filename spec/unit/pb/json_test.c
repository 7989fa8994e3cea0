// SPDX-License-Identifier: Apache-2.0
// The JSON reader and sink: what each accepts and prints, and what their error texts say. That they
// agree with Google's on whole messages is the matter of spec/e2e/codec_differential.py.
#include "pb/json_fixture.h"

// ---- reading

// The events of a text, or its error as "CODE: text".
static void check_read(const char *type, const char *json, bool lenient, const char *wanted) {
    struct recorder r;
    const struct pb_json_options options = {.ignore_unknown = lenient};
    recorder_create(&r);
    int rc = pb_read_json(fixture_pool, fixture_type(type), str_of(json), &options, &r.sink);
    if (rc < 0) {
        r.text.n = 0;
        assert_int_equal(-rc, r.err.code);
        buf_printf(&r.text, "%s: %s ", status_name(-rc), r.err.text);
    }
    if (strcmp(buf_cstr(&r.text), "") != 0) r.text.n--; // the space at the end
    assert_string_equal(buf_cstr(&r.text), wanted);
    buf_free(&r.text);
}

static void reads(const char *type, const char *json, const char *events) {
    check_read(type, json, false, events);
}

static void refuses(const char *type, const char *json, const char *text) {
    char wanted[600];
    snprintf(wanted, sizeof wanted, "INVALID_ARGUMENT: %s", text);
    check_read(type, json, false, wanted);
}

static void test_names(void **state) {
    (void)state;
    reads("codec3.Scalars", "{}", "{}");
    reads("codec3.Scalars", "{\"an_int32\":1,\"aString\":\"x\"}", "{an_int32=1 a_string=\"x\"}");
    reads("codec3.Scalars", "{\"other-name\":\"x\"}", "{renamed=\"x\"}");
    reads("codec3.Scalars", "{\"a\\u005fbool\":true}", "{a_bool=1}");
    reads("codec2.Extendable",
          "{\"[codec2.number]\":3,\"[codec2.Scope.scoped]\":true,\"[codec2.texts]\":[\"a\"]}",
          "{[codec2.number]=3 [codec2.Scope.scoped]=1 [codec2.texts][\"a\"]}");
}

static void test_unknown_names(void **state) {
    (void)state;
    refuses("codec3.Scalars", "{\"a_strin\":1}",
            "codec3.Scalars has no field \"a_strin\" (did you mean \"a_string\"?)");
    refuses("codec3.Scalars", "{\"completely_different\":1}",
            "codec3.Scalars has no field \"completely_different\"");
    refuses("codec3.All", "{\"tree\":{\"children\":[{},{\"nam\":1}]}}",
            "tree.children[1]: codec3.Tree has no field \"nam\" (did you mean \"name\"?)");
    check_read("codec3.Scalars", "{\"x\":{\"y\":[1,{}]},\"a_bool\":true,\"z\":null}", true,
               "{a_bool=1}");
    check_read(
        "codec3.Scalars", "{\"x\":{\"y\":[1,{]}}", true,
        "INVALID_ARGUMENT: malformed JSON, line 1, column 15: a key in quotes is wanted here");
}

static void test_null(void **state) {
    (void)state;
    reads("codec3.Scalars", "{\"an_int32\":null,\"a_string\":null,\"color\":null}", "{}");
    reads("codec3.Lists", "{\"int32s\":null,\"messages\":null}", "{}");
    reads("codec3.Maps", "{\"by_int32\":null}", "{}");
    reads("codec3.Known", "{\"time\":null,\"struct\":null,\"any\":null,\"int64_value\":null}",
          "{}");
    reads("codec3.Known", "{\"value\":null,\"null_value\":null}", "{value{null_value=0}}");
    reads("codec3.Known", "{\"values\":[null]}", "{values[values{null_value=0}]}");
    reads("codec3.Choice", "{\"email\":null,\"phone\":1}", "{phone=1}");
    reads("codec3.Choice", "{\"nothing\":null}", "{nothing=0}");
    refuses("codec3.Lists", "{\"int32s\":[1,null]}", "int32s[1]: null is no element of a list");
    refuses("codec3.Maps", "{\"by_string\":{\"a\":null}}",
            "by_string[\"a\"]: null is no value of a map");
    refuses("codec3.Scalars", "null", "codec3.Scalars: expected an object, got null");
}

static void test_integers(void **state) {
    (void)state;
    reads("codec3.Scalars", "{\"an_int32\":-2147483648,\"a_uint32\":4294967295}",
          "{an_int32=-2147483648 a_uint32=4294967295}");
    reads("codec3.Scalars",
          "{\"an_int32\":1e3,\"a_sint32\":1.0,\"an_int64\":\"-5\",\"a_uint64\":"
          "\"18446744073709551615\"}",
          "{an_int32=1000 a_sint32=1 an_int64=-5 a_uint64=18446744073709551615}");
    reads("codec3.Scalars", "{\"an_int64\":9007199254740993}", "{an_int64=9007199254740993}");
    refuses("codec3.Scalars", "{\"an_int32\":2147483648}",
            "an_int32: expected an integer of 32 bits, got 2147483648");
    refuses("codec3.Scalars", "{\"an_int32\":-2147483649}",
            "an_int32: expected an integer of 32 bits, got -2147483649");
    refuses("codec3.Scalars", "{\"an_int32\":1.5}",
            "an_int32: expected an integer of 32 bits, got 1.5");
    refuses("codec3.Scalars", "{\"a_uint32\":-1}",
            "a_uint32: expected an unsigned integer of 32 bits, got -1");
    refuses("codec3.Scalars", "{\"a_fixed32\":4294967296}",
            "a_fixed32: expected an unsigned integer of 32 bits, got 4294967296");
    refuses("codec3.Scalars", "{\"an_int64\":9223372036854775808}",
            "an_int64: expected an integer of 64 bits, got 9223372036854775808");
    refuses("codec3.Scalars", "{\"a_uint64\":\"\"}",
            "a_uint64: expected an unsigned integer of 64 bits, got \"\"");
    refuses("codec3.Scalars", "{\"an_int32\":\" 1\"}",
            "an_int32: expected an integer of 32 bits, got \" 1\"");
    refuses("codec3.Scalars", "{\"an_int32\":true}",
            "an_int32: expected an integer of 32 bits, got true");
    refuses("codec3.Lists", "{\"int32s\":[1,{}]}",
            "int32s[1]: expected an integer of 32 bits, got an object");
}

static void test_floats(void **state) {
    (void)state;
    reads("codec3.Scalars", "{\"a_double\":1.5,\"a_float\":\"0.5\"}", "{a_double=1.5 a_float=0.5}");
    reads("codec3.Scalars", "{\"a_double\":\"NaN\",\"a_float\":\"-Infinity\"}",
          "{a_double=nan a_float=-inf}");
    reads("codec3.Scalars", "{\"a_double\":-0.0,\"a_float\":0.0}", "{a_double=-0}");
    refuses("codec3.Scalars", "{\"a_double\":1e309}", "a_double: expected a double, got 1e309");
    refuses("codec3.Scalars", "{\"a_float\":1e39}", "a_float: expected a float, got 1e39");
    refuses("codec3.Scalars", "{\"a_float\":\"inf\"}", "a_float: expected a float, got \"inf\"");
    refuses("codec3.Scalars", "{\"a_double\":NaN}",
            "malformed JSON, line 1, column 13: a value is wanted here");
}

static void test_other_scalars(void **state) {
    (void)state;
    reads("codec3.Scalars", "{\"some_bytes\":\"-_8\"}", "{some_bytes=2:\xfb\xff}");
    reads("codec3.Scalars", "{\"some_bytes\":\"+/8=\"}", "{some_bytes=2:\xfb\xff}");
    reads("codec3.Scalars", "{\"color\":\"BELOW_ZERO\"}", "{color=-3}");
    reads("codec3.Scalars", "{\"color\":77}", "{color=77}");
    reads("codec3.Scalars",
          "{\"color\":\"COLOR_NONE\",\"a_bool\":false,\"a_string\":\"\",\"some_bytes\":\"\"}",
          "{}");
    reads("codec3.Optionals", "{\"color\":0,\"a_bool\":false,\"a_string\":\"\",\"an_int32\":0}",
          "{color=0 a_bool=0 a_string=\"\" an_int32=0}");
    refuses("codec3.Scalars", "{\"some_bytes\":\"a\"}",
            "some_bytes: expected bytes as a base64 string, got \"a\"");
    refuses("codec3.Scalars", "{\"a_bool\":\"true\"}",
            "a_bool: expected true or false, got \"true\"");
    refuses("codec3.Scalars", "{\"a_bool\":1}", "a_bool: expected true or false, got 1");
    refuses("codec3.Scalars", "{\"a_string\":1}", "a_string: expected a string, got 1");
    refuses("codec3.Scalars", "{\"a_string\":\"\xff\"}",
            "malformed JSON, line 1, column 13: the string is not valid UTF-8");
    refuses("codec3.Scalars", "{\"color\":\"PINK\"}",
            "color: enum codec3.Color has no value \"PINK\"");
    refuses("codec3.Scalars", "{\"color\":1.5}",
            "color: expected the name or the number of an enum value, got 1.5");
    refuses("codec2.Defaults", "{\"shape\":77}", "shape: enum codec2.Shape has no value \"77\"");
    check_read(
        "codec2.Defaults",
        "{\"shape\":77,\"shapes\":[\"ROUND\",\"X\",2],\"switches\":{\"1\":\"X\",\"2\":\"ON\"}}",
        true, "{shapes[1 2] switches[switches{key=2 value=1}]}");
}

static void test_twice(void **state) {
    (void)state;
    refuses("codec3.Scalars", "{\"a_bool\":true,\"aBool\":true}", "a_bool: is set twice");
    refuses("codec3.Scalars", "{\"a_bool\":null,\"a_bool\":null}", "a_bool: is set twice");
    refuses("codec3.Choice", "{\"email\":\"x\",\"phone\":1}",
            "phone: another member of oneof \"contact\" is set already");
    reads("codec3.Choice", "{\"email\":\"x\",\"left\":1}", "{email=\"x\" left=1}");
    refuses("codec3.Maps", "{\"by_string\":{\"a\":\"\",\"b\":\"\",\"\\u0061\":\"\"}}",
            "by_string: expected every key once, got \"a\"");
    refuses("codec3.Maps", "{\"by_int32\":{\"1\":\"\",\"1.0\":\"\"}}",
            "by_int32: expected every key once, got \"1.0\"");
    refuses("codec3.Known", "{\"struct\":{\"a\":{\"b\":1,\"b\":2}}}",
            "struct[\"a\"]: expected every key once, got \"b\"");
}

// Over FEW_KEYS keys the reader keeps a hash table.
static void test_many_keys(void **state) {
    (void)state;
    for (int twice = -1; twice < 40; twice += 13) {
        struct buf json = {0};
        buf_append_text(&json, "{\"by_uint64\":{");
        for (int i = 0; i < 40; i++) buf_printf(&json, "\"%d\":\"1\",", i);
        buf_printf(&json, "\"%d\":\"1\"}}", twice < 0 ? 40 : twice);
        struct buf wire = {0};
        struct err err = {0};
        int rc =
            pb_json_to_wire(fixture_pool, fixture_type("codec3.Maps"), buf_str(&json), &wire, &err);
        assert_int_equal(rc, twice < 0 ? 0 : -STATUS_INVALID_ARGUMENT);
        if (twice >= 0) assert_non_null(strstr(err.text, "every key once"));
        buf_free(&json);
        buf_free(&wire);
    }
}

static void test_maps(void **state) {
    (void)state;
    reads("codec3.Maps", "{\"by_int32\":{},\"trees\":{}}", "{}");
    reads("codec3.Maps", "{\"by_int32\":{\"-1\":\"a\",\"0\":\"\"}}",
          "{by_int32[by_int32{key=-1 value=\"a\"} by_int32{}]}");
    reads("codec3.Maps", "{\"by_bool\":{\"true\":\"a\",\"false\":\"b\"}}",
          "{by_bool[by_bool{key=1 value=\"a\"} by_bool{value=\"b\"}]}");
    reads("codec3.Maps", "{\"trees\":{\"a\\n\":{\"named\":{\"b\":{}}}}}",
          "{trees[trees{key=\"a\n\" value{named[named{key=\"b\" value{}}]}}]}");
    refuses("codec3.Maps", "{\"by_int32\":{\"x\":\"a\"}}",
            "by_int32: expected an integer of 32 bits, got \"x\"");
    refuses("codec3.Maps", "{\"by_bool\":{\"1\":\"a\"}}",
            "by_bool: expected true or false, got \"1\"");
    refuses("codec3.Maps", "{\"by_int64\":{\"7\":\"x\"}}",
            "by_int64[\"7\"]: expected an integer of 64 bits, got \"x\"");
    refuses("codec3.Maps", "{\"trees\":{\"a\":{\"named\":{\"b\":1}}}}",
            "trees[\"a\"].named[\"b\"]: expected an object, got 1");
    refuses("codec3.Maps", "{\"by_int32\":[]}", "by_int32: expected an object, got an array");
}

static void test_lists(void **state) {
    (void)state;
    reads("codec3.Lists", "{\"int32s\":[],\"strings\":[\"a\",\"\"]}", "{strings[\"a\" \"\"]}");
    reads("codec3.Lists", "{\"messages\":[{},{\"a_bool\":true}]}",
          "{messages[messages{} messages{a_bool=1}]}");
    refuses("codec3.Lists", "{\"int32s\":1}", "int32s: expected an array, got 1");
    refuses("codec3.Lists", "{\"int32s\":{}}", "int32s: expected an array, got an object");
    reads("codec2.Grouped", "{\"single\":{\"a\":1,\"deeper\":{\"c\":true}},\"many\":[{\"e\":[1]}]}",
          "{single{a=1 deeper{c=1}} many[many{e[1]}]}");
}

static void test_syntax(void **state) {
    (void)state;
    refuses("codec3.Scalars", "", "malformed JSON, line 1, column 1: the text ends too early");
    refuses("codec3.Scalars", "{\n\"a_bool\":true",
            "malformed JSON, line 2, column 14: the text ends too early");
    refuses("codec3.Scalars", "{} x",
            "malformed JSON, line 1, column 4: something follows the value");
    refuses("codec3.Scalars", "{\"a_bool\":true,}",
            "malformed JSON, line 1, column 16: a key in quotes is wanted here");
    refuses("codec3.Scalars", "[]", "codec3.Scalars: expected an object, got an array");
}

// {"next":{"next": ... {}}}, `depth` messages inside the root.
static int read_deep(const char *open, const char *last, const char *close, int depth,
                     const char *type) {
    struct buf json = {0};
    struct buf wire = {0};
    struct err err = {0};
    for (int i = 0; i < depth; i++) buf_append_text(&json, open);
    buf_append_text(&json, last);
    for (int i = 0; i < depth; i++) buf_append_text(&json, close);
    int rc = pb_json_to_wire(fixture_pool, fixture_type(type), buf_str(&json), &wire, &err);
    if (rc < 0) assert_non_null(strstr(err.text, "nested over 100 deep"));
    buf_free(&json);
    buf_free(&wire);
    return rc;
}

static void test_depth(void **state) {
    (void)state;
    assert_int_equal(read_deep("{\"next\":", "{}", "}", 100, "codec3.Tree"), 0);
    assert_int_equal(read_deep("{\"next\":", "{}", "}", 101, "codec3.Tree"),
                     -STATUS_INVALID_ARGUMENT);
    // Every level of lists in a Value is two messages, of objects three.
    assert_int_equal(read_deep("[", "1", "]", 50, "google.protobuf.Value"), 0);
    assert_int_equal(read_deep("[", "1", "]", 51, "google.protobuf.Value"),
                     -STATUS_INVALID_ARGUMENT);
    assert_int_equal(read_deep("{\"a\":", "1", "}", 33, "google.protobuf.Value"), 0);
    assert_int_equal(read_deep("{\"a\":", "1", "}", 34, "google.protobuf.Value"),
                     -STATUS_INVALID_ARGUMENT);
    assert_int_equal(read_deep("{\"@type\":\"x/google.protobuf.Any\",\"value\":", "{}", "}", 100,
                               "google.protobuf.Any"),
                     0);
    assert_int_equal(read_deep("{\"@type\":\"x/google.protobuf.Any\",\"value\":", "{}", "}", 101,
                               "google.protobuf.Any"),
                     -STATUS_INVALID_ARGUMENT);
}

static void test_known_types(void **state) {
    (void)state;
    reads("codec3.Known", "{\"time\":\"1970-01-01T00:00:01.5Z\",\"duration\":\"-1.5s\"}",
          "{time{seconds=1 nanos=500000000} duration{seconds=-1 nanos=-500000000}}");
    reads("codec3.Known", "{\"mask\":\"fooBar,a.bC\",\"empty\":{}}",
          "{mask{paths[\"foo_bar\" \"a.b_c\"]} empty{}}");
    reads("codec3.Known", "{\"mask\":\"\"}", "{mask{}}");
    reads("codec3.Known",
          "{\"int64_value\":\"7\",\"bool_value\":false,\"bytes_value\":\"YQ\",\"float_value\":0.5}",
          "{int64_value{value=7} bool_value{} bytes_value{value=1:a} float_value{value=0.5}}");
    reads("codec3.Known", "{\"struct\":{\"a\":[1,\"x\",true,null],\"b\":{}},\"list\":[]}",
          "{struct{fields[fields{key=\"a\" value{list_value{values[values{number_value=1} "
          "values{string_value=\"x\"} "
          "values{bool_value=1} values{null_value=0}]}}} fields{key=\"b\" value{struct_value{}}}]} "
          "list{}}");
    reads("google.protobuf.Int32Value", "7", "{value=7}");
    reads("google.protobuf.Value", "\"x\"", "{string_value=\"x\"}");
    reads("google.protobuf.ListValue", "[false]", "{values[values{bool_value=0}]}");
    refuses("codec3.Known", "{\"time\":\"yesterday\"}",
            "time: expected a time like \"2024-05-01T12:30:00Z\", got \"yesterday\"");
    refuses("codec3.Known", "{\"duration\":1}",
            "duration: expected a duration like \"1.5s\" (at most 10000 years), got 1");
    refuses("codec3.Known", "{\"mask\":\"foo_bar\"}",
            "mask: expected paths in lowerCamelCase with commas between, got \"foo_bar\"");
    refuses("codec3.Known", "{\"struct\":[]}", "struct: expected an object, got an array");
    refuses("codec3.Known", "{\"value\":[1,1e999]}", "value[1]: expected a double, got 1e999");
    refuses("codec3.Known", "{\"empty\":{\"a\":1}}",
            "empty: google.protobuf.Empty has no field \"a\"");
}

static void test_any(void **state) {
    (void)state;
    reads("codec3.Known", "{\"any\":{}}", "{any{}}");
    reads("codec3.Known",
          "{\"any\":{\"an_int32\":5,\"@type\":\"type.googleapis.com/codec3.Scalars\"}}",
          "{any{type_url=\"type.googleapis.com/codec3.Scalars\" value=2:\x18\x05}}");
    reads("codec3.Known", "{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"5s\"}}",
          "{any{type_url=\"x/google.protobuf.Duration\" value=2:\x08\x05}}");
    reads("codec3.Known", "{\"any\":{\"@type\":\"x/google.protobuf.Empty\"}}",
          "{any{type_url=\"x/google.protobuf.Empty\"}}");
    refuses("codec3.Known", "{\"any\":{\"a\":1}}", "any: an Any wants a member \"@type\"");
    refuses("codec3.Known", "{\"any\":{\"@type\":1}}",
            "any: expected a type as a string in \"@type\", got 1");
    refuses("codec3.Known", "{\"any\":{\"@type\":\"x/no.Such\"}}",
            "any: expected in \"@type\" a type of this contract, like "
            "\"type.googleapis.com/package.Message\", got "
            "\"x/no.Such\"");
    refuses("codec3.Known",
            "{\"any\":{\"@type\":\"x/codec3.Scalars\",\"@type\":\"x/codec3.Tree\"}}",
            "any: \"@type\" is set twice");
    refuses("codec3.Known", "{\"any\":{\"@type\":\"x/codec3.Scalars\",\"an_int32\":\"y\"}}",
            "any.an_int32: expected an integer of 32 bits, got \"y\"");
    refuses("codec3.Known", "{\"any\":{\"@type\":\"x/google.protobuf.Duration\"}}",
            "any: an Any of this type wants a member \"value\"");
    refuses("codec3.Known", "{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"seconds\":1}}",
            "any: an Any of google.protobuf.Duration has \"@type\" and \"value\" once, and nothing "
            "else");
}

// ---- writing

static void check_write(const char *type, const char *json, const struct pb_json_style *style,
                        const char *wanted) {
    struct buf wire = {0};
    struct buf out = {0};
    struct err err = {0};
    const struct pb_message *m = fixture_type(type);
    assert_int_equal(pb_json_to_wire(fixture_pool, m, str_of(json), &wire, &err), 0);
    int rc = pb_wire_to_json(fixture_pool, m, buf_str(&wire), style, &out, &err);
    assert_string_equal(rc == 0 ? buf_cstr(&out) : err.text, wanted);
    buf_free(&wire);
    buf_free(&out);
}

static void test_micro(void **state) {
    (void)state;
    check_write(
        "codec3.Scalars", "{\"an_int64\":5,\"color\":\"RED\"}", &PB_JSON_MICRO,
        "{\"a_double\":0,\"a_float\":0,\"an_int32\":0,\"an_int64\":\"5\",\"a_uint32\":0,\"a_"
        "uint64\":\"0\","
        "\"a_sint32\":0,\"a_sint64\":\"0\",\"a_fixed32\":0,\"a_fixed64\":\"0\",\"an_sfixed32\":0,"
        "\"an_sfixed64\":\"0\",\"a_bool\":false,\"a_string\":\"\",\"some_bytes\":\"\",\"color\":"
        "\"RED\",\"id\":"
        "\"0\",\"small\":\"0\",\"renamed\":\"\",\"far\":\"\"}");
    check_write("codec3.Optionals", "{\"a_bool\":false}", &PB_JSON_MICRO, "{\"a_bool\":false}");
    check_write("codec3.Tree", "{\"next\":{\"name\":\"x\"}}", &PB_JSON_MICRO,
                "{\"name\":\"\",\"children\":[],\"next\":{\"name\":\"x\",\"children\":[],\"named\":"
                "{}},\"named\":{}}");
    check_write("codec3.Choice", "{\"flag\":false}", &PB_JSON_MICRO,
                "{\"before\":\"\",\"flag\":false,\"after\":\"\"}");
    check_write("codec2.Defaults", "{}", &PB_JSON_MICRO,
                "{\"shapes\":[],\"packed_shapes\":[],\"packed_ints\":[],\"loose_fixed\":[],"
                "\"switches\":{},\"nested\":{}}");
}

static void test_proto(void **state) {
    (void)state;
    const struct pb_json_style numbers = {.no_defaults = true, .int64_number = true};
    check_write("codec3.Scalars", "{}", &PB_JSON_PROTO, "{}");
    check_write("codec3.Scalars", "{\"an_int64\":\"-5\",\"renamed\":\"<&>\",\"color\":9}",
                &PB_JSON_PROTO, "{\"anInt64\":\"-5\",\"color\":9,\"other-name\":\"<&>\"}");
    check_write("codec3.Scalars",
                "{\"an_int64\":-5,\"a_uint64\":\"18446744073709551615\",\"id\":1}", &numbers,
                "{\"an_int64\":-5,\"a_uint64\":18446744073709551615,\"id\":1}");
    check_write("codec2.Extendable", "{\"[codec2.texts]\":[\"a\"],\"name\":\"x\"}", &PB_JSON_PROTO,
                "{\"name\":\"x\",\"[codec2.texts]\":[\"a\"]}");
    check_write("codec2.Extendable", "{}", &PB_JSON_MICRO, "{}");
}

static void test_pretty(void **state) {
    (void)state;
    const struct pb_json_style pretty = {.pretty = true, .no_defaults = true};
    check_write("codec3.Tree",
                "{\"children\":[{},{\"name\":\"x\"}],\"named\":{\"b\":{},\"a\":{\"name\":\"y\"}}}",
                &pretty,
                "{\n  \"children\": [\n    {},\n    {\n      \"name\": \"x\"\n    }\n  ],\n  "
                "\"named\": {\n    \"a\": {\n"
                "      \"name\": \"y\"\n    },\n    \"b\": {}\n  }\n}");
    check_write("codec3.Known",
                "{\"any\":{\"@type\":\"x/codec3.Tree\",\"name\":\"z\"},\"list\":[[],{}]}", &pretty,
                "{\n  \"any\": {\n    \"@type\": \"x/codec3.Tree\",\n    \"name\": \"z\"\n  },\n  "
                "\"list\": [\n    [],\n"
                "    {}\n  ]\n}");
}

static void test_maps_in_order(void **state) {
    (void)state;
    check_write("codec3.Maps", "{\"by_int32\":{\"10\":\"c\",\"-5\":\"a\",\"9\":\"b\"}}",
                &PB_JSON_PROTO, "{\"byInt32\":{\"-5\":\"a\",\"9\":\"b\",\"10\":\"c\"}}");
    check_write("codec3.Maps", "{\"by_uint64\":{\"18446744073709551615\":1,\"0\":0}}",
                &PB_JSON_PROTO, "{\"byUint64\":{\"0\":\"0\",\"18446744073709551615\":\"1\"}}");
    check_write("codec3.Maps", "{\"by_string\":{\"ab\":\"\",\"b\":\"\",\"\":\"\",\"a\":\"\"}}",
                &PB_JSON_PROTO, "{\"byString\":{\"\":\"\",\"a\":\"\",\"ab\":\"\",\"b\":\"\"}}");
    check_write("codec3.Maps", "{\"trees\":{\"z\":{\"named\":{\"y\":{},\"x\":{}}},\"a\":{}}}",
                &PB_JSON_PROTO, "{\"trees\":{\"a\":{},\"z\":{\"named\":{\"x\":{},\"y\":{}}}}}");
}

// Binary input that JSON could not have made.
static void check_wire(const char *type, struct str wire, const char *wanted) {
    struct buf out = {0};
    struct err err = {0};
    int rc = pb_wire_to_json(fixture_pool, fixture_type(type), wire, &PB_JSON_PROTO, &out, &err);
    if (rc < 0) assert_int_equal(rc, -STATUS_INVALID_ARGUMENT);
    assert_string_equal(rc == 0 ? buf_cstr(&out) : err.text, wanted);
    buf_free(&out);
}
#define BYTES(text) ((struct str){text, sizeof text - 1})

static void test_from_wire(void **state) {
    (void)state;
    // A key twice: the last one counts. An entry without key and value.
    check_wire("codec3.Maps", BYTES("\x1a\x04\x08\x01\x10\x01\x1a\x04\x08\x01\x10\x02\x1a\x00"),
               "{\"byUint32\":{\"0\":0,\"1\":2}}");
    check_wire("codec3.Maps",
               BYTES("\x62\x06\x0a\x01"
                     "b"
                     "\x12\x01"
                     "1"
                     "\x62\x06\x0a\x01"
                     "a"
                     "\x12\x01"
                     "2"
                     "\x62\x06\x0a\x01"
                     "b"
                     "\x12\x01"
                     "3"
                     "\x62\x06\x0a\x01"
                     "a"
                     "\x12\x01"
                     "4"),
               "{\"byString\":{\"a\":\"4\",\"b\":\"3\"}}");
    check_wire("codec3.Maps", BYTES("\x6a\x03\x0a\x01\x61\x72\x03\x0a\x01\x62"),
               "{\"trees\":{\"a\":{}},\"times\":{\"b\":\"1970-01-01T00:00:00Z\"}}");
    check_wire("codec3.Known", BYTES("\x3a\x00"), "{\"value\":null}");
    check_wire("codec3.Known", BYTES("\x22\x00"), "{\"any\":{}}");
    check_wire("codec3.Scalars", BYTES("\xa0\x1f\x07"), "{}"); // an unknown field
    check_wire("codec3.Known", BYTES("\x4a\x00\x82\x01\x00\x8a\x01\x00"),
               "{\"doubleValue\":0,\"stringValue\":\"\",\"bytesValue\":\"\"}");
}

static void test_cannot_write(void **state) {
    (void)state;
    check_wire("codec3.Known", BYTES("\x9a\x01\x00\x9a\x01\x06\x10\x80\x94\xeb\xdc\x03"),
               "times[1]: this Timestamp is out of range (years 1 to 9999, nanos 0 to 999999999)");
    check_wire("codec3.Known",
               BYTES("\x12\x0d\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
               "duration: this Duration is out of range (10000 years, nanos of the same sign)");
    check_wire("codec3.Known",
               BYTES("\x1a\x05\x0a\x03"
                     "a_1"),
               "mask: this FieldMask has a path that lowerCamelCase cannot say");
    check_wire("codec3.Known",
               BYTES("\x22\x06\x0a\x04"
                     "x/no"),
               "any: this Any holds the type \"x/no\", which the contract lacks");
    check_wire("codec3.Known",
               BYTES("\x22\x03\x12\x01"
                     "x"),
               "any: this Any has a value and no type_url");
    check_wire("codec3.Known", BYTES("\x3a\x09\x11\x00\x00\x00\x00\x00\x00\xf8\x7f"),
               "value: NaN and the infinities have no JSON form in a google.protobuf.Value");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_null),        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats),      cmocka_unit_test(test_other_scalars),
        cmocka_unit_test(test_twice),       cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_maps),        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_syntax),      cmocka_unit_test(test_depth),
        cmocka_unit_test(test_known_types), cmocka_unit_test(test_any),
        cmocka_unit_test(test_micro),       cmocka_unit_test(test_proto),
        cmocka_unit_test(test_pretty),      cmocka_unit_test(test_maps_in_order),
        cmocka_unit_test(test_from_wire),   cmocka_unit_test(test_cannot_write),
    };
    return cmocka_run_group_tests_name("json", tests, fixture_setup, fixture_teardown);
}
