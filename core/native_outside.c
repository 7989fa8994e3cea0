// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Outside: services that run elsewhere, for the registry.
//
// Load reads a contract on a thread of the pool and keeps it among deploy's sources, so Describe and Release are deploy's; Put
// makes the port and puts it into the directory. The port keeps the source; the directory, routes and calls under way keep
// the port. So a version that is replaced or removed ends with the last call that began with it. An HTTP service has a port of
// another kind, and no contract.
#include "native.h"

#include "base/clock.h"
#include "native_build.h"
#include "rpc/forward.h"
#include "rpc/outside.h"
#include "vm/source_contract.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

// Generations of services that run here count up from 1, these from the middle, so that none is given twice.
#define FIRST_GENERATION (1u << 31)

typedef Mica__Core__V1__OutsideLoadRequest LoadRequest;
typedef Mica__Core__V1__OutsidePutRequest PutRequest;

// ---- Load
struct loading {
    struct main_work work; // first
    struct native_outside *outside;
    struct message *request;
};

static struct source *read_contract(const struct native_outside *o, const LoadRequest *in,
                                    struct err *err) {
    if (in->platform)
        return source_of_pool(in->service, o->platform, in->protos, in->n_protos, in->public_, err);
    struct blob *set = blob_new(in->descriptors.data, in->descriptors.len);
    if (set == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    struct source *source =
        source_of_contract(in->service, set, in->protos, in->n_protos, in->public_, err);
    blob_drop(set);
    return source;
}

static void answer_load(struct message *request, uint64_t number, const struct source *s) {
    Mica__Core__V1__OutsideLoadResponse out = MICA__CORE__V1__OUTSIDE_LOAD_RESPONSE__INIT;
    char **protos = calloc(s->proto_count + 1, sizeof *protos);
    for (size_t i = 0; protos != NULL && i < s->proto_count; i++)
        protos[i] = (char *)(uintptr_t)s->protos[i].p; // C strings: gather_proto
    out.source = number;
    out.protos = protos;
    out.n_protos = s->proto_count;
    if (protos != NULL) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    free(protos);
}

static void do_load(struct main_work *work) {
    struct loading *l = (struct loading *)work;
    struct err err = {0};
    uint64_t number = 0;
    LoadRequest *in = native_read(l->request, &mica__core__v1__outside_load_request__descriptor);
    if (in == NULL) return;
    struct source *source = read_contract(l->outside, in, &err);
    if (source != NULL && deploy_keep_source(l->outside->deploy, source_hold(source), &number) < 0)
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    if (number != 0 && err.code == 0) {
        answer_load(l->request, number, source);
    } else {
        native_fail(l->request, &err);
    }
    if (source != NULL) source_drop(source);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static void free_loading(struct main_work *work) { free(work); }

static void load(void *context, struct message *request) {
    struct native_outside *o = context;
    struct loading *l = calloc(1, sizeof *l);
    if (l == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *l = (struct loading){
        .work = {.run = do_load, .done = free_loading}, .outside = o, .request = request};
    main_loop_work(o->deploy->loop, &l->work);
}

static void describe(void *context, struct message *request) {
    native_deploy_describe(((struct native_outside *)context)->deploy, request);
}

static void release(void *context, struct message *request) {
    native_deploy_release(((struct native_outside *)context)->deploy, request);
}

// ---- Put and Remove
static void drop_source(void *keep) { source_drop(keep); }

static bool owns(const void *source, struct str proto_file) {
    return source_owns_proto(source, proto_file);
}

static int join_addresses(const PutRequest *in, struct buf *out, struct err *err) {
    for (size_t i = 0; i < in->n_addresses; i++) {
        if (i > 0) buf_append_byte(out, ',');
        buf_append_text(out, in->addresses[i]);
    }
    if (out->failed) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    if (out->n == 0) return err_set(err, STATUS_INVALID_ARGUMENT, "an address is needed");
    return 0;
}

static int64_t nanoseconds(double seconds) {
    return seconds > 0 && seconds < 1e6 ? (int64_t)(seconds * NS_PER_SECOND) : 0;
}

// The port of a service; `source` is NULL where it speaks HTTP.
static struct port *make_port(const struct native_outside *o, const PutRequest *in,
                              struct source *source, struct err *err) {
    struct buf addresses = {0};
    struct port *port = NULL;
    const Mica__Core__V1__HttpBackend *http = in->http;
    if (join_addresses(in, &addresses, err) < 0) {
        // there is nothing to connect to
    } else if (http == NULL) {
        struct outside_options options = {buf_str(&addresses), in->local, source_hold(source),
                                          drop_source};
        port = rpc_outside(o->rpc, &options, err);
    } else {
        port = rpc_forward(o->rpc,
                           &(struct forward_options){.addresses = buf_str(&addresses),
                                                     .local = in->local,
                                                     .tls = http->tls,
                                                     .ca = str_of(http->ca),
                                                     .strip_prefix = http->strip_prefix,
                                                     .backend_host = http->backend_host,
                                                     .credentials = http->credentials,
                                                     .first_byte = nanoseconds(http->first_byte),
                                                     .idle = nanoseconds(http->idle)},
                           err);
    }
    buf_free(&addresses);
    return port;
}

// An HTTP service has no methods: none of the pool that stands in for its contract is its own.
static bool owns_none(const void *source, struct str proto_file) {
    (void)source;
    (void)proto_file;
    return false;
}

// Negative and `err`, or 0 and it is in the directory.
static int put(const struct native_outside *o, const PutRequest *in, struct source *source,
               uint32_t *generation, struct err *err) {
    static atomic_uint generations;
    struct port *port = make_port(o, in, source, err);
    if (port == NULL) return -(int)err->code;
    *generation = FIRST_GENERATION + atomic_fetch_add(&generations, 1);
    struct directory_version version = {.ns = in->namespace_,
                                        .service = in->service,
                                        .version = in->version,
                                        .port = port,
                                        .pool = source == NULL ? o->platform : source->pool,
                                        .owns = source == NULL ? owns_none : owns,
                                        .source = source,
                                        .generation = *generation,
                                        .order = in->order,
                                        .outside = true};
    int rc = directory_put(o->deploy->directory, &version);
    port_drop(port);
    if (rc == -STATUS_ALREADY_EXISTS)
        return err_set(err, STATUS_ALREADY_EXISTS, "%s@%s runs on this server", in->service,
                       in->version);
    return rc < 0 ? err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory") : 0;
}

static void put_version(void *context, struct message *request) {
    struct native_outside *o = context;
    PutRequest *in = native_read(request, &mica__core__v1__outside_put_request__descriptor);
    if (in == NULL) return;
    struct err err = {0};
    Mica__Core__V1__OutsidePutResponse out = MICA__CORE__V1__OUTSIDE_PUT_RESPONSE__INIT;
    struct source *source = in->http == NULL ? deploy_find_source(o->deploy, in->source) : NULL;
    if (source == NULL && in->http == NULL)
        err_set(&err, STATUS_NOT_FOUND, "no such source: it has been released");
    else
        put(o, in, source, &out.generation, &err);
    if (source != NULL) source_drop(source);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (err.code == 0) {
        native_answer(request, &out.base);
    } else {
        native_fail(request, &err);
    }
}

static void remove_version(void *context, struct message *request) {
    struct native_outside *o = context;
    Mica__Core__V1__OutsideRemoveRequest *in =
        native_read(request, &mica__core__v1__outside_remove_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__OutsideRemoveResponse out = MICA__CORE__V1__OUTSIDE_REMOVE_RESPONSE__INIT;
    if (in->generation >= FIRST_GENERATION)
        directory_withdraw(o->deploy->directory, in->namespace_, in->service, in->version,
                           in->generation);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    native_answer(request, &out.base);
}

static const struct native_method METHODS[] = {{"Load", load},
                                               {"Describe", describe},
                                               {"Release", release},
                                               {"Put", put_version},
                                               {"Remove", remove_version}};
const struct native_service NATIVE_OUTSIDE = {"outside", "mica.core.v1.Outside", METHODS, 5};
