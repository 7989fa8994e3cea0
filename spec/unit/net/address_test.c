// SPDX-License-Identifier: Apache-2.0
// Which addresses lead to this machine or its link only.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool is_local(const char *text) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return address_sockaddr_is_local((struct sockaddr *)&in);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return address_sockaddr_is_local((struct sockaddr *)&in6);
}

static void test_local(void **state) {
    (void)state;
    static const char *const LOCAL[] = {"127.0.0.1",
                                        "127.255.0.9",
                                        "0.0.0.0",
                                        "0.1.2.3",
                                        "169.254.169.254",
                                        "224.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "fe80::1",
                                        "ff02::1",
                                        "::ffff:127.0.0.1",
                                        "::ffff:0.0.0.0",
                                        "::ffff:169.254.1.1",
                                        "::127.0.0.1"};
    static const char *const OTHER[] = {"10.0.0.1",  "192.168.1.1", "8.8.8.8", "169.253.0.1",
                                        "126.0.0.1", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"};
    for (size_t i = 0; i < sizeof LOCAL / sizeof LOCAL[0]; i++)
        if (!is_local(LOCAL[i])) fail_msg("%s is taken for another machine's", LOCAL[i]);
    for (size_t i = 0; i < sizeof OTHER / sizeof OTHER[0]; i++)
        if (is_local(OTHER[i])) fail_msg("%s is taken for this machine's", OTHER[i]);
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_true(address_sockaddr_is_local(&other));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_local)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
