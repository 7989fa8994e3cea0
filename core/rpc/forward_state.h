// SPDX-License-Identifier: Apache-2.0
// Private to the reverse proxy (forward.h): its pools, connections and requests.
#pragma once

#include "rpc/call.h"
#include "rpc/dial_tls.h"
#include "rpc/forward.h"
#include "rpc/peers.h"

#define FORWARD_CONNS 128    // to one address, of one loop
#define FORWARD_WAITING 1024 // requests of one loop that wait for a connection

struct forward_call;

struct forward_conn {
    struct forward_pool *pool;
    struct forward_peer *peer;
    struct forward_conn *next, **link;           // peer->conns
    struct forward_conn *next_idle, **idle_link; // peer->idle; NULL: not in it
    struct conn *conn;                           // NULL: it is being made
    struct forward_call *call;                   // whose request is under way
    bool used; // an exchange on it is complete: the next may find that it has been closed meanwhile
    int64_t idle_since;
    int64_t keep; // how long it may be idle
};

struct forward_peer {
    struct peer peer; // first
    struct forward_conn *conns;
    struct forward_conn *idle; // the one used last first
    unsigned count;            // of conns
};

// The connections of one loop. Lives until its forward has gone and nothing of it is in motion.
struct forward_pool {
    struct forward *forward; // good while a request waits or is under way
    struct rpc_loop *at;
    struct loop *loop;
    struct peers peers;
    struct forward_call *waiting, **waiting_end;
    unsigned waiting_count;
    unsigned opening;
    unsigned
        pending; // resolutions, connections from the attempt on, posted turns, and one for the forward
    bool turn_posted, ended;
    struct loop_task turn;
    struct loop_task end;
    struct loop_timer sweep; // of idle connections
    bool sweeping;
    int64_t warned_at;
};

struct forward {
    struct port port; // first
    struct rpc_server *server;
    struct forward *next, **link; // server->forwards, under its lock
    atomic_bool detached;         // the server's loops have stopped
    struct tls_context *tls;      // NULL: none
    bool strip_prefix, backend_host, credentials;
    int64_t first_byte, idle;
    char *addresses;
    unsigned count;               // of loops
    struct forward_pool *pools[]; // by loop
};

// A request under way.
struct forward_call {
    struct call *call;
    struct forward *forward;
    struct forward_pool *pool;
    struct forward_call *next; // pool->waiting
    bool is_waiting;
    uint64_t failures; // of the pool, when it began to wait
    unsigned attempts;
    struct forward_conn *conn;  // while `stream`
    struct http_stream *stream; // NULL: not begun, or ended
    bool has_body;              // something goes out behind the head
    bool sent_body, sent_end;
    bool headed;   // the answer has begun
    bool tunnel;   // the protocol was switched
    size_t held;   // bytes of the client's that are not given back
    size_t unsent; // bytes of the backend's that are not given back
    int64_t progress;
    struct loop_timer timer;
};

// ---- forward_port.c
struct forward *forward_of(struct port *port); // NULL: it is none

// ---- forward_pool.c: on the pool's loop, but for the first
struct forward_pool *forward_pool_new(struct forward *f, unsigned index, struct err *err);
void forward_pool_end(struct forward_pool *p);  // any thread: its forward has gone
void forward_pool_drop(struct forward_pool *p); // the same, when the loops have stopped
// Gives the call a connection by forward_start, soon; or ends it by forward_unreachable. False: too many wait.
bool forward_wait(struct forward_call *fc);
void forward_unwait(struct forward_call *fc);
void forward_conn_done(struct forward_conn *fconn); // its request has ended

// ---- forward.c
extern const struct http_events FORWARD_EVENTS;
void forward_start(struct forward_call *fc, struct forward_conn *fconn);
void forward_unreachable(struct forward_call *fc, const char *why);

// ---- forward_head.c
// A list of headers, as long as it needs to be. Values borrow from what they were made of, or lie in `text`.
struct forward_headers {
    struct http_header *items;
    size_t n, cap;
    struct buf text;
    bool failed;
    struct http_header first[48];
};
void forward_headers_begin(struct forward_headers *h);
void forward_headers_free(struct forward_headers *h);
void forward_headers_remove(struct forward_headers *h, const char *name);

struct forward_facts {
    struct str peer; // "10.0.0.7:51234"
    bool near;       // the peer is on this machine: a proxy whose x-forwarded-... are believed
    bool tls;        // it came over TLS
    struct str authority;
    bool credentials;
    int64_t content_length; // of the body that is sent; -1: not known, or there is none
    struct str upgrade;     // the protocol that is asked for; empty: none
    const struct msg_context *context;
};
// Of the request that is made, of what the client has sent.
void forward_request_headers(struct forward_headers *h, const struct forward_facts *f,
                             const struct http_header *in, size_t count);
// Of the answer that is given back; also of trailers, either way.
void forward_answer_headers(struct forward_headers *h, int status, const struct http_header *in,
                            size_t count);
// The target for the service: the path and query as received, without `prefix` if there is one. False: the path begins
// with the prefix in an odd spelling only, or has "." or ".." as a segment, which servers read differently. `target` may lie in
// `scratch`.
bool forward_target(struct str path, struct str prefix, bool strip, struct buf *scratch,
                    struct str *target);
