// SPDX-License-Identifier: Apache-2.0
// The JSON reader's well-known types: texts, bare values and free JSON become the messages that
// they stand for.
//
// An Any is the one place that looks ahead: its members cannot be read before "@type" is known,
// which may come last. The tokenizer's place is saved, the object is scanned for "@type" and read
// again from the start, into a wire sink whose bytes become the Any's `value`.
#include "pb/json_reader.h"
#include "pb/json_wkt.h"

#include <stdlib.h>

// A field of a well-known type, by the number it has in the .proto that everybody uses; the pool
// has checked its shape.
static int emit(struct json_reader *r, const struct pb_message *type, uint32_t number,
                union pb_value v) {
    const struct pb_field *f = pb_field_by_number(type, number);
    if (!f->has_presence && !f->repeated && json_reader_zero(f, v)) return 0;
    return r->sink->ops->value(r->sink, f, v);
}

// Timestamp and Duration have the same two fields.
static int read_time(struct json_reader *r, const struct json_place *at,
                     const struct pb_field *field, const struct pb_message *type,
                     enum json_token token) {
    bool timestamp = type->wkt == PB_WKT_TIMESTAMP;
    int64_t seconds;
    int32_t nanos;
    if (token != JSON_STRING || !(timestamp ? wkt_read_timestamp(r->lex.text, &seconds, &nanos)
                                            : wkt_read_duration(r->lex.text, &seconds, &nanos))) {
        return json_reader_expected(r, at,
                                    timestamp ? "a time like \"2024-05-01T12:30:00Z\""
                                              : "a duration like \"1.5s\" (at most 10000 years)",
                                    token);
    }
    int rc = json_reader_open(r, at, field, type);
    if (rc == 0) rc = emit(r, type, 1, (union pb_value){.i = seconds});
    if (rc == 0) rc = emit(r, type, 2, (union pb_value){.i = nanos});
    return rc < 0 ? rc : json_reader_close(r);
}

// The paths of a mask, which is lex.text; `snake` is room for one.
static int emit_paths(struct json_reader *r, const struct json_place *at,
                      const struct pb_field *paths, struct buf *snake) {
    struct str rest = r->lex.text;
    int rc = r->sink->ops->list(r->sink, paths);
    while (rc == 0) {
        const char *comma = memchr(rest.p, ',', rest.n);
        struct str path = {rest.p, comma == NULL ? rest.n : (size_t)(comma - rest.p)};
        snake->n = 0;
        if (path.n == 0 || !wkt_put_snake(snake, path)) {
            return json_reader_expected(r, at, "paths in lowerCamelCase with commas between",
                                        JSON_STRING);
        }
        if (snake->failed) return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        rc = r->sink->ops->value(r->sink, paths, (union pb_value){.s = buf_str(snake)});
        if (comma == NULL) break;
        rest = (struct str){comma + 1, rest.n - path.n - 1};
    }
    return rc < 0 ? rc : r->sink->ops->list_end(r->sink);
}

static int read_mask(struct json_reader *r, const struct json_place *at,
                     const struct pb_field *field, const struct pb_message *type,
                     enum json_token token) {
    if (token != JSON_STRING) {
        return json_reader_expected(r, at, "a field mask like \"title,author.name\"", token);
    }
    int rc = json_reader_open(r, at, field, type);
    if (rc == 0 && r->lex.text.n > 0) {
        struct buf snake = {0};
        rc = emit_paths(r, at, pb_field_by_number(type, 1), &snake);
        buf_free(&snake);
    }
    return rc < 0 ? rc : json_reader_close(r);
}

static int read_wrapper(struct json_reader *r, const struct json_place *at,
                        const struct pb_field *field, const struct pb_message *type,
                        enum json_token token) {
    union pb_value v;
    int rc = json_reader_scalar(r, at, pb_field_by_number(type, 1), token, &v);
    if (rc == 0) rc = json_reader_open(r, at, field, type);
    if (rc == 0) rc = emit(r, type, 1, v);
    return rc < 0 ? rc : json_reader_close(r);
}

static int read_value(struct json_reader *r, const struct json_place *at,
                      const struct pb_field *field, const struct pb_message *type,
                      enum json_token token) {
    int rc = json_reader_open(r, at, field, type);
    if (rc < 0) return rc;
    const struct pb_field *inner;
    union pb_value v = {0};
    switch (token) {
    case JSON_NULL: rc = emit(r, type, 1, v); break;
    case JSON_NUMBER:
        if (!json_double(r->lex.text, &v.d)) return json_reader_expected(r, at, "a double", token);
        rc = emit(r, type, 2, v);
        break;
    case JSON_STRING: rc = emit(r, type, 3, (union pb_value){.s = r->lex.text}); break;
    case JSON_TRUE:
    case JSON_FALSE: rc = emit(r, type, 4, (union pb_value){.i = token == JSON_TRUE}); break;
    case JSON_OBJECT:
    case JSON_ARRAY:
        inner = pb_field_by_number(type, token == JSON_OBJECT ? 5 : 6);
        rc = json_reader_wkt(r, at, inner, inner->message, token);
        break;
    default: return json_reader_expected(r, at, "a value", token);
    }
    return rc < 0 ? rc : json_reader_close(r);
}

// Struct and ListValue: a message around one map or list.
static int read_container(struct json_reader *r, const struct json_place *at,
                          const struct pb_field *field, const struct pb_message *type,
                          enum json_token token) {
    bool map = type->wkt == PB_WKT_STRUCT;
    if (token != (map ? JSON_OBJECT : JSON_ARRAY)) {
        return json_reader_expected(r, at, map ? "an object" : "an array", token);
    }
    int rc = json_reader_open(r, at, field, type);
    if (rc < 0) return rc;
    const struct pb_field *content = pb_field_by_number(type, 1);
    rc = map ? json_reader_map(r, at, content, token) : json_reader_list(r, at, content, token);
    return rc < 0 ? rc : json_reader_close(r);
}

