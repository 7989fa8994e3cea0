// SPDX-License-Identifier: Apache-2.0
// The binary form: both orders of the reader against written-down events, and the sink against
// bytes.
#include "pb/pb_testing.h"

#include <float.h>
#include <math.h>

static const char PROTO[] = "syntax = \"proto3\"; package t;\n"
                            "message All { double d = 1; float f = 2; int32 i32 = 3; int64 i64 = "
                            "4; uint32 u32 = 5; uint64 u64 = 6;\n"
                            "  sint32 s32 = 7; sint64 s64 = 8; fixed32 x32 = 9; fixed64 x64 = 10; "
                            "sfixed32 y32 = 11; sfixed64 y64 = 12;\n"
                            "  bool b = 13; string s = 14; bytes z = 15; Color e = 16; }\n"
                            "enum Color { RED = 0; GREEN = 1; NEG = -1; }\n"
                            "message M { int32 id = 1; string name = 2; M child = 3; repeated "
                            "int32 nums = 4; repeated M kids = 5;\n"
                            "  repeated string tags = 6; oneof pick { int32 a = 7; M b = 8; string "
                            "c = 9; } optional int32 opt = 10;\n"
                            "  map<string, int32> counts = 11; map<int32, M> by_id = 12; repeated "
                            "int32 loose = 13 [packed = false];\n"
                            "  repeated double reals = 14; repeated bool flags = 15; }\n";

static const char PROTO2[] =
    "syntax = \"proto2\"; package t;\n"
    "enum Kind { A = 1; B = 2; }\n"
    "message G { optional int32 id = 1; optional group Part = 2 { optional int32 n = 1; optional "
    "group Deep = 3 {\n"
    "    optional string s = 1; } }\n"
    "  repeated group Many = 4 { optional int32 n = 1; } optional Kind kind = 5; repeated Kind "
    "kinds = 6;\n"
    "  repeated Kind packed_kinds = 7 [packed = true]; optional string text = 8; }\n"
    "message R { optional group Self = 1 { optional R r = 1; } }\n";

static struct pb_pool *pool, *pool2;

static int set_up(void **state) {
    (void)state;
    pool = compile_pool(PROTO);
    pool2 = compile_pool(PROTO2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    pb_pool_drop(pool);
    pb_pool_drop(pool2);
    return 0;
}

// ---- scalars: written by the sink, read back

static void assert_round_trip(const char *name, union pb_value v) {
    struct pb_message *all = message_of(pool, "t.All");
    const struct pb_field *field = pb_field_by_name(all, str_of(name));
    struct buf wire = {0};
    struct pb_wire_sink w;
    struct err err = {0};
    pb_wire_sink_init(&w, &wire, &err);
    assert_int_equal(w.sink.ops->message(&w.sink, NULL, all), 0);
    assert_int_equal(w.sink.ops->value(&w.sink, field, v), 0);
    assert_int_equal(w.sink.ops->message_end(&w.sink), 0);
    assert_int_equal(pb_wire_sink_done(&w), 0);
    struct note_sink expected = {.sink = {&NOTE_OPS, false, &err}};
    buf_append_byte(&expected.text, '{');
    note_value(&expected.sink, field, v);
    buf_append_text(&expected.text, "} ");
    assert_both(all, buf_str(&wire), buf_cstr(&expected.text));
    buf_free(&wire);
    buf_free(&expected.text);
}

static void extremes_of_all_scalars(void **state) {
    (void)state;
    const double doubles[] = {1.5, -1.5, DBL_MAX, -DBL_MAX, DBL_TRUE_MIN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        assert_round_trip("d", (union pb_value){.d = doubles[i]});
    }
    const double floats[] = {1.5, FLT_MAX, FLT_TRUE_MIN, -INFINITY};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        assert_round_trip("f", (union pb_value){.d = floats[i]});
    const int64_t smalls[] = {1, -1, 127, 128, INT32_MAX, INT32_MIN};
    const char *const small_names[] = {"i32", "s32", "y32", "i64", "s64", "y64"};
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 6; k++)
            assert_round_trip(small_names[k], (union pb_value){.i = smalls[i]});
    }
    const int64_t wides[] = {INT64_MAX, INT64_MIN, INT64_MIN + 1, 1LL << 53};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 3; k < 6; k++)
            assert_round_trip(small_names[k], (union pb_value){.i = wides[i]});
    }
    assert_round_trip("u32", (union pb_value){.u = UINT32_MAX});
    assert_round_trip("x32", (union pb_value){.u = UINT32_MAX});
    assert_round_trip("u64", (union pb_value){.u = UINT64_MAX});
    assert_round_trip("x64", (union pb_value){.u = UINT64_MAX});
    assert_round_trip("b", (union pb_value){.i = 1});
    assert_round_trip("e", (union pb_value){.i = -1});
    assert_round_trip("e", (union pb_value){.i = 77});
    assert_round_trip("s", (union pb_value){.s = str_of("h\xC3\xA9")});
    assert_round_trip("z", (union pb_value){.s = str_of("\xFF\xFE")});
}

