// SPDX-License-Identifier: Apache-2.0
// HTTP/1: a connection that becomes something else (RFC 9110 section 7.8). The request asks for it by `upgrade`; the answer
// 101 ends HTTP on the connection.
//
// From then on bytes go through as they are: from the peer to `data`, charged as a body is; to the peer from the stream's queue,
// without framing. There is no `end`: the connection's end is the stream's. The request has to be whole before (a GET has no
// body); what came behind it belongs to the tunnel.
#include "net/http1.h"

// Is a word in a list such as "keep-alive, Upgrade"? Without regard to case.
static bool list_has(struct str list, const char *lower) {
    size_t at = 0;
    while (at < list.n) {
        size_t end = at;
        while (end < list.n && list.p[end] != ',') end++;
        struct str word = {list.p + at, end - at};
        while (word.n > 0 && (word.p[0] == ' ' || word.p[0] == '\t'))
            word = (struct str){word.p + 1, word.n - 1};
        while (word.n > 0 && (word.p[word.n - 1] == ' ' || word.p[word.n - 1] == '\t')) word.n--;
        if (str_is_nocase(word, lower)) return true;
        at = end + 1;
    }
    return false;
}

void http1_take_upgrade(struct http1 *h, struct stream *st) {
    struct str connection, upgrade;
    bool can = h->parser.http_minor > 0 && h->message_done && str_is(st->s.method, "GET");
    if (can && http_header_get(st->s.headers, st->s.header_count, "connection", &connection) &&
        http_header_get(st->s.headers, st->s.header_count, "upgrade", &upgrade) &&
        list_has(connection, "upgrade") && list_has(upgrade, "websocket"))
        st->s.upgrade = str_of("websocket");
}

int http1_upgrade(struct stream *st, const struct http_header *headers, size_t count) {
    struct http1 *h = http1_of(st->s.session);
    if (h->cur != st) return -STATUS_CANCELLED;
    h->body_left = -1;
    h->chunked = false;
    h->keep_alive = false;
    h->tunnel = true;
    buf_append_text(&h->out, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n");
    buf_printf(&h->out, "upgrade: %.*s\r\n", (int)st->s.upgrade.n, st->s.upgrade.p);
    for (size_t i = 0; i < count; i++) http1_put_header(&h->out, &headers[i]);
    buf_append_text(&h->out, "\r\n");
    return h->out.failed ? -STATUS_RESOURCE_EXHAUSTED : 0;
}

// The request is whole.
void http1_tunnel_begin(struct http1 *h) { h->state = H1_TUNNEL; }

void http1_tunnel_data(struct http1 *h, struct str bytes) {
    struct stream *st = h->cur;
    if (st == NULL || st->reset || st->ended) return;
    st->unconsumed += bytes.n;
    h->base.events->data(&st->s, bytes);
}
