// SPDX-License-Identifier: Apache-2.0
// Values of a path, a form and a query merged with a body of JSON: a byte for the type, one for what the body is, then four lines
// "name=value" pairs of the path, of the form, of the query, and the field that the body is; the rest is the body. What comes out
// is JSON, and what the path has said is in it.
#include "fuzz.h"

#include "base/encode.h"
#include "pb/form.h"
#include "pb/json_lex.h"

static struct str next_line(struct input *in) {
    const uint8_t *lf = memchr(in->p, '\n', in->n);
    struct str line = input_take(in, lf == NULL ? in->n : (size_t)(lf - in->p) + 1);
    if (lf != NULL) line.n--;
    return line;
}

static int add(struct pb_form *f, enum form_rank rank, struct str line, uint8_t choice) {
    const char *equals = memchr(line.p, '=', line.n);
    if (equals == NULL) return 0;
    struct str name = {line.p, (size_t)(equals - line.p)};
    struct str value = {equals + 1, line.n - name.n - 1};
    struct form_file file = {name, {"text/plain", 10}, value};
    if (choice % 4 == 1) return pb_form_add_file(f, rank, name, &file);
    if (choice % 4 == 2) return pb_form_add(f, rank, name, FORM_BYTES, value);
    return pb_form_add(f, rank, name, FORM_TEXT, value);
}

static void check(const struct pb_message *type, struct buf *json) {
    struct json_lex lex;
    struct buf scratch = {0}, wire = {0};
    struct err err = {0};
    json_lex_init(&lex, buf_str(json), &scratch);
    must(json_next(&lex) == JSON_OBJECT && json_skip(&lex, JSON_OBJECT));
    must(json_next(&lex) == JSON_END);
    pb_json_to_wire(fixture_pool(), type, buf_str(json), &wire, &err);
    buf_free(&scratch);
    buf_free(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    uint8_t choice = input_byte(&in), what = input_byte(&in);
    const struct pb_message *type = fixture_type(choice);
    char *copy = input_copy((struct str){(const char *)in.p, in.n});
    struct input from = {(const uint8_t *)copy, in.n};
    struct err err = {0};
    struct pb_form *f = pb_form_new(type, &err);
    must(f != NULL);
    struct str path = next_line(&from), form = next_line(&from), query = next_line(&from);
    struct str under = next_line(&from), body = input_rest(&from), none = {"", 0};
    const struct pb_field *field = pb_field_by_name(type, under);
    under = field == NULL ? none : field->name;
    struct buf json = {0};
    int rc = add(f, FORM_PATH, path, what);
    bool bodied = what % 8 >= 4;
    if (rc == 0 && !bodied) rc = pb_form_add_pairs(f, FORM_BODY, under, form);
    if (rc == 0) rc = pb_form_add_pairs(f, FORM_QUERY, none, query);
    if (rc == 0) rc = pb_form_write(f, under, bodied ? body : none, &json);
    must(rc == 0 || err.text[0] != '\0');
    if (rc == 0) check(type, &json);
    pb_form_delete(f);
    buf_free(&json);
    free(copy);
    return 0;
}