static void varints_are_cut_as_protobuf_does(void **state) {
    (void)state;
    struct pb_message *all = message_of(pool, "t.All");
    const char M = (char)0x80, F = (char)0xFF;
    assert_both(all, BYTES(0x68, 2), "{b=1 } ");
    assert_both(all, BYTES(0x68, M, M, M, M, 0x10),
                "{b=1 } "); // 2^32: no zero, although its low half is
    assert_both(all, BYTES(0x18, F, F, F, F, F, F, F, F, F, 1), "{i32=-1 } ");
    assert_both(all, BYTES(0x18, F, F, F, F, 0x0F), "{i32=-1 } ");
    assert_both(all, BYTES(0x28, F, F, F, F, F, F, F, F, F, 1), "{u32=4294967295 } ");
    assert_both(all, BYTES(0x38, F, F, F, F, 0x1F), "{s32=-2147483648 } ");
    assert_both(all, BYTES(0x68, M, M, M, M, M, M, M, M, M, M, 1),
                "b: malformed or cut off"); // eleven bytes
    assert_both(all, BYTES(0x18, M, 0), "{} ");
}

// ---- structure

static void lists_packed_and_not(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    assert_both(m, BYTES(0x22, 3, 1, 2, 3), "{nums[=1 =2 =3 ] } ");
    assert_both(m, BYTES(0x20, 1, 0x20, 2), "{nums[=1 =2 ] } ");
    assert_both(m, BYTES(0x20, 1, 0x22, 2, 2, 3, 0x20, 4), "{nums[=1 =2 =3 =4 ] } ");
    assert_both(m, BYTES(0x6A, 2, 5, 6), "{loose[=5 =6 ] } ");
    assert_both(m, BYTES(0x22, 2, 0, 0), "{nums[=0 =0 ] } ");
    assert_both(m, BYTES(0x22, 0), "{nums[] } ");
    assert_both(m, BYTES(0x32, 1, 'a', 0x32, 0, 0x32, 1, 'b'), "{tags[=a = =b ] } ");
    assert_both(m, BYTES(0x22, 1, (char)0x80), "nums[0]: malformed or cut off");
    assert_both(m, BYTES(0x22, 2, 1, (char)0x80), "nums[1]: malformed or cut off");
    assert_both(m, BYTES(0x72, 3, 1, 2, 3), "reals[0]: malformed or cut off");
    struct str split = BYTES(0x20, 1, 0x08, 9, 0x20, 2);
    assert_events(m, split, false, "{nums[=1 ] id=9 nums[=2 ] } ");
    assert_events(m, split, true, "{id=9 nums[=1 =2 ] } ");
}

