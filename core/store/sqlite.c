// SPDX-License-Identifier: Apache-2.0
// The engine on SQLite: one file, its write-ahead log beside it (WAL), every commit forced to the
// disk (synchronous=FULL).
//
// A group of batches is one transaction:
//
//   BEGIN IMMEDIATE                       nobody else may write from here on
//     SAVEPOINT batch; operations; RELEASE batch          for each batch
//     or, when a condition does not hold or it cannot be written: ROLLBACK TO batch; RELEASE batch
//     the counter of versions
//   COMMIT                                the one wait for the disk
//
// What this gives:
// - A batch that fails takes nothing of the others with it, and leaves nothing of itself.
// - Batches see what those before them in the group have written, as if they had been committed one
//   by one.
// - When BEGIN or COMMIT fails, or SQLite has ended the transaction by itself (it may, when the disk
//   is full), all batches of the group fail with that fault, those included whose conditions did
//   not hold: they may have failed for what another batch wrote, and that is gone too. None of them
//   has been answered yet, so nobody has been told otherwise.
// - IMMEDIATE, since a transaction that begins by reading cannot wait for the lock when it comes to
//   write.
// - Versions come from one counter. It is kept in memory, goes up with every record written and is
//   stored with the group. After a group that failed it stays up: a number may be skipped, and is
//   never given twice.
//
// The log grows until it is copied into the file (a checkpoint). SQLite would do that inside a
// commit, while callers wait; we turn that off and do it when nothing is waiting, or, when the log
// has become large, between two groups.
//
// Readers have connections of their own, read-only; each statement sees the last commit. When the
// disk is full or the file has become read-only, writing fails with a text that says so, and
// reading goes on.
//
// The schema is brought up to date by the numbered steps below, forward only, each in a transaction
// with its number (user_version). A file with a higher number is from a newer program and is left
// alone.
//
// Tables are rows of one table, keyed by (table, key), both blobs, so that their order is that of
// bytes.
#include "store/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION_ID 0x4D696361 // "Mica"
#define BUSY_MS 5000              // for other programs that look into the file
#define CHECKPOINT_PAGES 1000     // of the log: worth a checkpoint when nothing waits
#define LARGE_PAGES 16000         // 64 MB: now

enum statement { BEGIN, COMMIT, ROLLBACK, SAVE, RELEASE, UNDO, PUT, REMOVE, VERSION, COUNT, LAST };

static const char PUT_SQL[] =
    "INSERT INTO records(tab, key, value, version) VALUES(?1, ?2, ?3, ?4) "
    "ON CONFLICT(tab, key) DO UPDATE SET value = excluded.value, version = excluded.version";

static const char *const WRITER_SQL[LAST] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [SAVE] = "SAVEPOINT batch",
    [RELEASE] = "RELEASE batch",
    [UNDO] = "ROLLBACK TO batch",
    [PUT] = PUT_SQL,
    [REMOVE] = "DELETE FROM records WHERE tab = ?1 AND key = ?2",
    [VERSION] = "SELECT version FROM records WHERE tab = ?1 AND key = ?2",
    [COUNT] = "UPDATE counters SET value = ?1 WHERE name = 'version'",
};

enum reader_statement { GET, LIST, READER_LAST };

static const char *const READER_SQL[READER_LAST] = {
    [GET] = "SELECT key, value, version FROM records WHERE tab = ?1 AND key = ?2",
    [LIST] = "SELECT key, value, version FROM records WHERE tab = ?1 AND key >= ?2 AND key < ?3 "
             "ORDER BY key LIMIT ?4",
};

static const char *const MIGRATIONS[] = {
    // 1: the beginning
    "CREATE TABLE records (tab BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " version INTEGER NOT NULL, PRIMARY KEY (tab, key)) WITHOUT ROWID;"
    "CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO counters VALUES ('version', 0);",
};
#define NEWEST ((int)(sizeof MIGRATIONS / sizeof MIGRATIONS[0]))

struct connection {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[LAST];
    uint64_t version; // the last one given
    int log_pages;    // as of the last commit
};

// ---- faults
// SQLite does not tell the errno of a COMMIT that failed; then it is the thread's own, which `run`
// has cleared before.
static int disk_fault(const struct connection *c, struct err *err) {
    int last = errno, error = sqlite3_system_errno(c->db);
    if (error == 0) error = last;
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "cannot write to %s: %s; make room on the disk", c->path, strerror(error));
    return err_set(err, STATUS_UNAVAILABLE, "cannot read or write %s: %s", c->path,
                   error == 0 ? "the disk reports an error" : strerror(error));
}

