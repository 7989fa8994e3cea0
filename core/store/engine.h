// SPDX-License-Identifier: Apache-2.0
// The storage engine: tables of records, each a key, a value and a version. A batch of writes is
// one transaction; it is durable when it is answered.
//
// Requests are the caller's memory, embedded in what they are for; they and all they point to stay
// untouched until `done` is called, once, on a thread of the engine. `done` must not block; it may
// submit more. Any thread may submit.
//
// Keys are bytes and ordered as such. A version is a number that the engine never gives twice:
// whoever has read a record and writes it under `if_version` knows that nothing has happened to it
// in between, deletion and new creation included.
#pragma once

#include "base/buf.h"
#include "base/mpsc.h"
#include "base/status.h"

#define ENGINE_TABLE_MAX 128           // bytes of a table's name
#define ENGINE_KEY_MAX 1024            // bytes of a key
#define ENGINE_VALUE_MAX (4u << 20)    // bytes of a value
#define ENGINE_BATCH_MAX 1000          // operations of a batch
#define ENGINE_LIST_MAX 1000           // records of a list's page
#define ENGINE_LIST_BYTES (1u << 20)   // bytes of keys and values of a page; one record always fits
#define ENGINE_QUEUE_MAX 10000         // batches that may wait
#define ENGINE_QUEUE_BYTES (64u << 20) // bytes that they may hold
#define ENGINE_ANY 0                   // if_version: whatever is there
#define ENGINE_ABSENT (-1)             // if_version: nothing is there

struct engine;

struct engine_operation {
    struct str table, key, value;
    bool remove;
    int64_t if_version; // the version that the record has now, ENGINE_ANY or ENGINE_ABSENT
    uint64_t version;   // result: of what was written; 0 for a removal
};

// All operations in order, or none.
struct engine_batch {
    struct mpsc_node link; // first; the engine's
    struct engine_operation *operations;
    size_t count;
    // err->code: 0; ABORTED: a condition did not hold; else why it could not be written.
    void (*done)(struct engine_batch *batch, const struct err *err);
    struct err err; // the engine's
    size_t bytes;   // the engine's
};

struct engine_record {
    struct str key, value; // lie in the read's `bytes`
    uint64_t version;
};

// A read sees every write that was answered before it was submitted.
struct engine_read {
    struct mpsc_node link; // first; the engine's
    bool list;             // else one record
    struct str table;
    struct str key;   // list: the prefix
    struct str after; // list: keys greater than this one only; empty: from the beginning
    unsigned limit;   // list: 0 and beyond ENGINE_LIST_MAX mean ENGINE_LIST_MAX
    // err->code: 0 (a record that is not there gives no records); else why it could not be read.
    void (*done)(struct engine_read *read, const struct err *err);
    struct engine_record *records; // results, until engine_read_clear
    size_t count;
    bool more; // list: there are further records
    struct buf bytes;
};

// Opens the file, or makes it (for the owner only), brings its schema up to date, and starts the
// threads. NULL: `err` is one line for the operator. A schema newer than this program knows is
// -STATUS_FAILED_PRECONDITION.
struct engine *engine_open(const char *path, unsigned readers, struct err *err);
// Does what is queued, then ends threads and file; a later submit is refused.
void engine_close(struct engine *e);
void engine_delete(struct engine *e); // closes it if need be; accepts NULL

// 0, or a negative status and `err`: it was not taken and `done` is not called.
// -STATUS_INVALID_ARGUMENT: beyond a limit above; -STATUS_RESOURCE_EXHAUSTED: too much is waiting;
// -STATUS_UNAVAILABLE: the engine is closed.
int engine_submit(struct engine *e, struct engine_batch *batch, struct err *err);
int engine_submit_read(struct engine *e, struct engine_read *read, struct err *err);
void engine_read_clear(struct engine_read *read); // frees the results
