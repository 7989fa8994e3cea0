// SPDX-License-Identifier: Apache-2.0
// Installing route tables, finding routes in them, and slots.
#include "rpc_testing.h"

#include "rpc/route.h"

#include "base/random.h"

#include <mica/core/v1/core.pb-c.h>

typedef Mica__Core__V1__Route Route;

static struct pb_pool *pool;
static struct keeper service;
static struct directory *directory;
static struct route_slot *api, *proxy;

static int set_up(void **state) {
    (void)state;
    assert_int_equal(random_start(), 0);
    pool = echo_pool();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(atomic_load(&pool->refs), 1);
    pb_pool_drop(pool);
    return 0;
}

static int set_up_each(void **state) {
    (void)state;
    keeper_create(&service);
    directory = directory_new();
    api = route_slot_new();
    proxy = route_slot_new();
    assert_int_equal(put_version(directory, "mica", "echo", "", &service.port, pool, NULL, NULL, 5),
                     0);
    assert_int_equal(put_version(directory, "", "registry", "", &service.port, pool, NULL, NULL, 6),
                     0);
    return 0;
}

static int tear_down_each(void **state) {
    (void)state;
    route_slot_delete(api);
    route_slot_delete(proxy);
    directory_delete(directory);
    assert_int_equal(atomic_load(&service.port.refs), 1);
    keeper_destroy(&service);
    return 0;
}

static Route route(char *ns, char *path, char *name, char *endpoint) {
    Route r = MICA__CORE__V1__ROUTE__INIT;
    r.namespace_ = ns;
    r.path = path;
    r.service = name;
    r.endpoint = endpoint;
    return r;
}

// The names that the answer lists, joined by commas.
static int install(char *door, Route *routes, size_t count, Mica__Core__V1__Account *loopback,
                   char missing[200], struct err *err) {
    Mica__Core__V1__InstallRequest request = MICA__CORE__V1__INSTALL_REQUEST__INIT;
    Route *list[16];
    for (size_t i = 0; i < count; i++) list[i] = &routes[i];
    request.door = door;
    request.routes = list;
    request.n_routes = count;
    request.loopback = loopback;
    uint8_t bytes[4096];
    size_t n = mica__core__v1__install_request__pack(&request, bytes);
    struct buf response = {0};
    int rc = route_install(directory, api, proxy, (struct str){(char *)bytes, n}, &response, err);
    missing[0] = '\0';
    if (rc == 0) {
        Mica__Core__V1__InstallResponse *answer = mica__core__v1__install_response__unpack(
            NULL, response.n, (const uint8_t *)buf_str(&response).p);
        assert_non_null(answer);
        for (size_t i = 0; i < answer->n_missing; i++) {
            strcat(missing, answer->missing[i]);
            strcat(missing, ",");
        }
        mica__core__v1__install_response__free_unpacked(answer, NULL);
    }
    buf_free(&response);
    return rc;
}

static void test_install(void **state) {
    (void)state;
    char missing[200];
    Route routes[] = {route("mica", "/echo/say", "echo", "Echo.Say"),
                      route("", "/registry/list", "registry", "Other.Say"),
                      route("mica", "/gone", "gone", "Gone.Call"),
                      route("mica", "/gone/too", "gone", "Gone.Two"),
                      route("mica", "/echo/none", "echo", "Echo.None")};
    routes[0].public_ = 1;
    routes[0].prefix = "/echo";
    assert_int_equal(install("api", routes, 5, NULL, missing, NULL), 0);
    assert_string_equal(missing, "gone,echo,");
    struct route_table *table = NULL;
    assert_null(route_slot_view(proxy, &table));
    assert_non_null(route_slot_view(api, &table));
    const struct route *r = route_find(table, str_of("mica"), str_of("/echo/say"));
    assert_non_null(r);
    assert_ptr_equal(r->port, &service.port);
    assert_true(str_is(r->method->path, "/echo.Echo/Say"));
    assert_true(str_is(r->service, "echo") && str_is(r->endpoint, "Echo.Say") &&
                str_is(r->prefix, "/echo"));
    assert_true(r->public);
    assert_int_equal(r->generation, 5);
    assert_null(route_find(table, str_of("acme"), str_of("/echo/say")));
    assert_null(route_find(table, str_of("mica"), str_of("/gone")));
    r = route_find(table, str_of("acme"), str_of("/registry/list")); // every namespace
    assert_non_null(r);
    assert_false(r->public);
    assert_null(table->loopback);
    route_table_drop(table);
}