static int fault(const struct connection *c, int code, struct err *err) {
    switch (code & 0xFF) {
    case SQLITE_FULL:
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "cannot write to %s: the disk is full; make room on it", c->path);
    case SQLITE_IOERR: return disk_fault(c, err);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return err_set(err, STATUS_PERMISSION_DENIED,
                       "cannot write to %s: the file or its folder is read-only for this user",
                       c->path);
    case SQLITE_CORRUPT:
        return err_set(err, STATUS_DATA_LOSS,
                       "%s is damaged (%s): stop the server and restore a copy of it", c->path,
                       c->db == NULL ? "" : sqlite3_errmsg(c->db));
    case SQLITE_NOTADB:
        return err_set(err, STATUS_DATA_LOSS, "%s is not a database: restore a copy of it",
                       c->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, STATUS_UNAVAILABLE, "%s is locked by another program", c->path);
    case SQLITE_NOMEM: return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    default:
        return err_set(err, STATUS_INTERNAL, "%s: %s", c->path,
                       c->db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(c->db));
    }
}

// ---- statements
static void bind_bytes(sqlite3_stmt *s, int index, struct str bytes) {
    // A pointer to NULL would be SQL's NULL. Binding blobs that the caller keeps cannot fail below
    // SQLite's limit of length, which is far beyond ours.
    sqlite3_bind_blob(s, index, bytes.n == 0 ? "" : bytes.p, (int)bytes.n, SQLITE_STATIC);
}

// Runs a statement that gives no rows.
static int run(struct connection *c, enum statement which, struct err *err) {
    sqlite3_stmt *s = c->statements[which];
    errno = 0;
    int code = sqlite3_step(s);
    if (code != SQLITE_DONE && code != SQLITE_ROW) fault(c, code, err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : -(int)err->code;
}

static int64_t pragma(struct connection *c, const char *sql, struct err *err) {
    sqlite3_stmt *s = NULL;
    int64_t value = -1;
    int code = sqlite3_prepare_v2(c->db, sql, -1, &s, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        value = sqlite3_column_int64(s, 0);
    } else {
        fault(c, code == SQLITE_DONE ? SQLITE_CORRUPT : code, err);
    }
    sqlite3_finalize(s);
    return value;
}

static int execute(struct connection *c, const char *sql, struct err *err) {
    int code = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : fault(c, code, err);
}

static int prepare(struct connection *c, const char *const *sql, int count, struct err *err) {
    for (int i = 0; i < count; i++) {
        int code = sqlite3_prepare_v3(c->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &c->statements[i], NULL);
        if (code != SQLITE_OK) return fault(c, code, err);
    }
    return 0;
}

// ---- open and close
static int migrate_to(struct connection *c, int number, struct err *err) {
    char seal[100];
    snprintf(seal, sizeof seal, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             APPLICATION_ID, number);
    int rc = execute(c, "BEGIN IMMEDIATE", err);
    if (rc == 0) rc = execute(c, MIGRATIONS[number - 1], err);
    if (rc == 0) rc = execute(c, seal, err);
    if (rc < 0 && !sqlite3_get_autocommit(c->db)) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int check_origin(struct connection *c, int *schema, struct err *err) {
    int64_t id = pragma(c, "PRAGMA application_id", err);
    if (id < 0 && err->code != 0) return -(int)err->code;
    int64_t number = pragma(c, "PRAGMA user_version", err);
    if (number < 0 && err->code != 0) return -(int)err->code;
    int64_t objects = pragma(c, "SELECT count(*) FROM sqlite_schema", err);
    if (objects < 0) return -(int)err->code;
    bool fresh = id == 0 && number == 0 && objects == 0;
    if (!fresh && (id != APPLICATION_ID || number < 0))
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "%s is not a file of Mica's: move it away, or choose another folder",
                       c->path);
    if (number > NEWEST)
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "%s was written by a newer version of Mica (schema %d, this one knows %d): "
                       "run that version, or restore a copy from before",
                       c->path, (int)number, NEWEST);
    *schema = (int)number;
    return 0;
}

static int on_commit(void *user, sqlite3 *db, const char *name, int pages) {
    (void)db;
    (void)name;
    ((struct connection *)user)->log_pages = pages;
    return SQLITE_OK;
}

