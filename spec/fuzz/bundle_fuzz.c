// SPDX-License-Identifier: Apache-2.0
// What is uploaded: descriptor sets (first byte even) and bundles (odd). A contract that is accepted is used: its
// messages are looked up, read and written.
#include "fuzz.h"

#include "vm/bundle.h"
#include "vm/embedded.h"

// A bundle holds nothing that the build embeds.
const struct embedded_file EMBEDDED_FILES[1];
const size_t EMBEDDED_COUNT = 0;
const unsigned char EMBEDDED_PROTOS[1];
const size_t EMBEDDED_PROTOS_SIZE = 0;

#define USED_MOST 20 // of the messages, since a set may have thousands

static void use_message(const struct pb_pool *pool, const struct pb_message *m) {
    static const char WIRE[] = "\x08\x01\x12\x04\x0a\x02\x08\x01\x1d\1\2\3\4\x21\1\2\3\4\5\6\7\x08";
    struct err err = {0};
    struct buf out = {0};
    must(pb_find_message(pool, m->full_name) == m);
    for (size_t i = 0; i < m->count; i++) {
        must(pb_field_by_number(m, m->fields[i].number) == &m->fields[i]);
        must(i == 0 || m->fields[i - 1].number < m->fields[i].number);
        must(pb_field_by_name(m, m->fields[i].name) != NULL);
    }
    pb_wire_to_json(pool, m, (struct str){WIRE, sizeof WIRE - 1}, &PB_JSON_MICRO, &out, &err);
    buf_free(&out);
    pb_wire_to_json(pool, m, (struct str){"", 0}, &PB_JSON_PROTO, &out, &err);
    buf_free(&out);
    pb_json_to_wire(pool, m, str_of("{\"a\":{\"a\":[null,{}]}}"), &out, &err);
    buf_free(&out);
    pb_suggest_field(m, str_of("nobody"));
}

static void use_pool(const struct pb_pool *pool) {
    for (size_t i = 0; i < pool->message_count && i < USED_MOST; i++)
        use_message(pool, pool->messages[i]);
    for (size_t i = 0; i < pool->enum_count && i < USED_MOST; i++) {
        const struct pb_enum *e = pool->enums[i];
        for (size_t k = 0; k < e->count; k++) {
            must(pb_enum_by_number(e, e->values[k].number) != NULL);
            must(pb_enum_by_name(e, e->values[k].name) != NULL);
        }
    }
    for (size_t i = 0; i < pool->method_count && i < USED_MOST; i++)
        must(pb_find_path(pool, pool->methods[i]->path) == pool->methods[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    struct err err = {0};
    bool bundle = input_byte(&in) % 2 != 0;
    struct str bytes = input_rest(&in);
    char *copy = input_copy(bytes);
    bytes.p = copy;
    if (bundle) {
        struct source *s = source_from_bundle(bytes, &err);
        must(s != NULL || err.text[0] != '\0');
        if (s != NULL) use_pool(s->pool);
        source_drop(s);
    } else {
        struct blob *set = blob_new(bytes.p, bytes.n);
        struct pb_pool *pool = pb_pool_new(set, &err);
        must(pool != NULL || err.text[0] != '\0');
        if (pool != NULL) use_pool(pool);
        pb_pool_drop(pool);
        blob_drop(set);
    }
    free(copy);
    return 0;
}
