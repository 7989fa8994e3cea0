// SPDX-License-Identifier: Apache-2.0
// The multipart reader. States:
//
//   BEFORE    what stands before the first delimiter is skipped
//   LINE      a delimiter was read: "--" ends the body, else spaces and a line end follow
//   HEAD      the headers of a part, up to an empty line
//   CONTENT   up to the next delimiter
//   AFTER     the closing delimiter was read; what follows is skipped
//
// The delimiter is CR LF "--" boundary, and CR stands only at its beginning. So when a match fails after k bytes, these are
// content, and nothing of them can begin another match: they are given as a slice of the delimiter itself, which saves
// keeping bytes of earlier pieces. At the start of the body, and directly behind the headers, the line end has been read
// already: the match begins with two bytes that are no content.
#include "net/multipart.h"

#include "base/encode.h"

#include <ctype.h>
#include <strings.h>

#define HEAD_MAX ((size_t)8 * 1024)
#define SKIPPED_MAX ((size_t)16 * 1024)
#define PARTS_MAX 1000

enum state { BEFORE, LINE, LINE_DASH, LINE_CR, HEAD, CONTENT, AFTER, FAILED };

void multipart_create(struct multipart *m, struct str boundary) {
    *m = (struct multipart){.state = BEFORE, .matched = 2, .not_data = 2};
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.p, boundary.n);
    m->delimiter_n = 4 + boundary.n;
}

void multipart_destroy(struct multipart *m) {
    buf_free(&m->head);
    buf_free(&m->texts);
}

bool multipart_ended(const struct multipart *m) { return m->state == AFTER; }

static enum multipart_event fail(struct multipart *m, const char *error) {
    m->state = FAILED;
    m->error = error;
    return MULTIPART_ERROR;
}

// ---- parameters of a header

static struct str trim(struct str s) {
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static bool is_name(struct str s, const char *name) {
    return s.n == strlen(name) && strncasecmp(s.p, name, s.n) == 0;
}

static void advance(struct str *s, size_t n) { *s = (struct str){s->p + n, s->n - n}; }

// A quoted string whose opening quote is read, unescaped into `out`: \" and \\ as RFC 9110 has it, %22 %0D %0A as browsers
// do. False: it does not end.
static bool read_quoted(struct str *rest, struct buf *out) {
    while (rest->n > 0) {
        char c = rest->p[0];
        advance(rest, 1);
        if (c == '"') return true;
        if (c == '\\' && rest->n > 0 && (rest->p[0] == '"' || rest->p[0] == '\\')) {
            c = rest->p[0];
            advance(rest, 1);
        } else if (c == '%' && rest->n >= 2) {
            char code = strncasecmp(rest->p, "22", 2) == 0   ? '"'
                        : strncasecmp(rest->p, "0D", 2) == 0 ? '\r'
                        : strncasecmp(rest->p, "0A", 2) == 0 ? '\n'
                                                             : '\0';
            if (code != '\0') advance(rest, 2);
            if (code != '\0') c = code;
        }
        buf_append_byte(out, c);
    }
    return false;
}

// The next "; key=value" of a header; the value goes to the end of `out`. 1, 0: there is none, -1: it is malformed.
static int next_parameter(struct str *rest, struct str *key, struct buf *out) {
    *rest = trim(*rest);
    if (rest->n == 0) return 0;
    if (rest->p[0] != ';') return -1;
    advance(rest, 1);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != '=' && rest->p[n] != ';') n++;
    *key = trim((struct str){rest->p, n});
    if (n == rest->n || rest->p[n] == ';') {
        advance(rest, n);
        return 1;
    }
    advance(rest, n + 1);
    *rest = trim(*rest);
    if (rest->n > 0 && rest->p[0] == '"') {
        advance(rest, 1);
        return read_quoted(rest, out) ? 1 : -1;
    }
    n = 0;
    while (n < rest->n && rest->p[n] != ';') n++;
    buf_append_str(out, trim((struct str){rest->p, n}));
    advance(rest, n);
    return 1;
}

