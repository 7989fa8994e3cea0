// SPDX-License-Identifier: Apache-2.0
// The turns of an instance and its mail. (What its VM goes through is in life.c.)
//
// A turn: orders and state; then the control lane; then requests while the VM has room; then the VM's timers and ready tasks;
// at most TURN_MESSAGES messages or TURN_TIME, so that the others on this worker get theirs.
//
// Order of mail. The control lane is taken before the request lane. A caller sends its REQUEST before anything that refers to
// it, so whatever a control message refers to has been handed in, waits in `pending`, or was ended: never is it still in
// the mailbox. What refers to a waiting request is kept with it (pending.h); the rest goes to the VM.
//
// Waking. `box.scheduled` is true while the instance is in a run queue or on a worker; who turns it to true holds a reference
// for the queue, the turn that ends it drops it. Orders (timer due, stop) are bits beside the mailbox, looked at again
// after `scheduled` was turned back, as the mailbox does with its lanes.
#include "sched/instance.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define TURN_MESSAGES 256
#define TURN_TIME (2 * NS_PER_MS)

#define PATIENCE NS_PER_SECOND // how long requests wait for a fresh VM

#define ORDER_TURN 1u // a timer is due, or the first turn
#define ORDER_STOP 2u

static struct instance *of_port(struct port *port) {
    return (struct instance *)((char *)port - offsetof(struct instance, port));
}

static struct instance *of_runnable(struct runnable *r) {
    return (struct instance *)((char *)r - offsetof(struct instance, runnable));
}

// ---- from other threads
static void schedule(struct instance *i) {
    port_hold(&i->port); // the run queue's
    sched_ready(i->config.sched, &i->runnable);
}

static void order(struct instance *i, unsigned bit) {
    atomic_fetch_or(&i->orders, bit);
    if (!atomic_exchange(&i->box.scheduled, true)) schedule(i);
}

static int receive(struct port *port, struct message *m) {
    struct instance *i = of_port(port);
    bool wake;
    int rc = mailbox_send(&i->box, m, &wake);
    if (rc == 0 && wake) schedule(i);
    return rc;
}

static void due(struct runnable *r) {
    struct instance *i = of_runnable(r);
    atomic_store(&i->armed, INT64_MAX);
    order(i, ORDER_TURN);
}

void instance_start(struct instance *i) { order(i, ORDER_TURN); }

void instance_stop(struct instance *i, int64_t until) {
    atomic_store(&i->stop_until, until);
    order(i, ORDER_STOP);
}

// ---- mail
static void append_control(struct instance *i, struct mpsc_node *chain) {
    if (chain == NULL) return;
    *(i->control == NULL ? &i->control : &i->control_last->next) = chain;
    while (chain->next != NULL) chain = chain->next;
    i->control_last = chain;
}

static void collect_mail(struct instance *i) {
    append_control(i, mailbox_take_control(&i->box)); // first: see above
    struct mpsc_node *next;
    for (struct mpsc_node *n = mailbox_take_requests(&i->box); n != NULL; n = next) {
        next = n->next;
        pending_add(&i->pending, message_of(n));
    }
}

// What a turn may still do. The clock is read for every eighth message only.
struct budget {
    unsigned messages;
    int64_t until;
};

static bool spend(struct budget *b) {
    if (b->messages == 0) return false;
    b->messages--;
    if (b->messages % 8 == 0 && clock_now() >= b->until) b->messages = 0;
    return true;
}

static void hand_in_control(struct instance *i, struct budget *b) {
    while (i->control != NULL && spend(b)) {
        struct message *m = message_of(i->control);
        i->control = i->control->next;
        m->link.next = NULL;
        if (!pending_match(&i->pending, m)) vm_receive(i->vm, m);
    }
}

static void hand_in_requests(struct instance *i, struct budget *b, int64_t now) {
    while (i->pending.count > 0 && vm_has_room(i->vm) && spend(b)) {
        struct mpsc_node *mail;
        struct message *m = pending_take(&i->pending, &mail);
        if (m->context != NULL && m->context->deadline != 0 && m->context->deadline <= now) {
            message_refuse(m, STATUS_DEADLINE_EXCEEDED,
                           "the deadline passed before the service began");
            message_delete_chain(mail);
            continue;
        }
        histogram_raise(&i->begun, 1);
        if (m->sent_at != 0) histogram_observe(&i->queue, now - m->sent_at);
        vm_receive(i->vm, m);
        while (mail != NULL) {
            struct message *follows = message_of(mail);
            mail = mail->next;
            follows->link.next = NULL;
            vm_receive(i->vm, follows);
        }
    }
}

static bool serves(const struct instance *i) {
    enum instance_state state = instance_state(i);
    return state == INSTANCE_SERVING || state == INSTANCE_DRAINING;
}

