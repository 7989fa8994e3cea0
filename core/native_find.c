// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Contracts.Find: the .proto files of what runs, for server reflection. Its context is a struct deploy.
//
// Which contracts may be seen is the caller's to say, in an order that decides between equals. Of
// each contract a part is visible: the files of its roots and what they import. Contracts come from
// different authors, so a name may stand for different contents, while a client keeps one file a
// name: the name belongs to its holder (the first contract whose own file it is, else the first
// that imports it); elsewhere, where the content is another, the file is called SERVICE/NAME. Who
// imports it says so, and has another content thereby: it is called SERVICE/NAME too when another
// contract has its name. Google's well-known files are everybody's and keep their names.
//
// Nothing is kept between requests: a contract costs a walk over the top of its descriptors. Any thread.
#include "native.h"
#include "native_build.h"
#include "pb/files.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

typedef Mica__Core__V1__FindRequest FindRequest;
typedef Mica__Core__V1__VisibleContract VisibleContract;

struct contract {
    struct directory_entry entry; // port and pool are held
    struct str service;
    struct pb_files files;
    bool *visible; // by file
    bool *own;     // by file
    bool *renamed; // by file; NULL until it is asked for
};

struct search {
    struct contract *list;
    size_t count;
    struct contract *writing; // whose names are written
    struct buf name;          // scratch
    bool failed;              // memory ended
};

// ---- what is visible
static size_t index_of(const struct contract *c, struct str name) {
    const struct pb_file *file = pb_files_find(&c->files, name);
    return file == NULL ? c->files.count : (size_t)(file - c->files.list);
}

// Marks the file and what it imports.
static bool reveal(struct contract *c, size_t index) {
    size_t *todo = malloc((c->files.count + 1) * sizeof *todo);
    size_t n = 0;
    if (todo == NULL) return false;
    if (!c->visible[index]) todo[n++] = index;
    c->visible[index] = true;
    while (n > 0) {
        const struct pb_file *file = &c->files.list[todo[--n]];
        struct str name;
        for (size_t at = 0; pb_file_import(file, &at, &name);) {
            size_t i = index_of(c, name);
            if (i == c->files.count || c->visible[i]) continue;
            c->visible[i] = true; // at most once, so `todo` is long enough
            todo[n++] = i;
        }
    }
    free(todo);
    return true;
}

static bool is_root(const VisibleContract *in, struct str full_name) {
    for (size_t i = 0; i < in->n_roots; i++) {
        if (str_is(full_name, in->roots[i])) return true;
    }
    return in->n_roots == 0;
}

static bool reveal_roots(struct contract *c, const VisibleContract *in) {
    const struct source *source = c->entry.source;
    for (size_t i = 0; i < c->files.count; i++)
        c->own[i] = source == NULL || source_owns_proto(source, c->files.list[i].name);
    for (size_t i = 0; i < c->entry.pool->service_count; i++) {
        const struct pb_service *s = &c->entry.pool->services[i];
        size_t file = index_of(c, s->file);
        if (file == c->files.count || !c->own[file] || !is_root(in, s->full_name)) continue;
        if (!reveal(c, file)) return false;
    }
    for (size_t i = 0; i < c->files.count && in->n_roots == 0; i++) {
        if (c->own[i] && !reveal(c, i)) return false;
    }
    return true;
}

static void contract_close(struct contract *c) {
    pb_files_close(&c->files);
    free(c->visible);
    free(c->own);
    free(c->renamed);
    port_drop(c->entry.port);
    pb_pool_drop(c->entry.pool);
}

// False: it is not there, or memory ended (then s->failed).
static bool contract_open(struct search *s, struct contract *c, struct deploy *d,
                          const VisibleContract *in) {
    *c = (struct contract){.service = str_of(in->service)};
    if (directory_look(d->directory, str_of(in->namespace_), c->service, str_of(in->version),
                       &c->entry) < 0)
        return false;
    if (c->entry.source == NULL) { // an HTTP service: without a contract
        port_drop(c->entry.port);
        pb_pool_drop(c->entry.pool);
        return false;
    }
    bool ok = pb_files_open(&c->files, blob_str(c->entry.pool->set)) == 0;
    c->visible = calloc(c->files.count + 1, sizeof *c->visible);
    c->own = calloc(c->files.count + 1, sizeof *c->own);
    ok = ok && c->visible != NULL && c->own != NULL && reveal_roots(c, in);
    if (ok) return true;
    s->failed = true;
    contract_close(c);
    return false;
}

// ---- names
// Who gives a name its meaning among those who see it.
static const struct pb_file *holder_of(const struct search *s, struct str name,
                                       const struct contract **holder) {
    const struct pb_file *found = NULL;
    for (size_t k = 0; k < s->count; k++) {
        const struct contract *c = &s->list[k];
        size_t i = index_of(c, name);
        if (i == c->files.count || !c->visible[i] || (found != NULL && !c->own[i])) continue;
        found = &c->files.list[i];
        *holder = c;
        if (c->own[i]) break;
    }
    return found;
}

