// SPDX-License-Identifier: Apache-2.0
// gzip (RFC 1952) of whole gRPC messages: the "gzip" of grpc-encoding. One a loop, used for one message after the other, on
// the loop's thread; zlib's states are made when they are first needed.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#define GRPC_ENCODINGS "identity,gzip" // the value of grpc-accept-encoding
#define GZIP_LEAST 128                 // shorter messages are sent as they are

struct gzip {
    struct z_stream_s *inflate, *deflate; // NULL: not made yet
};

// The message that `from` is, one whole gzip member and nothing else. 0 and *message, the caller's;
// -STATUS_RESOURCE_EXHAUSTED: longer than `max`, or no memory; -STATUS_INTERNAL: damaged, cut off, or something follows.
// Never makes more than `max` bytes, nor more than the member itself says that it has.
int gzip_unpack(struct gzip *g, struct str from, size_t max, struct blob **message,
                struct err *err);
// The body as one gzip member. NULL: it would not be shorter (always so below GZIP_LEAST), or no memory: send it as it is.
struct blob *gzip_pack(struct gzip *g, struct str body);
void gzip_free(struct gzip *g);
