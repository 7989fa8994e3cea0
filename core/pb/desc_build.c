// SPDX-License-Identifier: Apache-2.0
// Building a pool, first and last steps: the files, the names of all messages and enums (so that
// fields may refer to what comes later), and, once the fields are there, the services.
//
// Nothing about the set is believed: protoc writes consistent ones, but a set may also come from a
// peer. Names must be identifiers (they appear in messages and generated documents), no two things
// share one, every reference must resolve. A file that is in the set twice counts once. Recursion
// follows the nesting of the set, which was bounded before it was unpacked.
#include "desc_internal.h"

#include <stdlib.h>

int desc_no_memory(struct desc_build *b) {
    return err_set(b->err, STATUS_RESOURCE_EXHAUSTED,
                   "descriptor set: out of memory, or more than %zu MB of it are wanted",
                   DESC_MEMORY_MOST >> 20);
}

bool desc_is_name(const char *text) {
    if (text == NULL || *text == '\0' || (*text >= '0' && *text <= '9')) return false;
    for (; *text != '\0'; text++) {
        bool letter =
            (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || *text == '_';
        if (!letter && !(*text >= '0' && *text <= '9')) return false;
    }
    return true;
}

static bool is_package(const char *text) {
    char part[256];
    size_t n = 0;
    for (;; text++) {
        if (*text == '.' || *text == '\0') {
            part[n] = '\0';
            if (!desc_is_name(part)) return false;
            if (*text == '\0') return true;
            n = 0;
        } else if (n + 1 < sizeof part) {
            part[n++] = *text;
        } else {
            return false;
        }
    }
}

struct str desc_copy(struct desc_build *b, const char *text) {
    size_t n = strlen(text);
    char *p = desc_arena_alloc(b->arena, n + 1, 1);
    if (p == NULL) return (struct str){NULL, 0};
    memcpy(p, text, n);
    return (struct str){p, n};
}

struct str desc_join(struct desc_build *b, struct str prefix, const char *name) {
    if (prefix.n == 0) return desc_copy(b, name);
    size_t n = strlen(name);
    char *p = desc_arena_alloc(b->arena, prefix.n + n + 2, 1);
    if (p == NULL) return (struct str){NULL, 0};
    memcpy(p, prefix.p, prefix.n);
    p[prefix.n] = '.';
    memcpy(p + prefix.n + 1, name, n);
    return (struct str){p, prefix.n + 1 + n};
}

static struct str undotted(const char *name) { return str_of(*name == '.' ? name + 1 : name); }

struct pb_message *desc_find_message(struct desc_build *b, const char *name) {
    return name == NULL ? NULL : pb_find_message(b->pool, undotted(name));
}

struct pb_enum *desc_find_enum(struct desc_build *b, const char *name) {
    return name == NULL ? NULL : pb_find_enum(b->pool, undotted(name));
}

static const char *text_or(const char *text, const char *other) {
    return text == NULL ? other : text;
}

// ---- counting, so that every array is allocated once

static void count_nested(const MessageProto *m, size_t *messages, size_t *enums) {
    *messages += m->n_nested_type;
    *enums += m->n_enum_type;
    for (size_t i = 0; i < m->n_nested_type; i++) count_nested(m->nested_type[i], messages, enums);
}

static int allocate(struct desc_build *b) {
    size_t messages = 0, enums = 0;
    for (size_t i = 0; i < b->file_count; i++) {
        const FileProto *file = b->files[i].proto;
        messages += file->n_message_type;
        enums += file->n_enum_type;
        for (size_t k = 0; k < file->n_message_type; k++)
            count_nested(file->message_type[k], &messages, &enums);
    }
    struct pb_pool *pool = b->pool;
    pool->messages = desc_arena_alloc(b->arena, messages, sizeof *pool->messages);
    pool->enums = desc_arena_alloc(b->arena, enums, sizeof *pool->enums);
    b->messages = desc_arena_alloc(b->scratch, messages, sizeof *b->messages);
    b->enums = desc_arena_alloc(b->scratch, enums, sizeof *b->enums);
    bool ok =
        pool->messages != NULL && pool->enums != NULL && b->messages != NULL && b->enums != NULL;
    return ok ? 0 : desc_no_memory(b);
}

// ---- files

static int add_file(struct desc_build *b, const FileProto *proto) {
    const char *name = text_or(proto->name, "");
    if (map_get(&b->file_names, str_of(name)) != NULL) return 0;
    if (map_put(&b->file_names, str_of(name), b) < 0) return desc_no_memory(b);
    const char *syntax = text_or(proto->syntax, "proto2");
    bool proto3 = strcmp(syntax, "proto3") == 0;
    if (!proto3 && strcmp(syntax, "proto2") != 0 && *syntax != '\0') {
        return err_set(b->err, STATUS_INVALID_ARGUMENT,
                       "%s: syntax \"%s\" is not supported (write \"proto3\")", name, syntax);
    }
    const char *package = text_or(proto->package, "");
    if (*package != '\0' && !is_package(package)) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: \"%s\" is no package name", name,
                       package);
    }
    struct desc_file *file = &b->files[b->file_count++];
    *file = (struct desc_file){.proto = proto, .package = str_of(package), .proto3 = proto3};
    return desc_index_comments(b, file);
}

