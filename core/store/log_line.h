// SPDX-License-Identifier: Apache-2.0
// A log record as a line of JSON, written and read. Pure functions.
#pragma once

#include "base/log.h"

#define LOG_TEXT_MAX (64u << 10)     // bytes of a record's text that are kept
#define LOG_FIELDS_MAX 128           // fields that are kept
#define LOG_FIELDS_BYTES (64u << 10) // bytes of their names and values that are kept

// Appends the record and a line feed. What is not UTF-8 becomes U+FFFD, what is too long is cut.
void log_line_write(struct buf *out, const struct log_entry *entry);

struct log_line_field {
    const char *key, *value;
};

// A line that was read. Texts lie in the line's own bytes, or are "".
struct log_line {
    double time; // unix seconds
    enum log_level level;
    const char *level_name, *version, *text, *request, *trace;
    unsigned instance;
    struct log_line_field *fields; // the caller's room for LOG_FIELDS_MAX
    size_t field_count;
};

// Reads a line, without its line feed, changing it. False: no line of ours (it was cut by a crash,
// or by hand).
bool log_line_read(char *line, size_t n, struct log_line_field fields[LOG_FIELDS_MAX],
                   struct log_line *out);
