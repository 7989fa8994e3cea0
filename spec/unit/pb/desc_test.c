// SPDX-License-Identifier: Apache-2.0
// Pools: what they say about good sets, and that no set, however broken, gets past them.
#include "pb/pb_testing.h"

static const char PROTO2[] =
    "syntax = \"proto2\";\n"
    "package p2;\n"
    "// A message.\n"
    "//  Indented.\n"
    "message M {\n"
    "  required int32 id = 1;\n"
    "  // The name.\n"
    "  optional string name = 2 [default = \"x\"];\n"
    "  repeated int32 loose = 3;\n"
    "  repeated int32 tight = 4 [packed = true];\n"
    "  optional group Inner = 5 { optional int64 big = 1 [jstype = JS_STRING]; }\n"
    "  optional Kind kind = 6;\n"
    "  oneof choice { string a = 7; M b = 8; }\n"
    "  map<string, M> kinds = 9;\n"
    "  optional int32 snake_case_name = 10;\n"
    "  optional int32 named = 11 [json_name = \"Other\"];\n"
    "  optional int32 far = 500000;\n"
    "  extensions 100 to 200;\n"
    "}\n"
    "enum Kind { option allow_alias = true; B = 5; A = 1; AA = 1; NEG = -3; }\n"
    "extend M { optional string note = 100; repeated int32 numbers = 101 [packed = true]; }\n"
    "message Scope { extend M { optional Scope scope = 102; } }\n"
    "// A service.\n"
    "service S {\n"
    "  // Unary.\n"
    "  rpc Get(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }\n"
    "  rpc Watch(stream M) returns (stream M);\n"
    "}\n";

static struct pb_field *field_of(struct pb_message *m, const char *name) {
    struct pb_field *field = pb_field_by_name(m, str_of(name));
    if (field == NULL) fail_msg("no field %s", name);
    return field;
}

static void assert_str(struct str s, const char *expected) { assert_true(str_is(s, expected)); }

static void says_what_proto2_says(void **state) {
    (void)state;
    struct pb_pool *pool = compile_pool(PROTO2);
    struct pb_message *m = message_of(pool, "p2.M");
    assert_false(m->proto3);
    assert_str(m->comment, "A message.\n Indented.");
    assert_true(field_of(m, "id")->required);
    assert_true(field_of(m, "id")->has_presence);
    assert_str(field_of(m, "name")->default_text, "x");
    assert_str(field_of(m, "name")->comment, "The name.");
    assert_false(field_of(m, "loose")->packed);
    assert_true(field_of(m, "tight")->packed);
    assert_int_equal(field_of(m, "inner")->type, PB_GROUP);
    assert_int_equal(field_of(field_of(m, "inner")->message, "big")->jstype, PB_JS_STRING);
    assert_true(field_of(m, "kind")->enumeration->closed);
    assert_true(field_of(m, "kinds")->is_map);
    assert_int_equal(field_of(m, "a")->oneof, 0);
    assert_int_equal(field_of(m, "b")->oneof, 0);
    assert_ptr_equal(field_of(m, "b")->message, m);
    assert_str(field_of(m, "snakeCaseName")->name, "snake_case_name");
    assert_str(field_of(m, "named")->json_name, "Other");
    assert_ptr_equal(field_of(m, "Other"), field_of(m, "named"));
    pb_pool_drop(pool);
}

static void finds_by_number(void **state) {
    (void)state;
    struct pb_pool *pool = compile_pool(PROTO2);
    struct pb_message *m = message_of(pool, "p2.M");
    for (size_t i = 0; i < m->count; i++) {
        assert_ptr_equal(pb_field_by_number(m, m->fields[i].number), &m->fields[i]);
        assert_int_equal(m->fields[i].index, i);
    }
    assert_null(pb_field_by_number(m, 0));
    assert_null(pb_field_by_number(m, 12));
    assert_null(pb_field_by_number(m, 499999));
    assert_null(pb_field_by_number(m, UINT32_MAX));
    const struct pb_enum *e = pb_find_enum(pool, str_of("p2.Kind"));
    assert_non_null(e);
    assert_str(e->values[0].name, "B");
    assert_str(pb_enum_by_number(e, 1)->name, "A"); // the first of those that share a number
    assert_int_equal(pb_enum_by_name(e, str_of("AA"))->number, 1);
    assert_str(pb_enum_by_number(e, -3)->name, "NEG");
    assert_null(pb_enum_by_number(e, 0));
    assert_null(pb_enum_by_number(e, 2));
    assert_null(pb_enum_by_name(e, str_of("C")));
    pb_pool_drop(pool);
}

