// SPDX-License-Identifier: Apache-2.0
// WebSocket (RFC 6455), the server's side, as pure functions over buffers: what the peer's bytes say, the frames that go to
// it, and the answer to its handshake. There are no extensions (no permessage-deflate, which libwslay lacks).
//
// Belongs to one thread. A reader between two frames holds no more than its own struct, so that idle sockets cost little.
#pragma once

#include "base/buf.h"

#define WEBSOCKET_CONTROL_MAX 125 // bytes of a control frame (section 5.5)
#define WEBSOCKET_CROWDED 1024    // bytes; a fragment that holds fewer counts as a crumb

enum websocket_kind { // section 5.2; fragments are put together here
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

// Close codes (section 7.4.1), and where those of gRPC statuses begin: 4000 + status.
enum websocket_code {
    WEBSOCKET_DONE = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_BROKEN = 1002,      // the protocol
    WEBSOCKET_WRONG_KIND = 1003,  // binary where text was said, or the other way round
    WEBSOCKET_NO_CODE = 1005,     // never sent: the peer's close frame has none
    WEBSOCKET_BROKEN_TEXT = 1007, // no UTF-8
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_STATUS = 4000,
};

struct wslay_frame_context;

struct websocket {                      // what comes from the peer
    size_t max;                         // bytes of one message
    struct wslay_frame_context *frames; // NULL: between frames
    struct str *from;                   // during a feed: what is left of the bytes
    struct buf message;                 // of the message under way
    uint64_t left;                      // bytes that the frame under way still has
    uint8_t kind;                       // of the message under way; 0: none
    uint8_t opcode;                     // of the frame under way
    bool begun;                         // a byte of the frame under way has come
    bool in_payload, last;              // its head is complete; it ends its message
    uint8_t control_n;
    char control[WEBSOCKET_CONTROL_MAX]; // the payload of a control frame under way
    uint32_t crumbs; // fragments that came almost empty; whoever counts them takes them away
    const char *fault;
};

struct websocket_message {
    enum websocket_kind kind;
    struct blob *body;  // TEXT (valid UTF-8), BINARY: the caller's
    struct str control; // PING, PONG: the payload; CLOSE: the reason. Good until the next feed
    unsigned code;      // CLOSE: WEBSOCKET_NO_CODE when there is none
};

void websocket_create(struct websocket *w, size_t max);
void websocket_destroy(struct websocket *w);
// Takes bytes from the front of *bytes, never more than belong to the message. 1: *out is whole; 0: all bytes are taken and
// it is not; negative: the code to close with, `w->fault` says why, and nothing more may be fed. -WEBSOCKET_TOO_BIG is also
// said when memory ends.
int websocket_feed(struct websocket *w, struct str *bytes, struct websocket_message *out);

#define WEBSOCKET_HEAD_MAX 10
// The head of an unfragmented, unmasked frame with `n` bytes of payload behind it; returns its length.
size_t websocket_head(char out[WEBSOCKET_HEAD_MAX], enum websocket_kind kind, size_t n);
// A whole close frame; the reason is cut to what fits, between two characters. Returns its length.
#define WEBSOCKET_CLOSE_MAX (2 + WEBSOCKET_CONTROL_MAX)
size_t websocket_close(char out[WEBSOCKET_CLOSE_MAX], unsigned code, struct str reason);
bool websocket_code_valid(unsigned code); // may a peer send it?

// Sec-WebSocket-Accept for a Sec-WebSocket-Key (section 4.2.2). False: the key is no base64 of 16 bytes.
#define WEBSOCKET_ACCEPT 28
bool websocket_accept(char out[WEBSOCKET_ACCEPT + 1], struct str key);
