// SPDX-License-Identifier: Apache-2.0
// The storage engine: batches, versions and conditions, group commit, paging, and what is left
// after crashes and faults.
#include "store_testing.h"

#include "store/engine.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define S(text) ((struct str){text, sizeof(text) - 1})

// ---- one request, waited for
struct write {
    struct engine_batch batch;
    struct signal done;
    struct err err;
};

static void on_written(struct engine_batch *batch, const struct err *err) {
    struct write *w = (struct write *)batch;
    w->err = *err;
    signal_raise(&w->done);
}

static int write_all(struct engine *e, struct engine_operation *operations, size_t count,
                     struct err *err) {
    struct write w = {.batch = {.operations = operations, .count = count, .done = on_written},
                      .done = SIGNAL_INIT};
    int rc = engine_submit(e, &w.batch, err);
    if (rc < 0) return rc;
    signal_wait(&w.done, 1);
    *err = w.err;
    return -(int)err->code;
}

static struct err last_fault; // of `put`, on the main thread

static int put(struct engine *e, struct str key, struct str value, int64_t if_version,
               uint64_t *version) {
    struct err err = {0};
    struct engine_operation o = {
        .table = S("t"), .key = key, .value = value, .if_version = if_version};
    int rc = write_all(e, &o, 1, &err);
    if (version != NULL) *version = o.version;
    if (rc < 0 && rc != -STATUS_ABORTED) last_fault = err;
    return rc;
}

static int drop(struct engine *e, struct str key, int64_t if_version) {
    struct err err = {0};
    struct engine_operation o = {
        .table = S("t"), .key = key, .remove = true, .if_version = if_version};
    return write_all(e, &o, 1, &err);
}

struct look {
    struct engine_read read;
    struct signal done;
    struct err err;
};

static void on_looked(struct engine_read *read, const struct err *err) {
    struct look *l = (struct look *)read;
    l->err = *err;
    signal_raise(&l->done);
}

static int look(struct engine *e, struct look *l) {
    struct err err = {0};
    l->done = (struct signal)SIGNAL_INIT;
    l->read.done = on_looked;
    if (l->read.table.n == 0) l->read.table = S("t");
    int rc = engine_submit_read(e, &l->read, &err);
    if (rc < 0) return rc;
    signal_wait(&l->done, 1);
    return -(int)l->err.code;
}

// The value, or NULL.
static const char *get(struct engine *e, struct str key, uint64_t *version) {
    static char text[100];
    struct look l = {.read = {.key = key}};
    assert_int_equal(look(e, &l), 0);
    bool found = l.read.count == 1;
    if (found) {
        assert_true(str_equal(l.read.records[0].key, key));
        snprintf(text, sizeof text, "%.*s", (int)l.read.records[0].value.n,
                 l.read.records[0].value.p);
        if (version != NULL) *version = l.read.records[0].version;
    }
    engine_read_clear(&l.read);
    return found ? text : NULL;
}

static struct engine *open_engine(const char *name) {
    struct err err = {0};
    struct engine *e = engine_open(below(name), 2, &err);
    if (e == NULL) fail_msg("%s", err.text);
    return e;
}

