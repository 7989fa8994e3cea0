// SPDX-License-Identifier: Apache-2.0
// The lock is flock() on PATH/lock: it goes with the process, however that ends, so there is nothing to clean up after a
// crash. The file holds the number of the process, for people; nobody trusts it.
//
// The folder is made with mode 0700. One that exists keeps its mode: who opened it up did so on purpose.
#include "store/data_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fault(const char *path, int error, struct err *err) {
    switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
        return err_set(err, STATUS_PERMISSION_DENIED,
                       "cannot write to the data folder %s: %s; change its owner or choose another "
                       "one with --data",
                       path, strerror(error));
    case ENOSPC:
    case EDQUOT:
        return err_set(
            err, STATUS_RESOURCE_EXHAUSTED,
            "cannot write to the data folder %s: %s; make room or choose another one with --data",
            path, strerror(error));
    default:
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "cannot use the data folder %s: %s; choose another one with "
                       "--data",
                       path, strerror(error));
    }
}

// Makes every missing folder of the path. 0 or an errno.
static int make_folders(char *path) {
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/') continue;
        *p = '\0';
        int rc = mkdir(path, 0700);
        *p = '/';
        if (rc != 0 && errno != EEXIST) return errno;
    }
    if (mkdir(path, 0700) == 0) return 0;
    if (errno != EEXIST) return errno;
    struct stat st;
    if (stat(path, &st) != 0) return errno;
    return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
}

static int locked_by_another(const struct data_folder *f, struct err *err) {
    char owner[32] = "";
    ssize_t n = pread(f->lock, owner, sizeof owner - 1, 0);
    long pid = n > 0 ? strtol(owner, NULL, 10) : 0;
    char who[48] = "";
    if (pid > 0) snprintf(who, sizeof who, " (process %ld)", pid);
    return err_set(err, STATUS_FAILED_PRECONDITION,
                   "the data folder %s is in use by another server%s; stop it or choose another "
                   "folder with --data",
                   f->path, who);
}

static int lock(struct data_folder *f, struct err *err) {
    char name[PATH_MAX];
    if ((size_t)snprintf(name, sizeof name, "%s/lock", f->path) >= sizeof name)
        return fault(f->path, ENAMETOOLONG, err);
    f->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->lock < 0) return fault(f->path, errno, err);
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? locked_by_another(f, err) : fault(f->path, errno, err);
    char owner[32];
    int n = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    if (ftruncate(f->lock, 0) != 0 || pwrite(f->lock, owner, (size_t)n, 0) != n)
        return fault(f->path, errno, err);
    return 0;
}

int data_folder_open(struct data_folder *f, const char *path, struct err *err) {
    *f = (struct data_folder){.path = strdup(path), .lock = -1};
    if (f->path == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    for (size_t n = strlen(f->path); n > 1 && f->path[n - 1] == '/'; n--) f->path[n - 1] = '\0';
    int error = f->path[0] == '\0' ? ENOENT : make_folders(f->path);
    int rc = error != 0 ? fault(f->path, error, err) : lock(f, err);
    if (rc < 0) data_folder_close(f);
    return rc;
}

void data_folder_close(struct data_folder *f) {
    if (f->lock >= 0) close(f->lock);
    f->lock = -1;
    free(f->path);
    f->path = NULL;
}
