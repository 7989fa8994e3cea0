// SPDX-License-Identifier: Apache-2.0
// The table of status codes: one row a code, everything else is derived from it.
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http;
} STATUS[] = {
    [STATUS_OK] = {"OK", 200},
    [STATUS_CANCELLED] = {"CANCELLED", 499},
    [STATUS_UNKNOWN] = {"UNKNOWN", 500},
    [STATUS_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", 400},
    [STATUS_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", 504},
    [STATUS_NOT_FOUND] = {"NOT_FOUND", 404},
    [STATUS_ALREADY_EXISTS] = {"ALREADY_EXISTS", 409},
    [STATUS_PERMISSION_DENIED] = {"PERMISSION_DENIED", 403},
    [STATUS_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", 429},
    [STATUS_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", 400},
    [STATUS_ABORTED] = {"ABORTED", 409},
    [STATUS_OUT_OF_RANGE] = {"OUT_OF_RANGE", 400},
    [STATUS_UNIMPLEMENTED] = {"UNIMPLEMENTED", 501},
    [STATUS_INTERNAL] = {"INTERNAL", 500},
    [STATUS_UNAVAILABLE] = {"UNAVAILABLE", 503},
    [STATUS_DATA_LOSS] = {"DATA_LOSS", 500},
    [STATUS_UNAUTHENTICATED] = {"UNAUTHENTICATED", 401},
};
#define STATUS_COUNT ((int)(sizeof STATUS / sizeof STATUS[0]))

static const struct {
    int status;
    const char *reason;
} REASON[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

int err_set(struct err *err, enum status code, const char *format, ...) {
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return -(int)code;
}

const char *status_name(int code) {
    return code >= 0 && code < STATUS_COUNT ? STATUS[code].name : "UNKNOWN";
}

int status_from_name(const char *name) {
    for (int code = 0; code < STATUS_COUNT; code++) {
        if (strcmp(STATUS[code].name, name) == 0) return code;
    }
    return -1;
}

int status_http(int code) { return code >= 0 && code < STATUS_COUNT ? STATUS[code].http : 500; }

const char *http_reason(int http_status) {
    for (size_t i = 0; i < sizeof REASON / sizeof REASON[0]; i++) {
        if (REASON[i].status == http_status) return REASON[i].reason;
    }
    return "Unknown";
}

enum status status_counted(int http_status) {
    if (http_status < 400) return STATUS_OK;
    for (int code = STATUS_INVALID_ARGUMENT; code < STATUS_COUNT; code++) {
        if (STATUS[code].http == http_status) return (enum status)code;
    }
    return http_status < 500 ? STATUS_INVALID_ARGUMENT : STATUS_UNKNOWN;
}

enum status status_from_http(int http_status) {
    switch (http_status) {
    case 400: return STATUS_INTERNAL;
    case 401: return STATUS_UNAUTHENTICATED;
    case 403: return STATUS_PERMISSION_DENIED;
    case 404: return STATUS_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504: return STATUS_UNAVAILABLE;
    default: return STATUS_UNKNOWN;
    }
}
