// SPDX-License-Identifier: Apache-2.0
// I/O loops.
//
// A turn is: poll (sockets are read, sessions queue their answers), timers, then before the next
// poll: tasks, messages, and one write for each connection that has something to say.
//
// Waking. `sleeping` is set before the last look at the inboxes and cleared by who wakes the loop
// or by its return from poll. A sender pushes first and looks at `sleeping` after, the loop does
// the reverse, so one of the two sees the other; and since the flag is taken with an exchange, a
// loop is woken once however many messages arrive while it sleeps, and not at all while it is
// awake.
//
// Stopping. loop_stop refuses new messages, lets the thread run the tasks that are posted, close
// all connections and end. The async handle lives until loop_destroy, since a sender may be about
// to use it; what was pushed too late is deleted there (messages) or run there (tasks, whose owners
// free what they hold).
#include "net/loop_state.h"
#include "net/write_buffer.h"

#include "base/clock.h"
#include "base/status.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_LOOPS 16

// ---- sending to a loop

struct batch_slot {
    struct loop *loop;
    struct mpsc_node *first, *last;
};

static _Thread_local struct {
    bool active;
    unsigned count;
    struct batch_slot slots[BATCH_LOOPS];
} batch;

static void wake(struct loop_state *s) {
    if (atomic_load(&s->sleeping) && atomic_exchange(&s->sleeping, false)) uv_async_send(&s->wake);
}

static void push(struct batch_slot *slot) {
    struct loop_state *s = slot->loop->state;
    mpsc_push_chain(&s->messages, slot->first, slot->last);
    wake(s);
}

static void batch_add(struct loop *loop, struct mpsc_node *node) {
    node->next = NULL;
    for (unsigned i = 0; i < batch.count; i++) {
        if (batch.slots[i].loop == loop) {
            batch.slots[i].last->next = node;
            batch.slots[i].last = node;
            return;
        }
    }
    if (batch.count == BATCH_LOOPS) loop_batch_flush();
    batch.slots[batch.count++] = (struct batch_slot){loop, node, node};
}

static int loop_send(struct port *port, struct message *m) {
    struct loop *loop = (struct loop *)port; // its first field
    struct loop_state *s = loop->state;
    if (atomic_load(&s->closed)) return -STATUS_UNAVAILABLE;
    if (batch.active) {
        batch_add(loop, &m->link);
    } else {
        mpsc_push(&s->messages, &m->link);
        wake(s);
    }
    return 0;
}

// A loop is part of whatever owns it: the last reference frees nothing.
static void loop_unused(struct port *port) { (void)port; }

static const struct port_ops PORT_OPS = {.send = loop_send, .free = loop_unused};

void loop_batch_begin(void) {
    assert(!batch.active);
    batch.active = true;
}

void loop_batch_flush(void) {
    for (unsigned i = 0; i < batch.count; i++) push(&batch.slots[i]);
    batch.count = 0;
}

void loop_batch_end(void) {
    loop_batch_flush();
    batch.active = false;
}

void loop_post(struct loop *loop, struct loop_task *task) {
    mpsc_push(&loop->state->tasks, &task->link);
    wake(loop->state);
}

static _Thread_local struct loop *current; // the loop whose thread this is

bool loop_is_current(const struct loop *loop) { return current == loop; }

int64_t loop_cpu(struct loop *loop) { return clock_read(atomic_load(&loop->state->clock)); }

int64_t loop_now(struct loop *loop) { return loop->state->now; }

// ---- timers

static void on_timer(uv_timer_t *timer);

// The uv timer is armed for the earliest of ours, and left armed when that one is cleared: it finds
// nothing to do then.
static void arm(struct loop_state *s) {
    struct heap_node *first = heap_first(&s->timers);
    if (s->stopping || first == NULL || first->at >= s->armed) return;
    int64_t left = first->at - clock_now();
    uint64_t ms = left <= 0 ? 0 : (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS);
    s->armed = first->at;
    uv_timer_start(&s->timer, on_timer, ms, 0);
}

static void on_timer(uv_timer_t *handle) {
    struct loop *loop = handle->data;
    struct loop_state *s = loop->state;
    s->now = clock_now();
    s->armed = INT64_MAX;
    // At most as many as there are now: one that sets itself again at once does not keep the loop
    // here.
    for (size_t left = s->timers.count; left > 0; left--) {
        struct heap_node *first = heap_first(&s->timers);
        if (first == NULL || first->at > s->now) break;
        heap_remove(&s->timers, first);
        struct loop_timer *timer = (struct loop_timer *)first; // its first field
        timer->fire(loop, timer);
    }
    // Time as libuv sees it is that of the beginning of the turn, so a timer may fire early: it is
    // armed again.
    arm(s);
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at) {
    struct loop_state *s = loop->state;
    heap_remove(&s->timers, &timer->node);
    int rc = heap_add(&s->timers, &timer->node, at);
    if (rc == 0) arm(s);
    return rc;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer) {
    heap_remove(&loop->state->timers, &timer->node);
}

// ---- the turn

static void run_tasks(struct loop *loop) {
    struct mpsc_node *node = mpsc_take(&loop->state->tasks);
    while (node != NULL) {
        struct mpsc_node *next = node->next;
        struct loop_task *task = (struct loop_task *)node; // its first field
        task->run(loop, task);
        node = next;
    }
}

