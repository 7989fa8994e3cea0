// SPDX-License-Identifier: Apache-2.0
// The binary form's alphabet, for the files of this room: varints, tags, wire types, skipping. Pure
// functions.
#pragma once

#include "pb/desc.h"

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_LENGTH = 2,
    WIRE_GROUP = 3,
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5,
};

const uint8_t *wire_varint_long(const uint8_t *p, const uint8_t *end, uint64_t *value);

// The place after the varint at `p`; NULL when it is cut off or longer than ten bytes.
static inline const uint8_t *wire_varint(const uint8_t *p, const uint8_t *end, uint64_t *value) {
    if (p < end && *p < 0x80) {
        *value = *p;
        return p + 1;
    }
    return wire_varint_long(p, end, value);
}

// A tag: NULL when malformed, beyond 32 bits or of field number 0.
static inline const uint8_t *wire_tag(const uint8_t *p, const uint8_t *end, uint32_t *tag) {
    uint64_t value;
    p = wire_varint(p, end, &value);
    if (p == NULL || value > UINT32_MAX || value < 8) return NULL;
    *tag = (uint32_t)value;
    return p;
}

// The content of a length-delimited field at `p`; NULL when it is cut off, else the place after it.
static inline const uint8_t *wire_length(const uint8_t *p, const uint8_t *end,
                                         struct str *content) {
    uint64_t n;
    p = wire_varint(p, end, &n);
    if (p == NULL || n > (uint64_t)(end - p)) return NULL;
    *content = (struct str){(const char *)p, (size_t)n};
    return p + n;
}

// Writes at most ten bytes and says how many.
static inline size_t wire_put_varint(uint8_t *out, uint64_t value) {
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

// How a type is written when it is not packed.
enum wire_type wire_type_of(enum pb_type type);
static inline bool wire_packable(enum pb_type type) {
    return wire_type_of(type) != WIRE_LENGTH && type != PB_GROUP;
}

// The place after the value whose tag was just read; NULL when it is malformed or its groups nest
// deeper than `depth`. For a group `content_end` (may be NULL) becomes the place of the end tag.
const uint8_t *wire_skip(const uint8_t *p, const uint8_t *end, uint32_t tag, int depth,
                         const uint8_t **content_end);

// Whether the bytes are a run of whole fields.
bool wire_well_formed(struct str bytes);
