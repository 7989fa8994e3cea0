// SPDX-License-Identifier: Apache-2.0
// Query strings and forms as JSON.
//
// A key is a path: names of fields, keys of maps and indices of lists, joined by '.' or in brackets
// ("page.limit", "page[limit]", "tags[]", "items[0].name"). Every pair is laid into a tree that the
// descriptor shapes, since pairs of one message need not stand together; then the tree is written.
// Texts stay as they came where pb_read_json reads them from strings; it is also what checks them.
// The tree is an array of nodes linked by index, its texts are slices of one buffer of decoded
// bytes that is sized before and never moves. Any thread.
#include "base/encode.h"
#include "pb/json_lex.h"
#include "pb/visit.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_PAIRS 1000
#define MAX_SEGMENTS 32
#define NONE 0 // the root is nobody's child

struct node {
    struct str name;               // in JSON: of a field, or the key of a map; empty in a list
    const struct pb_field *field;  // whose value it is, or one element of it; NULL: the root
    const struct pb_message *type; // a message: what its members are
    bool many;                     // a list or a map as a whole
    bool set;                      // a value, with `text`
    struct str text;
    uint32_t first, last, next; // children, sibling
    uint32_t count;             // children
};

struct query {
    struct node *nodes;
    uint32_t count, cap;
    struct buf text; // decoded
    struct err *err;
    struct str key; // the pair at hand, decoded, for error texts
};

