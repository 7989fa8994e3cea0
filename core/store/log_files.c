// SPDX-License-Identifier: Apache-2.0
// Writing the log's files: one thread does it all.
//
// Logging. Whoever logs makes the line and puts it into a queue (the sink); it never waits for the
// disk. What waits is counted in bytes; beyond the bound records are dropped and counted, and the
// count becomes a record itself, at most every REPORT. The thread takes all that is queued, sorts
// it by service, and writes what each has with one call. Nothing is forced to the disk: a crash of
// the machine may lose the last seconds of logs, a crash of the process only what was queued.
//
// Files. A service has a folder; its newest file is appended to. A line that does not fit any more
// begins the next one, whose number is greater by one; the first number is the time in seconds, so
// that numbers go on growing when a folder has been emptied. The oldest files beyond the count are
// deleted, and so are those that have not been written to for `age`: when a file begins, and hourly
// for all services. A file takes records for age / files only, so that little is kept beyond that.
// Half a line that a crash has left is ended with a line feed when its file is opened again; it is
// no JSON, and readers pass over it.
//
// Reading is done by the caller's thread (log_scan.c), after what it may have seen being logged is
// written. A read that finds nothing and may wait is handed to the log's thread, which looks again
// when that service has logged something.
//
// Owned by the thread: streams, waiting reads. `lock` is for going to sleep and for flushes. The
// files belong to one process: the data folder is locked.
#include "store/log_files.h"

#include "base/clock.h"
#include "base/map.h"
#include "store/log_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_MOST 256               // streams whose file is kept open
#define REPORT (10 * NS_PER_SECOND) // between two reports of what was dropped
#define SWEEP_EVERY (3600 * NS_PER_SECOND)
#define PENDING_KEPT (64u << 10) // bytes of memory that a stream keeps between batches
#define WAITING_MOST 1000        // reads

enum node_kind { RECORD, FLUSH, READ };

struct node {
    struct mpsc_node link; // first
    enum node_kind kind;
    struct log_read *read;
    bool flushed; // FLUSH: under the lock
    bool report;  // RECORD: what the log says of itself
    size_t key_n; // RECORD: of the bytes, NAMESPACE NUL SERVICE; the line follows
    struct buf bytes;
};

struct stream { // a service's newest file
    int fd;
    uint64_t sequence, size;
    int64_t born;       // clock_unix of its beginning
    struct buf pending; // to be written
    size_t records;     // in it, reports left out
    bool touched;       // by this batch
    struct stream *next_touched;
    char *folder;
};

struct log_files {
    struct log_sink sink; // first
    struct log_files_options options;
    char *folder;
    struct mpsc queue;
    atomic_size_t queued; // bytes
    atomic_ullong dropped;
    pthread_mutex_t lock;
    pthread_cond_t wake, flushed;
    pthread_t thread;
    bool closing; // under the lock
    // of the thread
    struct map streams; // NAMESPACE NUL SERVICE -> struct stream
    struct stream *touched;
    struct log_read *waiting;
    size_t waiting_count;
    int64_t sweep_at, report_at; // clock_now
    int write_error;             // errno; 0: dropped because the queue was full
};

static _Thread_local bool on_log_thread;

