// SPDX-License-Identifier: Apache-2.0
// The front doors: what happens between an HTTP stream and a service's port, on an I/O loop.
//
// A door call (struct call, call.h) joins an HTTP stream to a request under way: it is made when the head of a request has
// been routed, and ends when both the answer has gone out (or the stream has ended) and the service has let go. The loop's
// table finds it by number for the messages that come back.
//
// Two handlers share it: grpc_server.c (application/grpc, on both doors) and gateway.c (JSON over HTTP, on api).
#pragma once

#include "net/conn.h"
#include "rpc/route.h"

struct access_log;
struct rpc_server;

// How the client side looks after its connections, in nanoseconds: see dial_pool.c.
struct rpc_dial_times {
    int64_t ping_after, ping_wait, ping_again;
    int64_t idle; // a connection without calls is closed; 0: the defaults for all of these
};

struct rpc_options {
    struct directory *directory;
    struct route_slot *api;
    struct route_slot *proxy;
    size_t max_message;       // bytes of one message in; 4 MB
    int64_t default_deadline; // nanoseconds, for unary calls whose caller names none; 30 s
    struct rpc_dial_times dial_times;
    int64_t heartbeat; // see rpc_heartbeat
};

// Sets `deliver` and `user` of every loop; before loop_start.
struct rpc_server *rpc_server_new(const struct rpc_options *options, struct loop *loops,
                                  unsigned count, struct err *err);
void rpc_server_delete(struct rpc_server *s); // after the loops have stopped
const struct http_events *rpc_events(void);   // for both doors
void rpc_limit_messages(struct rpc_server *s,
                        size_t max); // before the first call; bytes of one message in
void rpc_log_access(struct rpc_server *s,
                    struct access_log *log); // before the doors accept; NULL: none
// How long a stream to a browser (server-sent events, WebSocket) may be silent before it shows that it lives; nanoseconds,
// 0: for ever. Before the doors accept.
void rpc_heartbeat(struct rpc_server *s, int64_t period);
// Pages of these origins may read what the api door answers, see cors.h; before the first call. False: no memory.
bool rpc_allow_origins(struct rpc_server *s, const char *const *origins, size_t count);
// user of the doors: their handlers find the server by it
struct door rpc_door_api(struct rpc_server *s);
struct door rpc_door_proxy(struct rpc_server *s);
// Lets every loop take the tables that were installed, also one that no request comes to: what it held of services that
// are gone can then be freed. Any thread, before the loops are stopped.
void rpc_routes_changed(struct rpc_server *s);
// Where GET /metrics goes: a port that answers a REQUEST (without method or context) with the page as its body. Before the
// doors accept; the port outlives the server. Without it there is no such page.
void rpc_serve_metrics(struct rpc_server *s, struct port *port);
// Whether new requests are welcome, for GET /health/ready; else `why` gets a text. Any loop's thread. Before the doors accept.
typedef bool (*rpc_ready)(void *user, char *why, size_t size);
void rpc_serve_health(struct rpc_server *s, rpc_ready ready, void *user);
// Appends what the doors count: calls and connections. Any thread, while the server lives.
void rpc_render_metrics(struct rpc_server *s, struct buf *out);
size_t rpc_open_calls(struct rpc_server *s); // any thread: calls under way at the front doors

// A port that carries requests to gRPC servers over pooled HTTP/2 connections (client side): `address` is "host:port", or
// several of them with commas between. The request's path is metadata ":path" of its context when `method` is NULL, else method->path; MSG_JSON bodies go as
// application/grpc+json.
struct port *rpc_dial(struct rpc_server *s, struct str address, struct err *err);
// The same over TLS; `settings` as in rpc/dial_tls.h, empty: without TLS.
struct port *rpc_dial_tls(struct rpc_server *s, struct str address, struct str settings,
                          struct err *err);
