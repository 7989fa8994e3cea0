// SPDX-License-Identifier: Apache-2.0
// The heads of raw HTTP: a request's as the metadata that the service reads (core/vm/web.c says what is in it), an answer's
// as the headers that go out. Pure, any thread.
#pragma once

#include "rpc/headers.h"
#include "rpc/route.h"

struct web_line { // what a request says besides its headers
    struct str handler, method, url, path, base, host, scheme;
    const struct route_param *params;
    size_t param_count;
};
// NULL: no memory. Credentials, the platform's own cookies and headers of the connection stay here.
struct blob *web_request_head(const struct web_line *line, const struct http_header *headers,
                              size_t count);

// A piece of a body that is sent in parts: `text`, then `n` bytes of the body from `from` on.
struct web_piece {
    uint64_t from, n;
    struct str text;
};
#define WEB_PIECES_MAX 20
struct web_answer {
    int status; // 0: the head says none
    struct web_piece pieces[WEB_PIECES_MAX];
    size_t piece_count; // 0: the body as it is
};
// Reads what the metadata of an answer says besides headers. False: it is malformed (only a bug in the library makes it so).
bool web_answer_read(const struct blob *leading, size_t body, struct web_answer *out);
// Adds the headers: none of the connection, no cookie of the platform, and content-length only where `own_length` is not set,
// since then it is the caller's to say.
void web_answer_headers(struct headers *h, const struct blob *leading, bool own_length);

// Is it the name of one of the platform's own cookies ("mica-token", "__Host-micro-token")? No service sees or sets them.
bool web_cookie_is_ours(struct str name);
