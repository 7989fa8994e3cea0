// SPDX-License-Identifier: Apache-2.0
// A service's files in memory. Read once, never changed, shared by its VMs.
//
// Reading walks the folder by file descriptors. Hidden files and the folder spec/ are left out,
// links to folders are not followed, and a link to a file must not lead out of the folder (openat2
// with RESOLVE_BENEATH decides that, in the kernel, at the moment of opening). The hash is SHA-256
// over each path, size and content in the order of paths.
//
// The project. The nearest folder above that holds mica.json or .git lends a service what it needs
// of it: lib/ and the Lua files of lua_modules/ under these names, and the files of proto/ that the
// service's contract imports, as proto/NAME. They become files of the version, so a version is
// complete; the service's own file of the same path wins.
#include "vm/source.h"

#include "pb/protoc.h"
#include "pb/wire.h"
#include "vm/embedded.h"
#include "vm/source_gather.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FILES SOURCE_FILES
#define MAX_BYTES SOURCE_BYTES
enum { MAX_NESTING = 32, MAX_PATH = 1024 };

struct walk {
    struct gather to; // first
    int root;
    const char *folder; // of `root`, for messages
    // Files of the service itself, sorted: they win over the project's. 0 while they are read.
    size_t own;
    bool lua_only;
};

// ---- life

struct source *source_new(struct err *err) {
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    return s;
}

struct source *source_hold(struct source *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void source_drop(struct source *s) {
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1) return;
    for (size_t i = 0; i < s->file_count; i++) {
        free((void *)s->files[i].path.p);
        blob_drop(s->files[i].content);
    }
    for (size_t i = 0; i < s->proto_count; i++) free((void *)s->protos[i].p);
    free(s->files);
    free(s->protos);
    free(s->foreign);
    free(s->name);
    free(s->folder);
    if (s->pool != NULL) pb_pool_drop(s->pool);
    free(s);
}

