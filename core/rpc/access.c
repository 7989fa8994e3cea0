// SPDX-License-Identifier: Apache-2.0
// What each request at the doors gets whatever becomes of it: an id, which the answers of the api door carry as mica-request-id,
// and a line in the access log at its end. On the loop's thread.
#include "rpc/access.h"

#include "base/clock.h"
#include "base/random.h"
#include "rpc/access_log.h"

#include <mica/core/v1/core.pb-c.h>

#define GONE 499 // what web servers log for a request whose peer did not wait for the answer

void access_begin(struct request *r) {
    static const char HEX[] = "0123456789abcdef";
    struct http_stream *s = r->stream;
    r->request_id = random_u64();
    for (int i = 0; i < 16; i++) s->number[i] = HEX[r->request_id >> (60 - 4 * i) & 15];
    if (r->view == &r->at->views[DOOR_API])
        http_add_header(s, "mica-request-id", (struct str){s->number, sizeof s->number});
    s->began = loop_now(r->at->loop);
}

static struct str header(const struct http_stream *s, const char *name) {
    struct str value = {"", 0};
    http_header_get(s->headers, s->header_count, name, &value);
    return value;
}

void access_end(struct http_stream *s, const struct call *c) {
    struct conn *conn = conn_of(s->session);
    const struct rpc_door *door = conn_door(conn)->user;
    struct access_log *log = door->server->access;
    if (log == NULL) return;
    static const char *const VERSIONS[] = {"1.0", "1.1", "2"};
    struct loop *loop = conn_loop(conn);
    struct rpc_loop *at = loop->user;
    struct access_line line = {.time = clock_unix(),
                               .peer = conn_peer(conn),
                               .method = s->method,
                               .path = s->path,
                               .version = VERSIONS[http_session_version(s->session)],
                               .status = s->status == 0 ? GONE : s->status,
                               .bytes = http_sent(s),
                               .referer = header(s, "referer"),
                               .agent = header(s, "user-agent"),
                               .caller_id = header(s, "x-request-id"),
                               .seconds = (double)(loop_now(loop) - s->began) / NS_PER_SECOND,
                               .request_id = {s->number, sizeof s->number},
                               .door = at->views[door->index].name};
    if (c != NULL && c->route != NULL) {
        line.service = c->route->service;
        line.endpoint = c->route->endpoint;
    }
    Mica__Core__V1__Account *account = NULL;
    if (c != NULL && c->context != NULL && c->context->account != NULL) {
        struct str bytes = blob_str(c->context->account);
        account = mica__core__v1__account__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
    }
    if (account != NULL) line.account = str_of(account->id);
    access_log_put(log, loop, &line);
    if (account != NULL) mica__core__v1__account__free_unpacked(account, NULL);
}
