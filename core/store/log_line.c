// SPDX-License-Identifier: Apache-2.0
// One record, one line:
//
//   {"time":1795341600.123456,"level":"INFO","version":"v2","instance":0,"text":"saved",
//    "fields":{"id":"7"},"request":"5f2c...","trace":"..."}
//
// What is empty is left out. Line feeds and control characters are escaped, so a text cannot end
// its record and forge another one, and a traceback is one line here.
//
// The reader takes what the writer makes, in any order, and passes over members that it does not
// know, so that older programs read newer files. It works in place: a text is never longer than its
// escaped form. All strings end with a NUL, so one inside a text (\u0000) is read as U+FFFD.
#include "store/log_line.h"

#include "base/clock.h"
#include "base/encode.h"

#include <inttypes.h>
#include <stdlib.h>

#define REPLACEMENT "\xEF\xBF\xBD"

static const char *const NAMES[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};

// ---- writing
// The bytes of the character at the beginning of `s`; 0: it is not UTF-8.
static size_t character(struct str s) {
    for (size_t n = 1; n <= 4 && n <= s.n; n++) {
        if (utf8_valid((struct str){s.p, n})) return n;
    }
    return 0;
}

static void write_text(struct buf *out, struct str s) {
    buf_append_byte(out, '"');
    while (s.n > 0) {
        unsigned char c = (unsigned char)*s.p;
        size_t n = c < 0x80 ? 1 : character(s);
        if (n == 0) {
            buf_append_text(out, REPLACEMENT);
            n = 1;
        } else if (c == '"' || c == '\\') {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (char)c);
        } else if (c == '\n') {
            buf_append_text(out, "\\n");
        } else if (c == '\t') {
            buf_append_text(out, "\\t");
        } else if (c < 0x20 || c == 0x7F) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_append(out, s.p, n);
        }
        s.p += n;
        s.n -= n;
    }
    buf_append_byte(out, '"');
}

static struct str cut(struct str s, size_t most) {
    return s.n <= most ? s : (struct str){s.p, most};
}

static void write_fields(struct buf *out, const struct log_entry *e) {
    size_t left = LOG_FIELDS_BYTES;
    if (e->field_count == 0) return;
    buf_append_text(out, ",\"fields\":{");
    for (size_t i = 0; i < e->field_count && i < LOG_FIELDS_MAX; i++) {
        struct str key = cut(e->fields[i].key, left);
        struct str value = cut(e->fields[i].value, left - key.n);
        left -= key.n + value.n;
        if (i > 0) buf_append_byte(out, ',');
        write_text(out, key);
        buf_append_byte(out, ':');
        write_text(out, value);
        if (left == 0) break;
    }
    buf_append_byte(out, '}');
}

void log_line_write(struct buf *out, const struct log_entry *e) {
    buf_printf(out, "{\"time\":%lld.%06d,\"level\":\"%s\"", (long long)(e->time / NS_PER_SECOND),
               (int)(e->time % NS_PER_SECOND / 1000), NAMES[e->level]);
    if (e->version.n > 0) {
        buf_append_text(out, ",\"version\":");
        write_text(out, e->version);
    }
    buf_printf(out, ",\"instance\":%u,\"text\":", e->instance);
    write_text(out, cut(e->text, LOG_TEXT_MAX));
    write_fields(out, e);
    if (e->request != 0) buf_printf(out, ",\"request\":\"%016" PRIx64 "\"", e->request);
    if (e->trace != NULL) {
        buf_append_text(out, ",\"trace\":\"");
        hex_encode(out, (struct str){(const char *)e->trace, 16});
        buf_append_byte(out, '"');
    }
    buf_append_text(out, "}\n");
}

// ---- reading
struct reader {
    char *p, *end;
};

