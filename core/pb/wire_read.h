// SPDX-License-Identifier: Apache-2.0
// What the two forms of the wire reader share: wire_read.c (in the order of the bytes) and
// wire_ordered.c (in the order of the field numbers).
#pragma once

#include "pb/visit.h"
#include "pb/wire.h"

struct wire_item; // wire_ordered.c

struct wire_reader {
    struct pb_sink *sink;
    struct wire_item *items; // the ordered form's stack of fields, of all open messages
    size_t item_count, item_cap;
};

// A message being read. Frames are on the C stack; the chain gives the path of an error.
struct wire_frame {
    const struct wire_frame *up;
    const struct pb_field *field; // NULL: the root
    size_t index;                 // place in the list, WIRE_NO_INDEX in none
    int depth;
    bool again; // it merges into a message that came before, or that did: a zero overwrites
};
#define WIRE_NO_INDEX SIZE_MAX

// What to do with a field, given its tag.
enum wire_form { WIRE_UNKNOWN, WIRE_SCALAR, WIRE_PACKED, WIRE_MESSAGE, WIRE_ENTRY };
enum wire_form wire_form_of(const struct pb_field *field, uint32_t tag);

// One entry of a map. Its value, when it is a message, may be spread over several spans of the
// entry.
struct wire_entry {
    union pb_value key, value;
    bool unknown; // its value is a number that the closed enum lacks
};

// -STATUS_INVALID_ARGUMENT, "posts[2].title: text". Without `field` the frame itself is meant.
int wire_fail(struct wire_reader *r, const struct wire_frame *at, const struct pb_field *field,
              size_t index, const char *text);
int wire_fail_deep(struct wire_reader *r, const struct wire_frame *at,
                   const struct pb_field *field);

// The place after the scalar at `p`, NULL with *rc set when it is malformed or no UTF-8.
const uint8_t *wire_read_scalar(struct wire_reader *r, const struct wire_frame *at,
                                const struct pb_field *field, size_t index, const uint8_t *p,
                                const uint8_t *end, union pb_value *v, int *rc);
bool wire_is_zero(enum pb_type type, union pb_value v);
// False for a number that a closed enum lacks.
bool wire_is_known(const struct pb_field *field, union pb_value v);
// The values of a packed list: those that are known, or those that are not, each as a field of its
// own. `index` counts.
int wire_read_packed(struct wire_reader *r, const struct wire_frame *at,
                     const struct pb_field *field, struct str bytes, size_t *index,
                     bool *unknown_left);
int wire_packed_unknown(struct wire_reader *r, const struct pb_field *field, struct str bytes);
// Reads the scalars of an entry; checks the tags of all of it.
int wire_read_entry(struct wire_reader *r, const struct wire_frame *at, const struct pb_field *map,
                    struct str bytes, struct wire_entry *entry);

// The content of a message, without its begin and end events.
int wire_read_direct(struct wire_reader *r, const struct wire_frame *at,
                     const struct pb_message *type, struct str bytes);
// A whole message, in the form that the sink wants; required fields are not looked for.
int wire_read_root(struct wire_reader *r, const struct pb_message *type, struct str bytes);
// -STATUS_INVALID_ARGUMENT when a required field is missing somewhere, or the bytes are malformed.
int wire_check_required(const struct pb_message *type, struct str bytes, struct err *err);
int wire_read_root_ordered(struct wire_reader *r, const struct wire_frame *at,
                           const struct pb_message *type, struct str bytes);
