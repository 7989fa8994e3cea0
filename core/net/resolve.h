// SPDX-License-Identifier: Apache-2.0
// What a name means: all its addresses, without blocking a loop.
#pragma once

#include "base/status.h"
#include "net/loop.h"

#define RESOLVED_MOST 64 // further addresses of a name are left out

struct resolved {
    char address[64]; // "127.0.0.1:80", "[::1]:80": as conn_connect takes it
    bool local;       // leads to this machine or its link: address_sockaddr_is_local
};

// `list` in the system's order, each address once; with n = 0 `err` says why. Called once, on the loop's thread, never from
// inside resolve_name.
typedef void (*resolve_done)(void *user, const struct resolved *list, size_t n,
                             const struct err *err);
// Resolves the host of "host:port", which must be well formed. On the loop's thread.
void resolve_name(struct loop *loop, const char *address, resolve_done done, void *user);