static int set_up_writer(struct connection *c, struct err *err) {
    int schema = 0;
    int rc = check_origin(c, &schema, err);
    if (rc == 0) rc = execute(c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
    while (rc == 0 && schema < NEWEST) rc = migrate_to(c, ++schema, err);
    if (rc == 0) rc = prepare(c, WRITER_SQL, LAST, err);
    if (rc < 0) return rc;
    int64_t version = pragma(c, "SELECT value FROM counters WHERE name = 'version'", err);
    if (version < 0) return -(int)err->code;
    c->version = (uint64_t)version;
    sqlite3_wal_autocheckpoint(c->db, 0); // uses the same hook
    sqlite3_wal_hook(c->db, on_commit, c);
    return 0;
}

static void close_connection(void *connection) {
    struct connection *c = connection;
    for (int i = 0; i < LAST; i++) sqlite3_finalize(c->statements[i]);
    if (c->db != NULL && !sqlite3_db_readonly(c->db, "main"))
        sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_close(c->db);
    free(c->path);
    free(c);
}

// The file is made before SQLite would, for the owner only; its log gets the same mode.
static int make_file(const char *path, struct err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    enum status status = errno == ENOSPC || errno == EDQUOT ? STATUS_RESOURCE_EXHAUSTED
                         : errno == EACCES || errno == EPERM || errno == EROFS
                             ? STATUS_PERMISSION_DENIED
                             : STATUS_FAILED_PRECONDITION;
    return err_set(err, status, "cannot write to %s: %s", path, strerror(errno));
}

static void *open_connection(const char *path, bool writer, struct err *err) {
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL || (c->path = strdup(path)) == NULL) {
        free(c);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    if (writer && make_file(path, err) < 0) goto fail;
    int code = sqlite3_open_v2(path, &c->db, flags, NULL);
    if (code != SQLITE_OK) {
        fault(c, code, err);
        goto fail;
    }
    sqlite3_busy_timeout(c->db, BUSY_MS);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    int rc = writer ? set_up_writer(c, err) : prepare(c, READER_SQL, READER_LAST, err);
    if (rc == 0) return c;
fail:
    close_connection(c);
    return NULL;
}

// ---- writing
static int broken_condition(const struct engine_operation *o, uint64_t version, struct err *err) {
    int table = (int)o->table.n, key = (int)o->key.n;
    if (o->if_version == ENGINE_ABSENT)
        return err_set(err, STATUS_ABORTED, "\"%.*s\" of %.*s exists already", key, o->key.p, table,
                       o->table.p);
    if (version == 0)
        return err_set(err, STATUS_ABORTED, "\"%.*s\" of %.*s has been deleted meanwhile", key,
                       o->key.p, table, o->table.p);
    return err_set(err, STATUS_ABORTED, "\"%.*s\" of %.*s has been changed meanwhile", key,
                   o->key.p, table, o->table.p);
}

static int check_condition(struct connection *c, const struct engine_operation *o,
                           struct err *err) {
    sqlite3_stmt *s = c->statements[VERSION];
    bind_bytes(s, 1, o->table);
    bind_bytes(s, 2, o->key);
    int code = sqlite3_step(s);
    uint64_t version = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE) fault(c, code, err);
    sqlite3_reset(s);
    if (code != SQLITE_ROW && code != SQLITE_DONE) return -(int)err->code;
    uint64_t wanted = o->if_version == ENGINE_ABSENT ? 0 : (uint64_t)o->if_version;
    return version == wanted ? 0 : broken_condition(o, version, err);
}

static int apply(struct connection *c, struct engine_operation *o, struct err *err) {
    if (o->if_version != ENGINE_ANY) {
        int rc = check_condition(c, o, err);
        if (rc < 0) return rc;
    }
    sqlite3_stmt *s = c->statements[o->remove ? REMOVE : PUT];
    o->version = o->remove ? 0 : ++c->version;
    bind_bytes(s, 1, o->table);
    bind_bytes(s, 2, o->key);
    if (!o->remove) {
        bind_bytes(s, 3, o->value);
        sqlite3_bind_int64(s, 4, (sqlite3_int64)o->version);
    }
    return run(c, o->remove ? REMOVE : PUT, err);
}

// 0 when the transaction goes on, whatever became of the batch (batch->err); else it is over.
static int write_batch(struct connection *c, struct engine_batch *batch, struct err *err) {
    int rc = run(c, SAVE, err);
    if (rc < 0) return rc;
    for (size_t i = 0; rc == 0 && i < batch->count; i++)
        rc = apply(c, &batch->operations[i], &batch->err);
    if (rc < 0 && sqlite3_get_autocommit(c->db)) { // SQLite has rolled back all of it
        *err = batch->err;
        return rc;
    }
    rc = rc < 0 ? run(c, UNDO, err) : 0;
    return rc == 0 ? run(c, RELEASE, err) : rc;
}

static int write_chain(struct connection *c, struct engine_batch *first, struct err *err) {
    uint64_t before = c->version;
    int rc = run(c, BEGIN, err);
    for (struct engine_batch *b = first; rc == 0 && b != NULL;
         b = (struct engine_batch *)b->link.next)
        rc = write_batch(c, b, err);
    if (rc == 0 && c->version != before) {
        sqlite3_bind_int64(c->statements[COUNT], 1, (sqlite3_int64)c->version);
        rc = run(c, COUNT, err);
    }
    return rc == 0 ? run(c, COMMIT, err) : rc;
}

