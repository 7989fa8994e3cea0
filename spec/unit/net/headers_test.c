// SPDX-License-Identifier: Apache-2.0
// Which header values are sound: every byte counts, wherever it stands.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/session.h"

static bool is_sound(unsigned char c) { return (c >= 0x20 || c == '\t') && c != 0x7F; }

static void test_every_byte_at_every_place(void **state) {
    (void)state;
    char value[40];
    for (size_t n = 0; n <= sizeof value; n++) {
        memset(value, 'x', sizeof value);
        assert_true(header_value_sound((struct str){value, n}));
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                value[at] = (char)c;
                if (header_value_sound((struct str){value, n}) != is_sound((unsigned char)c))
                    fail_msg("byte %02x at %zu of %zu", c, at, n);
            }
            value[at] = 'x';
        }
    }
}

static void test_pairs(void **state) {
    (void)state;
    char value[8] = "xxxxxxxx";
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            value[3] = (char)a;
            value[4] = (char)b;
            bool sound = is_sound((unsigned char)a) && is_sound((unsigned char)b);
            assert_int_equal(header_value_sound((struct str){value, sizeof value}), sound);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_at_every_place),
        cmocka_unit_test(test_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
