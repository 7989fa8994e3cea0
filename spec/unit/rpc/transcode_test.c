// SPDX-License-Identifier: Apache-2.0
// JSON and wire for outside services: both ways, strict, and bounded.
#include "rpc_testing.h"

#include "base/random.h"
#include "rpc/transcode.h"

static struct pb_pool *pool;
static const struct pb_message *type;

static int set_up(void **state) {
    (void)state;
    assert_int_equal(random_start(), 0);
    pool = echo_pool();
    type = pb_find_message(pool, str_of("echo.Text"));
    assert_non_null(type);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    pb_pool_drop(pool);
    return 0;
}

static struct blob *blob_of(const char *text) { return blob_new(text, strlen(text)); }

static struct blob *to_json(struct blob *take_wire, struct msg_form form, size_t max,
                            struct err *err) {
    return transcode_to_json(pool, type, take_wire, form, max, err);
}

static void test_both_ways(void **state) {
    (void)state;
    struct err err = {0};
    struct msg_form plain = {.encoding = MSG_JSON};
    struct blob *wire = transcode_to_wire(
        pool, type, blob_of("{\"text\":\"a\",\"tags\":[\"x\"],\"n\":\"5\"}"), &err);
    assert_non_null(wire);
    assert_int_equal(wire->n, 8);
    assert_memory_equal(wire->p,
                        "\x0a\x01"
                        "a\x12\x01x\x18\x05",
                        8);
    struct blob *json = to_json(wire, plain, 1000, &err);
    assert_true(str_is(blob_str(json), "{\"text\":\"a\",\"tags\":[\"x\"],\"n\":\"5\"}"));
    blob_drop(json);
    json = to_json(blob_new("", 0), plain, 1000, &err); // defaults are printed
    assert_true(str_is(blob_str(json), "{\"text\":\"\",\"tags\":[],\"n\":\"0\"}"));
    blob_drop(json);
    json = to_json(blob_new("", 0), (struct msg_form){.json_compact = true}, 1000, &err);
    assert_true(str_is(blob_str(json), "{}"));
    blob_drop(json);
}

static void test_strict(void **state) {
    (void)state;
    static const char *const BAD[] = {"", "{", "[]", "{\"txet\":1}", "{\"n\":1.5}", "{\"text\":1}"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct err err = {0};
        assert_null(transcode_to_wire(pool, type, blob_of(BAD[i]), &err));
        assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    }
    struct err err = {0};
    assert_null(to_json(blob_of("\x0a\x05zz"), (struct msg_form){0}, 1000, &err));
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
}

static void test_bounded(void **state) {
    (void)state;
    struct err err = {0};
    struct buf wire = {0};
    for (int i = 0; i < 1000; i++)
        buf_append(&wire, "\x12\x00", 2); // an empty tag: 3 bytes of JSON
    struct blob *much = buf_take(&wire);
    assert_null(to_json(blob_hold(much), (struct msg_form){0}, 2000, &err));
    assert_int_equal(err.code, STATUS_RESOURCE_EXHAUSTED);
    struct blob *json = to_json(much, (struct msg_form){0}, 4000, &err);
    assert_non_null(json);
    blob_drop(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
