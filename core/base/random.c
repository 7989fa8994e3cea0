// SPDX-License-Identifier: Apache-2.0
// Secrets come from libsodium; ids from a per-thread xorshift128+ seeded by it, since ids are made per request.
#include "base/random.h"

#include "base/status.h"

#include <sodium.h>

int random_start(void) { return sodium_init() < 0 ? -STATUS_INTERNAL : 0; }

void random_bytes(void *out, size_t n) { randombytes_buf(out, n); }

uint64_t random_u64(void) {
    static _Thread_local uint64_t s[2];
    while (s[0] == 0 && s[1] == 0) randombytes_buf(s, sizeof s);
    uint64_t a = s[0];
    uint64_t b = s[1];
    s[0] = b;
    a ^= a << 23;
    s[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return s[1] + b;
}
