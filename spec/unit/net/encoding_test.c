// SPDX-License-Identifier: Apache-2.0
#include "net/encoding.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

static void test_names(void **state) {
    (void)state;
    assert_int_equal(encoding_of(str_of(" GZip ")), ENCODING_GZIP);
    assert_int_equal(encoding_of(str_of("x-gzip")), ENCODING_GZIP);
    assert_int_equal(encoding_of(str_of("br")), ENCODING_BR);
    assert_int_equal(encoding_of(str_of("deflate")), ENCODING_DEFLATE);
    assert_int_equal(encoding_of(str_of("")), ENCODING_NONE);
    assert_int_equal(encoding_of(str_of("identity")), ENCODING_NONE);
    assert_int_equal(encoding_of(str_of("gzip, br")), ENCODING_UNKNOWN);
    assert_int_equal(encoding_of(str_of("zstd")), ENCODING_UNKNOWN);
    assert_int_equal(encoding_of(str_of("gzipp")), ENCODING_UNKNOWN);
}

static void test_choice(void **state) {
    (void)state;
    static const struct {
        const char *accept;
        enum encoding chosen;
    } ROWS[] = {
        {"", ENCODING_NONE},
        {"gzip", ENCODING_GZIP},
        {"gzip, deflate, br", ENCODING_BR},
        {"br;q=0.5, gzip;q=0.8", ENCODING_GZIP},
        {"br;q=0.8, gzip;q=0.8", ENCODING_BR},
        {"br;q=0, gzip", ENCODING_GZIP},
        {"br;q=0.000,gzip;q=0.001", ENCODING_GZIP},
        {"gzip;q=0", ENCODING_NONE},
        {"*", ENCODING_BR},
        {"*;q=0", ENCODING_NONE},
        {"br;q=0, *", ENCODING_GZIP},
        {"gzip;q=0, *;q=0.5", ENCODING_BR},
        {"identity", ENCODING_NONE},
        {"identity;q=0, gzip", ENCODING_GZIP},
        {"deflate", ENCODING_NONE},
        {" GZIP ; Q=1.0 ", ENCODING_GZIP},
        {"x-gzip", ENCODING_GZIP},
        {"gzip;q=2", ENCODING_NONE},
        {"gzip;q=1.001", ENCODING_NONE},
        {"gzip;q=", ENCODING_NONE},
        {"gzip;q=0.1234", ENCODING_NONE},
        {"gzip;q=-1, br;q=x", ENCODING_NONE},
        {"gzip;level=9;q=0.5", ENCODING_GZIP},
        {",,;;,gzip", ENCODING_GZIP},
        {"zstd, compress", ENCODING_NONE},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        if (encoding_choose(str_of(ROWS[i].accept)) != ROWS[i].chosen)
            fail_msg("%s", ROWS[i].accept);
    }
}

static void test_types(void **state) {
    (void)state;
    static const char *const WORTH[] = {
        "application/json",         "text/html; charset=utf-8", "TEXT/CSS",
        "text/event-stream",        "application/problem+json", "image/svg+xml",
        "application/x-ndjson ;a=b"};
    static const char *const NOT[] = {"",
                                      "image/png",
                                      "video/mp4",
                                      "application/gzip",
                                      "application/grpc",
                                      "text/",
                                      "application/zip",
                                      "application/jso",
                                      "application/json5x",
                                      "font/woff2",
                                      "application/grpc-web+proto"};
    for (size_t i = 0; i < sizeof WORTH / sizeof WORTH[0]; i++)
        assert_true(encoding_worth(str_of(WORTH[i])));
    for (size_t i = 0; i < sizeof NOT / sizeof NOT[0]; i++) {
        if (encoding_worth(str_of(NOT[i]))) fail_msg("%s", NOT[i]);
    }
}

