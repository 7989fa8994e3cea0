// SPDX-License-Identifier: Apache-2.0
// Writing a form's values as JSON, and into a body of JSON.
//
// The body is read once, token by token. Where the tree has nothing for a member its bytes are copied as they are; where
// both have something and it is a message, the two are merged member by member; else the rank decides. So the result is
// as deep in recursion as the tree is, however deep the body is, and what is wrong with a copied value is found by who
// reads the result. The body's syntax is checked here: otherwise a malformed one could smuggle members into its
// surroundings. Pure but for memory; any thread.
#include "base/encode.h"
#include "pb/form_tree.h"
#include "pb/json_lex.h"
#include "pb/visit.h"

struct merge {
    struct pb_form *f;
    struct json_lex lex; // at the body
    struct buf scratch;
    struct buf *out;
};

// ---- values

static void put_bool(struct buf *out, struct str text) {
    bool yes = text.n == 0 || str_is(text, "true") || str_is(text, "1") || str_is(text, "on");
    bool no = str_is(text, "false") || str_is(text, "0") || str_is(text, "off");
    if (yes || no) {
        buf_append_text(out, yes ? "true" : "false");
    } else {
        json_put_string(out, text);
    }
}

// The text as JSON of the field's type; what is not of the type stays a string, which pb_read_json will refuse.
static void put_text(struct buf *out, const struct pb_field *field, struct str text) {
    double number;
    bool wrapper = field->message != NULL && field->message->wkt == PB_WKT_WRAPPER;
    switch (wrapper ? field->message->fields[0].type : field->type) {
    case PB_BOOL: put_bool(out, text); break;
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

static int put_bytes(struct pb_form *f, struct buf *out, const struct form_node *n) {
    bool wrapper = n->field->message != NULL && n->field->message->wkt == PB_WKT_WRAPPER;
    if ((wrapper ? n->field->message->fields[0].type : n->field->type) == PB_BYTES) {
        buf_append_byte(out, '"');
        base64_encode(out, n->text);
        buf_append_byte(out, '"');
        return 0;
    }
    if (!utf8_valid(n->text))
        return err_set(f->err, STATUS_INVALID_ARGUMENT,
                       "%.*s: is no text in UTF-8: a field of bytes would take it",
                       (int)n->field->name.n, n->field->name.p);
    put_text(out, n->field, n->text);
    return 0;
}

static int put_node(struct pb_form *f, struct buf *out, uint32_t at);

// The members of a message or map, or the elements of a list, that are not written yet; `first`: no comma is needed before.
static int put_children(struct pb_form *f, struct buf *out, uint32_t at, bool first) {
    const struct form_node *n = &f->nodes[at];
    bool list = n->many && !n->field->is_map;
    int rc = 0;
    for (uint32_t i = n->first; i != FORM_NONE && rc == 0; i = f->nodes[i].next) {
        if (f->nodes[i].done) continue;
        if (!first) buf_append_byte(out, ',');
        first = false;
        if (!list) {
            json_put_string(out, f->nodes[i].name);
            buf_append_byte(out, ':');
        }
        rc = put_node(f, out, i);
    }
    return rc;
}

static int put_node(struct pb_form *f, struct buf *out, uint32_t at) {
    const struct form_node *n = &f->nodes[at];
    if (n->set && n->kind == FORM_BYTES) return put_bytes(f, out, n);
    if (n->set && n->kind == FORM_JSON) buf_append_str(out, n->text);
    if (n->set && n->kind == FORM_TEXT) put_text(out, n->field, n->text);
    if (n->set) return 0;
    bool list = n->many && !n->field->is_map;
    buf_append_byte(out, list ? '[' : '{');
    int rc = put_children(f, out, at, true);
    buf_append_byte(out, list ? ']' : '}');
    return rc;
}

// ---- the body

static int malformed(struct merge *m) {
    unsigned line, column;
    if (m->scratch.failed) return form_no_memory(m->f);
    json_position(&m->lex, m->lex.offset, &line, &column);
    return err_set(m->f->err, STATUS_INVALID_ARGUMENT, "malformed JSON, line %u, column %u: %s",
                   line, column, m->lex.error);
}

// The value of the body whose first token was read, as it is.
static int copy_value(struct merge *m, enum json_token first) {
    size_t from = m->lex.offset;
    if (!json_skip(&m->lex, first)) return malformed(m);
    buf_append(m->out, m->lex.start + from, (size_t)(m->lex.at - m->lex.start) - from);
    return 0;
}

// A member of a oneof is set by the body: those of a lower rank count no more.
static void drop_others(struct merge *m, uint32_t at, const struct pb_field *field) {
    if (field->oneof < 0) return;
    for (uint32_t i = m->f->nodes[at].first; i != FORM_NONE; i = m->f->nodes[i].next) {
        struct form_node *n = &m->f->nodes[i];
        if (n->field != field && n->field->oneof == field->oneof && n->rank < FORM_BODY)
            n->done = true;
    }
}

static int merge_object(struct merge *m, uint32_t at);

// The value of a member that the tree has too.
static int merge_value(struct merge *m, uint32_t child, enum json_token first) {
    const struct form_node *n = &m->f->nodes[child];
    if (n->set && n->rank > FORM_BODY) {
        if (!json_skip(&m->lex, first)) return malformed(m);
        return put_node(m->f, m->out, child);
    }
    bool message = !n->set && n->type != NULL && n->type->wkt == PB_WKT_NONE;
    return message && first == JSON_OBJECT ? merge_object(m, child) : copy_value(m, first);
}

// One member whose key was read. *written: whether there is something of it.
static int merge_member(struct merge *m, uint32_t at, bool *written) {
    const struct pb_field *field = pb_field_by_name(m->f->nodes[at].type, m->lex.text);
    uint32_t child = field == NULL ? FORM_NONE : form_child(m->f, at, field->name);
    if (child != FORM_NONE && m->f->nodes[child].done) child = FORM_NONE;
    size_t before = m->out->n;
    if (*written) buf_append_byte(m->out, ',');
    json_put_string(m->out, m->lex.text);
    buf_append_byte(m->out, ':');
    enum json_token first = json_next(&m->lex);
    bool absent = first == JSON_NULL &&
                  !(field != NULL && field->message != NULL && field->message->wkt == PB_WKT_VALUE);
    if (absent && child != FORM_NONE) { // as if it were not there
        m->out->n = before;
        return 0;
    }
    *written = true;
    if (field != NULL && !absent) drop_others(m, at, field);
    if (child == FORM_NONE) return copy_value(m, first);
    int rc = merge_value(m, child, first);
    m->f->nodes[child].done = true;
    return rc;
}

// An object whose "{" was read, with what the tree has below `at`.
static int merge_object(struct merge *m, uint32_t at) {
    enum json_token token;
    bool written = false;
    buf_append_byte(m->out, '{');
    while ((token = json_next(&m->lex)) == JSON_KEY) {
        int rc = merge_member(m, at, &written);
        if (rc < 0) return rc;
    }
    if (token != JSON_OBJECT_END) return malformed(m);
    int rc = put_children(m->f, m->out, at, !written);
    buf_append_byte(m->out, '}');
    return rc;
}

// The body is the value of one field.
static int merge_field(struct merge *m, struct str under) {
    const struct pb_field *field = pb_field_by_name(m->f->nodes[0].type, under);
    uint32_t child = form_child(m->f, 0, field->name);
    enum json_token first = json_next(&m->lex);
    buf_append_byte(m->out, '{');
    json_put_string(m->out, field->name);
    buf_append_byte(m->out, ':');
    if (first != JSON_NULL) drop_others(m, 0, field);
    int rc = first == JSON_ERROR || first == JSON_END ? malformed(m)
             : child == FORM_NONE                     ? copy_value(m, first)
                                                      : merge_value(m, child, first);
    if (child != FORM_NONE) m->f->nodes[child].done = true;
    if (rc == 0) rc = put_children(m->f, m->out, 0, false);
    buf_append_byte(m->out, '}');
    return rc;
}

static int merge_whole(struct merge *m) {
    const struct pb_message *type = m->f->nodes[0].type;
    enum json_token first = json_next(&m->lex);
    if (first == JSON_ERROR || first == JSON_END) return malformed(m);
    if (first == JSON_OBJECT) return merge_object(m, 0);
    return err_set(m->f->err, STATUS_INVALID_ARGUMENT, "%.*s: expected an object, got %s",
                   (int)type->full_name.n, type->full_name.p, json_token_name(first));
}

int pb_form_write(struct pb_form *f, struct str under, struct str body, struct buf *out) {
    int rc;
    if (body.n == 0) {
        rc = put_node(f, out, 0);
    } else {
        struct merge m = {.f = f, .out = out};
        json_lex_init(&m.lex, body, &m.scratch);
        rc = under.n > 0 ? merge_field(&m, under) : merge_whole(&m);
        if (rc == 0 && json_next(&m.lex) != JSON_END) rc = malformed(&m);
        buf_free(&m.scratch);
    }
    return rc == 0 && out->failed ? form_no_memory(f) : rc;
}
