// SPDX-License-Identifier: Apache-2.0
// Content codings of HTTP bodies (RFC 9110 section 8.4): gzip (RFC 1952), deflate (RFC 1950) and br (RFC 7932), piece by
// piece. Pure functions over buffers: http_encode.c and http_decode.c put them between a stream and its user.
//
// Encoders come from the pool of a loop, which bounds what they cost: at most so many at a time, and at most half of the
// loop's time (see encoders_take). All of it belongs to one thread.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <sys/types.h>

enum encoding {
    ENCODING_NONE,
    ENCODING_GZIP,
    ENCODING_BR,
    ENCODING_DEFLATE, // from peers only
    ENCODING_UNKNOWN,
};
#define ENCODINGS_TAKEN "gzip, br, deflate" // the value of accept-encoding in a 415

const char *encoding_name(enum encoding which); // "gzip"
// From the value of a content-encoding header: one coding, or none ("identity"). Several, or an unknown one: ENCODING_UNKNOWN.
enum encoding encoding_of(struct str content_encoding);
// From the values of accept-encoding (all lines, joined by commas): what an answer should have, by q-values; of equal ones
// br, which is the cheaper one. ENCODING_NONE: send it as it is, also when the peer says that it takes nothing.
enum encoding encoding_choose(struct str accept_encoding);
// Is it worth the work? Text, JSON, XML, scripts, fonts and pictures that are not compressed; parameters are ignored.
bool encoding_worth(struct str content_type);

// ---- to the peer
struct encoder;

// The encoders of a loop. Zero is an empty one.
struct encoders {
    struct encoder *spare; // gzip's, whose making costs more than their use
    unsigned spare_count;
    unsigned alive;
    int64_t since; // the beginning of the time that is looked at, and what encoding took in it
    int64_t spent;
};
#define ENCODERS_MAX 256 // of a loop: each holds up to 0.6 MB

// NULL: none now (there are ENCODERS_MAX, encoding has had half of the loop's time lately, or no memory): send it as it is.
// `which` is gzip or br.
struct encoder *encoders_take(struct encoders *pool, enum encoding which);
void encoders_give(struct encoders *pool, struct encoder *e); // accepts NULL
void encoders_free(struct encoders *pool);                    // all were given back

enum encoder_op {
    ENCODER_MORE,  // more follows
    ENCODER_FLUSH, // the peer must be able to read all that was given
    ENCODER_END,   // that was all
};
// Appends what is ready; the time that it took is charged to the pool. 0, or negative: no memory.
int encoder_push(struct encoders *pool, struct encoder *e, struct str bytes, enum encoder_op op,
                 struct buf *out);

// ---- from the peer
struct decoder;

struct decoder *decoder_new(enum encoding which); // gzip, br or deflate; NULL: no memory
void decoder_delete(struct decoder *d);           // accepts NULL
// Takes from the front of *bytes and writes at most `max` bytes to `out`; how many it has written. Less than `max`, with
// nothing left of *bytes: it wants more input. Negative: -STATUS_INVALID_ARGUMENT, the bytes are damaged, or something follows
// the end; -STATUS_RESOURCE_EXHAUSTED, no memory.
ssize_t decoder_pull(struct decoder *d, struct str *bytes, char *out, size_t max);
bool decoder_whole(const struct decoder *d); // what was taken is a whole body
