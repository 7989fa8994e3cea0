// SPDX-License-Identifier: Apache-2.0
// One HTTP connection's protocol, HTTP/1.1 (llhttp) or HTTP/2 (nghttp2), server or client side, behind one interface:
// pure functions over buffers with no socket in them. What uses it (rpc) does not know the version.
//
// A session belongs to one I/O loop's thread. Bytes from the peer go in by http_feed, which calls the events; bytes for the
// peer come out of http_drain. Events may call anything on their stream but http_feed, http_drain and
// http_session_delete. A stream is one request and its answer; its pointer is good until `closed` has returned.
//
// Bodies from the peer are charged against the flow-control window: what `data` reported must be given back by
// http_consume when its bytes have found their place, else the peer stalls (that is the back-pressure).
// Bodies to the peer are queued by http_send; `http_queued` tells how much waits, `writable` when it falls under
// HTTP_LOW_WATER again.
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "net/abuse.h"

#define HTTP_HIGH_WATER (256 * 1024) // senders should wait above it
#define HTTP_LOW_WATER (64 * 1024)

struct http_header {
    struct str name; // lower case in what sessions report; any case in what is given to them
    struct str value;
};

struct http_limits {
    size_t header_bytes; // of one request, names and values; over it 431 (HTTP/1) or a stream error
    unsigned streams;    // concurrent, HTTP/2
    size_t window;       // per stream, HTTP/2
    size_t connection_window; // HTTP/2
    unsigned fields;          // of one request's head, and again of its trailers; 0: as many as fit
    size_t
        compress_min; // answers that are this long are compressed for who asks for it; 0: none are
    bool decode;      // requests with a content-encoding reach the user decoded
};
extern const struct http_limits HTTP_LIMITS; // 16 KB, 128, 64 KB, 4 MB

enum http_version { HTTP_1_0, HTTP_1_1, HTTP_2 };

struct http_session;

struct http_stream {
    struct http_session *session;
    void *user; // whoever handles the stream, as the next two
    int64_t began;
    char number[16];
    // The request (server side) as received; slices live as long as the stream.
    struct str method;
    struct str path;             // with the query, as received
    struct str authority;        // Host or :authority
    struct http_header *headers; // those of the request; on the client side those of the response
    size_t header_count;
    struct http_header *trailers; // received after the body, if any
    size_t trailer_count;
    struct str upgrade;     // what the request wants to become, a GET: "websocket"; empty: nothing
    int status;             // of the response; 0: none yet
    int64_t content_length; // -1 when not given
    bool remote_ended;      // the peer has sent all
    // Where requests are decoded: its content-encoding is none that is understood, and the body as it came; or it could not
    // be decoded, and `end` was told after what could be.
    bool foreign_encoding, damaged;
    // Client side, in `closed` with HTTP_CLOSE_PEER: it was reset with this HTTP/2 error code, by the peer or because of
    // what it sent; else the connection has ended.
    bool was_reset;
    uint32_t reset_code;
};

// The first value of a header by lower-case name; false when absent.
bool http_header_get(const struct http_header *headers, size_t count, const char *name,
                     struct str *value);

enum http_close {
    HTTP_CLOSE_DONE,  // both sides finished
    HTTP_CLOSE_PEER,  // the peer reset it, or the connection ended
    HTTP_CLOSE_LOCAL, // we reset it
    HTTP_CLOSE_REFUSED // client side: the server did not begin it (REFUSED_STREAM, GOAWAY): safe to send again
};

struct http_events {
    void (*head)(
        struct http_stream *s); // server: a request's headers; client: a response's (not 1xx)
    void (*data)(struct http_stream *s, struct str bytes);
    void (*end)(struct http_stream *s); // the peer has sent all; trailers are there
    void (*writable)(struct http_stream *s);
    void (*closed)(struct http_stream *s,
                   enum http_close why); // always the last one; user must be let go
    // Server side, may be NULL: http_shutdown was said, and this stream was upgraded: nothing else tells its peer.
    void (*draining)(struct http_stream *s);
    // Client side, may be NULL: the peer's SETTINGS or GOAWAY has come, so http_room may say something else.
    void (*changed)(struct http_session *h);
};

struct http_session *http1_server_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user);
struct http_session *http2_server_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user);
struct http_session *http2_client_new(const struct http_events *events,
                                      const struct http_limits *limits, void *user);
