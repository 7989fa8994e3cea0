// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Deploy: requests turned into what deploy.c and the scheduler do, and their results into answers. Read blocks, so
// it runs in the main loop's pool; the others begin something on the caller's thread whose end answers.
#include "native_deploy.h"

#include "base/clock.h"
#include "native.h"

#include <math.h>
#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

#define PLATFORM_PREFIX "platform:"
#define MOST_DRAIN 3600.0 // seconds

// ---- Read
struct reading {
    struct main_work work; // first
    struct deploy *deploy;
    struct message *request;
};

static void answer_source(struct message *request, const struct source *source, uint64_t number) {
    Mica__Core__V1__ReadResponse out = MICA__CORE__V1__READ_RESPONSE__INIT;
    char **files = calloc(source->file_count + 1, sizeof *files);
    bool ok = files != NULL;
    for (size_t i = 0; ok && i < source->file_count; i++) {
        files[i] = strndup(source->files[i].path.p, source->files[i].path.n);
        ok = files[i] != NULL;
    }
    out.source = number;
    out.name = source->name;
    out.hash = (char *)source->hash;
    out.files = files;
    out.n_files = source->file_count;
    if (ok) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; files != NULL && i < source->file_count; i++) free(files[i]);
    free(files);
}

static struct source *read_source(struct deploy *d, const char *folder, struct err *err) {
    size_t n = strlen(PLATFORM_PREFIX);
    if (strncmp(folder, PLATFORM_PREFIX, n) == 0)
        return source_builtin(folder + n, d->host->platform, err);
    if (folder[0] == '/') return source_read(folder, err);
    err_set(err, STATUS_INVALID_ARGUMENT, "the folder \"%s\" is not absolute", folder);
    return NULL;
}

static void do_read(struct main_work *work) {
    struct reading *r = (struct reading *)work;
    struct err err = {0};
    uint64_t number;
    Mica__Core__V1__ReadRequest *in =
        native_read(r->request, &mica__core__v1__read_request__descriptor);
    if (in == NULL) return;
    struct source *source = read_source(r->deploy, in->folder, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (source == NULL) {
        native_fail(r->request, &err);
    } else if (deploy_keep_source(r->deploy, source_hold(source), &number) < 0) {
        message_refuse(r->request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        answer_source(r->request, source, number);
    }
    if (source != NULL) source_drop(source);
}

static void free_reading(struct main_work *work) { free(work); }

static void read_folder(void *context, struct message *request) {
    struct deploy *d = context;
    struct reading *r = calloc(1, sizeof *r);
    if (r == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    r->work.run = do_read;
    r->work.done = free_reading;
    r->deploy = d;
    r->request = request;
    main_loop_work(d->loop, &r->work);
}

static void release(void *context, struct message *request) {
    Mica__Core__V1__ReleaseRequest *in =
        native_read(request, &mica__core__v1__release_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__ReleaseResponse out = MICA__CORE__V1__RELEASE_RESPONSE__INIT;
    deploy_release_source(context, in->source);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    native_answer(request, &out.base);
}

// ---- Describe
static void on_described(void *user, struct blob *take_definition, const struct err *err) {
    if (take_definition == NULL) {
        native_fail(user, err);
    } else {
        native_answer_bytes(user, take_definition);
    }
}

static void describe(void *context, struct message *request) {
    struct deploy *d = context;
    Mica__Core__V1__DescribeRequest *in =
        native_read(request, &mica__core__v1__describe_request__descriptor);
    if (in == NULL) return;
    struct source *source = deploy_find_source(d, in->source);
    const char *name = in->name[0] != '\0' || source == NULL ? in->name : source->name;
    if (source == NULL) {
        message_refuse(request, STATUS_NOT_FOUND, "no such source: it has been released");
    } else if (service_describe(d->sched, d->host, source, name, on_described, request) < 0) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (source != NULL) source_drop(source);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

// ---- Start and Stop
static void on_started(void *user, uint64_t generation, const struct err *err) {
    if (err->code != 0) {
        native_fail(user, err);
        return;
    }
    Mica__Core__V1__StartResponse out = MICA__CORE__V1__START_RESPONSE__INIT;
    out.generation = (uint32_t)generation;
    native_answer(user, &out.base);
}

// What was asked for, and "crypto", which every service has. The texts are the request's. NULL: memory ended.
static const char **capabilities(const Mica__Core__V1__StartRequest *in) {
    const char **natives = calloc(in->n_natives + 2, sizeof *natives);
    if (natives == NULL) return NULL;
    for (size_t i = 0; i < in->n_natives; i++) natives[i] = in->natives[i];
    natives[in->n_natives] = NATIVE_CRYPTO.capability;
    return natives;
}

static void start(void *context, struct message *request) {
    struct deploy *d = context;
    struct err err = {0};
    Mica__Core__V1__StartRequest *in =
        native_read(request, &mica__core__v1__start_request__descriptor);
    if (in == NULL) return;
    struct service_config config = {.ns = in->namespace_,
                                    .name = in->service,
                                    .version = in->version,
                                    .instances = in->instances,
                                    .source = deploy_find_source(d, in->source),
                                    .natives = capabilities(in),
                                    .host = d->host,
                                    .sched = d->sched};
    if (in->limits != NULL)
        config.limits = (struct vm_limits){.memory = in->limits->memory,
                                           .deadline = in->limits->deadline,
                                           .concurrency = in->limits->concurrency,
                                           .queue = in->limits->queue,
                                           .message = in->limits->message};
    int rc;
    if (config.source == NULL) {
        rc = err_set(&err, STATUS_NOT_FOUND, "no such source: it has been released");
    } else if (config.natives == NULL) {
        rc = err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        rc = deploy_start(d, &config, on_started, request, &err);
    }
    if (rc < 0) native_fail(request, &err);
    if (config.source != NULL) source_drop(config.source);
    free((void *)config.natives);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static void on_stopped(void *user, uint64_t finished, const struct err *err) {
    (void)err;
    Mica__Core__V1__StopResponse out = MICA__CORE__V1__STOP_RESPONSE__INIT;
    out.finished = finished;
    native_answer(user, &out.base);
}

static void stop(void *context, struct message *request) {
    struct err err = {0};
    Mica__Core__V1__StopRequest *in =
        native_read(request, &mica__core__v1__stop_request__descriptor);
    if (in == NULL) return;
    double seconds = in->drain > 0 ? fmin(in->drain, MOST_DRAIN) : 0; // NaN is no time
    int64_t drain = (int64_t)(seconds * (double)NS_PER_SECOND);
    if (deploy_stop(context, in->namespace_, in->service, in->version, drain, on_stopped, request,
                    &err) < 0)
        native_fail(request, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static const struct native_method METHODS[] = {{"Read", read_folder},
                                               {"Describe", describe},
                                               {"Start", start},
                                               {"Stop", stop},
                                               {"Release", release}};
const struct native_service NATIVE_DEPLOY = {"deploy", "mica.core.v1.Deploy", METHODS, 5};
