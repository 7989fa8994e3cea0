// SPDX-License-Identifier: Apache-2.0
// Messages that come from the peer on their way to a port that gives credit for them: gRPC's, lines of JSON, a WebSocket's.
//
// While there is credit, bytes are parsed as they come and given back to HTTP's flow control at once; what is sent to the port
// is bounded by the credit. Without credit bytes wait unparsed and are not given back, so the peer stalls when its
// window is used up. So one stream holds at most a window here, one message that is not whole yet, and MSG_WINDOW there.
// A message may be longer than the credit that is left: it is sent when any is left, else long ones could never go. While
// such a message comes, and until the port has taken it, its bytes count as kept (http_keep): the long messages of all
// streams of a connection share a bound.
#pragma once

#include "msg/message.h"
#include "net/http.h"
#include "rpc/grpc_frame.h"

struct intake {
    struct grpc_frame frame; // `item` may ask it whether its message came compressed
    struct buf waiting;      // bytes that came without credit, not yet consumed
    size_t waiting_from;
    int64_t credit;
    // Takes the next message from the front of *bytes: 1; 0: all bytes are taken and it is not whole, then `under_way` says how
    // long it is, as far as is known; negative: a fault.
    int (*next)(struct intake *in, struct str *bytes, struct blob **message, struct err *err);
    size_t under_way;
    bool kept; // of a long message
    // Gives a message to the port; negative stops the intake.
    int (*item)(struct intake *in, struct blob *take);
};

// For gRPC's messages; whoever has others sets `next` after it.
void intake_create(struct intake *in, size_t max,
                   int (*item)(struct intake *in, struct blob *take));
void intake_destroy(struct intake *in);
// `stream` is where bytes are given back; NULL when it has ended. Negative: of the frame or of `item`; nothing more may be fed.
int intake_data(struct intake *in, struct http_stream *stream, struct str bytes, struct err *err);
int intake_credit(struct intake *in, struct http_stream *stream, uint32_t credit, struct err *err);
bool intake_empty(
    const struct intake *in); // nothing waits; with grpc_frame_between: all has been given on
