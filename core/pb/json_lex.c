// SPDX-License-Identifier: Apache-2.0
// The JSON tokenizer: a state machine over the bytes, without recursion.
//
// `want` says what may follow the last token; one bit a level says whether the open container is an
// object, which is all the stack that JSON's grammar needs. Strings take a fast path: they are
// scanned once, and a string without escapes is a slice of the input. Only from the first escape on
// are bytes copied into the scratch buffer. Bytes above 0x7F are checked afterwards, as one UTF-8
// text, and only when there were any.
#include "pb/json_lex.h"

#include "base/encode.h"

#include <assert.h>

enum {
    WANT_VALUE,
    WANT_VALUE_OR_END, // after '['
    WANT_KEY,          // after ',' in an object
    WANT_KEY_OR_END,   // after '{'
    WANT_AFTER,        // after a value: ',' or the end of the container, or of the text
    WANT_NOTHING,      // JSON_ERROR for ever
};

void json_lex_init(struct json_lex *lex, struct str input, struct buf *scratch) {
    *lex = (struct json_lex){.start = input.p, .at = input.p, .scratch = scratch};
    lex->end = input.n > 0 ? input.p + input.n : input.p;
    lex->want = WANT_VALUE;
}

static enum json_token fault(struct json_lex *lex, const char *at, const char *text) {
    lex->offset = (size_t)(at - lex->start);
    lex->error = text;
    lex->want = WANT_NOTHING;
    return JSON_ERROR;
}

static bool in_object(const struct json_lex *lex) {
    unsigned level = lex->depth - 1;
    return (lex->objects[level / 64] >> level % 64 & 1) != 0;
}

static enum json_token open_container(struct json_lex *lex, bool object) {
    if (lex->depth == JSON_MAX_DEPTH) return fault(lex, lex->at, "nested too deep");
    uint64_t bit = 1ULL << lex->depth % 64;
    if (object) {
        lex->objects[lex->depth / 64] |= bit;
    } else {
        lex->objects[lex->depth / 64] &= ~bit;
    }
    lex->depth++;
    lex->at++;
    lex->want = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    return object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_token close_container(struct json_lex *lex, bool object) {
    lex->depth--;
    lex->at++;
    lex->want = WANT_AFTER;
    return object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

// Four hex digits at p; -1 when they are not.
static int32_t read_hex4(const char *p, const char *end) {
    if (end - p < 4) return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        v = v << 4 | digit;
    }
    return v;
}

// Reads \uXXXX (and the second half of a pair) at *p, which points behind the 'u'. NULL or what is
// wrong.
static const char *read_unicode(struct json_lex *lex, const char **p) {
    int32_t unit = read_hex4(*p, lex->end);
    if (unit < 0) return "\\u wants four hex digits";
    *p += 4;
    uint32_t point = (uint32_t)unit;
    if (unit >= 0xDC00 && unit <= 0xDFFF) return "a lone surrogate";
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        if (lex->end - *p < 2 || (*p)[0] != '\\' || (*p)[1] != 'u') return "a lone surrogate";
        int32_t low = read_hex4(*p + 2, lex->end);
        if (low < 0xDC00 || low > 0xDFFF) return "a lone surrogate";
        *p += 6;
        point = 0x10000 + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
    }
    char utf8[4];
    buf_append(lex->scratch, utf8, utf8_put(utf8, point));
    return NULL;
}

static const char *read_escape(struct json_lex *lex, const char **p) {
    if (*p == lex->end) return "the string is not closed";
    char c = *(*p)++;
    switch (c) {
    case '"':
    case '\\':
    case '/': break;
    case 'b': c = '\b'; break;
    case 'f': c = '\f'; break;
    case 'n': c = '\n'; break;
    case 'r': c = '\r'; break;
    case 't': c = '\t'; break;
    case 'u': return read_unicode(lex, p);
    default: return "an unknown escape";
    }
    buf_append_byte(lex->scratch, c);
    return NULL;
}

// A string; lex->at is at the opening quote. Fills lex->text, leaves lex->at behind the closing
// quote.
static bool read_string(struct json_lex *lex) {
    const char *p = lex->at + 1;
    const char *piece = p; // what of the input is not yet in the scratch
    bool copied = false;
    unsigned char high = 0;
    for (;;) {
        while (p < lex->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
            high |= (unsigned char)*p++;
        }
        if (p == lex->end) return fault(lex, lex->at, "the string is not closed"), false;
        if (*p == '"') break;
        if (*p != '\\') return fault(lex, p, "a control character in a string"), false;
        if (!copied) lex->scratch->n = 0;
        copied = true;
        buf_append(lex->scratch, piece, (size_t)(p - piece));
        const char *backslash = p++;
        const char *wrong = read_escape(lex, &p);
        if (wrong != NULL) return fault(lex, backslash, wrong), false;
        piece = p;
    }
    if (copied) {
        buf_append(lex->scratch, piece, (size_t)(p - piece));
        if (lex->scratch->failed) return fault(lex, lex->at, "out of memory"), false;
        lex->text = buf_str(lex->scratch);
    } else {
        lex->text = (struct str){piece, (size_t)(p - piece)};
    }
    if (high >= 0x80 && !utf8_valid(lex->text)) {
        return fault(lex, lex->at, "the string is not valid UTF-8"), false;
    }
    lex->at = p + 1;
    return true;
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p;
}