static void extensions_are_fields(void **state) {
    (void)state;
    struct pb_pool *pool = compile_pool(PROTO2);
    struct pb_message *m = message_of(pool, "p2.M");
    struct pb_field *note = field_of(m, "[p2.note]");
    assert_true(note->is_extension);
    assert_true(note->has_presence);
    assert_ptr_equal(note->parent, m);
    assert_ptr_equal(pb_field_by_number(m, 100), note);
    assert_true(field_of(m, "[p2.numbers]")->packed);
    assert_ptr_equal(field_of(m, "[p2.Scope.scope]")->message, message_of(pool, "p2.Scope"));
    pb_pool_drop(pool);
}

static void services_and_methods(void **state) {
    (void)state;
    struct pb_pool *pool = compile_pool(PROTO2);
    assert_int_equal(pool->service_count, 1);
    assert_str(pool->services[0].full_name, "p2.S");
    assert_str(pool->services[0].name, "S");
    assert_str(pool->services[0].file, "t.proto");
    assert_str(pool->services[0].comment, "A service.");
    struct pb_method *get = pb_find_path(pool, str_of("/p2.S/Get")),
                     *watch = pb_find_path(pool, str_of("/p2.S/Watch"));
    assert_non_null(get);
    assert_non_null(watch);
    assert_int_equal(get->idempotency, 1);
    assert_str(get->comment, "Unary.");
    assert_false(get->client_streaming || get->server_streaming);
    assert_true(watch->client_streaming && watch->server_streaming);
    assert_ptr_equal(pool->methods[watch->index], watch);
    assert_ptr_equal(watch->service, &pool->services[0]);
    assert_null(pb_find_path(pool, str_of("/p2.S/None")));
    pb_pool_drop(pool);
}

static void proto3_presence_and_packing(void **state) {
    (void)state;
    struct pb_pool *pool =
        compile_pool("syntax = \"proto3\"; message M { int32 a = 1; optional int32 b = 2;"
                     " oneof o { int32 c = 3; } M d = 4; repeated int32 e = 5;"
                     " repeated int32 f = 6 [packed = false]; repeated string g = 7; E h = 8; }"
                     " enum E { ZERO = 0; }");
    struct pb_message *m = message_of(pool, "M");
    assert_false(field_of(m, "a")->has_presence);
    assert_true(field_of(m, "b")->has_presence);
    assert_int_equal(field_of(m, "b")->oneof, -1); // its oneof is synthetic
    assert_true(field_of(m, "c")->has_presence);
    assert_int_equal(field_of(m, "c")->oneof, 0);
    assert_true(field_of(m, "d")->has_presence);
    assert_true(field_of(m, "e")->packed);
    assert_false(field_of(m, "f")->packed);
    assert_false(field_of(m, "g")->packed);
    assert_false(field_of(m, "h")->enumeration->closed);
    assert_false(m->oneofs[0].synthetic);
    assert_true(m->oneofs[1].synthetic);
    pb_pool_drop(pool);
}

static void knows_the_well_known(void **state) {
    (void)state;
    struct pb_pool *pool = compile_pool(
        "syntax = \"proto3\"; import \"google/protobuf/struct.proto\";"
        "import \"google/protobuf/wrappers.proto\"; import \"google/protobuf/any.proto\";"
        "import \"google/protobuf/duration.proto\";"
        "import \"google/protobuf/field_mask.proto\";"
        "import \"google/protobuf/empty.proto\"; message Timestamp {}");
    static const struct {
        const char *name;
        enum pb_wkt wkt;
    } known[] = {
        {"google.protobuf.Struct", PB_WKT_STRUCT},
        {"google.protobuf.Value", PB_WKT_VALUE},
        {"google.protobuf.ListValue", PB_WKT_LIST_VALUE},
        {"google.protobuf.BytesValue", PB_WKT_WRAPPER},
        {"google.protobuf.Any", PB_WKT_ANY},
        {"google.protobuf.Duration", PB_WKT_DURATION},
        {"google.protobuf.FieldMask", PB_WKT_FIELD_MASK},
        {"google.protobuf.Empty", PB_WKT_EMPTY},
        {"google.protobuf.Struct.FieldsEntry", PB_WKT_NONE},
        {"Timestamp", PB_WKT_NONE},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(message_of(pool, known[i].name)->wkt, known[i].wkt);
    }
    assert_true(pb_find_enum(pool, str_of("google.protobuf.NullValue"))->is_null_value);
    pb_pool_drop(pool);
}

