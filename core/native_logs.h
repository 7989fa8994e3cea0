// SPDX-License-Identifier: Apache-2.0
// The context of mica.core.v1.Logs.
#pragma once

#include "main_loop.h"
#include "store/log_files.h"

struct native_logs {
    struct main_loop *loop;
    struct log_files *files;
};
