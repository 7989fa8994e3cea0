// SPDX-License-Identifier: Apache-2.0
// What runs for users on this server: sources read from folders and bundles, and the services
// started from them. The context of mica.core.v1.Deploy and of mica.core.v1.Contracts.
#pragma once

#include "base/map.h"
#include "main_loop.h"
#include "rpc/route.h"
#include "sched/service.h"

#include <pthread.h>

struct blobs;
struct deployment;

struct deploy {
    // Set by who creates it.
    struct main_loop *loop; // its pool reads folders
    struct sched *sched;
    struct vm_host *host;
    struct directory *directory;
    struct blobs *blobs; // where uploaded bundles are; NULL: nowhere (a command line)
    // Its own.
    pthread_mutex_t lock;
    struct map sources;          // number (8 bytes) -> struct source *
    struct deployment *services; // the one started last first
    uint64_t last_source;
    bool closing;
    void (*closed)(void *user);
    void *user;
};

void deploy_create(struct deploy *d, struct main_loop *loop, struct sched *sched,
                   struct vm_host *host, struct directory *directory);
void deploy_destroy(struct deploy *d); // after deploy_close has come to its end
// Starts nothing any more and stops what runs, with `drain` nanoseconds for requests at work;
// `closed` is called on any thread when nothing is left.
void deploy_close(struct deploy *d, int64_t drain, void (*closed)(void *user), void *user);

// Puts a started service into the directory, with its contract. Any thread.
int deploy_publish(struct directory *d, struct service *service);
void deploy_withdraw(struct directory *d, const struct service *service);
