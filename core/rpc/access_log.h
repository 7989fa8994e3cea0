// SPDX-License-Identifier: Apache-2.0
// The access log: a line a request at the doors, written beside the loops.
//
// A loop appends to a buffer of its own and hands it over, a tenth of a second after its first line or when it is long. A
// thread writes. What it cannot write in time is bounded (ACCESS_WAITING): what is beyond is dropped, counted, and said in the
// server's log.
#pragma once

#include "rpc/call.h"

#define ACCESS_WAITING (8 * 1024 * 1024) // bytes that may wait to be written

enum access_format { ACCESS_COMBINED, ACCESS_JSON };

struct access_log;

// `path`: a file that is appended to, or "-" for standard output. NULL and a fault: it cannot be opened.
struct access_log *access_log_open(const char *path, enum access_format format, unsigned loop_count,
                                   struct err *err);
void access_log_close(
    struct access_log *a); // after the loops have stopped; writes what waits. Accepts NULL
void access_log_reopen(
    struct access_log *a); // any thread: the file has been moved away (logrotate)
uint64_t access_log_dropped(struct access_log *a); // lines, so far; any thread; 0 for NULL

// What a line tells. On the thread of `loop`; slices need not outlive the call.
struct access_line {
    int64_t time;              // clock_unix of the end
    struct str peer;           // with the port
    struct str account;        // its id; empty: a stranger
    struct str method, path;   // with the query
    const char *version;       // "1.1"
    int status;                // 499: the peer has gone before it was answered
    uint64_t bytes;            // of the answer's body, as sent
    struct str referer, agent; // as the next one, the request's headers; may be empty
    struct str caller_id;      // x-request-id
    double seconds;            // from its head to the end of the answer
    struct str request_id;     // 16 digits
    struct str service;        // empty: no route, as the next one
    struct str endpoint;
    const char *door;
};
void access_log_put(struct access_log *a, struct loop *loop, const struct access_line *line);
void access_format_line(enum access_format format, const struct access_line *line, struct buf *out);