static void test_versions(void **state) {
    (void)state;
    char missing[200];
    struct route_table *table = NULL;
    put_version(directory, "mica", "echo", "v1", &service.port, pool, NULL, NULL, 7);
    put_version(directory, "mica", "echo", "v2", &service.port, pool, NULL, NULL, 8);
    Route routes[] = {route("mica", "/echo/say", "echo", "Echo.Say"),
                      route("mica", "/echo/say", "echo", "Echo.Say")};
    routes[0].version = "v2";
    routes[1].version = "v1";
    routes[1].by_version = 1;
    assert_int_equal(install("api", routes, 2, NULL, missing, NULL), 0);
    route_slot_view(api, &table);
    static const struct {
        const char *version;
        unsigned generation;
    } CASES[] = {{"", 8}, {"v2", 8}, {"v1", 7}, {"v3", 0}, {"v", 0}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const struct route *r = route_find_version(table, str_of("mica"), str_of("/echo/say"),
                                                   str_of(CASES[i].version));
        assert_int_equal(r == NULL ? 0 : r->generation, CASES[i].generation);
    }
    assert_null(route_find_version(table, str_of("mica"), str_of("/echo"), str_of("v1")));
    assert_null(route_find_version(NULL, str_of("mica"), str_of("/echo/say"), str_of("v1")));
    route_table_drop(table);
}

static void test_long_keys(void **state) {
    (void)state;
    char missing[200];
    char path[900];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    Route routes[] = {route("mica", path, "echo", "Echo.Say")};
    assert_int_equal(install("proxy", routes, 1, NULL, missing, NULL), 0);
    struct route_table *table = NULL;
    route_slot_view(proxy, &table);
    assert_non_null(route_find(table, str_of("mica"), str_of(path)));
    path[5] = 'b';
    assert_null(route_find(table, str_of("mica"), str_of(path)));
    assert_null(route_find(NULL, str_of("mica"), str_of(path)));
    route_table_drop(table);
}

static void test_loopback_account(void **state) {
    (void)state;
    char missing[200];
    Mica__Core__V1__Account account = MICA__CORE__V1__ACCOUNT__INIT;
    account.id = "admin";
    account.type = "user";
    account.issuer = "left out";
    assert_int_equal(install("proxy", NULL, 0, &account, missing, NULL), 0);
    struct route_table *table = NULL;
    route_slot_view(proxy, &table);
    Mica__Core__V1__Account *kept = mica__core__v1__account__unpack(
        NULL, table->loopback->n, (const uint8_t *)table->loopback->p);
    assert_non_null(kept);
    assert_string_equal(kept->id, "admin");
    assert_string_equal(kept->issuer, "");
    mica__core__v1__account__free_unpacked(kept, NULL);
    route_table_drop(table);
}

static void test_all_or_nothing(void **state) {
    (void)state;
    char missing[200];
    struct err err;
    Route good[] = {route("mica", "/echo/say", "echo", "Echo.Say")};
    assert_int_equal(install("api", good, 1, NULL, missing, NULL), 0);
    Route bad[] = {route("mica", "/echo/chat", "echo", "Echo.Chat"),
                   route("mica", "no-slash", "echo", "Echo.Say")};
    assert_int_equal(install("api", bad, 2, NULL, missing, &err), -STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "no-slash"));
    assert_int_equal(install("window", good, 1, NULL, missing, &err), -STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "\"window\""));
    struct buf response = {0};
    assert_int_equal(route_install(directory, api, proxy, str_of("\xFF\xFF"), &response, &err),
                     -STATUS_INVALID_ARGUMENT);
    struct route_table *table = NULL;
    route_slot_view(api, &table);
    assert_non_null(route_find(table, str_of("mica"), str_of("/echo/say")));
    assert_null(route_find(table, str_of("mica"), str_of("/echo/chat")));
    route_table_drop(table);
}