static void suggests_what_is_near(void **state) {
    (void)state;
    struct pb_pool *pool =
        compile_pool("syntax = \"proto3\"; message M { string title = 1; string content = 2;"
                     " int32 id = 3; int32 created_at = 4; }");
    struct pb_message *m = message_of(pool, "M");
    assert_str(pb_suggest_field(m, str_of("titel")), "title");
    assert_str(pb_suggest_field(m, str_of("contents")), "content");
    assert_str(pb_suggest_field(m, str_of("createdAt")), "created_at");
    assert_str(pb_suggest_field(m, str_of("author")), "");
    assert_str(pb_suggest_field(m, str_of("x")), "");
    assert_str(pb_suggest_field(m, str_of("")), "");
    char longer[300];
    memset(longer, 'a', sizeof longer);
    assert_str(pb_suggest_field(m, (struct str){longer, sizeof longer}), "");
    pb_pool_drop(pool);
}

// ---- broken sets, made by hand

static void put_field(struct buf *b, int number, struct str content) {
    uint8_t length[10];
    size_t n = 0;
    for (size_t left = content.n;; left >>= 7) {
        length[n++] = (uint8_t)(left | 0x80);
        if (left < 0x80) break;
    }
    length[n - 1] &= 0x7F;
    buf_append_byte(b, (char)(number << 3 | 2));
    buf_append(b, length, n);
    buf_append_str(b, content);
}

// A set of one proto3 file whose content is `file`.
static void assert_refused(struct str file, const char *text) {
    struct buf whole = {0}, inner = {0};
    put_field(&inner, 1, str_of("t.proto"));
    put_field(&inner, 12, str_of("proto3"));
    buf_append_str(&inner, file);
    put_field(&whole, 1, buf_str(&inner));
    struct blob *set = buf_take(&whole);
    struct err err = {0};
    struct pb_pool *pool = pb_pool_new(set, &err);
    assert_null(pool);
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, text);
    blob_drop(set);
    buf_free(&inner);
}

// A file of one message "M" with one field, given as the bytes of its FieldDescriptorProto.
static void assert_field_refused(struct str field, const char *text) {
    struct buf file = {0}, message = {0};
    put_field(&message, 1, str_of("M"));
    put_field(&message, 2, field);
    put_field(&file, 4, buf_str(&message));
    assert_refused(buf_str(&file), text);
    buf_free(&message);
    buf_free(&file);
}

static void refuses_broken_fields(void **state) {
    (void)state;
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x28, 5), "M.a: has no label");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1), "M.a: has no known type");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 99), "M.a: has no known type");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x20, 1, 0x28, 5),
                         "M.a: the field number is out of range");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 0, 0x20, 1, 0x28, 5),
                         "M.a: the field number is out of range");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 11),
                         "M.a: the type (none) is not in the set");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 11, 0x32, 2, '.', 'N'),
                         "M.a: the type .N is not in the set");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 14, 0x32, 2, '.', 'M'),
                         "M.a: the type .M is not in the set");
    assert_field_refused(BYTES(0x18, 1, 0x20, 1, 0x28, 5), "M.: is no name of a field");
    assert_field_refused(BYTES(0x0A, 2, 'a', '-', 0x18, 1, 0x20, 1, 0x28, 5),
                         "M.a-: is no name of a field");
    assert_field_refused(BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 5, 0x48, 7),
                         "M.a: cannot be in that oneof");
}

