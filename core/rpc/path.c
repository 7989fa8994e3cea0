// SPDX-License-Identifier: Apache-2.0
// The normal form of a path at the api door: what a person wrote in a URL becomes the key of the route table.
//
// A path is cut at its slashes and each segment is percent-decoded on its own, so that an encoded slash cannot make two
// segments of one (it is refused), and an encoded ".." is no way around the cleaning. Then empty segments and "." go,
// ".." takes the segment before it away (at the root it is nothing).
//
//   as received               clean                 normal
//   /foo//bar/../baz/         /foo/baz              /foo/baz
//   /blog-posts/Save-It       /blog-posts/Save-It   /blogPosts/saveIt
//
// Which service and endpoint a path means is decided by the service `api`; here is only spelling. Pure, any thread.
#include "base/encode.h"
#include "rpc/route.h"

static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

// Appends "/" and the segment decoded. False: it holds what no segment may.
static bool append_segment(struct buf *clean, struct str raw) {
    buf_append_byte(clean, '/');
    size_t from = clean->n;
    percent_decode(clean, raw, false);
    if (clean->failed) return true;
    struct str segment = {buf_str(clean).p + from, clean->n - from};
    return memchr(segment.p, '/', segment.n) == NULL && memchr(segment.p, '\0', segment.n) == NULL;
}

static void drop_last(struct buf *clean) {
    while (clean->n > 0 && buf_p(clean)[clean->n - 1] != '/') clean->n--;
    if (clean->n > 0) clean->n--;
}

static int clean_path(struct str path, struct buf *clean) {
    for (size_t at = 0; at < path.n;) {
        size_t end = at;
        while (end < path.n && path.p[end] != '/') end++;
        if (end > at) {
            size_t before = clean->n;
            if (!append_segment(clean, (struct str){path.p + at, end - at}))
                return -STATUS_INVALID_ARGUMENT;
            if (clean->failed) return -STATUS_RESOURCE_EXHAUSTED;
            struct str segment = {buf_str(clean).p + before + 1, clean->n - before - 1};
            bool up = str_is(segment, "..");
            if (up || str_is(segment, ".")) clean->n = before;
            if (up) drop_last(clean);
        }
        at = end + 1;
    }
    if (clean->n == 0) buf_append_byte(clean, '/');
    return utf8_valid(buf_str(clean)) ? 0 : -STATUS_INVALID_ARGUMENT;
}

// Hyphens go and the letter after one is made upper case; the first letter of a segment is made lower case.
static void camelize(struct str clean, struct buf *normal) {
    bool first = true;
    bool raise = false;
    for (size_t i = 0; i < clean.n; i++) {
        char c = clean.p[i];
        if (c == '/') {
            buf_append_byte(normal, c);
            first = true;
            raise = false;
        } else if (c == '-') {
            raise = true;
        } else {
            buf_append_byte(normal, first ? lower(c) : raise ? upper(c) : c);
            first = raise = false;
        }
    }
}

int route_normalize(struct str path, struct buf *clean, struct buf *normal) {
    clean->n = normal->n = 0;
    if (path.n == 0 || path.p[0] != '/') return -STATUS_INVALID_ARGUMENT;
    int rc = clean_path(path, clean);
    if (rc < 0) return rc;
    camelize(buf_str(clean), normal);
    return clean->failed || normal->failed ? -STATUS_RESOURCE_EXHAUSTED : 0;
}
