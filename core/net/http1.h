// SPDX-License-Identifier: Apache-2.0
// An HTTP/1 session's own state, shared by http1.c (what comes in) and http1_out.c (what goes out).
#pragma once

#include "net/session.h"

#include <llhttp.h>

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
    struct stream *cur; // the request that is read or answered
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
    int fault;           // HTTP status of what went wrong, and its text
    const char *detail;
};

static inline struct http1 *http1_of(struct http_session *h) { return (struct http1 *)h; }

// http1.c
void http1_parse_backlog(struct http1 *h);
// http1_tunnel.c
void http1_take_upgrade(struct http1 *h, struct stream *st);
int http1_upgrade(struct stream *st, const struct http_header *headers, size_t count);
void http1_tunnel_begin(struct http1 *h);
void http1_tunnel_data(struct http1 *h, struct str bytes);
// http1_out.c
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
