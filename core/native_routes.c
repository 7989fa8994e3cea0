// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Routes: api and proxy install what they have compiled. Any thread.
#include "native.h"

#include "rpc/door.h"
#include "rpc/route.h"

static void install(void *context, struct message *request) {
    struct native_routes *r = context;
    struct err err = {0};
    struct buf response = {0};
    if (route_install(r->directory, r->api, r->proxy, blob_str(request->body), &response, &err) <
        0) {
        buf_free(&response);
        native_fail(request, &err);
        return;
    }
    rpc_routes_changed(r->rpc);
    native_answer_bytes(request, buf_take(&response));
}

static const struct native_method METHODS[] = {{"Install", install}};
const struct native_service NATIVE_ROUTES = {"routes", "mica.core.v1.Routes", METHODS, 1};
