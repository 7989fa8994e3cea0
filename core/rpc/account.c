// SPDX-License-Identifier: Apache-2.0
// Who asks at a front door.
//
// A peer that has given a certificate, which the TLS handshake has verified, is the account that the certificate names: id and
// name are the subject's CN, the namespace is its O (DEFAULT_NAMESPACE without one). It is that account and nobody else:
// a request for another namespace has no account, and the peer's address makes it nothing more. The account is encoded
// once and kept with the connection.
//
// Any other peer on a loopback address is the account that the door's owner installed, vouched for by the namespace of the
// request; everybody else is a stranger. The account goes along as an encoded mica.core.v1.Account: the installed bytes with
// the issuer appended, made once a namespace and kept.
//
// Browsers run on this machine too and send what any web page tells them to. So a loopback address alone does not vouch for
// a request that a page of another site made (Origin, Sec-Fetch-Site), nor for one that names a host which is not this
// machine (DNS rebinding: the page's own name was made to point here). gRPC is not held to the host: browsers
// cannot speak it (gRPC-Web is). That a page's origin may read answers (cors.h) makes no account of it either.
#include "rpc/call.h"
#include "rpc/cors.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#define SPACES_MAX 256 // namespaces remembered at a door; names come from peers

#define ACCOUNT_ISSUER_TAG 0x22 // field 4, length-delimited

static void space_delete(struct space *s) {
    if (s == NULL) return;
    blob_drop(s->ns);
    blob_drop(s->account);
    free(s);
}

void spaces_clear(struct door_view *view) {
    for (struct map_entry *e = map_next(&view->spaces, NULL); e != NULL;
         e = map_next(&view->spaces, e))
        space_delete(e->value);
    map_free(&view->spaces);
    view->last_space = NULL;
}

void door_refresh(struct door_view *view) {
    const struct route_table *before = view->table;
    if (route_slot_view(view->slot, &view->table) == before) return;
    spaces_clear(view);
    view->last_route.route = NULL;
    view->last_http.route = NULL;
}

static struct blob *account_with_issuer(const struct blob *loopback, struct str ns) {
    struct blob *account = blob_new(NULL, loopback->n + 2 + ns.n);
    if (account == NULL) return NULL;
    memcpy(account->p, loopback->p, loopback->n);
    account->p[loopback->n] = ACCOUNT_ISSUER_TAG;
    account->p[loopback->n + 1] = (char)ns.n; // at most 63: one byte
    memcpy(account->p + loopback->n + 2, ns.p, ns.n);
    return account;
}

static struct space *space_new(const struct route_table *table, struct str ns) {
    struct space *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->ns = blob_new(ns.p, ns.n);
    bool trusted = table != NULL && table->loopback != NULL;
    if (trusted) s->account = account_with_issuer(table->loopback, ns);
    if (s->ns != NULL && (!trusted || s->account != NULL)) return s;
    space_delete(s);
    return NULL;
}

struct space *space_get(struct door_view *view, struct str ns) {
    struct space *s = view->last_space;
    if (s != NULL && str_equal(blob_str(s->ns), ns)) return s;
    s = map_get(&view->spaces, ns);
    if (s == NULL) {
        if (view->spaces.count >= SPACES_MAX) spaces_clear(view);
        s = space_new(view->table, ns);
        if (s == NULL || map_put(&view->spaces, ns, s) < 0) {
            space_delete(s);
            return NULL;
        }
    }
    view->last_space = s;
    return s;
}

// ---- trust by address

// "[::1]:8080" -> "::1", "localhost:8080" -> "localhost"
static struct str host_of(struct str authority) {
    size_t n = 0;
    if (authority.n > 0 && authority.p[0] == '[') {
        while (n < authority.n && authority.p[n] != ']') n++;
        return (struct str){authority.p + 1, n - 1};
    }
    while (n < authority.n && authority.p[n] != ':') n++;
    return (struct str){authority.p, n};
}

static bool ends_in(struct str s, const char *suffix) {
    size_t n = strlen(suffix);
    if (s.n < n) return false;
    for (size_t i = 0; i < n; i++) {
        char c = s.p[s.n - n + i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != suffix[i]) return false;
    }
    return true;
}

static bool is_ipv4(struct str host) {
    for (size_t i = 0; i < host.n; i++) {
        if ((host.p[i] < '0' || host.p[i] > '9') && host.p[i] != '.') return false;
    }
    return true;
}

static bool host_is_here(struct str authority) {
    struct str host = host_of(authority);
    if (host.n == 0 || str_is(host, "::1")) return true;
    if (str_starts(host, "127.") && is_ipv4(host)) return true;
    return ends_in(host, "localhost") && (host.n == 9 || host.p[host.n - 10] == '.');
}

static bool same_site(const struct request *r) {
    struct str site = r->head.fetch_site;
    if (site.n > 0 && !str_is(site, "same-origin") && !str_is(site, "none")) return false;
    return cors_same_origin(r);
}

// ---- certificates

static struct blob *certificate_account(const struct tls_identity *who, struct str ns) {
    char id[256],
        issuer[64]; // names in certificates are shorter (tls.c), namespaces are valid here
    Mica__Core__V1__Account account = MICA__CORE__V1__ACCOUNT__INIT;
    snprintf(id, sizeof id, "%.*s", (int)who->name.n, who->name.p);
    snprintf(issuer, sizeof issuer, "%.*s", (int)ns.n, ns.p);
    account.id = account.name = id;
    account.type = "certificate";
    account.issuer = issuer;
    struct blob *out = blob_new(NULL, mica__core__v1__account__get_packed_size(&account));
    if (out != NULL) mica__core__v1__account__pack(&account, (uint8_t *)out->p);
    return out;
}

// Pages of other sites cannot use it either: browsers give their user's certificate to whoever is asked.
static struct blob *certified(const struct request *r, const struct tls_identity *who) {
    struct str ns = who->organization.n > 0 ? who->organization : str_of(DEFAULT_NAMESPACE);
    if (who->unsound || who->name.n == 0 || !str_equal(ns, r->ns) || !same_site(r)) return NULL;
    struct blob **account = conn_note(r->conn);
    if (*account == NULL) *account = certificate_account(who, ns);
    return *account;
}

struct blob *account_of(const struct request *r, const struct space *space, bool grpc) {
    const struct tls_identity *who = conn_identity(r->conn);
    if (who != NULL) return certified(r, who);
    if (space->account == NULL || !conn_peer_is_loopback(r->conn)) return NULL;
    if (!same_site(r) || (!grpc && !host_is_here(r->stream->authority))) return NULL;
    return space->account;
}

// The text of an address is made once for many calls of a connection. Connections end and their memory is used again,
// so the text is compared as well.
struct blob *peer_of(struct rpc_loop *at, struct conn *conn) {
    struct str address = conn_peer(conn);
    struct peer_entry *e = &at->peers[((uintptr_t)conn >> 6) & (PEERS - 1)];
    if (e->conn != conn || !str_equal(blob_str(e->address), address)) {
        struct blob *fresh = blob_new(address.p, address.n);
        if (fresh == NULL) return NULL;
        blob_drop(e->address);
        *e = (struct peer_entry){conn, fresh};
    }
    return blob_hold(e->address);
}
