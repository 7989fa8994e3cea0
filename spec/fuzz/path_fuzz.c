// SPDX-License-Identifier: Apache-2.0
// Short texts from peers and the command line: query strings (first byte 0 to 127: it chooses the type), paths, and addresses.
#include "fuzz.h"

#include "base/encode.h"
#include "net/address.h"
#include "pb/form.h"
#include "pb/json_lex.h"
#include "rpc/route.h"

static void query(uint8_t choice, struct str text) {
    const struct pb_message *type = fixture_type(choice < 64 ? choice : (uint8_t)(choice + 64));
    struct err err = {0};
    struct buf json = {0}, wire = {0}, scratch = {0};
    if (pb_query_to_json(type, text, &json, &err) == 0) {
        struct json_lex lex;
        json_lex_init(&lex, buf_str(&json), &scratch);
        must(json_skip(&lex, json_next(&lex)) && json_next(&lex) == JSON_END);
        pb_json_to_wire(fixture_pool(), type, buf_str(&json), &wire, &err);
    } else {
        must(err.text[0] != '\0');
    }
    buf_free(&json);
    buf_free(&wire);
    buf_free(&scratch);
}

// Nothing that leaves the root, no empty part, and whole UTF-8.
static void path(struct str text) {
    struct buf clean = {0}, normal = {0};
    if (route_normalize(text, &clean, &normal) == 0) {
        struct str c = buf_str(&clean);
        must(c.n > 0 && c.p[0] == '/' && utf8_valid(c) && utf8_valid(buf_str(&normal)));
        must(memchr(c.p, '\0', c.n) == NULL);
        must(c.n == 1 || c.p[c.n - 1] != '/');
        for (size_t i = 0; i + 1 < c.n; i++) {
            if (c.p[i] != '/') continue;
            const char *end = memchr(c.p + i + 1, '/', c.n - i - 1);
            struct str part = {c.p + i + 1,
                               end == NULL ? c.n - i - 1 : (size_t)(end - c.p) - i - 1};
            must(part.n > 0 && !str_is(part, ".") && !str_is(part, ".."));
        }
    }
    buf_free(&clean);
    buf_free(&normal);
}

static void address(struct str text) {
    struct address a;
    struct err err = {0};
    char *c = malloc(text.n + 1);
    must(c != NULL);
    memcpy(c, text.p, text.n);
    c[text.n] = '\0';
    int rc = address_split(c, &a, &err);
    must(rc == 0 || err.text[0] != '\0');
    if (rc == 0) must(strlen(a.host) < sizeof a.host && strlen(a.port) < sizeof a.port);
    free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    uint8_t choice = input_byte(&in);
    struct str text = input_rest(&in);
    char *copy = input_copy(text);
    text.p = copy;
    if (choice < 128) {
        query(choice, text);
    } else if (choice % 2 == 0) {
        path(text);
    } else {
        address(text);
    }
    free(copy);
    return 0;
}
