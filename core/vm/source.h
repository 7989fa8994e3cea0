// SPDX-License-Identifier: Apache-2.0
// The files of one version of a service, in memory and immutable: what `require` of its VMs sees,
// and its contract. Reference-counted, shared by the VMs; any thread.
#pragma once

#include "pb/desc.h"

struct source_file {
    struct str path; // relative to the folder, '/' between parts: "main.lua", "handler/posts.lua"
    struct blob *content;
    char tag[33]; // of a file that is served (public/): BLAKE2b of the content, hex; else empty
};

struct source {
    atomic_uint refs;
    char *name; // the folder's name
    // Where it was read, for messages. NULL only when it is built in: then it may be bytecode.
    char *folder;
    struct source_file *files; // by path
    size_t file_count;
    struct pb_pool *pool;
    // Names, as in the descriptors, of the .proto files in its folder (not what they import). Those of other servers, which
    // the service only dials, are told apart when main.lua is read: source_disown_proto.
    struct str *protos;
    atomic_bool *foreign;
    size_t proto_count;
    char hash[65]; // SHA-256, hex
};

// Reads a folder: *.lua and *.proto below it and whatever else it holds, but no hidden files, no
// spec/, no links that leave it; and what the project above it lends (source.c). Compiles the
// .proto files. At most 2,000 files and 64 MB. Blocks: never on a loop or a worker. Faults are
// -STATUS_NOT_FOUND (no folder, no main.lua), -STATUS_INVALID_ARGUMENT (a fault in a .proto, with
// file:line:column).
struct source *source_read(const char *folder, struct err *err);
// One that is built in: its Lua files under services/platform/NAME/, its contract proto/mica/NAME/
// of the given pool.
struct source *source_builtin(const char *name, struct pb_pool *platform, struct err *err);
struct source *source_hold(struct source *s);
void source_drop(struct source *s);
const struct source_file *source_file(const struct source *s, struct str path); // NULL when absent
bool source_owns_proto(const struct source *s, struct str proto_file);
// The file is another server's contract. Any thread; what main.lua says never changes, so saying it again changes nothing.
void source_disown_proto(const struct source *s, struct str proto_file);
