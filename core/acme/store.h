// SPDX-License-Identifier: Apache-2.0
// What a client of ACME keeps: DIR/account.key, and DIR/certificate.pem, which holds the certificate's private key, the
// certificate and its chain. That one file is what the doors serve (tls_files.h), so key and certificate change together. While an
// order is under way its key is in memory only: an order that does not come to an end is begun anew, with another key.
//
// Any thread, after acme_store_open.
#pragma once

#include "acme/certificate.h"

#include <pthread.h>

struct acme_store {
    pthread_mutex_t lock; // of all below but `account` and `file`, which do not change
    EVP_PKEY *account;
    char *file;                      // of the certificate
    EVP_PKEY *pending;               // of the certificate that is being ordered; NULL: none
    struct buf pending_names;        // each ended by a NUL
    struct acme_certificate current; // what the file holds
};

// Opens the folder DATA/acme. Where there is no certificate that can be used, a self-signed one for these names stands in, so
// that there is something to serve. Faults are one line for the operator.
int acme_store_open(struct acme_store *s, const char *data, const struct str *names, size_t count,
                    struct err *err);
void acme_store_close(struct acme_store *s);

// A new key and the request for a certificate of these names (PKCS #10, DER), in place of an earlier one.
int acme_store_order(struct acme_store *s, const struct str *names, size_t count,
                     struct buf *request, struct err *err);
// The chain (PEM) that came of the last order takes the file's place. FAILED_PRECONDITION: nothing is ordered, or it is not what
// was. Blocking.
int acme_store_install(struct acme_store *s, struct str chain, struct err *err);
