// SPDX-License-Identifier: Apache-2.0
// mica: the command line and the server in one program. Every invocation begins as the command line, a small VM on one
// worker; `mica server` ends it and becomes the server.
#include "base/random.h"
#include "cli.h"
#include "server.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>

int main(int argc, char **argv) {
    struct server_options options = {0};
    bool serve = false;
    // Large blocks are mapped, so that freeing one gives it back: left to itself malloc raises this line to what was
    // freed last, and keeps a large upload's memory for good.
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    signal(SIGPIPE, SIG_IGN); // a peer that has gone is an error of the write
    if (random_start() < 0) {
        fprintf(stderr, "mica: the system gives no random numbers\n");
        return 1;
    }
    int code = cli_run(argc, argv, &options, &serve);
    if (serve) code = server_run(&options);
    server_options_free(&options);
    return code;
}
