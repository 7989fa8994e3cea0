// SPDX-License-Identifier: Apache-2.0
// The files of a serialized google.protobuf.FileDescriptorSet as they are: for tools that want the descriptors themselves.
// Slices of the set, which must outlive them. Pure; any thread.
#pragma once

#include "base/buf.h"

struct pb_file {
    struct str name;    // "posts.proto"
    struct str package; // may be empty
    struct str bytes;   // the FileDescriptorProto
};

struct pb_files {
    struct pb_file *list;
    size_t count;
};

int pb_files_open(struct pb_files *f, struct str set); // 0 or a negative status
void pb_files_close(struct pb_files *f);
const struct pb_file *pb_files_find(const struct pb_files *f, struct str name); // NULL when absent

// Iterates over what a file imports, by name: `size_t at = 0; while (pb_file_import(file, &at, &name)) ...`
bool pb_file_import(const struct pb_file *file, size_t *at, struct str *name);
// Does the file declare it? A full name without a leading dot: of a message, field, oneof, extension, enum, enum's value (a
// sibling of its enum), service or method.
bool pb_file_declares(const struct pb_file *file, struct str symbol);

// Appends the descriptor without its comments (source_code_info). `rename` (may be NULL) gives the name to write for the
// file itself and for each import.
struct pb_rename {
    struct str (*name)(void *user, struct str name); // good until the next call
    void *user;
};
void pb_file_put(const struct pb_file *file, const struct pb_rename *rename, struct buf *out);
