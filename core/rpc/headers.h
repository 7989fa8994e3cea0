// SPDX-License-Identifier: Apache-2.0
// A list of headers being made for the peer, and gRPC's way to say how a call ended. One list a loop, used again and
// again; its slices are good until the next headers_begin.
#pragma once

#include "msg/message.h"
#include "net/http.h"

#define HEADERS_MAX 64

struct headers {
    struct http_header items[HEADERS_MAX]; // further ones are dropped
    size_t n;
    struct buf text; // the encoded values
};

// Begins anew with room for the encoded values of `a`, `b` (metadata) and `fault`; each may be NULL. False: no memory.
bool headers_begin(struct headers *h, const struct blob *a, const struct blob *b,
                   const struct msg_fault *fault);
void headers_free(struct headers *h);
void headers_add(struct headers *h, const char *name,
                 struct str value); // both must outlive the use
void headers_add_pair(struct headers *h, struct str name, struct str value); // the same
void headers_add_number(struct headers *h, const char *name, size_t value);
void headers_add_hex(struct headers *h, const char *name, uint64_t value); // 16 digits
// The pairs that a service may send: keys allowed, values without control characters; "-bin" values as base64.
void headers_add_metadata(struct headers *h, const struct blob *metadata);
// grpc-status, grpc-message, grpc-status-details-bin, mica-error-id. Texts are cut so that they fit in what peers accept.
void headers_add_status(struct headers *h, int status, const struct msg_fault *fault);

// Does a list such as "identity,gzip" (grpc-accept-encoding) have the word?
bool headers_list_has(struct str list, const char *word);

// Reads them back. False: there is no grpc-status (or it is no number). *fault may become NULL: nothing was said.
bool grpc_status_read(const struct http_header *headers, size_t count, int *status,
                      struct msg_fault **fault);
