// SPDX-License-Identifier: Apache-2.0
// Private to rpc/: the server's parts and the calls of the front doors.
//
// A call joins an HTTP stream to a request under way at a service. It is made when the head of a request was routed, and
// freed when the stream is closed. Everything of it happens on its loop's thread.
//
//   requested   the service has the REQUEST and has not ended the call: it is owed CANCEL when the caller goes
//   headed      the head of the answer was sent
//   answered    the answer is complete; what still comes from either side is dropped
//
// The service knows a call by (port of the loop, number). A number holds the index of the call and how often it was used, so that
// messages of an earlier call are told apart.
#pragma once

#include "rpc/door.h"
#include "rpc/grpc_web.h"
#include "rpc/head.h"
#include "rpc/headers.h"
#include "rpc/intake.h"
#include "rpc/stats.h"

#include <pthread.h>
#include <stddef.h>

#define DOOR_API 0
#define DOOR_PROXY 1
#define DOORS 2
#define DEFAULT_NAMESPACE "mica"

struct call;
struct dial;
struct rpc_loop;

// What a loop knows of a namespace at a door.
struct space {
    struct blob *ns;
    struct blob *account; // of who comes from this machine; NULL: nobody is trusted by address
};

// A door as a loop sees it.
struct door_view {
    const char *name;
    struct route_slot *slot;
    struct route_table *table;        // held; see route_slot_view
    struct map spaces;                // namespace -> struct space *, made from `table`
    struct space *last_space;         // the one that was asked for last, of `spaces`
    struct route_memo last_route;     // of `table`
    struct route_http_memo last_http; // the same of requests over HTTP
    uint32_t unrouted;                // the series of calls that no route answers
};

struct peer_entry {
    const struct conn *conn;
    struct blob *address;
};
#define PEERS 64 // a power of two

struct rpc_loop { // what rpc keeps for a loop; loop->user
    struct rpc_server *server;
    struct loop *loop;
    struct door_view views[DOORS];
    struct call **calls; // by index
    uint32_t call_count, call_cap;
    struct call *spare;
    atomic_size_t open;
    struct call_stats stats;
    struct loop_task refresh; // of the tables, after an installation
    atomic_bool refreshing;   // it is posted
    struct peer_entry peers[PEERS];
    struct gzip gzip;   // of all messages here
    struct headers out; // scratch, as the next two
    struct buf clean, normal;
    struct route_param params[ROUTE_PARAMS_MAX]; // of the request at hand
    struct call *packed_first, *packed_last; // grpc_packed.c's, as the next ones: calls that wait
    struct loop_task packed_task;
    bool packed_posted;
    int64_t warned_at; // log lines about refusals: one a second
    unsigned warnings; // not written since
};

struct rpc_door { // a door's `user`
    struct rpc_server *server;
    unsigned index;
    _Atomic(int64_t) open[HTTP_2 + 1]; // connections by version
};

struct rpc_server {
    struct rpc_options options;
    struct rpc_loop *loops;
    unsigned loop_count;
    struct rpc_door doors[DOORS];
    struct blob *empty_object; // "{}"
    struct route metrics;      // where /metrics is answered
    struct blob *origins;      // which may read what any service answers, see cors.h
    atomic_int uncounted;      // calls under way that have no series: scrapes
    struct access_log *access; // NULL: none is kept
    rpc_ready ready;           // for /health/ready; NULL: always
    void *ready_user;
    pthread_mutex_t lock; // of `dials`
    struct dial *dials;
    atomic_uint next_dial;
};

// How the messages of a call become an answer: grpc_server.c and gateway.c.
struct call_form {
    void (*data)(struct call *c,
                 struct str bytes); // gives the bytes back itself; not called once answered
    void (*end)(struct call *c);    // the request is here as a whole
    void (*headers)(struct call *c, struct message *m);
    void (*item)(struct call *c, struct message *m);
    void (*credit)(struct call *c,
                   uint32_t credit); // the service takes more of the body; NULL: intake.h
    void (*response)(struct call *c, struct message *m);
    void (*draining)(struct call *c); // the connection takes nothing new; may be NULL
    // Ends a call that the front door itself ends; `fault` may be NULL. `pushback`: the caller may try again soon.
    void (*fail)(struct call *c, int status, const struct msg_fault *fault, bool pushback);
};

struct socket; // gateway_socket.c
struct parts;  // gateway_parts.c

struct call {
    struct rpc_loop *at;
    uint32_t index, generation;
    struct call *next_spare;
    const struct call_form *form; // NULL: not in use
    struct http_stream *stream;
    struct door_view *view;
    struct route_table *table; // held: keeps `route`
    const struct route *route;
    struct msg_context *context;
    struct call_counts *counts; // NULL: it is not counted
    int64_t began;              // loop_now
    struct loop_timer timer;
    struct loop_timer beat; // of a stream to a browser: shows that it lives
    int64_t spoke;          // loop_now when something was last sent on it
    struct socket *socket;  // of a WebSocket
    struct parts *parts;    // of a form with files that is streamed (gateway_parts.c)
    struct msg_form encoding;
    struct str content_type; // of the answer; static
    bool transcoded;         // the caller speaks JSON and the service does not
    uint32_t wire_weight;    // what the last ITEM weighed as it came from the service
    bool requested, headed, answered;
    bool gzip;                  // gRPC: the head of the answer says that messages may be compressed
    bool request_ended;         // the service knows that the request is complete
    bool streams;               // raw HTTP: the body goes as ITEMs
    uint8_t body_kind;          // gateway.c: what the body is
    bool mapped;                // gateway_map.c: the (first) message is not just the body
    struct route_param *params; // and the variables of its path, owned; NULL: none
    size_t param_count;
    int refusal;          // gateway_page.c: the HTTP status of a refused request
    int refusal_status;   // what it counts as; gateway_web.c: what an answer under way does
    struct buf body;      // of a request over HTTP; raw HTTP: see gateway_web.c
    struct buf texts;     // gateway_parts.c: the parts of a form, until it is a message
    struct blob *leading; // metadata that waits for the head of the answer (gateway)
    struct blob *message; // the one message of a unary gRPC request
    struct intake intake; // of who sends many messages
    size_t unpacked;      // grpc_packed.c's, as the next ones: bytes that its message unfolded to
    struct call *packed_next, *packed_prev;
    bool packed_waits;   // in the list of its loop
    uint32_t uncredited; // bytes of ITEMs that the service has had no credit for yet
    // gRPC-Web: of a request that is text, and how the answer goes (enum grpc_web).
    struct grpc_web_text text;
    uint8_t web;
};

