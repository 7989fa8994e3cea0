// SPDX-License-Identifier: Apache-2.0
// The directory of deployed services and the route tables of the doors.
//
// directory: (namespace, service, version) -> port, contract. Written when services start and stop
// (main wires sched to it), read when routes are installed and when VMs resolve whom they call. A
// mutex; any thread.
//
// routes: what `api` and `proxy` compiled and installed: one immutable, reference-counted table a
// door. A loop holds the table that it uses and looks for a newer one with one atomic read a
// request.
#pragma once

#include "base/map.h"
#include "msg/message.h"
#include "pb/desc.h"
#include "pb/path_template.h"

// ---- directory
struct directory;

struct directory_entry { // what a lookup gives: the caller drops port and pool
    struct port *port;
    struct pb_pool *pool;
    struct source *source; // opaque here; kept alive by the port
    uint32_t generation;
    bool outside;
};

struct directory *directory_new(void);
void directory_delete(struct directory *d);
// A version of a service, as it is put.
struct directory_version {
    const char *ns, *service, *version;
    struct port *port;    // held
    struct pb_pool *pool; // held
    // Is a .proto file of the pool the service's own? NULL: all are.
    bool (*owns)(const void *source, struct str proto_file);
    const void *source;
    uint32_t generation;
    // A lookup without version finds the one with the highest order; of equal ones, the newest.
    uint64_t order;
    bool outside; // runs elsewhere and speaks the wire form only
};
// Replaces the same version. 0, -STATUS_RESOURCE_EXHAUSTED, or -STATUS_ALREADY_EXISTS: what runs here is not replaced by
// what runs outside.
int directory_put(struct directory *d, const struct directory_version *put);
void directory_remove(struct directory *d, const char *ns, const char *service,
                      const char *version);
// The same, unless another generation has taken the version's place; 0: whichever.
void directory_withdraw(struct directory *d, const char *ns, const char *service,
                        const char *version, uint32_t generation);
// The contract of a version (empty: the one that a lookup finds), with `source` as put; looks as
// directory_find does. The caller drops port and pool. -STATUS_NOT_FOUND.
int directory_look(struct directory *d, struct str ns, struct str service, struct str version,
                   struct directory_entry *out);
// Looks in `ns`, then among the platform's (namespace ""). 0, -STATUS_UNAVAILABLE (no such
// service), -STATUS_UNIMPLEMENTED (no such endpoint; the text suggests). `endpoint` is
// "Group.Method"; `version` may be empty.
int directory_find(struct directory *d, struct str ns, struct str service, struct str version,
                   struct str endpoint, struct directory_entry *out,
                   const struct pb_method **method, struct err *err);
uint64_t directory_epoch(struct directory *d); // grows with every change

// ---- routes
enum route_kind { // core.proto, Route.Kind
    ROUTE_ENDPOINT,
    ROUTE_HANDLER, // raw HTTP; no `method`
    ROUTE_FORWARD, // to an HTTP service elsewhere; no `method`
};

struct route {
    enum route_kind kind;
    struct port *port;
    struct pb_pool *pool;
    const struct pb_method *method;
    struct str service;  // the service's name, for errors: "posts"
    struct str version;  // its version: "v2"
    struct str endpoint; // "Posts.Save"
    struct str prefix;   // api only, see core.proto
    bool public;
    bool outside; // its port takes and gives wire only (transcode.h)
    uint32_t generation;
    uint32_t series; // what its calls count as, see stats.h
    // Of a template (core.proto), else empty: see route_tree.h
    bool templated;
    bool by_version;        // only for requests that name `version`
    struct str http_method; // "GET"; "*": every one
    struct str host;        // "": every one
    struct str verb;        // where the template has variables; of others it is part of the path
    const struct pb_field *body,
        *response_body;   // of an endpoint: the field that it is; NULL: see the next, and the whole
    bool whole_body;      // the body is the whole request; else, without `body`, there is none
    bool empty;           // answers that hold nothing are 204
    struct msg_form form; // how answers are printed as JSON
    const struct pb_field *event_id, *resume; // of server-sent events; NULL: none
    struct template_variable *variables;
    size_t variable_count;
    struct route *next;  // of the same template
    struct route *owned; // of the same table
    // api: the origins whose pages may read its answers, see cors.h. NULL: none.
    struct blob *cors;
};

