// SPDX-License-Identifier: Apache-2.0
// Which of several addresses a call goes to, and which of them are left out for a while. Pure: no clock, no sockets.
//
// A call goes to the address with the fewest calls under way; of equal ones to the next in turn. An address that could not be
// connected to, or from which CHOICE_FAILURES calls in a row came back UNAVAILABLE, is left out for a second, then two, four
// and so on to a minute, each a fifth more or less so that those who share a fate do not come back all at once. After its time it gets one
// chance: the next failure leaves it out again, an answer makes it as good as any. When all are left out none is: the one
// whose time ends first is tried.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHOICE_FAILURES 5

struct choice {
    unsigned calls;    // under way
    unsigned failures; // in a row
    unsigned outs;     // how often in a row it was left out
    int64_t out_until; // clock_now
    bool room;         // a call can be begun there now
    bool gone;         // it is nobody's address any more
};

bool choice_is_out(const struct choice *c, int64_t now);
bool choice_all_out(const struct choice *list, size_t n, int64_t now); // also when there are none
// The index of the one to take; n: none has room now. `turn` is kept by the caller, 0 at first.
size_t choice_pick(const struct choice *list, size_t n, size_t *turn, int64_t now);

// `random` is any number: the jitter.
void choice_unreachable(struct choice *c, int64_t now,
                        uint64_t random); // no connection, or one that broke
void choice_unavailable(struct choice *c, int64_t now, uint64_t random); // a call ended UNAVAILABLE
void choice_answered(struct choice *c); // a call ended in any other way
