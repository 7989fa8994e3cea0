// SPDX-License-Identifier: Apache-2.0
// What a peer may do that costs this side work and does nobody any good: how much of it, and the
// log line when it was too much.
//
// Each kind of such work has a budget per connection: so many at once, so many a second after that.
// Useful work fills budgets too (an answer that went out whole, a body that the peer's window let
// through), so that a busy peer may do more of what goes along with it. Budgets are set so that an
// attack just below them costs less than a hundredth of a core; what is within them is counted and
// nothing else. The table in abuse.c has the numbers.
//
// Who was thrown out waits a moment when it comes back (abuse_recent), or an attack would go on from
// one connection to the next at the same pace.
//
// Sessions say why they are given up in `abuse`; conn.c logs it and ends the connection.
#pragma once

#include "base/buf.h"

enum abuse {
    // With a budget.
    ABUSE_RESETS,         // RST_STREAM from the peer (rapid reset, CVE-2023-44487)
    ABUSE_PROVOKED,       // what made us reset a stream (CVE-2025-8671)
    ABUSE_PINGS,          // CVE-2019-9512
    ABUSE_SETTINGS,       // CVE-2019-9515
    ABUSE_EMPTY_DATA,     // DATA without a byte and without an end (CVE-2019-9518)
    ABUSE_WINDOW_UPDATES, // room for more than we send
    ABUSE_CRUMBS,         // windows so small that bodies leave in crumbs (CVE-2019-9511)
    ABUSE_IDLE_FRAMES, // PRIORITY (CVE-2019-9513), unknown types, frames of streams that are gone
    ABUSE_GOAWAYS,
    ABUSE_FIELDS,           // header lists of very many fields
    ABUSE_SOCKET_CONTROLS,  // WebSocket: pings and pongs
    ABUSE_SOCKET_FRAGMENTS, // WebSocket: messages in crumbs
    ABUSE_BUDGETS,
    // Without: the first one ends the connection.
    ABUSE_CONTINUATION = ABUSE_BUDGETS, // a header list in too many frames (CVE-2024-28182)
    ABUSE_HEADER_BOMB,                  // one that unpacks to many times its limit, or to nothing
    ABUSE_BROKEN_HTTP2,                 // a connection error of RFC 9113
    ABUSE_BROKEN_HTTP1,                 // bytes that are no HTTP at all
    ABUSE_BROKEN_WEBSOCKET,             // frames against RFC 6455, text that is no UTF-8
    ABUSE_SLOW_HEAD,                    // no whole head within the time limit
    ABUSE_SLOW_BODY,                    // a request's body that does not come on
    ABUSE_SLOW_READER,                  // an answer that is not taken
    ABUSE_UNREAD,                       // more answers wait than the peer reads
    ABUSE_KINDS,
    ABUSE_NONE = 255,
};

// A connection's budgets. Belongs to the thread of its session.
struct abuse_budgets {
    int32_t left[ABUSE_BUDGETS];
    int64_t filled[ABUSE_BUDGETS]; // clock_now of the last refill by time
};

void abuse_budgets_init(struct abuse_budgets *b);
// One more of it. False: the budget is used up, the connection is to be given up.
bool abuse_spend(struct abuse_budgets *b, enum abuse kind);
void abuse_earn(struct abuse_budgets *b, enum abuse kind, int32_t n); // up to the full budget

// "rapid reset", for the log.
const char *abuse_name(enum abuse kind);
// Logs that a connection of `door` is ended for it: at most one line a minute for each door and
// kind, and for each address whatever the kinds; the next one of a kind counts those in between.
// Any thread. `detail` may be empty.
void abuse_log(const char *door, struct str peer, enum abuse kind, const char *detail);

// Thrown out clients are remembered by address, without the port, for ABUSE_PENALTY. `peer` is
// "127.0.0.1:51234". Any thread.
#define ABUSE_PENALTY (250 * 1000000LL) // nanoseconds
void abuse_remember(struct str peer, int64_t now);
bool abuse_recent(struct str peer, int64_t now);
