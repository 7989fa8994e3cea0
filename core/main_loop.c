// SPDX-License-Identifier: Apache-2.0
// Tasks come in by a queue with many producers and one wake-up for however many are there; only the main thread touches
// the uv loop, so work for the pool is posted as a task that queues it.
#include "main_loop.h"

#include <assert.h>

static void run_tasks(struct main_loop *m) {
    struct mpsc_node *next;
    for (struct mpsc_node *n = mpsc_take(&m->tasks); n != NULL; n = next) {
        next = n->next;
        struct main_task *task = (struct main_task *)n;
        task->run(task);
    }
}

static void on_wake(uv_async_t *wake) { run_tasks(wake->data); }

int main_loop_create(struct main_loop *m, struct err *err) {
    *m = (struct main_loop){0};
    int rc = uv_loop_init(&m->uv);
    if (rc < 0)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "cannot make the main loop: %s",
                       uv_strerror(rc));
    rc = uv_async_init(&m->uv, &m->wake, on_wake);
    if (rc < 0) {
        uv_loop_close(&m->uv);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "cannot make the main loop: %s",
                       uv_strerror(rc));
    }
    m->wake.data = m;
    return 0;
}

void main_loop_run(struct main_loop *m) { uv_run(&m->uv, UV_RUN_DEFAULT); }

void main_loop_stop(struct main_loop *m) { uv_stop(&m->uv); }

void main_loop_destroy(struct main_loop *m) {
    do {
        run_tasks(m); // may queue work, whose end may post
        uv_unref((uv_handle_t *)&m->wake);
        uv_run(&m->uv, UV_RUN_DEFAULT);
    } while (!mpsc_empty(&m->tasks));
    uv_close((uv_handle_t *)&m->wake, NULL);
    uv_run(&m->uv, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&m->uv);
    assert(rc == 0);
    (void)rc;
}

void main_loop_post(struct main_loop *m, struct main_task *task) {
    if (mpsc_push(&m->tasks, &task->link)) uv_async_send(&m->wake);
}

// ---- the pool
static struct main_work *of_uv(uv_work_t *uv) {
    return (struct main_work *)((char *)uv - offsetof(struct main_work, work));
}

static void run_work(uv_work_t *uv) {
    struct main_work *w = of_uv(uv);
    w->run(w);
}

static void end_work(uv_work_t *uv, int status) {
    struct main_work *w = of_uv(uv);
    (void)status; // work is never cancelled
    w->done(w);
}

static void queue_work(struct main_task *task) {
    struct main_work *w = (struct main_work *)task;
    int rc = uv_queue_work(&w->loop->uv, &w->work, run_work, end_work);
    assert(rc == 0); // it fails for a missing function only
    (void)rc;
}

void main_loop_work(struct main_loop *m, struct main_work *w) {
    w->loop = m;
    w->task.run = queue_work;
    main_loop_post(m, &w->task);
}