static void messages_nest_and_merge(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    assert_both(m, BYTES(0x1A, 2, 0x08, 5), "{child{id=5 } } ");
    assert_both(m, BYTES(0x1A, 0), "{child{} } ");
    assert_both(m, BYTES(0x2A, 2, 0x08, 1, 0x2A, 0), "{kids[{id=1 } {} ] } ");
    struct str twice = BYTES(0x1A, 4, 0x08, 5, 0x20, 1, 0x08, 7, 0x1A, 5, 0x12, 1, 'x', 0x20, 2);
    assert_events(m, twice, false, "{child{id=5 nums[=1 ] } id=7 child{name=x nums[=2 ] } } ");
    assert_events(m, twice, true, "{id=7 child{id=5 name=x nums[=1 =2 ] } } ");
}

static void the_last_scalar_wins(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    struct str overwritten = BYTES(0x08, 5, 0x08, 0);
    assert_events(m, overwritten, false, "{id=5 id=0 } "); // told, since the five was
    assert_events(m, overwritten, true, "{} ");
    assert_both(m, BYTES(0x08, 0), "{} ");
    assert_both(m, BYTES(0x50, 0), "{opt=0 } ");
    assert_events(m, BYTES(0x08, 1, 0x12, 1, 'n', 0x08, 2), true, "{id=2 name=n } ");
}

static void oneofs_keep_the_last(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    assert_both(m, BYTES(0x38, 0), "{a=0 } ");
    assert_events(m, BYTES(0x38, 1, 0x4A, 1, 'x'), true, "{c=x } ");
    assert_events(m, BYTES(0x4A, 1, 'x', 0x38, 1), true, "{a=1 } ");
    // b, b: merged; b, a, b: only the last
    assert_events(m, BYTES(0x42, 2, 0x08, 1, 0x42, 3, 0x12, 1, 'n'), true, "{b{id=1 name=n } } ");
    assert_events(m, BYTES(0x42, 2, 0x08, 1, 0x38, 1, 0x42, 3, 0x12, 1, 'n'), true,
                  "{b{name=n } } ");
}

static void maps(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    assert_both(m, BYTES(0x5A, 5, 0x0A, 1, 'a', 0x10, 1), "{counts[{key=a value=1 } ] } ");
    assert_both(m, BYTES(0x5A, 5, 0x10, 1, 0x0A, 1, 'a'), "{counts[{key=a value=1 } ] } ");
    assert_both(m, BYTES(0x5A, 0), "{counts[{key= value=0 } ] } ");
    assert_both(m, BYTES(0x5A, 2, 0x10, 7), "{counts[{key= value=7 } ] } ");
    assert_both(m, BYTES(0x62, 2, 0x08, 3), "{by_id[{key=3 value{} } ] } ");
    assert_both(m, BYTES(0x62, 6, 0x08, 3, 0x12, 2, 0x08, 9), "{by_id[{key=3 value{id=9 } } ] } ");
    struct str twice = BYTES(0x62, 11, 0x12, 2, 0x08, 9, 0x08, 3, 0x12, 3, 0x12, 1, 'n');
    assert_events(m, twice, false, "{by_id[{key=3 value{id=9 } value{name=n } } ] } ");
    assert_events(m, twice, true, "{by_id[{key=3 value{id=9 name=n } } ] } ");
    struct str doubled = BYTES(0x5A, 5, 0x0A, 1, 'a', 0x10, 1, 0x5A, 3, 0x0A, 1, 'b', 0x5A, 5, 0x0A,
                               1, 'a', 0x10, 2);
    assert_events(m, doubled, true, "{counts[{key=b value=0 } {key=a value=2 } ] } ");
    struct str numbers = BYTES(0x62, 2, 0x08, 3, 0x62, 2, 0x08, 3);
    assert_events(m, numbers, true, "{by_id[{key=3 value{} } ] } ");
    assert_both(m, BYTES(0x5A, 2, 0x0A, 1), "counts.key: malformed or cut off");
    assert_both(m, BYTES(0x5A, 3, 0x0A, 1, (char)0xFF), "counts.key: is not valid UTF-8");
}

