// SPDX-License-Identifier: Apache-2.0
// What the files that build a pool share: the arena, the sources of the messages, and the steps in
// their order.
#pragma once

#include "pb/desc.h"

#include <google/protobuf/descriptor.pb-c.h>

typedef Google__Protobuf__FileDescriptorSet SetProto;
typedef Google__Protobuf__FileDescriptorProto FileProto;
typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;
typedef Google__Protobuf__EnumDescriptorProto EnumProto;
typedef Google__Protobuf__SourceCodeInfo__Location LocationProto;

// What a set may take when it is unpacked, and what a pool may: sets are uploaded, and two bytes of one can stand for
// kilobytes (an empty message, a name inside of long names).
#define DESC_MEMORY_MOST ((size_t)256 << 20)

// Zeroed memory that is freed at once; DESC_MEMORY_MOST at most.
struct desc_arena;
struct desc_arena *desc_arena_new(void);
void desc_arena_delete(struct desc_arena *arena); // accepts NULL
void *desc_arena_alloc(struct desc_arena *arena, size_t count,
                       size_t size); // NULL when memory ended

// A place in a file as source_code_info numbers it: alternating field numbers and indexes,
// outermost first.
struct desc_path {
    const struct desc_path *up;
    int32_t field;
    int32_t index;
};

struct desc_file {
    const FileProto *proto;
    struct str package;
    bool proto3;
    const LocationProto **comments; // those that have one, by path
    size_t comment_count;
};

// Where a message or an enum came from, by its index in the pool.
struct desc_source {
    const struct desc_file *file;
    const MessageProto *message;
    const EnumProto *enumeration;
    const struct desc_path *path;
    size_t extensions; // of a message: how many fields others add to it
};

struct desc_build {
    struct pb_pool *pool;
    struct desc_arena *arena;   // what the pool keeps
    struct desc_arena *scratch; // what only the building needs
    struct err *err;
    const SetProto *set;
    struct desc_file *files;
    size_t file_count;
    struct desc_source *messages;
    struct desc_source *enums;
    struct map file_names; // what was seen, to find doubles; the values mean nothing
    struct map service_names;
};

// Each returns 0 or a negative status with err filled.
int desc_check_set(struct str set, struct err *err); // before the set is unpacked
int desc_build_names(struct desc_build *b);          // files, messages and enums with their names
int desc_build_fields(struct desc_build *b);         // fields, oneofs, extensions
int desc_build_services(struct desc_build *b);       // services and methods
int desc_mark_holders(struct desc_build *b);         // pb_message.needs_check, has_special
int desc_check_known(struct desc_build *b); // map entries and well-known types have their shape
// google.api.http of a method; and the lines of a file's methods, once all are there (desc_http.c).
int desc_read_http(struct desc_build *b, struct pb_method *method,
                   const Google__Protobuf__MethodOptions *options);
void desc_note_lines(const FileProto *proto, struct pb_service *services);
int desc_index_comments(struct desc_build *b, struct desc_file *file);

int desc_no_memory(struct desc_build *b);
// The trimmed comment before what stands at the path; empty when there is none or memory ended.
struct str desc_comment(struct desc_build *b, const struct desc_file *file,
                        const struct desc_path *path);
// Copies into the arena; p is NULL when memory ended.
struct str desc_copy(struct desc_build *b, const char *text);
struct str desc_join(struct desc_build *b, struct str prefix,
                     const char *name); // "prefix.name", or the name alone
bool desc_is_name(const char *text);    // [A-Za-z_][A-Za-z0-9_]*
// Resolve a type name (with or without the leading dot); NULL when the set lacks it.
struct pb_message *desc_find_message(struct desc_build *b, const char *name);
struct pb_enum *desc_find_enum(struct desc_build *b, const char *name);
