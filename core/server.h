// SPDX-License-Identifier: Apache-2.0
// The server: starts the parts in order, runs until it is told to stop, and stops them in the reverse order.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// What `mica server` was told. Texts are owned; NULL or 0 is the default.
struct server_limits {    // all are given; times in seconds
    size_t message;       // bytes of one message in
    size_t request_body;  // of a body over HTTP that a service reads as a whole
    size_t metadata;      // bytes of one request's headers
    unsigned streams;     // open requests on a connection
    unsigned connections; // of one door
    unsigned headers;     // of one HTTP/1 request
    unsigned compress;    // bytes of an answer; 0: never
    double idle, age, age_grace, ping_interval, ping_timeout; // see struct door, as the next ones
    double head, body;
    double heartbeat; // see rpc_heartbeat
};

struct server_options {
    char *data;  // ~/.mica/data
    char *api;   // 127.0.0.1:8080
    char *proxy; // 127.0.0.1:8081
    char *log_level;
    unsigned io;      // a quarter of the cores
    unsigned workers; // the cores
    char **run;       // folders
    size_t run_count;
    bool insecure;
    char *tls_cert; // PEM files; "": no TLS
    char *tls_key;
    char *access_log; // "": none is kept; "-": on standard output
    bool access_json;
    char *tls_client_ca; // "": clients are not asked for certificates
    struct server_limits limits;
    char **origins; // whose pages may read what the doors answer, see rpc/cors.h
    size_t origin_count;
};

// Blocks. The exit code: 0 after a stop, 1 for a fault at start, which is one line on stderr.
int server_run(const struct server_options *options);
void server_options_free(struct server_options *options);
