// SPDX-License-Identifier: Apache-2.0
// gzip of messages: there and back, what is damaged, and what is a bomb.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/grpc_frame.h"

#include <stdlib.h>
#include <zlib.h>

#define MAX (4 * 1024 * 1024)

static struct gzip gzip;

// A copy on the heap without anything behind it, so that the sanitizer sees what is read beyond.
static int unpack(struct str packed, size_t max, struct blob **message, struct err *err) {
    char *copy = malloc(packed.n == 0 ? 1 : packed.n);
    assert_non_null(copy);
    if (packed.n > 0) memcpy(copy, packed.p, packed.n);
    int rc = gzip_unpack(&gzip, (struct str){copy, packed.n}, max, message, err);
    free(copy);
    return rc;
}

static void expect_damaged(struct str packed) {
    struct blob *message = NULL;
    struct err err = {0};
    assert_int_equal(unpack(packed, MAX, &message, &err), -STATUS_INTERNAL);
    assert_null(message);
    assert_true(err.text[0] != '\0');
}

// zlib's own gzip of n bytes of `byte`, as a peer makes it.
static struct buf member(size_t n, int byte) {
    struct buf out = {0};
    z_stream z = {0};
    static unsigned char piece[65536];
    memset(piece, byte, sizeof piece);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    do {
        size_t more = n < sizeof piece ? n : sizeof piece;
        z.next_in = piece;
        z.avail_in = (unsigned)more;
        n -= more;
        do {
            assert_true(buf_reserve(&out, 4096));
            z.next_out = (unsigned char *)buf_p(&out) + out.n;
            z.avail_out = 4096;
            assert_true(deflate(&z, n == 0 ? Z_FINISH : Z_NO_FLUSH) >= 0);
            out.n += 4096 - z.avail_out;
        } while (z.avail_out == 0);
    } while (n > 0);
    deflateEnd(&z);
    return out;
}

static void test_there_and_back(void **state) {
    (void)state;
    for (size_t n = GZIP_LEAST; n < 100000; n = n * 3 / 2 + 1) {
        char *text = malloc(n);
        assert_non_null(text);
        for (size_t i = 0; i < n; i++) text[i] = (char)('a' + i * i % 7);
        struct blob *packed = gzip_pack(&gzip, (struct str){text, n});
        struct blob *message = NULL;
        if (n > 200) {
            assert_non_null(packed);
            assert_true(packed->n < n);
        }
        if (packed != NULL) {
            assert_int_equal(unpack(blob_str(packed), n, &message, NULL), 0);
            assert_int_equal(message->n, n);
            assert_memory_equal(message->p, text, n);
            blob_drop(message);
            message = NULL;
            assert_int_equal(unpack(blob_str(packed), n - 1, &message, NULL),
                             -STATUS_RESOURCE_EXHAUSTED);
        }
        blob_drop(packed);
        free(text);
    }
}

static void test_not_worth_it(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text);
    assert_null(gzip_pack(&gzip, (struct str){text, 0}));
    assert_null(gzip_pack(&gzip, (struct str){text, GZIP_LEAST - 1}));
    uint64_t x = 88172645463325252;
    for (size_t i = 0; i < sizeof text; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        text[i] = (char)x;
    }
    assert_null(gzip_pack(&gzip, (struct str){text, sizeof text}));
}

static void test_empty_message(void **state) {
    (void)state;
    struct buf packed = member(0, 0);
    struct blob *message = NULL;
    assert_int_equal(unpack(buf_str(&packed), MAX, &message, NULL), 0);
    assert_int_equal(message->n, 0);
    blob_drop(message);
    buf_free(&packed);
}

static void test_cut_off(void **state) {
    (void)state;
    struct buf packed = member(3000, 'q');
    for (size_t n = 0; n < packed.n; n++) expect_damaged((struct str){buf_p(&packed), n});
    buf_free(&packed);
}

static void test_every_byte_flipped(void **state) {
    (void)state;
    struct buf packed = member(300, 'q');
    for (size_t i = 0; i < packed.n; i++) {
        struct blob *message = NULL;
        buf_p(&packed)[i] ^= 0x55;
        int rc = unpack(buf_str(&packed), MAX, &message, NULL);
        buf_p(&packed)[i] ^= 0x55;
        // The time and the operating system in the head say nothing of the content.
        if (rc == 0) {
            assert_true(i >= 4 && i < 10);
            assert_int_equal(message->n, 300);
        } else {
            assert_null(message);
        }
        blob_drop(message);
    }
    buf_free(&packed);
}

static void test_something_behind(void **state) {
    (void)state;
    struct buf one = member(500, 'a'), two = member(500, 'b'), both = {0}, trailed = {0};
    buf_append_str(&both, buf_str(&one));
    buf_append_str(&both, buf_str(&two));
    expect_damaged(buf_str(&both));
    buf_append_str(&trailed, buf_str(&one));
    buf_append_byte(&trailed, 0);
    expect_damaged(buf_str(&trailed));
    buf_free(&one);
    buf_free(&two);
    buf_free(&both);
    buf_free(&trailed);
}

