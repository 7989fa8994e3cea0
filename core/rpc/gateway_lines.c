// SPDX-License-Identifier: Apache-2.0
// Requests of many messages: the body is newline-delimited JSON, each line a message of the caller's stream.
//
// Lines go to the service as they come, as far as it gives credit (intake.h); its answer may begin meanwhile. A line ends with LF
// or CR LF, the last one also with the body; blank lines are nothing. The line that is not whole yet is in `body`.
#include "rpc/gateway.h"

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\r') return false;
    }
    return true;
}

static int next_line(struct intake *in, struct str *bytes, struct blob **message, struct err *err) {
    struct call *c = call_of_intake(in);
    size_t max = in->frame.max;
    while (bytes->n > 0) {
        const char *lf = memchr(bytes->p, '\n', bytes->n);
        size_t n = lf == NULL ? bytes->n : (size_t)(lf - bytes->p);
        if (n > max || c->body.n > max - n)
            return err_set(err, STATUS_INVALID_ARGUMENT,
                           "a line is longer than the limit of %zu bytes", max);
        buf_append(&c->body, bytes->p, n);
        in->under_way = lf == NULL ? c->body.n : 0;
        n += lf != NULL;
        *bytes = (struct str){bytes->p + n, bytes->n - n};
        if (lf == NULL) return 0;
        if (is_blank(buf_str(&c->body))) {
            buf_free(&c->body);
            continue;
        }
        *message = buf_take(&c->body);
        return *message != NULL ? 1 : err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory");
    }
    return 0;
}

void gateway_lines_begin(struct call *c) {
    intake_create(&c->intake, c->at->server->options.max_message, call_item);
    c->intake.next = next_line;
    call_request(c, NULL);
}

void gateway_lines_data(struct call *c, struct str bytes) {
    struct err err = {0};
    int rc = intake_data(&c->intake, c->stream, bytes, &err);
    if (rc < 0) call_fail(c, -rc, "%s", err.text);
}

void gateway_lines_end(struct call *c) {
    if (!intake_empty(&c->intake)) return; // comes again when there is credit
    c->request_ended = true;
    if (!is_blank(buf_str(&c->body))) {
        struct blob *last = buf_take(&c->body);
        int rc = last == NULL ? -STATUS_RESOURCE_EXHAUSTED : call_item(&c->intake, last);
        if (rc < 0) {
            call_fail(c, -rc, "the receiver takes no more messages");
            return;
        }
    }
    call_tell(c, MSG_END, NULL, 0, 0);
}
