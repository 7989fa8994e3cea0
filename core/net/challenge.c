// SPDX-License-Identifier: Apache-2.0
// A list under a lock: there are as many entries as names whose certificate is being ordered.
#include "net/challenge.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

struct challenge {
    struct challenge *next;
    X509 *cert; // NULL: a text
    EVP_PKEY *key;
    struct buf name; // or token
    struct buf text;
};

struct challenges {
    pthread_mutex_t lock;
    struct challenge *list;
    size_t count;
};

static void challenge_delete(struct challenge *e) {
    X509_free(e->cert);
    EVP_PKEY_free(e->key);
    buf_free(&e->name);
    buf_free(&e->text);
    free(e);
}

struct challenges *challenges_new(void) {
    struct challenges *c = calloc(1, sizeof *c);
    if (c != NULL && pthread_mutex_init(&c->lock, NULL) == 0) return c;
    free(c);
    return NULL;
}

void challenges_delete(struct challenges *c) {
    if (c == NULL) return;
    for (struct challenge *e = c->list, *next; e != NULL; e = next) {
        next = e->next;
        challenge_delete(e);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

// The lock is held. Tokens differ by case (RFC 8555 section 8.3), names do not.
static struct challenge **find(struct challenges *c, struct str key, bool of_text) {
    struct challenge **at = &c->list;
    for (; *at != NULL; at = &(*at)->next) {
        struct str name = buf_str(&(*at)->name);
        if ((*at)->cert == NULL
                ? of_text && str_equal(name, key)
                : !of_text && name.n == key.n && strncasecmp(name.p, key.p, key.n) == 0)
            break;
    }
    return at;
}

static void take_out(struct challenges *c, struct challenge **at) {
    struct challenge *e = *at;
    if (e == NULL) return;
    *at = e->next;
    c->count--;
    challenge_delete(e);
}

static int put(struct challenges *c, struct challenge *e) {
    bool ok = !e->name.failed && !e->text.failed;
    pthread_mutex_lock(&c->lock);
    if (ok) take_out(c, find(c, buf_str(&e->name), e->cert == NULL));
    ok = ok && c->count < CHALLENGES_MAX;
    if (ok) {
        e->next = c->list;
        c->list = e;
        c->count++;
    }
    pthread_mutex_unlock(&c->lock);
    if (ok) return 0;
    challenge_delete(e);
    return -STATUS_RESOURCE_EXHAUSTED;
}

int challenges_put_text(struct challenges *c, struct str token, struct str text) {
    struct challenge *e = calloc(1, sizeof *e);
    if (e == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    buf_append_str(&e->name, token);
    buf_append_str(&e->text, text);
    return put(c, e);
}

int challenges_put_certificate(struct challenges *c, struct str name, X509 *cert, EVP_PKEY *key) {
    struct challenge *e = calloc(1, sizeof *e);
    if (e == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    X509_up_ref(cert);
    EVP_PKEY_up_ref(key);
    e->cert = cert;
    e->key = key;
    buf_append_str(&e->name, name);
    return put(c, e);
}

void challenges_remove(struct challenges *c, struct str key) {
    pthread_mutex_lock(&c->lock);
    take_out(c, find(c, key, true));
    take_out(c, find(c, key, false));
    pthread_mutex_unlock(&c->lock);
}

bool challenges_text(struct challenges *c, struct str token, struct buf *out) {
    pthread_mutex_lock(&c->lock);
    const struct challenge *e = *find(c, token, true);
    if (e != NULL) buf_append_str(out, buf_str(&e->text));
    pthread_mutex_unlock(&c->lock);
    return e != NULL;
}

bool challenges_use_certificate(struct challenges *c, struct str name, SSL *ssl) {
    bool used = false;
    pthread_mutex_lock(&c->lock);
    const struct challenge *e = *find(c, name, false);
    if (e != NULL) {
        SSL_certs_clear(ssl); // with the chain, which is not this certificate's
        used = SSL_use_certificate(ssl, e->cert) == 1 && SSL_use_PrivateKey(ssl, e->key) == 1;
    }
    pthread_mutex_unlock(&c->lock);
    return used;
}
