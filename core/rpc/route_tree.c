// SPDX-License-Identifier: Apache-2.0
// Matching paths against templates.
//
// A node of the tree stands for the segments before it; it has a child for each literal that may follow and one for
// "*". Templates that end at a node, or there with "**", hang at it as lists of routes, which differ in verb, method, host
// and version. Names of variables are no part of the tree: each route knows from which segment to which its variables go,
// and a value is a slice of the path.
//
// Since "**" stands only last, there is one way from the root to a node, and it takes as many segments as the node is deep:
// a path visits every node at most once (twice where its last segment has a colon, with a verb and without), however many
// templates fit in part. So there is no exponential search, and the recursion is at most TEMPLATE_SEGMENTS_MAX deep.
//
// Templates without variables stand in a map of their own, by their whole path.
#include "rpc/route_tree.h"

#include <stdlib.h>
#include <strings.h>

struct node {
    struct map literals; // segment -> struct node *
    struct node *one;    // "*"
    struct route *here;  // templates that end here
    struct route *rest;  // and those that end with "**" here
};

struct route_tree {
    struct map literals; // path with verb -> struct route *, the first of a list
    struct node root;
    bool verbs; // a template has one
};

struct walk {
    const struct route_query *q;
    struct str verb;
    // Segment i is path[from[i], to[i]); there is one more than the deepest node takes, if the path has so many.
    size_t from[TEMPLATE_SEGMENTS_MAX + 1], to[TEMPLATE_SEGMENTS_MAX + 1];
    size_t count;        // of segments, those that were not cut included
    size_t end;          // of the path, without the verb
    struct buf *methods; // not NULL: finds nothing, and gathers instead
};

// ---- building

struct route_tree *route_tree_new(void) {
    return calloc(1, sizeof(struct route_tree));
}

static void node_clear(struct node *node) {
    for (struct map_entry *e = map_next(&node->literals, NULL); e != NULL;
         e = map_next(&node->literals, e)) {
        node_clear(e->value);
        free(e->value);
    }
    map_free(&node->literals);
    if (node->one == NULL) return;
    node_clear(node->one);
    free(node->one);
}

void route_tree_delete(struct route_tree *tree) {
    if (tree == NULL) return;
    node_clear(&tree->root);
    map_free(&tree->literals);
    free(tree);
}

static bool same_place(const struct route *a, const struct route *b) {
    return str_equal(a->verb, b->verb) && str_equal(a->http_method, b->http_method) &&
           str_equal(a->host, b->host) && a->by_version == b->by_version &&
           (!a->by_version || str_equal(a->version, b->version));
}

static void list_add(struct route **first, struct route *route) {
    struct route **at = first;
    while (*at != NULL && !same_place(*at, route)) at = &(*at)->next;
    route->next = *at == NULL ? NULL : (*at)->next;
    *at = route;
}

static int add_literal(struct route_tree *tree, const struct path_template *t,
                       struct route *route) {
    struct buf path = {0};
    for (size_t i = 0; i < t->segment_count; i++) {
        buf_append_byte(&path, '/');
        buf_append_str(&path, t->segments[i].text);
    }
    if (t->segment_count == 0) buf_append_byte(&path, '/');
    if (t->verb.n > 0) buf_append_byte(&path, ':');
    buf_append_str(&path, t->verb);
    struct route *first = map_get(&tree->literals, buf_str(&path));
    list_add(&first, route);
    int rc =
        path.failed ? -STATUS_RESOURCE_EXHAUSTED : map_put(&tree->literals, buf_str(&path), first);
    buf_free(&path);
    return rc;
}

static struct node *child_of(struct node *node, const struct template_segment *s) {
    struct node *child = s->kind == SEGMENT_ONE ? node->one : map_get(&node->literals, s->text);
    if (child != NULL) return child;
    child = calloc(1, sizeof *child);
    if (child == NULL) return NULL;
    if (s->kind == SEGMENT_ONE) {
        node->one = child;
    } else if (map_put(&node->literals, s->text, child) < 0) {
        free(child);
        return NULL;
    }
    return child;
}