static bool same_content(struct search *s, const struct pb_file *a, const struct pb_file *b) {
    if (a->bytes.n == b->bytes.n && memcmp(a->bytes.p, b->bytes.p, a->bytes.n) == 0) return true;
    struct buf x = {0}, y = {0};
    pb_file_put(a, NULL, &x);
    pb_file_put(b, NULL, &y);
    bool same = str_equal(buf_str(&x), buf_str(&y));
    s->failed = s->failed || x.failed || y.failed;
    buf_free(&x);
    buf_free(&y);
    return same;
}

static bool imports_renamed(const struct contract *c, const struct pb_file *file) {
    struct str name;
    for (size_t at = 0; pb_file_import(file, &at, &name);) {
        size_t i = index_of(c, name);
        if (i < c->files.count && c->renamed[i]) return true;
    }
    return false;
}

static bool elsewhere(const struct search *s, const struct contract *here, struct str name) {
    for (size_t k = 0; k < s->count; k++) {
        const struct contract *c = &s->list[k];
        size_t i = c == here ? c->files.count : index_of(c, name);
        if (i < c->files.count && c->visible[i]) return true;
    }
    return false;
}

// Fills c->renamed. False: memory ended.
static bool find_renamed(struct search *s, struct contract *c) {
    if (c->renamed != NULL) return true;
    c->renamed = calloc(c->files.count + 1, sizeof *c->renamed);
    if (c->renamed == NULL) return false;
    for (size_t i = 0; i < c->files.count; i++) {
        const struct pb_file *file = &c->files.list[i];
        const struct contract *holder = c;
        if (!c->visible[i] || str_starts(file->name, "google/protobuf/")) continue;
        const struct pb_file *held = holder_of(s, file->name, &holder);
        c->renamed[i] = holder != c && !same_content(s, held, file);
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < c->files.count; i++) {
            const struct pb_file *file = &c->files.list[i];
            if (c->renamed[i] || !c->visible[i] || !imports_renamed(c, file)) continue;
            if (elsewhere(s, c, file->name)) c->renamed[i] = more = true;
        }
    }
    return !s->failed;
}

static struct str shown_name(void *user, struct str name) {
    struct search *s = user;
    size_t i = index_of(s->writing, name);
    if (i == s->writing->files.count || !s->writing->renamed[i]) return name;
    s->name.n = 0;
    buf_append_str(&s->name, s->writing->service);
    buf_append_byte(&s->name, '/');
    buf_append_str(&s->name, name);
    s->failed = s->failed || s->name.failed;
    return buf_str(&s->name);
}

// ---- finding
typedef size_t (*find_function)(struct search *s, struct contract *c, const FindRequest *in);

static size_t by_symbol(struct search *s, struct contract *c, const FindRequest *in) {
    struct str symbol = str_of(in->symbol);
    (void)s;
    for (size_t i = 0; i < c->files.count; i++) {
        if (c->visible[i] && pb_file_declares(&c->files.list[i], symbol)) return i;
    }
    return c->files.count;
}

static size_t by_name(struct search *s, struct contract *c, const FindRequest *in) {
    struct str name = str_of(in->file);
    size_t none = c->files.count, i = index_of(c, name);
    if (i < none) return c->visible[i] && find_renamed(s, c) && !c->renamed[i] ? i : none;
    size_t n = c->service.n;
    if (name.n <= n || memcmp(name.p, c->service.p, n) != 0 || name.p[n] != '/') return none;
    i = index_of(c, (struct str){name.p + n + 1, name.n - n - 1});
    return i < none && c->visible[i] && find_renamed(s, c) && c->renamed[i] ? i : none;
}

// The extension field, or NULL.
static const struct pb_field *extension_of(const struct contract *c, const FindRequest *in) {
    const struct pb_message *m = pb_find_message(c->entry.pool, str_of(in->extended));
    const struct pb_field *f = m == NULL ? NULL : pb_field_by_number(m, in->number);
    return f != NULL && f->is_extension ? f : NULL;
}

// "[pkg.name]" -> the visible file that declares it.
static size_t declared_in(const struct contract *c, const struct pb_field *extension) {
    struct str name = {extension->name.p + 1, extension->name.n - 2};
    for (size_t i = 0; i < c->files.count; i++) {
        if (c->visible[i] && pb_file_declares(&c->files.list[i], name)) return i;
    }
    return c->files.count;
}

static size_t by_extension(struct search *s, struct contract *c, const FindRequest *in) {
    const struct pb_field *f = extension_of(c, in);
    (void)s;
    return f == NULL ? c->files.count : declared_in(c, f);
}

// One in whose own files it stands is better than one that imports it.
static struct contract *find(struct search *s, find_function look, const FindRequest *in,
                             size_t *index) {
    struct contract *found = NULL;
    for (size_t k = 0; k < s->count; k++) {
        struct contract *c = &s->list[k];
        size_t i = look(s, c, in);
        if (i == c->files.count || (found != NULL && !c->own[i])) continue;
        found = c;
        *index = i;
        if (c->own[i]) break;
    }
    return found;
}

