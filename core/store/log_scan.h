// SPDX-License-Identifier: Apache-2.0
// What log_files.c and log_scan.c share: where a service's files are, and reading them.
#pragma once

#include "store/log_files.h"

#include <stdio.h>

#define LOG_PART_MAX 255 // bytes of a file's name

// The folder of a service's files, made of names that cannot leave FOLDER. False: the names are too
// long.
bool log_folder(struct buf *out, const char *folder, struct str ns, struct str service);
// "FOLDER/SEQUENCE.log"
const char *log_file_path(char *out, size_t n, const char *folder, uint64_t sequence);

// The sequence numbers of a folder's files, ascending. A folder that is not there has none. 0 or
// -STATUS_...
struct log_list {
    uint64_t *sequences;
    size_t count;
};
int log_list_read(struct log_list *list, const char *folder, struct err *err);
void log_list_free(struct log_list *list);

// Reads from the query's cursor, or as the query says, and sets the records and the cursor. Any
// thread; blocks.
int log_scan(struct log_read *read, const char *folder, struct err *err);
// The cursor of what was read becomes the place to go on from, whatever the query said.
void log_scan_go_on(struct log_read *read);
