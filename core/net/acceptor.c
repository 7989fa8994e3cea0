// SPDX-License-Identifier: Apache-2.0
// The acceptor: one listening socket, on the main thread's loop. Each accepted socket goes to the
// I/O loop with the fewest connections.
//
// SO_REUSEADDR so that a restart need not wait for old connections; no SO_REUSEPORT: a second
// server on the same port must fail to start. When the process is out of descriptors or memory,
// accepting rests for a moment instead of spinning on a socket that stays readable. Complaints are
// logged at most once a minute.
#include "net/address.h"
#include "net/conn_state.h"

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKLOG 1024
#define ACCEPTS_A_TURN 64
#define REST_MS 100
#define COMPLAIN_EVERY (60 * NS_PER_SECOND)

struct acceptor {
    uv_poll_t poll;
    uv_timer_t rest;
    int fd;
    unsigned open_handles; // freed when both are closed
    const struct door *door;
    struct loop *loops;
    unsigned loop_count;
    struct tally *tally;
    int64_t complained;    // clock_now of the last log line
    unsigned long refused; // connections over the limit since then
    char address[64];
};

// ---- binding

static int bind_fault(const char *address, int error, struct err *err) {
    switch (error) {
    case EADDRINUSE:
        return err_set(
            err, STATUS_ALREADY_EXISTS,
            "address %s is already in use: stop the other program or choose another port", address);
    case EACCES:
    case EPERM:
        return err_set(err, STATUS_PERMISSION_DENIED,
                       "address %s: not permitted: choose a port above 1023 or run with the right",
                       address);
    case EADDRNOTAVAIL:
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "address %s is not one of this machine: choose one of its own, "
                       "for example 127.0.0.1",
                       address);
    default:
        return err_set(err, STATUS_UNAVAILABLE, "cannot listen on %s: %s", address,
                       strerror(error));
    }
}

static int open_socket(const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

static int listen_on(struct acceptor *a, const char *address, struct err *err) {
    struct addrinfo *list;
    int rc = address_resolve(address, &list, err);
    if (rc < 0) return rc;
    a->fd = open_socket(list);
    freeaddrinfo(list);
    if (a->fd < 0) return bind_fault(address, -a->fd, err);
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    if (getsockname(a->fd, (struct sockaddr *)&bound, &n) != 0)
        return bind_fault(address, errno, err);
    address_format((struct sockaddr *)&bound, a->address, sizeof a->address);
    return 0;
}

// ---- accepting

static bool may_complain(struct acceptor *a) {
    int64_t now = clock_now();
    if (a->complained != 0 && now - a->complained < COMPLAIN_EVERY) return false;
    a->complained = now;
    return true;
}

static void refuse(struct acceptor *a, int fd) {
    close(fd);
    counter_add(COUNTER_TURNED_AWAY, 1);
    a->refused++;
    if (!may_complain(a)) return;
    log_printf(LOG_WARN, a->door->name, "%lu connections refused: %u are open, which is the limit",
               a->refused, a->door->max_connections);
    a->refused = 0;
}

static struct loop *emptiest(struct acceptor *a) {
    struct loop *best = &a->loops[0];
    unsigned least = atomic_load(&best->connections);
    for (unsigned i = 1; i < a->loop_count; i++) {
        unsigned n = atomic_load(&a->loops[i].connections);
        if (n < least) {
            best = &a->loops[i];
            least = n;
        }
    }
    return best;
}

static void hand_over(struct acceptor *a, int fd, const struct sockaddr *peer) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct loop *loop = emptiest(a);
    struct conn *c = conn_alloc(loop);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->door = a->door;
    c->tally = a->tally;
    if (a->door->tls != NULL) c->tls_context = tls_context_hold(*a->door->tls);
    atomic_fetch_add(&a->tally->refs, 1);
    atomic_fetch_add(&a->tally->open, 1);
    conn_set_peer(c, peer);
    c->task.run = conn_adopt;
    counter_add(COUNTER_ACCEPTED, 1);
    loop_post(loop, &c->task);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *timer) {
    struct acceptor *a = timer->data;
    uv_poll_start(&a->poll, UV_READABLE, on_readable);
}

static void rest(struct acceptor *a, int error) {
    uv_poll_stop(&a->poll);
    uv_timer_start(&a->rest, on_rested, REST_MS, 0);
    if (may_complain(a))
        log_printf(LOG_ERROR, a->door->name, "cannot accept connections for now: %s",
                   strerror(error));
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct acceptor *a = poll->data;
    (void)events;
    if (status < 0) {
        rest(a, -status);
        return;
    }
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t n = sizeof peer;
        int fd = accept4(a->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && atomic_load(&a->tally->open) >= a->door->max_connections) {
            refuse(a, fd);
        } else if (fd >= 0) {
            hand_over(a, fd, (struct sockaddr *)&peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest(a, errno);
            return;
        } // else: this one peer has gone already, or a network fault of its own
    }
}

// ---- life

static void acceptor_free(struct acceptor *a) {
    if (a->fd >= 0) close(a->fd);
    tally_drop(a->tally);
    free(a);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct acceptor *a = handle->data;
    if (--a->open_handles == 0) acceptor_free(a);
}

struct acceptor *acceptor_new(uv_loop_t *main, const char *address, const struct door *door,
                              struct loop *loops, unsigned loop_count, struct err *err) {
    struct acceptor *a = calloc(1, sizeof *a);
    if (a == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    a->fd = -1;
    a->door = door;
    a->loops = loops;
    a->loop_count = loop_count;
    a->tally = calloc(1, sizeof *a->tally);
    if (a->tally == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        goto fail;
    }
    atomic_init(&a->tally->refs, 1);
    if (listen_on(a, address, err) < 0) goto fail;
    int rc = uv_poll_init(main, &a->poll, a->fd);
    if (rc != 0) {
        err_set(err, STATUS_INTERNAL, "cannot listen on %s: %s", address, uv_strerror(rc));
        goto fail;
    }
    uv_timer_init(main, &a->rest);
    a->poll.data = a->rest.data = a;
    a->open_handles = 2;
    return a;

fail:
    acceptor_free(a);
    return NULL;
}

void acceptor_start(struct acceptor *a) { uv_poll_start(&a->poll, UV_READABLE, on_readable); }

void acceptor_close(struct acceptor *a) {
    if (a == NULL || uv_is_closing((uv_handle_t *)&a->poll)) return;
    uv_close((uv_handle_t *)&a->poll, on_handle_closed);
    uv_close((uv_handle_t *)&a->rest, on_handle_closed);
    close(a->fd); // the port is free from here on
    a->fd = -1;
}

const char *acceptor_address(const struct acceptor *a) { return a->address; }
