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

// TLS-ALPN-01 (tls_challenge.c). For SSL_CTX_set_client_hello_cb, with struct challenges.
int tls_challenge_hello(SSL *ssl, int *alert, void *challenges);
// tls.c: from its ClientHello on a connection is there for nothing else.
void tls_answers_challenge(struct tls *t);
bool tls_is_challenge(const struct tls *t);
