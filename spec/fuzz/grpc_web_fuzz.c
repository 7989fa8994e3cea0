// SPDX-License-Identifier: Apache-2.0
// gRPC-Web's text from a peer: whole and in pieces it says the same bytes or is refused, and bytes that are written as text, frame by
// frame, are read again.
#include "fuzz.h"

#include "base/encode.h"
#include "rpc/grpc_web.h"

// At most `piece` characters at a time; each in a block of its own, so that reading beyond it is seen.
static bool decode(struct str text, size_t piece, struct buf *out, unsigned *left) {
    struct grpc_web_text state = {.n = 0};
    bool sound = true;
    while (text.n > 0 && sound) {
        size_t n = piece == 0 || piece > text.n ? text.n : piece;
        char *copy = input_copy((struct str){text.p, n});
        sound = grpc_web_decode(&state, (struct str){copy, n}, out);
        free(copy);
        if (piece != 0) piece = 1 + (piece * 7 + (unsigned char)text.p[0]) % 9;
        text = (struct str){text.p + n, text.n - n};
    }
    must(state.n < 4);
    *left = state.n;
    return sound;
}

static void same_in_pieces(struct str text, size_t piece) {
    struct buf whole = {0}, pieces = {0};
    unsigned left, left_pieces;
    bool sound = decode(text, 0, &whole, &left);
    must(decode(text, piece, &pieces, &left_pieces) == sound);
    if (sound) must(left == left_pieces && str_equal(buf_str(&whole), buf_str(&pieces)));
    must(whole.n <= text.n / 4 * 3);
    buf_free(&whole);
    buf_free(&pieces);
}

static void written_is_read(struct str bytes, size_t piece) {
    struct buf text = {0}, plain = {0}, read = {0};
    while (bytes.n > 0) {
        struct str body = {bytes.p, piece > bytes.n ? bytes.n : piece};
        unsigned char head[GRPC_FRAME_HEAD];
        grpc_frame_head(head, body.n, false);
        grpc_web_put_text(&text, head, body);
        buf_append(&plain, head, sizeof head);
        buf_append_str(&plain, body);
        bytes = (struct str){bytes.p + body.n, bytes.n - body.n};
    }
    unsigned left;
    must(decode(buf_str(&text), piece, &read, &left) && left == 0);
    must(str_equal(buf_str(&plain), buf_str(&read)));
    buf_free(&text);
    buf_free(&plain);
    buf_free(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    size_t piece = 1 + input_byte(&in) % 16;
    struct str rest = input_rest(&in);
    same_in_pieces(rest, piece);
    written_is_read(rest, piece);
    return 0;
}
