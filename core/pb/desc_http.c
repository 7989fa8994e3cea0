// SPDX-License-Identifier: Apache-2.0
// The option google.api.http of methods: extension 72295728 of MethodOptions, which protobuf-c leaves as unknown bytes.
//
// The rules are kept as written, since a set from elsewhere may hold what no template is; who wants to use them checks
// them (http_rule.c). Their line is noted for the author.
#include "desc_internal.h"
#include "wire.h"

#define HTTP_OPTION 72295728

enum { // of HttpRule
    RULE_GET = 2,
    RULE_PUT = 3,
    RULE_POST = 4,
    RULE_DELETE = 5,
    RULE_PATCH = 6,
    RULE_CUSTOM = 8,
    RULE_BODY = 7,
    RULE_ADDITIONAL = 11,
    RULE_RESPONSE_BODY = 12,
};

// Gives the length-delimited fields of a message one after the other; others are skipped. False: there are no more.
static bool next_field(struct str *rest, uint32_t *number, struct str *content) {
    const uint8_t *p = (const uint8_t *)rest->p, *end = p + rest->n;
    while (p != NULL && p < end) {
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        if (p == NULL) break;
        bool found = (tag & 7) == WIRE_LENGTH;
        p = found ? wire_length(p, end, content) : wire_skip(p, end, tag, 100, NULL);
        if (p == NULL || !found) continue;
        *number = tag >> 3;
        *rest = (struct str){(const char *)p, (size_t)(end - p)};
        return true;
    }
    return false;
}

static struct str copy(struct desc_build *b, struct str text, bool *failed) {
    char *p = desc_arena_alloc(b->arena, text.n + 1, 1);
    *failed = *failed || p == NULL;
    if (p == NULL) return (struct str){"", 0};
    memcpy(p, text.p, text.n);
    return (struct str){p, text.n};
}

// CustomHttpPattern: kind = 1, path = 2.
static void read_custom(struct str bytes, struct pb_http_rule *rule) {
    uint32_t number;
    struct str content;
    while (next_field(&bytes, &number, &content)) {
        if (number == 1) rule->method = content;
        if (number == 2) rule->template = content;
    }
}

// One rule, without those that hang at it. The texts are slices of the option.
static struct pb_http_rule read_rule(struct str bytes) {
    static const char *const METHODS[] = {[RULE_GET] = "GET",
                                          [RULE_PUT] = "PUT",
                                          [RULE_POST] = "POST",
                                          [RULE_DELETE] = "DELETE",
                                          [RULE_PATCH] = "PATCH"};
    struct str none = {"", 0}, content;
    struct pb_http_rule rule = {none, none, none, none};
    uint32_t number;
    while (next_field(&bytes, &number, &content)) {
        if (number >= RULE_GET && number <= RULE_PATCH) {
            rule.method = str_of(METHODS[number]);
            rule.template = content;
        }
        if (number == RULE_CUSTOM) read_custom(content, &rule);
        if (number == RULE_BODY) rule.body = content;
        if (number == RULE_RESPONSE_BODY) rule.response_body = content;
    }
    return rule;
}

static size_t count_rules(struct str bytes) {
    size_t n = 1;
    uint32_t number;
    struct str content;
    while (next_field(&bytes, &number, &content)) n += number == RULE_ADDITIONAL;
    return n;
}

static int keep_rules(struct desc_build *b, struct pb_method *method, struct str bytes) {
    struct pb_http_rule *rules = desc_arena_alloc(b->arena, count_rules(bytes), sizeof *rules);
    if (rules == NULL) return desc_no_memory(b);
    rules[0] = read_rule(bytes);
    size_t n = 1;
    uint32_t number;
    struct str content;
    while (next_field(&bytes, &number, &content))
        if (number == RULE_ADDITIONAL) rules[n++] = read_rule(content);
    bool failed = false;
    for (size_t i = 0; i < n; i++) {
        rules[i].method = copy(b, rules[i].method, &failed);
        rules[i].template = copy(b, rules[i].template, &failed);
        rules[i].body = copy(b, rules[i].body, &failed);
        rules[i].response_body = copy(b, rules[i].response_body, &failed);
    }
    if (failed) return desc_no_memory(b);
    method->http = rules;
    method->http_count = n;
    return 0;
}

int desc_read_http(struct desc_build *b, struct pb_method *method,
                   const Google__Protobuf__MethodOptions *options) {
    if (options == NULL) return 0;
    for (size_t i = 0; i < options->base.n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *f = &options->base.unknown_fields[i];
        if (f->tag != HTTP_OPTION || f->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) continue;
        struct str bytes;
        if (wire_length(f->data, f->data + f->len, &bytes) == NULL) continue;
        return keep_rules(b, method, bytes);
    }
    return 0;
}

// Places are numbered by field and index: service 6, method 2, options 4.
void desc_note_lines(const FileProto *proto, struct pb_service *services) {
    if (proto->source_code_info == NULL) return;
    for (size_t i = 0; i < proto->source_code_info->n_location; i++) {
        const LocationProto *at = proto->source_code_info->location[i];
        if (at->n_path < 4 || at->path[0] != 6 || at->path[2] != 2 || at->n_span == 0) continue;
        size_t service = (uint32_t)at->path[1], method = (uint32_t)at->path[3];
        if (service >= proto->n_service || method >= services[service].count) continue;
        bool option = at->n_path >= 6 && at->path[4] == 4 && at->path[5] == HTTP_OPTION;
        if (at->n_path != 4 && !option) continue;
        services[service].methods[method].line = (unsigned)at->span[0] + 1;
    }
}
