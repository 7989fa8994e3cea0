// SPDX-License-Identifier: Apache-2.0
// Certificates: those made here, and the example of RFC 9773 section 4.1.
#include "acme_testing.h"

#include "acme/certificate.h"
#include "acme/key.h"

#include <openssl/pem.h>
#include <time.h>

static char *pem_of(X509 *x) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *p;
    PEM_write_bio_X509(bio, x);
    long n = BIO_get_mem_data(bio, &p);
    char *text = strndup(p, (size_t)n);
    BIO_free(bio);
    return text;
}

static void test_self_signed(void **state) {
    (void)state;
    struct err err = {0};
    static char longest[254];
    memset(longest, 'a', sizeof longest - 1);
    for (size_t i = 60; i < sizeof longest - 1; i += 61) longest[i] = '.';
    struct str names[] = {str_of(longest), str_of("www.example")};
    EVP_PKEY *key = acme_key_new(&err);
    X509 *x = acme_self_signed(key, names, 2, 1000, NULL);
    assert_non_null(x);
    assert_int_equal(X509_verify(x, key), 1);
    assert_int_equal(X509_check_private_key(x, key), 1);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(X509_check_host(x, names[i].p, names[i].n, 0, NULL), 1);

    char *pem = pem_of(x);
    struct acme_certificate read;
    assert_int_equal(acme_certificate_read(str_of(pem), &read, &err), 0);
    assert_true(read.self_signed);
    assert_string_equal(buf_p(&read.names), longest);
    assert_string_equal(buf_p(&read.names) + sizeof longest, "www.example");
    assert_int_equal(read.names.n, sizeof longest + sizeof "www.example");
    assert_true(labs((long)(read.not_after - time(NULL) - 1000)) < 60);
    assert_true(labs((long)(read.not_before - time(NULL) + 3600)) < 60);
    assert_int_equal(read.renewal_id.n, 0);
    acme_certificate_free(&read);
    free(pem);
    X509_free(x);
    EVP_PKEY_free(key);
}

// RFC 8737 section 3: SEQUENCE { OBJECT, BOOLEAN critical, OCTET STRING { OCTET STRING digest } }.
static void test_challenge(void **state) {
    (void)state;
    struct err err = {0};
    unsigned char digest[ACME_DIGEST];
    struct str name = str_of("www.example");
    for (unsigned i = 0; i < sizeof digest; i++) digest[i] = (unsigned char)i;
    EVP_PKEY *key = acme_key_new(&err);
    X509 *x = acme_self_signed(key, &name, 1, 1000, digest);
    ASN1_OBJECT *kind = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    int at = X509_get_ext_by_OBJ(x, kind, -1);
    assert_true(at >= 0);
    X509_EXTENSION *e = X509_get_ext(x, at);
    assert_int_equal(X509_EXTENSION_get_critical(e), 1);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(e);
    assert_int_equal(ASN1_STRING_length(value), 34);
    assert_memory_equal(ASN1_STRING_get0_data(value), "\x04\x20", 2);
    assert_memory_equal(ASN1_STRING_get0_data(value) + 2, digest, sizeof digest);
    ASN1_OBJECT_free(kind);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void test_renewal_id(void **state) {
    (void)state;
    static const unsigned char KEY_ID[] = {0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40,
                                           0x41, 0xE1, 0xB3, 0x7B, 0x84, 0x7B, 0xA0,
                                           0xAE, 0x2C, 0xDE, 0x01, 0xC8, 0xD4};
    struct err err = {0};
    struct str name = str_of("www.example");
    EVP_PKEY *key = acme_key_new(&err);
    X509 *x = acme_self_signed(key, &name, 1, 1000, NULL);
    AUTHORITY_KEYID *id = AUTHORITY_KEYID_new();
    id->keyid = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(id->keyid, KEY_ID, sizeof KEY_ID);
    X509_add1_ext_i2d(x, NID_authority_key_identifier, id, 0, 0);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), 0x87654321);
    X509_sign(x, key, EVP_sha256());
    char *pem = pem_of(x);
    struct acme_certificate read;
    assert_int_equal(acme_certificate_read(str_of(pem), &read, &err), 0);
    assert_string_equal(buf_cstr(&read.renewal_id), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    acme_certificate_free(&read);
    AUTHORITY_KEYID_free(id);
    free(pem);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void test_no_certificate(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"};
    for (size_t i = 0; i < 3; i++) {
        struct acme_certificate read;
        struct err err = {0};
        assert_int_equal(acme_certificate_read(str_of(TEXTS[i]), &read, &err),
                         -STATUS_INVALID_ARGUMENT);
        acme_certificate_free(&read);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_signed),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_renewal_id),
        cmocka_unit_test(test_no_certificate),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
