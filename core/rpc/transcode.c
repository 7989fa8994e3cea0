// SPDX-License-Identifier: Apache-2.0
// Whole messages between JSON and wire, with a bound on what comes out. Pure but for memory; any thread.
#include "rpc/transcode.h"

#include "pb/visit.h"

struct blob *transcode_to_wire(const struct pb_pool *pool, const struct pb_message *type,
                               struct blob *take_json, struct err *err) {
    struct buf out = {0};
    buf_reserve(&out, blob_str(take_json).n);
    int rc = pb_json_to_wire(pool, type, blob_str(take_json), &out, err);
    blob_drop(take_json);
    struct blob *wire = rc == 0 ? buf_take(&out) : NULL;
    if (rc == 0 && wire == NULL) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    buf_free(&out);
    return wire;
}

// ---- a sink before the JSON sink, which looks at how much there is already

struct bounded {
    struct pb_sink sink; // first
    struct pb_sink *to;
    const struct buf *out;
    size_t max;
};

static struct bounded *bounded_of(struct pb_sink *sink) { return (struct bounded *)sink; }

static int check(const struct bounded *b) {
    if (b->out->n <= b->max) return 0;
    return err_set(b->sink.err, STATUS_RESOURCE_EXHAUSTED,
                   "as JSON the message is longer than the limit of %zu bytes", b->max);
}

static int on_message(struct pb_sink *sink, const struct pb_field *field,
                      const struct pb_message *type) {
    struct bounded *b = bounded_of(sink);
    int rc = check(b);
    return rc < 0 ? rc : b->to->ops->message(b->to, field, type);
}

static int on_message_end(struct pb_sink *sink) {
    struct bounded *b = bounded_of(sink);
    return b->to->ops->message_end(b->to);
}

static int on_list(struct pb_sink *sink, const struct pb_field *field) {
    struct bounded *b = bounded_of(sink);
    return b->to->ops->list(b->to, field);
}

static int on_list_end(struct pb_sink *sink) {
    struct bounded *b = bounded_of(sink);
    return b->to->ops->list_end(b->to);
}

static int on_value(struct pb_sink *sink, const struct pb_field *field, union pb_value v) {
    struct bounded *b = bounded_of(sink);
    int rc = check(b);
    return rc < 0 ? rc : b->to->ops->value(b->to, field, v);
}

static int on_unknown(struct pb_sink *sink, struct str bytes) {
    struct bounded *b = bounded_of(sink);
    return b->to->ops->unknown(b->to, bytes);
}

static const struct pb_sink_ops BOUNDED = {
    .message = on_message,
    .message_end = on_message_end,
    .list = on_list,
    .list_end = on_list_end,
    .value = on_value,
    .unknown = on_unknown,
};

struct blob *transcode_to_json(const struct pb_pool *pool, const struct pb_message *type,
                               struct blob *take_wire, struct msg_form form, size_t max,
                               struct err *err) {
    struct buf out = {0};
    struct pb_json_style style = {.camel = form.json_camel, .no_defaults = form.json_compact};
    struct pb_json_sink *json = pb_json_sink_new(pool, &style, &out, err);
    struct blob *text = NULL;
    int rc = json == NULL ? err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory") : 0;
    if (rc == 0) {
        struct pb_sink *to = pb_json_sink(json);
        struct bounded b = {{&BOUNDED, to->ordered, err}, to, &out, max};
        rc = pb_read_wire(type, blob_str(take_wire), &b.sink);
        if (rc == 0) rc = check(&b);
        pb_json_sink_delete(json);
    }
    if (rc == 0) {
        text = buf_take(&out);
        if (text == NULL) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    blob_drop(take_wire);
    buf_free(&out);
    return text;
}
