// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, made on the spot: an authority, and what it signs. EC keys, so that it takes no time.
#pragma once

#include "base/buf.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define DAY (24L * 3600)

struct certificate {
    X509 *x;
    EVP_PKEY *key;
    char *cert_pem, *key_pem;
};

struct certificate_options {
    const char *cn, *o; // of the subject; o may be NULL
    const char *more;   // another CN
    const char *san;    // "DNS:localhost,IP:127.0.0.1"
    long from, to;      // seconds from now; 0, 0: from yesterday to tomorrow
    const char *passphrase;
    bool authority;
};

static char *pem_text(BIO *bio) {
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    char *text = strndup(p, (size_t)n);
    BIO_free(bio);
    return text;
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static void add_name(X509_NAME *name, const char *field, const char *text) {
    if (text == NULL) return;
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0);
}

// Signed by `by`, or by itself.
static struct certificate certificate_make(const struct certificate *by,
                                           const struct certificate_options *o) {
    static long serial = 1;
    struct certificate c = {.x = X509_new(), .key = EVP_EC_gen("P-256")};
    X509 *issuer = by == NULL ? c.x : by->x;
    X509_set_version(c.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c.x), o->from == 0 ? -DAY : o->from);
    X509_gmtime_adj(X509_getm_notAfter(c.x), o->to == 0 ? DAY : o->to);
    X509_set_pubkey(c.x, c.key);
    X509_NAME *name = X509_get_subject_name(c.x);
    add_name(name, "O", o->o);
    add_name(name, "CN", o->cn);
    add_name(name, "CN", o->more);
    X509_set_issuer_name(c.x, X509_get_subject_name(issuer));
    if (o->authority) add_extension(c.x, issuer, NID_basic_constraints, "critical,CA:TRUE");
    if (o->san != NULL) add_extension(c.x, issuer, NID_subject_alt_name, o->san);
    assert_true(X509_sign(c.x, by == NULL ? c.key : by->key, EVP_sha256()) > 0);
    BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(cert, c.x);
    PEM_write_bio_PKCS8PrivateKey(
        key, c.key, o->passphrase == NULL ? NULL : EVP_aes_256_cbc(), o->passphrase,
        o->passphrase == NULL ? 0 : (int)strlen(o->passphrase), NULL, NULL);
    c.cert_pem = pem_text(cert);
    c.key_pem = pem_text(key);
    return c;
}

static void certificate_free(struct certificate *c) {
    X509_free(c->x);
    EVP_PKEY_free(c->key);
    free(c->cert_pem);
    free(c->key_pem);
}
