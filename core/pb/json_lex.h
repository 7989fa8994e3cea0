// SPDX-License-Identifier: Apache-2.0
// A pull tokenizer for JSON (RFC 8259, strict) and the writers of JSON's scalars.
//
// The tokenizer checks the grammar as it goes: commas, colons, nesting, numbers, escapes, UTF-8; a
// caller sees only well-formed sequences of tokens up to JSON_END or JSON_ERROR. Lone surrogates,
// control characters in strings and anything after the root value are errors. A `json_lex` is plain
// data: copying it saves the place, assigning the copy goes back. It belongs to one thread; it owns
// nothing.
#pragma once

#include "base/buf.h"
#include "base/status.h"

enum json_token {
    JSON_END,   // after the root value; again at every further call
    JSON_ERROR, // `error` and `offset` say what and where; again at every further call
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY, // `text`; the colon is read as well
    JSON_STRING,
    JSON_NUMBER, // `text` as written, of the form that RFC 8259 allows
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

#define JSON_MAX_DEPTH 1024 // containers open at once; callers set lower limits by `depth`

struct json_lex {
    const char *start;
    const char *at; // the next byte to read
    const char *end;
    struct str text; // of JSON_KEY, JSON_STRING (unescaped, valid UTF-8) and JSON_NUMBER; until the
                     // next call
    size_t offset;   // where the last token begins; after JSON_ERROR, where the fault is
    const char *error;   // after JSON_ERROR: a static text
    struct buf *scratch; // the caller's; holds `text` when it had escapes
    unsigned depth;      // containers open after the last token
    int want;            // what may come next
    uint64_t
        objects[JSON_MAX_DEPTH / 64]; // one bit a level: an object is open there (else an array)
};

void json_lex_init(struct json_lex *lex, struct str input, struct buf *scratch);
enum json_token json_next(struct json_lex *lex);
// Reads to the end of the value whose first token was `first`. False: an error, as json_next would
// have told it.
bool json_skip(struct json_lex *lex, enum json_token first);
// The line and the column (in bytes) of an offset, both from 1.
void json_position(const struct json_lex *lex, size_t offset, unsigned *line, unsigned *column);
// What a token is called in an error text: "an object", "a string", "the end of the text" ...
const char *json_token_name(enum json_token token);

// The beginning of a text for an error text, at most `limit` bytes and not cut inside of a
// character.
struct str json_cut(struct str text, size_t limit);

// The value of a JSON number (or of any text of that form), correctly rounded. False: the text is
// no number of that form, memory ended, or the value is beyond a double (float). Underflow gives
// zero or a subnormal.
bool json_double(struct str text, double *v);
bool json_float(struct str text, float *v);
// An integer, also when it is written as 1e3 or 1.0; exact. False: no integer, or out of range.
bool json_i64(struct str text, int64_t *v);
bool json_u64(struct str text, uint64_t *v);

// A quoted string: `"` and `\` and control characters are escaped, nothing else. The text must be
// valid UTF-8.
void json_put_string(struct buf *out, struct str text);
// The shortest decimal that reads back as the same double (float). NaN and the infinities as quoted
// strings.
void json_put_double(struct buf *out, double v);
void json_put_float(struct buf *out, float v);
void json_put_i64(struct buf *out, int64_t v);
void json_put_u64(struct buf *out, uint64_t v);
