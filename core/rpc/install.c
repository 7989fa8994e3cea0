// SPDX-License-Identifier: Apache-2.0
// Routes.Install: an encoded InstallRequest from `api` or `proxy` becomes a route table.
//
// Every route is resolved against the directory now, so that a request needs one lookup only; a route whose service (or
// endpoint) is not deployed is left out and its service named in the answer, and the door's owner installs again
// when the registry has changed. Either the whole table is built and put in place, or nothing changes. Any thread.
#include "rpc/route.h"
#include "rpc/stats.h"

#include <mica/core/v1/core.pb-c.h>

#include <stdlib.h>

typedef Mica__Core__V1__InstallRequest InstallRequest;
typedef Mica__Core__V1__InstallResponse InstallResponse;
typedef Mica__Core__V1__Route RouteProto;
typedef Mica__Core__V1__Account AccountProto;

struct install {
    struct directory *directory;
    const char *door;
    struct route_table *table;
    struct buf key;
    char **missing; // borrowed from the request
    size_t missing_count;
};

static struct str keep(char **to, const char *text) {
    size_t n = strlen(text);
    struct str kept = {*to, n};
    memcpy(*to, text, n);
    *to += n;
    return kept;
}

// A route and its strings in one allocation; takes the references of `entry` when it succeeds.
static struct route *route_new(const char *door, const RouteProto *r,
                               const struct directory_entry *entry,
                               const struct pb_method *method) {
    size_t n = strlen(r->service) + strlen(r->endpoint) + strlen(r->prefix) + strlen(r->version);
    struct route *route = malloc(sizeof *route + n);
    if (route == NULL) return NULL;
    *route = (struct route){.port = entry->port,
                            .pool = entry->pool,
                            .method = method,
                            .public = r->public_,
                            .outside = entry->outside,
                            .generation = entry->generation,
                            .series = call_series(door, str_of(r->namespace_), str_of(r->service),
                                                  str_of(r->endpoint))};
    char *to = (char *)(route + 1);
    route->service = keep(&to, r->service);
    route->endpoint = keep(&to, r->endpoint);
    route->version = keep(&to, r->version);
    route->prefix = keep(&to, r->prefix);
    return route;
}

static void route_delete(struct route *route) {
    if (route == NULL) return;
    port_drop(route->port);
    pb_pool_drop(route->pool);
    free(route);
}

static void add_missing(struct install *in, char *service) {
    for (size_t i = 0; i < in->missing_count; i++) {
        if (strcmp(in->missing[i], service) == 0) return;
    }
    in->missing[in->missing_count++] = service;
}

static int add_route(struct install *in, const RouteProto *r, struct err *err) {
    if (r->path[0] != '/')
        return err_set(err, STATUS_INVALID_ARGUMENT, "path \"%s\" of a route must begin with \"/\"",
                       r->path);
    struct directory_entry entry;
    const struct pb_method *method;
    int rc = directory_find(in->directory, str_of(r->namespace_), str_of(r->service),
                            str_of(r->version), str_of(r->endpoint), &entry, &method, NULL);
    if (rc < 0) {
        add_missing(in, r->service);
        return 0;
    }
    struct route *route = route_new(in->door, r, &entry, method);
    if (route == NULL) {
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the routes");
    }
    in->key.n = 0;
    buf_append_str(&in->key, str_of(r->namespace_));
    buf_append_byte(&in->key, '\0');
    buf_append_str(&in->key, str_of(r->path));
    if (r->by_version) buf_append(&in->key, "", 1);
    if (r->by_version) buf_append_str(&in->key, str_of(r->version));
    struct route *replaced = map_get(&in->table->routes, buf_str(&in->key));
    if (in->key.failed || map_put(&in->table->routes, buf_str(&in->key), route) < 0) {
        route_delete(route);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the routes");
    }
    route_delete(replaced); // said twice: the last one counts
    return 0;
}

// The account without its issuer, which each request's namespace fills in (account.c).
static int add_loopback(struct route_table *table, AccountProto *account, struct err *err) {
    if (account == NULL) return 0;
    char *issuer = account->issuer;
    account->issuer = "";
    table->loopback = blob_new(NULL, mica__core__v1__account__get_packed_size(account));
    if (table->loopback != NULL)
        mica__core__v1__account__pack(account, (uint8_t *)table->loopback->p);
    account->issuer = issuer;
    if (table->loopback != NULL) return 0;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the routes");
}

static int put_response(const struct install *in, struct buf *response, struct err *err) {
    InstallResponse answer = MICA__CORE__V1__INSTALL_RESPONSE__INIT;
    answer.n_missing = in->missing_count;
    answer.missing = in->missing;
    size_t n = mica__core__v1__install_response__get_packed_size(&answer);
    if (!buf_reserve(response, n))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    response->n +=
        mica__core__v1__install_response__pack(&answer, (uint8_t *)buf_p(response) + response->n);
    return 0;
}

static int build(struct install *in, InstallRequest *request, struct buf *response,
                 struct err *err) {
    in->table = calloc(1, sizeof *in->table);
    if (in->table != NULL) atomic_init(&in->table->refs, 1);
    in->missing = calloc(request->n_routes + 1, sizeof *in->missing);
    if (in->table == NULL || in->missing == NULL)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the routes");
    int rc = add_loopback(in->table, request->loopback, err);
    for (size_t i = 0; i < request->n_routes && rc == 0; i++)
        rc = add_route(in, request->routes[i], err);
    return rc < 0 ? rc : put_response(in, response, err);
}

int route_install(struct directory *d, struct route_slot *api, struct route_slot *proxy,
                  struct str request, struct buf *response, struct err *err) {
    // The message cannot nest in itself, so protobuf-c's lack of a limit on depth does no harm here.
    InstallRequest *unpacked =
        mica__core__v1__install_request__unpack(NULL, request.n, (const uint8_t *)request.p);
    if (unpacked == NULL)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the request is not an InstallRequest");
    struct install in = {.directory = d, .door = unpacked->door};
    struct route_slot *slot = strcmp(unpacked->door, "api") == 0     ? api
                              : strcmp(unpacked->door, "proxy") == 0 ? proxy
                                                                     : NULL;
    int rc = slot == NULL
                 ? err_set(err, STATUS_INVALID_ARGUMENT,
                           "there is no door \"%s\": \"api\" and \"proxy\" are", unpacked->door)
                 : build(&in, unpacked, response, err);
    if (rc == 0) {
        route_slot_install(slot, in.table);
    } else {
        route_table_drop(in.table);
    }
    mica__core__v1__install_request__free_unpacked(unpacked, NULL);
    free(in.missing);
    buf_free(&in.key);
    return rc;
}
