// SPDX-License-Identifier: Apache-2.0
// A service packed into one file: mica.core.v1.Bundle (core.proto). Pure functions over bytes; any
// thread, but they take time that grows with the size: not on a loop or worker.
#pragma once

#include "vm/source.h"

#define BUNDLE_BYTES ((size_t)64 << 20)

// The bundle of a source with its definition (an encoded mica.core.v1.Definition, may be NULL);
// NULL: memory ended, or it is larger than BUNDLE_BYTES.
struct blob *bundle_pack(const struct source *s, const struct blob *definition, struct err *err);
// The source that a bundle holds. Nothing in the bytes is trusted: NULL, -STATUS_INVALID_ARGUMENT
// and what is wrong.
struct source *source_from_bundle(struct str bytes, struct err *err);
