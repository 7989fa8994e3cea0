// SPDX-License-Identifier: Apache-2.0
#include "rpc/peers.h"

#include "base/clock.h"
#include "base/random.h"
#include "net/conn.h"
#include "net/resolve.h"

#include <stdio.h>
#include <stdlib.h>

#define RESOLVE_AGAIN (30 * NS_PER_SECOND)

void peer_unreachable(struct peer *peer) {
    peer->name->peers->failures++;
    choice_unreachable(peer_choice(peer), clock_now(), random_u64());
}

// ---- the list

void peer_free(struct peer *peer) {
    struct peers *p = peer->name->peers;
    size_t rest = p->count - peer->index - 1;
    memmove(&p->list[peer->index], &p->list[peer->index + 1], rest * sizeof p->list[0]);
    memmove(&p->choices[peer->index], &p->choices[peer->index + 1], rest * sizeof p->choices[0]);
    p->count--;
    for (size_t i = peer->index; i < p->count; i++) p->list[i]->index = i;
    free(peer);
}

static struct peer *find_peer(struct peers *p, const struct peer_name *name, const char *address) {
    for (size_t i = 0; i < p->count; i++) {
        if (p->list[i]->name == name && strcmp(p->list[i]->address, address) == 0)
            return p->list[i];
    }
    return NULL;
}

static void add_peer(struct peers *p, struct peer_name *name, const char *address) {
    struct peer *peer = p->count < PEERS_MOST ? calloc(1, p->owner->peer_size) : NULL;
    if (peer == NULL) return; // it is left out until the name is resolved again
    peer->name = name;
    peer->index = p->count++;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    p->list[peer->index] = peer;
    p->choices[peer->index] = (struct choice){0};
}

// ---- resolving

static bool all_local(const struct resolved *list, size_t n) {
    size_t i = 0;
    while (i < n && list[i].local) i++;
    return i == n;
}

static void take_addresses(struct peers *p, struct peer_name *name, const struct resolved *list,
                           size_t n) {
    name->resolved = true;
    for (size_t i = 0; i < p->count; i++)
        if (p->list[i]->name == name) p->choices[i].gone = true;
    for (size_t i = 0; i < n; i++) {
        if (p->beyond && list[i].local) continue;
        struct peer *peer = find_peer(p, name, list[i].address);
        if (peer == NULL) add_peer(p, name, list[i].address);
        if (peer != NULL) peer_choice(peer)->gone = false;
    }
    for (size_t i = p->count; i-- > 0;)
        if (p->choices[i].gone) p->owner->retire(p->list[i]);
}

static void on_resolved(void *user, const struct resolved *list, size_t n, const struct err *err) {
    struct peer_name *name = user;
    struct peers *p = name->peers;
    name->resolving = false;
    p->resolving--;
    if (!loop_is_current(p->loop)) {
        // The loop has ended: nobody wants to know.
    } else if (n == 0) { // what is known already stays
        p->failures++;
        p->err = *err;
    } else if (p->beyond && all_local(list, n)) {
        p->failures++;
        err_set(
            &p->err, STATUS_UNAVAILABLE,
            "%.200s leads to the server's own machine or its link, and who registered it may not",
            name->address);
    } else {
        take_addresses(p, name, list, n);
    }
    p->owner->settled(p);
}

static void resolve(struct peers *p, struct peer_name *name) {
    name->resolving = true;
    name->tried = loop_now(p->loop);
    p->resolving++;
    p->owner->begun(p);
    resolve_name(p->loop, name->address, on_resolved, name);
}

void peers_resolve(struct peers *p, bool all) {
    int64_t now = loop_now(p->loop);
    for (size_t i = 0; i < p->name_count; i++) {
        struct peer_name *name = &p->names[i];
        bool due = all || name->tried == 0 || now - name->tried > RESOLVE_AGAIN;
        if (!name->resolved && !name->resolving && due) resolve(p, name);
    }
}

void peer_renew(struct peer *peer) {
    struct peer_name *name = peer->name;
    bool stale = loop_now(name->peers->loop) - name->tried > RESOLVE_AGAIN;
    if (stale && !name->resolving) resolve(name->peers, name);
}

// ---- life

static int add_name(struct peers *p, struct str text, struct err *err) {
    if (p->name_count == PEER_NAMES)
        return err_set(err, STATUS_INVALID_ARGUMENT, "more than %d addresses are dialled at once",
                       PEER_NAMES);
    struct peer_name *name = &p->names[p->name_count];
    const char *local = text.n > 0 && text.p[0] == ':' ? "localhost" : "";
    if (text.n > 255 || asprintf(&name->address, "%s%.*s", local, (int)text.n, text.p) < 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "an address is longer than 255 bytes");
    p->name_count++;
    name->peers = p;
    int rc = address_check(name->address, err);
    if (rc < 0) return rc;
    struct str host = {name->address, (size_t)(strrchr(name->address, ':') - name->address)};
    if (host.p[0] == '[') host = (struct str){host.p + 1, host.n - 2};
    name->host = strndup(host.p, host.n);
    return name->host != NULL ? 0 : err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

int peers_create(struct peers *p, const struct peers_owner *owner, const char *addresses,
                 struct err *err) {
    p->owner = owner;
    struct str rest = str_of(addresses);
    for (;;) {
        const char *comma = rest.n == 0 ? NULL : memchr(rest.p, ',', rest.n);
        struct str one = {rest.p, comma == NULL ? rest.n : (size_t)(comma - rest.p)};
        int rc = add_name(p, one, err);
        if (rc < 0 || comma == NULL) return rc;
        rest = (struct str){comma + 1, rest.n - one.n - 1};
    }
}

void peers_destroy(struct peers *p) {
    for (size_t i = 0; i < p->name_count; i++) {
        free(p->names[i].address);
        free(p->names[i].host);
    }
}
