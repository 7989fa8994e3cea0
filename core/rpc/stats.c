// SPDX-License-Identifier: Apache-2.0
// Series of calls: their names, which are global, and the blocks of each loop.
//
// The table of names only grows, under a mutex; an entry is complete before its number is given away. A block is made by its
// loop when the first call of the series comes and lives as long as the loop's part of rpc, so a reader that has found it may
// read on; both steps of the way to it are published by a store with release.
#include "rpc/stats.h"

#include "base/exposition.h"
#include "base/map.h"
#include "base/status.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map numbers;               // labels -> number, as a pointer
static char *labels_of[CALL_SERIES_MAX]; // by number: door="proxy",namespace="mica",...
static uint32_t series_count = 1;        // 0 is CALL_SERIES_NONE

static void put_labels(struct buf *out, const char *door, struct str ns, struct str service,
                       struct str endpoint) {
    out->n = 0;
    exposition_label(out, "door", str_of(door));
    exposition_label(out, "namespace", ns);
    exposition_label(out, "service", service);
    exposition_label(out, "endpoint", endpoint);
}

// The lock is held. 0: there is none.
static uint32_t find_or_add(struct buf *labels, uint32_t limit) {
    uint32_t number = (uint32_t)(uintptr_t)map_get(&numbers, buf_str(labels));
    if (number != 0 || labels->failed || series_count >= limit) return number;
    char *copy = strndup(buf_p(labels), labels->n);
    number = series_count;
    if (copy == NULL || map_put(&numbers, buf_str(labels), (void *)(uintptr_t)number) < 0) {
        free(copy);
        return 0;
    }
    labels_of[number] = copy;
    series_count++;
    return number;
}

uint32_t call_series(const char *door, struct str ns, struct str service, struct str endpoint) {
    struct buf labels = {0};
    const struct str none = {"", 0};
    pthread_mutex_lock(&lock);
    put_labels(&labels, door, ns, service, endpoint);
    // Some room is left for the doors' own.
    uint32_t number = find_or_add(&labels, service.n == 0 ? CALL_SERIES_MAX : CALL_SERIES_MAX - 8);
    if (number == 0 && service.n > 0) {
        put_labels(&labels, door, none, none, none);
        number = find_or_add(&labels, CALL_SERIES_MAX);
    }
    pthread_mutex_unlock(&lock);
    buf_free(&labels);
    return number;
}

// ---- blocks
struct call_counts *call_stats_make(struct call_stats *s, uint32_t series) {
    if (series == CALL_SERIES_NONE) return NULL;
    _Atomic(struct call_chunk *) *place = &s->chunks[series / CALL_CHUNK];
    struct call_chunk *chunk = atomic_load_explicit(place, memory_order_relaxed);
    if (chunk == NULL) {
        chunk = calloc(1, sizeof *chunk);
        if (chunk == NULL) return NULL;
        atomic_store_explicit(place, chunk, memory_order_release);
    }
    struct call_counts *c = calloc(1, sizeof *c);
    if (c != NULL)
        atomic_store_explicit(&chunk->blocks[series % CALL_CHUNK], c, memory_order_release);
    return c;
}

void call_stats_free(struct call_stats *s) {
    for (size_t i = 0; i < CALL_SERIES_MAX / CALL_CHUNK; i++) {
        struct call_chunk *chunk = atomic_load(&s->chunks[i]);
        for (size_t k = 0; chunk != NULL && k < CALL_CHUNK; k++)
            free(atomic_load(&chunk->blocks[k]));
        free(chunk);
        atomic_store(&s->chunks[i], NULL);
    }
}

// ---- reading
struct total {
    const char *labels;
    uint64_t begun, ended[STATUS_COUNT];
    struct histogram_sum seconds;
};

static const struct call_counts *block(const struct call_stats *s, uint32_t series) {
    const struct call_chunk *chunk =
        atomic_load_explicit(&s->chunks[series / CALL_CHUNK], memory_order_acquire);
    if (chunk == NULL) return NULL;
    return atomic_load_explicit(&chunk->blocks[series % CALL_CHUNK], memory_order_acquire);
}

// False: no call of it has come yet. What has ended is read before what has begun: a call never ends before it begins.
static bool add_up(struct call_stats *const *loops, unsigned count, uint32_t series,
                   struct total *t) {
    bool any = false;
    *t = (struct total){.labels = labels_of[series]};
    for (unsigned i = 0; i < count; i++) {
        const struct call_counts *c = block(loops[i], series);
        if (c == NULL) continue;
        any = true;
        for (int k = 0; k < STATUS_COUNT; k++)
            t->ended[k] += atomic_load_explicit(&c->ended[k], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        t->begun += atomic_load_explicit(&c->begun, memory_order_relaxed);
        histogram_add_to(&c->seconds, &t->seconds);
    }
    return any;
}

static int by_labels(const void *a, const void *b) {
    return strcmp(((const struct total *)a)->labels, ((const struct total *)b)->labels);
}

static void render_ended(const struct total *t, struct buf *out) {
    struct buf labels = {0};
    for (int k = 0; k < STATUS_COUNT; k++) {
        if (t->ended[k] == 0) continue;
        labels.n = 0;
        buf_append_text(&labels, t->labels);
        exposition_label(&labels, "code", str_of(status_name(k)));
        exposition_sample(out, "mica_calls_total", buf_str(&labels), (double)t->ended[k]);
    }
    out->failed = out->failed || labels.failed;
    buf_free(&labels);
}

static void render_in_flight(const struct total *t, struct buf *out) {
    uint64_t ended = 0;
    for (int k = 0; k < STATUS_COUNT; k++) ended += t->ended[k];
    exposition_sample(out, "mica_calls_in_flight", str_of(t->labels),
                      t->begun > ended ? (double)(t->begun - ended) : 0);
}

static void render(const struct total *list, size_t n, struct buf *out) {
    exposition_family(out, "mica_calls_total", "counter",
                      "Calls that have ended at a door, by the status that their caller got.");
    for (size_t i = 0; i < n; i++) render_ended(&list[i], out);
    exposition_family(out, "mica_calls_in_flight", "gauge",
                      "Calls at a door that have begun and not ended.");
    for (size_t i = 0; i < n; i++) render_in_flight(&list[i], out);
    exposition_family(out, "mica_call_duration_seconds", "histogram",
                      "From the head of a request at a door to the end of its answer.");
    for (size_t i = 0; i < n; i++) {
        if (list[i].seconds.count > 0)
            exposition_histogram(out, "mica_call_duration_seconds", str_of(list[i].labels),
                                 &list[i].seconds);
    }
}

void call_stats_render(struct call_stats *const *loops, unsigned count, struct buf *out) {
    pthread_mutex_lock(&lock);
    uint32_t series = series_count;
    pthread_mutex_unlock(&lock);
    struct total *list = malloc(series * sizeof *list);
    size_t n = 0;
    if (list == NULL) {
        out->failed = true;
        return;
    }
    for (uint32_t i = 1; i < series; i++) n += add_up(loops, count, i, &list[n]);
    if (n > 0) qsort(list, n, sizeof *list, by_labels);
    render(list, n, out);
    free(list);
}
