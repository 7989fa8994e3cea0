// SPDX-License-Identifier: Apache-2.0
// Matching paths against path templates.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "rpc/route_tree.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_ROUTES 5000

static struct route_tree *tree;
static struct route *routes[MAX_ROUTES];
static size_t count;

static int set_up(void **state) {
    (void)state;
    assert_int_equal(random_start(), 0);
    return 0;
}

static int set_up_each(void **state) {
    (void)state;
    tree = route_tree_new();
    count = 0;
    return 0;
}

static int tear_down_each(void **state) {
    (void)state;
    route_tree_delete(tree);
    for (size_t i = 0; i < count; i++) {
        free(routes[i]->variables);
        free(routes[i]);
    }
    return 0;
}

// "GET /posts/{id}", or "GET example.com /posts/{id}"; the texts stay the caller's. The route's endpoint is the text.
static struct route *add(const char *text) {
    struct path_template t;
    struct err err = {0};
    struct route *r = calloc(1, sizeof *r);
    routes[count++] = r;
    const char *space = strchr(text, ' ');
    const char *path = strchr(text, '/');
    r->http_method = (struct str){text, (size_t)(space - text)};
    if (path > space + 1) r->host = (struct str){space + 1, (size_t)(path - space) - 2};
    r->endpoint = str_of(text);
    if (template_parse(str_of(path), &t, &err) < 0) fail_msg("%s", err.text);
    if (!t.literal) r->verb = t.verb;
    r->variable_count = t.variable_count;
    r->variables = malloc(sizeof t.variables);
    memcpy(r->variables, t.variables, sizeof t.variables);
    assert_int_equal(route_tree_add(tree, &t, r), 0);
    return r;
}

static struct route_query query;

// The text of the template that answers and its variables: "GET /posts/{id} id=7"; "-" when none does.
static const char *ask(const char *method, const char *path) {
    static struct buf out;
    struct route_param params[ROUTE_PARAMS_MAX];
    size_t n = 0;
    query.method = str_of(method);
    query.clean = str_of(path);
    const struct route *r = route_tree_literal(tree, &query);
    if (r == NULL) r = route_tree_find(tree, &query, params, &n);
    if (r == NULL) return "-";
    out.n = 0;
    buf_append_str(&out, r->endpoint);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, " %.*s=%.*s", (int)params[i].name.n, params[i].name.p,
                   (int)params[i].value.n, params[i].value.p);
    return buf_cstr(&out);
}

static const char *methods(const char *path) {
    static struct buf out;
    out.n = 0;
    query.clean = str_of(path);
    route_tree_methods(tree, &query, &out);
    return buf_cstr(&out);
}

static void test_precedence(void **state) {
    (void)state;
    add("GET /posts/**");
    add("GET /posts/{id}");
    add("GET /posts/new");
    add("GET /posts/{id}/comments/{comment}");
    add("GET /posts/{post}/comments/last");
    add("GET /{any=**}");
    assert_string_equal(ask("GET", "/posts/new"), "GET /posts/new");
    assert_string_equal(ask("GET", "/posts/7"), "GET /posts/{id} id=7");
    assert_string_equal(ask("GET", "/posts/7/8"), "GET /posts/**");
    assert_string_equal(ask("GET", "/posts"), "GET /posts/**");
    assert_string_equal(ask("GET", "/posts/7/comments/last"),
                        "GET /posts/{post}/comments/last post=7");
    assert_string_equal(ask("GET", "/posts/7/comments/3"),
                        "GET /posts/{id}/comments/{comment} id=7 comment=3");
    assert_string_equal(ask("GET", "/posts/7/comments"), "GET /posts/**");
    assert_string_equal(ask("GET", "/other/thing"), "GET /{any=**} any=other/thing");
    assert_string_equal(ask("GET", "/"), "GET /{any=**} any=");
    assert_string_equal(ask("POST", "/posts/7"), "-");
}

