// SPDX-License-Identifier: Apache-2.0
// Reads the binary form in one pass, in the order of the bytes: what an unordered sink (Lua, wire)
// wants. It allocates nothing, so that a sink may leave it by a longjmp (a Lua memory error)
// without a leak.
//
// A run of one repeated field becomes one list; the field may come again later as another list. A
// field with a wrong wire type is unknown, as the documentation says. A zero of a field without
// presence is told only when the field was told before, which it would otherwise not overwrite:
// `seen` has a bit for every field's index modulo 64, and the price of a false hit is an explicit
// zero. In a message that merges into one that came before, every field counts as told.
//
// Depth: the root is at 0, messages inside it at 1 to 100, entries of maps and groups counted.
#include "wire_read.h"

#include "base/encode.h"

#include <stdio.h>

// ---- faults

static void put_step(struct buf *path, const struct pb_field *field, size_t index) {
    if (path->n > 0) buf_append_byte(path, '.');
    buf_append_str(path, field->name);
    if (index != WIRE_NO_INDEX) buf_printf(path, "[%zu]", index);
}

int wire_fail(struct wire_reader *r, const struct wire_frame *at, const struct pb_field *field,
              size_t index, const char *text) {
    const struct wire_frame *frames[PB_MAX_DEPTH + 2];
    size_t n = 0;
    for (const struct wire_frame *f = at; f != NULL && f->field != NULL && n < PB_MAX_DEPTH + 2;
         f = f->up) {
        frames[n++] = f;
    }
    struct buf path = {0};
    while (n > 0) {
        n--;
        put_step(&path, frames[n]->field, frames[n]->index);
    }
    if (field != NULL) put_step(&path, field, index);
    int rc = err_set(r->sink->err, STATUS_INVALID_ARGUMENT, "%s%s%s", buf_cstr(&path),
                     path.n > 0 ? ": " : "", text);
    buf_free(&path);
    return rc;
}

int wire_fail_deep(struct wire_reader *r, const struct wire_frame *at,
                   const struct pb_field *field) {
    (void)at;
    char text[200]; // the path would be a hundred names long
    snprintf(text, sizeof text, "%.*s: nested more than %d deep",
             (int)(field->name.n > 150 ? 150 : field->name.n), field->name.p, PB_MAX_DEPTH);
    return wire_fail(r, NULL, NULL, WIRE_NO_INDEX, text);
}

static int cut_off(struct wire_reader *r, const struct wire_frame *at, const struct pb_field *field,
                   size_t index) {
    return wire_fail(r, at, field, index, "malformed or cut off");
}

// ---- scalars

enum wire_form wire_form_of(const struct pb_field *field, uint32_t tag) {
    if (field == NULL) return WIRE_UNKNOWN;
    enum wire_type wants = wire_type_of(field->type);
    if ((tag & 7) == wants) {
        if (field->message == NULL) return WIRE_SCALAR;
        return field->is_map ? WIRE_ENTRY : WIRE_MESSAGE;
    }
    bool packed = (tag & 7) == WIRE_LENGTH && field->repeated && wants != WIRE_GROUP;
    return packed ? WIRE_PACKED : WIRE_UNKNOWN;
}

static uint32_t load32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load64(const uint8_t *p) {
    return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32;
}

static const uint8_t *read_fixed(enum pb_type type, const uint8_t *p, const uint8_t *end,
                                 union pb_value *v) {
    uint32_t bits32;
    uint64_t bits64;
    float f;
    if (wire_type_of(type) == WIRE_FIXED32) {
        if (end - p < 4) return NULL;
        bits32 = load32(p);
        if (type == PB_FLOAT) {
            memcpy(&f, &bits32, 4);
            v->d = f;
        } else if (type == PB_FIXED32) {
            v->u = bits32;
        } else {
            v->i = (int32_t)bits32;
        }
        return p + 4;
    }
    if (end - p < 8) return NULL;
    bits64 = load64(p);
    memcpy(v, &bits64, 8); // all three members have the same eight bytes
    return p + 8;
}

