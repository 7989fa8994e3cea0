// SPDX-License-Identifier: Apache-2.0
// Shapes that the codec relies on without looking again: a map entry has a key and a value, and a
// well-known type has the fields that protobuf gives it. A set that says otherwise (a
// google.protobuf.Timestamp of somebody's own) is refused, so that the ends that treat these
// messages specially may index their fields by place.
#include "desc_internal.h"

static const struct {
    const char *name;
    enum pb_wkt wkt;
    enum pb_type types[6]; // of the fields 1, 2, ...
} KNOWN[] = {
    {"Timestamp", PB_WKT_TIMESTAMP, {PB_INT64, PB_INT32}},
    {"Duration", PB_WKT_DURATION, {PB_INT64, PB_INT32}},
    {"FieldMask", PB_WKT_FIELD_MASK, {PB_STRING}},
    {"Any", PB_WKT_ANY, {PB_STRING, PB_BYTES}},
    {"Empty", PB_WKT_EMPTY, {0}},
    {"Struct", PB_WKT_STRUCT, {PB_MESSAGE}},
    {"Value", PB_WKT_VALUE, {PB_ENUM, PB_DOUBLE, PB_STRING, PB_BOOL, PB_MESSAGE, PB_MESSAGE}},
    {"ListValue", PB_WKT_LIST_VALUE, {PB_MESSAGE}},
    {"DoubleValue", PB_WKT_WRAPPER, {PB_DOUBLE}},
    {"FloatValue", PB_WKT_WRAPPER, {PB_FLOAT}},
    {"Int64Value", PB_WKT_WRAPPER, {PB_INT64}},
    {"UInt64Value", PB_WKT_WRAPPER, {PB_UINT64}},
    {"Int32Value", PB_WKT_WRAPPER, {PB_INT32}},
    {"UInt32Value", PB_WKT_WRAPPER, {PB_UINT32}},
    {"BoolValue", PB_WKT_WRAPPER, {PB_BOOL}},
    {"StringValue", PB_WKT_WRAPPER, {PB_STRING}},
    {"BytesValue", PB_WKT_WRAPPER, {PB_BYTES}},
};
#define KNOWN_COUNT (sizeof KNOWN / sizeof KNOWN[0])
#define PREFIX "google.protobuf."

static int check_shape(struct desc_build *b, const struct pb_message *m,
                       const enum pb_type types[6]) {
    size_t n = 0;
    while (n < 6 && types[n] != 0) n++;
    bool same = m->count == n;
    for (size_t i = 0; i < n && same; i++) {
        same = m->fields[i].number == i + 1 && m->fields[i].type == types[i];
        bool many =
            m->wkt == PB_WKT_FIELD_MASK || m->wkt == PB_WKT_STRUCT || m->wkt == PB_WKT_LIST_VALUE;
        same = same && m->fields[i].repeated == many && !m->fields[i].is_extension;
        same = same && (m->fields[i].oneof >= 0) == (m->wkt == PB_WKT_VALUE) &&
               m->fields[i].jstype == PB_JS_NORMAL;
    }
    if (same) return 0;
    return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: is not the well-known type of that name",
                   m->full_name.p);
}

// The messages inside Struct, Value and ListValue must be well-known themselves.
static int check_json_types(struct desc_build *b, const struct pb_message *m) {
    bool ok = true;
    if (m->wkt == PB_WKT_STRUCT) {
        ok = m->fields[0].is_map;
        const struct pb_message *entry = m->fields[0].message;
        ok = ok && entry->fields[0].type == PB_STRING && entry->fields[1].type == PB_MESSAGE;
        ok = ok && entry->fields[1].message->wkt == PB_WKT_VALUE;
    } else if (m->wkt == PB_WKT_LIST_VALUE) {
        ok = m->fields[0].message->wkt == PB_WKT_VALUE;
    } else if (m->wkt == PB_WKT_VALUE) {
        ok = m->fields[0].enumeration->is_null_value && m->fields[4].message->wkt == PB_WKT_STRUCT;
        ok = ok && m->fields[5].message->wkt == PB_WKT_LIST_VALUE;
    }
    if (ok) return 0;
    return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: is not the well-known type of that name",
                   m->full_name.p);
}

static int check_entry(struct desc_build *b, const struct pb_message *m) {
    bool ok = m->count == 2 && m->fields[0].number == 1 && m->fields[1].number == 2;
    ok = ok && !m->fields[0].repeated && !m->fields[1].repeated;
    ok = ok && m->fields[0].oneof < 0 && m->fields[1].oneof < 0;
    enum pb_type key = ok ? m->fields[0].type : PB_MESSAGE;
    bool bad_key = key == PB_DOUBLE || key == PB_FLOAT || key == PB_BYTES || key == PB_ENUM ||
                   key == PB_MESSAGE || key == PB_GROUP;
    ok = ok && !bad_key && !(m->fields[1].type == PB_MESSAGE && m->fields[1].message->is_map_entry);
    if (ok) return 0;
    return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: a map entry has a key and a value",
                   m->full_name.p);
}

int desc_check_known(struct desc_build *b) {
    int rc = 0;
    for (size_t i = 0; i < b->pool->message_count && rc == 0; i++) {
        struct pb_message *m = b->pool->messages[i];
        if (m->is_map_entry) rc = check_entry(b, m);
        if (!str_starts(m->full_name, PREFIX)) continue;
        for (size_t k = 0; k < KNOWN_COUNT && rc == 0; k++) {
            if (strcmp(m->full_name.p + strlen(PREFIX), KNOWN[k].name) != 0) continue;
            m->wkt = KNOWN[k].wkt;
            rc = check_shape(b, m, KNOWN[k].types);
        }
    }
    for (size_t i = 0; i < b->pool->message_count && rc == 0; i++)
        rc = check_json_types(b, b->pool->messages[i]);
    return rc;
}
