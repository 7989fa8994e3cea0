// SPDX-License-Identifier: Apache-2.0
// The inside of a connection, shared by conn.c, connect.c and acceptor.c. Private to net/.
#pragma once

#include "net/abuse.h"
#include "net/conn.h"
#include "net/loop_state.h"
#include "net/session.h"
#include "net/write_buffer.h"

#define PREFACE_BYTES 24

// How many connections of a door are open: shared by the acceptor and its connections, freed by the
// last of them.
struct tally {
    atomic_uint refs;
    atomic_uint open;
};
void tally_drop(struct tally *t);

enum conn_pace { PACE_NONE, PACE_IN, PACE_OUT }; // see conn_pace.c

struct conn {
    struct loop_task task; // how the acceptor hands it over
    struct loop *loop;
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    int fd; // until the loop's thread has opened it
    const struct door *door;
    struct tally *tally;
    struct tls_context *tls_context; // until `tls` is made, on the loop's thread
    struct tls *tls;                 // NULL: plain
    struct blob *note;
    struct http_session *session;
    struct conn *next, *prev;      // all of the loop
    struct conn *next_dirty;       // those with something to write
    struct conn **dirty_at;        // what points to this one in that list; NULL: not in it
    struct connecting *connecting; // connect.c's, until connected
    void (*closed)(struct conn *c, void *user);
    void *closed_user;

    struct loop_timer timer;
    int64_t active;       // last input or output
    int64_t heard;        // last input
    int64_t head_since;   // a head has begun, or was never complete; 0: no head is awaited
    int64_t held_until;   // it is not read before; 0: it is
    int64_t linger_until; // 0, or when it closes in any case
    uint32_t head;        // the number of the head that head_since is about
    unsigned read_size;   // how much is read at a time
    bool busy_reader;     // a full buffer was read in this turn, in `spent` nanoseconds
    int64_t spent;
    uint64_t sent_before;       // session->sent when conn_unread last looked
    int64_t looked;             // ... and when that was
    size_t unsent;              // bytes that libuv holds
    uint64_t received, written; // bytes, in all; what was written includes those
    // conn_pace.c's: what is watched, since when, and how much had moved by then
    enum conn_pace pace;
    int64_t pace_since;
    uint64_t pace_mark;
    // keepalive.c's
    int64_t pinged;    // when the last PING was sent; 0: none was
    int64_t retire_at; // when it is told to end, or was; 0: never
    bool retired;      // it has been told

    char preface[PREFACE_BYTES]; // the first bytes, until they tell the version
    unsigned preface_n;
    bool reading;
    bool busy;       // inside the session: closing waits
    bool ending;     // nothing more is read; closes when all is written
    bool uncounted;  // not among loop->connections any more
    bool lingering;  // our side is shut down, what still comes is thrown away
    bool must_close; // conn_close was called
    bool given_up;   // for abuse: nothing more is read, not even to throw it away
    bool is_closed;  // uv_close was called
    bool eof;
    bool loopback;
    uint8_t counted; // among the door's open connections: as this version and one; 0: not yet
    unsigned char peer_n;
    char peer[64];
};

struct conn *conn_alloc(struct loop *loop);
void conn_set_peer(struct conn *c, const struct sockaddr *addr);
void conn_link(struct conn *c); // into the loop's list; its handle is initialised
void conn_carry(struct conn *c, struct http_session *session); // and begins to read
void conn_read(struct conn *c); // begins to read what is for no session yet
void conn_adopt(struct loop *loop, struct loop_task *task); // the acceptor's task

// ---- conn.c, for conn_tls.c
bool conn_write_out(struct conn *c, struct write_buffer *take); // false: the connection is broken
void conn_input(struct conn *c, struct str bytes);              // plain text from the peer
void conn_eof(struct conn *c);                                  // the peer has ended its side
void conn_linger(struct conn *c);                               // the graceful end

// ---- conn_guard.c
#define CONN_LINGER NS_PER_SECOND
#define CONN_READ_FIRST (16 * 1024)
void conn_log_abuse(struct conn *c, enum abuse kind, const char *detail);
void conn_judge(struct conn *c); // has the session given its peer up?
// A full buffer was read in so much time: the rest has to wait for the next turn. And when the turn has written.
void conn_slice_end(struct conn *c, int64_t spent);
void conn_slice_adapt(struct conn *c, int64_t flushed);
// Is very much waiting for a peer that has hardly read since this was asked last?
bool conn_unread(struct conn *c, int64_t now);

// ---- conn_pace.c
void conn_pace_note(struct conn *c, int64_t now);
int64_t conn_pace_due(const struct conn *c);
bool conn_pace_turn(struct conn *c, int64_t now); // true: the connection has ended, or ends

// ---- connect.c, for conn_tls.c
void connect_ready(struct conn *c); // the handshake of a connection that is being made is complete

// ---- conn_tls.c: only for connections with `tls`
bool conn_tls_begin(struct conn *c); // client: says hello. False: it is broken
void conn_tls_input(struct conn *c, struct str bytes);
struct write_buffer *conn_tls_seal(struct conn *c, struct write_buffer *take); // NULL: it is broken
void conn_tls_end(struct conn *c);                  // says that nothing more will come
void conn_tls_cut(struct conn *c, const char *why); // before closing one that is not ready

// ---- keepalive.c: accepted connections
void keepalive_begin(struct conn *c, int64_t now);
int64_t keepalive_due(const struct conn *c);      // when to call the next; INT64_MAX: at no time
void keepalive_turn(struct conn *c, int64_t now); // may close the connection