static int compare_str(struct str a, struct str b) {
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare_files(const void *a, const void *b) {
    return compare_str(((const struct source_file *)a)->path,
                       ((const struct source_file *)b)->path);
}

const struct source_file *source_file(const struct source *s, struct str path) {
    struct source_file wanted = {.path = path};
    if (s->file_count == 0) return NULL;
    return bsearch(&wanted, s->files, s->file_count, sizeof wanted, compare_files);
}

bool source_owns_proto(const struct source *s, struct str proto_file) {
    for (size_t i = 0; i < s->proto_count; i++) {
        if (str_equal(s->protos[i], proto_file)) return !atomic_load(&s->foreign[i]);
    }
    return false;
}

void source_disown_proto(const struct source *s, struct str proto_file) {
    for (size_t i = 0; i < s->proto_count; i++)
        if (str_equal(s->protos[i], proto_file)) atomic_store(&s->foreign[i], true);
}

// ---- collecting

static int no_memory(struct err *err) {
    return err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

int gather_file(struct gather *g, struct str path, struct blob *content) {
    struct source *s = g->s;
    if (content == NULL) return no_memory(g->err);
    g->bytes += content->n;
    if (s->file_count >= MAX_FILES || g->bytes > MAX_BYTES) {
        blob_drop(content);
        return err_set(g->err, STATUS_INVALID_ARGUMENT,
                       "%s is larger than %d files or %d MB: is it a service's folder?",
                       s->folder == NULL ? s->name : s->folder, MAX_FILES, (int)(MAX_BYTES >> 20));
    }
    if (s->file_count == g->cap) {
        size_t cap = g->cap == 0 ? 16 : g->cap * 2;
        struct source_file *files = realloc(s->files, cap * sizeof *files);
        if (files != NULL) s->files = files;
        if (files != NULL) g->cap = cap;
    }
    char *name = s->file_count < g->cap ? strndup(path.p, path.n) : NULL;
    if (name == NULL) {
        blob_drop(content);
        return no_memory(g->err);
    }
    s->files[s->file_count++] = (struct source_file){{name, path.n}, content, ""};
    return 0;
}

void gather_sort(struct source *s) {
    if (s->file_count > 0) qsort(s->files, s->file_count, sizeof *s->files, compare_files);
}

static void tag_file(struct source_file *f) {
    unsigned char digest[(sizeof f->tag - 1) / 2];
    crypto_generichash(digest, sizeof digest, (const unsigned char *)f->content->p, f->content->n,
                       NULL, 0);
    sodium_bin2hex(f->tag, sizeof f->tag, digest, sizeof digest);
}

void gather_hash(struct source *s) {
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < s->file_count; i++) {
        struct source_file *f = &s->files[i];
        unsigned char size[8];
        for (int k = 0; k < 8; k++) size[k] = (unsigned char)((uint64_t)f->content->n >> (8 * k));
        crypto_hash_sha256_update(&state, (const unsigned char *)f->path.p,
                                  f->path.n + 1); // with the NUL
        crypto_hash_sha256_update(&state, size, sizeof size);
        crypto_hash_sha256_update(&state, (const unsigned char *)f->content->p, f->content->n);
        if (str_starts(f->path, "public/")) tag_file(f);
    }
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(s->hash, sizeof s->hash, digest, sizeof digest);
}

int gather_proto(struct source *s, struct str name) {
    struct str *protos = realloc(s->protos, (s->proto_count + 1) * sizeof *protos);
    if (protos == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    s->protos = protos;
    atomic_bool *foreign = realloc(s->foreign, (s->proto_count + 1) * sizeof *foreign);
    if (foreign == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    s->foreign = foreign;
    atomic_init(&foreign[s->proto_count], false);
    char *copy = strndup(name.p, name.n);
    if (copy == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    s->protos[s->proto_count++] = (struct str){copy, name.n};
    return 0;
}

// ---- the folder

static int open_beneath(int root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) { // an old kernel: no links at all
        fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    }
    return (int)fd;
}

static struct blob *read_all(int fd, size_t size, struct err *err, const char *path) {
    struct buf b = {0};
    buf_reserve(&b, size);
    for (;;) {
        if (!buf_reserve(&b, 4096)) break;
        ssize_t n = read(fd, buf_p(&b) + b.n, b.cap - b.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            err_set(err, STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
            buf_free(&b);
            return NULL;
        }
        if (n == 0) return buf_take(&b);
        b.n += (size_t)n;
        if (b.n > MAX_BYTES) return buf_take(&b); // add_file says that it is too much
    }
    buf_free(&b);
    return NULL;
}

static int cannot_open(const struct walk *w, const char *path, int error) {
    if (error == ENOENT) return 0; // a link to nothing, or gone meanwhile
    if (error == EXDEV)
        return err_set(w->to.err, STATUS_INVALID_ARGUMENT, "%s is a link that leads out of %s",
                       path, w->folder);
    if (error == ELOOP)
        return err_set(w->to.err, STATUS_INVALID_ARGUMENT,
                       "%s is a link that leads in a circle (or into /proc)", path);
    return err_set(w->to.err, STATUS_NOT_FOUND, "%s: %s", path, strerror(error));
}

static int read_file(struct walk *w, const char *path) {
    struct stat st;
    int fd = open_beneath(w->root, path);
    if (fd < 0) return cannot_open(w, path, errno);
    int status = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        struct err why = {0};
        size_t size = st.st_size > (off_t)MAX_BYTES ? MAX_BYTES : (size_t)st.st_size;
        struct blob *content = read_all(fd, size, &why, path);
        if (content == NULL && why.code != 0) {
            if (w->to.err != NULL) *w->to.err = why;
            status = -(int)why.code;
        } else {
            status = gather_file(&w->to, str_of(path), content);
        }
    }
    close(fd);
    return status;
}

static int walk_folder(struct walk *w, int fd, const char *prefix, int depth);

static bool is_own(const struct walk *w, struct str path) {
    struct source_file wanted = {.path = path};
    return w->own > 0 &&
           bsearch(&wanted, w->to.s->files, w->own, sizeof wanted, compare_files) != NULL;
}

static int visit(struct walk *w, int folder, const char *prefix, const char *name, int depth) {
    struct stat st;
    char path[MAX_PATH];
    size_t length = strlen(name);
    bool bundle = length > 5 && strcmp(name + length - 5, ".mica") == 0; // of `mica build`
    if (name[0] == '.' || (depth == 0 && (bundle || strcmp(name, "spec") == 0))) return 0;
    int n = snprintf(path, sizeof path, "%s%s", prefix, name);
    if (n < 0 || (size_t)n + 2 > sizeof path) {
        return err_set(w->to.err, STATUS_INVALID_ARGUMENT,
                       "a path below %s is longer than %d bytes", prefix, MAX_PATH);
    }
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return 0;
    if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) {
        bool lua = length > 4 && strcmp(name + length - 4, ".lua") == 0;
        return (w->lua_only && !lua) || is_own(w, str_of(path)) ? 0 : read_file(w, path);
    }
    if (!S_ISDIR(st.st_mode)) return 0;
    if (depth >= MAX_NESTING)
        return err_set(w->to.err, STATUS_INVALID_ARGUMENT, "%s is nested too deep", path);
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return err_set(w->to.err, STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
    path[n] = '/';
    path[n + 1] = '\0';
    return walk_folder(w, fd, path, depth + 1);
}

// Takes fd.
static int walk_folder(struct walk *w, int fd, const char *prefix, int depth) {
    DIR *dir = fdopendir(fd);
    int status = 0;
    if (dir == NULL) {
        close(fd);
        return no_memory(w->to.err);
    }
    for (struct dirent *e; status == 0 && (e = readdir(dir)) != NULL;) {
        status = visit(w, dirfd(dir), prefix, e->d_name, depth);
    }
    closedir(dir);
    return status;
}

static int read_folder(struct source *s, const char *folder, struct walk *w, struct err *err) {
    *w = (struct walk){.to = {.s = s, .err = err}, .folder = "the service's folder"};
    w->root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->root < 0) return err_set(err, STATUS_NOT_FOUND, "%s: %s", folder, strerror(errno));
    int fd = fcntl(w->root, F_DUPFD_CLOEXEC, 0);
    int status = fd < 0 ? no_memory(err) : walk_folder(w, fd, "", 0);
    close(w->root);
    gather_sort(s);
    w->own = s->file_count;
    return status;
}

// ---- the project
// The nearest folder above `folder` that holds mica.json or .git, in `out` (of MAX_PATH); false
// when there is none.
static bool find_project(const char *folder, char *out) {
    char probe[MAX_PATH + 16];
    size_t n = strlen(folder);
    if (n >= MAX_PATH) return false;
    memcpy(out, folder, n + 1);
    for (bool first = true;; first = false) {
        snprintf(probe, sizeof probe, "%s/mica.json", out);
        bool here = access(probe, F_OK) == 0;
        snprintf(probe, sizeof probe, "%s/.git", out);
        if (here || access(probe, F_OK) == 0)
            return !first; // a project of one service lends nothing
        char *slash = strrchr(out, '/');
        if (slash == NULL || slash == out) return false;
        *slash = '\0';
    }
}

static int lend_folder(struct walk *w, const char *name) {
    int fd = openat(w->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return 0; // it has none
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s/", name);
    return walk_folder(w, fd, prefix, 1);
}

static int lend_modules(struct walk *w, const char *project) {
    w->root = open(project, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->folder = project;
    if (w->root < 0) return 0;
    int status = lend_folder(w, "lib");
    w->lua_only = true; // the rest of a LuaRocks tree is no use here
    if (status == 0) status = lend_folder(w, "lua_modules");
    w->lua_only = false;
    close(w->root);
    return status;
}

// The place after a file of a FileDescriptorSet, and that file's name; NULL at the end. The set is
// well formed: a pool was made of it.
static const uint8_t *descriptor_next(const uint8_t *p, const uint8_t *end, struct str *name) {
    enum { FILE_TAG = 1 << 3 | WIRE_LENGTH, NAME_TAG = 1 << 3 | WIRE_LENGTH };
    uint32_t tag;
    struct str file;
    *name = (struct str){"", 0};
    p = wire_tag(p, end, &tag);
    if (p == NULL || tag != FILE_TAG) return NULL;
    p = wire_length(p, end, &file);
    const uint8_t *in = p == NULL ? NULL : (const uint8_t *)file.p, *stop = in + (in ? file.n : 0);
    while (in != NULL && (in = wire_tag(in, stop, &tag)) != NULL && tag != NAME_TAG)
        in = wire_skip(in, stop, tag, 100, NULL);
    if (in != NULL) wire_length(in, stop, name);
    return p;
}

// The files that the contract imports from the project.
static int lend_imports(struct walk *w, const char *project, const struct blob *set) {
    struct source *s = w->to.s;
    const uint8_t *p = (const uint8_t *)set->p, *end = p + set->n;
    int status = 0;
    w->root = open(project, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->folder = project;
    if (w->root < 0) return 0;
    struct str name;
    while (status == 0 && (p = descriptor_next(p, end, &name)) != NULL) {
        char path[MAX_PATH];
        int n = snprintf(path, sizeof path, "proto/%.*s", (int)name.n, name.p);
        if (n < 0 || (size_t)n >= sizeof path || source_owns_proto(s, name)) continue;
        if (!is_own(w, str_of(path))) status = read_file(w, path);
    }
    close(w->root);
    return status;
}

static bool is_contract(struct str path) {
    bool proto = path.n > 6 && memcmp(path.p + path.n - 6, ".proto", 6) == 0;
    return proto && (str_starts(path, "proto/") || memchr(path.p, '/', path.n) == NULL);
}

static int compile_contract(struct walk *w, const char *project, struct err *err) {
    struct source *s = w->to.s;
    const char *names[MAX_FILES];
    char imports[MAX_PATH + 8];
    struct blob *set = NULL;
    for (size_t i = 0; i < w->own; i++) {
        if (!is_contract(s->files[i].path)) continue;
        if (gather_proto(s, s->files[i].path) != 0) return no_memory(err);
        names[s->proto_count - 1] = s->files[i].path.p;
    }
    if (s->proto_count == 0) {
        return err_set(err, STATUS_NOT_FOUND,
                       "%s has no .proto file: put its contract in proto/%s.proto", s->folder,
                       s->name);
    }
    snprintf(imports, sizeof imports, "%s/proto", project == NULL ? "" : project);
    bool lends = project != NULL && access(imports, X_OK) == 0;
    int status =
        protoc_compile_with(s->folder, lends ? imports : NULL, names, s->proto_count, &set, err);
    if (status != 0) return status;
    s->pool = pb_pool_new(set, err);
    status = s->pool == NULL ? -(int)STATUS_INVALID_ARGUMENT : 0;
    if (status == 0 && lends) status = lend_imports(w, project, set);
    blob_drop(set);
    return status;
}

static int fill(struct source *s, const char *folder, struct err *err) {
    char project[MAX_PATH];
    struct walk w;
    s->folder = realpath(folder, NULL);
    if (s->folder == NULL) return err_set(err, STATUS_NOT_FOUND, "%s: %s", folder, strerror(errno));
    const char *base = strrchr(s->folder, '/');
    s->name = strdup(base == NULL ? s->folder : base + 1);
    if (s->name == NULL) return no_memory(err);
    int status = read_folder(s, s->folder, &w, err);
    if (status != 0) return status;
    if (source_file(s, str_of("main.lua")) == NULL) {
        return err_set(err, STATUS_NOT_FOUND, "%s has no main.lua: it is not a service", s->folder);
    }
    bool in_project = find_project(s->folder, project);
    if (in_project) status = lend_modules(&w, project);
    if (status == 0) status = compile_contract(&w, in_project ? project : NULL, err);
    gather_sort(s);
    if (status == 0) gather_hash(s);
    return status;
}

struct source *source_read(const char *folder, struct err *err) {
    struct source *s = source_new(err);
    if (s == NULL) return NULL;
    if (fill(s, folder, err) == 0) return s;
    source_drop(s);
    return NULL;
}

// ---- built in

static int embedded_files(struct source *s, const char *prefix, struct err *err) {
    struct gather g = {.s = s, .err = err};
    size_t n = strlen(prefix);
    int status = 0;
    for (size_t i = 0; i < EMBEDDED_COUNT && status == 0; i++) {
        const struct embedded_file *f = &EMBEDDED_FILES[i];
        if (strncmp(f->path, prefix, n) != 0) continue;
        status = gather_file(&g, str_of(f->path + n), blob_new(f->bytes, f->n));
    }
    gather_sort(s);
    return status;
}

// The standard services of gRPC (proto/grpc/) are the proxy's.
static int platform_contract(struct source *s, struct pb_pool *platform) {
    char prefix[256];
    bool standard = strcmp(s->name, "proxy") == 0;
    snprintf(prefix, sizeof prefix, "mica/%s/", s->name);
    s->pool = pb_pool_hold(platform);
    for (size_t i = 0; i < platform->service_count; i++) {
        struct str file = platform->services[i].file;
        bool own = str_starts(file, prefix) || (standard && str_starts(file, "grpc/"));
        if (!own || source_owns_proto(s, file)) continue;
        if (gather_proto(s, file) != 0) return -STATUS_RESOURCE_EXHAUSTED;
    }
    return 0;
}

struct source *source_builtin(const char *name, struct pb_pool *platform, struct err *err) {
    char prefix[256], folder[MAX_PATH];
    struct walk w;
    const char *root = getenv("MICA_LUA_PATH");
    struct source *s = source_new(err);
    if (s == NULL) return NULL;
    snprintf(prefix, sizeof prefix, "services/platform/%s/", name);
    snprintf(folder, sizeof folder, "%s/%s", root == NULL ? "" : root, prefix);
    s->name = strdup(name);
    if (s->name == NULL || platform_contract(s, platform) != 0) {
        no_memory(err);
        goto fail;
    }
    bool from_tree = root != NULL && root[0] != '\0' && access(folder, R_OK) == 0;
    if ((from_tree ? read_folder(s, folder, &w, err) : embedded_files(s, prefix, err)) != 0)
        goto fail;
    if (source_file(s, str_of("main.lua")) == NULL) {
        err_set(err, STATUS_NOT_FOUND, "no platform service is called %s", name);
        goto fail;
    }
    gather_hash(s);
    return s;
fail:
    source_drop(s);
    return NULL;
}
