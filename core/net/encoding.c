// SPDX-License-Identifier: Apache-2.0
// Codings by zlib and brotli, at their fastest useful levels, since it happens on an I/O loop.
//
// What it costs, for JSON on one core of a server of 2020: br (quality 1, a window of 64 KB) 10 us for 2 KB, 45 us for 16 KB,
// 300 MB/s for long bodies; gzip (level 1, 16 KB) 14 us, 65 us and 140 MB/s. br's output is a tenth shorter besides, and its
// memory grows with the body (26 KB for 2 KB, at most 0.6 MB) where gzip's is 133 KB at once; so br is preferred.
//
// The share of a loop's time: `spent` is what encoding took since `since`. Both are halved again and again, so that they tell of
// the last moments (WINDOW). While `spent` is more than half of it no new encoder is given out; the answers go as they are.
#include "net/encoding.h"

#include "base/clock.h"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <stdlib.h>
#include <zlib.h>

#define GZIP_BITS (14 + 16)
#define GZIP_MEMORY 7
#define BR_QUALITY 1
#define BR_WINDOW 16
#define SPARES 16
#define ROOM 8192               // output is made in pieces of it
#define WINDOW (20 * NS_PER_MS) // the share of the time is looked at over so long
#define MEMBERS_MAX 1000        // of a gzip body: each costs a reset, whatever is in it

// ---- names

static const char *const NAMES[] = {"identity", "gzip", "br", "deflate", "?"};

const char *encoding_name(enum encoding which) { return NAMES[which]; }

static struct str trim(struct str s) {
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static bool is_nocase(struct str s, const char *lower) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (c != lower[i] || c == '\0') return false;
    }
    return lower[s.n] == '\0';
}

static enum encoding named(struct str name) {
    if (is_nocase(name, "gzip") || is_nocase(name, "x-gzip")) return ENCODING_GZIP;
    if (is_nocase(name, "br")) return ENCODING_BR;
    if (is_nocase(name, "deflate")) return ENCODING_DEFLATE;
    return name.n == 0 || is_nocase(name, "identity") ? ENCODING_NONE : ENCODING_UNKNOWN;
}

enum encoding encoding_of(struct str content_encoding) { return named(trim(content_encoding)); }

// The next part of a list, up to `separator`; false at its end.
static bool next_part(struct str *rest, char separator, struct str *part) {
    if (rest->p == NULL) return false;
    const char *end = rest->n == 0 ? NULL : memchr(rest->p, separator, rest->n);
    size_t n = end == NULL ? rest->n : (size_t)(end - rest->p);
    *part = trim((struct str){rest->p, n});
    *rest = end == NULL ? (struct str){NULL, 0} : (struct str){end + 1, rest->n - n - 1};
    return true;
}

// A weight in thousandths (RFC 9110 section 12.4.2); -1: malformed.
static int weight_of(struct str q) {
    if (q.n == 0 || q.n > 5 || (q.p[0] != '0' && q.p[0] != '1')) return -1;
    int value = (q.p[0] - '0') * 1000;
    int step = 100;
    for (size_t i = 1; i < q.n; i++) {
        if (i == 1 && q.p[i] == '.') continue;
        if (i == 1 || q.p[i] < '0' || q.p[i] > '9') return -1;
        value += (q.p[i] - '0') * step;
        step /= 10;
    }
    return value > 1000 ? -1 : value;
}

enum encoding encoding_choose(struct str accept_encoding) {
    int gzip = -1, br = -1, any = -1; // weights; -1: not named
    struct str item;
    while (next_part(&accept_encoding, ',', &item)) {
        struct str name, parameter;
        int weight = 1000;
        next_part(&item, ';', &name);
        while (next_part(&item, ';', &parameter)) {
            if (parameter.n > 1 && (parameter.p[0] | 0x20) == 'q' && parameter.p[1] == '=')
                weight = weight_of((struct str){parameter.p + 2, parameter.n - 2});
        }
        if (weight < 0 || name.n == 0) continue; // malformed: as if it were not there
        if (is_nocase(name, "*")) any = weight;
        if (named(name) == ENCODING_GZIP) gzip = weight;
        if (named(name) == ENCODING_BR) br = weight;
    }
    if (gzip < 0) gzip = any;
    if (br < 0) br = any;
    if (br > 0 && br >= gzip) return ENCODING_BR;
    return gzip > 0 ? ENCODING_GZIP : ENCODING_NONE;
}

