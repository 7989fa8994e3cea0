// SPDX-License-Identifier: Apache-2.0
// Route tables and the slots that hold the current one.
//
// A table is filled once (install.c), then read by many threads without a lock. A slot is a pointer to the current table:
// a loop compares it with the table that it holds, one atomic read a request, and takes the lock only when they differ.
// The loop's own reference keeps the address of its table from being used again, so the comparison cannot be fooled.
#include "rpc/route.h"
#include "rpc/route_tree.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define KEY_ON_STACK 512

struct route_slot {
    _Atomic(struct route_table *) current; // one reference
    pthread_mutex_t lock;                  // held while `current` changes, or is held by a reader
};

struct route_table *route_table_hold(struct route_table *t) {
    if (t != NULL) atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void route_table_drop(struct route_table *t) {
    if (t == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    for (struct route *route = t->owned; route != NULL;) {
        struct route *next = route->owned;
        port_drop(route->port);
        pb_pool_drop(route->pool);
        blob_drop(route->cors);
        free(route);
        route = next;
    }
    map_free(&t->routes);
    for (struct map_entry *e = map_next(&t->trees, NULL); e != NULL; e = map_next(&t->trees, e))
        route_tree_delete(e->value);
    map_free(&t->trees);
    map_free(&t->origins);
    blob_drop(t->loopback);
    free(t);
}

static const struct route *find(const struct route_table *t, struct str ns, struct str path) {
    char stack[KEY_ON_STACK];
    size_t n = ns.n + 1 + path.n;
    char *key = n <= sizeof stack ? stack : malloc(n);
    if (key == NULL) return NULL;
    memcpy(key, ns.p, ns.n);
    key[ns.n] = '\0';
    memcpy(key + ns.n + 1, path.p, path.n);
    const struct route *route = map_get(&t->routes, (struct str){key, n});
    if (key != stack) free(key);
    return route;
}

const struct route *route_find(const struct route_table *t, struct str ns, struct str path) {
    if (t == NULL) return NULL;
    const struct route *route = find(t, ns, path);
    return route != NULL ? route : find(t, (struct str){"", 0}, path);
}

const struct route *route_find_version(const struct route_table *t, struct str ns, struct str path,
                                       struct str version) {
    const struct route *route = route_find(t, ns, path);
    if (version.n == 0 || (route != NULL && str_equal(route->version, version))) return route;
    struct buf key = {0}; // few requests name a version
    buf_append_str(&key, path);
    buf_append_byte(&key, '\0');
    buf_append_str(&key, version);
    route = key.failed ? NULL : route_find(t, ns, buf_str(&key));
    buf_free(&key);
    return route;
}

const struct route *route_find_again(struct route_memo *memo, const struct route_table *t,
                                     struct str ns, struct str path, struct str version) {
    if (version.n > 0) return route_find_version(t, ns, path, version);
    bool same = memo->route != NULL && memo->ns_n == ns.n && memo->path_n == path.n &&
                memcmp(memo->key, ns.p, ns.n) == 0 && memcmp(memo->key + ns.n, path.p, path.n) == 0;
    if (same) return memo->route;
    const struct route *route = route_find(t, ns, path);
    if (route != NULL && ns.n + path.n <= sizeof memo->key) {
        memo->route = route;
        memo->ns_n = ns.n;
        memo->path_n = path.n;
        memcpy(memo->key, ns.p, ns.n);
        memcpy(memo->key + ns.n, path.p, path.n);
    }
    return route;
}

static bool same(const char *p, size_t n, struct str s) {
    return n == s.n && memcmp(p, s.p, n) == 0;
}

const struct route *route_recall_http(const struct route_http_memo *memo, struct str ns,
                                      struct str method, struct str path) {
    const char *key = memo->key;
    if (memo->route == NULL || !same(key, memo->ns_n, ns)) return NULL;
    key += memo->ns_n;
    if (!same(key, memo->method_n, method)) return NULL;
    return same(key + memo->method_n, memo->path_n, path) ? memo->route : NULL;
}

void route_remember_http(struct route_http_memo *memo, const struct route *route, struct str ns,
                         struct str method, struct str path) {
    if (ns.n + method.n + path.n > sizeof memo->key) return;
    memo->route = route;
    memo->ns_n = ns.n;
    memo->method_n = method.n;
    memo->path_n = path.n;
    memcpy(memo->key, ns.p, ns.n);
    memcpy(memo->key + ns.n, method.p, method.n);
    memcpy(memo->key + ns.n + method.n, path.p, path.n);
}

// ---- requests over HTTP

bool route_method_usual(struct str method) {
    static const char *const USUAL[] = {"POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"};
    for (size_t i = 0; i < sizeof USUAL / sizeof USUAL[0]; i++) {
        if (str_is(method, USUAL[i])) return true;
    }
    return false;
}

// The path as written begins with the prefix, up to a "/" or the end.
static bool has_prefix(struct str clean, struct str prefix) {
    if (prefix.n == 0) return true;
    if (clean.n < prefix.n || memcmp(clean.p, prefix.p, prefix.n) != 0) return false;
    return clean.n == prefix.n || clean.p[prefix.n] == '/' || prefix.p[prefix.n - 1] == '/';
}

const struct route *route_match(const struct route_table *t, const struct route_query *q,
                                struct route_param *params, size_t *param_count) {
    *param_count = 0;
    if (t == NULL) return NULL;
    bool any = t->trees.count > 0;
    const struct route_tree *own = any ? map_get(&t->trees, q->ns) : NULL;
    const struct route_tree *all = any ? map_get(&t->trees, (struct str){"", 0}) : NULL;
    const struct route *route = own == NULL ? NULL : route_tree_literal(own, q);
    if (route == NULL && all != NULL) route = route_tree_literal(all, q);
    if (route != NULL) return route;
    if (route_method_usual(q->method)) {
        route = route_find_version(t, q->ns, q->normal, q->version);
        if (route != NULL && has_prefix(q->clean, route->prefix)) return route;
    }
    route = own == NULL ? NULL : route_tree_find(own, q, params, param_count);
    if (route == NULL && all != NULL) route = route_tree_find(all, q, params, param_count);
    return route;
}

void route_methods(const struct route_table *t, const struct route_query *q, struct buf *allow) {
    if (t == NULL) return;
    const struct route *route = route_find_version(t, q->ns, q->normal, q->version);
    if (route != NULL && has_prefix(q->clean, route->prefix))
        buf_append_text(allow, "GET, HEAD, POST, PUT, PATCH, DELETE");
    const struct route_tree *own = map_get(&t->trees, q->ns);
    const struct route_tree *all = map_get(&t->trees, (struct str){"", 0});
    if (own != NULL) route_tree_methods(own, q, allow);
    if (all != NULL) route_tree_methods(all, q, allow);
}

// ---- slots

struct route_slot *route_slot_new(void) {
    struct route_slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL) return NULL;
    if (pthread_mutex_init(&slot->lock, NULL) != 0) {
        free(slot);
        return NULL;
    }
    return slot;
}

void route_slot_delete(struct route_slot *slot) {
    if (slot == NULL) return;
    route_table_drop(atomic_load(&slot->current));
    pthread_mutex_destroy(&slot->lock);
    free(slot);
}

void route_slot_install(struct route_slot *slot, struct route_table *take) {
    pthread_mutex_lock(&slot->lock);
    struct route_table *old = atomic_exchange(&slot->current, take);
    pthread_mutex_unlock(&slot->lock);
    route_table_drop(old);
}

struct route_table *route_slot_view(struct route_slot *slot, struct route_table **held) {
    if (atomic_load_explicit(&slot->current, memory_order_acquire) == *held) return *held;
    pthread_mutex_lock(&slot->lock);
    struct route_table *now = route_table_hold(atomic_load(&slot->current));
    pthread_mutex_unlock(&slot->lock);
    route_table_drop(*held);
    *held = now;
    return now;
}
