// SPDX-License-Identifier: Apache-2.0
// The platform's own services: started in order before anything else runs, stopped in the reverse order after everything else.
// Main thread.
#pragma once

#include "parts.h"

#define PLATFORM_COUNT 5
extern const char
    *const PLATFORM_NAMES[PLATFORM_COUNT]; // in the order of starting; all that there are

struct platform {
    struct parts *parts;
    const char *names[PLATFORM_COUNT]; // of those that this server runs, in the order of starting
    size_t count;
    struct service *services[PLATFORM_COUNT];
    size_t running; // how many of them
    struct main_task task;
    struct err err;
    void (*done)(void *user, const struct err *err);
    void *user;
};

// Chooses those that are to run; `acme`: its too. Before platform_start.
void platform_choose(struct platform *p, bool acme);
// `done` is called on the main thread: with a fault (err->code is not 0) what had started is still running.
void platform_start(struct platform *p, struct parts *parts,
                    void (*done)(void *user, const struct err *err), void *user);
void platform_stop(struct platform *p, void (*done)(void *user, const struct err *err), void *user);
