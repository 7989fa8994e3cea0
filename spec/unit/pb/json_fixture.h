// SPDX-License-Identifier: Apache-2.0
// For the tests of JSON: a pool of spec/unit/pb/fixtures, and a sink that writes down what it is
// told.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pb/visit.h"

#include <stdio.h>
#include <stdlib.h>

static struct pb_pool *fixture_pool;

// Compiles the fixtures, which are beside this file.
static int fixture_setup(void **state) {
    (void)state;
    char command[1000];
    const char *slash = strrchr(__FILE__, '/');
    int n = slash == NULL ? 1 : (int)(slash - __FILE__);
    snprintf(command, sizeof command,
             "cd '%.*s/fixtures' && protoc -I. --include_imports --descriptor_set_out=/dev/stdout "
             "codec2.proto "
             "codec3.proto",
             n, slash == NULL ? "." : __FILE__);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) return -1;
    struct buf bytes = {0};
    char part[4096];
    size_t got;
    while ((got = fread(part, 1, sizeof part, pipe)) > 0) buf_append(&bytes, part, got);
    if (pclose(pipe) != 0) return -1;
    struct blob *set = buf_take(&bytes);
    struct err err = {0};
    fixture_pool = pb_pool_new(set, &err);
    blob_drop(set);
    if (fixture_pool == NULL) fprintf(stderr, "%s\n", err.text);
    return fixture_pool == NULL ? -1 : 0;
}

static int fixture_teardown(void **state) {
    (void)state;
    pb_pool_drop(fixture_pool);
    return 0;
}

static inline const struct pb_message *fixture_type(const char *name) {
    const struct pb_message *type = pb_find_message(fixture_pool, str_of(name));
    assert_non_null(type);
    return type;
}

// ---- a sink that records: `{a_string="x" int32s[1 2] tree{...}}`; strings in quotes, bytes as
// they are -------------

struct recorder {
    struct pb_sink sink;
    struct buf text;
    struct err err;
};

static inline int record_message(struct pb_sink *sink, const struct pb_field *field,
                                 const struct pb_message *type) {
    struct recorder *r = (struct recorder *)sink;
    assert_true(field == NULL || field->message == type);
    if (field != NULL) buf_append_str(&r->text, field->name);
    buf_append_byte(&r->text, '{');
    return 0;
}

static inline int record_message_end(struct pb_sink *sink) {
    struct recorder *r = (struct recorder *)sink;
    if (r->text.n > 0 && buf_p(&r->text)[r->text.n - 1] == ' ') r->text.n--;
    buf_append_text(&r->text, "} ");
    return 0;
}

static inline int record_list(struct pb_sink *sink, const struct pb_field *field) {
    struct recorder *r = (struct recorder *)sink;
    buf_append_str(&r->text, field->name);
    buf_append_byte(&r->text, '[');
    return 0;
}

static inline int record_list_end(struct pb_sink *sink) {
    struct recorder *r = (struct recorder *)sink;
    if (r->text.n > 0 && buf_p(&r->text)[r->text.n - 1] == ' ') r->text.n--;
    buf_append_text(&r->text, "] ");
    return 0;
}

static inline int record_value(struct pb_sink *sink, const struct pb_field *field,
                               union pb_value v) {
    struct recorder *r = (struct recorder *)sink;
    if (!field->repeated) {
        buf_append_str(&r->text, field->name);
        buf_append_byte(&r->text, '=');
    }
    switch (field->type) {
    case PB_DOUBLE:
    case PB_FLOAT: buf_printf(&r->text, "%.17g ", v.d); break;
    case PB_STRING: buf_printf(&r->text, "\"%.*s\" ", (int)v.s.n, v.s.p); break;
    case PB_BYTES: buf_printf(&r->text, "%zu:%.*s ", v.s.n, (int)v.s.n, v.s.p); break;
    case PB_UINT64:
    case PB_FIXED64: buf_printf(&r->text, "%llu ", (unsigned long long)v.u); break;
    default: buf_printf(&r->text, "%lld ", (long long)v.i); break;
    }
    return 0;
}

static inline int record_unknown(struct pb_sink *sink, struct str bytes) {
    buf_printf(&((struct recorder *)sink)->text, "unknown:%zu ", bytes.n);
    return 0;
}

static inline void recorder_create(struct recorder *r) {
    static const struct pb_sink_ops OPS = {record_message,  record_message_end, record_list,
                                           record_list_end, record_value,       record_unknown};
    *r = (struct recorder){.sink = {.ops = &OPS}};
    r->sink.err = &r->err;
}
