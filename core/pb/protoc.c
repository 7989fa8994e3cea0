// SPDX-License-Identifier: Apache-2.0
// Runs protoc as a child process. It starts in the root folder, so that its messages name files as
// the caller does; the descriptor set goes into an anonymous memory file that the child knows as
// descriptor 3, its messages come through a pipe. No file is left behind, whatever happens. The
// files of google/api and google/rpc, which authors may import without having them, are memory
// files too: 4 and the next ones in the child.
//
// The call blocks until the child is done, at most 30 seconds; then the child is killed. Any thread
// that may block.
#include "pb/protoc.h"

#include "base/clock.h"
#include "pb/google_protos.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_NS (30 * NS_PER_SECOND)
#define MAX_SET ((off_t)64 * 1024 * 1024)
#define MAX_TEXT ((size_t)64 * 1024)
#define MAX_GOOGLE 8
#define FIRST_GOOGLE 4 // what they are in the child
#define FIRST_OWN                                                                                  \
    64 // here they are above all numbers of the child, so that none takes another's place

static int system_fault(struct err *err, const char *what, int number) {
    return err_set(err, STATUS_INTERNAL, "protoc: %s: %s", what, strerror(number));
}

// ---- starting

// A name that begins with - or @ would be an option to protoc; one that leads out of the root is
// not ours to read.
static bool is_plain_file(const char *file) {
    if (*file == '\0' || *file == '-' || *file == '@' || *file == '/') return false;
    for (const char *p = file; p != NULL; p = strchr(p, '/')) {
        if (*p == '/') p++;
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0')) return false;
    }
    return true;
}

// What protoc is started with, and with which descriptors.
struct job {
    const char *root;
    const char *imports; // an option, or NULL
    const char *const *files;
    size_t count;
    int set_fd, text_fd;
    int google_fds[MAX_GOOGLE]; // -1: not open
    char google[MAX_GOOGLE][100];
};

static int open_google(struct job *job) {
    for (size_t i = 0; GOOGLE_PROTOS[i].name != NULL; i++) {
        assert(i < MAX_GOOGLE);
        const struct google_proto *g = &GOOGLE_PROTOS[i];
        int low = memfd_create("google", MFD_CLOEXEC);
        int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, FIRST_OWN);
        if (low >= 0) close(low);
        job->google_fds[i] = fd;
        if (fd < 0 || write(fd, g->text, g->n) != (ssize_t)g->n) return -1;
        snprintf(job->google[i], sizeof job->google[i], "--proto_path=%s=/dev/fd/%zu", g->name,
                 FIRST_GOOGLE + i);
    }
    return 0;
}

static void close_google(const struct job *job) {
    for (size_t i = 0; i < MAX_GOOGLE; i++) {
        if (job->google_fds[i] >= 0) close(job->google_fds[i]);
    }
}

// The author's own files come before ours.
static char **make_arguments(const struct job *job) {
    static const char *const options[] = {"protoc", "--descriptor_set_out=/dev/fd/3",
                                          "--include_imports", "--include_source_info",
                                          "--proto_path=."};
    size_t n = sizeof options / sizeof *options;
    char **arguments = calloc(n + 1 + MAX_GOOGLE + job->count + 1, sizeof *arguments);
    if (arguments == NULL) return NULL;
    for (size_t i = 0; i < n; i++) arguments[i] = (char *)options[i];
    if (job->imports != NULL) arguments[n++] = (char *)job->imports;
    for (size_t i = 0; i < MAX_GOOGLE && job->google_fds[i] >= 0; i++)
        arguments[n++] = (char *)job->google[i];
    for (size_t i = 0; i < job->count; i++) arguments[n + i] = (char *)job->files[i];
    return arguments;
}

static int add_actions(posix_spawn_file_actions_t *actions, const struct job *job) {
    int rc = posix_spawn_file_actions_addchdir_np(actions, job->root);
    if (rc == 0) rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0) rc = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    if (rc == 0) rc = posix_spawn_file_actions_adddup2(actions, job->text_fd, 2);
    if (rc == 0) rc = posix_spawn_file_actions_adddup2(actions, job->set_fd, 3);
    for (int i = 0; i < MAX_GOOGLE && job->google_fds[i] >= 0 && rc == 0; i++)
        rc = posix_spawn_file_actions_adddup2(actions, job->google_fds[i], FIRST_GOOGLE + i);
    return rc;
}

