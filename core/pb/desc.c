// SPDX-License-Identifier: Apache-2.0
// A pool's life and its lookups. The building itself, in the order of its steps, is in desc_build.c
// (names, enums, services), desc_fields.c (fields and extensions), desc_known.c (shapes that the
// codec relies on), desc_scan.c (the check before protobuf-c may touch the bytes) and
// desc_comment.c.
//
// All that a pool points to is in one arena; only its maps have memory of their own. A finished
// pool is never changed, so any thread may look things up in it while it holds it.
#include "desc_internal.h"
#include "suggest.h"

#include <assert.h>
#include <stdlib.h>

#define CHUNK_SIZE ((size_t)16 * 1024)

struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(max_align_t) char bytes[];
};

struct desc_arena {
    struct chunk *first;
    size_t total; // bytes of all chunks
};

struct desc_arena *desc_arena_new(void) {
    return calloc(1, sizeof(struct desc_arena));
}

void desc_arena_delete(struct desc_arena *arena) {
    if (arena == NULL) return;
    for (struct chunk *c = arena->first, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    free(arena);
}

void *desc_arena_alloc(struct desc_arena *arena, size_t count, size_t size) {
    size_t n;
    if (__builtin_mul_overflow(count, size, &n) || n > SIZE_MAX / 4) return NULL;
    n = (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    struct chunk *c = arena->first;
    if (c == NULL || c->size - c->used < n) {
        size_t room = n > CHUNK_SIZE ? n : CHUNK_SIZE;
        if (room > DESC_MEMORY_MOST - arena->total) return NULL;
        c = calloc(1, sizeof *c + room);
        if (c == NULL) return NULL;
        arena->total += room;
        c->size = room;
        c->next = arena->first;
        arena->first = c;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    return p;
}

static void pool_delete(struct pb_pool *pool) {
    for (size_t i = 0; i < pool->message_count; i++) map_free(&pool->messages[i]->by_name);
    for (size_t i = 0; i < pool->enum_count; i++) map_free(&pool->enums[i]->by_name);
    map_free(&pool->names);
    map_free(&pool->enum_names);
    map_free(&pool->paths);
    desc_arena_delete(pool->memory);
    blob_drop(pool->set);
    free(pool);
}

static int build(struct pb_pool *pool, struct err *err) {
    struct str bytes = blob_str(pool->set);
    int rc = desc_check_set(bytes, err);
    if (rc < 0) return rc;
    SetProto *set =
        google__protobuf__file_descriptor_set__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
    if (set == NULL) return err_set(err, STATUS_INVALID_ARGUMENT, "descriptor set: malformed");
    struct desc_build b = {.pool = pool, .err = err, .set = set};
    b.arena = pool->memory = desc_arena_new();
    b.scratch = desc_arena_new();
    rc = b.arena == NULL || b.scratch == NULL ? desc_no_memory(&b) : desc_build_names(&b);
    if (rc == 0) rc = desc_build_fields(&b);
    if (rc == 0) rc = desc_check_known(&b);
    if (rc == 0) rc = desc_mark_holders(&b);
    if (rc == 0) rc = desc_build_services(&b);
    map_free(&b.file_names);
    map_free(&b.service_names);
    desc_arena_delete(b.scratch);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    return rc;
}

struct pb_pool *pb_pool_new(struct blob *set, struct err *err) {
    struct pb_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "descriptor set: out of memory");
        return NULL;
    }
    atomic_init(&pool->refs, 1);
    pool->set = blob_hold(set);
    if (build(pool, err) == 0) return pool;
    pool_delete(pool);
    return NULL;
}

struct pb_pool *pb_pool_hold(struct pb_pool *pool) {
    if (pool != NULL) atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
    return pool;
}

void pb_pool_drop(struct pb_pool *pool) {
    if (pool == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) pool_delete(pool);
}

struct pb_message *pb_find_message(const struct pb_pool *pool, struct str full_name) {
    return map_get(&pool->names, full_name);
}

struct pb_enum *pb_find_enum(const struct pb_pool *pool, struct str full_name) {
    return map_get(&pool->enum_names, full_name);
}

struct pb_method *pb_find_path(const struct pb_pool *pool, struct str path) {
    return map_get(&pool->paths, path);
}

struct pb_field *pb_field_by_number(const struct pb_message *m, uint32_t number) {
    if (number < m->by_number_max) return m->by_number[number];
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->fields[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->count && m->fields[low].number == number ? &m->fields[low] : NULL;
}

struct pb_field *pb_field_by_name(const struct pb_message *m, struct str name) {
    return map_get(&m->by_name, name);
}

const struct pb_enum_value *pb_enum_by_number(const struct pb_enum *e, int32_t number) {
    // Most enums count up from zero, each number once: then the place is the number.
    if (number >= 0 && (size_t)number < e->count && e->sorted[number]->number == number &&
        (number == 0 || e->sorted[number - 1]->number < number)) {
        return e->sorted[number];
    }
    size_t low = 0, high = e->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (e->sorted[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < e->count && e->sorted[low]->number == number ? e->sorted[low] : NULL;
}

const struct pb_enum_value *pb_enum_by_name(const struct pb_enum *e, struct str name) {
    return map_get(&e->by_name, name);
}

#define SUGGEST_MAX 64

// Edit distance with neighbours swapped counting as one; names longer than SUGGEST_MAX are never
// near.
size_t desc_distance(struct str a, struct str b) {
    unsigned char rows[3][SUGGEST_MAX + 1];
    if (a.n > SUGGEST_MAX || b.n > SUGGEST_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= b.n; j++) rows[0][j] = (unsigned char)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned char *row = rows[i % 3], *above = rows[(i + 2) % 3], *twice = rows[(i + 1) % 3];
        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= b.n; j++) {
            bool same = a.p[i - 1] == b.p[j - 1];
            unsigned best = above[j - 1] + !same;
            if (above[j] + 1u < best) best = above[j] + 1u;
            if (row[j - 1] + 1u < best) best = row[j - 1] + 1u;
            bool swapped = i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1];
            if (swapped && twice[j - 2] + 1u < best) best = twice[j - 2] + 1u;
            row[j] = (unsigned char)best;
        }
    }
    return rows[a.n % 3][b.n];
}

struct str pb_suggest_field(const struct pb_message *m, struct str wrong) {
    struct str near = {"", 0};
    size_t best = wrong.n / 3 == 0 ? 1 : wrong.n / 3;
    if (wrong.n < 2) return near;
    for (size_t i = 0; i < m->count; i++) {
        size_t distance = desc_distance(wrong, m->fields[i].name);
        if (distance > best || (distance == best && near.n > 0)) continue;
        best = distance;
        near = m->fields[i].name;
    }
    return near;
}
