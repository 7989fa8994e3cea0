// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Server: what the command line asked for, and when it is done. Any thread.
#include "native.h"

#include <mica/core/v1/core.pb-c.h>

static void options(void *context, struct message *request) {
    struct native_server *s = context;
    Mica__Core__V1__OptionsResponse response = MICA__CORE__V1__OPTIONS_RESPONSE__INIT;
    response.run = (char **)s->run; // only read
    response.n_run = s->run_count;
    response.platform = (char **)s->platform;
    response.n_platform = s->platform_count;
    response.api = (char *)s->api;
    native_answer(request, &response.base);
}

static void ready(void *context, struct message *request) {
    struct native_server *s = context;
    Mica__Core__V1__ReadyRequest *in =
        native_read(request, &mica__core__v1__ready_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__ReadyResponse response = MICA__CORE__V1__READY_RESPONSE__INIT;
    s->ready(s->user, in->fault);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    native_answer(request, &response.base);
}

static void stop(void *context, struct message *request) {
    struct native_server *s = context;
    Mica__Core__V1__ServerStopResponse response = MICA__CORE__V1__SERVER_STOP_RESPONSE__INIT;
    native_answer(request, &response.base);
    s->stop(s->user);
}

static void tell_waiting(struct native_server *s) {
    Mica__Core__V1__StoppingResponse response = MICA__CORE__V1__STOPPING_RESPONSE__INIT;
    for (struct mpsc_node *node = mpsc_take(&s->waiting), *next; node != NULL; node = next) {
        next = node->next;
        message_unpark(message_of(node));
        native_answer(message_of(node), &response.base);
    }
}

void native_server_wait(struct native_server *s, struct message *request) {
    message_park(request);
    blob_drop(request->body); // it may wait for days
    request->body = NULL;
    mpsc_push(&s->waiting, &request->link);
    if (atomic_load(&s->stopping)) tell_waiting(s);
}

static void wait_for_the_end(void *context, struct message *request) {
    native_server_wait(context, request);
}

void native_server_stopping(struct native_server *s) {
    atomic_store(&s->stopping, true);
    tell_waiting(s);
}

static const struct native_method METHODS[] = {
    {"Options", options}, {"Ready", ready}, {"Stop", stop}, {"Stopping", wait_for_the_end}};
const struct native_service NATIVE_SERVER = {"server", "mica.core.v1.Server", METHODS, 4};
