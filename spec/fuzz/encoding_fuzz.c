// SPDX-License-Identifier: Apache-2.0
// Content codings: a byte that chooses one and a byte for the size of pieces. What a peer sends is decoded within bounds, and always
// goes on or ends; the same bytes encoded and decoded again are the same, however they are cut; the names in headers are read.
#include "fuzz.h"

#include "net/encoding.h"

#define MOST (256 * 1024)

// Decodes at most MOST bytes; false: damaged.
static bool decode(enum encoding which, struct str from, size_t piece, struct buf *to,
                   bool *whole) {
    struct decoder *d = decoder_new(which);
    must(d != NULL);
    char room[700];
    bool sound = true;
    while (from.n > 0 && sound && to->n < MOST) {
        struct str part = {from.p, from.n < piece ? from.n : piece};
        char *copy = input_copy(part);
        struct str rest = {copy, part.n};
        ssize_t made = 0;
        do {
            size_t before = rest.n;
            made = decoder_pull(d, &rest, room, sizeof room);
            sound = made >= 0;
            if (!sound) break;
            must((size_t)made <= sizeof room && rest.n <= before);
            sound = made > 0 || rest.n < before || rest.n == 0; // stuck: damaged
            buf_append(to, room, (size_t)made);
        } while (sound && (rest.n > 0 || made == (ssize_t)sizeof room) && to->n < MOST);
        free(copy);
        from = (struct str){from.p + part.n, from.n - part.n};
    }
    *whole = decoder_whole(d);
    decoder_delete(d);
    return sound;
}

static void there_and_back(enum encoding which, struct str text, size_t piece) {
    static struct encoders pool;
    struct buf packed = {0};
    struct buf back = {0};
    pool.spent = 0;
    struct encoder *e = encoders_take(&pool, which);
    must(e != NULL);
    for (size_t at = 0; at < text.n; at += piece) {
        struct str part = {text.p + at, text.n - at < piece ? text.n - at : piece};
        enum encoder_op op = (unsigned char)part.p[0] % 3 == 0 ? ENCODER_FLUSH : ENCODER_MORE;
        must(encoder_push(&pool, e, part, op, &packed) == 0);
    }
    must(encoder_push(&pool, e, str_of(""), ENCODER_END, &packed) == 0);
    encoders_give(&pool, e);
    bool whole;
    must(decode(which, buf_str(&packed), piece, &back, &whole) && whole);
    must(str_equal(buf_str(&back), text));
    buf_free(&packed);
    buf_free(&back);
    encoders_free(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum encoding WHICH[] = {ENCODING_GZIP, ENCODING_BR, ENCODING_DEFLATE};
    struct input in = {data, size};
    uint8_t choice = input_byte(&in);
    size_t piece = 1 + input_byte(&in);
    struct str bytes = input_rest(&in);
    enum encoding which = WHICH[choice % 3];
    struct buf out = {0};
    bool whole;
    decode(which, bytes, piece, &out, &whole);
    buf_free(&out);
    there_and_back(choice % 2 ? ENCODING_GZIP : ENCODING_BR, bytes, piece);
    must(encoding_of(bytes) <= ENCODING_UNKNOWN);
    enum encoding chosen = encoding_choose(bytes);
    must(chosen == ENCODING_NONE || chosen == ENCODING_GZIP || chosen == ENCODING_BR);
    encoding_worth(bytes);
    return 0;
}
