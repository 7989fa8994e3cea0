// SPDX-License-Identifier: Apache-2.0
// The reverse proxy: heads. What belongs to a connection stays there (RFC 9110 section 7.6.1): the headers that `connection`
// names too. What a client may not say for itself is taken out: who it is (mica-account...), where it comes from
// (x-forwarded-..., forwarded), its credentials for Mica. Pure.
#include "rpc/forward_state.h"

#include "base/encode.h"
#include "base/random.h"

#include <mica/core/v1/core.pb-c.h>

#include <stdlib.h>
#include <strings.h>

// ---- the list

void forward_headers_begin(struct forward_headers *h) {
    h->items = h->first;
    h->n = 0;
    h->cap = sizeof h->first / sizeof h->first[0];
    h->text = (struct buf){0};
    h->failed = false;
}

void forward_headers_free(struct forward_headers *h) {
    if (h->items != h->first) free(h->items);
    buf_free(&h->text);
}

void forward_headers_remove(struct forward_headers *h, const char *name) {
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (!str_is(h->items[i].name, name)) h->items[n++] = h->items[i];
    }
    h->n = n;
}

static void add(struct forward_headers *h, struct str name, struct str value) {
    if (h->n == h->cap) {
        bool own = h->items != h->first;
        struct http_header *grown = realloc(own ? h->items : NULL, 2 * h->cap * sizeof *grown);
        if (grown == NULL) {
            h->failed = true;
            return;
        }
        if (!own) memcpy(grown, h->first, sizeof h->first);
        h->items = grown;
        h->cap *= 2;
    }
    h->items[h->n++] = (struct http_header){name, value};
}

// What was appended to `text` since `from`. The buffer may still move: its room was reserved at the beginning.
static void add_text(struct forward_headers *h, const char *name, size_t from) {
    add(h, str_of(name), (struct str){buf_p(&h->text) + from, h->text.n - from});
}

// ---- what goes along

// Is `name` in the list of a `connection` header?
static bool listed(struct str list, struct str name) {
    for (size_t at = 0; at < list.n;) {
        size_t end = at;
        while (end < list.n && list.p[end] != ',') end++;
        size_t from = at, to = end;
        while (from < to && (list.p[from] == ' ' || list.p[from] == '\t')) from++;
        while (to > from && (list.p[to - 1] == ' ' || list.p[to - 1] == '\t')) to--;
        if (to - from == name.n && strncasecmp(list.p + from, name.p, name.n) == 0) return true;
        at = end + 1;
    }
    return false;
}

static bool named_by_connection(struct str name, const struct http_header *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (str_is(in[i].name, "connection") && listed(in[i].value, name)) return true;
    }
    return false;
}

static bool is_one_of(struct str name, const char *const *list) {
    for (; *list != NULL; list++) {
        if (str_is(name, *list)) return true;
    }
    return false;
}

static bool has_connection(const struct http_header *in, size_t count) {
    struct str value;
    return http_header_get(in, count, "connection", &value);
}

// Of the connection, or said anew.
static bool hop_by_hop(struct str name) {
    static const char *const HOP[] = {"connection",
                                      "keep-alive",
                                      "proxy-connection",
                                      "proxy-authenticate",
                                      "proxy-authorization",
                                      "te",
                                      "trailer",
                                      "transfer-encoding",
                                      "upgrade",
                                      "http2-settings",
                                      "content-length",
                                      NULL};
    return is_one_of(name, HOP);
}

static bool is_ours(struct str name) {
    static const char *const OURS[] = {"host",        "expect",          "forwarded",
                                       "traceparent", "mica-request-id", "mica-namespace",
                                       "mica-chain",  "micro-namespace", NULL};
    return is_one_of(name, OURS) || str_starts(name, "mica-account");
}

static bool passes(struct str name, const struct forward_facts *f) {
    if (hop_by_hop(name) || is_ours(name)) return false;
    if (str_is(name, "authorization")) return f->credentials;
    return !str_starts(name, "x-forwarded-");
}