bool encoding_worth(struct str content_type) {
    static const char *const TYPES[] = {"application/json",
                                        "application/x-ndjson",
                                        "application/javascript",
                                        "application/xml",
                                        "application/xhtml+xml",
                                        "application/manifest+json",
                                        "application/wasm",
                                        "application/openmetrics-text",
                                        "image/svg+xml",
                                        "image/bmp",
                                        "image/x-icon",
                                        "font/ttf",
                                        "font/otf",
                                        "application/yaml",
                                        "application/x-yaml"};
    struct str type;
    next_part(&content_type, ';', &type);
    if (type.n > 5 && is_nocase((struct str){type.p, 5}, "text/")) return true;
    if (type.n > 5 && is_nocase((struct str){type.p + type.n - 5, 5}, "+json")) return true;
    if (type.n > 4 && is_nocase((struct str){type.p + type.n - 4, 4}, "+xml")) return true;
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        if (is_nocase(type, TYPES[i])) return true;
    }
    return false;
}

// ---- to the peer

struct encoder {
    enum encoding which;
    struct encoder *next; // spare ones
    z_stream z;
    BrotliEncoderState *br;
};

static bool encoder_open(struct encoder *e) {
    if (e->which == ENCODING_GZIP)
        return deflateInit2(&e->z, Z_BEST_SPEED, Z_DEFLATED, GZIP_BITS, GZIP_MEMORY,
                            Z_DEFAULT_STRATEGY) == Z_OK;
    e->br = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    return e->br != NULL &&
           BrotliEncoderSetParameter(e->br, BROTLI_PARAM_QUALITY, BR_QUALITY) == BROTLI_TRUE &&
           BrotliEncoderSetParameter(e->br, BROTLI_PARAM_LGWIN, BR_WINDOW) == BROTLI_TRUE;
}

static void encoder_free(struct encoder *e) {
    if (e->which == ENCODING_GZIP) deflateEnd(&e->z);
    if (e->br != NULL) BrotliEncoderDestroyInstance(e->br);
    free(e);
}

static bool overspent(struct encoders *pool) {
    int64_t now = clock_now();
    if (now - pool->since > 64 * WINDOW) { // long ago
        pool->since = now - WINDOW;
        pool->spent = 0;
    }
    while (now - pool->since > WINDOW) {
        pool->since += (now - pool->since) / 2;
        pool->spent /= 2;
    }
    return pool->spent > WINDOW / 4 && pool->spent > (now - pool->since) / 2;
}

struct encoder *encoders_take(struct encoders *pool, enum encoding which) {
    if (pool->alive == ENCODERS_MAX || overspent(pool)) return NULL;
    struct encoder *e = which == ENCODING_GZIP ? pool->spare : NULL;
    if (e != NULL) {
        pool->spare = e->next;
        pool->spare_count--;
        if (deflateReset(&e->z) != Z_OK) {
            encoder_free(e);
            return NULL;
        }
    } else {
        e = calloc(1, sizeof *e);
        if (e == NULL) return NULL;
        e->which = which;
        if (!encoder_open(e)) {
            encoder_free(e);
            return NULL;
        }
    }
    pool->alive++;
    return e;
}

void encoders_give(struct encoders *pool, struct encoder *e) {
    if (e == NULL) return;
    pool->alive--;
    if (e->which != ENCODING_GZIP || pool->spare_count == SPARES) {
        encoder_free(e);
        return;
    }
    e->next = pool->spare;
    pool->spare = e;
    pool->spare_count++;
}

void encoders_free(struct encoders *pool) {
    while (pool->spare != NULL) {
        struct encoder *e = pool->spare;
        pool->spare = e->next;
        encoder_free(e);
    }
    *pool = (struct encoders){0};
}

