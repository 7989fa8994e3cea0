// SPDX-License-Identifier: Apache-2.0
// Whole messages between JSON and wire, with a bound on what comes out. Pure but for memory; any thread.
#include "rpc/transcode.h"

#include "pb/visit.h"

// What came out; the source and the rest go.
static struct blob *finish(struct buf *out, int rc, struct blob *source, struct err *err) {
    struct blob *made = rc == 0 ? buf_take(out) : NULL;
    if (rc == 0 && made == NULL) err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    buf_free(out);
    blob_drop(source);
    return made;
}

struct blob *transcode_to_wire(const struct pb_pool *pool, const struct pb_message *type,
                               struct blob *take_json, struct err *err) {
    struct buf out = {0};
    buf_reserve(&out, blob_str(take_json).n);
    int rc = pb_json_to_wire(pool, type, blob_str(take_json), &out, err);
    return finish(&out, rc, take_json, err);
}

struct blob *transcode_to_json(const struct pb_pool *pool, const struct pb_message *type,
                               struct blob *take_wire, struct msg_form form, size_t max,
                               struct err *err) {
    struct buf out = {0};
    struct pb_json_style style = {.camel = form.json_camel,
                                  .no_defaults = form.json_compact,
                                  .int64_number = form.json_int64_number,
                                  .max = max};
    int rc = pb_wire_to_json(pool, type, blob_str(take_wire), &style, &out, err);
    return finish(&out, rc, take_wire, err);
}