static int no_memory(struct query *q) {
    return err_set(q->err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static int fail(struct query *q, const char *text) {
    struct str key = json_cut(q->key, 200);
    return err_set(q->err, STATUS_INVALID_ARGUMENT, "%.*s: %s", (int)key.n, key.p, text);
}

// ---- the tree

// A new node at the end of parent's children; its index, or 0 when memory ends.
static uint32_t add_node(struct query *q, uint32_t parent, struct node node) {
    if (q->count == q->cap) {
        uint32_t cap = q->cap == 0 ? 16 : q->cap * 2;
        struct node *grown = realloc(q->nodes, cap * sizeof *grown);
        if (grown == NULL) return 0;
        q->nodes = grown;
        q->cap = cap;
    }
    uint32_t index = q->count++;
    q->nodes[index] = node;
    if (index == 0) return 0;
    struct node *p = &q->nodes[parent];
    if (p->count++ == 0) {
        p->first = index;
    } else {
        q->nodes[p->last].next = index;
    }
    p->last = index;
    return index;
}

static uint32_t find_child(const struct query *q, uint32_t parent, struct str name) {
    uint32_t i = q->nodes[parent].first;
    while (i != NONE && !str_equal(q->nodes[i].name, name)) i = q->nodes[i].next;
    return i;
}

static uint32_t nth_child(const struct query *q, uint32_t parent, uint64_t n) {
    uint32_t i = q->nodes[parent].first;
    for (; n > 0 && i != NONE; n--) i = q->nodes[i].next;
    return i;
}

static int unknown_field(struct query *q, const struct pb_message *type, struct str name) {
    struct str near = pb_suggest_field(type, name);
    struct str path = json_cut(q->key, 100);
    struct str shown = json_cut(name, 60);
    char hint[160] = "";
    char where[120] = "";
    if (near.n > 0) snprintf(hint, sizeof hint, " (did you mean \"%.*s\"?)", (int)near.n, near.p);
    if (!str_equal(name, q->key)) snprintf(where, sizeof where, "%.*s: ", (int)path.n, path.p);
    return err_set(q->err, STATUS_INVALID_ARGUMENT, "%s%.*s has no field \"%.*s\"%s", where,
                   (int)type->full_name.n, type->full_name.p, (int)shown.n, shown.p, hint);
}

// The node of one value of `field`: its members are found by the message, a wrapper's by nothing.
static struct node value_node(const struct pb_field *field, struct str name) {
    const struct pb_message *m = field->message;
    bool members =
        m != NULL && (m->wkt == PB_WKT_NONE || m->wkt == PB_WKT_EMPTY || m->wkt == PB_WKT_STRUCT);
    return (struct node){.field = field, .name = name, .type = members ? m : NULL};
}

static int step_field(struct query *q, uint32_t at, struct str name, uint32_t *to) {
    const struct pb_message *type = q->nodes[at].type;
    const struct pb_field *f = pb_field_by_name(type, name);
    if (f == NULL) return unknown_field(q, type, name);
    *to = find_child(q, at, f->name);
    if (*to != NONE) return 0;
    struct node node = value_node(f, f->name);
    if (f->repeated) node = (struct node){.field = f, .name = f->name, .many = true};
    *to = add_node(q, at, node);
    return *to == NONE ? no_memory(q) : 0;
}

static int step_key(struct query *q, uint32_t at, const struct pb_field *map, struct str key,
                    uint32_t *to) {
    *to = find_child(q, at, key);
    if (*to != NONE) return 0;
    *to = add_node(q, at, value_node(pb_field_by_number(map->message, 2), key));
    return *to == NONE ? no_memory(q) : 0;
}

// An element of a list: "" is a new one, a number is one that is there or the next.
static int step_element(struct query *q, uint32_t at, struct str index, uint32_t *to) {
    uint64_t n = q->nodes[at].count;
    if (index.n > 0 && (!json_u64(index, &n) || n > q->nodes[at].count)) {
        return fail(q, "elements of a list are written [] or [0], [1] ... without a gap");
    }
    *to = nth_child(q, at, n);
    if (*to != NONE) return 0;
    *to = add_node(q, at, value_node(q->nodes[at].field, (struct str){"", 0}));
    return *to == NONE ? no_memory(q) : 0;
}

static int step(struct query *q, uint32_t at, struct str segment, uint32_t *to) {
    const struct node *n = &q->nodes[at];
    if (n->many && n->field->is_map) return step_key(q, at, n->field, segment, to);
    if (n->many) return step_element(q, at, segment, to);
    if (n->set || n->type == NULL) return fail(q, "is a single value and has no fields");
    if (n->type->wkt == PB_WKT_STRUCT) return step_key(q, at, &n->type->fields[0], segment, to);
    return step_field(q, at, segment, to);
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

static int set_value(struct query *q, uint32_t at, struct str value) {
    if (at != 0 && q->nodes[at].many && !q->nodes[at].field->is_map) { // a repeated key
        int rc = step_element(q, at, (struct str){"", 0}, &at);
        if (rc < 0) return rc;
    }
    struct node *n = &q->nodes[at];
    if (at == 0 || n->many || !takes_text(n->field))
        return fail(q, "is a message: name a field of it");
    if (n->set) return fail(q, "is set twice");
    n->set = true;
    n->text = value;
    return 0;
}

// ---- reading

static int decode(struct query *q, struct str raw, struct str *text) {
    size_t start = q->text.n;
    percent_decode(&q->text, raw, true);
    *text = (struct str){buf_p(&q->text) + start, q->text.n - start};
    return utf8_valid(*text)
               ? 0
               : err_set(q->err, STATUS_INVALID_ARGUMENT, "the query is not valid UTF-8");
}

static int read_pair(struct query *q, struct str pair) {
    const char *equals = memchr(pair.p, '=', pair.n);
    size_t n = equals == NULL ? pair.n : (size_t)(equals - pair.p);
    struct str value = {"", 0};
    int rc = decode(q, (struct str){pair.p, n}, &q->key);
    if (rc == 0 && equals != NULL) rc = decode(q, (struct str){equals + 1, pair.n - n - 1}, &value);
    if (rc < 0) return rc;
    struct str rest = q->key;
    uint32_t at = 0;
    for (int i = 0; i == 0 || rest.n > 0; i++) {
        struct str segment;
        if (i == MAX_SEGMENTS) return fail(q, "has too many parts (the limit is 32)");
        if (rest.n == 0 || !next_segment(&rest, i == 0, &segment))
            return fail(q, "is no path like a.b or a[b]");
        rc = step(q, at, segment, &at);
        if (rc < 0) return rc;
    }
    return set_value(q, at, value);
}

static int read_pairs(struct query *q, struct str query) {
    int pairs = 0;
    while (query.n > 0) {
        const char *and = memchr(query.p, '&', query.n);
        size_t n = and == NULL ? query.n : (size_t)(and-query.p);
        if (n > 0) {
            if (++pairs > MAX_PAIRS) {
                return err_set(q->err, STATUS_INVALID_ARGUMENT, "the query has over %d pairs",
                               MAX_PAIRS);
            }
            int rc = read_pair(q, (struct str){query.p, n});
            if (rc < 0) return rc;
        }
        if (and == NULL) break;
        query = (struct str){and+1, query.n - n - 1};
    }
    return 0;
}

// ---- writing

static bool is_true(struct str text) {
    return text.n == 0 || str_is(text, "true") || str_is(text, "1") || str_is(text, "on");
}

// The text as JSON of the field's type; what is not of the type stays a string, which pb_read_json
// will refuse.
static void put_text(struct buf *out, const struct pb_field *f, struct str text) {
    double number;
    if (f->message != NULL && f->message->wkt == PB_WKT_WRAPPER) f = &f->message->fields[0];
    switch (f->type) {
    case PB_BOOL:
        if (is_true(text)) {
            buf_append_text(out, "true");
        } else if (str_is(text, "false") || str_is(text, "0") || str_is(text, "off")) {
            buf_append_text(out, "false");
        } else {
            json_put_string(out, text);
        }
        break;
    case PB_STRING:
    case PB_BYTES:
    case PB_MESSAGE:
    case PB_GROUP: json_put_string(out, text); break;
    default:
        if (json_double(text, &number)) {
            buf_append_str(out, text);
        } else {
            json_put_string(out, text);
        }
    }
}

static void put_node(struct query *q, struct buf *out, uint32_t at) {
    const struct node *n = &q->nodes[at];
    if (n->set) {
        put_text(out, n->field, n->text);
        return;
    }
    bool list = n->many && !n->field->is_map;
    buf_append_byte(out, list ? '[' : '{');
    for (uint32_t i = n->first; i != NONE; i = q->nodes[i].next) {
        if (i != n->first) buf_append_byte(out, ',');
        if (!list) {
            json_put_string(out, q->nodes[i].name);
            buf_append_byte(out, ':');
        }
        put_node(q, out, i);
    }
    buf_append_byte(out, list ? ']' : '}');
}

int pb_query_to_json(const struct pb_message *type, struct str query, struct buf *out,
                     struct err *err) {
    struct query q = {.err = err};
    int rc = 0;
    add_node(&q, 0, (struct node){.type = type});
    if (q.nodes == NULL || !buf_reserve(&q.text, query.n + 1)) rc = no_memory(&q);
    if (rc == 0) rc = read_pairs(&q, query);
    if (rc == 0) put_node(&q, out, 0);
    if (rc == 0 && out->failed) rc = no_memory(&q);
    free(q.nodes);
    buf_free(&q.text);
    return rc;
}
