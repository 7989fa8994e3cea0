// SPDX-License-Identifier: Apache-2.0
// The mailbox of an instance: two lanes, many senders, one reader at a time.
//
// - The control lane takes everything but REQUEST and is never refused: answers, items and credits are bounded by the
//   calls that the instance itself has open and by their credit, cancellations by the requests it has.
// - The request lane is bounded: `limit` requests may wait, then sending is refused with RESOURCE_EXHAUSTED.
//
// `scheduled` is the flag that makes an instance run on one worker at a time: who turns it from false to true puts the
// instance into a run queue; the worker turns it back when the mailbox is empty (and looks once more, so that no wake-up
// is lost).
#pragma once

#include "base/mpsc.h"
#include "msg/message.h"

struct mailbox {
    struct mpsc control;
    struct mpsc requests;
    atomic_uint waiting; // requests sent and not yet begun (mailbox_begun)
    unsigned limit;
    _Atomic(uint64_t) refused; // requests, since it was full
    atomic_bool scheduled;
    atomic_bool closed; // refuses everything with UNAVAILABLE
};

void mailbox_init(struct mailbox *box, unsigned limit);
// 0: taken; `*wake` says that the sender must schedule the instance. Negative: refused, the message is the sender's.
int mailbox_send(struct mailbox *box, struct message *m, bool *wake);
struct mpsc_node *mailbox_take_control(struct mailbox *box);
struct mpsc_node *mailbox_take_requests(struct mailbox *box);
void mailbox_begun(struct mailbox *box); // a taken request was begun or dropped: one place is free
// The reader has nothing left: true when it may stop; false when something arrived meanwhile (it stays scheduled).
bool mailbox_rest(struct mailbox *box);
void mailbox_close(struct mailbox *box);
