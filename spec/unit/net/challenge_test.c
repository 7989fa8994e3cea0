// SPDX-License-Identifier: Apache-2.0
// Answers to challenges: the table, and handshakes that offer "acme-tls/1", with both ends in memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/challenge.h"
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "certificates.h"

static const unsigned char ACME[] = "\x0a"
                                    "acme-tls/1";
static const unsigned char BOTH[] = "\x0a"
                                    "acme-tls/1\x02h2";

static struct certificate served, answer;
static struct challenges *challenges;
static struct tls_context *server;

// ---- the table

static void test_texts(void **state) {
    (void)state;
    struct challenges *c = challenges_new();
    struct buf out = {0};
    assert_int_equal(challenges_put_text(c, str_of("Token"), str_of("one")), 0);
    assert_int_equal(challenges_put_text(c, str_of("Token"), str_of("two")), 0);
    assert_false(challenges_text(c, str_of("token"), &out)); // case counts
    assert_false(challenges_text(c, str_of(""), &out));
    assert_true(challenges_text(c, str_of("Token"), &out));
    assert_string_equal(buf_cstr(&out), "two");
    challenges_remove(c, str_of("other"));
    challenges_remove(c, str_of("Token"));
    assert_false(challenges_text(c, str_of("Token"), &out));
    buf_free(&out);
    challenges_delete(c);
    challenges_delete(NULL);
}

static void test_limit(void **state) {
    (void)state;
    struct challenges *c = challenges_new();
    char token[32];
    for (int i = 0; i < CHALLENGES_MAX; i++) {
        snprintf(token, sizeof token, "token%d", i);
        assert_int_equal(challenges_put_text(c, str_of(token), str_of("x")), 0);
    }
    assert_int_equal(challenges_put_text(c, str_of("more"), str_of("x")),
                     -STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(challenges_put_text(c, str_of("token7"), str_of("y")), 0); // in its place
    challenges_remove(c, str_of("token8"));
    assert_int_equal(challenges_put_certificate(c, str_of("a.example"), answer.x, answer.key), 0);
    assert_int_equal(challenges_put_certificate(c, str_of("b.example"), answer.x, answer.key),
                     -STATUS_RESOURCE_EXHAUSTED);
    challenges_delete(c);
}

// ---- handshakes

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
    int rc;
};

static struct client client_new(const unsigned char *offer, size_t n, const char *name) {
    struct client c = {.ctx = SSL_CTX_new(TLS_client_method())};
    c.in = BIO_new(BIO_s_mem());
    c.out = BIO_new(BIO_s_mem());
    c.ssl = SSL_new(c.ctx);
    SSL_set_bio(c.ssl, c.in, c.out);
    SSL_set_connect_state(c.ssl);
    SSL_set_alpn_protos(c.ssl, offer, (unsigned)n);
    if (name != NULL) SSL_set_tlsext_host_name(c.ssl, name);
    return c;
}

static void client_free(struct client *c) {
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    ERR_clear_error();
}

// The server's end, and whether it still works after all has been said.
static int shake(struct client *c, struct tls *t) {
    struct buf out = {0};
    int rc = 0;
    for (int i = 0; i < 10; i++) {
        char plain[4096], *p;
        size_t n;
        c->rc = SSL_do_handshake(c->ssl);
        long size = BIO_get_mem_data(c->out, &p);
        struct str in = {p, (size_t)size};
        if (in.n > 0 && rc == 0) rc = tls_read(t, &in, plain, sizeof plain, &n, &out);
        (void)BIO_reset(c->out);
        BIO_write(c->in, out.n == 0 ? "" : buf_p(&out), (int)out.n);
        out.n = 0;
    }
    ERR_clear_error();
    buf_free(&out);
    return rc;
}

static bool shown(const struct client *c, const struct certificate *wanted) {
    const X509 *x = SSL_get0_peer_certificate(c->ssl);
    return x != NULL && X509_cmp(x, wanted->x) == 0;
}

static void test_answer(void **state) {
    (void)state;
    struct client c = client_new(ACME, sizeof ACME - 1, "A.Example");
    struct tls *t = tls_new(server, NULL);
    assert_true(shake(&c, t) < 0); // it ends with the handshake
    assert_string_equal(tls_fault(t), "a certificate authority has looked");
    assert_true(tls_ready(t)); // no failed handshake
    assert_int_equal(c.rc, 1);
    assert_true(shown(&c, &answer));
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(c.ssl)), 1);
    const unsigned char *agreed;
    unsigned n;
    SSL_get0_alpn_selected(c.ssl, &agreed, &n);
    assert_int_equal(n, 10);
    assert_memory_equal(agreed, "acme-tls/1", 10);
    char byte;
    assert_int_equal(SSL_read(c.ssl, &byte, 1), 0); // close_notify, and no ticket before it
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    assert_true(tls_write(t, str_of("x"), &(struct buf){0}) < 0);
    client_free(&c);
    tls_delete(t);
}

static void refuses(const char *name) {
    struct client c = client_new(ACME, sizeof ACME - 1, name);
    struct tls *t = tls_new(server, NULL);
    assert_true(shake(&c, t) < 0);
    assert_false(tls_ready(t));
    assert_int_equal(c.rc, -1);
    assert_null(SSL_get0_peer_certificate(c.ssl));
    client_free(&c);
    tls_delete(t);
}

static void test_unknown(void **state) {
    (void)state;
    refuses("b.example");
    refuses("a.example.more");
    refuses(NULL);
}

// Who offers more than one protocol is a client as any other, also for a name that is being proved.
static void test_others(void **state) {
    (void)state;
    static const unsigned char H2[] = "\x02h2";
    struct client clients[] = {client_new(BOTH, sizeof BOTH - 1, "a.example"),
                               client_new(H2, sizeof H2 - 1, "a.example")};
    for (size_t i = 0; i < 2; i++) {
        struct tls *t = tls_new(server, NULL);
        assert_int_equal(shake(&clients[i], t), 0);
        assert_true(tls_ready(t));
        assert_int_equal(tls_alpn(t), TLS_ALPN_H2);
        assert_true(shown(&clients[i], &served));
        client_free(&clients[i]);
        tls_delete(t);
    }
}

static int set_up(void **state) {
    (void)state;
    struct err err = {0};
    served = certificate_make(NULL, &(struct certificate_options){.cn = "served"});
    answer = certificate_make(NULL, &(struct certificate_options){.cn = "answer"});
    challenges = challenges_new();
    challenges_put_certificate(challenges, str_of("a.example"), answer.x, answer.key);
    struct tls_options o = {.server = true,
                            .cert = {str_of(served.cert_pem), "cert"},
                            .key = {str_of(served.key_pem), "key"},
                            .ca = {str_of(served.cert_pem), "ca"}, // clients are asked for theirs
                            .challenges = challenges};
    server = tls_context_new(&o, &err);
    return server == NULL;
}

static int tear_down(void **state) {
    (void)state;
    tls_context_drop(server);
    challenges_delete(challenges);
    certificate_free(&served);
    certificate_free(&answer);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),  cmocka_unit_test(test_limit),
        cmocka_unit_test(test_answer), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
