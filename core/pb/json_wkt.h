// SPDX-License-Identifier: Apache-2.0
// The texts of the well-known types that are strings in JSON. Pure functions, any thread.
// https://protobuf.dev/programming-guides/json/#any and the comments of the .proto files are the
// contract.
#pragma once

#include "base/buf.h"

// RFC 3339 with capital T and Z, an offset or Z, 0 to 9 digits of fraction; years 1 to 9999.
bool wkt_read_timestamp(struct str text, int64_t *seconds, int32_t *nanos);
// "-1.5s": 0 to 9 digits of fraction, at most 10,000 years; both numbers get the sign.
bool wkt_read_duration(struct str text, int64_t *seconds, int32_t *nanos);

// Append the text without quotes, with 0, 3, 6 or 9 digits of fraction. False, and nothing is
// appended: out of range, or (durations) of different signs.
bool wkt_put_timestamp(struct buf *out, int64_t seconds, int32_t nanos);
bool wkt_put_duration(struct buf *out, int64_t seconds, int32_t nanos);

// One path of a FieldMask: "fooBar.baz" <-> "foo_bar.baz". False: the other direction would not
// give it back.
bool wkt_put_snake(struct buf *out, struct str camel);
bool wkt_put_camel(struct buf *out, struct str snake);
