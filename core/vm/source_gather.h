// SPDX-License-Identifier: Apache-2.0
// How a source is put together: for source.c (folders, what is built in) and bundle.c. The source
// is not shared yet.
#pragma once

#include "vm/source.h"

#define SOURCE_FILES 2000
#define SOURCE_BYTES ((size_t)64 << 20)

struct gather {
    struct source *s;
    size_t cap; // of s->files
    size_t bytes;
    struct err *err;
};

struct source *source_new(struct err *err); // one reference, empty
// Adds a file; takes the content, which may be NULL: then memory has ended. Refuses what exceeds
// the limits.
int gather_file(struct gather *g, struct str path, struct blob *take_content);
int gather_proto(struct source *s, struct str name); // a name of s->protos
void gather_sort(struct source *s);                  // by path, as source_file needs it
void gather_hash(struct source *s);                  // of sorted files
