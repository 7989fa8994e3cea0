// SPDX-License-Identifier: Apache-2.0
// HTTP/1: heads and trailers as they come in, of requests (http1.c) and of answers (http1_client.c).
//
// Framing is said once and in one way: content-length, digits only, or transfer-encoding, exactly "chunked" and not in
// HTTP/1.0. Before llhttp sees bytes of a head, a line check walks over them: lines end with CR LF and nothing else, no line continues
// the one before (obs-fold), the head is bounded. It finds the end of the head on its own, and llhttp must find the same.
// The lines behind the last chunk are checked in the same way. What stands between the contents of two chunks (the size and
// its extensions, which nobody uses) is CHUNK_LINE at most. What llhttp reports is gathered in `head`, and copied into the stream when it is complete.
#include "net/http1.h"

#include "base/pool.h"

#define CHUNK_LINE 256
#define LINES_FIRST 16
#define BLANK_LINES 16 // before a request

// ---- llhttp's callbacks: they gather

static int gather(struct http1 *h, const char *at, size_t n) {
    buf_append(&h->head, at, n);
    if (h->head.failed) return fail(h, 503, "out of memory");
    if (h->head.n > h->base.limits.header_bytes) return fail(h, 431, "the trailers are too long");
    return 0;
}

int http1_on_url(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    h->url_n += n;
    return gather(h, at, n);
}

// The first lines are in the pool's memory: they are given back with every head, so that an idle connection holds none.
static bool more_lines(struct http1 *h) {
    size_t cap = h->line_cap == 0 ? LINES_FIRST : h->line_cap * 2;
    size_t size = cap * sizeof *h->lines;
    struct http1_line *lines = pool_take(pool_class(size), size);
    if (lines == NULL) return false;
    if (h->line_count > 0) memcpy(lines, h->lines, h->line_count * sizeof *lines);
    if (h->line_cap > 0) pool_give_sized(h->lines, h->line_cap * sizeof *h->lines);
    h->lines = lines;
    h->line_cap = cap;
    return true;
}

int http1_on_field(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    if (h->line_count == 0 || h->in_value) {
        unsigned most = h->base.limits.fields;
        if (most > 0 && h->line_count == most) return fail(h, 431, "there are too many headers");
        if (h->line_count == h->line_cap && !more_lines(h)) return fail(h, 503, "out of memory");
        h->lines[h->line_count++] = (struct http1_line){.name = h->head.n};
        h->in_value = false;
    }
    h->lines[h->line_count - 1].name_n += n;
    return gather(h, at, n);
}

int http1_on_value(llhttp_t *parser, const char *at, size_t n) {
    struct http1 *h = parser->data;
    if (h->line_count == 0) return fail(h, 400, "malformed header");
    struct http1_line *line = &h->lines[h->line_count - 1];
    if (!h->in_value) line->value = h->head.n;
    h->in_value = true;
    line->value_n += n;
    return gather(h, at, n);
}

int http1_on_value_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->in_value = true; // an empty value has no span
    return 0;
}

// The size of a chunk has been read. llhttp stops behind the line of the last one, whose trailers are checked as a head is.
int http1_on_chunk_header(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->between = 0;
    h->last_chunk = parser->content_length == 0;
    return h->last_chunk ? HPE_PAUSED : 0;
}

int http1_on_message_complete(llhttp_t *parser) {
    struct http1 *h = parser->data;
    h->message_done = true;
    return HPE_PAUSED;
}

// ---- the line check

// A line is complete. True when it was the blank one at the end of the head.
static bool line_complete(struct http1 *h) {
    bool blank = h->line_bytes == 2;
    h->line_bytes = 0;
    if (blank && h->first_line && h->base.server) {
        h->head_bytes = 0; // an empty line before a request is ignored (RFC 9112 section 2.2)
        h->blank_lines++;
        return false;
    }
    h->first_line = false;
    return blank;
}

// In a request line one space stands between two parts (RFC 9112 section 3), and none before the first.
static bool spaces_sound(const struct http1 *h, const char *p, size_t n) {
    char before = h->line_bytes == 0 ? ' ' : h->last;
    for (size_t i = 0; i < n; i++) {
        if (before == ' ' && p[i] == ' ') return false;
        before = p[i];
    }
    return true;
}

