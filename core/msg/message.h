// SPDX-License-Identifier: Apache-2.0
// Messages: all that enters or leaves a VM, a loop or a core service.
//
// A call is a conversation between two ports. The caller picks a number that is unique at its own port and sends
// MSG_REQUEST with `reply` set; every later message of the call carries that number, in both directions:
//
//   caller -> callee:  REQUEST, then ITEM* END (when the caller streams), CREDIT*, CANCEL at any time
//   callee -> caller:  HEADERS? ITEM* (when the callee streams), then one RESPONSE; CREDIT*
//
// RESPONSE ends the call: it carries the status, and for a unary answer the body. After RESPONSE or CANCEL a side
// forgets the call and drops what still arrives for its number.
//
// The callee knows a call by (reply port, number). CREDIT gives the other side's ITEMs room: the weight (message_weight)
// that it may send beyond what it has sent; each side starts with MSG_WINDOW. A side that has used up its credit waits.
//
// Ownership: a message has one owner at a time, sending gives it away. Bodies, contexts and strings are shared by
// reference count and immutable.
#pragma once

#include "base/buf.h"
#include "base/mpsc.h"
#include "base/status.h"
#include "msg/port.h"

#define MSG_WINDOW                                                                                 \
    (32 * 1024) // bytes of ITEM bodies that may be under way in one direction of a call
#define MSG_ITEM_OVERHEAD 64 // what an ITEM costs besides its body: empty ones are not free
#define MSG_MAX_CHAIN 32     // calls deep

enum msg_kind {
    MSG_REQUEST,
    MSG_ITEM,     // one message of a stream
    MSG_END,      // the caller has finished sending
    MSG_CREDIT,   // `credit` more bytes may be sent to me
    MSG_CANCEL,   // the caller has gone (status: CANCELLED, or DEADLINE_EXCEEDED)
    MSG_HEADERS,  // leading response metadata, before the first ITEM
    MSG_RESPONSE, // the end of the call: status, trailers, and the body of a unary answer
    MSG_TIMER,    // a point in time that the receiver asked for
    MSG_CONTROL,  // an order to an instance (see sched/instance.h): load, drain, stop
};

enum msg_encoding { MSG_PROTO, MSG_JSON };

// Does a body go compressed where it leaves this node (or did it come so)?
enum msg_compress {
    MSG_COMPRESS_NO,
    MSG_COMPRESS_MAY, // not this one, but others of the call may
    MSG_COMPRESS_YES,
};

// Where a caller's bytes come from and how an answer should look.
struct msg_form {
    uint8_t encoding;       // enum msg_encoding, of the body
    bool json_camel;        // for JSON answers: ProtoJSON's names
    bool json_compact;      // for JSON answers: defaults omitted
    bool json_int64_number; // for JSON answers: 64-bit integers as numbers
    bool wire_in; // REQUEST, ITEM of a caller: its own bodies are PROTO, whatever the answers are
};

// What all messages of a call, and of the calls made on its behalf, have in common. Immutable once shared.
struct msg_context {
    atomic_uint refs;
    struct blob *ns; // the namespace
    struct blob
        *account; // who asked at the front door: an encoded mica.core.v1.Account; NULL: nobody
    struct blob *caller;        // the service that calls; NULL at the front door
    struct blob *peer;          // address at the front door
    struct blob *metadata;      // request metadata: see metadata.h; NULL: none
    uint64_t request_id;        // in every error and log line
    unsigned char trace_id[16]; // W3C Trace Context
    unsigned char span_id[8];   // of the caller
    uint8_t trace_flags;
    uint8_t chain;    // how many calls deep
    int64_t deadline; // clock_now nanoseconds; 0: none
};

// How a failed call may be repeated without doing anything twice.
enum msg_again {
    MSG_AGAIN_NO,      // only the caller can know
    MSG_AGAIN_UNBEGUN, // the callee has not begun it
    MSG_AGAIN_UNSEEN, // a stream of which the caller has seen nothing, nor sent anything on: where the method is idempotent
};

