// SPDX-License-Identifier: Apache-2.0
// The log: one line a record on standard error,
//   2026-11-22T10:00:00.123Z INFO helloworld/0 received Helloworld.Call name=Ada request=5f2c...
// Any thread: a record is formatted on the stack of its caller and written in one call. A sink,
// when there is one, gets every record as well (store/log_files.h keeps them).
#pragma once

#include "base/buf.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

void log_set_level(enum log_level level); // records below it are dropped; INFO at start
bool log_wants(enum log_level level);
int log_level_parse(const char *name); // "trace" .. "error", "off"; -1 when unknown

struct log_pair {
    struct str key, value;
};

// A record. All of it is borrowed.
struct log_entry {
    enum log_level level;
    int64_t time;       // clock_unix; log_write fills it in
    const char *source; // on standard error: "posts@v2/0"
    struct str ns;      // empty: the platform
    struct str service, version;
    unsigned instance;
    struct str text;
    const struct log_pair *fields;
    size_t field_count;
    uint64_t request;           // 0: outside of a request
    const unsigned char *trace; // 16 bytes; NULL: none
};

// What also gets every record that log_wants. `write` is called on the thread that logs and must
// not wait.
struct log_sink {
    void (*write)(struct log_sink *sink, const struct log_entry *entry);
};

void log_write(struct log_entry *entry);
// NULL: none. The sink that was there may be freed when nobody logs any more who may have seen it:
// change it while other threads do not run.
void log_set_sink(struct log_sink *sink);

// What the core itself says, as the service "server" of the platform. `source` names the part
// ("server", "api").
void log_printf(enum log_level level, const char *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Appends " key=value"; the value is quoted when it holds spaces, quotes, '=' or control
// characters.
void log_field(struct buf *fields, struct str key, struct str value);
