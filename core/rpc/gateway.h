// SPDX-License-Identifier: Apache-2.0
// Private to the gateway: JSON over HTTP, the api door.
//
//   gateway.c          which route and form a request gets; unary calls
//   gateway_body.c     the body of a request, as it comes
//   gateway_map.c      from path, query, form and body to the message that the service gets
//   gateway_answer.c   what of a message is the answer, and in which form of JSON
//   gateway_parts.c    multipart/form-data, whole or streamed
//   gateway_lines.c    requests of many messages: newline-delimited JSON
//   gateway_stream.c   answers of many messages, as newline-delimited JSON
//   gateway_events.c   and as server-sent events
//   gateway_socket.c   WebSocket
//   gateway_web.c      raw HTTP: functions of services that answer themselves
//   gateway_page.c     whole answers, errors, and the door's own pages
//
// All on the loop's thread.
#pragma once

#include "rpc/call.h"

struct pb_form;

enum body_kind {
    BODY_JSON,
    BODY_QUERY, // there is none
    BODY_FORM,
    BODY_MULTIPART,
    BODY_PROTO,
    BODY_LINES,
    BODY_RAW, // the value of a field of bytes or a string, as it is
    BODY_UNKNOWN,
};

// ---- gateway.c
// The route that a request by this method will get, for a preflight; NULL: there is none.
const struct route *gateway_look(struct request *r, struct str method);
// The HTTP status of a failure: the code's, or the one that the service has chosen.
static inline int gateway_http(int status, const struct msg_fault *fault) {
    return fault != NULL && fault->http != 0 ? fault->http : status_http(status);
}
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

// What the headers are as metadata, with Micro's names for what is no header of its own in HTTP/2.
struct blob *gateway_metadata(const struct request *r, bool *failed);

// ---- gateway_map.c
// Notes in a new call what of the request's head belongs to its (first) message. False: no memory.
bool gateway_map_begin(struct call *c, const struct request *r);
// The message of a request whose body is here. NULL: the call has failed.
struct blob *gateway_map(struct call *c);
struct str gateway_query(const struct call *c); // what follows the first "?"
int gateway_map_head(struct pb_form *f, const struct call *c,
                     bool path); // adds the values of the path, or of the query

// ---- gateway_answer.c
// How the answers to a request are printed: as the service says, then as `accept` does.
struct msg_form gateway_form(const struct request *r);
// Whether it is to be answered with 204.
bool gateway_answer_empty(const struct call *c, const struct blob *body);

// ---- gateway_parts.c
// Adds the parts of a whole body to a form.
int gateway_parts_add(struct pb_form *f, struct call *c, struct str body, struct err *err);
void gateway_parts_begin(
    struct call *c); // of an endpoint that its caller streams to: sends the REQUEST
void gateway_parts_data(struct call *c, struct str bytes);
void gateway_parts_end(struct call *c);

// ---- gateway_lines.c
void gateway_lines_begin(struct call *c); // sends the REQUEST
void gateway_lines_data(struct call *c, struct str bytes);
void gateway_lines_end(struct call *c);

// ---- gateway_events.c
#define EVENT_STREAM "text/event-stream"
extern const struct call_form GATEWAY_EVENTS;
bool gateway_events_wanted(const struct request *r);
// Takes Last-Event-ID. True: the client had come to the end; it has been told.
bool gateway_events_over(struct request *r);
void gateway_events_begin(struct call *c);

// ---- gateway_socket.c
bool gateway_socket_wanted(const struct request *r);
void gateway_socket_head(struct request *r, struct blob *account);

// ---- gateway_stream.c
extern const struct call_form GATEWAY_STREAM;
void gateway_stream_break(struct call *c);   // memory has ended: breaks the answer off
void gateway_stream_head(struct request *r); // answers HEAD

// ---- gateway_web.c
void gateway_web_head(struct request *r, struct blob *account);

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
// A whole answer with status 204.
int gateway_send_empty(struct rpc_loop *at, struct http_stream *s, const struct blob *leading,
                       const struct blob *trailing);
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
