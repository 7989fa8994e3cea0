// SPDX-License-Identifier: Apache-2.0
// An instance's mail and life, with a VM that is a puppet (fake_vm.h).
#include "sched/fake_vm.h"
#include "sched/instance.h"

struct fixture {
    struct sched *sched;
    struct instance *instance;
    struct port *port;
    struct caller caller;
    struct source source;
    atomic_int started, stopped;
    int status;
    char text[512];
    uint64_t finished;
};

static void on_started(void *user, int status, const char *text) {
    struct fixture *f = user;
    f->status = status;
    snprintf(f->text, sizeof f->text, "%s", text);
    atomic_fetch_add(&f->started, 1);
}

static void on_stopped(void *user, uint64_t finished) {
    struct fixture *f = user;
    f->finished = finished;
    atomic_fetch_add(&f->stopped, 1);
}

static void make(struct fixture *f, unsigned concurrency, unsigned queue) {
    *f = (struct fixture){0};
    fake_reset();
    caller_init(&f->caller);
    f->sched = sched_new(2, NULL, NULL);
    struct instance_config config = {.vm = {.ns = "mica",
                                            .service = "posts",
                                            .version = "v1",
                                            .source = &f->source,
                                            .limits = {.concurrency = concurrency, .queue = queue}},
                                     .sched = f->sched,
                                     .events = {on_started, on_stopped},
                                     .user = f};
    f->instance = instance_new(&config, NULL);
    f->port = instance_port(f->instance);
}

static void begin(struct fixture *f, unsigned concurrency, unsigned queue) {
    make(f, concurrency, queue);
    instance_start(f->instance);
    assert_true(becomes(&f->started, 1));
    assert_int_equal(f->status, 0);
}

static void end(struct fixture *f) {
    if (atomic_load(&f->stopped) == 0) instance_stop(f->instance, clock_now());
    assert_true(becomes(&f->stopped, 1));
    sched_stop(f->sched);
    port_drop(f->port);
    caller_end(&f->caller);
    sched_delete(f->sched);
    assert_int_equal(atomic_load(&fake_made), atomic_load(&fake_deleted));
    assert_int_equal(atomic_load(&f->started), 1);
}

static int request(struct fixture *f, uint64_t call, const char *body) {
    return caller_send(&f->caller, f->port, MSG_REQUEST, call, body);
}

static void answers(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 10, 100);
    for (uint64_t n = 1; n < 64; n++) assert_int_equal(request(&f, n, "echo"), 0);
    for (uint64_t n = 1; n < 64; n++) caller_expect(&f.caller, n, STATUS_OK, "echo");
    end(&f);
}

static void waits_for_room_and_bounds_its_queue(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 2, 3);
    assert_int_equal(request(&f, 1, "hold"), 0);
    assert_int_equal(request(&f, 2, "hold"), 0);
    assert_true(becomes((atomic_int *)&f.instance->open, 2));
    for (uint64_t n = 3; n <= 5; n++) assert_int_equal(request(&f, n, "echo"), 0);
    assert_int_equal(request(&f, 6, "echo"), -STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(instance_load(f.instance), 5);
    usleep(5000);
    assert_false(caller_has(&f.caller, 3));
    caller_send(&f.caller, f.port, MSG_CANCEL, 1, NULL); // makes room
    caller_expect(&f.caller, 1, STATUS_CANCELLED, NULL);
    for (uint64_t n = 3; n <= 5; n++) caller_expect(&f.caller, n, STATUS_OK, "echo");
    assert_int_equal(request(&f, 6, "echo"), 0);
    caller_expect(&f.caller, 6, STATUS_OK, "echo");
    end(&f);
}

static void a_waiting_request_is_cancelled_without_an_answer(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1, 10);
    request(&f, 1, "hold");
    request(&f, 2, "echo");
    request(&f, 3, "echo");
    caller_send(&f.caller, f.port, MSG_CANCEL, 2, NULL);
    atomic_store(&fake_release, true);
    caller_expect(&f.caller, 1, STATUS_OK, "released");
    caller_expect(&f.caller, 3, STATUS_OK, "echo");
    assert_false(caller_has(&f.caller, 2));
    assert_int_equal(atomic_load(&f.instance->box.waiting), 0);
    end(&f);
}

