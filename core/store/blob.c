// SPDX-License-Identifier: Apache-2.0
// Blobs as files:
//
//   FOLDER/uploads/NUMBER       what is being written
//   FOLDER/blobs/ab/abcd...     what is complete; the first two digits make 256 folders, so that
//                               none grows too large
//
// A blob appears whole or not at all: the upload's bytes are forced to the disk, then it is
// renamed, then the folder is forced to the disk, and only then it is answered. What a crash leaves
// in uploads/ is removed at the next start. The name is the hash that was computed while the bytes
// came in, so a blob never changes, and committing one that is there already puts the same content
// in its place.
//
// An upload is in the table from begin to its end. Whoever works on it marks it busy under the lock
// and then uses its file and hash without the lock; expiring and closing leave busy ones alone, and
// an abort is left to who works on it.
// After a fault the upload is ended: what a failed write or fsync has left in the file is not
// known.
#include "store/blob.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct upload {
    uint64_t number;
    int fd;
    bool busy;
    bool aborted; // while it was busy: whoever works on it ends it
    int64_t used; // clock_now of the last work on it
    uint64_t size, size_limit;
    crypto_hash_sha256_state hash;
};

struct blobs {
    int folder, uploads_folder, blobs_folder; // descriptors
    char *path;
    pthread_mutex_t lock;
    uint64_t last;
    struct upload *uploads[BLOBS_UPLOADS_MAX]; // NULL: free
};

struct name {
    char text[24];
};

static struct name upload_name(uint64_t number) {
    struct name n;
    snprintf(n.text, sizeof n.text, "%" PRIu64, number);
    return n;
}

static int fault(const char *what, int error, struct err *err) {
    enum status status =
        error == ENOSPC || error == EDQUOT || error == EFBIG || error == EMFILE || error == ENFILE
            ? STATUS_RESOURCE_EXHAUSTED
        : error == EACCES || error == EPERM || error == EROFS ? STATUS_PERMISSION_DENIED
                                                              : STATUS_UNAVAILABLE;
    return err_set(err, status, "cannot %s in the data folder: %s", what, strerror(error));
}

// ---- open and close
static int open_folder(int below, const char *name) {
    if (mkdirat(below, name, 0700) != 0 && errno != EEXIST) return -1;
    return openat(below, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void empty_folder(int folder) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL) {
        if (fd >= 0) close(fd);
        return;
    }
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.') unlinkat(folder, e->d_name, 0);
    }
    closedir(d);
}

struct blobs *blobs_open(const char *folder, struct err *err) {
    struct blobs *b = calloc(1, sizeof *b);
    if (b == NULL || (b->path = strdup(folder)) == NULL) {
        free(b);
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->uploads_folder = b->blobs_folder = -1;
    b->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->folder >= 0) b->uploads_folder = open_folder(b->folder, "uploads");
    if (b->uploads_folder >= 0) b->blobs_folder = open_folder(b->folder, "blobs");
    if (b->blobs_folder < 0 || fsync(b->folder) != 0) {
        fault("make folders", errno, err);
        blobs_close(b);
        return NULL;
    }
    empty_folder(b->uploads_folder);
    return b;
}

// The lock is held, or nobody else is there.
static void end_upload(struct blobs *b, struct upload *u, bool remove) {
    for (size_t i = 0; i < BLOBS_UPLOADS_MAX; i++) {
        if (b->uploads[i] == u) b->uploads[i] = NULL;
    }
    if (u->fd >= 0) close(u->fd);
    if (remove) unlinkat(b->uploads_folder, upload_name(u->number).text, 0);
    free(u);
}

void blobs_close(struct blobs *b) {
    if (b == NULL) return;
    for (size_t i = 0; i < BLOBS_UPLOADS_MAX; i++) {
        if (b->uploads[i] != NULL) end_upload(b, b->uploads[i], true);
    }
    if (b->folder >= 0) close(b->folder);
    if (b->uploads_folder >= 0) close(b->uploads_folder);
    if (b->blobs_folder >= 0) close(b->blobs_folder);
    pthread_mutex_destroy(&b->lock);
    free(b->path);
    free(b);
}

// ---- uploads
void blobs_expire(struct blobs *b, int64_t now) {
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < BLOBS_UPLOADS_MAX; i++) {
        struct upload *u = b->uploads[i];
        if (u != NULL && !u->busy && now - u->used > BLOBS_IDLE) end_upload(b, u, true);
    }
    pthread_mutex_unlock(&b->lock);
}

