// SPDX-License-Identifier: Apache-2.0
// Contexts: from PEM texts to an SSL_CTX with our rules. Any thread.
//
// Every text is read completely before anything is made of it, so a file that is being written when it is read is refused
// and not half used. The system's trusted certificates are looked up one by one when a server names its authority
// (OpenSSL's hashed folder), in a store that all clients share.
#include "net/tls_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdlib.h>

#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20" // of TLS 1.2; those of 1.3 are all of this kind

// ---- faults

static int no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

// The last reason that OpenSSL has noted; clears them.
static const char *reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    return text == NULL ? "no reason is given" : text;
}

static int unusable(struct err *err, const struct tls_pem *pem) {
    return err_set(err, STATUS_INVALID_ARGUMENT, "%s cannot be used: %s", pem->name, reason());
}

// ---- PEM

static BIO *reader(const struct tls_pem *pem) {
    return BIO_new_mem_buf(pem->text.n == 0 ? "" : pem->text.p, (int)pem->text.n);
}

// All certificates of a text. NULL: it holds none, or one of them is broken.
static STACK_OF(X509) * read_certificates(const struct tls_pem *pem, struct err *err) {
    BIO *bio = reader(pem);
    STACK_OF(X509) *list = sk_X509_new_null();
    X509 *x = NULL;
    if (bio != NULL && list != NULL) {
        while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
            if (sk_X509_push(list, x) == 0) X509_free(x);
        }
    }
    BIO_free(bio);
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (at_end && sk_X509_num(list) > 0) {
        ERR_clear_error();
        return list;
    }
    if (at_end) {
        ERR_clear_error();
        err_set(err, STATUS_INVALID_ARGUMENT, "%s holds no certificate in PEM form", pem->name);
    } else {
        err_set(err, STATUS_INVALID_ARGUMENT, "%s holds a broken certificate: %s", pem->name,
                reason());
    }
    sk_X509_pop_free(list, X509_free);
    return NULL;
}

static int refuse_passphrase(char *to, int size, int writing, void *asked) {
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static EVP_PKEY *read_key(const struct tls_pem *pem, struct err *err) {
    static const char MARK[] = "PRIVATE KEY-----"; // of every form that there is
    bool asked = false;
    if (pem->text.n == 0 || memmem(pem->text.p, pem->text.n, MARK, sizeof MARK - 1) == NULL) {
        err_set(err, STATUS_INVALID_ARGUMENT, "%s holds no private key in PEM form", pem->name);
        return NULL;
    }
    BIO *bio = reader(pem);
    EVP_PKEY *key = NULL;
    if (bio != NULL) key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked);
    BIO_free(bio);
    if (key != NULL) {
        ERR_clear_error();
        return key;
    }
    if (asked) {
        ERR_clear_error();
        err_set(err, STATUS_INVALID_ARGUMENT,
                "%s is encrypted, and nobody is there to give the passphrase: decrypt it with "
                "openssl pkey -in FILE -out NEW",
                pem->name);
    } else {
        err_set(err, STATUS_INVALID_ARGUMENT, "%s holds a broken private key: %s", pem->name,
                reason());
    }
    return NULL;
}

// ---- who we are

static int use_chain(SSL_CTX *ctx, STACK_OF(X509) * list) {
    if (SSL_CTX_use_certificate(ctx, sk_X509_value(list, 0)) != 1) return -1;
    for (int i = 1; i < sk_X509_num(list); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(list, i)) != 1) return -1;
    }
    return 0;
}

static int use_own(SSL_CTX *ctx, const struct tls_options *o, struct err *err) {
    int rc = -STATUS_INVALID_ARGUMENT;
    STACK_OF(X509) *list = read_certificates(&o->cert, err);
    if (list == NULL) return rc;
    EVP_PKEY *key = read_key(&o->key, err);
    if (key == NULL) goto out;
    if (X509_check_private_key(sk_X509_value(list, 0), key) != 1) {
        ERR_clear_error();
        rc = err_set(err, STATUS_INVALID_ARGUMENT,
                     "%s does not belong to the certificate in %s: the server's own certificate "
                     "must come first there",
                     o->key.name, o->cert.name);
    } else if (use_chain(ctx, list) < 0) {
        rc = unusable(err, &o->cert);
    } else if (SSL_CTX_use_PrivateKey(ctx, key) != 1) {
        rc = unusable(err, &o->key);
    } else {
        rc = 0;
    }
out:
    sk_X509_pop_free(list, X509_free);
    EVP_PKEY_free(key);
    return rc;
}

// ---- whom we trust

static X509_STORE *store_of(STACK_OF(X509) * list) {
    X509_STORE *store = X509_STORE_new();
    for (int i = 0; store != NULL && i < sk_X509_num(list); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(list, i)) == 1) continue;
        X509_STORE_free(store);
        return NULL;
    }
    // What is named is trusted, also when it is not at the end of its chain.
    if (store != NULL) X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return store;
}

