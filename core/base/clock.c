// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <pthread.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

int64_t clock_now(void) { return read_clock(CLOCK_MONOTONIC); }

int64_t clock_unix(void) { return read_clock(CLOCK_REALTIME); }

clockid_t clock_thread_id(void) {
    clockid_t id;
    return pthread_getcpuclockid(pthread_self(), &id) == 0 ? id : 0;
}

int64_t clock_read(clockid_t id) {
    struct timespec t;
    if (id == 0 || clock_gettime(id, &t) != 0) return 0;
    return (int64_t)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

int64_t clock_thread_cpu(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
