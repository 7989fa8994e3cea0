// SPDX-License-Identifier: Apache-2.0
// Reading the files of a service's log. They are only appended to, line by line, and deleted as a
// whole, so any thread may read them while the log's thread writes: what comes after the last line
// feed is not there yet, and a file that has gone was the oldest.
//
// A cursor is a format byte, the number of a file and an offset in it, little-endian: everything
// before it has been looked at. Numbers only grow (log_files.c), so it stays right when files are
// added and deleted.
//
// Without a cursor and with `last`, files are read from the newest to the oldest until enough has
// been found; else from the cursor, or the oldest, onwards.
#include "store/log_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CURSOR_FORMAT 1

// ---- names
// Letters, digits, '-' and '_' stand for themselves, and '.' inside a name; a namespace that begins
// with '_' is not taken for "_platform".
static void append_part(struct buf *out, struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (letter || c == '-' || (i > 0 && (c == '_' || c == '.'))) {
            buf_append_byte(out, c);
        } else {
            buf_printf(out, "%%%02X", (unsigned char)c);
        }
    }
}

bool log_folder(struct buf *out, const char *folder, struct str ns, struct str service) {
    buf_append_text(out, folder);
    buf_append_byte(out, '/');
    size_t before = out->n;
    if (ns.n == 0) {
        buf_append_text(out, "_platform");
    } else {
        append_part(out, ns);
    }
    size_t between = out->n;
    buf_append_byte(out, '/');
    append_part(out, service);
    return !out->failed && service.n > 0 && between - before <= LOG_PART_MAX &&
           out->n - between - 1 <= LOG_PART_MAX;
}

const char *log_file_path(char *out, size_t n, const char *folder, uint64_t sequence) {
    snprintf(out, n, "%s/%012" PRIu64 ".log", folder, sequence);
    return out;
}

// ---- the list of files
static int by_sequence(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool file_sequence(const char *name, uint64_t *sequence) {
    char *rest;
    if (name[0] < '0' || name[0] > '9') return false;
    *sequence = strtoull(name, &rest, 10);
    return strcmp(rest, ".log") == 0;
}

int log_list_read(struct log_list *list, const char *folder, struct err *err) {
    *list = (struct log_list){0};
    DIR *d = opendir(folder);
    if (d == NULL && errno == ENOENT) return 0;
    if (d == NULL)
        return err_set(err, STATUS_UNAVAILABLE, "cannot read the log in %s: %s", folder,
                       strerror(errno));
    struct dirent *e;
    struct buf all = {0};
    while ((e = readdir(d)) != NULL) {
        uint64_t sequence;
        if (file_sequence(e->d_name, &sequence)) buf_append(&all, &sequence, sizeof sequence);
    }
    closedir(d);
    list->count = all.n / sizeof *list->sequences;
    list->sequences = malloc(all.n + 1);
    bool failed = all.failed || list->sequences == NULL;
    if (!failed) memcpy(list->sequences, buf_str(&all).p, all.n);
    buf_free(&all);
    if (failed) {
        log_list_free(list);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    qsort(list->sequences, list->count, sizeof *list->sequences, by_sequence);
    return 0;
}

void log_list_free(struct log_list *list) {
    free(list->sequences);
    *list = (struct log_list){0};
}

// ---- cursors
struct position {
    uint64_t sequence, offset;
};

static void put_number(unsigned char *out, uint64_t n) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(n >> (8 * i));
}

static uint64_t get_number(const unsigned char *p) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n |= (uint64_t)p[i] << (8 * i);
    return n;
}

static void set_cursor(struct log_read *read, struct position at) {
    read->cursor[0] = CURSOR_FORMAT;
    put_number(read->cursor + 1, at.sequence);
    put_number(read->cursor + 9, at.offset);
}

static int get_cursor(const struct log_read *read, struct position *out, struct err *err) {
    struct str c = read->query.cursor;
    const unsigned char *p = (const unsigned char *)c.p;
    if (c.n != LOG_CURSOR || p[0] != CURSOR_FORMAT)
        return err_set(err, STATUS_INVALID_ARGUMENT, "this cursor is not from Logs.Read");
    *out = (struct position){get_number(p + 1), get_number(p + 9)};
    return 0;
}