// ---- the queue
static void push(struct log_files *f, struct node *n) {
    if (!mpsc_push(&f->queue, &n->link)) return;
    pthread_mutex_lock(&f->lock);
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

static void node_free(struct node *n) {
    buf_free(&n->bytes);
    free(n);
}

// The sink; any thread.
static void add(struct log_sink *sink, const struct log_entry *e) {
    struct log_files *f = (struct log_files *)sink;
    if (e->service.n == 0) return;
    struct node *n = NULL;
    if (atomic_load(&f->queued) < f->options.queue_bytes) n = calloc(1, sizeof *n);
    if (n == NULL) {
        atomic_fetch_add(&f->dropped, 1);
        return;
    }
    n->kind = RECORD;
    n->report = on_log_thread;
    buf_append_str(&n->bytes, e->ns);
    buf_append_byte(&n->bytes, '\0');
    buf_append_str(&n->bytes, e->service);
    n->key_n = n->bytes.n;
    log_line_write(&n->bytes, e);
    size_t before = atomic_fetch_add(&f->queued, n->bytes.n);
    if (!n->bytes.failed && before + n->bytes.n <= f->options.queue_bytes) {
        push(f, n);
        return;
    }
    atomic_fetch_sub(&f->queued, n->bytes.n);
    atomic_fetch_add(&f->dropped, 1);
    node_free(n);
}

// ---- folders and old files
// Makes the folders below the log's own. 0 or an errno.
static int make_folders(const char *base, char *path) {
    for (char *p = path + strlen(base) + 1; *p != '\0'; p++) {
        if (*p != '/') continue;
        *p = '\0';
        int rc = mkdir(path, 0700);
        *p = '/';
        if (rc != 0 && errno != EEXIST) return errno;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

// Deletes the files that are too many or too old.
static void prune(const struct log_files *f, const char *folder) {
    struct log_list list;
    char path[4096];
    struct stat st;
    int64_t oldest = clock_unix() - f->options.age;
    if (log_list_read(&list, folder, NULL) < 0) return;
    for (size_t i = 0; i < list.count; i++) {
        log_file_path(path, sizeof path, folder, list.sequences[i]);
        bool many = list.count - i > f->options.files;
        bool old = stat(path, &st) == 0 && (int64_t)st.st_mtim.tv_sec * NS_PER_SECOND < oldest;
        if (many || old) unlink(path);
    }
    log_list_free(&list);
}

// ---- streams
static void stream_free(struct stream *s) {
    if (s->fd >= 0) close(s->fd);
    buf_free(&s->pending);
    free(s->folder);
    free(s);
}

// 0 or an errno.
static int open_file(struct stream *s, bool fresh) {
    char path[4096];
    struct stat st;
    log_file_path(path, sizeof path, s->folder, s->sequence);
    s->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | (fresh ? O_EXCL : 0), 0600);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) return errno;
    s->size = (uint64_t)st.st_size;
    s->born = clock_unix();
    if (s->size == 0) return 0;
    char head[sizeof "{\"time\":" + 20] = "", last = '\n';
    if (pread(s->fd, head, sizeof head - 1, 0) > 0 && strncmp(head, "{\"time\":", 8) == 0)
        s->born = strtoll(head + 8, NULL, 10) * NS_PER_SECOND;
    if (pread(s->fd, &last, 1, (off_t)s->size - 1) == 1 && last != '\n' &&
        write(s->fd, "\n", 1) == 1)
        s->size++;
    return 0;
}

static int open_newest(const struct log_files *f, struct stream *s) {
    struct log_list list;
    int error = make_folders(f->folder, s->folder);
    if (error != 0) return error;
    prune(f, s->folder);
    if (log_list_read(&list, s->folder, NULL) < 0) return EIO;
    bool fresh = list.count == 0;
    s->sequence = fresh ? (uint64_t)(clock_unix() / NS_PER_SECOND) : list.sequences[list.count - 1];
    log_list_free(&list);
    return open_file(s, fresh);
}

static int rotate(const struct log_files *f, struct stream *s) {
    close(s->fd);
    s->fd = -1;
    s->sequence++;
    int error = open_file(s, true);
    prune(f, s->folder);
    return error;
}

static struct stream *stream_new(const struct log_files *f, struct str key) {
    struct buf folder = {0};
    size_t ns = strnlen(key.p, key.n);
    struct str service = {key.p + ns + 1, key.n - ns - 1};
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->fd = -1;
    if (log_folder(&folder, f->folder, (struct str){key.p, ns}, service))
        s->folder = strndup(buf_str(&folder).p, folder.n);
    buf_free(&folder);
    if (s->folder != NULL) return s;
    stream_free(s);
    return NULL;
}

static void touch(struct log_files *f, struct stream *s) {
    if (s->touched) return;
    s->touched = true;
    s->next_touched = f->touched;
    f->touched = s;
}

// What is not kept is counted; the file is opened anew for the next record.
static void lose(struct log_files *f, struct stream *s, int error) {
    atomic_fetch_add(&f->dropped, s->records);
    f->write_error = error;
    s->records = 0;
    s->pending.n = 0;
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

static void write_pending(struct log_files *f, struct stream *s) {
    const char *p = buf_str(&s->pending).p;
    size_t left = s->pending.n;
    int error = s->pending.failed ? ENOMEM : 0;
    if (left > 0 && s->fd < 0 && error == 0) error = open_newest(f, s);
    while (left > 0 && error == 0) {
        ssize_t n = write(s->fd, p, left);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            error = n == 0 ? EIO : errno;
            break;
        }
        p += n;
        left -= (size_t)n;
    }
    if (error == 0) {
        s->size += s->pending.n;
        s->pending.n = 0;
        if (s->pending.cap > PENDING_KEPT) buf_free(&s->pending);
        s->records = 0;
        return;
    }
    // Half a line is taken back; when even that fails, opening the file again ends it.
    if (s->fd >= 0 && ftruncate(s->fd, (off_t)s->size) != 0) error = errno;
    if (s->pending.failed) buf_free(&s->pending);
    lose(f, s, error);
}

static bool is_full(const struct log_files *f, const struct stream *s, size_t more) {
    uint64_t size = s->size + s->pending.n;
    int64_t span = f->options.age / f->options.files;
    return size > 0 && (size + more > f->options.file_size || clock_unix() - s->born > span);
}

static void add_line(struct log_files *f, struct node *n) {
    struct str all = buf_str(&n->bytes), key = {all.p, n->key_n};
    struct stream *s = map_get(&f->streams, key);
    if (s == NULL) {
        s = stream_new(f, key);
        if (s != NULL && map_put(&f->streams, key, s) < 0) {
            stream_free(s);
            s = NULL;
        }
    }
    if (s == NULL) {
        atomic_fetch_add(&f->dropped, n->report ? 0 : 1);
        return;
    }
    touch(f, s);
    if (s->fd < 0) {
        int error = open_newest(f, s);
        if (error != 0) {
            if (!n->report) s->records++;
            lose(f, s, error);
            return;
        }
    }
    if (is_full(f, s, all.n - n->key_n)) {
        write_pending(f, s);
        int error = s->fd >= 0 ? rotate(f, s) : 0;
        if (error != 0) lose(f, s, error);
    }
    buf_append(&s->pending, all.p + n->key_n, all.n - n->key_n);
    if (!n->report) s->records++;
}

static void close_streams(struct log_files *f) {
    for (struct map_entry *e = map_next(&f->streams, NULL); e != NULL; e = map_next(&f->streams, e))
        stream_free(e->value);
    map_free(&f->streams);
}

// ---- reads that wait
static void end_read(struct log_read *r, const struct err *err) {
    if (err->code != 0) log_read_clear(r);
    r->done(r, err);
}

static bool service_folder(const struct log_files *f, const struct log_read *r, struct buf *out) {
    return log_folder(out, f->folder, str_of(r->query.ns), str_of(r->query.service));
}

static bool is_touched(struct log_files *f, const struct log_read *r) {
    struct buf key = {0};
    buf_append_text(&key, r->query.ns);
    buf_append_byte(&key, '\0');
    buf_append_text(&key, r->query.service);
    struct stream *s = map_get(&f->streams, buf_str(&key));
    buf_free(&key);
    return s != NULL && s->touched;
}

// True when it has been answered.
static bool look_again(struct log_files *f, struct log_read *r) {
    struct err err = {0};
    struct buf folder = {0};
    if (service_folder(f, r, &folder)) log_scan(r, buf_cstr(&folder), &err);
    buf_free(&folder);
    if (err.code == 0 && r->count == 0) {
        log_scan_go_on(r);
        return false;
    }
    end_read(r, &err);
    return true;
}

static void look_for_all(struct log_files *f) {
    struct log_read **link = &f->waiting, *r;
    struct err none = {0};
    int64_t now = clock_now();
    while ((r = *link) != NULL) {
        struct log_read *next = r->next; // it may be gone when it is answered
        bool over = is_touched(f, r) && look_again(f, r);
        if (!over && r->until <= now) {
            end_read(r, &none);
            over = true;
        }
        if (over) {
            *link = next;
            f->waiting_count--;
        } else {
            link = &r->next;
        }
    }
}

static void add_waiting(struct log_files *f, struct log_read *r) {
    struct err err = {0};
    if (look_again(f, r)) return; // something came between its own look and now
    if (f->waiting_count >= WAITING_MOST) {
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "%d reads of logs wait already", WAITING_MOST);
        end_read(r, &err);
        return;
    }
    r->next = f->waiting;
    f->waiting = r;
    f->waiting_count++;
}

