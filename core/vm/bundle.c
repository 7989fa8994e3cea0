// SPDX-License-Identifier: Apache-2.0
// Bundles (core.proto, message Bundle), written and read field by field, since a bundle may be 64
// MB: its files are copied once, out of bytes that may be a mapped file.
//
// Reading believes nothing. The format is known, every path is a plain one below the root, none
// comes twice, there is a main.lua, the contract makes a pool (which has limits of its own), the
// service's own .proto files are in it, and the hash is that of the files. What the format lacks is
// skipped. `definition` is for tools: a server reads main.lua itself.
//
// A source from a bundle has a `folder` (it says that it is a bundle), so that the VM takes no
// bytecode from it.
#include "vm/bundle.h"

#include "base/encode.h"
#include "pb/wire.h"
#include "vm/source_gather.h"

#include <stdlib.h>

#define FORMAT 1
#define NAME_MOST 200
#define PATH_MOST 1000
#define PROTOS_MOST SOURCE_FILES

enum { // field numbers of Bundle
    F_FORMAT = 1,
    F_NAME = 2,
    F_HASH = 3,
    F_FILES = 4,
    F_DESCRIPTORS = 5,
    F_PROTOS = 6,
    F_DEFINITION = 7
};

// ---- packing
static void put_tag(struct buf *b, uint32_t field, size_t n) {
    uint8_t bytes[20];
    size_t at = wire_put_varint(bytes, field << 3 | WIRE_LENGTH);
    at += wire_put_varint(bytes + at, n);
    buf_append(b, bytes, at);
}

static void put(struct buf *b, uint32_t field, struct str content) {
    put_tag(b, field, content.n);
    buf_append_str(b, content);
}

static size_t size_of(size_t n) { // of a field with a number below 16
    uint8_t bytes[10];
    return 1 + wire_put_varint(bytes, n) + n;
}

static void put_file(struct buf *b, const struct source_file *f) {
    put_tag(b, F_FILES, size_of(f->path.n) + size_of(f->content->n));
    put(b, 1, f->path);
    put(b, 2, blob_str(f->content));
}

struct blob *bundle_pack(const struct source *s, const struct blob *definition, struct err *err) {
    struct buf b = {0};
    size_t n = s->pool->set->n + 4096;
    for (size_t i = 0; i < s->file_count; i++) n += s->files[i].content->n + PATH_MOST + 40;
    if (n < BUNDLE_BYTES) buf_reserve(&b, n);
    const char format[] = {F_FORMAT << 3 | WIRE_VARINT, FORMAT};
    buf_append(&b, format, sizeof format);
    put(&b, F_NAME, str_of(s->name));
    put(&b, F_HASH, str_of(s->hash));
    for (size_t i = 0; i < s->file_count; i++) put_file(&b, &s->files[i]);
    put(&b, F_DESCRIPTORS, blob_str(s->pool->set));
    for (size_t i = 0; i < s->proto_count; i++)
        if (source_owns_proto(s, s->protos[i])) put(&b, F_PROTOS, s->protos[i]);
    if (definition != NULL) put(&b, F_DEFINITION, blob_str(definition));
    if (b.n > BUNDLE_BYTES) {
        err_set(err, STATUS_INVALID_ARGUMENT, "the bundle of %s is larger than %d MB", s->name,
                (int)(BUNDLE_BYTES >> 20));
        buf_free(&b);
        return NULL;
    }
    struct blob *bundle = buf_take(&b);
    if (bundle == NULL) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return bundle;
}

// ---- reading
struct bundle {
    struct gather to; // first
    uint64_t format;
    struct str name, hash, descriptors;
};

static int fault(struct err *err, const char *text) {
    return err_set(err, STATUS_INVALID_ARGUMENT, "%s", text);
}

static int malformed(struct err *err) {
    return fault(err, "this is no bundle, or it is damaged: its fields cannot be read");
}

static bool plain_text(struct str s) { return memchr(s.p, '\0', s.n) == NULL && utf8_valid(s); }

// "a/b.lua": parts with '/' between, none of them empty, "." or "..".
static int check_path(struct str path, struct err *err) {
    int shown = (int)(path.n < 200 ? path.n : 200);
    if (path.n == 0 || path.n > PATH_MOST)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "the bundle holds a path that is empty or longer than %d bytes", PATH_MOST);
    if (!plain_text(path)) return fault(err, "the bundle holds a path that is not plain UTF-8");
    if (path.p[0] == '/')
        return err_set(err, STATUS_INVALID_ARGUMENT, "the bundle holds an absolute path: %.*s",
                       shown, path.p);
    for (size_t at = 0; at <= path.n;) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        size_t end = slash == NULL ? path.n : (size_t)(slash - path.p);
        struct str part = {path.p + at, end - at};
        if (str_is(part, ".."))
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "the bundle holds a path that leaves it: %.*s", shown, path.p);
        if (part.n == 0 || str_is(part, "."))
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "the bundle holds a path with an empty or \".\" part: %.*s", shown,
                           path.p);
        at = end + 1;
    }
    return 0;
}

// The place after the value of a field of any type, as wire_length for those of type bytes.
static const uint8_t *skip(const uint8_t *p, const uint8_t *end, uint32_t tag) {
    return wire_skip(p, end, tag, 16, NULL);
}

