// SPDX-License-Identifier: Apache-2.0
// GET /health at the api door, for load balancers and supervisors. Anybody may ask. On the loop's thread.
//
//   /health, /health/live   200: this I/O loop answers
//   /health/ready           200 while new requests are welcome; 503 when the server stops or a service of the platform is down
//
// Who is not ready is alive: it must not be killed for it.
#include "rpc/gateway.h"

void rpc_serve_health(struct rpc_server *s, rpc_ready ready, void *user) {
    s->ready = ready;
    s->ready_user = user;
}

static int send_status(struct request *r, int http, struct str why) {
    struct headers *h = &r->at->out;
    struct buf text = {0};
    buf_append_text(&text, http == 200 ? "{\"status\":\"ok\"" : "{\"status\":\"unavailable\"");
    if (why.n > 0) {
        buf_append_text(&text, ",\"detail\":");
        gateway_put_text(&text, why);
    }
    buf_append_byte(&text, '}');
    struct blob *body = buf_take(&text);
    if (body == NULL || !headers_begin(h, NULL, NULL, NULL)) {
        blob_drop(body);
        return -STATUS_RESOURCE_EXHAUSTED;
    }
    headers_add(h, "content-type", str_of("application/json"));
    headers_add_number(h, "content-length", body->n);
    headers_add(h, "cache-control", str_of("no-store"));
    return gateway_send_whole(r->stream, http, h, body);
}

bool health_page(struct request *r) {
    bool ready = str_is(r->path, "/health/ready");
    if (!ready && !str_is(r->path, "/health") && !str_is(r->path, "/health/live")) return false;
    struct rpc_server *s = r->at->server;
    char why[200] = "";
    bool well = !ready || s->ready == NULL || s->ready(s->ready_user, why, sizeof why);
    if (send_status(r, well ? 200 : 503, str_of(why)) < 0)
        http_reset(r->stream, HTTP2_INTERNAL_ERROR);
    return true;
}