// ---- unknown fields

static void unknown_fields_are_told_raw(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    struct str mixed = BYTES((char)0xF8, 6, 1, 0x08, 5, (char)0xFA, 6, 2, 'h', 'i');
    assert_events(m, mixed, false, "{?f80601 id=5 ?fa06026869 } ");
    assert_events(m, mixed, true, "{id=5 ?f80601 ?fa06026869 } ");
    assert_both(m, BYTES((char)0xFD, 6, 1, 2, 3, 4), "{?fd0601020304 } ");
    assert_both(m, BYTES((char)0xF9, 6, 1, 2, 3, 4, 5, 6, 7, 8), "{?f9060102030405060708 } ");
    assert_both(m, BYTES((char)0xFB, 6, 0x08, 1, (char)0xFC, 6), "{?fb060801fc06 } ");
    assert_both(m, BYTES(0x0A, 1, 'x'), "{?0a0178 } ");         // id with a wrong wire type
    assert_both(m, BYTES(0x10, 1), "{?1001 } ");                // name as a number
    assert_both(m, BYTES(0x0D, 1, 0, 0, 0), "{?0d01000000 } "); // id as fixed32
}

static void closed_enums(void **state) {
    (void)state;
    struct pb_message *g = message_of(pool2, "t.G");
    assert_both(g, BYTES(0x28, 2), "{kind=2 } ");
    assert_both(g, BYTES(0x28, 7), "{?2807 } ");
    assert_events(g, BYTES(0x30, 1, 0x30, 9, 0x30, 2), false, "{kinds[=1 ] ?3009 kinds[=2 ] } ");
    assert_events(g, BYTES(0x30, 1, 0x30, 9, 0x30, 2), true, "{kinds[=1 =2 ] ?3009 } ");
    assert_both(g, BYTES(0x3A, 3, 1, 9, 2), "{packed_kinds[=1 =2 ] ?3809 } ");
}

static void groups(void **state) {
    (void)state;
    struct pb_message *g = message_of(pool2, "t.G");
    assert_both(g, BYTES(0x13, 0x08, 5, 0x14), "{part{n=5 } } ");
    assert_both(g, BYTES(0x13, 0x1B, 0x0A, 1, 'x', 0x1C, 0x14), "{part{deep{s=x } } } ");
    assert_both(g, BYTES(0x23, 0x08, 1, 0x24, 0x23, 0x24), "{many[{n=1 } {} ] } ");
    assert_both(g, BYTES(0x13, 0x08, 5), "part: malformed or cut off");
    assert_both(g, BYTES(0x13, 0x08, 5, 0x24), "part: malformed or cut off");
    assert_both(g, BYTES(0x14), "part: malformed or cut off"); // an end without a begin
    assert_both(g, BYTES(0x12, 0), "{?1200 } "); // a group's number with another wire type
}

// ---- faults

static void faults_name_the_path(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    const char bad = (char)0xFF;
    assert_both(m, BYTES(0x12, 1, bad), "name: is not valid UTF-8");
    assert_both(m, BYTES(0x2A, 0, 0x2A, 3, 0x12, 1, bad), "kids[1].name: is not valid UTF-8");
    assert_both(m, BYTES(0x1A, 5, 0x1A, 3, 0x32, 1, bad),
                "child.child.tags[0]: is not valid UTF-8");
    assert_both(m, BYTES(0x62, 7, 0x08, 1, 0x12, 3, 0x12, 1, bad),
                "by_id.value.name: is not valid UTF-8");
    assert_both(m, BYTES(0x12, 5, 'a'), "name: malformed or cut off");
    assert_both(m, BYTES(0x12, (char)0xFF, (char)0xFF, (char)0xFF, (char)0xFF, 0x0F, 'a'),
                "name: malformed or cut off");
    assert_both(m, BYTES(0x00, 1), "malformed or cut off");  // field number 0
    assert_both(m, BYTES(0x0E), "id: malformed or cut off"); // wire types 6 and 7
    assert_both(m, BYTES(0x0F), "id: malformed or cut off");
    assert_both(m, BYTES((char)0x88, (char)0x80, (char)0x80, (char)0x80, 0x10, 1),
                "malformed or cut off"); // tag of 2^32
    assert_both(m, BYTES(0x1A, 1, 0x08), "child.id: malformed or cut off");
}

