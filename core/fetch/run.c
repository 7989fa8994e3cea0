// SPDX-License-Identifier: Apache-2.0
// A request as libcurl's options, and its answer as it comes in.
//
// Redirects: the headers of each answer begin with a status line, which throws away those before it, so that the last answer's
// are left. libcurl itself keeps an `authorization` from another host, and redirects to http and https only.
#include "fetch/run.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER_BYTES (64 * 1024) // of an answer
#define CONNECT_MOST 10.0        // seconds
#define AGENT "mica/" MICA_VERSION

// ---- what comes in

static size_t on_body(char *bytes, size_t one, size_t n, void *user) {
    struct fetch_run *run = user;
    (void)one; // it is 1
    if (n > run->request->body_most - run->body.n) run->too_long = true;
    if (run->too_long) return 0;
    buf_append(&run->body, bytes, n);
    return run->body.failed ? 0 : n;
}

static struct str trim(const char *p, size_t n) {
    while (n > 0 && isspace((unsigned char)*p)) p++, n--;
    while (n > 0 && isspace((unsigned char)p[n - 1])) n--;
    return (struct str){p, n};
}

static void keep_header(struct fetch_run *run, const char *line, size_t n) {
    const char *colon = memchr(line, ':', n);
    if (colon == NULL || run->header_count == FETCH_HEADERS) return;
    struct str name = trim(line, (size_t)(colon - line));
    struct str value = trim(colon + 1, n - (size_t)(colon + 1 - line));
    for (size_t i = 0; i < name.n; i++)
        buf_append_byte(&run->text, (char)tolower((unsigned char)name.p[i]));
    buf_append_str(&run->text, value);
    run->sizes[run->header_count].name_n = name.n;
    run->sizes[run->header_count].value_n = value.n;
    run->header_count++;
}

static size_t on_header(char *line, size_t one, size_t n, void *user) {
    struct fetch_run *run = user;
    (void)one;
    if (n > 5 && memcmp(line, "HTTP/", 5) == 0) {
        run->text.n = run->body.n = run->header_count = 0;
        return n;
    }
    if (n > HEADER_BYTES - run->text.n) run->too_long = true;
    if (run->too_long) return 0;
    keep_header(run, line, n);
    return run->text.failed ? 0 : n;
}

static curl_socket_t on_connect(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
    struct fetch_run *run = user;
    (void)purpose;
    run->refused = run->request->may_connect != NULL && !run->request->may_connect(&address->addr);
    if (run->refused) return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// ---- what goes out

static bool is_token(struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        if (!isalnum((unsigned char)name.p[i]) && strchr("!#$%&'*+-.^_`|~", name.p[i]) == NULL)
            return false;
    }
    return name.n > 0;
}

