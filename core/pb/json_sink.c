// SPDX-License-Identifier: Apache-2.0
// The JSON sink: writes the events of a message (visit.h) as JSON while they come.
//
// It is an `ordered` sink: fields come by number, so defaults of fields that did not come are
// printed on the way, and nothing is kept but a stack of what is open. A frame of the stack has a
// kind, which decides what the events inside it print: a Struct prints as the map it holds, a
// Timestamp prints when it ends, the content of an Any is read by a second wire reader that speaks
// to this same sink. Entries of a map are put in the order of their keys when the map ends, if they
// were not, and of equal keys the last stays, as the binary form has it.
//
// One allocation for all of it; it grows only when the entries of a map must be remembered, or for what is nested deep.
// Belongs to one conversion.
#include "pb/json_sink.h"
#include "pb/json_wkt.h"

#include "base/pool.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const struct pb_json_style PB_JSON_MICRO = {0};
const struct pb_json_style PB_JSON_PROTO = {.camel = true, .no_defaults = true};

// ---- the stack

static struct frame *top(struct pb_json_sink *j) {
    return j->depth > 0 ? json_sink_frame(j, j->depth - 1) : NULL;
}

static struct frame *push(struct pb_json_sink *j, enum kind kind, const struct pb_field *field,
                          const struct pb_message *type) {
    if (j->depth == JSON_SINK_DEEP) {
        json_sink_fail(j, "messages are nested too deep");
        return NULL;
    }
    if (j->depth == JSON_SINK_SHALLOW && j->deep == NULL) {
        j->deep = malloc((JSON_SINK_DEEP - JSON_SINK_SHALLOW) * sizeof *j->deep);
        if (j->deep == NULL) {
            json_sink_no_memory(j);
            return NULL;
        }
    }
    struct frame *f = json_sink_frame(j, j->depth++);
    *f = (struct frame){.kind = kind, .field = field, .type = type};
    return f;
}

// ---- members of messages

// The defaults of fields from f->next up to `until`, which did not come.
static void put_defaults(struct pb_json_sink *j, struct frame *f, size_t until) {
    size_t from = f->next;
    f->next = until;
    if (j->style.no_defaults) return;
    for (size_t i = from; i < until; i++) {
        const struct pb_field *field = &f->type->fields[i];
        if (field->has_presence || field->is_extension) continue;
        json_sink_separate(j, f);
        json_sink_name(j, field);
        if (field->repeated) {
            buf_append_text(j->out, field->is_map ? "{}" : "[]");
        } else {
            json_sink_scalar(j, field, json_sink_zero(field));
        }
    }
}

// A small message may have a long form (defaults, escapes), so the limit is looked at on the way.
static int check_length(const struct pb_json_sink *j) {
    if (j->style.max == 0 || j->out->n <= j->style.max) return 0;
    return err_set(j->sink.err, STATUS_RESOURCE_EXHAUSTED,
                   "as JSON the message is longer than the limit of %zu bytes", j->style.max);
}

// What comes before a value in the frame on top: the key, the comma.
static void begin_value(struct pb_json_sink *j, const struct pb_field *field) {
    struct frame *f = top(j);
    if (f == NULL) return;
    switch (f->kind) {
    case OBJECT:
        put_defaults(j, f, field->index);
        f->next = field->index + 1;
        json_sink_separate(j, f);
        json_sink_name(j, field);
        break;
    case LIST:
        f->next++;
        json_sink_separate(j, f);
        break;
    case ENTRY:
        if (!f->keyed) json_sink_entry_key(j, f, json_sink_zero(pb_field_by_number(f->type, 1)));
        f->some = true;
        break;
    case ANY: // its content has a form of its own
        json_sink_separate(j, f);
        buf_append_text(j->out, "\"value\"");
        json_sink_colon(j);
        break;
    default: f->some = true;
    }
}

static int on_message_end(struct pb_sink *sink);

static int begin_entry(struct pb_json_sink *j, const struct pb_field *field,
                       const struct pb_message *type) {
    json_sink_separate(j, top(j));
    int rc = json_sink_entry_begin(j);
    if (rc < 0) return rc;
    struct frame *f = push(j, ENTRY, field, type);
    if (f == NULL) return -STATUS_INVALID_ARGUMENT;
    f->next = j->entries.n - sizeof(struct entry);
    return 0;
}

