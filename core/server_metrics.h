// SPDX-License-Identifier: Apache-2.0
// The page that GET /metrics answers: a port that the api door asks (rpc_serve_metrics). It is made in the main loop's pool, so that
// neither a loop nor a worker waits for it, once for all who ask meanwhile.
#pragma once

#include "deploy.h"
#include "parts.h"
#include "tls_files.h"

struct server_metrics {
    struct port port; // first; never freed by its references
    struct parts *parts;
    struct deploy *deploy;
    struct tls_files *tls;
    struct mpsc waiting; // requests
    atomic_bool busy;    // `work` is under way
    struct main_work work;
    pthread_mutex_t rendering; // held while a page is made
    bool closed;               // under `rendering`
};

void server_metrics_create(struct server_metrics *m, struct parts *parts, struct deploy *deploy,
                           struct tls_files *tls);
// Waits for a page that is being made; from here on requests are refused. Before the parts end.
void server_metrics_close(struct server_metrics *m);
void server_metrics_destroy(struct server_metrics *m); // after the main loop has ended
