// SPDX-License-Identifier: Apache-2.0
// WebSocket frames: what comes in is put together whatever the pieces, what is broken is refused with the right code, and a
// reader between frames holds nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/websocket.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX 1000

// A masked frame as a client sends it; `first` is its first byte.
static void put_frame(struct buf *out, unsigned first, const char *payload, size_t n) {
    static const unsigned char MASK[4] = {0x12, 0x34, 0x56, 0x78};
    buf_append_byte(out, (char)first);
    if (n < 126) {
        buf_append_byte(out, (char)(0x80 | n));
    } else {
        buf_append_byte(out, (char)(0x80 | 126));
        buf_append_byte(out, (char)(n >> 8));
        buf_append_byte(out, (char)n);
    }
    buf_append(out, MASK, 4);
    for (size_t i = 0; i < n; i++)
        buf_append_byte(out, (char)((unsigned char)payload[i] ^ MASK[i % 4]));
}

static void put_text(struct buf *out, unsigned first, const char *payload) {
    put_frame(out, first, payload, strlen(payload));
}

// Feeds all in pieces; what was read as text: "T:hello", "C1000:bye". Negative: of websocket_feed.
static int read_all(struct str bytes, size_t piece, struct buf *log, const char **fault) {
    struct websocket w;
    websocket_create(&w, MAX);
    int rc = 0;
    while (bytes.n > 0 && rc >= 0) {
        size_t n = bytes.n < piece ? bytes.n : piece;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, bytes.p, n);
        struct str part = {copy, n};
        while (part.n > 0 && rc >= 0) {
            struct websocket_message m;
            rc = websocket_feed(&w, &part, &m);
            if (rc != 1) continue;
            bool data = m.kind == WEBSOCKET_TEXT || m.kind == WEBSOCKET_BINARY;
            static const char NAMES[] = " TB     CPO";
            buf_printf(log, "%c", NAMES[m.kind]);
            if (m.kind == WEBSOCKET_CLOSE) buf_printf(log, "%u", m.code);
            buf_append_byte(log, ':');
            buf_append_str(log, data ? blob_str(m.body) : m.control);
            buf_append_byte(log, '\n');
            blob_drop(m.body);
        }
        free(copy);
        bytes.p += n;
        bytes.n -= n;
    }
    if (rc >= 0 && w.kind == 0 && !w.begun) assert_null(w.frames);
    *fault = w.fault;
    websocket_destroy(&w);
    return rc;
}

// Whole, by bytes and by threes it must come to the same.
static void check(struct buf *bytes, int code, const char *expected) {
    static const size_t PIECES[] = {1, 3, 7, 100000};
    for (size_t i = 0; i < sizeof PIECES / sizeof PIECES[0]; i++) {
        struct buf log = {0};
        const char *fault = NULL;
        int rc = read_all(buf_str(bytes), PIECES[i], &log, &fault);
        if (code != 0) {
            assert_int_equal(rc, -code);
            assert_non_null(fault);
        } else {
            assert_true(rc >= 0);
        }
        assert_string_equal(buf_cstr(&log), expected);
        buf_free(&log);
    }
    buf_free(bytes);
}

static void test_messages(void **state) {
    (void)state;
    struct buf b = {0};
    put_text(&b, 0x81, "hello");
    put_text(&b, 0x82, "\x01\x02");
    put_text(&b, 0x81, "");
    put_text(&b, 0x89, "are you there");
    put_text(&b, 0x8A, "");
    put_text(&b, 0x81,
             "Gr\xC3\xBC\xC3\x9F"
             "e");
    put_text(&b, 0x88,
             "\x03\xE8"
             "bye");
    check(&b, 0,
          "T:hello\nB:\x01\x02\nT:\nP:are you there\nO:\nT:Gr\xC3\xBC\xC3\x9F"
          "e\nC1000:bye\n");
}