// ---- answers
static void put_after_imports(const struct contract *c, size_t index, size_t *order, size_t *n,
                              bool *seen) {
    struct str name;
    seen[index] = true;
    for (size_t at = 0; pb_file_import(&c->files.list[index], &at, &name);) {
        size_t i = index_of(c, name);
        if (i < c->files.count && !seen[i]) put_after_imports(c, i, order, n, seen);
    }
    order[(*n)++] = index;
}

// The file and what it imports: the file first, each before those that it imports.
static size_t closure(const struct contract *c, size_t index, size_t *order, bool *seen) {
    size_t n = 0;
    put_after_imports(c, index, order, &n, seen);
    for (size_t i = 0; i < n / 2; i++) {
        size_t last = order[n - 1 - i];
        order[n - 1 - i] = order[i];
        order[i] = last;
    }
    return n;
}

static void answer_files(struct search *s, struct contract *c, size_t index,
                         struct message *request) {
    Mica__Core__V1__FindResponse out = MICA__CORE__V1__FIND_RESPONSE__INIT;
    size_t *order = calloc(c->files.count, sizeof *order);
    bool *seen = calloc(c->files.count, sizeof *seen);
    struct buf *texts = calloc(c->files.count, sizeof *texts);
    ProtobufCBinaryData *files = calloc(c->files.count, sizeof *files);
    bool ok = order != NULL && seen != NULL && texts != NULL && files != NULL && find_renamed(s, c);
    size_t n = ok ? closure(c, index, order, seen) : 0;
    struct pb_rename rename = {shown_name, s};
    s->writing = c;
    for (size_t i = 0; i < n; i++) {
        pb_file_put(&c->files.list[order[i]], &rename, &texts[i]);
        ok = ok && !texts[i].failed;
        files[i] = (ProtobufCBinaryData){texts[i].n, (uint8_t *)buf_p(&texts[i])};
    }
    out.n_files = n;
    out.files = files;
    if (ok && !s->failed) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; i < n; i++) buf_free(&texts[i]);
    free(order);
    free(seen);
    free(texts);
    free(files);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool type_visible(const struct contract *c, struct str type) {
    for (size_t i = 0; i < c->files.count; i++) {
        if (c->visible[i] && pb_file_declares(&c->files.list[i], type)) return true;
    }
    return false;
}

// The numbers that any contract knows, ascending, each once. False: no contract knows the type.
static bool collect_numbers(struct search *s, const FindRequest *in, uint32_t **list, size_t *n) {
    bool known = false;
    for (size_t k = 0; k < s->count; k++) {
        const struct contract *c = &s->list[k];
        const struct pb_message *m = pb_find_message(c->entry.pool, str_of(in->extended));
        if (m == NULL || !type_visible(c, m->full_name)) continue;
        known = true;
        uint32_t *grown = realloc(*list, (*n + m->count + 1) * sizeof *grown);
        s->failed = s->failed || grown == NULL;
        if (grown == NULL) break;
        *list = grown;
        for (size_t i = 0; i < m->count; i++) {
            const struct pb_field *f = &m->fields[i];
            if (f->is_extension && declared_in(c, f) < c->files.count) grown[(*n)++] = f->number;
        }
    }
    if (*n > 0) qsort(*list, *n, sizeof **list, by_number);
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        if (kept == 0 || (*list)[kept - 1] != (*list)[i]) (*list)[kept++] = (*list)[i];
    }
    *n = kept;
    return known;
}

static void answer_numbers(struct search *s, const FindRequest *in, struct message *request) {
    Mica__Core__V1__FindResponse out = MICA__CORE__V1__FIND_RESPONSE__INIT;
    uint32_t *list = NULL;
    size_t n = 0;
    bool known = collect_numbers(s, in, &list, &n);
    out.n_numbers = n;
    out.numbers = list;
    if (s->failed) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else if (!known) {
        message_refuse(request, STATUS_NOT_FOUND, "no contract here has this message");
    } else {
        native_answer(request, &out.base);
    }
    free(list);
}

static void answer(struct search *s, const FindRequest *in, struct message *request) {
    if (in->extended[0] != '\0' && in->number == 0) {
        answer_numbers(s, in, request);
        return;
    }
    size_t index = 0;
    find_function look = in->symbol[0] != '\0'     ? by_symbol
                         : in->extended[0] != '\0' ? by_extension
                                                   : by_name;
    struct contract *c = find(s, look, in, &index);
    if (s->failed) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else if (c == NULL) {
        message_refuse(request, STATUS_NOT_FOUND, "no contract here has it");
    } else {
        answer_files(s, c, index, request);
    }
}

void native_contracts_find(void *context, struct message *request) {
    struct search s = {0};
    FindRequest *in = native_read(request, &mica__core__v1__find_request__descriptor);
    if (in == NULL) return;
    s.list = calloc(in->n_contracts + 1, sizeof *s.list);
    s.failed = s.list == NULL;
    for (size_t i = 0; i < in->n_contracts && !s.failed; i++) {
        if (contract_open(&s, &s.list[s.count], context, in->contracts[i])) s.count++;
    }
    answer(&s, in, request);
    for (size_t i = 0; i < s.count; i++) contract_close(&s.list[i]);
    free(s.list);
    buf_free(&s.name);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}