static const uint8_t *read_varint(enum pb_type type, const uint8_t *p, const uint8_t *end,
                                  union pb_value *v) {
    uint64_t u;
    p = wire_varint(p, end, &u);
    if (p == NULL) return NULL;
    switch (type) {
    case PB_BOOL: v->i = u != 0; break;
    case PB_INT32:
    case PB_ENUM: v->i = (int32_t)(uint32_t)u; break;
    case PB_UINT32: v->u = (uint32_t)u; break;
    case PB_SINT32: v->i = (int32_t)((uint32_t)u >> 1 ^ (0u - ((uint32_t)u & 1))); break;
    case PB_SINT64: v->i = (int64_t)(u >> 1 ^ (0u - (u & 1))); break;
    default: v->u = u; break;
    }
    return p;
}

const uint8_t *wire_read_scalar(struct wire_reader *r, const struct wire_frame *at,
                                const struct pb_field *field, size_t index, const uint8_t *p,
                                const uint8_t *end, union pb_value *v, int *rc) {
    switch (wire_type_of(field->type)) {
    case WIRE_VARINT: p = read_varint(field->type, p, end, v); break;
    case WIRE_LENGTH:
        p = wire_length(p, end, &v->s);
        if (p != NULL && field->type == PB_STRING && !utf8_valid(v->s)) {
            *rc = wire_fail(r, at, field, index, "is not valid UTF-8");
            return NULL;
        }
        break;
    default: p = read_fixed(field->type, p, end, v); break;
    }
    if (p == NULL) *rc = cut_off(r, at, field, index);
    return p;
}

bool wire_is_zero(enum pb_type type, union pb_value v) {
    return type == PB_STRING || type == PB_BYTES ? v.s.n == 0 : v.u == 0; // -0.0 is no zero
}

bool wire_is_known(const struct pb_field *field, union pb_value v) {
    if (field->type != PB_ENUM || !field->enumeration->closed) return true;
    return pb_enum_by_number(field->enumeration, (int32_t)v.i) != NULL;
}

int wire_read_packed(struct wire_reader *r, const struct wire_frame *at,
                     const struct pb_field *field, struct str bytes, size_t *index,
                     bool *unknown_left) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    int rc = 0;
    while (p < end && rc == 0) {
        union pb_value v;
        p = wire_read_scalar(r, at, field, *index, p, end, &v, &rc);
        if (p == NULL) return rc;
        if (!wire_is_known(field, v)) {
            *unknown_left = true;
            continue;
        }
        ++*index;
        rc = r->sink->ops->value(r->sink, field, v);
    }
    return rc;
}

int wire_packed_unknown(struct wire_reader *r, const struct pb_field *field, struct str bytes) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    int rc = 0;
    while (p < end && rc == 0) {
        union pb_value v;
        uint8_t raw[20];
        p = read_varint(field->type, p, end, &v);
        if (p == NULL) break;
        if (wire_is_known(field, v)) continue;
        size_t n = wire_put_varint(raw, (uint64_t)field->number << 3 | WIRE_VARINT);
        n += wire_put_varint(raw + n, v.u);
        rc = r->sink->ops->unknown(r->sink, (struct str){(char *)raw, n});
    }
    return rc;
}

// ---- maps

int wire_read_entry(struct wire_reader *r, const struct wire_frame *at, const struct pb_field *map,
                    struct str bytes, struct wire_entry *entry) {
    const struct pb_message *type = map->message;
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    const struct wire_frame inner = {at, map, WIRE_NO_INDEX, at->depth + 1, false};
    int rc = 0;
    *entry = (struct wire_entry){0};
    if (type->fields[0].type == PB_STRING) entry->key.s = (struct str){"", 0};
    if (type->fields[1].type == PB_STRING || type->fields[1].type == PB_BYTES)
        entry->value.s = (struct str){"", 0};
    if (type->fields[1].type == PB_ENUM)
        entry->value.i = type->fields[1].enumeration->values[0].number;
    while (p < end) {
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        if (p == NULL) return cut_off(r, at, map, WIRE_NO_INDEX);
        const struct pb_field *field = tag >> 3 == 1   ? &type->fields[0]
                                       : tag >> 3 == 2 ? &type->fields[1]
                                                       : NULL;
        if (field != NULL && wire_form_of(field, tag) == WIRE_SCALAR) {
            union pb_value *v = tag >> 3 == 1 ? &entry->key : &entry->value;
            p = wire_read_scalar(r, &inner, field, WIRE_NO_INDEX, p, end, v, &rc);
            if (p == NULL) return rc;
            if (tag >> 3 == 2) entry->unknown = !wire_is_known(field, *v);
        } else {
            p = wire_skip(p, end, tag, PB_MAX_DEPTH, NULL);
            if (p == NULL) return cut_off(r, at, map, WIRE_NO_INDEX);
        }
    }
    return 0;
}

