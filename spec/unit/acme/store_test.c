// SPDX-License-Identifier: Apache-2.0
// The store: a stand-in, orders and what comes of them, and what a restart finds.
#include "acme_testing.h"

#include "acme/file.h"
#include "acme/key.h"
#include "acme/store.h"

#include <openssl/pem.h>

static const char HOSTS[] = "a.example\0b.example"; // as lists of names are kept
static struct str names[2];

static int set_up(void **state) {
    names[0] = str_of("a.example");
    names[1] = str_of("b.example");
    return make_folder(state);
}

// What an authority makes of a request: a certificate for one or both of the names.
static struct buf issued_for(const struct buf *request, size_t count, long seconds) {
    struct err err = {0};
    const unsigned char *p = (const unsigned char *)request->blob->p;
    X509_REQ *r = d2i_X509_REQ(NULL, &p, (long)request->n);
    EVP_PKEY *authority = acme_key_new(&err);
    X509 *x = acme_self_signed(authority, names, count, seconds, NULL);
    X509_set_pubkey(x, X509_REQ_get0_pubkey(r));
    X509_NAME *issuer = X509_NAME_new();
    X509_NAME_add_entry_by_txt(issuer, "CN", MBSTRING_ASC, (const unsigned char *)"authority", -1,
                               -1, 0);
    X509_set_issuer_name(x, issuer);
    X509_sign(x, authority, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    PEM_write_bio_X509(bio, x);
    long n = BIO_get_mem_data(bio, &text);
    struct buf out = {0};
    buf_append(&out, text, (size_t)n);
    BIO_free(bio);
    X509_NAME_free(issuer);
    X509_free(x);
    EVP_PKEY_free(authority);
    X509_REQ_free(r);
    return out;
}

static struct buf issued(const struct buf *request, size_t count) {
    return issued_for(request, count, 3600);
}

static void refused(struct acme_store *s, struct str chain, const char *text) {
    struct err err = {0};
    assert_int_equal(acme_store_install(s, chain, &err), -STATUS_FAILED_PRECONDITION);
    if (strstr(err.text, text) == NULL) fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static struct acme_store opened(const char *data) {
    struct acme_store s;
    struct err err = {0};
    if (acme_store_open(&s, data, names, 2, &err) < 0) fail_msg("%s", err.text);
    return s;
}

static const char *data_folder(const char *name) {
    const char *path = below(name);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

static void test_order(void **state) {
    (void)state;
    struct err err = {0};
    char data[512], file[600];
    snprintf(data, sizeof data, "%s", data_folder("order"));
    snprintf(file, sizeof file, "%s/acme/certificate.pem", data);
    struct acme_store s = opened(data);
    assert_true(s.current.self_signed);
    assert_memory_equal(buf_p(&s.current.names), HOSTS, sizeof HOSTS);
    assert_int_equal(mode_of(file), 0600);

    struct buf first = {0}, second = {0};
    refused(&s, str_of("x"), "no certificate has been ordered");
    assert_int_equal(acme_store_order(&s, names, 2, &first, &err), 0);
    assert_int_equal(acme_store_order(&s, names, 2, &second, &err), 0);
    struct buf old = issued(&first, 2), half = issued(&second, 1), good = issued(&second, 2);
    struct buf over = issued_for(&second, 2, -10);
    refused(&s, str_of("nonsense"), "no certificate in PEM form");
    refused(&s, buf_str(&old), "for another key");
    refused(&s, buf_str(&half), "not for b.example");
    refused(&s, buf_str(&over), "has expired already");
    struct buf broken = {0}; // what comes after the certificate is
    buf_append_str(&broken, buf_str(&good));
    buf_append_text(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused(&s, buf_str(&broken), "holds a broken certificate");
    assert_true(s.current.self_signed);
    assert_int_equal(acme_store_install(&s, buf_str(&good), &err), 0);
    assert_false(s.current.self_signed);
    refused(&s, buf_str(&good), "no certificate has been ordered"); // the order is over

    struct buf text = {0};
    assert_int_equal(acme_file_read(file, &text), 0);
    assert_non_null(strstr(buf_cstr(&text), "PRIVATE KEY-----"));
    assert_non_null(strstr(buf_cstr(&text), buf_cstr(&good)));
    assert_int_equal(mode_of(file), 0600);
    int64_t until = s.current.not_after;
    acme_store_close(&s);

    s = opened(data); // as after a restart
    assert_false(s.current.self_signed);
    assert_true(s.current.not_after == until);
    acme_store_close(&s);
    buf_free(&first);
    buf_free(&second);
    buf_free(&old);
    buf_free(&half);
    buf_free(&over);
    buf_free(&broken);
    buf_free(&good);
    buf_free(&text);
}

// What cannot be served is replaced; the account stays.
static void test_broken_file(void **state) {
    (void)state;
    char data[512], file[600];
    snprintf(data, sizeof data, "%s", data_folder("broken"));
    snprintf(file, sizeof file, "%s/acme/certificate.pem", data);
    struct acme_store s = opened(data);
    struct buf x = {0}, y = {0}, again = {0};
    acme_key_point(s.account, &x, &y);
    acme_store_close(&s);
    write_text(file, "-----BEGIN CERTIFICATE-----\nhalf");
    s = opened(data);
    assert_true(s.current.self_signed);
    y.n = 0;
    acme_key_point(s.account, &again, &y);
    assert_true(str_equal(buf_str(&x), buf_str(&again)));
    acme_store_close(&s);
    buf_free(&x);
    buf_free(&y);
    buf_free(&again);
}

static void test_unusable_folder(void **state) {
    (void)state;
    struct acme_store s;
    struct err err = {0};
    assert_true(acme_store_open(&s, below("missing"), names, 2, &err) < 0);
    assert_non_null(strstr(err.text, "cannot make the folder"));
    char data[512], file[600];
    snprintf(data, sizeof data, "%s", data_folder("account"));
    acme_store_close(&(struct acme_store){0});
    s = opened(data);
    acme_store_close(&s);
    snprintf(file, sizeof file, "%s/acme/account.key", data);
    write_text(file, "nonsense");
    assert_true(acme_store_open(&s, data, names, 2, &err) < 0);
    assert_non_null(strstr(err.text, "account.key"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_broken_file),
        cmocka_unit_test(test_unusable_folder),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
