// SPDX-License-Identifier: Apache-2.0
// Blobs: whole or not at all, named by their content, and what is left after uploads that did not
// end.
#include "store_testing.h"

#include "base/clock.h"
#include "store/blob.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // sha256("hello")
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static unsigned files_in(const char *folder) {
    unsigned n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    struct dirent *e;
    while ((e = readdir(d)) != NULL) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static struct blobs *open_blobs(const char *name) {
    struct err err = {0};
    mkdir(below(name), 0700);
    struct blobs *b = blobs_open(below(name), &err);
    if (b == NULL) fail_msg("%s", err.text);
    return b;
}

static uint64_t begin(struct blobs *b, uint64_t limit) {
    struct err err = {0};
    uint64_t upload = 0;
    assert_int_equal(blobs_begin(b, limit, &upload, &err), 0);
    return upload;
}

static int append(struct blobs *b, uint64_t upload, const char *text) {
    uint64_t size;
    struct err err = {0};
    return blobs_append(b, upload, str_of(text), &size, &err);
}

// Reads a part; NULL: not found.
static const char *read_part(struct blobs *b, const char *name, uint64_t offset, uint64_t limit) {
    static char text[100];
    struct buf out = {0};
    uint64_t size;
    struct err err = {0};
    int rc = blobs_read(b, name, offset, limit, &out, &size, &err);
    snprintf(text, sizeof text, "%.*s", (int)out.n, buf_str(&out).p);
    buf_free(&out);
    assert_true(rc == 0 || rc == -STATUS_NOT_FOUND);
    return rc == 0 ? text : NULL;
}

static void stores_by_content(void **state) {
    (void)state;
    struct err err = {0};
    struct stat st;
    char name[BLOBS_NAME];
    uint64_t size = 0;
    struct blobs *b = open_blobs("store");
    for (int round = 0; round < 2; round++) { // the same again is the same
        uint64_t upload = begin(b, 5);
        assert_int_equal(append(b, upload, "he"), 0);
        assert_int_equal(blobs_append(b, upload, str_of("llo"), &size, &err), 0);
        assert_int_equal(size, 5);
        assert_int_equal(blobs_commit(b, upload, round == 0 ? "" : HELLO, name, &size, &err), 0);
        assert_string_equal(name, HELLO);
        assert_int_equal(size, 5);
        assert_int_equal(blobs_commit(b, upload, "", name, &size, &err), -STATUS_NOT_FOUND);
    }
    assert_int_equal(stat(below("store/blobs/2c/" HELLO), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(files_in(below("store/uploads")), 0);
    assert_string_equal(read_part(b, HELLO, 0, 100), "hello");
    assert_string_equal(read_part(b, HELLO, 1, 3), "ell");
    assert_string_equal(read_part(b, HELLO, 5, 3), "");
    assert_string_equal(read_part(b, HELLO, UINT64_MAX, UINT64_MAX), "");
    assert_int_equal(blobs_commit(b, begin(b, 0), EMPTY, name, &size, &err), 0);
    assert_string_equal(read_part(b, EMPTY, 0, 9), "");
    blobs_close(b);
    b = open_blobs("store");
    assert_string_equal(read_part(b, HELLO, 0, 100), "hello");
    struct buf path = {0};
    assert_int_equal(blobs_path(b, HELLO, &path, &err), 0);
    assert_int_equal(access(buf_cstr(&path), R_OK), 0);
    buf_free(&path);
    assert_int_equal(blobs_delete(b, HELLO, &err), 0);
    assert_null(read_part(b, HELLO, 0, 100));
    assert_int_equal(blobs_delete(b, HELLO, &err), 0); // there is nothing left to do
    blobs_close(b);
}

static void wrong_hashes_are_found(void **state) {
    (void)state;
    struct err err = {0};
    char name[BLOBS_NAME];
    uint64_t size;
    struct blobs *b = open_blobs("wrong");
    uint64_t upload = begin(b, 0);
    assert_int_equal(append(b, upload, "hellO"), 0);
    assert_int_equal(blobs_commit(b, upload, HELLO, name, &size, &err), -STATUS_DATA_LOSS);
    assert_null(read_part(b, HELLO, 0, 1));
    assert_int_equal(files_in(below("wrong/uploads")), 0);
    assert_int_equal(files_in(below("wrong/blobs")), 0);
    blobs_close(b);
}

static void names_cannot_leave_the_folder(void **state) {
    (void)state;
    static const char *const NAMES[] = {
        "",
        "..",
        "../../../../etc/passwd",
        "/etc/passwd",
        "2c/" HELLO,
        HELLO "0",
        "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824"};
    struct err err = {0};
    struct buf out = {0};
    uint64_t size;
    struct blobs *b = open_blobs("names");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        assert_int_equal(blobs_read(b, NAMES[i], 0, 9, &out, &size, &err),
                         -STATUS_INVALID_ARGUMENT);
        assert_int_equal(blobs_delete(b, NAMES[i], &err), -STATUS_INVALID_ARGUMENT);
        assert_int_equal(blobs_path(b, NAMES[i], &out, &err), -STATUS_INVALID_ARGUMENT);
    }
    blobs_close(b);
}

static void uploads_have_limits(void **state) {
    (void)state;
    struct err err = {0};
    uint64_t upload, uploads[BLOBS_UPLOADS_MAX];
    struct blobs *b = open_blobs("limits");
    upload = begin(b, 4);
    assert_int_equal(append(b, upload, "1234"), 0);
    assert_int_equal(append(b, upload, "5"), -STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(append(b, upload, "5"), -STATUS_NOT_FOUND); // it has ended
    assert_int_equal(files_in(below("limits/uploads")), 0);
    for (int i = 0; i < BLOBS_UPLOADS_MAX; i++) uploads[i] = begin(b, 0);
    assert_int_equal(blobs_begin(b, 0, &upload, &err), -STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(blobs_abort(b, uploads[7], &err), 0);
    assert_int_equal(blobs_abort(b, uploads[7], &err), -STATUS_NOT_FOUND);
    begin(b, 0);
    assert_int_equal(files_in(below("limits/uploads")), BLOBS_UPLOADS_MAX);
    blobs_expire(b, clock_now());
    assert_int_equal(append(b, uploads[0], "x"), 0); // none was idle
    blobs_expire(b, clock_now() + BLOBS_IDLE + NS_PER_SECOND);
    assert_int_equal(append(b, uploads[0], "x"), -STATUS_NOT_FOUND);
    assert_int_equal(files_in(below("limits/uploads")), 0);
    begin(b, 0);
    blobs_close(b);
    assert_int_equal(files_in(below("limits/uploads")), 0);
}

static void a_start_cleans_up(void **state) {
    (void)state;
    struct err err = {0};
    char name[BLOBS_NAME];
    uint64_t size;
    struct blobs *b = open_blobs("cut");
    uint64_t upload = begin(b, 0);
    assert_int_equal(append(b, upload, "hello"), 0);
    assert_int_equal(blobs_commit(b, upload, "", name, &size, &err), 0);
    blobs_close(b);
    pid_t child = fork();
    if (child == 0) { // ends in the middle of two uploads
        b = blobs_open(below("cut"), &err);
        _exit(append(b, begin(b, 0), "half") == 0 && append(b, begin(b, 0), "other") == 0 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(files_in(below("cut/uploads")), 2);
    b = open_blobs("cut");
    assert_int_equal(files_in(below("cut/uploads")), 0);
    assert_string_equal(read_part(b, HELLO, 0, 9), "hello");
    blobs_close(b);
}

// Several threads upload the same and something of their own.
static struct blobs *shared;

static void *upload_many(void *arg) {
    struct err err = {0};
    char name[BLOBS_NAME], own[20];
    uint64_t size, upload;
    for (int i = 0; i < 30; i++) {
        snprintf(own, sizeof own, "%p %d", arg, i);
        const char *text = i % 2 == 0 ? "hello" : own;
        if (blobs_begin(shared, 0, &upload, &err) < 0) return "begin";
        if (append(shared, upload, text) < 0) return "append";
        if (blobs_commit(shared, upload, i % 2 == 0 ? HELLO : "", name, &size, &err) < 0)
            return "commit";
        struct buf out = {0};
        if (blobs_read(shared, name, 0, 100, &out, &size, &err) < 0) return "read";
        bool same = str_is(buf_str(&out), text);
        buf_free(&out);
        if (!same) return "content";
    }
    return NULL;
}

static void threads_share(void **state) {
    (void)state;
    pthread_t threads[4];
    char names[4];
    shared = open_blobs("shared");
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, upload_many, &names[i]);
    for (int i = 0; i < 4; i++) {
        void *fault;
        pthread_join(threads[i], &fault);
        if (fault != NULL) fail_msg("%s", (char *)fault);
    }
    blobs_close(shared);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_by_content),
        cmocka_unit_test(wrong_hashes_are_found),
        cmocka_unit_test(names_cannot_leave_the_folder),
        cmocka_unit_test(uploads_have_limits),
        cmocka_unit_test(a_start_cleans_up),
        cmocka_unit_test(threads_share),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
