// SPDX-License-Identifier: Apache-2.0
// What the JSON sink prints: punctuation, names, scalars, and the entries of maps, which are
// remembered by their place in the output and written once more when their keys were not in order.
#include "pb/json_sink.h"

#include "base/encode.h"

#include <assert.h>
#include <stdlib.h>

#define SHOWN_PATH 250 // bytes of a path that an error shows

// ---- errors

static void put_path(struct pb_json_sink *j, struct buf *path) {
    for (int i = 0; i < j->depth; i++) {
        const struct frame *f = json_sink_frame(j, i);
        const struct frame *up = i > 0 ? f - 1 : NULL;
        if (f->field != NULL && up != NULL && up->kind == OBJECT) {
            if (path->n > 0 && !f->field->is_extension) buf_append_byte(path, '.');
            buf_append_str(path, f->field->name);
        }
        if (f->kind == LIST && f->next > 0) buf_printf(path, "[%zu]", f->next - 1);
        if (f->kind == ENTRY && f->keyed) {
            const struct entry *e = (void *)(buf_p(&j->entries) + f->next);
            buf_append_byte(path, '[');
            buf_append_str(path, json_cut((struct str){buf_p(j->out) + e->start, e->key_n}, 60));
            buf_append_byte(path, ']');
        }
    }
}

int json_sink_fail(struct pb_json_sink *j, const char *text) {
    struct buf path = {0};
    put_path(j, &path);
    if (path.n == 0 && j->depth > 0 && j->stack[0].type != NULL) {
        buf_append_str(&path, j->stack[0].type->full_name);
    }
    if (path.n > SHOWN_PATH) {
        path.n = json_cut(buf_str(&path), SHOWN_PATH).n;
        buf_append_text(&path, "...");
    }
    int rc = err_set(j->sink.err, STATUS_INVALID_ARGUMENT, "%s: %s", buf_cstr(&path), text);
    buf_free(&path);
    return rc;
}

