// SPDX-License-Identifier: Apache-2.0
// Two answers, made as soon as the head of a request is there; what may come as its body is thrown away. On the connection's loop.
//
// A redirect leads to the host that was asked for when this server has a certificate for it, else to the first of its names:
// nobody can make this door lead to a host of theirs. It is 308, so that a POST stays one.
#include "acme/door.h"

#include "base/clock.h"

#include <stdio.h>
#include <strings.h>

#define PREFIX "/.well-known/acme-challenge/"
#define HEAD_TIMEOUT (10 * NS_PER_SECOND)
#define BODY_TIMEOUT (10 * NS_PER_SECOND)
#define IDLE_TIMEOUT (10 * NS_PER_SECOND)
#define MAX_AGE (30 * NS_PER_SECOND) // also for who never ends what it sends
#define AGE_GRACE (10 * NS_PER_SECOND)
#define MAX_CONNECTIONS 1000
#define HTTPS_PORT 443

static void answer(struct http_stream *s, int status, struct http_header header, struct str body) {
    char length[24];
    int n = snprintf(length, sizeof length, "%zu", body.n);
    struct http_header headers[] = {header, {str_of("content-length"), {length, (size_t)n}}};
    if (http_respond(s, status, headers, 2, body.n == 0) < 0 ||
        (body.n > 0 && (http_send(s, body) < 0 || http_finish(s, NULL, 0) < 0)))
        http_reset(s, HTTP2_INTERNAL_ERROR);
}

static struct str host_of(const struct acme_door *d, struct str authority) {
    const char *colon = memchr(authority.p, ':', authority.n);
    if (colon != NULL) authority.n = (size_t)(colon - authority.p);
    for (size_t i = 0; i < d->host_count; i++) {
        if (d->hosts[i].n == authority.n &&
            strncasecmp(d->hosts[i].p, authority.p, authority.n) == 0)
            return d->hosts[i];
    }
    return d->hosts[0];
}

static void redirect(const struct acme_door *d, struct http_stream *s) {
    struct buf to = {0};
    struct str path = s->path.n > 0 && s->path.p[0] == '/' ? s->path : str_of("/");
    buf_append_text(&to, "https://");
    buf_append_str(&to, host_of(d, s->authority));
    if (d->port != HTTPS_PORT) buf_printf(&to, ":%u", d->port);
    buf_append_str(&to, path);
    if (to.failed) {
        http_reset(s, HTTP2_INTERNAL_ERROR);
    } else {
        answer(s, 308, (struct http_header){str_of("location"), buf_str(&to)}, (struct str){"", 0});
    }
    buf_free(&to);
}

static void on_head(struct http_stream *s) {
    const struct acme_door *d = http_session_user(s->session);
    struct http_header text = {str_of("content-type"), str_of("text/plain; charset=utf-8")};
    struct str prefix = str_of(PREFIX), token = s->path;
    struct buf found = {0};
    if (!str_starts(s->path, PREFIX)) {
        redirect(d, s);
        return;
    }
    token = (struct str){token.p + prefix.n, token.n - prefix.n};
    if (challenges_text(d->challenges, token, &found) && !found.failed) {
        text.value = str_of("application/octet-stream");
        answer(s, 200, text, buf_str(&found));
    } else {
        answer(s, 404, text, str_of("No certificate authority has asked for this.\n"));
    }
    buf_free(&found);
}

static void on_data(struct http_stream *s, struct str bytes) { http_consume(s, bytes.n); }
static void ignore(struct http_stream *s) { (void)s; }
static void on_closed(struct http_stream *s, enum http_close why) {
    (void)s;
    (void)why;
}

struct door acme_door(struct acme_door *d) {
    static const struct http_events EVENTS = {
        .head = on_head, .data = on_data, .end = ignore, .writable = ignore, .closed = on_closed};
    return (struct door){.name = "acme",
                         .events = &EVENTS,
                         .limits = HTTP_LIMITS,
                         .head_timeout = HEAD_TIMEOUT,
                         .body_timeout = BODY_TIMEOUT,
                         .idle_timeout = IDLE_TIMEOUT,
                         .max_age = MAX_AGE,
                         .age_grace = AGE_GRACE,
                         .max_connections = MAX_CONNECTIONS,
                         .user = d};
}
