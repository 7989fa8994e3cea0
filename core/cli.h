// SPDX-License-Identifier: Apache-2.0
// The command line: boots a VM for lua/cli/main.lua and runs it to its end.
#pragma once

#include "server.h"

// Blocks. The exit code; or, with `*serve` set, the process should become the server with `options`.
int cli_run(int argc, char **argv, struct server_options *options, bool *serve);
