// SPDX-License-Identifier: Apache-2.0
// A VM without Lua, for the tests of instances and services: it stands in for all of vm/vm.h and does what the body of a
// request says:
//   echo      answers with what it was sent      hold     stays open until it is cancelled or fake_release
//   collect   answers at END with all items      poison   hits the memory line
//   slow      takes 1 ms of the turn
// A test sets the statics below before it starts an instance.
#pragma once

#include "base/clock.h"
#include "vm/vm.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka needs the four above
#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" // not every test uses everything

const struct vm_limits VM_LIMITS = {
    .memory = 64 << 20, .deadline = 30, .concurrency = 1000, .queue = 10000, .message = 4 << 20};

static atomic_int fake_made, fake_deleted, fake_on_stops;
static atomic_int fake_load_failures;  // so many loads fail from now on
static atomic_int fake_start_failures; // so many on_start fail from now on
static atomic_bool fake_start_hangs;   // on_start ends when this turns false
static atomic_bool fake_release;       // what holds is answered
static atomic_bool fake_stubborn;      // what is cancelled does not end

struct fake_request {
    struct fake_request *next;
    struct message *m;
    struct buf items;
    bool hold;
};

struct vm {
    struct vm_config config;
    struct fake_request *open;
    size_t open_count;
    uint64_t faults;
    bool condemned;
    vm_hook_done starting;
    void *starting_user;
};

struct source *source_hold(struct source *s) {
    atomic_fetch_add(&s->refs, 1);
    return s;
}
void source_drop(struct source *s) { atomic_fetch_sub(&s->refs, 1); }

static void fake_answer(struct vm *vm, struct fake_request *r, int status, struct str body) {
    struct message *m = message_new(MSG_RESPONSE, r->m->call);
    if (status != STATUS_OK) vm->faults++;
    m->status = status;
    m->generation = vm->config.instance; // so that a test sees who served
    m->body = blob_new(body.p, body.n);
    if (port_send(r->m->reply, m) < 0) message_delete(m);
    for (struct fake_request **at = &vm->open; *at != NULL; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            vm->open_count--;
            break;
        }
    }
    message_delete(r->m);
    buf_free(&r->items);
    free(r);
}

struct vm *vm_new(const struct vm_config *config, struct err *err) {
    struct vm *vm = calloc(1, sizeof *vm);
    (void)err;
    vm->config = *config;
    atomic_fetch_add(&fake_made, 1);
    return vm;
}

void vm_delete(struct vm *vm) {
    while (vm->open != NULL) fake_answer(vm, vm->open, STATUS_UNAVAILABLE, str_of("deleted"));
    atomic_fetch_add(&fake_deleted, 1);
    free(vm);
}

int vm_load(struct vm *vm, struct err *err) {
    (void)vm;
    if (atomic_load(&fake_load_failures) <= 0) return 0;
    atomic_fetch_sub(&fake_load_failures, 1);
    return err_set(err, STATUS_INVALID_ARGUMENT, "main.lua:1: nothing here");
}

int vm_describe(struct vm *vm, struct buf *out, struct err *err) {
    (void)err;
    buf_printf(out, "definition of %s%s", vm->config.service, vm->config.bare ? ", bare" : "");
    return 0;
}

void vm_start(struct vm *vm, vm_hook_done done, void *user) {
    if (atomic_load(&fake_start_hangs)) {
        vm->starting = done;
        vm->starting_user = user;
    } else if (atomic_load(&fake_start_failures) > 0) {
        atomic_fetch_sub(&fake_start_failures, 1);
        done(vm, user, -STATUS_FAILED_PRECONDITION, "on_start: no");
    } else {
        done(vm, user, 0, "");
    }
}

void vm_stop(struct vm *vm, vm_hook_done done, void *user) {
    atomic_fetch_add(&fake_on_stops, 1);
    done(vm, user, 0, "");
}

static struct fake_request *fake_find(struct vm *vm, const struct message *m) {
    struct fake_request *r = vm->open;
    while (r != NULL && (r->m->call != m->call || r->m->reply != m->reply)) r = r->next;
    return r;
}

static void fake_begin(struct vm *vm, struct message *m) {
    struct fake_request *r = calloc(1, sizeof *r);
    struct str body = blob_str(m->body);
    r->m = m;
    r->next = vm->open;
    vm->open = r;
    vm->open_count++;
    r->hold = str_is(body, "hold");
    if (str_is(body, "poison")) {
        vm->condemned = true;
    } else if (!r->hold && !str_is(body, "collect")) {
        if (str_is(body, "slow")) usleep(1000);
        fake_answer(vm, r, STATUS_OK, body);
    }
}

