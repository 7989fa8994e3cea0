// SPDX-License-Identifier: Apache-2.0
// Reads the binary form in the order of the field numbers, each field once: what a JSON sink wants.
//
// A logical message is a list of spans: where a singular message field occurs several times, the
// format says that the occurrences are merged, which is the same as reading their bytes one after
// the other. All fields of the spans are put into an array of items and sorted by number, stably;
// then every run of one field is one event or one list. The items of all open messages are one
// stack in the reader: a message works on [first, count) and gives its part back at the end. The
// array may move while inner messages are read, so items are copied out before use.
//
// Rules that need a look at the whole message: the last scalar wins; of a oneof only the member
// that came last remains, and of it only what came after any other member; the last entry of a
// map's key wins.
//
// The array is from malloc: the sinks of this form must not longjmp.
#include "wire_read.h"

#include <stdlib.h>

struct wire_item {
    const struct pb_field *field; // NULL: unknown
    uint32_t number;              // UINT32_MAX for what is unknown, so that it comes last
    uint32_t tag;
    enum wire_form form;
    bool dropped;
    const uint8_t *start; // the tag
    struct str content;   // of a message, group, entry or packed list
    const uint8_t *next;  // after the field
};

static int cut_off(struct wire_reader *r, const struct wire_frame *at,
                   const struct pb_field *field) {
    return wire_fail(r, at, field, WIRE_NO_INDEX, "malformed or cut off");
}

// Neighbours that are told together are one item, so that a hostile message of a million one-byte
// fields does not take a million items: scalars of one repeated field, unknown fields, and a scalar
// that is overwritten at once.
static bool join(struct wire_reader *r, const struct wire_item *item) {
    if (r->item_count == 0) return false;
    struct wire_item *last = &r->items[r->item_count - 1];
    if (last->next != item->start || last->form != item->form || last->field != item->field)
        return false;
    if (item->form == WIRE_SCALAR && !item->field->repeated) {
        *last = *item;
        return true;
    }
    if (item->form != WIRE_SCALAR && item->form != WIRE_UNKNOWN) return false;
    last->next = item->next;
    return true;
}

static int push(struct wire_reader *r, struct wire_item item) {
    if (join(r, &item)) return 0;
    if (r->item_count == r->item_cap) {
        size_t cap = r->item_cap == 0 ? 64 : r->item_cap * 2;
        struct wire_item *items = realloc(r->items, cap * sizeof *items);
        if (items == NULL)
            return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory while decoding");
        r->items = items;
        r->item_cap = cap;
    }
    r->items[r->item_count++] = item;
    return 0;
}

// ---- collecting

static int collect_field(struct wire_reader *r, const struct wire_frame *at,
                         const struct pb_message *type, struct wire_item *item, const uint8_t *p,
                         const uint8_t *end) {
    const struct pb_field *field = pb_field_by_number(type, item->tag >> 3);
    const uint8_t *content_end = NULL;
    item->form = wire_form_of(field, item->tag);
    item->next = wire_skip(p, end, item->tag, PB_MAX_DEPTH, &content_end);
    if (item->next == NULL) return cut_off(r, at, field);
    if ((item->tag & 7) == WIRE_LENGTH) {
        wire_length(p, end, &item->content);
    } else if ((item->tag & 7) == WIRE_GROUP) {
        item->content = (struct str){(const char *)p, (size_t)(content_end - p)};
    }
    if (item->form == WIRE_SCALAR && field->type == PB_ENUM && field->enumeration->closed) {
        union pb_value v;
        int rc = 0;
        if (wire_read_scalar(r, at, field, WIRE_NO_INDEX, p, end, &v, &rc) == NULL) return rc;
        if (!wire_is_known(field, v)) item->form = WIRE_UNKNOWN;
    } else if (item->form == WIRE_ENTRY) {
        struct wire_entry entry;
        int rc = wire_read_entry(r, at, field, item->content, &entry);
        if (rc < 0) return rc;
        if (entry.unknown) item->form = WIRE_UNKNOWN;
    }
    item->field = item->form == WIRE_UNKNOWN ? NULL : field;
    item->number = item->form == WIRE_UNKNOWN ? UINT32_MAX : field->number;
    return push(r, *item);
}

static int collect(struct wire_reader *r, const struct wire_frame *at,
                   const struct pb_message *type, struct str bytes) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    while (p < end) {
        struct wire_item item = {.start = p};
        p = wire_tag(p, end, &item.tag);
        if (p == NULL) return cut_off(r, at, NULL);
        int rc = collect_field(r, at, type, &item, p, end);
        if (rc < 0) return rc;
        p = item.next;
    }
    return 0;
}

