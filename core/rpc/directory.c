// SPDX-License-Identifier: Apache-2.0
// The directory: which versions of which services run, and what their endpoints are.
//
// A service is a chain of versions, by order, of equal ones the newest put first. A version holds
// its port and its pool, and a map from endpoint ("Posts.Save") to method, made once when it is
// put. A lookup copies what it found with references of its own, so that nothing that it gives away
// depends on the directory.
//
// One mutex guards everything; any thread. References are dropped after it is released, since the
// last one of a port may free a whole service.
#include "rpc/route.h"

#include <pthread.h>
#include <stdlib.h>

#define SUGGEST_MAX 64 // longer names are not compared

struct version {
    struct version *older;
    struct port *port;
    struct pb_pool *pool;
    struct source *source;
    uint32_t generation;
    bool outside;
    uint64_t order;
    struct map endpoints; // "Group.Method" -> const struct pb_method *
    char name[];
};

struct directory {
    pthread_mutex_t lock;
    struct map services; // namespace, '\0', service -> struct version *, the newest
    struct buf key;      // scratch
    atomic_ullong epoch;
};

static void version_delete(struct version *v) {
    if (v == NULL) return;
    port_drop(v->port);
    pb_pool_drop(v->pool);
    map_free(&v->endpoints);
    free(v);
}

struct directory *directory_new(void) {
    struct directory *d = calloc(1, sizeof *d);
    if (d == NULL) return NULL;
    if (pthread_mutex_init(&d->lock, NULL) != 0) {
        free(d);
        return NULL;
    }
    return d;
}