static int take_place(struct blobs *b, struct upload *u, struct err *err) {
    int rc = -STATUS_RESOURCE_EXHAUSTED;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < BLOBS_UPLOADS_MAX && rc < 0; i++) {
        if (b->uploads[i] != NULL) continue;
        b->uploads[i] = u;
        u->number = ++b->last;
        u->busy = true;
        rc = 0;
    }
    pthread_mutex_unlock(&b->lock);
    if (rc == 0) return 0;
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "%d uploads are open, which is the limit",
                   BLOBS_UPLOADS_MAX);
}

static void put_back(struct blobs *b, struct upload *u) {
    pthread_mutex_lock(&b->lock);
    u->used = clock_now();
    u->busy = false;
    if (u->aborted) end_upload(b, u, true);
    pthread_mutex_unlock(&b->lock);
}

static void drop(struct blobs *b, struct upload *u, bool remove) {
    pthread_mutex_lock(&b->lock);
    end_upload(b, u, remove);
    pthread_mutex_unlock(&b->lock);
}

// The upload, busy; NULL: `err`. To abort one that is busy is left to who works on it (err->code stays 0).
static struct upload *take_to(struct blobs *b, uint64_t number, bool abort, struct err *err) {
    struct upload *found = NULL;
    bool busy = false;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < BLOBS_UPLOADS_MAX && found == NULL; i++) {
        if (b->uploads[i] != NULL && b->uploads[i]->number == number) found = b->uploads[i];
    }
    if (found != NULL) {
        busy = found->busy;
        found->busy = true;
        if (busy && abort) found->aborted = true;
    }
    pthread_mutex_unlock(&b->lock);
    if (found == NULL) {
        err_set(err, STATUS_NOT_FOUND, "no upload %" PRIu64 ": it is over, or was idle for long",
                number);
    } else if (busy && abort) {
        found = NULL;
    } else if (busy) {
        err_set(err, STATUS_FAILED_PRECONDITION, "another request works on upload %" PRIu64,
                number);
        found = NULL;
    }
    return found;
}

static struct upload *take(struct blobs *b, uint64_t number, struct err *err) {
    return take_to(b, number, false, err);
}

int blobs_begin(struct blobs *b, uint64_t size_limit, uint64_t *upload, struct err *err) {
    blobs_expire(b, clock_now());
    struct upload *u = calloc(1, sizeof *u);
    if (u == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    u->fd = -1;
    u->size_limit = size_limit == 0 || size_limit > BLOBS_SIZE_MAX ? BLOBS_SIZE_MAX : size_limit;
    int rc = take_place(b, u, err);
    if (rc < 0) {
        free(u);
        return rc;
    }
    crypto_hash_sha256_init(&u->hash);
    u->fd = openat(b->uploads_folder, upload_name(u->number).text,
                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (u->fd < 0) {
        rc = fault("begin an upload", errno, err);
        drop(b, u, false);
        return rc;
    }
    *upload = u->number;
    put_back(b, u);
    return 0;
}

// 0 or an errno.
static int write_all(int fd, struct str data) {
    while (data.n > 0) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0 ? EIO : errno;
        data.p += n;
        data.n -= (size_t)n;
    }
    return 0;
}

int blobs_append(struct blobs *b, uint64_t upload, struct str data, uint64_t *size,
                 struct err *err) {
    struct upload *u = take(b, upload, err);
    if (u == NULL) return -(int)err->code;
    int rc = 0;
    if (data.n > u->size_limit - u->size) {
        rc = err_set(err, STATUS_RESOURCE_EXHAUSTED,
                     "the upload is larger than its limit of %" PRIu64 " bytes", u->size_limit);
    } else {
        int error = write_all(u->fd, data);
        if (error != 0) rc = fault("write an upload", error, err);
    }
    if (rc < 0) {
        drop(b, u, true);
        return rc;
    }
    crypto_hash_sha256_update(&u->hash, (const unsigned char *)data.p, data.n);
    u->size += data.n;
    *size = u->size;
    put_back(b, u);
    return 0;
}

int blobs_abort(struct blobs *b, uint64_t upload, struct err *err) {
    struct upload *u = take_to(b, upload, true, err);
    if (u == NULL) return -(int)err->code;
    drop(b, u, true);
    return 0;
}

// ---- commit
static void hash_name(struct upload *u, char name[BLOBS_NAME]) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&u->hash, digest);
    sodium_bin2hex(name, BLOBS_NAME, digest, sizeof digest);
}

