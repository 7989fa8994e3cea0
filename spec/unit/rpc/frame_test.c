// SPDX-License-Identifier: Apache-2.0
// gRPC's frames, cut at every place; and the intake, which parses them as far as there is credit.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/intake.h"

#include <stdlib.h>

static void put_frame(struct buf *out, unsigned flags, struct str body) {
    unsigned char head[GRPC_FRAME_HEAD];
    grpc_frame_head(head, body.n, false);
    head[0] = (unsigned char)flags;
    buf_append(out, head, sizeof head);
    buf_append_str(out, body);
}

// Feeds a copy on the heap, so that the sanitizer sees what is read beyond it.
static int feed(struct grpc_frame *f, struct str bytes, struct buf *seen) {
    char *copy = malloc(bytes.n + 1);
    if (bytes.n > 0) memcpy(copy, bytes.p, bytes.n);
    struct str rest = {copy, bytes.n};
    int rc = 0;
    while (rest.n > 0 && rc >= 0) {
        struct blob *message;
        rc = grpc_frame_feed(f, &rest, &message, NULL);
        if (rc == 0) assert_int_equal(rest.n, 0);
        if (rc != 1) continue;
        buf_append_byte(seen, '[');
        buf_append_str(seen, blob_str(message));
        buf_append_byte(seen, ']');
        blob_drop(message);
    }
    free(copy);
    return rc;
}

static void test_every_cut(void **state) {
    (void)state;
    struct buf bytes = {0};
    put_frame(&bytes, 0, str_of("hello"));
    put_frame(&bytes, 0, str_of(""));
    put_frame(&bytes, 0, str_of("a longer message than the others"));
    put_frame(&bytes, 0, str_of(""));
    for (size_t a = 0; a <= bytes.n; a++) {
        for (size_t b = a; b <= bytes.n; b++) {
            struct grpc_frame f = {.max = 100};
            struct buf seen = {0};
            const char *p = buf_p(&bytes);
            assert_true(feed(&f, (struct str){p, a}, &seen) >= 0);
            assert_true(feed(&f, (struct str){p + a, b - a}, &seen) >= 0);
            assert_true(feed(&f, (struct str){p + b, bytes.n - b}, &seen) >= 0);
            assert_string_equal(buf_cstr(&seen), "[hello][][a longer message than the others][]");
            assert_true(grpc_frame_between(&f));
            grpc_frame_free(&f);
            buf_free(&seen);
        }
    }
    buf_free(&bytes);
}

static void test_cut_off(void **state) {
    (void)state;
    struct buf bytes = {0};
    put_frame(&bytes, 0, str_of("hello"));
    for (size_t n = 1; n < bytes.n; n++) {
        struct grpc_frame f = {.max = 100};
        struct buf seen = {0};
        assert_int_equal(feed(&f, (struct str){buf_p(&bytes), n}, &seen), 0);
        assert_int_equal(seen.n, 0);
        assert_false(grpc_frame_between(&f));
        grpc_frame_free(&f);
        buf_free(&seen);
    }
    buf_free(&bytes);
}

static int feed_head(size_t max, unsigned flags, size_t length, struct err *err) {
    struct grpc_frame f = {.max = max};
    unsigned char head[GRPC_FRAME_HEAD];
    struct blob *message = NULL;
    grpc_frame_head(head, length, false);
    head[0] = (unsigned char)flags;
    struct str bytes = {(char *)head, sizeof head};
    int rc = grpc_frame_feed(&f, &bytes, &message, err);
    blob_drop(message);
    grpc_frame_free(&f);
    return rc;
}

