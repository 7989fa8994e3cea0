// SPDX-License-Identifier: Apache-2.0
// Services: the choice among instances, starting and stopping them together, definitions.
#include "sched/fake_vm.h"
#include "sched/service.h"

struct fixture {
    struct sched *sched;
    struct service *service;
    struct caller caller;
    struct source source;
    atomic_int started, stopped, described;
    int status;
    char text[512];
    uint64_t finished;
};

static void on_started(void *user, struct service *service, int status, const char *text) {
    struct fixture *f = user;
    (void)service;
    f->status = status;
    snprintf(f->text, sizeof f->text, "%s", text);
    atomic_fetch_add(&f->started, 1);
}

static void on_stopped(void *user, struct service *service, uint64_t finished) {
    struct fixture *f = user;
    (void)service;
    f->finished = finished;
    atomic_fetch_add(&f->stopped, 1);
}

static void make(struct fixture *f, unsigned instances) {
    static const char *const NATIVES[] = {"routes", "deploy", NULL};
    *f = (struct fixture){0};
    caller_init(&f->caller);
    f->sched = sched_new(2, NULL, NULL);
    struct service_config config = {.ns = "mica",
                                    .name = "posts",
                                    .version = "v1",
                                    .instances = instances,
                                    .source = &f->source,
                                    .limits = {.concurrency = 5, .queue = 100},
                                    .natives = NATIVES,
                                    .sched = f->sched};
    f->service = service_start(&config, on_started, f, NULL);
    assert_non_null(f->service);
}

static void begin(struct fixture *f, unsigned instances) {
    fake_reset();
    make(f, instances);
    assert_true(becomes(&f->started, 1));
    assert_int_equal(f->status, 0);
}

static void finish(struct fixture *f) {
    sched_stop(f->sched);
    caller_end(&f->caller);
    sched_delete(f->sched);
    assert_int_equal(atomic_load(&fake_made), atomic_load(&fake_deleted));
    assert_int_equal(atomic_load(&f->started), 1);
    assert_int_equal(atomic_load(&f->source.refs), 0);
}

static void end(struct fixture *f) {
    service_stop(f->service, 0, on_stopped, f);
    assert_true(becomes(&f->stopped, 1));
    finish(f);
}

static int request(struct fixture *f, uint64_t call, const char *body) {
    return caller_send(&f->caller, service_port(f->service), MSG_REQUEST, call, body);
}

static void tells_about_itself(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 0);
    assert_string_equal(service_ns(f.service), "mica");
    assert_string_equal(service_name(f.service), "posts");
    assert_string_equal(service_version(f.service), "v1");
    assert_true(service_generation(f.service) > 0);
    assert_ptr_equal(service_source(f.service), &f.source);
    assert_int_equal(atomic_load(&fake_made), 1); // 0 instances is one
    end(&f);
}

static void the_least_busy_instance_serves(void **state) {
    (void)state;
    struct fixture f;
    unsigned served[3] = {0};
    begin(&f, 3);
    for (uint64_t n = 1; n <= 6; n++) { // two each, held
        request(&f, n, "hold");
        usleep(2000);
    }
    atomic_store(&fake_release, true);
    for (uint64_t n = 1; n <= 6; n++) served[caller_wait(&f.caller, n)->generation]++;
    for (int i = 0; i < 3; i++) assert_int_equal(served[i], 2);
    end(&f);
}

static void a_stream_stays_with_its_instance(void **state) {
    (void)state;
    struct fixture f;
    struct pb_method method = {.client_streaming = true};
    unsigned served[3] = {0};
    begin(&f, 3);
    for (uint64_t n = 1; n <= 30; n++) {
        struct message *m = caller_message(&f.caller, MSG_REQUEST, n, "collect");
        m->method = &method;
        assert_int_equal(port_send(service_port(f.service), m), 0);
        caller_send(&f.caller, service_port(f.service), MSG_ITEM, n, "one ");
        caller_send(&f.caller, service_port(f.service), MSG_ITEM, n, "two");
        caller_send(&f.caller, service_port(f.service), MSG_END, n, NULL);
    }
    for (uint64_t n = 1; n <= 30; n++) {
        caller_expect(&f.caller, n, STATUS_OK, "one two");
        served[caller_wait(&f.caller, n)->generation]++;
    }
    for (int i = 0; i < 3; i++) assert_true(served[i] >= 5); // spread, if not exactly
    end(&f);
}

static void a_cancellation_finds_its_request(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 3);
    for (uint64_t n = 1; n <= 6; n++) request(&f, n, "hold");
    usleep(2000);
    for (uint64_t n = 1; n <= 6; n++) {
        caller_send(&f.caller, service_port(f.service), MSG_CANCEL, n, NULL);
        caller_expect(&f.caller, n, STATUS_CANCELLED, NULL);
    }
    end(&f);
}

static void an_instance_that_restarts_is_passed_over(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 2);
    atomic_store(&fake_start_failures, 3); // it will be out for a while
    request(&f, 1, "poison");
    caller_expect(&f.caller, 1, STATUS_RESOURCE_EXHAUSTED, NULL);
    usleep(20000);
    for (uint64_t n = 2; n <= 10; n++) {
        request(&f, n, "echo");
        caller_expect(&f.caller, n, STATUS_OK, "echo");
    }
    end(&f);
}

