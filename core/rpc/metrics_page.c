// SPDX-License-Identifier: Apache-2.0
// GET /metrics at the api door, in Prometheus' text format. On the loop's thread, but for rpc_render_metrics.
//
// The page is long and made elsewhere: the loop asks the port that the server has given (rpc_serve_metrics) as it asks a service,
// and goes on with its work. Names of all namespaces stand in the page, so only the operator may read it: an
// administrator of the namespace "mica", which whoever comes from this machine is (account.c).
//
// A scrape is a call without a series: it shows in no number that it reads.
#include "base/clock.h"
#include "base/counters.h"
#include "base/exposition.h"
#include "rpc/access_log.h"
#include "rpc/gateway.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

#define OPERATOR "mica"
#define PATIENCE (10 * NS_PER_SECOND)

// ---- who may read
static bool is_operator(const struct blob *account) {
    struct str bytes = blob_str(account);
    Mica__Core__V1__Account *a =
        mica__core__v1__account__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
    if (a == NULL) return false;
    bool admin = false;
    for (size_t i = 0; i < a->n_scopes; i++) admin = admin || strcmp(a->scopes[i], "admin") == 0;
    bool operator= admin && strcmp(a->issuer, OPERATOR) == 0;
    mica__core__v1__account__free_unpacked(a, NULL);
    return operator;
}

// False: the request is answered.
static bool may_read(struct request *r) {
    struct space *space = head_namespace_valid(r->ns) ? space_get(r->view, r->ns) : NULL;
    const struct blob *account = space == NULL ? NULL : account_of(r, space, false);
    if (account != NULL && is_operator(account)) return true;
    gateway_refuse(r, account == NULL ? 401 : 403,
                   account == NULL ? STATUS_UNAUTHENTICATED : STATUS_PERMISSION_DENIED,
                   "only administrators of namespace \"%s\" may read the metrics", OPERATOR);
    return false;
}