int route_tree_add(struct route_tree *tree, const struct path_template *t, struct route *route) {
    if (t->literal) return add_literal(tree, t, route);
    tree->verbs = tree->verbs || t->verb.n > 0;
    struct node *node = &tree->root;
    for (size_t i = 0; i < t->segment_count; i++) {
        if (t->segments[i].kind == SEGMENT_REST) {
            list_add(&node->rest, route);
            return 0;
        }
        node = child_of(node, &t->segments[i]);
        if (node == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    }
    list_add(&node->here, route);
    return 0;
}

// ---- one of a list

static void gather(struct buf *methods, struct str method) {
    struct str all = buf_str(methods);
    for (size_t at = 0; at + method.n <= all.n; at++) {
        bool whole = (at == 0 || all.p[at - 1] == ' ') &&
                     (at + method.n == all.n || all.p[at + method.n] == ',');
        if (whole && memcmp(all.p + at, method.p, method.n) == 0) return;
    }
    if (all.n > 0) buf_append_text(methods, ", ");
    buf_append_str(methods, method);
}

static void gather_methods(struct buf *methods, struct str method) {
    gather(methods, method);
    if (str_is(method, "GET")) gather(methods, str_of("HEAD"));
}

// How well a route's method fits: 0 is not at all. HEAD is answered where GET is.
static int method_fit(const struct route *r, struct str method) {
    if (str_equal(r->http_method, method)) return 3;
    if (str_is(r->http_method, "GET") && str_is(method, "HEAD")) return 2;
    return str_is(r->http_method, "*") ? 1 : 0;
}

static bool host_fits(const struct route *r, struct str host) {
    if (r->host.n == 0) return true;
    bool long_enough = host.n == r->host.n || (host.n > r->host.n && host.p[r->host.n] == ':');
    return long_enough && strncasecmp(host.p, r->host.p, r->host.n) == 0;
}

static const struct route *choose(const struct route *first, const struct walk *w) {
    const struct route *best = NULL;
    int best_fit = 0;
    struct str version = w->q->version;
    for (const struct route *r = first; r != NULL; r = r->next) {
        if (!str_equal(r->verb, w->verb) || !host_fits(r, w->q->host)) continue;
        if (version.n > 0 ? !str_equal(r->version, version) : r->by_version) continue;
        if (w->methods != NULL) {
            gather_methods(w->methods, r->http_method);
            continue;
        }
        int fit = method_fit(r, w->q->method);
        if (fit > 0 && r->host.n > 0) fit += 10;
        if (fit <= best_fit) continue;
        best_fit = fit;
        best = r;
    }
    return best;
}

const struct route *route_tree_literal(const struct route_tree *tree, const struct route_query *q) {
    struct walk w = {.q = q};
    return choose(map_get(&tree->literals, q->clean), &w);
}

// ---- walking

static void cut(struct walk *w, struct str path) {
    w->count = 0;
    w->end = path.n;
    for (size_t at = 1; at < path.n;) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        size_t end = slash == NULL ? path.n : (size_t)(slash - path.p);
        w->from[w->count] = at;
        w->to[w->count++] = end;
        if (w->count == TEMPLATE_SEGMENTS_MAX + 1) break; // no node is so deep
        at = end + 1;
    }
}

static struct str segment(const struct walk *w, size_t i) {
    return (struct str){w->q->clean.p + w->from[i], w->to[i] - w->from[i]};
}

static const struct route *walk(const struct node *node, const struct walk *w, size_t depth) {
    const struct route *found = NULL;
    if (depth == w->count) {
        found = choose(node->here, w);
    } else {
        const struct node *literal =
            node->literals.count == 0 ? NULL : map_get(&node->literals, segment(w, depth));
        if (literal != NULL) found = walk(literal, w, depth + 1);
        if (found == NULL && node->one != NULL) found = walk(node->one, w, depth + 1);
    }
    return found != NULL ? found : choose(node->rest, w);
}

// "/a/b:verb", where something stands before the colon. The last segment must be among those that were cut, or the path
// is too long for any template but one with "**", whose end is cut off just so.
static bool cut_verb(struct walk *w) {
    struct str path = w->q->clean;
    size_t colon = path.n;
    while (colon > 0 && path.p[colon - 1] != ':' && path.p[colon - 1] != '/') colon--;
    if (colon < 2 || path.p[colon - 1] != ':' || path.p[colon - 2] == '/') return false;
    if (colon == path.n) return false;
    w->verb = (struct str){path.p + colon, path.n - colon};
    w->end = colon - 1;
    if (w->count > 0 && w->to[w->count - 1] == path.n) w->to[w->count - 1] = w->end;
    return true;
}

static void fill_params(const struct route *route, const struct walk *w,
                        struct route_param *params) {
    const char *path = w->q->clean.p;
    for (size_t i = 0; i < route->variable_count; i++) {
        const struct template_variable *v = &route->variables[i];
        size_t from = v->from < w->count ? w->from[v->from] : w->end;
        size_t to = v->rest ? w->end : w->to[v->from + v->count - 1];
        params[i] = (struct route_param){v->name, {path + from, to - from}};
    }
}

const struct route *route_tree_find(const struct route_tree *tree, const struct route_query *q,
                                    struct route_param *params, size_t *param_count) {
    struct walk w = {.q = q};
    cut(&w, q->clean);
    const struct route *found = NULL;
    if (tree->verbs && cut_verb(&w)) found = walk(&tree->root, &w, 0);
    if (found == NULL && w.verb.n > 0) {
        w.verb.n = 0;
        cut(&w, q->clean);
    }
    if (found == NULL) found = walk(&tree->root, &w, 0);
    if (found == NULL) return NULL;
    fill_params(found, &w, params);
    *param_count = found->variable_count;
    return found;
}

void route_tree_methods(const struct route_tree *tree, const struct route_query *q,
                        struct buf *allow) {
    struct walk w = {.q = q, .methods = allow};
    choose(map_get(&tree->literals, q->clean), &w);
    cut(&w, q->clean);
    if (tree->verbs && cut_verb(&w)) walk(&tree->root, &w, 0);
    w.verb.n = 0;
    cut(&w, q->clean);
    walk(&tree->root, &w, 0);
}
