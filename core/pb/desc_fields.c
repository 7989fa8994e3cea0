// SPDX-License-Identifier: Apache-2.0
// Fields. A message's fields are its own and those that extensions anywhere in the set add to it;
// so extensions are counted first, then every message gets one array, filled with its own fields
// and then with the extensions, and only at the end sorted by number and indexed. Pointers to
// fields are stable from then on.
//
// What presence and packing mean follows from the syntax of the file that declares the field, which
// for an extension is not the file of the message that it extends.
#include "base/encode.h"
#include "desc_internal.h"
#include "wire.h"

#include <stdlib.h>

#define NUMBER_MAX ((1 << 29) - 1)

static int fault(struct desc_build *b, const struct pb_message *m, const char *name,
                 const char *text) {
    return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s.%s: %s", m->full_name.p,
                   name == NULL ? "" : name, text);
}

// ---- extensions, visited twice: to count and to add

typedef int extension_visit(struct desc_build *b, const struct desc_file *file, struct str scope,
                            const FieldProto *proto, const struct desc_path *path);

static int each_extension(struct desc_build *b, extension_visit *visit) {
    int rc = 0;
    for (size_t i = 0; i < b->file_count && rc == 0; i++) {
        const struct desc_file *file = &b->files[i];
        for (size_t k = 0; k < file->proto->n_extension && rc == 0; k++) {
            struct desc_path path = {NULL, 7, (int32_t)k};
            rc = visit(b, file, file->package, file->proto->extension[k], &path);
        }
    }
    for (size_t i = 0; i < b->pool->message_count && rc == 0; i++) {
        const struct desc_source *source = &b->messages[i];
        for (size_t k = 0; k < source->message->n_extension && rc == 0; k++) {
            struct desc_path path = {source->path, 6, (int32_t)k};
            rc = visit(b, source->file, b->pool->messages[i]->full_name,
                       source->message->extension[k], &path);
        }
    }
    return rc;
}

static int count_extension(struct desc_build *b, const struct desc_file *file, struct str scope,
                           const FieldProto *proto, const struct desc_path *path) {
    (void)path;
    struct pb_message *extended = desc_find_message(b, proto->extendee);
    if (extended == NULL) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT,
                       "%.*s.%s: the extended message %s is not in the set", (int)scope.n, scope.p,
                       proto->name == NULL ? "" : proto->name,
                       proto->extendee == NULL ? "(none)" : proto->extendee);
    }
    if (extended->is_map_entry) return fault(b, extended, proto->name, "extends a map entry");
    (void)file;
    b->messages[extended->index].extensions++;
    return 0;
}

// ---- one field

// lowerCamelCase as protoc makes it: an underscore goes, the letter after it becomes a capital.
static struct str camel_name(struct desc_build *b, const char *name) {
    char *out = desc_arena_alloc(b->arena, strlen(name) + 1, 1);
    if (out == NULL) return (struct str){NULL, 0};
    size_t n = 0;
    bool upper = false;
    for (; *name != '\0'; name++) {
        if (*name == '_') {
            upper = true;
            continue;
        }
        out[n++] = upper && *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
        upper = false;
    }
    return (struct str){out, n};
}

static int resolve_type(struct desc_build *b, struct pb_field *field, const FieldProto *proto) {
    struct pb_message *m = desc_find_message(b, proto->type_name);
    struct pb_enum *e = desc_find_enum(b, proto->type_name);
    int type = proto->has_type ? (int)proto->type
               : m != NULL     ? PB_MESSAGE
               : e != NULL     ? PB_ENUM
                               : 0;
    if (type < PB_DOUBLE || type > PB_SINT64)
        return fault(b, field->parent, proto->name, "has no known type");
    field->type = (enum pb_type)type;
    bool wants_message = type == PB_MESSAGE || type == PB_GROUP;
    if ((wants_message && m == NULL) || (type == PB_ENUM && e == NULL)) {
        return err_set(b->err, STATUS_INVALID_ARGUMENT, "%s.%s: the type %s is not in the set",
                       field->parent->full_name.p, field->name.p,
                       proto->type_name == NULL ? "(none)" : proto->type_name);
    }
    if (wants_message) field->message = m;
    if (type == PB_ENUM) field->enumeration = e;
    return 0;
}

