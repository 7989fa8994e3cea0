// SPDX-License-Identifier: Apache-2.0
// Cross-origin resource sharing (https://fetch.spec.whatwg.org/#http-cors-protocol): which pages of other origins may read what
// a front door answers. On the loop's thread, but for the lists.
//
// Nobody may, unless the server (`--cors-origin`) or the place that runs the service (Route.cors) names the page's origin, or "*".
// That a page may read makes its user nobody: who asks is decided in account.c, which trusts no page of another site.
#pragma once

#include "base/buf.h"

struct request;

// Origins as one blob, a line each. Any thread. NULL: no memory.
struct blob *cors_list(const char *const *origins, size_t count);
bool cors_list_has(const struct blob *list,
                   struct str origin); // as browsers write it; NULL is empty

// Did a page of this very host make the request? Also when no page did (there is no Origin).
bool cors_same_origin(const struct request *r);
// May the page that made the request have what r->route answers (NULL: what the server says by itself)? Also when no page of
// another origin made it. For what has no head that a browser judges: WebSocket.
bool cors_allowed(const struct request *r);
// Whatever is answered will tell the browser whether the page may read it. Said once for the server's own answers and, when the
// route is found, again; before the head of the answer.
void cors_answer(struct request *r);
// An OPTIONS request by which a browser asks whether it may send another one (a preflight): answers it. False: it is none.
bool cors_preflight(struct request *r);
