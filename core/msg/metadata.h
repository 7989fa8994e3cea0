// SPDX-License-Identifier: Apache-2.0
// Metadata (gRPC's word for headers and trailers of a call) as one immutable blob: a run of pairs, each
// u16 key length, u32 value length (host order), key, value. Keys are lower case; values of "-bin" keys are raw bytes.
#pragma once

#include "base/buf.h"

struct metadata_pair {
    struct str key;
    struct str value;
};

void metadata_add(struct buf *b, struct str key, struct str value); // then buf_take
// Iterates: `size_t at = 0; while (metadata_next(blob, &at, &pair)) ...`; false at the end. NULL is empty.
bool metadata_next(const struct blob *blob, size_t *at, struct metadata_pair *pair);
bool metadata_get(const struct blob *blob, struct str key, struct str *value); // the first
// May a service or caller set this key? Letters, digits, '-', '_', '.', lower case; not "grpc-...", not ":...", not a
// header of HTTP itself (content-type, te, connection, ...), nor of CORS ("access-control-...": rpc/cors.h decides).
bool metadata_key_allowed(struct str key);
