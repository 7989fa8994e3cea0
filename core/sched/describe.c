// SPDX-License-Identifier: Apache-2.0
// Reading a definition: one turn on a worker, in which a bare VM is made, main.lua is run in it, and the VM is dropped.
// The VM has nothing that could wait, and its own limits of time and memory.
#include "sched/service.h"

#include <stdlib.h>

struct description {
    struct runnable runnable; // first
    struct vm_host *host;
    struct source *source;
    service_described done;
    void *user;
    struct blob *definition;
    struct err err;
    char name[];
};

static void finish(struct description *d) {
    d->done(d->user, d->definition, &d->err);
    source_drop(d->source);
    free(d);
}

static struct blob *describe(const struct description *d, struct err *err) {
    struct vm_config config = {.ns = "",
                               .service = d->name,
                               .version = "",
                               .source = d->source,
                               .bare = true,
                               .host = d->host};
    struct buf out = {0};
    struct blob *definition = NULL;
    struct vm *vm = vm_new(&config, err);
    if (vm == NULL) return NULL;
    if (vm_load(vm, err) == 0 && vm_describe(vm, &out, err) == 0) {
        definition = buf_take(&out);
        if (definition == NULL) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    buf_free(&out);
    vm_delete(vm);
    return definition;
}

static bool turn(struct runnable *r) {
    struct description *d = (struct description *)r;
    d->definition = describe(d, &d->err);
    return false;
}

static bool rest(struct runnable *r) {
    finish((struct description *)r);
    return false;
}

static void abandon(struct runnable *r) {
    struct description *d = (struct description *)r;
    err_set(&d->err, STATUS_UNAVAILABLE, "the server is stopping");
    finish(d);
}

int service_describe(struct sched *sched, struct vm_host *host, struct source *source,
                     const char *name, service_described done, void *user) {
    size_t n = strlen(name) + 1;
    struct description *d = calloc(1, sizeof *d + n);
    if (d == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    d->runnable.turn = turn;
    d->runnable.rest = rest;
    d->runnable.abandon = abandon;
    d->host = host;
    d->source = source_hold(source);
    d->done = done;
    d->user = user;
    memcpy(d->name, name, n);
    sched_ready(sched, &d->runnable);
    return 0;
}
