// SPDX-License-Identifier: Apache-2.0
// gRPC's frames: one byte of flags, four of length (big-endian), the message. Bytes come in any pieces.
// A pure parser without a socket; belongs to one stream.
#pragma once

#include "rpc/grpc_gzip.h"

#define GRPC_FRAME_HEAD 5

struct grpc_frame {
    size_t max;        // bytes of one message, decompressed; set before the first feed
    struct gzip *gzip; // what undoes the call's grpc-encoding; NULL: it has none
    bool keep_packed;  // compressed messages are given as they came
    bool compressed;   // the message that came last was
    unsigned char head[GRPC_FRAME_HEAD];
    unsigned head_n; // bytes of the head that are here
    size_t length;   // of the message, once the head is whole
    struct buf body; // what is here of the message
};

// Takes bytes from the front of *bytes up to the end of one message. 1: *message is it, the caller's; 0: all bytes are
// taken and more are needed. -STATUS_RESOURCE_EXHAUSTED: longer than `max`, or no memory; -STATUS_INTERNAL: flags that gRPC
// does not know, compressed without an encoding, or damaged. After an error nothing more may be fed.
int grpc_frame_feed(struct grpc_frame *f, struct str *bytes, struct blob **message,
                    struct err *err);
bool grpc_frame_between(const struct grpc_frame *f); // no message has begun
void grpc_frame_free(struct grpc_frame *f);
void grpc_frame_head(unsigned char head[GRPC_FRAME_HEAD], size_t length, bool compressed);
