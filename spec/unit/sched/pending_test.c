// SPDX-License-Identifier: Apache-2.0
// Requests that wait for room: their order, what follows them, and cancellation.
#include "sched/fake_vm.h"
#include "sched/pending.h"

static void add(struct pending *p, struct caller *c, uint64_t call) {
    bool wake;
    assert_int_equal(mailbox_send(p->box, caller_message(c, MSG_REQUEST, call, "x"), &wake), 0);
    pending_add(p, message_of(mailbox_take_requests(p->box)));
}

static uint64_t take(struct pending *p, struct mpsc_node **mail) {
    struct message *m = pending_take(p, mail);
    uint64_t call = m == NULL ? 0 : m->call;
    message_delete(m);
    return call;
}

static bool match(struct pending *p, struct caller *c, enum msg_kind kind, uint64_t call) {
    struct message *m = caller_message(c, kind, call, NULL);
    bool taken = pending_match(p, m);
    if (!taken) message_delete(m);
    return taken;
}

static void oldest_first_across_the_index(void **state) {
    (void)state;
    struct mailbox box;
    struct pending p;
    struct caller c;
    struct mpsc_node *mail;
    mailbox_init(&box, 100);
    pending_init(&p, &box);
    caller_init(&c);
    for (uint64_t n = 1; n <= 3; n++) add(&p, &c, n);
    assert_false(match(&p, &c, MSG_CREDIT, 9)); // asks for one, so all three are indexed
    for (uint64_t n = 4; n <= 6; n++) add(&p, &c, n);
    assert_int_equal(atomic_load(&box.waiting), 6);
    for (uint64_t n = 1; n <= 6; n++) {
        assert_int_equal(p.count, 7 - n);
        assert_int_equal(take(&p, &mail), n);
        assert_null(mail);
    }
    assert_int_equal(take(&p, &mail), 0);
    assert_int_equal(atomic_load(&box.waiting), 0);
    pending_free(&p);
    caller_end(&c);
}

static void what_follows_a_request_waits_with_it(void **state) {
    (void)state;
    struct mailbox box;
    struct pending p;
    struct caller c, other;
    struct mpsc_node *mail;
    mailbox_init(&box, 100);
    pending_init(&p, &box);
    caller_init(&c);
    caller_init(&other);
    add(&p, &c, 1);
    add(&p, &c, 2);
    assert_true(match(&p, &c, MSG_ITEM, 2));
    assert_true(match(&p, &c, MSG_ITEM, 2));
    assert_true(match(&p, &c, MSG_END, 2));
    assert_false(match(&p, &c, MSG_ITEM, 3));
    assert_false(match(&p, &other, MSG_ITEM, 2)); // another caller's number 2
    assert_int_equal(take(&p, &mail), 1);
    assert_null(mail);
    assert_int_equal(take(&p, &mail), 2);
    assert_int_equal(message_of(mail)->kind, MSG_ITEM);
    assert_int_equal(message_of(mail->next->next)->kind, MSG_END);
    assert_null(mail->next->next->next);
    message_delete_chain(mail);
    pending_free(&p);
    caller_end(&c);
    caller_end(&other);
}

static void a_cancellation_takes_its_request(void **state) {
    (void)state;
    struct mailbox box;
    struct pending p;
    struct caller c;
    struct mpsc_node *mail;
    mailbox_init(&box, 100000);
    pending_init(&p, &box);
    caller_init(&c);
    for (uint64_t n = 1; n <= 1000; n++) add(&p, &c, n);
    assert_true(match(&p, &c, MSG_ITEM, 500));
    for (uint64_t n = 1000; n >= 2; n--) assert_true(match(&p, &c, MSG_CANCEL, n));
    assert_false(match(&p, &c, MSG_CANCEL, 500)); // gone
    assert_int_equal(atomic_load(&box.waiting), 1);
    assert_int_equal(take(&p, &mail), 1);
    assert_int_equal(c.count, 0); // nobody was answered
    pending_free(&p);
    caller_end(&c);
}

static void refusing_all_answers_all(void **state) {
    (void)state;
    struct mailbox box;
    struct pending p;
    struct caller c;
    mailbox_init(&box, 100);
    pending_init(&p, &box);
    caller_init(&c);
    add(&p, &c, 1);
    assert_true(match(&p, &c, MSG_ITEM, 1));
    add(&p, &c, 2);
    pending_refuse_all(&p, STATUS_UNAVAILABLE, "no");
    caller_expect(&c, 1, STATUS_UNAVAILABLE, NULL);
    caller_expect(&c, 2, STATUS_UNAVAILABLE, NULL);
    assert_int_equal(atomic_load(&box.waiting), 0);
    pending_free(&p);
    caller_end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oldest_first_across_the_index),
        cmocka_unit_test(what_follows_a_request_waits_with_it),
        cmocka_unit_test(a_cancellation_takes_its_request),
        cmocka_unit_test(refusing_all_answers_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
