// SPDX-License-Identifier: Apache-2.0
// One end of a TLS connection.
//
// OpenSSL reads and writes through a BIO of our own that has the caller's buffers behind it for the time of one call: what it
// reads is the slice that was given in, what it writes is appended to the caller's buffer, so nothing is copied on the way and
// nothing is kept between calls but what OpenSSL itself has begun (a part of a record).
//
// State:   handshake -> ready -> ended (close_notify has come; we may still write)
//          any -> broken: a fault with a text; nothing works any more
//
// Against a peer that keeps us busy without sending data (KeyUpdate, refused renegotiations, warnings): each record that carries
// none is counted, a megabyte of data makes up for them, and CHATTER_MAX of them break the connection. OpenSSL itself
// bounds the size of handshake messages, of the peer's certificates, and the number of empty records.
#include "net/tls_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CHATTER_MAX 100
#define CHATTER_DATA (1024 * 1024)
#define HOST_MAX 255
#define NAME_MAX_BYTES 255 // of a CN or O: X.520 allows 64 characters

struct tls {
    SSL *ssl;
    struct str *in; // of the call under way, as the next
    struct buf *out;
    bool server;
    bool http1; // client
    bool begun, ready, ended, broken, closed;
    bool challenge; // it ends with the handshake (tls_challenge.c)
    bool identified;
    unsigned chatter; // records without data since `data` was 0
    size_t data;
    struct tls_identity identity;
    char names[2][NAME_MAX_BYTES + 1]; // of the identity
    char host[HOST_MAX + 1];           // client: who the peer must be
    char fault[400];
};

// ---- the BIO

static int bio_read(BIO *bio, char *to, size_t size, size_t *n) {
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n = t->in == NULL ? 0 : t->in->n < size ? t->in->n : size;
    if (*n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, t->in->p, *n);
    *t->in = (struct str){t->in->p + *n, t->in->n - *n};
    return 1;
}

static int bio_write(BIO *bio, const char *from, size_t size, size_t *n) {
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_append(t->out, from, size);
    *n = size;
    return !t->out->failed;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method; // for the life of the process

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mica");
    if (method == NULL) return;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static BIO *bio_new(struct tls *t) {
    pthread_once(&method_once, make_method);
    BIO *bio = method == NULL ? NULL : BIO_new(method);
    if (bio == NULL) return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

// ---- faults

static int broken(struct tls *t) {
    t->broken = true;
    ERR_clear_error();
    return -STATUS_UNAVAILABLE;
}

// What the peer's first bytes were when they were no TLS.
static bool is_plain_text(int why) {
    return why == SSL_R_HTTP_REQUEST || why == SSL_R_HTTPS_PROXY_REQUEST ||
           why == SSL_R_WRONG_VERSION_NUMBER || why == SSL_R_PACKET_LENGTH_TOO_LONG;
}

// OpenSSL has given up: says why, unless tls_verify has said it already.
static int fault(struct tls *t) {
    unsigned long code = ERR_peek_error();
    int why = ERR_GET_REASON(code);
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    if (t->fault[0] != '\0') return broken(t);
    if (t->out->failed) {
        snprintf(t->fault, sizeof t->fault, "out of memory");
    } else if (why > SSL_AD_REASON_OFFSET && why < SSL_AD_REASON_OFFSET + 256) {
        snprintf(t->fault, sizeof t->fault, "the %s refused: %s", t->server ? "client" : "server",
                 SSL_alert_desc_string_long(why - SSL_AD_REASON_OFFSET));
    } else if (!t->ready && is_plain_text(why)) {
        snprintf(t->fault, sizeof t->fault, "the %s does not speak TLS",
                 t->server ? "client" : "server");
    } else {
        snprintf(t->fault, sizeof t->fault, "%s", text == NULL ? "the peer broke off" : text);
    }
    return broken(t);
}

// "a.example, b.example"; at most three.
static void list_names(const X509 *cert, char *out, size_t size) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;
    int shown = 0;
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && shown < 3 && at < size; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS) continue;
        at += (size_t)snprintf(out + at, size - at, "%s%.60s", shown++ > 0 ? ", " : "",
                               (const char *)ASN1_STRING_get0_data(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
}

static void refuse_name(struct tls *t, const X509 *cert) {
    char names[200];
    list_names(cert, names, sizeof names);
    snprintf(t->fault, sizeof t->fault, "its certificate is not for %.80s%s%s", t->host,
             names[0] == '\0' ? "" : ", but for ", names);
}

static void refuse(struct tls *t, const X509 *cert, int why) {
    const char *whose = t->server ? "the client's" : "its";
    switch (why) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(t->fault, sizeof t->fault, "%s certificate has expired", whose);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(t->fault, sizeof t->fault, "%s certificate is not valid yet", whose);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        snprintf(t->fault, sizeof t->fault, "%s certificate was signed by an unknown authority%s",
                 whose, t->server ? "" : ": name that authority as ca");
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: refuse_name(t, cert); break;
    default:
        snprintf(t->fault, sizeof t->fault, "%s certificate is not accepted: %s", whose,
                 X509_verify_cert_error_string(why));
    }
}

int tls_verify(int sound, X509_STORE_CTX *store) {
    if (sound) return 1;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    refuse(SSL_get_app_data(ssl), X509_STORE_CTX_get_current_cert(store),
           X509_STORE_CTX_get_error(store));
    return 0;
}

// ---- life

// A record has come (RFC 8446 hides its kind inside, RFC 5246 does not). Counts those without data.
static void on_message(int sent, int version, int kind, const void *bytes, size_t n, SSL *ssl,
                       void *arg) {
    struct tls *t = arg;
    (void)version;
    (void)ssl;
    if (sent || !t->ready || n == 0) return;
    if (kind != SSL3_RT_HEADER && kind != SSL3_RT_INNER_CONTENT_TYPE) return;
    if (*(const unsigned char *)bytes != SSL3_RT_APPLICATION_DATA) t->chatter++;
}

// The server is told the name (SNI, RFC 6066: names only) and must have a certificate for it.
static bool expect_host(struct tls *t, const char *host) {
    X509_VERIFY_PARAM *rules = SSL_get0_param(t->ssl);
    if (host == NULL || strlen(host) > HOST_MAX) return false;
    snprintf(t->host, sizeof t->host, "%s", host);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1) return true;
    ERR_clear_error();
    return X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1 &&
           SSL_set_tlsext_host_name(t->ssl, host) == 1;
}

