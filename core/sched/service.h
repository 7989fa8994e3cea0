// SPDX-License-Identifier: Apache-2.0
// A deployed version of a service: its instances behind one port that gives each request to the
// instance with the least mail. Starting, stopping and replacing instances happens here.
//
// Life: service_start makes the instances, which load and run on_start on workers; `started` hears
// once all are up or one has failed. service_stop drains: instances finish their requests, run
// on_stop, and are freed; `stopped` hears. An instance that hit its hard memory line is replaced by
// a fresh one; its waiting mail moves over.
#pragma once

#include "base/histogram.h"
#include "sched/sched.h"
#include "vm/vm.h"

struct service;

struct service_config {
    const char *ns; // "" for the platform's own, which every namespace sees
    const char *name;
    const char *version;
    unsigned instances;
    uint64_t order; // among versions, see directory_put
    struct source *source;
    struct vm_limits limits;
    const char *const *natives;
    struct vm_host *host;
    struct sched *sched;
};

// Called on a worker's thread, or at once.
typedef void (*service_started)(void *user, struct service *service, int status, const char *text);
typedef void (*service_stopped)(void *user, struct service *service, uint64_t finished);

// NULL only when memory ends. On a failed start the service is already stopped when `started` is
// called, and gone after.
struct service *service_start(const struct service_config *config, service_started started,
                              void *user, struct err *err);
// Refuses new requests, waits up to `drain` nanoseconds for those at work, cancels the rest with
// UNAVAILABLE.
void service_stop(struct service *service, int64_t drain, service_stopped stopped, void *user);

// What its instances do now and have done since the start. Any thread.
struct service_counts {
    unsigned instances;
    unsigned serving;
    unsigned restarts;
    uint64_t memory; // bytes
    uint64_t begun;  // requests
    uint64_t faults; // of them: see vm_faults
    uint64_t open;   // at work or waiting
    int64_t started; // clock_now
    char last_error[300];
};
void service_count(struct service *service, struct service_counts *out);
// The same of one instance, by number; more than service_count tells, less the error. False: there is none.
struct instance_counts {
    bool serving;
    unsigned restarts;
    uint64_t memory;
    uint64_t begun, faults, refused; // requests; refused: its mailbox was full
    uint64_t open;
    struct histogram_sum queue; // from the sending of a request to its begin
};
bool service_count_instance(struct service *service, unsigned number, struct instance_counts *out);

// After service_stop, while it has not come to its end: `drain` nanoseconds from now at most.
void service_hurry(struct service *service, int64_t drain);

struct port *
service_port(struct service *service); // where requests go; hold it to keep the service's memory
struct source *service_source(struct service *service);
uint32_t service_generation(const struct service *service);
const char *service_name(const struct service *service);
const char *service_version(const struct service *service);
const char *service_ns(const struct service *service);
uint64_t service_order(const struct service *service);
struct vm_limits service_limits(const struct service *service); // in force: with the defaults
struct service *service_of_port(struct port *port);             // of service_port

// Reads a definition in a bare VM, on a worker. `done` is called there with an encoded
// mica.core.v1.Definition or a fault.
typedef void (*service_described)(void *user, struct blob *take_definition, const struct err *err);
int service_describe(struct sched *sched, struct vm_host *host, struct source *source,
                     const char *name, service_described done, void *user);
