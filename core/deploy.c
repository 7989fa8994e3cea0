// SPDX-License-Identifier: Apache-2.0
// The services that run for users, from start to stop.
//
// A deployment is in the list from the moment its start is asked for until it is gone, so that a
// stopping server waits for all. It is STARTING, RUNNING (then it is in the directory, until one of
// the same version takes its place there) or STOPPING (taken out of the directory first, so that
// nobody resolves it any more). Two of the same version may run side by side while one replaces the
// other: their generations tell them apart. Who may start what is runtime's to decide.
//
// The list is changed under the lock by requests (on workers) and by the services' callbacks (on
// workers); nothing is called under it that calls back.
#include "deploy.h"

#include "base/metrics.h"
#include "native_deploy.h"

#include <assert.h>
#include <stdlib.h>

static bool owns(const void *source, struct str proto_file) {
    return source_owns_proto(source, proto_file);
}

int deploy_publish(struct directory *d, struct service *s) {
    struct source *source = service_source(s);
    return directory_put(d, &(struct directory_version){.ns = service_ns(s),
                                                        .service = service_name(s),
                                                        .version = service_version(s),
                                                        .port = service_port(s),
                                                        .pool = source->pool,
                                                        .owns = owns,
                                                        .source = source,
                                                        .generation = service_generation(s),
                                                        .order = service_order(s)});
}

void deploy_withdraw(struct directory *d, const struct service *s) {
    directory_withdraw(d, service_ns(s), service_name(s), service_version(s),
                       service_generation(s));
}

void deploy_create(struct deploy *d, struct main_loop *loop, struct sched *sched,
                   struct vm_host *host, struct directory *directory) {
    *d = (struct deploy){.loop = loop, .sched = sched, .host = host, .directory = directory};
    pthread_mutex_init(&d->lock, NULL);
}

void deploy_destroy(struct deploy *d) {
    assert(d->services == NULL);
    for (struct map_entry *e = map_next(&d->sources, NULL); e != NULL; e = map_next(&d->sources, e))
        source_drop(e->value);
    map_free(&d->sources);
    pthread_mutex_destroy(&d->lock);
}

// ---- sources
static struct str number_key(const uint64_t *number) {
    return (struct str){(const char *)number, sizeof *number};
}

int deploy_keep_source(struct deploy *d, struct source *take, uint64_t *number) {
    pthread_mutex_lock(&d->lock);
    *number = ++d->last_source;
    int rc = map_put(&d->sources, number_key(number), take);
    pthread_mutex_unlock(&d->lock);
    if (rc < 0) source_drop(take);
    return rc;
}

struct source *deploy_find_source(struct deploy *d, uint64_t number) {
    pthread_mutex_lock(&d->lock);
    struct source *s = map_get(&d->sources, number_key(&number));
    if (s != NULL) source_hold(s);
    pthread_mutex_unlock(&d->lock);
    return s;
}

void deploy_release_source(struct deploy *d, uint64_t number) {
    pthread_mutex_lock(&d->lock);
    struct source *s = map_remove(&d->sources, number_key(&number));
    pthread_mutex_unlock(&d->lock);
    if (s != NULL) source_drop(s);
}

// ---- the list
static void link_deployment(struct deploy *d, struct deployment *p) {
    p->next = d->services;
    if (p->next != NULL) p->next->link = &p->next;
    p->link = &d->services;
    d->services = p;
}

// Takes it out of the list; the one that closes hears when it was the last.
static void remove_deployment(struct deploy *d, struct deployment *p) {
    pthread_mutex_lock(&d->lock);
    *p->link = p->next;
    if (p->next != NULL) p->next->link = p->link;
    bool last = d->closing && d->services == NULL;
    pthread_mutex_unlock(&d->lock);
    free(p);
    if (last) d->closed(d->user);
}

void deploy_each(struct deploy *d, void (*visit)(void *user, struct service *service), void *user) {
    pthread_mutex_lock(&d->lock);
    for (struct deployment *p = d->services; p != NULL; p = p->next) {
        if (p->state == DEPLOYMENT_RUNNING) visit(user, p->service);
    }
    pthread_mutex_unlock(&d->lock);
}

// Answers who waits for its end, when the version may be started again.
static void end_deployment(struct deployment *p, uint64_t value) {
    deploy_done done = p->done;
    void *user = p->user;
    struct err err = p->err;
    remove_deployment(p->deploy, p);
    if (done != NULL) done(user, value, &err);
}

static struct deployment *add_deployment(struct deploy *d, struct err *err) {
    struct deployment *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    p->deploy = d;
    pthread_mutex_lock(&d->lock);
    bool closing = d->closing;
    if (!closing) link_deployment(d, p);
    pthread_mutex_unlock(&d->lock);
    if (!closing) return p;
    free(p);
    err_set(err, STATUS_UNAVAILABLE, "the server is stopping");
    return NULL;
}

// ---- stopping
// What a service has counted ends with the last of its versions.
static void forget_metrics(struct directory *d, const struct service *s) {
    struct directory_entry entry;
    if (directory_look(d, str_of(service_ns(s)), str_of(service_name(s)), str_of(""), &entry) ==
        0) {
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
        return;
    }
    struct buf owner = {0};
    metrics_owner(&owner, service_ns(s), service_name(s));
    if (!owner.failed) metrics_forget(buf_str(&owner));
    buf_free(&owner);
}