// HTTP/2 lets a client cut its cookies into many headers, HTTP/1 knows one.
static void add_cookies(struct forward_headers *h, const struct http_header *in, size_t count) {
    size_t from = h->text.n;
    for (size_t i = 0; i < count; i++) {
        if (!str_is(in[i].name, "cookie")) continue;
        if (h->text.n > from) buf_append(&h->text, "; ", 2);
        buf_append_str(&h->text, in[i].value);
    }
    if (h->text.n > from) add_text(h, "cookie", from);
}

// ---- where it comes from

static struct str without_port(struct str peer) {
    const char *colon = peer.n == 0 ? NULL : memrchr(peer.p, ':', peer.n);
    if (colon != NULL) peer.n = (size_t)(colon - peer.p);
    if (peer.n > 2 && peer.p[0] == '[') peer = (struct str){peer.p + 1, peer.n - 2};
    return peer;
}

static void add_forwarded(struct forward_headers *h, const struct forward_facts *f,
                          const struct http_header *in, size_t count) {
    struct str before;
    size_t from = h->text.n;
    for (size_t i = 0; f->near && i < count; i++) {
        if (!str_is(in[i].name, "x-forwarded-for")) continue;
        if (h->text.n > from) buf_append(&h->text, ", ", 2);
        buf_append_str(&h->text, in[i].value);
    }
    if (h->text.n > from) buf_append(&h->text, ", ", 2);
    buf_append_str(&h->text, without_port(f->peer));
    add_text(h, "x-forwarded-for", from);
    bool told = f->near && http_header_get(in, count, "x-forwarded-proto", &before);
    add(h, str_of("x-forwarded-proto"), told ? before : str_of(f->tls ? "https" : "http"));
    told = f->near && http_header_get(in, count, "x-forwarded-host", &before);
    if (told || f->authority.n > 0)
        add(h, str_of("x-forwarded-host"), told ? before : f->authority);
}

// ---- who asks

static void add_encoded(struct forward_headers *h, const char *name, const char *text) {
    size_t from = h->text.n;
    percent_encode_message(&h->text, str_of(text));
    if (h->text.n > from) add_text(h, name, from);
}

static void add_scopes(struct forward_headers *h, const Mica__Core__V1__Account *account) {
    size_t from = h->text.n;
    for (size_t i = 0; i < account->n_scopes; i++) {
        if (i > 0) buf_append_byte(&h->text, ',');
        percent_encode_message(&h->text, str_of(account->scopes[i]));
    }
    if (h->text.n > from) add_text(h, "mica-account-scopes", from);
}

static void add_account(struct forward_headers *h, const struct blob *encoded) {
    if (encoded == NULL) return;
    // The server's own message, not a peer's.
    Mica__Core__V1__Account *account =
        mica__core__v1__account__unpack(NULL, encoded->n, (const uint8_t *)encoded->p);
    if (account == NULL) {
        h->failed = true;
        return;
    }
    add_encoded(h, "mica-account", account->id);
    add_encoded(h, "mica-account-type", account->type);
    add_scopes(h, account);
    mica__core__v1__account__free_unpacked(account, NULL);
}

static void add_context(struct forward_headers *h, const struct msg_context *context) {
    char trace[TRACEPARENT_LENGTH + 1];
    size_t from = h->text.n;
    head_traceparent(trace, context);
    buf_append(&h->text, trace, TRACEPARENT_LENGTH);
    add_text(h, "traceparent", from);
    from = h->text.n;
    buf_printf(&h->text, "%016llx", (unsigned long long)context->request_id);
    add_text(h, "mica-request-id", from);
    from = h->text.n;
    buf_printf(&h->text, "%u", context->chain + 1u); // servers that call each other in a circle end
    add_text(h, "mica-chain", from);
    add(h, str_of("mica-namespace"), blob_str(context->ns));
    add_account(h, context->account);
}

// ---- the two heads

