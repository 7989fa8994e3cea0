// SPDX-License-Identifier: Apache-2.0
// Reading path templates: one pass, no allocation.
//
// The reader stands at `at`; every function reads one word of the grammar and leaves `at` behind it, or fills `err`.
#include "pb/path_template.h"

#include "base/encode.h"

#include <ctype.h>

struct reader {
    struct str text;
    size_t at;
    struct path_template *t;
    struct err *err;
};

static int fault(const struct reader *r, const char *what) {
    size_t shown = r->text.n < 200 ? r->text.n : 200;
    return err_set(r->err, STATUS_INVALID_ARGUMENT, "path template \"%.*s\": %s", (int)shown,
                   r->text.p, what);
}

static char look(const struct reader *r) { return r->at < r->text.n ? r->text.p[r->at] : '\0'; }

static bool take(struct reader *r, char c) {
    if (r->at == r->text.n || r->text.p[r->at] != c) return false;
    r->at++;
    return true;
}

// What a literal may hold; '%' is left out, since a path is compared after it was decoded.
static bool is_literal(char c) {
    return (unsigned char)c > ' ' && c != 0x7f && strchr("/{}*:?#%", c) == NULL;
}

static int read_literal(struct reader *r, struct str *out) {
    size_t from = r->at;
    while (r->at < r->text.n && is_literal(r->text.p[r->at])) r->at++;
    *out = (struct str){r->text.p + from, r->at - from};
    if (out->n == 0) return fault(r, "a segment is empty, or holds what no segment may");
    if (str_is(*out, ".") || str_is(*out, "..")) return fault(r, "no segment can be . or ..");
    return 0;
}

static int add_segment(struct reader *r, enum template_kind kind, struct str text) {
    struct path_template *t = r->t;
    if (t->segment_count == TEMPLATE_SEGMENTS_MAX) return fault(r, "it has over 32 segments");
    if (t->segment_count > 0 && t->segments[t->segment_count - 1].kind == SEGMENT_REST)
        return fault(r, "** can only be the last segment");
    t->segments[t->segment_count++] = (struct template_segment){kind, text};
    if (kind != SEGMENT_LITERAL) t->literal = false;
    return 0;
}

// "*", "**" or a literal.
static int read_segment(struct reader *r) {
    struct str text = {"", 0};
    if (take(r, '*')) return add_segment(r, take(r, '*') ? SEGMENT_REST : SEGMENT_ONE, text);
    int rc = read_literal(r, &text);
    return rc < 0 ? rc : add_segment(r, SEGMENT_LITERAL, text);
}

static bool is_word(char c, bool first) {
    return isalpha((unsigned char)c) || c == '_' || (!first && isdigit((unsigned char)c));
}

static int read_field_path(struct reader *r, struct str *out) {
    size_t from = r->at;
    do {
        if (!is_word(look(r), true)) return fault(r, "a variable wants the name of a field");
        while (is_word(look(r), false)) r->at++;
    } while (take(r, '.'));
    *out = (struct str){r->text.p + from, r->at - from};
    for (size_t i = 0; i < r->t->variable_count; i++) {
        if (str_equal(r->t->variables[i].name, *out)) return fault(r, "a variable is in it twice");
    }
    return 0;
}

static int read_variable(struct reader *r) {
    struct path_template *t = r->t;
    if (t->variable_count == TEMPLATE_VARIABLES_MAX) return fault(r, "it has over 16 variables");
    struct str name;
    int rc = read_field_path(r, &name);
    if (rc < 0) return rc;
    size_t from = t->segment_count;
    if (take(r, '=')) {
        do {
            if (look(r) == '{') return fault(r, "a variable cannot hold another one");
            rc = read_segment(r);
        } while (rc == 0 && take(r, '/'));
    } else {
        rc = add_segment(r, SEGMENT_ONE, (struct str){"", 0});
    }
    if (rc < 0) return rc;
    if (!take(r, '}')) return fault(r, "a \"}\" is missing");
    t->literal = false;
    t->variables[t->variable_count++] = (struct template_variable){
        .name = name,
        .from = (uint8_t)from,
        .count = (uint8_t)(t->segment_count - from),
        .rest = t->segments[t->segment_count - 1].kind == SEGMENT_REST,
    };
    return 0;
}

int template_parse(struct str text, struct path_template *out, struct err *err) {
    struct reader r = {.text = text, .t = out, .err = err};
    *out = (struct path_template){.literal = true};
    if (text.n > TEMPLATE_LENGTH_MAX) return fault(&r, "it is longer than 1000 bytes");
    if (!utf8_valid(text))
        return err_set(err, STATUS_INVALID_ARGUMENT, "a path template is not valid UTF-8");
    if (!take(&r, '/')) return fault(&r, "it must begin with \"/\"");
    int rc = 0;
    if (r.at < text.n && look(&r) != ':') {
        do {
            rc = take(&r, '{') ? read_variable(&r) : read_segment(&r);
        } while (rc == 0 && take(&r, '/'));
    }
    if (rc == 0 && take(&r, ':')) rc = read_literal(&r, &out->verb);
    if (rc == 0 && r.at < text.n)
        rc = fault(&r, "after a segment comes \"/\", or \":\" and a verb at the end");
    return rc;
}
