// SPDX-License-Identifier: Apache-2.0
// core/pb/files.c: the files of descriptor sets that protoc has made.
#include "pb_testing.h"

#include "base/random.h"
#include "pb/files.h"

static const char TEXT[] = "syntax = \"proto2\"; // a comment\n"
                           "package a.b;\n"
                           "import \"google/protobuf/timestamp.proto\";\n"
                           "// Told to nobody.\n"
                           "message M {\n"
                           "  message Inner { optional int32 deep = 1; }\n"
                           "  enum Kind { ONE = 1; }\n"
                           "  optional google.protobuf.Timestamp at = 1;\n"
                           "  oneof choice { string x = 2; }\n"
                           "  extensions 100 to 200;\n"
                           "  extend M { optional int32 inside = 101; }\n"
                           "}\n"
                           "extend M { optional string more = 100; }\n"
                           "enum Color { RED = 0; }\n"
                           "service S { rpc Call(M) returns (M); }\n";

static struct blob *set;
static struct pb_files files;
static const struct pb_file *file;

static int set_up(void **state) {
    (void)state;
    if (random_start() < 0) return -1;
    set = compile_set(TEXT);
    if (pb_files_open(&files, blob_str(set)) < 0) return -1;
    file = pb_files_find(&files, str_of("t.proto"));
    return file == NULL ? -1 : 0;
}

static int tear_down(void **state) {
    (void)state;
    pb_files_close(&files);
    blob_drop(set);
    return 0;
}

static void test_files_and_imports(void **state) {
    (void)state;
    assert_int_equal(files.count, 2);
    assert_true(str_is(file->package, "a.b"));
    assert_non_null(pb_files_find(&files, str_of("google/protobuf/timestamp.proto")));
    assert_null(pb_files_find(&files, str_of("t.prot")));
    size_t at = 0;
    struct str name;
    assert_true(pb_file_import(file, &at, &name));
    assert_true(str_is(name, "google/protobuf/timestamp.proto"));
    assert_false(pb_file_import(file, &at, &name));
}

static void test_symbols(void **state) {
    (void)state;
    static const char *const YES[] = {
        "a.b.M",        "a.b.M.Inner", "a.b.M.Inner.deep", "a.b.M.Kind", "a.b.M.ONE", "a.b.M.at",
        "a.b.M.choice", "a.b.M.x",     "a.b.M.inside",     "a.b.more",   "a.b.Color", "a.b.RED",
        "a.b.S",        "a.b.S.Call"};
    static const char *const NO[] = {"",
                                     "a",
                                     "a.b",
                                     "a.b.",
                                     "M",
                                     "a.b.m",
                                     "a.b.MM",
                                     "a.b.M.",
                                     "a.b.M.none",
                                     "a.b.M.Inner.x",
                                     "a.b.S.Cal",
                                     "a.b.inside",
                                     "a.b.Color.RED",
                                     "a.bM",
                                     "a.b.M..at",
                                     "a.b.S.Call.x",
                                     "google.protobuf.Timestamp"};
    for (size_t i = 0; i < sizeof YES / sizeof YES[0]; i++)
        if (!pb_file_declares(file, str_of(YES[i]))) fail_msg("%s is not found", YES[i]);
    for (size_t i = 0; i < sizeof NO / sizeof NO[0]; i++)
        if (pb_file_declares(file, str_of(NO[i]))) fail_msg("%s is found", NO[i]);
}

static bool holds(const struct buf *b, const char *text) {
    return memmem(buf_str(b).p, b->n, text, strlen(text)) != NULL;
}

static void test_comments_are_left_out(void **state) {
    (void)state;
    struct buf out = {0};
    assert_non_null(memmem(set->p, set->n, "Told to nobody", 14));
    pb_file_put(file, NULL, &out);
    assert_false(holds(&out, "Told to nobody"));
    assert_true(holds(&out, "google/protobuf/timestamp.proto"));
    buf_free(&out);
}

static struct str prefixed(void *user, struct str name) {
    struct buf *b = user;
    b->n = 0;
    buf_append_text(b, "other/");
    buf_append_str(b, name);
    return buf_str(b);
}

// With other names it is a set of files again that can be used.
static void test_names_can_be_others(void **state) {
    (void)state;
    struct buf scratch = {0}, out = {0}, whole = {0};
    struct pb_rename rename = {prefixed, &scratch};
    for (size_t i = 0; i < files.count; i++) {
        struct buf one = {0};
        pb_file_put(&files.list[i], &rename, &one);
        buf_append_byte(&whole, 0x0a);
        for (size_t n = one.n;; n >>= 7) {
            buf_append_byte(&whole, (char)(n >= 0x80 ? (n & 0x7f) | 0x80 : n));
            if (n < 0x80) break;
        }
        buf_append_str(&whole, buf_str(&one));
        buf_free(&one);
    }
    struct blob *renamed = buf_take(&whole);
    struct pb_files again;
    assert_int_equal(pb_files_open(&again, blob_str(renamed)), 0);
    const struct pb_file *found = pb_files_find(&again, str_of("other/t.proto"));
    assert_non_null(found);
    assert_true(pb_file_declares(found, str_of("a.b.M.Inner.deep")));
    struct err err = {0};
    struct pb_pool *pool = pb_pool_new(renamed, &err);
    if (pool == NULL) fail_msg("%s", err.text);
    assert_non_null(pb_find_message(pool, str_of("a.b.M")));
    pb_pool_drop(pool);
    pb_files_close(&again);
    blob_drop(renamed);
    buf_free(&scratch);
    buf_free(&out);
}

// A descriptor that is cut off anywhere gives less, and no fault.
static void test_cut_off_anywhere(void **state) {
    (void)state;
    for (size_t n = 0; n < set->n; n += 3) {
        char *copy = malloc(n + 1);
        memcpy(copy, set->p, n);
        struct pb_files cut;
        assert_int_equal(pb_files_open(&cut, (struct str){copy, n}), 0);
        const struct pb_file whole = {
            .name = file->name, .package = file->package, .bytes = {copy, n}};
        pb_file_declares(&whole, str_of("a.b.M.Inner.deep"));
        struct buf out = {0};
        pb_file_put(&whole, NULL, &out);
        assert_true(out.n <= n);
        buf_free(&out);
        pb_files_close(&cut);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_and_imports),     cmocka_unit_test(test_symbols),
        cmocka_unit_test(test_comments_are_left_out), cmocka_unit_test(test_names_can_be_others),
        cmocka_unit_test(test_cut_off_anywhere),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
