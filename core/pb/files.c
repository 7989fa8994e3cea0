// SPDX-License-Identifier: Apache-2.0
// Descriptors read by jumping from field to field: nothing is unpacked, so a file costs as much as it has declarations at its
// top, and a symbol what lies on the way to it.
//
// The set has been checked when its pool was made (well-formed, nested at most 100 deep), yet every step here stops at the
// end of its slice; what is malformed after all ends the iteration.
#include "pb/files.h"

#include "base/status.h"
#include "pb/wire.h"

#include <stdlib.h>

enum { SET_FILE = 1 };
// google.protobuf.FileDescriptorProto
enum {
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_EXTENSION = 7,
    FILE_SOURCE_INFO = 9
};
// DescriptorProto
enum {
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_EXTENSION = 6,
    MESSAGE_ONEOF = 8
};
enum { NAME = 1, ENUM_VALUE = 2, SERVICE_METHOD = 2 }; // of all that is declared

// The next field at *at. Only length-delimited ones have content. False: the end, or a fault.
static bool next_field(struct str bytes, size_t *at, uint32_t *number, struct str *content,
                       struct str *whole) {
    const uint8_t *begin = (const uint8_t *)bytes.p + *at;
    const uint8_t *end = (const uint8_t *)bytes.p + bytes.n;
    uint32_t tag;
    if (begin >= end) return false;
    const uint8_t *p = wire_tag(begin, end, &tag);
    if (p == NULL) return false;
    *number = tag >> 3;
    *content = (struct str){NULL, 0};
    p = (tag & 7) == WIRE_LENGTH ? wire_length(p, end, content) : wire_skip(p, end, tag, 100, NULL);
    if (p == NULL) return false;
    if (whole != NULL) *whole = (struct str){(const char *)begin, (size_t)(p - begin)};
    *at = (size_t)(p - (const uint8_t *)bytes.p);
    return true;
}

static struct str field_of(struct str bytes, uint32_t wanted) {
    uint32_t number;
    struct str content;
    for (size_t at = 0; next_field(bytes, &at, &number, &content, NULL);) {
        if (number == wanted && content.p != NULL) return content;
    }
    return (struct str){"", 0};
}

int pb_files_open(struct pb_files *f, struct str set) {
    uint32_t number;
    struct str content;
    size_t count = 0;
    *f = (struct pb_files){0};
    for (size_t at = 0; next_field(set, &at, &number, &content, NULL);) count++;
    f->list = calloc(count + 1, sizeof *f->list);
    if (f->list == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    for (size_t at = 0; next_field(set, &at, &number, &content, NULL);) {
        if (number != SET_FILE || content.p == NULL) continue;
        f->list[f->count++] = (struct pb_file){.name = field_of(content, FILE_NAME),
                                               .package = field_of(content, FILE_PACKAGE),
                                               .bytes = content};
    }
    return 0;
}

void pb_files_close(struct pb_files *f) {
    free(f->list);
    *f = (struct pb_files){0};
}

const struct pb_file *pb_files_find(const struct pb_files *f, struct str name) {
    for (size_t i = 0; i < f->count; i++) {
        if (str_equal(f->list[i].name, name)) return &f->list[i];
    }
    return NULL;
}

bool pb_file_import(const struct pb_file *file, size_t *at, struct str *name) {
    uint32_t number;
    while (next_field(file->bytes, at, &number, name, NULL)) {
        if (number == FILE_DEPENDENCY && name->p != NULL) return true;
    }
    return false;
}

// ---- symbols
static bool has_named(struct str bytes, uint32_t wanted, struct str name) {
    uint32_t number;
    struct str content;
    for (size_t at = 0; next_field(bytes, &at, &number, &content, NULL);) {
        if (number == wanted && content.p != NULL && str_equal(field_of(content, NAME), name))
            return true;
    }
    return false;
}

// "A.b" -> "A", and what is left: "b".
static struct str take_part(struct str *name) {
    const char *dot = name->n == 0 ? NULL : memchr(name->p, '.', name->n);
    struct str part = *name;
    if (dot != NULL) part.n = (size_t)(dot - name->p);
    name->p += part.n + (dot != NULL);
    name->n -= part.n + (dot != NULL);
    return part;
}

// An enum is named like a message, its values like what stands beside it.
static bool enum_declares(struct str bytes, struct str part, struct str rest) {
    if (rest.n > 0) return false;
    return str_equal(field_of(bytes, NAME), part) || has_named(bytes, ENUM_VALUE, part);
}

static bool message_declares(struct str bytes, struct str name) {
    if (name.n == 0) return true;
    uint32_t number;
    struct str content, rest = name;
    struct str part = take_part(&rest);
    for (size_t at = 0; next_field(bytes, &at, &number, &content, NULL);) {
        if (content.p == NULL) continue;
        if (number == MESSAGE_ENUM && enum_declares(content, part, rest)) return true;
        bool leaf =
            number == MESSAGE_FIELD || number == MESSAGE_EXTENSION || number == MESSAGE_ONEOF;
        if (!leaf && number != MESSAGE_NESTED) continue;
        if (!str_equal(field_of(content, NAME), part)) continue;
        if (leaf ? rest.n == 0 : message_declares(content, rest)) return true;
    }
    return false;
}

static bool part_declares(uint32_t number, struct str content, struct str part, struct str rest) {
    if (number == FILE_ENUM) return enum_declares(content, part, rest);
    if (number != FILE_MESSAGE && number != FILE_SERVICE && number != FILE_EXTENSION) return false;
    if (!str_equal(field_of(content, NAME), part)) return false;
    if (number == FILE_MESSAGE) return message_declares(content, rest);
    return rest.n == 0 || (number == FILE_SERVICE && has_named(content, SERVICE_METHOD, rest));
}

bool pb_file_declares(const struct pb_file *file, struct str symbol) {
    struct str package = file->package, rest = symbol, content;
    uint32_t number;
    if (package.n > 0) {
        if (symbol.n <= package.n || memcmp(symbol.p, package.p, package.n) != 0 ||
            symbol.p[package.n] != '.')
            return false;
        rest = (struct str){symbol.p + package.n + 1, symbol.n - package.n - 1};
    }
    if (rest.n == 0 || rest.p[rest.n - 1] == '.') return false;
    struct str part = take_part(&rest);
    for (size_t at = 0; next_field(file->bytes, &at, &number, &content, NULL);) {
        if (content.p != NULL && part_declares(number, content, part, rest)) return true;
    }
    return false;
}

// ---- writing
static void put_string(struct buf *out, uint32_t number, struct str text) {
    uint8_t head[20];
    size_t n = wire_put_varint(head, (uint64_t)number << 3 | WIRE_LENGTH);
    n += wire_put_varint(head + n, text.n);
    buf_append(out, head, n);
    buf_append_str(out, text);
}

void pb_file_put(const struct pb_file *file, const struct pb_rename *rename, struct buf *out) {
    uint32_t number;
    struct str content, whole;
    for (size_t at = 0; next_field(file->bytes, &at, &number, &content, &whole);) {
        if (number == FILE_SOURCE_INFO) continue;
        bool name = (number == FILE_NAME || number == FILE_DEPENDENCY) && content.p != NULL;
        if (name && rename != NULL) {
            put_string(out, number, rename->name(rename->user, content));
        } else {
            buf_append_str(out, whole);
        }
    }
}
