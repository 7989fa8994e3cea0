// SPDX-License-Identifier: Apache-2.0
// A hash map from byte strings to pointers: open addressing, keys copied, seeded hash (keys come from peers).
// Belongs to one thread at a time; read-only use by several threads is safe once it is no longer changed.
#pragma once

#include "base/buf.h"

struct map_entry {
    struct str key; // owned by the map; p is NULL in an empty place
    uint64_t hash;
    void *value;
};

struct map {
    struct map_entry *entries;
    size_t count;
    size_t cap; // a power of two, or 0
    uint64_t seed;
};

void *map_get(const struct map *map, struct str key); // NULL when absent
int map_put(struct map *map, struct str key,
            void *value); // replaces; 0 or -STATUS_RESOURCE_EXHAUSTED; value not NULL
void *map_remove(struct map *map, struct str key); // the value that was there, or NULL
void map_free(struct map *map); // the keys and the table; values are the caller's
// Visits every entry in no particular order: `for (e = map_next(m, NULL); e; e = map_next(m, e))`. Do not change the
// map meanwhile.
struct map_entry *map_next(const struct map *map, const struct map_entry *after);