// ---- the thread
static void write_touched(struct log_files *f) {
    for (struct stream *s = f->touched; s != NULL; s = s->next_touched) write_pending(f, s);
}

static void untouch(struct log_files *f) {
    for (struct stream *s = f->touched; s != NULL; s = s->next_touched) s->touched = false;
    f->touched = NULL;
    if (f->streams.count > OPEN_MOST) close_streams(f);
}

static void say_flushed(struct log_files *f, struct node *n) {
    pthread_mutex_lock(&f->lock);
    n->flushed = true;
    pthread_cond_broadcast(&f->flushed);
    pthread_mutex_unlock(&f->lock);
}

// Records first, so that flushes and reads find them in the files.
static void take_batch(struct log_files *f, struct mpsc_node *chain) {
    struct node *later = NULL, **last = &later;
    struct mpsc_node *next;
    for (struct mpsc_node *link = chain; link != NULL; link = next) {
        struct node *n = (struct node *)link;
        next = link->next;
        if (n->kind != RECORD) {
            link->next = NULL;
            *last = n;
            last = (struct node **)&link->next;
            continue;
        }
        add_line(f, n);
        atomic_fetch_sub(&f->queued, n->bytes.n);
        node_free(n);
    }
    write_touched(f);
    look_for_all(f);
    untouch(f);
    for (struct node *n = later, *after; n != NULL; n = after) {
        after = (struct node *)n->link.next;
        if (n->kind == FLUSH) {
            say_flushed(f, n); // it is the waiting thread's
        } else {
            add_waiting(f, n->read);
            free(n);
        }
    }
}

