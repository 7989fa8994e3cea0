// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Deploy: requests turned into what deploy.c and the scheduler do, and their results
// into answers. Read and Load block, so they run in the main loop's pool; the others begin
// something on the caller's thread whose end answers.
#include "native_deploy.h"

#include "base/clock.h"
#include "contract.h"
#include "native.h"
#include "native_build.h"
#include "platform.h"
#include "store/blob.h"
#include "vm/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PLATFORM_PREFIX "platform:"
#define MOST_DRAIN 3600.0 // seconds

// ---- Read and Load
struct reading {
    struct main_work work; // first
    struct deploy *deploy;
    struct message *request;
    struct source *(*read)(struct deploy *d, struct message *request, struct err *err);
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

static struct source *find_folder(struct deploy *d, const char *folder, struct err *err) {
    size_t n = strlen(PLATFORM_PREFIX);
    if (strncmp(folder, PLATFORM_PREFIX, n) == 0)
        return source_builtin(folder + n, d->host->platform, err);
    if (folder[0] == '/') return source_read(folder, err);
    err_set(err, STATUS_INVALID_ARGUMENT, "the folder \"%s\" is not absolute", folder);
    return NULL;
}

static struct source *read_source(struct deploy *d, struct message *request, struct err *err) {
    struct str body = blob_str(request->body);
    Mica__Core__V1__ReadRequest *in =
        mica__core__v1__read_request__unpack(NULL, body.n, (const uint8_t *)body.p);
    if (in == NULL) {
        err_set(err, STATUS_INVALID_ARGUMENT, "malformed request");
        return NULL;
    }
    struct source *source = find_folder(d, in->folder, err);
    mica__core__v1__read_request__free_unpacked(in, NULL);
    return source;
}

// The file is mapped: its bytes are copied once, into the files of the source.
static struct source *load_file(const char *path, struct err *err) {
    struct stat st;
    struct source *source = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_INTERNAL,
                errno == ENOENT ? "the server has no such source: upload it again" : "%s: %s", path,
                strerror(errno));
    } else if (st.st_size == 0 || (uint64_t)st.st_size > BUNDLE_BYTES) {
        err_set(err, STATUS_INVALID_ARGUMENT, "a bundle is not empty, and not larger than %d MB",
                (int)(BUNDLE_BYTES >> 20));
    } else {
        size_t n = (size_t)st.st_size;
        void *bytes = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            err_set(err, STATUS_RESOURCE_EXHAUSTED, "%s: %s", path, strerror(errno));
        } else {
            source = source_from_bundle((struct str){bytes, n}, err);
            munmap(bytes, n);
        }
    }
    if (fd >= 0) close(fd);
    return source;
}

static struct source *load_source(struct deploy *d, struct message *request, struct err *err) {
    struct str body = blob_str(request->body);
    struct buf path = {0};
    struct source *source = NULL;
    Mica__Core__V1__LoadRequest *in =
        mica__core__v1__load_request__unpack(NULL, body.n, (const uint8_t *)body.p);
    if (in == NULL) {
        err_set(err, STATUS_INVALID_ARGUMENT, "malformed request");
    } else if (d->blobs == NULL) {
        err_set(err, STATUS_FAILED_PRECONDITION, "this process stores no bundles");
    } else if (blobs_path(d->blobs, in->blob, &path, err) == 0) {
        source = load_file(buf_cstr(&path), err);
    }
    buf_free(&path);
    if (in != NULL) mica__core__v1__load_request__free_unpacked(in, NULL);
    return source;
}