struct tls *tls_new(struct tls_context *context, const char *host) {
    struct tls *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->server = context->server;
    t->http1 = context->http1;
    t->ssl = SSL_new(context->ctx);
    BIO *bio = t->ssl == NULL ? NULL : bio_new(t);
    if (bio == NULL) goto fail;
    SSL_set_bio(t->ssl, bio, bio); // takes it
    SSL_set_app_data(t->ssl, t);
    SSL_set_msg_callback(t->ssl, on_message);
    SSL_set_msg_callback_arg(t->ssl, t);
    if (t->server) {
        SSL_set_accept_state(t->ssl);
    } else {
        SSL_set_connect_state(t->ssl);
        if (!expect_host(t, host)) goto fail;
    }
    return t;
fail:
    ERR_clear_error();
    tls_delete(t);
    return NULL;
}

void tls_delete(struct tls *t) {
    if (t == NULL) return;
    SSL_free(t->ssl);
    free(t);
}

// ---- who the peer is

static bool sound_name(const unsigned char *p, int n) {
    if (n == 0 || n > NAME_MAX_BYTES) return false;
    for (int i = 0; i < n; i++) {
        if (p[i] < 0x20 || p[i] == 0x7F) return false;
    }
    return true;
}

// One entry of the subject into `keep`. False: there are several, or it is no sound text.
static bool read_name(const X509_NAME *subject, int nid, char *keep, struct str *out) {
    unsigned char *text = NULL;
    *out = (struct str){"", 0};
    int at = X509_NAME_get_index_by_NID(subject, nid, -1);
    if (at < 0) return true;
    if (X509_NAME_get_index_by_NID(subject, nid, at) >= 0) return false;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool sound = n >= 0 && sound_name(text, n);
    if (sound) {
        memcpy(keep, text, (size_t)n);
        *out = (struct str){keep, (size_t)n};
    }
    OPENSSL_free(text);
    return sound;
}