// Without a VM (waiting for a restart, failed, stopped): answers to one that is gone are dropped, requests are refused,
// unless a fresh VM is there soon.
static void mail_without_vm(struct instance *i, int64_t now) {
    while (i->control != NULL) {
        struct message *m = message_of(i->control);
        i->control = i->control->next;
        m->link.next = NULL;
        if (!pending_match(&i->pending, m)) message_delete(m);
    }
    bool soon = instance_state(i) == INSTANCE_WAITING && i->retry_at - now <= PATIENCE;
    if (!soon) pending_refuse_all(&i->pending, STATUS_UNAVAILABLE, "the service is not running");
}

// ---- the turn
// Runs the VM; true when it has more to do at once.
static bool work(struct instance *i, int64_t now) {
    // Half of a turn at most goes to what is under way, or streams that are never short of items
    // would keep requests waiting for ever.
    struct budget half = {TURN_MESSAGES / 2, now + TURN_TIME / 2};
    hand_in_control(i, &half);
    struct budget budget = {TURN_MESSAGES / 2 + half.messages, now + TURN_TIME};
    if (serves(i)) hand_in_requests(i, &budget, now);
    bool more = vm_run(i->vm, clock_now());
    life_after_run(i, clock_now());
    if (i->vm == NULL) return i->control != NULL;
    vm_collect(i->vm);
    return more || i->control != NULL || (serves(i) && i->pending.count > 0 && vm_has_room(i->vm));
}

static void arm(struct instance *i) {
    int64_t next = life_next(i);
    if (i->vm != NULL) {
        int64_t timer = vm_next_timer(i->vm);
        if (timer < next) next = timer;
    }
    if (next >= atomic_load(&i->armed)) return;
    atomic_store(&i->armed, next);
    sched_wake_at(i->config.sched, &i->runnable, next, due);
}

static bool turn(struct runnable *r) {
    struct instance *i = of_runnable(r);
    int64_t now = clock_now();
    if (atomic_exchange(&i->orders, 0) & ORDER_STOP) i->stop_wanted = true;
    collect_mail(i);
    enum instance_state before = instance_state(i);
    life_before_mail(i, now);
    bool more = false;
    if (i->vm != NULL) {
        more = work(i, now);
    } else {
        mail_without_vm(i, now);
    }
    more = more || instance_state(i) != before; // the new state may want something at once
    size_t open = i->vm == NULL ? 0 : vm_open_requests(i->vm);
    atomic_store_explicit(&i->open, (unsigned)open, memory_order_relaxed);
    atomic_store_explicit(&i->memory, i->vm == NULL ? 0 : vm_memory(i->vm), memory_order_relaxed);
    uint64_t faults = i->faults_before + (i->vm == NULL ? 0 : vm_faults(i->vm));
    atomic_store_explicit(&i->faults, faults, memory_order_relaxed);
    if (instance_state(i) != INSTANCE_STOPPED) arm(i);
    return more;
}

static bool rest(struct runnable *r) {
    struct instance *i = of_runnable(r);
    bool more = !mailbox_rest(&i->box) ||
                (atomic_load(&i->orders) != 0 && !atomic_exchange(&i->box.scheduled, true));
    if (!more) port_drop(&i->port); // the queue's; another worker may be running it by now
    return more;
}

static void abandon(struct runnable *r) {
    struct instance *i = of_runnable(r);
    collect_mail(i);
    message_delete_chain(i->control);
    i->control = NULL;
    pending_refuse_all(&i->pending, STATUS_UNAVAILABLE, "the server is stopping");
    port_drop(&i->port);
}

// ---- making and freeing
static void free_instance(struct port *port) {
    struct instance *i = of_port(port);
    assert(i->vm == NULL && i->control == NULL && mpsc_empty(&i->box.control) &&
           mpsc_empty(&i->box.requests));
    pending_free(&i->pending);
    pthread_mutex_destroy(&i->error_lock);
    free(i);
}

struct instance *instance_new(const struct instance_config *config, struct err *err) {
    static const struct port_ops OPS = {receive, free_instance};
    struct instance *i = calloc(1, sizeof *i);
    if (i == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    port_init(&i->port, &OPS);
    pthread_mutex_init(&i->error_lock, NULL);
    i->config = *config;
    i->config.vm.self = &i->port;
    i->runnable.turn = turn;
    i->runnable.rest = rest;
    i->runnable.abandon = abandon;
    i->runnable.home = config->vm.generation + config->vm.instance; // spread at first
    const struct vm_config *vm = &config->vm;
    unsigned queue = vm->limits.queue != 0 ? vm->limits.queue : VM_LIMITS.queue;
    mailbox_init(&i->box, queue);
    pending_init(&i->pending, &i->box);
    atomic_init(&i->armed, INT64_MAX);
    bool versioned = vm->version != NULL && vm->version[0] != '\0' && vm->ns[0] != '\0';
    snprintf(i->label, sizeof i->label, "%s%s%s/%u", vm->service, versioned ? "@" : "",
             versioned ? vm->version : "", vm->instance);
    return i;
}
