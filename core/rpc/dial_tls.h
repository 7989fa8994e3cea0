// SPDX-License-Identifier: Apache-2.0
// The TLS settings of a dial, as a VM gives them: four texts, each with a NUL at its end: ca, cert, key (PEM) and name, any of
// which may be empty. No text at all: no TLS. Two dials with the same settings are one.
#pragma once

#include "net/conn.h"

struct dial_tls {
    struct blob *settings; // NULL: no TLS
    struct conn_tls conn;  // its host lies in `settings`
};

// -STATUS_INVALID_ARGUMENT with what is wrong. Any thread; may read files of the system.
int dial_tls_create(struct dial_tls *t, struct str settings, struct err *err);
void dial_tls_destroy(struct dial_tls *t);
