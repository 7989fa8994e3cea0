// SPDX-License-Identifier: Apache-2.0
// The log's files: an even first byte: a line is read; odd: a record with these texts is written and read back.
#include "fuzz.h"

#include "base/clock.h"
#include "base/encode.h"
#include "store/log_line.h"

static void read_line(struct str text) {
    struct log_line_field fields[LOG_FIELDS_MAX];
    struct log_line line;
    char *copy = input_copy(text);
    if (log_line_read(copy, text.n, fields, &line)) {
        must(line.field_count <= LOG_FIELDS_MAX && line.level < LOG_OFF);
        size_t n =
            strlen(line.text) + strlen(line.version) + strlen(line.request) + strlen(line.trace);
        for (size_t i = 0; i < line.field_count; i++)
            n += strlen(line.fields[i].key) + strlen(line.fields[i].value);
        must(n <= 5 * text.n);
    }
    free(copy);
}

static void write_line(struct input *in) {
    struct log_pair given[3];
    struct log_entry entry = {.level = (enum log_level)(input_byte(in) % LOG_OFF),
                              .time = (int64_t)input_byte(in) * NS_PER_SECOND,
                              .instance = input_byte(in)};
    entry.version = input_take(in, input_byte(in));
    entry.text = input_take(in, input_byte(in));
    for (size_t i = 0; i < 3; i++) {
        given[i].key = input_take(in, input_byte(in) % 16);
        given[i].value = input_take(in, input_byte(in));
    }
    entry.fields = given;
    entry.field_count = 3;
    struct buf out = {0};
    log_line_write(&out, &entry);
    must(!out.failed && out.n > 0 && utf8_valid(buf_str(&out)));
    must(memchr(buf_p(&out), '\n', out.n) == buf_p(&out) + out.n - 1);
    struct log_line_field fields[LOG_FIELDS_MAX];
    struct log_line line;
    must(log_line_read(buf_p(&out), out.n - 1, fields, &line));
    must(line.level == entry.level && line.instance == entry.instance && line.field_count == 3);
    if (utf8_valid(entry.text) && memchr(entry.text.p, '\0', entry.text.n) == NULL)
        must(str_is(entry.text, line.text));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    if (input_byte(&in) % 2 == 0) {
        read_line(input_rest(&in));
    } else {
        write_line(&in);
    }
    return 0;
}
