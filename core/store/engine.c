// SPDX-License-Identifier: Apache-2.0
// The engine's threads: one writer, and a few readers. What they do with the database is the
// driver's (sqlite.c).
//
// The writer. Batches come by a queue with many producers; the writer takes all that is there, in
// the order of their arrival, and hands it to the driver as groups of at most GROUP batches. A
// group is one transaction with one wait for the disk, which all its batches share: the more there
// is to do, the less each costs. While the disk works the next group gathers by itself, so nobody
// waits for a group to fill. Only when the driver returns are the group's batches answered: an
// answered batch is durable, and one that is not answered may or may not be.
//
// Bounds. What waits is counted (batches and bytes) when it is submitted and uncounted when it is
// answered; beyond the bounds a submission is refused at once, so a slow disk makes itself felt as
// RESOURCE_EXHAUSTED and not as memory.
//
// Readers take single requests from one queue under a lock, each on a connection of its own.
// Writers never wait for readers nor readers for writers. A read is begun after it was submitted,
// so it sees all that was answered before.
//
// The end. engine_close turns `closed` under both locks; what was taken before is done and
// answered, then the threads end: readers first, since the writer's connection must be the last one
// (it puts the log back into the file).
//
// Waking: the queue tells who pushes whether it was empty, and only that one signals. The signal is
// given under the lock that the writer holds when it looks at the queue for the last time before it
// sleeps, so it cannot be missed.
#include "store/engine.h"

#include "base/counters.h"
#include "store/driver.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define GROUP 256
#define READS_MAX 10000
#define READERS_MAX 16

struct reader {
    struct engine *engine;
    pthread_t thread;
    void *connection;
};

struct engine {
    const struct engine_driver *driver;
    bool closing_done; // of the thread that closes
    // the writer
    struct mpsc batches;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool writing; // the thread runs
    bool closed;  // under `lock` and `read_lock`; read under either
    atomic_size_t waiting, waiting_bytes;
    atomic_uint submitting; // threads between their look at `refusing` and the end of their push
    atomic_bool refusing;
    void *connection;
    // the readers
    pthread_mutex_t read_lock;
    pthread_cond_t read_wake;
    struct mpsc_node *reads, **reads_last; // under read_lock
    size_t reads_waiting;
    struct reader readers[READERS_MAX];
    unsigned reader_count; // whose thread runs
};

// ---- the writer
static void answer(struct engine *e, struct engine_batch *first) {
    struct engine_batch *next;
    for (struct engine_batch *b = first; b != NULL; b = next) {
        next = (struct engine_batch *)b->link.next;
        atomic_fetch_sub(&e->waiting, 1);
        atomic_fetch_sub(&e->waiting_bytes, b->bytes);
        struct err err = b->err; // the batch may be gone when `done` returns
        b->done(b, &err);
    }
}

// Cuts a group off the chain; the rest.
static struct mpsc_node *cut(struct mpsc_node *chain) {
    for (unsigned n = 1; n < GROUP && chain->next != NULL; n++) chain = chain->next;
    struct mpsc_node *rest = chain->next;
    chain->next = NULL;
    return rest;
}

static void write_all(struct engine *e, struct mpsc_node *chain) {
    while (chain != NULL) {
        struct mpsc_node *rest = cut(chain);
        struct engine_batch *first = (struct engine_batch *)chain;
        e->driver->write(e->connection, first);
        counter_add(COUNTER_STORE_GROUPS, 1);
        for (struct mpsc_node *n = chain; n != NULL; n = n->next)
            counter_add(COUNTER_STORE_BATCHES, 1);
        answer(e, first);
        e->driver->rest(e->connection, rest != NULL || !mpsc_empty(&e->batches));
        chain = rest;
    }
}