// A literal that leads nowhere does not hide what "*" or "**" would have found.
static void test_the_way_back(void **state) {
    (void)state;
    add("GET /a/b/c");
    add("GET /a/{x}/d/{y}");
    add("GET /a/b/e/{z}");
    add("POST /a/b/d/{z}");
    add("GET /{x=a/**}");
    assert_string_equal(ask("GET", "/a/b/d/1"), "GET /a/{x}/d/{y} x=b y=1"); // by the method
    assert_string_equal(ask("GET", "/a/b/e/1"), "GET /a/b/e/{z} z=1");
    assert_string_equal(ask("GET", "/a/b/f/1"), "GET /{x=a/**} x=a/b/f/1");
    assert_string_equal(ask("POST", "/a/b/d/1"), "POST /a/b/d/{z} z=1");
    assert_string_equal(ask("POST", "/a/b/f/1"), "-");
}

static void test_variables(void **state) {
    (void)state;
    add("GET /v1/{name=shelves/*/books/*}/pages/{page.number}");
    add("GET /v1/{name=files/**}");
    add("GET /v2/{a=x/*}/{b=**}");
    assert_string_equal(ask("GET", "/v1/shelves/s 1/books/b/pages/9"),
                        "GET /v1/{name=shelves/*/books/*}/pages/{page.number} "
                        "name=shelves/s 1/books/b page.number=9");
    assert_string_equal(ask("GET", "/v1/files"), "GET /v1/{name=files/**} name=files");
    assert_string_equal(ask("GET", "/v1/files/a/b"), "GET /v1/{name=files/**} name=files/a/b");
    assert_string_equal(ask("GET", "/v2/x/1"), "GET /v2/{a=x/*}/{b=**} a=x/1 b=");
    assert_string_equal(ask("GET", "/v2/x/1/2/3"), "GET /v2/{a=x/*}/{b=**} a=x/1 b=2/3");
    assert_string_equal(ask("GET", "/v2/x"), "-");
}

static void test_verbs(void **state) {
    (void)state;
    add("POST /posts/{id}:publish");
    add("POST /posts/{id}");
    add("POST /posts:batch");
    add("POST /files/{name=**}:sum");
    add("GET /files/{name=**}");
    assert_string_equal(ask("POST", "/posts/7:publish"), "POST /posts/{id}:publish id=7");
    assert_string_equal(ask("POST", "/posts/a:b:publish"), "POST /posts/{id}:publish id=a:b");
    assert_string_equal(ask("POST", "/posts/7:other"), "POST /posts/{id} id=7:other");
    assert_string_equal(ask("POST", "/posts/7:"), "POST /posts/{id} id=7:");
    assert_string_equal(ask("POST", "/posts/:publish"), "POST /posts/{id} id=:publish");
    assert_string_equal(ask("POST", "/posts:batch"), "POST /posts:batch");
    assert_string_equal(ask("POST", "/posts:other"), "-");
    assert_string_equal(ask("POST", "/files/a/b:sum"), "POST /files/{name=**}:sum name=a/b");
    assert_string_equal(ask("POST", "/files:sum"), "POST /files/{name=**}:sum name=");
    assert_string_equal(ask("GET", "/files/a:sum"), "GET /files/{name=**} name=a:sum");
    assert_string_equal(methods("/files/a:sum"), "POST, GET, HEAD");
}

static void test_methods(void **state) {
    (void)state;
    add("GET /posts/{id}");
    add("PUT /posts/{post}");
    add("* /any/{x}");
    add("GET /any/{x}");
    add("REPORT /posts");
    add("DELETE /posts/**");
    assert_string_equal(ask("HEAD", "/posts/1"), "GET /posts/{id} id=1");
    assert_string_equal(ask("PUT", "/posts/1"), "PUT /posts/{post} post=1");
    assert_string_equal(ask("DELETE", "/posts/1"), "DELETE /posts/**");
    assert_string_equal(ask("PATCH", "/posts/1"), "-");
    assert_string_equal(ask("GET", "/any/1"), "GET /any/{x} x=1");
    assert_string_equal(ask("HEAD", "/any/1"), "GET /any/{x} x=1");
    assert_string_equal(ask("LINK", "/any/1"), "* /any/{x} x=1");
    assert_string_equal(ask("REPORT", "/posts"), "REPORT /posts");
    assert_string_equal(methods("/posts/1"), "GET, HEAD, PUT, DELETE");
    assert_string_equal(methods("/posts"), "REPORT, DELETE");
    assert_string_equal(methods("/nothing"), "");
}