static void on_stopped(void *user, struct service *service, uint64_t finished) {
    struct deployment *p = user;
    forget_metrics(p->deploy->directory, service);
    end_deployment(p, finished);
}

// The caller has made it STOPPING under the lock.
static void stop(struct deployment *p, int64_t drain) {
    deploy_withdraw(p->deploy->directory, p->service);
    service_stop(p->service, drain, on_stopped, p);
}

static bool is_it(const struct deployment *p, const char *ns, const char *service,
                  const char *version, uint32_t generation) {
    const struct service *s = p->service;
    if (s == NULL || (generation != 0 && generation != service_generation(s))) return false;
    // One that stops already is meant only when its generation says so.
    if (p->state != DEPLOYMENT_RUNNING && generation == 0) return false;
    return strcmp(ns, service_ns(s)) == 0 && strcmp(service, service_name(s)) == 0 &&
           strcmp(version, service_version(s)) == 0;
}

int deploy_stop(struct deploy *d, const char *ns, const char *service, const char *version,
                uint32_t generation, int64_t drain, deploy_done done, void *user, struct err *err) {
    pthread_mutex_lock(&d->lock);
    struct deployment *p = d->services;
    while (p != NULL && !is_it(p, ns, service, version, generation)) p = p->next;
    bool hurried = p != NULL && p->state == DEPLOYMENT_STOPPING;
    if (hurried) {
        service_hurry(p->service, drain); // it lives as long as it is in the list
    } else if (p != NULL) {
        p->state = DEPLOYMENT_STOPPING;
        p->done = done;
        p->user = user;
    }
    pthread_mutex_unlock(&d->lock);
    if (p == NULL) return err_set(err, STATUS_NOT_FOUND, "%s@%s is not running", service, version);
    struct err none = {0};
    if (hurried) {
        done(user, 0, &none);
    } else {
        stop(p, drain);
    }
    return 0;
}

// ---- starting
// A start that did not come to its end: the service stops, then the caller hears why.
static void undo(struct deployment *p, struct service *service) {
    pthread_mutex_lock(&p->deploy->lock);
    p->service = service;
    p->state = DEPLOYMENT_STOPPING;
    pthread_mutex_unlock(&p->deploy->lock);
    stop(p, 0);
}

static void on_started(void *user, struct service *service, int status, const char *text) {
    struct deployment *p = user;
    struct deploy *d = p->deploy;
    if (status < 0) { // it is stopped and gone
        err_set(&p->err, (enum status) - status, "%s", text);
        end_deployment(p, 0);
        return;
    }
    if (!p->hold && deploy_publish(d->directory, service) < 0) {
        err_set(&p->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        undo(p, service);
        return;
    }
    deploy_done done = p->done;
    void *for_done = p->user;
    uint32_t generation = service_generation(service);
    pthread_mutex_lock(&d->lock);
    bool closing = d->closing;
    if (!closing) {
        p->service = service;
        p->done = NULL;
        p->state = DEPLOYMENT_RUNNING; // from here on deploy_stop may end it
    }
    pthread_mutex_unlock(&d->lock);
    if (closing) {
        err_set(&p->err, STATUS_UNAVAILABLE, "the server is stopping");
        undo(p, service);
        return;
    }
    struct err none = {0};
    done(for_done, generation, &none);
}

int deploy_start(struct deploy *d, const struct service_config *config, bool hold, deploy_done done,
                 void *user, struct err *err) {
    struct deployment *p = add_deployment(d, err);
    if (p == NULL) return -(int)err->code;
    p->hold = hold;
    p->done = done;
    p->user = user;
    if (service_start(config, on_started, p, err) != NULL) return 0;
    remove_deployment(d, p);
    return -(int)err->code;
}

// Under the lock, so that it is not stopped, and so withdrawn, before it is put.
int deploy_publish_held(struct deploy *d, uint32_t generation, struct err *err) {
    pthread_mutex_lock(&d->lock);
    struct deployment *p = d->services;
    while (p != NULL &&
           (p->state != DEPLOYMENT_RUNNING || service_generation(p->service) != generation))
        p = p->next;
    int rc = p == NULL ? 0 : deploy_publish(d->directory, p->service);
    pthread_mutex_unlock(&d->lock);
    if (p == NULL)
        return err_set(err, STATUS_NOT_FOUND, "generation %u is not running", generation);
    return rc < 0 ? err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory") : 0;
}

// ---- closing
// Makes one that runs STOPPING; NULL when none runs.
static struct deployment *next_running(struct deploy *d) {
    pthread_mutex_lock(&d->lock);
    struct deployment *found = d->services;
    while (found != NULL && found->state != DEPLOYMENT_RUNNING) found = found->next;
    if (found != NULL) found->state = DEPLOYMENT_STOPPING;
    pthread_mutex_unlock(&d->lock);
    return found;
}

void deploy_close(struct deploy *d, int64_t drain, void (*closed)(void *user), void *user) {
    pthread_mutex_lock(&d->lock);
    assert(!d->closing);
    d->closing = true;
    d->closed = closed;
    d->user = user;
    bool none = d->services == NULL;
    pthread_mutex_unlock(&d->lock);
    if (none) {
        closed(user);
        return;
    }
    struct deployment *p;
    while ((p = next_running(d)) != NULL)
        stop(p, drain); // those that are starting see `closing` when they have started
}
