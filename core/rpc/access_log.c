// SPDX-License-Identifier: Apache-2.0
// The access log: buffers of the loops, and the thread that writes them.
//
// The loops and the writer share a list of blobs under a lock that is held for a few instructions; a blob holds what a loop has
// gathered, so the lock is taken some ten times a second, not for each request. The writer owns the file.
#include "rpc/access_log.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define GATHERED (32 * 1024) // bytes that are handed over at once
#define GATHER_TIME (NS_PER_SECOND / 10)
#define COMPLAIN_EVERY (60 * NS_PER_SECOND)

struct batch {
    struct batch *next;
    struct blob *text;
    unsigned lines;
};

struct gathering { // of a loop, on its thread
    struct loop_timer timer;
    struct access_log *log;
    struct buf text;
    unsigned lines;
};

struct access_log {
    char *path;
    enum access_format format;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    // Under the lock.
    struct batch *first, **last;
    size_t waiting; // bytes
    bool reopen, stop;
    atomic_uint_fast64_t dropped;
    // The writer's.
    int fd;
    int error; // of the last write or open
    uint64_t told;
    int64_t complained;
    unsigned loop_count;
    struct gathering loops[];
};

// ---- the writer

static int open_file(const char *path) {
    if (strcmp(path, "-") == 0) return STDOUT_FILENO;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    return fd < 0 ? -errno : fd;
}

static void close_file(struct access_log *a) {
    if (a->fd >= 0 && a->fd != STDOUT_FILENO) close(a->fd);
    a->fd = -1;
}

static void drop(struct access_log *a, unsigned lines) {
    atomic_fetch_add_explicit(&a->dropped, lines, memory_order_relaxed);
}

static void complain(struct access_log *a) {
    uint64_t dropped = access_log_dropped(a);
    int64_t now = clock_now();
    if (dropped == a->told || (a->complained != 0 && now - a->complained < COMPLAIN_EVERY)) return;
    log_printf(LOG_WARN, "server", "access log %s: %llu lines were not written: %s", a->path,
               (unsigned long long)(dropped - a->told),
               a->error == 0 ? "it takes them too slowly" : strerror(a->error));
    a->told = dropped;
    a->complained = now;
}

static void write_batch(struct access_log *a, struct batch *b) {
    struct str rest = blob_str(b->text);
    while (rest.n > 0 && a->fd >= 0) {
        ssize_t n = write(a->fd, rest.p, rest.n);
        if (n < 0 && errno == EINTR) continue;
        a->error = n < 0 ? errno : 0;
        if (n <= 0) break;
        rest = (struct str){rest.p + n, rest.n - (size_t)n};
    }
    if (rest.n > 0) drop(a, b->lines);
    blob_drop(b->text);
    free(b);
}

static void reopen(struct access_log *a) {
    if (a->fd == STDOUT_FILENO) return;
    close_file(a);
    int fd = open_file(a->path);
    a->fd = fd < 0 ? -1 : fd;
    a->error = fd < 0 ? -fd : 0;
}

static void *write_all(void *user) {
    struct access_log *a = user;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (a->first == NULL && !a->reopen && !a->stop) pthread_cond_wait(&a->wake, &a->lock);
        struct batch *list = a->first;
        bool fresh = a->reopen;
        bool last = a->stop;
        a->first = NULL;
        a->last = &a->first;
        a->reopen = false;
        pthread_mutex_unlock(&a->lock);
        if (fresh) reopen(a);
        size_t written = 0;
        while (list != NULL) {
            struct batch *b = list;
            list = b->next;
            written += b->text->n;
            write_batch(a, b);
        }
        complain(a);
        pthread_mutex_lock(&a->lock);
        a->waiting -= written;
        if (last && a->first == NULL) break;
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

// ---- the loops

static void hand_over(struct gathering *g) {
    struct access_log *a = g->log;
    struct batch *b = malloc(sizeof *b);
    unsigned lines = g->lines;
    bool failed = g->text.failed;
    struct blob *text = failed ? NULL : buf_take(&g->text);
    if (failed) buf_free(&g->text);
    g->lines = 0;
    if (b == NULL || text == NULL) {
        blob_drop(text);
        free(b);
        drop(a, lines);
        return;
    }
    *b = (struct batch){NULL, text, lines};
    pthread_mutex_lock(&a->lock);
    bool room = a->waiting + text->n <= ACCESS_WAITING;
    if (room) {
        *a->last = b;
        a->last = &b->next;
        a->waiting += text->n;
        pthread_cond_signal(&a->wake);
    }
    pthread_mutex_unlock(&a->lock);
    if (room) return;
    drop(a, lines);
    blob_drop(text);
    free(b);
}

static void on_time(struct loop *loop, struct loop_timer *timer) {
    (void)loop;
    struct gathering *g = (struct gathering *)timer; // its first field
    if (g->lines > 0) hand_over(g);
}

void access_log_put(struct access_log *a, struct loop *loop, const struct access_line *line) {
    struct gathering *g = &a->loops[loop->index];
    access_format_line(a->format, line, &g->text);
    if (g->lines++ == 0 && loop_timer_set(loop, &g->timer, loop_now(loop) + GATHER_TIME) < 0) {
        hand_over(g); // without a timer each line goes by itself
        return;
    }
    if (g->text.n < GATHERED && !g->text.failed) return;
    loop_timer_clear(loop, &g->timer);
    hand_over(g);
}

// ---- life

struct access_log *access_log_open(const char *path, enum access_format format, unsigned loop_count,
                                   struct err *err) {
    struct access_log *a = calloc(1, sizeof *a + loop_count * sizeof a->loops[0]);
    if (a == NULL || (a->path = strdup(path)) == NULL) {
        free(a);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the access log");
        return NULL;
    }
    a->format = format;
    a->last = &a->first;
    a->loop_count = loop_count;
    for (unsigned i = 0; i < loop_count; i++) {
        a->loops[i].log = a;
        a->loops[i].timer.fire = on_time;
    }
    a->fd = open_file(path);
    if (a->fd < 0) {
        err_set(err, STATUS_INVALID_ARGUMENT, "--access-log %s: %s", path, strerror(-a->fd));
        goto fail;
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
    if (pthread_create(&a->thread, NULL, write_all, a) == 0) return a;
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "no thread for the access log");
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
    close_file(a);
fail:
    free(a->path);
    free(a);
    return NULL;
}

void access_log_close(struct access_log *a) {
    if (a == NULL) return;
    for (unsigned i = 0; i < a->loop_count; i++) {
        if (a->loops[i].lines > 0) hand_over(&a->loops[i]);
        buf_free(&a->loops[i].text);
    }
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
    close_file(a);
    free(a->path);
    free(a);
}

void access_log_reopen(struct access_log *a) {
    pthread_mutex_lock(&a->lock);
    a->reopen = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

uint64_t access_log_dropped(struct access_log *a) {
    return a == NULL ? 0 : atomic_load_explicit(&a->dropped, memory_order_relaxed);
}
