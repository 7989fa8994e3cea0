// SPDX-License-Identifier: Apache-2.0
// The log's files. By the first byte: a line is read; a record with these texts is written and read back; two files with these
// lines are searched, from a cursor that may be anything.
#include "fuzz.h"

#include "base/clock.h"
#include "base/encode.h"
#include "store/log_line.h"
#include "store/log_scan.h"

#include <unistd.h>

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

// ---- files
static char folder[] = "/tmp/mica-fuzz-log-XXXXXX";

static void clean_up(void) {
    char path[100];
    for (uint64_t i = 1; i <= 2; i++) unlink(log_file_path(path, sizeof path, folder, i));
    rmdir(folder);
}

static void write_file(uint64_t sequence, struct str content) {
    char path[100];
    FILE *file = fopen(log_file_path(path, sizeof path, folder, sequence), "wb");
    must(file != NULL);
    must(fwrite(content.p, 1, content.n, file) == content.n);
    must(fclose(file) == 0);
}

// As long as a scan gives records; its cursor goes on, so that it ends.
static void scan(struct log_query query, bool go_on) {
    struct log_read read = {.query = query};
    for (int turns = 0;; turns++) {
        struct err err = {0};
        int rc = log_scan(&read, folder, &err);
        must(rc == 0 || err.text[0] != '\0');
        size_t n = 0;
        for (struct log_kept *k = read.first, *next; k != NULL; k = next, n++) {
            must(k->line.level >= query.level && k->line.field_count <= LOG_FIELDS_MAX);
            next = k->next;
            free(k);
        }
        must(n == read.count && n <= LOG_READ_MAX &&
             (query.last == 0 || n <= query.last || turns > 0));
        if (rc < 0 || n == 0 || !go_on) return;
        must(turns < 100);
        read.first = NULL;
        read.count = 0;
        log_scan_go_on(&read);
    }
}

static void read_files(struct input *in) {
    static bool made;
    if (!made) {
        must(mkdtemp(folder) != NULL);
        atexit(clean_up);
        made = true;
    }
    uint8_t ways = input_byte(in);
    struct log_query query = {
        .ns = "", .service = "s", .version = "", .grep = ways & 1 ? "a" : "", .trace = ""};
    query.last = ways & 2 ? input_byte(in) : 0;
    query.level = (enum log_level)((ways >> 2) % LOG_OFF);
    if (ways & 0x80) query.cursor = input_take(in, LOG_CURSOR);
    write_file(1, input_take(in, in->n / 2));
    write_file(2, input_rest(in));
    scan(query, (ways & 0x40) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    switch (input_byte(&in) % 4) {
    case 1: write_line(&in); break;
    case 3: read_files(&in); break;
    default: read_line(input_rest(&in)); break;
    }
    return 0;
}
