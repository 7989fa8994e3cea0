// SPDX-License-Identifier: Apache-2.0
// gRPC-Web's own part of the wire (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): gRPC for what cannot read HTTP's
// trailers, which are browsers. The trailers are a last frame of the body, and application/grpc-web-text is base64 of it all.
// Pure functions over buffers; the calls are grpc_server.c's.
#pragma once

#include "rpc/grpc_frame.h"
#include "rpc/headers.h"

// How a side of a call speaks.
enum grpc_web {
    GRPC_PLAIN, // gRPC
    GRPC_WEB,
    GRPC_WEB_TEXT
};

// Text from the peer, in any pieces: what is here of the last group of four characters.
struct grpc_web_text {
    char group[4];
    unsigned n;
};

// Appends what the complete groups say; each may be the padded end of a piece that was encoded by itself. False: it is no base64, or
// memory ended (out->failed).
bool grpc_web_decode(struct grpc_web_text *t, struct str text, struct buf *out);

// Appends a message's frame as text, padded.
void grpc_web_put_text(struct buf *out, const unsigned char head[GRPC_FRAME_HEAD], struct str body);
// Appends the frame of the trailers, as bytes or as text.
void grpc_web_put_trailers(struct buf *out, const struct headers *trailers, enum grpc_web how);
