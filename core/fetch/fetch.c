// SPDX-License-Identifier: Apache-2.0
// The thread: requests come in by a queue and a wake-up, libcurl's multi interface carries all of them, and each reports when it
// is done. Connections are kept and used again, between requests that trust the same authorities.
//
// What a request has received so far is a `struct fetch_run`, which belongs to the thread. An answer that is longer than it may be
// is broken off as soon as that shows.
#include "fetch/fetch.h"

#include "fetch/curl.h"
#include "fetch/run.h"

#include <pthread.h>
#include <stdlib.h>

#define POLL_MOST 60000 // milliseconds; libcurl knows when it has something to do earlier

struct fetch {
    struct mpsc waiting;
    atomic_bool stopping;
    pthread_mutex_t starting;
    const struct curl *curl; // from the first request on, as the next
    CURLM *multi;
    pthread_t thread;
    struct fetch_run *runs; // the thread's
};

// ---- the thread

static void take_in(struct fetch *f) {
    for (struct mpsc_node *n = mpsc_take(&f->waiting), *next; n != NULL; n = next) {
        next = n->next;
        struct fetch_request *r = (struct fetch_request *)n;
        struct err err = {0};
        struct fetch_run *run = fetch_run_new(f->curl, r, &err);
        if (run != NULL && f->curl->multi_add(f->multi, run->easy) == CURLM_OK) {
            run->next = f->runs;
            f->runs = run;
            continue;
        }
        if (run != NULL) {
            fetch_run_delete(run);
            err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
        r->done(r, NULL, &err);
    }
}

static void end(struct fetch *f, struct fetch_run *run, const struct err *err) {
    struct fetch_run **at = &f->runs;
    struct fetch_request *r = run->request;
    struct fetch_answer answer;
    while (*at != run) at = &(*at)->next;
    *at = run->next;
    f->curl->multi_remove(f->multi, run->easy);
    if (err->code == 0) fetch_run_answer(run, &answer);
    r->done(r, err->code == 0 ? &answer : NULL, err);
    fetch_run_delete(run);
}

static struct fetch_run *find(const struct fetch *f, const CURL *easy) {
    struct fetch_run *run = f->runs;
    while (run->easy != easy) run = run->next;
    return run;
}

static void report(struct fetch *f) {
    int left;
    for (const CURLMsg *m; (m = f->curl->multi_info_read(f->multi, &left)) != NULL;) {
        if (m->msg != CURLMSG_DONE) continue;
        struct fetch_run *run = find(f, m->easy_handle);
        struct err err = {0};
        fetch_run_fault(run, m->data.result, &err);
        end(f, run, &err);
    }
}

static void *work(void *arg) {
    struct fetch *f = arg;
    while (!atomic_load(&f->stopping)) {
        int running;
        take_in(f);
        f->curl->multi_perform(f->multi, &running);
        report(f);
        f->curl->multi_poll(f->multi, NULL, 0, POLL_MOST, NULL);
    }
    struct err err;
    err_set(&err, STATUS_UNAVAILABLE, "the server is stopping");
    take_in(f);
    while (f->runs != NULL) end(f, f->runs, &err);
    return NULL;
}

// ---- life

static bool start(struct fetch *f, struct err *err) {
    pthread_mutex_lock(&f->starting);
    bool ok = f->multi != NULL;
    if (!ok && (f->curl = curl_library(err)) != NULL) {
        CURLM *multi = f->curl->multi_init();
        f->multi = multi; // before the thread, which uses it
        ok = multi != NULL && pthread_create(&f->thread, NULL, work, f) == 0;
        if (!ok) {
            if (multi != NULL) f->curl->multi_cleanup(multi);
            f->multi = NULL;
            err_set(err, STATUS_RESOURCE_EXHAUSTED, "no thread for requests can be started");
        }
    }
    pthread_mutex_unlock(&f->starting);
    return ok;
}

struct fetch *fetch_new(struct err *err) {
    struct fetch *f = calloc(1, sizeof *f);
    if (f != NULL && pthread_mutex_init(&f->starting, NULL) == 0) return f;
    free(f);
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
}

void fetch_begin(struct fetch *f, struct fetch_request *r) {
    struct err err = {0};
    if (!start(f, &err)) {
        r->done(r, NULL, &err);
        return;
    }
    mpsc_push(&f->waiting, &r->link);
    f->curl->multi_wakeup(f->multi);
}

void fetch_delete(struct fetch *f) {
    if (f == NULL) return;
    if (f->multi != NULL) {
        atomic_store(&f->stopping, true);
        f->curl->multi_wakeup(f->multi);
        pthread_join(f->thread, NULL);
        f->curl->multi_cleanup(f->multi);
    }
    pthread_mutex_destroy(&f->starting);
    free(f);
}
