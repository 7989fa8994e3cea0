// SPDX-License-Identifier: Apache-2.0
// Certificates as OpenSSL's objects. A self-signed one has its first name as its subject, cut to what a common name may be, and all
// of them as alternative names, which is what clients look at.
#include "acme/certificate.h"

#include "base/encode.h"
#include "base/random.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <time.h>

#define ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31" // id-pe-acmeIdentifier
#define COMMON_NAME_MAX 64
#define SERIAL 16 // bytes

// ---- reading

static int64_t unix_of(const ASN1_TIME *time) {
    struct tm at;
    return ASN1_TIME_to_tm(time, &at) == 1 ? timegm(&at) : 0;
}

static void list_names(const X509 *x, struct buf *out) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS) continue;
        size_t n = (size_t)ASN1_STRING_length(name->d.dNSName);
        const char *p = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
        if (memchr(p, '\0', n) != NULL) continue; // two names in one
        buf_append(out, p, n);
        buf_append_byte(out, '\0');
    }
    GENERAL_NAMES_free(names);
}

// base64url of the authority's key identifier, '.', base64url of the serial number as its DER holds it.
static void name_renewal(const X509 *x, struct buf *out) {
    AUTHORITY_KEYID *id = X509_get_ext_d2i(x, NID_authority_key_identifier, NULL, NULL);
    unsigned char *der = NULL;
    int n = i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &der);
    if (id != NULL && id->keyid != NULL &&
        n > 2) { // a tag and one byte of length: at most 20 follow
        base64url_encode(out, (struct str){(const char *)ASN1_STRING_get0_data(id->keyid),
                                           (size_t)ASN1_STRING_length(id->keyid)});
        buf_append_byte(out, '.');
        base64url_encode(out, (struct str){(const char *)der + 2, (size_t)n - 2});
    }
    OPENSSL_free(der);
    AUTHORITY_KEYID_free(id);
}

int acme_certificate_read(struct str pem, struct acme_certificate *out, struct err *err) {
    *out = (struct acme_certificate){0};
    BIO *bio = BIO_new_mem_buf(pem.n == 0 ? "" : pem.p, (int)pem.n);
    X509 *x = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (x != NULL) {
        list_names(x, &out->names);
        name_renewal(x, &out->renewal_id);
        out->not_before = unix_of(X509_get0_notBefore(x));
        out->not_after = unix_of(X509_get0_notAfter(x));
        out->self_signed = X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
    }
    bool found = x != NULL;
    X509_free(x);
    ERR_clear_error();
    if (!found) return err_set(err, STATUS_INVALID_ARGUMENT, "there is no certificate in PEM form");
    return 0;
}

void acme_certificate_free(struct acme_certificate *c) {
    buf_free(&c->names);
    buf_free(&c->renewal_id);
}

// ---- making

static bool push_name(GENERAL_NAMES *list, struct str host) {
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    if (name == NULL || text == NULL || ASN1_STRING_set(text, host.p, (int)host.n) != 1) {
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    if (sk_GENERAL_NAME_push(list, name) > 0) return true;
    GENERAL_NAME_free(name);
    return false;
}

GENERAL_NAMES *acme_general_names(const struct str *names, size_t count) {
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (push_name(list, names[i])) continue;
        GENERAL_NAMES_free(list);
        list = NULL;
    }
    return list;
}

static bool add_names(X509 *x, const struct str *names, size_t count) {
    GENERAL_NAMES *list = acme_general_names(names, count);
    X509_NAME *subject = X509_get_subject_name(x);
    size_t n = names[0].n > COMMON_NAME_MAX ? COMMON_NAME_MAX : names[0].n;
    bool ok = list != NULL && X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, 0) == 1 &&
              X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC,
                                         (const unsigned char *)names[0].p, (int)n, -1, 0) == 1 &&
              X509_set_issuer_name(x, subject) == 1;
    GENERAL_NAMES_free(list);
    return ok;
}

// A critical extension whose value is the digest as an OCTET STRING in DER.
static bool add_identifier(X509 *x, const unsigned char digest[ACME_DIGEST]) {
    unsigned char der[2 + ACME_DIGEST] = {V_ASN1_OCTET_STRING, ACME_DIGEST};
    memcpy(der + 2, digest, ACME_DIGEST);
    ASN1_OBJECT *kind = OBJ_txt2obj(ACME_IDENTIFIER, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *e = NULL;
    if (kind != NULL && value != NULL && ASN1_OCTET_STRING_set(value, der, sizeof der) == 1)
        e = X509_EXTENSION_create_by_OBJ(NULL, kind, 1, value);
    bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(kind);
    return ok;
}

static bool set_serial(X509 *x) {
    unsigned char bytes[SERIAL];
    random_bytes(bytes, sizeof bytes);
    bytes[0] &= 0x7F; // positive
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL;
    BN_free(number);
    return ok;
}

X509 *acme_self_signed(EVP_PKEY *key, const struct str *names, size_t count, long seconds,
                       const unsigned char digest[ACME_DIGEST]) {
    X509 *x = X509_new();
    bool ok = x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
              X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
              X509_gmtime_adj(X509_getm_notAfter(x), seconds) != NULL &&
              X509_set_pubkey(x, key) == 1 && add_names(x, names, count) &&
              (digest == NULL || add_identifier(x, digest)) && X509_sign(x, key, EVP_sha256()) > 0;
    ERR_clear_error();
    if (ok) return x;
    X509_free(x);
    return NULL;
}
