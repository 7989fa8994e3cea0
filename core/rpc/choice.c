// SPDX-License-Identifier: Apache-2.0
#include "rpc/choice.h"

#include "base/clock.h"

#define FIRST NS_PER_SECOND
#define MOST (60 * NS_PER_SECOND)

bool choice_is_out(const struct choice *c, int64_t now) { return c->out_until > now; }

bool choice_all_out(const struct choice *list, size_t n, int64_t now) {
    for (size_t i = 0; i < n; i++) {
        if (!list[i].gone && !choice_is_out(&list[i], now)) return false;
    }
    return true;
}

// Is `a` better than `b`? Among those that are left out the time counts first.
static bool better(const struct choice *a, const struct choice *b, bool all_out) {
    if (all_out && a->out_until != b->out_until) return a->out_until < b->out_until;
    return a->calls < b->calls;
}

size_t choice_pick(const struct choice *list, size_t n, size_t *turn, int64_t now) {
    bool all_out = choice_all_out(list, n, now);
    size_t best = n;
    for (size_t k = 0; k < n; k++) {
        size_t i = (*turn + k) % n;
        const struct choice *c = &list[i];
        if (c->gone || !c->room || (!all_out && choice_is_out(c, now))) continue;
        if (best == n || better(c, &list[best], all_out)) best = i;
    }
    if (best < n) *turn = best + 1;
    return best;
}

// An attempt that was made while it was left out says nothing new.
static void leave_out(struct choice *c, int64_t now, uint64_t random) {
    if (choice_is_out(c, now)) return;
    int64_t time = c->outs < 6 ? FIRST << c->outs : MOST;
    if (time > MOST) time = MOST;
    c->outs++;
    c->out_until = now + time * 4 / 5 + (int64_t)(random % (uint64_t)(time * 2 / 5));
    if (c->out_until > now + MOST) c->out_until = now + MOST;
    c->failures = CHOICE_FAILURES - 1;
}

void choice_unreachable(struct choice *c, int64_t now, uint64_t random) {
    leave_out(c, now, random);
}

void choice_unavailable(struct choice *c, int64_t now, uint64_t random) {
    if (++c->failures >= CHOICE_FAILURES) leave_out(c, now, random);
}

void choice_answered(struct choice *c) {
    c->failures = 0;
    c->outs = 0;
    c->out_until = 0;
}
