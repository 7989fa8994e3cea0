// SPDX-License-Identifier: Apache-2.0
// Private to rpc/: the client side.
//
//   dial        the port: one list of addresses ("a:1,b:2"), shared by all who ask for the same
//    ├─ dial_peer     one IP address and port: see peers.h
//    │    └─ dial_conn    a connection to it, from the attempt to its end
//    └─ dial_call     a request under way
//
// References to the dial's port: its callers', one of each dial_call, and one while a task is posted, a name resolved or a connection
// attempted. So when the last one goes nothing of it is in motion, and only connections are left, to be closed.
#pragma once

#include "rpc/call.h"
#include "rpc/dial_table.h"
#include "rpc/dial_tls.h"
#include "rpc/peers.h"

#define DIAL_CONNS 8 // to one of them, when its limit of streams is reached

struct dial_call;

struct dial_peer {
    struct peer peer; // first
    struct dial_conn *conns;
    unsigned alive;   // conns that are not ENDING
    unsigned opening; // ... and of these, those that are not OPEN yet
};

enum dial_state {
    DIAL_CONNECTING, // there is no `conn` yet
    DIAL_GREETING,   // its SETTINGS are awaited: from then on its limit of streams is known
    DIAL_OPEN,
    DIAL_ENDING, // it takes no requests any more
};

struct dial_conn {
    struct dial *dial;
    struct dial_peer *peer;
    struct dial_conn *next, **link; // in peer->conns
    struct conn *conn;
    enum dial_state state;
    unsigned calls;
    bool answered; // a call on it has had an answer
    bool judged;   // its failure has been counted
    bool lost;     // it ended under calls
    bool silent;   // ... because it did not answer a PING
    bool said;     // anything about calls came since the last PING
    int64_t since; // it has had calls, or none, since then
    int64_t pinged;
    struct loop_timer timer;
};

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
    bool retry_posted;
    struct dial_table calls;
    struct dial_call *waiting, **waiting_end; // for a connection, or for a free stream on one
    struct peers peers;
    unsigned opening;
    struct dial_tls tls;
    char address[]; // as given
};

struct dial_call {
    struct dial *dial;
    struct dial_call *next; // in dial->waiting
    struct dial_call *next_in_table;
    bool is_waiting;
    uint64_t failures; // of the dial, when it began to wait
    struct message *
        request; // kept for its whole life: reply, number, context, and the body for another attempt
    struct http_stream *stream; // NULL: not begun, or ended
    struct loop_timer timer;
    struct intake intake;
    struct mpsc_node *early, **early_end; // what the caller has sent before the stream began
    struct blob *message;                 // the first of an answer that may be unary
    struct blob *leading;                 // metadata of the answer's head
    struct message *final;                // the RESPONSE; waits until all items have gone
    bool streams_in, may_stream_in, streams_out;
    bool headed, sent_items, sent_end;
    unsigned attempts;
    uint32_t uncredited;
};

// ---- dial.c
// What a dial is found by; equal ones are shared.
struct dial_spec {
    struct rpc_loop *at; // where it lives; NULL: any loop
    struct str address;  // as rpc_dial has it
    struct str settings; // of TLS: dial_tls.h
    bool beyond; // whatever its names mean, addresses of this machine or its link are left out
};
struct port *dial_get(struct rpc_server *s, const struct dial_spec *spec, struct err *err);
void dial_again(struct dial *d); // the waiting calls are tried soon
void dial_wait(struct dial *d, struct dial_call *c);
void dial_unwait(struct dial *d, struct dial_call *c);
void dial_forget_all(struct dial *d); // the loop has stopped and the callers with it

// ---- dial_pool.c
int pool_create(struct dial *d, struct err *err); // reads d->address
void pool_destroy(struct dial *d);                // closes what is open
struct dial_conn *pool_pick(struct dial *d);      // one with a free stream; NULL: none has now
// Connects where that is of use. With calls that wait: what cannot be hoped for any more fails.
void pool_connect(struct dial *d);
void pool_call_begun(struct dial_conn *dc);
void pool_call_closed(struct dial_conn *dc); // its stream has

// ---- dial_fault.c
#define FAULT_TEXT 600
enum status dial_fault_not_grpc(const struct http_stream *s, char text[FAULT_TEXT]);
// Why a stream ended that the server had not finished.
enum status dial_fault_lost(const struct http_stream *s, char text[FAULT_TEXT]);

// ---- dial_call.c
extern const struct http_events DIAL_EVENTS;
void dial_call_message(struct dial *d, struct message *take); // from the caller
void dial_call_start(struct dial_call *c, struct dial_conn *dc);
void dial_call_fail(struct dial_call *c, int status, const char *text); // the call is gone after
void dial_call_fail_unbegun(struct dial_call *c, int status, const char *text);
void dial_call_delete(struct dial_call *c);
// The events of a session that pool answers: see http_events.
void pool_changed(struct http_session *session);
