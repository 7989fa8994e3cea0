// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include "base/clock.h"
#include "base/encode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const char *const NAMES[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"};
static atomic_int minimum = LOG_INFO;
static _Atomic(struct log_sink *) sink_now;

void log_set_level(enum log_level level) { atomic_store(&minimum, (int)level); }

bool log_wants(enum log_level level) {
    return (int)level >= atomic_load_explicit(&minimum, memory_order_relaxed);
}

void log_set_sink(struct log_sink *sink) { atomic_store(&sink_now, sink); }

int log_level_parse(const char *name) {
    for (int i = LOG_TRACE; i <= LOG_OFF; i++) { // each has a first letter of its own
        if (NAMES[i][0] == (name[0] & ~0x20) && strcasecmp(NAMES[i], name) == 0) return i;
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

static void append_fields(struct buf *line, const struct log_entry *e) {
    for (size_t i = 0; i < e->field_count; i++)
        log_field(line, e->fields[i].key, e->fields[i].value);
    if (e->request != 0) buf_printf(line, " request=%016" PRIx64, e->request);
    if (e->trace == NULL) return;
    buf_append_text(line, " trace=");
    hex_encode(line, (struct str){(const char *)e->trace, 16});
}

static void write_line(const struct log_entry *e) {
    time_t seconds = (time_t)(e->time / NS_PER_SECOND);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    struct buf line = {0};
    buf_printf(&line, "%s.%03dZ %s %s ", stamp, (int)(e->time % NS_PER_SECOND / NS_PER_MS),
               NAMES[e->level], e->source);
    append_printable(&line, e->text);
    append_fields(&line, e);
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

void log_write(struct log_entry *e) {
    if (!log_wants(e->level)) return;
    e->time = clock_unix();
    write_line(e);
    struct log_sink *sink = atomic_load(&sink_now);
    if (sink != NULL) sink->write(sink, e);
}

void log_printf(enum log_level level, const char *source, const char *format, ...) {
    if (!log_wants(level)) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct log_pair part = {str_of("part"), str_of(source)};
    struct log_entry e = {
        .level = level, .source = source, .service = str_of("server"), .text = str_of(text)};
    struct log_sink *sink = atomic_load(&sink_now);
    e.time = clock_unix();
    write_line(&e);
    if (sink == NULL) return;
    e.fields = &part; // on standard error it is the source already
    e.field_count = strcmp(source, "server") == 0 ? 0 : 1;
    sink->write(sink, &e);
}