static void a_stream_may_wait(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1, 10);
    request(&f, 1, "hold");
    request(&f, 2, "collect");
    caller_send(&f.caller, f.port, MSG_ITEM, 2, "a");
    caller_send(&f.caller, f.port, MSG_ITEM, 2, "b");
    usleep(3000);
    caller_send(&f.caller, f.port, MSG_ITEM, 2, "c");
    caller_send(&f.caller, f.port, MSG_END, 2, NULL);
    atomic_store(&fake_release, true);
    caller_expect(&f.caller, 2, STATUS_OK, "abc");
    end(&f);
}

static void a_late_request_is_not_begun(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1, 10);
    struct message *m = caller_message(&f.caller, MSG_REQUEST, 1, "echo");
    m->context = msg_context_new();
    m->context->deadline = clock_now() - 1;
    assert_int_equal(port_send(f.port, m), 0);
    caller_expect(&f.caller, 1, STATUS_DEADLINE_EXCEEDED, NULL);
    end(&f);
}

static void a_long_queue_takes_several_turns(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 10, 1000);
    for (uint64_t n = 1; n < 20; n++) request(&f, n, "slow"); // 1 ms each: more than a turn's time
    for (uint64_t n = 1; n < 20; n++) caller_expect(&f.caller, n, STATUS_OK, "slow");
    end(&f);
}

static void a_failed_start_is_reported(void **state) {
    (void)state;
    struct fixture f;
    make(&f, 1, 10);
    atomic_store(&fake_load_failures, 1);
    instance_start(f.instance);
    assert_true(becomes(&f.started, 1));
    assert_int_equal(f.status, -STATUS_INVALID_ARGUMENT);
    assert_string_equal(f.text, "main.lua:1: nothing here");
    request(&f, 1, "echo");
    caller_expect(&f.caller, 1, STATUS_UNAVAILABLE, NULL);
    end(&f);
    make(&f, 1, 10);
    atomic_store(&fake_start_failures, 1);
    instance_start(f.instance);
    assert_true(becomes(&f.started, 1));
    assert_int_equal(f.status, -STATUS_FAILED_PRECONDITION);
    assert_string_equal(f.text, "on_start: no");
    end(&f);
    assert_int_equal(atomic_load(&fake_on_stops), 0);
}

static void requests_wait_for_on_start(void **state) {
    (void)state;
    struct fixture f;
    make(&f, 1, 10);
    atomic_store(&fake_start_hangs, true);
    instance_start(f.instance);
    request(&f, 1, "echo");
    usleep(5000);
    assert_false(caller_has(&f.caller, 1));
    assert_int_equal(atomic_load(&f.started), 0);
    atomic_store(&fake_start_hangs, false);
    caller_expect(&f.caller, 1, STATUS_OK, "echo");
    assert_int_equal(f.status, 0);
    end(&f);
    assert_int_equal(atomic_load(&fake_on_stops), 1);
}

static void a_start_may_be_given_up(void **state) {
    (void)state;
    struct fixture f;
    make(&f, 1, 10);
    atomic_store(&fake_start_hangs, true);
    instance_start(f.instance);
    assert_true(becomes(&fake_made, 1));
    instance_stop(f.instance, clock_now() + 5 * NS_PER_MS);
    assert_true(becomes(&f.stopped, 1));
    assert_int_equal(f.status, -STATUS_CANCELLED);
    end(&f);
}

static void a_condemned_vm_is_replaced(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 10, 100);
    request(&f, 1, "hold");
    request(&f, 2, "poison");
    caller_expect(&f.caller, 1, STATUS_RESOURCE_EXHAUSTED, NULL);
    caller_expect(&f.caller, 2, STATUS_RESOURCE_EXHAUSTED, NULL);
    assert_true(becomes((atomic_int *)&f.instance->restarts, 1));
    request(&f, 3, "echo"); // the first replacement is at once
    caller_expect(&f.caller, 3, STATUS_OK, "echo");
    assert_int_equal(atomic_load(&fake_made), 2);
    int64_t before = clock_now();
    request(&f, 4, "poison"); // the second one within 10 s waits
    caller_expect(&f.caller, 4, STATUS_RESOURCE_EXHAUSTED, NULL);
    assert_true(becomes((atomic_int *)&f.instance->restarts, 2));
    request(&f, 5, "echo"); // and requests with it
    caller_expect(&f.caller, 5, STATUS_OK, "echo");
    assert_true(clock_now() - before >= 100 * NS_PER_MS);
    assert_int_equal(atomic_load(&fake_made), 3);
    end(&f);
}

