// SPDX-License-Identifier: Apache-2.0
// What this server shows to a certificate authority that wants to see whether a name leads here (RFC 8555 section 8): texts that
// a plain HTTP door answers (HTTP-01), and certificates for handshakes that offer the protocol "acme-tls/1" (TLS-ALPN-01,
// RFC 8737). It is data: who owns the table (the platform's service `acme`) puts in what the authority asks for and takes it
// out again.
//
// Any thread. A lookup takes a lock, which nothing on the way of a call does: only handshakes that offer "acme-tls/1" alone, and
// requests to the door of HTTP-01, look here.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <openssl/types.h>

#define CHALLENGES_MAX 200

struct challenges;

struct challenges *challenges_new(void);      // NULL: out of memory
void challenges_delete(struct challenges *c); // accepts NULL

// Both take the place of an earlier one of the same key. 0; -STATUS_RESOURCE_EXHAUSTED: memory, or CHALLENGES_MAX are there.
int challenges_put_text(struct challenges *c, struct str token, struct str text);
int challenges_put_certificate(struct challenges *c, struct str name, X509 *cert,
                               EVP_PKEY *key); // holds them
void challenges_remove(struct challenges *c,
                       struct str key); // a token or a name; nothing when it is not there

bool challenges_text(struct challenges *c, struct str token, struct buf *out); // false: not there
// A connection's own certificate is that of the name. Names in any case. False: not there.
bool challenges_use_certificate(struct challenges *c, struct str name, SSL *ssl);
