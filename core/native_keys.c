// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Keys: what an ACME client does with private keys, which takes well under a millisecond.
#include "native.h"

#include "acme/key.h"
#include "acme/store.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

#define NAMES_MAX 100

static void account(void *context, struct message *request) {
    const struct acme_store *s = context;
    Mica__Core__V1__AccountKeyResponse out = MICA__CORE__V1__ACCOUNT_KEY_RESPONSE__INIT;
    struct buf x = {0}, y = {0};
    if (acme_key_point(s->account, &x, &y) == 0) {
        out.x = (char *)(uintptr_t)buf_cstr(&x);
        out.y = (char *)(uintptr_t)buf_cstr(&y);
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    buf_free(&x);
    buf_free(&y);
}

static void sign(void *context, struct message *request) {
    const struct acme_store *s = context;
    unsigned char signature[ACME_SIGNATURE];
    Mica__Core__V1__SignResponse out = MICA__CORE__V1__SIGN_RESPONSE__INIT;
    Mica__Core__V1__SignRequest *in =
        native_read(request, &mica__core__v1__sign_request__descriptor);
    if (in == NULL) return;
    struct str data = {(const char *)in->data.data, in->data.len};
    int rc = acme_key_sign(s->account, data, signature);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    out.signature = (ProtobufCBinaryData){sizeof signature, signature};
    if (rc == 0) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_INTERNAL, "the account's key does not sign");
    }
}

static void order(void *context, struct message *request) {
    Mica__Core__V1__CertificateRequestResponse out =
        MICA__CORE__V1__CERTIFICATE_REQUEST_RESPONSE__INIT;
    struct str names[NAMES_MAX];
    struct err err = {0};
    struct buf der = {0};
    Mica__Core__V1__CertificateRequest *in =
        native_read(request, &mica__core__v1__certificate_request__descriptor);
    if (in == NULL) return;
    if (in->n_names == 0 || in->n_names > NAMES_MAX) {
        err_set(&err, STATUS_INVALID_ARGUMENT, "a certificate is for 1 to 100 names");
    } else {
        for (size_t i = 0; i < in->n_names; i++) names[i] = str_of(in->names[i]);
        acme_store_order(context, names, in->n_names, &der, &err);
    }
    protobuf_c_message_free_unpacked(&in->base, NULL);
    out.request = (ProtobufCBinaryData){der.n, (uint8_t *)buf_p(&der)};
    if (err.code == 0) {
        native_answer(request, &out.base);
    } else {
        native_fail(request, &err);
    }
    buf_free(&der);
}

static const struct native_method METHODS[] = {
    {"Account", account}, {"Sign", sign}, {"Request", order}};
const struct native_service NATIVE_KEYS = {"keys", "mica.core.v1.Keys", METHODS, 3};
