// SPDX-License-Identifier: Apache-2.0
// Randomness, from one place, so that a seed can stand in later. Any thread, after random_start.
#pragma once

#include <stddef.h>
#include <stdint.h>

int random_start(void);                 // once, before any thread: 0, or -STATUS_INTERNAL
void random_bytes(void *out, size_t n); // fit for secrets
uint64_t random_u64(void);              // fast, per thread; for ids and hash seeds, not for secrets
