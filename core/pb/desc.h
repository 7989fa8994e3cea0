// SPDX-License-Identifier: Apache-2.0
// Descriptors: what a set of .proto files says, in the shape that the codec wants.
//
// A pool is built once from a serialized google.protobuf.FileDescriptorSet (read through protobuf-c) and never
// changed again; it is reference-counted and shared read-only by every thread and VM that speaks its contract.
// Everything reached from a pool lives as long as the pool. Names of well-known types are resolved to a `wkt` kind,
// whichever file brought them.
#pragma once

#include "base/buf.h"
#include "base/map.h"
#include "base/status.h"

enum pb_type { // descriptor.proto's FieldDescriptorProto.Type, same numbers
    PB_DOUBLE = 1,
    PB_FLOAT = 2,
    PB_INT64 = 3,
    PB_UINT64 = 4,
    PB_INT32 = 5,
    PB_FIXED64 = 6,
    PB_FIXED32 = 7,
    PB_BOOL = 8,
    PB_STRING = 9,
    PB_GROUP = 10,
    PB_MESSAGE = 11,
    PB_BYTES = 12,
    PB_UINT32 = 13,
    PB_ENUM = 14,
    PB_SFIXED32 = 15,
    PB_SFIXED64 = 16,
    PB_SINT32 = 17,
    PB_SINT64 = 18,
};

enum pb_jstype { PB_JS_NORMAL = 0, PB_JS_STRING = 1, PB_JS_NUMBER = 2 };

// Messages with a form of their own in JSON and in Lua.
enum pb_wkt {
    PB_WKT_NONE,
    PB_WKT_TIMESTAMP,
    PB_WKT_DURATION,
    PB_WKT_FIELD_MASK,
    PB_WKT_ANY,
    PB_WKT_EMPTY,
    PB_WKT_STRUCT,
    PB_WKT_VALUE,
    PB_WKT_LIST_VALUE,
    PB_WKT_WRAPPER, // DoubleValue ... BytesValue: one field `value`, number 1
};

struct pb_enum_value {
    struct str name;
    int32_t number;
    struct str comment;
};

struct pb_enum {
    struct str full_name;
    struct pb_enum_value *values; // as declared; the first is the default of proto3
    size_t count;
    struct pb_enum_value *
        *sorted;        // by number; of those that share one, the first declared comes first
    struct map by_name; // -> struct pb_enum_value *
    bool closed;        // proto2: a value that the enum lacks is an unknown field
    bool is_null_value; // google.protobuf.NullValue
    size_t index;       // place in the pool
};

struct pb_message;

struct pb_oneof {
    struct str name;
    bool synthetic; // made by proto3 `optional`: not shown to anybody
};

struct pb_field {
    struct str name;      // as in the .proto; extensions: "[pkg.name]"
    struct str json_name; // lowerCamelCase, or what json_name says
    uint32_t number;
    enum pb_type type;
    bool repeated;
    bool packed;       // how we write it; both forms are always read
    bool required;     // proto2
    bool has_presence; // absent differs from zero: messages, proto2, `optional`, members of a oneof
    bool is_map;       // repeated, and its message is a map entry
    bool is_extension;
    enum pb_jstype jstype;
    int oneof; // index into message->oneofs, -1 when in none (or in a synthetic one)
    struct pb_message *parent;  // the message that contains it (for an extension: that it extends)
    struct pb_message *message; // type message or group
    struct pb_enum *enumeration;
    struct str
        default_text; // proto2 [default = ...], as descriptor.proto spells it; n == 0: the zero value
    struct str comment;
    size_t index; // place in parent->fields
};

struct pb_message {
    struct str full_name;
    struct pb_field *fields; // by number, extensions included
    size_t count;
    struct pb_field **by_number; // by_number[n] for small numbers, NULL where none
    uint32_t by_number_max;      // numbers below it are in by_number
    struct map by_name;          // name, json_name, "[extension]" -> struct pb_field *
    struct pb_oneof *oneofs;
    size_t oneof_count;
    bool is_map_entry;
    bool proto3;
    bool needs_check; // it has required fields, or holds a message that has them, at any depth
    bool has_special; // it is or holds a map or a well-known type, at any depth
    enum pb_wkt wkt;
    struct str comment;
    size_t index; // place in the pool: VMs keep per-type tables by it
};

struct pb_service;

// A path of a method (google.api.http), as it was written.
struct pb_http_rule {
    struct str method;   // "GET"; "*": every one
    struct str template; // "/posts/{id}"
    struct str body;     // a field, "*", or "": there is none
    struct str response_body;
};

struct pb_method {
    struct str name;
    struct str path; // "/package.Service/Method"
    struct pb_service *service;
    struct pb_message *input;
    struct pb_message *output;
    bool client_streaming;
    bool server_streaming;
    int idempotency;                 // 0 unknown, 1 NO_SIDE_EFFECTS, 2 IDEMPOTENT
    const struct pb_http_rule *http; // not looked at: see pb_http_rule_check
    size_t http_count;
    unsigned line; // of its rules in the .proto, or of the method; 0: the set does not say
    struct str comment;
    size_t index; // place in the pool: VMs keep handlers by it
};

struct pb_service {
    struct str full_name; // "posts.Posts"
    struct str name;      // "Posts"
    struct str file;      // the .proto that holds it
    struct pb_method *methods;
    size_t count;
    struct str comment;
};

struct pb_pool {
    atomic_uint refs;
    struct blob *set; // the FileDescriptorSet it was made from
    struct pb_message **messages;
    size_t message_count;
    struct pb_enum **enums;
    size_t enum_count;
    struct pb_service *services;
    size_t service_count;
    struct pb_method **methods; // all of all services, by pb_method.index
    size_t method_count;
    struct map names; // full names of messages -> struct pb_message *
    struct map enum_names;
    struct map paths; // "/pkg.Service/Method" -> struct pb_method *
    void *memory;     // the arena that holds all of the above
};

// Takes a hold of `set`. NULL with `err` filled when the set is malformed, nested over 100 deep or inconsistent.
struct pb_pool *pb_pool_new(struct blob *set, struct err *err);
struct pb_pool *pb_pool_hold(struct pb_pool *pool);
void pb_pool_drop(struct pb_pool *pool);

// NULL when absent. Names without a leading dot.
struct pb_message *pb_find_message(const struct pb_pool *pool, struct str full_name);
struct pb_enum *pb_find_enum(const struct pb_pool *pool, struct str full_name);
struct pb_method *pb_find_path(const struct pb_pool *pool, struct str path);

struct pb_field *pb_field_by_number(const struct pb_message *m, uint32_t number);
struct pb_field *pb_field_by_name(const struct pb_message *m,
                                  struct str name); // proto name, JSON name or extension
const struct pb_enum_value *pb_enum_by_number(const struct pb_enum *e, int32_t number);
const struct pb_enum_value *pb_enum_by_name(const struct pb_enum *e, struct str name);

// Whether the rule fits the method: its template is one, its variables, body and response_body name fields that can be so. 0,
// or -STATUS_INVALID_ARGUMENT and a text for the author.
int pb_http_rule_check(const struct pb_method *m, const struct pb_http_rule *rule, struct err *err);
// The field that a path of names ("author.name") leads to, through messages that are not repeated; NULL when there is
// none, and what is wrong.
const struct pb_field *pb_field_by_path(const struct pb_message *m, struct str path,
                                        struct err *err);

// The name among a message's fields that is nearest to `wrong` (edit distance at most a third of its length), for
// "did you mean"; an empty str when none is near.
struct str pb_suggest_field(const struct pb_message *m, struct str wrong);