static void report(struct log_files *f, bool now) {
    if (!now && clock_now() < f->report_at) return;
    unsigned long long n = atomic_exchange(&f->dropped, 0);
    if (n == 0) return;
    f->report_at = clock_now() + REPORT;
    log_printf(LOG_WARN, "server", "%llu log records were not kept: %s", n,
               f->write_error == 0 ? "they came faster than they could be written"
                                   : strerror(f->write_error));
    f->write_error = 0;
}

// Old files of all services.
static void sweep(struct log_files *f) {
    if (clock_now() < f->sweep_at) return;
    f->sweep_at = clock_now() + SWEEP_EVERY;
    close_streams(f); // a file that is deleted must not be written to
    DIR *all = opendir(f->folder);
    struct dirent *ns, *service;
    char path[4096], inner[4096 + 256];
    while (all != NULL && (ns = readdir(all)) != NULL) {
        if (ns->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", f->folder, ns->d_name);
        DIR *d = opendir(path);
        while (d != NULL && (service = readdir(d)) != NULL) {
            if (service->d_name[0] == '.') continue;
            snprintf(inner, sizeof inner, "%s/%s", path, service->d_name);
            prune(f, inner);
        }
        if (d != NULL) closedir(d);
    }
    if (all != NULL) closedir(all);
}

static int64_t next_time(const struct log_files *f) {
    int64_t at = f->sweep_at;
    if (atomic_load(&f->dropped) > 0 && f->report_at < at) at = f->report_at;
    for (const struct log_read *r = f->waiting; r != NULL; r = r->next) {
        if (r->until < at) at = r->until;
    }
    return at;
}

static void *run(void *arg) {
    struct log_files *f = arg;
    on_log_thread = true;
    for (;;) {
        sweep(f);
        take_batch(f, mpsc_take(&f->queue));
        report(f, false);
        int64_t until = next_time(f);
        struct timespec at = {.tv_sec = until / NS_PER_SECOND, .tv_nsec = until % NS_PER_SECOND};
        pthread_mutex_lock(&f->lock);
        while (mpsc_empty(&f->queue) && !f->closing && clock_now() < until)
            pthread_cond_timedwait(&f->wake, &f->lock, &at);
        bool over = mpsc_empty(&f->queue) && f->closing;
        pthread_mutex_unlock(&f->lock);
        if (over) return NULL;
    }
}

// ---- open and close
static void free_all(struct log_files *f) {
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
    pthread_cond_destroy(&f->flushed);
    free(f->folder);
    free(f);
}

struct log_files *log_files_open(const struct log_files_options *options, struct err *err) {
    struct log_files *f = calloc(1, sizeof *f);
    if (f == NULL || (f->folder = strdup(options->folder)) == NULL) {
        free(f);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    f->sink.write = add;
    f->options = *options;
    if (f->options.file_size == 0) f->options.file_size = 8u << 20;
    if (f->options.files == 0) f->options.files = 5;
    if (f->options.age == 0) f->options.age = 14 * 24 * 3600 * NS_PER_SECOND;
    if (f->options.queue_bytes == 0) f->options.queue_bytes = 8u << 20;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, &clock);
    pthread_cond_init(&f->flushed, NULL);
    pthread_condattr_destroy(&clock);
    if (mkdir(f->folder, 0700) != 0 && errno != EEXIST) {
        err_set(err, STATUS_FAILED_PRECONDITION, "cannot make the folder %s: %s", f->folder,
                strerror(errno));
    } else if (pthread_create(&f->thread, NULL, run, f) != 0) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "cannot start the thread of the log");
    } else {
        return f;
    }
    free_all(f);
    return NULL;
}

