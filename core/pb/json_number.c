// SPDX-License-Identifier: Apache-2.0
// JSON's scalars: numbers read exactly, numbers and strings written.
//
// Reading splits a number into digits and a power of ten once. Integers are computed from that
// without floating point. For a double, when the digits and the power of ten are both exact as
// doubles, one multiplication or division is correctly rounded (Clinger's fast path); everything
// else goes to strtod, which glibc rounds correctly.
//
// Writing looks for the shortest decimal that reads back: first by the fast path backwards (most
// numbers in practice have few decimals), then with rising precision. Both rely on the "C" locale's
// decimal point; the process never calls setlocale. Pure functions, any thread.
#include "pb/json_lex.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#define EXPONENT_LIMIT 1000000 // far beyond any double; exponents are clamped to it

struct decimal { // digits * 10^exponent
    bool negative;
    bool exact; // the digits fit
    uint64_t digits;
    int exponent;
};

// Adds one digit. Zeros are held back (`zeros`) until another digit follows,
// so 1.000000000000000000000 stays exact.
static void add_digit(struct decimal *d, unsigned digit, int *zeros) {
    if (digit == 0) {
        if (*zeros < EXPONENT_LIMIT) *zeros += 1;
        return;
    }
    for (int i = 0; i <= *zeros && d->exact; i++) {
        uint64_t more = i == *zeros ? digit : 0;
        if (__builtin_mul_overflow(d->digits, 10, &d->digits) ||
            __builtin_add_overflow(d->digits, more, &d->digits)) {
            d->exact = false;
        }
        if (d->digits == 0) break; // leading zeros
    }
    if (d->digits == 0) d->digits = digit;
    *zeros = 0;
}

static bool is_digit(const char *p, const char *end) { return p < end && *p >= '0' && *p <= '9'; }

// Reads e+12; false when it is malformed. The exponent is clamped.
static bool read_exponent(const char **at, const char *end, int *exponent) {
    const char *p = *at + 1;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (!is_digit(p, end)) return false;
    int e = 0;
    for (; is_digit(p, end); p++) {
        if (e < EXPONENT_LIMIT) e = e * 10 + (*p - '0');
    }
    *exponent = negative ? -e : e;
    *at = p;
    return true;
}

static bool decimal_read(struct str text, struct decimal *d) {
    const char *p = text.p;
    const char *end = p + text.n;
    *d = (struct decimal){.exact = true};
    if (p < end && *p == '-') {
        d->negative = true;
        p++;
    }
    if (!is_digit(p, end)) return false;
    if (*p == '0' && is_digit(p + 1, end)) return false;
    int zeros = 0;
    int places = 0;
    for (; is_digit(p, end); p++) add_digit(d, (unsigned)(*p - '0'), &zeros);
    if (p < end && *p == '.') {
        p++;
        if (!is_digit(p, end)) return false;
        for (; is_digit(p, end); p++) {
            add_digit(d, (unsigned)(*p - '0'), &zeros);
            if (places < EXPONENT_LIMIT) places++;
        }
    }
    int exponent = 0;
    if (p < end && (*p == 'e' || *p == 'E') && !read_exponent(&p, end, &exponent)) return false;
    d->exponent = exponent - places + zeros;
    bool clamped =
        places == EXPONENT_LIMIT || zeros == EXPONENT_LIMIT || abs(exponent) >= EXPONENT_LIMIT;
    if (clamped && d->digits != 0) d->exact = false;
    return p == end;
}

// The magnitude as an integer; false when it is none, or beyond 64 bits.
static bool decimal_integer(const struct decimal *d, uint64_t *v) {
    *v = d->digits;
    if (!d->exact) return false;
    if (d->digits == 0) return true;
    for (int e = d->exponent; e > 0; e--) {
        if (__builtin_mul_overflow(*v, 10, v)) return false;
    }
    for (int e = d->exponent; e < 0; e++) {
        if (*v % 10 != 0) return false;
        *v /= 10;
    }
    return true;
}

bool json_u64(struct str text, uint64_t *v) {
    struct decimal d;
    return decimal_read(text, &d) && decimal_integer(&d, v) && (!d.negative || *v == 0);
}

