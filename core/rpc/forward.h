// SPDX-License-Identifier: Apache-2.0
// The reverse proxy: requests at the api door for an HTTP service elsewhere, which stands in the directory like any other.
//
//   forward.c          a request under way: bytes from one connection to the other, both ways
//   forward_head.c     the headers of the request that is made, and of the answer that is given back. Pure
//   forward_pool.c     the connections to its addresses; one pool a loop
//   forward_port.c     the port in the directory
//
// A request stays on the thread of its connection. Bytes are copied from the session that read them into the queue of the one that
// writes them, and given back to flow control when that queue is short, so what waits is bounded whatever a side does.
#pragma once

#include "rpc/door.h"

struct call;
struct request;

struct forward_options {
    struct str addresses; // "host:port", several with commas between
    bool local; // may lead to this machine and its link; else such addresses are not connected to
    bool tls;   // "https": servers are believed by their certificates
    struct str ca;      // PEM: who may vouch for them; empty: whom the system trusts
    bool strip_prefix;  // "/NAME" is not part of the path that the service sees
    bool backend_host;  // Host is the address instead of what the client has sent
    bool credentials;   // `authorization` is passed on
    int64_t first_byte; // nanoseconds without progress until the answer begins; 0: 60 s
    int64_t idle;       // and from there on; 0: 300 s
};

// Must be dropped before the server's loops are freed. NULL and `err`.
struct port *rpc_forward(struct rpc_server *s, const struct forward_options *options,
                         struct err *err);
