// SPDX-License-Identifier: Apache-2.0
// Gathering the values of a form.
//
// Every value is laid into a tree that the descriptor shapes, since those of one message need not stand together; then
// the tree is written (form_write.c). Texts stay as they came where pb_read_json reads them from strings; it is also what
// checks them. The tree is an array of nodes linked by index; its texts are slices of what the caller holds, or of blocks
// of decoded bytes that are sized before and never move. Any thread.
#include "base/encode.h"
#include "pb/form_tree.h"
#include "pb/json_lex.h"
#include "pb/visit.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_VALUES 1000
#define MAX_SEGMENTS 32
#define IGNORED 1 // one of a higher rank counts

struct form_block {
    struct form_block *next;
    struct buf text;
};

int form_no_memory(struct pb_form *f) {
    return err_set(f->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static int fail(struct pb_form *f, const char *text) {
    struct str key = json_cut(f->key, 200);
    return err_set(f->err, STATUS_INVALID_ARGUMENT, "%.*s: %s", (int)key.n, key.p, text);
}

struct pb_form *pb_form_new(const struct pb_message *type, struct err *err) {
    struct pb_form *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->err = err;
    f->cap = 16;
    f->nodes = malloc(f->cap * sizeof *f->nodes);
    if (f->nodes == NULL) {
        free(f);
        return NULL;
    }
    f->nodes[f->count++] = (struct form_node){.type = type};
    return f;
}

void pb_form_delete(struct pb_form *f) {
    if (f == NULL) return;
    while (f->blocks != NULL) {
        struct form_block *next = f->blocks->next;
        buf_free(&f->blocks->text);
        free(f->blocks);
        f->blocks = next;
    }
    free(f->nodes);
    free(f);
}

// ---- the tree

// A new node at the end of parent's children; its index, or 0 when memory ends.
static uint32_t add_node(struct pb_form *f, uint32_t parent, struct form_node node) {
    if (f->count == f->cap) {
        uint32_t cap = f->cap * 2;
        struct form_node *grown = realloc(f->nodes, cap * sizeof *grown);
        if (grown == NULL) return 0;
        f->nodes = grown;
        f->cap = cap;
    }
    uint32_t index = f->count++;
    node.rank = f->rank;
    f->nodes[index] = node;
    struct form_node *p = &f->nodes[parent];
    if (p->count++ == 0) {
        p->first = index;
    } else {
        f->nodes[p->last].next = index;
    }
    p->last = index;
    return index;
}

uint32_t form_child(const struct pb_form *f, uint32_t parent, struct str name) {
    uint32_t i = f->nodes[parent].first;
    while (i != FORM_NONE && !str_equal(f->nodes[i].name, name)) i = f->nodes[i].next;
    return i;
}

static uint32_t nth_child(const struct pb_form *f, uint32_t parent, uint64_t n) {
    uint32_t i = f->nodes[parent].first;
    for (; n > 0 && i != FORM_NONE; n--) i = f->nodes[i].next;
    return i;
}

static int unknown_field(struct pb_form *f, const struct pb_message *type, struct str name) {
    struct str near = pb_suggest_field(type, name);
    struct str path = json_cut(f->key, 100);
    struct str shown = json_cut(name, 60);
    char hint[160] = "";
    char where[120] = "";
    if (near.n > 0) snprintf(hint, sizeof hint, " (did you mean \"%.*s\"?)", (int)near.n, near.p);
    if (!str_equal(name, f->key)) snprintf(where, sizeof where, "%.*s: ", (int)path.n, path.p);
    return err_set(f->err, STATUS_INVALID_ARGUMENT, "%s%.*s has no field \"%.*s\"%s", where,
                   (int)type->full_name.n, type->full_name.p, (int)shown.n, shown.p, hint);
}

// The node of one value of `field`: its members are found by the message, a wrapper's by nothing.
static struct form_node value_node(const struct pb_field *field, struct str name) {
    const struct pb_message *m = field->message;
    bool members =
        m != NULL && (m->wkt == PB_WKT_NONE || m->wkt == PB_WKT_EMPTY || m->wkt == PB_WKT_STRUCT);
    return (struct form_node){.field = field, .name = name, .type = members ? m : NULL};
}

static int step_field(struct pb_form *f, uint32_t at, struct str name, uint32_t *to) {
    const struct pb_message *type = f->nodes[at].type;
    const struct pb_field *field = pb_field_by_name(type, name);
    if (field == NULL) return unknown_field(f, type, name);
    *to = form_child(f, at, field->name);
    if (*to != FORM_NONE) return f->nodes[*to].many && f->nodes[*to].rank > f->rank ? IGNORED : 0;
    struct form_node node = value_node(field, field->name);
    if (field->repeated)
        node = (struct form_node){.field = field, .name = field->name, .many = true};
    *to = add_node(f, at, node);
    return *to == FORM_NONE ? form_no_memory(f) : 0;
}

static int step_key(struct pb_form *f, uint32_t at, const struct pb_field *map, struct str key,
                    uint32_t *to) {
    *to = form_child(f, at, key);
    if (*to != FORM_NONE) return 0;
    *to = add_node(f, at, value_node(pb_field_by_number(map->message, 2), key));
    return *to == FORM_NONE ? form_no_memory(f) : 0;
}

// An element of a list: "" is a new one, a number is one that is there or the next.
static int step_element(struct pb_form *f, uint32_t at, struct str index, uint32_t *to) {
    uint64_t n = f->nodes[at].count;
    if (index.n > 0 && (!json_u64(index, &n) || n > f->nodes[at].count)) {
        return fail(f, "elements of a list are written [] or [0], [1] ... without a gap");
    }
    *to = nth_child(f, at, n);
    if (*to != FORM_NONE) return 0;
    *to = add_node(f, at, value_node(f->nodes[at].field, (struct str){"", 0}));
    return *to == FORM_NONE ? form_no_memory(f) : 0;
}

static int step(struct pb_form *f, uint32_t at, struct str segment, uint32_t *to) {
    const struct form_node *n = &f->nodes[at];
    if (n->set) return fail(f, "is a single value and has no fields");
    if (n->many && n->field->is_map) return step_key(f, at, n->field, segment, to);
    if (n->many) return step_element(f, at, segment, to);
    if (n->type == NULL) return fail(f, "is a single value and has no fields");
    if (n->type->wkt == PB_WKT_STRUCT) return step_key(f, at, &n->type->fields[0], segment, to);
    return step_field(f, at, segment, to);
}

// Cuts the next segment off `rest`. `first`: nothing was cut yet.
static bool next_segment(struct str *rest, bool first, struct str *segment) {
    const char *p = rest->p;
    const char *end = p + rest->n;
    if (*p == '[' && !first) {
        const char *close = memchr(p, ']', rest->n);
        if (close == NULL) return false;
        *segment = (struct str){p + 1, (size_t)(close - p) - 1};
        p = close + 1;
        if (p < end && *p != '.' && *p != '[') return false;
    } else {
        if (!first && *p++ != '.') return false;
        const char *start = p;
        while (p < end && *p != '.' && *p != '[') p++;
        if (p == start) return false;
        *segment = (struct str){start, (size_t)(p - start)};
    }
    *rest = (struct str){p, (size_t)(end - p)};
    return true;
}

static bool takes_text(const struct pb_field *f) {
    if (f->message == NULL) return true;
    switch (f->message->wkt) {
    case PB_WKT_TIMESTAMP:
    case PB_WKT_DURATION:
    case PB_WKT_FIELD_MASK:
    case PB_WKT_WRAPPER:
    case PB_WKT_VALUE: return true;
    default: return false;
    }
}

static bool is_array(struct str json) {
    size_t i = 0;
    while (i < json.n && (json.p[i] == ' ' || (json.p[i] >= '\t' && json.p[i] <= '\r'))) i++;
    return i < json.n && json.p[i] == '[';
}

static int set_value(struct pb_form *f, uint32_t at, enum form_kind kind, struct str value) {
    bool list = at != 0 && f->nodes[at].many && !f->nodes[at].field->is_map;
    bool whole = kind == FORM_JSON && (!list || is_array(value));
    if (f->nodes[at].set && f->nodes[at].many) return fail(f, "is set twice");
    if (list && !whole) { // a repeated key
        int rc = step_element(f, at, (struct str){"", 0}, &at);
        if (rc < 0) return rc;
    }
    struct form_node *n = &f->nodes[at];
    if (kind == FORM_JSON && n->count > 0) return fail(f, "is set twice");
    if (kind != FORM_JSON && (at == 0 || n->many || !takes_text(n->field)))
        return fail(f, "is a message: name a field of it");
    if (n->set) return n->rank > f->rank ? 0 : fail(f, "is set twice");
    n->set = true;
    n->kind = (uint8_t)kind;
    n->text = value;
    return 0;
}

// The node that f->key leads to from `at`.
static int walk(struct pb_form *f, uint32_t *at) {
    struct str rest = f->key;
    for (int i = 0; i == 0 || rest.n > 0; i++) {
        struct str segment;
        if (i == MAX_SEGMENTS) return fail(f, "has too many parts (the limit is 32)");
        if (rest.n == 0 || !next_segment(&rest, i == 0, &segment))
            return fail(f, "is no path like a.b or a[b]");
        int rc = step(f, *at, segment, at);
        if (rc != 0) return rc;
    }
    return 0;
}

static int add(struct pb_form *f, uint32_t at, enum form_kind kind, struct str value) {
    if (++f->values > MAX_VALUES)
        return err_set(f->err, STATUS_INVALID_ARGUMENT, "the request has over %d values",
                       MAX_VALUES);
    int rc = walk(f, &at);
    if (rc == 0) rc = set_value(f, at, kind, value);
    return rc == IGNORED ? 0 : rc;
}

int pb_form_add(struct pb_form *f, enum form_rank rank, struct str name, enum form_kind kind,
                struct str value) {
    f->rank = (uint8_t)rank;
    f->key = name;
    if (!utf8_valid(name))
        return err_set(f->err, STATUS_INVALID_ARGUMENT, "the name of a value is not valid UTF-8");
    if (kind == FORM_TEXT && !utf8_valid(value)) return fail(f, "is not valid UTF-8");
    return add(f, 0, kind, value);
}

// ---- files

const struct pb_field *pb_form_file_data(const struct pb_message *type) {
    if (type == NULL || type->wkt != PB_WKT_NONE) return NULL;
    const struct pb_field *data = pb_field_by_name(type, (struct str){"data", 4});
    return data != NULL && data->type == PB_BYTES && !data->repeated ? data : NULL;
}

// A member of a file's message, if it has such a one and there is something to say.
static int set_note(struct pb_form *f, uint32_t at, const char *name, struct str value) {
    const struct pb_field *field = pb_field_by_name(f->nodes[at].type, str_of(name));
    uint32_t to;
    if (value.n == 0 || field == NULL || field->type != PB_STRING || field->repeated) return 0;
    int rc = step_field(f, at, field->name, &to);
    return rc != 0 ? rc : set_value(f, to, FORM_TEXT, value);
}

static int set_file(struct pb_form *f, uint32_t at, const struct form_file *file) {
    uint32_t to;
    int rc = 0;
    if (f->nodes[at].many && !f->nodes[at].field->is_map)
        rc = step_element(f, at, (struct str){"", 0}, &at);
    if (rc != 0) return rc;
    const struct form_node *n = &f->nodes[at];
    const struct pb_field *data = n->many ? NULL : pb_form_file_data(n->type);
    if (data == NULL) return set_value(f, at, FORM_BYTES, file->data);
    rc = step_field(f, at, data->name, &to);
    if (rc == 0) rc = set_value(f, to, FORM_BYTES, file->data);
    if (rc == 0) rc = set_note(f, at, "name", file->name);
    return rc == 0 ? set_note(f, at, "content_type", file->content_type) : rc;
}

int pb_form_add_file(struct pb_form *f, enum form_rank rank, struct str name,
                     const struct form_file *file) {
    uint32_t at = 0;
    f->rank = (uint8_t)rank;
    f->key = name;
    if (!utf8_valid(name) || !utf8_valid(file->name) || !utf8_valid(file->content_type))
        return err_set(f->err, STATUS_INVALID_ARGUMENT, "the name of a file is not valid UTF-8");
    if (++f->values > MAX_VALUES)
        return err_set(f->err, STATUS_INVALID_ARGUMENT, "the request has over %d values",
                       MAX_VALUES);
    int rc = walk(f, &at);
    if (rc == 0) rc = set_file(f, at, file);
    return rc == IGNORED ? 0 : rc;
}

// ---- pairs

static int decode(struct pb_form *f, struct str raw, struct str *text) {
    struct buf *to = &f->blocks->text;
    size_t start = to->n;
    percent_decode(to, raw, true);
    *text = (struct str){buf_p(to) + start, to->n - start};
    if (utf8_valid(*text)) return 0;
    return err_set(f->err, STATUS_INVALID_ARGUMENT, "the query is not valid UTF-8");
}

static int add_pair(struct pb_form *f, uint32_t at, struct str pair) {
    const char *equals = memchr(pair.p, '=', pair.n);
    size_t n = equals == NULL ? pair.n : (size_t)(equals - pair.p);
    struct str value = {"", 0};
    int rc = decode(f, (struct str){pair.p, n}, &f->key);
    if (rc == 0 && equals != NULL) rc = decode(f, (struct str){equals + 1, pair.n - n - 1}, &value);
    return rc < 0 ? rc : add(f, at, FORM_TEXT, value);
}

// Room for all that `pairs` decodes to.
static int add_block(struct pb_form *f, struct str pairs) {
    struct form_block *block = calloc(1, sizeof *block);
    if (block == NULL) return form_no_memory(f);
    block->next = f->blocks;
    f->blocks = block;
    return buf_reserve(&block->text, pairs.n + 1) ? 0 : form_no_memory(f);
}

int pb_form_add_pairs(struct pb_form *f, enum form_rank rank, struct str under, struct str pairs) {
    uint32_t at = 0;
    f->rank = (uint8_t)rank;
    int rc = add_block(f, pairs);
    if (rc == 0 && under.n > 0) rc = step_field(f, 0, under, &at);
    while (rc == 0 && pairs.n > 0) {
        const char *end = memchr(pairs.p, '&', pairs.n);
        size_t n = end == NULL ? pairs.n : (size_t)(end - pairs.p);
        if (n > 0) rc = add_pair(f, at, (struct str){pairs.p, n});
        if (end == NULL) break;
        pairs = (struct str){end + 1, pairs.n - n - 1};
    }
    return rc;
}

int pb_query_to_json(const struct pb_message *type, struct str query, struct buf *out,
                     struct err *err) {
    struct str none = {"", 0};
    struct pb_form *f = pb_form_new(type, err);
    if (f == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    int rc = pb_form_add_pairs(f, FORM_QUERY, none, query);
    if (rc == 0) rc = pb_form_write(f, none, none, out);
    pb_form_delete(f);
    return rc;
}