static int gzip_push(z_stream *z, struct str bytes, enum encoder_op op, struct buf *out) {
    static const int FLUSH[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
    z->next_in = (unsigned char *)(uintptr_t)bytes.p;
    z->avail_in = (unsigned)bytes.n;
    do {
        if (!buf_reserve(out, ROOM)) return -STATUS_RESOURCE_EXHAUSTED;
        z->next_out = (unsigned char *)buf_p(out) + out->n;
        z->avail_out = ROOM;
        int rc = deflate(z, FLUSH[op]);
        if (rc == Z_STREAM_ERROR) return -STATUS_RESOURCE_EXHAUSTED;
        out->n += ROOM - z->avail_out;
    } while (z->avail_out == 0);
    return 0;
}

static int br_push(BrotliEncoderState *br, struct str bytes, enum encoder_op op, struct buf *out) {
    static const BrotliEncoderOperation OPERATION[] = {
        BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH};
    const uint8_t *in = (const uint8_t *)bytes.p;
    size_t left = bytes.n;
    bool more;
    do {
        if (!buf_reserve(out, ROOM)) return -STATUS_RESOURCE_EXHAUSTED;
        uint8_t *to = (uint8_t *)buf_p(out) + out->n;
        size_t room = ROOM;
        if (!BrotliEncoderCompressStream(br, OPERATION[op], &left, &in, &room, &to, NULL))
            return -STATUS_RESOURCE_EXHAUSTED;
        out->n += ROOM - room;
        more = left > 0 || BrotliEncoderHasMoreOutput(br);
    } while (more);
    return 0;
}

int encoder_push(struct encoders *pool, struct encoder *e, struct str bytes, enum encoder_op op,
                 struct buf *out) {
    int64_t began = clock_now();
    int rc = e->which == ENCODING_GZIP ? gzip_push(&e->z, bytes, op, out)
                                       : br_push(e->br, bytes, op, out);
    pool->spent += clock_now() - began;
    return rc;
}

// ---- from the peer

struct decoder {
    enum encoding which;
    bool begun, whole;
    unsigned members; // of gzip, so far
    z_stream z;
    BrotliDecoderState *br;
};

struct decoder *decoder_new(enum encoding which) {
    struct decoder *d = calloc(1, sizeof *d);
    if (d == NULL) return NULL;
    d->which = which;
    bool ok = true; // deflate begins with its first byte, see deflate_begin
    if (which == ENCODING_GZIP) ok = inflateInit2(&d->z, 15 + 16) == Z_OK;
    if (which == ENCODING_BR) ok = (d->br = BrotliDecoderCreateInstance(NULL, NULL, NULL)) != NULL;
    if (ok) return d;
    free(d);
    return NULL;
}

void decoder_delete(struct decoder *d) {
    if (d == NULL) return;
    if (d->which == ENCODING_BR) {
        BrotliDecoderDestroyInstance(d->br);
    } else {
        inflateEnd(&d->z); // nothing when it has not begun
    }
    free(d);
}

bool decoder_whole(const struct decoder *d) { return d->whole; }

// "deflate" is zlib's format, but some send bare deflate: told apart by the first byte (RFC 1950 section 2.2).
static int deflate_begin(struct decoder *d, struct str bytes) {
    bool zlib = (bytes.p[0] & 0x0F) == Z_DEFLATED && (bytes.p[0] & 0x80) == 0;
    return inflateInit2(&d->z, zlib ? 15 : -15) == Z_OK ? 0 : -STATUS_RESOURCE_EXHAUSTED;
}

static ssize_t zlib_pull(struct decoder *d, struct str *bytes, char *out, size_t max) {
    z_stream *z = &d->z;
    if (d->whole && bytes->n > 0) {
        // gzip may have several members, one behind the other (RFC 1952 section 2.2).
        if (d->which != ENCODING_GZIP || ++d->members == MEMBERS_MAX || inflateReset(z) != Z_OK)
            return -STATUS_INVALID_ARGUMENT;
        d->whole = false;
    }
    z->next_in = (unsigned char *)(uintptr_t)bytes->p;
    z->avail_in = (unsigned)bytes->n;
    z->next_out = (unsigned char *)out;
    z->avail_out = (unsigned)max;
    int rc = inflate(z, Z_NO_FLUSH);
    size_t taken = bytes->n - z->avail_in;
    *bytes = (struct str){bytes->p + taken, bytes->n - taken};
    if (rc == Z_MEM_ERROR) return -STATUS_RESOURCE_EXHAUSTED;
    if (rc == Z_STREAM_END) d->whole = true;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) return -STATUS_INVALID_ARGUMENT;
    return (ssize_t)(max - z->avail_out);
}

static ssize_t br_pull(struct decoder *d, struct str *bytes, char *out, size_t max) {
    if (d->whole) return bytes->n > 0 ? -STATUS_INVALID_ARGUMENT : 0;
    const uint8_t *in = (const uint8_t *)bytes->p;
    uint8_t *to = (uint8_t *)out;
    size_t left = bytes->n;
    size_t room = max;
    BrotliDecoderResult rc = BrotliDecoderDecompressStream(d->br, &left, &in, &room, &to, NULL);
    *bytes = (struct str){(const char *)in, left};
    if (rc == BROTLI_DECODER_RESULT_ERROR) return -STATUS_INVALID_ARGUMENT;
    if (rc == BROTLI_DECODER_RESULT_SUCCESS) d->whole = true;
    return (ssize_t)(max - room);
}

ssize_t decoder_pull(struct decoder *d, struct str *bytes, char *out, size_t max) {
    if (!d->begun && bytes->n == 0) return 0;
    if (!d->begun && d->which == ENCODING_DEFLATE && deflate_begin(d, *bytes) < 0)
        return -STATUS_RESOURCE_EXHAUSTED;
    d->begun = true;
    // A member without a byte gives no output and ends: the next one follows at once.
    ssize_t made;
    size_t before;
    do {
        before = bytes->n;
        made =
            d->which == ENCODING_BR ? br_pull(d, bytes, out, max) : zlib_pull(d, bytes, out, max);
    } while (made == 0 && bytes->n > 0 && bytes->n < before);
    return made;
}
