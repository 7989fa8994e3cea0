// SPDX-License-Identifier: Apache-2.0
// gzip of whole messages, by zlib.
//
// Unpacking. The last four bytes of a member are the length of what is in it (RFC 1952 section 2.3.1). It is believed only as
// far as it costs nothing: one that says more than the limit, or more than its bytes could hold (deflate reaches 1032 to 1), is
// refused before anything is inflated; else exactly that many bytes are made, and a member with more or fewer in it is
// damaged. So a bomb costs at most the limit, one that lies costs what it admits to, and a message is written once, to where it
// stays.
//
// Packing. At zlib's fastest level, since it happens on an I/O loop, whose time all its connections share; that level is about
// two to four times as fast as the usual one for at most a quarter more bytes. The output has no room for as many bytes as the input, so
// zlib gives up by itself on what does not become shorter.
#include "rpc/grpc_gzip.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#define GZIP_WINDOW (15 + 16) // 32 KB, and gzip's head and trailer (zlib's inflateInit2)
#define MEMORY_LEVEL 8
#define MEMBER_LEAST 20 // head 10, an empty deflate block 2, trailer 8
#define MOST_RATIO 1032

static z_stream *stream_new(void) { return calloc(1, sizeof(z_stream)); }

// Ready for the next message; false: no memory.
static bool inflate_ready(struct gzip *g) {
    if (g->inflate != NULL) return inflateReset(g->inflate) == Z_OK;
    g->inflate = stream_new();
    if (g->inflate != NULL && inflateInit2(g->inflate, GZIP_WINDOW) == Z_OK) return true;
    free(g->inflate);
    g->inflate = NULL;
    return false;
}

static bool deflate_ready(struct gzip *g) {
    if (g->deflate != NULL) return deflateReset(g->deflate) == Z_OK;
    g->deflate = stream_new();
    if (g->deflate != NULL && deflateInit2(g->deflate, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW,
                                           MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK)
        return true;
    free(g->deflate);
    g->deflate = NULL;
    return false;
}

static size_t claimed_length(struct str from) {
    const unsigned char *p = (const unsigned char *)from.p + from.n - 4;
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

static int damaged(struct err *err) {
    return err_set(err, STATUS_INTERNAL,
                   "a compressed message is not one whole and undamaged gzip member");
}

int gzip_unpack(struct gzip *g, struct str from, size_t max, struct blob **message,
                struct err *err) {
    assert(max <= UINT32_MAX && from.n <= UINT32_MAX);
    if (from.n < MEMBER_LEAST || memcmp(from.p, "\x1f\x8b\x08", 3) != 0) return damaged(err);
    size_t length = claimed_length(from);
    if (length / MOST_RATIO > from.n) return damaged(err);
    if (length > max)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED,
                       "a message of %zu bytes, decompressed, is longer than the limit of %zu",
                       length, max);
    struct blob *out = blob_new(NULL, length);
    if (out == NULL || !inflate_ready(g)) {
        blob_drop(out);
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    }
    z_stream *z = g->inflate;
    unsigned char nothing; // zlib wants a place even for no bytes
    z->next_in = (unsigned char *)(uintptr_t)from.p;
    z->avail_in = (unsigned)from.n;
    z->next_out = length > 0 ? (unsigned char *)out->p : &nothing;
    z->avail_out = (unsigned)length;
    int rc = inflate(z, Z_FINISH);
    if (rc != Z_STREAM_END || z->avail_in > 0 || z->avail_out > 0) {
        blob_drop(out);
        return damaged(err);
    }
    *message = out;
    return 0;
}

struct blob *gzip_pack(struct gzip *g, struct str body) {
    struct buf out = {0};
    if (body.n < GZIP_LEAST || body.n > UINT32_MAX || !deflate_ready(g)) return NULL;
    size_t room = deflateBound(g->deflate, body.n);
    if (room >= body.n) room = body.n - 1;
    if (!buf_reserve(&out, room)) return NULL;
    z_stream *z = g->deflate;
    z->next_in = (unsigned char *)(uintptr_t)body.p;
    z->avail_in = (unsigned)body.n;
    z->next_out = (unsigned char *)buf_p(&out);
    z->avail_out = (unsigned)room;
    struct blob *packed = NULL;
    // What stays is as long as it says, not as the room that was made for it.
    if (deflate(z, Z_FINISH) == Z_STREAM_END) packed = blob_new(buf_p(&out), room - z->avail_out);
    buf_free(&out);
    return packed;
}

void gzip_free(struct gzip *g) {
    if (g->inflate != NULL) inflateEnd(g->inflate);
    if (g->deflate != NULL) deflateEnd(g->deflate);
    free(g->inflate);
    free(g->deflate);
    *g = (struct gzip){0};
}