static int name_field(struct desc_build *b, struct pb_field *field, struct str scope,
                      const FieldProto *proto) {
    if (!desc_is_name(proto->name))
        return fault(b, field->parent, proto->name, "is no name of a field");
    if (!field->is_extension) {
        field->name = desc_copy(b, proto->name);
        const char *json = proto->json_name;
        if (json != NULL && !utf8_valid(str_of(json)))
            return fault(b, field->parent, proto->name, "malformed json_name");
        field->json_name =
            json != NULL && *json != '\0' ? desc_copy(b, json) : camel_name(b, proto->name);
    } else {
        struct str full = desc_join(b, scope, proto->name);
        char *bracketed = full.p == NULL ? NULL : desc_arena_alloc(b->arena, full.n + 3, 1);
        if (bracketed == NULL) return desc_no_memory(b);
        bracketed[0] = '[';
        memcpy(bracketed + 1, full.p, full.n);
        bracketed[full.n + 1] = ']';
        field->name = field->json_name = (struct str){bracketed, full.n + 2};
    }
    return field->name.p == NULL || field->json_name.p == NULL ? desc_no_memory(b) : 0;
}

static bool is_64_bit(enum pb_type type) {
    return type == PB_INT64 || type == PB_UINT64 || type == PB_SINT64 || type == PB_FIXED64 ||
           type == PB_SFIXED64;
}

static int fill_field(struct desc_build *b, struct pb_field *field, const struct desc_file *file,
                      struct str scope, const FieldProto *proto, const struct desc_path *path) {
    int rc = name_field(b, field, scope, proto);
    if (rc == 0) rc = resolve_type(b, field, proto);
    if (rc < 0) return rc;
    if (!proto->has_number || proto->number < 1 || proto->number > NUMBER_MAX) {
        return fault(b, field->parent, proto->name, "the field number is out of range");
    }
    int label = proto->has_label ? (int)proto->label : 0;
    if (label < 1 || label > 3) return fault(b, field->parent, proto->name, "has no label");
    const Google__Protobuf__FieldOptions *options = proto->options;
    field->number = (uint32_t)proto->number;
    field->repeated = label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    field->required = label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
    bool packable = field->repeated && wire_packable(field->type);
    field->packed =
        packable && (options != NULL && options->has_packed ? options->packed : file->proto3);
    field->is_map = field->repeated && field->type == PB_MESSAGE && field->message->is_map_entry;
    field->has_presence =
        !field->repeated && (!file->proto3 || field->message != NULL || field->is_extension ||
                             proto->has_oneof_index || proto->proto3_optional);
    int jstype = options == NULL ? PB_JS_NORMAL : (int)options->jstype;
    if (is_64_bit(field->type) && (jstype == PB_JS_STRING || jstype == PB_JS_NUMBER)) {
        field->jstype = (enum pb_jstype)jstype;
    }
    field->oneof = -1;
    field->default_text = (struct str){"", 0};
    if (proto->default_value != NULL) field->default_text = desc_copy(b, proto->default_value);
    if (field->default_text.p == NULL) return desc_no_memory(b);
    field->comment = desc_comment(b, file, path);
    return 0;
}

static int add_extension(struct desc_build *b, const struct desc_file *file, struct str scope,
                         const FieldProto *proto, const struct desc_path *path) {
    struct pb_message *extended = desc_find_message(b, proto->extendee);
    struct pb_field *field = &extended->fields[extended->count++];
    field->parent = extended;
    field->is_extension = true;
    if (proto->has_oneof_index)
        return fault(b, extended, proto->name, "an extension cannot be in a oneof");
    return fill_field(b, field, file, scope, proto, path);
}

// ---- oneofs

static int add_oneofs(struct desc_build *b, struct pb_message *m, const MessageProto *proto) {
    m->oneofs = desc_arena_alloc(b->arena, proto->n_oneof_decl, sizeof *m->oneofs);
    if (m->oneofs == NULL) return desc_no_memory(b);
    m->oneof_count = proto->n_oneof_decl;
    for (size_t i = 0; i < m->oneof_count; i++) {
        if (!desc_is_name(proto->oneof_decl[i]->name)) {
            return fault(b, m, proto->oneof_decl[i]->name, "is no name of a oneof");
        }
        m->oneofs[i].name = desc_copy(b, proto->oneof_decl[i]->name);
        if (m->oneofs[i].name.p == NULL) return desc_no_memory(b);
    }
    return 0;
}

