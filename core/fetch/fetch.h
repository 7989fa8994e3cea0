// SPDX-License-Identifier: Apache-2.0
// HTTP requests to other servers (libcurl does the work): one thread that carries all of them, so that nobody else waits for a
// network. The thread and the library are started by the first request.
//
// TLS is 1.2 at least, and the server's certificate must be sound. Proxies of the environment are not used: whom a request may
// reach is decided by the address that is really connected to.
#pragma once

#include "base/buf.h"
#include "base/mpsc.h"
#include "base/status.h"

#include <sys/socket.h>

struct fetch;
struct fetch_run;

struct fetch_header {
    struct str name, value;
};

struct fetch_answer {
    int status;
    const struct fetch_header *headers; // of the last answer, names in lower case
    size_t header_count;
    struct str body;
    const char *url; // whose answer it is, after redirects
};

// Embedded in what it is for. All of it is kept by the caller until `done`, which is called once, on fetch's thread, and may
// free it: with an answer of any HTTP status, or with an error. INVALID_ARGUMENT: no such URL or header; UNAVAILABLE: no
// connection, an untrusted server, a broken answer; DEADLINE_EXCEEDED; RESOURCE_EXHAUSTED: the answer is too long;
// PERMISSION_DENIED: may_connect has refused.
struct fetch_request {
    struct mpsc_node link; // first
    const char *method;    // "GET"; a token
    const char *url;       // http or https
    const struct fetch_header *headers;
    size_t header_count;
    struct str body;
    double timeout;     // seconds, for all of it
    struct str ca;      // PEM: who vouches for servers; empty: whom the system trusts
    size_t body_most;   // bytes of the answer's body
    unsigned redirects; // that are followed
    bool (*may_connect)(const struct sockaddr *address); // NULL: all
    void (*done)(struct fetch_request *r, const struct fetch_answer *answer, const struct err *err);
    struct fetch_run *run; // fetch's own
};

struct fetch *fetch_new(struct err *err);
void fetch_begin(struct fetch *f, struct fetch_request *take); // any thread
// Ends what is under way with UNAVAILABLE, and the thread. Nobody may begin a request any more.
void fetch_delete(struct fetch *f); // accepts NULL