// The child starts with no signal blocked or ignored, whatever this thread does.
static int spawn(const struct job *job, char **arguments, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0) return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = add_actions(&actions, job);
        if (rc == 0)
            rc = posix_spawnattr_setflags(&attributes,
                                          POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        if (rc == 0) rc = posix_spawnattr_setsigmask(&attributes, &none);
        if (rc == 0) rc = posix_spawnattr_setsigdefault(&attributes, &all);
        if (rc == 0) rc = posix_spawnp(pid, "protoc", &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

// ---- waiting

static int left_ms(int64_t deadline) {
    int64_t left = (deadline - clock_now()) / NS_PER_MS;
    return left < 0 ? 0 : (int)left;
}

// Reads until the child closes its end. False: the time is over.
static bool read_text(int fd, struct buf *text, int64_t deadline) {
    for (;;) {
        char chunk[4096];
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int ready = poll(&waiting, 1, left_ms(deadline));
        if (ready == 0) return false;
        if (ready < 0 && errno == EINTR) continue;
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return true;
        if (text->n < MAX_TEXT) buf_append(text, chunk, (size_t)n);
    }
}

static bool wait_child(pid_t pid, int *status, int64_t deadline) {
    for (;;) {
        pid_t done = waitpid(pid, status, WNOHANG);
        if (done == pid) return true;
        if (done < 0 && errno != EINTR) return false;
        if (left_ms(deadline) == 0) return false;
        poll(NULL, 0, 1);
    }
}

static int read_set(int fd, struct blob **set, struct err *err) {
    struct stat info;
    if (fstat(fd, &info) < 0) return system_fault(err, "reading the descriptor set", errno);
    if (info.st_size > MAX_SET)
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "protoc: the descriptor set is too large");
    struct blob *blob = blob_new(NULL, (size_t)info.st_size);
    if (blob == NULL) return err_set(err, STATUS_RESOURCE_EXHAUSTED, "protoc: out of memory");
    for (size_t done = 0; done < blob->n;) {
        ssize_t n = pread(fd, blob->p + done, blob->n - done, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            blob_drop(blob);
            return system_fault(err, "reading the descriptor set", n < 0 ? errno : EIO);
        }
        done += (size_t)n;
    }
    *set = blob;
    return 0;
}

static int source_fault(struct buf *text, int status, struct err *err) {
    while (text->n > 0 && (buf_p(text)[text->n - 1] == '\n' || buf_p(text)[text->n - 1] == '\r'))
        text->n--;
    if (text->n > 0) return err_set(err, STATUS_INVALID_ARGUMENT, "%s", buf_cstr(text));
    if (WIFSIGNALED(status))
        return err_set(err, STATUS_INTERNAL, "protoc was killed by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == 127) {
        return err_set(err, STATUS_FAILED_PRECONDITION,
                       "protoc could not be started: install protobuf-compiler");
    }
    return err_set(err, STATUS_INTERNAL, "protoc failed with status %d and said nothing",
                   WEXITSTATUS(status));
}

static int finish(pid_t pid, int text_fd, int set_fd, struct blob **set, struct err *err) {
    int64_t deadline = clock_now() + LIMIT_NS;
    struct buf text = {0};
    int status = 0, rc;
    if (!read_text(text_fd, &text, deadline) || !wait_child(pid, &status, deadline)) {
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
        rc = err_set(err, STATUS_DEADLINE_EXCEEDED, "protoc did not finish within %d seconds",
                     (int)(LIMIT_NS / NS_PER_SECOND));
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        rc = read_set(set_fd, set, err);
    } else {
        rc = source_fault(&text, status, err);
    }
    buf_free(&text);
    return rc;
}

int protoc_compile(const char *root, const char *const *files, size_t count, struct blob **set,
                   struct err *err) {
    return protoc_compile_with(root, NULL, files, count, set, err);
}

static int run(struct job *job, struct blob **set, struct err *err) {
    int pipes[2] = {-1, -1}, rc;
    pid_t pid;
    char **arguments = NULL;
    job->set_fd = memfd_create("descriptors", MFD_CLOEXEC);
    if (job->set_fd < 0 || pipe2(pipes, O_CLOEXEC) < 0 || open_google(job) < 0) {
        rc = system_fault(err, "files", errno);
        goto done;
    }
    job->text_fd = pipes[1];
    arguments = make_arguments(job);
    if (arguments == NULL) {
        rc = err_set(err, STATUS_RESOURCE_EXHAUSTED, "protoc: out of memory");
        goto done;
    }
    rc = spawn(job, arguments, &pid);
    if (rc == ENOENT) {
        rc = err_set(err, STATUS_FAILED_PRECONDITION,
                     "protoc was not found: install protobuf-compiler");
        goto done;
    }
    if (rc != 0) {
        rc = system_fault(err, "starting", rc);
        goto done;
    }
    close(pipes[1]);
    pipes[1] = -1;
    rc = finish(pid, pipes[0], job->set_fd, set, err);
done:
    close_google(job);
    if (job->set_fd >= 0) close(job->set_fd);
    if (pipes[0] >= 0) close(pipes[0]);
    if (pipes[1] >= 0) close(pipes[1]);
    free(arguments);
    return rc;
}

int protoc_compile_with(const char *root, const char *imports, const char *const *files,
                        size_t count, struct blob **set, struct err *err) {
    struct job job = {.root = root, .files = files, .count = count, .set_fd = -1, .text_fd = -1};
    struct buf option = {0};
    for (size_t i = 0; i < MAX_GOOGLE; i++) job.google_fds[i] = -1;
    if (count == 0) return err_set(err, STATUS_INVALID_ARGUMENT, "protoc: no .proto files");
    for (size_t i = 0; i < count; i++) {
        if (is_plain_file(files[i])) continue;
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s: is no path within the folder", files[i]);
    }
    if (access(root, X_OK) < 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "%s: %s", root, strerror(errno));
    if (imports != NULL) {
        buf_printf(&option, "--proto_path=%s", imports);
        job.imports = buf_cstr(&option);
    }
    int rc = option.failed ? err_set(err, STATUS_RESOURCE_EXHAUSTED, "protoc: out of memory")
                           : run(&job, set, err);
    buf_free(&option);
    return rc;
}
