// SPDX-License-Identifier: Apache-2.0
#include "base/encode.h"

static const char HEX[] = "0123456789abcdef";
static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void hex_encode(struct buf *out, struct str bytes) {
    if (!buf_reserve(out, bytes.n * 2)) return;
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        buf_append_byte(out, HEX[c >> 4]);
        buf_append_byte(out, HEX[c & 15]);
    }
}

bool hex_decode(struct buf *out, struct str text) {
    if (text.n % 2 != 0) return false;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_value(text.p[i]);
        int low = hex_value(text.p[i + 1]);
        if (high < 0 || low < 0) return false;
        buf_append_byte(out, (char)(high << 4 | low));
    }
    return true;
}

void base64_encode(struct buf *out, struct str bytes) {
    size_t n = (bytes.n + 2) / 3 * 4;
    if (n == 0 || !buf_reserve(out, n)) return;
    char *to = buf_p(out) + out->n;
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t left = bytes.n - i;
        uint32_t group = (uint32_t)(unsigned char)bytes.p[i] << 16;
        if (left > 1) group |= (uint32_t)(unsigned char)bytes.p[i + 1] << 8;
        if (left > 2) group |= (unsigned char)bytes.p[i + 2];
        *to++ = BASE64[group >> 18];
        *to++ = BASE64[group >> 12 & 63];
        *to++ = left > 1 ? BASE64[group >> 6 & 63] : '=';
        *to++ = left > 2 ? BASE64[group & 63] : '=';
    }
    out->n += n;
}

void base64url_encode(struct buf *out, struct str bytes) {
    size_t from = out->n;
    base64_encode(out, bytes);
    for (size_t i = from; i < out->n; i++) {
        char *c = buf_p(out) + i;
        if (*c == '+') *c = '-';
        if (*c == '/') *c = '_';
        if (*c == '=') out->n = i;
    }
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

bool base64_decode(struct buf *out, struct str text) {
    size_t n = text.n;
    if (n % 4 == 0) {
        for (int pad = 0; pad < 2 && n > 0 && text.p[n - 1] == '='; pad++) n--;
    }
    if (n % 4 == 1) return false;
    uint32_t group = 0;
    int bits = 0;
    for (size_t i = 0; i < n; i++) {
        int value = base64_value(text.p[i]);
        if (value < 0) return false;
        group = group << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_append_byte(out, (char)(group >> bits & 255));
        }
    }
    return true;
}

void percent_encode_message(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x20 && c <= 0x7E && c != '%') {
            buf_append_byte(out, (char)c);
        } else {
            buf_append_byte(out, '%');
            buf_append_byte(out, "0123456789ABCDEF"[c >> 4]);
            buf_append_byte(out, "0123456789ABCDEF"[c & 15]);
        }
    }
}

void percent_decode(struct buf *out, struct str text, bool plus_is_space) {
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '%' && i + 2 < text.n && hex_value(text.p[i + 1]) >= 0 &&
            hex_value(text.p[i + 2]) >= 0) {
            buf_append_byte(out, (char)(hex_value(text.p[i + 1]) << 4 | hex_value(text.p[i + 2])));
            i += 2;
        } else {
            buf_append_byte(out, c == '+' && plus_is_space ? ' ' : c);
        }
    }
}

// Length of the well-formed sequence at p (Unicode table 3-7); 0 when it is malformed.
static size_t utf8_sequence(const unsigned char *p, size_t left) {
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xC2 || left < 2) return 0;
    if (p[0] < 0xE0) return (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if (p[0] < 0xF0) {
        if (left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) return 0;
        if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
        return p[0] == 0xED && p[1] > 0x9F ? 0 : 3;
    }
    if (p[0] > 0xF4 || left < 4) return 0;
    if ((p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    return p[0] == 0xF4 && p[1] > 0x8F ? 0 : 4;
}

bool utf8_valid(struct str text) {
    const unsigned char *p = (const unsigned char *)text.p;
    size_t left = text.n;
    while (left > 0) {
        uint64_t eight;
        while (left >= 8 && (memcpy(&eight, p, 8), (eight & 0x8080808080808080ULL) == 0)) {
            p += 8;
            left -= 8;
        }
        if (left == 0) break;
        size_t n = utf8_sequence(p, left);
        if (n == 0) return false;
        p += n;
        left -= n;
    }
    return true;
}

size_t utf8_put(char out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

size_t decimal_put(char out[DECIMAL_MAX], uint64_t n) {
    char digits[DECIMAL_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}