// ---- names

static int claim_name(struct desc_build *b, struct map *map, struct str name, void *thing) {
    if (name.p == NULL) return desc_no_memory(b);
    if (pb_find_message(b->pool, name) != NULL || pb_find_enum(b->pool, name) != NULL) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: defined twice", name.p);
    }
    return map_put(map, name, thing) < 0 ? desc_no_memory(b) : 0;
}

static int not_a_name(struct desc_build *b, struct str scope, const char *what, const char *name) {
    return err_set(b->err, STATUS_INVALID_ARGUMENT, "%.*s: \"%s\" is no name of %s", (int)scope.n,
                   scope.p, text_or(name, ""), what);
}

static struct desc_path *path_new(struct desc_build *b, const struct desc_path *up, int32_t field,
                                  size_t index) {
    struct desc_path *path = desc_arena_alloc(b->scratch, 1, sizeof *path);
    if (path != NULL) *path = (struct desc_path){up, field, (int32_t)index};
    return path;
}

static int by_number(const void *a, const void *b) {
    const struct pb_enum_value *x = *(struct pb_enum_value *const *)a,
                               *y = *(struct pb_enum_value *const *)b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x > y) - (x < y);
}

static int fill_enum(struct desc_build *b, struct pb_enum *e, const struct desc_source *source) {
    const EnumProto *proto = source->enumeration;
    e->closed = !source->file->proto3;
    e->is_null_value = str_is(e->full_name, "google.protobuf.NullValue");
    if (proto->n_value == 0) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: an enum needs a value",
                       e->full_name.p);
    }
    e->values = desc_arena_alloc(b->arena, proto->n_value, sizeof *e->values);
    e->sorted = desc_arena_alloc(b->arena, proto->n_value, sizeof *e->sorted);
    if (e->values == NULL || e->sorted == NULL) return desc_no_memory(b);
    for (size_t i = 0; i < proto->n_value; i++) {
        struct pb_enum_value *value = &e->values[i];
        if (!desc_is_name(proto->value[i]->name))
            return not_a_name(b, e->full_name, "a value", proto->value[i]->name);
        value->name = desc_copy(b, proto->value[i]->name);
        value->number = proto->value[i]->number;
        struct desc_path path = {source->path, 2, (int32_t)i};
        value->comment = desc_comment(b, source->file, &path);
        if (value->name.p == NULL) return desc_no_memory(b);
        if (map_get(&e->by_name, value->name) != NULL) {
            return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s.%s: defined twice", e->full_name.p,
                           value->name.p);
        }
        if (map_put(&e->by_name, value->name, value) < 0) return desc_no_memory(b);
        e->sorted[i] = value;
    }
    e->count = proto->n_value;
    if (!e->closed && e->values[0].number != 0) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: the first value must be 0 in proto3",
                       e->full_name.p);
    }
    qsort(e->sorted, e->count, sizeof(struct pb_enum_value *), by_number);
    return 0;
}