static int on_message(struct pb_sink *sink, const struct pb_field *field,
                      const struct pb_message *type) {
    static const enum kind KINDS[] = {
        [PB_WKT_NONE] = OBJECT,    [PB_WKT_EMPTY] = OBJECT,          [PB_WKT_TIMESTAMP] = TIME,
        [PB_WKT_DURATION] = TIME,  [PB_WKT_FIELD_MASK] = MASK,       [PB_WKT_ANY] = ANY,
        [PB_WKT_STRUCT] = STRUCT,  [PB_WKT_LIST_VALUE] = LIST_VALUE, [PB_WKT_VALUE] = VALUE,
        [PB_WKT_WRAPPER] = WRAPPER};
    struct pb_json_sink *j = (struct pb_json_sink *)sink;
    struct frame *up = top(j);
    int rc = check_length(j);
    if (rc < 0) return rc;
    if (up != NULL && up->kind == MAP) return begin_entry(j, field, type);
    enum kind kind = KINDS[type->wkt];
    bool in_any = up != NULL && up->kind == ANY && kind == OBJECT;
    if (!in_any) begin_value(j, field);
    struct frame *f = push(j, kind, field, type);
    if (f == NULL) return -STATUS_INVALID_ARGUMENT;
    f->in_any = in_any;
    if (in_any) {
        f->some = true;
    } else if (kind == OBJECT || kind == ANY) {
        json_sink_open(j, '{');
    } else if (kind == MASK) {
        buf_append_byte(j->out, '"');
    }
    return 0;
}

static int end_time(struct pb_json_sink *j, const struct frame *f) {
    bool timestamp = f->type->wkt == PB_WKT_TIMESTAMP;
    buf_append_byte(j->out, '"');
    if (timestamp ? !wkt_put_timestamp(j->out, f->seconds, f->nanos)
                  : !wkt_put_duration(j->out, f->seconds, f->nanos)) {
        return json_sink_fail(
            j, timestamp ? "this Timestamp is out of range (years 1 to 9999, nanos 0 to 999999999)"
                         : "this Duration is out of range (10000 years, nanos of the same sign)");
    }
    buf_append_byte(j->out, '"');
    return 0;
}

static int end_entry(struct pb_json_sink *j, struct frame *f) {
    int rc = 0;
    if (!f->some) {
        const struct pb_field *value = pb_field_by_number(f->type, 2);
        if (value->message != NULL) {
            rc = on_message(&j->sink, value, value->message);
            if (rc == 0) rc = on_message_end(&j->sink);
        } else {
            begin_value(j, value);
            json_sink_scalar(j, value, json_sink_zero(value));
        }
    }
    json_sink_entry_end(j);
    return rc;
}

// ---- Any

static int any_type(struct pb_json_sink *j, struct frame *f, struct str url) {
    const char *slash = memrchr(url.p, '/', url.n);
    if (slash != NULL && j->pool != NULL) {
        struct str name = {slash + 1, (size_t)(url.p + url.n - slash) - 1};
        f->content = pb_find_message(j->pool, name);
    }
    if (f->content == NULL) {
        char text[300];
        url = json_cut(url, 150);
        snprintf(text, sizeof text, "this Any holds the type \"%.*s\", which the contract lacks",
                 (int)url.n, url.p);
        return json_sink_fail(j, text);
    }
    json_sink_separate(j, f);
    buf_append_text(j->out, "\"@type\"");
    json_sink_colon(j);
    json_put_string(j->out, url);
    return 0;
}

static int any_content(struct pb_json_sink *j, struct frame *f, struct str bytes) {
    if (f->content == NULL) return json_sink_fail(j, "this Any has a value and no type_url");
    f->done = true;
    return pb_read_wire(f->content, bytes, &j->sink);
}

static int end_any(struct pb_json_sink *j, struct frame *f) {
    if (f->content != NULL && !f->done) {
        int rc = any_content(j, f, (struct str){"", 0});
        if (rc < 0) return rc;
    }
    json_sink_close(j, f, '}');
    return 0;
}

static int end_frame(struct pb_json_sink *j, struct frame *f) {
    switch (f->kind) {
    case OBJECT:
        put_defaults(j, f, f->type->count);
        if (!f->in_any) json_sink_close(j, f, '}');
        return 0;
    case ENTRY: return end_entry(j, f);
    case TIME: return end_time(j, f);
    case ANY: return end_any(j, f);
    case MASK: buf_append_byte(j->out, '"'); return 0;
    case STRUCT:
        if (!f->some) buf_append_text(j->out, "{}");
        return 0;
    case LIST_VALUE:
        if (!f->some) buf_append_text(j->out, "[]");
        return 0;
    case VALUE:
        if (!f->some) buf_append_text(j->out, "null");
        return 0;
    default:
        assert(f->kind == WRAPPER);
        if (!f->some) json_sink_scalar(j, &f->type->fields[0], json_sink_zero(&f->type->fields[0]));
        return 0;
    }
}

