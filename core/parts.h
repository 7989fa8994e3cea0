// SPDX-License-Identifier: Apache-2.0
// What a server and a command line have in common: the platform's contracts, loops, workers, the directory of services, and the
// host through which VMs find each other. Made and ended on the main thread.
#pragma once

#include "main_loop.h"
#include "native.h"
#include "net/loop.h"
#include "rpc/door.h"
#include "rpc/route.h"
#include "sched/service.h"

struct parts {
    struct vm_host host; // first
    struct main_loop main;
    struct pb_pool *platform;
    struct directory *directory;
    struct route_slot *api, *proxy;
    struct loop *loops;
    unsigned loop_count; // those that have been created
    struct rpc_server *rpc;
    struct sched *sched;
    struct natives natives; // filled in by who owns the parts, before VMs run
};

int parts_create(struct parts *p, unsigned loops, unsigned workers, struct err *err);
// Stops workers, then loops, and frees. No service may be left. A parts_create that failed has done so itself.
void parts_destroy(struct parts *p);
