// SPDX-License-Identifier: Apache-2.0
// Reading the headers of requests (and of answers, at the client side): which of them mean something to the platform,
// and which are metadata of the call.
//
// Credentials (authorization, proxy-authorization) stay here: a service learns who asks, never by which token. What the
// context carries in fields of its own (namespace, trace, deadline) is no metadata either.
#include "rpc/head.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/random.h"
#include "msg/metadata.h"

enum kind {
    KIND_PLAIN,
    KIND_TYPE,
    KIND_NS,
    KIND_VERSION,
    KIND_CHAIN,
    KIND_OLD_NS,
    KIND_TIMEOUT,
    KIND_ENCODING,
    KIND_TRACE,
    KIND_ORIGIN,
    KIND_SITE,
    KIND_ACCEPT, // metadata too
    KIND_SECRET
};

// By length first: most headers are told apart by that alone.
static enum kind kind_of(struct str name) {
    switch (name.n) {
    case 6:
        if (str_is(name, "accept")) return KIND_ACCEPT;
        return str_is(name, "origin") ? KIND_ORIGIN : KIND_PLAIN;
    case 10: return str_is(name, "mica-chain") ? KIND_CHAIN : KIND_PLAIN;
    case 11: return str_is(name, "traceparent") ? KIND_TRACE : KIND_PLAIN;
    case 12:
        if (str_is(name, "content-type")) return KIND_TYPE;
        if (str_is(name, "mica-version")) return KIND_VERSION;
        return str_is(name, "grpc-timeout") ? KIND_TIMEOUT : KIND_PLAIN;
    case 13:
        if (str_is(name, "grpc-encoding")) return KIND_ENCODING;
        return str_is(name, "authorization") ? KIND_SECRET : KIND_PLAIN;
    case 14:
        if (str_is(name, "mica-namespace")) return KIND_NS;
        return str_is(name, "sec-fetch-site") ? KIND_SITE : KIND_PLAIN;
    case 15: return str_is(name, "micro-namespace") ? KIND_OLD_NS : KIND_PLAIN;
    case 19: return str_is(name, "proxy-authorization") ? KIND_SECRET : KIND_PLAIN;
    // A WebSocket's handshake, which may hold a token.
    default: return str_starts(name, "sec-websocket-") ? KIND_SECRET : KIND_PLAIN;
    }
}

// One or two digits; what is not counts as none.
static uint8_t read_chain(struct str text) {
    unsigned n = 0;
    if (text.n == 0 || text.n > 2) return 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return 0;
        n = n * 10 + (unsigned)(text.p[i] - '0');
    }
    return (uint8_t)n;
}

void head_read(struct head *h, const struct http_header *headers, size_t count) {
    struct str old_ns = {"", 0};
    *h = (struct head){.ns = {NULL, 0}};
    for (size_t i = 0; i < count; i++) {
        struct str value = headers[i].value;
        switch (kind_of(headers[i].name)) {
        case KIND_TYPE: h->content_type = value; break;
        case KIND_NS: h->ns = value; break;
        case KIND_VERSION: h->version = value; break;
        case KIND_CHAIN: h->chain = read_chain(value); break;
        case KIND_OLD_NS: old_ns = value; break;
        case KIND_TIMEOUT: h->timeout = value; break;
        case KIND_ENCODING: h->encoding = value; break;
        case KIND_TRACE: h->traceparent = value; break;
        case KIND_ORIGIN: h->origin = value; break;
        case KIND_SITE: h->fetch_site = value; break;
        case KIND_ACCEPT: h->accept = value; break;
        case KIND_PLAIN:
        case KIND_SECRET: break;
        }
    }
    if (h->ns.p == NULL) h->ns = old_ns;
}

bool head_namespace_valid(struct str ns) {
    if (ns.n == 0 || ns.n > 63 || ns.p[0] == '-') return false;
    for (size_t i = 0; i < ns.n; i++) {
        char c = ns.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
    }
    return true;
}

bool head_type_is(struct str content_type, const char *type) {
    if (str_is(content_type, type)) return true; // as nearly all write it
    size_t n = 0;
    while (n < content_type.n && content_type.p[n] != ';' && content_type.p[n] != ' ') n++;
    if (n != strlen(type)) return false;
    for (size_t i = 0; i < n; i++) {
        char c = content_type.p[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != type[i]) return false;
    }
    return true;
}

// ---- grpc-timeout

static const struct {
    char letter;
    int64_t nanoseconds;
} UNITS[] = {{'n', 1},
             {'u', 1000},
             {'m', NS_PER_MS},
             {'S', NS_PER_SECOND},
             {'M', 60 * NS_PER_SECOND},
             {'H', 3600 * NS_PER_SECOND}};
#define UNIT_COUNT (sizeof UNITS / sizeof UNITS[0])

