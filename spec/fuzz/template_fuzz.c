// SPDX-License-Identifier: Apache-2.0
// Path templates and what they match: lines of "METHOD /template", an empty line, then lines of "METHOD /path".
// A path that was matched must come out of its template again when the variables are put in.
#include "fuzz.h"

#include "base/encode.h"
#include "base/random.h"
#include "rpc/route_tree.h"

#define MOST 32

struct world {
    struct route_tree *tree;
    struct route routes[MOST];
    struct path_template templates[MOST];
    size_t count;
};

static struct str next_line(struct str *rest) {
    const char *lf = memchr(rest->p, '\n', rest->n);
    size_t n = lf == NULL ? rest->n : (size_t)(lf - rest->p);
    struct str line = {rest->p, n};
    n += lf != NULL;
    *rest = (struct str){rest->p + n, rest->n - n};
    return line;
}

static bool split(struct str line, struct str *method, struct str *path) {
    const char *space = memchr(line.p, ' ', line.n);
    if (space == NULL) return false;
    *method = (struct str){line.p, (size_t)(space - line.p)};
    *path = (struct str){space + 1, line.n - method->n - 1};
    return true;
}

static void add(struct world *w, struct str line) {
    struct str method, text;
    struct path_template *t = &w->templates[w->count];
    struct err err = {0};
    if (w->count == MOST || !split(line, &method, &text)) return;
    if (template_parse(text, t, &err) < 0) {
        must(err.text[0] != '\0');
        return;
    }
    struct route *r = &w->routes[w->count];
    *r = (struct route){.http_method = method,
                        .variables = t->variables,
                        .variable_count = t->variable_count,
                        .verb = t->literal ? (struct str){"", 0} : t->verb};
    must(route_tree_add(w->tree, t, r) == 0);
    w->count++;
}

// The segments of the path, one by one, against those of the template.
static void check(const struct world *w, const struct route *r, struct str path,
                  const struct route_param *params, size_t count) {
    const struct path_template *t = &w->templates[r - w->routes];
    must(count == t->variable_count);
    size_t at = 0;
    for (size_t i = 0; i < t->segment_count; i++) {
        const struct template_segment *s = &t->segments[i];
        if (s->kind == SEGMENT_REST) break;
        must(at < path.n && path.p[at] == '/');
        size_t end = ++at;
        while (end < path.n && path.p[end] != '/') end++;
        if (s->kind == SEGMENT_LITERAL)
            must(end - at >= s->text.n && memcmp(path.p + at, s->text.p, s->text.n) == 0);
        at = end;
    }
    for (size_t i = 0; i < count; i++) {
        must(str_equal(params[i].name, t->variables[i].name));
        struct str value = params[i].value;
        must(value.p >= path.p && value.p + value.n <= path.p + path.n);
        must(value.n > 0 || t->variables[i].rest);
        size_t slashes = 0;
        for (size_t k = 0; k < value.n; k++) slashes += value.p[k] == '/';
        if (!t->variables[i].rest) must(slashes + 1 == t->variables[i].count);
    }
}

static void ask(const struct world *w, struct str line) {
    struct str method, path;
    struct buf clean = {0}, normal = {0}, allow = {0};
    struct route_param params[ROUTE_PARAMS_MAX];
    size_t count = 0;
    if (!split(line, &method, &path) || route_normalize(path, &clean, &normal) < 0) goto done;
    struct route_query q = {.method = method, .clean = buf_str(&clean)};
    const struct route *r = route_tree_literal(w->tree, &q);
    if (r == NULL) r = route_tree_find(w->tree, &q, params, &count);
    if (r != NULL && !w->templates[r - w->routes].literal) check(w, r, q.clean, params, count);
    route_tree_methods(w->tree, &q, &allow);
    if (r != NULL) must(allow.n > 0 || r->http_method.n == 0);
done:
    buf_free(&clean);
    buf_free(&normal);
    buf_free(&allow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool seeded;
    if (!seeded) must(random_start() == 0);
    seeded = true;
    char *copy = input_copy((struct str){(const char *)data, size});
    struct str rest = {copy, size}, line;
    struct world *w = calloc(1, sizeof *w);
    must(w != NULL);
    w->tree = route_tree_new();
    while (rest.n > 0 && (line = next_line(&rest)).n > 0) add(w, line);
    while (rest.n > 0) ask(w, next_line(&rest));
    route_tree_delete(w->tree);
    free(w);
    free(copy);
    return 0;
}
