// SPDX-License-Identifier: Apache-2.0
// Compiling .proto files: results, the text of faults, names that must not reach protoc.
#include "pb/pb_testing.h"

#include <signal.h>
#include <sys/stat.h>

static char folder[] = "/tmp/pb-protoc-XXXXXX";

static int set_up(void **state) {
    (void)state;
    char path[300];
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/proto", folder);
    if (mkdir(path, 0700) < 0) return -1;
    write_proto(folder, "proto/good.proto",
                "syntax = \"proto3\"; package g; import \"proto/part.proto\";\n"
                "import \"google/protobuf/timestamp.proto\";\n"
                "message M { Part part = 1; google.protobuf.Timestamp at = 2; }\n");
    write_proto(folder, "proto/part.proto",
                "syntax = \"proto3\"; package g; message Part { int32 n = 1; }\n");
    write_proto(folder, "proto/bad.proto",
                "syntax = \"proto3\";\nmessage M {\n  Missing m = 1;\n  strin s = 2;\n}\n");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    const char *const names[] = {"proto/good.proto", "proto/part.proto", "proto/bad.proto", "proto",
                                 ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (remove(path) < 0) return -1;
    }
    return 0;
}

static void compiles_with_imports(void **state) {
    (void)state;
    const char *const files[] = {"proto/good.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    assert_int_equal(protoc_compile(folder, files, 1, &set, &err), 0);
    struct pb_pool *pool = pb_pool_new(set, &err);
    assert_non_null(pool);
    assert_non_null(pb_find_message(pool, str_of("g.M")));
    assert_non_null(pb_find_message(pool, str_of("g.Part")));
    assert_int_equal(pb_find_message(pool, str_of("google.protobuf.Timestamp"))->wkt,
                     PB_WKT_TIMESTAMP);
    pb_pool_drop(pool);
    blob_drop(set);
}

static void faults_name_the_place(void **state) {
    (void)state;
    const char *const files[] = {"proto/bad.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    assert_int_equal(protoc_compile(folder, files, 1, &set, &err), -STATUS_INVALID_ARGUMENT);
    assert_null(set);
    assert_string_equal(err.text, "proto/bad.proto:3:3: \"Missing\" is not defined.\n"
                                  "proto/bad.proto:4:3: \"strin\" is not defined.");
}

static void a_missing_file_is_a_fault(void **state) {
    (void)state;
    const char *const files[] = {"proto/none.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    assert_int_equal(protoc_compile(folder, files, 1, &set, &err), -STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "proto/none.proto"));
    assert_int_equal(protoc_compile("/nonexistent", files, 1, &set, &err),
                     -STATUS_INVALID_ARGUMENT);
    assert_int_equal(protoc_compile(folder, files, 0, &set, &err), -STATUS_INVALID_ARGUMENT);
}

static void options_do_not_pass_as_files(void **state) {
    (void)state;
    const char *const names[] = {
        "--plugin=x", "@file", "/etc/passwd", "../x.proto", "a/../../x.proto", "a/..", ""};
    struct blob *set = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err err = {0};
        assert_int_equal(protoc_compile(folder, &names[i], 1, &set, &err),
                         -STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(err.text, "is no path within the folder"));
    }
}

static void without_protoc_the_package_is_named(void **state) {
    (void)state;
    const char *const files[] = {"proto/good.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    char *path = strdup(getenv("PATH"));
    assert_non_null(path);
    setenv("PATH", "/nonexistent", 1);
    int rc = protoc_compile(folder, files, 1, &set, &err);
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(rc, -STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "protobuf-compiler"));
}

static void a_thread_with_blocked_signals_can_compile(void **state) {
    (void)state;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const char *const files[] = {"proto/part.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    int rc = protoc_compile(folder, files, 1, &set, &err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(rc, 0);
    blob_drop(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiles_with_imports),
        cmocka_unit_test(faults_name_the_place),
        cmocka_unit_test(a_missing_file_is_a_fault),
        cmocka_unit_test(options_do_not_pass_as_files),
        cmocka_unit_test(without_protoc_the_package_is_named),
        cmocka_unit_test(a_thread_with_blocked_signals_can_compile),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
