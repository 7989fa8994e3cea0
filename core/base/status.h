// SPDX-License-Identifier: Apache-2.0
// Status codes and error values.
//
// There is one set of codes in Mica: gRPC's (https://grpc.io/docs/guides/status-codes/). A C function that can
// fail returns 0 or a negative code (-STATUS_NOT_FOUND) and, where a person will read of it, fills a `struct err`
// with a message that says what to do and names the thing at fault. Any thread; no state.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum status {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_INVALID_ARGUMENT = 3,
    STATUS_DEADLINE_EXCEEDED = 4,
    STATUS_NOT_FOUND = 5,
    STATUS_ALREADY_EXISTS = 6,
    STATUS_PERMISSION_DENIED = 7,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_FAILED_PRECONDITION = 9,
    STATUS_ABORTED = 10,
    STATUS_OUT_OF_RANGE = 11,
    STATUS_UNIMPLEMENTED = 12,
    STATUS_INTERNAL = 13,
    STATUS_UNAVAILABLE = 14,
    STATUS_DATA_LOSS = 15,
    STATUS_UNAUTHENTICATED = 16,
};

// An error as a value. `code` is 0 while nothing went wrong; `text` is for people, NUL-terminated, cut at the end
// when longer.
struct err {
    enum status code;
    char text[500];
};

// Fills `err` (which may be NULL) and returns -code, so that a caller can `return err_set(err, ...)`.
int err_set(struct err *err, enum status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// "NOT_FOUND" and the like; "UNKNOWN" for a number that is no status.
const char *status_name(int code);

// The code of a name in capitals; -1 when there is none.
int status_from_name(const char *name);

// The HTTP status that the gateway answers (lua-api.md section 4), and HTTP's own words for a status.
int status_http(int code);
const char *http_reason(int http_status);

// What an answer of plain HTTP counts as in metrics: OK below 400, else the first code that the gateway answers so.
enum status status_counted(int http_status);

// The gRPC status that an HTTP answer without grpc-status stands for
// (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
enum status status_from_http(int http_status);
