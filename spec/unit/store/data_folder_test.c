// SPDX-License-Identifier: Apache-2.0
// The data folder: made private, written to, and given to one server at a time.
#include "store/data_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
// cmocka needs the first three above
#include <cmocka.h>

static char root[64];

static const char *below(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mica-data-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state) {
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -r %s", root, root);
    return system(command) == 0 ? 0 : 1;
}

static void makes_private_folders(void **state) {
    (void)state;
    struct data_folder f;
    struct err err = {0};
    struct stat st;
    assert_int_equal(data_folder_open(&f, below("a/b/c//"), &err), 0);
    assert_string_equal(f.path, below("a/b/c"));
    for (const char *const *name = (const char *const[]){"a", "a/b", "a/b/c", NULL}; *name != NULL;
         name++) {
        assert_int_equal(stat(below(*name), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
    }
    assert_int_equal(stat(below("a/b/c/lock"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    data_folder_close(&f);
}

static void only_one_server_at_a_time(void **state) {
    (void)state;
    struct data_folder f, g;
    struct err err = {0};
    char pid[32];
    assert_int_equal(data_folder_open(&f, below("one"), &err), 0);
    assert_int_equal(data_folder_open(&g, below("one"), &err), -STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "in use by another server"));
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    assert_null(strchr(err.text, '\n'));
    data_folder_close(&f);
    assert_int_equal(data_folder_open(&g, below("one"), &err), 0); // free again
    data_folder_close(&g);
}

static void a_crash_leaves_no_lock(void **state) {
    (void)state;
    struct data_folder f;
    struct err err = {0};
    pid_t child = fork();
    if (child == 0)
        _exit(data_folder_open(&f, below("crash"), &err) == 0 ? 0 : 1); // without closing it
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(data_folder_open(&f, below("crash"), &err), 0);
    data_folder_close(&f);
}

static void faults_are_one_line(void **state) {
    (void)state;
    struct data_folder f;
    struct err err = {0};
    FILE *file = fopen(below("file"), "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(data_folder_open(&f, below("file"), &err), -STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, below("file")));
    assert_non_null(strstr(err.text, "--data"));
    assert_null(strchr(err.text, '\n'));
    assert_int_equal(data_folder_open(&f, below("file/under"), &err), -STATUS_FAILED_PRECONDITION);
    assert_int_equal(data_folder_open(&f, "", &err), -STATUS_FAILED_PRECONDITION);
    assert_int_equal(data_folder_open(&f, "/proc/mica", &err) < 0, 1);
    if (geteuid() == 0) return; // root may write anywhere
    mkdir(below("closed"), 0500);
    assert_int_equal(data_folder_open(&f, below("closed"), &err), -STATUS_PERMISSION_DENIED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_private_folders),
        cmocka_unit_test(only_one_server_at_a_time),
        cmocka_unit_test(a_crash_leaves_no_lock),
        cmocka_unit_test(faults_are_one_line),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