static bool is_boundary(struct str s) {
    if (s.n == 0 || s.n > MULTIPART_BOUNDARY_MAX || s.p[s.n - 1] == ' ') return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!isalnum(c) && (c == '\0' || strchr("'()+_,-./:=? ", c) == NULL)) return false;
    }
    return true;
}

bool multipart_boundary(struct str content_type, char out[MULTIPART_BOUNDARY_MAX], size_t *n) {
    const char *semicolon = memchr(content_type.p, ';', content_type.n);
    if (semicolon == NULL) return false;
    size_t from = (size_t)(semicolon - content_type.p);
    struct str rest = {semicolon, content_type.n - from}, key;
    struct buf value = {0};
    bool found = false;
    while (!found && next_parameter(&rest, &key, &value) > 0) {
        found = is_name(key, "boundary");
        if (!found) value.n = 0;
    }
    found = found && !value.failed && is_boundary(buf_str(&value));
    if (found) memcpy(out, buf_str(&value).p, *n = value.n);
    buf_free(&value);
    return found;
}

// ---- the headers of a part

static bool read_disposition(struct multipart *m, struct str value) {
    size_t n = 0;
    while (n < value.n && value.p[n] != ';') n++;
    if (!is_name(trim((struct str){value.p, n}), "form-data")) return false;
    struct str rest = {value.p + n, value.n - n}, key;
    size_t from = m->texts.n;
    int more;
    while ((more = next_parameter(&rest, &key, &m->texts)) > 0) {
        struct str text = {buf_p(&m->texts) + from, m->texts.n - from};
        if (is_name(key, "name")) m->name = text;
        if (is_name(key, "filename")) m->filename = text;
        m->has_filename = m->has_filename || is_name(key, "filename");
        from = m->texts.n;
    }
    return more == 0;
}

static bool read_line(struct multipart *m, struct str line) {
    const char *colon = memchr(line.p, ':', line.n);
    if (colon == NULL || line.p[0] == ' ' || line.p[0] == '\t') return false;
    size_t n = (size_t)(colon - line.p);
    struct str key = {line.p, n}, value = trim((struct str){colon + 1, line.n - n - 1});
    if (is_name(key, "content-disposition")) return read_disposition(m, value);
    if (is_name(key, "content-type")) m->content_type = value;
    return true;
}

static enum multipart_event begin_part(struct multipart *m) {
    struct str rest = buf_str(&m->head), none = {"", 0};
    m->name = m->filename = m->content_type = none;
    m->has_filename = false;
    m->texts.n = 0;
    if (++m->parts > PARTS_MAX) return fail(m, "the form has over 1000 parts");
    if (m->head.failed || !buf_reserve(&m->texts, rest.n + 1)) // what it holds does not move
        return fail(m, "no memory for the form");
    while (rest.n > 0) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        size_t n = lf == NULL ? rest.n : (size_t)(lf - rest.p);
        struct str line = {rest.p, n > 0 && rest.p[n - 1] == '\r' ? n - 1 : n};
        if (line.n > 0 && !read_line(m, line))
            return fail(m, "the headers of a part are malformed");
        advance(&rest, lf == NULL ? n : n + 1);
    }
    if (m->name.n == 0) return fail(m, "a part has no name");
    if (!utf8_valid(m->name) || !utf8_valid(m->filename))
        return fail(m, "the name of a part is not valid UTF-8");
    m->state = CONTENT;
    m->matched = m->not_data = 2;
    return MULTIPART_PART;
}

// Gathers up to the empty line. True: it is there.
static bool gather_head(struct multipart *m, struct str *bytes) {
    while (bytes->n > 0 && m->head.n <= HEAD_MAX) {
        char c = bytes->p[0];
        advance(bytes, 1);
        buf_append_byte(&m->head, c);
        struct str head = buf_str(&m->head);
        if (c != '\n') continue;
        if (head.n == 2 || (head.n >= 4 && memcmp(head.p + head.n - 4, "\r\n\r\n", 4) == 0))
            return true;
    }
    return false;
}

// ---- content and delimiters

