// SPDX-License-Identifier: Apache-2.0
// multipart/form-data: forms with files.
//
// An endpoint that takes one message gets it when the form is here as a whole: each part is the value of the field that it is
// named after (form.h). An endpoint that its caller streams to gets messages as the form comes, in constant memory:
//
//   first      the fields before the first file, with the values of path and query; of a field that is made for files also
//              the file's name and type
//   then       a message for each piece of the file, in which only the field's bytes are set
//   and so on  a further file begins with a message of its name and type, if its field is made for files; a field behind a
//              file is a message of its own
//
// Pieces go on as far as the service gives credit (intake.h); all messages are in the binary form, where a piece costs a few
// bytes and no more. Everything on the loop's thread.
#include "base/encode.h"
#include "net/multipart.h"
#include "pb/form.h"
#include "pb/json_lex.h"
#include "pb/visit.h"
#include "pb/wire.h"
#include "rpc/gateway.h"

#include <stdlib.h>

#define PATH_MAX_FIELDS 8 // that lead to a file's bytes

struct kept { // a field before the first file
    struct kept *next;
    struct blob *name, *value;
};

struct parts {
    struct multipart reader;
    struct pb_form *form; // of the first message; NULL: it has gone
    struct err why;       // the form's
    struct kept *kept;
    size_t kept_bytes;
    struct buf text; // of the field at hand
    // Of the file at hand: the fields that lead to its bytes. None: it is no file.
    const struct pb_field *path[PATH_MAX_FIELDS + 1];
    size_t depth;
};

static int no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the form");
}

static int malformed(const struct multipart *m, struct err *err) {
    return err_set(err, STATUS_INVALID_ARGUMENT, "%s",
                   m->error != NULL ? m->error
                                    : "the form is cut off: its last boundary is missing");
}

static int start(struct multipart *m, const struct call *c, struct err *err) {
    struct str type;
    char boundary[MULTIPART_BOUNDARY_MAX];
    size_t n = 0;
    if (!http_header_get(c->stream->headers, c->stream->header_count, "content-type", &type) ||
        !multipart_boundary(type, boundary, &n))
        return err_set(
            err, STATUS_INVALID_ARGUMENT,
            "content-type multipart/form-data wants a boundary, of at most 70 characters");
    multipart_create(m, (struct str){boundary, n});
    return 0;
}

// ---- fields

static bool is_json(struct str text) {
    struct buf scratch = {0};
    struct json_lex lex;
    json_lex_init(&lex, text, &scratch);
    bool whole = json_skip(&lex, json_next(&lex)) && json_next(&lex) == JSON_END;
    buf_free(&scratch);
    return whole;
}

// The part at hand, whose name and content outlive the form.
static int add_part(struct pb_form *f, const struct multipart *m, struct str name,
                    struct str content, struct err *err) {
    if (m->has_filename || !head_type_is(m->content_type, "application/json")) {
        struct form_file file = {m->filename, m->content_type, content};
        return pb_form_add_file(f, FORM_BODY, name, &file);
    }
    if (!is_json(content))
        return err_set(err, STATUS_INVALID_ARGUMENT, "%.*s: malformed JSON",
                       (int)(name.n < 200 ? name.n : 200), name.p);
    return pb_form_add(f, FORM_BODY, name, FORM_JSON, content);
}

// ---- a whole form

// Copies what a part is made of to the end of `data`, which has room for it.
static struct str keep(struct buf *data, struct str text) {
    size_t from = data->n;
    buf_append_str(data, text);
    return (struct str){buf_p(data) + from, text.n};
}

// Of a whole form: the texts of the form's parts, which it refers to, stay with the call.
int gateway_parts_add(struct pb_form *f, struct call *c, struct str body, struct err *err) {
    struct multipart m;
    enum multipart_event event;
    int rc = start(&m, c, err);
    if (rc < 0) return rc;
    struct buf *data = &c->texts;
    if (!buf_reserve(data, body.n + 1)) rc = no_memory(err); // what it holds does not move
    struct str name = {"", 0};
    size_t from = 0;
    while (rc == 0 && (event = multipart_next(&m, &body)) != MULTIPART_MORE) {
        if (event == MULTIPART_ERROR) rc = malformed(&m, err);
        if (event == MULTIPART_DATA) buf_append_str(data, m.data);
        if (event == MULTIPART_PART) {
            name = keep(data, m.name);
            m.filename = keep(data, m.filename);
            m.content_type = keep(data, m.content_type);
            from = data->n;
        }
        if (event == MULTIPART_PART_END)
            rc = add_part(f, &m, name, (struct str){buf_p(data) + from, data->n - from}, err);
    }
    if (rc == 0 && !multipart_ended(&m)) rc = malformed(&m, err);
    multipart_destroy(&m);
    return rc;
}

// ---- a streamed form

