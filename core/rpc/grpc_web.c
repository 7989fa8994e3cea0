// SPDX-License-Identifier: Apache-2.0
// The frame of the trailers is flagged 0x80; its content are lines "name: value" as HTTP/1 has them, names in lower case.
//
// Text: the peer may encode its body as a whole or piece by piece, so padding may stand at the end of any group of four. Here every
// frame is a piece of its own, so that it can be read when it has come.
#include "rpc/grpc_web.h"

#include "base/encode.h"

#include <assert.h>

#define TRAILERS_FLAG 0x80

bool grpc_web_decode(struct grpc_web_text *t, struct str text, struct buf *out) {
    assert(t->n < sizeof t->group);
    while (text.n > 0 &&
           (t->n > 0 || text.n < sizeof t->group)) { // not at the beginning of a group
        t->group[t->n++] = *text.p;
        text = (struct str){text.p + 1, text.n - 1};
        if (t->n < sizeof t->group) continue;
        t->n = 0;
        if (!base64_decode(out, (struct str){t->group, sizeof t->group})) return false;
    }
    while (text.n >= sizeof t->group) {
        const char *pad = memchr(text.p, '=', text.n);
        size_t end = pad == NULL ? text.n : (size_t)(pad - text.p) / 4 * 4 + 4;
        if (end > text.n || pad == NULL) end = text.n / 4 * 4;
        if (!base64_decode(out, (struct str){text.p, end})) return false;
        text = (struct str){text.p + end, text.n - end};
    }
    if (text.n > 0) memcpy(t->group, text.p, text.n);
    t->n += (unsigned)text.n;
    return !out->failed;
}

void grpc_web_put_text(struct buf *out, const unsigned char head[GRPC_FRAME_HEAD],
                       struct str body) {
    char first[GRPC_FRAME_HEAD + 1]; // two whole groups, so that the rest can be encoded by itself
    memcpy(first, head, GRPC_FRAME_HEAD);
    if (body.n > 0) first[GRPC_FRAME_HEAD] = body.p[0];
    base64_encode(out, (struct str){first, GRPC_FRAME_HEAD + (body.n > 0)});
    if (body.n > 1) base64_encode(out, (struct str){body.p + 1, body.n - 1});
}

static void put_lines(struct buf *out, const struct headers *trailers) {
    for (size_t i = 0; i < trailers->n; i++) {
        buf_append_str(out, trailers->items[i].name);
        buf_append(out, ": ", 2);
        buf_append_str(out, trailers->items[i].value);
        buf_append(out, "\r\n", 2);
    }
}

void grpc_web_put_trailers(struct buf *out, const struct headers *trailers, enum grpc_web how) {
    unsigned char head[GRPC_FRAME_HEAD];
    struct buf lines = {0};
    put_lines(&lines, trailers);
    grpc_frame_head(head, lines.n, false);
    head[0] = TRAILERS_FLAG;
    if (how == GRPC_WEB_TEXT) {
        grpc_web_put_text(out, head, buf_str(&lines));
    } else {
        buf_append(out, head, sizeof head);
        buf_append_str(out, buf_str(&lines));
    }
    out->failed = out->failed || lines.failed;
    buf_free(&lines);
}
