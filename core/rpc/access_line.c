// SPDX-License-Identifier: Apache-2.0
// The two forms of a line of the access log. Pure.
//
// Combined Log Format, as web servers write it, with four fields behind it: seconds, request id, the caller's own id, endpoint.
//   127.0.0.1 - - [25/Nov/2026:09:10:25 +0000] "GET /blog/read?id=1 HTTP/1.1" 200 312 "-" "curl/7.88.1" 0.000812 00c1ffee00c1ffee "-" "blog.Blog.Read"
// JSON: an object a line, without what is not known.
//
// Peers choose most of what is in a line: quotes, backslashes, controls and bytes beyond ASCII are escaped, and long texts are cut.
#include "rpc/access_log.h"

#include "base/clock.h"
#include "base/encode.h"
#include "pb/json_lex.h"
#include "pb/json_sink.h"

#include <stdio.h>
#include <time.h>

#define TEXT_MAX 2048 // bytes of one text of a peer

static struct str cut(struct str s) { return s.n > TEXT_MAX ? (struct str){s.p, TEXT_MAX} : s; }

// The address without its port.
static struct str host_of(struct str peer) {
    size_t n = peer.n;
    while (n > 0 && peer.p[n - 1] != ':') n--;
    return n == 0 ? peer : (struct str){peer.p, n - 1};
}

// ---- combined

static void put_escaped(struct buf *out, struct str s) {
    static const char HEX[] = "0123456789abcdef";
    s = cut(s);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') buf_append_byte(out, '\\');
        if (c >= 0x20 && c < 0x7F) {
            buf_append_byte(out, (char)c);
        } else {
            const char code[4] = {'\\', 'x', HEX[c >> 4], HEX[c & 15]};
            buf_append(out, code, 4);
        }
    }
}

static void put_quoted(struct buf *out, struct str s) {
    buf_append_text(out, " \"");
    put_escaped(out, s.n == 0 ? str_of("-") : s);
    buf_append_byte(out, '"');
}

static void put_id(struct buf *out, struct str s) { // one word
    if (s.n == 0) buf_append_byte(out, '-');
    struct str rest = cut(s);
    for (size_t i = 0; i < rest.n; i++) {
        char c = rest.p[i];
        if (c <= ' ' || c == '"') c = '_'; // char is signed: bytes beyond ASCII as well
        buf_append_byte(out, c);
    }
}

static void put_combined(struct buf *out, const struct access_line *l) {
    char stamp[40];
    struct tm utc;
    time_t seconds = (time_t)(l->time / NS_PER_SECOND);
    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof stamp, "%d/%b/%Y:%H:%M:%S +0000", &utc);
    buf_append_str(out, host_of(l->peer));
    buf_append_text(out, " - ");
    put_id(out, l->account);
    buf_printf(out, " [%s] \"", stamp);
    put_escaped(out, l->method);
    buf_append_byte(out, ' ');
    put_escaped(out, l->path);
    buf_printf(out, " HTTP/%s\" %d %llu", l->version, l->status, (unsigned long long)l->bytes);
    put_quoted(out, l->referer);
    put_quoted(out, l->agent);
    buf_printf(out, " %.6f ", l->seconds);
    put_id(out, l->request_id);
    put_quoted(out, l->caller_id);
    if (l->service.n == 0) {
        buf_append_text(out, " \"-\"\n");
        return;
    }
    buf_append_text(out, " \"");
    put_escaped(out, l->service);
    buf_append_byte(out, '.');
    put_escaped(out, l->endpoint);
    buf_append_text(out, "\"\n");
}

// ---- JSON

static void put_pair(struct buf *out, const char *key, struct str value) {
    if (value.n == 0) return;
    buf_printf(out, ",\"%s\":", key);
    value = cut(value);
    if (utf8_valid(value)) {
        json_put_string(out, value);
        return;
    }
    struct buf ascii = {0};
    for (size_t i = 0; i < value.n; i++) buf_append_byte(&ascii, value.p[i] < 0 ? '?' : value.p[i]);
    json_put_string(out, buf_str(&ascii));
    buf_free(&ascii);
}

static void put_json(struct buf *out, const struct access_line *l) {
    char stamp[40];
    struct tm utc;
    time_t seconds = (time_t)(l->time / NS_PER_SECOND);
    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    buf_printf(out, "{\"time\":\"%s.%03dZ\"", stamp, (int)(l->time % NS_PER_SECOND / NS_PER_MS));
    put_pair(out, "door", str_of(l->door));
    put_pair(out, "remote", host_of(l->peer));
    put_pair(out, "account", l->account);
    put_pair(out, "method", l->method);
    put_pair(out, "path", l->path);
    put_pair(out, "version", str_of(l->version));
    buf_printf(out, ",\"status\":%d,\"bytes\":%llu,\"seconds\":%.6f", l->status,
               (unsigned long long)l->bytes, l->seconds);
    put_pair(out, "referer", l->referer);
    put_pair(out, "agent", l->agent);
    put_pair(out, "request_id", l->request_id);
    put_pair(out, "caller_request_id", l->caller_id);
    put_pair(out, "service", l->service);
    put_pair(out, "endpoint", l->endpoint);
    buf_append_text(out, "}\n");
}

void access_format_line(enum access_format format, const struct access_line *line,
                        struct buf *out) {
    if (format == ACCESS_JSON) {
        put_json(out, line);
    } else {
        put_combined(out, line);
    }
}