// A server also tells the names, so that a client knows which of its certificates to give.
static int ask_for(SSL_CTX *ctx, STACK_OF(X509) * list) {
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (SSL_CTX_add_client_CA(ctx, sk_X509_value(list, i)) != 1) return -1;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_verify); // and no FAIL_IF_NO_PEER_CERT
    return 0;
}

static int trust(SSL_CTX *ctx, const struct tls_options *o, struct err *err) {
    STACK_OF(X509) *list = read_certificates(&o->ca, err);
    if (list == NULL) return -STATUS_INVALID_ARGUMENT;
    X509_STORE *store = store_of(list);
    int rc = 0;
    if (store == NULL || (o->server && ask_for(ctx, list) < 0)) {
        rc = unusable(err, &o->ca);
        X509_STORE_free(store);
    } else {
        SSL_CTX_set_cert_store(ctx, store); // takes it
    }
    sk_X509_pop_free(list, X509_free);
    return rc;
}

static pthread_once_t system_once = PTHREAD_ONCE_INIT;
static X509_STORE *system_store; // for the life of the process

static void find_system_store(void) {
    system_store = X509_STORE_new();
    if (system_store != NULL) X509_STORE_set_default_paths(system_store);
    ERR_clear_error(); // there may be no such folder: then nobody is trusted
}

static int trust_system(SSL_CTX *ctx, struct err *err) {
    pthread_once(&system_once, find_system_store);
    if (system_store == NULL) return no_memory(err);
    SSL_CTX_set1_cert_store(ctx, system_store);
    return 0;
}

// ---- protocols

// Ours in our order, of what the client offers.
static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                  const unsigned char *in, unsigned in_n, void *arg) {
    static const char *const OURS[] = {"h2", "http/1.1"};
    (void)arg;
    if (tls_is_challenge(SSL_get_app_data(ssl))) { // it has offered one protocol
        *out = in + 1;
        *out_n = in[0];
        return SSL_TLSEXT_ERR_OK;
    }
    for (size_t k = 0; k < 2; k++) {
        size_t n = strlen(OURS[k]);
        for (unsigned at = 0; at < in_n && in[at] < in_n - at; at += 1U + in[at]) {
            if (in[at] != n || memcmp(in + at + 1, OURS[k], n) != 0) continue;
            *out = in + at + 1;
            *out_n = (unsigned char)n;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; // no_application_protocol
}

static int set_rules(SSL_CTX *ctx, const struct tls_options *o) {
    static const unsigned char H2[] = {2, 'h', '2'};
    static const unsigned char HTTP1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    static const unsigned char SESSIONS[] = "mica"; // tickets are good for this server only
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); // idle connections are many
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1)
        return -1;
    if (o->server) {
        SSL_CTX_set_alpn_select_cb(ctx, choose, NULL);
        return SSL_CTX_set_session_id_context(ctx, SESSIONS, sizeof SESSIONS - 1) == 1 ? 0 : -1;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_verify);
    int rc = o->http1 ? SSL_CTX_set_alpn_protos(ctx, HTTP1, sizeof HTTP1)
                      : SSL_CTX_set_alpn_protos(ctx, H2, sizeof H2);
    return rc == 0 ? 0 : -1; // 0 is good here
}

// ---- life

struct tls_context *tls_context_new(const struct tls_options *o, struct err *err) {
    struct tls_context *c = calloc(1, sizeof *c);
    if (c == NULL) {
        no_memory(err);
        return NULL;
    }
    ERR_clear_error();
    atomic_init(&c->refs, 1);
    c->server = o->server;
    c->http1 = o->http1;
    c->ctx = SSL_CTX_new(o->server ? TLS_server_method() : TLS_client_method());
    if (c->ctx == NULL || set_rules(c->ctx, o) < 0) {
        err_set(err, STATUS_INTERNAL, "TLS cannot be set up: %s", reason());
        goto fail;
    }
    if (o->challenges != NULL)
        SSL_CTX_set_client_hello_cb(c->ctx, tls_challenge_hello, o->challenges);
    if ((o->server || o->cert.text.n > 0) && use_own(c->ctx, o, err) < 0) goto fail;
    if (o->ca.text.n > 0) {
        if (trust(c->ctx, o, err) < 0) goto fail;
    } else if (!o->server && trust_system(c->ctx, err) < 0) {
        goto fail;
    }
    return c;
fail:
    tls_context_drop(c);
    return NULL;
}

struct tls_context *tls_context_hold(struct tls_context *c) {
    if (c != NULL) atomic_fetch_add(&c->refs, 1);
    return c;
}

void tls_context_drop(struct tls_context *c) {
    if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1) return;
    SSL_CTX_free(c->ctx);
    free(c);
}

bool tls_context_expired(const struct tls_context *c) {
    const X509 *own = SSL_CTX_get0_certificate(c->ctx);
    return own != NULL && X509_cmp_current_time(X509_get0_notAfter(own)) < 0;
}

int64_t tls_context_expiry(const struct tls_context *c) {
    const X509 *own = SSL_CTX_get0_certificate(c->ctx);
    struct tm at;
    if (own == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(own), &at) != 1) return 0;
    return timegm(&at);
}
