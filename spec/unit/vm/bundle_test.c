// SPDX-License-Identifier: Apache-2.0
// Bundles: what is packed comes back the same; whatever a peer may have changed is refused, and
// never harms.
#include "vm/bundle.h"
#include "vm/vm_testing.h"

#include <sys/stat.h>

static struct blob *make_bundle(struct blob *definition) {
    struct err err = {0};
    char path[512];
    char *folder = temporary_folder();
    snprintf(path, sizeof path, "%s/proto", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(folder, "main.lua", "return {}");
    write_file(folder, "empty.txt", "");
    write_file(folder, "proto/t.proto", CONTRACT);
    struct source *s = source_read(folder, &err);
    if (s == NULL) fail_msg("%s", err.text);
    struct blob *bundle = bundle_pack(s, definition, &err);
    assert_non_null(bundle);
    source_drop(s);
    remove_folder(folder);
    return bundle;
}

static void test_round_trip(void **state) {
    (void)state;
    struct err err = {0};
    struct blob *definition = blob_new("x", 1);
    struct blob *bundle = make_bundle(definition);
    struct source *s = source_from_bundle(blob_str(bundle), &err);
    if (s == NULL) fail_msg("%s", err.text);
    assert_int_equal(s->file_count, 3);
    expect_text(source_file(s, str_of("main.lua"))->content, "return {}");
    expect_text(source_file(s, str_of("empty.txt"))->content, "");
    assert_true(source_owns_proto(s, str_of("proto/t.proto")));
    assert_non_null(pb_find_path(s->pool, str_of("/t.T/Unary")));
    assert_non_null(s->folder); // so that no bytecode is taken from it
    struct blob *again = bundle_pack(s, definition, &err);
    assert_int_equal(again->n, bundle->n);
    assert_memory_equal(again->p, bundle->p, bundle->n);
    blob_drop(again);
    source_drop(s);
    blob_drop(bundle);
    blob_drop(definition);
}

static void expect_refused(struct buf *bytes, const char *part) {
    struct err err = {0};
    assert_null(source_from_bundle(buf_str(bytes), &err));
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    if (strstr(err.text, part) == NULL) fail_msg("got \"%s\", wanted \"%s\"", err.text, part);
    buf_free(bytes);
}

static void put(struct buf *b, int field, const void *p, size_t n) {
    assert_true(n < 128);
    buf_append_byte(b, (char)(field << 3 | 2));
    buf_append_byte(b, (char)n);
    buf_append(b, p, n);
}

static void test_format(void **state) {
    (void)state;
    struct buf b = {0};
    expect_refused(&b, "no bundle");
    buf_append(&b, "\x08\x02\xff\xff\xff", 5); // a format that may mean anything
    expect_refused(&b, "format 2");
    buf_append(&b, "\x08\x01", 2);
    expect_refused(&b, "no name");
    buf_append(&b, "\x08\x01", 2);
    put(&b, 2, "a\0b", 3);
    expect_refused(&b, "no name");
    buf_append(&b, "\x08\x01", 2);
    put(&b, 2, "posts", 5);
    expect_refused(&b, "main.lua");
    buf_append(&b, "\x08\x01", 2);
    put(&b, 6, "a\xff", 2);
    expect_refused(&b, "plain UTF-8");
}

static void test_paths(void **state) {
    (void)state;
    static const struct {
        const char *path, *part;
    } BAD[] = {{"../x", "leaves it: ../x"}, {"a/..", "leaves it"},   {"a/../b", "leaves it"},
               {"/a", "absolute"},          {"a//b", "empty or"},    {"a/./b", "empty or"},
               {"a/", "empty or"},          {"", "empty or longer"}, {"a\xc0\xaf", "plain UTF-8"},
               {".", "empty or"},           {"..", "leaves it: .."}};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct buf b = {0}, file = {0};
        put(&file, 1, BAD[i].path, strlen(BAD[i].path));
        buf_append(&b, "\x08\x01", 2);
        put(&b, 4, buf_p(&file), file.n);
        buf_free(&file);
        expect_refused(&b, BAD[i].part);
    }
    struct buf b = {0};
    for (int i = 0; i < 2; i++) {
        struct buf file = {0};
        put(&file, 1, "main.lua", 8);
        put(&b, 4, buf_p(&file), file.n);
        buf_free(&file);
    }
    buf_append(&b, "\x08\x01", 2);
    put(&b, 2, "posts", 5);
    expect_refused(&b, "main.lua twice");
}

// Cut anywhere, and with any byte changed: it is read or refused, and the sanitizers watch.
static void test_damage(void **state) {
    (void)state;
    struct blob *bundle = make_bundle(NULL);
    struct err err = {0};
    for (size_t n = 0; n < bundle->n; n++) {
        struct blob *cut = blob_new(bundle->p, n); // of this size, so that reading on is seen
        assert_null(source_from_bundle(blob_str(cut), &err));
        blob_drop(cut);
    }
    size_t refused = 0;
    for (size_t i = 0; i < bundle->n; i++) {
        char was = bundle->p[i];
        bundle->p[i] = (char)(was ^ 0x15);
        struct source *s = source_from_bundle(blob_str(bundle), &err);
        refused += s == NULL;
        source_drop(s);
        bundle->p[i] = was;
    }
    assert_true(refused > 100);
    blob_drop(bundle);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_format), cmocka_unit_test(test_paths),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
