// SPDX-License-Identifier: Apache-2.0
// What tls.c and tls_context.c share: a context, and what it knows of OpenSSL.
#pragma once

#include "net/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    atomic_uint refs;
    bool server;
    bool http1; // client
    SSL_CTX *ctx;
};

// Called by OpenSSL for every certificate of a peer that is looked at; keeps the reason of a refusal (tls.c).
int tls_verify(int sound, X509_STORE_CTX *store);
