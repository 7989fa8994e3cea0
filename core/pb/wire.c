// SPDX-License-Identifier: Apache-2.0
// What wire.h leaves out of line: long varints, the wire types of the types, and skipping over
// values that the reader does not know. Groups are the only thing that nests here; their depth is
// bounded by the caller.
#include "pb/wire.h"

#include "pb/visit.h"

const uint8_t *wire_varint_long(const uint8_t *p, const uint8_t *end, uint64_t *value) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == end) return NULL;
        uint8_t byte = *p++;
        v |= (uint64_t)(byte & 0x7F)
             << shift; // of the tenth byte only one bit counts, as in protobuf itself
        if (byte < 0x80) {
            *value = v;
            return p;
        }
    }
    return NULL;
}

enum wire_type wire_type_of(enum pb_type type) {
    switch (type) {
    case PB_DOUBLE:
    case PB_FIXED64:
    case PB_SFIXED64: return WIRE_FIXED64;
    case PB_FLOAT:
    case PB_FIXED32:
    case PB_SFIXED32: return WIRE_FIXED32;
    case PB_STRING:
    case PB_BYTES:
    case PB_MESSAGE: return WIRE_LENGTH;
    case PB_GROUP: return WIRE_GROUP;
    default: return WIRE_VARINT;
    }
}

static const uint8_t *skip_group(const uint8_t *p, const uint8_t *end, uint32_t number, int depth,
                                 const uint8_t **content_end) {
    if (depth <= 0) return NULL;
    while (p < end) {
        const uint8_t *start = p;
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        if (p == NULL) return NULL;
        if ((tag & 7) == WIRE_GROUP_END) {
            if (tag >> 3 != number) return NULL;
            if (content_end != NULL) *content_end = start;
            return p;
        }
        p = wire_skip(p, end, tag, depth - 1, NULL);
        if (p == NULL) return NULL;
    }
    return NULL;
}

const uint8_t *wire_skip(const uint8_t *p, const uint8_t *end, uint32_t tag, int depth,
                         const uint8_t **content_end) {
    uint64_t ignored;
    struct str content;
    switch (tag & 7) {
    case WIRE_VARINT: return wire_varint(p, end, &ignored);
    case WIRE_FIXED64: return end - p < 8 ? NULL : p + 8;
    case WIRE_FIXED32: return end - p < 4 ? NULL : p + 4;
    case WIRE_LENGTH: return wire_length(p, end, &content);
    case WIRE_GROUP: return skip_group(p, end, tag >> 3, depth, content_end);
    default: return NULL;
    }
}

bool wire_well_formed(struct str bytes) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    while (p < end) {
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        if (p == NULL) return false;
        p = wire_skip(p, end, tag, PB_MAX_DEPTH, NULL);
        if (p == NULL) return false;
    }
    return true;
}