void log_scan_go_on(struct log_read *read) {
    read->query.cursor = (struct str){(const char *)read->cursor, LOG_CURSOR};
    read->query.last = 0;
}

// ---- lines
static bool contains(const char *text, const char *part) { return strstr(text, part) != NULL; }

static bool matches(const struct log_query *q, const struct log_line *line) {
    if (line->level < q->level || line->time < q->since) return false;
    if (q->version[0] != '\0' && strcmp(q->version, line->version) != 0) return false;
    if (q->trace[0] != '\0' && strcmp(q->trace, line->trace) != 0) return false;
    if (q->grep[0] == '\0' || contains(line->text, q->grep)) return true;
    for (size_t i = 0; i < line->field_count; i++) {
        if (contains(line->fields[i].key, q->grep) || contains(line->fields[i].value, q->grep))
            return true;
    }
    return false;
}

// Some records in order.
struct chain {
    struct log_kept *first, **last;
    size_t count, bytes;
};

static void drop_first(struct chain *c) {
    struct log_kept *k = c->first;
    c->first = k->next;
    if (c->first == NULL) c->last = &c->first;
    c->count--;
    c->bytes -= k->bytes;
    free(k);
}

static void chain_free(struct chain *c) {
    while (c->first != NULL) drop_first(c);
}

// One block: the record, its fields, its bytes.
static struct log_kept *keep(struct str raw, size_t fields) {
    struct log_line_field scratch[LOG_FIELDS_MAX];
    struct log_kept *k = malloc(sizeof *k + fields * sizeof scratch[0] + raw.n + 1);
    if (k == NULL) return NULL;
    struct log_line_field *own = (struct log_line_field *)(k + 1);
    char *bytes = (char *)(own + fields);
    memcpy(bytes, raw.p, raw.n);
    log_line_read(bytes, raw.n, scratch, &k->line);
    memcpy(own, scratch, fields * sizeof scratch[0]);
    k->line.fields = own;
    k->bytes = raw.n;
    k->next = NULL;
    return k;
}

// What goes over a file's lines.
struct scan {
    struct log_read *read;
    struct chain found;
    struct buf scratch; // a line while it is looked at
    size_t most, most_bytes;
    bool newest; // the newest so many are wanted: older ones make room
    bool full;
    bool failed;
};

// False: there is no room for this line, which has not been taken.
static bool look_at(struct scan *s, struct str raw) {
    struct log_line_field fields[LOG_FIELDS_MAX];
    struct log_line line;
    s->scratch.n = 0;
    buf_append_str(&s->scratch, raw);
    if (s->scratch.failed) {
        s->failed = true;
        return false;
    }
    if (raw.n == 0 || !log_line_read(buf_p(&s->scratch), raw.n, fields, &line) ||
        !matches(&s->read->query, &line))
        return true;
    struct chain *c = &s->found;
    bool room = c->count < s->most && (c->count == 0 || c->bytes + raw.n <= s->most_bytes);
    if (!room && !s->newest) return false;
    struct log_kept *k = keep(raw, line.field_count);
    if (k == NULL) {
        s->failed = true;
        return false;
    }
    *c->last = k;
    c->last = &k->next;
    c->count++;
    c->bytes += raw.n;
    while (c->count > s->most || (c->count > 1 && c->bytes > s->most_bytes)) {
        drop_first(c);
        s->full = true; // and what is older has no place either
    }
    return true;
}