static void test_limits(void **state) {
    (void)state;
    struct err err;
    assert_int_equal(feed_head(10, 0, 10, NULL), 0);
    assert_int_equal(feed_head(10, 0, 11, &err), -STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(err.text, "a message of 11 bytes is longer than the limit of 10");
    assert_int_equal(feed_head(10, 0, UINT32_MAX, NULL), -STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(feed_head(0, 0, 0, NULL), 1);
    assert_int_equal(feed_head(10, 1, 5, NULL), -STATUS_INTERNAL);
    assert_int_equal(feed_head(10, 2, 5, NULL), -STATUS_INTERNAL);
    assert_int_equal(feed_head(10, 255, 5, NULL), -STATUS_INTERNAL);
}

static void test_announced_memory_is_not_taken(void **state) {
    (void)state;
    struct grpc_frame f = {.max = 4 << 20};
    struct buf seen = {0};
    struct buf bytes = {0};
    put_frame(&bytes, 0, str_of("x"));
    buf_p(&bytes)[1] = 0;
    buf_p(&bytes)[2] = 0x20; // two megabytes
    assert_int_equal(feed(&f, buf_str(&bytes), &seen), 0);
    assert_true(f.body.cap < 64 * 1024);
    grpc_frame_free(&f);
    buf_free(&seen);
    buf_free(&bytes);
}

// ---- the intake

static struct buf given;
static size_t items;
static int item_rc;

static int keep(struct intake *in, struct blob *take) {
    (void)in;
    items++;
    buf_append_str(&given, blob_str(take));
    blob_drop(take);
    return item_rc;
}

static void reset(void) {
    buf_free(&given);
    items = 0;
    item_rc = 0;
}

static void test_intake_stops_without_credit(void **state) {
    (void)state;
    reset();
    struct intake in;
    struct buf bytes = {0};
    struct buf all = {0};
    intake_create(&in, 1 << 20, keep);
    const int weight = 7 + MSG_ITEM_OVERHEAD;
    in.credit = weight + 3;
    for (int i = 0; i < 100; i++) {
        char text[8];
        for (int k = 0; k < 7; k++) text[k] = (char)('a' + (i + k) % 26);
        put_frame(&bytes, 0, (struct str){text, 7});
        buf_append(&all, text, 7);
    }
    for (size_t at = 0; at < bytes.n; at += 13) {
        size_t n = bytes.n - at < 13 ? bytes.n - at : 13;
        assert_int_equal(intake_data(&in, NULL, (struct str){buf_p(&bytes) + at, n}, NULL), 0);
    }
    assert_int_equal(items, 2); // one leaves 3, which lets one more go
    assert_int_equal(in.credit, 3 - weight);
    assert_false(intake_empty(&in));
    assert_int_equal(intake_credit(&in, NULL, (uint32_t)weight - 3, NULL), 0);
    assert_int_equal(items, 2); // nothing is left over nothing
    assert_int_equal(intake_credit(&in, NULL, 1, NULL), 0);
    assert_int_equal(items, 3);
    while (!intake_empty(&in)) assert_int_equal(intake_credit(&in, NULL, 20, NULL), 0);
    assert_int_equal(items, 100);
    assert_true(str_equal(buf_str(&given), buf_str(&all)));
    assert_true(grpc_frame_between(&in.frame));
    intake_destroy(&in);
    buf_free(&bytes);
    buf_free(&all);
}

static void test_intake_takes_a_long_message(void **state) {
    (void)state;
    reset();
    struct intake in;
    struct buf bytes = {0};
    struct blob *body = blob_new(NULL, 3 << 20);
    memset(body->p, 'x', body->n);
    put_frame(&bytes, 0, blob_str(body));
    put_frame(&bytes, 0, str_of("next"));
    intake_create(&in, 4 << 20, keep);
    assert_int_equal(intake_data(&in, NULL, buf_str(&bytes), NULL), 0);
    assert_int_equal(items, 1);
    assert_int_equal(in.credit, MSG_WINDOW - (3 << 20) - MSG_ITEM_OVERHEAD);
    uint32_t weight = (3 << 20) + MSG_ITEM_OVERHEAD;
    assert_int_equal(intake_credit(&in, NULL, weight, NULL), 0);
    assert_int_equal(items, 2);
    intake_destroy(&in);
    blob_drop(body);
    buf_free(&bytes);
    reset();
}

static void test_intake_errors(void **state) {
    (void)state;
    reset();
    struct intake in;
    struct buf bytes = {0};
    struct err err;
    put_frame(&bytes, 0, str_of("ok"));
    put_frame(&bytes, 1, str_of("zip"));
    intake_create(&in, 100, keep);
    assert_int_equal(intake_data(&in, NULL, buf_str(&bytes), &err), -STATUS_INTERNAL);
    assert_int_equal(items, 1);
    intake_destroy(&in);
    intake_create(&in, 100, keep);
    item_rc = -STATUS_UNAVAILABLE;
    assert_int_equal(intake_data(&in, NULL, buf_str(&bytes), &err), -STATUS_UNAVAILABLE);
    intake_destroy(&in);
    buf_free(&bytes);
    reset();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_announced_memory_is_not_taken),
        cmocka_unit_test(test_intake_stops_without_credit),
        cmocka_unit_test(test_intake_takes_a_long_message),
        cmocka_unit_test(test_intake_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
