// SPDX-License-Identifier: Apache-2.0
// The JSON reader's scalars, and how it tells of faults: "posts[2].title: expected string, got 5".
#include "base/encode.h"
#include "pb/json_reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define SHOWN 60       // bytes of a text that an error shows
#define SHOWN_PATH 250 // of a path

// ---- errors

static struct str shown(struct str text) { return json_cut(text, SHOWN); }

struct str json_reader_key(const struct json_reader *r, size_t key) {
    const char *entry = r->keys.blob->p + key - 1;
    uint32_t n;
    memcpy(&n, entry, sizeof n);
    return (struct str){entry + sizeof n, n};
}

static void put_path(struct buf *out, const struct json_reader *r, const struct json_place *at) {
    if (at == NULL) return;
    put_path(out, r, at->up);
    if (at->field != NULL) {
        if (out->n > 0 && !at->field->is_extension) buf_append_byte(out, '.');
        buf_append_str(out, at->field->name);
    }
    if (at->index >= 0) buf_printf(out, "[%ld]", at->index);
    if (at->key > 0) {
        buf_append_text(out, "[\"");
        buf_append_str(out, shown(json_reader_key(r, at->key)));
        buf_append_text(out, "\"]");
    }
}

// The path as a C string, for the front of an error text; `path` is to be freed.
static const char *path_of(struct buf *path, const struct json_reader *r,
                           const struct json_place *at) {
    put_path(path, r, at);
    if (path->n > SHOWN_PATH) {
        path->n = json_cut(buf_str(path), SHOWN_PATH).n;
        buf_append_text(path, "...");
    }
    return buf_cstr(path);
}

int json_reader_fail(struct json_reader *r, const struct json_place *at, const char *format, ...) {
    char text[240];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct buf path = {0};
    if (at == NULL) buf_append_str(&path, r->root->full_name);
    int rc = err_set(r->sink->err, STATUS_INVALID_ARGUMENT, "%s: %s", path_of(&path, r, at), text);
    buf_free(&path);
    return rc;
}

static int syntax_fault(struct json_reader *r) {
    if (r->scratch.failed) return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    unsigned line, column;
    json_position(&r->lex, r->lex.offset, &line, &column);
    return err_set(r->sink->err, STATUS_INVALID_ARGUMENT, "malformed JSON, line %u, column %u: %s",
                   line, column, r->lex.error);
}

int json_reader_expected(struct json_reader *r, const struct json_place *at, const char *wanted,
                         enum json_token got) {
    struct str text = shown(r->lex.text);
    switch (got) {
    case JSON_ERROR: return syntax_fault(r);
    case JSON_STRING:
        return json_reader_fail(r, at, "expected %s, got \"%.*s\"", wanted, (int)text.n, text.p);
    case JSON_NUMBER:
        return json_reader_fail(r, at, "expected %s, got %.*s", wanted, (int)text.n, text.p);
    default: return json_reader_fail(r, at, "expected %s, got %s", wanted, json_token_name(got));
    }
}

int json_reader_unknown(struct json_reader *r, const struct json_place *at,
                        const struct pb_message *type) {
    if (r->ignore_unknown) {
        enum json_token first = json_next(&r->lex);
        return json_skip(&r->lex, first) ? 0 : syntax_fault(r);
    }
    struct str name = shown(r->lex.text);
    struct str near = pb_suggest_field(type, r->lex.text);
    char hint[160] = "";
    if (near.n > 0) snprintf(hint, sizeof hint, " (did you mean \"%.*s\"?)", (int)near.n, near.p);
    struct buf path = {0};
    const char *where = path_of(&path, r, at);
    int rc = err_set(r->sink->err, STATUS_INVALID_ARGUMENT, "%s%s%.*s has no field \"%.*s\"%s",
                     where, at != NULL ? ": " : "", (int)type->full_name.n, type->full_name.p,
                     (int)name.n, name.p, hint);
    buf_free(&path);
    return rc;
}

// ---- scalars