static void do_read(struct main_work *work) {
    struct reading *r = (struct reading *)work;
    struct err err = {0};
    uint64_t number;
    struct source *source = r->read(r->deploy, r->request, &err);
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

static void read_later(struct deploy *d, struct message *request,
                       struct source *(*read)(struct deploy *d, struct message *request,
                                              struct err *err)) {
    struct reading *r = calloc(1, sizeof *r);
    if (r == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    r->work.run = do_read;
    r->work.done = free_reading;
    r->deploy = d;
    r->request = request;
    r->read = read;
    main_loop_work(d->loop, &r->work);
}

void native_deploy_read(void *context, struct message *request) {
    read_later(context, request, read_source);
}

static void load(void *context, struct message *request) {
    read_later(context, request, load_source);
}

void native_deploy_release(void *context, struct message *request) {
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

void native_deploy_describe(void *context, struct message *request) {
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

// What was asked for, and "crypto", which every service has. The texts are the request's. NULL:
// memory ended.
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
                                    .order = in->order,
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
        rc = deploy_start(d, &config, in->hold, on_started, request, &err);
    }
    if (rc < 0) native_fail(request, &err);
    if (config.source != NULL) source_drop(config.source);
    free((void *)config.natives);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static void publish(void *context, struct message *request) {
    struct err err = {0};
    Mica__Core__V1__PublishRequest *in =
        native_read(request, &mica__core__v1__publish_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__PublishResponse out = MICA__CORE__V1__PUBLISH_RESPONSE__INIT;
    if (deploy_publish_held(context, in->generation, &err) < 0) {
        native_fail(request, &err);
    } else {
        native_answer(request, &out.base);
    }
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
    if (deploy_stop(context, in->namespace_, in->service, in->version, in->generation, drain,
                    on_stopped, request, &err) < 0)
        native_fail(request, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

// ---- Status
struct service_status {
    Mica__Core__V1__ServiceStatus out; // its texts are copies
    Mica__Core__V1__Limits limits;
};

struct census {
    struct service_status *list;
    size_t count, cap;
    double clock_offset; // unix seconds at clock_now 0
    bool failed;
};

static void add_status(void *user, struct service *s) {
    struct census *c = user;
    struct service_counts n;
    if (c->count == c->cap) {
        size_t cap = c->cap == 0 ? 16 : 2 * c->cap;
        struct service_status *list = realloc(c->list, cap * sizeof *list);
        c->failed = c->failed || list == NULL;
        if (list == NULL) return;
        c->list = list;
        c->cap = cap;
    }
    service_count(s, &n);
    struct service_status *entry = &c->list[c->count++];
    Mica__Core__V1__ServiceStatus *out = &entry->out;
    struct vm_limits limits = service_limits(s);
    entry->limits = (Mica__Core__V1__Limits)MICA__CORE__V1__LIMITS__INIT;
    entry->limits.memory = limits.memory;
    entry->limits.deadline = limits.deadline;
    entry->limits.concurrency = limits.concurrency;
    entry->limits.queue = limits.queue;
    entry->limits.message = limits.message;
    *out = (Mica__Core__V1__ServiceStatus)MICA__CORE__V1__SERVICE_STATUS__INIT;
    out->namespace_ = strdup(service_ns(s));
    out->service = strdup(service_name(s));
    out->version = strdup(service_version(s));
    out->last_error = strdup(n.last_error);
    c->failed = c->failed || out->namespace_ == NULL || out->service == NULL ||
                out->version == NULL || out->last_error == NULL;
    out->generation = service_generation(s);
    out->instances = n.instances;
    out->serving = n.serving;
    out->restarts = n.restarts;
    out->memory = n.memory;
    out->requests = n.begun;
    out->errors = n.faults;
    out->open = (uint32_t)n.open;
    out->started = c->clock_offset + (double)n.started / (double)NS_PER_SECOND;
}

// The platform's own are found in the directory; they are not deployed.
static void add_platform(struct deploy *d, struct census *c) {
    const struct str none = {"", 0};
    for (size_t i = 0; i < PLATFORM_COUNT; i++) {
        struct directory_entry entry;
        if (directory_look(d->directory, none, str_of(PLATFORM_NAMES[i]), none, &entry) < 0)
            continue;
        add_status(c, service_of_port(entry.port));
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
    }
}

static void free_census(struct census *c) {
    for (size_t i = 0; i < c->count; i++) {
        free(c->list[i].out.namespace_);
        free(c->list[i].out.service);
        free(c->list[i].out.version);
        free(c->list[i].out.last_error);
    }
    free(c->list);
}

static void status(void *context, struct message *request) {
    struct deploy *d = context;
    struct census c = {0};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    c.clock_offset =
        (double)now.tv_sec + ((double)now.tv_nsec - (double)clock_now()) / (double)NS_PER_SECOND;
    deploy_each(d, add_status, &c);
    add_platform(d, &c);
    Mica__Core__V1__ServiceStatus **list = calloc(c.count + 1, sizeof(void *));
    for (size_t i = 0; list != NULL && i < c.count; i++) {
        list[i] = &c.list[i].out;
        list[i]->limits = &c.list[i].limits;
    }
    Mica__Core__V1__StatusResponse out = MICA__CORE__V1__STATUS_RESPONSE__INIT;
    out.n_services = c.count;
    out.services = list;
    if (c.failed || list == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        native_answer(request, &out.base);
    }
    free_census(&c);
    free(list);
}

// ---- Compare
static void compare(void *context, struct message *request) {
    struct deploy *d = context;
    Mica__Core__V1__CompareRequest *in =
        native_read(request, &mica__core__v1__compare_request__descriptor);
    if (in == NULL) return;
    struct source *before = deploy_find_source(d, in->before);
    struct source *after = deploy_find_source(d, in->after);
    struct contract_changes changes = {0};
    Mica__Core__V1__CompareResponse out = MICA__CORE__V1__COMPARE_RESPONSE__INIT;
    if (before == NULL || after == NULL) {
        message_refuse(request, STATUS_NOT_FOUND, "no such source: it has been released");
    } else {
        contract_compare(before, after, &changes);
        out.changes = changes.texts;
        out.n_changes = changes.count;
        if (changes.failed) {
            message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        } else {
            native_answer(request, &out.base);
        }
    }
    contract_changes_free(&changes);
    if (before != NULL) source_drop(before);
    if (after != NULL) source_drop(after);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static const struct native_method METHODS[] = {{"Read", native_deploy_read},
                                               {"Describe", native_deploy_describe},
                                               {"Start", start},
                                               {"Publish", publish},
                                               {"Stop", stop},
                                               {"Release", native_deploy_release},
                                               {"Load", load},
                                               {"Status", status},
                                               {"Compare", compare}};
const struct native_service NATIVE_DEPLOY = {"deploy", "mica.core.v1.Deploy", METHODS, 9};