void http_session_delete(struct http_session *h);  // ends every stream with HTTP_CLOSE_PEER first
bool http_is_ending(const struct http_session *h); // http_shutdown was said, by either side
void *http_session_user(const struct http_session *h);
size_t *http_session_note(struct http_session *h); // a number for its user; 0 at first
enum http_version http_session_version(const struct http_session *h);

// 0; negative: the connection is broken or abused, close it after what http_drain still gives.
int http_feed(struct http_session *h, struct str bytes);
// Appends what there is to send, about `max` bytes at most. 0, or negative when memory ended.
int http_drain(struct http_session *h, struct buf *out, size_t max);
bool http_wants_write(struct http_session *h); // http_drain would give something
bool http_wants_close(
    struct http_session *h); // nothing more will come in or go out: close once drained
size_t http_open_streams(const struct http_session *h);
// Takes no new streams and tells the peer (GOAWAY, Connection: close); ends when the open ones have.
void http_shutdown(struct http_session *h);

// HTTP/2, client side: can a request be begun?
enum http_room {
    HTTP_ROOM_UNKNOWN, // the peer's SETTINGS are not here yet
    HTTP_ROOM_FREE,
    HTTP_ROOM_FULL,  // as many streams are open as the peer allows
    HTTP_ROOM_ENDING // it takes none any more: GOAWAY, from either side
};
enum http_room http_room(const struct http_session *h);
void http_ping(struct http_session *h); // HTTP/2: a PING; any answer shows that the peer lives
// The HTTP/2 error code that we end the connection with because the peer broke the protocol; 0: it did not.
uint32_t http_broken(const struct http_session *h);
const char *http2_error_name(uint32_t code); // "PROTOCOL_ERROR"
// Did the peer send a longer list of headers than the limit? The stream ends with HTTP_CLOSE_PEER then.
bool http_headers_too_long(const struct http_stream *s);

// Server side. A head may be sent once; `end`: there is no body. On HTTP/1.1 a body without a given content-length is
// chunked; connection headers are the session's. http_respond on a stream whose request is still coming in is fine.
int http_respond(struct http_stream *s, int status, const struct http_header *headers, size_t count,
                 bool end);
uint64_t http_sent(const struct http_stream *s); // bytes of body that went to the connection
// Answers a request with `upgrade` by what it wants to become (101, or 200 to RFC 8441's CONNECT): from here on `data` and
// http_send carry its bytes, both ways until http_finish or the peer's end. Within the `head` event only.
int http_upgrade(struct http_stream *s, const struct http_header *headers, size_t count);
// Client side: begins a request. NULL when no stream can be opened (limit of the peer, shutdown, memory).
struct http_stream *http_request(struct http_session *h, struct str method, struct str scheme,
                                 struct str authority, struct str path,
                                 const struct http_header *headers, size_t count, bool end,
                                 void *user);
// Server side, before http_respond: the head of the answer gets this header as well, whoever makes it. Said again of a name,
// the last value counts. Both must live as long as the stream. False: no memory.
bool http_add_header(struct http_stream *s, const char *name, struct str value);
int http_send(struct http_stream *s, struct str bytes); // copies
int http_send_blob(struct http_stream *s,
                   struct blob *take); // takes the reference, also when it fails
// The same for `n` bytes of it from `from` on.
int http_send_part(struct http_stream *s, struct blob *take, size_t from, size_t n);
size_t http_queued(const struct http_stream *s);
// Ends our side. Trailers go out on HTTP/2, and on HTTP/1.1 when the body is chunked.
int http_finish(struct http_stream *s, const struct http_header *trailers, size_t count);
#define HTTP2_INTERNAL_ERROR 0x2
#define HTTP2_CANCEL 0x8
// Breaks the stream off: RST_STREAM with an HTTP/2 error code (RFC 9113 section 7); HTTP/1 closes the connection.
void http_reset(struct http_stream *s, uint32_t code);
// Whoever understands the bytes of a stream has found its peer abusive: the connection is logged and ended after its last words.
void http_accuse(struct http_stream *s, enum abuse kind, const char *detail);
void http_consume(struct http_stream *s, size_t bytes);
// As http_consume, for bytes that are kept until the request is answered: where a connection has very many of them under
// way, its streams wait for each other.
void http_keep(struct http_stream *s, size_t bytes);
void http_keep_end(
    struct http_stream *s); // they are not kept any more; the head of an answer says so too
