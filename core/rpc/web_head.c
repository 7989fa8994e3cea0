// SPDX-License-Identifier: Apache-2.0
#include "rpc/web_head.h"

#include "base/encode.h"
#include "msg/metadata.h"

#include <strings.h>

static bool starts_nocase(struct str s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.n >= n && strncasecmp(s.p, prefix, n) == 0;
}

static bool is_nocase(struct str s, const char *text) {
    return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

// ---- cookies

static struct str skip(struct str s, size_t n) { return (struct str){s.p + n, s.n - n}; }

bool web_cookie_is_ours(struct str name) {
    if (starts_nocase(name, "__Host-")) name = skip(name, strlen("__Host-"));
    if (starts_nocase(name, "__Secure-")) name = skip(name, strlen("__Secure-"));
    return starts_nocase(name, "mica-") || starts_nocase(name, "micro-");
}

static struct str cookie_name(struct str pair) {
    while (pair.n > 0 && (pair.p[0] == ' ' || pair.p[0] == '\t')) pair = skip(pair, 1);
    size_t n = 0;
    while (n < pair.n && pair.p[n] != '=' && pair.p[n] != ';' && pair.p[n] != ' ') n++;
    return (struct str){pair.p, n};
}

// The header's value without our own cookies: nearly always as it is.
static void add_cookies(struct buf *out, struct str value) {
    struct buf rest = {0};
    for (size_t at = 0; at < value.n;) {
        const char *semicolon = memchr(value.p + at, ';', value.n - at);
        size_t end = semicolon == NULL ? value.n : (size_t)(semicolon - value.p);
        struct str pair = {value.p + at, end - at};
        if (!web_cookie_is_ours(cookie_name(pair))) {
            if (rest.n > 0) buf_append_byte(&rest, ';');
            while (rest.n == 0 && pair.n > 0 && pair.p[0] == ' ') pair = skip(pair, 1);
            buf_append_str(&rest, pair);
        }
        at = end + 1;
    }
    if (rest.n > 0) metadata_add(out, str_of("cookie"), buf_str(&rest));
    out->failed = out->failed || rest.failed;
    buf_free(&rest);
}

// ---- requests

// Of the connection (RFC 9110 section 7.6.1): it ends here.
static bool of_connection(struct str name) {
    static const char *const NAMES[] = {"connection", "keep-alive",        "proxy-connection", "te",
                                        "trailer",    "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (is_nocase(name, NAMES[i])) return true;
    }
    return false;
}

static bool stays_here(struct str name) {
    return of_connection(name) || str_is(name, "authorization") ||
           str_is(name, "proxy-authorization") || str_is(name, "expect") ||
           str_is(name, "http2-settings") || str_is(name, "host");
}

static void add_line(struct buf *out, const struct web_line *line) {
    metadata_add(out, str_of(":handler"), line->handler);
    metadata_add(out, str_of(":method"), line->method);
    metadata_add(out, str_of(":url"), line->url);
    metadata_add(out, str_of(":path"), line->path);
    metadata_add(out, str_of(":base"), line->base);
    metadata_add(out, str_of(":host"), line->host);
    metadata_add(out, str_of(":scheme"), line->scheme);
    struct buf pair = {0};
    for (size_t i = 0; i < line->param_count; i++) {
        pair.n = 0;
        buf_append_str(&pair, line->params[i].name);
        buf_append_byte(&pair, '=');
        buf_append_str(&pair, line->params[i].value);
        metadata_add(out, str_of(":param"), buf_str(&pair));
    }
    out->failed = out->failed || pair.failed;
    buf_free(&pair);
}

struct blob *web_request_head(const struct web_line *line, const struct http_header *headers,
                              size_t count) {
    struct buf out = {0};
    add_line(&out, line);
    metadata_add(&out, str_of("host"), line->host);
    for (size_t i = 0; i < count; i++) {
        if (str_is(headers[i].name, "cookie")) {
            add_cookies(&out, headers[i].value);
        } else if (!stays_here(headers[i].name)) {
            metadata_add(&out, headers[i].name, headers[i].value);
        }
    }
    if (!out.failed) return buf_take(&out);
    buf_free(&out);
    return NULL;
}

// ---- answers

static int read_status(struct str text) {
    if (text.n != 3) return 0;
    for (int i = 0; i < 3; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return 0;
    }
    int status = (text.p[0] - '0') * 100 + (text.p[1] - '0') * 10 + (text.p[2] - '0');
    return status >= 200 && status <= 599 ? status : 0;
}

static bool read_piece(struct str value, size_t body, struct web_answer *out) {
    uint64_t range[2];
    if (value.n < sizeof range || out->piece_count == WEB_PIECES_MAX) return false;
    memcpy(range, value.p, sizeof range);
    if (range[0] > body || range[1] > body - range[0]) return false;
    out->pieces[out->piece_count++] =
        (struct web_piece){range[0], range[1], skip(value, sizeof range)};
    return true;
}

bool web_answer_read(const struct blob *leading, size_t body, struct web_answer *out) {
    struct metadata_pair pair;
    out->status = 0;
    out->piece_count = 0;
    for (size_t at = 0; metadata_next(leading, &at, &pair);) {
        if (str_is(pair.key, ":status")) {
            out->status = read_status(pair.value);
        } else if (str_is(pair.key, ":piece") && !read_piece(pair.value, body, out)) {
            return false;
        }
    }
    return out->status != 0;
}

static bool sets_our_cookie(const struct metadata_pair *pair) {
    return str_is(pair->key, "set-cookie") && web_cookie_is_ours(cookie_name(pair->value));
}

void web_answer_headers(struct headers *h, const struct blob *leading, bool own_length) {
    struct metadata_pair pair;
    for (size_t at = 0; metadata_next(leading, &at, &pair);) {
        bool ours = str_starts(pair.key, ":") || of_connection(pair.key) ||
                    sets_our_cookie(&pair) || (own_length && str_is(pair.key, "content-length"));
        if (!ours) headers_add_pair(h, pair.key, pair.value);
    }
}
