// SPDX-License-Identifier: Apache-2.0
// Which version of which service answers, and what is said when none does.
#include "rpc_testing.h"

#include "rpc/route.h"

#include "base/random.h"

static struct pb_pool *pool;
static struct keeper first, second;

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

static int set_up_ports(void **state) {
    (void)state;
    keeper_create(&first);
    keeper_create(&second);
    return 0;
}

static int tear_down_ports(void **state) {
    (void)state;
    keeper_destroy(&first);
    keeper_destroy(&second);
    return 0;
}

static bool owns_echo(const void *source, struct str file) {
    return source == (const void *)&first && str_is(file, "echo.proto");
}

static int find(struct directory *d, const char *ns, const char *service, const char *version,
                const char *endpoint, struct directory_entry *out, struct err *err) {
    const struct pb_method *method = NULL;
    int rc = directory_find(d, str_of(ns), str_of(service), str_of(version), str_of(endpoint), out,
                            &method, err);
    if (rc == 0) assert_non_null(method);
    return rc;
}

static void drop(struct directory_entry *e) {
    port_drop(e->port);
    pb_pool_drop(e->pool);
}

static void test_finds_with_references_of_its_own(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    const struct pb_method *method;
    uint64_t before = directory_epoch(d);
    assert_int_equal(put_version(d, "mica", "echo", "v1", &first.port, pool, owns_echo, &first, 7),
                     0);
    assert_true(directory_epoch(d) > before);
    assert_int_equal(directory_find(d, str_of("mica"), str_of("echo"), str_of(""),
                                    str_of("Echo.Count"), &e, &method, NULL),
                     0);
    assert_ptr_equal(e.port, &first.port);
    assert_ptr_equal(e.pool, pool);
    assert_ptr_equal(e.source, (void *)&first);
    assert_int_equal(e.generation, 7);
    assert_true(str_is(method->path, "/echo.Echo/Count"));
    directory_delete(d);
    assert_int_equal(atomic_load(&first.port.refs), 2); // ours and the entry's
    drop(&e);
    assert_int_equal(atomic_load(&first.port.refs), 1);
}

static void test_newest_version_answers(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    put_version(d, "mica", "echo", "v1", &first.port, pool, NULL, NULL, 1);
    put_version(d, "mica", "echo", "v2", &second.port, pool, NULL, NULL, 2);
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, 2);
    drop(&e);
    assert_int_equal(find(d, "mica", "echo", "v1", "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, 1);
    drop(&e);
    // The same version again takes the place of the old one and is the newest.
    put_version(d, "mica", "echo", "v1", &second.port, pool, NULL, NULL, 3);
    assert_int_equal(atomic_load(&first.port.refs), 1);
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, 3);
    drop(&e);
    directory_remove(d, "mica", "echo", "v1");
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, 2);
    drop(&e);
    uint64_t epoch = directory_epoch(d);
    directory_remove(d, "mica", "echo", "v9");
    assert_int_equal(directory_epoch(d), epoch);
    directory_remove(d, "mica", "echo", "v2");
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Say", &e, NULL), -STATUS_UNAVAILABLE);
    directory_delete(d);
}

