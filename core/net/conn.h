// SPDX-License-Identifier: Apache-2.0
// TCP connections with an HTTP session on them, and the acceptor.
//
// A connection belongs to a loop. The first bytes of an accepted one tell its version: the HTTP/2 preface, else HTTP/1.
// Back-pressure: above CONN_HIGH_WATER unsent bytes the session is not drained and the socket is not read until the
// queue is short again.
#pragma once

#include "net/http.h"
#include "net/loop.h"
#include "net/tls.h"

#define CONN_HIGH_WATER (512 * 1024)

struct conn;

// What a listening address is for: chosen by main, used for every connection accepted there.
struct door {
    const char *name; // "api", "proxy": in logs
    const struct http_events *events;
    struct http_limits limits;
    int64_t
        head_timeout; // nanoseconds from accept, or from the end of the last request begun, to a whole head
    int64_t body_timeout; // for 1 KB of a body to come or to be taken, see conn_pace.c; 0: no limit
    int64_t idle_timeout; // without any stream
    int64_t max_age,
        age_grace;            // then it takes nothing new, and is cut off this much later; 0: never
    int64_t ping_interval;    // of silence with open streams before a PING (HTTP/2); 0: no pings
    int64_t ping_timeout;     // after it the peer is given up
    unsigned max_connections; // over it: closed at once, one log line a minute
    _Atomic(int64_t) *open; // connections by enum http_version, kept by conn.c; NULL: nobody counts
    void *user;
    // The certificate of connections to come; NULL: no TLS. Read, and to be changed, on the main thread only.
    struct tls_context *const *tls;
};

// ---- accepting: on the main thread's uv loop
struct acceptor;

// Binds and listens. "127.0.0.1:0", "[::1]:8080", ":8080" and names are understood. Faults are one line for the
// operator: -STATUS_ALREADY_EXISTS (in use), -STATUS_PERMISSION_DENIED, -STATUS_INVALID_ARGUMENT (no such address).
struct acceptor *acceptor_new(uv_loop_t *main, const char *address, const struct door *door,
                              struct loop *loops, unsigned loop_count, struct err *err);
void acceptor_start(
    struct acceptor *a); // accepts from here on; each socket goes to the loop with the fewest
void acceptor_close(struct acceptor *a);                // stops accepting; freed by the main loop
const char *acceptor_address(const struct acceptor *a); // "127.0.0.1:8080", with the real port
bool address_is_loopback(const char *address, struct err *err); // every address that the name means
int address_check(const char *address,
                  struct err *err); // "host:port"? 0 or -STATUS_INVALID_ARGUMENT

// ---- connections: on their loop's thread
// Connects to an IP address and port ("127.0.0.1:80", "[::1]:80": see resolve.h) and makes a client session: http2_client_new
// (prior knowledge, RFC 9113 section 3.3) or http1_client_new; over TLS the context offers the same version by ALPN.
// `done` is called once, on the loop's thread: with the connection, or NULL and a status with a text.
struct conn_tls { // NULL or without a context: no TLS. All of it is borrowed during conn_connect
    struct tls_context *context;
    const char *host; // whom the certificate must be for
};
typedef struct http_session *(*conn_client)(const struct http_events *events,
                                            const struct http_limits *limits, void *user);
typedef void (*conn_done)(struct loop *loop, void *user, struct conn *conn, const struct err *err);
struct conn_side { // what the session is made of
    conn_client make;
    const struct http_events *events;
    const struct http_limits *limits; // NULL: HTTP_LIMITS
    int64_t timeout;                  // of connecting, nanoseconds
};
// `user` is the session's and that of `done`.
void conn_connect(struct loop *loop, const char *address, const struct conn_tls *tls,
                  const struct conn_side *side, conn_done done, void *user);

struct conn *conn_of(struct http_session *h); // the connection that carries a session
struct http_session *conn_session(struct conn *c);
struct loop *conn_loop(struct conn *c);
const struct door *conn_door(struct conn *c); // NULL on the client side
struct str conn_peer(struct conn *c);         // "127.0.0.1:51234"
bool conn_peer_is_loopback(struct conn *c);
bool conn_is_tls(const struct conn *c);
const char *conn_fault(struct conn *c); // what TLS has to say about its end; "" for nothing
// Who the peer is by its verified certificate; NULL: it has given none.
const struct tls_identity *conn_identity(struct conn *c);
// A place for what the user of a server's connections keeps with one; dropped at its end. NULL at first.
struct blob **conn_note(struct conn *c);
void conn_wants_write(
    struct conn *c);             // its session has something to send: flush at the end of this turn
void conn_close(struct conn *c); // at once; streams end with HTTP_CLOSE_PEER
int64_t
conn_heard(const struct conn *c); // client side: clock_now of the last bytes from the peer; 0: none
// Client side: called when the connection has ended, after its streams' `closed`.
void conn_on_close(struct conn *c, void (*closed)(struct conn *c, void *user), void *user);

// All connections of a loop: shut down gracefully, or count what is still open (any thread): those that may bring something
// new, so not one whose last word has been said.
void loop_shutdown_connections(struct loop *loop);
size_t loop_open_connections(struct loop *loop);
