// SPDX-License-Identifier: Apache-2.0
// Making the parts in order, and the host: the answers to what VMs ask of the world.
//
// The end, in this order: workers stop (no VM runs any more), loops stop (no message is delivered
// any more), what still waits in run queues is abandoned (its answers find closed loops), then memory
// is freed: the doors before the loops whose users they are, the tables before the contracts that
// they refer to.
#include "parts.h"

#include "vm/embedded.h"

#include <stdlib.h>

// ---- the host; any thread
static int resolve(struct vm_host *host, struct str ns, struct str service, struct str version,
                   struct str endpoint, struct vm_target *out, struct err *err) {
    struct parts *p = (struct parts *)host;
    struct directory_entry entry;
    const struct pb_method *method;
    uint64_t epoch =
        directory_epoch(p->directory); // before: an answer may be newer than it says, never older
    int rc = directory_find(p->directory, ns, service, version, endpoint, &entry, &method, err);
    if (rc == 0)
        *out = (struct vm_target){
            .port = entry.port, .pool = entry.pool, .method = method, .version = epoch};
    return rc;
}

static uint64_t epoch_of(struct vm_host *host) {
    return directory_epoch(((struct parts *)host)->directory);
}

static int native(struct vm_host *host, struct str capability, struct str method,
                  struct vm_target *out, struct err *err) {
    struct parts *p = (struct parts *)host;
    return natives_find(&p->natives, p->platform, capability, method, out, err);
}

static struct port *dial(struct vm_host *host, struct str address, struct str tls,
                         struct err *err) {
    return rpc_dial_tls(((struct parts *)host)->rpc, address, tls, err);
}

// ---- making
static struct pb_pool *platform_pool(struct err *err) {
    struct blob *set = blob_new(EMBEDDED_PROTOS, EMBEDDED_PROTOS_SIZE);
    if (set == NULL) return NULL;
    struct pb_pool *pool = pb_pool_new(set, err);
    blob_drop(set);
    return pool;
}

static int make_loops(struct parts *p, unsigned count, struct err *err) {
    p->loops = calloc(count, sizeof *p->loops);
    if (p->loops == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    for (; p->loop_count < count; p->loop_count++) {
        int rc = loop_create(&p->loops[p->loop_count], p->loop_count, err);
        if (rc < 0) return rc;
    }
    struct rpc_options options = {.directory = p->directory,
                                  .api = p->api,
                                  .proxy = p->proxy,
                                  .max_message = VM_LIMITS.message,
                                  .default_deadline = (int64_t)(VM_LIMITS.deadline * 1e9)};
    p->rpc = rpc_server_new(&options, p->loops, count, err);
    if (p->rpc == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    for (unsigned i = 0; i < count; i++) {
        p->loops[i].hand_over = sched_hand_over;
        p->loops[i].hand_over_end = sched_hand_over_end;
        int rc = loop_start(&p->loops[i], err);
        if (rc < 0) return rc;
    }
    return 0;
}

int parts_create(struct parts *p, unsigned loops, unsigned workers, struct err *err) {
    static const struct sched_hooks HOOKS = {loop_batch_begin, loop_batch_end, NULL};
    *p = (struct parts){.host = {resolve, epoch_of, native, dial, NULL, 0}};
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory"); // unless somebody knows better
    int rc = main_loop_create(&p->main, err);
    if (rc < 0) return rc;
    p->platform = p->host.platform = platform_pool(err);
    p->directory = directory_new();
    p->api = route_slot_new();
    p->proxy = route_slot_new();
    bool made = p->platform != NULL && p->directory != NULL && p->api != NULL && p->proxy != NULL;
    rc = made ? make_loops(p, loops, err) : -(int)err->code;
    if (rc == 0) {
        p->sched = sched_new(workers, &HOOKS, err);
        if (p->sched == NULL) rc = -(int)err->code;
    }
    if (rc < 0) {
        parts_destroy(p);
        return rc;
    }
    *err = (struct err){0};
    return 0;
}

void parts_destroy(struct parts *p) {
    if (p->sched != NULL) sched_stop(p->sched);
    for (unsigned i = 0; i < p->loop_count; i++) loop_stop(&p->loops[i]);
    sched_delete(p->sched);
    main_loop_destroy(&p->main);
    if (p->rpc != NULL) rpc_server_delete(p->rpc);
    for (unsigned i = 0; i < p->loop_count; i++) loop_destroy(&p->loops[i]);
    free(p->loops);
    route_slot_delete(p->api);
    route_slot_delete(p->proxy);
    directory_delete(p->directory);
    pb_pool_drop(p->platform);
    *p = (struct parts){0};
}