// Moves the file to its name; 0 or an errno.
static int publish(struct blobs *b, const struct upload *u, const char *name) {
    char shard[3] = {name[0], name[1], '\0'};
    if (fsync(u->fd) != 0) return errno;
    int folder = open_folder(b->blobs_folder, shard);
    if (folder < 0) return errno;
    int error = 0;
    // The folder's own name must be on the disk before what is in it is said to be; it costs little
    // when it is already.
    if (fsync(b->blobs_folder) != 0 ||
        renameat(b->uploads_folder, upload_name(u->number).text, folder, name) != 0 ||
        fsync(folder) != 0)
        error = errno;
    close(folder);
    return error;
}

int blobs_commit(struct blobs *b, uint64_t upload, const char *sha256, char name[BLOBS_NAME],
                 uint64_t *size, struct err *err) {
    struct upload *u = take(b, upload, err);
    if (u == NULL) return -(int)err->code;
    int rc = 0;
    hash_name(u, name);
    if (sha256[0] != '\0' && strcmp(sha256, name) != 0) {
        rc = err_set(err, STATUS_DATA_LOSS,
                     "the content has the SHA-256 %s, not %.64s: it was damaged on its way", name,
                     sha256);
    } else {
        int error = publish(b, u, name);
        if (error != 0) rc = fault("store a blob", error, err);
    }
    *size = u->size;
    drop(b, u, rc < 0);
    return rc;
}

// ---- blobs
static int check_name(const char *sha256, struct err *err) {
    size_t n = strspn(sha256, "0123456789abcdef");
    if (n == BLOBS_NAME - 1 && sha256[n] == '\0') return 0;
    return err_set(err, STATUS_INVALID_ARGUMENT, "\"%.64s\" is no SHA-256 in hex, lower case",
                   sha256);
}

// "ab/abcd..."
static struct str place(const char *sha256, char out[BLOBS_NAME + 3]) {
    int n = snprintf(out, BLOBS_NAME + 3, "%.2s/%s", sha256, sha256);
    return (struct str){out, (size_t)n};
}

int blobs_path(struct blobs *b, const char *sha256, struct buf *out, struct err *err) {
    char file[BLOBS_NAME + 3];
    int rc = check_name(sha256, err);
    if (rc < 0) return rc;
    buf_printf(out, "%s/blobs/%s", b->path, place(sha256, file).p);
    return out->failed ? err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory") : 0;
}

// 0 or an errno.
static int read_part(int fd, uint64_t offset, uint64_t n, struct buf *out) {
    if (!buf_reserve(out, n)) return ENOMEM;
    while (n > 0) {
        ssize_t got = pread(fd, buf_p(out) + out->n, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got == 0 ? EIO : errno; // it does not shrink
        out->n += (size_t)got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return 0;
}

int blobs_read(struct blobs *b, const char *sha256, uint64_t offset, uint64_t limit,
               struct buf *out, uint64_t *size, struct err *err) {
    char file[BLOBS_NAME + 3];
    struct stat st;
    int rc = check_name(sha256, err);
    if (rc < 0) return rc;
    int fd = openat(b->blobs_folder, place(sha256, file).p, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return err_set(err, STATUS_NOT_FOUND, "no blob %s", sha256);
    if (fd < 0) return fault("read a blob", errno, err);
    int error = fstat(fd, &st) != 0 ? errno : 0;
    if (error == 0) {
        *size = (uint64_t)st.st_size;
        uint64_t left = offset < *size ? *size - offset : 0;
        error = read_part(fd, offset, left < limit ? left : limit, out);
    }
    close(fd);
    return error == 0 ? 0 : fault("read a blob", error, err);
}

int blobs_delete(struct blobs *b, const char *sha256, struct err *err) {
    char file[BLOBS_NAME + 3];
    int rc = check_name(sha256, err);
    if (rc < 0) return rc;
    if (unlinkat(b->blobs_folder, place(sha256, file).p, 0) == 0 || errno == ENOENT) return 0;
    return fault("delete a blob", errno, err);
}