static int add_enum(struct desc_build *b, const struct desc_file *file, const EnumProto *proto,
                    struct str scope, const struct desc_path *path) {
    if (!desc_is_name(proto->name)) return not_a_name(b, scope, "an enum", proto->name);
    struct pb_enum *e = desc_arena_alloc(b->arena, 1, sizeof *e);
    if (e == NULL || path == NULL) return desc_no_memory(b);
    e->full_name = desc_join(b, scope, proto->name);
    e->index = b->pool->enum_count;
    int rc = claim_name(b, &b->pool->enum_names, e->full_name, e);
    if (rc < 0) return rc;
    struct desc_source *source = &b->enums[e->index];
    *source = (struct desc_source){.file = file, .enumeration = proto, .path = path};
    b->pool->enums[b->pool->enum_count++] = e;
    return fill_enum(b, e, source);
}

// The items of a message set travel in groups of their own kind, which the codec does not speak:
// written as plain fields, nobody else could read them.
static int message_set(struct desc_build *b, struct str scope, const char *name) {
    return err_set(b->err, STATUS_INVALID_ARGUMENT,
                   "%.*s%s%s: message_set_wire_format is not supported; declare the items as "
                   "fields or as an Any",
                   (int)scope.n, scope.p, scope.n > 0 ? "." : "", name);
}

static int add_message(struct desc_build *b, const struct desc_file *file,
                       const MessageProto *proto, struct str scope, const struct desc_path *path) {
    if (!desc_is_name(proto->name)) return not_a_name(b, scope, "a message", proto->name);
    if (proto->options != NULL && proto->options->message_set_wire_format)
        return message_set(b, scope, proto->name);
    struct pb_message *m = desc_arena_alloc(b->arena, 1, sizeof *m);
    if (m == NULL || path == NULL) return desc_no_memory(b);
    m->full_name = desc_join(b, scope, proto->name);
    m->proto3 = file->proto3;
    m->is_map_entry = proto->options != NULL && proto->options->map_entry;
    m->comment = desc_comment(b, file, path);
    m->index = b->pool->message_count;
    int rc = claim_name(b, &b->pool->names, m->full_name, m);
    if (rc < 0) return rc;
    b->messages[m->index] = (struct desc_source){.file = file, .message = proto, .path = path};
    b->pool->messages[b->pool->message_count++] = m;
    for (size_t i = 0; i < proto->n_nested_type && rc == 0; i++) {
        rc = add_message(b, file, proto->nested_type[i], m->full_name, path_new(b, path, 3, i));
    }
    for (size_t i = 0; i < proto->n_enum_type && rc == 0; i++) {
        rc = add_enum(b, file, proto->enum_type[i], m->full_name, path_new(b, path, 4, i));
    }
    return rc;
}

int desc_build_names(struct desc_build *b) {
    b->files = desc_arena_alloc(b->scratch, b->set->n_file, sizeof *b->files);
    if (b->files == NULL) return desc_no_memory(b);
    int rc = 0;
    for (size_t i = 0; i < b->set->n_file && rc == 0; i++) rc = add_file(b, b->set->file[i]);
    if (rc == 0) rc = allocate(b);
    for (size_t i = 0; i < b->file_count && rc == 0; i++) {
        const struct desc_file *file = &b->files[i];
        for (size_t k = 0; k < file->proto->n_message_type && rc == 0; k++) {
            rc = add_message(b, file, file->proto->message_type[k], file->package,
                             path_new(b, NULL, 4, k));
        }
        for (size_t k = 0; k < file->proto->n_enum_type && rc == 0; k++) {
            rc = add_enum(b, file, file->proto->enum_type[k], file->package,
                          path_new(b, NULL, 5, k));
        }
    }
    return rc;
}

// ---- services

