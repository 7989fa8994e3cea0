// SPDX-License-Identifier: Apache-2.0
// What the two HTTP versions have in common behind net/http.h, and what conn.c may ask of a
// session. Private to net/.
//
// A stream is one allocation: its strings live in an arena whose first block is part of it, its
// first headers and the first bytes of its body to the peer too. A common request and its answer
// therefore cost no further allocation. All of it belongs to the thread of the session.
#pragma once

#include "net/encoding.h"
#include "net/http.h"

struct body_decoder; // http_decode.c
struct body_encoder; // http_encode.c
struct conn;
struct stream;

struct session_ops {
    void (*free)(struct http_session *h); // its streams are gone already
    int (*feed)(struct http_session *h, struct str bytes);
    int (*drain)(struct http_session *h, struct buf *out, size_t max);
    bool (*wants_write)(struct http_session *h);
    bool (*wants_close)(struct http_session *h);
    bool (*wants_read)(struct http_session *h);
    uint32_t (*head)(struct http_session *h);
    void (*eof)(struct http_session *h);
    bool (*awaits_body)(
        struct http_session *h); // of a request; NULL: it cannot tell, as the next one
    void (*give_up)(struct http_session *h, int status, const char *detail);
    void (*shutdown)(struct http_session *h);
    // http.c has checked the arguments. `end` is set as well where an answer cannot have a body.
    int (*respond)(struct stream *st, int status, const struct http_header *headers, size_t count,
                   bool end);
    int (*upgrade)(struct stream *st, const struct http_header *headers, size_t count);
    void (*queued)(struct stream *st); // there is more body to send, or `finished` was set
    void (*reset)(struct stream *st, uint32_t code);
    void (*consume)(struct stream *st, size_t bytes);
    void (*keep)(struct stream *st, size_t bytes); // NULL: as consume
    void (*keep_end)(struct stream *st);           // with `keep`
};

struct http_session {
    const struct session_ops *ops;
    const struct http_events *events;
    struct http_limits limits;
    void *user;
    size_t note; // the user's
    bool server;
    bool shutting_down;     // takes no new streams
    uint32_t broken;        // HTTP/2: see http_broken
    struct stream *streams; // all, newest first
    size_t open;
    size_t queued;           // bytes of bodies that wait to go out, of all streams
    uint64_t sent;           // bytes of bodies that went out
    struct stream *writable; // `writable` is owed: told at the end of a drain
    // Content codings: what is at work (http_encode.c, http_decode.c), and how many bytes may still be worked on in this turn.
    struct encoders *encoders;     // of the loop; NULL: answers go as they are
    struct body_encoder *encoding; // with something to do
    struct body_decoder *decoding; // all, oldest first
    size_t encode_room, decode_room;
    size_t decoded_kept; // decoded bytes that their users keep until they have answered
    bool decode_again;   // a decoder may go on
    struct conn *conn;   // who carries it; NULL in tests
    uint8_t abuse;       // enum abuse: why the peer is given up; ABUSE_NONE
    char fault[87];      // more about it, for the log; may be empty
    void (*touched)(
        struct http_session *h); // output or room came up outside of feed and drain; may be NULL
};

#define ARENA_FIRST 1024
#define CHUNK_FIRST 256
#define HEADERS_FIRST 16

struct arena_block {
    struct arena_block *next;
};

// A piece of body on its way out: bytes of its own that may be appended to, or a blob's.
struct chunk {
    struct chunk *next;
    struct blob *blob; // NULL: own bytes
    char *bytes;
    size_t from, to, cap;
};

// A header that the answer will have, see http_add_header; the newest comes first.
struct added_header {
    struct added_header *next;
    struct http_header header;
};