static int join_oneof(struct desc_build *b, struct pb_field *field, const FieldProto *proto) {
    struct pb_message *m = field->parent;
    if (!proto->has_oneof_index) return 0;
    if (proto->oneof_index < 0 || (size_t)proto->oneof_index >= m->oneof_count || field->repeated ||
        field->required) {
        return fault(b, m, proto->name, "cannot be in that oneof");
    }
    if (proto->proto3_optional) {
        m->oneofs[proto->oneof_index].synthetic = true;
    } else {
        field->oneof = proto->oneof_index;
    }
    return 0;
}

static int check_oneofs(struct desc_build *b, struct pb_message *m) {
    for (size_t i = 0; i < m->count; i++) {
        int oneof = m->fields[i].oneof;
        if (oneof >= 0 && m->oneofs[oneof].synthetic) {
            return fault(b, m, m->oneofs[oneof].name.p,
                         "mixes optional fields and members of a oneof");
        }
    }
    struct map seen = {0};
    int rc = 0;
    for (size_t i = 0; i < m->oneof_count && rc == 0; i++) {
        struct pb_oneof *oneof = &m->oneofs[i];
        struct pb_field *same = pb_field_by_name(m, oneof->name);
        bool taken = same != NULL && str_equal(same->name, oneof->name);
        if (taken || map_get(&seen, oneof->name) != NULL) {
            rc = fault(b, m, oneof->name.p, "defined twice");
        } else if (map_put(&seen, oneof->name, oneof) < 0) {
            rc = desc_no_memory(b);
        }
    }
    map_free(&seen);
    return rc;
}

// ---- a message's index

static int by_number(const void *a, const void *b) {
    const struct pb_field *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static int index_names(struct desc_build *b, struct pb_message *m) {
    for (size_t i = 0; i < m->count; i++) {
        struct pb_field *field = &m->fields[i];
        if (map_get(&m->by_name, field->name) != NULL)
            return fault(b, m, field->name.p, "defined twice");
        if (map_put(&m->by_name, field->name, field) < 0) return desc_no_memory(b);
    }
    // A JSON name that is another field's own name loses: the own name is what the .proto says.
    for (size_t i = 0; i < m->count; i++) {
        struct pb_field *field = &m->fields[i];
        if (map_get(&m->by_name, field->json_name) != NULL) continue;
        if (map_put(&m->by_name, field->json_name, field) < 0) return desc_no_memory(b);
    }
    return 0;
}

static int index_message(struct desc_build *b, struct pb_message *m) {
    if (m->count > 0) qsort(m->fields, m->count, sizeof *m->fields, by_number);
    size_t dense = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct pb_field *field = &m->fields[i];
        field->index = i;
        if (i > 0 && field[-1].number == field->number)
            return fault(b, m, field->name.p, "the number is taken");
        if (field->number < m->count * 4 + 16) dense = field->number + 1;
    }
    m->by_number = desc_arena_alloc(b->arena, dense, sizeof(struct pb_field *));
    if (m->by_number == NULL) return desc_no_memory(b);
    m->by_number_max = (uint32_t)dense;
    for (size_t i = 0; i < m->count && m->fields[i].number < dense; i++) {
        m->by_number[m->fields[i].number] = &m->fields[i];
    }
    int rc = index_names(b, m);
    return rc < 0 ? rc : check_oneofs(b, m);
}

static int add_fields(struct desc_build *b, struct pb_message *m) {
    const struct desc_source *source = &b->messages[m->index];
    const MessageProto *proto = source->message;
    m->fields = desc_arena_alloc(b->arena, proto->n_field + source->extensions, sizeof *m->fields);
    if (m->fields == NULL) return desc_no_memory(b);
    int rc = add_oneofs(b, m, proto);
    for (size_t i = 0; i < proto->n_field && rc == 0; i++) {
        struct pb_field *field = &m->fields[m->count++];
        struct desc_path path = {source->path, 2, (int32_t)i};
        field->parent = m;
        rc = fill_field(b, field, source->file, m->full_name, proto->field[i], &path);
        if (rc == 0) rc = join_oneof(b, field, proto->field[i]);
    }
    return rc;
}

int desc_build_fields(struct desc_build *b) {
    int rc = each_extension(b, count_extension);
    for (size_t i = 0; i < b->pool->message_count && rc == 0; i++)
        rc = add_fields(b, b->pool->messages[i]);
    if (rc == 0) rc = each_extension(b, add_extension);
    for (size_t i = 0; i < b->pool->message_count && rc == 0; i++)
        rc = index_message(b, b->pool->messages[i]);
    return rc;
}
