// SPDX-License-Identifier: Apache-2.0
// Private to rpc/: the addresses of a server elsewhere. Names are given ("a:1,b:2"); behind each may be several IP addresses,
// the peers, whose `choices` (choice.h, at the same index) say which of them is to be taken. The gRPC client (dial_pool.c) and
// the reverse proxy (forward_pool.c) keep their connections to a peer with it: their struct of one begins with `struct peer`.
//
// Names are resolved again when a connection is to be made and their answer is older than 30 seconds; a peer that is gone is
// retired: it takes nothing new and is freed by its owner when nothing of it is left. On one loop.
#pragma once

#include "net/loop.h"
#include "rpc/choice.h"

#include "base/status.h"

#define PEER_NAMES 16 // addresses in a list
#define PEERS_MOST 64 // IP addresses of all of them

struct peers;

struct peer_name {
    struct peers *peers;
    bool resolving, resolved;
    int64_t tried; // loop time; 0: never
    char *address; // "host:port", as given
    char *host;    // of it
};

struct peer {
    struct peer_name *name;
    size_t index; // in peers->list and peers->choices
    char address[64];
};

struct peers_owner {
    size_t peer_size;                 // of the owner's struct of a peer
    void (*retire)(struct peer *p);   // it is gone: peer_free, now or later
    void (*begun)(struct peers *p);   // a name is being resolved: `settled` will come
    void (*settled)(struct peers *p); // called once for each; the loop may have ended
};

struct peers {
    const struct peers_owner *owner;
    struct loop *loop;
    bool beyond; // addresses of this machine or its link are left out, whatever the names mean
    struct peer_name names[PEER_NAMES];
    size_t name_count;
    struct choice choices[PEERS_MOST];
    struct peer *list[PEERS_MOST];
    size_t count;
    size_t turn; // choice_pick's
    unsigned resolving;
    uint64_t failures; // of connecting and resolving, so far
    struct err err;    // of the last one
};

// Reads the list; nothing is resolved yet. Negative: an address is malformed or there are too many; peers_destroy is still to
// be called.
int peers_create(struct peers *p, const struct peers_owner *owner, const char *addresses,
                 struct err *err);
void peers_destroy(struct peers *p); // its peers have been freed
// Resolves what never was: again after 30 seconds, or with `all` at once.
void peers_resolve(struct peers *p, bool all);
void peer_renew(
    struct peer *peer); // a connection to it is to be made: resolves its name if that is old
void peer_free(struct peer *peer);

static inline struct choice *peer_choice(struct peer *peer) {
    return &peer->name->peers->choices[peer->index];
}
void peer_unreachable(struct peer *peer); // an attempt came to nothing