static void refuses_doubles(void **state) {
    (void)state;
    struct buf file = {0}, message = {0};
    put_field(&message, 1, str_of("M"));
    put_field(&file, 4, buf_str(&message));
    put_field(&file, 4, buf_str(&message));
    assert_refused(buf_str(&file), "M: defined twice");
    file.n = 0;
    put_field(&message, 2, BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 5));
    put_field(&message, 2, BYTES(0x0A, 1, 'b', 0x18, 1, 0x20, 1, 0x28, 5));
    put_field(&file, 4, buf_str(&message));
    assert_refused(buf_str(&file), "M.b: the number is taken");
    buf_free(&message);
    put_field(&message, 1, str_of("M"));
    put_field(&message, 2, BYTES(0x0A, 1, 'a', 0x18, 1, 0x20, 1, 0x28, 5));
    put_field(&message, 2, BYTES(0x0A, 1, 'a', 0x18, 2, 0x20, 1, 0x28, 5));
    file.n = 0;
    put_field(&file, 4, buf_str(&message));
    assert_refused(buf_str(&file), "M.a: defined twice");
    buf_free(&message);
    buf_free(&file);
}

static void refuses_false_friends(void **state) {
    (void)state;
    // A google.protobuf.Timestamp without fields, and a map entry without a value.
    assert_refused(BYTES(0x12, 15, 'g', 'o', 'o', 'g', 'l', 'e', '.', 'p', 'r', 'o', 't', 'o', 'b',
                         'u', 'f', 0x22, 11, 0x0A, 9, 'T', 'i', 'm', 'e', 's', 't', 'a', 'm', 'p'),
                   "google.protobuf.Timestamp: is not the well-known type of that name");
    assert_refused(BYTES(0x22, 7, 0x0A, 1, 'E', 0x3A, 2, 0x38, 1),
                   "E: a map entry has a key and a value");
    assert_refused(BYTES(0x2A, 3, 0x0A, 1, 'E'), "E: an enum needs a value");
    assert_refused(BYTES(0x2A, 10, 0x0A, 1, 'E', 0x12, 5, 0x0A, 1, 'A', 0x10, 1),
                   "E: the first value must be 0 in proto3");
    assert_refused(BYTES(0x12, 2, 'a', '!'), "t.proto: \"a!\" is no package name");
    assert_refused(BYTES(0x32, 12, 0x0A, 1, 'S', 0x12, 7, 0x0A, 1, 'G', 0x12, 2, '.', 'X'),
                   "S.G: the message .X is not in the set");
}

static void refuses_deep_sets(void **state) {
    (void)state;
    struct buf message = {0}, outer = {0};
    for (int i = 0; i < 20000; i++) { // nested_type within nested_type: 3 to 5 bytes a level
        put_field(&outer, 3, buf_str(&message));
        struct buf swap = message;
        message = outer;
        outer = swap;
        outer.n = 0;
        if (message.n > 200000) break;
    }
    struct buf file = {0};
    put_field(&file, 4, buf_str(&message));
    struct buf whole = {0};
    put_field(&whole, 1, buf_str(&file));
    struct blob *set = buf_take(&whole);
    struct err err = {0};
    assert_null(pb_pool_new(set, &err));
    assert_string_equal(err.text, "descriptor set: nested more than 100 deep");
    blob_drop(set);
    buf_free(&file);
    buf_free(&message);
    buf_free(&outer);
}

static void assert_set_refused(struct buf *set, const char *text) {
    struct blob *blob = buf_take(set);
    struct err err = {0};
    assert_null(pb_pool_new(blob, &err));
    assert_string_equal(err.text, text);
    blob_drop(blob);
}

// Few bytes that stand for much memory: empty messages, and names inside of long names.
static void refuses_sets_that_swell(void **state) {
    (void)state;
    struct buf set = {0}, message = {0}, outer = {0}, file = {0};
    for (int i = 0; i < 2000000; i++) buf_append(&set, "\x0A\x00", 2);
    assert_set_refused(&set, "descriptor set: would take more than 256 MB of memory");

    char name[251];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 20000; i++) {
        char leaf[12], field[16];
        int n = snprintf(leaf, sizeof leaf, "m%d", i);
        snprintf(field, sizeof field, "\x0A%c%s", n, leaf);
        put_field(&message, 3, str_of(field));
    }
    for (int i = 0; i < 90; i++) {
        outer.n = 0;
        put_field(&outer, 1, str_of(name));
        if (i == 0) buf_append_str(&outer, buf_str(&message));
        if (i > 0) put_field(&outer, 3, buf_str(&message));
        struct buf swap = message;
        message = outer;
        outer = swap;
    }
    put_field(&file, 4, buf_str(&message));
    put_field(&set, 1, buf_str(&file));
    assert_true(set.n < 1000000);
    assert_set_refused(&set, "descriptor set: out of memory, or more than 256 MB of it are wanted");
    buf_free(&message);
    buf_free(&outer);
    buf_free(&file);
}