// So that nothing in `text` moves: what may be appended to it at most.
static size_t text_room(const struct forward_facts *f, const struct http_header *in, size_t count) {
    size_t n = 512 + f->peer.n + 4 * blob_str(f->context->account).n;
    for (size_t i = 0; i < count; i++) {
        if (str_is(in[i].name, "cookie") || str_is(in[i].name, "x-forwarded-for"))
            n += in[i].value.n + 2;
    }
    return n;
}

// RFC 8441: a WebSocket over HTTP/2 has no key, one over HTTP/1.1 needs it.
static void add_upgrade(struct forward_headers *h, struct str protocol,
                        const struct http_header *in, size_t count) {
    struct str key;
    if (protocol.n == 0) return;
    add(h, str_of("upgrade"), protocol);
    if (http_header_get(in, count, "sec-websocket-key", &key)) return;
    const uint64_t random[2] = {random_u64(), random_u64()};
    size_t from = h->text.n;
    base64_encode(&h->text, (struct str){(const char *)random, sizeof random});
    add_text(h, "sec-websocket-key", from);
}

void forward_request_headers(struct forward_headers *h, const struct forward_facts *f,
                             const struct http_header *in, size_t count) {
    h->failed = !buf_reserve(&h->text, text_room(f, in, count));
    if (h->failed) return;
    bool connection = has_connection(in, count);
    for (size_t i = 0; i < count; i++) {
        struct str name = in[i].name;
        if (!passes(name, f) || str_is(name, "cookie")) continue;
        if (!connection || !named_by_connection(name, in, count)) add(h, name, in[i].value);
    }
    add_cookies(h, in, count);
    add_forwarded(h, f, in, count);
    add_context(h, f->context);
    if (f->content_length >= 0) {
        size_t from = h->text.n;
        buf_printf(&h->text, "%lld", (long long)f->content_length);
        add_text(h, "content-length", from);
    }
    add_upgrade(h, f->upgrade, in, count);
    h->failed = h->failed || h->text.failed;
}

void forward_answer_headers(struct forward_headers *h, int status, const struct http_header *in,
                            size_t count) {
    bool connection = has_connection(in, count);
    for (size_t i = 0; i < count; i++) {
        struct str name = in[i].name;
        bool length = str_is(name, "content-length") && status >= 200 && status != 204;
        if ((hop_by_hop(name) && !length) || str_is(name, "mica-request-id")) continue; // ours
        if (!connection || !named_by_connection(name, in, count)) add(h, name, in[i].value);
    }
}

// ---- the target

static bool dots_only(struct str segment) {
    size_t dots = 0;
    for (size_t i = 0; i < segment.n; dots++) {
        if (segment.p[i] == '.') {
            i++;
        } else if (i + 3 <= segment.n && strncasecmp(segment.p + i, "%2e", 3) == 0) {
            i += 3;
        } else {
            return false;
        }
    }
    return dots == 1 || dots == 2;
}

static bool plain(struct str path) {
    for (size_t at = 0; at < path.n;) {
        size_t end = at;
        while (end < path.n && path.p[end] != '/') end++;
        if (dots_only((struct str){path.p + at, end - at})) return false;
        at = end + 1;
    }
    return true;
}

bool forward_target(struct str path, struct str prefix, bool strip, struct buf *scratch,
                    struct str *target) {
    const char *mark = path.n == 0 ? NULL : memchr(path.p, '?', path.n);
    size_t n = mark == NULL ? path.n : (size_t)(mark - path.p);
    bool under = n >= prefix.n && memcmp(path.p, prefix.p, prefix.n) == 0 &&
                 (n == prefix.n || path.p[prefix.n] == '/');
    if (!under || !plain((struct str){path.p, n})) return false;
    *target = path;
    if (!strip) return true;
    *target = (struct str){path.p + prefix.n, path.n - prefix.n};
    if (n > prefix.n) return true;
    scratch->n = 0;
    buf_append_byte(scratch, '/');
    buf_append_str(scratch, *target);
    *target = buf_str(scratch);
    return !scratch->failed;
}