// A request whose head is being looked at.
struct request {
    struct rpc_loop *at;
    struct door_view *view;
    struct http_stream *stream;
    struct conn *conn;
    struct head head;
    struct str path; // without the query
    struct str query;
    struct str ns; // valid, or the default
    uint64_t request_id;
    const struct route *route;
    const struct route_param
        *params; // the variables of its template; texts end with the next request
    size_t param_count;
    const char
        *allow; // to be refused with 405: the methods for its path; NULL or "": the usual ones
    // cors.c: what the answer says already
    bool varies;
    uint8_t readable;
};

// ---- call.c
// The stream's user becomes the call. NULL: no memory. Takes `metadata`. `deadline`: clock_now, 0 for none. A bare one has no
// context and never reaches a service.
struct call *call_new_bare(const struct request *r, const struct call_form *form, int64_t deadline);
struct call *call_new(const struct request *r, const struct call_form *form, struct blob *account,
                      struct blob *take_metadata, int64_t deadline);
void call_delete(struct call *c); // the stream has closed
struct call *call_find(struct rpc_loop *at, uint64_t number);
void call_delete_all(struct rpc_loop *at); // also their memory
// Sends the REQUEST; takes `body`. A refusal ends the call.
void call_request(struct call *c, struct blob *take_body);
// Any other message to the service (an ITEM's body as call_to_service gives it): 0, or it was refused and dropped.
// For messages of a caller that speaks JSON to a service that does not: the wire form; else the body as it is. Takes it. NULL:
// the call has failed.
struct blob *call_to_service(struct call *c, struct blob *take_body);
static inline struct call *call_of_intake(struct intake *in) {
    return (struct call *)((char *)in - offsetof(struct call, intake));
}
int call_item(struct intake *in, struct blob *take); // intake.item: an ITEM to the service
int call_tell(struct call *c, enum msg_kind kind, struct blob *take_body, int status,
              uint32_t credit);
void call_cancel(struct call *c, int status); // if the service still has it
void call_fail(struct call *c, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void call_answered(struct call *c, int status); // to be said just before the answer's end is queued
void call_item_queued(
    struct call *c,
    const struct blob *body); // an ITEM's body has been given to HTTP: credit when there is room
void call_writable(struct call *c);
void call_deliver(struct loop *loop, struct message *take);

// What calls of a request count as.
static inline struct call_counts *request_counts(const struct request *r) {
    return call_stats_at(&r->at->stats, r->route == NULL ? r->view->unrouted : r->route->series);
}
// A request was answered before a call of it began.
static inline void request_refused(const struct request *r, int status) {
    struct call_counts *counts = request_counts(r);
    call_counts_begin(counts);
    call_counts_end(counts, status);
}

// ---- account.c
void door_refresh(struct door_view *view); // takes the newest table
// What is known of the namespace at the door. NULL: no memory.
struct space *space_get(struct door_view *view, struct str ns);
void spaces_clear(struct door_view *view);
// Who asks: an encoded Account (borrowed), or NULL for a stranger. `grpc`: the request cannot come from a web page.
struct blob *account_of(const struct request *r, const struct space *space, bool grpc);
struct blob *peer_of(struct rpc_loop *at, struct conn *conn); // held for the caller

// ---- grpc_packed.c
// May the call's compressed message be unpacked now? False: it waits, and grpc_request is called when it may.
bool packed_room(struct call *c);
void packed_end(struct call *c); // it is answered
void packed_resume(struct loop *loop, struct loop_task *task);

// ---- grpc_server.c, gateway.c
void grpc_head(struct request *r);
void grpc_request(struct call *c); // its one message is here and has room: sends the REQUEST
// The route of a gRPC path, at either door; r->view becomes the one that has it. NULL: there is none.
const struct route *grpc_route(struct request *r);
void gateway_head(struct request *r);

// ---- gateway_answer.c
// What of a message in the caller's form is the answer. Takes it. NULL: no memory.
struct blob *gateway_answer(const struct call *c, struct blob *take_body);

// ---- gateway_parts.c
void parts_delete(struct parts *p); // NULL: nothing

// ---- gateway_map.c
// A message that the caller sent as such, with the variables of the path and the query put in. Takes it. NULL: the call
// has failed.
struct blob *gateway_map_message(struct call *c, struct blob *take_body);

// ---- gateway_socket.c
void socket_delete(struct socket *s); // NULL: nothing

// ---- dial.c
void dials_release(struct rpc_server *s); // the loops have stopped