// What went wrong, in a RESPONSE or CANCEL. NULL texts mean empty.
struct msg_fault {
    struct blob *text;    // for people
    struct blob *id;      // whose error it is: "posts.Posts.Read"
    struct blob *details; // an encoded google.rpc.Status, or NULL
    // What the caller should know before it tries again.
    uint8_t again; // enum msg_again
    uint16_t http; // the HTTP status, where it is another one than the code's; 0: that
    uint32_t
        pushback; // grpc-retry-pushback-ms: 0: nothing was said, n: wait n - 1 ms, MSG_NEVER: do not
};
#define MSG_NEVER UINT32_MAX

struct message {
    struct mpsc_node link; // for whoever owns the message
    uint8_t kind;          // enum msg_kind
    struct msg_form form;
    uint8_t compress; // enum msg_compress, of the body; HEADERS: NO or MAY
    bool
        local; // REQUEST: the caller is at the same node and trusts the port (no limits on metadata)
    bool streams;                // REQUEST of raw HTTP: its body comes as ITEMs, then END
    uint32_t generation;         // of the instance that served (RESPONSE) or that is meant
    uint64_t call;               // the caller's number
    struct port *reply;          // REQUEST, and what the callee gets later: where the caller is
    struct msg_context *context; // REQUEST
    const void *
        method; // REQUEST: const struct pb_method *, of the pool that `contract` keeps alive; NULL: raw HTTP (vm/web.c)
    struct pb_pool *contract;
    struct blob *body; // REQUEST, ITEM, RESPONSE
    struct blob *
        metadata; // HEADERS, RESPONSE (trailers; leading ones too when no HEADERS was sent: see `leading`)
    struct blob *leading;    // RESPONSE: leading metadata when no HEADERS was sent
    int status;              // RESPONSE, CANCEL: enum status
    struct msg_fault *fault; // RESPONSE, CANCEL: owned
    uint32_t credit;         // CREDIT
    // REQUEST to a server elsewhere: the bytes of one message that the caller takes (0: the place's default), and how
    // often it may be begun when the server has not begun it (0: as often as the client side sees fit).
    size_t most;
    unsigned attempts;
    int64_t sent_at; // REQUEST: about clock_now when it was sent; 0: not said
    void (*drop_contract)(struct pb_pool *contract); // set with `contract`
};

// NULL when memory ends. message_delete drops everything it refers to; accepts NULL.
struct message *message_new(enum msg_kind kind, uint64_t call);
void message_delete(struct message *m);
void message_delete_chain(struct mpsc_node *first);
// Somebody keeps the message on purpose, for long: until it is taken back it does not count as alive (counters.h).
void message_park(struct message *m);
void message_unpark(struct message *m);
// What an ITEM with this body takes of the window.
static inline uint32_t message_weight(const struct blob *body) {
    return (uint32_t)blob_str(body).n + MSG_ITEM_OVERHEAD;
}
static inline struct message *message_of(struct mpsc_node *link) { return (struct message *)link; }

struct msg_context *msg_context_new(void);
struct msg_context *
msg_context_copy(const struct msg_context *from); // a changeable copy with one reference
struct msg_context *msg_context_hold(struct msg_context *c);
void msg_context_drop(struct msg_context *c);

struct msg_fault *msg_fault_new(struct str text, struct str id, struct blob *take_details);
void msg_fault_delete(struct msg_fault *f);

// Makes the answer to a request that could not be served, for `m`'s caller; the request is deleted. When even that
// cannot be sent (no memory) the caller's own deadline ends the call. UNAVAILABLE is said to be MSG_AGAIN_UNBEGUN.
void message_refuse(struct message *request, int status, const char *text);
// A RESPONSE with a status and a text (which may be NULL).
struct message *message_fault_new(uint64_t call, int status, const char *text);
