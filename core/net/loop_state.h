// SPDX-License-Identifier: Apache-2.0
// The inside of a loop, shared by loop.c and conn.c. Private to net/.
#pragma once

#include "base/mpsc.h"
#include "net/encoding.h"
#include "net/loop.h"

#define LOOP_READ_BUFFER (64 * 1024)

struct write_buffer;

struct loop_state {
    // Any thread.
    struct mpsc messages;
    struct mpsc tasks;
    atomic_bool
        sleeping; // the loop's thread is, or is about to be, in poll: who clears it must wake it
    atomic_bool closed; // nothing more is taken
    atomic_bool stop;
    _Atomic(clockid_t) clock; // of the thread's CPU time; 0: not begun
    uv_async_t wake;
    // Who starts and stops it.
    uv_thread_t thread;
    bool started; // `thread` is to be joined
    // The loop's thread only.
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_timer_t timer;
    struct heap timers;
    int64_t now;
    int64_t armed; // when `timer` will fire; INT64_MAX: not armed
    bool stopping;
    struct conn *conns;                 // all that are open or closing
    struct conn *dirty;                 // those with something to write, newest first
    char *read_buffer;                  // shared by all reads of the loop
    struct write_buffer *write_buffers; // a pool
    unsigned write_buffer_count;
    struct encoders encoders;
    char *plain_buffer;         // conn_tls.c: where input is decrypted; NULL until it is needed
    int64_t tls_complained;     // conn_tls.c: when a failed handshake was logged last; 0: never
    unsigned long tls_failures; // not logged since
};

// conn.c
void conns_flush(struct loop *loop);     // writes what dirty connections have to say
void conns_close_all(struct loop *loop); // at the end of the loop
