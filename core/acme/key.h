// SPDX-License-Identifier: Apache-2.0
// Keys of an ACME client (EC P-256), and what is made with them: signatures, and requests for certificates. A private key
// leaves this room for its file and for TLS only. Any thread.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <openssl/types.h>

EVP_PKEY *acme_key_new(struct err *err); // NULL: RESOURCE_EXHAUSTED. EVP_PKEY_free
// The key of a PEM file, or a new one that is written there (mode 0600). NULL: one line for the operator.
EVP_PKEY *acme_key_open(const char *path, struct err *err);
int acme_key_put_pem(EVP_PKEY *key, struct buf *out); // PKCS #8, not encrypted

#define ACME_SIGNATURE 64 // bytes: r and s, RFC 7518 section 3.4
// The point of the public key as RFC 7518 section 6.2.1 writes it, base64url.
int acme_key_point(const EVP_PKEY *key, struct buf *x, struct buf *y);
int acme_key_sign(EVP_PKEY *key, struct str bytes, unsigned char out[ACME_SIGNATURE]); // ES256
// A request (PKCS #10, DER) for a certificate of these names.
int acme_key_request(EVP_PKEY *key, const struct str *names, size_t count, struct buf *out);
