// SPDX-License-Identifier: Apache-2.0
// What of a message is the answer, and in which form of JSON.
//
// The form is the service's (`json` in its definition), unless the caller says otherwise by parameters of `accept`:
// "application/json; names=camel; defaults=false; int64=number". A parameter that means nothing here is nothing.
#include "pb/json_lex.h"
#include "rpc/gateway.h"

// ---- forms

static void set_form(struct msg_form *form, struct str parameter) {
    if (str_is(parameter, "names=camel")) form->json_camel = true;
    if (str_is(parameter, "names=proto")) form->json_camel = false;
    if (str_is(parameter, "defaults=false")) form->json_compact = true;
    if (str_is(parameter, "defaults=true")) form->json_compact = false;
    if (str_is(parameter, "int64=number")) form->json_int64_number = true;
    if (str_is(parameter, "int64=string")) form->json_int64_number = false;
}

struct msg_form gateway_form(const struct request *r) {
    struct msg_form form = r->route->form;
    struct str accept = r->head.accept;
    if (accept.n == 0 || memchr(accept.p, ';', accept.n) == NULL) return form;
    for (size_t at = 0; at < accept.n;) {
        size_t end = at;
        while (end < accept.n && accept.p[end] != ';' && accept.p[end] != ',') end++;
        size_t to = end;
        while (at < to && accept.p[at] == ' ') at++;
        while (to > at && accept.p[to - 1] == ' ') to--;
        set_form(&form, (struct str){accept.p + at, to - at});
        at = end + 1;
    }
    return form;
}

// ---- a field as the answer

static const char *zero_of(const struct pb_field *f, bool int64_number) {
    if (f->repeated) return f->is_map ? "{}" : "[]";
    if (f->has_presence) return "null";
    switch (f->type) {
    case PB_STRING:
    case PB_BYTES: return "\"\"";
    case PB_BOOL: return "false";
    case PB_INT64:
    case PB_UINT64:
    case PB_SINT64:
    case PB_FIXED64:
    case PB_SFIXED64: return int64_number ? "0" : "\"0\"";
    default: return "0";
    }
}

// A value that the message leaves out.
static struct blob *absent(const struct pb_field *f, bool int64_number) {
    struct buf out = {0};
    if (f->type == PB_ENUM && !f->repeated && !f->has_presence) {
        json_put_string(&out, f->enumeration->values[0].name);
        return buf_take(&out);
    }
    const char *text = zero_of(f, int64_number);
    return blob_new(text, strlen(text));
}

// The member of an object as it stands there. False: there is none.
static bool find_member(struct str object, const struct pb_field *f, struct buf *scratch,
                        struct str *value) {
    struct json_lex lex;
    json_lex_init(&lex, object, scratch);
    if (json_next(&lex) != JSON_OBJECT) return false;
    while (json_next(&lex) == JSON_KEY) {
        bool found = str_equal(lex.text, f->name) || str_equal(lex.text, f->json_name);
        enum json_token first = json_next(&lex);
        size_t from = lex.offset;
        if (!json_skip(&lex, first)) return false;
        *value = (struct str){lex.start + from, (size_t)(lex.at - lex.start) - from};
        if (found) return true;
    }
    return false;
}

struct blob *gateway_answer(const struct call *c, struct blob *take_body) {
    const struct pb_field *field = c->route->response_body;
    if (field == NULL || c->encoding.encoding != MSG_JSON) return take_body;
    struct buf scratch = {0};
    struct str value;
    bool found = find_member(blob_str(take_body), field, &scratch, &value);
    struct blob *answer =
        found ? blob_new(value.p, value.n) : absent(field, c->encoding.json_int64_number);
    buf_free(&scratch);
    blob_drop(take_body);
    return answer;
}

bool gateway_answer_empty(const struct call *c, const struct blob *body) {
    if (!c->route->empty) return false;
    struct str text = blob_str(body);
    return text.n == 0 || str_is(text, "{}") || str_is(text, "null");
}
