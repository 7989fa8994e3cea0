// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Crypto: password hashes (argon2id), which take 64 MB and some 50 ms on purpose: in the main loop's pool, whose
// few threads bound how many run at a time.
//
// A hash says itself how much memory and time checking it takes. It comes from a service, so what is far beyond our own
// hashes is refused.
#include "native.h"

#include "main_loop.h"

#include <mica/core/v1/core.pb-c.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_KB (256u * 1024)
#define MOST_PASSES 10u
#define MOST_PASSWORD 4096

struct job {
    struct main_work work; // first
    struct message *request;
};

// A text that holds a NUL would end there when it is read, and two passwords would pass for one. These requests hold texts
// only, and no length of theirs is encoded with a zero byte.
static void *read_texts(struct message *request, const ProtobufCMessageDescriptor *type) {
    struct str body = blob_str(request->body);
    if (memchr(body.p, 0, body.n) == NULL) return native_read(request, type);
    message_refuse(request, STATUS_INVALID_ARGUMENT, "a password holds no NUL bytes");
    return NULL;
}

static void free_job(struct main_work *work) { free(work); }

static void begin(struct main_loop *loop, struct message *request,
                  void (*run)(struct main_work *work)) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    job->request = request;
    job->work.run = run;
    job->work.done = free_job;
    main_loop_work(loop, &job->work);
}

static void do_hash(struct main_work *work) {
    struct message *request = ((struct job *)work)->request;
    Mica__Core__V1__HashPasswordRequest *in =
        read_texts(request, &mica__core__v1__hash_password_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__HashPasswordResponse out = MICA__CORE__V1__HASH_PASSWORD_RESPONSE__INIT;
    char hash[crypto_pwhash_STRBYTES];
    size_t n = strlen(in->password);
    bool fits = n <= MOST_PASSWORD;
    bool ok = fits && crypto_pwhash_str(hash, in->password, n, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                        crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0;
    sodium_memzero(in->password, n);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    out.hash = hash;
    if (ok) {
        native_answer(request, &out.base);
    } else if (fits) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "no memory to hash a password");
    } else {
        message_refuse(request, STATUS_INVALID_ARGUMENT, "the password is longer than 4096 bytes");
    }
}

static bool affordable(const char *hash) {
    unsigned kb, passes, lanes;
    return sscanf(hash, "$argon2id$v=19$m=%u,t=%u,p=%u$", &kb, &passes, &lanes) == 3 &&
           kb <= MOST_KB && passes <= MOST_PASSES && lanes <= 4;
}

static void do_check(struct main_work *work) {
    struct message *request = ((struct job *)work)->request;
    Mica__Core__V1__CheckPasswordRequest *in =
        read_texts(request, &mica__core__v1__check_password_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__CheckPasswordResponse out = MICA__CORE__V1__CHECK_PASSWORD_RESPONSE__INIT;
    size_t n = strlen(in->password);
    bool known = affordable(in->hash);
    out.ok =
        known && n <= MOST_PASSWORD && crypto_pwhash_str_verify(in->hash, in->password, n) == 0;
    sodium_memzero(in->password, n);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (known) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_INVALID_ARGUMENT,
                       "this is no hash that mica.crypto.hash_password made");
    }
}

static void hash_password(void *context, struct message *request) {
    begin(context, request, do_hash);
}
static void check_password(void *context, struct message *request) {
    begin(context, request, do_check);
}

static const struct native_method METHODS[] = {{"HashPassword", hash_password},
                                               {"CheckPassword", check_password}};
const struct native_service NATIVE_CRYPTO = {"crypto", "mica.core.v1.Crypto", METHODS, 2};