static void test_said_twice(void **state) {
    (void)state;
    char missing[200];
    Route routes[] = {route("mica", "/echo", "echo", "Echo.Say"),
                      route("mica", "/echo", "echo", "Echo.Count")};
    assert_int_equal(install("api", routes, 2, NULL, missing, NULL), 0);
    struct route_table *table = NULL;
    route_slot_view(api, &table);
    assert_true(str_is(route_find(table, str_of("mica"), str_of("/echo"))->endpoint, "Echo.Count"));
    route_table_drop(table);
}

// What answers a request: its endpoint and variables; "-" when nothing does.
static const char *match(const struct route_table *table, const char *method, const char *path) {
    static struct buf out, clean, normal;
    struct route_param params[ROUTE_PARAMS_MAX];
    size_t n;
    assert_int_equal(route_normalize(str_of(path), &clean, &normal), 0);
    struct route_query q = {.ns = str_of("mica"),
                            .clean = buf_str(&clean),
                            .normal = buf_str(&normal),
                            .method = str_of(method)};
    const struct route *r = route_match(table, &q, params, &n);
    out.n = 0;
    if (r == NULL) {
        static struct buf allow;
        allow.n = 0;
        route_methods(table, &q, &allow);
        buf_append_byte(&out, '-');
        buf_append_str(&out, buf_str(&allow));
        return buf_cstr(&out);
    }
    buf_append_str(&out, r->endpoint);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, " %.*s=%.*s", (int)params[i].name.n, params[i].name.p,
                   (int)params[i].value.n, params[i].value.p);
    return buf_cstr(&out);
}

static Route template_route(char *method, char *text, char *name, char *endpoint) {
    Route r = route("mica", "", name, endpoint);
    r.method = method;
    r.template_ = text;
    return r;
}

static void test_templates(void **state) {
    (void)state;
    char missing[200];
    Route routes[] = {route("mica", "/echo/say", "echo", "Echo.Say"),
                      template_route("GET", "/echo/say", "echo", "Echo.Count"),
                      template_route("GET", "/echo/{text}", "echo", "Echo.Say"),
                      template_route("POST", "/echo/{text}:shout", "echo", "Echo.Say"),
                      template_route("", "/files/{name=**}", "echo", "GET /*name"),
                      template_route("", "/registry/**", "registry", ""),
                      template_route("GET", "/gone/{id}", "gone", "Gone.Call")};
    routes[0].prefix = "/echo";
    routes[2].body = "*";
    routes[2].response_body = "text";
    routes[4].kind = MICA__CORE__V1__ROUTE__KIND__HANDLER;
    routes[5].kind = MICA__CORE__V1__ROUTE__KIND__FORWARD;
    routes[5].namespace_ = "";
    assert_int_equal(install("api", routes, 7, NULL, missing, NULL), 0);
    assert_string_equal(missing, "gone,");
    struct route_table *table = NULL;
    route_slot_view(api, &table);
    assert_string_equal(match(table, "GET", "/echo/say"), "Echo.Count");
    assert_string_equal(match(table, "POST", "/echo/say"), "Echo.Say");
    assert_string_equal(match(table, "GET", "/echo/Say"), "Echo.Say"); // Micro's rule comes first
    assert_string_equal(match(table, "GET", "/echo/a%20b"), "Echo.Say text=a b");
    assert_string_equal(match(table, "POST", "/echo/a:shout"), "Echo.Say text=a");
    assert_string_equal(match(table, "POST", "/echo/a"), "-GET, HEAD");
    assert_string_equal(match(table, "TRACE", "/echo/say"), "-GET, HEAD, POST, PUT, PATCH, DELETE");
    assert_string_equal(match(table, "PUT", "/files/a/b"), "GET /*name name=a/b");
    assert_string_equal(match(table, "PUT", "/registry/x"), "");
    assert_string_equal(match(table, "GET", "/gone/1"), "-");
    struct route_query q = {.ns = str_of("mica"),
                            .clean = str_of("/echo/x"),
                            .normal = str_of("/echo/x"),
                            .method = str_of("GET")};
    struct route_param params[ROUTE_PARAMS_MAX];
    size_t n;
    const struct route *r = route_match(table, &q, params, &n);
    assert_true(r->whole_body && str_is(r->response_body->name, "text") && r->templated);
    assert_true(r->body == NULL && r->method != NULL);
    q.clean = str_of("/registry");
    r = route_match(table, &q, params, &n);
    assert_true(r->kind == ROUTE_FORWARD && r->method == NULL && r->generation == 6);
    route_table_drop(table);
}