static void requests_are_refused_when_the_wait_is_long(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 10, 100);
    for (uint64_t n = 1; n <= 6; n++) { // the sixth replacement waits 1.6 s
        request(&f, n, "poison");
        caller_expect(&f.caller, n, STATUS_RESOURCE_EXHAUSTED, NULL);
        assert_true(becomes((atomic_int *)&f.instance->restarts, (int)n));
    }
    request(&f, 7, "echo");
    caller_expect(&f.caller, 7, STATUS_UNAVAILABLE, NULL);
    end(&f);
}

static void a_replacement_that_does_not_start_is_tried_again(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 10, 100);
    atomic_store(&fake_start_failures, 1);
    request(&f, 1, "poison");
    caller_expect(&f.caller, 1, STATUS_RESOURCE_EXHAUSTED, NULL);
    assert_true(becomes(&fake_made, 3));
    request(&f, 2, "echo");
    caller_expect(&f.caller, 2, STATUS_OK, "echo");
    end(&f);
}

static void draining_finishes_what_was_accepted(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1, 10);
    request(&f, 1, "hold");
    request(&f, 2, "echo"); // waits
    assert_true(becomes((atomic_int *)&f.instance->open, 1));
    instance_stop(f.instance, clock_now() + 10 * NS_PER_SECOND);
    usleep(5000);
    assert_int_equal(atomic_load(&f.stopped), 0);
    atomic_store(&fake_release, true);
    caller_expect(&f.caller, 1, STATUS_OK, "released");
    caller_expect(&f.caller, 2, STATUS_OK, "echo");
    assert_true(becomes(&f.stopped, 1));
    assert_int_equal(f.finished, 2);
    assert_int_equal(atomic_load(&fake_on_stops), 1);
    assert_int_equal(request(&f, 3, "echo"), -STATUS_UNAVAILABLE);
    end(&f);
}

static void draining_cancels_what_is_late(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1, 10);
    request(&f, 1, "hold");
    request(&f, 2, "echo");
    assert_true(becomes((atomic_int *)&f.instance->open, 1));
    instance_stop(f.instance, clock_now() + 10 * NS_PER_MS);
    caller_expect(&f.caller, 1, STATUS_UNAVAILABLE, NULL);
    caller_expect(&f.caller, 2, STATUS_UNAVAILABLE, NULL);
    assert_true(becomes(&f.stopped, 1));
    assert_int_equal(f.finished, 0);
    end(&f);
}

static void the_port_outlives_the_instance(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, 1, 10);
    struct port *held = port_hold(f.port);
    end(&f);
    caller_init(&f.caller);
    assert_int_equal(caller_send(&f.caller, held, MSG_REQUEST, 1, "echo"), -STATUS_UNAVAILABLE);
    caller_end(&f.caller);
    port_drop(held);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(waits_for_room_and_bounds_its_queue),
        cmocka_unit_test(a_waiting_request_is_cancelled_without_an_answer),
        cmocka_unit_test(a_stream_may_wait),
        cmocka_unit_test(a_late_request_is_not_begun),
        cmocka_unit_test(a_long_queue_takes_several_turns),
        cmocka_unit_test(a_failed_start_is_reported),
        cmocka_unit_test(requests_wait_for_on_start),
        cmocka_unit_test(a_start_may_be_given_up),
        cmocka_unit_test(a_condemned_vm_is_replaced),
        cmocka_unit_test(requests_are_refused_when_the_wait_is_long),
        cmocka_unit_test(a_replacement_that_does_not_start_is_tried_again),
        cmocka_unit_test(draining_finishes_what_was_accepted),
        cmocka_unit_test(draining_cancels_what_is_late),
        cmocka_unit_test(the_port_outlives_the_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
