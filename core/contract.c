// SPDX-License-Identifier: Apache-2.0
// Comparing contracts. Beginning with the methods that the older one owns, everything that a caller
// of them may send or get is looked up in the newer one by its name: services, methods, messages,
// fields (by number, which is what the wire knows; a new name for a number breaks JSON), enums and
// their values. Each message is visited once.
#include "contract.h"

#include <stdlib.h>

#define MOST_CHANGES 1000 // a contract that has become another one need not be listed to its end

struct comparison {
    const struct source *before, *after;
    struct contract_changes *out;
    bool *messages, *enums; // that have been visited, by index in `before`
    const struct pb_message **queue;
    size_t queued;
};

static void note(struct comparison *c, struct str name, struct str part, const char *text) {
    struct contract_changes *out = c->out;
    if (out->count >= MOST_CHANGES) return;
    char **texts = realloc(out->texts, (out->count + 1) * sizeof *texts);
    if (texts != NULL) out->texts = texts;
    struct buf b = {0};
    buf_append_str(&b, name);
    if (part.n > 0) buf_append_byte(&b, '.');
    buf_append_str(&b, part);
    buf_append_text(&b, ": ");
    buf_append_text(&b, text);
    char *copy = texts == NULL || b.failed ? NULL : strndup(buf_p(&b), b.n);
    buf_free(&b);
    if (copy == NULL) {
        out->failed = true;
    } else {
        out->texts[out->count++] = copy;
    }
}

static void enqueue(struct comparison *c, const struct pb_message *m) {
    if (m == NULL || c->messages[m->index]) return;
    c->messages[m->index] = true;
    c->queue[c->queued++] = m;
}

// ---- fields
static void compare_enum(struct comparison *c, const struct pb_enum *e) {
    if (c->enums[e->index]) return;
    c->enums[e->index] = true;
    const struct pb_enum *now = pb_find_enum(c->after->pool, e->full_name);
    for (size_t i = 0; now != NULL && i < e->count; i++) {
        const struct pb_enum_value *value = pb_enum_by_name(now, e->values[i].name);
        if (value == NULL) {
            note(c, e->full_name, e->values[i].name, "removed");
        } else if (value->number != e->values[i].number) {
            note(c, e->full_name, e->values[i].name, "another number");
        }
    }
}

static struct str type_name(const struct pb_field *f) {
    if (f->message != NULL) return f->message->full_name;
    return f->enumeration != NULL ? f->enumeration->full_name : (struct str){"", 0};
}

static void compare_field(struct comparison *c, const struct pb_field *f,
                          const struct pb_message *now) {
    struct str owner = f->parent->full_name;
    const struct pb_field *g = pb_field_by_number(now, f->number);
    const struct pb_field *named = pb_field_by_name(now, f->name);
    if (g == NULL && named != NULL) {
        note(c, owner, f->name, "another number");
    } else if (g == NULL) {
        note(c, owner, f->name, "removed");
    } else if (!str_equal(f->name, g->name)) {
        note(c, owner, f->name, named == NULL ? "another name" : "another number");
    } else if (f->type != g->type || !str_equal(type_name(f), type_name(g))) {
        note(c, owner, f->name, "another type");
    } else if (f->repeated != g->repeated) {
        note(c, owner, f->name, g->repeated ? "repeated now" : "not repeated any more");
    } else if (!f->required && g->required) {
        note(c, owner, f->name, "required now");
    } else {
        enqueue(c, f->message);
        if (f->enumeration != NULL) compare_enum(c, f->enumeration);
    }
}

static void compare_message(struct comparison *c, const struct pb_message *m) {
    const struct pb_message *now = pb_find_message(c->after->pool, m->full_name);
    for (size_t i = 0; now != NULL && i < m->count; i++) compare_field(c, &m->fields[i], now);
}

// ---- services
static const char *streaming(const struct pb_method *m) {
    return m->client_streaming
               ? (m->server_streaming ? "streams both ways now" : "the caller streams now")
           : m->server_streaming ? "answers with a stream now"
                                 : "does not stream any more";
}

static void compare_method(struct comparison *c, const struct pb_method *m,
                           const struct pb_method *now) {
    struct str service = m->service->full_name;
    if (now == NULL) {
        note(c, service, m->name, "removed");
        return;
    }
    if (m->client_streaming != now->client_streaming ||
        m->server_streaming != now->server_streaming)
        note(c, service, m->name, streaming(now));
    if (str_equal(m->input->full_name, now->input->full_name)) {
        enqueue(c, m->input);
    } else {
        note(c, service, m->name, "takes another message");
    }
    if (str_equal(m->output->full_name, now->output->full_name)) {
        enqueue(c, m->output);
    } else {
        note(c, service, m->name, "returns another message");
    }
}

static const struct pb_service *find_service(const struct source *s, struct str full_name) {
    for (size_t i = 0; i < s->pool->service_count; i++) {
        const struct pb_service *service = &s->pool->services[i];
        if (str_equal(service->full_name, full_name) && source_owns_proto(s, service->file))
            return service;
    }
    return NULL;
}

static void compare_services(struct comparison *c) {
    for (size_t i = 0; i < c->before->pool->service_count; i++) {
        const struct pb_service *s = &c->before->pool->services[i];
        if (!source_owns_proto(c->before, s->file)) continue;
        if (find_service(c->after, s->full_name) == NULL) {
            note(c, s->full_name, (struct str){"", 0}, "removed");
            continue;
        }
        for (size_t k = 0; k < s->count; k++)
            compare_method(c, &s->methods[k], pb_find_path(c->after->pool, s->methods[k].path));
    }
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void contract_compare(const struct source *before, const struct source *after,
                      struct contract_changes *out) {
    const struct pb_pool *pool = before->pool;
    struct comparison c = {.before = before, .after = after, .out = out};
    *out = (struct contract_changes){0};
    c.messages = calloc(pool->message_count + 1, sizeof *c.messages);
    c.enums = calloc(pool->enum_count + 1, sizeof *c.enums);
    c.queue = calloc(pool->message_count + 1, sizeof *c.queue);
    if (c.messages == NULL || c.enums == NULL || c.queue == NULL) {
        out->failed = true;
    } else {
        compare_services(&c);
        for (size_t i = 0; i < c.queued; i++) compare_message(&c, c.queue[i]);
        if (out->count > 0) qsort(out->texts, out->count, sizeof *out->texts, compare_texts);
    }
    free(c.messages);
    free(c.enums);
    free(c.queue);
}

void contract_changes_free(struct contract_changes *c) {
    for (size_t i = 0; i < c->count; i++) free(c->texts[i]);
    free(c->texts);
    *c = (struct contract_changes){0};
}
