// SPDX-License-Identifier: Apache-2.0
// Workers, run queues and the timers that wake instances.
//
// Queues. Each worker has a list under a mutex of its own: it takes from the head and puts back at the tail; a worker
// with nothing to do takes the head of another's. `sched_ready` puts a runnable where it ran last (its memory is warm
// there).
//
// Sleeping. A worker that finds nothing enters the list of the idle, looks at all queues once more, and only then waits.
// `sched_ready` puts the runnable into a queue and then looks at the number of the idle. Both steps of both sides are
// sequentially consistent, so at least one side sees the other: a runnable is found by the second look, or somebody is
// woken for it. At most one worker is woken for each ready. None is woken when a worker makes something ready whose own
// worker sleeps, and has nothing else to do after its present turn: then it runs it itself, sooner than another could
// wake up. A chain of calls between instances so stays on one warm core, and spreads when there is more to do.
//
// Timers. One heap under a mutex. One of the idle workers is the timekeeper: it waits no longer than the first timer; the
// others wait without limit and are preferred when somebody is to be woken. Awake workers look at the first timer between
// turns; a timekeeper that goes to run what is due appoints another, since its turn may be long.
//
// Locks: `timer_lock` before a worker's `lock` or `idle_lock` (a due runnable is made ready under it, so that
// sched_forget can promise that nothing is under way). The others are never held together.
#include "sched/sched.h"

#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct worker {
    struct sched *sched;
    unsigned index;
    pthread_t thread;
    pthread_mutex_t lock; // head, tail
    struct runnable *head, *tail;
    atomic_uint queued;
    _Atomic(clockid_t) clock; // of the thread's CPU time; 0: not begun
    pthread_cond_t wake;      // with idle_lock
    struct worker *next_idle;
    atomic_bool idle; // in the list; changed under idle_lock
};

struct sched {
    struct sched_hooks hooks;
    unsigned count;
    unsigned started; // threads to join
    atomic_bool stopping;
    pthread_mutex_t idle_lock; // the list, `idle`, `timekeeper`
    struct worker *idle_list;  // the one that fell asleep last comes first
    struct worker *timekeeper;
    atomic_uint idle_count;
    pthread_mutex_t timer_lock;
    struct heap timers;
    _Atomic(int64_t) first_timer; // changed under timer_lock
    struct worker workers[];
};

static _Thread_local struct worker *current; // NULL on threads that are no workers

static _Thread_local struct {
    bool active;
    struct sched *sched; // of all in the list
    struct runnable *first, *last;
} kept; // of an I/O thread: see sched_hand_over

// ---- queues
static void push(struct worker *w, struct runnable *r) {
    r->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->tail == NULL) {
        w->head = r;
    } else {
        w->tail->next = r;
    }
    w->tail = r;
    atomic_fetch_add(&w->queued, 1);
    pthread_mutex_unlock(&w->lock);
}

