// SPDX-License-Identifier: Apache-2.0
// The context of mica.core.v1.Cli: the process of a command line.
#pragma once

#include "base/buf.h"
#include "main_loop.h"
#include "server.h"

#include <pthread.h>

struct native_cli {
    struct main_loop *loop;
    int argc; // without the program's name
    char **argv;
    // How the command line ends; read when `ended` has been called.
    struct server_options *options; // filled in by Serve
    bool serve;
    int code;
    void (*ended)(void *user); // by Exit or Serve, whichever comes first; any thread
    void *user;
    atomic_bool over;
    pthread_mutex_t reading; // one request at a time reads standard input
    struct buf input;        // read and not yet answered; under `reading`
};
