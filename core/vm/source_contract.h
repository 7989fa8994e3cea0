// SPDX-License-Identifier: Apache-2.0
// A source that is nothing but a contract: of a service that runs elsewhere. Its main.lua is made up and has no handlers, so it
// can be described as any other, and never started.
#pragma once

#include "vm/source.h"

#define CONTRACT_BYTES ((size_t)1 << 20)

// `protos`: the service's own .proto files; with a count of 0 all that declare services, but those of packages that belong to
// protobuf, gRPC and Mica. The set is held. Nothing in it is trusted: NULL, -STATUS_INVALID_ARGUMENT and what is wrong.
// Takes time that grows with the set: not on a loop or worker.
struct source *source_of_contract(const char *name, struct blob *set, char **protos, size_t count,
                                  bool public, struct err *err);
// The same of a pool that is there already; every name of `protos` must be in it.
struct source *source_of_pool(const char *name, struct pb_pool *pool, char **protos, size_t count,
                              bool public, struct err *err);