static void put_length(struct buf *packed, uint32_t length) {
    unsigned char *p = (unsigned char *)buf_p(packed) + packed->n - 4;
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(length >> 8 * i);
}

static void test_bombs(void **state) {
    (void)state;
    struct buf bomb = member((size_t)64 << 20, 0);
    struct blob *message = NULL;
    struct err err = {0};
    assert_true(bomb.n < 100000);
    assert_int_equal(unpack(buf_str(&bomb), MAX, &message, &err), -STATUS_RESOURCE_EXHAUSTED);
    assert_null(message);
    put_length(&bomb, 10); // says less than it has
    expect_damaged(buf_str(&bomb));
    put_length(&bomb, MAX);
    expect_damaged(buf_str(&bomb));
    put_length(&bomb, 0);
    expect_damaged(buf_str(&bomb));
    put_length(&bomb, UINT32_MAX); // more than so few bytes can hold
    expect_damaged(buf_str(&bomb));
    buf_free(&bomb);
    struct buf small = member(100, 'x');
    put_length(&small, 101);
    expect_damaged(buf_str(&small));
    put_length(&small, 99);
    expect_damaged(buf_str(&small));
    buf_free(&small);
}

static void test_usable_after_faults(void **state) {
    (void)state;
    struct buf packed = member(1000, 'k');
    struct blob *message = NULL;
    expect_damaged((struct str){buf_p(&packed), packed.n - 5});
    assert_int_equal(unpack(buf_str(&packed), MAX, &message, NULL), 0);
    assert_int_equal(message->n, 1000);
    blob_drop(message);
    buf_free(&packed);
}

// ---- in frames

static void put_frame(struct buf *out, bool compressed, struct str body) {
    unsigned char head[GRPC_FRAME_HEAD];
    grpc_frame_head(head, body.n, compressed);
    buf_append(out, head, sizeof head);
    buf_append_str(out, body);
}

static void test_frames_in_pieces(void **state) {
    (void)state;
    struct buf packed = member(700, 'f'), bytes = {0};
    put_frame(&bytes, true, buf_str(&packed));
    put_frame(&bytes, false, str_of("plain"));
    put_frame(&bytes, true, buf_str(&packed));
    for (size_t piece = 1; piece <= bytes.n; piece++) {
        struct grpc_frame f = {.max = 1000, .gzip = &gzip};
        size_t at = 0, seen = 0;
        while (at < bytes.n) {
            size_t n = piece < bytes.n - at ? piece : bytes.n - at;
            struct str rest = {buf_p(&bytes) + at, n};
            at += n;
            while (rest.n > 0) {
                struct blob *message;
                int rc = grpc_frame_feed(&f, &rest, &message, NULL);
                assert_true(rc >= 0);
                if (rc == 0) break;
                assert_int_equal(f.compressed, seen != 1);
                assert_int_equal(message->n, seen == 1 ? 5 : 700);
                blob_drop(message);
                seen++;
            }
        }
        assert_int_equal(seen, 3);
        assert_true(grpc_frame_between(&f));
        grpc_frame_free(&f);
    }
    buf_free(&packed);
    buf_free(&bytes);
}

static void test_frame_without_encoding(void **state) {
    (void)state;
    struct buf bytes = {0};
    struct grpc_frame f = {.max = 1000};
    struct blob *message;
    struct err err = {0};
    put_frame(&bytes, true, str_of("x"));
    struct str rest = buf_str(&bytes);
    assert_int_equal(grpc_frame_feed(&f, &rest, &message, &err), -STATUS_INTERNAL);
    grpc_frame_free(&f);
    buf_free(&bytes);
}

static void test_frame_kept_packed(void **state) {
    (void)state;
    struct buf packed = member(700, 'p'), bytes = {0};
    struct grpc_frame f = {.max = 1000, .gzip = &gzip, .keep_packed = true};
    struct blob *message;
    put_frame(&bytes, true, buf_str(&packed));
    struct str rest = buf_str(&bytes);
    assert_int_equal(grpc_frame_feed(&f, &rest, &message, NULL), 1);
    assert_true(f.compressed && str_equal(blob_str(message), buf_str(&packed)));
    blob_drop(message);
    grpc_frame_free(&f);
    buf_free(&packed);
    buf_free(&bytes);
}

static int end(void **state) {
    (void)state;
    gzip_free(&gzip);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_not_worth_it),
        cmocka_unit_test(test_empty_message),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_something_behind),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_usable_after_faults),
        cmocka_unit_test(test_frames_in_pieces),
        cmocka_unit_test(test_frame_without_encoding),
        cmocka_unit_test(test_frame_kept_packed),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
