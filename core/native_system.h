// SPDX-License-Identifier: Apache-2.0
// The context of mica.core.v1.System and mica.core.v1.Blobs: what the platform keeps in the data
// folder.
#pragma once

#include "main_loop.h"
#include "store/blob.h"
#include "store/engine.h"

struct native_system {
    struct main_loop *loop; // from native_system_watch on
    struct engine *engine;
    struct blobs *blobs;
    uv_timer_t timer;
};

// Opens system.db and the blobs of the data folder. A fault is one line for the operator.
int native_system_open(struct native_system *s, const char *folder, struct err *err);
// From here on requests may come, and uploads that nobody works on end. Main thread.
void native_system_watch(struct native_system *s, struct main_loop *loop);
void native_system_unwatch(struct native_system *s); // main thread, before the loop ends
// Writes what is queued and answers it. After the loop has ended; also after a failed open.
void native_system_close(struct native_system *s);
