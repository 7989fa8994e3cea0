// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Acme: what was asked for, the certificate that is served, answers to challenges. Installing a certificate writes a
// file, so it runs in the main loop's pool; then the main thread takes the file up, and the request is answered.
#include "native.h"

#include "acme/key.h"
#include "server_acme.h"

#include <mica/core/v1/core.pb-c.h>
#include <openssl/sha.h>
#include <stdlib.h>

#define ANSWER_LIFE (24L * 3600) // seconds that the certificate of a challenge is good for
#define KEY_MAX 512              // bytes of a name, a token or a key authorization

// ---- Options
static void options(void *context, struct message *request) {
    struct server_acme *a = context;
    Mica__Core__V1__AcmeOptions out = MICA__CORE__V1__ACME_OPTIONS__INIT;
    out.hosts = a->options->hosts;
    out.n_hosts = a->options->host_count;
    out.directory = a->options->directory;
    out.ca = (char *)(uintptr_t)buf_cstr(&a->ca);
    out.email = a->options->email;
    out.http = a->options->http;
    native_answer(request, &out.base);
}

// ---- Certificate and Install
// The lock of the store is not held.
static void answer_state(struct acme_store *s, struct message *request) {
    Mica__Core__V1__CertificateState out = MICA__CORE__V1__CERTIFICATE_STATE__INIT;
    pthread_mutex_lock(&s->lock);
    struct acme_certificate *c = &s->current;
    size_t count = 0;
    for (size_t i = 0; i < c->names.n; i++) count += buf_p(&c->names)[i] == '\0';
    out.names = calloc(count + 1, sizeof *out.names);
    char *name = buf_p(&c->names);
    while (out.names != NULL && out.n_names < count) {
        out.names[out.n_names++] = name;
        name += strlen(name) + 1;
    }
    out.not_before = (double)c->not_before;
    out.not_after = (double)c->not_after;
    out.self_signed = c->self_signed;
    out.renewal_id = (char *)(uintptr_t)buf_cstr(&c->renewal_id);
    if (out.names != NULL) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    pthread_mutex_unlock(&s->lock);
    free(out.names);
}

static void certificate(void *context, struct message *request) {
    answer_state(&((struct server_acme *)context)->store, request);
}

struct installing {
    struct main_work work; // first
    struct server_acme *acme;
    struct message *request; // NULL: answered
};

static void do_install(struct main_work *work) {
    struct installing *i = (struct installing *)work;
    struct err err = {0};
    Mica__Core__V1__InstallChainRequest *in =
        native_read(i->request, &mica__core__v1__install_chain_request__descriptor);
    int rc = -1;
    if (in != NULL) {
        struct str chain = {(const char *)in->chain.data, in->chain.len};
        rc = acme_store_install(&i->acme->store, chain, &err);
        protobuf_c_message_free_unpacked(&in->base, NULL);
        if (rc < 0) native_fail(i->request, &err);
    }
    if (rc < 0) i->request = NULL;
}

static void installed(struct main_work *work) {
    struct installing *i = (struct installing *)work;
    if (i->request != NULL) {
        tls_files_reload(i->acme->serves);
        answer_state(&i->acme->store, i->request);
    }
    free(i);
}

static void install(void *context, struct message *request) {
    struct server_acme *a = context;
    struct installing *i = calloc(1, sizeof *i);
    if (i == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *i = (struct installing){
        .work = {.run = do_install, .done = installed}, .acme = a, .request = request};
    main_loop_work(a->loop, &i->work);
}

// ---- Answer and Forget
// Is it served as a part of a path? base64url (RFC 8555 section 8.3).
static bool is_token(const char *text) {
    size_t n = strlen(text);
    return n > 0 && n <= KEY_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static int answer_http(struct server_acme *a, const Mica__Core__V1__ChallengeAnswer *in,
                       struct err *err) {
    if (!is_token(in->token))
        return err_set(err, STATUS_INVALID_ARGUMENT, "the token of the challenge is malformed");
    if (challenges_put_text(a->challenges, str_of(in->token), str_of(in->authorization)) == 0)
        return 0;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "too many challenges are waiting");
}

static int answer_alpn(struct server_acme *a, const Mica__Core__V1__ChallengeAnswer *in,
                       struct err *err) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct str name = str_of(in->name), text = str_of(in->authorization);
    SHA256((const unsigned char *)text.p, text.n, digest);
    EVP_PKEY *key = acme_key_new(err);
    X509 *x = key == NULL ? NULL : acme_self_signed(key, &name, 1, ANSWER_LIFE, digest);
    int rc = x == NULL ? -1 : challenges_put_certificate(a->challenges, name, x, key);
    X509_free(x);
    EVP_PKEY_free(key);
    return rc == 0 ? 0 : err_set(err, STATUS_RESOURCE_EXHAUSTED, "too many challenges are waiting");
}

static int show(struct server_acme *a, const Mica__Core__V1__ChallengeAnswer *in, struct err *err) {
    size_t n = strlen(in->name);
    if (strlen(in->authorization) > KEY_MAX || n > KEY_MAX)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the challenge is too long");
    if (strcmp(in->type, "http-01") == 0) return answer_http(a, in, err);
    if (strcmp(in->type, "tls-alpn-01") == 0 && n > 0) return answer_alpn(a, in, err);
    return err_set(err, STATUS_INVALID_ARGUMENT, "no such challenge: \"%.100s\"", in->type);
}

static void answer(void *context, struct message *request) {
    Mica__Core__V1__ChallengeAnswerResponse out = MICA__CORE__V1__CHALLENGE_ANSWER_RESPONSE__INIT;
    struct err err = {0};
    Mica__Core__V1__ChallengeAnswer *in =
        native_read(request, &mica__core__v1__challenge_answer__descriptor);
    if (in == NULL) return;
    int rc = show(context, in, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (rc < 0) {
        native_fail(request, &err);
    } else {
        native_answer(request, &out.base);
    }
}

static void forget(void *context, struct message *request) {
    struct server_acme *a = context;
    Mica__Core__V1__ChallengeForgetResponse out = MICA__CORE__V1__CHALLENGE_FORGET_RESPONSE__INIT;
    Mica__Core__V1__ChallengeForgetRequest *in =
        native_read(request, &mica__core__v1__challenge_forget_request__descriptor);
    if (in == NULL) return;
    challenges_remove(a->challenges, str_of(in->key));
    protobuf_c_message_free_unpacked(&in->base, NULL);
    native_answer(request, &out.base);
}

static const struct native_method METHODS[] = {{"Options", options},
                                               {"Certificate", certificate},
                                               {"Answer", answer},
                                               {"Forget", forget},
                                               {"Install", install}};
const struct native_service NATIVE_ACME = {"acme", "mica.core.v1.Acme", METHODS, 5};
