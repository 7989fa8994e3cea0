// SPDX-License-Identifier: Apache-2.0
// The server's part in getting certificates by ACME: what is kept, the plain HTTP door, and the table of challenges. What is
// done with them is decided by the platform's service `acme`. Main thread, but for the table and the store.
#pragma once

#include "acme/door.h"
#include "acme/store.h"
#include "fetch/fetch.h"
#include "main_loop.h"
#include "net/loop.h"
#include "tls_files.h"

struct server_acme_options {
    char **hosts;      // in lower case
    size_t host_count; // 0: certificates are not ordered
    char *directory;
    char *ca; // PEM file; "": whom the system trusts
    char *email;
    char *http; // the plain HTTP door; "": none
};

struct server_acme {
    const struct server_acme_options *options;
    struct main_loop *loop; // from server_acme_bind on
    struct acme_store store;
    struct challenges *challenges; // NULL: not open
    struct fetch *fetch;
    struct buf ca; // the text of the file
    struct str *hosts;
    struct acme_door door_user;
    struct door door;
    struct acceptor *acceptor; // NULL: none
    struct tls_files *serves;  // the file of the store
};

static inline bool server_acme_wanted(const struct server_acme_options *o) {
    return o->host_count > 0;
}
// Reads the trusted authorities and opens what is kept in the data folder. Faults are one line for the operator.
// `tls` is opened with the file of the store, for both doors; "": clients are not asked for certificates.
int server_acme_open(struct server_acme *a, const struct server_acme_options *options,
                     const char *data, struct tls_files *tls, const char *client_ca,
                     struct err *err);
// Binds the plain HTTP door, where there is one, and lets it accept; `secure` is the port that it leads to.
int server_acme_bind(struct server_acme *a, struct main_loop *loop, struct loop *loops,
                     unsigned loop_count, const char *secure, struct err *err);
void server_acme_unbind(struct server_acme *a);  // stops accepting
void server_acme_unfetch(struct server_acme *a); // ends requests under way; while workers still run
void server_acme_close(
    struct server_acme *a); // nobody else runs any more; also after a failed open
void server_acme_options_free(struct server_acme_options *o);