static enum json_token read_number(struct json_lex *lex) {
    const char *p = lex->at;
    if (*p == '-') p++;
    const char *digits = p;
    p = skip_digits(p, lex->end);
    if (p == digits) return fault(lex, lex->at, "a malformed number");
    if (*digits == '0' && p - digits > 1)
        return fault(lex, lex->at, "a number with a leading zero");
    if (p < lex->end && *p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p, lex->end);
        if (p == fraction) return fault(lex, lex->at, "a malformed number");
    }
    if (p < lex->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < lex->end && (*p == '+' || *p == '-')) p++;
        const char *exponent = p;
        p = skip_digits(p, lex->end);
        if (p == exponent) return fault(lex, lex->at, "a malformed number");
    }
    lex->text = (struct str){lex->at, (size_t)(p - lex->at)};
    lex->at = p;
    lex->want = WANT_AFTER;
    return JSON_NUMBER;
}

static enum json_token read_word(struct json_lex *lex, const char *word, enum json_token token) {
    size_t n = strlen(word);
    if ((size_t)(lex->end - lex->at) < n || memcmp(lex->at, word, n) != 0) {
        return fault(lex, lex->at, "a value is wanted here");
    }
    lex->at += n;
    lex->want = WANT_AFTER;
    return token;
}

static enum json_token read_value(struct json_lex *lex) {
    switch (*lex->at) {
    case '{': return open_container(lex, true);
    case '[': return open_container(lex, false);
    case ']':
        if (lex->want == WANT_VALUE_OR_END) return close_container(lex, false);
        return fault(lex, lex->at, "a value is wanted here");
    case '"':
        if (!read_string(lex)) return JSON_ERROR;
        lex->want = WANT_AFTER;
        return JSON_STRING;
    case 't': return read_word(lex, "true", JSON_TRUE);
    case 'f': return read_word(lex, "false", JSON_FALSE);
    case 'n': return read_word(lex, "null", JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return read_number(lex);
    default: return fault(lex, lex->at, "a value is wanted here");
    }
}

static void skip_space(struct json_lex *lex) {
    while (lex->at < lex->end &&
           (*lex->at == ' ' || *lex->at == '\n' || *lex->at == '\r' || *lex->at == '\t')) {
        lex->at++;
    }
}

static enum json_token read_key(struct json_lex *lex) {
    if (*lex->at == '}' && lex->want == WANT_KEY_OR_END) return close_container(lex, true);
    if (*lex->at != '"') return fault(lex, lex->at, "a key in quotes is wanted here");
    if (!read_string(lex)) return JSON_ERROR;
    skip_space(lex);
    if (lex->at == lex->end || *lex->at != ':')
        return fault(lex, lex->at, "':' is wanted after a key");
    lex->at++;
    lex->want = WANT_VALUE;
    return JSON_KEY;
}

// After a value inside a container: JSON_END stands for "go on with the next element".
static enum json_token read_after(struct json_lex *lex) {
    bool object = in_object(lex);
    if (*lex->at == (object ? '}' : ']')) return close_container(lex, object);
    if (*lex->at != ',') {
        return fault(lex, lex->at,
                     object ? "',' or '}' is wanted here" : "',' or ']' is wanted here");
    }
    lex->at++;
    lex->want = object ? WANT_KEY : WANT_VALUE;
    return JSON_END;
}

enum json_token json_next(struct json_lex *lex) {
    if (lex->want == WANT_NOTHING) return JSON_ERROR;
    skip_space(lex);
    if (lex->want == WANT_AFTER) {
        if (lex->depth == 0) {
            if (lex->at < lex->end) return fault(lex, lex->at, "something follows the value");
            lex->offset = (size_t)(lex->at - lex->start);
            return JSON_END;
        }
        if (lex->at == lex->end) return fault(lex, lex->at, "the text ends too early");
        lex->offset = (size_t)(lex->at - lex->start);
        enum json_token token = read_after(lex);
        if (token != JSON_END) return token;
        skip_space(lex);
    }
    if (lex->at == lex->end) return fault(lex, lex->at, "the text ends too early");
    lex->offset = (size_t)(lex->at - lex->start);
    if (lex->want == WANT_KEY || lex->want == WANT_KEY_OR_END) return read_key(lex);
    return read_value(lex);
}

bool json_skip(struct json_lex *lex, enum json_token first) {
    if (first == JSON_ERROR) return false;
    if (first != JSON_OBJECT && first != JSON_ARRAY) return true;
    assert(lex->depth > 0);
    unsigned outer = lex->depth - 1;
    while (lex->depth > outer) {
        if (json_next(lex) == JSON_ERROR) return false;
    }
    return true;
}

void json_position(const struct json_lex *lex, size_t offset, unsigned *line, unsigned *column) {
    assert(offset <= (size_t)(lex->end - lex->start));
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (lex->start[i] == '\n') {
            *line += 1;
            *column = 1;
        } else {
            *column += 1;
        }
    }
}

const char *json_token_name(enum json_token token) {
    switch (token) {
    case JSON_END: return "the end of the text";
    case JSON_ERROR: return "an error";
    case JSON_OBJECT: return "an object";
    case JSON_OBJECT_END: return "'}'";
    case JSON_ARRAY: return "an array";
    case JSON_ARRAY_END: return "']'";
    case JSON_KEY: return "a key";
    case JSON_STRING: return "a string";
    case JSON_NUMBER: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "a token";
}

struct str json_cut(struct str text, size_t limit) {
    if (text.n <= limit) return text;
    while (limit > 0 && ((unsigned char)text.p[limit] & 0xC0) == 0x80) limit--;
    return (struct str){text.p, limit};
}
