// SPDX-License-Identifier: Apache-2.0
// A piece of output on its way to a socket, with libuv's request for it. Pooled by loop, on its thread. Private to net/.
#pragma once

#include "net/loop.h"

struct conn;
struct loop_state;

struct write_buffer {
    uv_write_t req; // first
    struct conn *conn;
    struct write_buffer *next;
    struct buf buf;
    size_t left; // bytes that libuv holds
};

struct write_buffer *write_buffer_get(struct loop_state *s); // empty; NULL: no memory
void write_buffer_put(struct loop_state *s, struct write_buffer *w);
void write_buffers_free(struct loop *loop); // at its end