static void deliver(struct loop *loop) {
    struct mpsc_node *node = mpsc_take(&loop->state->messages);
    while (node != NULL) {
        struct mpsc_node *next = node->next;
        loop->deliver(loop, message_of(node));
        node = next;
    }
}

static bool inbox_empty(struct loop_state *s) {
    return mpsc_empty(&s->messages) && mpsc_empty(&s->tasks);
}

static void on_before_poll(uv_prepare_t *handle) {
    struct loop *loop = handle->data;
    struct loop_state *s = loop->state;
    if (loop->hand_over != NULL)
        loop->hand_over(); // what was read: workers begin while this thread writes
    run_tasks(loop);
    if (!s->stopping) deliver(loop);
    conns_flush(loop);
    if (loop->hand_over != NULL) loop->hand_over();
    if (atomic_load(&s->stop) && !s->stopping) {
        s->stopping = true;
        uv_stop(&loop->uv);
        return;
    }
    atomic_store(&s->sleeping, true);
    // Something came in meanwhile: poll returns at once, so that sockets are not starved by
    // messages.
    bool more = s->stopping ? !mpsc_empty(&s->tasks) : !inbox_empty(s) || atomic_load(&s->stop);
    if (more || s->dirty != NULL) wake(s);
}

static void on_after_poll(uv_check_t *handle) {
    struct loop *loop = handle->data;
    atomic_store(&loop->state->sleeping, false);
    loop->state->now = clock_now();
}

static void on_wake(uv_async_t *handle) { (void)handle; } // its only purpose is to end the poll

static void loop_main(void *arg) {
    struct loop *loop = arg;
    struct loop_state *s = loop->state;
    current = loop;
    atomic_store(&s->clock, clock_thread_id());
    s->now = clock_now();
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    // Stopping: run what is posted, close what is open, and wait until libuv holds nothing but our
    // own handles.
    if (loop->hand_over_end != NULL) loop->hand_over_end();
    run_tasks(loop);
    conns_close_all(loop);
    uv_timer_stop(&s->timer);
    uv_unref((uv_handle_t *)&s->wake);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert(s->conns == NULL);
}

// ---- life

static void init_handles(struct loop *loop) {
    struct loop_state *s = loop->state;
    uv_prepare_init(&loop->uv, &s->before_poll);
    uv_check_init(&loop->uv, &s->after_poll);
    uv_timer_init(&loop->uv, &s->timer);
    s->before_poll.data = s->after_poll.data = s->timer.data = s->wake.data = loop;
    uv_prepare_start(&s->before_poll, on_before_poll);
    uv_check_start(&s->after_poll, on_after_poll);
    uv_unref((uv_handle_t *)&s->before_poll);
    uv_unref((uv_handle_t *)&s->after_poll);
    uv_unref((uv_handle_t *)&s->timer);
}

int loop_create(struct loop *loop, unsigned index, struct err *err) {
    *loop = (struct loop){.index = index};
    port_init(&loop->port, &PORT_OPS);
    struct loop_state *s = calloc(1, sizeof *s);
    if (s == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    s->read_buffer = malloc(LOOP_READ_BUFFER);
    s->armed = INT64_MAX;
    s->now = clock_now();
    int rc = s->read_buffer == NULL ? UV_ENOMEM : uv_loop_init(&loop->uv);
    if (rc == 0) {
        rc = uv_async_init(&loop->uv, &s->wake, on_wake);
        if (rc != 0) uv_loop_close(&loop->uv);
    }
    if (rc != 0) {
        free(s->read_buffer);
        free(s);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "cannot make an I/O loop: %s",
                       uv_strerror(rc));
    }
    loop->state = s;
    init_handles(loop);
    return 0;
}

int loop_start(struct loop *loop, struct err *err) {
    assert(loop->deliver != NULL);
    int rc = uv_thread_create(&loop->state->thread, loop_main, loop);
    if (rc != 0)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "cannot start an I/O thread: %s",
                       uv_strerror(rc));
    loop->state->started = true;
    return 0;
}

void loop_stop(struct loop *loop) {
    struct loop_state *s = loop->state;
    atomic_store(&s->closed, true);
    if (!s->started) return;
    assert(!loop_is_current(loop));
    atomic_store(&s->stop, true);
    wake(s);
    uv_thread_join(&s->thread);
    s->started = false;
}

static void close_handle(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

void loop_destroy(struct loop *loop) {
    struct loop_state *s = loop->state;
    if (s == NULL) return;
    assert(!s->started);
    atomic_store(&s->closed, true);
    s->stopping = true;
    // A task may post another, to tell of a failure; one that does so for ever is not waited for.
    for (int round = 0; round < 16 && !mpsc_empty(&s->tasks); round++) run_tasks(loop);
    conns_close_all(loop);
    message_delete_chain(mpsc_take(&s->messages));
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop->uv);
    assert(rc == 0);
    (void)rc;
    write_buffers_free(loop);
    encoders_free(&loop->state->encoders);
    free(s->plain_buffer);
    heap_free(&s->timers);
    free(s->read_buffer);
    free(s);
    loop->state = NULL;
}
