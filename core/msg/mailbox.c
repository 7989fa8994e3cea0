// SPDX-License-Identifier: Apache-2.0
#include "msg/mailbox.h"

void mailbox_init(struct mailbox *box, unsigned limit) { *box = (struct mailbox){.limit = limit}; }

int mailbox_send(struct mailbox *box, struct message *m, bool *wake) {
    *wake = false;
    if (atomic_load(&box->closed)) return -STATUS_UNAVAILABLE;
    struct mpsc *lane = &box->control;
    if (m->kind == MSG_REQUEST) {
        if (atomic_fetch_add(&box->waiting, 1) >= box->limit) {
            atomic_fetch_sub(&box->waiting, 1);
            atomic_fetch_add_explicit(&box->refused, 1, memory_order_relaxed);
            return -STATUS_RESOURCE_EXHAUSTED;
        }
        lane = &box->requests;
    }
    mpsc_push(lane, &m->link);
    *wake = !atomic_exchange(&box->scheduled, true);
    return 0;
}

struct mpsc_node *mailbox_take_control(struct mailbox *box) {
    return mpsc_take(&box->control);
}

struct mpsc_node *mailbox_take_requests(struct mailbox *box) {
    return mpsc_take(&box->requests);
}

void mailbox_begun(struct mailbox *box) { atomic_fetch_sub(&box->waiting, 1); }

bool mailbox_rest(struct mailbox *box) {
    atomic_store(&box->scheduled, false);
    if (mpsc_empty(&box->control) && mpsc_empty(&box->requests)) return true;
    return atomic_exchange(&box->scheduled, true); // true: a sender has scheduled it already
}

void mailbox_close(struct mailbox *box) { atomic_store(&box->closed, true); }
