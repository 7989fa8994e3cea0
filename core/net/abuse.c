// SPDX-License-Identifier: Apache-2.0
// Budgets are token buckets, filled by time only when they run dry: what stays within them costs a
// decrement, and no look at the clock.
#include "net/abuse.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define DOORS 8 // names of doors that are told apart in the log
#define LOG_EVERY (60 * NS_PER_SECOND)

static const struct {
    const char *name;
    int32_t burst;
    int32_t rate; // a second
} KINDS[ABUSE_KINDS] = {
    // A client that cancels a whole page or fan-out of calls stays below it; each whole answer
    // allows one more.
    [ABUSE_RESETS] = {"rapid reset: streams opened and reset again and again", 330, 20},
    [ABUSE_PROVOKED] = {"provoked resets: frames that are wrong for their streams", 330, 20},
    // Bandwidth probes of gRPC clients come once a round trip while data flows: data earns them.
    [ABUSE_PINGS] = {"PING flood", 1000, 100},
    [ABUSE_SETTINGS] = {"SETTINGS flood", 100, 5},
    [ABUSE_EMPTY_DATA] = {"flood of empty DATA frames", 1000, 100},
    [ABUSE_WINDOW_UPDATES] = {"WINDOW_UPDATE flood", 50000, 5000},
    [ABUSE_CRUMBS] = {"windows of a few bytes: answers leave in crumbs", 1000, 100},
    [ABUSE_IDLE_FRAMES] = {"flood of frames without effect", 10000, 1000},
    [ABUSE_GOAWAYS] = {"GOAWAY storm", 10, 1},
    [ABUSE_FIELDS] = {"header lists of very many fields", 5000, 500},
    // Browsers ping not at all, libraries every few seconds.
    [ABUSE_SOCKET_CONTROLS] = {"WebSocket ping flood", 100, 10},
    // Only fragments of less than WEBSOCKET_CROWDED bytes count.
    [ABUSE_SOCKET_FRAGMENTS] = {"WebSocket messages in crumbs", 1000, 100},
    // Without a budget.
    [ABUSE_CONTINUATION] = {.name = "CONTINUATION flood"},
    [ABUSE_HEADER_BOMB] = {.name = "header bomb: a list out of all proportion to what it holds"},
    [ABUSE_BROKEN_HTTP2] = {.name = "broken HTTP/2"},
    [ABUSE_BROKEN_HTTP1] = {.name = "malformed HTTP"},
    [ABUSE_BROKEN_WEBSOCKET] = {.name = "broken WebSocket"},
    [ABUSE_SLOW_HEAD] = {.name = "no whole request head in time"},
    [ABUSE_SLOW_BODY] = {.name = "no request body in time"},
    [ABUSE_SLOW_READER] = {.name = "an answer is not read"},
    [ABUSE_UNREAD] = {.name = "more answers asked for than are read"},
};

void abuse_budgets_init(struct abuse_budgets *b) {
    int64_t now = clock_now();
    for (int i = 0; i < ABUSE_BUDGETS; i++) {
        b->left[i] = KINDS[i].burst;
        b->filled[i] = now;
    }
}

// Whole tokens only; the rest of the time stays for the next refill.
static void refill(struct abuse_budgets *b, enum abuse kind) {
    int64_t rate = KINDS[kind].rate;
    int64_t step = NS_PER_SECOND / rate;
    int64_t tokens = (clock_now() - b->filled[kind]) / step;
    b->filled[kind] += tokens * step;
    if (tokens > KINDS[kind].burst) tokens = KINDS[kind].burst;
    b->left[kind] += (int32_t)tokens;
}

bool abuse_spend(struct abuse_budgets *b, enum abuse kind) {
    assert(kind < ABUSE_BUDGETS);
    if (b->left[kind] > 0) {
        b->left[kind]--;
        return true;
    }
    refill(b, kind);
    if (b->left[kind] == 0) return false;
    b->left[kind]--;
    return true;
}

void abuse_earn(struct abuse_budgets *b, enum abuse kind, int32_t n) {
    int32_t room = KINDS[kind].burst - b->left[kind];
    b->left[kind] += n < room ? n : room;
}

const char *abuse_name(enum abuse kind) { return KINDS[kind].name; }

// ---- the log

#define PLACES 1024

// Addresses are told apart by a hash (FNV-1a), without the port.
static unsigned place(struct str peer) {
    uint32_t hash = 2166136261u;
    size_t n = peer.n;
    while (n > 0 && peer.p[n - 1] != ':') n--;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)peer.p[i]) * 16777619u;
    return hash % PLACES;
}

static struct {
    pthread_mutex_t lock;
    struct {
        const char *door;
        int64_t logged[ABUSE_KINDS]; // clock_now; 0: never
        unsigned long since[ABUSE_KINDS];
    } doors[DOORS];
    int64_t addresses[PLACES]; // when a line named one
} lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

// Counts; true when a line is due, with how many there were since the last one.
static bool due(const char *door, struct str peer, enum abuse kind, unsigned long *before) {
    int64_t now = clock_now();
    int64_t *named = &lines.addresses[place(peer)];
    int i = 0;
    while (i < DOORS - 1 && lines.doors[i].door != NULL && strcmp(lines.doors[i].door, door) != 0)
        i++;
    if (lines.doors[i].door == NULL) lines.doors[i].door = door;
    int64_t *logged = &lines.doors[i].logged[kind];
    if ((*logged != 0 && now - *logged < LOG_EVERY) || (*named != 0 && now - *named < LOG_EVERY)) {
        lines.doors[i].since[kind]++;
        return false;
    }
    *logged = *named = now;
    *before = lines.doors[i].since[kind];
    lines.doors[i].since[kind] = 0;
    return true;
}

void abuse_log(const char *door, struct str peer, enum abuse kind, const char *detail) {
    unsigned long before = 0;
    pthread_mutex_lock(&lines.lock);
    bool write = due(door, peer, kind, &before);
    pthread_mutex_unlock(&lines.lock);
    if (!write) return;
    char more[64] = "";
    if (before > 0) snprintf(more, sizeof more, " (%lu more since the last line)", before);
    log_printf(LOG_WARN, door, "connection of %.*s ended: %s%s%s%s", (int)peer.n, peer.p,
               abuse_name(kind), detail[0] == '\0' ? "" : ": ", detail, more);
}

// ---- who was thrown out

// By a hash of the address: who shares it with an attacker waits as well, for a moment.
static _Atomic(int64_t) thrown_out[PLACES]; // until when; clock_now

void abuse_remember(struct str peer, int64_t now) {
    atomic_store_explicit(&thrown_out[place(peer)], now + ABUSE_PENALTY, memory_order_relaxed);
}

bool abuse_recent(struct str peer, int64_t now) {
    return atomic_load_explicit(&thrown_out[place(peer)], memory_order_relaxed) > now;
}