static void test_fragments(void **state) {
    (void)state;
    struct buf b = {0};
    put_text(&b, 0x01, "one ");
    put_text(&b, 0x00, "");
    put_text(&b, 0x89, "ping in between");
    put_text(&b, 0x00, "two \xC3"); // a character may be cut in two
    put_text(&b, 0x80, "\xA4");
    put_text(&b, 0x02, "a");
    put_text(&b, 0x80, "");
    check(&b, 0, "P:ping in between\nT:one two \xC3\xA4\nB:a\n");
}

static void test_long(void **state) {
    (void)state;
    char text[MAX + 1];
    memset(text, 'x', sizeof text);
    struct buf b = {0}, expected = {0};
    put_frame(&b, 0x81, text, MAX);
    buf_append_text(&expected, "T:");
    buf_append(&expected, text, MAX);
    buf_append_byte(&expected, '\n');
    check(&b, 0, buf_cstr(&expected));
    buf_free(&expected);
    put_frame(&b, 0x81, text, MAX + 1);
    check(&b, WEBSOCKET_TOO_BIG, "");
    put_frame(&b, 0x01, text, MAX);
    put_text(&b, 0x80, "1");
    check(&b, WEBSOCKET_TOO_BIG, "");
    buf_append(&b,
               "\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
               "abcdX",
               15); // 2^63 - 1 bytes
    check(&b, WEBSOCKET_TOO_BIG, "");
}

static void test_broken(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        int code;
    } ROWS[] = {
        {"\x81\x01X", 3, WEBSOCKET_BROKEN}, // not masked
        {"\x81\x00", 2, WEBSOCKET_BROKEN},  // nor that one
        {"\xC1\x80"
         "abcd",
         6, WEBSOCKET_BROKEN}, // a reserved bit
        {"\x83\x80"
         "abcd",
         6, WEBSOCKET_BROKEN}, // no such opcode
        {"\x8B\x80"
         "abcd",
         6, WEBSOCKET_BROKEN}, // nor that
        {"\x80\x80"
         "abcd",
         6, WEBSOCKET_BROKEN}, // continues nothing
        {"\x09\x80"
         "abcd",
         6, WEBSOCKET_BROKEN}, // a ping in pieces
        {"\x89\xFE\x00\x7E"
         "abcd",
         8, WEBSOCKET_BROKEN}, // a ping of 126 bytes
        {"\x81\xFE\x00\x05"
         "abcd",
         8, WEBSOCKET_BROKEN}, // a length in more bytes than needed
        {"\x81\xFF\x80\x00\x00\x00\x00\x00\x00\x00", 10, WEBSOCKET_BROKEN}, // 2^63 bytes
        {"\x88\x81\x00\x00\x00\x00"
         "a",
         7, WEBSOCKET_BROKEN},                                     // half a close code
        {"\x88\x82\x00\x00\x00\x00\x03\xED", 8, WEBSOCKET_BROKEN}, // 1005 is never sent
        {"\x88\x82\x00\x00\x00\x00\x00\x01", 8, WEBSOCKET_BROKEN}, // 1 is none
        {"\x88\x83\x00\x00\x00\x00\x03\xE8\xFF", 9, WEBSOCKET_BROKEN_TEXT},
        {"\x81\x81\x00\x00\x00\x00\xC3", 7, WEBSOCKET_BROKEN_TEXT},         // cut off
        {"\x81\x83\x00\x00\x00\x00\xED\xA0\x80", 9, WEBSOCKET_BROKEN_TEXT}, // a surrogate
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct buf b = {0};
        put_text(&b, 0x81, "before");
        buf_append(&b, ROWS[i].bytes, ROWS[i].n);
        check(&b, ROWS[i].code, "T:before\n");
    }
    struct buf b = {0};
    put_text(&b, 0x01, "begun");
    put_text(&b, 0x81, "another");
    check(&b, WEBSOCKET_BROKEN, "");
}