// ---- messages

struct direct {
    struct wire_reader *r;
    const struct wire_frame *at;
    const struct pb_field *list; // the list that is open
    size_t index;                // how many elements it has
    uint64_t seen;
};

static int close_list(struct direct *d) {
    if (d->list == NULL) return 0;
    d->list = NULL;
    return d->r->sink->ops->list_end(d->r->sink);
}

static int open_list(struct direct *d, const struct pb_field *field) {
    if (d->list == field) return 0;
    d->list = field;
    d->index = 0;
    return d->r->sink->ops->list(d->r->sink, field);
}

static int tell_unknown(struct direct *d, const uint8_t *start, const uint8_t *end) {
    int rc = close_list(d);
    if (rc < 0) return rc;
    return d->r->sink->ops->unknown(d->r->sink,
                                    (struct str){(const char *)start, (size_t)(end - start)});
}

static const uint8_t *direct_scalar(struct direct *d, const struct pb_field *field,
                                    const uint8_t *start, const uint8_t *p, const uint8_t *end,
                                    int *rc) {
    union pb_value v;
    size_t index = !field->repeated ? WIRE_NO_INDEX : d->list == field ? d->index : 0;
    p = wire_read_scalar(d->r, d->at, field, index, p, end, &v, rc);
    if (p == NULL) return NULL;
    if (!wire_is_known(field, v)) {
        *rc = tell_unknown(d, start, p);
        return p;
    }
    if (field->repeated) {
        *rc = open_list(d, field);
        if (*rc < 0) return NULL;
        d->index++;
    } else {
        uint64_t bit = 1ULL << (field->index & 63);
        if (!field->has_presence && !(d->seen & bit) && wire_is_zero(field->type, v)) return p;
        d->seen |= bit;
    }
    *rc = d->r->sink->ops->value(d->r->sink, field, v);
    return p;
}

static int direct_packed(struct direct *d, const struct pb_field *field, struct str bytes) {
    bool unknown_left = false;
    int rc = open_list(d, field);
    if (rc == 0) rc = wire_read_packed(d->r, d->at, field, bytes, &d->index, &unknown_left);
    if (rc < 0 || !unknown_left) return rc;
    rc = close_list(d);
    return rc < 0 ? rc : wire_packed_unknown(d->r, field, bytes);
}

static int direct_message(struct wire_reader *r, const struct wire_frame *at,
                          const struct pb_field *field, size_t index, struct str content,
                          bool again) {
    struct wire_frame inner = {at, field, index, at->depth + 1, again};
    if (inner.depth > PB_MAX_DEPTH) return wire_fail_deep(r, at, field);
    int rc = r->sink->ops->message(r->sink, field, field->message);
    if (rc == 0) rc = wire_read_direct(r, &inner, field->message, content);
    return rc < 0 ? rc : r->sink->ops->message_end(r->sink);
}

// The value of an entry that is a message: every time that it occurs, the sink merges it.
static int direct_entry_message(struct wire_reader *r, const struct wire_frame *at,
                                const struct pb_field *field, struct str bytes) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    bool any = false;
    int rc = 0;
    while (p != NULL && p < end && rc == 0) {
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        const uint8_t *content = p, *content_end = NULL;
        if (p == NULL) break;
        p = wire_skip(p, end, tag, PB_MAX_DEPTH, &content_end);
        if (p == NULL || tag >> 3 != 2 || wire_form_of(field, tag) != WIRE_MESSAGE) continue;
        struct str bytes_of = {(const char *)content,
                               content_end == NULL ? 0 : (size_t)(content_end - content)};
        if (field->type == PB_MESSAGE) wire_length(content, end, &bytes_of);
        rc = direct_message(r, at, field, WIRE_NO_INDEX, bytes_of, any);
        any = true;
    }
    if (rc == 0 && !any)
        rc = direct_message(r, at, field, WIRE_NO_INDEX, (struct str){"", 0}, false);
    return rc;
}

