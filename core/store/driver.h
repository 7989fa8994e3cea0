// SPDX-License-Identifier: Apache-2.0
// What engine.c asks of a database: one connection, used by one thread at a time. Another database
// is another set of these functions.
#pragma once

#include "store/engine.h"

struct engine_driver {
    // The writer opens first: it makes the file and its schema. NULL: `err`.
    void *(*open)(const char *path, bool writer, struct err *err);
    void (*close)(void *connection); // the writer closes last
    // One transaction over a chain of batches; sets every batch's `err` and its operations'
    // versions. When it returns, what succeeded is durable.
    void (*write)(void *connection, struct engine_batch *first);
    // After a group has been answered: time for housekeeping. `busy`: the next one waits already.
    void (*rest)(void *connection, bool busy);
    void (*read)(void *connection, struct engine_read *read, struct err *err);
};

extern const struct engine_driver ENGINE_SQLITE;
