// SPDX-License-Identifier: Apache-2.0
// The certificate files of the front doors, and looking after them: when they change and are sound, connections to come get a
// new context; open ones keep theirs. All functions on the main thread.
#pragma once

#include "net/tls.h"

#include <sys/stat.h>
#include <uv.h>

enum { TLS_CERT, TLS_KEY, TLS_CLIENT_CA, TLS_FILES };

struct tls_stamp { // of the files as they were: who changes one changes this
    struct timespec changed[TLS_FILES];
    off_t size[TLS_FILES];
    ino_t inode[TLS_FILES];
};

struct tls_files {
    const char *paths[TLS_FILES];  // the last may be ""
    struct tls_context *context;   // of connections to come; NULL: not open
    struct tls_stamp loaded;       // what the context was made of, or could not be made of
    struct tls_stamp seen;         // at the last look
    struct challenges *challenges; // as in tls_options
    _Atomic(int64_t) expiry;       // of the context's certificate, unix seconds. Any thread
    uv_timer_t timer;
};

// Paths are borrowed, and may be the same file for certificate and key. Faults are one line for the operator.
int tls_files_open(struct tls_files *f, const char *cert, const char *key, const char *client_ca,
                   struct challenges *challenges, struct err *err);
void tls_files_watch(struct tls_files *f, uv_loop_t *main); // nothing where nothing is open
// Takes up what is in the files now, without waiting for them to settle: for who has just written them.
void tls_files_reload(struct tls_files *f);
void tls_files_unwatch(struct tls_files *f);
void tls_files_close(struct tls_files *f);
