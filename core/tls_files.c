// SPDX-License-Identifier: Apache-2.0
// They are looked at twice a second (by stat, which follows links, so a link that is pointed elsewhere is a change). A change is
// taken up when it has been the same for two looks: whoever replaces certificate and key one after the other is not caught in
// between. What cannot be used is logged once and the context in use stays; the next change is another try.
#include "tls_files.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define LOOK_EVERY 500 // milliseconds
#define MOST (1024 * 1024)

static const char *const FLAGS[TLS_FILES] = {"--tls-cert", "--tls-key", "--tls-client-ca"};

struct texts {
    struct buf text[TLS_FILES];
    char names[TLS_FILES][400];
};

static void texts_free(struct texts *t) {
    for (int i = 0; i < TLS_FILES; i++) {
        if (t->text[i].n > 0) explicit_bzero(buf_p(&t->text[i]), t->text[i].n);
        buf_free(&t->text[i]);
    }
}

static int unreadable(const char *name, int error, struct err *err) {
    switch (error) {
    case ENOENT:
    case ENOTDIR: return err_set(err, STATUS_NOT_FOUND, "%s: no such file", name);
    case EACCES:
        return err_set(err, STATUS_PERMISSION_DENIED,
                       "%s: the server may not read this file: change its owner or mode", name);
    case EISDIR: return err_set(err, STATUS_INVALID_ARGUMENT, "%s is a folder", name);
    case EFBIG:
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s is larger than 1 MB: it is no PEM file",
                       name);
    default: return err_set(err, STATUS_UNAVAILABLE, "%s: %s", name, strerror(error));
    }
}

// 0 or an errno.
static int read_fd(int fd, struct buf *out) {
    for (;;) {
        if (out->n > MOST) return EFBIG;
        if (!buf_reserve(out, 16384)) return ENOMEM;
        ssize_t n = read(fd, buf_p(out) + out->n, 16384);
        if (n == 0) return 0;
        if (n < 0) return errno;
        out->n += (size_t)n;
    }
}

static int read_files(const struct tls_files *f, struct texts *t, struct err *err) {
    for (int i = 0; i < TLS_FILES; i++) {
        if (f->paths[i][0] == '\0') continue;
        snprintf(t->names[i], sizeof t->names[i], "%s %.300s", FLAGS[i], f->paths[i]);
        int fd = open(f->paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe does not hold us up
        int error = fd < 0 ? errno : read_fd(fd, &t->text[i]);
        if (fd >= 0) close(fd);
        if (error != 0) return unreadable(t->names[i], error, err);
    }
    return 0;
}

static struct tls_context *load(const struct tls_files *f, struct err *err) {
    struct tls_context *context = NULL;
    struct texts t = {0};
    if (read_files(f, &t, err) == 0) {
        struct tls_options options = {
            .server = true,
            .cert = {buf_str(&t.text[TLS_CERT]), t.names[TLS_CERT]},
            .key = {buf_str(&t.text[TLS_KEY]), t.names[TLS_KEY]},
            .ca = {buf_str(&t.text[TLS_CLIENT_CA]), t.names[TLS_CLIENT_CA]},
            .challenges = f->challenges};
        bool wanted = f->paths[TLS_CLIENT_CA][0] != '\0';
        if (wanted && options.ca.text.n == 0) // without it nobody would be asked for a certificate
            err_set(err, STATUS_INVALID_ARGUMENT, "%s is empty", t.names[TLS_CLIENT_CA]);
        else
            context = tls_context_new(&options, err);
    }
    texts_free(&t);
    if (context != NULL && tls_context_expired(context))
        log_printf(LOG_WARN, "server", "%s %s: the certificate has expired: clients will refuse it",
                   FLAGS[TLS_CERT], f->paths[TLS_CERT]);
    return context;
}

static struct tls_stamp stamp(const struct tls_files *f) {
    struct tls_stamp s;
    memset(&s, 0, sizeof s); // compared as bytes
    for (int i = 0; i < TLS_FILES; i++) {
        struct stat st;
        if (f->paths[i][0] == '\0' || stat(f->paths[i], &st) != 0) continue;
        s.changed[i] = st.st_mtim;
        s.size[i] = st.st_size;
        s.inode[i] = st.st_ino;
    }
    return s;
}

static bool same(const struct tls_stamp *a, const struct tls_stamp *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

// `now`: as the files were before they are read.
static void take_up(struct tls_files *f, const struct tls_stamp *now) {
    struct err err = {0};
    f->seen = f->loaded = *now;
    struct tls_context *context = load(f, &err);
    if (context == NULL) {
        log_printf(LOG_ERROR, "server", "the new certificate is not taken, the old one stays: %s",
                   err.text);
        return;
    }
    tls_context_drop(f->context);
    f->context = context;
    atomic_store(&f->expiry, tls_context_expiry(context));
    log_printf(LOG_INFO, "server", "new connections get the certificate that is now in %s",
               f->paths[TLS_CERT]);
}

static void look(uv_timer_t *timer) {
    struct tls_files *f = timer->data;
    struct tls_stamp now = stamp(f);
    bool settled = same(&now, &f->seen);
    f->seen = now;
    if (settled && !same(&now, &f->loaded)) take_up(f, &now);
}

void tls_files_reload(struct tls_files *f) {
    struct tls_stamp now = stamp(f);
    take_up(f, &now);
}

int tls_files_open(struct tls_files *f, const char *cert, const char *key, const char *client_ca,
                   struct challenges *challenges, struct err *err) {
    *f = (struct tls_files){.paths = {cert, key, client_ca}, .challenges = challenges};
    f->loaded = f->seen =
        stamp(f); // before reading: what changes meanwhile is found by the next look
    f->context = load(f, err);
    if (f->context == NULL) return -(int)err->code;
    atomic_store(&f->expiry, tls_context_expiry(f->context));
    return 0;
}

void tls_files_watch(struct tls_files *f, uv_loop_t *main) {
    if (f->context == NULL) return;
    uv_timer_init(main, &f->timer);
    f->timer.data = f;
    uv_timer_start(&f->timer, look, LOOK_EVERY, LOOK_EVERY);
}

void tls_files_unwatch(struct tls_files *f) {
    if (f->context != NULL) uv_close((uv_handle_t *)&f->timer, NULL);
}

void tls_files_close(struct tls_files *f) {
    tls_context_drop(f->context);
    f->context = NULL;
}
