// SPDX-License-Identifier: Apache-2.0
// An HTTP/1 session's own state, server or client side, shared by
//
//   http1.c          requests as they come in
//   http1_client.c   requests that are made, and the answers to them
//   http1_head.c     heads and trailers: the line check, the headers
//   http1_out.c      what goes out
#pragma once

#include "net/session.h"

#include <llhttp.h>
#include <stdio.h>

enum http1_state {
    H1_HEAD,     // between requests, or within a head
    H1_BODY,     // a head is complete, its body is not
    H1_TRAILERS, // nor are the lines behind its last chunk
    H1_WAIT,     // the request is complete, its answer is not: nothing is parsed
    H1_TUNNEL    // no HTTP any more: see http1_tunnel.c
};

// One header line within `head`: offsets, since the buffer moves while it grows.
struct http1_line {
    size_t name, name_n, value, value_n;
};

struct http1 {
    struct http_session base;
    llhttp_t parser;
    enum http1_state state;
    struct stream *cur; // the request that is read or answered; client: that waits for its answer
    struct buf out;     // heads, interim answers and error answers that wait
    struct buf backlog; // bytes that came while nothing was parsed (pipelined requests)
    size_t backlog_at;  // of them: parsed already

    // The line check (see http1.c).
    size_t head_bytes;    // of the head so far
    size_t line_bytes;    // of the line so far
    unsigned blank_lines; // before the request
    bool first_line;
    char last; // the byte before

    // What llhttp reported of the head or of the trailers.
    struct buf head;
    size_t url_n;
    struct http1_line *lines;
    size_t line_count, line_cap;
    bool in_value;
    bool head_done, message_done;

    bool keep_alive; // after the present request
    bool expects;    // 100-continue is awaited
    bool chunked;    // the answer
    bool closing;    // nothing is read any more; close when `out` is gone
    bool eof;        // the peer has sent all
    bool tunnel;     // 101 was answered
    bool parsing;
    bool last_chunk;     // its size was read: trailers follow
    size_t between;      // bytes of a chunked body since the last ones that were content
    int64_t body_left;   // of an answer with content-length; -1: not given
    size_t discard_left; // of a request whose answer is complete
    unsigned interims;   // client: answers 1xx to the present request
    bool upgrades;       // client: the present request asks for another protocol
    int fault;           // HTTP status of what went wrong, and its text
    const char *detail;
};

static inline struct http1 *http1_of(struct http_session *h) { return (struct http1 *)h; }

static inline int fail(struct http1 *h, int status, const char *detail) {
    if (h->fault == 0) {
        h->fault = status;
        h->detail = detail;
        // What a peer sends on purpose is logged as such; not what we cannot do.
        if (status != 503 && status != 417)
            snprintf(h->base.fault, sizeof h->base.fault, "%s", detail);
    }
    return -1;
}

// http1_head.c: callbacks of llhttp that gather a head or trailers
int http1_on_url(llhttp_t *parser, const char *at, size_t n);
int http1_on_field(llhttp_t *parser, const char *at, size_t n);
int http1_on_value(llhttp_t *parser, const char *at, size_t n);
int http1_on_value_complete(llhttp_t *parser);
int http1_on_message_complete(llhttp_t *parser);
int http1_on_chunk_header(llhttp_t *parser);
// Checks and parses bytes of a head. *used: how many belong to it; *done: its end was found.
int http1_parse_head(struct http1 *h, struct str bytes, size_t *used, bool *done);
// The same for bytes of a body and the trailers behind it: `message_done` when they are complete.
int http1_parse_body(struct http1 *h, struct str bytes, size_t *used);
// Copies what was gathered into the stream, names in lower case.
int http1_take_lines(struct http1 *h, struct stream *st, bool trailer);
int http1_check_framing(struct http1 *h, struct stream *st);
void http1_gathered_clear(struct http1 *h);
void http1_expect_head(struct http1 *h); // a message is complete: the next bytes are a head
// http1.c
void http1_parse_backlog(struct http1 *h);
enum http_version http1_version(const struct http_session *base);
bool http1_wants_read(struct http_session *base);
uint32_t http1_head(struct http_session *base);
void http1_destroy(struct http_session *base);
bool http1_wants_close(struct http_session *base);
// http1_tunnel.c
void http1_take_upgrade(struct http1 *h, struct stream *st);
int http1_upgrade(struct stream *st, const struct http_header *headers, size_t count);
void http1_tunnel_begin(struct http1 *h);
void http1_tunnel_data(struct http1 *h, struct str bytes);
// http1_out.c
// *length is that of the one content-length, or -1. -STATUS_INVALID_ARGUMENT: it is no number, or there are several.
int http1_given_length(const struct http_header *headers, size_t count, int64_t *length);
void http1_put_header(struct buf *out,
                      const struct http_header *header); // but none of the connection's
void http1_answer_fault(struct http1 *h, int status, const char *detail);
void http1_continue(struct http1 *h);
int http1_respond(struct stream *st, int status, const struct http_header *headers, size_t count,
                  bool end);
void http1_queued(struct stream *st);
void http1_reset(struct stream *st, uint32_t code);
void http1_consume(struct stream *st, size_t bytes);
int http1_drain(struct http_session *base, struct buf *out, size_t max);
bool http1_wants_write(struct http_session *base);
