// SPDX-License-Identifier: Apache-2.0
// An order's life: acme_store_order makes a key; acme_store_install looks whether the chain belongs to it and to its names,
// writes both as one file, and the key is no longer pending. If another order has begun meanwhile, the chain does not fit its key
// and is refused.
#include "acme/store.h"

#include "acme/file.h"
#include "acme/key.h"
#include "base/log.h"
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define STAND_IN (90L * 24 * 3600) // seconds that a self-signed certificate is good for
#define FILE_ROOM 16384            // so that no copy of a key is left behind by a buffer that grows

static int no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

// ---- the file

static int put_file(struct buf *out, EVP_PKEY *key, struct str chain) {
    if (!buf_reserve(out, FILE_ROOM + chain.n)) return -STATUS_RESOURCE_EXHAUSTED;
    int rc = acme_key_put_pem(key, out);
    buf_append_str(out, chain);
    return rc;
}

// Can the doors serve it?
static int check_file(const struct acme_store *s, struct str text, struct err *err) {
    struct tls_options options = {
        .server = true, .cert = {text, s->file}, .key = {text, s->file}, .ca.name = ""};
    struct tls_context *context = tls_context_new(&options, err);
    tls_context_drop(context);
    if (context != NULL) return 0;
    err->code = STATUS_FAILED_PRECONDITION;
    return -STATUS_FAILED_PRECONDITION;
}

static int write_file(const struct acme_store *s, EVP_PKEY *key, struct str chain,
                      struct err *err) {
    struct buf text = {0};
    int rc = put_file(&text, key, chain) < 0 ? no_memory(err) : 0;
    if (rc == 0) rc = check_file(s, buf_str(&text), err);
    if (rc == 0) rc = acme_file_write(s->file, buf_str(&text), err);
    acme_file_wipe(&text);
    return rc;
}

static int put_certificate(struct buf *out, X509 *x) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *p;
    bool ok = bio != NULL && PEM_write_bio_X509(bio, x) == 1;
    if (ok) {
        long n = BIO_get_mem_data(bio, &p);
        buf_append(out, p, (size_t)n);
    }
    BIO_free(bio);
    return ok && !out->failed ? 0 : -STATUS_RESOURCE_EXHAUSTED;
}

static int stand_in(struct acme_store *s, const struct str *names, size_t count, struct err *err) {
    struct buf pem = {0};
    EVP_PKEY *key = acme_key_new(err);
    X509 *x = key == NULL ? NULL : acme_self_signed(key, names, count, STAND_IN, NULL);
    int rc = x == NULL || put_certificate(&pem, x) < 0 ? no_memory(err) : 0;
    if (rc == 0) rc = write_file(s, key, buf_str(&pem), err);
    if (rc == 0) rc = acme_certificate_read(buf_str(&pem), &s->current, err);
    X509_free(x);
    EVP_PKEY_free(key);
    buf_free(&pem);
    return rc;
}

static int open_certificate(struct acme_store *s, const struct str *names, size_t count,
                            struct err *err) {
    struct buf text = {0};
    struct err why = {0};
    int error = acme_file_read(s->file, &text);
    bool good = error == 0 && check_file(s, buf_str(&text), &why) == 0 &&
                acme_certificate_read(buf_str(&text), &s->current, &why) == 0;
    acme_file_wipe(&text);
    if (error != 0 && error != ENOENT)
        return err_set(err, STATUS_UNAVAILABLE, "%s cannot be read: %s", s->file, strerror(error));
    if (error == 0 && !good)
        log_printf(LOG_ERROR, "server", "the certificate that was stored is not used: %s",
                   why.text);
    if (!good && stand_in(s, names, count, err) < 0) return -(int)err->code;
    if (s->current.self_signed)
        log_printf(LOG_WARN, "server",
                   "there is no certificate yet: until one has been issued a self-signed one is "
                   "served, which clients refuse");
    return 0;
}

// ---- life

static char *path_of(const char *data, const char *name) {
    char *path;
    return asprintf(&path, "%s/acme%s", data, name) < 0 ? NULL : path;
}