// ---- tests
static void keeps_records(void **state) {
    (void)state;
    struct stat st;
    uint64_t first, second, seen;
    struct engine *e = open_engine("keep.db");
    assert_int_equal(stat(below("keep.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(below("keep.db-wal"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_null(get(e, S("a"), NULL));
    assert_int_equal(put(e, S("a"), S("one"), ENGINE_ANY, &first), 0);
    assert_string_equal(get(e, S("a"), &seen), "one");
    assert_int_equal(seen, first);
    assert_int_equal(put(e, S("a"), S(""), ENGINE_ANY, &second), 0);
    assert_true(second > first);
    assert_string_equal(get(e, S("a"), &seen), "");
    assert_int_equal(put(e, S("\0\xff"), S("bytes"), ENGINE_ANY, NULL), 0);
    engine_delete(e);
    assert_int_not_equal(stat(below("keep.db-wal"), &st), 0); // it is in the file
    e = open_engine("keep.db");
    assert_string_equal(get(e, S("\0\xff"), NULL), "bytes");
    assert_string_equal(get(e, S("a"), &seen), "");
    assert_int_equal(seen, second);
    assert_int_equal(drop(e, S("a"), ENGINE_ANY), 0);
    assert_null(get(e, S("a"), NULL));
    assert_int_equal(put(e, S("a"), S("again"), ENGINE_ABSENT, &seen), 0);
    assert_true(seen > second + 1); // no version is given twice, across restarts and deletions
    engine_delete(e);
}

static void checks_versions(void **state) {
    (void)state;
    uint64_t v1, v2;
    struct err err = {0};
    struct engine *e = open_engine("versions.db");
    assert_int_equal(put(e, S("k"), S("1"), 5, NULL), -STATUS_ABORTED);
    assert_int_equal(put(e, S("k"), S("1"), ENGINE_ABSENT, &v1), 0);
    assert_int_equal(put(e, S("k"), S("x"), ENGINE_ABSENT, NULL), -STATUS_ABORTED);
    assert_int_equal(put(e, S("k"), S("2"), (int64_t)v1, &v2), 0);
    assert_int_equal(put(e, S("k"), S("x"), (int64_t)v1, NULL), -STATUS_ABORTED);
    assert_int_equal(drop(e, S("k"), (int64_t)v1), -STATUS_ABORTED);
    assert_string_equal(get(e, S("k"), NULL), "2");
    assert_int_equal(drop(e, S("k"), (int64_t)v2), 0);
    assert_int_equal(drop(e, S("k"), (int64_t)v2), -STATUS_ABORTED);
    struct engine_operation o = {.table = S("t"), .key = S("k"), .if_version = 9};
    assert_int_equal(write_all(e, &o, 1, &err), -STATUS_ABORTED);
    assert_string_equal(err.text, "\"k\" of t has been deleted meanwhile");
    engine_delete(e);
}

static void batches_are_whole(void **state) {
    (void)state;
    struct err err = {0};
    struct engine *e = open_engine("batch.db");
    struct engine_operation good[] = {
        {.table = S("t"), .key = S("a"), .value = S("1"), .if_version = ENGINE_ABSENT},
        {.table = S("u"), .key = S("a"), .value = S("2")},
        {.table = S("t"), .key = S("b"), .remove = true},
        {.table = S("t"), .key = S("a"), .value = S("3")}, // after the first one
    };
    assert_int_equal(write_all(e, good, 4, &err), 0);
    assert_true(good[3].version > good[1].version && good[1].version > good[0].version);
    assert_int_equal(good[2].version, 0);
    assert_string_equal(get(e, S("a"), NULL), "3");
    struct engine_operation bad[] = {
        {.table = S("t"), .key = S("a"), .value = S("4")},
        {.table = S("t"), .key = S("c"), .value = S("5")},
        {.table = S("t"), .key = S("a"), .value = S("6"), .if_version = ENGINE_ABSENT},
    };
    assert_int_equal(write_all(e, bad, 3, &err), -STATUS_ABORTED);
    assert_string_equal(get(e, S("a"), NULL), "3");
    assert_null(get(e, S("c"), NULL));
    struct look other = {.read = {.table = S("u"), .key = S("a")}};
    assert_int_equal(look(e, &other), 0);
    assert_true(str_is(other.read.records[0].value, "2"));
    engine_read_clear(&other.read);
    engine_delete(e);
}

static void refuses_what_is_too_large(void **state) {
    (void)state;
    static char large[ENGINE_VALUE_MAX + 1];
    struct err err = {0};
    struct engine *e = open_engine("large.db");
    struct str key = {large, ENGINE_KEY_MAX + 1}, value = {large, sizeof large};
    assert_int_equal(put(e, S(""), S("v"), 0, NULL), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(put(e, key, S("v"), 0, NULL), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(put(e, S("k"), value, 0, NULL), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(put(e, S("k"), S("v"), -2, NULL), -STATUS_INVALID_ARGUMENT);
    struct engine_operation none = {.key = S("k")};
    assert_int_equal(write_all(e, &none, 1, &err), -STATUS_INVALID_ARGUMENT);
    assert_int_equal(write_all(e, &none, 0, &err), -STATUS_INVALID_ARGUMENT);
    value.n = ENGINE_VALUE_MAX;
    key.n = ENGINE_KEY_MAX;
    assert_int_equal(put(e, key, value, 0, NULL), 0);
    engine_close(e);
    assert_int_equal(put(e, S("k"), S("v"), 0, NULL), -STATUS_UNAVAILABLE);
    struct look l = {.read = {.key = S("k")}};
    assert_int_equal(look(e, &l), -STATUS_UNAVAILABLE);
    engine_delete(e);
}

// ---- lists
// Reads a page; its keys, joined.
static const char *page(struct engine *e, struct str prefix, struct str after, unsigned limit,
                        bool *more) {
    static char text[300];
    struct look l = {.read = {.list = true, .key = prefix, .after = after, .limit = limit}};
    size_t n = 0;
    text[0] = '\0';
    assert_int_equal(look(e, &l), 0);
    for (size_t i = 0; i < l.read.count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s ", (int)l.read.records[i].key.n,
                              l.read.records[i].key.p);
    *more = l.read.more;
    engine_read_clear(&l.read);
    return text;
}

static void lists_by_prefix(void **state) {
    (void)state;
    bool more;
    struct engine *e = open_engine("list.db");
    static const char *const KEYS[] = {"b/2", "a", "b/1", "b", "c", "b/10", "b0", "b/\xff"};
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++)
        assert_int_equal(put(e, str_of(KEYS[i]), S("v"), 0, NULL), 0);
    struct err err = {0};
    struct engine_operation other = {.table = S("t2"), .key = S("b/3"), .value = S("v")};
    assert_int_equal(write_all(e, &other, 1, &err), 0);
    assert_string_equal(page(e, S(""), S(""), 0, &more), "a b b/1 b/10 b/2 b/\xff b0 c ");
    assert_false(more);
    assert_string_equal(page(e, S("b/"), S(""), 0, &more), "b/1 b/10 b/2 b/\xff ");
    assert_false(more);
    assert_string_equal(page(e, S("b/"), S(""), 2, &more), "b/1 b/10 ");
    assert_true(more);
    assert_string_equal(page(e, S("b/"), S("b/10"), 2, &more), "b/2 b/\xff ");
    assert_false(more);
    assert_string_equal(page(e, S("b/\xff"), S(""), 2, &more), "b/\xff ");
    assert_string_equal(page(e, S("b/"), S("a"), 0, &more), "b/1 b/10 b/2 b/\xff "); // before it
    assert_string_equal(page(e, S("b/"), S("b/"), 1, &more), "b/1 ");
    assert_string_equal(page(e, S("b/"), S("c"), 0, &more), ""); // beyond it
    assert_string_equal(page(e, S("\xff"), S(""), 0, &more), "");
    assert_string_equal(page(e, S(""), S("b0"), 0, &more), "c ");
    engine_delete(e);
}

static void a_page_has_a_size(void **state) {
    (void)state;
    static char value[ENGINE_LIST_BYTES / 2];
    struct engine *e = open_engine("pages.db");
    char key[20], after[20] = "";
    unsigned seen = 0, pages = 0;
    for (unsigned i = 0; i < 5; i++) {
        snprintf(key, sizeof key, "%u", i);
        assert_int_equal(put(e, str_of(key), (struct str){value, sizeof value}, 0, NULL), 0);
    }
    for (bool more = true; more; pages++) {
        struct look l = {.read = {.list = true, .after = str_of(after)}};
        assert_int_equal(look(e, &l), 0);
        assert_true(l.read.count >= 1 && l.read.count < 5);
        more = l.read.more;
        seen += (unsigned)l.read.count;
        struct str last = l.read.records[l.read.count - 1].key;
        snprintf(after, sizeof after, "%.*s", (int)last.n, last.p);
        engine_read_clear(&l.read);
    }
    assert_int_equal(seen, 5);
    assert_true(pages > 1);
    engine_delete(e);
}

// ---- group commit
#define THREADS 6
#define ROUNDS 50

struct adder {
    pthread_t thread;
    struct engine *engine;
    unsigned conflicts;
};

// Adds one to a counter that all share, again and again, by reading and writing under its version.
static void *count_up(void *arg) {
    struct adder *a = arg;
    for (unsigned done = 0; done < ROUNDS;) {
        struct look l = {.read = {.key = S("n")}};
        char text[24] = "";
        if (look(a->engine, &l) != 0) return "cannot read";
        const struct engine_record *r = l.read.records;
        if (l.read.count > 0) snprintf(text, sizeof text, "%.*s", (int)r->value.n, r->value.p);
        long n = strtol(text, NULL, 10);
        int64_t version = l.read.count == 0 ? ENGINE_ABSENT : (int64_t)r->version;
        engine_read_clear(&l.read);
        snprintf(text, sizeof text, "%ld", n + 1);
        int rc = put(a->engine, S("n"), str_of(text), version, NULL);
        if (rc == 0) {
            done++;
        } else if (rc == -STATUS_ABORTED) {
            a->conflicts++;
        } else {
            return "cannot write";
        }
    }
    return NULL;
}

static void no_update_is_lost(void **state) {
    (void)state;
    struct engine *e = open_engine("count.db");
    struct adder adders[THREADS] = {0};
    char want[20];
    unsigned conflicts = 0;
    for (int i = 0; i < THREADS; i++) {
        adders[i].engine = e;
        assert_int_equal(pthread_create(&adders[i].thread, NULL, count_up, &adders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *fault;
        pthread_join(adders[i].thread, &fault);
        assert_null(fault);
        conflicts += adders[i].conflicts;
    }
    snprintf(want, sizeof want, "%d", THREADS * ROUNDS);
    assert_string_equal(get(e, S("n"), NULL), want);
    assert_true(conflicts > 0); // else it was no race
    engine_delete(e);
}

// Batches of one group of which some fail: the others are written. The first batch is large, so
// that the rest gathers.
static void a_group_is_not_one_batch(void **state) {
    (void)state;
    enum { BATCHES = 100 };
    static struct write writes[BATCHES];
    static struct engine_operation operations[BATCHES];
    static char keys[BATCHES][8], large[ENGINE_VALUE_MAX];
    struct err err = {0};
    struct engine *e = open_engine("group.db");
    assert_int_equal(put(e, S("taken"), S("v"), 0, NULL), 0);
    for (int i = 0; i < BATCHES; i++) {
        bool bad = i % 3 == 1;
        snprintf(keys[i], sizeof keys[i], "k%03d", i);
        operations[i] = (struct engine_operation){.table = S("t"),
                                                  .key = bad ? S("taken") : str_of(keys[i]),
                                                  .value = {large, i == 0 ? sizeof large : 10},
                                                  .if_version = ENGINE_ABSENT};
        writes[i] = (struct write){.batch = {.operations = &operations[i], .count = 1},
                                   .done = SIGNAL_INIT};
        writes[i].batch.done = on_written;
    }
    for (int i = 0; i < BATCHES; i++) assert_int_equal(engine_submit(e, &writes[i].batch, &err), 0);
    for (int i = 0; i < BATCHES; i++) {
        signal_wait(&writes[i].done, 1);
        assert_int_equal(writes[i].err.code, i % 3 == 1 ? STATUS_ABORTED : 0);
        assert_int_equal(get(e, str_of(keys[i]), NULL) != NULL, i % 3 != 1);
    }
    engine_delete(e);
}

// Closing while others submit: whatever was taken is answered and written.
struct crowd {
    struct engine *engine;
    atomic_uint taken, answered;
};

static void on_crowd(struct engine_batch *batch, const struct err *err);

struct crowd_write {
    struct engine_batch batch;
    struct engine_operation operation;
    struct crowd *crowd;
    char key[32];
};

static void on_crowd(struct engine_batch *batch, const struct err *err) {
    struct crowd_write *w = (struct crowd_write *)batch;
    if (err->code == 0) atomic_fetch_add(&w->crowd->answered, 1);
    free(w);
}

static void *submit_until_closed(void *arg) {
    struct crowd *c = arg;
    static atomic_uint number;
    struct err err = {0};
    for (;;) {
        struct crowd_write *w = calloc(1, sizeof *w);
        if (w == NULL) return "no memory";
        w->crowd = c;
        snprintf(w->key, sizeof w->key, "%u", atomic_fetch_add(&number, 1));
        w->operation =
            (struct engine_operation){.table = S("t"), .key = str_of(w->key), .value = S("v")};
        w->batch = (struct engine_batch){.operations = &w->operation, .count = 1, .done = on_crowd};
        int rc = engine_submit(c->engine, &w->batch, &err);
        if (rc == 0) {
            atomic_fetch_add(&c->taken, 1);
            continue;
        }
        free(w);
        if (rc == -STATUS_UNAVAILABLE) return NULL;
        if (rc != -STATUS_RESOURCE_EXHAUSTED) return "refused otherwise";
        usleep(1000); // the queue is full, as it must be some time
    }
}

static void closing_answers_all(void **state) {
    (void)state;
    struct crowd c = {.engine = open_engine("close.db")};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, submit_until_closed, &c);
    usleep(100000);
    engine_close(c.engine);
    for (int i = 0; i < 3; i++) {
        void *fault;
        pthread_join(threads[i], &fault);
        assert_null(fault);
    }
    assert_true(atomic_load(&c.taken) > 0);
    assert_int_equal(atomic_load(&c.answered), atomic_load(&c.taken));
    engine_delete(c.engine);
}

// ---- crashes and faults
// Writes until it is killed, and tells by the pipe what has been acknowledged.
static void write_for_ever(const char *path, int pipe_end) {
    struct err err = {0};
    struct engine *e = engine_open(path, 1, &err);
    for (unsigned i = 0; e != NULL; i++) {
        char key[16];
        struct engine_operation pair[2] = {{.table = S("t"), .value = S("v")},
                                           {.table = S("u"), .value = S("v")}};
        snprintf(key, sizeof key, "%08u", i);
        pair[0].key = pair[1].key = str_of(key);
        if (write_all(e, pair, 2, &err) < 0 || write(pipe_end, &i, sizeof i) != sizeof i) break;
    }
    _exit(1);
}

static void a_crash_loses_nothing(void **state) {
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", below("crash.db"));
    for (int round = 0; round < 5; round++) {
        int ends[2];
        unsigned last = 0, acknowledged = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) write_for_ever(path, ends[1]);
        close(ends[1]);
        usleep(20000 + 30000 * (unsigned)round);
        kill(child, SIGKILL);
        while (read(ends[0], &last, sizeof last) == sizeof last) acknowledged = last + 1;
        close(ends[0]);
        waitpid(child, NULL, 0);
        struct engine *e = open_engine("crash.db");
        for (unsigned i = 0; i < acknowledged; i++) {
            char key[16];
            snprintf(key, sizeof key, "%08u", i);
            assert_non_null(get(e, str_of(key), NULL));
        }
        struct look t = {.read = {.list = true}}, u = {.read = {.list = true, .table = S("u")}};
        assert_int_equal(look(e, &t), 0);
        assert_int_equal(look(e, &u), 0);
        assert_int_equal(t.read.count, u.read.count); // batches are whole
        engine_read_clear(&t.read);
        engine_read_clear(&u.read);
        engine_delete(e);
    }
}

static void set_pragma(const char *path, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void refuses_strange_files(void **state) {
    (void)state;
    struct err err = {0};
    engine_delete(open_engine("newer.db"));
    set_pragma(below("newer.db"), "PRAGMA user_version = 99");
    assert_null(engine_open(below("newer.db"), 1, &err));
    assert_int_equal(err.code, STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "newer version of Mica (schema 99"));
    set_pragma(below("other.db"), "CREATE TABLE theirs (x); PRAGMA user_version = 1");
    assert_null(engine_open(below("other.db"), 1, &err));
    assert_int_equal(err.code, STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "not a file of Mica's"));
    int fd = open(below("text.db"), O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is no database, whatever its name says\n", 44), 44);
    close(fd);
    assert_null(engine_open(below("text.db"), 1, &err));
    assert_int_equal(err.code, STATUS_DATA_LOSS);
    assert_non_null(strstr(err.text, "is not a database"));
    assert_null(engine_open(below("none/system.db"), 1, &err));
    assert_int_equal(err.code, STATUS_FAILED_PRECONDITION);
    assert_null(strchr(err.text, '\n'));
}

// As a user who may not write there: root may everywhere.
static void a_read_only_folder_is_told(void **state) {
    (void)state;
    char path[PATH_MAX];
    assert_int_equal(mkdir(below("locked"), 0700), 0);
    snprintf(path, sizeof path, "%s", below("locked/system.db"));
    assert_int_equal(chmod(below("locked"), 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        struct err err = {0};
        if (geteuid() == 0 && (chmod(root, 0755) != 0 || setuid(65534) != 0)) _exit(2);
        if (engine_open(path, 1, &err) != NULL) _exit(3);
        _exit(err.code == STATUS_PERMISSION_DENIED && strstr(err.text, path) != NULL ? 0 : 4);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void damage_is_told(void **state) {
    (void)state;
    static char value[1000];
    struct engine *e = open_engine("damage.db");
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof key, "%04d", i);
        assert_int_equal(put(e, str_of(key), (struct str){value, sizeof value}, 0, NULL), 0);
    }
    engine_delete(e);
    int fd = open(below("damage.db"), O_WRONLY);
    memset(value, 0x5A, sizeof value);
    for (off_t at = 4096 * 6; at < 4096 * 40; at += (off_t)sizeof value)
        assert_int_equal(pwrite(fd, value, sizeof value, at), sizeof value);
    close(fd);
    e = open_engine("damage.db");
    struct look l = {.read = {.list = true}};
    assert_int_equal(look(e, &l), -STATUS_DATA_LOSS);
    assert_non_null(strstr(l.err.text, "is damaged"));
    assert_null(l.read.records);
    engine_delete(e);
}

// Fills the disk by writing until it is told so; then reading goes on, and writing again once there
// is room.
static void fill(struct engine *e) {
    static char value[100000];
    int rc = 0, written = 0;
    char key[16];
    for (; rc == 0 && written < 1000; written++) {
        snprintf(key, sizeof key, "%04d", written);
        rc = put(e, str_of(key), (struct str){value, sizeof value}, 0, NULL);
    }
    if (rc != -STATUS_RESOURCE_EXHAUSTED) fail_msg("%s", last_fault.text);
    assert_non_null(strstr(last_fault.text, "make room"));
    assert_true(written > 1);
    assert_null(get(e, str_of(key), NULL)); // what failed is not there
    assert_non_null(get(e, S("0000"), NULL));
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    assert_int_equal(mkdir(below("disk"), 0700), 0);
    if (mount("tmpfs", below("disk"), "tmpfs", 0, "size=2m") != 0) skip();
    struct engine *e = open_engine("disk/system.db");
    fill(e);
    assert_int_equal(mount("tmpfs", below("disk"), "tmpfs", MS_REMOUNT, "size=20m"), 0);
    assert_int_equal(put(e, S("room"), S("again"), 0, NULL), 0);
    assert_string_equal(get(e, S("room"), NULL), "again");
    engine_delete(e);
    e = open_engine("disk/system.db");
    assert_string_equal(get(e, S("room"), NULL), "again");
    engine_delete(e);
    assert_int_equal(umount(below("disk")), 0);
}

static void a_limit_of_file_size_is_told(void **state) {
    (void)state;
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    struct engine *e = open_engine("limit.db");
    struct rlimit small = {2 << 20, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    fill(e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(put(e, S("room"), S("again"), 0, NULL), 0);
    assert_string_equal(get(e, S("room"), NULL), "again");
    engine_delete(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_records),
        cmocka_unit_test(checks_versions),
        cmocka_unit_test(batches_are_whole),
        cmocka_unit_test(refuses_what_is_too_large),
        cmocka_unit_test(lists_by_prefix),
        cmocka_unit_test(a_page_has_a_size),
        cmocka_unit_test(a_crash_loses_nothing),
        cmocka_unit_test(no_update_is_lost),
        cmocka_unit_test(a_group_is_not_one_batch),
        cmocka_unit_test(closing_answers_all),
        cmocka_unit_test(refuses_strange_files),
        cmocka_unit_test(a_read_only_folder_is_told),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(a_limit_of_file_size_is_told),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
