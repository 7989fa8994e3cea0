// SPDX-License-Identifier: Apache-2.0
// The server's side of rpc: what each loop has, and the events of HTTP streams handed to the form of their call.
//
// A stream's user is its call, or NULL when it was answered without one (or is not routed yet): then what still comes is
// given back to flow control and dropped.
#include "rpc/access.h"
#include "rpc/access_log.h"
#include "rpc/call.h"
#include "rpc/cors.h"

#include "base/clock.h"

#include <stdlib.h>

#define HEAD_TIMEOUT (10 * NS_PER_SECOND)
#define IDLE_TIMEOUT (300 * NS_PER_SECOND)
#define MAX_CONNECTIONS 10000
#define COMPRESS_MIN 1024

// ---- events

// A type of gRPC or gRPC-Web, known or not.
static bool is_grpc(struct str type) {
    static const char GRPC[] = "application/grpc";
    size_t n = sizeof GRPC - 1;
    for (size_t i = 0; i < n; i++) {
        if (i == type.n || (type.p[i] | 0x20) != (GRPC[i] | 0x20)) return false;
    }
    return type.n == n || strchr("+; -", type.p[n]) != NULL;
}

static void on_head(struct http_stream *s) {
    struct conn *conn = conn_of(s->session);
    const struct rpc_door *door = conn_door(conn)->user;
    struct request r = {.at = conn_loop(conn)->user, .stream = s, .conn = conn};
    s->user = NULL;
    r.view = &r.at->views[door->index];
    door_refresh(r.view);
    access_begin(&r);
    head_read(&r.head, s->headers, s->header_count);
    r.ns = r.head.ns.n > 0 ? r.head.ns : str_of(DEFAULT_NAMESPACE);
    const char *mark = s->path.n == 0 ? NULL : memchr(s->path.p, '?', s->path.n);
    r.path = s->path;
    if (mark != NULL) r.path.n = (size_t)(mark - s->path.p);
    if (cors_preflight(&r)) return;
    cors_answer(&r);
    if (is_grpc(r.head.content_type) || door->index == DOOR_PROXY) {
        grpc_head(&r);
    } else {
        gateway_head(&r);
    }
}

static void on_data(struct http_stream *s, struct str bytes) {
    struct call *c = s->user;
    if (c == NULL || c->answered) {
        http_consume(s, bytes.n);
    } else {
        c->form->data(c, bytes);
    }
}

static void on_end(struct http_stream *s) {
    struct call *c = s->user;
    if (c == NULL || c->answered) return;
    if (s->damaged) {
        call_fail(c, STATUS_INVALID_ARGUMENT, "the body is not what its content-encoding says");
    } else {
        c->form->end(c);
    }
}

static void on_writable(struct http_stream *s) {
    struct call *c = s->user;
    if (c != NULL) call_writable(c);
}

static void on_draining(struct http_stream *s) {
    struct call *c = s->user;
    if (c != NULL && !c->answered && c->form->draining != NULL) c->form->draining(c);
}

static void on_closed(struct http_stream *s, enum http_close why) {
    struct call *c = s->user;
    (void)why;
    access_end(s, c);
    s->user = NULL;
    if (c != NULL) call_delete(c);
}

const struct http_events *rpc_events(void) {
    static const struct http_events EVENTS = {
        .head = on_head,
        .data = on_data,
        .end = on_end,
        .writable = on_writable,
        .closed = on_closed,
        .draining = on_draining,
    };
    return &EVENTS;
}

// ---- doors

static struct door make_door(struct rpc_server *s, unsigned index) {
    return (struct door){.name = s->loops[0].views[index].name,
                         .events = rpc_events(),
                         .limits = HTTP_LIMITS,
                         .head_timeout = HEAD_TIMEOUT,
                         .idle_timeout = IDLE_TIMEOUT,
                         .max_connections = MAX_CONNECTIONS,
                         .open = s->doors[index].open,
                         .user = &s->doors[index]};
}

struct door rpc_door_api(struct rpc_server *s) {
    struct door door = make_door(s, DOOR_API);
    door.limits.decode = true;
    door.limits.compress_min = COMPRESS_MIN;
    return door;
}
struct door rpc_door_proxy(struct rpc_server *s) {
    return make_door(s, DOOR_PROXY);
}