static int on_message_end(struct pb_sink *sink) {
    struct pb_json_sink *j = (struct pb_json_sink *)sink;
    assert(j->depth > 0);
    int rc = end_frame(j, top(j));
    if (rc < 0) return rc;
    j->depth--;
    if (j->depth > 0) return 0;
    return j->out->failed ? json_sink_no_memory(j) : check_length(j);
}

// ---- lists and maps

static int on_list(struct pb_sink *sink, const struct pb_field *field) {
    struct pb_json_sink *j = (struct pb_json_sink *)sink;
    size_t start = j->out->n;
    bool first = !top(j)->some;
    begin_value(j, field);
    enum kind kind = field->is_map ? MAP : top(j)->kind == MASK ? PATHS : LIST;
    struct frame *f = push(j, kind, field, NULL);
    if (f == NULL) return -STATUS_INVALID_ARGUMENT;
    f->start = start;
    f->first = first;
    if (kind == MAP) f->next = j->entries.n;
    if (kind != PATHS) json_sink_open(j, kind == MAP ? '{' : '[');
    return 0;
}

static int on_list_end(struct pb_sink *sink) {
    struct pb_json_sink *j = (struct pb_json_sink *)sink;
    struct frame *f = top(j);
    assert(f != NULL && f->type == NULL);
    int rc = 0;
    if (f->kind == MAP) {
        rc = json_sink_entries_sort(j, f);
        j->entries.n = f->next;
    }
    if (f->kind != PATHS) json_sink_close(j, f, f->kind == MAP ? '}' : ']');
    bool empty = f->kind == LIST && !f->some;
    j->depth--;
    // A packed list came without elements, or with numbers only that its enum lacks: a default.
    if (empty && j->style.no_defaults && top(j)->kind == OBJECT) {
        j->out->n = f->start;
        top(j)->some = !f->first;
    }
    return rc;
}

// ---- values

static int put_mask_path(struct pb_json_sink *j, struct frame *f, struct str path) {
    if (f->some) buf_append_byte(j->out, ',');
    f->some = true;
    if (path.n > 0 && wkt_put_camel(j->out, path)) return 0;
    return json_sink_fail(j, "this FieldMask has a path that lowerCamelCase cannot say");
}

static int on_value(struct pb_sink *sink, const struct pb_field *field, union pb_value v) {
    struct pb_json_sink *j = (struct pb_json_sink *)sink;
    struct frame *f = top(j);
    assert(f != NULL);
    int rc = check_length(j);
    if (rc < 0) return rc;
    switch (f->kind) {
    case TIME:
        if (field->number == 1) f->seconds = v.i;
        if (field->number == 2) f->nanos = (int32_t)v.i;
        return 0;
    case PATHS: return put_mask_path(j, f, v.s);
    case ANY: return field->number == 1 ? any_type(j, f, v.s) : any_content(j, f, v.s);
    case ENTRY:
        if (field->number == 1) {
            json_sink_entry_key(j, f, v);
            return 0;
        }
        break;
    case VALUE:
        if (field->type == PB_DOUBLE && !isfinite(v.d)) {
            return json_sink_fail(
                j, "NaN and the infinities have no JSON form in a google.protobuf.Value");
        }
        break;
    default: break;
    }
    begin_value(j, field);
    json_sink_scalar(j, field, v);
    return 0;
}

static int on_unknown(struct pb_sink *sink, struct str bytes) { // has no JSON form
    (void)sink;
    (void)bytes;
    return 0;
}

struct pb_json_sink *pb_json_sink_new(const struct pb_pool *pool, const struct pb_json_style *style,
                                      struct buf *out, struct err *err) {
    static const struct pb_sink_ops OPS = {.message = on_message,
                                           .message_end = on_message_end,
                                           .list = on_list,
                                           .list_end = on_list_end,
                                           .value = on_value,
                                           .unknown = on_unknown};
    struct pb_json_sink *j = pool_take(pool_class(sizeof *j), sizeof *j);
    if (j == NULL) return NULL;
    j->sink = (struct pb_sink){.ops = &OPS, .ordered = true, .err = err};
    j->pool = pool;
    j->style = style == NULL ? PB_JSON_MICRO : *style;
    j->out = out;
    j->entries = (struct buf){0};
    j->depth = 0;
    j->indent = 0;
    j->deep = NULL;
    return j;
}

struct pb_sink *pb_json_sink(struct pb_json_sink *j) {
    return &j->sink;
}

void pb_json_sink_delete(struct pb_json_sink *j) {
    if (j == NULL) return;
    buf_free(&j->entries);
    free(j->deep);
    pool_give_sized(j, sizeof *j);
}
