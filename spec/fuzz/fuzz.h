// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. A target is a file NAME_fuzz.c with LLVMFuzzerTestOneInput; `tools/fuzz` runs them.
// What must hold is said by `must`, which stops the run there, so that libFuzzer keeps the input.
#pragma once

#include "pb/visit.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) must_failed(#condition, __FILE__, __LINE__);                             \
    } while (0)

static inline void must_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: must hold: %s\n", file, line, condition);
    __builtin_trap();
}

// The input, taken from the front.
struct input {
    const uint8_t *p;
    size_t n;
};

static inline uint8_t input_byte(struct input *in) {
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

static inline struct str input_take(struct input *in, size_t most) {
    size_t n = in->n < most ? in->n : most;
    struct str s = {(const char *)in->p, n};
    in->p += n;
    in->n -= n;
    return s;
}

static inline struct str input_rest(struct input *in) { return input_take(in, in->n); }

// The bytes in an allocation of their own, so that a step over their end is found. Free with free().
static inline char *input_copy(struct str s) {
    char *copy = malloc(s.n == 0 ? 1 : s.n);
    must(copy != NULL);
    if (s.n > 0) memcpy(copy, s.p, s.n);
    return copy;
}

// The pool of the codec's fixtures (spec/unit/pb/fixtures and spec/conformance/proto), which the build compiles.
static inline struct pb_pool *fixture_pool(void) {
    static struct pb_pool *pool;
    if (pool != NULL) return pool;
    FILE *file = fopen(FIXTURE_SET, "rb");
    must(file != NULL);
    struct buf bytes = {0};
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, file)) > 0) buf_append(&bytes, part, n);
    fclose(file);
    struct err err = {0};
    struct blob *set = buf_take(&bytes);
    pool = pb_pool_new(set, &err);
    blob_drop(set);
    must(pool != NULL);
    return pool;
}

// One of the messages that hold all others, or any by its place.
static inline const struct pb_message *fixture_type(uint8_t choice) {
    static const char *const OFTEN[] = {"codec3.All", "codec2.All", "codec3.Known",
                                        "conform3.Mixed"};
    struct pb_pool *pool = fixture_pool();
    if (choice < 128) return pb_find_message(pool, str_of(OFTEN[choice % 4]));
    return pool->messages[choice % pool->message_count];
}