static void test_http_memo(void **state) {
    (void)state;
    struct route a = {.generation = 1}, b = {.generation = 2};
    struct route_http_memo memo = {.route = NULL};
    struct str ns = str_of("mica"), get = str_of("GET"), path = str_of("/a");
    assert_null(route_recall_http(&memo, ns, get, path));
    route_remember_http(&memo, &a, ns, get, path);
    assert_ptr_equal(route_recall_http(&memo, ns, get, path), &a);
    assert_null(route_recall_http(&memo, ns, str_of("PUT"), path));
    assert_null(route_recall_http(&memo, str_of("acme"), get, path));
    assert_null(route_recall_http(&memo, ns, get, str_of("/b")));
    assert_null(route_recall_http(&memo, ns, get, str_of("/a/")));
    assert_null(route_recall_http(&memo, str_of("micaG"), str_of("ET"), path));
    char longest[ROUTE_MEMO_MAX];
    memset(longest, 'x', sizeof longest);
    route_remember_http(&memo, &b, ns, get, (struct str){longest, sizeof longest - 6});
    assert_ptr_equal(route_recall_http(&memo, ns, get, path), &a); // it does not fit
    route_remember_http(&memo, &b, ns, get, (struct str){longest, sizeof longest - 7});
    assert_ptr_equal(route_recall_http(&memo, ns, get, (struct str){longest, sizeof longest - 7}), &b);
    assert_null(route_recall_http(&memo, ns, get, path));
}

static void test_faulty_templates(void **state) {
    (void)state;
    char missing[200];
    struct err err = {0};
    Route faulty = template_route("GET", "/echo/{text", "echo", "Echo.Say");
    assert_int_equal(install("api", &faulty, 1, NULL, missing, &err), -STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "\"}\" is missing"));
    faulty = template_route("GET", "/echo", "echo", "Echo.Say");
    faulty.path = "/echo"; // both
    assert_int_equal(install("api", &faulty, 1, NULL, missing, &err), -STATUS_INVALID_ARGUMENT);
    faulty = route("mica", "/echo", "echo", "GET /");
    faulty.kind = MICA__CORE__V1__ROUTE__KIND__HANDLER;
    assert_int_equal(install("api", &faulty, 1, NULL, missing, &err), -STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "other than ENDPOINT"));
}

static void test_a_view_keeps_its_table(void **state) {
    (void)state;
    char missing[200];
    Route routes[] = {route("mica", "/echo", "echo", "Echo.Say")};
    assert_int_equal(install("api", routes, 1, NULL, missing, NULL), 0);
    struct route_table *held = NULL;
    route_slot_view(api, &held);
    struct route_table *call = route_table_hold(held); // as a call under way does
    const struct route *r = route_find(held, str_of("mica"), str_of("/echo"));
    assert_int_equal(install("api", NULL, 0, NULL, missing, NULL), 0);
    struct route_table *before = held;
    assert_ptr_not_equal(route_slot_view(api, &held), before);
    assert_null(route_find(held, str_of("mica"), str_of("/echo")));
    assert_true(str_is(r->endpoint, "Echo.Say")); // the old one lives while it is held
    route_table_drop(call);
    route_table_drop(held);
}

static void *viewer(void *arg) {
    struct route_table *held = NULL;
    (void)arg;
    for (int i = 0; i < 5000; i++) {
        const struct route *r =
            route_find(route_slot_view(api, &held), str_of("mica"), str_of("/echo"));
        if (r != NULL && r->generation != 5) abort();
    }
    route_table_drop(held);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    char missing[200];
    pthread_t threads[2];
    Route routes[] = {route("mica", "/echo", "echo", "Echo.Say")};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, viewer, NULL), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(install("api", routes, 1, NULL, missing, NULL), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_install, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_long_keys, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_versions, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_loopback_account, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_all_or_nothing, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_said_twice, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_templates, set_up_each, tear_down_each),
        cmocka_unit_test(test_http_memo),
        cmocka_unit_test_setup_teardown(test_faulty_templates, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_a_view_keeps_its_table, set_up_each, tear_down_each),
        cmocka_unit_test_setup_teardown(test_threads, set_up_each, tear_down_each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