// What is not the message's stays with who feeds: so it can stop between two.
static void test_exact(void **state) {
    (void)state;
    struct buf b = {0};
    put_text(&b, 0x81, "one");
    size_t first = b.n;
    put_text(&b, 0x81, "two");
    struct websocket w;
    struct websocket_message m;
    websocket_create(&w, MAX);
    struct str bytes = buf_str(&b);
    assert_int_equal(websocket_feed(&w, &bytes, &m), 1);
    assert_int_equal(bytes.n, b.n - first);
    blob_drop(m.body);
    assert_int_equal(websocket_feed(&w, &bytes, &m), 1);
    assert_int_equal(bytes.n, 0);
    assert_null(w.frames);
    blob_drop(m.body);
    websocket_destroy(&w);
    buf_free(&b);
}

static void test_crumbs(void **state) {
    (void)state;
    struct buf b = {0};
    put_text(&b, 0x01, "");
    for (int i = 0; i < 20; i++) put_text(&b, 0x00, "");
    put_text(&b, 0x89, "");
    struct websocket w;
    struct websocket_message m;
    websocket_create(&w, MAX);
    struct str bytes = buf_str(&b);
    assert_int_equal(websocket_feed(&w, &bytes, &m), 1);
    assert_int_equal(m.kind, WEBSOCKET_PING);
    assert_int_equal(w.crumbs, 21);
    websocket_destroy(&w);
    buf_free(&b);
}

static void test_heads(void **state) {
    (void)state;
    char out[WEBSOCKET_HEAD_MAX];
    assert_int_equal(websocket_head(out, WEBSOCKET_TEXT, 125), 2);
    assert_memory_equal(out, "\x81\x7D", 2);
    assert_int_equal(websocket_head(out, WEBSOCKET_BINARY, 126), 4);
    assert_memory_equal(out, "\x82\x7E\x00\x7E", 4);
    assert_int_equal(websocket_head(out, WEBSOCKET_PING, 0), 2);
    assert_memory_equal(out, "\x89\x00", 2);
    assert_int_equal(websocket_head(out, WEBSOCKET_TEXT, 65535), 4);
    assert_int_equal(websocket_head(out, WEBSOCKET_TEXT, 65536), 10);
    assert_memory_equal(out, "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00", 10);
}

static void test_close(void **state) {
    (void)state;
    char out[WEBSOCKET_CLOSE_MAX];
    assert_int_equal(websocket_close(out, 4005, (struct str){"no", 2}), 6);
    assert_memory_equal(out, "\x88\x04\x0F\xA5no", 6);
    assert_int_equal(websocket_close(out, WEBSOCKET_NO_CODE, (struct str){"no", 2}), 2);
    assert_memory_equal(out, "\x88\x00", 2);
    char text[200];
    memset(text, 'a', sizeof text);
    memcpy(text + 121, "\xE2\x82\xAC", 3); // 121 to 123: the last byte does not fit
    assert_int_equal(websocket_close(out, 1011, (struct str){text, sizeof text}), 4 + 121);
    assert_true(websocket_code_valid(1000) && websocket_code_valid(3000) &&
                websocket_code_valid(4016));
    assert_false(websocket_code_valid(999) || websocket_code_valid(1006) ||
                 websocket_code_valid(2999) || websocket_code_valid(5000));
}

static void test_accept(void **state) {
    (void)state;
    char out[WEBSOCKET_ACCEPT + 1];
    assert_true(websocket_accept(out, str_of("dGhlIHNhbXBsZSBub25jZQ=="))); // RFC 6455 section 1.3
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(websocket_accept(out, str_of("")));
    assert_false(websocket_accept(out, str_of("dGhlIHNhbXBsZSBub25jZQ")));
    assert_false(websocket_accept(out, str_of("dGhlIHNhbXBsZSBub25jZQ=!")));
    assert_false(websocket_accept(out, str_of("dGhlIHNhbXBsZSBub25jZWU=")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages), cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_long),     cmocka_unit_test(test_broken),
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_crumbs),
        cmocka_unit_test(test_heads),    cmocka_unit_test(test_close),
        cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
