// SPDX-License-Identifier: Apache-2.0
// Time, from one place, so that a virtual clock can stand in later. Any thread.
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_SECOND 1000000000LL
#define NS_PER_MS 1000000LL

int64_t clock_now(void);        // monotonic, nanoseconds: deadlines and timers
int64_t clock_unix(void);       // wall clock, nanoseconds since 1970
int64_t clock_thread_cpu(void); // CPU time of the calling thread, nanoseconds
clockid_t
clock_thread_id(void); // what clock_read takes to tell that time on another thread; 0: none
static inline int64_t clock_earlier(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t clock_read(clockid_t id); // 0 for none, and when the thread has ended
