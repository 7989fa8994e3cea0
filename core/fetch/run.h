// SPDX-License-Identifier: Apache-2.0
// One request that is under way, and what has come of its answer. Private to fetch/; on fetch's thread.
#pragma once

#include "fetch/curl.h"
#include "fetch/fetch.h"

#define FETCH_HEADERS 100

struct fetch_run {
    struct fetch_run *next;
    struct fetch_request *request;
    const struct curl *curl;
    CURL *easy;
    struct curl_slist *head; // of the request
    struct buf text;         // names and values of the answer's headers, one after the other
    struct {
        size_t name_n, value_n;
    } sizes[FETCH_HEADERS];
    struct fetch_header headers[FETCH_HEADERS];
    size_t header_count;
    struct buf body;
    bool too_long;               // the answer is
    bool refused;                // the last address, by may_connect
    char url[2048];              // whose answer it is
    char fault[CURL_ERROR_SIZE]; // in libcurl's words
};

struct fetch_run *fetch_run_new(const struct curl *curl, struct fetch_request *request,
                                struct err *err);
void fetch_run_delete(struct fetch_run *run);
// Fills `err` unless the result is good.
void fetch_run_fault(const struct fetch_run *run, CURLcode result, struct err *err);
// Its slices live as long as the run.
void fetch_run_answer(struct fetch_run *run, struct fetch_answer *out);