void parts_delete(struct parts *p) {
    if (p == NULL) return;
    pb_form_delete(p->form);
    while (p->kept != NULL) {
        struct kept *next = p->kept->next;
        blob_drop(p->kept->name);
        blob_drop(p->kept->value);
        free(p->kept);
        p->kept = next;
    }
    multipart_destroy(&p->reader);
    buf_free(&p->text);
    free(p);
}

static void put_varint(struct buf *out, uint64_t value) {
    uint8_t bytes[10];
    buf_append(out, bytes, wire_put_varint(bytes, value));
}

static void put_field(struct buf *out, const struct pb_field *f, struct str value) {
    put_varint(out, (uint64_t)f->number << 3 | WIRE_LENGTH);
    put_varint(out, value.n);
    buf_append_str(out, value);
}

// Wraps a message in those that lead to it: what stands in `out` is the content of path[depth - 1].
static void wrap(struct buf *out, const struct pb_field *const *path, size_t depth) {
    while (depth > 0) {
        struct buf outer = {0};
        put_field(&outer, path[--depth], buf_str(out));
        outer.failed = outer.failed || out->failed;
        buf_free(out);
        *out = outer;
    }
}

static int give(struct buf *out, struct blob **message, struct err *err) {
    *message = buf_take(out);
    return *message != NULL ? 1 : no_memory(err);
}

// The fields that lead to the bytes of a file. 0: the part is no file.
static size_t find_file(const struct pb_message *type, struct str name,
                        const struct pb_field *path[PATH_MAX_FIELDS + 1]) {
    const struct pb_field *f = NULL;
    size_t depth = 0;
    while (name.n > 0) {
        const char *dot = memchr(name.p, '.', name.n);
        size_t n = dot == NULL ? name.n : (size_t)(dot - name.p);
        const struct pb_message *inside = f == NULL ? type : f->message;
        bool closed = f != NULL && (f->repeated || inside == NULL || inside->wkt != PB_WKT_NONE);
        if (closed || depth == PATH_MAX_FIELDS) return 0;
        f = pb_field_by_name(inside, (struct str){name.p, n});
        if (f == NULL) return 0;
        path[depth++] = f;
        n += dot != NULL;
        name = (struct str){name.p + n, name.n - n};
    }
    if (f == NULL || f->is_map) return 0;
    if (f->type == PB_BYTES) return depth;
    const struct pb_field *data = pb_form_file_data(f->message);
    if (data == NULL) return 0;
    path[depth++] = data;
    return depth;
}

// Appends what a message made for files knows of the file at hand, in the binary form.
static void put_notes(const struct parts *p, struct buf *out) {
    if (p->depth < 2) return;
    const struct pb_message *type = p->path[p->depth - 1]->parent;
    if (pb_form_file_data(type) != p->path[p->depth - 1]) return;
    struct {
        const char *name;
        struct str value;
    } notes[] = {{"name", p->reader.filename}, {"content_type", p->reader.content_type}};
    struct buf inner = {0};
    for (size_t i = 0; i < 2; i++) {
        const struct pb_field *f = pb_field_by_name(type, str_of(notes[i].name));
        bool fits = f != NULL && f->type == PB_STRING && !f->repeated && notes[i].value.n > 0;
        if (fits && utf8_valid(notes[i].value)) put_field(&inner, f, notes[i].value);
    }
    wrap(&inner, p->path, p->depth - 1);
    buf_append_str(out, buf_str(&inner));
    out->failed = out->failed || inner.failed;
    buf_free(&inner);
}

static int put_form(struct call *c, struct pb_form *f, struct buf *out, struct err *err) {
    struct buf json = {0};
    int rc = pb_form_write(f, str_of(""), str_of(""), &json);
    if (rc == 0)
        rc = pb_json_to_wire(c->route->pool, c->route->method->input, buf_str(&json), out, err);
    buf_free(&json);
    return rc;
}

// The first message, up to the file that begins.
static int put_first(struct call *c, struct buf *out, struct err *err) {
    struct parts *p = c->parts;
    int rc = gateway_map_head(p->form, c, false);
    if (rc == 0) rc = put_form(c, p->form, out, &p->why);
    if (rc < 0) return err_set(err, (enum status) - rc, "%s", p->why.text);
    pb_form_delete(p->form);
    p->form = NULL;
    return 0;
}

static int begin_part(struct call *c, struct blob **message, struct err *err) {
    struct parts *p = c->parts;
    struct buf out = {0};
    p->text.n = 0;
    p->depth = find_file(c->route->method->input, p->reader.name, p->path);
    if (p->depth == 0 && p->reader.has_filename)
        return err_set(
            err, STATUS_INVALID_ARGUMENT,
            "%.*s: %.*s has no such field for a file: it is one of bytes, or a message with a "
            "field \"data\" of bytes",
            (int)(p->reader.name.n < 200 ? p->reader.name.n : 200), p->reader.name.p,
            (int)c->route->method->input->full_name.n, c->route->method->input->full_name.p);
    if (p->depth == 0) return 0;
    bool first = p->form != NULL;
    int rc = first ? put_first(c, &out, err) : 0;
    if (rc == 0) put_notes(p, &out);
    if (rc == 0 && (first || out.n > 0 || out.failed)) return give(&out, message, err);
    buf_free(&out);
    return rc;
}

