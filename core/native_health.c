// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Health: whether what runs here answers, and the server's end. Any thread.
#include "deploy.h"
#include "native.h"
#include "native_deploy.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

struct question {
    const Mica__Core__V1__RunningContractRequest *asked;
    bool serving;
};

// Of two generations of a version, one that answers is enough.
static void look_at(void *user, struct service *s) {
    struct question *q = user;
    struct service_counts n;
    if (q->serving || strcmp(q->asked->service, service_name(s)) != 0 ||
        strcmp(q->asked->namespace_, service_ns(s)) != 0 ||
        strcmp(q->asked->version, service_version(s)) != 0)
        return;
    service_count(s, &n);
    q->serving = n.serving > 0;
}

// The platform's own services are found in the directory; they are not deployed.
static void look_at_platform(struct deploy *d, struct question *q) {
    struct directory_entry entry;
    if (directory_look(d->directory, str_of(""), str_of(q->asked->service), str_of(""), &entry) < 0)
        return;
    look_at(q, service_of_port(entry.port));
    port_drop(entry.port);
    pb_pool_drop(entry.pool);
}

static void serving(void *context, struct message *request) {
    struct native_health *h = context;
    Mica__Core__V1__ServingRequest *in =
        native_read(request, &mica__core__v1__serving_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__ServingResponse out = MICA__CORE__V1__SERVING_RESPONSE__INIT;
    out.serving = calloc(in->n_services + 1, sizeof *out.serving);
    for (size_t i = 0; out.serving != NULL && i < in->n_services; i++) {
        struct question q = {.asked = in->services[i]};
        if (q.asked->namespace_[0] == '\0') {
            look_at_platform(h->deploy, &q);
        } else {
            deploy_each(h->deploy, look_at, &q);
        }
        out.serving[i] = q.serving;
    }
    out.n_serving = in->n_services;
    if (out.serving == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        native_answer(request, &out.base);
    }
    free(out.serving);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

// Whichever version of it that is.
static bool platform_serves(struct deploy *d, const char *name) {
    struct directory_entry entry;
    struct service_counts n;
    if (directory_look(d->directory, str_of(""), str_of(name), str_of(""), &entry) < 0) return false;
    service_count(service_of_port(entry.port), &n);
    port_drop(entry.port);
    pb_pool_drop(entry.pool);
    return n.serving > 0;
}

bool native_health_ready(void *user, char *why, size_t size) {
    struct native_health *h = user;
    if (atomic_load(&h->server->stopping)) {
        snprintf(why, size, "the server is stopping");
        return false;
    }
    for (size_t i = 0; i < h->server->platform_count; i++) {
        const char *name = h->server->platform[i];
        if (platform_serves(h->deploy, name)) continue;
        snprintf(why, size, "the platform's service \"%s\" does not answer", name);
        return false;
    }
    return true;
}

static void stopping(void *context, struct message *request) {
    struct native_health *h = context;
    native_server_wait(h->server, request);
}

static const struct native_method METHODS[] = {{"Serving", serving}, {"Stopping", stopping}};
const struct native_service NATIVE_HEALTH = {"health", "mica.core.v1.Health", METHODS, 2};