// Their wire form is not that of the fields that they declare.
static void refuses_message_sets(void **state) {
    (void)state;
    struct blob *set =
        compile_set("syntax = \"proto2\"; package p; message Set {\n"
                    "  option message_set_wire_format = true; extensions 4 to max; }\n");
    struct err err = {0};
    assert_null(pb_pool_new(set, &err));
    assert_string_equal(err.text, "p.Set: message_set_wire_format is not supported; declare the "
                                  "items as fields or as an Any");
    blob_drop(set);
}

static void knows_where_required_fields_are(void **state) {
    (void)state;
    struct pb_pool *pool = compile_pool(
        "syntax = \"proto2\"; package p; message Free { optional int32 a = 1; optional Free f = 2; "
        "}\n"
        "message Needs { required int32 a = 1; }\n"
        "message Holds { repeated Needs n = 1; optional Loop l = 2; }\n"
        "message Loop { optional Loop l = 1; optional Holds h = 2; optional Free f = 3; }\n"
        "message Mapped { map<string, Needs> m = 1; }\n"
        "message Extended { extensions 1 to 9; } extend Extended { optional Mapped m = 1; }\n");
    assert_false(message_of(pool, "p.Free")->needs_check);
    assert_true(message_of(pool, "p.Needs")->needs_check);
    assert_true(message_of(pool, "p.Holds")->needs_check);
    assert_true(message_of(pool, "p.Loop")->needs_check);
    assert_true(message_of(pool, "p.Mapped")->needs_check);
    assert_true(message_of(pool, "p.Extended")->needs_check);
    pb_pool_drop(pool);
}

// Cut at every byte and with every byte changed, a set gives a pool or an error, never a fault of
// memory.
static void survives_damage(void **state) {
    (void)state;
    struct blob *set = compile_set(PROTO2);
    size_t refused = 0;
    for (size_t n = 0; n < set->n; n++) {
        struct err err = {0};
        struct blob *cut = blob_new(set->p, n);
        struct pb_pool *pool = pb_pool_new(cut, &err);
        assert_true(pool != NULL || err.code != 0);
        refused += pool == NULL;
        pb_pool_drop(pool);
        blob_drop(cut);
    }
    assert_true(refused > 0);
    for (size_t i = 0; i < set->n; i++) {
        struct err err = {0};
        struct blob *changed = blob_new(set->p, set->n);
        changed->p[i] = (char)(changed->p[i] ^ (1 << i % 8));
        struct pb_pool *pool = pb_pool_new(changed, &err);
        assert_true(pool != NULL || err.code != 0);
        pb_pool_drop(pool);
        blob_drop(changed);
    }
    blob_drop(set);
}

static void a_file_twice_counts_once(void **state) {
    (void)state;
    struct blob *set = compile_set("syntax = \"proto3\"; message M { int32 a = 1; }");
    struct buf twice = {0};
    buf_append(&twice, set->p, set->n);
    buf_append(&twice, set->p, set->n);
    struct blob *both = buf_take(&twice);
    struct err err = {0};
    struct pb_pool *pool = pb_pool_new(both, &err);
    assert_non_null(pool);
    assert_int_equal(pool->message_count, 1);
    pb_pool_drop(pb_pool_hold(pool));
    pb_pool_drop(pool);
    blob_drop(both);
    blob_drop(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_proto2_says),
        cmocka_unit_test(finds_by_number),
        cmocka_unit_test(extensions_are_fields),
        cmocka_unit_test(services_and_methods),
        cmocka_unit_test(proto3_presence_and_packing),
        cmocka_unit_test(knows_the_well_known),
        cmocka_unit_test(suggests_what_is_near),
        cmocka_unit_test(refuses_broken_fields),
        cmocka_unit_test(refuses_doubles),
        cmocka_unit_test(refuses_false_friends),
        cmocka_unit_test(refuses_deep_sets),
        cmocka_unit_test(refuses_sets_that_swell),
        cmocka_unit_test(refuses_message_sets),
        cmocka_unit_test(knows_where_required_fields_are),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(a_file_twice_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
