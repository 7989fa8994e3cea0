// SPDX-License-Identifier: Apache-2.0
// The folder that holds everything a server keeps, and the lock that gives it to one server at a time.
#pragma once

#include "base/status.h"

struct data_folder {
    char *path; // without trailing slash
    int lock;   // a descriptor; -1: not open
};

// Makes the folder (and those above it) for the owner only, checks that files can be written in it, and locks it. Faults are
// one line for the operator: -STATUS_PERMISSION_DENIED, -STATUS_FAILED_PRECONDITION (locked by another server, no folder),
// -STATUS_RESOURCE_EXHAUSTED (disk full).
int data_folder_open(struct data_folder *f, const char *path, struct err *err);
void data_folder_close(struct data_folder *f); // frees the lock; also after a failed open
