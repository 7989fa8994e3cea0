// SPDX-License-Identifier: Apache-2.0
// Certificates that are made here (self-signed ones), and what others say. Any thread.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <openssl/x509v3.h>

// What a certificate says.
struct acme_certificate {
    struct buf names;              // the hosts it is for, each ended by a NUL
    int64_t not_before, not_after; // unix seconds
    bool self_signed;
    struct buf
        renewal_id; // as RFC 9773 section 4.1 names it; empty: it has no key identifier of its authority
};

// The first certificate of a PEM text. INVALID_ARGUMENT: it holds none.
int acme_certificate_read(struct str pem, struct acme_certificate *out, struct err *err);
void acme_certificate_free(struct acme_certificate *c);

// One for these names, signed by its own key, valid from an hour ago for `seconds` from now. `digest`: of a key authorization,
// which makes it the answer of TLS-ALPN-01 (RFC 8737 section 3); NULL: none. NULL: out of memory. X509_free.
#define ACME_DIGEST 32
X509 *acme_self_signed(EVP_PKEY *key, const struct str *names, size_t count, long seconds,
                       const unsigned char digest[ACME_DIGEST]);
GENERAL_NAMES *acme_general_names(const struct str *names, size_t count); // NULL: out of memory