static bool is_value(struct str value) {
    for (size_t i = 0; i < value.n; i++) {
        if ((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t') return false;
    }
    return true;
}

static int add_line(struct fetch_run *run, const char *line) {
    struct curl_slist *more = run->curl->slist_append(run->head, line);
    if (more == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    run->head = more;
    return 0;
}

// A header without a value ends in ';' for libcurl; one of "name:" takes out what libcurl would send by itself.
static int add_header(struct fetch_run *run, const struct fetch_header *h, struct err *err) {
    if (!is_token(h->name) || !is_value(h->value))
        return err_set(err, STATUS_INVALID_ARGUMENT, "%.*s is no header that can be sent",
                       (int)(h->name.n > 100 ? 100 : h->name.n), h->name.p);
    struct buf line = {0};
    buf_append_str(&line, h->name);
    buf_append_text(&line, h->value.n == 0 ? ";" : ": ");
    buf_append_str(&line, h->value);
    int rc = add_line(run, buf_cstr(&line));
    buf_free(&line);
    return rc;
}

static int add_headers(struct fetch_run *run, struct err *err) {
    const struct fetch_request *r = run->request;
    int rc = add_line(run, "Expect:");
    if (rc == 0 && r->body.n > 0) rc = add_line(run, "Content-Type:");
    for (size_t i = 0; rc == 0 && i < r->header_count; i++)
        rc = add_header(run, &r->headers[i], err);
    if (rc == 0) run->curl->setopt(run->easy, CURLOPT_HTTPHEADER, run->head);
    return rc;
}

static void set_method(struct fetch_run *run) {
    const struct fetch_request *r = run->request;
    bool posts = strcmp(r->method, "POST") == 0; // libcurl makes a GET of it where a 303 wants that
    if (r->body.n > 0 || posts) {
        run->curl->setopt(run->easy, CURLOPT_POST, 1L);
        run->curl->setopt(run->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
        run->curl->setopt(run->easy, CURLOPT_POSTFIELDS, r->body.p);
    }
    if (strcmp(r->method, "HEAD") == 0) {
        run->curl->setopt(run->easy, CURLOPT_NOBODY, 1L);
    } else if (!posts) {
        run->curl->setopt(run->easy, CURLOPT_CUSTOMREQUEST, r->method);
    }
}

static void set_trust(struct fetch_run *run) {
    struct str ca = run->request->ca;
    const char *file = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");
    run->curl->setopt(run->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (ca.n > 0) {
        struct curl_blob blob = {(void *)(uintptr_t)ca.p, ca.n, CURL_BLOB_COPY};
        run->curl->setopt(run->easy, CURLOPT_CAINFO, NULL);
        run->curl->setopt(run->easy, CURLOPT_CAPATH, NULL);
        run->curl->setopt(run->easy, CURLOPT_CAINFO_BLOB, &blob);
    } else { // as for all other connections of the server (net/tls_context.c)
        if (file != NULL) run->curl->setopt(run->easy, CURLOPT_CAINFO, file);
        if (folder != NULL) run->curl->setopt(run->easy, CURLOPT_CAPATH, folder);
    }
}

static void set_rules(struct fetch_run *run) {
    const struct fetch_request *r = run->request;
    double connect = r->timeout < CONNECT_MOST ? r->timeout : CONNECT_MOST;
    run->curl->setopt(run->easy, CURLOPT_URL, r->url);
    run->curl->setopt(run->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    run->curl->setopt(run->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    run->curl->setopt(run->easy, CURLOPT_PROXY, "");
    run->curl->setopt(run->easy, CURLOPT_NOSIGNAL, 1L);
    run->curl->setopt(run->easy, CURLOPT_QUICK_EXIT, 1L); // does not wait for a resolver
    run->curl->setopt(run->easy, CURLOPT_TIMEOUT_MS, (long)(r->timeout * 1e3) + 1);
    run->curl->setopt(run->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect * 1e3) + 1);
    run->curl->setopt(run->easy, CURLOPT_FOLLOWLOCATION, r->redirects > 0 ? 1L : 0L);
    run->curl->setopt(run->easy, CURLOPT_MAXREDIRS, (long)r->redirects);
    run->curl->setopt(run->easy, CURLOPT_USERAGENT, AGENT);
    run->curl->setopt(run->easy, CURLOPT_ERRORBUFFER, run->fault);
    run->curl->setopt(run->easy, CURLOPT_WRITEFUNCTION, on_body);
    run->curl->setopt(run->easy, CURLOPT_WRITEDATA, run);
    run->curl->setopt(run->easy, CURLOPT_HEADERFUNCTION, on_header);
    run->curl->setopt(run->easy, CURLOPT_HEADERDATA, run);
    run->curl->setopt(run->easy, CURLOPT_OPENSOCKETFUNCTION, on_connect);
    run->curl->setopt(run->easy, CURLOPT_OPENSOCKETDATA, run);
}

// ---- life

struct fetch_run *fetch_run_new(const struct curl *curl, struct fetch_request *request,
                                struct err *err) {
    struct fetch_run *run = calloc(1, sizeof *run);
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory"); // unless somebody knows better
    if (run == NULL) return NULL;
    run->request = request;
    run->curl = curl;
    run->easy = curl->easy_init();
    if (!is_token(str_of(request->method))) {
        err_set(err, STATUS_INVALID_ARGUMENT, "no method of HTTP: \"%.100s\"", request->method);
    } else if (run->easy != NULL && add_headers(run, err) == 0) {
        set_rules(run);
        set_method(run);
        set_trust(run);
        *err = (struct err){0};
        return run;
    }
    fetch_run_delete(run);
    return NULL;
}

void fetch_run_delete(struct fetch_run *run) {
    if (run->easy != NULL) run->curl->easy_cleanup(run->easy);
    run->curl->slist_free_all(run->head);
    buf_free(&run->text);
    buf_free(&run->body);
    free(run);
}

// ---- the end

static enum status status_of(const struct fetch_run *run, CURLcode result) {
    long sent = 0;
    run->curl->getinfo(run->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (run->text.failed || run->body.failed) return STATUS_RESOURCE_EXHAUSTED;
    if (run->too_long) return STATUS_RESOURCE_EXHAUSTED;
    switch (result) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: // our caller's URL, or what a server has answered
        return sent > 0 ? STATUS_UNAVAILABLE : STATUS_INVALID_ARGUMENT;
    case CURLE_OPERATION_TIMEDOUT: return STATUS_DEADLINE_EXCEEDED;
    case CURLE_OUT_OF_MEMORY: return STATUS_RESOURCE_EXHAUSTED;
    case CURLE_COULDNT_CONNECT: return run->refused ? STATUS_PERMISSION_DENIED : STATUS_UNAVAILABLE;
    default: return STATUS_UNAVAILABLE;
    }
}

void fetch_run_fault(const struct fetch_run *run, CURLcode result, struct err *err) {
    if (result == CURLE_OK) return;
    const char *why = run->fault[0] != '\0' ? run->fault : run->curl->strerror(result);
    enum status status = status_of(run, result);
    if (run->too_long) why = "the answer is longer than it may be";
    if (status == STATUS_PERMISSION_DENIED) why = "it leads to this machine or its link";
    err_set(err, status, "%.200s: %s", run->request->url, why);
}

void fetch_run_answer(struct fetch_run *run, struct fetch_answer *out) {
    long status = 0;
    const char *url = NULL, *p = buf_p(&run->text);
    run->curl->getinfo(run->easy, CURLINFO_RESPONSE_CODE, &status);
    run->curl->getinfo(run->easy, CURLINFO_EFFECTIVE_URL, &url);
    for (size_t i = 0; i < run->header_count; i++) {
        run->headers[i].name = (struct str){p, run->sizes[i].name_n};
        run->headers[i].value = (struct str){p + run->sizes[i].name_n, run->sizes[i].value_n};
        p += run->sizes[i].name_n + run->sizes[i].value_n;
    }
    snprintf(run->url, sizeof run->url, "%s", url == NULL ? run->request->url : url);
    *out = (struct fetch_answer){.status = (int)status,
                                 .headers = run->headers,
                                 .header_count = run->header_count,
                                 .body = buf_str(&run->body),
                                 .url = run->url};
}