// Checks a piece of one line, which ends at its LF or where the bytes end.
static int check_piece(struct http1 *h, const char *p, size_t n, bool whole) {
    const char *cr = memchr(p, '\r', n);
    bool stray = cr != NULL && cr + 1 < p + n && cr[1] != '\n';
    bool split = h->last == '\r' && p[0] != '\n';
    char before = n > 1 ? p[n - 2] : h->last;
    if (stray || split || (whole && before != '\r'))
        return fail(h, 400, "a line must end with CR LF");
    if (h->line_bytes == 0 && !h->first_line && (p[0] == ' ' || p[0] == '\t'))
        return fail(h, 400, "a header line must not continue the one before");
    if (h->first_line && h->base.server && !spaces_sound(h, p, n))
        return fail(h, 400, "the request line must have one space between its parts");
    h->last = p[n - 1];
    h->line_bytes += n;
    h->head_bytes += n;
    if (h->head_bytes <= h->base.limits.header_bytes) return 0;
    if (h->state == H1_TRAILERS) return fail(h, 431, "the trailers are too long");
    if (h->first_line) return fail(h, 414, "the first line is too long");
    return fail(h, 431, "the headers are too long");
}

// Walks over bytes of a head. *used: how many belong to it; *done: its end was found.
static int check_head(struct http1 *h, struct str bytes, size_t *used, bool *done) {
    *done = false;
    size_t i = 0;
    while (i < bytes.n && !*done) {
        const char *p = bytes.p + i;
        const char *lf = memchr(p, '\n', bytes.n - i);
        size_t n = lf == NULL ? bytes.n - i : (size_t)(lf - p) + 1;
        if (check_piece(h, p, n, lf != NULL) < 0) return -1;
        i += n;
        if (lf != NULL) *done = line_complete(h);
        if (h->blank_lines > BLANK_LINES) return fail(h, 400, "there are too many empty lines");
    }
    *used = i;
    return 0;
}

// ---- a head or trailers are complete

static struct str trimmed(const char *p, size_t n) {
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) n--;
    return (struct str){p, n};
}

// Copies what was gathered into the stream, names in lower case.
int http1_take_lines(struct http1 *h, struct stream *st, bool trailer) {
    char *p = stream_alloc(st, h->head.n);
    if (p == NULL) return fail(h, 503, "out of memory");
    if (h->head.n > 0) memcpy(p, buf_p(&h->head), h->head.n);
    if (!trailer && h->base.server) st->s.path = (struct str){p, h->url_n};
    for (size_t i = 0; i < h->line_count; i++) {
        const struct http1_line *line = &h->lines[i];
        char *name = p + line->name;
        for (size_t k = 0; k < line->name_n; k++) {
            if (!header_token_char((unsigned char)name[k]))
                return fail(h, 400, "a header name has a character that is not allowed");
            if (name[k] >= 'A' && name[k] <= 'Z') name[k] = (char)(name[k] + 32);
        }
        struct str value = trimmed(p + line->value, line->value_n);
        if (line->name_n == 0 || !header_value_sound(value))
            return fail(h, 400, "malformed header");
        if (!stream_add_header(st, trailer, (struct str){name, line->name_n}, value))
            return fail(h, 503, "out of memory");
    }
    return 0;
}

// How the body is delimited: in one way, which is said once.
int http1_check_framing(struct http1 *h, struct stream *st) {
    unsigned lengths = 0;
    unsigned encodings = 0;
    bool chunked = false;
    if (h->parser.http_major != 1 || h->parser.http_minor > 1)
        return fail(h, 505, "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here");
    for (size_t i = 0; i < st->s.header_count; i++) {
        struct str name = st->s.headers[i].name;
        if (str_is(name, "content-length")) {
            lengths++;
            if (!number_parse(st->s.headers[i].value, &st->s.content_length))
                return fail(h, 400, "content-length is not a number");
        } else if (str_is(name, "transfer-encoding")) {
            encodings++;
            chunked = str_is_nocase(st->s.headers[i].value, "chunked");
        }
    }
    if (lengths > 1) return fail(h, 400, "content-length is given twice");
    if (lengths > 0 && encodings > 0)
        return fail(h, 400, "content-length and transfer-encoding exclude each other");
    if (encodings > 1 || (encodings == 1 && h->parser.http_minor == 0))
        return fail(h, 400, "this transfer-encoding is not allowed");
    if (encodings == 1 && !chunked)
        return fail(h, 501, "the only transfer-encoding that is understood is chunked");
    return 0;
}

