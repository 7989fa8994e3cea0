// SPDX-License-Identifier: Apache-2.0
// What it means for a call when its server answers with something that is no gRPC, or breaks off: a status, and a text that
// names the server. Pure but for asking the connection; on its loop's thread, inside the stream's events.
#include "rpc/dial.h"

#include <stdio.h>

enum { // RFC 9113 section 7
    REFUSED_STREAM = 0x7,
    CANCEL = 0x8,
    ENHANCE_YOUR_CALM = 0xB,
    INADEQUATE_SECURITY = 0xC,
};

static const struct dial_conn *conn_of_stream(const struct http_stream *s) {
    return http_session_user(s->session);
}

static const char *who(const struct http_stream *s) {
    return conn_of_stream(s)->peer->peer.name->address;
}

enum status dial_fault_not_grpc(const struct http_stream *s, char text[FAULT_TEXT]) {
    struct str type = {"", 0};
    http_header_get(s->headers, s->header_count, "content-type", &type);
    snprintf(text, FAULT_TEXT,
             "%.200s answered HTTP %d with content-type \"%.*s\", which is no gRPC", who(s),
             s->status, (int)(type.n < 100 ? type.n : 100), type.p);
    return status_from_http(s->status);
}

// PROTOCOL-HTTP2.md, "Errors".
static enum status status_of_reset(uint32_t code) {
    switch (code) {
    case REFUSED_STREAM: return STATUS_UNAVAILABLE;
    case CANCEL: return STATUS_CANCELLED;
    case ENHANCE_YOUR_CALM: return STATUS_RESOURCE_EXHAUSTED;
    case INADEQUATE_SECURITY: return STATUS_PERMISSION_DENIED;
    default: return STATUS_INTERNAL;
    }
}

enum status dial_fault_lost(const struct http_stream *s, char text[FAULT_TEXT]) {
    const struct dial_conn *dc = conn_of_stream(s);
    uint32_t broken = http_broken(s->session);
    const char *fault = conn_fault(dc->conn);
    if (http_headers_too_long(s)) {
        snprintf(text, FAULT_TEXT, "%.200s sent more than %zu bytes of headers", who(s),
                 HTTP_LIMITS.header_bytes);
        return STATUS_RESOURCE_EXHAUSTED;
    }
    if (s->was_reset) {
        snprintf(text, FAULT_TEXT, "%.200s: the call was reset: %s", who(s),
                 http2_error_name(s->reset_code));
        return status_of_reset(s->reset_code);
    }
    if (broken != 0) {
        snprintf(text, FAULT_TEXT, "%.200s breaks the rules of HTTP/2: %s", who(s),
                 http2_error_name(broken));
        return STATUS_INTERNAL;
    }
    if (dc->silent) {
        snprintf(text, FAULT_TEXT, "%.200s did not answer a PING", who(s));
    } else {
        snprintf(text, FAULT_TEXT, "the connection to %.200s broke off%s%.200s", who(s),
                 fault[0] == '\0' ? "" : ": ", fault);
    }
    return STATUS_UNAVAILABLE;
}