void vm_receive(struct vm *vm, struct message *m) {
    if (m->kind == MSG_REQUEST) {
        fake_begin(vm, m);
        return;
    }
    struct fake_request *r = fake_find(vm, m);
    if (r != NULL && m->kind == MSG_ITEM) buf_append_str(&r->items, blob_str(m->body));
    if (r != NULL && m->kind == MSG_END) fake_answer(vm, r, STATUS_OK, buf_str(&r->items));
    if (r != NULL && m->kind == MSG_CANCEL) fake_answer(vm, r, STATUS_CANCELLED, str_of(""));
    message_delete(m);
}

bool vm_has_room(const struct vm *vm) { return vm->open_count < vm->config.limits.concurrency; }

bool vm_run(struct vm *vm, int64_t now) {
    (void)now;
    if (vm->starting != NULL && !atomic_load(&fake_start_hangs)) {
        vm_hook_done done = vm->starting;
        vm->starting = NULL;
        done(vm, vm->starting_user, 0, "");
    }
    for (struct fake_request *r = vm->open, *next; r != NULL; r = next) {
        next = r->next;
        if (r->hold && atomic_load(&fake_release))
            fake_answer(vm, r, STATUS_OK, str_of("released"));
    }
    return false;
}

// It looks at the statics above every millisecond while something depends on them.
int64_t vm_next_timer(const struct vm *vm) {
    return vm->open != NULL || vm->starting != NULL ? clock_now() + NS_PER_MS : INT64_MAX;
}
void vm_collect(struct vm *vm) { (void)vm; }
size_t vm_open_requests(const struct vm *vm) { return vm->open_count; }

void vm_cancel_all(struct vm *vm, int status, const char *text) {
    while (vm->open != NULL && !atomic_load(&fake_stubborn))
        fake_answer(vm, vm->open, status, str_of(text));
}
bool vm_condemned(const struct vm *vm) { return vm->condemned; }
size_t vm_memory(const struct vm *vm) { return 1000 + vm->open_count; }
uint64_t vm_faults(const struct vm *vm) { return vm->faults; }

static void fake_reset(void) {
    fake_made = fake_deleted = fake_on_stops = fake_load_failures = fake_start_failures = 0;
    fake_start_hangs = fake_release = fake_stubborn = false;
}

// ---- a caller
struct caller {
    struct port port; // first
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct message *answers[64]; // by call number
    unsigned count;
};

static int caller_receive(struct port *port, struct message *m) {
    struct caller *c = (struct caller *)port;
    pthread_mutex_lock(&c->lock);
    assert_true(m->call < 64 && c->answers[m->call] == NULL);
    c->answers[m->call] = m;
    c->count++;
    pthread_cond_broadcast(&c->came);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

static void caller_gone(struct port *port) { (void)port; }

static void caller_init(struct caller *c) {
    static const struct port_ops OPS = {caller_receive, caller_gone};
    *c = (struct caller){0};
    port_init(&c->port, &OPS);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->came, NULL);
}

// Forgets the answers and checks that nobody refers to it any more.
static void caller_end(struct caller *c) {
    for (int i = 0; i < 64; i++) message_delete(c->answers[i]);
    for (int i = 0; i < 50000 && atomic_load(&c->port.refs) != 1; i++) usleep(100);
    assert_int_equal(atomic_load(&c->port.refs), 1);
}

static struct message *caller_message(struct caller *c, enum msg_kind kind, uint64_t call,
                                      const char *body) {
    static const struct pb_method UNARY = {0};
    struct message *m = message_new(kind, call);
    m->reply = port_hold(&c->port);
    if (kind == MSG_REQUEST) m->method = &UNARY;
    if (body != NULL) m->body = blob_new(body, strlen(body));
    return m;
}

static int caller_send(struct caller *c, struct port *to, enum msg_kind kind, uint64_t call,
                       const char *body) {
    struct message *m = caller_message(c, kind, call, body);
    int rc = port_send(to, m);
    if (rc < 0) message_delete(m);
    return rc;
}

static bool caller_has(struct caller *c, uint64_t call) {
    pthread_mutex_lock(&c->lock);
    bool has = c->answers[call] != NULL;
    pthread_mutex_unlock(&c->lock);
    return has;
}

static struct message *caller_wait(struct caller *c, uint64_t call) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&c->lock);
    while (c->answers[call] == NULL) {
        if (pthread_cond_timedwait(&c->came, &c->lock, &until) != 0) break;
    }
    struct message *m = c->answers[call];
    pthread_mutex_unlock(&c->lock);
    assert_non_null(m);
    return m;
}

static void caller_expect(struct caller *c, uint64_t call, int status, const char *body) {
    struct message *m = caller_wait(c, call);
    assert_int_equal(m->status, status);
    if (body != NULL) assert_true(str_is(blob_str(m->body), body));
}

static bool becomes(atomic_int *n, int wanted) {
    for (int i = 0; i < 50000 && atomic_load(n) != wanted; i++) usleep(100);
    return atomic_load(n) == wanted;
}
