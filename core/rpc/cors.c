// SPDX-License-Identifier: Apache-2.0
// CORS, as the Fetch standard says.
//
// The headers of an answer are given to HTTP before there is an answer (http_add_header), so that JSON, streams, gRPC-Web, raw
// handlers and errors all have them and none has to know. A service cannot say "access-control-..." itself
// (metadata_key_allowed): not its author decides, but the place that runs it.
//
// A named origin may send credentials; "*" is for pages without. Where answers depend on the origin, `vary` says so to caches, also
// when this request has none.
//
// A preflight names neither namespace nor version (it tells which headers the request will have, not what they say). Where the
// request will name one, the preflight passes when any route allows the origin; the request's own answer is judged by
// its route.
#include "rpc/cors.h"

#include "rpc/call.h"
#include "rpc/gateway.h"

#include <stdlib.h>

#define MAX_AGE "600"  // seconds that a browser may remember a preflight
#define ASKED_MAX 2048 // bytes of access-control-request-headers
// "*" is for requests without credentials; the others may read what is listed.
#define EXPOSED                                                                                    \
    "*, content-type, etag, location, retry-after, grpc-status, grpc-message, "                    \
    "grpc-status-details-bin, mica-error-id, mica-request-id"

// ---- lists

struct blob *cors_list(const char *const *origins, size_t count) {
    struct buf list = {0};
    for (size_t i = 0; i < count; i++) {
        buf_append_text(&list, origins[i]);
        buf_append_byte(&list, '\n');
    }
    struct blob *taken = list.failed ? NULL : buf_take(&list);
    buf_free(&list);
    return taken;
}

bool cors_list_has(const struct blob *list, struct str origin) {
    struct str rest = blob_str(list);
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end == NULL ? rest.n : (size_t)(end - rest.p);
        if (str_equal((struct str){rest.p, n}, origin)) return true;
        if (end == NULL) break;
        rest = (struct str){end + 1, rest.n - n - 1};
    }
    return false;
}

// ---- deciding

enum verdict { REFUSED, ANY_ORIGIN, THIS_ORIGIN };

static enum verdict judge(const struct blob *list, struct str origin) {
    if (list == NULL) return REFUSED;
    if (cors_list_has(list, origin)) return THIS_ORIGIN;
    return cors_list_has(list, str_of("*")) ? ANY_ORIGIN : REFUSED;
}

static const struct blob *server_list(const struct request *r) { return r->at->server->origins; }
static const struct blob *route_list(const struct request *r) {
    return r->route == NULL ? NULL : r->route->cors;
}

static enum verdict verdict_of(const struct request *r) {
    enum verdict server = judge(server_list(r), r->head.origin);
    enum verdict route = judge(route_list(r), r->head.origin);
    return server > route ? server : route;
}

bool cors_same_origin(const struct request *r) {
    struct str origin = r->head.origin;
    if (origin.n == 0) return true;
    for (size_t i = 0; i + 3 <= origin.n; i++) {
        if (memcmp(origin.p + i, "://", 3) == 0)
            return str_equal((struct str){origin.p + i + 3, origin.n - i - 3},
                             r->stream->authority);
    }
    return false; // "null" and the like
}

bool cors_allowed(const struct request *r) {
    return cors_same_origin(r) || verdict_of(r) != REFUSED;
}

// ---- answering

// Without memory for it the page is refused, which is the safe side.
static void add_verdict(struct http_stream *s, enum verdict verdict, struct str origin) {
    if (verdict == REFUSED) return;
    bool named = verdict == THIS_ORIGIN;
    if (!http_add_header(s, "access-control-allow-origin", named ? origin : str_of("*"))) return;
    if (named) http_add_header(s, "access-control-allow-credentials", str_of("true"));
}

void cors_answer(struct request *r) {
    if (server_list(r) == NULL && route_list(r) == NULL) return;
    if (!r->varies) http_add_header(r->stream, "vary", str_of("origin"));
    r->varies = true;
    if (r->readable == THIS_ORIGIN || r->head.origin.n == 0) return;
    enum verdict verdict = verdict_of(r);
    if (verdict == r->readable) return;
    r->readable = (uint8_t)verdict;
    add_verdict(r->stream, verdict, r->head.origin);
    http_add_header(r->stream, "access-control-expose-headers", str_of(EXPOSED));
}

// ---- preflights

static bool asks(const struct request *r, const char *name, struct str *value) {
    return http_header_get(r->stream->headers, r->stream->header_count, name, value);
}

// Does a list of header names have one that decides about the route?
static bool names_route(struct str list) {
    return headers_list_has(list, "mica-namespace") || headers_list_has(list, "micro-namespace") ||
           headers_list_has(list, "mica-version");
}

static enum verdict judge_preflight(struct request *r, struct str method, struct str headers) {
    r->route = gateway_look(r, method);
    enum verdict verdict = verdict_of(r);
    if (verdict != REFUSED || !names_route(headers)) return verdict;
    const struct route_table *table = r->at->views[DOOR_API].table;
    if (table == NULL) return REFUSED;
    if (map_get(&table->origins, r->head.origin) != NULL) return THIS_ORIGIN;
    return map_get(&table->origins, str_of("*")) != NULL ? ANY_ORIGIN : REFUSED;
}

static void permit(struct request *r, enum verdict verdict, struct str method, struct str headers) {
    struct str yes = str_of("true");
    struct str network;
    struct http_stream *s = r->stream;
    add_verdict(s, verdict, r->head.origin);
    http_add_header(
        s, "vary", str_of("origin, access-control-request-method, access-control-request-headers"));
    if (asks(r, "access-control-request-private-network", &network) && str_is(network, "true"))
        http_add_header(s, "access-control-allow-private-network", yes);
    if (headers.n > 0 && headers.n <= ASKED_MAX)
        http_add_header(s, "access-control-allow-headers", headers);
    const struct http_header head[] = {{str_of("access-control-allow-methods"), method},
                                       {str_of("access-control-max-age"), str_of(MAX_AGE)}};
    if (http_respond(s, 204, head, 2, true) < 0) http_reset(s, HTTP2_INTERNAL_ERROR);
}

bool cors_preflight(struct request *r) {
    struct str method;
    struct str headers = {"", 0};
    if (!str_is(r->stream->method, "OPTIONS") || r->head.origin.n == 0) return false;
    if (!asks(r, "access-control-request-method", &method)) return false;
    asks(r, "access-control-request-headers", &headers);
    enum verdict verdict = judge_preflight(r, method, headers);
    if (verdict != REFUSED) {
        permit(r, verdict, method, headers);
        return true;
    }
    gateway_refuse(r, 403, STATUS_PERMISSION_DENIED,
                   "pages of %.*s may not call this: `mica update NAME --cors ORIGIN` allows an "
                   "origin for a service, `mica server --cors-origin ORIGIN` for all",
                   (int)(r->head.origin.n < 100 ? r->head.origin.n : 100), r->head.origin.p);
    return true;
}
