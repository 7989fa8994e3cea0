// SPDX-License-Identifier: Apache-2.0
// Routes.Install: an encoded InstallRequest from `api` or `proxy` becomes a route table.
//
// Every route is resolved against the directory now, so that a request needs one lookup only; a route whose service (or
// endpoint) is not deployed is left out and its service named in the answer, and the door's owner installs again
// when the registry has changed. Either the whole table is built and put in place, or nothing changes. Any thread.
#include "rpc/cors.h"
#include "rpc/route.h"
#include "rpc/route_tree.h"
#include "rpc/stats.h"

#include <mica/core/v1/core.pb-c.h>

#include <stdlib.h>

typedef Mica__Core__V1__InstallRequest InstallRequest;
typedef Mica__Core__V1__InstallResponse InstallResponse;
typedef Mica__Core__V1__Route RouteProto;
typedef Mica__Core__V1__Account AccountProto;
typedef Mica__Core__V1__Cors CorsProto;

struct install {
    struct directory *directory;
    const char *door;
    struct route_table *table;
    struct buf key;
    char **missing; // borrowed from the request
    size_t missing_count;
};

static struct str keep_str(char **to, struct str text) {
    struct str kept = {*to, text.n};
    if (text.n > 0) memcpy(*to, text.p, text.n);
    *to += text.n;
    return kept;
}

static struct str keep(char **to, const char *text) { return keep_str(to, str_of(text)); }

// What the strings and the variables of a route take.
static size_t texts_size(const RouteProto *r, const struct path_template *t) {
    size_t n = strlen(r->service) + strlen(r->endpoint) + strlen(r->prefix) + strlen(r->version);
    n += strlen(r->method) + strlen(r->host);
    n += t->verb.n + 1;
    for (size_t i = 0; i < t->variable_count; i++) n += t->variables[i].name.n;
    return n;
}

static void keep_template(struct route *route, char **to, const RouteProto *r,
                          const struct path_template *t) {
    route->templated = true;
    route->http_method = keep(to, r->method[0] == '\0' ? "*" : r->method);
    route->host = keep(to, r->host);
    if (!t->literal) route->verb = keep_str(to, t->verb);
    route->variable_count = t->variable_count;
    for (size_t i = 0; i < t->variable_count; i++) {
        route->variables[i] = t->variables[i];
        route->variables[i].name = keep_str(to, t->variables[i].name);
    }
}

// A route with its variables and strings in one allocation; takes the references of `entry` when it succeeds. `t` is
// empty when it has no template.
static struct route *route_new(const char *door, const RouteProto *r,
                               const struct directory_entry *entry, const struct pb_method *method,
                               const struct path_template *t) {
    size_t variables = t->variable_count * sizeof *t->variables;
    struct route *route = malloc(sizeof *route + variables + texts_size(r, t));
    if (route == NULL) return NULL;
    *route = (struct route){.kind = (enum route_kind)r->kind,
                            .port = entry->port,
                            .pool = entry->pool,
                            .method = method,
                            .public = r->public_,
                            .by_version = r->by_version,
                            .outside = entry->outside,
                            .generation = entry->generation,
                            .variables = (struct template_variable *)(route + 1),
                            .series = call_series(door, str_of(r->namespace_), str_of(r->service),
                                                  str_of(r->endpoint))};
    char *to = (char *)(route + 1) + variables;
    if (method != NULL) {
        route->whole_body = r->template_[0] == '\0' || strcmp(r->body, "*") == 0;
        route->body = pb_field_by_name(method->input, str_of(r->body));
        route->response_body = pb_field_by_name(method->output, str_of(r->response_body));
        route->empty = r->empty == 204;
        route->event_id = pb_field_by_name(method->output, str_of(r->event_id));
        route->resume = pb_field_by_name(method->input, str_of(r->resume));
    }
    if (r->json != NULL)
        route->form = (struct msg_form){.json_camel = r->json->camel,
                                        .json_compact = r->json->no_defaults,
                                        .json_int64_number = r->json->int64_number};
    route->service = keep(&to, r->service);
    route->endpoint = keep(&to, r->endpoint);
    route->version = keep(&to, r->version);
    route->prefix = keep(&to, r->prefix);
    if (r->template_[0] != '\0') keep_template(route, &to, r, t);
    return route;
}

