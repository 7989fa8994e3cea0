// SPDX-License-Identifier: Apache-2.0
// Compiling .proto files: a protoc child process (`protoc --descriptor_set_out --include_imports
// --include_source_info`) writes a FileDescriptorSet, or says what is wrong with file, line and
// column.
#pragma once

#include "base/buf.h"
#include "base/status.h"

// Compiles `files` (paths relative to `root`, which is also the first import path; the well-known
// types and google/api are found by protoc's own include folder). Blocks for some milliseconds:
// never on a loop or worker. On a fault in the sources: -STATUS_INVALID_ARGUMENT, the text is
// protoc's own "file:line:column: message", all lines. Without protoc: -STATUS_FAILED_PRECONDITION
// and the package to install.
int protoc_compile(const char *root, const char *const *files, size_t count, struct blob **set,
                   struct err *err);
// The same with a second import path, absolute; NULL: none.
int protoc_compile_with(const char *root, const char *imports, const char *const *files,
                        size_t count, struct blob **set, struct err *err);
