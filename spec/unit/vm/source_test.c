// SPDX-License-Identifier: Apache-2.0
// Reading a service's folder: what is taken, what is left out, what is refused.
#include "vm/vm_testing.h"

#include <sys/stat.h>

static void make_folder(const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_link(const char *folder, const char *name, const char *to) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(symlink(to, path), 0);
}

static char *service_folder(void) {
    char *folder = temporary_folder();
    make_folder(folder, "proto");
    make_folder(folder, "handler");
    make_folder(folder, "spec");
    make_folder(folder, ".git");
    write_file(folder, "main.lua", "return {}");
    write_file(folder, "handler/posts.lua", "return 1");
    write_file(folder, "spec/x_spec.lua", "left out");
    write_file(folder, ".git/config", "left out");
    write_file(folder, ".hidden.lua", "left out");
    write_file(folder, "README.md", "");
    write_file(folder, "proto/t.proto", CONTRACT);
    return folder;
}

static void test_reading(void **state) {
    (void)state;
    char *folder = service_folder();
    struct err err = {0};
    make_link(folder, "alias.lua", "handler/posts.lua"); // stays inside
    make_link(folder, "nothing.lua", "not-there");
    make_link(folder, "again", "handler"); // folders are not followed
    struct source *s = source_read(folder, &err);
    if (s == NULL) fail_msg("%s", err.text);
    static const char *const WANTED[] = {"README.md", "alias.lua", "handler/posts.lua", "main.lua",
                                         "proto/t.proto"};
    assert_int_equal(s->file_count, 5);
    for (size_t i = 0; i < 5; i++) assert_true(str_is(s->files[i].path, WANTED[i]));
    expect_text(source_file(s, str_of("handler/posts.lua"))->content, "return 1");
    expect_text(source_file(s, str_of("alias.lua"))->content, "return 1");
    assert_null(source_file(s, str_of("spec/x_spec.lua")));
    assert_string_equal(s->name, strrchr(folder, '/') + 1);
    assert_true(source_owns_proto(s, str_of("proto/t.proto")));
    assert_false(source_owns_proto(s, str_of("google/protobuf/any.proto")));
    assert_non_null(pb_find_path(s->pool, str_of("/t.T/Unary")));
    assert_int_equal(strlen(s->hash), 64);
    struct source *same = source_read(folder, &err);
    assert_string_equal(s->hash, same->hash);
    source_drop(same);
    write_file(folder, "README.md", "x");
    same = source_read(folder, &err);
    assert_string_not_equal(s->hash, same->hash);
    source_drop(same);
    source_drop(s);
    remove_folder(folder);
}

static void expect_refused(const char *folder, int status, const char *part) {
    struct err err = {0};
    struct source *s = source_read(folder, &err);
    assert_null(s);
    assert_int_equal(err.code, status);
    if (strstr(err.text, part) == NULL) fail_msg("got \"%s\", wanted \"%s\"", err.text, part);
}

static void test_refusals(void **state) {
    (void)state;
    char *folder = service_folder();
    expect_refused("/tmp/mica-vm-none", STATUS_NOT_FOUND, "No such file");
    make_link(folder, "out.lua", "../../etc/passwd");
    expect_refused(folder, STATUS_INVALID_ARGUMENT,
                   "out.lua is a link that leads out of the service's folder");
    remove_folder(folder);
    folder = service_folder();
    make_link(folder, "out.lua", "/etc/passwd");
    expect_refused(folder, STATUS_INVALID_ARGUMENT, "out.lua is a link");
    remove_folder(folder);
    folder = service_folder();
    write_file(folder, "proto/t.proto", "syntax = \"proto3\";\nmessage {");
    expect_refused(folder, STATUS_INVALID_ARGUMENT, "t.proto:2:");
    remove_folder(folder);
    folder = temporary_folder();
    expect_refused(folder, STATUS_NOT_FOUND, "has no main.lua");
    write_file(folder, "main.lua", "return {}");
    expect_refused(folder, STATUS_NOT_FOUND,
                   "has no .proto file: put its contract in proto/mica-vm-");
    for (int i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        write_file(folder, name, "");
    }
    expect_refused(folder, STATUS_INVALID_ARGUMENT, "is larger than 2000 files");
    remove_folder(folder);
}

static void test_builtin(void **state) {
    (void)state;
    struct err err = {0};
    struct pb_pool *platform = contract_pool();
    struct source *s = source_builtin("small", platform, &err);
    if (s == NULL) fail_msg("%s", err.text);
    assert_int_equal(s->file_count, 1);
    expect_text(source_file(s, str_of("main.lua"))->content, "return {}");
    assert_ptr_equal(s->pool, platform);
    assert_null(s->folder);
    source_drop(source_hold(s));
    source_drop(s);
    assert_null(source_builtin("missing", platform, &err));
    assert_int_equal(err.code, STATUS_NOT_FOUND);
    pb_pool_drop(platform);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_builtin),
    };
    random_start();
    unsetenv("MICA_LUA_PATH");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