static const char *wanted(enum pb_type type) {
    switch (type) {
    case PB_DOUBLE: return "a double";
    case PB_FLOAT: return "a float";
    case PB_INT32:
    case PB_SINT32:
    case PB_SFIXED32: return "an integer of 32 bits";
    case PB_INT64:
    case PB_SINT64:
    case PB_SFIXED64: return "an integer of 64 bits";
    case PB_UINT32:
    case PB_FIXED32: return "an unsigned integer of 32 bits";
    case PB_UINT64:
    case PB_FIXED64: return "an unsigned integer of 64 bits";
    case PB_BOOL: return "true or false";
    case PB_STRING: return "a string";
    case PB_BYTES: return "bytes as a base64 string";
    case PB_ENUM: return "the name or the number of an enum value";
    case PB_GROUP:
    case PB_MESSAGE: return "an object";
    }
    return "a value";
}

static bool read_integer(enum pb_type type, struct str text, union pb_value *v) {
    switch (type) {
    case PB_UINT32:
    case PB_FIXED32: return json_u64(text, &v->u) && v->u <= UINT32_MAX;
    case PB_UINT64:
    case PB_FIXED64: return json_u64(text, &v->u);
    case PB_INT64:
    case PB_SINT64:
    case PB_SFIXED64: return json_i64(text, &v->i);
    default: return json_i64(text, &v->i) && v->i >= INT32_MIN && v->i <= INT32_MAX;
    }
}

static bool read_floating(enum pb_type type, enum json_token token, struct str text,
                          union pb_value *v) {
    if (token == JSON_STRING && str_is(text, "NaN")) {
        v->d = (double)NAN;
    } else if (token == JSON_STRING && str_is(text, "Infinity")) {
        v->d = (double)INFINITY;
    } else if (token == JSON_STRING && str_is(text, "-Infinity")) {
        v->d = -(double)INFINITY;
    } else if (type == PB_FLOAT) {
        float single;
        if (!json_float(text, &single)) return false;
        v->d = (double)single;
    } else {
        return json_double(text, &v->d);
    }
    return true;
}

static int read_enum(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                     enum json_token token, union pb_value *v) {
    const struct pb_enum *e = f->enumeration;
    struct str text = r->lex.text;
    bool known;
    if (token == JSON_NULL && e->is_null_value) {
        v->i = 0;
        return 0;
    } else if (token == JSON_STRING) {
        const struct pb_enum_value *value = pb_enum_by_name(e, text);
        known = value != NULL;
        if (known) v->i = value->number;
    } else if (token == JSON_NUMBER && read_integer(PB_INT32, text, v)) {
        known = !e->closed || pb_enum_by_number(e, (int32_t)v->i) != NULL;
    } else {
        return json_reader_expected(r, at, wanted(PB_ENUM), token);
    }
    if (known) return 0;
    if (r->ignore_unknown) return JSON_SKIPPED;
    text = shown(text);
    return json_reader_fail(r, at, "enum %.*s has no value \"%.*s\"", (int)e->full_name.n,
                            e->full_name.p, (int)text.n, text.p);
}

int json_reader_scalar(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                       enum json_token token, union pb_value *v) {
    bool text = token == JSON_STRING;
    bool number = text || token == JSON_NUMBER;
    bool good;
    switch (f->type) {
    case PB_DOUBLE:
    case PB_FLOAT: good = number && read_floating(f->type, token, r->lex.text, v); break;
    case PB_BOOL:
        good = token == JSON_TRUE || token == JSON_FALSE;
        v->i = token == JSON_TRUE;
        break;
    case PB_STRING:
        good = text;
        v->s = r->lex.text;
        break;
    case PB_BYTES:
        r->bytes.n = 0;
        good = text && base64_decode(&r->bytes, r->lex.text);
        if (r->bytes.failed)
            return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        v->s = buf_str(&r->bytes);
        break;
    case PB_ENUM: return read_enum(r, at, f, token, v);
    default: good = number && read_integer(f->type, r->lex.text, v); break;
    }
    return good ? 0 : json_reader_expected(r, at, wanted(f->type), token);
}

int json_reader_map_key(struct json_reader *r, const struct json_place *at,
                        const struct pb_field *f, union pb_value *v) {
    bool good;
    if (f->type == PB_BOOL) {
        v->i = str_is(r->lex.text, "true");
        good = v->i == 1 || str_is(r->lex.text, "false");
    } else {
        good = read_integer(f->type, r->lex.text, v);
    }
    return good ? 0 : json_reader_expected(r, at, wanted(f->type), JSON_STRING);
}

bool json_reader_zero(const struct pb_field *f, union pb_value v) {
    if (f->type == PB_STRING || f->type == PB_BYTES) return v.s.n == 0;
    return v.u == 0; // for a double: positive zero only
}