// Decodes all of it, in pieces of `in` bytes, `out` at a time. False: damaged, or not whole.
static bool decode(enum encoding which, struct str from, size_t in, size_t out, struct buf *to) {
    struct decoder *d = decoder_new(which);
    char *room = malloc(out);
    bool ok = true;
    for (size_t at = 0; at < from.n && ok;) {
        size_t n = from.n - at < in ? from.n - at : in;
        struct str piece = {from.p + at, n};
        ssize_t made;
        do {
            size_t before = piece.n;
            made = decoder_pull(d, &piece, room, out);
            ok = made >= 0 && !(made == 0 && piece.n > 0 && piece.n == before);
            if (made > 0) buf_append(to, room, (size_t)made);
        } while (ok && (piece.n > 0 || made == (ssize_t)out));
        at += n;
    }
    ok = ok && decoder_whole(d);
    free(room);
    decoder_delete(d);
    return ok;
}

static struct buf text_of(size_t n) {
    struct buf text = {0};
    for (unsigned i = 0; text.n < n; i++)
        buf_printf(&text, "{\"id\":%u,\"name\":\"n%u\"},", i, i % 97);
    text.n = n;
    return text;
}

static struct buf encode(struct encoders *pool, enum encoding which, struct str text, size_t piece,
                         bool flush) {
    struct buf out = {0};
    struct encoder *e = encoders_take(pool, which);
    assert_non_null(e);
    for (size_t at = 0; at < text.n; at += piece) {
        size_t n = text.n - at < piece ? text.n - at : piece;
        assert_int_equal(encoder_push(pool, e, (struct str){text.p + at, n},
                                      flush ? ENCODER_FLUSH : ENCODER_MORE, &out),
                         0);
    }
    assert_int_equal(encoder_push(pool, e, str_of(""), ENCODER_END, &out), 0);
    encoders_give(pool, e);
    pool->spent = 0; // the share of the time is not what is tested
    return out;
}

static void test_there_and_back(void **state) {
    (void)state;
    struct encoders pool = {0};
    static const size_t SIZES[] = {0, 1, 100, 5000, 70000, 400000};
    for (int which = ENCODING_GZIP; which <= ENCODING_BR; which++) {
        for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
            struct buf text = text_of(SIZES[i]);
            struct buf packed = encode(&pool, (enum encoding)which, buf_str(&text), 16384, i % 2);
            if (text.n > 1000) assert_true(packed.n < text.n / 2);
            for (size_t piece = 1; piece < 100000; piece = piece * 17 + 1) {
                struct buf back = {0};
                if (piece == 1 && packed.n > 5000) continue;
                assert_true(decode((enum encoding)which, buf_str(&packed), piece, 8192, &back));
                assert_true(str_equal(buf_str(&back), buf_str(&text)));
                buf_free(&back);
            }
            buf_free(&packed);
            buf_free(&text);
        }
    }
    encoders_free(&pool);
}

static void test_flush_shows_all(void **state) {
    (void)state;
    struct encoders pool = {0};
    for (int which = ENCODING_GZIP; which <= ENCODING_BR; which++) {
        struct encoder *e = encoders_take(&pool, (enum encoding)which);
        struct decoder *d = decoder_new((enum encoding)which);
        for (int i = 0; i < 5; i++) {
            struct buf out = {0};
            char room[100];
            char line[20];
            int n = snprintf(line, sizeof line, "message %d\n", i);
            encoder_push(&pool, e, (struct str){line, (size_t)n}, ENCODER_MORE, &out);
            encoder_push(&pool, e, str_of(""), ENCODER_FLUSH, &out);
            struct str rest = buf_str(&out);
            assert_int_equal(decoder_pull(d, &rest, room, sizeof room), n);
            assert_memory_equal(room, line, (size_t)n);
            assert_false(decoder_whole(d));
            buf_free(&out);
        }
        decoder_delete(d);
        encoders_give(&pool, e);
    }
    encoders_free(&pool);
}

static struct buf zlib_packed(struct str text, int bits) {
    struct buf out = {0};
    z_stream z = {0};
    buf_reserve(&out, text.n + 1000);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, bits, 8, 0), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text.p;
    z.avail_in = (unsigned)text.n;
    z.next_out = (unsigned char *)buf_p(&out);
    z.avail_out = (unsigned)(text.n + 1000);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.n = text.n + 1000 - z.avail_out;
    deflateEnd(&z);
    return out;
}