struct stream {
    struct http_stream s; // first: an http_stream is a stream
    struct stream *next, *prev;
    struct stream *next_writable, *prev_writable;
    int32_t id; // HTTP/2
    bool writable_owed;
    bool above;       // the queue reached HTTP_LOW_WATER
    bool reported;    // `head` was called or the client knows it: `closed` is owed
    bool head_done;   // headers are complete, more of them are trailers
    bool refused;     // too many headers: no event, a stream error
    bool responded;   // a head was sent
    bool no_body;     // HEAD, 204, 304: what is sent as body is dropped
    bool sealed;      // http_finish: nothing more will be given
    bool finished;    // and nothing more will be queued
    bool ended;       // our end went out
    bool reset;       // broken off by us: no event but `closed`
    bool deferred;    // HTTP/2: the data provider waits
    bool not_sent;    // client: the request could not be sent
    bool is_head;     // the method is HEAD
    bool input_ended; // the peer has sent all; s.remote_ended: and the user knows
    bool upgraded;    // http_upgrade: bytes of another protocol, both ways
    size_t header_cap, trailer_cap;
    size_t header_bytes;
    unsigned fields;   // of the header list, HTTP/2
    size_t kept;       // of its body, see http_keep (HTTP/2)
    size_t withheld;   // of that: what its window is not opened for yet
    size_t unconsumed; // reported by `data` and not yet given back
    size_t queued;     // bytes of body that wait
    uint64_t sent;     // and that went out
    struct chunk *first, *last;
    struct body_encoder *encode; // NULL: the answer goes as it is
    struct body_decoder *decode; // NULL: so does the request
    struct added_header *added;
    struct http_header *out_trailers;
    size_t out_trailer_count;
    struct arena_block *blocks;
    char *arena;
    size_t arena_left;
    struct chunk first_chunk;
    // From here on not cleared.
    struct http_header first_headers[HEADERS_FIRST];
    char first_bytes[CHUNK_FIRST];
    char first_arena[ARENA_FIRST];
};

static inline struct stream *stream_of(struct http_stream *s) { return (struct stream *)s; }
static inline struct stream *stream_of_const(const struct http_stream *s) {
    return (struct stream *)(uintptr_t)s;
}

void session_init(struct http_session *h, const struct session_ops *ops,
                  const struct http_events *events, const struct http_limits *limits, void *user);
void session_tell_writable(struct http_session *h);
bool session_wants_read(struct http_session *h);
void session_eof(struct http_session *h);  // the peer will send no more
void session_turn(struct http_session *h); // before the first drain of a turn
void session_give_back(struct stream *st, size_t bytes,
                       bool keep); // of what came in, to flow control
bool session_awaits_body(
    struct http_session *h); // a request's head is complete and its body is not
// Ends the request that is being read, with this answer if it has none, and then the connection.
void session_give_up(struct http_session *h, int status, const char *detail);
// 0, or a head has begun and is not complete: the number of that head.
uint32_t session_head(struct http_session *h);

struct stream *http_stream_new(struct http_session *h);
void stream_delete(struct stream *st);
void stream_close(struct stream *st, enum http_close why); // tells `closed` if owed, and deletes
char *stream_alloc(struct stream *st, size_t n); // 8-byte aligned, lives as long as the stream
bool stream_keep(struct stream *st, struct str from, struct str *to);
bool stream_add_header(struct stream *st, bool trailer, struct str name,
                       struct str value); // keeps the slices
bool stream_queue(struct stream *st, struct str bytes);
bool stream_queue_blob(struct stream *st, struct blob *take);
bool stream_queue_part(struct stream *st, struct blob *take, size_t from, size_t n);
void stream_dequeue(struct stream *st, struct buf *out, size_t n); // n is at most st->queued

void stream_owe_writable(struct stream *st);

// ---- what the peer sends, told to the user: decoded, where it is encoded (http_decode.c)
void session_tell_head(struct stream *st);
void session_tell_data(struct stream *st,
                       struct str bytes); // they are counted as unconsumed already
void session_tell_end(struct stream *st);
void decode_consume(struct stream *st, size_t bytes, bool keep); // bytes of what was decoded
void decode_keep_end(struct stream *st);                         // its answer has begun
void decode_run(struct http_session *h);                         // in a drain
void decode_turn(struct http_session *h);                        // a turn of the loop begins
void decode_delete(struct stream *st);

// ---- what goes to the peer (http_encode.c)
// Replaces the list of headers where it needs to. Negative: no memory.
int answer_begin(struct stream *st, int status, const struct http_header **headers, size_t *count,
                 bool end);
// Only with st->encode, as the next ones: a part of a blob, whose reference it takes.
bool encode_queue(struct stream *st, struct blob *take, size_t from, size_t n);
void encode_end(struct stream *st);
void encode_again(struct stream *st);
size_t encode_waiting(const struct stream *st); // bytes that are not encoded yet
void encode_run(struct http_session *h);        // in a drain
void encode_turn(struct http_session *h);       // a turn of the loop begins
void encode_delete(struct stream *st);

bool header_is_connection(struct str name); // a header of the connection, which is the session's
bool header_value_sound(struct str value);  // no CR, LF, NUL or other control
bool headers_sound(const struct http_header *headers,
                   size_t count); // names are tokens, values are sound
bool header_token_char(unsigned char c);
bool str_is_nocase(struct str s, const char *lower);
bool number_parse(struct str s, int64_t *out); // digits only, 0 to 2^63-1
