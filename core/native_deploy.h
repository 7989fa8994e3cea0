// SPDX-License-Identifier: Apache-2.0
// What deploy.c does for native_deploy.c.
#pragma once

#include "deploy.h"

enum deployment_state { DEPLOYMENT_STARTING, DEPLOYMENT_RUNNING, DEPLOYMENT_STOPPING };

// The end of a start (value: the generation) or a stop (value: requests finished). Any thread,
// once.
typedef void (*deploy_done)(void *user, uint64_t value, const struct err *err);

struct deployment {
    struct deploy *deploy;
    struct deployment *next, **link; // in deploy->services
    enum deployment_state state;     // under the deploy's lock
    bool hold;
    struct service *service; // from RUNNING on
    deploy_done done;        // of the start, then of the stop
    void *user;
    struct err err; // why a start is undone
};

// Negative and `err`: it was not begun, and `done` is not called. `hold`: nobody finds it until
// deploy_publish_held.
int deploy_start(struct deploy *d, const struct service_config *config, bool hold, deploy_done done,
                 void *user, struct err *err);
int deploy_publish_held(struct deploy *d, uint32_t generation, struct err *err);
// `generation` 0: the newest one of that version that is not stopping. One that is stopping is
// given less time; `done` is called at once then.
int deploy_stop(struct deploy *d, const char *ns, const char *service, const char *version,
                uint32_t generation, int64_t drain, deploy_done done, void *user, struct err *err);
// Calls `visit` for every service that runs, under the lock.
void deploy_each(struct deploy *d, void (*visit)(void *user, struct service *service), void *user);
int deploy_keep_source(struct deploy *d, struct source *take, uint64_t *number);
struct source *deploy_find_source(struct deploy *d,
                                  uint64_t number); // held for the caller; NULL when absent
void deploy_release_source(struct deploy *d, uint64_t number);
