// SPDX-License-Identifier: Apache-2.0
// OpenSSL speaks of signatures in DER, of points as octet strings, and of requests as objects; here they become what ACME
// sends. Buffers that held a private key are wiped.
#include "acme/key.h"

#include "acme/certificate.h"
#include "acme/file.h"
#include "base/encode.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define COORDINATE 32

static int no_memory(struct err *err) {
    ERR_clear_error();
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

// ---- files

EVP_PKEY *acme_key_new(struct err *err) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) no_memory(err);
    return key;
}

int acme_key_put_pem(EVP_PKEY *key, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_secmem());
    char *p;
    bool ok =
        bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (ok) {
        long n = BIO_get_mem_data(bio, &p);
        buf_append(out, p, (size_t)n);
    }
    BIO_free(bio);
    ERR_clear_error();
    return ok && !out->failed ? 0 : -STATUS_RESOURCE_EXHAUSTED;
}

static EVP_PKEY *read_key(const char *path, struct str pem, struct err *err) {
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
    BIO_free(bio);
    ERR_clear_error();
    bool fits = key != NULL && EVP_PKEY_get_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) == 256;
    if (fits) return key;
    EVP_PKEY_free(key);
    err_set(err, STATUS_FAILED_PRECONDITION,
            "%s holds no EC key in PEM form: move it away, and a new account is made", path);
    return NULL;
}

EVP_PKEY *acme_key_open(const char *path, struct err *err) {
    struct buf pem = {0};
    EVP_PKEY *key = NULL;
    int error = acme_file_read(path, &pem);
    if (error == 0) {
        key = read_key(path, buf_str(&pem), err);
    } else if (error == ENOENT && (key = acme_key_new(err)) != NULL) {
        int rc = acme_key_put_pem(key, &pem);
        if (rc < 0) no_memory(err);
        if (rc == 0) rc = acme_file_write(path, buf_str(&pem), err);
        if (rc < 0) {
            EVP_PKEY_free(key);
            key = NULL;
        }
    } else if (error != ENOENT) {
        err_set(err, STATUS_UNAVAILABLE, "%s cannot be read: %s", path, strerror(error));
    }
    acme_file_wipe(&pem);
    return key;
}

// ---- JOSE

int acme_key_point(const EVP_PKEY *key, struct buf *x, struct buf *y) {
    BIGNUM *bx = NULL, *by = NULL;
    unsigned char bytes[2][COORDINATE];
    bool ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &bx) == 1 &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &by) == 1 &&
              BN_bn2binpad(bx, bytes[0], COORDINATE) == COORDINATE &&
              BN_bn2binpad(by, bytes[1], COORDINATE) == COORDINATE;
    BN_free(bx);
    BN_free(by);
    ERR_clear_error();
    if (!ok) return -STATUS_RESOURCE_EXHAUSTED;
    base64url_encode(x, (struct str){(const char *)bytes[0], COORDINATE});
    base64url_encode(y, (struct str){(const char *)bytes[1], COORDINATE});
    return x->failed || y->failed ? -STATUS_RESOURCE_EXHAUSTED : 0;
}

static int split(const unsigned char *der, size_t n, unsigned char out[ACME_SIGNATURE]) {
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)n);
    bool ok = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, COORDINATE) == COORDINATE &&
              BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + COORDINATE, COORDINATE) == COORDINATE;
    ECDSA_SIG_free(pair);
    return ok ? 0 : -STATUS_RESOURCE_EXHAUSTED;
}

int acme_key_sign(EVP_PKEY *key, struct str bytes, unsigned char out[ACME_SIGNATURE]) {
    unsigned char der[80]; // 72 at most for P-256
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &n, (const unsigned char *)bytes.p, bytes.n) == 1;
    EVP_MD_CTX_free(ctx);
    int rc = ok ? split(der, n, out) : -STATUS_RESOURCE_EXHAUSTED;
    ERR_clear_error();
    return rc;
}

// ---- requests

static bool add_names(X509_REQ *request, const struct str *names, size_t count) {
    STACK_OF(X509_EXTENSION) *list = NULL;
    GENERAL_NAMES *hosts = acme_general_names(names, count);
    bool ok = hosts != NULL &&
              X509V3_add1_i2d(&list, NID_subject_alt_name, hosts, 0, X509V3_ADD_DEFAULT) == 1 &&
              X509_REQ_add_extensions(request, list) == 1;
    GENERAL_NAMES_free(hosts);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return ok;
}

int acme_key_request(EVP_PKEY *key, const struct str *names, size_t count, struct buf *out) {
    X509_REQ *request = X509_REQ_new();
    unsigned char *der = NULL;
    int n = 0;
    bool ok = request != NULL && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
              X509_REQ_set_pubkey(request, key) == 1 && add_names(request, names, count) &&
              X509_REQ_sign(request, key, EVP_sha256()) > 0 &&
              (n = i2d_X509_REQ(request, &der)) > 0;
    if (ok) buf_append(out, der, (size_t)n);
    OPENSSL_free(der);
    X509_REQ_free(request);
    ERR_clear_error();
    return ok && !out->failed ? 0 : -STATUS_RESOURCE_EXHAUSTED;
}