// ---- sorting and dropping

// In the order of the bytes; items of one message never share a start.
static int by_number(const void *a, const void *b) {
    const struct wire_item *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->start > y->start) - (x->start < y->start);
}

static void sort_items(struct wire_item *items, size_t n) {
    for (size_t i = 1; i < n; i++) {
        if (items[i - 1].number > items[i].number) {
            qsort(items, n, sizeof *items, by_number);
            return;
        }
    }
}

static void prune_oneof(struct wire_item *items, size_t n, int oneof) {
    const struct pb_field *last = NULL;
    bool over = false; // another member came after what is before this place
    for (size_t i = n; i-- > 0;) {
        if (items[i].field == NULL || items[i].field->oneof != oneof) continue;
        if (last == NULL) last = items[i].field;
        if (items[i].field != last) over = true;
        items[i].dropped = over;
    }
}

static void prune_oneofs(const struct pb_message *type, struct wire_item *items, size_t n) {
    size_t members = 0;
    for (size_t i = 0; i < n; i++) members += items[i].field != NULL && items[i].field->oneof >= 0;
    if (members < 2) return;
    for (size_t i = 0; i < type->oneof_count; i++) prune_oneof(items, n, (int)i);
}

struct keyed {
    union pb_value key;
    struct wire_item *item;
};

static int by_text_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    size_t n = x->key.s.n < y->key.s.n ? x->key.s.n : y->key.s.n;
    int order = n == 0 ? 0 : memcmp(x->key.s.p, y->key.s.p, n);
    if (order != 0) return order;
    if (x->key.s.n != y->key.s.n) return x->key.s.n < y->key.s.n ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int by_number_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    if (x->key.u != y->key.u) return x->key.u < y->key.u ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

// Of the entries with one key, the last remains.
static int prune_entries(struct wire_reader *r, const struct wire_frame *at,
                         struct wire_item *items, size_t n) {
    if (n < 2) return 0;
    bool text = items->field->message->fields[0].type == PB_STRING;
    struct keyed *sorted = malloc(n * sizeof *sorted);
    if (sorted == NULL)
        return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory while decoding");
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct wire_entry entry;
        rc = wire_read_entry(r, at, items->field, items[i].content, &entry);
        sorted[i] = (struct keyed){entry.key, &items[i]};
    }
    if (rc == 0) qsort(sorted, n, sizeof *sorted, text ? by_text_key : by_number_key);
    for (size_t i = 1; i < n && rc == 0; i++) {
        union pb_value a = sorted[i - 1].key, b = sorted[i].key;
        sorted[i - 1].item->dropped = text ? str_equal(a.s, b.s) : a.u == b.u;
    }
    free(sorted);
    return rc;
}

// ---- telling

static int tell_content(struct wire_reader *r, const struct wire_frame *at,
                        const struct pb_message *type, size_t first);

// One message whose spans are the items [from, to) that are not dropped.
static int tell_message(struct wire_reader *r, const struct wire_frame *at,
                        const struct pb_field *field, size_t index, size_t from, size_t to) {
    struct wire_frame inner = {at, field, index, at->depth + 1, false};
    if (inner.depth > PB_MAX_DEPTH) return wire_fail_deep(r, at, field);
    size_t first = r->item_count;
    int rc = r->sink->ops->message(r->sink, field, field->message);
    for (size_t i = from; i < to && rc == 0; i++) {
        struct wire_item item = r->items[i];
        if (!item.dropped) rc = collect(r, &inner, field->message, item.content);
    }
    if (rc == 0) rc = tell_content(r, &inner, field->message, first);
    r->item_count = first;
    return rc < 0 ? rc : r->sink->ops->message_end(r->sink);
}

// The scalars of an item: one, or the neighbours of a repeated field.
static int tell_scalars(struct wire_reader *r, const struct wire_frame *at,
                        const struct wire_item *item, size_t *index) {
    const struct pb_field *field = item->field;
    const uint8_t *p = item->start;
    int rc = 0;
    while (p < item->next && rc == 0) {
        union pb_value v;
        uint32_t tag;
        size_t place = field->repeated ? (*index)++ : WIRE_NO_INDEX;
        p = wire_tag(p, item->next, &tag);
        p = wire_read_scalar(r, at, field, place, p, item->next, &v, &rc);
        if (p == NULL) return rc;
        if (!field->repeated && !field->has_presence && wire_is_zero(field->type, v)) return 0;
        rc = r->sink->ops->value(r->sink, field, v);
    }
    return rc;
}