static int open_files(struct acme_store *s, const char *data, const struct str *names, size_t count,
                      struct err *err) {
    char *folder = path_of(data, ""), *account = path_of(data, "/account.key");
    int rc = 0;
    s->file = path_of(data, "/certificate.pem");
    if (folder == NULL || account == NULL || s->file == NULL) {
        rc = no_memory(err);
    } else if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        rc = err_set(err, STATUS_PERMISSION_DENIED, "cannot make the folder %s: %s", folder,
                     strerror(errno));
    } else {
        s->account = acme_key_open(account, err);
        rc = s->account == NULL ? -(int)err->code : open_certificate(s, names, count, err);
    }
    free(folder);
    free(account);
    return rc;
}

int acme_store_open(struct acme_store *s, const char *data, const struct str *names, size_t count,
                    struct err *err) {
    *s = (struct acme_store){.lock = PTHREAD_MUTEX_INITIALIZER};
    int rc = open_files(s, data, names, count, err);
    if (rc < 0) acme_store_close(s);
    return rc;
}

void acme_store_close(struct acme_store *s) {
    EVP_PKEY_free(s->account);
    EVP_PKEY_free(s->pending);
    buf_free(&s->pending_names);
    acme_certificate_free(&s->current);
    free(s->file);
    *s = (struct acme_store){0};
}

// ---- orders

int acme_store_order(struct acme_store *s, const struct str *names, size_t count,
                     struct buf *request, struct err *err) {
    struct buf kept = {0};
    EVP_PKEY *key = acme_key_new(err);
    for (size_t i = 0; i < count; i++) {
        buf_append_str(&kept, names[i]);
        buf_append_byte(&kept, '\0');
    }
    if (key == NULL || kept.failed || acme_key_request(key, names, count, request) < 0) {
        EVP_PKEY_free(key);
        buf_free(&kept);
        return no_memory(err);
    }
    pthread_mutex_lock(&s->lock);
    EVP_PKEY_free(s->pending);
    buf_free(&s->pending_names);
    s->pending = key;
    s->pending_names = kept;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static X509 *first_certificate(struct str pem) {
    BIO *bio = BIO_new_mem_buf(pem.n == 0 ? "" : pem.p, (int)pem.n);
    X509 *x = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return x;
}

// The lock is held.
static int check_chain(struct acme_store *s, struct str chain, struct err *err) {
    X509 *x = first_certificate(chain);
    int rc = 0;
    if (s->pending == NULL) {
        rc = err_set(err, STATUS_FAILED_PRECONDITION, "no certificate has been ordered");
    } else if (x == NULL) {
        rc = err_set(err, STATUS_FAILED_PRECONDITION, "there is no certificate in PEM form");
    } else if (X509_check_private_key(x, s->pending) != 1) {
        rc = err_set(err, STATUS_FAILED_PRECONDITION, "the certificate is for another key");
    } else if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0) {
        rc = err_set(err, STATUS_FAILED_PRECONDITION,
                     "the certificate has expired already: look at the clock of this machine");
    }
    const char *all = buf_p(&s->pending_names);
    for (size_t at = 0; rc == 0 && at < s->pending_names.n; at += strlen(all + at) + 1) {
        if (X509_check_host(x, all + at, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) != 1)
            rc = err_set(err, STATUS_FAILED_PRECONDITION, "the certificate is not for %.200s",
                         all + at);
    }
    X509_free(x);
    ERR_clear_error();
    return rc;
}

int acme_store_install(struct acme_store *s, struct str chain, struct err *err) {
    struct acme_certificate read = {0};
    EVP_PKEY *key = NULL;
    pthread_mutex_lock(&s->lock);
    int rc = check_chain(s, chain, err);
    if (rc == 0 && EVP_PKEY_up_ref(s->pending) == 1) key = s->pending;
    pthread_mutex_unlock(&s->lock);
    if (rc == 0) rc = acme_certificate_read(chain, &read, err);
    if (rc == 0) rc = write_file(s, key, chain, err); // not under the lock: who asks does not wait
    pthread_mutex_lock(&s->lock);
    if (rc == 0) {
        struct acme_certificate old = s->current;
        s->current = read;
        read = old;
        if (s->pending == key) {
            EVP_PKEY_free(s->pending);
            s->pending = NULL;
        }
    }
    pthread_mutex_unlock(&s->lock);
    acme_certificate_free(&read);
    EVP_PKEY_free(key);
    return rc;
}
