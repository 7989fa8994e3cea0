// SPDX-License-Identifier: Apache-2.0
// The log: one line a record on standard error,
//   2026-11-22T10:00:00.123Z INFO helloworld/0 received Helloworld.Call name=Ada request=5f2c...
// Any thread: a record is formatted on the stack of its caller and written in one call.
#pragma once

#include "base/buf.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

void log_set_level(enum log_level level); // records below it are dropped; INFO at start
bool log_wants(enum log_level level);
int log_level_parse(const char *name); // "trace" .. "error", "off"; -1 when unknown

// `source` names who speaks ("server", "posts@v2/0"). `fields` is text that is already formatted ("key=value ..."),
// or empty.
void log_record(enum log_level level, const char *source, struct str text, struct str fields);
void log_printf(enum log_level level, const char *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Appends " key=value"; the value is quoted when it holds spaces, quotes, '=' or control characters.
void log_field(struct buf *fields, struct str key, struct str value);