// Goes on with a match that has begun. True: the delimiter is there; else `data` is what was none of it after all.
static bool go_on(struct multipart *m, struct str *bytes) {
    while (bytes->n > 0 && m->matched < m->delimiter_n && bytes->p[0] == m->delimiter[m->matched]) {
        advance(bytes, 1);
        m->matched++;
    }
    if (m->matched == m->delimiter_n) return true;
    if (bytes->n == 0) return false;
    m->data = (struct str){m->delimiter + m->not_data, m->matched - m->not_data};
    m->matched = m->not_data = 0;
    return false;
}

// Reads up to the end of a delimiter, or of the bytes. True: the delimiter is there. Content before it is `data`.
static bool find_delimiter(struct multipart *m, struct str *bytes) {
    m->data = (struct str){"", 0};
    if (m->matched > 0 && go_on(m, bytes)) return true;
    if (m->matched > 0 || m->data.n > 0) return false;
    struct str all = *bytes;
    for (size_t at = 0; at < all.n;) {
        const char *cr = memchr(all.p + at, '\r', all.n - at);
        if (cr == NULL) break;
        size_t before = (size_t)(cr - all.p), left = all.n - before;
        size_t n = left < m->delimiter_n ? left : m->delimiter_n;
        at = before + 1;
        if (memcmp(cr, m->delimiter, n) != 0) continue;
        m->data = (struct str){all.p, before};
        advance(bytes, before);
        if (before > 0) return false; // the match next time
        advance(bytes, n);
        m->matched = n;
        return n == m->delimiter_n;
    }
    m->data = all;
    advance(bytes, all.n);
    return false;
}

static enum multipart_event skip(struct multipart *m, struct str *bytes) {
    size_t before = bytes->n;
    if (m->state == AFTER) {
        *bytes = (struct str){bytes->p + bytes->n, 0};
    } else if (find_delimiter(m, bytes)) {
        m->state = LINE;
    }
    m->skipped += before - bytes->n;
    if (m->skipped > SKIPPED_MAX) return fail(m, "too much stands around the parts of the form");
    return MULTIPART_MORE;
}

// One byte behind a delimiter.
static enum multipart_event read_after(struct multipart *m, char c) {
    static const char WRONG[] = "the boundary stands within a line";
    switch (m->state) {
    case LINE:
        if (c == '-' && !m->quiet_end)
            m->state = LINE_DASH;
        else if (c == '\r')
            m->state = LINE_CR;
        else if (c == ' ' || c == '\t')
            m->quiet_end = true;
        else
            return fail(m, WRONG);
        return MULTIPART_MORE;
    case LINE_DASH: m->state = AFTER; return c == '-' ? MULTIPART_MORE : fail(m, WRONG);
    default:
        m->state = HEAD;
        m->head.n = 0;
        m->quiet_end = false;
        return c == '\n' ? MULTIPART_MORE : fail(m, WRONG);
    }
}

static enum multipart_event content(struct multipart *m, struct str *bytes) {
    if (find_delimiter(m, bytes)) {
        m->state = LINE;
        m->quiet_end = false;
        return MULTIPART_PART_END;
    }
    return m->data.n > 0 ? MULTIPART_DATA : MULTIPART_MORE;
}

enum multipart_event multipart_next(struct multipart *m, struct str *bytes) {
    enum multipart_event event = MULTIPART_MORE;
    while (bytes->n > 0 && event == MULTIPART_MORE) {
        switch ((enum state)m->state) {
        case BEFORE:
        case AFTER: event = skip(m, bytes); break;
        case LINE:
        case LINE_DASH:
        case LINE_CR:
            event = read_after(m, bytes->p[0]);
            advance(bytes, 1);
            break;
        case HEAD:
            if (gather_head(m, bytes))
                event = begin_part(m);
            else if (m->head.n > HEAD_MAX)
                event = fail(m, "the headers of a part are over 8 KB");
            break;
        case CONTENT: event = content(m, bytes); break;
        default: event = MULTIPART_ERROR; break;
        }
    }
    return event;
}
