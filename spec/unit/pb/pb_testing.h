// SPDX-License-Identifier: Apache-2.0
// For the tests of this room: compiles .proto texts into pools, and a sink that writes down what it
// is told.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pb/protoc.h"
#include "pb/visit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BYTES(...) ((struct str){(const char[]){__VA_ARGS__}, sizeof((const char[]){__VA_ARGS__})})

static inline void write_proto(const char *folder, const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

// The descriptor set of one file "t.proto"; the test ends when it does not compile.
static inline struct blob *compile_set(const char *text) {
    char folder[] = "/tmp/pb-test-XXXXXX", path[300];
    const char *const files[] = {"t.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(folder));
    write_proto(folder, "t.proto", text);
    int rc = protoc_compile(folder, files, 1, &set, &err);
    snprintf(path, sizeof path, "%s/t.proto", folder);
    unlink(path);
    rmdir(folder);
    if (rc < 0) fail_msg("%s", err.text);
    return set;
}

static inline struct pb_pool *compile_pool(const char *text) {
    struct err err = {0};
    struct blob *set = compile_set(text);
    struct pb_pool *pool = pb_pool_new(set, &err);
    blob_drop(set);
    if (pool == NULL) fail_msg("%s", err.text);
    return pool;
}

static inline struct pb_message *message_of(struct pb_pool *pool, const char *name) {
    struct pb_message *m = pb_find_message(pool, str_of(name));
    if (m == NULL) fail_msg("no message %s", name);
    return m;
}

// ---- a sink that writes down its events: "{id=5 tags[=a =b ] author{name=x } }"

struct note_sink {
    struct pb_sink sink;
    struct buf text;
};

static inline int note_message(struct pb_sink *sink, const struct pb_field *field,
                               const struct pb_message *type) {
    (void)type;
    if (field != NULL && !field->repeated)
        buf_append_str(&((struct note_sink *)sink)->text, field->name);
    buf_append_byte(&((struct note_sink *)sink)->text, '{');
    return 0;
}

static inline int note_message_end(struct pb_sink *sink) {
    buf_append_text(&((struct note_sink *)sink)->text, "} ");
    return 0;
}

static inline int note_list(struct pb_sink *sink, const struct pb_field *field) {
    buf_printf(&((struct note_sink *)sink)->text, "%s[", field->name.p);
    return 0;
}

static inline int note_list_end(struct pb_sink *sink) {
    buf_append_text(&((struct note_sink *)sink)->text, "] ");
    return 0;
}

static inline int note_value(struct pb_sink *sink, const struct pb_field *field, union pb_value v) {
    struct buf *text = &((struct note_sink *)sink)->text;
    buf_printf(text, "%s=", field->repeated ? "" : field->name.p);
    switch (field->type) {
    case PB_STRING:
    case PB_BYTES: buf_append_str(text, v.s); break;
    case PB_DOUBLE:
    case PB_FLOAT: buf_printf(text, "%.17g", v.d); break;
    case PB_UINT32:
    case PB_UINT64:
    case PB_FIXED32:
    case PB_FIXED64: buf_printf(text, "%llu", (unsigned long long)v.u); break;
    default: buf_printf(text, "%lld", (long long)v.i); break;
    }
    buf_append_byte(text, ' ');
    return 0;
}

static inline int note_unknown(struct pb_sink *sink, struct str bytes) {
    buf_append_byte(&((struct note_sink *)sink)->text, '?');
    for (size_t i = 0; i < bytes.n; i++) {
        buf_printf(&((struct note_sink *)sink)->text, "%02x", (unsigned char)bytes.p[i]);
    }
    buf_append_byte(&((struct note_sink *)sink)->text, ' ');
    return 0;
}

static const struct pb_sink_ops NOTE_OPS = {note_message,  note_message_end, note_list,
                                            note_list_end, note_value,       note_unknown};

// What the reader tells, or the error's text.
static inline void assert_events(const struct pb_message *type, struct str wire, bool ordered,
                                 const char *expected) {
    struct err err = {0};
    struct note_sink note = {.sink = {&NOTE_OPS, ordered, &err}};
    // A copy of its own size, so that the sanitizer sees a read beyond the end.
    char *copy = malloc(wire.n == 0 ? 1 : wire.n);
    assert_non_null(copy);
    if (wire.n > 0) memcpy(copy, wire.p, wire.n);
    int rc = pb_read_wire(type, (struct str){copy, wire.n}, &note.sink);
    free(copy);
    if (rc < 0) {
        assert_int_equal(rc, -(int)err.code);
        assert_string_equal(err.text, expected);
    } else {
        assert_string_equal(buf_cstr(&note.text), expected);
    }
    buf_free(&note.text);
}

static inline void assert_both(const struct pb_message *type, struct str wire,
                               const char *expected) {
    assert_events(type, wire, false, expected);
    assert_events(type, wire, true, expected);
}
