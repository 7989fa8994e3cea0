// SPDX-License-Identifier: Apache-2.0
// Nothing here waits for a network: the server starts with the certificate that is stored, or with one of its own making, and
// the plain door accepts before anything is ordered.
#include "server_acme.h"

#include "acme/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static int read_ca(struct server_acme *a, struct err *err) {
    const char *path = a->options->ca;
    static const char MARK[] = "-----BEGIN CERTIFICATE-----";
    if (path[0] == '\0') return 0;
    int error = acme_file_read(path, &a->ca);
    if (error != 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "--acme-ca %s cannot be read: %s", path,
                       strerror(error));
    if (a->ca.n == 0 || memmem(buf_p(&a->ca), a->ca.n, MARK, sizeof MARK - 1) == NULL)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "--acme-ca %s holds no certificate in PEM form", path);
    return 0;
}

int server_acme_open(struct server_acme *a, const struct server_acme_options *options,
                     const char *data, struct tls_files *tls, const char *client_ca,
                     struct err *err) {
    *a = (struct server_acme){.options = options, .serves = tls};
    if (!server_acme_wanted(options)) return 0;
    if (read_ca(a, err) < 0) return -(int)err->code;
    a->challenges = challenges_new();
    a->hosts = calloc(options->host_count, sizeof *a->hosts);
    a->fetch = fetch_new(err);
    if (a->challenges == NULL || a->hosts == NULL || a->fetch == NULL) return no_memory(err);
    for (size_t i = 0; i < options->host_count; i++) a->hosts[i] = str_of(options->hosts[i]);
    int rc = acme_store_open(&a->store, data, a->hosts, options->host_count, err);
    if (rc < 0) return rc;
    return tls_files_open(tls, a->store.file, a->store.file, client_ca, a->challenges, err);
}

static unsigned port_of(const char *address) {
    const char *colon = strrchr(address, ':');
    return colon == NULL ? 0 : (unsigned)strtoul(colon + 1, NULL, 10);
}

int server_acme_bind(struct server_acme *a, struct main_loop *loop, struct loop *loops,
                     unsigned loop_count, const char *secure, struct err *err) {
    struct err why = {0};
    a->loop = loop;
    if (a->challenges == NULL || a->options->http[0] == '\0') return 0;
    a->door_user = (struct acme_door){.challenges = a->challenges,
                                      .hosts = a->hosts,
                                      .host_count = a->options->host_count,
                                      .port = port_of(secure)};
    a->door = acme_door(&a->door_user);
    a->acceptor = acceptor_new(&loop->uv, a->options->http, &a->door, loops, loop_count, &why);
    if (a->acceptor == NULL)
        return err_set(err, why.code, "cannot listen on %s (--acme-http): %.400s", a->options->http,
                       why.text);
    acceptor_start(a->acceptor);
    return 0;
}

void server_acme_unbind(struct server_acme *a) {
    acceptor_close(a->acceptor);
    a->acceptor = NULL;
}

void server_acme_unfetch(struct server_acme *a) {
    fetch_delete(a->fetch);
    a->fetch = NULL;
}

void server_acme_close(struct server_acme *a) {
    if (a->options == NULL) return;
    server_acme_unfetch(a);
    challenges_delete(a->challenges);
    if (a->challenges != NULL) acme_store_close(&a->store);
    free(a->hosts);
    buf_free(&a->ca);
    *a = (struct server_acme){0};
}

void server_acme_options_free(struct server_acme_options *o) {
    for (size_t i = 0; i < o->host_count; i++) free(o->hosts[i]);
    free(o->hosts);
    free(o->directory);
    free(o->ca);
    free(o->email);
    free(o->http);
}