static struct runnable *pop(struct worker *w) {
    if (atomic_load(&w->queued) == 0) return NULL;
    pthread_mutex_lock(&w->lock);
    struct runnable *r = w->head;
    if (r != NULL) {
        w->head = r->next;
        if (w->head == NULL) w->tail = NULL;
        atomic_fetch_sub(&w->queued, 1);
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

// The next one for `w`: its own, else the oldest of the next worker that has any.
static struct runnable *find_work(struct worker *w) {
    struct runnable *r = pop(w);
    for (unsigned i = 1; r == NULL && i < w->sched->count; i++)
        r = pop(&w->sched->workers[(w->index + i) % w->sched->count]);
    return r;
}

static bool any_queued(struct sched *s) {
    for (unsigned i = 0; i < s->count; i++) {
        if (atomic_load(&s->workers[i].queued) > 0) return true;
    }
    return false;
}

// ---- sleeping and waking; idle_lock is held where a name ends in _locked
static void leave_idle_locked(struct sched *s, struct worker *w) {
    struct worker **at = &s->idle_list;
    while (*at != w) at = &(*at)->next_idle;
    *at = w->next_idle;
    atomic_store(&w->idle, false);
    if (s->timekeeper == w) s->timekeeper = NULL;
    atomic_fetch_sub(&s->idle_count, 1);
}

static void wake_one(struct sched *s, struct worker *home) {
    pthread_mutex_lock(&s->idle_lock);
    struct worker *w = atomic_load(&home->idle) && home != s->timekeeper ? home : s->idle_list;
    if (w != NULL && w == s->timekeeper && w->next_idle != NULL) w = w->next_idle;
    if (w != NULL) {
        leave_idle_locked(s, w);
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&s->idle_lock);
}

static struct timespec timespec_of(int64_t at) {
    return (struct timespec){.tv_sec = at / NS_PER_SECOND, .tv_nsec = at % NS_PER_SECOND};
}

// Waits until it is woken or a timer is due. The worker is in the idle list when it begins, and is not when it ends.
static void wait_locked(struct worker *w) {
    struct sched *s = w->sched;
    while (atomic_load(&w->idle)) {
        if (s->timekeeper == NULL) s->timekeeper = w;
        int64_t first = s->timekeeper == w ? atomic_load(&s->first_timer) : INT64_MAX;
        if (first == INT64_MAX) {
            pthread_cond_wait(&w->wake, &s->idle_lock);
        } else if (first <= clock_now()) {
            leave_idle_locked(s, w);
        } else {
            struct timespec until = timespec_of(first);
            pthread_cond_timedwait(&w->wake, &s->idle_lock, &until);
        }
    }
}

static void sleep_until_woken(struct worker *w) {
    struct sched *s = w->sched;
    if (s->hooks.before_sleep != NULL) s->hooks.before_sleep();
    pthread_mutex_lock(&s->idle_lock);
    atomic_store(&w->idle, true);
    w->next_idle = s->idle_list;
    s->idle_list = w;
    atomic_fetch_add(&s->idle_count, 1);
    // Whoever put something into a queue before the count rose woke nobody.
    if (any_queued(s) || atomic_load(&s->stopping)) leave_idle_locked(s, w);
    wait_locked(w);
    pthread_mutex_unlock(&s->idle_lock);
}

// ---- timers
static void note_first(struct sched *s) {
    struct heap_node *first = heap_first(&s->timers);
    atomic_store(&s->first_timer, first == NULL ? INT64_MAX : first->at);
}

static struct runnable *runnable_of(struct heap_node *timer) {
    return (struct runnable *)((char *)timer - offsetof(struct runnable, timer));
}

// An idle worker that wakes without being taken from the list becomes the timekeeper when there is none, and reads the
// first timer anew.
static void tell_timekeeper(struct sched *s) {
    if (atomic_load(&s->idle_count) == 0) return;
    pthread_mutex_lock(&s->idle_lock);
    struct worker *w = s->timekeeper != NULL ? s->timekeeper : s->idle_list;
    if (w != NULL) pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&s->idle_lock);
}

static void run_timers(struct sched *s) {
    int64_t now = clock_now();
    if (atomic_load(&s->first_timer) > now) return;
    pthread_mutex_lock(&s->timer_lock);
    struct heap_node *first;
    while ((first = heap_first(&s->timers)) != NULL && first->at <= now) {
        heap_remove(&s->timers, first);
        struct runnable *r = runnable_of(first);
        r->due(r);
    }
    note_first(s);
    pthread_mutex_unlock(&s->timer_lock);
    if (atomic_load(&s->first_timer) != INT64_MAX) tell_timekeeper(s);
}

void sched_wake_at(struct sched *s, struct runnable *r, int64_t at,
                   void (*due)(struct runnable *r)) {
    pthread_mutex_lock(&s->timer_lock);
    int64_t before = atomic_load(&s->first_timer);
    heap_remove(&s->timers, &r->timer);
    r->due = due;
    bool failed = at != INT64_MAX && heap_add(&s->timers, &r->timer, at) < 0;
    if (failed) due(r);
    note_first(s);
    bool earlier = atomic_load(&s->first_timer) < before;
    pthread_mutex_unlock(&s->timer_lock);
    if (earlier) tell_timekeeper(s);
}

void sched_forget(struct sched *s, struct runnable *r) {
    pthread_mutex_lock(&s->timer_lock);
    heap_remove(&s->timers, &r->timer);
    note_first(s);
    pthread_mutex_unlock(&s->timer_lock);
}

// ---- workers
static void keep(struct sched *s, struct runnable *r) {
    if (kept.sched != s) sched_hand_over();
    kept.sched = s;
    r->next = NULL;
    if (kept.first == NULL) {
        kept.first = r;
    } else {
        kept.last->next = r;
    }
    kept.last = r;
}

void sched_ready(struct sched *s, struct runnable *r) {
    if (kept.active) {
        keep(s, r);
        return;
    }
    struct worker *here = current != NULL && current->sched == s ? current : NULL;
    struct worker *home = &s->workers[r->home % s->count];
    if (here != NULL && atomic_load(&home->idle)) home = here;
    bool next = here == home && atomic_load(&here->queued) == 0;
    push(home, r);
    if (!next && atomic_load(&s->idle_count) > 0) wake_one(s, home);
}

void sched_hand_over(void) {
    struct runnable *r = kept.first;
    kept.active = false;
    kept.first = kept.last = NULL;
    while (r != NULL) {
        struct runnable *next = r->next;
        sched_ready(kept.sched, r);
        r = next;
    }
    kept.active = true;
}

void sched_hand_over_end(void) {
    sched_hand_over();
    kept.active = false;
}

static void run_turn(struct worker *w, struct runnable *r) {
    struct sched *s = w->sched;
    r->home = w->index;
    if (s->hooks.turn_begin != NULL) s->hooks.turn_begin();
    bool more = r->turn(r);
    if (s->hooks.turn_end != NULL) s->hooks.turn_end();
    if (!more) more = r->rest(r);
    if (!more) return;
    push(w, r);
    if (atomic_load(&w->queued) > 1 && atomic_load(&s->idle_count) > 0) wake_one(s, w);
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct sched *s = w->sched;
    current = w;
    atomic_store(&w->clock, clock_thread_id());
    while (!atomic_load(&s->stopping)) {
        run_timers(s);
        struct runnable *r = find_work(w);
        if (r != NULL) {
            run_turn(w, r);
        } else {
            sleep_until_woken(w);
        }
    }
    if (s->hooks.before_sleep != NULL) s->hooks.before_sleep();
    current = NULL;
    return NULL;
}

static void worker_init(struct sched *s, unsigned i) {
    struct worker *w = &s->workers[i];
    pthread_condattr_t attr;
    w->sched = s;
    w->index = i;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); // clock_now's
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
}

