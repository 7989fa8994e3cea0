// SPDX-License-Identifier: Apache-2.0
// Whole conversions between the binary form and JSON, without a VM: for outside gRPC services, the
// CLI and the gateway. Any thread.
#include "pb/visit.h"

int pb_json_to_wire(const struct pb_pool *pool, const struct pb_message *type, struct str json,
                    struct buf *out, struct err *err) {
    struct pb_wire_sink sink;
    pb_wire_sink_init(&sink, out, err);
    int rc = pb_read_json(pool, type, json, NULL, &sink.sink);
    if (rc == 0 && out->failed) rc = err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return rc;
}

int pb_wire_to_json(const struct pb_pool *pool, const struct pb_message *type, struct str wire,
                    const struct pb_json_style *style, struct buf *out, struct err *err) {
    struct pb_json_sink *sink = pb_json_sink_new(pool, style, out, err);
    if (sink == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    int rc = pb_read_wire(type, wire, pb_json_sink(sink));
    pb_json_sink_delete(sink);
    return rc;
}
