// SPDX-License-Identifier: Apache-2.0
// Are all required fields (proto2) there? A sink that only looks: the ordered reader tells it every
// field at most once, in the order of the numbers, and merges messages that come in pieces, so that
// a field may be in any of them. A message type without required fields inside is not walked twice
// (pb_message.needs_check).
#include "wire_read.h"

struct check {
    struct pb_sink sink;
    struct wire_reader *reader;                 // for the text of the error
    struct wire_frame frames[PB_MAX_DEPTH + 2]; // the messages that are open: their path
    const struct pb_message *types[PB_MAX_DEPTH + 2];
    size_t next[PB_MAX_DEPTH + 2]; // fields before this one are told of, or missing
    int depth;                     // how many are open
    size_t element;                // of the list that is open
};

// The fields up to `upto` (exclusive) that were not told of.
static int look(struct check *c, size_t upto) {
    int top = c->depth - 1;
    for (size_t i = c->next[top]; i < upto; i++) {
        if (c->types[top]->fields[i].required)
            return wire_fail(c->reader, &c->frames[top], &c->types[top]->fields[i], WIRE_NO_INDEX,
                             "is required");
    }
    return 0;
}

static int on_field(struct check *c, const struct pb_field *field) {
    int rc = look(c, field->index);
    c->next[c->depth - 1] = field->index + 1;
    return rc;
}

static int on_message(struct pb_sink *sink, const struct pb_field *field,
                      const struct pb_message *type) {
    struct check *c = (struct check *)sink;
    int rc = c->depth > 0 && !field->repeated ? on_field(c, field) : 0;
    if (rc < 0) return rc;
    const struct wire_frame *up = c->depth > 0 ? &c->frames[c->depth - 1] : NULL;
    bool indexed = field != NULL && field->repeated && !field->is_map;
    c->frames[c->depth] = (struct wire_frame){
        .up = up, .field = field, .index = indexed ? c->element++ : WIRE_NO_INDEX};
    c->types[c->depth] = type;
    c->next[c->depth] = 0;
    c->depth++;
    return 0;
}

static int on_message_end(struct pb_sink *sink) {
    struct check *c = (struct check *)sink;
    int rc = look(c, c->types[c->depth - 1]->count);
    c->depth--;
    // Inside of a list the count of its elements goes on behind the message that had lists itself.
    const struct wire_frame *ended = &c->frames[c->depth];
    if (ended->index != WIRE_NO_INDEX) c->element = ended->index + 1;
    return rc;
}

static int on_list(struct pb_sink *sink, const struct pb_field *field) {
    struct check *c = (struct check *)sink;
    c->element = 0;
    return on_field(c, field);
}

static int on_list_end(struct pb_sink *sink) {
    (void)sink;
    return 0;
}

static int on_value(struct pb_sink *sink, const struct pb_field *field, union pb_value v) {
    (void)v;
    return field->repeated ? 0 : on_field((struct check *)sink, field);
}

static int on_unknown(struct pb_sink *sink, struct str bytes) {
    (void)sink;
    (void)bytes;
    return 0;
}

int wire_check_required(const struct pb_message *type, struct str bytes, struct err *err) {
    static const struct pb_sink_ops OPS = {.message = on_message,
                                           .message_end = on_message_end,
                                           .list = on_list,
                                           .list_end = on_list_end,
                                           .value = on_value,
                                           .unknown = on_unknown};
    struct check c = {.sink = {.ops = &OPS, .ordered = true, .err = err}};
    struct wire_reader r = {.sink = &c.sink};
    c.reader = &r;
    return wire_read_root(&r, type, bytes);
}
