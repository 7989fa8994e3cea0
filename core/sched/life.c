// SPDX-License-Identifier: Apache-2.0
// What an instance's VM goes through: made and loaded, started, replaced when it has hit its memory line, drained, stopped.
// Everything here runs in a turn, on the thread that runs the instance.
//
// A VM that hit its hard line is not trusted any more (LuaJIT cannot be relied on after that): its calls are answered
// and a fresh one is made from the same configuration. The first replacement is at once; the n-th that follows another one
// within 10 s waits 100 ms * 2^(n-2), 10 s at most. While it waits, requests wait with it for a
// second at most; before that they are refused, so that callers hear of it. Other instances are preferred meanwhile.
//
// Draining has an end: then what is left is cancelled and has CANCEL_GRACE to unwind (a request's deferred functions have
// 5 s of their own), then on_stop has STOP_GRACE (its own limit, in the VM, is 5 s). Whatever Lua does, an instance ends.
#include "sched/instance.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define CLOSE_TOGETHER (10 * NS_PER_SECOND)
#define RETRY_FIRST (100 * NS_PER_MS)
#define RETRY_MOST (10 * NS_PER_SECOND)
#define CANCEL_GRACE (6 * NS_PER_SECOND)
#define STOP_GRACE (6 * NS_PER_SECOND)

static void enter(struct instance *i, enum instance_state state) {
    atomic_store_explicit(&i->state, (int)state, memory_order_relaxed);
}

static void report(struct instance *i, int status, const char *text) {
    if (i->reported) return;
    i->reported = true;
    i->config.events.started(i->config.user, status, text);
}

static void end_vm(struct instance *i) {
    if (i->vm == NULL) return;
    struct vm *vm = i->vm;
    i->vm = NULL;
    i->faults_before += vm_faults(vm);
    vm_delete(vm);
}

// ---- start and restart
static void hook_done(struct vm *vm, void *user, int status, const char *text) {
    struct instance *i = user;
    (void)vm; // it is in the middle of something: what follows happens after the run
    i->hook_done = true;
    i->hook_status = status;
    snprintf(i->hook_text, sizeof i->hook_text, "%s", text == NULL ? "" : text);
}

// The VM is over and another one is wanted.
static void retry(struct instance *i, int64_t now) {
    end_vm(i);
    i->streak = now - i->made_at < CLOSE_TOGETHER ? i->streak + 1 : 1;
    int64_t delay = i->streak == 1 ? 0 : RETRY_FIRST;
    for (unsigned n = 2; n < i->streak && delay < RETRY_MOST; n++) delay *= 2;
    i->retry_at = now + (delay < RETRY_MOST ? delay : RETRY_MOST);
    atomic_fetch_add(&i->restarts, 1);
    enter(i, INSTANCE_WAITING);
}

// Into the service's own log.
__attribute__((format(printf, 3, 4))) static void
say(const struct instance *i, enum log_level level, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const struct vm_config *c = &i->config.vm;
    struct log_entry e = {.level = level,
                          .source = i->label,
                          .ns = str_of(c->ns),
                          .service = str_of(c->service),
                          .version = str_of(c->version),
                          .instance = c->instance,
                          .text = str_of(text)};
    log_write(&e);
}

// For who looks at the service's status.
static void remember(struct instance *i, const char *text) {
    pthread_mutex_lock(&i->error_lock);
    snprintf(i->last_error, sizeof i->last_error, "%s", text);
    pthread_mutex_unlock(&i->error_lock);
}

static void start_failed(struct instance *i, int64_t now, int status, const char *text) {
    remember(i, text);
    if (i->reported) {
        say(i, LOG_ERROR, "the fresh instance does not start: %s", text);
        retry(i, now);
        return;
    }
    end_vm(i);
    enter(i, INSTANCE_FAILED);
    report(i, status, text);
}

static void start(struct instance *i, int64_t now) {
    struct err err = {0};
    enter(i, INSTANCE_STARTING);
    i->made_at = now;
    i->hook_done = false;
    i->vm = vm_new(&i->config.vm, &err);
    if (i->vm == NULL || vm_load(i->vm, &err) < 0) {
        start_failed(i, now, -(int)err.code, err.text);
        return;
    }
    vm_start(i->vm, hook_done, i);
}