static void put_nested(struct buf *wire, int levels) {
    struct buf inner = {0};
    for (int i = 0; i < levels; i++) {
        struct buf outer = {0};
        uint8_t length[10];
        size_t n = 0;
        buf_append_byte(&outer, 0x1A);
        for (size_t left = inner.n;; left >>= 7) {
            length[n++] = (uint8_t)(left | 0x80);
            if (left < 0x80) break;
        }
        length[n - 1] &= 0x7F;
        buf_append(&outer, length, n);
        buf_append_str(&outer, buf_str(&inner));
        buf_free(&inner);
        inner = outer;
    }
    *wire = inner;
}

static void depth_is_bounded(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    struct buf wire, text = {0};
    put_nested(&wire, 100);
    buf_append_byte(&text, '{');
    for (int i = 0; i < 100; i++) buf_append_text(&text, "child{");
    for (int i = 0; i < 101; i++) buf_append_text(&text, "} ");
    assert_both(m, buf_str(&wire), buf_cstr(&text));
    buf_free(&wire);
    buf_free(&text);
    put_nested(&wire, 101);
    assert_both(m, buf_str(&wire), "child: nested more than 100 deep");
    buf_free(&wire);
    // Groups, known (message R within group Self, alternating) and unknown.
    struct buf groups_wire = {0};
    for (int i = 0; i < 5000; i++) buf_append_byte(&groups_wire, 0x0B);
    for (int i = 0; i < 5000; i++) buf_append_byte(&groups_wire, 0x0C);
    assert_both(message_of(pool2, "t.R"), buf_str(&groups_wire), "self: malformed or cut off");
    assert_both(m, buf_str(&groups_wire), "id: malformed or cut off");
    buf_free(&groups_wire);
}

// Everything at once; then cut at every byte, and every bit turned.
static const char EVERYTHING[] = {
    0x08, 5,    0x12, 2,          'h',  'i',  0x1A, 4,    0x08,       1,    0x1A, 0,    0x22, 3,
    1,    2,    3,    0x2A,       2,    0x08, 1,    0x2A, 0,          0x32, 1,    'x',  0x42, 2,
    0x08, 1,    0x38, 1,          0x50, 0,    0x5A, 5,    0x0A,       1,    'a',  0x10, 1,    0x62,
    6,    0x08, 3,    0x12,       2,    0x08, 9,    0x72, 8,          0,    0,    0,    0,    0,
    0,    0,    1,    (char)0xFB, 6,    0x0A, 1,    'q',  (char)0xFC, 6};

static struct str everything(void) { return (struct str){EVERYTHING, sizeof EVERYTHING}; }

static void run(const struct pb_message *type, const char *bytes, size_t n, bool ordered) {
    struct err err = {0};
    struct note_sink note = {.sink = {&NOTE_OPS, ordered, &err}};
    char *copy = malloc(n == 0 ? 1 : n);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    int rc = pb_read_wire(type, (struct str){copy, n}, &note.sink);
    assert_true(rc == 0 || (rc == -STATUS_INVALID_ARGUMENT && err.text[0] != '\0'));
    free(copy);
    buf_free(&note.text);
}