static void one_failure_stops_all(void **state) {
    (void)state;
    struct fixture f;
    fake_reset();
    atomic_store(&fake_load_failures, 1);
    make(&f, 3);
    assert_true(becomes(&f.started, 1));
    assert_int_equal(f.status, -STATUS_INVALID_ARGUMENT);
    assert_string_equal(f.text, "main.lua:1: nothing here");
    assert_int_equal(atomic_load(&fake_deleted), 3); // stopped already
    finish(&f);
}

static void stopping_refuses_and_drains(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 2);
    struct port *port = port_hold(service_port(f.service));
    request(&f, 1, "hold");
    request(&f, 2, "hold");
    usleep(2000);
    service_stop(f.service, 10 * NS_PER_SECOND, on_stopped, &f);
    assert_int_equal(caller_send(&f.caller, port, MSG_REQUEST, 3, "echo"), -STATUS_UNAVAILABLE);
    usleep(3000);
    assert_int_equal(atomic_load(&f.stopped), 0);
    atomic_store(&fake_release, true);
    caller_expect(&f.caller, 1, STATUS_OK, "released");
    caller_expect(&f.caller, 2, STATUS_OK, "released");
    assert_true(becomes(&f.stopped, 1));
    assert_int_equal(f.finished, 2);
    assert_int_equal(atomic_load(&fake_on_stops), 2);
    assert_int_equal(atomic_load(&f.source.refs),
                     1); // who holds the port keeps the service's memory
    port_drop(port);
    finish(&f);
}

static void it_counts(void **state) {
    (void)state;
    struct fixture f;
    struct service_counts n;
    begin(&f, 2);
    request(&f, 1, "echo");
    request(&f, 2, "echo");
    request(&f, 3, "hold");
    caller_expect(&f.caller, 1, STATUS_OK, "echo");
    caller_expect(&f.caller, 2, STATUS_OK, "echo");
    usleep(3000);
    service_count(f.service, &n);
    assert_true(n.instances == 2 && n.serving == 2 && n.restarts == 0);
    assert_true(n.begun == 3 && n.faults == 0 && n.open == 1);
    assert_true(n.memory > 0 && n.started > 0 && n.last_error[0] == '\0');
    struct vm_limits limits = service_limits(f.service);
    assert_true(limits.concurrency == 5 && limits.queue == 100); // said
    assert_true(limits.memory == VM_LIMITS.memory && limits.message == VM_LIMITS.message);
    end(&f);
}

static void a_drain_can_be_hurried(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 2);
    struct port *port = port_hold(service_port(f.service)); // keeps the service for service_hurry
    request(&f, 1, "hold");
    usleep(2000);
    service_stop(f.service, 100 * NS_PER_SECOND, on_stopped, &f);
    usleep(3000);
    assert_int_equal(atomic_load(&f.stopped), 0);
    service_hurry(f.service, 200 * NS_PER_SECOND); // more time is not given
    service_hurry(f.service, 0);
    caller_expect(&f.caller, 1, STATUS_UNAVAILABLE, "the service has been stopped");
    assert_true(becomes(&f.stopped, 1));
    assert_int_equal(f.finished, 0);
    service_hurry(f.service, 0); // and when it has ended nothing happens
    port_drop(port);
    finish(&f);
}

static void stopping_while_it_starts(void **state) {
    (void)state;
    struct fixture f;
    fake_reset();
    atomic_store(&fake_start_hangs, true);
    make(&f, 2);
    assert_true(becomes(&fake_made, 2));
    service_stop(f.service, 0, on_stopped, &f);
    assert_true(becomes(&f.stopped, 1));
    assert_true(becomes(&f.started, 1));
    assert_int_equal(f.status, -STATUS_CANCELLED);
    finish(&f);
}

static void on_described(void *user, struct blob *take_definition, const struct err *err) {
    struct fixture *f = user;
    if (take_definition == NULL) {
        snprintf(f->text, sizeof f->text, "%s", err->text);
    } else {
        snprintf(f->text, sizeof f->text, "%.*s", (int)take_definition->n, take_definition->p);
    }
    blob_drop(take_definition);
    atomic_fetch_add(&f->described, 1);
}

static void a_definition_is_read_in_a_bare_vm(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1);
    assert_int_equal(service_describe(f.sched, NULL, &f.source, "blog", on_described, &f), 0);
    assert_true(becomes(&f.described, 1));
    assert_string_equal(f.text, "definition of blog, bare");
    atomic_store(&fake_load_failures, 1);
    assert_int_equal(service_describe(f.sched, NULL, &f.source, "blog", on_described, &f), 0);
    assert_true(becomes(&f.described, 2));
    assert_string_equal(f.text, "main.lua:1: nothing here");
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_about_itself),
        cmocka_unit_test(the_least_busy_instance_serves),
        cmocka_unit_test(a_stream_stays_with_its_instance),
        cmocka_unit_test(a_cancellation_finds_its_request),
        cmocka_unit_test(an_instance_that_restarts_is_passed_over),
        cmocka_unit_test(one_failure_stops_all),
        cmocka_unit_test(stopping_refuses_and_drains),
        cmocka_unit_test(stopping_while_it_starts),
        cmocka_unit_test(it_counts),
        cmocka_unit_test(a_drain_can_be_hurried),
        cmocka_unit_test(a_definition_is_read_in_a_bare_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
