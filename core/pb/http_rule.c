// SPDX-License-Identifier: Apache-2.0
// Whether a path that a method was given (google.api.http) can be one: what stands in it must be there in the contract.
// The texts are for the author of the service. Pure, any thread.
#include "pb/desc.h"
#include "pb/path_template.h"

#include <ctype.h>

static int cut(struct str s) { return (int)(s.n < 100 ? s.n : 100); }

const struct pb_field *pb_field_by_path(const struct pb_message *m, struct str path,
                                        struct err *err) {
    const struct pb_field *f = NULL;
    while (path.n > 0) {
        const char *dot = memchr(path.p, '.', path.n);
        struct str name = {path.p, dot == NULL ? path.n : (size_t)(dot - path.p)};
        const struct pb_message *inside = f == NULL ? m : f->message;
        bool single = inside == NULL || inside->wkt != PB_WKT_NONE;
        if (f != NULL && (f->repeated || single)) {
            err_set(err, STATUS_INVALID_ARGUMENT, "%.*s is %s and has no fields", cut(f->name),
                    f->name.p, f->repeated ? "a list" : "a single value");
            return NULL;
        }
        f = pb_field_by_name(inside, name);
        if (f == NULL) {
            struct str near = pb_suggest_field(inside, name);
            err_set(err, STATUS_INVALID_ARGUMENT, "%.*s has no field \"%.*s\"%s%.*s%s",
                    cut(inside->full_name), inside->full_name.p, cut(name), name.p,
                    near.n > 0 ? " (did you mean \"" : "", (int)near.n, near.p,
                    near.n > 0 ? "\"?)" : "");
            return NULL;
        }
        path = dot == NULL ? (struct str){"", 0}
                           : (struct str){dot + 1, path.n - (size_t)(dot + 1 - path.p)};
    }
    return f;
}

// What one text can be the value of.
static bool takes_text(const struct pb_field *f) {
    if (f->repeated) return false;
    if (f->message == NULL) return true;
    enum pb_wkt wkt = f->message->wkt;
    return wkt == PB_WKT_TIMESTAMP || wkt == PB_WKT_DURATION || wkt == PB_WKT_FIELD_MASK ||
           wkt == PB_WKT_WRAPPER;
}

static int check_variables(const struct pb_method *m, const struct path_template *t,
                           struct err *err) {
    for (size_t i = 0; i < t->variable_count; i++) {
        struct str name = t->variables[i].name;
        struct err why = {0};
        const struct pb_field *f = pb_field_by_path(m->input, name, &why);
        if (f == NULL)
            return err_set(err, STATUS_INVALID_ARGUMENT, "variable {%.*s}: %s", cut(name), name.p,
                           why.text);
        if (!takes_text(f))
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "variable {%.*s}: a %s cannot be written in a path", cut(name), name.p,
                           f->repeated ? "list" : "message");
    }
    return 0;
}

static int check_body(const struct pb_message *type, struct str name, const char *what,
                      struct err *err) {
    struct err why = {0};
    if (memchr(name.p, '.', name.n) != NULL)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "%s \"%.*s\": a field of %.*s itself is wanted", what, cut(name), name.p,
                       cut(type->full_name), type->full_name.p);
    if (pb_field_by_path(type, name, &why) != NULL) return 0;
    return err_set(err, STATUS_INVALID_ARGUMENT, "%s: %s", what, why.text);
}

static bool is_method(struct str method) {
    if (str_is(method, "*")) return true;
    for (size_t i = 0; i < method.n; i++) {
        if (!isupper((unsigned char)method.p[i]) && method.p[i] != '-') return false;
    }
    return method.n > 0;
}

int pb_http_rule_check(const struct pb_method *m, const struct pb_http_rule *rule,
                       struct err *err) {
    struct path_template t;
    if (rule->template.n == 0)
        return err_set(
            err, STATUS_INVALID_ARGUMENT,
            "a rule without a path: say get: \"/path\", or put, post, delete, patch, custom");
    if (!is_method(rule->method))
        return err_set(err, STATUS_INVALID_ARGUMENT, "\"%.*s\" is no method of HTTP: GET is one",
                       cut(rule->method), rule->method.p);
    int rc = template_parse(rule->template, &t, err);
    if (rc == 0) rc = check_variables(m, &t, err);
    if (rc < 0 || (rule->body.n == 0 && rule->response_body.n == 0)) return rc;
    bool no_body = str_is(rule->method, "GET") || str_is(rule->method, "HEAD");
    if (rule->body.n > 0 && no_body)
        return err_set(err, STATUS_INVALID_ARGUMENT, "body: a %.*s has none", (int)rule->method.n,
                       rule->method.p);
    if (rule->body.n > 0 && !str_is(rule->body, "*"))
        rc = check_body(m->input, rule->body, "body", err);
    if (rc == 0 && rule->response_body.n > 0)
        rc = check_body(m->output, rule->response_body, "response_body", err);
    return rc;
}
