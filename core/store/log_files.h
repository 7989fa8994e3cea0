// SPDX-License-Identifier: Apache-2.0
// The log kept in files, for each service its own: FOLDER/NAMESPACE/SERVICE/SEQUENCE.log, lines of
// JSON (log_line.h), and their reading. Namespace "" is the folder "_platform".
#pragma once

#include "base/mpsc.h"
#include "base/status.h"
#include "store/log_line.h"

struct log_files;

struct log_files_options { // 0: the default
    const char *folder;
    uint64_t file_size; // 8 MB
    unsigned files;     // of a service: 5
    int64_t age;        // nanoseconds that a file is kept after its last record: 14 days
    size_t queue_bytes; // that wait to be written: 8 MB
};

struct log_files *log_files_open(const struct log_files_options *options, struct err *err);
struct log_sink *log_files_sink(struct log_files *f); // for log_set_sink; see there
void log_files_flush(struct log_files *f); // waits until what was logged before is in the files
// Writes what is queued and answers reads that wait. Nobody logs or reads any more. Accepts NULL.
void log_files_close(struct log_files *f);

// ---- reading
#define LOG_CURSOR 17             // bytes
#define LOG_READ_MAX 5000         // records of an answer
#define LOG_READ_BYTES (1u << 20) // bytes of an answer, about; one record always fits

struct log_query {
    const char *ns, *service;
    const char *version; // "": all
    unsigned last;       // without a cursor: the newest so many; 0: from the oldest
    double since;        // unix seconds
    enum log_level level;
    const char *grep, *trace; // "": all
    struct str cursor;        // of a former answer; empty: none
    int64_t wait;             // nanoseconds, when there is nothing; 0: not
};

struct log_kept {
    struct log_kept *next;
    size_t bytes; // of the line
    struct log_line line;
};

// The caller's memory: it and all that the query points to stay until `done`, which is called once:
// by log_files_read, or later on the log's thread, where it must not wait.
struct log_read {
    struct mpsc_node link; // first
    struct log_query query;
    // err->code 0: the records, oldest first, until log_read_clear, and the cursor to go on from.
    void (*done)(struct log_read *read, const struct err *err);
    struct log_kept *first;
    size_t count;
    unsigned char cursor[LOG_CURSOR];
    int64_t until;         // the log's: clock_now
    struct log_read *next; // the log's
};

// Blocks on the disk. An answer that is full (LOG_READ_...) goes on at its cursor.
void log_files_read(struct log_files *f, struct log_read *read);
void log_read_clear(struct log_read *read);