void http1_gathered_clear(struct http1 *h) {
    buf_free(&h->head);
    h->url_n = 0;
    h->line_count = 0;
    if (h->line_cap > 0) pool_give_sized(h->lines, h->line_cap * sizeof *h->lines);
    h->lines = NULL;
    h->line_cap = 0;
    h->in_value = false;
}

void http1_expect_head(struct http1 *h) {
    h->message_done = h->head_done = false;
    h->blank_lines = 0;
    h->between = 0;
    h->head_bytes = h->line_bytes = 0;
    h->first_line = true;
    h->last = '\0';
}

// ---- parsing

static const char *parser_reason(struct http1 *h) {
    switch (llhttp_get_errno(&h->parser)) {
    case HPE_INVALID_METHOD: return "the request method is not known";
    case HPE_INVALID_URL: return "the request target is malformed";
    case HPE_INVALID_VERSION: return "the HTTP version is malformed";
    case HPE_INVALID_HEADER_TOKEN: return "a header has a character that is not allowed";
    case HPE_INVALID_CONTENT_LENGTH: return "content-length is not a number";
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return "content-length is given twice, or together with transfer-encoding";
    case HPE_INVALID_TRANSFER_ENCODING: return "this transfer-encoding is not allowed";
    case HPE_INVALID_CHUNK_SIZE: return "the size of a chunk is malformed";
    default: return h->base.server ? "the request is malformed" : "the answer is malformed";
    }
}

// Gives bytes to llhttp; *used tells how many of them belong to the message.
static int execute(struct http1 *h, struct str bytes, size_t *used) {
    *used = bytes.n;
    llhttp_errno_t e = llhttp_execute(&h->parser, bytes.p, bytes.n);
    if (e == HPE_PAUSED && (h->message_done || h->last_chunk)) {
        *used = (size_t)(llhttp_get_error_pos(&h->parser) - bytes.p);
        llhttp_resume(&h->parser);
        return 0;
    }
    return e == HPE_OK ? 0 : fail(h, 400, parser_reason(h));
}

int http1_parse_head(struct http1 *h, struct str bytes, size_t *used, bool *done) {
    size_t n = 0;
    size_t taken = 0;
    if (check_head(h, bytes, &n, done) < 0) return -1;
    if (execute(h, (struct str){bytes.p, n}, &taken) < 0) return -1;
    *used = n;
    if (*done == h->head_done && taken == n) return 0;
    return fail(h, 400, h->base.server ? "the request is malformed" : "the answer is malformed");
}

static int parse_trailers(struct http1 *h, struct str bytes, size_t *used) {
    size_t n = 0;
    size_t taken = 0;
    bool done;
    if (check_head(h, bytes, &n, &done) < 0) return -1;
    if (execute(h, (struct str){bytes.p, n}, &taken) < 0) return -1;
    *used = n;
    if (done != h->message_done || taken != n) return fail(h, 400, "the trailers are malformed");
    return 0;
}

int http1_parse_body(struct http1 *h, struct str bytes, size_t *used) {
    if (h->state == H1_TRAILERS) return parse_trailers(h, bytes, used);
    h->between += bytes.n; // unless something comes of them
    if (execute(h, bytes, used) < 0) return -1;
    if (h->between > CHUNK_LINE && !h->last_chunk && !h->message_done)
        return fail(h, 400, "the line of a chunk is too long");
    if (!h->last_chunk) return 0;
    h->last_chunk = false;
    h->state = H1_TRAILERS;
    h->head_bytes = h->line_bytes = 0;
    h->last = '\0';
    return 0;
}
