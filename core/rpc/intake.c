// SPDX-License-Identifier: Apache-2.0
#include "rpc/intake.h"

static int next_frame(struct intake *in, struct str *bytes, struct blob **message,
                      struct err *err) {
    int rc = grpc_frame_feed(&in->frame, bytes, message, err);
    in->under_way = grpc_frame_between(&in->frame) ? 0 : in->frame.length;
    return rc;
}

void intake_create(struct intake *in, size_t max,
                   int (*item)(struct intake *in, struct blob *take)) {
    *in = (struct intake){
        .frame = {.max = max}, .credit = MSG_WINDOW, .next = next_frame, .item = item};
}

void intake_destroy(struct intake *in) {
    grpc_frame_free(&in->frame);
    buf_free(&in->waiting);
}

bool intake_empty(const struct intake *in) { return in->waiting.n == in->waiting_from; }

// Parses from the front of *bytes while there is credit.
static int parse(struct intake *in, struct str *bytes, struct err *err) {
    while (bytes->n > 0 && in->credit > 0) {
        struct blob *message;
        int rc = in->next(in, bytes, &message, err);
        if (rc < 0) return rc;
        if (rc == 0) break;
        in->credit -= message_weight(message);
        rc = in->item(in, message);
        if (rc < 0) return err_set(err, (enum status) - rc, "the receiver takes no more messages");
    }
    return 0;
}

static bool is_long(const struct intake *in) { return in->under_way > MSG_WINDOW; }

// Bytes that were parsed are given back. `before`: a long message had begun before them.
static void give_back(struct intake *in, struct http_stream *stream, size_t n, bool before) {
    if (stream == NULL) return;
    bool keep = before || is_long(in);
    if (keep) {
        in->kept = true;
        http_keep(stream, n);
    } else {
        http_consume(stream, n);
    }
    if (in->kept && in->credit > 0 && !is_long(in)) {
        in->kept = false;
        http_keep_end(stream);
    }
}

int intake_data(struct intake *in, struct http_stream *stream, struct str bytes, struct err *err) {
    size_t n = bytes.n;
    if (intake_empty(in)) {
        bool before = is_long(in);
        int rc = parse(in, &bytes, err);
        give_back(in, stream, n - bytes.n, before);
        if (rc < 0) return rc;
    }
    buf_append_str(&in->waiting, bytes);
    if (in->waiting.failed)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    return 0;
}

int intake_credit(struct intake *in, struct http_stream *stream, uint32_t credit, struct err *err) {
    in->credit += credit;
    bool before_long = is_long(in);
    if (intake_empty(in)) {
        give_back(in, stream, 0, false);
        return 0;
    }
    struct str rest = {buf_p(&in->waiting) + in->waiting_from, in->waiting.n - in->waiting_from};
    size_t before = rest.n;
    int rc = parse(in, &rest, err);
    in->waiting_from += before - rest.n;
    if (rest.n < in->waiting_from) { // more is done than waits: move the rest to the front
        if (rest.n > 0) memmove(buf_p(&in->waiting), rest.p, rest.n);
        in->waiting.n = rest.n;
        in->waiting_from = 0;
        if (rest.n == 0) buf_free(&in->waiting); // the stream may be idle for long
    }
    give_back(in, stream, before - rest.n, before_long);
    return rc;
}
