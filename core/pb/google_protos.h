// SPDX-License-Identifier: Apache-2.0
// The .proto files of proto/google: what authors may import without having them (google/api/annotations.proto). The build
// makes the table.
#pragma once

#include <stddef.h>

struct google_proto {
    const char *name; // "google/api/http.proto"; NULL ends the table
    const char *text;
    size_t n;
};
extern const struct google_proto GOOGLE_PROTOS[];