bool json_i64(struct str text, int64_t *v) {
    struct decimal d;
    uint64_t magnitude;
    if (!decimal_read(text, &d) || !decimal_integer(&d, &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + (d.negative ? 1 : 0)) return false;
    *v = d.negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

// The text as a C string: in `room` when it fits, else on the heap. NULL when memory ends.
static char *c_string(struct str text, char *room, size_t cap) {
    char *p = text.n < cap ? room : malloc(text.n + 1);
    if (p == NULL) return NULL;
    memcpy(p, text.p, text.n);
    p[text.n] = '\0';
    return p;
}

bool json_double(struct str text, double *v) {
    struct decimal d;
    if (!decimal_read(text, &d)) return false;
    if (d.exact && d.digits <= 1ULL << 53 && d.exponent >= -22 && d.exponent <= 22) {
        double digits = (double)d.digits;
        digits = d.exponent < 0 ? digits / POWERS[-d.exponent] : digits * POWERS[d.exponent];
        *v = d.negative ? -digits : digits;
        return true;
    }
    char room[128];
    char *c = c_string(text, room, sizeof room);
    if (c == NULL) return false;
    *v = strtod(c, NULL);
    if (c != room) free(c);
    return !isinf(*v);
}

bool json_float(struct str text, float *v) {
    struct decimal d;
    if (!decimal_read(text, &d)) return false;
    if (d.exact && d.digits <= 1U << 24 && d.exponent >= -10 && d.exponent <= 10) {
        float digits = (float)d.digits;
        float power = (float)POWERS[d.exponent < 0 ? -d.exponent : d.exponent];
        digits = d.exponent < 0 ? digits / power : digits * power;
        *v = d.negative ? -digits : digits;
        return true;
    }
    char room[128];
    char *c = c_string(text, room, sizeof room);
    if (c == NULL) return false;
    *v = strtof(c, NULL);
    if (c != room) free(c);
    return !isinf(*v);
}

// ---- writing

// The decimal digits of v, right-aligned in room; returns where they begin.
static char *put_digits(char *end, uint64_t v) {
    do {
        *--end = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return end;
}

void json_put_u64(struct buf *out, uint64_t v) {
    char room[20];
    char *p = put_digits(room + sizeof room, v);
    buf_append(out, p, (size_t)(room + sizeof room - p));
}

void json_put_i64(struct buf *out, int64_t v) {
    char room[21];
    char *p = put_digits(room + sizeof room, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    if (v < 0) *--p = '-';
    buf_append(out, p, (size_t)(room + sizeof room - p));
}

// digits / 10^places, places at most 18.
static void put_decimal(struct buf *out, bool negative, uint64_t digits, int places) {
    char room[48];
    char *end = room + sizeof room;
    char *p = end;
    for (int i = 0; i < places; i++) {
        *--p = (char)('0' + digits % 10);
        digits /= 10;
    }
    if (places > 0) *--p = '.';
    p = put_digits(p, digits);
    if (negative) *--p = '-';
    buf_append(out, p, (size_t)(end - p));
}

// What has no number in JSON, and zero (whose sign is kept).
static bool put_special(struct buf *out, double v) {
    if (isnan(v)) {
        buf_append_text(out, "\"NaN\"");
    } else if (isinf(v)) {
        buf_append_text(out, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else if (v == 0) {
        buf_append_text(out, signbit(v) ? "-0.0" : "0");
    } else {
        return false;
    }
    return true;
}

void json_put_double(struct buf *out, double v) {
    if (put_special(out, v)) return;
    double size = fabs(v);
    for (int places = 0; size >= 1e-4 && places <= 18 && size * POWERS[places] < 1e15; places++) {
        double digits = nearbyint(size * POWERS[places]);
        if (digits / POWERS[places] != size) continue;
        put_decimal(out, v < 0, (uint64_t)digits, places);
        return;
    }
    char text[32];
    int n = 0;
    for (int precision = size < 2.3e-308 ? 1 : 15; precision <= 17; precision++) {
        n = snprintf(text, sizeof text, "%.*g", precision, v);
        if (strtod(text, NULL) == v) break;
    }
    buf_append(out, text, (size_t)n);
}

void json_put_float(struct buf *out, float v) {
    if (put_special(out, (double)v)) return;
    float size = fabsf(v);
    for (int places = 0; size >= 1e-4F && places <= 10; places++) {
        double digits = nearbyint((double)size * POWERS[places]);
        if (digits >= 1e7) break;
        if ((float)digits / (float)POWERS[places] != size) continue;
        put_decimal(out, v < 0, (uint64_t)digits, places);
        return;
    }
    char text[32];
    int n = 0;
    for (int precision = size < 1.2e-38F ? 1 : 6; precision <= 9; precision++) {
        n = snprintf(text, sizeof text, "%.*g", precision, (double)v);
        if (strtof(text, NULL) == v) break;
    }
    buf_append(out, text, (size_t)n);
}

// The letter behind the backslash; 'u' when there is none for c.
static char short_escape(unsigned char c) {
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 'u';
    }
}

void json_put_string(struct buf *out, struct str text) {
    static const char HEX[] = "0123456789abcdef";
    if (!buf_reserve(out, text.n + 2)) return;
    buf_append_byte(out, '"');
    size_t piece = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buf_append(out, text.p + piece, i - piece);
        piece = i + 1;
        char escape[6] = {'\\', short_escape(c), '0', '0', HEX[c >> 4], HEX[c & 15]};
        buf_append(out, escape, escape[1] == 'u' ? 6 : 2);
    }
    buf_append(out, text.p + piece, text.n - piece);
    buf_append_byte(out, '"');
}
