// SPDX-License-Identifier: Apache-2.0
// The JSON reader: walks a text by descriptor and tells a sink what it sees (visit.h). Here are the
// root, messages, lists and maps; json_read_scalar.c and json_read_wkt.c have the rest.
//
// It recurses on the C stack, at most PB_MAX_DEPTH messages deep, and never reads ahead of the
// tokenizer except to find the "@type" of an Any. Memory: four buffers that grow and are reused, so
// that a field costs no allocation. Duplicates are found by a bit a field for messages and by
// comparison for maps (by a hash table from 16 keys on, since keys come from peers).
//
// Members come in any order, so a sink that is `ordered` gets them through the binary form.
#include "pb/json_reader.h"

#include <assert.h>

#define FEW_KEYS 16

int json_reader_open(struct json_reader *r, const struct json_place *at,
                     const struct pb_field *field, const struct pb_message *type) {
    if (r->depth > PB_MAX_DEPTH) { // the root is at 0
        return json_reader_fail(r, at, "messages are nested over %d deep", PB_MAX_DEPTH);
    }
    r->depth++;
    return r->sink->ops->message(r->sink, field, type);
}

int json_reader_close(struct json_reader *r) {
    assert(r->depth > 0);
    r->depth--;
    return r->sink->ops->message_end(r->sink);
}

int json_reader_message(struct json_reader *r, const struct json_place *at,
                        const struct pb_field *field, const struct pb_message *type,
                        enum json_token token) {
    if (type->wkt != PB_WKT_NONE && type->wkt != PB_WKT_EMPTY) {
        return json_reader_wkt(r, at, field, type, token);
    }
    if (token != JSON_OBJECT) return json_reader_expected(r, at, "an object", token);
    int rc = json_reader_open(r, at, field, type);
    if (rc == 0) rc = json_reader_members(r, at, type, false);
    if (rc == 0) rc = json_reader_close(r);
    return rc;
}

// ---- the members of a message

static bool marked(const struct json_reader *r, size_t marks, size_t bit) {
    return (r->marks.blob->p[marks + bit / 8] >> bit % 8 & 1) != 0;
}

static void mark(struct json_reader *r, size_t marks, size_t bit) {
    r->marks.blob->p[marks + bit / 8] |= (char)(1U << bit % 8);
}

static int mark_oneof(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                      size_t marks) {
    if (f->oneof < 0) return 0;
    size_t bit = f->parent->count + (size_t)f->oneof;
    if (marked(r, marks, bit)) {
        struct str name = f->parent->oneofs[f->oneof].name;
        return json_reader_fail(r, at, "another member of oneof \"%.*s\" is set already",
                                (int)name.n, name.p);
    }
    mark(r, marks, bit);
    return 0;
}

// Null is a value for these; for all others it means that the field is absent.
static bool keeps_null(const struct pb_field *f) {
    if (f->message != NULL) return f->message->wkt == PB_WKT_VALUE;
    return f->type == PB_ENUM && f->enumeration->is_null_value;
}

static int read_member(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                       size_t marks) {
    if (marked(r, marks, f->index)) return json_reader_fail(r, at, "is set twice");
    mark(r, marks, f->index);
    enum json_token token = json_next(&r->lex);
    if (token == JSON_NULL && (f->repeated || !keeps_null(f)))
        return f->required ? json_reader_fail(r, at, "is required") : 0;
    int rc = mark_oneof(r, at, f, marks);
    if (rc < 0) return rc;
    if (f->is_map) return json_reader_map(r, at, f, token);
    if (f->repeated) return json_reader_list(r, at, f, token);
    if (f->message != NULL) return json_reader_message(r, at, f, f->message, token);
    union pb_value v;
    rc = json_reader_scalar(r, at, f, token, &v);
    if (rc == JSON_SKIPPED && f->required) return json_reader_fail(r, at, "is required");
    if (rc == JSON_SKIPPED || (rc == 0 && !f->has_presence && json_reader_zero(f, v))) return 0;
    return rc < 0 ? rc : r->sink->ops->value(r->sink, f, v);
}

// The required fields (proto2) that were not among the members.
static int check_required(struct json_reader *r, const struct json_place *at,
                          const struct pb_message *type, size_t marks) {
    for (size_t i = 0; i < type->count; i++) {
        if (!type->fields[i].required || marked(r, marks, i)) continue;
        const struct json_place place = {.up = at, .field = &type->fields[i], .index = -1};
        return json_reader_fail(r, &place, "is required");
    }
    return 0;
}

