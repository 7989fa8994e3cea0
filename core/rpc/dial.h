// SPDX-License-Identifier: Apache-2.0
// Private to rpc/: the client side. A dial is the port of one address, a dial_call a request under way through it.
//
// References to the dial's port: its callers', one of each dial_call, and one while a task is posted or a connection
// attempt under way. So when the last one goes nothing of it is in motion.
#pragma once

#include "rpc/call.h"
#include "rpc/dial_tls.h"

struct dial_call;

struct dial {
    struct port port;     // first
    atomic_bool detached; // the server is gone: nothing can be sent any more
    struct rpc_server *server;
    struct dial *next, **link; // in server->dials, under its lock
    struct loop *loop;
    struct rpc_loop *at;    // while the server lives
    struct mpsc inbox;      // any thread -> loop
    struct loop_task task;  // empties the inbox; posted when it stops being empty
    struct loop_task retry; // waiting calls are tried again, off the session's stack
    struct loop_task end;   // the last reference is gone
    // On the loop's thread:
    bool retry_posted, connecting;
    struct conn *conn;                        // NULL: none, or one that is closing
    struct map calls;                         // (reply port, number) -> struct dial_call *
    struct dial_call *waiting, **waiting_end; // for a connection, or for a free stream on it
    struct dial_tls tls;
    char address[];
};

struct dial_call {
    struct dial *dial;
    struct dial_call *next; // in dial->waiting
    bool is_waiting;
    struct message *
        request; // kept for its whole life: reply, number, context, and the body for another attempt
    struct http_stream *stream; // NULL: not begun, or ended
    struct loop_timer timer;
    struct intake intake;
    struct mpsc_node *early, **early_end; // what the caller has sent before the stream began
    struct blob *message;                 // the first of an answer that may be unary
    struct blob *leading;                 // metadata of the answer's head
    struct message *final;                // the RESPONSE; waits until all items have gone
    int http_status;                      // of an answer that is not gRPC
    bool streams_in, may_stream_in, streams_out;
    bool headed, sent_items, sent_end;
    unsigned attempts;
    uint32_t uncredited;
};

// ---- dial.c
void dial_again(struct dial *d); // the waiting calls are tried soon
void dial_wait(struct dial *d, struct dial_call *c);
void dial_unwait(struct dial *d, struct dial_call *c);

// ---- dial_call.c
extern const struct http_events DIAL_EVENTS;
void dial_call_message(struct dial *d, struct message *take); // from the caller
bool dial_call_start(struct dial_call *c);                    // false: no stream can be opened now
void dial_call_fail(struct dial_call *c, int status, const char *text); // the call is gone after
void dial_call_delete(struct dial_call *c);
