// SPDX-License-Identifier: Apache-2.0
// Text encodings of bytes: hex, base64 (RFC 4648), percent (RFC 3986), UTF-8 checks. Pure functions, any thread.
#pragma once

#include "base/buf.h"

void hex_encode(struct buf *out, struct str bytes);
bool hex_decode(struct buf *out, struct str text); // false: not hex

void base64_encode(struct buf *out, struct str bytes);    // standard alphabet, padded
void base64url_encode(struct buf *out, struct str bytes); // RFC 4648 section 5, without padding
bool base64_decode(struct buf *out,
                   struct str text); // both alphabets, padded or not; false: malformed

// Percent-encoding of a gRPC status message: every byte outside 0x20..0x7E, and '%'.
void percent_encode_message(struct buf *out, struct str text);
// Lenient decoding: a '%' that two hex digits do not follow stands for itself. `plus_is_space` for forms and queries.
void percent_decode(struct buf *out, struct str text, bool plus_is_space);

bool utf8_valid(struct str text); // no surrogates, no overlong forms, at most U+10FFFF
// The digits of n into `out`; how many.
#define DECIMAL_MAX 20
size_t decimal_put(char out[DECIMAL_MAX], uint64_t n);
size_t utf8_put(char out[4], uint32_t code_point); // bytes written, 1 to 4