int json_reader_members(struct json_reader *r, const struct json_place *at,
                        const struct pb_message *type, bool in_any) {
    size_t marks = r->marks.n;
    size_t bytes = (type->count + type->oneof_count + 7) / 8;
    if (!buf_reserve(&r->marks, bytes + 1)) {
        return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    memset(r->marks.blob->p + marks, 0, bytes);
    r->marks.n += bytes;
    bool type_seen = false;
    enum json_token token;
    while ((token = json_next(&r->lex)) == JSON_KEY) {
        if (in_any && str_is(r->lex.text, "@type")) {
            if (type_seen) return json_reader_fail(r, at, "\"@type\" is set twice");
            type_seen = true;
            json_next(&r->lex); // a string, as the look ahead has seen
            continue;
        }
        const struct pb_field *f = pb_field_by_name(type, r->lex.text);
        const struct json_place place = {.up = at, .field = f, .index = -1};
        int rc = f == NULL ? json_reader_unknown(r, at, type) : read_member(r, &place, f, marks);
        if (rc < 0) return rc;
    }
    if (token != JSON_OBJECT_END) return json_reader_expected(r, at, "a field", token);
    int rc = type->needs_check ? check_required(r, at, type, marks) : 0;
    r->marks.n = marks;
    return rc;
}

// ---- lists

static int read_element(struct json_reader *r, const struct json_place *at,
                        const struct pb_field *f, enum json_token token) {
    if (token == JSON_NULL && !keeps_null(f))
        return json_reader_fail(r, at, "null is no element of a list");
    if (f->message != NULL) return json_reader_message(r, at, f, f->message, token);
    union pb_value v;
    int rc = json_reader_scalar(r, at, f, token, &v);
    if (rc == JSON_SKIPPED) return 0;
    return rc < 0 ? rc : r->sink->ops->value(r->sink, f, v);
}

int json_reader_list(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                     enum json_token token) {
    if (token != JSON_ARRAY) return json_reader_expected(r, at, "an array", token);
    token = json_next(&r->lex);
    if (token == JSON_ARRAY_END) return 0;
    int rc = r->sink->ops->list(r->sink, f);
    struct json_place place = {.up = at, .index = 0};
    for (; rc == 0 && token != JSON_ARRAY_END; place.index++) {
        rc = read_element(r, &place, f, token);
        if (rc == 0) token = json_next(&r->lex);
    }
    return rc < 0 ? rc : r->sink->ops->list_end(r->sink);
}

// ---- maps

struct map_reader {
    const struct pb_field *field;
    const struct pb_field *key;
    const struct pb_field *value;
    size_t keys;     // where this map's keys begin in r->keys
    size_t count;    // keys read
    struct map seen; // the keys, once there are many
};

// Is the key at `entry` (the last in r->keys) among those before it? 1, 0 or
// -STATUS_RESOURCE_EXHAUSTED.
static int seen_before(struct json_reader *r, struct map_reader *m, size_t entry) {
    struct str key = json_reader_key(r, entry + 1);
    if (m->count > FEW_KEYS && map_get(&m->seen, key) != NULL) return 1;
    for (size_t e = m->keys; m->count <= FEW_KEYS && e < entry;) {
        struct str other = json_reader_key(r, e + 1);
        if (str_equal(key, other)) return 1;
        e += sizeof(uint32_t) + other.n;
    }
    if (m->count < FEW_KEYS) return 0;
    size_t from = m->count == FEW_KEYS ? m->keys : entry;
    while (from < r->keys.n) {
        struct str each = json_reader_key(r, from + 1);
        if (map_put(&m->seen, each, m) < 0) return -STATUS_RESOURCE_EXHAUSTED;
        from += sizeof(uint32_t) + each.n;
    }
    return 0;
}

// Pushes the key at hand to r->keys, in one spelling for equal keys.
static int push_key(struct json_reader *r, const struct json_place *at, struct map_reader *m,
                    union pb_value *v) {
    size_t entry = r->keys.n;
    uint32_t n = 0;
    buf_append(&r->keys, &n, sizeof n);
    if (m->key->type == PB_STRING) {
        buf_append_str(&r->keys, r->lex.text);
    } else {
        int rc = json_reader_map_key(r, at, m->key, v);
        if (rc < 0) return rc;
        if (m->key->type == PB_BOOL) {
            buf_append_text(&r->keys, v->i != 0 ? "true" : "false");
        } else {
            json_put_i64(&r->keys, v->i); // unsigned ones may get a sign; it is only for comparison
        }
    }
    if (r->keys.failed) return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    n = (uint32_t)(r->keys.n - entry - sizeof n);
    memcpy(r->keys.blob->p + entry, &n, sizeof n);
    int seen = seen_before(r, m, entry);
    m->count++;
    if (seen < 0) return err_set(r->sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return seen == 0 ? 0 : json_reader_expected(r, at, "every key once", JSON_STRING);
}

static int read_entry(struct json_reader *r, const struct json_place *map, struct map_reader *m) {
    size_t entry = r->keys.n;
    union pb_value key = {0};
    int rc = push_key(r, map, m, &key);
    if (rc < 0) return rc;
    const struct json_place at = {.up = map, .index = -1, .key = entry + 1};
    enum json_token token = json_next(&r->lex);
    if (token == JSON_NULL && !keeps_null(m->value)) {
        return json_reader_fail(r, &at, "null is no value of a map");
    }
    union pb_value v = {0};
    if (m->value->message == NULL) rc = json_reader_scalar(r, &at, m->value, token, &v);
    if (rc != 0) return rc == JSON_SKIPPED ? 0 : rc;
    rc = json_reader_open(r, &at, m->field, m->field->message);
    if (rc < 0) return rc;
    const struct pb_sink_ops *ops = r->sink->ops;
    if (m->key->type == PB_STRING) key.s = json_reader_key(r, at.key);
    if (m->key->has_presence || !json_reader_zero(m->key, key))
        rc = ops->value(r->sink, m->key, key);
    if (rc < 0) return rc;
    if (m->value->message != NULL) {
        rc = json_reader_message(r, &at, m->value, m->value->message, token);
    } else if (m->value->has_presence || !json_reader_zero(m->value, v)) {
        rc = ops->value(r->sink, m->value, v);
    }
    return rc < 0 ? rc : json_reader_close(r);
}

int json_reader_map(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                    enum json_token token) {
    if (token != JSON_OBJECT) return json_reader_expected(r, at, "an object", token);
    token = json_next(&r->lex);
    if (token == JSON_OBJECT_END) return 0;
    struct map_reader m = {.field = f, .keys = r->keys.n};
    m.key = pb_field_by_number(f->message, 1);
    m.value = pb_field_by_number(f->message, 2);
    assert(m.key != NULL && m.value != NULL);
    int rc = r->sink->ops->list(r->sink, f);
    for (; rc == 0 && token == JSON_KEY; token = json_next(&r->lex)) {
        rc = read_entry(r, at, &m);
        if (rc < 0) break;
    }
    map_free(&m.seen);
    r->keys.n = m.keys;
    if (rc == 0 && token != JSON_OBJECT_END) rc = json_reader_expected(r, at, "a key", token);
    return rc < 0 ? rc : r->sink->ops->list_end(r->sink);
}

// ---- the root

void json_reader_free(struct json_reader *r) {
    buf_free(&r->scratch);
    buf_free(&r->bytes);
    buf_free(&r->keys);
    buf_free(&r->marks);
}

int json_reader_run(struct json_reader *r, const struct pb_pool *pool,
                    const struct pb_message *type, struct str json, struct pb_sink *sink) {
    *r = (struct json_reader){
        .pool = pool, .root = type, .sink = sink, .ignore_unknown = r->ignore_unknown};
    json_lex_init(&r->lex, json, &r->scratch);
    int rc = json_reader_message(r, NULL, NULL, type, json_next(&r->lex));
    if (rc == 0) {
        enum json_token token = json_next(&r->lex);
        if (token != JSON_END) rc = json_reader_expected(r, NULL, "the end", token);
    }
    return rc;
}

static int read_unordered(const struct pb_pool *pool, const struct pb_message *type,
                          struct str json, const struct pb_json_options *options,
                          struct pb_sink *sink) {
    struct json_reader r = {.ignore_unknown = options != NULL && options->ignore_unknown};
    int rc = json_reader_run(&r, pool, type, json, sink);
    json_reader_free(&r);
    return rc;
}

int pb_read_json(const struct pb_pool *pool, const struct pb_message *type, struct str json,
                 const struct pb_json_options *options, struct pb_sink *sink) {
    if (!sink->ordered) return read_unordered(pool, type, json, options, sink);
    struct buf wire = {0};
    struct pb_wire_sink writer;
    pb_wire_sink_init(&writer, &wire, sink->err);
    int rc = read_unordered(pool, type, json, options, &writer.sink);
    if (rc == 0 && wire.failed) rc = err_set(sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    if (rc == 0) rc = pb_read_wire(type, buf_str(&wire), sink);
    buf_free(&wire);
    return rc;
}