void directory_delete(struct directory *d) {
    if (d == NULL) return;
    for (struct map_entry *e = map_next(&d->services, NULL); e != NULL;
         e = map_next(&d->services, e)) {
        for (struct version *v = e->value; v != NULL;) {
            struct version *older = v->older;
            version_delete(v);
            v = older;
        }
    }
    map_free(&d->services);
    buf_free(&d->key);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

uint64_t directory_epoch(struct directory *d) { return atomic_load(&d->epoch); }

// The key of a service in d->key; holds the lock. False: memory ended.
static bool make_key(struct directory *d, struct str ns, struct str service) {
    if (d->key.failed) buf_free(&d->key);
    d->key.n = 0;
    buf_append_str(&d->key, ns);
    buf_append_byte(&d->key, '\0');
    buf_append_str(&d->key, service);
    return !d->key.failed;
}

static int add_endpoint(struct version *v, struct str group, const struct pb_method *method,
                        struct buf *name) {
    name->n = 0;
    buf_append_str(name, group);
    buf_append_byte(name, '.');
    buf_append_str(name, method->name);
    if (name->failed) return -STATUS_RESOURCE_EXHAUSTED;
    if (map_get(&v->endpoints, buf_str(name)) != NULL) return 0;
    return map_put(&v->endpoints, buf_str(name), (struct pb_method *)method);
}

// Where services of several packages have one name, that name is the first one's, and each has its full name too.
static int add_service(struct version *v, const struct pb_service *s, bool full, struct buf *name) {
    int rc = 0;
    for (size_t i = 0; i < s->count && rc == 0; i++) {
        rc = add_endpoint(v, s->name, &s->methods[i], name);
        if (rc == 0 && full) rc = add_endpoint(v, s->full_name, &s->methods[i], name);
    }
    return rc;
}

static bool is_ambiguous(const struct pb_pool *pool, const struct pb_service *s) {
    for (size_t i = 0; i < pool->service_count; i++) {
        if (&pool->services[i] != s && str_equal(pool->services[i].name, s->name)) return true;
    }
    return false;
}

static struct version *version_new(const struct directory_version *put) {
    const char *name = put->version;
    struct version *v = calloc(1, sizeof *v + strlen(name) + 1);
    if (v == NULL) return NULL;
    memcpy(v->name, name, strlen(name) + 1);
    v->port = port_hold(put->port);
    v->pool = pb_pool_hold(put->pool);
    v->source = (struct source *)(uintptr_t)put->source;
    v->generation = put->generation;
    v->order = put->order;
    v->outside = put->outside;
    struct buf endpoint = {0};
    int rc = 0;
    for (size_t i = 0; i < put->pool->service_count && rc == 0; i++) {
        const struct pb_service *s = &put->pool->services[i];
        if (put->owns == NULL || put->owns(put->source, s->file))
            rc = add_service(v, s, is_ambiguous(put->pool, s), &endpoint);
    }
    buf_free(&endpoint);
    if (rc == 0) return v;
    version_delete(v);
    return NULL;
}

// Takes the version of that name (and generation, unless that is 0) out of a chain; NULL when there
// is none.
static struct version *unchain(struct version **first, const char *name, uint32_t generation) {
    for (struct version **at = first; *at != NULL; at = &(*at)->older) {
        if (strcmp((*at)->name, name) != 0) continue;
        if (generation != 0 && (*at)->generation != generation) continue;
        struct version *found = *at;
        *at = found->older;
        found->older = NULL;
        return found;
    }
    return NULL;
}

static void chain(struct version **first, struct version *v) {
    while (*first != NULL && (*first)->order > v->order) first = &(*first)->older;
    v->older = *first;
    *first = v;
}

static bool runs_here(const struct version *newest, const char *name) {
    while (newest != NULL && strcmp(newest->name, name) != 0) newest = newest->older;
    return newest != NULL && !newest->outside;
}

int directory_put(struct directory *d, const struct directory_version *put) {
    struct version *v = version_new(put);
    if (v == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    struct version *replaced = NULL;
    int rc = -STATUS_RESOURCE_EXHAUSTED;
    pthread_mutex_lock(&d->lock);
    if (make_key(d, str_of(put->ns), str_of(put->service))) {
        struct version *newest = map_get(&d->services, buf_str(&d->key));
        // If map_put fails the map is as before.
        rc = put->outside && runs_here(newest, put->version)
                 ? -STATUS_ALREADY_EXISTS
                 : map_put(&d->services, buf_str(&d->key), v);
        if (rc == 0) {
            replaced = unchain(&newest, put->version, 0);
            chain(&newest, v);
            map_put(&d->services, buf_str(&d->key), newest); // the key is there: cannot fail
            atomic_fetch_add(&d->epoch, 1);
        }
    }
    pthread_mutex_unlock(&d->lock);
    version_delete(rc == 0 ? replaced : v);
    return rc;
}

void directory_remove(struct directory *d, const char *ns, const char *service,
                      const char *version) {
    directory_withdraw(d, ns, service, version, 0);
}

void directory_withdraw(struct directory *d, const char *ns, const char *service,
                        const char *version, uint32_t generation) {
    struct version *removed = NULL;
    pthread_mutex_lock(&d->lock);
    if (make_key(d, str_of(ns), str_of(service))) {
        struct str key = buf_str(&d->key);
        struct version *newest = map_get(&d->services, key);
        removed = unchain(&newest, version, generation);
        if (removed != NULL) {
            if (newest == NULL) {
                map_remove(&d->services, key);
            } else {
                map_put(&d->services, key, newest); // the key is there: cannot fail
            }
            atomic_fetch_add(&d->epoch, 1);
        }
    }
    pthread_mutex_unlock(&d->lock);
    version_delete(removed);
}

// ---- suggestions

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

// Levenshtein's distance, letters of both cases alike.
static size_t distance(struct str a, struct str b) {
    size_t row[SUGGEST_MAX + 1];
    for (size_t k = 0; k <= b.n; k++) row[k] = k;
    for (size_t i = 0; i < a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < b.n; k++) {
            size_t best = diagonal + (fold(a.p[i]) != fold(b.p[k]));
            if (best > row[k] + 1) best = row[k] + 1;
            if (best > row[k + 1] + 1) best = row[k + 1] + 1;
            diagonal = row[k + 1];
            row[k + 1] = best;
        }
    }
    return row[b.n];
}

// The endpoint that is nearest to what was asked for; empty when none is near.
static struct str suggest(const struct map *endpoints, struct str wrong) {
    struct str best = {"", 0};
    size_t least = wrong.n / 3 + 1;
    if (wrong.n == 0 || wrong.n > SUGGEST_MAX) return best;
    for (struct map_entry *e = map_next(endpoints, NULL); e != NULL; e = map_next(endpoints, e)) {
        if (e->key.n > SUGGEST_MAX) continue;
        size_t n = distance(wrong, e->key);
        // Of equally near ones the first by name, so that the answer is always the same.
        bool tie = n == least && best.n > 0 && strcmp(e->key.p, best.p) < 0;
        if (n >= least && !tie) continue;
        least = n;
        best = e->key;
    }
    return best;
}

static int no_endpoint(const struct version *v, struct str service, struct str endpoint,
                       struct err *err) {
    struct str near = suggest(&v->endpoints, endpoint);
    if (near.n > 0)
        return err_set(err, STATUS_UNIMPLEMENTED,
                       "service \"%.*s\" has no endpoint \"%.*s\" (did you mean \"%.*s\"?)",
                       (int)service.n, service.p, (int)endpoint.n, endpoint.p, (int)near.n, near.p);
    return err_set(err, STATUS_UNIMPLEMENTED, "service \"%.*s\" has no endpoint \"%.*s\"",
                   (int)service.n, service.p, (int)endpoint.n, endpoint.p);
}

// ---- looking up

static struct version *newest_of(struct directory *d, struct str ns, struct str service) {
    return make_key(d, ns, service) ? map_get(&d->services, buf_str(&d->key)) : NULL;
}

static struct version *version_of(struct directory *d, struct str ns, struct str service,
                                  struct str version) {
    struct version *v = newest_of(d, ns, service);
    if (v == NULL && ns.n > 0) v = newest_of(d, (struct str){"", 0}, service);
    while (v != NULL && version.n > 0 && !str_is(version, v->name)) v = v->older;
    return v;
}

static struct directory_entry entry_of(const struct version *v) {
    return (struct directory_entry){port_hold(v->port), pb_pool_hold(v->pool), v->source,
                                    v->generation, v->outside};
}

int directory_look(struct directory *d, struct str ns, struct str service, struct str version,
                   struct directory_entry *out) {
    pthread_mutex_lock(&d->lock);
    struct version *v = version_of(d, ns, service, version);
    if (v != NULL) *out = entry_of(v);
    pthread_mutex_unlock(&d->lock);
    return v == NULL ? -STATUS_NOT_FOUND : 0;
}

static int find_locked(struct directory *d, struct str ns, struct str service, struct str version,
                       struct str endpoint, struct directory_entry *out,
                       const struct pb_method **method, struct err *err) {
    struct version *v = newest_of(d, ns, service);
    if (v == NULL && ns.n > 0) v = newest_of(d, (struct str){"", 0}, service);
    if (v == NULL)
        return err_set(err, STATUS_UNAVAILABLE,
                       "no service \"%.*s\" is running in namespace \"%.*s\"", (int)service.n,
                       service.p, (int)ns.n, ns.p);
    while (v != NULL && version.n > 0 && !str_is(version, v->name)) v = v->older;
    if (v == NULL)
        return err_set(err, STATUS_UNAVAILABLE,
                       "no version \"%.*s\" of service \"%.*s\" is running", (int)version.n,
                       version.p, (int)service.n, service.p);
    const struct pb_method *found = map_get(&v->endpoints, endpoint);
    if (found == NULL) return no_endpoint(v, service, endpoint, err);
    *out = entry_of(v);
    *method = found;
    return 0;
}

int directory_find(struct directory *d, struct str ns, struct str service, struct str version,
                   struct str endpoint, struct directory_entry *out,
                   const struct pb_method **method, struct err *err) {
    pthread_mutex_lock(&d->lock);
    int rc = find_locked(d, ns, service, version, endpoint, out, method, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}
