// SPDX-License-Identifier: Apache-2.0
// From path, query, form and body to the message that the service gets.
//
// The variables of the path come before the body, and that before the query (form.h has the rules). Where the body is all
// there is, it goes to the service as it came and nothing here is asked (gateway_body.c): this file is for the others. What
// the values are is said by the contract; whether they fit is said by who decodes the JSON that comes out, which is the
// service.
//
// application/protobuf is merged as the binary form merges: what comes later counts, lists grow. So the query goes before the
// body and the path behind it.
#include "pb/form.h"
#include "pb/visit.h"
#include "rpc/gateway.h"

#include <stdlib.h>

bool gateway_map_begin(struct call *c, const struct request *r) {
    const struct route *route = r->route;
    bool query = r->path.n != r->stream->path.n;
    c->mapped = query || r->param_count > 0 || !route->whole_body;
    if (r->param_count == 0) return true;
    size_t texts = 0;
    for (size_t i = 0; i < r->param_count; i++) texts += r->params[i].value.n;
    c->params = malloc(r->param_count * sizeof *c->params + texts);
    if (c->params == NULL) return false;
    char *to = (char *)(c->params + r->param_count);
    c->param_count = r->param_count;
    for (size_t i = 0; i < r->param_count; i++) {
        struct str value = r->params[i].value;
        if (value.n > 0) memcpy(to, value.p, value.n);
        c->params[i] =
            (struct route_param){r->params[i].name, {to, value.n}}; // the route keeps names
        to += value.n;
    }
    return true;
}

struct str gateway_query(const struct call *c) {
    struct str path = c->stream->path;
    const char *mark = memchr(path.p, '?', path.n);
    if (mark == NULL) return (struct str){"", 0};
    return (struct str){mark + 1, path.n - (size_t)(mark + 1 - path.p)};
}

// curl -d sends JSON under a form's name when nothing else is said; no field of a form begins with a brace.
static bool looks_like_json(struct str body) {
    size_t i = 0;
    while (i < body.n && strchr(" \t\r\n", body.p[i]) != NULL && body.p[i] != '\0') i++;
    return i < body.n && (body.p[i] == '{' || body.p[i] == '[');
}

static int add_params(struct pb_form *f, const struct call *c) {
    int rc = 0;
    for (size_t i = 0; i < c->param_count && rc == 0; i++)
        rc = pb_form_add(f, FORM_PATH, c->params[i].name, FORM_TEXT, c->params[i].value);
    return rc;
}

static int add_query(struct pb_form *f, const struct call *c) {
    struct str query = gateway_query(c);
    return query.n == 0 ? 0 : pb_form_add_pairs(f, FORM_QUERY, str_of(""), query);
}

int gateway_map_head(struct pb_form *f, const struct call *c, bool path) {
    return path ? add_params(f, c) : add_query(f, c);
}

// ---- the binary form

// What `add` gives, as a message in the binary form.
static int put_wire(const struct call *c, int (*add)(struct pb_form *, const struct call *),
                    struct buf *out, struct err *err) {
    struct pb_form *f = pb_form_new(c->route->method->input, err);
    if (f == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the request");
    struct buf json = {0};
    int rc = add(f, c);
    if (rc == 0) rc = pb_form_write(f, str_of(""), str_of(""), &json);
    if (rc == 0)
        rc = pb_json_to_wire(c->route->pool, c->route->method->input, buf_str(&json), out, err);
    buf_free(&json);
    pb_form_delete(f);
    return rc;
}

// `whole`: the body is a whole message, whatever the path says.
static int map_wire(const struct call *c, struct str body, bool whole, struct buf *out,
                    struct err *err) {
    if (!whole && body.n > 0)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "the body of this path is no whole message: send it as application/json");
    int rc = put_wire(c, add_query, out, err);
    buf_append_str(out, body);
    return rc < 0 ? rc : put_wire(c, add_params, out, err);
}

// ---- JSON

static int map_body(struct call *c, struct pb_form *f, struct str body, bool whole, struct buf *out,
                    struct err *err) {
    const struct pb_field *field = whole ? NULL : c->route->body;
    struct str under = field == NULL ? str_of("") : field->name;
    if (!whole && field == NULL && body.n > 0)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "this path takes no body: its values come from the path and the query");
    int rc = 0;
    if (c->body_kind == BODY_MULTIPART) {
        if (field != NULL)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "a form with files is a whole request: the body of this path is not");
        rc = gateway_parts_add(f, c, body, err);
        body.n = 0;
    } else if (c->body_kind == BODY_RAW) {
        rc = pb_form_add(f, FORM_BODY, under, FORM_BYTES, body);
        body.n = 0;
    } else if (c->body_kind == BODY_FORM && !looks_like_json(body)) {
        rc = pb_form_add_pairs(f, FORM_BODY, under, body);
        body.n = 0;
    }
    if (rc == 0) rc = add_query(f, c);
    return rc < 0 ? rc : pb_form_write(f, under, body, out);
}

static int map_json(struct call *c, struct str body, bool whole, struct buf *out, struct err *err) {
    struct pb_form *f = pb_form_new(c->route->method->input, err);
    if (f == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the request");
    int rc = add_params(f, c);
    if (rc == 0) rc = map_body(c, f, body, whole, out, err);
    pb_form_delete(f);
    return rc;
}

static struct blob *finish(struct call *c, int rc, struct buf *out, const struct err *err) {
    struct blob *made = rc < 0 ? NULL : buf_take(out);
    buf_free(out);
    if (made == NULL)
        call_fail(c, rc < 0 ? -rc : STATUS_RESOURCE_EXHAUSTED, "%s",
                  rc < 0 ? err->text : "no memory for the request");
    return made;
}

// A form with files becomes the binary form at once: its JSON, with bytes in base64, is longer than what was sent, and a
// message's limit is meant for the message.
static int to_wire(struct call *c, struct buf *json, struct err *err) {
    struct buf wire = {0};
    int rc = pb_json_to_wire(c->route->pool, c->route->method->input, buf_str(json), &wire, err);
    buf_free(json);
    *json = wire;
    c->encoding.wire_in = true;
    return rc;
}

struct blob *gateway_map(struct call *c) {
    struct err err = {0};
    struct buf out = {0};
    bool bodiless = c->body_kind == BODY_QUERY;
    struct str body = bodiless ? str_of("") : buf_str(&c->body);
    bool whole = c->route->whole_body;
    int rc = c->body_kind == BODY_PROTO ? map_wire(c, body, whole, &out, &err)
                                        : map_json(c, body, whole, &out, &err);
    buf_free(&c->texts);
    if (rc == 0 && c->body_kind == BODY_MULTIPART) rc = to_wire(c, &out, &err);
    return finish(c, rc, &out, &err);
}

struct blob *gateway_map_message(struct call *c, struct blob *take_body) {
    struct err err = {0};
    struct buf out = {0};
    struct str body = blob_str(take_body);
    c->mapped = false; // the next ones are not
    int rc = c->encoding.encoding == MSG_PROTO ? map_wire(c, body, true, &out, &err)
                                               : map_json(c, body, true, &out, &err);
    blob_drop(take_body);
    return finish(c, rc, &out, &err);
}