static void write_group(void *connection, struct engine_batch *first) {
    struct connection *c = connection;
    struct err err = {0}, ignored = {0};
    if (write_chain(c, first, &err) == 0) return;
    if (!sqlite3_get_autocommit(c->db)) run(c, ROLLBACK, &ignored);
    for (struct engine_batch *b = first; b != NULL; b = (struct engine_batch *)b->link.next)
        b->err = err;
}

static void rest(void *connection, bool busy) {
    struct connection *c = connection;
    if (c->log_pages < (busy ? LARGE_PAGES : CHECKPOINT_PAGES)) return;
    // What it cannot do now (readers, a full disk) is left for the next time.
    int mode = c->log_pages < LARGE_PAGES ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE;
    int code = sqlite3_wal_checkpoint_v2(c->db, NULL, mode, NULL, NULL);
    if (code == SQLITE_OK) c->log_pages = 0;
}

// ---- reading
static bool add_record(sqlite3_stmt *s, struct engine_read *read) {
    struct engine_record *r = &read->records[read->count];
    r->key.n = (size_t)sqlite3_column_bytes(s, 0);
    buf_append(&read->bytes, sqlite3_column_blob(s, 0), r->key.n);
    r->value.n = (size_t)sqlite3_column_bytes(s, 1);
    buf_append(&read->bytes, sqlite3_column_blob(s, 1), r->value.n);
    r->version = (uint64_t)sqlite3_column_int64(s, 2);
    read->count++;
    return !read->bytes.failed;
}

// The bytes have moved while they grew.
static void place_records(struct engine_read *read) {
    const char *p = buf_str(&read->bytes).p;
    for (size_t i = 0; i < read->count; i++) {
        struct engine_record *r = &read->records[i];
        r->key.p = p;
        r->value.p = p + r->key.n;
        p += r->key.n + r->value.n;
    }
}

// A range from the first to before the last of these keys, which are at most one byte longer than a
// key may be.
struct range {
    char from[ENGINE_KEY_MAX + 1], to[ENGINE_KEY_MAX + 1];
    size_t from_n, to_n;
};

static void make_range(const struct engine_read *read, struct range *range) {
    struct str prefix = read->key, after = read->after;
    size_t n = prefix.n < after.n ? prefix.n : after.n;
    int order = n == 0 ? 0 : memcmp(prefix.p, after.p, n);
    bool later = after.n > 0 && (order < 0 || (order == 0 && prefix.n <= after.n));
    struct str from = later ? after : prefix;
    if (from.n > 0) memcpy(range->from, from.p, from.n);
    range->from_n = from.n;
    if (later) range->from[range->from_n++] = '\0'; // the next key that there can be
    memset(range->to, 0xFF, sizeof range->to);      // greater than every key
    range->to_n = sizeof range->to;
    for (n = prefix.n; n > 0 && (unsigned char)prefix.p[n - 1] == 0xFF; n--) continue;
    if (n == 0) return;
    memcpy(range->to, prefix.p, n);
    range->to[n - 1]++;
    range->to_n = n;
}

static void read_records(void *connection, struct engine_read *read, struct err *err) {
    struct connection *c = connection;
    sqlite3_stmt *s = c->statements[read->list ? LIST : GET];
    struct range range;
    unsigned limit =
        read->limit == 0 || read->limit > ENGINE_LIST_MAX ? ENGINE_LIST_MAX : read->limit;
    if (!read->list) limit = 1;
    read->records = calloc(limit, sizeof *read->records);
    if (read->records == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    bind_bytes(s, 1, read->table);
    if (read->list) {
        make_range(read, &range);
        bind_bytes(s, 2, (struct str){range.from, range.from_n});
        bind_bytes(s, 3, (struct str){range.to, range.to_n});
        sqlite3_bind_int64(s, 4, (sqlite3_int64)limit + 1); // one more, to know whether there are
    } else {
        bind_bytes(s, 2, read->key);
    }
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        size_t n = (size_t)sqlite3_column_bytes(s, 0) + (size_t)sqlite3_column_bytes(s, 1);
        read->more =
            read->count == limit || (read->count > 0 && read->bytes.n + n > ENGINE_LIST_BYTES);
        if (read->more || !add_record(s, read)) break;
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) fault(c, code, err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    place_records(read);
}

const struct engine_driver ENGINE_SQLITE = {
    .open = open_connection,
    .close = close_connection,
    .write = write_group,
    .rest = rest,
    .read = read_records,
};
