// SPDX-License-Identifier: Apache-2.0
// Requests that an instance has taken from its mailbox and that wait for a place in its VM, oldest first, each with what its
// caller has sent after it (items of a stream, credit). The thread that runs the instance only.
#pragma once

#include "msg/mailbox.h"

struct pending_entry;

struct pending {
    struct mailbox *box; // told of each request that leaves (mailbox_begun)
    size_t count;
    struct message *fresh, *fresh_last; // the younger ones: nobody has asked for one of them yet
    struct pending_entry *first, *last; // the older ones: found by caller and number
    struct pending_entry **buckets;
    size_t bucket_count; // a power of two, or 0
};

void pending_init(struct pending *p, struct mailbox *box);
void pending_add(struct pending *p, struct message *request);
// A message of a caller (ITEM, END, CREDIT, CANCEL): true when it was taken, since its request waits here. A CANCEL takes
// its request with it; nobody is answered.
bool pending_match(struct pending *p, struct message *m);
// The oldest, or NULL; `mail` is the chain of what came after it.
struct message *pending_take(struct pending *p, struct mpsc_node **mail);
void pending_refuse_all(struct pending *p, int status, const char *text);
void pending_free(struct pending *p); // when it is empty
