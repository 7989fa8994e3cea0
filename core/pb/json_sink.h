// SPDX-License-Identifier: Apache-2.0
// What the parts of the JSON sink share: json_sink.c (the events) and json_sink_put.c (what they
// print). Nobody else includes it.
#pragma once

#include "pb/json_lex.h"
#include "pb/visit.h"

enum kind {
    OBJECT, // a message as an object of its fields
    LIST,
    MAP,
    ENTRY, // of a map: "key": value
    TIME,  // Timestamp, Duration: printed at the end
    MASK,
    PATHS, // the list in a mask
    ANY,
    STRUCT,     // prints as its map
    LIST_VALUE, // prints as its list
    VALUE,      // prints as the one member that is set
    WRAPPER,    // prints as its field
};

struct frame {
    enum kind kind;
    bool some;                        // something is printed inside
    bool keyed;                       // ENTRY: the key is printed
    bool in_any;                      // OBJECT: the content of an Any, whose braces are printed
    bool done;                        // ANY: the content was read
    const struct pb_field *field;     // that holds it; NULL at the root
    const struct pb_message *type;    // NULL for lists
    const struct pb_message *content; // ANY: what is in it
    size_t start; // LIST: how long the output was before its member; and whether that was the first
    bool first;
    size_t next; // OBJECT: index of the field whose turn it is; LIST: elements so far; MAP, ENTRY:
                 // place in `entries`
    int64_t seconds;
    int32_t nanos;
};

struct entry { // of a map, in `out`
    size_t start;
    size_t end;
    size_t key_n;     // of the key's text at `start`
    uint64_t number;  // a key that is no string, ordered as unsigned
    const char *text; // the key's text while sorting; NULL when numbers are compared
};

#define JSON_SINK_SHALLOW 20
#define JSON_SINK_DEEP (2 * PB_MAX_DEPTH + 4)

struct pb_json_sink {
    struct pb_sink sink;
    const struct pb_pool *pool;
    struct pb_json_style style;
    struct buf *out;
    struct buf entries; // a stack of struct entry, those of every open map
    int depth;
    int indent;
    struct frame *deep; // what is open beyond `stack`; NULL until it is needed
    struct frame stack[JSON_SINK_SHALLOW];
};

// The i-th of what is open, outermost first.
static inline struct frame *json_sink_frame(struct pb_json_sink *j, int i) {
    return i < JSON_SINK_SHALLOW ? &j->stack[i] : &j->deep[i - JSON_SINK_SHALLOW];
}

// -STATUS_INVALID_ARGUMENT with the path of the frame on top in front of the text.
int json_sink_fail(struct pb_json_sink *j, const char *text);
int json_sink_no_memory(struct pb_json_sink *j);

// What stands before a member or an element; brackets with their indent; ": ".
void json_sink_separate(struct pb_json_sink *j, struct frame *f);
void json_sink_open(struct pb_json_sink *j, char c);
void json_sink_close(struct pb_json_sink *j, const struct frame *f, char c);
void json_sink_colon(struct pb_json_sink *j);
void json_sink_name(struct pb_json_sink *j, const struct pb_field *f); // "name":

union pb_value json_sink_zero(const struct pb_field *f);
void json_sink_scalar(struct pb_json_sink *j, const struct pb_field *f, union pb_value v);

// Entries of maps: remembered from their start to the end of the map, then put in order.
int json_sink_entry_begin(struct pb_json_sink *j);
void json_sink_entry_key(struct pb_json_sink *j, struct frame *f, union pb_value v);
void json_sink_entry_end(struct pb_json_sink *j);
int json_sink_entries_sort(struct pb_json_sink *j, const struct frame *f);