static void expect_generation(struct directory *d, const char *version, uint32_t generation) {
    struct directory_entry e;
    assert_int_equal(find(d, "mica", "echo", version, "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, generation);
    drop(&e);
}

static void put_at(struct directory *d, const char *version, uint32_t generation, uint64_t order) {
    struct port *port = &first.port;
    assert_int_equal(
        directory_put(d, &(struct directory_version){"mica", "echo", version, port, pool, NULL,
                                                     &first, generation, order, false}),
        0);
}

static void test_highest_order_answers(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    put_at(d, "v2", 1, 20);
    put_at(d, "v1", 2, 10);
    put_at(d, "v3", 3, 15);
    expect_generation(d, "", 1);
    put_at(d, "v1", 4, 10); // replaced, it keeps its place
    expect_generation(d, "", 1);
    expect_generation(d, "v1", 4);
    directory_withdraw(d, "mica", "echo", "v1", 2); // it has gone already: 4 is in its place
    expect_generation(d, "v1", 4);
    directory_withdraw(d, "mica", "echo", "v2", 1);
    expect_generation(d, "", 3);
    put_at(d, "v2", 5, 15); // of equal ones the newest
    expect_generation(d, "", 5);
    const struct str mica = str_of("mica"), echo = str_of("echo");
    assert_int_equal(directory_look(d, mica, echo, str_of("v1"), &e), 0);
    assert_true(e.generation == 4 && e.source == (struct source *)&first && e.pool == pool);
    drop(&e);
    assert_int_equal(directory_look(d, mica, echo, str_of("v9"), &e), -STATUS_NOT_FOUND);
    assert_int_equal(directory_look(d, mica, str_of("nobody"), str_of(""), &e), -STATUS_NOT_FOUND);
    directory_delete(d);
}

static void test_platform_is_seen_from_everywhere(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    put_version(d, "", "registry", "", &first.port, pool, NULL, NULL, 1);
    put_version(d, "acme", "registry", "", &second.port, pool, NULL, NULL, 2);
    assert_int_equal(find(d, "mica", "registry", "", "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, 1);
    drop(&e);
    assert_int_equal(find(d, "acme", "registry", "", "Echo.Say", &e, NULL), 0);
    assert_int_equal(e.generation, 2);
    drop(&e);
    assert_int_equal(find(d, "", "echo", "", "Echo.Say", &e, NULL), -STATUS_UNAVAILABLE);
    directory_delete(d);
}

static void test_texts(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    struct err err;
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Say", &e, &err), -STATUS_UNAVAILABLE);
    assert_string_equal(err.text, "no service \"echo\" is running in namespace \"mica\"");
    put_version(d, "mica", "echo", "v1", &first.port, pool, NULL, NULL, 1);
    assert_int_equal(find(d, "mica", "echo", "v2", "Echo.Say", &e, &err), -STATUS_UNAVAILABLE);
    assert_string_equal(err.text, "no version \"v2\" of service \"echo\" is running");
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Cuont", &e, &err), -STATUS_UNIMPLEMENTED);
    assert_string_equal(
        err.text, "service \"echo\" has no endpoint \"Echo.Cuont\" (did you mean \"Echo.Count\"?)");
    assert_int_equal(find(d, "mica", "echo", "", "echo.say", &e, &err), -STATUS_UNIMPLEMENTED);
    assert_non_null(strstr(err.text, "\"Echo.Say\"?"));
    assert_int_equal(find(d, "mica", "echo", "", "Zzzzzz.Qqqqqqq", &e, &err),
                     -STATUS_UNIMPLEMENTED);
    assert_null(strstr(err.text, "did you mean"));
    directory_delete(d);
}

static bool owns_nothing(const void *source, struct str file) {
    (void)source, (void)file;
    return false;
}

static void test_only_own_files_are_endpoints(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    put_version(d, "mica", "echo", "", &first.port, pool, owns_nothing, NULL, 1);
    assert_int_equal(find(d, "mica", "echo", "", "Echo.Say", &e, NULL), -STATUS_UNIMPLEMENTED);
    directory_delete(d);
}

// Readers and a writer at once: for the thread sanitizer, and for references that leak.
static void *reader(void *arg) {
    struct directory *d = arg;
    struct directory_entry e;
    for (int i = 0; i < 2000; i++) {
        if (find(d, "mica", "echo", "", "Echo.Say", &e, NULL) == 0) drop(&e);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct directory *d = directory_new();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, reader, d), 0);
    for (int i = 0; i < 300; i++) {
        put_version(d, "mica", "echo", i % 2 ? "a" : "b", &first.port, pool, NULL, NULL, 1);
        if (i % 3 == 0) directory_remove(d, "mica", "echo", "a");
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    directory_delete(d);
    assert_int_equal(atomic_load(&first.port.refs), 1);
}

static int put_outside(struct directory *d, const char *version, struct port *port) {
    return directory_put(d, &(struct directory_version){.ns = "mica",
                                                        .service = "echo",
                                                        .version = version,
                                                        .port = port,
                                                        .pool = pool,
                                                        .generation = 9,
                                                        .outside = true});
}

static void test_outside_replaces_nothing_here(void **state) {
    (void)state;
    struct directory *d = directory_new();
    struct directory_entry e;
    assert_int_equal(put_version(d, "mica", "echo", "v1", &first.port, pool, NULL, NULL, 1), 0);
    assert_int_equal(put_outside(d, "v1", &second.port), -STATUS_ALREADY_EXISTS);
    assert_int_equal(put_outside(d, "v2", &second.port), 0);
    assert_int_equal(put_outside(d, "v2", &second.port), 0); // itself it does
    assert_int_equal(find(d, "mica", "echo", "v1", "Echo.Say", &e, NULL), 0);
    assert_ptr_equal(e.port, &first.port);
    assert_false(e.outside);
    drop(&e);
    assert_int_equal(find(d, "mica", "echo", "v2", "Echo.Say", &e, NULL), 0);
    assert_true(e.outside);
    drop(&e);
    assert_int_equal(put_version(d, "mica", "echo", "v2", &first.port, pool, NULL, NULL, 2), 0);
    assert_int_equal(find(d, "mica", "echo", "v2", "Echo.Say", &e, NULL), 0);
    assert_false(e.outside); // what runs here takes its place
    drop(&e);
    directory_delete(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_finds_with_references_of_its_own, set_up_ports,
                                        tear_down_ports),
        cmocka_unit_test_setup_teardown(test_newest_version_answers, set_up_ports, tear_down_ports),
        cmocka_unit_test_setup_teardown(test_highest_order_answers, set_up_ports, tear_down_ports),
        cmocka_unit_test_setup_teardown(test_platform_is_seen_from_everywhere, set_up_ports,
                                        tear_down_ports),
        cmocka_unit_test_setup_teardown(test_texts, set_up_ports, tear_down_ports),
        cmocka_unit_test_setup_teardown(test_only_own_files_are_endpoints, set_up_ports,
                                        tear_down_ports),
        cmocka_unit_test_setup_teardown(test_threads, set_up_ports, tear_down_ports),
        cmocka_unit_test_setup_teardown(test_outside_replaces_nothing_here, set_up_ports,
                                        tear_down_ports),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