// ---- the answer
static void send_error(struct call *c, int status, struct str text) {
    struct gateway_error e = {.http = status_http(status), .id = str_of("api"), .detail = text};
    call_answered(c, status);
    if (gateway_send_error(c->at, c->stream, &e, NULL, NULL) < 0)
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static void on_data(struct call *c, struct str bytes) { http_consume(c->stream, bytes.n); }

static void on_end(struct call *c) { (void)c; }

static void on_fail(struct call *c, int status, const struct msg_fault *fault, bool pushback) {
    (void)pushback;
    send_error(c, status, blob_str(fault == NULL ? NULL : fault->text));
}

static void on_response(struct call *c, struct message *m) {
    struct blob *body = m->body;
    if (m->status != STATUS_OK) {
        on_fail(c, m->status, m->fault, false);
        return;
    }
    m->body = NULL;
    call_answered(c, STATUS_OK);
    if (gateway_send(c->at, c->stream, EXPOSITION_TYPE, body, NULL, NULL) < 0)
        http_reset(c->stream, HTTP2_INTERNAL_ERROR);
}

static const struct call_form METRICS_FORM = {
    .data = on_data,
    .end = on_end,
    .response = on_response,
    .fail = on_fail,
};

void metrics_page(struct request *r) {
    if (!may_read(r)) return;
    r->route = &r->at->server->metrics;
    struct call *c = call_new_bare(r, &METRICS_FORM, loop_now(r->at->loop) + PATIENCE);
    if (c == NULL) {
        gateway_refuse(r, 503, STATUS_UNAVAILABLE, "no memory for the call");
        return;
    }
    c->requested = true;
    int rc = call_tell(c, MSG_REQUEST, NULL, 0, 0);
    if (rc == 0) return;
    c->requested = false;
    send_error(c, -rc, str_of("the metrics cannot be read now"));
}

// ---- what the doors count
static void put_ends(struct buf *out, const char *side, const int64_t *ended) {
    static const char *const HOW[] = {"done", "peer", "local", "refused"};
    for (int i = 0; i < 4; i++) {
        struct buf labels = {0};
        exposition_label(&labels, "side", str_of(side));
        exposition_label(&labels, "end", str_of(HOW[i]));
        exposition_sample(out, "mica_http_streams_total", buf_str(&labels), (double)ended[i]);
        buf_free(&labels);
    }
}

static void put_sides(struct buf *out, const char *name, double door, double client) {
    exposition_sample(out, name, str_of("side=\"door\""), door);
    exposition_sample(out, name, str_of("side=\"client\""), client);
}

static void put_streams(struct rpc_server *s, const int64_t *n, struct buf *out) {
    int64_t scrapes = atomic_load(&s->uncounted);
    exposition_family(out, "mica_http_streams_open", "gauge",
                      "HTTP requests whose stream has not ended: at the doors, and of our own.");
    put_sides(out, "mica_http_streams_open", (double)(n[COUNTER_STREAMS] - scrapes),
              (double)n[COUNTER_CLIENT_STREAMS]);
    exposition_family(out, "mica_http_streams_total", "counter",
                      "Streams that have ended: complete, broken off by the peer, broken off here, "
                      "or refused.");
    put_ends(out, "door", &n[COUNTER_CLOSED]);
    put_ends(out, "client", &n[COUNTER_CLIENT_CLOSED]);
    exposition_family(out, "mica_received_bytes_total", "counter", "Bytes read from connections.");
    put_sides(out, "mica_received_bytes_total", (double)n[COUNTER_RECEIVED],
              (double)n[COUNTER_CLIENT_RECEIVED]);
    exposition_family(out, "mica_sent_bytes_total", "counter", "Bytes written to connections.");
    put_sides(out, "mica_sent_bytes_total", (double)n[COUNTER_SENT],
              (double)n[COUNTER_CLIENT_SENT]);
}

static void put_connections(struct rpc_server *s, const int64_t *n, struct buf *out) {
    static const char *const VERSIONS[] = {"1.0", "1.1", "2"};
    exposition_family(out, "mica_connections_open", "gauge",
                      "Connections at the doors that have spoken, by HTTP's version.");
    for (unsigned door = 0; door < DOORS; door++) {
        for (int v = HTTP_1_1; v <= HTTP_2; v++) { // 1.0 and 1.1 are one session
            struct buf labels = {0};
            int64_t open = atomic_load(&s->doors[door].open[v]);
            if (v == HTTP_1_1) open += atomic_load(&s->doors[door].open[HTTP_1_0]);
            exposition_label(&labels, "door", str_of(s->loops[0].views[door].name));
            exposition_label(&labels, "version", str_of(VERSIONS[v]));
            exposition_sample(out, "mica_connections_open", buf_str(&labels), (double)open);
            buf_free(&labels);
        }
    }
    const struct str none = {"", 0};
    exposition_family(out, "mica_connections_total", "counter", "Connections that were accepted.");
    exposition_sample(out, "mica_connections_total", none, (double)n[COUNTER_ACCEPTED]);
    exposition_family(out, "mica_connections_refused_total", "counter",
                      "Connections that were closed at once: a door had its limit open.");
    exposition_sample(out, "mica_connections_refused_total", none, (double)n[COUNTER_TURNED_AWAY]);
}

void rpc_render_metrics(struct rpc_server *s, struct buf *out) {
    int64_t n[COUNTERS];
    struct call_stats **loops = calloc(s->loop_count, sizeof(struct call_stats *));
    if (loops == NULL) {
        out->failed = true;
        return;
    }
    for (unsigned i = 0; i < s->loop_count; i++) loops[i] = &s->loops[i].stats;
    counters_sum(n);
    call_stats_render(loops, s->loop_count, out);
    put_connections(s, n, out);
    put_streams(s, n, out);
    exposition_family(out, "mica_access_log_dropped_total", "counter",
                      "Lines of the access log that could not be written.");
    exposition_sample(out, "mica_access_log_dropped_total", (struct str){"", 0},
                      (double)access_log_dropped(s->access));
    free(loops);
}
