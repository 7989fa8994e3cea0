// SPDX-License-Identifier: Apache-2.0
// Large values as files, named by the SHA-256 of their content (in hex, lower case).
//
// All functions but blobs_path block on the disk: call them on threads that may wait. Any thread;
// an upload is worked on by one call at a time, another one at the same moment is refused.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#define BLOBS_SIZE_MAX (1ull << 30)     // bytes of a blob
#define BLOBS_UPLOADS_MAX 64            // open at a time
#define BLOBS_IDLE (600 * 1000000000LL) // nanoseconds; then an upload that nobody works on ends
#define BLOBS_NAME (64 + 1)             // a hash in hex, NUL included

struct blobs;

// Makes the folders below `folder` and ends uploads that a former process has left.
struct blobs *blobs_open(const char *folder, struct err *err);
void blobs_close(struct blobs *b); // uploads that are not committed end; accepts NULL

// An upload. size_limit 0: BLOBS_SIZE_MAX. A fault of append (too large, no room) or commit ends
// the upload, except that it was in use (-STATUS_FAILED_PRECONDITION). -STATUS_NOT_FOUND: it is
// over.
int blobs_begin(struct blobs *b, uint64_t size_limit, uint64_t *upload, struct err *err);
int blobs_append(struct blobs *b, uint64_t upload, struct str data, uint64_t *size,
                 struct err *err);
// Durable when it returns 0. `sha256` is what the hash must be, or empty; -STATUS_DATA_LOSS: it is
// another one.
int blobs_commit(struct blobs *b, uint64_t upload, const char *sha256, char name[BLOBS_NAME],
                 uint64_t *size, struct err *err);
int blobs_abort(struct blobs *b, uint64_t upload, struct err *err);
void blobs_expire(struct blobs *b, int64_t now); // ends idle uploads; now: clock_now

// Appends up to `limit` bytes from `offset` (none beyond the end). -STATUS_NOT_FOUND;
// -STATUS_INVALID_ARGUMENT: no hash.
int blobs_read(struct blobs *b, const char *sha256, uint64_t offset, uint64_t limit,
               struct buf *out, uint64_t *size, struct err *err);
int blobs_delete(struct blobs *b, const char *sha256,
                 struct err *err); // 0 also when it is not there
int blobs_path(struct blobs *b, const char *sha256, struct buf *out, struct err *err); // the file's
