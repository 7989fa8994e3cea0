// SPDX-License-Identifier: Apache-2.0
// gRPC's framing: a limit, then the bytes of a stream. They are fed whole, in pieces of sizes that the bytes themselves
// choose, and through an intake that gets its credit little by little: the same messages come out, or a fault. Where the limit is
// odd the call has gzip as its encoding.
#include "fuzz.h"

#include "rpc/intake.h"

static struct gzip gzip;

static struct gzip *gzip_of(size_t max) { return max / 16 % 2 == 0 ? NULL : &gzip; }

struct seen {
    struct intake intake; // first
    struct buf messages;  // each with its length in front
    unsigned count;
};

static int keep(struct seen *s, struct blob *take) {
    uint32_t n = (uint32_t)take->n;
    buf_append(&s->messages, &n, sizeof n);
    buf_append_str(&s->messages, blob_str(take));
    s->count++;
    blob_drop(take);
    return 0;
}

static int on_item(struct intake *in, struct blob *take) { return keep((struct seen *)in, take); }

// The whole, at most `piece` bytes at a time (0: all at once).
static int feed(struct seen *s, struct str bytes, size_t max, size_t piece) {
    struct grpc_frame frame = {.max = max, .gzip = gzip_of(max)};
    struct err err = {0};
    int rc = 0;
    while (bytes.n > 0 && rc >= 0) {
        struct str part = {bytes.p, piece == 0 || piece > bytes.n ? bytes.n : piece};
        char *copy = input_copy(part);
        struct str left = {copy, part.n};
        while (left.n > 0 && rc >= 0) {
            struct blob *message = NULL;
            rc = grpc_frame_feed(&frame, &left, &message, &err);
            must(rc != 1 || message->n <= max);
            if (rc == 1) keep(s, message);
            must(rc != 0 || left.n == 0);
        }
        free(copy);
        bytes.p += part.n;
        bytes.n -= part.n;
        if (piece != 0) piece = 1 + (piece * 7 + (unsigned char)part.p[0]) % 40;
    }
    must(rc >= 0 || err.text[0] != '\0');
    grpc_frame_free(&frame);
    return rc < 0 ? rc : 0;
}

static int by_intake(struct seen *s, struct str bytes, size_t max, size_t piece) {
    struct err err = {0};
    intake_create(&s->intake, max, on_item);
    s->intake.credit = 0;
    s->intake.frame.gzip = gzip_of(max);
    int rc = 0;
    while (bytes.n > 0 && rc >= 0) {
        struct str part = {bytes.p, piece > bytes.n ? bytes.n : piece};
        char *copy = input_copy(part);
        rc = intake_data(&s->intake, NULL, (struct str){copy, part.n}, &err);
        free(copy);
        bytes.p += part.n;
        bytes.n -= part.n;
        if (rc >= 0 && part.p[0] % 3 == 0)
            rc = intake_credit(&s->intake, NULL, (unsigned char)part.p[0], &err);
        piece = 1 + (piece * 5 + (unsigned char)part.p[0]) % 60;
    }
    while (rc >= 0 && !intake_empty(&s->intake)) rc = intake_credit(&s->intake, NULL, 100000, &err);
    intake_destroy(&s->intake);
    return rc < 0 ? rc : 0;
}

static void same(const struct seen *a, int rc_a, const struct seen *b, int rc_b) {
    must(rc_a == rc_b && a->count == b->count);
    must(str_equal(buf_str(&a->messages), buf_str(&b->messages)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    size_t max = (size_t)input_byte(&in) * 16, piece = 1 + input_byte(&in) % 16;
    struct str bytes = input_rest(&in);
    struct seen whole = {.count = 0}, pieces = {.count = 0}, credit = {.count = 0};
    int rc = feed(&whole, bytes, max, 0);
    int rc_pieces = feed(&pieces, bytes, max, piece);
    int rc_credit = by_intake(&credit, bytes, max, piece);
    same(&whole, rc, &pieces, rc_pieces);
    same(&whole, rc, &credit, rc_credit);
    buf_free(&whole.messages);
    buf_free(&pieces.messages);
    buf_free(&credit.messages);
    return 0;
}