static bool take(struct reader *r, char c) {
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// The four digits after \u; the writer makes them for single characters below 0x80 only. -1:
// malformed.
static int take_code(struct reader *r) {
    int code = 0;
    if (r->end - r->p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(*r->p++);
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

static char *put_code(char *out, int code) {
    char bytes[4];
    size_t n = 0;
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    if (code != 0 && !surrogate) n = utf8_put(bytes, (uint32_t)code);
    memcpy(out, n == 0 ? REPLACEMENT : bytes, n == 0 ? 3 : n);
    return out + (n == 0 ? 3 : n);
}

// NULL: malformed.
static const char *take_text(struct reader *r) {
    if (!take(r, '"')) return NULL;
    char *start = r->p, *out = r->p;
    while (r->p < r->end && *r->p != '"') {
        char c = *r->p++;
        if (c == '\0') return NULL;
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        if (r->p == r->end) return NULL;
        static const char FROM[] = "nrtbf\"\\/", TO[] = "\n\r\t\b\f\"\\/";
        c = *r->p++;
        const char *at = c == '\0' ? NULL : strchr(FROM, c);
        int code = at != NULL ? 0 : c == 'u' ? take_code(r) : -1;
        if (code < 0) return NULL;
        if (at != NULL) {
            *out++ = TO[at - FROM];
        } else {
            out = put_code(out, code);
        }
    }
    if (!take(r, '"')) return NULL;
    *out = '\0'; // at the closing quote, or before it
    return start;
}

static bool take_number(struct reader *r, double *out) {
    char digits[40];
    size_t n = 0;
    while (r->p < r->end && n < sizeof digits - 1 && strchr("0123456789.+-eE", *r->p) != NULL &&
           *r->p != '\0')
        digits[n++] = *r->p++;
    digits[n] = '\0';
    char *rest;
    *out = strtod(digits, &rest);
    return n > 0 && *rest == '\0';
}

static bool take_fields(struct reader *r, struct log_line *out) {
    if (!take(r, '{')) return false;
    if (take(r, '}')) return true;
    do {
        const char *key = take_text(r);
        const char *value = key != NULL && take(r, ':') ? take_text(r) : NULL;
        if (value == NULL) return false;
        if (out->field_count < LOG_FIELDS_MAX)
            out->fields[out->field_count++] = (struct log_line_field){key, value};
    } while (take(r, ','));
    return take(r, '}');
}

static bool take_member(struct reader *r, struct log_line *out) {
    const char *name = take_text(r);
    if (name == NULL || !take(r, ':') || r->p == r->end) return false;
    if (*r->p == '{') {
        struct log_line_field scratch[LOG_FIELDS_MAX];
        struct log_line ignored = {.fields = scratch};
        return take_fields(r, strcmp(name, "fields") == 0 ? out : &ignored);
    }
    if (*r->p != '"') {
        double number;
        if (!take_number(r, &number)) return false;
        if (strcmp(name, "time") == 0) out->time = number;
        if (strcmp(name, "instance") == 0 && number >= 0 && number <= UINT32_MAX)
            out->instance = (unsigned)number;
        return true;
    }
    const char *value = take_text(r);
    if (value == NULL) return false;
    if (strcmp(name, "level") == 0) out->level_name = value;
    if (strcmp(name, "version") == 0) out->version = value;
    if (strcmp(name, "text") == 0) out->text = value;
    if (strcmp(name, "request") == 0) out->request = value;
    if (strcmp(name, "trace") == 0) out->trace = value;
    return true;
}

bool log_line_read(char *line, size_t n, struct log_line_field fields[LOG_FIELDS_MAX],
                   struct log_line *out) {
    struct reader r = {line, line + n};
    *out = (struct log_line){
        .fields = fields, .level_name = "", .version = "", .text = "", .request = "", .trace = ""};
    if (!take(&r, '{')) return false;
    do {
        if (!take_member(&r, out)) return false;
    } while (take(&r, ','));
    int level = log_level_parse(out->level_name);
    if (!take(&r, '}') || r.p != r.end || level < 0 || level >= LOG_OFF) return false;
    out->level = (enum log_level)level;
    return true;
}
