// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Fetch: a request is read on the caller's thread and handed to fetch's own, which answers it. What libcurl works on
// lies in the unpacked message, which is kept until then.
#include "native.h"

#include "fetch/fetch.h"
#include "net/address.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

#define TIMEOUT 30.0
#define TIMEOUT_MOST 3600.0
#define BODY ((uint64_t)1 << 20)
#define BODY_MOST ((uint64_t)64 << 20)
#define REDIRECTS_MOST 20

typedef Mica__Core__V1__HttpHeader Header;

struct fetching {
    struct fetch_request request; // first
    struct message *message;
    Mica__Core__V1__FetchRequest *in;
    struct fetch_header headers[];
};

static bool is_beyond(const struct sockaddr *address) {
    return !address_sockaddr_is_local(address);
}

static void answer(struct message *message, const struct fetch_answer *a) {
    Mica__Core__V1__FetchResponse out = MICA__CORE__V1__FETCH_RESPONSE__INIT;
    Header *headers = calloc(a->header_count + 1, sizeof *headers);
    Header **list = calloc(a->header_count + 1, sizeof *list);
    struct buf names = {0}; // each ended by a NUL
    for (size_t i = 0; i < a->header_count; i++) {
        buf_append_str(&names, a->headers[i].name);
        buf_append_byte(&names, '\0');
    }
    char *name = buf_p(&names);
    bool ok = headers != NULL && list != NULL && !names.failed;
    for (size_t i = 0; ok && i < a->header_count; i++) {
        const struct str *value = &a->headers[i].value;
        headers[i] = (Header)MICA__CORE__V1__HTTP_HEADER__INIT;
        headers[i].name = name;
        headers[i].value = (ProtobufCBinaryData){value->n, (uint8_t *)(uintptr_t)value->p};
        list[i] = &headers[i];
        name += a->headers[i].name.n + 1;
    }
    out.status = (uint32_t)a->status;
    out.headers = list;
    out.n_headers = a->header_count;
    out.body = (ProtobufCBinaryData){a->body.n, (uint8_t *)(uintptr_t)a->body.p};
    out.url = (char *)(uintptr_t)a->url;
    if (ok) {
        native_answer(message, &out.base);
    } else {
        message_refuse(message, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    free(headers);
    free(list);
    buf_free(&names);
}

static void done(struct fetch_request *request, const struct fetch_answer *a,
                 const struct err *err) {
    struct fetching *f = (struct fetching *)request;
    if (a == NULL) {
        native_fail(f->message, err);
    } else {
        answer(f->message, a);
    }
    protobuf_c_message_free_unpacked(&f->in->base, NULL);
    free(f);
}

static void fill(struct fetching *f) {
    const Mica__Core__V1__FetchRequest *in = f->in;
    for (size_t i = 0; i < in->n_headers; i++)
        f->headers[i] = (struct fetch_header){
            str_of(in->headers[i]->name),
            {(const char *)in->headers[i]->value.data, in->headers[i]->value.len}};
    f->request = (struct fetch_request){
        .method = in->method,
        .url = in->url,
        .headers = f->headers,
        .header_count = in->n_headers,
        .body = {(const char *)in->body.data, in->body.len},
        .timeout = in->timeout == 0 ? TIMEOUT : in->timeout,
        .ca = str_of(in->ca),
        .body_most = in->body_most == 0 ? BODY : in->body_most,
        .redirects = in->redirects,
        .may_connect = in->local ? NULL : is_beyond,
        .done = done,
    };
}

static const char *refusal(const Mica__Core__V1__FetchRequest *in) {
    if (!(in->timeout >= 0 && in->timeout <= TIMEOUT_MOST)) return "a timeout is 0 to 3600 seconds";
    if (in->body_most > BODY_MOST) return "the body of an answer is 64 MB at most";
    if (in->redirects > REDIRECTS_MOST) return "at most 20 redirects are followed";
    return NULL;
}

static void begin(void *context, struct message *message) {
    Mica__Core__V1__FetchRequest *in =
        native_read(message, &mica__core__v1__fetch_request__descriptor);
    if (in == NULL) return;
    struct fetching *f = calloc(1, sizeof *f + in->n_headers * sizeof f->headers[0]);
    const char *why = refusal(in);
    if (f == NULL || why != NULL) {
        free(f);
        protobuf_c_message_free_unpacked(&in->base, NULL);
        message_refuse(message, why == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_INVALID_ARGUMENT,
                       why == NULL ? "out of memory" : why);
        return;
    }
    f->message = message;
    f->in = in;
    fill(f);
    fetch_begin(context, &f->request);
}

static const struct native_method METHODS[] = {{"Send", begin}};
const struct native_service NATIVE_FETCH = {"fetch", "mica.core.v1.Fetch", METHODS, 1};