int json_sink_no_memory(struct pb_json_sink *j) {
    return err_set(j->sink.err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

// ---- punctuation

static void put_line(struct pb_json_sink *j) {
    if (!j->style.pretty) return;
    buf_append_byte(j->out, '\n');
    for (int i = 0; i < j->indent; i++) buf_append(j->out, "  ", 2);
}

// What stands between two members or elements, and before the first.
void json_sink_separate(struct pb_json_sink *j, struct frame *f) {
    if (f->some) buf_append_byte(j->out, ',');
    f->some = true;
    put_line(j);
}

void json_sink_open(struct pb_json_sink *j, char c) {
    buf_append_byte(j->out, c);
    j->indent++;
}

void json_sink_close(struct pb_json_sink *j, const struct frame *f, char c) {
    j->indent--;
    if (f->some) put_line(j);
    buf_append_byte(j->out, c);
}

void json_sink_colon(struct pb_json_sink *j) { buf_append(j->out, ": ", j->style.pretty ? 2 : 1); }

void json_sink_name(struct pb_json_sink *j, const struct pb_field *f) {
    if (j->style.camel && !f->is_extension) {
        json_put_string(j->out, f->json_name);
    } else { // a name of the schema needs no escapes
        buf_append_byte(j->out, '"');
        buf_append_str(j->out, f->name);
        buf_append_byte(j->out, '"');
    }
    json_sink_colon(j);
}

// ---- scalars

union pb_value json_sink_zero(const struct pb_field *f) {
    union pb_value v = {0};
    if (f->type == PB_STRING || f->type == PB_BYTES) v.s = (struct str){"", 0};
    if (f->type == PB_ENUM && f->enumeration->count > 0) v.i = f->enumeration->values[0].number;
    return v;
}

static void put_enum(struct pb_json_sink *j, const struct pb_enum *e, int64_t number) {
    const struct pb_enum_value *value = pb_enum_by_number(e, (int32_t)number);
    if (e->is_null_value && number == 0) {
        buf_append_text(j->out, "null");
    } else if (value == NULL) {
        json_put_i64(j->out, number);
    } else {
        buf_append_byte(j->out, '"');
        buf_append_str(j->out, value->name);
        buf_append_byte(j->out, '"');
    }
}

void json_sink_scalar(struct pb_json_sink *j, const struct pb_field *f, union pb_value v) {
    struct buf *out = j->out;
    bool quoted = !j->style.int64_number;
    switch (f->type) {
    case PB_DOUBLE: json_put_double(out, v.d); break;
    case PB_FLOAT: json_put_float(out, (float)v.d); break;
    case PB_BOOL: buf_append_text(out, v.i != 0 ? "true" : "false"); break;
    case PB_STRING: json_put_string(out, v.s); break;
    case PB_BYTES:
        buf_append_byte(out, '"');
        base64_encode(out, v.s);
        buf_append_byte(out, '"');
        break;
    case PB_ENUM: put_enum(j, f->enumeration, v.i); break;
    case PB_UINT32:
    case PB_FIXED32: json_put_u64(out, v.u); break;
    case PB_INT64:
    case PB_SINT64:
    case PB_SFIXED64:
        if (quoted) buf_append_byte(out, '"');
        json_put_i64(out, v.i);
        if (quoted) buf_append_byte(out, '"');
        break;
    case PB_UINT64:
    case PB_FIXED64:
        if (quoted) buf_append_byte(out, '"');
        json_put_u64(out, v.u);
        if (quoted) buf_append_byte(out, '"');
        break;
    default: json_put_i64(out, v.i); break;
    }
}

// ---- entries of maps

static struct entry *last_entry(struct pb_json_sink *j) {
    return (struct entry *)(void *)(buf_p(&j->entries) + j->entries.n) - 1;
}

int json_sink_entry_begin(struct pb_json_sink *j) {
    struct entry entry = {.start = j->out->n};
    buf_append(&j->entries, &entry, sizeof entry);
    return j->entries.failed ? json_sink_no_memory(j) : 0;
}

void json_sink_entry_end(struct pb_json_sink *j) { last_entry(j)->end = j->out->n; }

void json_sink_entry_key(struct pb_json_sink *j, struct frame *f, union pb_value v) {
    const struct pb_field *key = pb_field_by_number(f->type, 1);
    struct entry *entry = last_entry(j);
    f->keyed = true;
    entry->number = v.u;
    if (key->type == PB_STRING) {
        json_put_string(j->out, v.s);
    } else {
        buf_append_byte(j->out, '"');
        switch (key->type) {
        case PB_BOOL: json_sink_scalar(j, key, v); break;
        case PB_UINT32:
        case PB_FIXED32:
        case PB_UINT64:
        case PB_FIXED64: json_put_u64(j->out, v.u); break;
        default: json_put_i64(j->out, v.i); entry->number = v.u ^ 1ULL << 63;
        }
        buf_append_byte(j->out, '"');
    }
    entry->key_n = j->out->n - entry->start;
    json_sink_colon(j);
}

static int compare_keys(const struct entry *a, const struct entry *b) {
    if (a->text == NULL) return a->number < b->number ? -1 : a->number > b->number;
    size_t n = a->key_n < b->key_n ? a->key_n : b->key_n;
    int order = memcmp(a->text, b->text, n - 1); // without the closing quote
    if (order != 0) return order;
    return a->key_n < b->key_n ? -1 : a->key_n > b->key_n;
}

static int compare_entries(const void *left, const void *right) {
    const struct entry *a = left;
    const struct entry *b = right;
    int order = compare_keys(a, b);
    return order != 0 ? order : a->start < b->start ? -1 : 1;
}

// Writes the entries of a map again, by key; of equal keys only the last.
static int rewrite_entries(struct pb_json_sink *j, struct entry *entries, size_t count) {
    assert(j->out->blob != NULL); // the entries are in it
    size_t start = entries[0].start;
    size_t n = j->out->n - start;
    char *copy = malloc(n);
    if (copy == NULL) return json_sink_no_memory(j);
    memcpy(copy, j->out->blob->p + start, n);
    for (size_t i = 0; i < count && entries[i].text != NULL;
         i++) { // the output is overwritten below
        entries[i].text = copy + (entries[i].start - start);
    }
    qsort(entries, count, sizeof *entries, compare_entries);
    j->out->n = start;
    bool some = false;
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && compare_keys(&entries[i], &entries[i + 1]) == 0) continue;
        if (some) buf_append_byte(j->out, ',');
        if (some) put_line(j);
        some = true;
        buf_append(j->out, copy + (entries[i].start - start), entries[i].end - entries[i].start);
    }
    free(copy);
    return 0;
}

int json_sink_entries_sort(struct pb_json_sink *j, const struct frame *f) {
    size_t count = (j->entries.n - f->next) / sizeof(struct entry);
    if (count < 2 || j->out->failed) return 0;
    struct entry *entries = (struct entry *)(void *)(buf_p(&j->entries) + f->next);
    bool text = pb_field_by_number(f->field->message, 1)->type == PB_STRING;
    bool sorted = true;
    for (size_t i = 0; i < count; i++) {
        entries[i].text = text ? j->out->blob->p + entries[i].start : NULL;
        if (i > 0 && compare_keys(&entries[i - 1], &entries[i]) >= 0) sorted = false;
    }
    return sorted ? 0 : rewrite_entries(j, entries, count);
}
