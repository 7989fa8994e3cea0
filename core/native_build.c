// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Build, what a command line needs to build a service without a server, and
// mica.core.v1.Contracts, the contracts of what runs. Both work on a struct deploy; a command
// line's has no services.
#include "native_build.h"

#include "native.h"
#include "vm/bundle.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

// ---- contracts
static void answer_contract(struct message *request, const struct source *source,
                            const struct pb_pool *pool) {
    Mica__Core__V1__ContractResponse out = MICA__CORE__V1__CONTRACT_RESPONSE__INIT;
    char **protos = calloc(source->proto_count + 1, sizeof *protos);
    size_t n = 0;
    bool ok = protos != NULL;
    for (size_t i = 0; ok && i < source->proto_count; i++) {
        if (!source_owns_proto(source, source->protos[i])) continue;
        protos[n] = strndup(source->protos[i].p, source->protos[i].n);
        ok = protos[n++] != NULL;
    }
    out.descriptors.data = (uint8_t *)pool->set->p;
    out.descriptors.len = pool->set->n;
    out.protos = protos;
    out.n_protos = n;
    if (ok) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; i < n; i++) free(protos[i]);
    free(protos);
}

static void contract(void *context, struct message *request) {
    Mica__Core__V1__ContractRequest *in =
        native_read(request, &mica__core__v1__contract_request__descriptor);
    if (in == NULL) return;
    struct source *source = deploy_find_source(context, in->source);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (source == NULL) {
        message_refuse(request, STATUS_NOT_FOUND, "no such source: it has been released");
        return;
    }
    answer_contract(request, source, source->pool);
    source_drop(source);
}

static void running_contract(void *context, struct message *request) {
    struct deploy *d = context;
    struct directory_entry entry;
    Mica__Core__V1__RunningContractRequest *in =
        native_read(request, &mica__core__v1__running_contract_request__descriptor);
    if (in == NULL) return;
    int rc = directory_look(d->directory, str_of(in->namespace_), str_of(in->service),
                            str_of(in->version), &entry);
    if (rc == 0 && entry.source == NULL) { // an HTTP service: without a contract
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
        rc = -STATUS_NOT_FOUND;
    }
    if (rc < 0) {
        struct err err;
        err_set(&err, STATUS_NOT_FOUND, "no service %s%s%s runs in namespace %s", in->service,
                in->version[0] == '\0' ? "" : "@", in->version, in->namespace_);
        native_fail(request, &err);
    } else {
        answer_contract(request, entry.source, entry.pool);
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
    }
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

// ---- Pack: main.lua is loaded for the definition, then the pool's thread packs
struct packing {
    struct main_work work; // first
    struct source *source;
    struct blob *definition;
    struct message *request;
    struct deploy *deploy;
};

static void free_packing(struct main_work *work) {
    struct packing *p = (struct packing *)work;
    source_drop(p->source);
    blob_drop(p->definition);
    free(p);
}

static void do_pack(struct main_work *work) {
    struct packing *p = (struct packing *)work;
    struct err err = {0};
    struct blob *bundle = bundle_pack(p->source, p->definition, &err);
    if (bundle == NULL) {
        native_fail(p->request, &err);
        return;
    }
    Mica__Core__V1__PackResponse out = MICA__CORE__V1__PACK_RESPONSE__INIT;
    out.bundle.data = (uint8_t *)bundle->p;
    out.bundle.len = bundle->n;
    out.hash = p->source->hash;
    native_answer(p->request, &out.base);
    blob_drop(bundle);
}

static void on_described(void *user, struct blob *take_definition, const struct err *err) {
    struct packing *p = user;
    if (take_definition == NULL) {
        native_fail(p->request, err);
        free_packing(&p->work);
        return;
    }
    p->definition = take_definition;
    p->work.run = do_pack;
    p->work.done = free_packing;
    main_loop_work(p->deploy->loop, &p->work);
}

static void pack(void *context, struct message *request) {
    struct deploy *d = context;
    struct packing *p = calloc(1, sizeof *p);
    Mica__Core__V1__PackRequest *in =
        native_read(request, &mica__core__v1__pack_request__descriptor);
    if (in == NULL) {
        free(p);
        return;
    }
    struct source *source = deploy_find_source(d, in->source);
    const char *name = in->name[0] != '\0' || source == NULL ? in->name : source->name;
    if (p != NULL) *p = (struct packing){.source = source, .request = request, .deploy = d};
    if (source == NULL) {
        message_refuse(request, STATUS_NOT_FOUND, "no such source: it has been released");
    } else if (p == NULL ||
               service_describe(d->sched, d->host, source, name, on_described, p) < 0) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        source_drop(source);
    } else {
        p = NULL; // on_described's
    }
    free(p);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static const struct native_method BUILD[] = {{"Read", native_deploy_read},
                                             {"Describe", native_deploy_describe},
                                             {"Contract", contract},
                                             {"Pack", pack}};
const struct native_service NATIVE_BUILD = {"build", "mica.core.v1.Build", BUILD, 4};

static const struct native_method CONTRACTS[] = {{"Get", running_contract},
                                                 {"Find", native_contracts_find}};
const struct native_service NATIVE_CONTRACTS = {"contracts", "mica.core.v1.Contracts", CONTRACTS,
                                                2};