bool grpc_timeout_parse(struct str text, int64_t *nanoseconds) {
    if (text.n < 2 || text.n > 9) return false;
    int64_t n = 0;
    for (size_t i = 0; i + 1 < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        n = n * 10 + (text.p[i] - '0');
    }
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (UNITS[i].letter != text.p[text.n - 1]) continue;
        // 99,999,999 hours are more than 64 bits of nanoseconds: as long as there is
        *nanoseconds = n > INT64_MAX / UNITS[i].nanoseconds ? INT64_MAX : n * UNITS[i].nanoseconds;
        return true;
    }
    return false;
}

size_t grpc_timeout_format(char out[16], int64_t nanoseconds) {
    if (nanoseconds < 0) nanoseconds = 0;
    size_t unit = 0;
    while (unit + 1 < UNIT_COUNT && nanoseconds / UNITS[unit].nanoseconds >= 99999999) unit++;
    int64_t n =
        nanoseconds / UNITS[unit].nanoseconds + (nanoseconds % UNITS[unit].nanoseconds != 0);
    char digits[DECIMAL_MAX];
    size_t length = decimal_put(digits, (uint64_t)n); // at most 8: see the loop above
    memcpy(out, digits, length);
    out[length] = UNITS[unit].letter;
    return length + 1;
}

// ---- traces

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// False: not hex, or nothing but zeros where that is no id.
static bool read_hex(const char *p, unsigned char *out, size_t n, bool zero_allowed) {
    unsigned any = 0;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(p[2 * i]);
        int low = hex_digit(p[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (unsigned char)(high << 4 | low);
        any |= out[i];
    }
    return zero_allowed || any != 0;
}

void head_trace(struct msg_context *context, struct str t) {
    unsigned char version;
    bool sound = t.n >= TRACEPARENT_LENGTH && t.p[2] == '-' && t.p[35] == '-' && t.p[52] == '-' &&
                 read_hex(t.p, &version, 1, true) && version != 0xFF &&
                 (t.n == TRACEPARENT_LENGTH || (version > 0 && t.p[55] == '-')) &&
                 read_hex(t.p + 3, context->trace_id, 16, false) &&
                 read_hex(t.p + 36, context->span_id, 8, false) &&
                 read_hex(t.p + 53, &context->trace_flags, 1, true);
    if (sound) return;
    uint64_t fresh[3] = {random_u64(), random_u64(), random_u64()};
    memcpy(context->trace_id, fresh, 16);
    memcpy(context->span_id, fresh + 2, 8);
    context->trace_flags = 0;
}

static char *put_hex(char *to, const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        *to++ = "0123456789abcdef"[bytes[i] >> 4];
        *to++ = "0123456789abcdef"[bytes[i] & 15];
    }
    return to;
}

void head_traceparent(char out[TRACEPARENT_LENGTH + 1], const struct msg_context *context) {
    char *to = out;
    memcpy(to, "00-", 3);
    to = put_hex(to + 3, context->trace_id, 16);
    *to++ = '-';
    to = put_hex(to, context->span_id, 8);
    *to++ = '-';
    to = put_hex(to, &context->trace_flags, 1);
    *to = '\0';
}

// ---- metadata

// Several values of a "-bin" key may come in one header, with commas between; what is no base64 is dropped.
static void add_binary(struct buf *out, struct str key, struct str text) {
    struct buf bytes = {0};
    for (size_t at = 0; at <= text.n;) {
        size_t end = at;
        while (end < text.n && text.p[end] != ',') end++;
        struct str part = {text.p + at, end - at};
        while (part.n > 0 && part.p[0] == ' ') part = (struct str){part.p + 1, part.n - 1};
        while (part.n > 0 && part.p[part.n - 1] == ' ') part.n--;
        bytes.n = 0;
        if (base64_decode(&bytes, part) && !bytes.failed) metadata_add(out, key, buf_str(&bytes));
        at = end + 1;
    }
    out->failed = out->failed || bytes.failed;
    buf_free(&bytes);
}

struct blob *head_metadata(struct buf *first, const struct http_header *headers, size_t count,
                           bool *failed) {
    for (size_t i = 0; i < count; i++) {
        struct str name = headers[i].name;
        enum kind kind = kind_of(name);
        bool shown = kind == KIND_PLAIN || kind == KIND_ACCEPT;
        if (!shown || !metadata_key_allowed(name)) continue;
        if (name.n > 4 && memcmp(name.p + name.n - 4, "-bin", 4) == 0) {
            add_binary(first, name, headers[i].value);
        } else {
            metadata_add(first, name, headers[i].value);
        }
    }
    *failed = first->failed;
    if (first->n == 0 || first->failed) {
        buf_free(first);
        return NULL;
    }
    return buf_take(first);
}
