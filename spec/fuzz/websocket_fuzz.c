// SPDX-License-Identifier: Apache-2.0
// WebSocket frames from a client: in pieces the same messages are seen as in one, texts are UTF-8, no message is longer than
// the limit, and who feeds can stop between any two. The first byte chooses the pieces.
#include "fuzz.h"

#include "base/encode.h"
#include "net/websocket.h"

#define MAX 300

static void note(struct buf *seen, const struct websocket_message *m) {
    buf_append_byte(seen, (char)m->kind);
    buf_printf(seen, "%u:", m->code);
    buf_append_str(seen, m->body != NULL ? blob_str(m->body) : m->control);
    buf_append_byte(seen, '\n');
}

static void check(const struct websocket_message *m) {
    bool data = m->kind == WEBSOCKET_TEXT || m->kind == WEBSOCKET_BINARY;
    must(data == (m->body != NULL));
    must(blob_str(m->body).n <= MAX && m->control.n <= WEBSOCKET_CONTROL_MAX);
    if (m->kind == WEBSOCKET_TEXT) must(utf8_valid(blob_str(m->body)));
    if (m->kind == WEBSOCKET_CLOSE)
        must(m->code == WEBSOCKET_NO_CODE || websocket_code_valid(m->code));
}

static int run(struct str bytes, size_t piece, struct buf *seen) {
    struct websocket w;
    websocket_create(&w, MAX);
    int rc = 0;
    while (bytes.n > 0 && rc >= 0) {
        struct str part = {bytes.p, bytes.n < piece ? bytes.n : piece};
        size_t n = part.n;
        char *copy = input_copy(part);
        part.p = copy;
        while (part.n > 0 && rc >= 0) {
            struct websocket_message m;
            rc = websocket_feed(&w, &part, &m);
            if (rc == 1) {
                check(&m);
                note(seen, &m);
                blob_drop(m.body);
            }
            must(rc != 0 || part.n == 0);
        }
        free(copy);
        must(w.message.n <= MAX);
        bytes.p += n;
        bytes.n -= n;
    }
    if (rc < 0) must(w.fault != NULL);
    if (rc >= 0 && !w.begun) must(w.frames == NULL);
    websocket_destroy(&w);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 1) return 0;
    struct str bytes = {(const char *)data + 1, n - 1};
    struct buf whole = {0}, pieces = {0};
    int first = run(bytes, SIZE_MAX, &whole);
    int second = run(bytes, data[0] % 40 + 1, &pieces);
    must(first < 0 ? first == second : second >= 0);
    must(str_equal(buf_str(&whole), buf_str(&pieces)));
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
