// SPDX-License-Identifier: Apache-2.0
// Linear probing at a load of at most 3/4; removal shifts the followers back, so there are no tombstones.
#include "base/map.h"

#include "base/random.h"
#include "base/status.h"

#include <stdlib.h>

static uint64_t hash_bytes(uint64_t seed, struct str key) {
    uint64_t h = seed ^ (key.n * 0x9E3779B97F4A7C15ULL);
    const char *p = key.p;
    size_t left = key.n;
    while (left > 0) {
        uint64_t part = 0;
        size_t n = left < 8 ? left : 8;
        memcpy(&part, p, n);
        h = (h ^ part) * 0xD6E8FEB86659FD93ULL;
        h ^= h >> 32;
        p += n;
        left -= n;
    }
    h *= 0xD6E8FEB86659FD93ULL;
    return h ^ h >> 32;
}

// The entry that holds the key, or the empty place where it belongs.
static struct map_entry *find(const struct map *map, uint64_t hash, struct str key) {
    size_t i = hash & (map->cap - 1);
    while (map->entries[i].key.p != NULL) {
        struct map_entry *e = &map->entries[i];
        if (e->hash == hash && str_equal(e->key, key)) return e;
        i = (i + 1) & (map->cap - 1);
    }
    return &map->entries[i];
}

void *map_get(const struct map *map, struct str key) {
    if (map->count == 0) return NULL;
    return find(map, hash_bytes(map->seed, key), key)->value;
}

static int grow(struct map *map) {
    struct map bigger = {
        .cap = map->cap == 0 ? 8 : map->cap * 2, .count = map->count, .seed = map->seed};
    if (map->cap == 0) bigger.seed = random_u64();
    bigger.entries = calloc(bigger.cap, sizeof *bigger.entries);
    if (bigger.entries == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < map->cap; i++) {
        struct map_entry *e = &map->entries[i];
        if (e->key.p != NULL) *find(&bigger, e->hash, e->key) = *e;
    }
    free(map->entries);
    *map = bigger;
    return 0;
}

int map_put(struct map *map, struct str key, void *value) {
    if ((map->count + 1) * 4 > map->cap * 3) {
        int rc = grow(map);
        if (rc < 0) return rc;
    }
    uint64_t hash = hash_bytes(map->seed, key);
    struct map_entry *e = find(map, hash, key);
    if (e->key.p == NULL) {
        char *copy = malloc(key.n + 1);
        if (copy == NULL) return -STATUS_RESOURCE_EXHAUSTED;
        if (key.n > 0) memcpy(copy, key.p, key.n);
        copy[key.n] = '\0';
        e->key = (struct str){copy, key.n};
        e->hash = hash;
        map->count++;
    }
    e->value = value;
    return 0;
}

void *map_remove(struct map *map, struct str key) {
    if (map->count == 0) return NULL;
    struct map_entry *e = find(map, hash_bytes(map->seed, key), key);
    if (e->key.p == NULL) return NULL;
    void *value = e->value;
    free((char *)e->key.p);
    size_t hole = (size_t)(e - map->entries);
    for (size_t i = (hole + 1) & (map->cap - 1); map->entries[i].key.p != NULL;
         i = (i + 1) & (map->cap - 1)) {
        size_t home = map->entries[i].hash & (map->cap - 1);
        if (((i - home) & (map->cap - 1)) < ((i - hole) & (map->cap - 1))) continue;
        map->entries[hole] = map->entries[i];
        hole = i;
    }
    map->entries[hole] = (struct map_entry){0};
    map->count--;
    return value;
}

void map_free(struct map *map) {
    for (size_t i = 0; i < map->cap; i++) free((char *)map->entries[i].key.p);
    free(map->entries);
    *map = (struct map){0};
}

struct map_entry *map_next(const struct map *map, const struct map_entry *after) {
    size_t i = after == NULL ? 0 : (size_t)(after - map->entries) + 1;
    for (; i < map->cap; i++) {
        if (map->entries[i].key.p != NULL) return &map->entries[i];
    }
    return NULL;
}
