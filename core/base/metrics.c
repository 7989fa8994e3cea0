// SPDX-License-Identifier: Apache-2.0
// Series of numbers, and their text.
//
// A family is a name with a kind; it holds one series for each set of labels. Families and series are made by the first
// record, never removed, and live until the process ends, so that a scraper sees them rise from zero only once. A timing is
// a histogram over fixed bounds (seconds), kept as counts a bucket; rendering adds them up, as the format wants cumulative
// ones. Rendering sorts by name and labels: two renderings differ only in numbers.
//
// All state is behind one mutex. Labels come in as text that metrics_label has escaped, so equal sets of labels are equal
// texts as long as callers keep one order (the Lua binding sorts).
#include "base/metrics.h"

#include "base/map.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const double BOUNDS[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                0.25,  0.5,    1,     2.5,  5,     10};
#define BOUND_COUNT (sizeof BOUNDS / sizeof BOUNDS[0])

struct histogram {
    uint64_t buckets[BOUND_COUNT + 1]; // not cumulative; the last one is above all bounds
};

struct series {
    double value; // counter: the sum so far; gauge: the last; timing: the sum of seconds
    struct histogram *histogram; // timing only
};

struct family {
    enum metric_kind kind;
    struct map series; // labels -> struct series *
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map families; // name -> struct family *
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

static struct family *family_get(enum metric_kind kind, struct str name) {
    struct family *f = map_get(&families, name);
    if (f != NULL) return f->kind == kind ? f : NULL;
    f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->kind = kind;
    if (map_put(&families, name, f) == 0) return f;
    free(f);
    return NULL;
}

static struct series *series_get(struct family *f, struct str labels) {
    struct series *s = map_get(&f->series, labels);
    if (s != NULL) return s;
    if (series_count >= METRICS_MAX) return NULL;
    s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    if (f->kind == METRIC_TIMING) s->histogram = calloc(1, sizeof *s->histogram);
    if (f->kind == METRIC_TIMING && s->histogram == NULL) goto fail;
    if (map_put(&f->series, labels, s) < 0) goto fail;
    series_count++;
    return s;
fail:
    free(s->histogram);
    free(s);
    return NULL;
}

static void observe(struct series *s, double seconds) {
    size_t i = 0;
    while (i < BOUND_COUNT && seconds > BOUNDS[i]) i++;
    s->histogram->buckets[i]++;
    s->value += seconds;
}

bool metrics_record(enum metric_kind kind, struct str name, struct str labels, double value) {
    if (!name_valid(name)) return false;
    if (kind == METRIC_COUNTER && !(value >= 0)) return false; // NaN too
    if (kind == METRIC_TIMING && !isfinite(value)) return false;
    pthread_mutex_lock(&lock);
    // The table is asked first: a full one must not go on growing by families without series.
    struct family *f =
        series_count < METRICS_MAX ? family_get(kind, name) : map_get(&families, name);
    struct series *s = f != NULL && f->kind == kind ? series_get(f, labels) : NULL;
    if (s == NULL) {
        dropped++;
    } else if (kind == METRIC_COUNTER) {
        s->value += value;
    } else if (kind == METRIC_GAUGE) {
        s->value = value;
    } else {
        observe(s, value);
    }
    pthread_mutex_unlock(&lock);
    return s != NULL;
}

// ---- rendering

static void append_number(struct buf *out, double v) {
    if (isnan(v)) {
        buf_append_text(out, "NaN");
    } else if (isinf(v)) {
        buf_append_text(out, v > 0 ? "+Inf" : "-Inf");
    } else {
        buf_printf(out, "%.*g", v == floor(v) && fabs(v) < 1e15 ? 15 : 17, v);
    }
}

// `name` + `suffix` { labels, extra } number
static void sample_begin(struct buf *out, struct str name, const char *suffix, struct str labels,
                         const char *extra) {
    buf_append_str(out, name);
    buf_append_text(out, suffix);
    if (labels.n > 0 || extra != NULL) {
        buf_append_byte(out, '{');
        buf_append_str(out, labels);
        if (labels.n > 0 && extra != NULL) buf_append_byte(out, ',');
        if (extra != NULL) buf_append_text(out, extra);
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, ' ');
}

static void render_timing(struct buf *out, struct str name, struct str labels,
                          const struct series *s) {
    uint64_t total = 0;
    for (size_t i = 0; i <= BOUND_COUNT; i++) {
        char le[32] = "le=\"+Inf\"";
        if (i < BOUND_COUNT) snprintf(le, sizeof le, "le=\"%g\"", BOUNDS[i]);
        total += s->histogram->buckets[i];
        sample_begin(out, name, "_bucket", labels, le);
        buf_printf(out, "%" PRIu64 "\n", total);
    }
    sample_begin(out, name, "_sum", labels, NULL);
    append_number(out, s->value);
    buf_append_byte(out, '\n');
    sample_begin(out, name, "_count", labels, NULL);
    buf_printf(out, "%" PRIu64 "\n", total);
}

static int by_key(const void *a, const void *b) {
    struct str x = (*(struct map_entry *const *)a)->key, y = (*(struct map_entry *const *)b)->key;
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

// The entries by key; to be freed. NULL when there are none, or no memory (then `out` fails).
static struct map_entry **sorted(const struct map *map, struct buf *out) {
    if (map->count == 0) return NULL;
    struct map_entry **list = malloc(map->count * sizeof *list);
    if (list == NULL) {
        out->failed = true;
        return NULL;
    }
    size_t n = 0;
    for (struct map_entry *e = map_next(map, NULL); e != NULL; e = map_next(map, e)) list[n++] = e;
    assert(n == map->count);
    qsort(list, n, sizeof *list, by_key);
    return list;
}

static void render_family(struct buf *out, struct str name, const struct family *f) {
    static const char *const TYPES[] = {"counter", "gauge", "histogram"};
    struct map_entry **list = sorted(&f->series, out);
    if (list == NULL) return;
    buf_append_text(out, "# TYPE ");
    buf_append_str(out, name);
    buf_printf(out, " %s\n", TYPES[f->kind]);
    for (size_t i = 0; i < f->series.count; i++) {
        const struct series *s = list[i]->value;
        if (f->kind == METRIC_TIMING) {
            render_timing(out, name, list[i]->key, s);
            continue;
        }
        sample_begin(out, name, "", list[i]->key, NULL);
        append_number(out, s->value);
        buf_append_byte(out, '\n');
    }
    free(list);
}

void metrics_render(struct buf *out) {
    pthread_mutex_lock(&lock);
    struct map_entry **list = sorted(&families, out);
    for (size_t i = 0; list != NULL && i < families.count; i++) {
        render_family(out, list[i]->key, list[i]->value);
    }
    free(list);
    if (dropped > 0) {
        buf_append_text(out, "# TYPE mica_metrics_dropped_total counter\n");
        buf_printf(out, "mica_metrics_dropped_total %" PRIu64 "\n", dropped);
    }
    pthread_mutex_unlock(&lock);
}

void metrics_label(struct buf *labels, struct str key, struct str value) {
    if (labels->n > 0) buf_append_byte(labels, ',');
    buf_append_str(labels, key);
    buf_append_text(labels, "=\"");
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n') {
            buf_append_text(labels, "\\n");
            continue;
        }
        if (c == '"' || c == '\\') buf_append_byte(labels, '\\');
        buf_append_byte(labels, c);
    }
    buf_append_byte(labels, '"');
}
