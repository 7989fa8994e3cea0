// SPDX-License-Identifier: Apache-2.0
// What messages have or can hold, at any depth:
//
//   needs_check   required fields (proto2): only then must a reader look whether all is there (wire_required.c)
//   has_special   maps or well-known types, for which a JSON reader needs memory that is not in its own struct
//
// The fields of the set are edges from a message to the one that it holds. They are turned around
// and followed from the messages that have it themselves, each message once: linear in the size of
// the set, which may be hostile.
#include "desc_internal.h"

struct holders {
    size_t *first;               // where the holders of message i begin in `all`
    struct pb_message **all;     // grouped by what they hold
    struct pb_message **waiting; // marked, their holders are not yet
    size_t waiting_count;
};

static bool allocate(struct desc_build *b, struct holders *h) {
    size_t edges = 0, count = b->pool->message_count;
    h->first = desc_arena_alloc(b->scratch, count + 2, sizeof *h->first);
    h->waiting = desc_arena_alloc(b->scratch, count, sizeof(struct pb_message *));
    if (h->first == NULL || h->waiting == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        const struct pb_message *m = b->pool->messages[i];
        for (size_t k = 0; k < m->count; k++) {
            if (m->fields[k].message == NULL) continue;
            h->first[m->fields[k].message->index + 2]++;
            edges++;
        }
    }
    for (size_t i = 2; i < count + 2; i++) h->first[i] += h->first[i - 1];
    h->all = desc_arena_alloc(b->scratch, edges, sizeof(struct pb_message *));
    return h->all != NULL;
}

// Counting sort: first[i + 1] moves from the beginning of group i to its end, which is first[i + 1]
// as it is read afterwards.
static void turn_around(struct desc_build *b, struct holders *h) {
    for (size_t i = 0; i < b->pool->message_count; i++) {
        struct pb_message *m = b->pool->messages[i];
        for (size_t k = 0; k < m->count; k++) {
            if (m->fields[k].message == NULL) continue;
            h->all[h->first[m->fields[k].message->index + 1]++] = m;
        }
    }
}

static bool *needs_check(struct pb_message *m) { return &m->needs_check; }
static bool *has_special(struct pb_message *m) { return &m->has_special; }

static bool has_required(const struct pb_message *m) {
    for (size_t k = 0; k < m->count; k++) {
        if (m->fields[k].required) return true;
    }
    return false;
}

static bool is_special(const struct pb_message *m) {
    return m->is_map_entry || m->wkt != PB_WKT_NONE;
}

static void mark(struct holders *h, struct pb_message *m, bool *(*flag)(struct pb_message *m)) {
    if (*flag(m)) return;
    *flag(m) = true;
    h->waiting[h->waiting_count++] = m;
}

static void spread(struct desc_build *b, struct holders *h, bool *(*flag)(struct pb_message *m),
                   bool (*own)(const struct pb_message *m)) {
    for (size_t i = 0; i < b->pool->message_count; i++) {
        if (own(b->pool->messages[i])) mark(h, b->pool->messages[i], flag);
    }
    while (h->waiting_count > 0) {
        size_t held = h->waiting[--h->waiting_count]->index;
        for (size_t i = h->first[held]; i < h->first[held + 1]; i++) mark(h, h->all[i], flag);
    }
}

int desc_mark_holders(struct desc_build *b) {
    struct holders h = {0};
    if (!allocate(b, &h)) return desc_no_memory(b);
    turn_around(b, &h);
    spread(b, &h, needs_check, has_required);
    spread(b, &h, has_special, is_special);
    return 0;
}