static int direct_entry(struct direct *d, const struct pb_field *map, struct str bytes,
                        const uint8_t *start, const uint8_t *end) {
    struct wire_reader *r = d->r;
    struct pb_sink *sink = r->sink;
    struct wire_entry entry;
    struct wire_frame inner = {d->at, map, WIRE_NO_INDEX, d->at->depth + 1, false};
    if (inner.depth > PB_MAX_DEPTH) return wire_fail_deep(r, d->at, map);
    int rc = wire_read_entry(r, d->at, map, bytes, &entry);
    if (rc < 0) return rc;
    if (entry.unknown) return tell_unknown(d, start, end);
    const struct pb_field *key = &map->message->fields[0], *value = &map->message->fields[1];
    rc = open_list(d, map);
    if (rc == 0) rc = sink->ops->message(sink, map, map->message);
    if (rc == 0) rc = sink->ops->value(sink, key, entry.key);
    if (rc < 0) return rc;
    rc = value->message == NULL ? sink->ops->value(sink, value, entry.value)
                                : direct_entry_message(r, &inner, value, bytes);
    return rc < 0 ? rc : sink->ops->message_end(sink);
}

static int direct_child(struct direct *d, const struct pb_field *field, struct str content) {
    if (field->repeated) {
        int rc = open_list(d, field);
        return rc < 0 ? rc : direct_message(d->r, d->at, field, d->index++, content, false);
    }
    uint64_t bit = 1ULL << (field->index & 63);
    bool again = (d->seen & bit) != 0;
    d->seen |= bit;
    return direct_message(d->r, d->at, field, WIRE_NO_INDEX, content, again);
}

// A field that is a message, a group, an entry or a packed list; its content is within [p, end).
static const uint8_t *direct_nested(struct direct *d, const struct pb_field *field,
                                    enum wire_form form, uint32_t tag, const uint8_t *start,
                                    const uint8_t *p, const uint8_t *end, int *rc) {
    struct str content;
    const uint8_t *next, *content_end = NULL;
    if ((tag & 7) == WIRE_GROUP) {
        next = wire_skip(p, end, tag, PB_MAX_DEPTH, &content_end);
        if (next != NULL) content = (struct str){(const char *)p, (size_t)(content_end - p)};
    } else {
        next = wire_length(p, end, &content);
    }
    if (next == NULL) {
        *rc = cut_off(d->r, d->at, field, WIRE_NO_INDEX);
    } else if (form == WIRE_PACKED) {
        *rc = direct_packed(d, field, content);
    } else if (form == WIRE_ENTRY) {
        *rc = direct_entry(d, field, content, start, next);
    } else {
        *rc = direct_child(d, field, content);
    }
    return next;
}

int wire_read_direct(struct wire_reader *r, const struct wire_frame *at,
                     const struct pb_message *type, struct str bytes) {
    struct direct d = {.r = r, .at = at, .seen = at->again ? UINT64_MAX : 0};
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    int rc = 0;
    while (p != NULL && p < end && rc == 0) {
        const uint8_t *start = p;
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        if (p == NULL) return cut_off(r, at, NULL, WIRE_NO_INDEX);
        const struct pb_field *field = pb_field_by_number(type, tag >> 3);
        enum wire_form form = wire_form_of(field, tag);
        if (d.list != NULL && d.list != field) rc = close_list(&d);
        if (rc < 0) return rc;
        switch (form) {
        case WIRE_SCALAR: p = direct_scalar(&d, field, start, p, end, &rc); break;
        case WIRE_UNKNOWN:
            p = wire_skip(p, end, tag, PB_MAX_DEPTH - at->depth, NULL);
            rc = p == NULL ? cut_off(r, at, field, WIRE_NO_INDEX) : tell_unknown(&d, start, p);
            break;
        default: p = direct_nested(&d, field, form, tag, start, p, end, &rc); break;
        }
    }
    return rc < 0 ? rc : close_list(&d);
}

int wire_read_root(struct wire_reader *r, const struct pb_message *type, struct str bytes) {
    struct pb_sink *sink = r->sink;
    struct wire_frame root = {NULL, NULL, WIRE_NO_INDEX, 0, false};
    int rc = sink->ops->message(sink, NULL, type);
    if (rc < 0) return rc;
    if (bytes.n == 0) return sink->ops->message_end(sink);
    rc = sink->ordered ? wire_read_root_ordered(r, &root, type, bytes)
                       : wire_read_direct(r, &root, type, bytes);
    return rc < 0 ? rc : sink->ops->message_end(sink);
}

int pb_read_wire(const struct pb_message *type, struct str bytes, struct pb_sink *sink) {
    struct wire_reader r = {.sink = sink};
    int rc = type->needs_check ? wire_check_required(type, bytes, sink->err) : 0;
    return rc < 0 ? rc : wire_read_root(&r, type, bytes);
}
