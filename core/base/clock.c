// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

int64_t clock_now(void) { return read_clock(CLOCK_MONOTONIC); }

int64_t clock_unix(void) { return read_clock(CLOCK_REALTIME); }

int64_t clock_thread_cpu(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
