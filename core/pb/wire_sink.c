// SPDX-License-Identifier: Apache-2.0
// Writes the binary form. The length of a nested message is known only at its end: one byte is kept
// for it, and in the rare case that the length needs more, the content moves up once. Packed lists
// do the same.
//
// The buffer is the caller's, its content is not complete until the root's message_end. A sink
// belongs to one conversion and one thread.
#include "pb/visit.h"
#include "wire.h"

static int no_memory(struct pb_sink *sink) {
    return err_set(sink->err, STATUS_RESOURCE_EXHAUSTED, "out of memory while encoding");
}

static bool put_tag(struct buf *out, const struct pb_field *field, enum wire_type type) {
    if (!buf_reserve(out, 20)) return false; // room for the tag and for a varint after it
    out->n +=
        wire_put_varint((uint8_t *)out->blob->p + out->n, (uint64_t)field->number << 3 | type);
    return true;
}

// Puts the length of what was written since `start` into the byte before it.
static bool close_length(struct buf *out, size_t start) {
    if (out->failed) return false;
    size_t n = out->n - start;
    if (n < 0x80) {
        out->blob->p[start - 1] = (char)n;
        return true;
    }
    uint8_t length[10];
    size_t extra = wire_put_varint(length, n) - 1;
    if (!buf_reserve(out, extra)) return false;
    memmove(out->blob->p + start + extra, out->blob->p + start, n);
    memcpy(out->blob->p + start - 1, length, extra + 1);
    out->n += extra;
    return true;
}

static int on_message(struct pb_sink *sink, const struct pb_field *field,
                      const struct pb_message *type) {
    struct pb_wire_sink *w = (struct pb_wire_sink *)sink;
    (void)type;
    if (w->depth > PB_MAX_DEPTH) {
        return err_set(sink->err, STATUS_INVALID_ARGUMENT, "nested more than %d deep",
                       PB_MAX_DEPTH);
    }
    if (field != NULL) {
        bool group = field->type == PB_GROUP;
        if (!put_tag(w->out, field, group ? WIRE_GROUP : WIRE_LENGTH)) return no_memory(sink);
        if (!group) buf_append_byte(w->out, 0);
    }
    w->stack[w->depth].field = field;
    w->stack[w->depth].start = w->out->n;
    w->depth++;
    return w->out->failed ? no_memory(sink) : 0;
}

static int on_message_end(struct pb_sink *sink) {
    struct pb_wire_sink *w = (struct pb_wire_sink *)sink;
    const struct pb_field *field = w->stack[--w->depth].field;
    if (field == NULL) return w->out->failed ? no_memory(sink) : 0;
    bool ok = field->type == PB_GROUP ? put_tag(w->out, field, WIRE_GROUP_END)
                                      : close_length(w->out, w->stack[w->depth].start);
    return ok ? 0 : no_memory(sink);
}

static int on_list(struct pb_sink *sink, const struct pb_field *field) {
    struct pb_wire_sink *w = (struct pb_wire_sink *)sink;
    if (!field->packed) return 0;
    if (!put_tag(w->out, field, WIRE_LENGTH)) return no_memory(sink);
    buf_append_byte(w->out, 0);
    w->packed = field;
    w->packed_start = w->out->n;
    return w->out->failed ? no_memory(sink) : 0;
}

static int on_list_end(struct pb_sink *sink) {
    struct pb_wire_sink *w = (struct pb_wire_sink *)sink;
    if (w->packed == NULL) return 0;
    const struct pb_field *field = w->packed;
    w->packed = NULL;
    if (w->out->n == w->packed_start) { // nothing came: take the tag and the length back
        uint8_t tag[10];
        w->out->n -= wire_put_varint(tag, (uint64_t)field->number << 3 | WIRE_LENGTH) + 1;
        return 0;
    }
    return close_length(w->out, w->packed_start) ? 0 : no_memory(sink);
}

static void put_varint(struct buf *out, uint64_t value) {
    if (buf_reserve(out, 10)) out->n += wire_put_varint((uint8_t *)out->blob->p + out->n, value);
}

static void put_fixed(struct buf *out, uint64_t value, size_t n) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(value >> 8 * i);
    buf_append(out, bytes, n);
}

static uint64_t zigzag(int64_t v) { return (uint64_t)v << 1 ^ (uint64_t)(v >> 63); }

static void put_value(struct buf *out, enum pb_type type, union pb_value v) {
    uint32_t bits32;
    uint64_t bits64;
    float f;
    switch (type) {
    case PB_DOUBLE:
        memcpy(&bits64, &v.d, 8);
        put_fixed(out, bits64, 8);
        break;
    case PB_FLOAT:
        f = (float)v.d;
        memcpy(&bits32, &f, 4);
        put_fixed(out, bits32, 4);
        break;
    case PB_FIXED64:
    case PB_SFIXED64: put_fixed(out, v.u, 8); break;
    case PB_FIXED32:
    case PB_SFIXED32: put_fixed(out, v.u, 4); break;
    case PB_SINT32:
    case PB_SINT64: put_varint(out, zigzag(v.i)); break;
    case PB_STRING:
    case PB_BYTES:
        put_varint(out, v.s.n);
        buf_append_str(out, v.s);
        break;
    default:
        put_varint(out, v.u);
        break; // negative int32 and enums take ten bytes, as the format has it
    }
}

static int on_value(struct pb_sink *sink, const struct pb_field *field, union pb_value v) {
    struct pb_wire_sink *w = (struct pb_wire_sink *)sink;
    if (w->packed == NULL && !put_tag(w->out, field, wire_type_of(field->type)))
        return no_memory(sink);
    put_value(w->out, field->type, v);
    return w->out->failed ? no_memory(sink) : 0;
}

static int on_unknown(struct pb_sink *sink, struct str bytes) {
    struct pb_wire_sink *w = (struct pb_wire_sink *)sink;
    buf_append_str(w->out, bytes);
    return w->out->failed ? no_memory(sink) : 0;
}

static const struct pb_sink_ops OPS = {
    .message = on_message,
    .message_end = on_message_end,
    .list = on_list,
    .list_end = on_list_end,
    .value = on_value,
    .unknown = on_unknown,
};

void pb_wire_sink_init(struct pb_wire_sink *w, struct buf *out, struct err *err) {
    w->sink = (struct pb_sink){.ops = &OPS, .err = err};
    w->out = out;
    w->depth = 0;
    w->packed = NULL;
    w->packed_start = 0;
}

int pb_wire_sink_done(struct pb_wire_sink *w) { return w->out->failed ? no_memory(&w->sink) : 0; }