struct sched *sched_new(unsigned workers, const struct sched_hooks *hooks, struct err *err) {
    if (workers == 0) workers = 1;
    struct sched *s = calloc(1, sizeof *s + workers * sizeof s->workers[0]);
    if (s == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    if (hooks != NULL) s->hooks = *hooks;
    atomic_init(&s->first_timer, INT64_MAX);
    pthread_mutex_init(&s->idle_lock, NULL);
    pthread_mutex_init(&s->timer_lock, NULL);
    s->count = workers;
    for (unsigned i = 0; i < workers; i++) worker_init(s, i);
    while (s->started < workers) {
        struct worker *w = &s->workers[s->started];
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            err_set(err, STATUS_RESOURCE_EXHAUSTED,
                    "cannot start worker %u of %u: the system allows no more threads",
                    s->started + 1, workers);
            sched_stop(s);
            sched_delete(s);
            return NULL;
        }
        s->started++;
    }
    return s;
}

void sched_stop(struct sched *s) {
    if (atomic_exchange(&s->stopping, true)) return;
    pthread_mutex_lock(&s->idle_lock);
    while (s->idle_list != NULL) {
        struct worker *w = s->idle_list;
        leave_idle_locked(s, w);
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&s->idle_lock);
    for (unsigned i = 0; i < s->started; i++) pthread_join(s->workers[i].thread, NULL);
}

void sched_delete(struct sched *s) {
    if (s == NULL) return;
    assert(atomic_load(&s->stopping));
    for (unsigned i = 0; i < s->count; i++) {
        struct runnable *r;
        while ((r = pop(&s->workers[i])) != NULL) r->abandon(r);
        pthread_mutex_destroy(&s->workers[i].lock);
        pthread_cond_destroy(&s->workers[i].wake);
    }
    heap_free(&s->timers);
    pthread_mutex_destroy(&s->idle_lock);
    pthread_mutex_destroy(&s->timer_lock);
    free(s);
}

int64_t sched_worker_cpu(struct sched *s, unsigned worker) {
    return clock_read(atomic_load(&s->workers[worker].clock));
}

unsigned sched_workers(const struct sched *s) { return s->count; }
