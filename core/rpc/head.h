// SPDX-License-Identifier: Apache-2.0
// What the headers of a request say, and the context that is made from them. Pure but for randomness; any thread.
#pragma once

#include "msg/message.h"
#include "net/http.h"

struct head {
    struct str content_type;
    struct str ns;       // mica-namespace, else micro-namespace; empty when neither is there
    struct str version;  // mica-version: of the service; empty: whichever
    struct str timeout;  // grpc-timeout
    struct str encoding; // grpc-encoding
    struct str accept;
    struct str traceparent; // W3C Trace Context
    uint8_t chain;          // mica-chain: how many calls deep
    struct str origin;      // browsers only, as the next one
    struct str fetch_site;
};

void head_read(struct head *h, const struct http_header *headers, size_t count);
bool head_namespace_valid(struct str ns); // [a-z0-9][a-z0-9-]{0,62}
// A media type without its parameters, compared without regard to case.
bool head_type_is(struct str content_type, const char *type);

// grpc-timeout: 1 to 8 digits and one of H M S m u n. False: malformed.
bool grpc_timeout_parse(struct str text, int64_t *nanoseconds);
// At most nine characters; rounds up, since a deadline must not come early at the other side.
size_t grpc_timeout_format(char out[16], int64_t nanoseconds);

// Fills trace_id, span_id and trace_flags from the header, or begins a new trace when it is absent or malformed.
void head_trace(struct msg_context *context, struct str traceparent);
#define TRACEPARENT_LENGTH 55
void head_traceparent(char out[TRACEPARENT_LENGTH + 1], const struct msg_context *context);

// The headers that a service may see, as a metadata blob (after `first`, which may hold pairs already and is taken):
// without HTTP's own, gRPC's, tokens and what the context has elsewhere; "-bin" values decoded. NULL when there are none;
// *failed when memory ended.
struct blob *head_metadata(struct buf *first, const struct http_header *headers, size_t count,
                           bool *failed);