static void survives_damage(void **state) {
    (void)state;
    char bytes[300];
    memcpy(bytes, everything().p, everything().n);
    size_t n = everything().n;
    struct pb_message *types[] = {message_of(pool, "t.M"), message_of(pool, "t.All"),
                                  message_of(pool2, "t.G")};
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i <= n; i++) {
            run(types[t], bytes, i, false);
            run(types[t], bytes, i, true);
        }
        for (size_t i = 0; i < n * 8; i++) {
            bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
            run(types[t], bytes, n, false);
            run(types[t], bytes, n, true);
            bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        }
    }
}

// ---- the sink

// Reads and writes again: the same bytes come out.
static void assert_same(struct pb_message *type, struct str wire) {
    struct buf out = {0};
    struct err err = {0};
    struct pb_wire_sink w;
    pb_wire_sink_init(&w, &out, &err);
    assert_int_equal(pb_read_wire(type, wire, &w.sink), 0);
    assert_int_equal(out.n, wire.n);
    assert_memory_equal(buf_p(&out), wire.p, wire.n);
    buf_free(&out);
}

static void the_sink_writes_what_was_read(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M"), *g = message_of(pool2, "t.G");
    assert_same(m, everything());
    assert_same(m, BYTES(0x68, 1, 0x68, 2)); // not packed
    assert_same(g, BYTES(0x13, 0x1B, 0x0A, 1, 'x', 0x1C, 0x14, 0x23, 0x24));
    assert_same(g, BYTES(0x3A, 2, 1, 2));
}

static void lengths_of_several_bytes(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    const size_t sizes[] = {120, 127, 128, 129, 16383, 16384, 70000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf numbers = {0}, out = {0};
        struct pb_wire_sink w;
        struct err err = {0};
        pb_wire_sink_init(&w, &out, &err);
        const struct pb_field *child = pb_field_by_number(m, 3), *nums = pb_field_by_number(m, 4);
        w.sink.ops->message(&w.sink, NULL, m);
        w.sink.ops->message(&w.sink, child, m);
        w.sink.ops->list(&w.sink, nums);
        for (size_t k = 0; k < sizes[i]; k++)
            w.sink.ops->value(&w.sink, nums, (union pb_value){.i = (int64_t)(k % 100)});
        w.sink.ops->list_end(&w.sink);
        w.sink.ops->message_end(&w.sink);
        w.sink.ops->message_end(&w.sink);
        assert_int_equal(pb_wire_sink_done(&w), 0);
        buf_append_text(&numbers, "{child{nums[");
        for (size_t k = 0; k < sizes[i]; k++) buf_printf(&numbers, "=%zu ", k % 100);
        buf_append_text(&numbers, "] } } ");
        assert_both(m, buf_str(&out), buf_cstr(&numbers));
        buf_free(&numbers);
        buf_free(&out);
    }
}

static void an_empty_packed_list_is_nothing(void **state) {
    (void)state;
    struct pb_message *m = message_of(pool, "t.M");
    struct buf out = {0};
    struct pb_wire_sink w;
    pb_wire_sink_init(&w, &out, NULL);
    w.sink.ops->message(&w.sink, NULL, m);
    w.sink.ops->list(&w.sink, pb_field_by_number(m, 4));
    w.sink.ops->list_end(&w.sink);
    w.sink.ops->message_end(&w.sink);
    assert_int_equal(pb_wire_sink_done(&w), 0);
    assert_int_equal(out.n, 0);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extremes_of_all_scalars),
        cmocka_unit_test(varints_are_cut_as_protobuf_does),
        cmocka_unit_test(lists_packed_and_not),
        cmocka_unit_test(messages_nest_and_merge),
        cmocka_unit_test(the_last_scalar_wins),
        cmocka_unit_test(oneofs_keep_the_last),
        cmocka_unit_test(maps),
        cmocka_unit_test(unknown_fields_are_told_raw),
        cmocka_unit_test(closed_enums),
        cmocka_unit_test(groups),
        cmocka_unit_test(faults_name_the_path),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(the_sink_writes_what_was_read),
        cmocka_unit_test(lengths_of_several_bytes),
        cmocka_unit_test(an_empty_packed_list_is_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
