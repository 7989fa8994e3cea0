// SPDX-License-Identifier: Apache-2.0
// The values of a request that come as names and texts (variables of a path, forms, queries), and their merge with a body
// of JSON.
//
// A name is a path: fields, keys of maps and indices of lists, joined by '.' or in brackets ("page.limit", "page[limit]",
// "tags[]", "items[0].name"). What a text becomes is said by the descriptor: a numeric text for a string stays a string.
//
// Of several values for one thing the one of the highest rank counts; two of one rank are a fault, but in a list. Messages are
// merged, member by member; a list or map is taken whole from one rank.
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "pb/desc.h"

enum form_rank { FORM_QUERY, FORM_BODY, FORM_PATH };
enum form_kind {
    FORM_TEXT,  // as people write it: "true", "3", "2026-11-22T10:00:00Z"; bytes in base64
    FORM_JSON,  // a value as JSON
    FORM_BYTES, // the bytes themselves, for a field of bytes or a string
};

struct pb_form; // belongs to one thread

// NULL: no memory. `type`: the message that they are of. `err` is where all faults are told.
struct pb_form *pb_form_new(const struct pb_message *type, struct err *err);
void pb_form_delete(struct pb_form *f);

// The following ones return 0, -STATUS_INVALID_ARGUMENT or -STATUS_RESOURCE_EXHAUSTED. Values are to be added from the highest
// rank down. A form takes 1000 of them.

// One value. `name` is valid UTF-8, or is refused; name and value must outlive the form.
int pb_form_add(struct pb_form *f, enum form_rank rank, struct str name, enum form_kind kind,
                struct str value);
// One file. `name` leads to a field of bytes or a string, which gets its content; or to a message that is made for files (or
// a list of these): one with a field `data` of bytes, and, where it has them, strings `name` and `content_type`.
struct form_file {
    struct str name; // as its owner calls it
    struct str content_type;
    struct str data;
};
int pb_form_add_file(struct pb_form *f, enum form_rank rank, struct str name,
                     const struct form_file *file);
// The field `data` of a message that is made for files; NULL: it is not.
const struct pb_field *pb_form_file_data(const struct pb_message *type);
// "name=Ada&tags=a&tags=b", percent-encoded. `under` (may be empty): the field that they are members of.
int pb_form_add_pairs(struct pb_form *f, enum form_rank rank, struct str under, struct str pairs);

// Appends the message as JSON that pb_read_json accepts, and which alone says whether the values fit their types. `body`
// (may be empty) is JSON of rank FORM_BODY, of the field `under` or (empty) of the whole message. Malformed: its fault is told.
int pb_form_write(struct pb_form *f, struct str under, struct str body, struct buf *out);

// A query string or form alone.
int pb_query_to_json(const struct pb_message *type, struct str query, struct buf *out,
                     struct err *err);
