// SPDX-License-Identifier: Apache-2.0
// multipart/form-data (RFC 7578, RFC 2046 section 5.1), read as it comes: a pure incremental function over bytes.
//
//   struct multipart m;
//   multipart_create(&m, boundary);
//   while ((event = multipart_next(&m, &bytes)) != MULTIPART_MORE) ...    for every piece of the body
//   multipart_ended(&m)                                                   when there is no more
//
// The content of a part comes in pieces, which are slices of what was fed or of the boundary; nothing is held but the headers
// of the part at hand, at most 8 KB. A body has at most 1000 parts.
#pragma once

#include "base/buf.h"

#define MULTIPART_BOUNDARY_MAX 70

enum multipart_event {
    MULTIPART_MORE,     // all bytes were read
    MULTIPART_PART,     // a part begins: `name`, `filename`, `content_type`
    MULTIPART_DATA,     // a piece of its content: `data`, never empty
    MULTIPART_PART_END, //
    MULTIPART_ERROR,    // `error` says why; again at every further call
};

struct multipart {
    char delimiter[4 + MULTIPART_BOUNDARY_MAX]; // "\r\n--" and the boundary
    size_t delimiter_n;
    int state;
    size_t matched;  // bytes of the delimiter that stand at the end of what was read
    size_t not_data; // of these, how many are no content of the part (the line end before it)
    size_t skipped;  // bytes before the first part and behind the last one
    unsigned parts;
    bool quiet_end;    // a line of the delimiter is read: spaces so far
    struct buf head;   // the headers of the part
    const char *error; // static
    // Of the part at hand; texts until the next one begins. `has_filename`: it is a file.
    struct str name, filename, content_type;
    struct buf texts;
    bool has_filename;
    struct str data;
};

// The boundary that a content-type names: 1 to 70 characters of RFC 2046. False: there is none.
bool multipart_boundary(struct str content_type, char out[MULTIPART_BOUNDARY_MAX], size_t *n);
void multipart_create(struct multipart *m, struct str boundary); // a valid one
void multipart_destroy(struct multipart *m);
// Reads on from the front of *bytes.
enum multipart_event multipart_next(struct multipart *m, struct str *bytes);
bool multipart_ended(const struct multipart *m); // the closing delimiter was read
