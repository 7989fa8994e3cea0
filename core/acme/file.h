// SPDX-License-Identifier: Apache-2.0
// Small files that hold secrets. Blocking.
#pragma once

#include "base/buf.h"
#include "base/status.h"

int acme_file_read(const char *path, struct buf *out); // 0 or an errno; at most 1 MB
// In one step (a temporary file that is renamed), for the owner only, durable when it returns. Faults are one line for the operator.
int acme_file_write(const char *path, struct str text, struct err *err);
void acme_file_wipe(struct buf *secret); // overwrites the bytes and frees