static void *run_writer(void *arg) {
    struct engine *e = arg;
    for (;;) {
        struct mpsc_node *chain = mpsc_take(&e->batches);
        if (chain != NULL) {
            write_all(e, chain);
            continue;
        }
        pthread_mutex_lock(&e->lock);
        while (mpsc_empty(&e->batches) && !e->closed) pthread_cond_wait(&e->wake, &e->lock);
        bool over = mpsc_empty(&e->batches);
        pthread_mutex_unlock(&e->lock);
        if (over) return NULL;
    }
}

// ---- the readers
static struct engine_read *next_read(struct engine *e) {
    pthread_mutex_lock(&e->read_lock);
    while (e->reads == NULL && !e->closed) pthread_cond_wait(&e->read_wake, &e->read_lock);
    struct mpsc_node *n = e->reads;
    if (n != NULL) {
        e->reads = n->next;
        if (e->reads == NULL) e->reads_last = &e->reads;
        e->reads_waiting--;
    }
    pthread_mutex_unlock(&e->read_lock);
    return (struct engine_read *)n;
}

static void *run_reader(void *arg) {
    struct reader *r = arg;
    struct engine_read *read;
    while ((read = next_read(r->engine)) != NULL) {
        struct err err = {0};
        r->engine->driver->read(r->connection, read, &err);
        counter_add(COUNTER_STORE_READS, 1);
        if (err.code == 0 && read->bytes.failed)
            err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        if (err.code != 0) engine_read_clear(read);
        read->done(read, &err);
    }
    return NULL;
}

// ---- open and close
static int start_threads(struct engine *e, const char *path, unsigned readers, struct err *err) {
    if (pthread_create(&e->thread, NULL, run_writer, e) != 0) goto fail;
    e->writing = true;
    for (; e->reader_count < readers && e->reader_count < READERS_MAX; e->reader_count++) {
        struct reader *r = &e->readers[e->reader_count];
        r->engine = e;
        r->connection = e->driver->open(path, false, err);
        if (r->connection == NULL) return -(int)err->code;
        if (pthread_create(&r->thread, NULL, run_reader, r) != 0) {
            e->driver->close(r->connection);
            goto fail;
        }
    }
    return 0;
fail:
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "cannot start a thread of the store");
}

struct engine *engine_open(const char *path, unsigned readers, struct err *err) {
    assert(readers > 0);
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    e->driver = &ENGINE_SQLITE;
    e->reads_last = &e->reads;
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->read_lock, NULL);
    pthread_cond_init(&e->wake, NULL);
    pthread_cond_init(&e->read_wake, NULL);
    e->connection = e->driver->open(path, true, err);
    if (e->connection != NULL && start_threads(e, path, readers, err) == 0) return e;
    engine_delete(e);
    return NULL;
}

void engine_close(struct engine *e) {
    if (e->closing_done) return;
    e->closing_done = true;
    atomic_store(&e->refusing, true);
    // Whoever has seen that nothing is refused yet finishes its push; that takes no longer than the
    // push itself.
    while (atomic_load(&e->submitting) > 0) sched_yield();
    pthread_mutex_lock(&e->lock);
    pthread_mutex_lock(&e->read_lock);
    e->closed = true;
    pthread_cond_broadcast(&e->read_wake);
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->read_lock);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; i < e->reader_count; i++) {
        pthread_join(e->readers[i].thread, NULL);
        e->driver->close(e->readers[i].connection);
    }
    if (e->writing) pthread_join(e->thread, NULL);
    if (e->connection != NULL) e->driver->close(e->connection);
}

void engine_delete(struct engine *e) {
    if (e == NULL) return;
    engine_close(e);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->read_lock);
    pthread_cond_destroy(&e->wake);
    pthread_cond_destroy(&e->read_wake);
    free(e);
}

// ---- submitting
static int check_name(struct str table, struct str key, bool may_be_empty, struct err *err) {
    if (table.n == 0 || table.n > ENGINE_TABLE_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "a table's name is 1 to %d bytes",
                       ENGINE_TABLE_MAX);
    if ((key.n == 0 && !may_be_empty) || key.n > ENGINE_KEY_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "a key is 1 to %d bytes", ENGINE_KEY_MAX);
    return 0;
}

