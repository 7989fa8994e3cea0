// SPDX-License-Identifier: Apache-2.0
// The log in files: records there and back, rotation, reading back by every filter, cursors,
// waiting, and bounds.
#include "store_testing.h"

#include "base/clock.h"
#include "store/log_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/time.h>

static struct log_files *open_log(const char *name, uint64_t file_size) {
    struct err err = {0};
    struct log_files_options options = {.folder = below(name), .file_size = file_size};
    struct log_files *f = log_files_open(&options, &err);
    if (f == NULL) fail_msg("%s", err.text);
    return f;
}

// A record as log_write would hand it on.
static struct log_entry entry(const char *text) {
    return (struct log_entry){.level = LOG_INFO,
                              .time = clock_unix(),
                              .ns = str_of("shop"),
                              .service = str_of("posts"),
                              .version = str_of("v2"),
                              .instance = 3,
                              .text = str_of(text)};
}

static void add(struct log_files *f, const struct log_entry *e) {
    struct log_sink *sink = log_files_sink(f);
    sink->write(sink, e);
}

static void say(struct log_files *f, const char *text) {
    struct log_entry e = entry(text);
    add(f, &e);
}

static void say_numbers(struct log_files *f, int from, int to) {
    char text[20];
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof text, "%d", i);
        say(f, text);
    }
}

// ---- reading
struct reading {
    struct log_read read;
    struct signal done;
    struct err err;
    unsigned char cursor[LOG_CURSOR]; // of the answer before
};

static void on_read(struct log_read *read, const struct err *err) {
    struct reading *r = (struct reading *)read;
    r->err = *err;
    signal_raise(&r->done);
}

static struct reading query(void) {
    return (struct reading){
        .read =
            {.query = {.ns = "shop", .service = "posts", .version = "", .grep = "", .trace = ""},
             .done = on_read},
        .done = SIGNAL_INIT};
}

static void ask(struct log_files *f, struct reading *r) {
    r->done = (struct signal)SIGNAL_INIT;
    log_files_read(f, &r->read);
}

// Waits for the answer; the texts joined. The next question goes on from it.
static const char *answer(struct reading *r) {
    static char text[4000];
    size_t n = 0;
    signal_wait(&r->done, 1);
    if (r->err.code != 0) fail_msg("%s", r->err.text);
    text[0] = '\0';
    for (const struct log_kept *k = r->read.first; k != NULL && n < sizeof text; k = k->next)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s ", k->line.text);
    log_read_clear(&r->read);
    memcpy(r->cursor, r->read.cursor, LOG_CURSOR);
    r->read.query.cursor = (struct str){(char *)r->cursor, LOG_CURSOR};
    return text;
}

static const char *texts(struct log_files *f, struct reading *r) {
    ask(f, r);
    return answer(r);
}

