// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Files: the machine's files and programs, with the rights of whoever started the
// process. Only the command line's VM has it. Each request is a job in the main loop's pool, which
// frees what the job was given; paths are absolute, so that no answer depends on where the process
// stands.
//
// A file is written beside its place and renamed, so that a reader sees the old one or the new one.
// It is not forced to the disk: what the command line writes can be written again.
#include "native_files.h"

#include "main_loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mica/core/v1/core.pb-c.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)64 << 20)

struct job {
    struct main_work work; // first
    struct message *request;
    ProtobufCMessage *in;
    void (*run)(struct message *take_request, ProtobufCMessage *in);
};

static void run_job(struct main_work *work) {
    struct job *job = (struct job *)work;
    job->run(job->request, job->in);
}

static void free_job(struct main_work *work) {
    struct job *job = (struct job *)work;
    protobuf_c_message_free_unpacked(job->in, NULL);
    free(job);
}

static void begin(struct main_loop *loop, struct message *request,
                  const ProtobufCMessageDescriptor *type,
                  void (*run)(struct message *, ProtobufCMessage *)) {
    ProtobufCMessage *in = native_read(request, type);
    if (in == NULL) return;
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        protobuf_c_message_free_unpacked(in, NULL);
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *job = (struct job){.request = request, .in = in, .run = run};
    job->work.run = run_job;
    job->work.done = free_job;
    main_loop_work(loop, &job->work);
}

// ---- failures
static enum status status_of(int error) {
    switch (error) {
    case ENOENT:
    case ENOTDIR: return STATUS_NOT_FOUND;
    case EEXIST: return STATUS_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return STATUS_PERMISSION_DENIED;
    case EISDIR:
    case EINVAL:
    case ELOOP:
    case ENAMETOOLONG: return STATUS_INVALID_ARGUMENT;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return STATUS_RESOURCE_EXHAUSTED;
    default: return STATUS_UNKNOWN;
    }
}

static void refuse(struct message *request, const char *path, int error) {
    struct err err = {0};
    err_set(&err, status_of(error), "%s: %s", path, strerror(error));
    native_fail(request, &err);
}

static bool is_absolute(struct message *request, const char *path) {
    if (path[0] == '/') return true;
    struct err err = {0};
    err_set(&err, STATUS_INVALID_ARGUMENT, "\"%s\" is no absolute path", path);
    native_fail(request, &err);
    return false;
}

// ---- Read
// 0 or an errno.
static int read_up_to(int fd, struct buf *out, size_t most) {
    ssize_t n = 1;
    while (n > 0 && out->n <= most) {
        if (!buf_reserve(out, 65536)) return ENOMEM;
        n = read(fd, buf_p(out) + out->n, 65536);
        if (n > 0) out->n += (size_t)n;
        if (n < 0 && errno != EINTR) return errno;
        if (n < 0) n = 1;
    }
    return out->n > most ? EFBIG : 0;
}

static void do_read(struct message *request, ProtobufCMessage *message) {
    Mica__Core__V1__FileReadRequest *in = (Mica__Core__V1__FileReadRequest *)message;
    if (!is_absolute(request, in->path)) return;
    Mica__Core__V1__FileReadResponse out = MICA__CORE__V1__FILE_READ_RESPONSE__INIT;
    struct buf content = {0};
    int fd = open(in->path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : read_up_to(fd, &content, MOST_BYTES);
    if (fd >= 0) close(fd);
    out.data.data = (uint8_t *)buf_p(&content);
    out.data.len = content.n;
    if (error == 0) {
        native_answer(request, &out.base);
    } else {
        refuse(request, in->path, error);
    }
    buf_free(&content);
}

// ---- Write
// 0 or an errno.
static int write_all(int fd, const uint8_t *p, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR) return errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

static int give_name(const char *temporary, const char *path, bool create_only) {
    if (!create_only) return rename(temporary, path) == 0 ? 0 : errno;
    if (link(temporary, path) < 0) return errno;
    unlink(temporary);
    return 0;
}

static int write_file(const char *path, const Mica__Core__V1__FileWriteRequest *in) {
    struct buf name = {0};
    mode_t mode = in->mode == 0 ? 0644 : (mode_t)(in->mode & 0777);
    buf_printf(&name, "%s.XXXXXX", path);
    buf_cstr(&name);
    if (name.failed) {
        buf_free(&name);
        return ENOMEM;
    }
    int fd = mkostemp(buf_p(&name), O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0) {
        error = write_all(fd, in->data.data, in->data.len);
        if (error == 0 && fchmod(fd, mode) < 0) error = errno;
        if (close(fd) < 0 && error == 0) error = errno;
        if (error == 0) error = give_name(buf_p(&name), path, in->create_only);
        if (error != 0) unlink(buf_p(&name));
    }
    buf_free(&name);
    return error;
}

// Through a link, the file that it leads to is replaced.
static void do_write(struct message *request, ProtobufCMessage *message) {
    Mica__Core__V1__FileWriteRequest *in = (Mica__Core__V1__FileWriteRequest *)message;
    if (!is_absolute(request, in->path)) return;
    Mica__Core__V1__FileWriteResponse out = MICA__CORE__V1__FILE_WRITE_RESPONSE__INIT;
    char *real = in->create_only ? NULL : realpath(in->path, NULL);
    int error = write_file(real != NULL ? real : in->path, in);
    free(real);
    if (error == 0) {
        native_answer(request, &out.base);
    } else {
        refuse(request, in->path, error);
    }
}

// ---- MakeFolder, Stat, List
static int make_folder(char *path, mode_t mode) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, mode);
        int error = errno;
        *slash = '/';
        if (rc < 0 && error != EEXIST) return error;
    }
    if (mkdir(path, mode) == 0) return 0;
    struct stat about;
    int error = errno;
    return error == EEXIST && stat(path, &about) == 0 && S_ISDIR(about.st_mode) ? 0 : error;
}

