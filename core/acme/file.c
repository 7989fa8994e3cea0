// SPDX-License-Identifier: Apache-2.0
// A reader sees the old file or the new one, also after a crash: the new one is on the disk before it gets the name.
#include "acme/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST (1024 * 1024)

int acme_file_read(const char *path, struct buf *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    for (ssize_t n = 1; error == 0 && n > 0;) {
        n = buf_reserve(out, 16384) ? read(fd, buf_p(out) + out->n, 16384) : 0;
        if (n > 0) out->n += (size_t)n;
        if (n < 0) error = errno;
        if (out->failed) error = ENOMEM;
        if (out->n > MOST) error = EFBIG;
    }
    if (fd >= 0) close(fd);
    return error;
}

// 0 or an errno.
static int write_new(const char *path, struct str text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return errno;
    int error = fchmod(fd, 0600) == 0 ? 0 : errno; // one that a crash has left is ours too
    while (error == 0 && text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR) error = errno;
        if (n > 0) text = (struct str){text.p + n, text.n - (size_t)n};
    }
    if (error == 0 && fsync(fd) != 0) error = errno;
    if (close(fd) != 0 && error == 0) error = errno;
    return error;
}

// The name is on the disk as well.
static int sync_folder(const char *path) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) *slash = '\0';
    int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return error;
}

int acme_file_write(const char *path, struct str text, struct err *err) {
    char temporary[PATH_MAX];
    int error = ENAMETOOLONG;
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", path) < sizeof temporary)
        error = write_new(temporary, text);
    if (error == 0 && rename(temporary, path) != 0) error = errno;
    if (error == 0) error = sync_folder(path);
    if (error == 0) return 0;
    return err_set(err, STATUS_UNAVAILABLE, "%s cannot be written: %s", path, strerror(error));
}

void acme_file_wipe(struct buf *secret) {
    if (secret->n > 0) explicit_bzero(buf_p(secret), secret->n);
    buf_free(secret);
}
