// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const char *const NAMES[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"};
static atomic_int minimum = LOG_INFO;

void log_set_level(enum log_level level) { atomic_store(&minimum, (int)level); }

bool log_wants(enum log_level level) {
    return (int)level >= atomic_load_explicit(&minimum, memory_order_relaxed);
}

int log_level_parse(const char *name) {
    for (int i = LOG_TRACE; i <= LOG_OFF; i++) {
        if (strcasecmp(NAMES[i], name) == 0) return i;
    }
    return -1;
}

// Line breaks and control characters would let a text forge further records.
static void append_printable(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\n') {
            buf_append(out, "\\n", 2);
        } else if (c < 0x20 || c == 0x7F) {
            buf_printf(out, "\\x%02x", c);
        } else {
            buf_append_byte(out, (char)c);
        }
    }
}

void log_field(struct buf *fields, struct str key, struct str value) {
    bool quote = value.n == 0;
    for (size_t i = 0; i < value.n && !quote; i++) {
        unsigned char c = (unsigned char)value.p[i];
        quote = c <= ' ' || c == '"' || c == '=' || c == 0x7F;
    }
    buf_append_byte(fields, ' ');
    append_printable(fields, key);
    buf_append_byte(fields, '=');
    if (!quote) {
        buf_append_str(fields, value);
        return;
    }
    buf_append_byte(fields, '"');
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\') buf_append_byte(fields, '\\');
        append_printable(fields, (struct str){value.p + i, 1});
    }
    buf_append_byte(fields, '"');
}

void log_record(enum log_level level, const char *source, struct str text, struct str fields) {
    if (!log_wants(level)) return;
    int64_t now = clock_unix();
    time_t seconds = (time_t)(now / NS_PER_SECOND);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    struct buf line = {0};
    buf_printf(&line, "%s.%03dZ %s %s ", stamp, (int)(now % NS_PER_SECOND / NS_PER_MS),
               NAMES[level], source);
    append_printable(&line, text);
    if (fields.n > 0 && fields.p[0] != ' ') buf_append_byte(&line, ' ');
    buf_append_str(&line, fields);
    buf_append_byte(&line, '\n');
    const char *p = buf_p(&line);
    size_t left = line.n;
    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, p, left);
        if (n <= 0) break; // nobody reads our errors: there is no other place to say so
        p += n;
        left -= (size_t)n;
    }
    buf_free(&line);
}

void log_printf(enum log_level level, const char *source, const char *format, ...) {
    if (!log_wants(level)) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_record(level, source, str_of(text), (struct str){"", 0});
}
