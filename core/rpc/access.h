// SPDX-License-Identifier: Apache-2.0
// Private to rpc/: the id of a request, and its line in the access log.
#pragma once

#include "rpc/call.h"

void access_begin(struct request *r); // its head is here, `at`, `view` and `stream` are set
void access_end(struct http_stream *s, const struct call *c); // its stream closes; `c` may be NULL
