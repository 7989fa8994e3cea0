// SPDX-License-Identifier: Apache-2.0
// Private to form.c and form_write.c: the tree of a form's values.
#pragma once

#include "pb/form.h"

#define FORM_NONE 0 // the root is nobody's child

struct form_node {
    struct str name;               // in JSON: of a field, or the key of a map; empty in a list
    const struct pb_field *field;  // whose value it is, or one element of it; NULL: the root
    const struct pb_message *type; // a message: what its members are
    bool many;                     // a list or a map as a whole
    bool set;                      // a value, with `text`
    bool done;                     // form_write.c: it is written, or one of a higher rank counts
    uint8_t kind;                  // enum form_kind, of a value
    uint8_t rank;                  // enum form_rank: of whoever made it
    struct str text;
    uint32_t first, last, next; // children, sibling
    uint32_t count;             // children
};

struct form_block;

struct pb_form {
    struct form_node *nodes;
    uint32_t count, cap;
    uint32_t values;
    struct form_block *blocks;
    struct err *err;
    // The value at hand:
    struct str key; // for error texts
    uint8_t rank;
};

int form_no_memory(struct pb_form *f);
uint32_t form_child(const struct pb_form *f, uint32_t parent, struct str name);
