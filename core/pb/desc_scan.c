// SPDX-License-Identifier: Apache-2.0
// The check that stands before protobuf-c: its unpacking recurses once for every nested message and
// knows no limit, so a small set nested thousands deep would overflow the stack; and it allocates a
// hundred bytes and more for every message, which takes two. This walk follows the same descriptors
// without building anything; it stops at 100 levels, and at DESC_MEMORY_MOST.
#include "desc_internal.h"
#include "wire.h"

#define MAX_SET_DEPTH 100
#define MEMBER 64 // what protobuf-c notes about a field while it unpacks, and an allocation for it

enum scan { SCAN_OK, SCAN_MALFORMED, SCAN_DEEP, SCAN_LARGE };

static enum scan scan(struct str bytes, const ProtobufCMessageDescriptor *type, int depth,
                      size_t *memory) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    if (depth > MAX_SET_DEPTH) return SCAN_DEEP;
    *memory += type->sizeof_message;
    while (p < end) {
        uint32_t tag;
        struct str content;
        *memory += MEMBER;
        if (*memory > DESC_MEMORY_MOST) return SCAN_LARGE;
        p = wire_tag(p, end, &tag);
        if (p == NULL || (tag & 7) == WIRE_GROUP)
            return SCAN_MALFORMED; // protobuf-c knows no groups
        if ((tag & 7) != WIRE_LENGTH) {
            p = wire_skip(p, end, tag, 0, NULL);
            if (p == NULL) return SCAN_MALFORMED;
            continue;
        }
        p = wire_length(p, end, &content);
        if (p == NULL) return SCAN_MALFORMED;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, tag >> 3);
        bool message = field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE;
        if (!message) *memory += content.n * sizeof(int32_t); // a text, or packed numbers
        if (!message) continue;
        enum scan inner = scan(content, field->descriptor, depth + 1, memory);
        if (inner != SCAN_OK) return inner;
    }
    return SCAN_OK;
}

int desc_check_set(struct str set, struct err *err) {
    size_t memory = 0;
    switch (scan(set, &google__protobuf__file_descriptor_set__descriptor, 0, &memory)) {
    case SCAN_OK: return 0;
    case SCAN_DEEP:
        return err_set(err, STATUS_INVALID_ARGUMENT, "descriptor set: nested more than %d deep",
                       MAX_SET_DEPTH);
    case SCAN_LARGE:
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "descriptor set: would take more than %zu MB of memory",
                       DESC_MEMORY_MOST >> 20);
    default: return err_set(err, STATUS_INVALID_ARGUMENT, "descriptor set: malformed");
    }
}