static void replace_condemned(struct instance *i, int64_t now) {
    size_t memory = i->config.vm.limits.memory != 0 ? i->config.vm.limits.memory : VM_LIMITS.memory;
    char text[200];
    snprintf(text, sizeof text, "the service has reached its memory limit of %zu MB", memory >> 20);
    if (instance_state(i) == INSTANCE_STARTING) {
        start_failed(i, now, -STATUS_RESOURCE_EXHAUSTED, text);
        return;
    }
    remember(i, text);
    vm_cancel_all(i->vm, STATUS_RESOURCE_EXHAUSTED, text);
    retry(i, now);
    say(i, LOG_WARN, "%s: a fresh instance takes over (restart %u)", text,
        atomic_load(&i->restarts));
}

// ---- drain and stop
static uint64_t unfinished(const struct instance *i) {
    return atomic_load(&i->box.waiting) + (i->vm == NULL ? 0 : vm_open_requests(i->vm));
}

static void stopped(struct instance *i) {
    mailbox_close(&i->box);
    end_vm(i);
    sched_forget(i->config.sched, &i->runnable);
    enter(i, INSTANCE_STOPPED);
    report(i, -STATUS_CANCELLED, "stopped while it was starting");
    i->config.events.stopped(i->config.user, i->left_behind);
}

static void begin_draining(struct instance *i) {
    i->end_at = atomic_load(&i->stop_until);
    i->left_behind = unfinished(i);
    enter(i, INSTANCE_DRAINING);
}

static void begin_stopping(struct instance *i, int64_t now) {
    pending_refuse_all(&i->pending, STATUS_UNAVAILABLE, "the service has been stopped");
    i->end_at = now + STOP_GRACE;
    i->hook_done = false;
    enter(i, INSTANCE_STOPPING);
    vm_stop(i->vm, hook_done, i);
}

static void cancel_left(struct instance *i, int64_t now) {
    uint64_t left = unfinished(i);
    i->left_behind -= left < i->left_behind ? left : i->left_behind;
    i->cancelled = true;
    i->end_at = now + CANCEL_GRACE;
    pending_refuse_all(&i->pending, STATUS_UNAVAILABLE, "the service has been stopped");
    vm_cancel_all(i->vm, STATUS_UNAVAILABLE, "the service has been stopped");
}

static void drain(struct instance *i, int64_t now) {
    if (unfinished(i) > 0 && now >= i->end_at && !i->cancelled) cancel_left(i, now);
    if (unfinished(i) == 0 || now >= i->end_at) begin_stopping(i, now);
}

// ---- for the turn
void life_before_mail(struct instance *i, int64_t now) {
    switch (instance_state(i)) {
    case INSTANCE_NEW:
    case INSTANCE_WAITING:
        if (i->stop_wanted) {
            stopped(i);
        } else if (now >= i->retry_at) {
            start(i, now);
        }
        break;
    case INSTANCE_FAILED:
        if (i->stop_wanted) stopped(i);
        break;
    case INSTANCE_STARTING:
        if (i->stop_wanted && now >= atomic_load(&i->stop_until)) stopped(i);
        break;
    case INSTANCE_SERVING:
        if (!i->stop_wanted) break;
        begin_draining(i);
        drain(i, now);
        break;
    case INSTANCE_DRAINING:
        if (!i->cancelled && atomic_load(&i->stop_until) < i->end_at) // hurried
            i->end_at = atomic_load(&i->stop_until);
        drain(i, now);
        break;
    case INSTANCE_STOPPING:
        if (now >= i->end_at) stopped(i);
        break;
    case INSTANCE_STOPPED: break;
    }
}

void life_after_run(struct instance *i, int64_t now) {
    assert(i->vm != NULL);
    enum instance_state state = instance_state(i);
    if (vm_condemned(i->vm)) {
        if (i->stop_wanted && state != INSTANCE_STARTING) {
            stopped(i);
        } else {
            replace_condemned(i, now);
        }
        return;
    }
    if (state == INSTANCE_DRAINING) drain(i, now);
    if (!i->hook_done) return;
    i->hook_done = false;
    if (state == INSTANCE_STARTING && i->hook_status < 0) {
        start_failed(i, now, i->hook_status, i->hook_text);
    } else if (state == INSTANCE_STARTING) {
        enter(i, INSTANCE_SERVING);
        report(i, 0, "");
    } else if (instance_state(i) == INSTANCE_STOPPING) {
        if (i->hook_status < 0) say(i, LOG_WARN, "on_stop failed: %s", i->hook_text);
        stopped(i);
    }
}

int64_t life_next(const struct instance *i) {
    switch (instance_state(i)) {
    case INSTANCE_WAITING: return i->retry_at;
    case INSTANCE_STARTING: return i->stop_wanted ? atomic_load(&i->stop_until) : INT64_MAX;
    case INSTANCE_DRAINING:
    case INSTANCE_STOPPING: return i->end_at;
    default: return INT64_MAX;
    }
}
