// SPDX-License-Identifier: Apache-2.0
// Most requests wait here for a moment at most and are never asked for, so they are only linked (`fresh`). When a caller's
// later message arrives while requests wait, the fresh ones get an entry each in a hash table by (reply port, number):
// ten thousand waiting requests and as many cancellations must not cost their product.
//
// Every indexed request is older than every fresh one. Entries are allocated; when memory ends the request is refused.
#include "sched/pending.h"

#include <assert.h>
#include <stdlib.h>

struct pending_entry {
    struct message *request;
    struct mpsc_node *mail, *mail_last;
    struct pending_entry *prev, *next; // by age
    struct pending_entry *chain;       // in a bucket
};

void pending_init(struct pending *p, struct mailbox *box) { *p = (struct pending){.box = box}; }

void pending_add(struct pending *p, struct message *request) {
    assert(request->kind == MSG_REQUEST);
    request->link.next = NULL;
    if (p->fresh == NULL) {
        p->fresh = request;
    } else {
        p->fresh_last->link.next = &request->link;
    }
    p->fresh_last = request;
    p->count++;
}

static struct message *take_fresh(struct pending *p) {
    struct message *m = p->fresh;
    if (m == NULL) return NULL;
    p->fresh = m->link.next == NULL ? NULL : message_of(m->link.next);
    m->link.next = NULL;
    return m;
}

static void left(struct pending *p) {
    p->count--;
    mailbox_begun(p->box);
}

// ---- the index
static size_t bucket_of(const struct pending *p, const struct message *m) {
    uint64_t h =
        ((uint64_t)(uintptr_t)m->reply ^ m->call * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    return (size_t)(h >> 32) & (p->bucket_count - 1);
}

static void put_in_bucket(struct pending *p, struct pending_entry *e) {
    struct pending_entry **bucket = &p->buckets[bucket_of(p, e->request)];
    e->chain = *bucket;
    *bucket = e;
}

static bool grow(struct pending *p) {
    if (p->count <= p->bucket_count) return true;
    size_t n = p->bucket_count == 0 ? 64 : p->bucket_count * 2;
    while (n < p->count) n *= 2;
    struct pending_entry **buckets = calloc(n, sizeof(struct pending_entry *));
    if (buckets == NULL) return p->bucket_count > 0; // longer chains will do
    free(p->buckets);
    p->buckets = buckets;
    p->bucket_count = n;
    for (struct pending_entry *e = p->first; e != NULL; e = e->next) put_in_bucket(p, e);
    return true;
}

static void index_fresh(struct pending *p) {
    bool ok = grow(p);
    struct message *m;
    while ((m = take_fresh(p)) != NULL) {
        struct pending_entry *e = ok ? calloc(1, sizeof *e) : NULL;
        if (e == NULL) {
            message_refuse(m, STATUS_RESOURCE_EXHAUSTED,
                           "the server has no memory for this request");
            left(p);
            continue;
        }
        e->request = m;
        e->prev = p->last;
        *(p->last == NULL ? &p->first : &p->last->next) = e;
        p->last = e;
        put_in_bucket(p, e);
    }
}

static struct pending_entry *find(struct pending *p, const struct message *m) {
    if (p->fresh != NULL) index_fresh(p);
    if (p->bucket_count == 0) return NULL;
    struct pending_entry *e = p->buckets[bucket_of(p, m)];
    while (e != NULL && (e->request->call != m->call || e->request->reply != m->reply))
        e = e->chain;
    return e;
}

// Takes it out of the table and the list; what it refers to is the caller's.
static void unlink_entry(struct pending *p, struct pending_entry *e) {
    struct pending_entry **at = &p->buckets[bucket_of(p, e->request)];
    while (*at != e) at = &(*at)->chain;
    *at = e->chain;
    *(e->prev == NULL ? &p->first : &e->prev->next) = e->next;
    *(e->next == NULL ? &p->last : &e->next->prev) = e->prev;
    free(e);
    left(p);
}

// ---- what the instance does
bool pending_match(struct pending *p, struct message *m) {
    if (p->count == 0 || m->reply == NULL) return false;
    struct pending_entry *e = find(p, m);
    if (e == NULL) return false;
    m->link.next = NULL;
    if (m->kind == MSG_CANCEL) {
        struct message *request = e->request;
        message_delete_chain(e->mail);
        unlink_entry(p, e); // finds its bucket by the request
        message_delete(request);
        message_delete(m);
        return true;
    }
    *(e->mail == NULL ? &e->mail : &e->mail_last->next) = &m->link;
    e->mail_last = &m->link;
    return true;
}

struct message *pending_take(struct pending *p, struct mpsc_node **mail) {
    *mail = NULL;
    struct pending_entry *e = p->first;
    if (e != NULL) {
        assert(e->prev == NULL);
        struct message *m = e->request;
        *mail = e->mail;
        unlink_entry(p, e);
        return m;
    }
    struct message *m = take_fresh(p);
    if (m != NULL) left(p);
    return m;
}

void pending_refuse_all(struct pending *p, int status, const char *text) {
    struct mpsc_node *mail;
    struct message *m;
    while ((m = pending_take(p, &mail)) != NULL) {
        message_refuse(m, status, text);
        message_delete_chain(mail);
    }
}

void pending_free(struct pending *p) {
    assert(p->count == 0);
    free(p->buckets);
    p->buckets = NULL;
    p->bucket_count = 0;
}
