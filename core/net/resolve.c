// SPDX-License-Identifier: Apache-2.0
// Resolving on libuv's threads. A `resolving` lives until libuv has called back, also at the end of the loop, which waits
// for that.
#include "net/resolve.h"

#include "net/address.h"
#include "net/loop_state.h"

#include <netdb.h>
#include <stdlib.h>

struct resolving {
    struct loop_task task; // tells a failure later
    uv_getaddrinfo_t request;
    resolve_done done;
    void *user;
    struct err err;
    char address[];
};

static size_t collect(const struct addrinfo *ai, struct resolved list[RESOLVED_MOST]) {
    size_t n = 0;
    for (; ai != NULL && n < RESOLVED_MOST; ai = ai->ai_next) {
        size_t k = 0;
        address_format(ai->ai_addr, list[n].address, sizeof list[n].address);
        while (k < n && strcmp(list[k].address, list[n].address) != 0) k++;
        list[n].local = address_sockaddr_is_local(ai->ai_addr);
        if (k == n) n++;
    }
    return n;
}

static void fault(struct resolving *w, int rc) {
    err_set(&w->err, STATUS_UNAVAILABLE, "cannot connect to %.300s: %s", w->address,
            uv_strerror(rc));
}

static void finish(struct resolving *w, const struct resolved *list, size_t n) {
    w->done(w->user, list, n, &w->err);
    free(w);
}

static void on_resolved(uv_getaddrinfo_t *request, int rc, struct addrinfo *found) {
    struct resolving *w =
        (struct resolving *)((char *)request - offsetof(struct resolving, request));
    struct resolved list[RESOLVED_MOST];
    size_t n = rc == 0 ? collect(found, list) : 0;
    if (n == 0) fault(w, rc == 0 ? UV_EAI_NONAME : rc);
    uv_freeaddrinfo(found);
    finish(w, list, n);
}

static void run_fail(struct loop *loop, struct loop_task *task) {
    (void)loop;
    finish((struct resolving *)task, NULL, 0); // its first field
}

static int begin(struct loop *loop, struct resolving *w) {
    struct address a;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (address_split(w->address, &a, &w->err) < 0) return -STATUS_INVALID_ARGUMENT;
    int rc = loop->state->stopping
                 ? UV_ECANCELED
                 : uv_getaddrinfo(&loop->uv, &w->request, on_resolved,
                                  a.host[0] == '\0' ? "localhost" : a.host, a.port, &hints);
    if (rc != 0) fault(w, rc);
    return rc;
}

void resolve_name(struct loop *loop, const char *address, resolve_done done, void *user) {
    size_t n = strlen(address) + 1;
    struct resolving *w = calloc(1, sizeof *w + n);
    if (w == NULL) {
        // Nothing to remember the caller by: the one case where it is told at once.
        struct err err;
        err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        done(user, NULL, 0, &err);
        return;
    }
    w->done = done;
    w->user = user;
    memcpy(w->address, address, n);
    if (begin(loop, w) == 0) return;
    w->task.run = run_fail;
    loop_post(loop, &w->task);
}