static unsigned files_of(const char *folder) {
    unsigned n = 0;
    DIR *d = opendir(below(folder));
    assert_non_null(d);
    struct dirent *e;
    while ((e = readdir(d)) != NULL) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

// ---- tests
static void a_record_comes_back(void **state) {
    (void)state;
    struct log_files *f = open_log("back", 0);
    const unsigned char trace[16] = {0x12, [15] = 0x34};
    struct log_pair fields[] = {{str_of("id"), str_of("7")},
                                {str_of("odd \"key\""), str_of("a\\b\tc\x01\x7f")},
                                {str_of("empty"), str_of("")}};
    struct log_entry e = entry("main.lua:3: it broke\nstack traceback:\n\tin f \xE2\x82\xAC \xFF.");
    e.level = LOG_ERROR;
    e.fields = fields;
    e.field_count = 3;
    e.request = 0xABC;
    e.trace = trace;
    add(f, &e);
    struct reading r = query();
    ask(f, &r);
    signal_wait(&r.done, 1);
    assert_int_equal(r.read.count, 1);
    const struct log_line *line = &r.read.first->line;
    assert_true(line->time > (double)e.time / 1e9 - 0.001 &&
                line->time < (double)e.time / 1e9 + 0.001);
    assert_string_equal(line->level_name, "ERROR");
    assert_string_equal(line->version, "v2");
    assert_int_equal(line->instance, 3);
    assert_string_equal(
        line->text, "main.lua:3: it broke\nstack traceback:\n\tin f \xE2\x82\xAC \xEF\xBF\xBD.");
    assert_int_equal(line->field_count, 3);
    assert_string_equal(line->fields[0].key, "id");
    assert_string_equal(line->fields[0].value, "7");
    assert_string_equal(line->fields[1].key, "odd \"key\"");
    assert_string_equal(line->fields[1].value, "a\\b\tc\x01\x7f");
    assert_string_equal(line->fields[2].value, "");
    assert_string_equal(line->request, "0000000000000abc");
    assert_string_equal(line->trace, "12000000000000000000000000000034");
    log_read_clear(&r.read);
    log_files_close(f);
}

static void texts_cannot_forge_records(void **state) {
    (void)state;
    struct log_files *f = open_log("forge", 0);
    say(f, "a\n{\"time\":1,\"level\":\"ERROR\",\"instance\":0,\"text\":\"forged\"}\n");
    say(f, "\",\"level\":\"ERROR\",\"text\":\"forged");
    struct log_entry zero = entry("");
    zero.text = (struct str){"x\0y", 3};
    add(f, &zero);
    struct reading r = query();
    r.read.query.level = LOG_ERROR;
    assert_string_equal(texts(f, &r), "");
    r = query();
    ask(f, &r);
    signal_wait(&r.done, 1);
    assert_int_equal(r.read.count, 3);
    assert_string_equal(r.read.first->next->next->line.text, "x\xEF\xBF\xBDy");
    log_read_clear(&r.read);
    log_files_close(f);
}

static void names_stay_in_the_folder(void **state) {
    (void)state;
    struct stat st;
    struct log_files *f = open_log("names", 0);
    struct log_entry e = entry("up");
    e.ns = str_of("..");
    e.service = str_of("../../etc");
    add(f, &e);
    e.ns = str_of("");
    e.service = str_of("registry");
    e.text = str_of("platform");
    add(f, &e);
    e.ns = str_of("_platform");
    e.text = str_of("other");
    add(f, &e);
    e.service = str_of(""); // nobody's
    add(f, &e);
    struct reading r = query();
    r.read.query.ns = "..";
    r.read.query.service = "../../etc";
    assert_string_equal(texts(f, &r), "up ");
    r = query();
    r.read.query.ns = "";
    r.read.query.service = "registry";
    assert_string_equal(texts(f, &r), "platform ");
    assert_int_equal(stat(below("names/_platform/registry"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(files_of("names"), 3);
    char name[400];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    r = query();
    r.read.query.service = name;
    ask(f, &r);
    assert_int_equal(r.err.code, STATUS_INVALID_ARGUMENT);
    r = query();
    r.read.query.service = "nobody";
    assert_string_equal(texts(f, &r), "");
    log_files_close(f);
}

static void filters(void **state) {
    (void)state;
    struct log_files *f = open_log("filter", 0);
    const unsigned char trace[16] = {1};
    struct log_pair field = {str_of("color"), str_of("dark red")};
    struct log_entry e = entry("one");
    e.time = 1000 * NS_PER_SECOND;
    e.level = LOG_DEBUG;
    add(f, &e);
    e.time = 2000 * NS_PER_SECOND + NS_PER_SECOND / 2;
    e.text = str_of("two");
    e.level = LOG_WARN;
    e.version = str_of("v3");
    e.trace = trace;
    add(f, &e);
    e.time = 3000 * NS_PER_SECOND;
    e.text = str_of("three");
    e.level = LOG_ERROR;
    e.version = str_of("");
    e.trace = NULL;
    e.fields = &field;
    e.field_count = 1;
    add(f, &e);
    struct reading r = query();
    assert_string_equal(texts(f, &r), "one two three ");
    r = query();
    r.read.query.level = LOG_WARN;
    assert_string_equal(texts(f, &r), "two three ");
    r = query();
    r.read.query.since = 2000.4;
    assert_string_equal(texts(f, &r), "two three ");
    r.read.query.cursor.n = 0;
    r.read.query.since = 2000.6;
    assert_string_equal(texts(f, &r), "three ");
    r = query();
    r.read.query.version = "v3";
    assert_string_equal(texts(f, &r), "two ");
    r = query();
    r.read.query.trace = "01000000000000000000000000000000";
    assert_string_equal(texts(f, &r), "two ");
    r = query();
    r.read.query.grep = "k red";
    assert_string_equal(texts(f, &r), "three ");
    r.read.query.cursor.n = 0;
    r.read.query.grep = "o";
    assert_string_equal(texts(f, &r), "one two three "); // "color" too
    r = query();
    r.read.query.last = 1;
    r.read.query.level = LOG_WARN;
    assert_string_equal(texts(f, &r), "three ");
    log_files_close(f);
}

#define LINE_PAD 60 // about the length of a short record's line

static void files_rotate(void **state) {
    (void)state;
    struct log_files *f = open_log("rotate", 3000);
    struct stat st;
    char path[PATH_MAX];
    for (int from = 0; from < 500; from += 50) {
        say_numbers(f, from, from + 50);
        log_files_flush(f);
    }
    assert_int_equal(files_of("rotate/shop/posts"), 5);
    DIR *d = opendir(below("rotate/shop/posts"));
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        snprintf(path, sizeof path, "%s/rotate/shop/posts/%s", root, e->d_name);
        assert_int_equal(stat(path, &st), 0);
        if (e->d_name[0] != '.') assert_true(st.st_size <= 3000 && st.st_size > LINE_PAD);
    }
    closedir(d);
    struct reading r = query();
    r.read.query.last = 3;
    assert_string_equal(texts(f, &r), "497 498 499 ");
    // More than the newest file has.
    r = query();
    r.read.query.last = 90;
    const char *all = texts(f, &r);
    int n = 0, number;
    for (int used; sscanf(all, "%d %n", &number, &used) == 1; all += used) {
        assert_int_equal(number, 410 + n);
        n++;
    }
    assert_int_equal(n, 90);
    // All that is left: in order, without gaps, to the end.
    r = query();
    all = texts(f, &r);
    int before = -1;
    for (int used; sscanf(all, "%d %n", &number, &used) == 1; all += used) {
        assert_true(before < 0 || number == before + 1);
        before = number;
    }
    assert_int_equal(before, 499);
    log_files_close(f);
}

static void cursors_go_on(void **state) {
    (void)state;
    struct log_files *f = open_log("cursor", 3000);
    struct reading r = query();
    assert_string_equal(texts(f, &r), ""); // before there is anything
    say_numbers(f, 0, 3);
    assert_string_equal(texts(f, &r), "0 1 2 ");
    assert_string_equal(texts(f, &r), "");
    say_numbers(f, 3, 60); // into the next file
    log_files_flush(f);
    assert_true(files_of("cursor/shop/posts") > 1);
    const char *all = texts(f, &r);
    int want = 3, number;
    for (int used; sscanf(all, "%d %n", &number, &used) == 1; all += used)
        assert_int_equal(number, want++);
    assert_int_equal(want, 60);
    // The file that it points into goes away; what is left is read.
    say_numbers(f, 60, 1000);
    all = texts(f, &r);
    assert_int_equal(sscanf(all, "%d", &number), 1);
    assert_true(number > 60);
    assert_string_equal(texts(f, &r), "");
    // It survives the process.
    log_files_close(f);
    f = open_log("cursor", 3000);
    assert_string_equal(texts(f, &r), "");
    say(f, "after");
    assert_string_equal(texts(f, &r), "after ");
    // `last` does not matter any more.
    say_numbers(f, 0, 3);
    r.read.query.last = 1;
    assert_string_equal(texts(f, &r), "0 1 2 ");
    // After everything was deleted, a new file is not taken for an old one.
    log_files_close(f);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s/cursor/shop", root);
    assert_int_equal(system(command), 0);
    f = open_log("cursor", 3000);
    say(f, "fresh");
    assert_string_equal(texts(f, &r), "fresh ");
    r.read.query.cursor = str_of("nonsense");
    ask(f, &r);
    assert_int_equal(r.err.code, STATUS_INVALID_ARGUMENT);
    log_files_close(f);
}

static void answers_have_a_size(void **state) {
    (void)state;
    static char long_text[20000];
    struct log_files *f = open_log("size", 0);
    unsigned seen = 0, answers = 0;
    memset(long_text, 'x', sizeof long_text - 1);
    for (int i = 0; i < 100; i++) say(f, long_text);
    struct reading r = query();
    for (size_t n = 1; n > 0; answers++) {
        ask(f, &r);
        signal_wait(&r.done, 1);
        n = r.read.count;
        seen += (unsigned)n;
        answer(&r);
    }
    assert_int_equal(seen, 100);
    assert_true(answers > 2);
    r = query();
    r.read.query.last = 100; // as many of the newest as an answer holds
    ask(f, &r);
    signal_wait(&r.done, 1);
    assert_true(r.read.count > 10 && r.read.count < 100);
    log_read_clear(&r.read);
    log_files_close(f);
}

// ---- waiting
static void waits_for_records(void **state) {
    (void)state;
    struct log_files *f = open_log("wait", 0);
    struct reading r = query();
    say(f, "before");
    r.read.query.wait = 30 * NS_PER_SECOND;
    assert_string_equal(texts(f, &r), "before "); // there is something: no wait
    ask(f, &r);
    assert_int_equal(r.done.count, 0);
    struct log_entry other = entry("other");
    other.service = str_of("comments");
    add(f, &other);
    log_files_flush(f);
    say(f, "after");
    assert_string_equal(answer(&r), "after ");
    // Only a record that matches ends the wait, and none is passed over.
    r.read.query.grep = "wanted";
    ask(f, &r);
    say(f, "something else");
    log_files_flush(f);
    say(f, "wanted one");
    assert_string_equal(answer(&r), "wanted one ");
    r.read.query.grep = "";
    assert_string_equal((ask(f, &r), say(f, "last"), answer(&r)), "last ");
    // In vain.
    int64_t began = clock_now();
    r.read.query.wait = 50 * NS_PER_MS;
    assert_string_equal(texts(f, &r), "");
    assert_true(clock_now() - began >= 50 * NS_PER_MS);
    // A service that has never logged.
    struct reading young = query();
    young.read.query.service = "young";
    young.read.query.last = 5;
    young.read.query.wait = 30 * NS_PER_SECOND;
    ask(f, &young);
    other.service = str_of("young");
    add(f, &other);
    assert_string_equal(answer(&young), "other ");
    // Closing answers who waits.
    r.read.query.wait = 30 * NS_PER_SECOND;
    ask(f, &r);
    log_files_close(f);
    assert_string_equal(answer(&r), "");
}

// ---- threads
static struct log_files *shared;

static void *say_many(void *arg) {
    char text[40];
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof text, "%p;%d", arg, i);
        say(shared, text);
    }
    return NULL;
}

// Follows while four threads log and files rotate: every record is seen, once, and each thread's in
// order.
static void following_sees_all(void **state) {
    (void)state;
    struct err err = {0};
    struct log_files_options options = {
        .folder = below("follow"), .file_size = 20000, .files = 1000};
    pthread_t threads[4];
    int next[4] = {0};
    char names[4], label[40];
    unsigned seen = 0;
    shared = log_files_open(&options, &err);
    assert_non_null(shared);
    struct reading r = query();
    r.read.query.wait = 10 * NS_PER_SECOND;
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, say_many, &names[i]);
    while (seen < 4 * 500) {
        ask(shared, &r);
        signal_wait(&r.done, 1);
        assert_true(r.read.count > 0);
        for (const struct log_kept *k = r.read.first; k != NULL; k = k->next, seen++) {
            int who = 0;
            for (; who < 4; who++) {
                size_t n = (size_t)snprintf(label, sizeof label, "%p;", (void *)&names[who]);
                if (strncmp(k->line.text, label, n) != 0) continue;
                assert_int_equal(strtol(k->line.text + n, NULL, 10), next[who]++);
                break;
            }
            assert_true(who < 4);
        }
        answer(&r);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    log_files_close(shared);
    assert_true(files_of("follow/shop/posts") > 5);
}

// ---- bounds and old files
static void what_is_too_much_is_counted(void **state) {
    (void)state;
    static char long_text[60000];
    struct err err = {0};
    struct log_files_options options = {.folder = below("flood"), .queue_bytes = 100000};
    struct log_files *f = log_files_open(&options, &err);
    assert_non_null(f);
    log_set_sink(log_files_sink(f)); // the log tells by itself
    memset(long_text, 'x', sizeof long_text - 1);
    for (int i = 0; i < 2000; i++) say(f, long_text);
    struct reading r = query();
    r.read.query.ns = "";
    r.read.query.service = "server";
    r.read.query.wait = 15 * NS_PER_SECOND;
    assert_non_null(strstr(texts(f, &r), "log records were not kept: they came faster"));
    log_set_sink(NULL);
    log_files_close(f);
}

static void old_files_go(void **state) {
    (void)state;
    char path[PATH_MAX], young[PATH_MAX];
    struct err err = {0};
    struct stat st;
    snprintf(path, sizeof path, "%s/old/shop/gone/%012d.log", root, 5);
    snprintf(young, sizeof young, "%s/old/shop/gone/%012d.log", root, 6);
    mkdir(below("old"), 0700);
    mkdir(below("old/shop"), 0700);
    mkdir(below("old/shop/gone"), 0700);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    close(open(young, O_WRONLY | O_CREAT, 0600));
    time_t now = time(NULL);
    struct timeval times[2] = {{now - 3600, 0}, {now - 3600, 0}};
    assert_int_equal(utimes(path, times), 0);
    struct log_files_options options = {.folder = below("old"), .age = 1800 * NS_PER_SECOND};
    struct log_files *f = log_files_open(&options, &err); // looks at all services first
    assert_non_null(f);
    log_files_flush(f);
    assert_int_not_equal(stat(path, &st), 0);
    assert_int_equal(stat(young, &st), 0);
    // A file takes records for a part of the age only.
    struct log_entry e = entry("early");
    e.service = str_of("slow");
    e.time -= 1000 * NS_PER_SECOND;
    add(f, &e);
    log_files_close(f);
    f = log_files_open(&options, &err);
    e.time += 1000 * NS_PER_SECOND;
    e.text = str_of("late");
    add(f, &e);
    log_files_flush(f);
    assert_int_equal(files_of("old/shop/slow"), 2);
    struct reading r = query();
    r.read.query.service = "slow";
    assert_string_equal(texts(f, &r), "early late ");
    log_files_close(f);
}

static void half_a_line_is_passed_over(void **state) {
    (void)state;
    char command[200];
    struct log_files *f = open_log("half", 0);
    say(f, "one");
    log_files_close(f);
    snprintf(
        command, sizeof command,
        "for i in %s/half/shop/posts/*; do printf '{\"time\":5,\"level\":\"INFO\",\"te' >>$i; done",
        root);
    assert_int_equal(system(command), 0);
    f = open_log("half", 0);
    struct reading r = query();
    assert_string_equal(texts(f, &r), "one ");
    say(f, "two");
    assert_string_equal(texts(f, &r), "two ");
    r = query();
    assert_string_equal(texts(f, &r), "one two ");
    log_files_close(f);
}

// Anything that is no line of ours is refused, never read beyond.
static void strange_lines_are_refused(void **state) {
    (void)state;
    struct log_line_field fields[LOG_FIELDS_MAX];
    struct log_line line;
    const char good[] = "{\"time\":1.5,\"level\":\"WARN\",\"instance\":2,\"text\":\"a\\u20ac\\n\","
                        "\"fields\":{\"k\":\"v\"},\"new\":{\"a\":\"b\"},\"newer\":7}";
    for (size_t n = 0; n <= sizeof good - 1; n++) {
        char *copy = malloc(n + 1); // exactly, so that a read beyond is found
        assert_non_null(copy);
        memcpy(copy, good, n);
        bool ok = log_line_read(copy, n, fields, &line);
        assert_int_equal(ok, n == sizeof good - 1);
        if (ok) {
            assert_string_equal(line.text, "a\xE2\x82\xAC\n");
            assert_true(line.time == 1.5 && line.level == LOG_WARN && line.field_count == 1);
        }
        free(copy);
    }
    static const char *const BAD[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"level\":\"OFF\",\"text\":\"\"}",
                                      "{\"level\":\"INFO\"}x",
                                      "{\"level\":\"INFO\",\"text\":\"\\q\"}",
                                      "{\"level\":\"INFO\",\"text\":\"\\u12g4\"}",
                                      "{\"level\":\"INFO\",\"text\":null}",
                                      "{\"level\":\"INFO\",\"fields\":{\"a\":{}}}",
                                      "{\"level\":\"INFO\",\"time\":1.2.3}"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        char copy[100];
        snprintf(copy, sizeof copy, "%s", BAD[i]);
        assert_false(log_line_read(copy, strlen(copy), fields, &line));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back),
        cmocka_unit_test(texts_cannot_forge_records),
        cmocka_unit_test(names_stay_in_the_folder),
        cmocka_unit_test(filters),
        cmocka_unit_test(files_rotate),
        cmocka_unit_test(cursors_go_on),
        cmocka_unit_test(answers_have_a_size),
        cmocka_unit_test(waits_for_records),
        cmocka_unit_test(following_sees_all),
        cmocka_unit_test(what_is_too_much_is_counted),
        cmocka_unit_test(old_files_go),
        cmocka_unit_test(half_a_line_is_passed_over),
        cmocka_unit_test(strange_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