static void do_make_folder(struct message *request, ProtobufCMessage *message) {
    Mica__Core__V1__MakeFolderRequest *in = (Mica__Core__V1__MakeFolderRequest *)message;
    if (!is_absolute(request, in->path)) return;
    Mica__Core__V1__MakeFolderResponse out = MICA__CORE__V1__MAKE_FOLDER_RESPONSE__INIT;
    int error = make_folder(in->path, in->mode == 0 ? 0755 : (mode_t)(in->mode & 0777));
    if (error == 0) {
        native_answer(request, &out.base);
    } else {
        refuse(request, in->path, error);
    }
}

static void do_stat(struct message *request, ProtobufCMessage *message) {
    Mica__Core__V1__StatRequest *in = (Mica__Core__V1__StatRequest *)message;
    if (!is_absolute(request, in->path)) return;
    Mica__Core__V1__StatResponse out = MICA__CORE__V1__STAT_RESPONSE__INIT;
    struct stat about;
    int error = stat(in->path, &about) == 0 ? 0 : errno;
    if (error != 0 && status_of(error) != STATUS_NOT_FOUND) {
        refuse(request, in->path, error);
        return;
    }
    char *real = error == 0 ? realpath(in->path, NULL) : NULL;
    if (error == 0) {
        out.exists = true;
        out.folder = S_ISDIR(about.st_mode);
        out.size = (uint64_t)about.st_size;
        if (real != NULL) out.real_path = real;
    }
    native_answer(request, &out.base);
    free(real);
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void do_list(struct message *request, ProtobufCMessage *message) {
    Mica__Core__V1__FileListRequest *in = (Mica__Core__V1__FileListRequest *)message;
    if (!is_absolute(request, in->path)) return;
    Mica__Core__V1__FileListResponse out = MICA__CORE__V1__FILE_LIST_RESPONSE__INIT;
    struct dirent **entries = NULL;
    int n = scandir(in->path, &entries, not_dots, by_bytes);
    if (n < 0) {
        refuse(request, in->path, errno);
        return;
    }
    out.names = calloc((size_t)n + 1, sizeof *out.names);
    if (out.names != NULL) {
        out.n_names = (size_t)n;
        for (int i = 0; i < n; i++) out.names[i] = entries[i]->d_name;
        native_answer(request, &out.base);
    } else {
        refuse(request, in->path, ENOMEM);
    }
    for (int i = 0; i < n; i++) free(entries[i]);
    free(entries);
    free(out.names);
}

// ---- RunProgram
// The streams are ours, and so is the terminal's group: an interrupt reaches the program too.
static int start_program(const Mica__Core__V1__RunProgramRequest *in, int output, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    char **argv = calloc(in->n_arguments + 2, sizeof *argv);
    if (argv == NULL) return ENOMEM;
    argv[0] = in->program;
    for (size_t i = 0; i < in->n_arguments; i++) argv[i + 1] = in->arguments[i];
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int error = 0;
    if (in->folder[0] != '\0') error = posix_spawn_file_actions_addchdir_np(&actions, in->folder);
    if (output >= 0 && error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    }
    if (error == 0) error = posix_spawnp(pid, in->program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(argv);
    return error;
}

static uint32_t wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return 1;
    }
    return WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 128 + (uint32_t)WTERMSIG(status);
}

static void do_run_program(struct message *request, ProtobufCMessage *message) {
    Mica__Core__V1__RunProgramRequest *in = (Mica__Core__V1__RunProgramRequest *)message;
    Mica__Core__V1__RunProgramResponse out = MICA__CORE__V1__RUN_PROGRAM_RESPONSE__INIT;
    struct buf output = {0};
    int pipes[2] = {-1, -1};
    pid_t pid = 0;
    int error = in->capture && pipe2(pipes, O_CLOEXEC) < 0 ? errno : 0;
    if (error == 0) error = start_program(in, pipes[1], &pid);
    if (pipes[1] >= 0) close(pipes[1]);
    if (error == 0) {
        int reading = pipes[0] >= 0 ? read_up_to(pipes[0], &output, MOST_BYTES) : 0;
        if (pipes[0] >= 0) close(pipes[0]); // a program that has more to say gets SIGPIPE
        pipes[0] = -1;
        out.code = wait_for(pid);
        error = reading;
    }
    if (pipes[0] >= 0) close(pipes[0]);
    out.output.data = (uint8_t *)buf_p(&output);
    out.output.len = output.n;
    if (error == 0) {
        native_answer(request, &out.base);
    } else {
        refuse(request, in->program, error);
    }
    buf_free(&output);
}

// ---- the service
#define METHOD(name, type)                                                                         \
    static void on_##name(void *context, struct message *request) {                                \
        begin(context, request, &mica__core__v1__##type##_request__descriptor, do_##name);         \
    }
METHOD(read, file_read)
METHOD(write, file_write)
METHOD(make_folder, make_folder)
METHOD(stat, stat)
METHOD(list, file_list)
METHOD(run_program, run_program)
#undef METHOD

static const struct native_method METHODS[] = {
    {"Read", on_read}, {"Write", on_write}, {"MakeFolder", on_make_folder},
    {"Stat", on_stat}, {"List", on_list},   {"RunProgram", on_run_program}};
const struct native_service NATIVE_FILES = {"files", "mica.core.v1.Files", METHODS, 6};