static void identify(struct tls *t) {
    const X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (cert == NULL || SSL_get_verify_result(t->ssl) != X509_V_OK) return;
    const X509_NAME *subject = X509_get_subject_name(cert);
    struct tls_identity *who = &t->identity;
    bool name = read_name(subject, NID_commonName, t->names[0], &who->name);
    bool organization = read_name(subject, NID_organizationName, t->names[1], &who->organization);
    // A session that is taken up again brings its certificate along, which may have expired meanwhile.
    bool over = X509_cmp_current_time(X509_get0_notAfter(cert)) < 0;
    who->unsound = over || !name || !organization;
    t->identified = true;
    ERR_clear_error();
}

const struct tls_identity *tls_identity(const struct tls *t) {
    return t->identified ? &t->identity : NULL;
}

// ---- what goes in and out

static int handshake(struct tls *t) {
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1) {
        int why = SSL_get_error(t->ssl, rc);
        if (why == SSL_ERROR_WANT_READ) return 0;
        return fault(t);
    }
    t->ready = true;
    if (t->challenge) {
        SSL_shutdown(t->ssl);
        snprintf(t->fault, sizeof t->fault, "a certificate authority has looked");
        return broken(t);
    }
    if (t->server) {
        identify(t);
    } else if (!t->http1 && tls_alpn(t) != TLS_ALPN_H2) {
        snprintf(t->fault, sizeof t->fault, "the server does not speak HTTP/2 (ALPN \"h2\")");
        return broken(t);
    }
    return 0;
}

// Decrypts as much as fits. What was read before a fault is given first, the fault comes at the next call.
static int read_all(struct tls *t, char *plain, size_t cap, size_t *n) {
    while (*n < cap) {
        size_t got = 0;
        if (SSL_read_ex(t->ssl, plain + *n, cap - *n, &got) == 1) {
            *n += got;
            continue;
        }
        int why = SSL_get_error(t->ssl, 0);
        if (why == SSL_ERROR_ZERO_RETURN) t->ended = true;
        if (why != SSL_ERROR_ZERO_RETURN && why != SSL_ERROR_WANT_READ) fault(t);
        break;
    }
    t->data += *n;
    if (t->data >= CHATTER_DATA) t->data = t->chatter = 0;
    if (t->chatter > CHATTER_MAX && !t->broken) {
        snprintf(t->fault, sizeof t->fault, "it sends records without data");
        broken(t);
    }
    return t->broken && *n == 0 ? -STATUS_UNAVAILABLE : 0;
}

int tls_read(struct tls *t, struct str *in, char *plain, size_t cap, size_t *n, struct buf *out) {
    *n = 0;
    if (t->broken) return -STATUS_UNAVAILABLE;
    if (t->ended) return 0;
    ERR_clear_error();
    t->begun = t->begun || in->n > 0;
    t->in = in;
    t->out = out;
    int rc = t->ready ? 0 : handshake(t);
    if (rc == 0 && t->ready) rc = read_all(t, plain, cap, n);
    t->in = NULL;
    t->out = NULL;
    return rc;
}

int tls_write(struct tls *t, struct str plain, struct buf *out) {
    size_t n;
    if (t->broken || t->closed || !t->ready) return -STATUS_UNAVAILABLE;
    if (plain.n == 0) return 0;
    ERR_clear_error();
    t->out = out;
    int rc = SSL_write_ex(t->ssl, plain.p, plain.n, &n) == 1 ? 0 : fault(t);
    t->out = NULL;
    return rc;
}

void tls_end(struct tls *t, struct buf *out) {
    if (t->broken || t->closed || !t->ready) return;
    t->closed = true;
    ERR_clear_error();
    t->out = out;
    SSL_shutdown(t->ssl);
    t->out = NULL;
    ERR_clear_error();
}

void tls_answers_challenge(struct tls *t) { t->challenge = true; }
bool tls_is_challenge(const struct tls *t) { return t->challenge; }
bool tls_begun(const struct tls *t) { return t->begun; }
bool tls_ready(const struct tls *t) { return t->ready; }
bool tls_peer_ended(const struct tls *t) { return t->ended; }
const char *tls_fault(const struct tls *t) { return t->fault; }

enum tls_alpn tls_alpn(const struct tls *t) {
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &p, &n);
    if (n == 0) return TLS_ALPN_NONE;
    return n == 2 ? TLS_ALPN_H2 : TLS_ALPN_HTTP1; // "h2", "http/1.1": there are no others
}
