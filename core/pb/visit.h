// SPDX-License-Identifier: Apache-2.0
// The visitor: every conversion of a message is a reader (wire, JSON, Lua) that walks its input by descriptor and
// tells a sink (wire, JSON, Lua) what it sees. Three readers and three sinks give all nine conversions; none knows
// the others.
//
// Events are structural, as the .proto has it: a Timestamp is a message with seconds and nanos, a map is a repeated
// message of entries, a wrapper is a message with a field `value`. The ends that show well-known types differently
// (JSON, Lua) do so themselves.
//
//   message(field, type) ... events of its fields ... message_end()      the root has field NULL
//   list(field) ... value() or message()/message_end() a element ... list_end()   repeated fields and maps
//   value(field, v)                                                     a scalar or an enum
//   unknown(bytes)                                                      raw tag and value, in the current message
//
// Rules that readers keep, so that sinks need not check:
// - Fields of a message come each at most once, repeated ones as one list, oneofs with at most one member, when
//   `sink->ordered` is set: in order of field number as well. A sink that is not ordered (Lua, wire) may get a list in
//   several pieces, and a field again, later: it merges as the protobuf documentation says (last scalar wins, messages
//   merge, lists append; a member of a oneof clears the others).
// - A required field (proto2) that is absent is a fault.
// - A zero value of a field without presence is not reported. Strings are valid UTF-8. Depth is at most 100.
// - Enum values arrive as numbers. A closed enum's unknown number arrives as `unknown`.
//
// Every callback returns 0 or a negative status; the reader stops at the first error. Any thread; a sink belongs to
// one conversion.
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "pb/desc.h"

#define PB_MAX_DEPTH 100

// One scalar; which member counts follows from the field's type: i (int32, sint32, sfixed32, int64 ..., bool as 0 and 1,
// enum), u (uint32, fixed32, uint64, fixed64), d (double, float), s (string, bytes; borrowed until the callback returns).
union pb_value {
    int64_t i;
    uint64_t u;
    double d;
    struct str s;
};

struct pb_sink {
    const struct pb_sink_ops *ops;
    bool ordered;    // wants the ordered form, see above
    struct err *err; // where errors are told; may be NULL
};

struct pb_sink_ops {
    int (*message)(struct pb_sink *sink, const struct pb_field *field,
                   const struct pb_message *type);
    int (*message_end)(struct pb_sink *sink);
    int (*list)(struct pb_sink *sink, const struct pb_field *field);
    int (*list_end)(struct pb_sink *sink);
    int (*value)(struct pb_sink *sink, const struct pb_field *field, union pb_value v);
    int (*unknown)(struct pb_sink *sink, struct str bytes);
};

// ---- readers
// Faults of the input are -STATUS_INVALID_ARGUMENT with a text that names the field's path ("posts[2].title: ...").

// The binary form (https://protobuf.dev/programming-guides/encoding/). `pool` resolves Any; it may be NULL.
int pb_read_wire(const struct pb_message *type, struct str bytes, struct pb_sink *sink);

struct pb_json_options {
    bool
        ignore_unknown; // skip fields that the contract lacks; else they are an error with a suggestion
};
// Both spellings of names, both forms of numbers (https://protobuf.dev/programming-guides/json/).
int pb_read_json(const struct pb_pool *pool, const struct pb_message *type, struct str json,
                 const struct pb_json_options *options, struct pb_sink *sink);

// ---- sinks

// Appends the binary form to `out`. pb_wire_sink_done: 0, or -STATUS_RESOURCE_EXHAUSTED when memory ended.
struct pb_wire_sink {
    struct pb_sink sink;
    struct buf *out;
    struct {
        const struct pb_field *field;
        size_t start; // where the content begins, after the byte kept for its length
    } stack[PB_MAX_DEPTH + 2];
    int depth;
    const struct pb_field *packed; // the packed list being written
    size_t packed_start;
};
void pb_wire_sink_init(struct pb_wire_sink *w, struct buf *out, struct err *err);
int pb_wire_sink_done(struct pb_wire_sink *w);

// How JSON is written. Micro's form (zeroed): names as in the schema, defaults of fields without presence printed,
// 64-bit integers as strings. ProtoJSON: camel, no_defaults.
struct pb_json_style {
    bool camel;
    bool no_defaults;
    bool int64_number; // 64-bit integers as numbers
    bool pretty;       // two spaces, one member a line
    size_t max;        // bytes of JSON; what is longer is RESOURCE_EXHAUSTED; 0: no limit
};
extern const struct pb_json_style PB_JSON_MICRO;
extern const struct pb_json_style PB_JSON_PROTO;

struct pb_json_sink; // large: on the heap
struct pb_json_sink *pb_json_sink_new(const struct pb_pool *pool, const struct pb_json_style *style,
                                      struct buf *out, struct err *err);
struct pb_sink *pb_json_sink(struct pb_json_sink *j);
void pb_json_sink_delete(struct pb_json_sink *j);

// ---- whole conversions

int pb_json_to_wire(const struct pb_pool *pool, const struct pb_message *type, struct str json,
                    struct buf *out, struct err *err);
int pb_wire_to_json(const struct pb_pool *pool, const struct pb_message *type, struct str wire,
                    const struct pb_json_style *style, struct buf *out, struct err *err);