static void test_hosts(void **state) {
    (void)state;
    add("GET /{id}");
    add("GET shop.example.com /{id}");
    query.host = str_of("shop.example.com");
    assert_string_equal(ask("GET", "/1"), "GET shop.example.com /{id} id=1");
    query.host = str_of("SHOP.example.com:8080");
    assert_string_equal(ask("HEAD", "/1"), "GET shop.example.com /{id} id=1");
    query.host = str_of("shop.example.com.evil");
    assert_string_equal(ask("GET", "/1"), "GET /{id} id=1");
    query.host = str_of("shop.example.co");
    assert_string_equal(ask("GET", "/1"), "GET /{id} id=1");
    query.host = str_of("");
    assert_string_equal(ask("GET", "/1"), "GET /{id} id=1");
}

static void test_versions(void **state) {
    (void)state;
    add("GET /{id}")->version = str_of("v2");
    struct route *old = add("GET /{old}");
    assert_string_equal(ask("GET", "/1"), "GET /{old} old=1"); // said twice: the last one counts
    add("GET /{id}")->version = str_of("v2");
    old->version = str_of("v1"); // (as the installer would have said it)
    old = add("GET /{before}");
    old->version = str_of("v0");
    old->by_version = true;
    query.version = str_of("v0");
    assert_string_equal(ask("GET", "/1"), "GET /{before} before=1");
    query.version = str_of("v3");
    assert_string_equal(ask("GET", "/1"), "-");
    query.version = str_of("");
}

static void test_long_paths(void **state) {
    (void)state;
    char path[2 * 3000 + 10] = "";
    char *end = path;
    for (int i = 0; i < 3000; i++) end += sprintf(end, "/a");
    add("GET /{x}/**");
    add("GET /a/{y=**}:v");
    struct route_param params[ROUTE_PARAMS_MAX];
    size_t n;
    query.method = str_of("GET");
    query.clean = (struct str){path, 6000};
    const struct route *r = route_tree_find(tree, &query, params, &n);
    assert_true(r != NULL && str_is(r->endpoint, "GET /{x}/**"));
    strcpy(end, ":v");
    query.clean.n += 2;
    r = route_tree_find(tree, &query, params, &n);
    assert_true(r != NULL && str_is(r->endpoint, "GET /a/{y=**}:v"));
    assert_int_equal(params[0].value.n, 6000 - 3);
    char deep[100] = "GET ";
    for (int i = 0; i < 32; i++) strcat(deep, "/*");
    add(deep);
    query.clean.n = 64;
    r = route_tree_find(tree, &query, params, &n);
    assert_true(r != NULL && str_is(r->endpoint, deep));
    query.clean.n = 66; // one segment more
    r = route_tree_find(tree, &query, params, &n);
    assert_true(r != NULL && str_is(r->endpoint, "GET /{x}/**"));
}

// 4096 templates, all of which fit the path but for the last segment; the one with most stars fits it.
static void test_many_that_fit_in_part(void **state) {
    (void)state;
    static char texts[4096][48];
    for (unsigned i = 0; i < 4096; i++) {
        char *to = texts[i] + sprintf(texts[i], "GET ");
        for (unsigned bit = 0; bit < 12; bit++) to += sprintf(to, i >> bit & 1 ? "/*" : "/a");
        strcpy(to, i == 4095 ? "/{e}" : "/{e}:v");
        add(texts[i]);
    }
    assert_string_equal(ask("GET", "/a/a/a/a/a/a/a/a/a/a/a/a/x:w"),
                        "GET /*/*/*/*/*/*/*/*/*/*/*/*/{e} e=x:w");
    assert_string_equal(ask("GET", "/a/a/a/a/a/a/a/a/a/a/a/b/x:w"),
                        "GET /*/*/*/*/*/*/*/*/*/*/*/*/{e} e=x:w");
    assert_string_equal(ask("GET", "/a/a/a/a/a/a/a/a/a/a/a/a/x/y"), "-");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_precedence, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_the_way_back, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_variables, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_verbs, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_methods, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_hosts, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_versions, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_long_paths, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_many_that_fit_in_part, set_up_each, tear_down_each),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