struct log_sink *log_files_sink(struct log_files *f) {
    return &f->sink;
}

void log_files_flush(struct log_files *f) {
    struct node n = {.kind = FLUSH};
    push(f, &n);
    pthread_mutex_lock(&f->lock);
    while (!n.flushed) pthread_cond_wait(&f->flushed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

void log_files_close(struct log_files *f) {
    struct err none = {0};
    if (f == NULL) return;
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    on_log_thread = true; // for the last report
    report(f, true);
    take_batch(f, mpsc_take(&f->queue));
    on_log_thread = false;
    for (struct log_read *r = f->waiting, *next; r != NULL; r = next) {
        next = r->next;
        end_read(r, &none);
    }
    close_streams(f);
    free_all(f);
}

// ---- reading
void log_files_read(struct log_files *f, struct log_read *r) {
    struct err err = {0};
    struct buf folder = {0};
    r->first = NULL;
    r->count = 0;
    log_files_flush(f);
    if (!service_folder(f, r, &folder)) {
        err_set(&err, STATUS_INVALID_ARGUMENT,
                "a log is of a service: its name is missing, or "
                "too long");
    } else {
        log_scan(r, buf_cstr(&folder), &err);
    }
    buf_free(&folder);
    struct node *n = NULL;
    if (err.code == 0 && r->count == 0 && r->query.wait > 0) n = calloc(1, sizeof *n);
    if (n == NULL) {
        end_read(r, &err);
        return;
    }
    log_scan_go_on(r);
    r->until = clock_now() + r->query.wait;
    n->kind = READ;
    n->read = r;
    push(f, n);
}
