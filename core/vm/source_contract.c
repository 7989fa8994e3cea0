// SPDX-License-Identifier: Apache-2.0
// Contracts of services that run elsewhere, as sources.
//
// Which services are the service's own decides what of the contract is callable. Packages that belong to others are never
// its own: a backend may serve gRPC's health and reflection, which the doors answer for themselves, and must not stand
// in for a service of the platform.
#include "vm/source_contract.h"

#include "vm/source_gather.h"

#include <stdlib.h>

static const char *const FOREIGN[] = {"google.", "grpc.", "mica."};

static bool is_foreign(const struct pb_service *s) {
    for (size_t i = 0; i < sizeof FOREIGN / sizeof FOREIGN[0]; i++) {
        if (str_starts(s->full_name, FOREIGN[i])) return true;
    }
    return false;
}

static int find_protos(struct source *s) {
    int rc = 0;
    for (size_t i = 0; i < s->pool->service_count && rc == 0; i++) {
        const struct pb_service *service = &s->pool->services[i];
        if (is_foreign(service) || source_owns_proto(s, service->file)) continue;
        rc = gather_proto(s, service->file);
    }
    return rc;
}

// What was named must declare services, and only such as may be its own.
static int check_proto(const struct source *s, struct str name, struct err *err) {
    bool found = false;
    int shown = (int)(name.n < 200 ? name.n : 200);
    for (size_t i = 0; i < s->pool->service_count; i++) {
        const struct pb_service *service = &s->pool->services[i];
        if (!str_equal(service->file, name)) continue;
        found = true;
        if (is_foreign(service))
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "%.*s declares %.*s: packages google, grpc and mica cannot be a "
                           "service's own",
                           shown, name.p, (int)service->full_name.n, service->full_name.p);
    }
    if (found) return 0;
    return err_set(err, STATUS_INVALID_ARGUMENT, "the contract has no file %.*s with a service",
                   shown, name.p);
}

static int take_protos(struct source *s, char **protos, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++) {
        int rc = check_proto(s, str_of(protos[i]), err);
        if (rc < 0) return rc;
        if (source_owns_proto(s, str_of(protos[i]))) continue;
        if (gather_proto(s, str_of(protos[i])) != 0) return -STATUS_RESOURCE_EXHAUSTED;
    }
    return 0;
}

static int add_main(struct source *s, bool public, struct err *err) {
    static const char OPEN[] = "return require \"mica\".service { handlers = {}, public = true }";
    static const char CLOSED[] = "return require \"mica\".service { handlers = {} }";
    struct gather g = {.s = s, .err = err};
    struct str text =
        public ? (struct str){OPEN, sizeof OPEN - 1} : (struct str){CLOSED, sizeof CLOSED - 1};
    return gather_file(&g, str_of("main.lua"), blob_new(text.p, text.n));
}

static struct source *make(const char *name, struct pb_pool *take_pool, bool public,
                           struct err *err) {
    struct source *s = source_new(err);
    if (s == NULL) {
        pb_pool_drop(take_pool);
        return NULL;
    }
    s->pool = take_pool;
    s->name = strdup(name);
    s->folder = strdup("a contract"); // so that the VM takes no bytecode from it
    if (s->name != NULL && s->folder != NULL && add_main(s, public, err) == 0) {
        gather_hash(s);
        return s;
    }
    if (err->code == 0) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    source_drop(s);
    return NULL;
}

struct source *source_of_pool(const char *name, struct pb_pool *pool, char **protos, size_t count,
                              bool public, struct err *err) {
    struct source *s = make(name, pb_pool_hold(pool), public, err);
    if (s == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        if (gather_proto(s, str_of(protos[i])) == 0) continue;
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        source_drop(s);
        return NULL;
    }
    return s;
}

struct source *source_of_contract(const char *name, struct blob *set, char **protos, size_t count,
                                  bool public, struct err *err) {
    struct err why = {0};
    if (set->n > CONTRACT_BYTES) {
        err_set(err, STATUS_INVALID_ARGUMENT, "the contract is longer than %d MB",
                (int)(CONTRACT_BYTES >> 20));
        return NULL;
    }
    struct pb_pool *pool = pb_pool_new(set, &why);
    if (pool == NULL) {
        err_set(err, why.code == 0 ? STATUS_INVALID_ARGUMENT : why.code, "the contract: %.400s",
                why.text);
        return NULL;
    }
    struct source *s = make(name, pool, public, err);
    if (s == NULL) return NULL;
    int rc = count > 0 ? take_protos(s, protos, count, err) : find_protos(s);
    if (rc == 0 && s->proto_count == 0)
        rc = err_set(err, STATUS_INVALID_ARGUMENT, "the contract declares no service of its own");
    if (rc == 0) return s;
    if (err->code == 0) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    source_drop(s);
    return NULL;
}
