// SPDX-License-Identifier: Apache-2.0
// One service after the other: api and proxy watch the registry, runtime registers all of them, so each finds those before
// it in the directory. They stand there under the namespace "", which every namespace sees, with the first 8 digits of
// their source's hash as the version (what runtime tells the registry).
//
// Services report on workers' threads; each report is posted to the main thread, which takes the next step. One report is
// under way at a time.
#include "platform.h"

#include "deploy.h"

#include <stdio.h>

// They hold what they know of all services of all namespaces.
#define MEMORY ((size_t)512 << 20)

const char *const PLATFORM_NAMES[PLATFORM_COUNT] = {"registry", "api", "proxy", "acme", "runtime"};

static const char *const *const CAPABILITIES[PLATFORM_COUNT] = {
    (const char *const[]){"crypto", "contracts", "outside", "server", NULL},
    (const char *const[]){"crypto", "routes", NULL},
    (const char *const[]){"crypto", "routes", "contracts", "health", NULL},
    (const char *const[]){"crypto", "fetch", "keys", "acme", "system", NULL},
    (const char *const[]){"crypto", "deploy", "server", "system", "blobs", "logs", NULL}};

static const char *const *capabilities_of(const char *name) {
    size_t i = 0;
    while (strcmp(PLATFORM_NAMES[i], name) != 0) i++;
    return CAPABILITIES[i];
}

static struct platform *of_task(struct main_task *task) {
    return (struct platform *)((char *)task - offsetof(struct platform, task));
}

static void post(struct platform *p, void (*run)(struct main_task *task)) {
    p->task.run = run;
    main_loop_post(&p->parts->main, &p->task);
}

// ---- start
static void start_next(struct platform *p);

static void after_start(struct main_task *task) {
    struct platform *p = of_task(task);
    if (p->err.code == 0) {
        p->running++;
        struct service *s = p->services[p->running - 1];
        if (deploy_publish(p->parts->directory, s) < 0)
            err_set(&p->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (p->err.code == 0 && p->running < p->count) {
        start_next(p);
    } else {
        p->done(p->user, &p->err);
    }
}

static void on_started(void *user, struct service *service, int status, const char *text) {
    struct platform *p = user;
    if (status < 0) {
        err_set(&p->err, (enum status) - status, "the platform's service %s does not start: %s",
                p->names[p->running], text);
    } else {
        p->services[p->running] = service;
    }
    post(p, after_start);
}

static void start_next(struct platform *p) {
    const char *name = p->names[p->running];
    char version[9];
    struct err err = {0};
    struct service *service = NULL;
    struct source *source = source_builtin(name, p->parts->platform, &err);
    if (source != NULL) {
        snprintf(version, sizeof version, "%.8s", source->hash);
        struct service_config config = {.ns = "",
                                        .name = name,
                                        .version = version,
                                        .instances = 1,
                                        .source = source,
                                        .limits = {.memory = MEMORY},
                                        .natives = capabilities_of(name),
                                        .host = &p->parts->host,
                                        .sched = p->parts->sched};
        service = service_start(&config, on_started, p, &err);
        source_drop(source);
    }
    if (service != NULL) return;
    err_set(&p->err, err.code, "the platform's service %s cannot be made: %.400s", name, err.text);
    post(p, after_start);
}

void platform_choose(struct platform *p, bool acme) {
    for (size_t i = 0; i < PLATFORM_COUNT; i++) {
        if (acme || strcmp(PLATFORM_NAMES[i], "acme") != 0)
            p->names[p->count++] = PLATFORM_NAMES[i];
    }
}

void platform_start(struct platform *p, struct parts *parts,
                    void (*done)(void *user, const struct err *err), void *user) {
    p->parts = parts;
    p->done = done;
    p->user = user;
    start_next(p);
}

// ---- stop
static void stop_next(struct platform *p);

static void after_stop(struct main_task *task) { stop_next(of_task(task)); }

static void on_stopped(void *user, struct service *service, uint64_t finished) {
    (void)service;
    (void)finished;
    post(user, after_stop);
}

static void stop_next(struct platform *p) {
    if (p->running == 0) {
        p->err = (struct err){0};
        p->done(p->user, &p->err);
        return;
    }
    struct service *s = p->services[--p->running];
    deploy_withdraw(p->parts->directory, s);
    service_stop(s, 0, on_stopped, p);
}

void platform_stop(struct platform *p, void (*done)(void *user, const struct err *err),
                   void *user) {
    p->done = done;
    p->user = user;
    stop_next(p);
}