static int take_data(struct call *c, struct blob **message, struct err *err) {
    struct parts *p = c->parts;
    struct buf out = {0};
    if (p->depth > 0) {
        put_field(&out, p->path[p->depth - 1], p->reader.data);
        wrap(&out, p->path, p->depth - 1);
        return give(&out, message, err);
    }
    p->kept_bytes += p->reader.data.n;
    if (p->kept_bytes > c->intake.frame.max)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "the fields of the form are longer than the limit of %zu bytes",
                       c->intake.frame.max);
    buf_append_str(&p->text, p->reader.data);
    return 0;
}

// A field before the first file: its texts are kept for the form.
static int keep_field(struct call *c, struct err *err) {
    struct parts *p = c->parts;
    struct kept *k = calloc(1, sizeof *k);
    if (k == NULL) return no_memory(err);
    k->next = p->kept;
    p->kept = k;
    k->name = blob_new(p->reader.name.p, p->reader.name.n);
    k->value = buf_take(&p->text);
    if (k->name == NULL || k->value == NULL) return no_memory(err);
    int rc = add_part(p->form, &p->reader, blob_str(k->name), blob_str(k->value), &p->why);
    return rc < 0 ? err_set(err, (enum status) - rc, "%s", p->why.text) : 0;
}

static int end_part(struct call *c, struct blob **message, struct err *err) {
    struct parts *p = c->parts;
    if (p->depth > 0) {
        p->depth = 0;
        return 0;
    }
    if (p->form != NULL) return keep_field(c, err);
    struct buf out = {0};
    struct pb_form *f = pb_form_new(c->route->method->input, err);
    if (f == NULL) return no_memory(err);
    int rc = add_part(f, &p->reader, p->reader.name, buf_str(&p->text), err);
    if (rc == 0) rc = put_form(c, f, &out, err);
    pb_form_delete(f);
    p->kept_bytes = 0;
    if (rc == 0) return give(&out, message, err);
    buf_free(&out);
    return rc;
}

static int next_message(struct intake *in, struct str *bytes, struct blob **message,
                        struct err *err) {
    struct call *c = call_of_intake(in);
    struct multipart *m = &c->parts->reader;
    enum multipart_event event;
    int rc = 0;
    while (rc == 0 && (event = multipart_next(m, bytes)) != MULTIPART_MORE) {
        switch (event) {
        case MULTIPART_PART: rc = begin_part(c, message, err); break;
        case MULTIPART_DATA: rc = take_data(c, message, err); break;
        case MULTIPART_PART_END: rc = end_part(c, message, err); break;
        default: rc = malformed(m, err); break;
        }
    }
    return rc;
}

static int begin(struct call *c, struct err *err) {
    struct parts *p = calloc(1, sizeof *p);
    if (p == NULL) return no_memory(err);
    c->parts = p;
    int rc = start(&p->reader, c, err);
    if (rc < 0) return rc;
    if (!c->route->whole_body)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "a form with files is a whole request: the body of this path is not");
    p->form = pb_form_new(c->route->method->input, &p->why);
    if (p->form == NULL) return no_memory(err);
    rc = gateway_map_head(p->form, c, true);
    return rc < 0 ? err_set(err, (enum status) - rc, "%s", p->why.text) : 0;
}

void gateway_parts_begin(struct call *c) {
    struct err err = {0};
    int rc = begin(c, &err);
    if (rc < 0) {
        call_fail(c, -rc, "%s", err.text);
        return;
    }
    c->mapped = false; // the first message has it all
    c->encoding.wire_in = true;
    intake_create(&c->intake, c->at->server->options.max_message, call_item);
    c->intake.next = next_message;
    call_request(c, NULL);
}

void gateway_parts_data(struct call *c, struct str bytes) {
    struct err err = {0};
    int rc = intake_data(&c->intake, c->stream, bytes, &err);
    if (rc < 0) call_fail(c, -rc, "%s", err.text);
}

void gateway_parts_end(struct call *c) {
    struct parts *p = c->parts;
    struct err err = {0};
    struct buf out = {0};
    struct blob *only = NULL;
    if (!intake_empty(&c->intake)) return; // comes again when there is credit
    c->request_ended = true;
    int rc = multipart_ended(&p->reader) ? 0 : malformed(&p->reader, &err);
    if (rc == 0 && p->form != NULL) { // there was no file
        rc = put_first(c, &out, &err);
        if (rc == 0) rc = give(&out, &only, &err);
        if (rc > 0) rc = call_item(&c->intake, only);
    }
    buf_free(&out);
    if (rc < 0) {
        call_fail(c, -rc, "%s", err.code == 0 ? "the receiver takes no more messages" : err.text);
        return;
    }
    call_tell(c, MSG_END, NULL, 0, 0);
}