static void test_deflate_of_both_kinds(void **state) {
    (void)state;
    struct buf text = text_of(3000);
    for (int bits = -15; bits <= 15; bits += 30) {
        struct buf packed = zlib_packed(buf_str(&text), bits);
        struct buf back = {0};
        assert_true(decode(ENCODING_DEFLATE, buf_str(&packed), 7, 64, &back));
        assert_true(str_equal(buf_str(&back), buf_str(&text)));
        buf_append_text(&packed, "x");
        assert_false(decode(ENCODING_DEFLATE, buf_str(&packed), 100000, 64, &back));
        buf_free(&back);
        buf_free(&packed);
    }
    buf_free(&text);
}

static void test_members(void **state) {
    (void)state;
    struct buf one = zlib_packed(str_of("one"), 31);
    struct buf none = zlib_packed(str_of(""), 31);
    struct buf both = {0};
    struct buf back = {0};
    buf_append_str(&both, buf_str(&one));
    buf_append_str(&both, buf_str(&none));
    buf_append_str(&both, buf_str(&one));
    assert_true(decode(ENCODING_GZIP, buf_str(&both), 1000, 2, &back));
    assert_true(str_is(buf_str(&back), "oneone"));
    for (int i = 0; i < 2000; i++) buf_append_str(&both, buf_str(&none));
    assert_false(decode(ENCODING_GZIP, buf_str(&both), 100000, 1000, &back));
    buf_free(&one);
    buf_free(&none);
    buf_free(&both);
    buf_free(&back);
}

static void test_damage(void **state) {
    (void)state;
    struct encoders pool = {0};
    struct buf text = text_of(2000);
    for (int which = ENCODING_GZIP; which <= ENCODING_BR; which++) {
        struct buf packed = encode(&pool, (enum encoding)which, buf_str(&text), 1000, false);
        struct buf back = {0};
        // Cut off anywhere: not whole.
        for (size_t n = 1; n < packed.n; n += 11)
            assert_false(
                decode((enum encoding)which, (struct str){buf_p(&packed), n}, n, 512, &back));
        // Something behind the end.
        buf_append_text(&packed, "more");
        assert_false(decode((enum encoding)which, buf_str(&packed), 100000, 512, &back));
        buf_free(&packed);
        buf_free(&back);
    }
    struct buf back = {0};
    assert_false(decode(ENCODING_GZIP, str_of("no gzip at all"), 100, 100, &back));
    assert_false(decode(ENCODING_BR, str_of("\xff\xff\xff\xff no brotli"), 100, 100, &back));
    assert_false(decode(ENCODING_DEFLATE, str_of("\xff\xff\xff"), 100, 100, &back));
    buf_free(&back);
    buf_free(&text);
    encoders_free(&pool);
}

static void test_the_pool_is_bounded(void **state) {
    (void)state;
    struct encoders pool = {0};
    struct encoder *all[ENCODERS_MAX];
    for (int i = 0; i < ENCODERS_MAX; i++) {
        all[i] = encoders_take(&pool, i % 2 ? ENCODING_GZIP : ENCODING_BR);
        assert_non_null(all[i]);
    }
    assert_null(encoders_take(&pool, ENCODING_GZIP));
    for (int i = 0; i < ENCODERS_MAX; i++) encoders_give(&pool, all[i]);
    assert_int_equal(pool.alive, 0);
    all[0] = encoders_take(&pool, ENCODING_GZIP);
    assert_non_null(all[0]);
    encoders_give(&pool, all[0]);
    encoders_free(&pool);
}

static void test_half_of_the_time(void **state) {
    (void)state;
    struct encoders pool = {.since = clock_now() - 20 * NS_PER_MS, .spent = 5 * NS_PER_MS};
    struct encoder *e = encoders_take(&pool, ENCODING_BR);
    assert_non_null(e);
    encoders_give(&pool, e);
    pool = (struct encoders){.since = clock_now() - 20 * NS_PER_MS, .spent = 18 * NS_PER_MS};
    assert_null(encoders_take(&pool, ENCODING_BR));
    pool.since = clock_now() - NS_PER_SECOND; // it was long ago
    e = encoders_take(&pool, ENCODING_BR);
    assert_non_null(e);
    encoders_give(&pool, e);
    encoders_free(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_flush_shows_all),
        cmocka_unit_test(test_deflate_of_both_kinds),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_the_pool_is_bounded),
        cmocka_unit_test(test_half_of_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
