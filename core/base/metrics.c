// SPDX-License-Identifier: Apache-2.0
// Series of numbers that services count.
//
// A family is a name with a kind; it holds one series for each set of labels. Families and series are made by the first
// record and end with their owner, so a scraper sees them rise from zero once. Rendering sorts by name and labels: two
// renderings differ only in numbers. A histogram's name with _bucket, _sum or _count is taken too.
//
// All state is behind one mutex. Labels come in as text that is escaped, so equal sets of labels are equal texts as long as
// callers keep one order (the Lua binding sorts).
#include "base/metrics.h"

#include "base/exposition.h"
#include "base/map.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct owner {
    size_t count; // of series
};

struct series {
    struct owner *owner;
    double value;                // counter: the sum so far; gauge: the last
    struct histogram *histogram; // timing only
};

struct family {
    enum metric_kind kind;
    struct map series; // labels -> struct series *
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map families; // name -> struct family *
static struct map owners;   // -> struct owner *
static size_t series_count;
static uint64_t dropped;

static bool name_char(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
           (!first && c >= '0' && c <= '9');
}

static bool name_valid(struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        if (!name_char(name.p[i], i == 0)) return false;
    }
    return name.n > 0;
}

// ---- families
static const char *const SUFFIXES[] = {"_bucket", "_sum", "_count"};
#define SUFFIX_COUNT (sizeof SUFFIXES / sizeof SUFFIXES[0])

static bool suffix_taken(struct str name, const char *suffix) {
    struct buf longer = {0};
    buf_append_str(&longer, name);
    buf_append_text(&longer, suffix);
    bool taken = longer.failed || map_get(&families, buf_str(&longer)) != NULL;
    buf_free(&longer);
    return taken;
}

// Would a family of this name and kind have samples that are called like another's?
static bool name_taken(enum metric_kind kind, struct str name) {
    for (size_t i = 0; i < SUFFIX_COUNT; i++) {
        size_t n = strlen(SUFFIXES[i]);
        if (kind == METRIC_TIMING && suffix_taken(name, SUFFIXES[i])) return true;
        if (name.n <= n || memcmp(name.p + name.n - n, SUFFIXES[i], n) != 0) continue;
        const struct family *f = map_get(&families, (struct str){name.p, name.n - n});
        if (f != NULL && f->kind == METRIC_TIMING) return true;
    }
    return false;
}

static struct family *family_get(enum metric_kind kind, struct str name) {
    struct family *f = map_get(&families, name);
    if (f != NULL) return f->kind == kind ? f : NULL;
    if (name_taken(kind, name)) return NULL;
    f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->kind = kind;
    if (map_put(&families, name, f) == 0) return f;
    free(f);
    return NULL;
}

// ---- series
static struct owner *owner_get(struct str name) {
    struct owner *o = map_get(&owners, name);
    if (o != NULL) return o->count < METRICS_OWNER_MAX ? o : NULL;
    o = calloc(1, sizeof *o);
    if (o == NULL || map_put(&owners, name, o) == 0) return o;
    free(o);
    return NULL;
}

static void series_delete(struct series *s) {
    free(s->histogram);
    free(s);
}

static struct series *series_add(enum metric_kind kind, struct str owner, struct str name,
                                 struct str labels) {
    // Room is asked for first: a full table must not go on growing by families without series.
    struct owner *o = series_count < METRICS_MAX ? owner_get(owner) : NULL;
    struct family *f = o == NULL ? NULL : family_get(kind, name);
    struct series *s = f == NULL ? NULL : calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    if (kind == METRIC_TIMING) s->histogram = calloc(1, sizeof *s->histogram);
    if ((kind == METRIC_TIMING && s->histogram == NULL) || map_put(&f->series, labels, s) < 0) {
        series_delete(s);
        return NULL;
    }
    s->owner = o;
    o->count++;
    series_count++;
    return s;
}

static struct series *series_get(enum metric_kind kind, struct str owner, struct str name,
                                 struct str labels) {
    const struct family *f = map_get(&families, name);
    if (f != NULL && f->kind != kind) return NULL;
    struct series *s = f == NULL ? NULL : map_get(&f->series, labels);
    return s != NULL ? s : series_add(kind, owner, name, labels);
}

bool metrics_record(enum metric_kind kind, struct str owner, struct str name, struct str labels,
                    double value) {
    if (!name_valid(name)) return false;
    if (kind == METRIC_COUNTER && !(value >= 0)) return false; // NaN too
    if (kind == METRIC_TIMING && !(value >= 0 && value < 1e9)) return false;
    pthread_mutex_lock(&lock);
    struct series *s = series_get(kind, owner, name, labels);
    if (s == NULL) {
        dropped++;
    } else if (kind == METRIC_COUNTER) {
        s->value += value;
    } else if (kind == METRIC_GAUGE) {
        s->value = value;
    } else {
        histogram_observe(s->histogram, (int64_t)(value * 1e9));
    }
    pthread_mutex_unlock(&lock);
    return s != NULL;
}