bool rpc_allow_origins(struct rpc_server *s, const char *const *origins, size_t count) {
    s->origins = count == 0 ? NULL : cors_list(origins, count);
    return count == 0 || s->origins != NULL;
}

void rpc_limit_messages(struct rpc_server *s, size_t max) { s->options.max_message = max; }
void rpc_heartbeat(struct rpc_server *s, int64_t period) { s->options.heartbeat = period; }

void rpc_log_access(struct rpc_server *s, struct access_log *log) { s->access = log; }

// ---- routes

static void refresh(struct loop *loop, struct loop_task *task) {
    struct rpc_loop *at = loop->user;
    (void)task;
    atomic_store(&at->refreshing, false);
    for (unsigned i = 0; i < DOORS; i++) door_refresh(&at->views[i]);
}

void rpc_routes_changed(struct rpc_server *s) {
    for (unsigned i = 0; i < s->loop_count; i++) {
        struct rpc_loop *at = &s->loops[i];
        if (!atomic_exchange(&at->refreshing, true)) loop_post(at->loop, &at->refresh);
    }
}

// ---- making and ending

static void loop_part_create(struct rpc_loop *at, struct rpc_server *s, struct loop *loop) {
    at->server = s;
    at->loop = loop;
    at->views[DOOR_API].name = "api";
    for (unsigned i = 0; i < DOORS; i++) {
        const struct str none = {"", 0};
        at->views[i].unrouted = call_series(i == DOOR_API ? "api" : "proxy", none, none, none);
    }
    at->views[DOOR_API].slot = s->options.api;
    at->views[DOOR_PROXY].name = "proxy";
    at->views[DOOR_PROXY].slot = s->options.proxy;
    at->refresh.run = refresh;
    at->packed_task.run = packed_resume;
    loop->deliver = call_deliver;
    loop->user = at;
}

static void loop_part_destroy(struct rpc_loop *at) {
    call_delete_all(at);
    for (unsigned i = 0; i < DOORS; i++) {
        spaces_clear(&at->views[i]);
        route_table_drop(at->views[i].table);
    }
    for (unsigned i = 0; i < PEERS; i++) blob_drop(at->peers[i].address);
    call_stats_free(&at->stats);
    gzip_free(&at->gzip);
    headers_free(&at->out);
    buf_free(&at->clean);
    buf_free(&at->normal);
}

struct rpc_server *rpc_server_new(const struct rpc_options *options, struct loop *loops,
                                  unsigned count, struct err *err) {
    struct rpc_server *s = calloc(1, sizeof *s);
    if (s == NULL) goto fail;
    s->options = *options;
    s->loops = calloc(count, sizeof *s->loops);
    s->empty_object = blob_new("{}", 2);
    if (s->loops == NULL || s->empty_object == NULL || pthread_mutex_init(&s->lock, NULL) != 0)
        goto fail;
    s->loop_count = count;
    for (unsigned i = 0; i < DOORS; i++) s->doors[i] = (struct rpc_door){.server = s, .index = i};
    s->metrics = (struct route){.service = str_of("api"), .endpoint = str_of("metrics")};
    for (unsigned i = 0; i < count; i++) loop_part_create(&s->loops[i], s, &loops[i]);
    return s;
fail:
    if (s != NULL) {
        blob_drop(s->empty_object);
        free(s->loops);
        free(s);
    }
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the front doors");
    return NULL;
}

void rpc_serve_metrics(struct rpc_server *s, struct port *port) { s->metrics.port = port; }

void rpc_server_delete(struct rpc_server *s) {
    if (s == NULL) return;
    dials_release(s);
    for (unsigned i = 0; i < s->loop_count; i++) loop_part_destroy(&s->loops[i]);
    pthread_mutex_destroy(&s->lock);
    blob_drop(s->empty_object);
    blob_drop(s->origins);
    free(s->loops);
    free(s);
}

size_t rpc_open_calls(struct rpc_server *s) {
    size_t n = 0;
    for (unsigned i = 0; i < s->loop_count; i++)
        n += atomic_load_explicit(&s->loops[i].open, memory_order_relaxed);
    return n;
}
