// SPDX-License-Identifier: Apache-2.0
// What the parts of the JSON reader share: json_read.c (messages, lists, maps), json_read_scalar.c
// (scalars and error texts) and json_read_wkt.c (well-known types). lua_sink.c runs it; nobody else includes
// it.
#pragma once

#include "pb/json_lex.h"
#include "pb/visit.h"

struct json_reader {
    const struct pb_pool *pool;
    const struct pb_message *root;
    bool ignore_unknown;
    struct pb_sink *sink; // for the content of an Any: the sink that makes its bytes
    struct json_lex lex;
    struct buf scratch; // the lexer's
    struct buf bytes;   // the decoded bytes field at hand
    struct buf keys; // a stack: the keys of every open map, each a uint32_t of length and the text
    struct buf
        marks; // a stack: for every open message, a bit a field and a bit a oneof that was set
    int depth; // messages open, entries of maps counted
};

// Reads a message, keeping what is in *r but `ignore_unknown`'s value; the sink is not ordered. A sink may leave it by a
// longjmp when the type is not `has_special`: then *r holds all its memory. Free it afterwards in any case.
int json_reader_run(struct json_reader *r, const struct pb_pool *pool,
                    const struct pb_message *type, struct str json, struct pb_sink *sink);
void json_reader_free(struct json_reader *r);

// Where the reader is, for error texts: a chain on the C stack, innermost first. NULL is the root.
struct json_place {
    const struct json_place *up;
    const struct pb_field *field; // or NULL
    long index;                   // in a list; -1: none
    size_t key;                   // 1 + where in `keys` the key of a map is; 0: none
};

#define JSON_SKIPPED 1 // what a scalar answers when it is to be ignored

// -STATUS_INVALID_ARGUMENT with the path in front of the text.
int json_reader_fail(struct json_reader *r, const struct json_place *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// "expected <wanted>, got ..."; the fault of the syntax when the token is JSON_ERROR.
int json_reader_expected(struct json_reader *r, const struct json_place *at, const char *wanted,
                         enum json_token got);
// A member that the message lacks: skips its value when that is asked for.
int json_reader_unknown(struct json_reader *r, const struct json_place *at,
                        const struct pb_message *type);
struct str json_reader_key(const struct json_reader *r, size_t key);

// 0, an error or JSON_SKIPPED. Strings last until the next token is read.
int json_reader_scalar(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                       enum json_token token, union pb_value *v);
// The key of a map from lex.text; only numbers and bools: strings need no reading.
int json_reader_map_key(struct json_reader *r, const struct json_place *at,
                        const struct pb_field *f, union pb_value *v);
bool json_reader_zero(const struct pb_field *f, union pb_value v);

// The value whose first token was read, to its end. `field` is NULL at the root.
int json_reader_message(struct json_reader *r, const struct json_place *at,
                        const struct pb_field *field, const struct pb_message *type,
                        enum json_token token);
int json_reader_list(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                     enum json_token token);
int json_reader_map(struct json_reader *r, const struct json_place *at, const struct pb_field *f,
                    enum json_token token);
// The members of a message up to '}'. `in_any`: "@type" is passed over.
int json_reader_members(struct json_reader *r, const struct json_place *at,
                        const struct pb_message *type, bool in_any);
// A message with a form of its own; type->wkt is not NONE and not EMPTY.
int json_reader_wkt(struct json_reader *r, const struct json_place *at,
                    const struct pb_field *field, const struct pb_message *type,
                    enum json_token token);

// The events around a message, counting the depth.
int json_reader_open(struct json_reader *r, const struct json_place *at,
                     const struct pb_field *field, const struct pb_message *type);
int json_reader_close(struct json_reader *r);
