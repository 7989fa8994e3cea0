// SPDX-License-Identifier: Apache-2.0
// The frame parser. Memory grows with what has arrived, not with what a head announces: a peer that announces 4 MB on many
// streams and sends nothing costs nothing.
#include "rpc/grpc_frame.h"

#include <assert.h>

#define FIRST_RESERVE (16 * 1024)

static size_t take(struct str *bytes, size_t most) {
    size_t n = bytes->n < most ? bytes->n : most;
    bytes->p += n;
    bytes->n -= n;
    return n;
}

static int head_whole(struct grpc_frame *f, struct err *err) {
    f->length =
        (size_t)f->head[1] << 24 | (size_t)f->head[2] << 16 | (size_t)f->head[3] << 8 | f->head[4];
    if (f->head[0] > 1)
        return err_set(err, STATUS_INTERNAL, "a frame has the unknown flags %u", f->head[0]);
    f->compressed = f->head[0] == 1;
    if (f->compressed && f->gzip == NULL)
        return err_set(err, STATUS_INTERNAL,
                       "a message is flagged as compressed, but the call has no grpc-encoding");
    if (f->length > f->max)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "a message of %zu bytes is longer than the limit of %zu", f->length, f->max);
    return 0;
}

// `bytes` are the message; `take` holds them, or is NULL when they are somebody else's.
static int whole(struct grpc_frame *f, struct str bytes, struct blob *take, struct blob **message,
                 struct err *err) {
    f->head_n = 0;
    if (f->compressed && !f->keep_packed) {
        int rc = gzip_unpack(f->gzip, bytes, f->max, message, err);
        blob_drop(take);
        return rc < 0 ? rc : 1;
    }
    if (take == NULL) take = blob_new(bytes.p, bytes.n);
    if (take == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    *message = take;
    return 1;
}

int grpc_frame_feed(struct grpc_frame *f, struct str *bytes, struct blob **message,
                    struct err *err) {
    assert(f->head_n <= GRPC_FRAME_HEAD);
    if (f->head_n < GRPC_FRAME_HEAD) {
        const char *from = bytes->p;
        size_t n = take(bytes, GRPC_FRAME_HEAD - f->head_n);
        if (n > 0) memcpy(f->head + f->head_n, from, n);
        f->head_n += (unsigned)n;
        if (f->head_n < GRPC_FRAME_HEAD) return 0;
        int rc = head_whole(f, err);
        if (rc < 0) return rc;
    }
    if (f->body.n == 0 && bytes->n >= f->length) { // the usual case: it is all here
        const char *from = bytes->p;
        take(bytes, f->length);
        return whole(f, (struct str){from, f->length}, NULL, message, err);
    }
    if (f->body.n == 0)
        buf_reserve(&f->body, f->length < FIRST_RESERVE ? f->length : FIRST_RESERVE);
    const char *from = bytes->p;
    buf_append(&f->body, from, take(bytes, f->length - f->body.n));
    if (f->body.failed) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    if (f->body.n < f->length) return 0;
    struct blob *body = buf_take(&f->body);
    return whole(f, blob_str(body), body, message, err);
}

bool grpc_frame_between(const struct grpc_frame *f) { return f->head_n == 0; }

void grpc_frame_free(struct grpc_frame *f) { buf_free(&f->body); }

void grpc_frame_head(unsigned char head[GRPC_FRAME_HEAD], size_t length, bool compressed) {
    assert(length <= UINT32_MAX);
    head[0] = compressed;
    head[1] = (unsigned char)(length >> 24);
    head[2] = (unsigned char)(length >> 16);
    head[3] = (unsigned char)(length >> 8);
    head[4] = (unsigned char)length;
}