// ---- rendering and forgetting
static int by_key(const void *a, const void *b) {
    struct str x = (*(struct map_entry *const *)a)->key, y = (*(struct map_entry *const *)b)->key;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

// The entries by key; to be freed. NULL when there are none, or no memory (then *failed).
static struct map_entry **sorted(const struct map *map, bool *failed) {
    if (map->count == 0) return NULL;
    struct map_entry **list = malloc(map->count * sizeof(struct map_entry *));
    if (list == NULL) {
        *failed = true;
        return NULL;
    }
    size_t n = 0;
    for (struct map_entry *e = map_next(map, NULL); e != NULL; e = map_next(map, e)) list[n++] = e;
    assert(n == map->count);
    qsort(list, n, sizeof(struct map_entry *), by_key);
    return list;
}

static void render_family(struct buf *out, const char *name, const struct family *f) {
    static const char *const TYPES[] = {"counter", "gauge", "histogram"};
    static const char *const HELP[] = {"Counted by services (mica.metrics.count).",
                                       "Set by services (mica.metrics.gauge).",
                                       "Measured by services (mica.metrics.timing)."};
    struct map_entry **list = sorted(&f->series, &out->failed);
    if (list == NULL) return;
    exposition_family(out, name, TYPES[f->kind], HELP[f->kind]);
    for (size_t i = 0; i < f->series.count; i++) {
        const struct series *s = list[i]->value;
        if (f->kind == METRIC_TIMING) {
            struct histogram_sum sum = {0};
            histogram_add_to(s->histogram, &sum);
            exposition_histogram(out, name, list[i]->key, &sum);
        } else {
            exposition_sample(out, name, list[i]->key, s->value);
        }
    }
    free(list);
}

void metrics_owner(struct buf *out, const char *ns, const char *service) {
    exposition_label(out, "namespace", str_of(ns));
    exposition_label(out, "service", str_of(service));
}

void metrics_render(struct buf *out) {
    pthread_mutex_lock(&lock);
    struct map_entry **list = sorted(&families, &out->failed);
    for (size_t i = 0; list != NULL && i < families.count; i++)
        render_family(out, list[i]->key.p, list[i]->value); // a map ends its keys with a NUL
    free(list);
    exposition_family(out, "mica_metrics_dropped_total", "counter",
                      "Records of services that were dropped: too many series, or a name that has "
                      "another kind.");
    buf_printf(out, "mica_metrics_dropped_total %" PRIu64 "\n", dropped);
    pthread_mutex_unlock(&lock);
}

// Takes the owner's series out of a family. The list of what to remove is made first: a map must not change while it is
// walked.
static bool forget_in(struct family *f, const struct owner *o) {
    bool failed = false;
    size_t n = f->series.count;
    struct map_entry **list = sorted(&f->series, &failed);
    struct series **all = list == NULL ? NULL : malloc(n * sizeof(struct series *));
    struct str *keys = list == NULL ? NULL : malloc(n * sizeof *keys);
    for (size_t i = 0; all != NULL && keys != NULL && i < n; i++) {
        keys[i] = list[i]->key;
        all[i] = list[i]->value;
    }
    for (size_t i = 0; all != NULL && keys != NULL && i < n; i++) {
        if (all[i]->owner != o) continue;
        map_remove(&f->series, keys[i]);
        series_delete(all[i]);
        series_count--;
    }
    free(keys);
    free(all);
    free(list);
    return f->series.count == 0;
}

void metrics_forget(struct str owner) {
    bool failed = false;
    pthread_mutex_lock(&lock);
    struct owner *o = map_get(&owners, owner);
    struct map_entry **list = o == NULL ? NULL : sorted(&families, &failed);
    size_t n = families.count;
    struct str *empty = list == NULL ? NULL : malloc(n * sizeof *empty);
    size_t empties = 0;
    for (size_t i = 0; empty != NULL && i < n; i++) {
        if (forget_in(list[i]->value, o)) empty[empties++] = list[i]->key;
    }
    for (size_t i = 0; i < empties; i++) {
        struct family *f = map_remove(&families, empty[i]);
        map_free(&f->series);
        free(f);
    }
    if (empty != NULL) free(map_remove(&owners, owner));
    free(empty);
    free(list);
    pthread_mutex_unlock(&lock);
}