static int read_file(struct bundle *b, struct str field) {
    const uint8_t *p = (const uint8_t *)field.p, *end = p + field.n;
    struct str path = {"", 0}, content = {"", 0};
    while (p < end) {
        uint32_t tag;
        p = wire_tag(p, end, &tag);
        if (p == NULL) return malformed(b->to.err);
        if (tag == (1 << 3 | WIRE_LENGTH)) {
            p = wire_length(p, end, &path);
        } else if (tag == (2 << 3 | WIRE_LENGTH)) {
            p = wire_length(p, end, &content);
        } else {
            p = skip(p, end, tag);
        }
        if (p == NULL) return malformed(b->to.err);
    }
    int rc = check_path(path, b->to.err);
    return rc < 0 ? rc : gather_file(&b->to, path, blob_new(content.p, content.n));
}

static int read_proto(struct bundle *b, struct str name) {
    if (name.n == 0 || name.n > PATH_MOST || !plain_text(name))
        return fault(b->to.err, "the bundle names a .proto file that is not plain UTF-8");
    if (b->to.s->proto_count >= PROTOS_MOST)
        return fault(b->to.err, "the bundle names too many .proto files");
    if (gather_proto(b->to.s, name) == 0) return 0;
    return err_set(b->to.err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static int take_field(struct bundle *b, uint32_t field, struct str content) {
    switch (field) {
    case F_NAME: b->name = content; return 0;
    case F_HASH: b->hash = content; return 0;
    case F_FILES: return read_file(b, content);
    case F_DESCRIPTORS: b->descriptors = content; return 0;
    case F_PROTOS: return read_proto(b, content);
    default: return 0;
    }
}

static int read_fields(struct bundle *b, struct str bytes) {
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    while (p < end) {
        uint32_t tag;
        struct str content;
        p = wire_tag(p, end, &tag);
        if (p == NULL) return malformed(b->to.err);
        if (tag == (F_FORMAT << 3 | WIRE_VARINT)) {
            p = wire_varint(p, end, &b->format);
            // Told at once: what follows may be anything.
            if (p != NULL && b->format != FORMAT) break;
        } else if ((tag & 7) == WIRE_LENGTH) {
            p = wire_length(p, end, &content);
            int rc = p == NULL ? 0 : take_field(b, tag >> 3, content);
            if (rc < 0) return rc;
        } else {
            p = skip(p, end, tag);
        }
        if (p == NULL) return malformed(b->to.err);
    }
    if (b->format == FORMAT) return 0;
    if (b->format == 0) return malformed(b->to.err);
    return err_set(b->to.err, STATUS_INVALID_ARGUMENT,
                   "the bundle has format %llu, and this server reads format %d only",
                   (unsigned long long)b->format, FORMAT);
}

static int check_files(const struct source *s, struct err *err) {
    for (size_t i = 1; i < s->file_count; i++) {
        struct str path = s->files[i].path;
        if (str_equal(path, s->files[i - 1].path))
            return err_set(err, STATUS_INVALID_ARGUMENT, "the bundle holds %.200s twice", path.p);
    }
    if (source_file(s, str_of("main.lua")) == NULL)
        return fault(err, "the bundle holds no main.lua: it is not a service");
    return 0;
}

static int read_contract(struct bundle *b) {
    struct source *s = b->to.s;
    struct err why = {0};
    struct blob *set = blob_new(b->descriptors.p, b->descriptors.n);
    if (set == NULL) return err_set(b->to.err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    s->pool = pb_pool_new(set, &why);
    blob_drop(set);
    if (s->pool == NULL)
        return err_set(b->to.err, STATUS_INVALID_ARGUMENT, "the bundle's contract: %.400s",
                       why.text);
    if (s->proto_count == 0) return fault(b->to.err, "the bundle names no .proto file of its own");
    return 0;
}

static int read_bundle(struct bundle *b, struct str bytes) {
    struct source *s = b->to.s;
    struct err *err = b->to.err;
    if (bytes.n > BUNDLE_BYTES)
        return err_set(err, STATUS_INVALID_ARGUMENT, "the bundle is larger than %d MB",
                       (int)(BUNDLE_BYTES >> 20));
    s->folder = strdup("the bundle"); // in messages, until its name is known
    if (s->folder == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    int rc = read_fields(b, bytes);
    if (rc < 0) return rc;
    if (b->name.n == 0 || b->name.n > NAME_MOST || !plain_text(b->name))
        return fault(err, "the bundle has no name, or one that is too long");
    s->name = strndup(b->name.p, b->name.n);
    if (s->name == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    gather_sort(s);
    rc = check_files(s, err);
    if (rc == 0) rc = read_contract(b);
    if (rc < 0) return rc;
    gather_hash(s);
    if (str_is(b->hash, s->hash)) return 0;
    return fault(err, "the bundle is damaged: its files do not have the hash that it says");
}

struct source *source_from_bundle(struct str bytes, struct err *err) {
    struct source *s = source_new(err);
    if (s == NULL) return NULL;
    struct bundle b = {.to = {.s = s, .err = err}};
    if (read_bundle(&b, bytes) == 0) return s;
    source_drop(s);
    return NULL;
}
