// SPDX-License-Identifier: Apache-2.0
// Private to the gateway: JSON over HTTP, the api door.
//
//   gateway.c          which route and form a request gets; unary calls
//   gateway_body.c     from query, form and body to the message that the service gets
//   gateway_stream.c   answers of many messages
//   gateway_page.c     whole answers, errors, and the door's own pages
//
// All on the loop's thread.
#pragma once

#include "rpc/call.h"

enum body_kind { BODY_JSON, BODY_QUERY, BODY_FORM, BODY_PROTO, BODY_UNKNOWN };

// ---- gateway.c
// Ends a call whose answer has not begun with an error; `fault` and `m` (for its metadata) may be NULL.
void gateway_end_error(struct call *c, int http, int status, const struct msg_fault *fault,
                       const struct message *m, bool pushback);
// What a failed call says, in the service's name if the fault has none. `id` holds the name.
#define ID_MAX 256
struct gateway_error {
    int http;
    struct str id; // whose error it is
    struct str detail;
    bool pushback;
    const char *allow; // with 405; NULL: the usual methods
};
struct gateway_error gateway_error_of(const struct call *c, int http, const struct msg_fault *fault,
                                      char id[ID_MAX]);

// ---- gateway_body.c
enum body_kind gateway_body_kind(const struct request *r);
void gateway_data(struct call *c, struct str bytes); // gathers the body
void gateway_end(struct call *c);                    // it is here: sends the REQUEST

// ---- gateway_stream.c
extern const struct call_form GATEWAY_STREAM;
void gateway_stream_head(struct request *r); // answers HEAD

// ---- gateway_page.c
bool gateway_fixed(
    struct request *r); // the door's own pages and OPTIONS; false: the request is for none of them
// Answers with an error before a call has begun.
void gateway_refuse(struct request *r, int http, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct str gateway_id(char out[ID_MAX],
                      const struct route *route); // "posts.Posts.Save"; "api" without a route
void gateway_put_error(struct buf *out, const struct gateway_error *e);
// The whole answer. `leading` and `trailing` may be NULL. Negative: it cannot be given; the stream is to be reset.
int gateway_send_error(struct rpc_loop *at, struct http_stream *s, const struct gateway_error *e,
                       const struct blob *leading, const struct blob *trailing);
// A whole answer with status 200; takes the body. Metadata may be NULL.
int gateway_send(struct rpc_loop *at, struct http_stream *s, const char *content_type,
                 struct blob *take_body, const struct blob *leading, const struct blob *trailing);

// Status, headers and body (which it takes).
int gateway_send_whole(struct http_stream *s, int status, const struct headers *h,
                       struct blob *take_body);
void gateway_put_text(struct buf *out, struct str text); // a JSON string of any bytes

// ---- health_page.c
bool health_page(struct request *r); // GET /health, /health/live, /health/ready; false: it is none of them

// ---- metrics_page.c
void metrics_page(struct request *r); // GET /metrics