static int check_batch(struct engine_batch *batch, struct err *err) {
    batch->err = (struct err){0};
    batch->bytes = sizeof *batch;
    if (batch->count == 0 || batch->count > ENGINE_BATCH_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "a batch is 1 to %d operations",
                       ENGINE_BATCH_MAX);
    for (size_t i = 0; i < batch->count; i++) {
        const struct engine_operation *o = &batch->operations[i];
        int rc = check_name(o->table, o->key, false, err);
        if (rc < 0) return rc;
        if (o->value.n > ENGINE_VALUE_MAX)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "the value of \"%.*s\" is longer than %u MB", (int)o->key.n, o->key.p,
                           ENGINE_VALUE_MAX >> 20);
        if (o->if_version < ENGINE_ABSENT)
            return err_set(err, STATUS_INVALID_ARGUMENT, "%lld is no version",
                           (long long)o->if_version);
        batch->bytes += sizeof *o + o->table.n + o->key.n + o->value.n;
    }
    return 0;
}

// Between enter and leave the engine's threads do not end.
static int enter(struct engine *e, struct err *err) {
    atomic_fetch_add(&e->submitting, 1);
    if (!atomic_load(&e->refusing)) return 0;
    atomic_fetch_sub(&e->submitting, 1);
    return err_set(err, STATUS_UNAVAILABLE, "the store is closed: the server is stopping");
}

static void leave(struct engine *e) { atomic_fetch_sub(&e->submitting, 1); }

static bool reserve(struct engine *e, const struct engine_batch *batch) {
    size_t count = atomic_fetch_add(&e->waiting, 1);
    size_t bytes = atomic_fetch_add(&e->waiting_bytes, batch->bytes);
    // A batch that is larger than the bound may pass when it is alone.
    bool fits =
        count < ENGINE_QUEUE_MAX && (count == 0 || bytes + batch->bytes <= ENGINE_QUEUE_BYTES);
    if (fits) return true;
    atomic_fetch_sub(&e->waiting, 1);
    atomic_fetch_sub(&e->waiting_bytes, batch->bytes);
    return false;
}

int engine_submit(struct engine *e, struct engine_batch *batch, struct err *err) {
    int rc = check_batch(batch, err);
    if (rc == 0) rc = enter(e, err);
    if (rc < 0) return rc;
    if (!reserve(e, batch)) {
        rc = err_set(err, STATUS_RESOURCE_EXHAUSTED,
                     "the store has more to write than it can take: try again later");
    } else if (mpsc_push(&e->batches, &batch->link)) {
        pthread_mutex_lock(&e->lock);
        pthread_cond_signal(&e->wake);
        pthread_mutex_unlock(&e->lock);
    }
    leave(e);
    return rc;
}

int engine_submit_read(struct engine *e, struct engine_read *read, struct err *err) {
    read->records = NULL;
    read->count = 0;
    read->more = false;
    read->bytes = (struct buf){0};
    read->link.next = NULL;
    int rc = check_name(read->table, read->key, read->list, err);
    if (rc == 0 && read->list && read->after.n > ENGINE_KEY_MAX)
        rc = err_set(err, STATUS_INVALID_ARGUMENT, "a key is 1 to %d bytes", ENGINE_KEY_MAX);
    if (rc == 0) rc = enter(e, err);
    if (rc < 0) return rc;
    pthread_mutex_lock(&e->read_lock);
    if (e->reads_waiting >= READS_MAX) {
        rc = err_set(err, STATUS_RESOURCE_EXHAUSTED,
                     "the store has more to read than it can take: try again later");
    } else {
        *e->reads_last = &read->link;
        e->reads_last = &read->link.next;
        e->reads_waiting++;
        pthread_cond_signal(&e->read_wake);
    }
    pthread_mutex_unlock(&e->read_lock);
    leave(e);
    return rc;
}

void engine_read_clear(struct engine_read *read) {
    free(read->records);
    buf_free(&read->bytes);
    read->records = NULL;
    read->count = 0;
}
