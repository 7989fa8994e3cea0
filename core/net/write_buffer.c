// SPDX-License-Identifier: Apache-2.0
// The pool of a loop's write buffers: WRITE_BUFFERS of them are kept, and those that have grown large are not.
#include "net/write_buffer.h"

#include "net/loop_state.h"

#include <stdlib.h>

#define WRITE_BUFFERS 32
#define WRITE_BUFFER_KEPT (256 * 1024)

struct write_buffer *write_buffer_get(struct loop_state *s) {
    struct write_buffer *w = s->write_buffers;
    if (w == NULL) return calloc(1, sizeof *w);
    s->write_buffers = w->next;
    s->write_buffer_count--;
    return w;
}

void write_buffer_put(struct loop_state *s, struct write_buffer *w) {
    w->buf.n = 0;
    if (w->buf.failed || w->buf.cap > WRITE_BUFFER_KEPT) buf_free(&w->buf);
    if (s->write_buffer_count >= WRITE_BUFFERS) {
        buf_free(&w->buf);
        free(w);
        return;
    }
    w->next = s->write_buffers;
    s->write_buffers = w;
    s->write_buffer_count++;
}

void write_buffers_free(struct loop *loop) {
    struct loop_state *s = loop->state;
    while (s->write_buffers != NULL) {
        struct write_buffer *w = s->write_buffers;
        s->write_buffers = w->next;
        buf_free(&w->buf);
        free(w);
    }
}