// ---- Any

// From behind '{' to the value of "@type", which is left in lex.text. 1: found; 0: the object is
// empty; or an error.
static int find_type(struct json_reader *r, const struct json_place *at) {
    bool empty = true;
    for (;; empty = false) {
        enum json_token token = json_next(&r->lex);
        if (token == JSON_OBJECT_END && empty) return 0;
        if (token == JSON_OBJECT_END)
            return json_reader_fail(r, at, "an Any wants a member \"@type\"");
        if (token != JSON_KEY) return json_reader_expected(r, at, "\"@type\"", token);
        bool found = str_is(r->lex.text, "@type");
        token = json_next(&r->lex);
        if (found && token == JSON_STRING) return 1;
        if (found) return json_reader_expected(r, at, "a type as a string in \"@type\"", token);
        if (!json_skip(&r->lex, token)) return json_reader_expected(r, at, "a value", JSON_ERROR);
    }
}

static const struct pb_message *resolve(const struct json_reader *r, struct str url) {
    const char *slash = memrchr(url.p, '/', url.n);
    if (slash == NULL || r->pool == NULL) return NULL;
    size_t n = (size_t)(url.p + url.n - slash) - 1;
    return pb_find_message(r->pool, (struct str){slash + 1, n});
}

// {"@type": ..., "value": ...}: content that is no object of fields.
static int read_special(struct json_reader *r, const struct json_place *at,
                        const struct pb_message *content) {
    bool type_seen = false;
    bool value_seen = false;
    enum json_token token;
    while ((token = json_next(&r->lex)) == JSON_KEY) {
        int rc = 0;
        if (str_is(r->lex.text, "@type") && !type_seen) {
            type_seen = true;
            json_next(&r->lex);
        } else if (str_is(r->lex.text, "value") && !value_seen) {
            value_seen = true;
            rc = json_reader_message(r, at, NULL, content, json_next(&r->lex));
        } else if (r->ignore_unknown) {
            rc = json_reader_unknown(r, at, content);
        } else {
            rc = json_reader_fail(
                r, at, "an Any of %.*s has \"@type\" and \"value\" once, and nothing else",
                (int)content->full_name.n, content->full_name.p);
        }
        if (rc < 0) return rc;
    }
    if (token != JSON_OBJECT_END) return json_reader_expected(r, at, "a member", token);
    return value_seen ? 0 : json_reader_fail(r, at, "an Any of this type wants a member \"value\"");
}

// The content as bytes. The place is behind '{' again.
static int read_content(struct json_reader *r, const struct json_place *at,
                        const struct pb_message *content, struct buf *bytes) {
    struct pb_wire_sink *writer = malloc(sizeof *writer);
    if (writer == NULL) return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    struct pb_sink *outer = r->sink;
    pb_wire_sink_init(writer, bytes, outer->err);
    r->sink = &writer->sink;
    int rc;
    if (content->wkt != PB_WKT_NONE && content->wkt != PB_WKT_EMPTY) {
        rc = read_special(r, at, content);
    } else {
        rc = json_reader_open(r, at, NULL, content);
        if (rc == 0) rc = json_reader_members(r, at, content, true);
        if (rc == 0) rc = json_reader_close(r);
    }
    r->sink = outer;
    free(writer);
    if (rc == 0 && bytes->failed)
        rc = err_set(outer->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return rc;
}

static int read_any(struct json_reader *r, const struct json_place *at,
                    const struct pb_field *field, const struct pb_message *type,
                    enum json_token token) {
    if (token != JSON_OBJECT) return json_reader_expected(r, at, "an object", token);
    int rc = json_reader_open(r, at, field, type);
    if (rc < 0) return rc;
    const struct json_lex start = r->lex;
    rc = find_type(r, at);
    if (rc < 0) return rc;
    if (rc == 0) return json_reader_close(r);
    const struct pb_message *content = resolve(r, r->lex.text);
    if (content == NULL) {
        return json_reader_expected(
            r, at,
            "in \"@type\" a type of this contract, like \"type.googleapis.com/"
            "package.Message\"",
            JSON_STRING);
    }
    rc = emit(r, type, 1, (union pb_value){.s = r->lex.text});
    if (rc < 0) return rc;
    r->lex = start;
    struct buf bytes = {0};
    rc = read_content(r, at, content, &bytes);
    if (rc == 0) rc = emit(r, type, 2, (union pb_value){.s = buf_str(&bytes)});
    buf_free(&bytes);
    return rc < 0 ? rc : json_reader_close(r);
}

int json_reader_wkt(struct json_reader *r, const struct json_place *at,
                    const struct pb_field *field, const struct pb_message *type,
                    enum json_token token) {
    switch (type->wkt) {
    case PB_WKT_TIMESTAMP:
    case PB_WKT_DURATION: return read_time(r, at, field, type, token);
    case PB_WKT_FIELD_MASK: return read_mask(r, at, field, type, token);
    case PB_WKT_ANY: return read_any(r, at, field, type, token);
    case PB_WKT_STRUCT:
    case PB_WKT_LIST_VALUE: return read_container(r, at, field, type, token);
    case PB_WKT_VALUE: return read_value(r, at, field, type, token);
    case PB_WKT_WRAPPER: return read_wrapper(r, at, field, type, token);
    case PB_WKT_NONE:
    case PB_WKT_EMPTY: break;
    }
    return json_reader_fail(r, at, "no well-known type");
}
