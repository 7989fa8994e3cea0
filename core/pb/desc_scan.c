// SPDX-License-Identifier: Apache-2.0
// The check that stands before protobuf-c: its unpacking recurses once for every nested message and
// knows no limit, so a small set nested thousands deep would overflow the stack. This walk follows
// the same descriptors without building anything, and stops at 100.
#include "desc_internal.h"
#include "wire.h"

#define MAX_SET_DEPTH 100

enum scan { SCAN_OK, SCAN_MALFORMED, SCAN_DEEP };

static enum scan scan(struct str bytes, const ProtobufCMessageDescriptor *type, int depth) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    if (depth > MAX_SET_DEPTH) return SCAN_DEEP;
    while (p < end) {
        uint32_t tag;
        struct str content;
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
        if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        enum scan inner = scan(content, field->descriptor, depth + 1);
        if (inner != SCAN_OK) return inner;
    }
    return SCAN_OK;
}

int desc_check_depth(struct str set, struct err *err) {
    switch (scan(set, &google__protobuf__file_descriptor_set__descriptor, 0)) {
    case SCAN_OK: return 0;
    case SCAN_DEEP:
        return err_set(err, STATUS_INVALID_ARGUMENT, "descriptor set: nested more than %d deep",
                       MAX_SET_DEPTH);
    default: return err_set(err, STATUS_INVALID_ARGUMENT, "descriptor set: malformed");
    }
}