// The origins that may read what the route answers. False: no memory.
static bool add_cors(struct install *in, struct route *route, const CorsProto *cors) {
    if (cors == NULL || cors->n_origins == 0) return true;
    route->cors = cors_list((const char *const *)cors->origins, cors->n_origins);
    bool ok = route->cors != NULL;
    for (size_t i = 0; i < cors->n_origins && ok; i++)
        ok = map_put(&in->table->origins, str_of(cors->origins[i]), in->table) == 0;
    return ok;
}

static void add_missing(struct install *in, char *service) {
    for (size_t i = 0; i < in->missing_count; i++) {
        if (strcmp(in->missing[i], service) == 0) return;
    }
    in->missing[in->missing_count++] = service;
}

static int no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the routes");
}

// Puts a route in its place; of those for one place the last one counts. The table owns it already.
static int put_path(struct install *in, const RouteProto *r, struct route *route) {
    in->key.n = 0;
    buf_append_str(&in->key, str_of(r->namespace_));
    buf_append_byte(&in->key, '\0');
    buf_append_str(&in->key, str_of(r->path));
    if (r->by_version) buf_append(&in->key, "", 1);
    if (r->by_version) buf_append_str(&in->key, str_of(r->version));
    if (in->key.failed) return -STATUS_RESOURCE_EXHAUSTED;
    return map_put(&in->table->routes, buf_str(&in->key), route);
}

static int put_template(struct install *in, const RouteProto *r, struct route *route,
                        const struct path_template *t) {
    struct str ns = str_of(r->namespace_);
    struct route_tree *tree = map_get(&in->table->trees, ns);
    if (tree == NULL) {
        tree = route_tree_new();
        if (tree == NULL) return -STATUS_RESOURCE_EXHAUSTED;
        if (map_put(&in->table->trees, ns, tree) < 0) {
            route_tree_delete(tree);
            return -STATUS_RESOURCE_EXHAUSTED;
        }
    }
    in->table->hosts = in->table->hosts || route->host.n > 0;
    return route_tree_add(tree, t, route);
}

static int check_route(const RouteProto *r, struct path_template *t, struct err *err) {
    *t = (struct path_template){0};
    if (r->template_[0] != '\0' && r->path[0] == '\0')
        return template_parse(str_of(r->template_), t, err);
    if (r->template_[0] == '\0' && r->path[0] == '/' &&
        r->kind == MICA__CORE__V1__ROUTE__KIND__ENDPOINT)
        return 0;
    return err_set(
        err, STATUS_INVALID_ARGUMENT,
        "a route has either a path that begins with \"/\" (\"%s\") or a template (\"%s\"); of "
        "kinds other than ENDPOINT, a template",
        r->path, r->template_);
}

// What answers: of an endpoint its method too. False: it is not there.
static bool find_entry(struct install *in, const RouteProto *r, struct directory_entry *entry,
                       const struct pb_method **method) {
    struct str ns = str_of(r->namespace_), service = str_of(r->service);
    struct str version = str_of(r->version);
    *method = NULL;
    if (r->kind != MICA__CORE__V1__ROUTE__KIND__ENDPOINT)
        return directory_look(in->directory, ns, service, version, entry) == 0;
    return directory_find(in->directory, ns, service, version, str_of(r->endpoint), entry, method,
                          NULL) == 0;
}

static int add_route(struct install *in, const RouteProto *r, struct err *err) {
    struct path_template t;
    int rc = check_route(r, &t, err);
    if (rc < 0) return rc;
    struct directory_entry entry;
    const struct pb_method *method;
    if (!find_entry(in, r, &entry, &method)) {
        add_missing(in, r->service);
        return 0;
    }
    struct route *route = route_new(in->door, r, &entry, method, &t);
    if (route == NULL) {
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
        return no_memory(err);
    }
    route->owned = in->table->owned;
    in->table->owned = route;
    if (!add_cors(in, route, r->cors)) return no_memory(err);
    rc = route->templated ? put_template(in, r, route, &t) : put_path(in, r, route);
    return rc < 0 ? no_memory(err) : 0;
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
    return table->loopback == NULL ? no_memory(err) : 0;
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
    if (in->table == NULL || in->missing == NULL) return no_memory(err);
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