static int add_method(struct desc_build *b, const struct desc_file *file,
                      struct pb_service *service,
                      const Google__Protobuf__MethodDescriptorProto *proto,
                      const struct desc_path *path) {
    struct pb_method *method = &service->methods[service->count];
    if (!desc_is_name(proto->name))
        return not_a_name(b, service->full_name, "a method", proto->name);
    method->input = desc_find_message(b, proto->input_type);
    method->output = desc_find_message(b, proto->output_type);
    if (method->input == NULL || method->output == NULL) {
        const char *missing = method->input == NULL ? proto->input_type : proto->output_type;
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s.%s: the message %s is not in the set",
                       service->full_name.p, proto->name, text_or(missing, "(none)"));
    }
    method->name = desc_copy(b, proto->name);
    size_t n = service->full_name.n + method->name.n + 2;
    char *full = desc_arena_alloc(b->arena, n + 1, 1);
    if (method->name.p == NULL || full == NULL) return desc_no_memory(b);
    full[0] = '/';
    memcpy(full + 1, service->full_name.p, service->full_name.n);
    full[1 + service->full_name.n] = '/';
    memcpy(full + 2 + service->full_name.n, method->name.p, method->name.n);
    method->path = (struct str){full, n};
    method->service = service;
    method->client_streaming = proto->client_streaming;
    method->server_streaming = proto->server_streaming;
    method->idempotency = proto->options == NULL ? 0 : (int)proto->options->idempotency_level;
    method->comment = desc_comment(b, file, path);
    method->index = b->pool->method_count;
    if (pb_find_path(b->pool, method->path) != NULL) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: defined twice", full);
    }
    if (map_put(&b->pool->paths, method->path, method) < 0) return desc_no_memory(b);
    b->pool->methods[b->pool->method_count++] = method;
    service->count++;
    return desc_read_http(b, method, proto->options);
}

static int add_service(struct desc_build *b, const struct desc_file *file, size_t index) {
    const Google__Protobuf__ServiceDescriptorProto *proto = file->proto->service[index];
    if (!desc_is_name(proto->name)) return not_a_name(b, file->package, "a service", proto->name);
    struct pb_service *service = &b->pool->services[b->pool->service_count++];
    service->name = desc_copy(b, proto->name);
    service->full_name = desc_join(b, file->package, proto->name);
    service->file = desc_copy(b, text_or(file->proto->name, ""));
    service->methods = desc_arena_alloc(b->arena, proto->n_method, sizeof *service->methods);
    bool ok = service->name.p != NULL && service->full_name.p != NULL && service->file.p != NULL;
    if (!ok || service->methods == NULL) return desc_no_memory(b);
    if (map_get(&b->service_names, service->full_name) != NULL) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s: defined twice", service->full_name.p);
    }
    if (map_put(&b->service_names, service->full_name, service) < 0) return desc_no_memory(b);
    struct desc_path path = {NULL, 6, (int32_t)index};
    service->comment = desc_comment(b, file, &path);
    int rc = 0;
    for (size_t i = 0; i < proto->n_method && rc == 0; i++) {
        struct desc_path method_path = {&path, 2, (int32_t)i};
        rc = add_method(b, file, service, proto->method[i], &method_path);
    }
    return rc;
}

int desc_build_services(struct desc_build *b) {
    size_t services = 0, methods = 0;
    for (size_t i = 0; i < b->file_count; i++) {
        const FileProto *file = b->files[i].proto;
        services += file->n_service;
        for (size_t k = 0; k < file->n_service; k++) methods += file->service[k]->n_method;
    }
    b->pool->services = desc_arena_alloc(b->arena, services, sizeof *b->pool->services);
    b->pool->methods = desc_arena_alloc(b->arena, methods, sizeof *b->pool->methods);
    if (b->pool->services == NULL || b->pool->methods == NULL) return desc_no_memory(b);
    int rc = 0;
    for (size_t i = 0; i < b->file_count && rc == 0; i++) {
        struct pb_service *first = b->pool->services + b->pool->service_count;
        for (size_t k = 0; k < b->files[i].proto->n_service && rc == 0; k++)
            rc = add_service(b, &b->files[i], k);
        if (rc == 0) desc_note_lines(b->files[i].proto, first);
    }
    return rc;
}
