// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Files, for the command line. Its context is the struct main_loop.
#pragma once

#include "native.h"

extern const struct native_service NATIVE_FILES;