struct route_table {
    atomic_uint refs;
    struct route *owned; // all routes
    struct map
        routes; // namespace, '\0', path (and '\0', version: see Route.by_version) -> struct route *
    struct map trees;   // namespace -> struct route_tree *: of templates
    bool hosts;         // one of them is for a host only
    struct map origins; // every origin that one of the routes allows
    struct blob
        *loopback; // an encoded Account without issuer, or NULL: nobody is trusted by address
};

// The current table of a door; tables are replaced, never changed.
struct route_slot;
struct route_slot *route_slot_new(void);
void route_slot_delete(struct route_slot *slot);
void route_slot_install(struct route_slot *slot, struct route_table *take);
// A loop's view: refreshes *held (which may be NULL) when the slot has a newer table. Returns
// *held.
struct route_table *route_slot_view(struct route_slot *slot, struct route_table **held);

struct route_table *route_table_hold(struct route_table *t);
void route_table_drop(struct route_table *t);
// Looks in the namespace, then among the routes of every namespace.
const struct route *route_find(const struct route_table *t, struct str ns, struct str path);

// The same for a request that names a version (empty: it does not).
const struct route *route_find_version(const struct route_table *t, struct str ns, struct str path,
                                       struct str version);

// What was looked up last in a table: requests that follow each other mostly ask for the same. To be emptied
// (route = NULL) when another table takes the place of that one.
#define ROUTE_MEMO_MAX 200
struct route_memo {
    const struct route *route; // NULL: nothing is remembered
    size_t ns_n, path_n;
    char key[ROUTE_MEMO_MAX]; // namespace and path
};
// The same for requests over HTTP: what was found by method and path, as it came, without looking at anything else. NULL: another
// request than the last one; route_remember_http notes it where it can be.
struct route_http_memo {
    const struct route *route; // NULL: nothing is remembered
    size_t ns_n, method_n, path_n;
    char key[ROUTE_MEMO_MAX];
};
const struct route *route_recall_http(const struct route_http_memo *memo, struct str ns,
                                      struct str method, struct str path);
void route_remember_http(struct route_http_memo *memo, const struct route *route, struct str ns,
                         struct str method, struct str path);
// As route_find_version, by the memo if it can be.
const struct route *route_find_again(struct route_memo *memo, const struct route_table *t,
                                     struct str ns, struct str path, struct str version);

// What a request over HTTP looks for.
struct route_query {
    struct str ns;
    struct str clean, normal; // its path, see route_normalize
    struct str method;        // "GET"
    struct str host;          // with or without a port
    struct str version;       // empty: whichever
};
#define ROUTE_PARAMS_MAX TEMPLATE_VARIABLES_MAX
struct route_param { // a variable of a template; the value is a slice of the cleaned path
    struct str name, value;
};
// Whether the path of a Micro rule may be asked for by this method.
bool route_method_usual(struct str method);
// Looks, in the namespace before the routes of every namespace, for: a template without variables for this method,
// Micro's own path, a template with variables (literal segments before "*", that before "**"). `params` has room for
// ROUTE_PARAMS_MAX. No allocation; every node of a tree is visited at most twice.
const struct route *route_match(const struct route_table *t, const struct route_query *q,
                                struct route_param *params, size_t *param_count);
// After a route_match that found nothing: the methods by which the path could be asked for, "GET, HEAD, POST"; empty: none.
void route_methods(const struct route_table *t, const struct route_query *q, struct buf *allow);

// Builds a table from an encoded mica.core.v1.InstallRequest; services that are not in the
// directory are listed in `missing` (encoded InstallResponse). Any thread.
int route_install(struct directory *d, struct route_slot *api, struct route_slot *proxy,
                  struct str request, struct buf *response, struct err *err);

// The normal form of a path (core.proto, Route.path), after cleaning: "//", "." and ".." resolved,
// percent-decoded, no trailing slash. `clean` gets the cleaned path as written, `normal` the form
// to look up. -STATUS_INVALID_ARGUMENT for NUL bytes, encoded slashes and broken UTF-8.
int route_normalize(struct str path, struct buf *clean, struct buf *normal);