// Where the lines that were looked at end.
static uint64_t look_at_lines(struct scan *s, struct str bytes) {
    const char *p = bytes.p, *end = bytes.p + bytes.n, *feed;
    while (p < end && (feed = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        if (!look_at(s, (struct str){p, (size_t)(feed - p)})) {
            s->full = true;
            break;
        }
        p = feed + 1;
    }
    return (uint64_t)(p - bytes.p);
}

// ---- files
// Reads the file from the offset. False: it has gone, or cannot be read. `stale`: nothing in it is
// as young as `since`.
static bool load(const char *folder, struct position *at, double since, struct buf *out,
                 bool *stale) {
    char path[4096];
    struct stat st;
    int fd = open(log_file_path(path, sizeof path, folder, at->sequence), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = fstat(fd, &st) == 0;
    if (ok && at->offset > (uint64_t)st.st_size) at->offset = 0; // another file by the same number
    *stale = ok && (double)st.st_mtim.tv_sec + 1 < since;
    size_t size = ok && !*stale && (uint64_t)st.st_size > at->offset
                      ? (size_t)((uint64_t)st.st_size - at->offset)
                      : 0;
    ok = ok && buf_reserve(out, size);
    while (ok && out->n < size) {
        ssize_t n = pread(fd, buf_p(out) + out->n, size - out->n, (off_t)(at->offset + out->n));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        out->n += (size_t)n;
    }
    close(fd);
    return ok;
}

static void scan_forward(struct scan *s, const char *folder, const struct log_list *list,
                         struct position from) {
    size_t i = 0;
    bool known = list->count > 0 && from.sequence <= list->sequences[list->count - 1];
    while (known && list->sequences[i] < from.sequence) i++;
    struct position at = from;
    for (; i < list->count && !s->full; i++) {
        struct buf bytes = {0};
        bool stale;
        at.offset = list->sequences[i] == from.sequence ? from.offset : 0;
        at.sequence = list->sequences[i];
        if (load(folder, &at, s->read->query.since, &bytes, &stale))
            at.offset += look_at_lines(s, buf_str(&bytes));
        buf_free(&bytes);
    }
    set_cursor(s->read, at);
}

static void scan_newest(struct scan *s, const char *folder, const struct log_list *list) {
    struct chain all = {0}; // `last` is not used
    size_t most = s->most, most_bytes = s->most_bytes;
    struct position end = {0};
    s->newest = true;
    for (size_t i = list->count; i-- > 0 && !s->full && !s->failed;) {
        struct buf bytes = {0};
        bool stale = false;
        struct position at = {list->sequences[i], 0};
        if (load(folder, &at, s->read->query.since, &bytes, &stale))
            at.offset = look_at_lines(s, buf_str(&bytes));
        buf_free(&bytes);
        if (i == list->count - 1) end = at;
        // What this file gave goes before what the newer ones gave.
        *s->found.last = all.first;
        all.first = s->found.first;
        all.count += s->found.count;
        all.bytes += s->found.bytes;
        s->found = (struct chain){.last = &s->found.first};
        s->most = most - all.count;
        s->most_bytes = all.bytes < most_bytes ? most_bytes - all.bytes : 0;
        if (s->most == 0 || s->most_bytes == 0 || stale) break;
    }
    s->found = all;
    set_cursor(s->read, end);
}

int log_scan(struct log_read *read, const char *folder, struct err *err) {
    struct position from = {0};
    struct log_list list = {0};
    const struct log_query *q = &read->query;
    int rc = q->cursor.n > 0 ? get_cursor(read, &from, err) : 0;
    if (rc == 0) rc = log_list_read(&list, folder, err);
    if (rc < 0) return rc;
    struct scan s = {.read = read, .most = LOG_READ_MAX, .most_bytes = LOG_READ_BYTES};
    s.found.last = &s.found.first;
    if (q->cursor.n == 0 && q->last > 0) {
        if (q->last < s.most) s.most = q->last;
        scan_newest(&s, folder, &list);
    } else {
        scan_forward(&s, folder, &list, from);
    }
    log_list_free(&list);
    buf_free(&s.scratch);
    if (s.failed) {
        chain_free(&s.found);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    read->first = s.found.first;
    read->count = s.found.count;
    return 0;
}

void log_read_clear(struct log_read *read) {
    for (struct log_kept *k = read->first, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    read->first = NULL;
    read->count = 0;
}
