// SPDX-License-Identifier: Apache-2.0
// From the texts of a dial's settings to a context of net/tls.h.
#include "rpc/dial_tls.h"

enum { CA, CERT, KEY, NAME, PARTS };

// False: they are not what the header says.
static bool split(const struct blob *settings, struct str parts[PARTS]) {
    const char *at = settings->p, *end = settings->p + settings->n;
    for (int i = 0; i < PARTS; i++) {
        const char *nul = memchr(at, '\0', (size_t)(end - at));
        if (nul == NULL) return false;
        parts[i] = (struct str){at, (size_t)(nul - at)};
        at = nul + 1;
    }
    return at == end;
}

static int make(struct dial_tls *t, struct err *err) {
    struct str parts[PARTS];
    if (!split(t->settings, parts) || parts[NAME].n > 255)
        return err_set(err, STATUS_INVALID_ARGUMENT, "malformed TLS settings");
    if ((parts[CERT].n > 0) != (parts[KEY].n > 0))
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "tls: cert and key belong together: give both");
    struct tls_options options = {.cert = {parts[CERT], "tls.cert"},
                                  .key = {parts[KEY], "tls.key"},
                                  .ca = {parts[CA], "tls.ca"}};
    t->conn.context = tls_context_new(&options, err);
    t->conn.host = parts[NAME].p;
    return t->conn.context == NULL ? -(int)err->code : 0;
}

int dial_tls_create(struct dial_tls *t, struct str settings, struct err *err) {
    *t = (struct dial_tls){0};
    if (settings.n == 0) return 0;
    t->settings = blob_new(settings.p, settings.n);
    if (t->settings == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    int rc = make(t, err);
    if (rc < 0) dial_tls_destroy(t);
    return rc;
}

void dial_tls_destroy(struct dial_tls *t) {
    tls_context_drop(t->conn.context);
    blob_drop(t->settings);
    *t = (struct dial_tls){0};
}
