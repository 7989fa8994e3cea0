// SPDX-License-Identifier: Apache-2.0
// Keys: the example of RFC 7515 A.3, files, requests.
#include "acme_testing.h"

#include "acme/key.h"
#include "base/encode.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

static const char X[] = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
static const char Y[] = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
static const char D[] = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
static const char INPUT[] =
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    "bS9pc19yb290Ijp0cnVlfQ";
static const char SIGNATURE[] =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmW"
    "QxfKTUJqPP3-Kg6NU1Q";

static struct buf decoded(const char *text) {
    struct buf out = {0};
    assert_true(base64_decode(&out, str_of(text)));
    return out;
}

static BIGNUM *number(const char *text) {
    struct buf bytes = decoded(text);
    BIGNUM *n = BN_bin2bn((const unsigned char *)buf_p(&bytes), (int)bytes.n, NULL);
    buf_free(&bytes);
    return n;
}

static EVP_PKEY *rfc_key(void) {
    struct buf x = decoded(X), y = decoded(Y);
    unsigned char point[65] = {4};
    BIGNUM *d = number(D);
    EVP_PKEY *key = NULL;
    memcpy(point + 1, buf_p(&x), 32);
    memcpy(point + 33, buf_p(&y), 32);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, d);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_free(d);
    buf_free(&x);
    buf_free(&y);
    return key;
}

// Is it r and s of a sound ES256 signature?
static bool verifies(EVP_PKEY *key, struct str bytes, const unsigned char *raw) {
    ECDSA_SIG *pair = ECDSA_SIG_new();
    unsigned char *der = NULL;
    ECDSA_SIG_set0(pair, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
    int n = i2d_ECDSA_SIG(pair, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key);
    int rc = EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)bytes.p, bytes.n);
    EVP_MD_CTX_free(ctx);
    ECDSA_SIG_free(pair);
    OPENSSL_free(der);
    return rc == 1;
}

static void test_rfc_7515(void **state) {
    (void)state;
    EVP_PKEY *key = rfc_key();
    struct buf x = {0}, y = {0}, theirs = decoded(SIGNATURE);
    assert_int_equal(acme_key_point(key, &x, &y), 0);
    assert_string_equal(buf_cstr(&x), X);
    assert_string_equal(buf_cstr(&y), Y);
    assert_true(verifies(key, str_of(INPUT), (const unsigned char *)buf_p(&theirs)));
    // Numbers that begin with a zero byte keep it: one in 128 signatures has one.
    for (int i = 0; i < 1000; i++) {
        unsigned char ours[ACME_SIGNATURE];
        assert_int_equal(acme_key_sign(key, str_of(INPUT), ours), 0);
        assert_true(verifies(key, str_of(INPUT), ours));
        ours[i % 64] ^= 1;
        assert_false(verifies(key, str_of(INPUT), ours));
    }
    buf_free(&x);
    buf_free(&y);
    buf_free(&theirs);
    EVP_PKEY_free(key);
}

static void test_files(void **state) {
    (void)state;
    struct err err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", below("account.key"));
    EVP_PKEY *made = acme_key_open(path, &err), *read = acme_key_open(path, &err);
    assert_non_null(made);
    assert_non_null(read);
    assert_int_equal(EVP_PKEY_eq(made, read), 1);
    assert_int_equal(mode_of(path), 0600);
    EVP_PKEY_free(made);
    EVP_PKEY_free(read);

    static const char *const BROKEN[] = {"", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n"};
    for (size_t i = 0; i < 3; i++) {
        write_text(path, BROKEN[i]);
        assert_null(acme_key_open(path, &err));
        assert_int_equal(err.code, STATUS_FAILED_PRECONDITION);
        assert_non_null(strstr(err.text, path));
    }
    assert_null(acme_key_open(below("no/such/folder"), &err));
    assert_int_equal(err.code, STATUS_UNAVAILABLE);
    assert_null(acme_key_open(folder, &err)); // a folder
    assert_int_equal(err.code, STATUS_UNAVAILABLE);
}

static void test_request(void **state) {
    (void)state;
    struct err err = {0};
    EVP_PKEY *key = acme_key_new(&err);
    struct str names[] = {str_of("a.example"), str_of("b.example")};
    struct buf der = {0};
    assert_int_equal(acme_key_request(key, names, 2, &der), 0);
    const unsigned char *p = (const unsigned char *)buf_p(&der);
    X509_REQ *request = d2i_X509_REQ(NULL, &p, (long)der.n);
    assert_non_null(request);
    assert_int_equal(X509_REQ_verify(request, key), 1);
    assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 0);
    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(request);
    assert_int_equal(sk_X509_EXTENSION_num(list), 1);
    GENERAL_NAMES *found = X509V3_EXT_d2i(sk_X509_EXTENSION_value(list, 0));
    assert_int_equal(sk_GENERAL_NAME_num(found), 2);
    const ASN1_STRING *second = sk_GENERAL_NAME_value(found, 1)->d.dNSName;
    assert_memory_equal(ASN1_STRING_get0_data(second), "b.example", 9);
    GENERAL_NAMES_free(found);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    X509_REQ_free(request);
    buf_free(&der);
    EVP_PKEY_free(key);
}

static void test_base64url(void **state) {
    (void)state;
    static const char *const PAIRS[][2] = {{"", ""},
                                           {"\xff", "_w"},
                                           {"\xff\xef", "_-8"},
                                           {"\xfb\xff\xbf", "-_-_"},
                                           {"Mica", "TWljYQ"}};
    for (size_t i = 0; i < sizeof PAIRS / sizeof PAIRS[0]; i++) {
        struct buf out = {0};
        buf_append_text(&out, "x=");
        base64url_encode(&out, str_of(PAIRS[i][0]));
        assert_string_equal(buf_cstr(&out) + 2, PAIRS[i][1]);
        assert_memory_equal(buf_p(&out), "x=", 2);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_7515),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_base64url),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
