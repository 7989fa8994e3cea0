// SPDX-License-Identifier: Apache-2.0
// gRPC: compressed messages of calls that send one, and what they unfold to.
//
// A few kilobytes unfold to a message of the greatest length that is allowed, and a connection may have very many calls: so
// what is unpacked for calls that are not answered yet is added up for a connection. Beyond UNPACKED_MAX a message stays packed
// until others have been answered; one may always go, however long it is.
//
// Calls wait in a list of the loop, oldest first, which is looked at in a turn of its own after an answer.
#include "rpc/call.h"

#define UNPACKED_MAX (2 * 1024 * 1024)

static size_t *total_of(const struct call *c) { return http_session_note(c->stream->session); }

// What the message says that it has (RFC 1952 section 2.3.1), as far as it may.
static size_t claimed(const struct call *c) {
    struct str bytes = blob_str(c->message);
    if (bytes.n < 4) return 0;
    const unsigned char *p = (const unsigned char *)bytes.p + bytes.n - 4;
    size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    return n < c->intake.frame.max ? n : c->intake.frame.max;
}

static bool take_room(struct call *c) {
    size_t *total = total_of(c);
    size_t n = claimed(c);
    if (*total > 0 && *total + n > UNPACKED_MAX) return false;
    *total += n;
    c->unpacked = n;
    return true;
}

static void unlink_waiting(struct call *c) {
    struct rpc_loop *at = c->at;
    if (c->packed_prev != NULL) {
        c->packed_prev->packed_next = c->packed_next;
    } else {
        at->packed_first = c->packed_next;
    }
    if (c->packed_next != NULL) {
        c->packed_next->packed_prev = c->packed_prev;
    } else {
        at->packed_last = c->packed_prev;
    }
    c->packed_next = c->packed_prev = NULL;
    c->packed_waits = false;
}

bool packed_room(struct call *c) {
    if (take_room(c)) return true;
    struct rpc_loop *at = c->at;
    c->packed_waits = true;
    c->packed_prev = at->packed_last;
    if (at->packed_last != NULL) {
        at->packed_last->packed_next = c;
    } else {
        at->packed_first = c;
    }
    at->packed_last = c;
    return false;
}

void packed_resume(struct loop *loop, struct loop_task *task) {
    struct rpc_loop *at = loop->user;
    (void)task;
    at->packed_posted = false;
    for (struct call *c = at->packed_first, *next; c != NULL; c = next) {
        next = c->packed_next;
        if (!take_room(c)) continue;
        unlink_waiting(c);
        grpc_request(c);
    }
}

void packed_end(struct call *c) {
    if (c->packed_waits) unlink_waiting(c);
    if (c->unpacked == 0) return;
    *total_of(c) -= c->unpacked;
    c->unpacked = 0;
    struct rpc_loop *at = c->at;
    if (at->packed_first == NULL || at->packed_posted) return;
    at->packed_posted = true;
    loop_post(at->loop, &at->packed_task);
}
