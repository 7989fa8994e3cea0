// SPDX-License-Identifier: Apache-2.0
// What the build embeds: every Lua file of lua/ and services/ as bytecode, and the descriptors of proto/. The tables are
// generated (core/embed.c). With MICA_LUA_PATH set to a checkout, sources are read from there instead, so that a core
// developer need not rebuild.
#pragma once

#include "base/buf.h"

struct embedded_file {
    const char *path; // "lua/mica/errors.lua", "services/platform/api/main.lua", "argparse.lua"
    const unsigned char *bytes;
    size_t n;
};

extern const struct embedded_file EMBEDDED_FILES[];
extern const size_t EMBEDDED_COUNT;
extern const unsigned char EMBEDDED_PROTOS[]; // a FileDescriptorSet
extern const size_t EMBEDDED_PROTOS_SIZE;