static int tell_entry(struct wire_reader *r, const struct wire_frame *at,
                      const struct wire_item *item) {
    struct pb_sink *sink = r->sink;
    const struct pb_field *map = item->field, *key = &map->message->fields[0],
                          *value = &map->message->fields[1];
    struct wire_frame inner = {at, map, WIRE_NO_INDEX, at->depth + 1, false};
    struct wire_entry entry;
    if (inner.depth > PB_MAX_DEPTH) return wire_fail_deep(r, at, map);
    int rc = wire_read_entry(r, at, map, item->content, &entry);
    if (rc == 0) rc = sink->ops->message(sink, map, map->message);
    if (rc == 0) rc = sink->ops->value(sink, key, entry.key);
    if (rc < 0) return rc;
    if (value->message == NULL) {
        rc = sink->ops->value(sink, value, entry.value);
    } else {
        size_t first = r->item_count;
        rc = collect(r, &inner, map->message, item->content);
        size_t kept = first;
        for (size_t i = first; i < r->item_count && rc == 0; i++) {
            if (r->items[i].field == value) r->items[kept++] = r->items[i];
        }
        if (rc == 0) r->item_count = kept;
        if (rc == 0) rc = tell_message(r, &inner, value, WIRE_NO_INDEX, first, kept);
        r->item_count = first;
    }
    return rc < 0 ? rc : sink->ops->message_end(sink);
}

static int tell_list(struct wire_reader *r, const struct wire_frame *at, size_t from, size_t to) {
    const struct pb_field *field = r->items[from].field;
    bool unknown_left = false;
    size_t index = 0;
    int rc = field->is_map ? prune_entries(r, at, &r->items[from], to - from) : 0;
    if (rc == 0) rc = r->sink->ops->list(r->sink, field);
    for (size_t i = from; i < to && rc == 0; i++) {
        struct wire_item item = r->items[i];
        if (item.dropped) continue;
        switch (item.form) {
        case WIRE_PACKED:
            rc = wire_read_packed(r, at, field, item.content, &index, &unknown_left);
            break;
        case WIRE_SCALAR: rc = tell_scalars(r, at, &item, &index); break;
        case WIRE_ENTRY: rc = tell_entry(r, at, &item); break;
        default: rc = tell_message(r, at, field, index++, i, i + 1); break;
        }
    }
    if (rc == 0) rc = r->sink->ops->list_end(r->sink);
    for (size_t i = from; unknown_left && i < to && rc == 0; i++) {
        if (r->items[i].form == WIRE_PACKED)
            rc = wire_packed_unknown(r, field, r->items[i].content);
    }
    return rc;
}

// A run of items of one field.
static int tell_run(struct wire_reader *r, const struct wire_frame *at, size_t from, size_t to) {
    struct wire_item last = r->items[to - 1];
    if (last.form == WIRE_UNKNOWN) {
        int rc = 0;
        for (size_t i = from; i < to && rc == 0; i++) {
            struct wire_item item = r->items[i];
            struct str raw = {(const char *)item.start, (size_t)(item.next - item.start)};
            rc = r->sink->ops->unknown(r->sink, raw);
        }
        return rc;
    }
    if (last.field->repeated) return tell_list(r, at, from, to);
    if (last.dropped) return 0; // of a oneof that another member won
    if (last.field->message != NULL)
        return tell_message(r, at, last.field, WIRE_NO_INDEX, from, to);
    size_t only = 0;
    return tell_scalars(r, at, &last, &only);
}

static int tell_content(struct wire_reader *r, const struct wire_frame *at,
                        const struct pb_message *type, size_t first) {
    size_t count = r->item_count;
    if (count == first) return 0;
    prune_oneofs(type, r->items + first, count - first);
    sort_items(r->items + first, count - first);
    int rc = 0;
    for (size_t from = first, to; from < count && rc == 0; from = to) {
        to = from + 1;
        while (to < count && r->items[to].number == r->items[from].number) to++;
        rc = tell_run(r, at, from, to);
    }
    return rc;
}

int wire_read_root_ordered(struct wire_reader *r, const struct wire_frame *at,
                           const struct pb_message *type, struct str bytes) {
    int rc = collect(r, at, type, bytes);
    if (rc == 0) rc = tell_content(r, at, type, 0);
    free(r->items);
    r->items = NULL;
    return rc;
}
