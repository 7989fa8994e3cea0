// SPDX-License-Identifier: Apache-2.0
// The command line is a service without endpoints: lua/cli/main.lua in a VM of its own, with one
// worker and one loop, and the capabilities "cli", "files" and "build" (native_*.c). Its on_start
// begins a task that does what the arguments say and calls Exit or Serve; then the VM is stopped,
// which breaks off calls that are still out, and the process goes on here.
//
// An interrupt stops the VM too: the server hears that its calls are cancelled. A second one ends the
// process at once.
#include "cli.h"

#include "base/log.h"
#include "deploy.h"
#include "native_cli.h"
#include "native_files.h"
#include "parts.h"
#include "vm/embedded.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INTERRUPTED 130
#define MEMORY ((size_t)512 << 20) // a bundle of 64 MB is held more than once while it is sent

struct cli {
    struct parts parts;
    struct native_cli native;
    struct deploy deploy; // sources that "build" has read
    struct service *service;
    struct main_task started_task, ended_task, stopped_task;
    uv_signal_t interrupt;
    bool up;       // the VM runs
    bool over;     // it should not, any more
    bool stopping; // it has been told
    struct err err;
};

static struct cli *of_started(struct main_task *t) {
    return (struct cli *)((char *)t - offsetof(struct cli, started_task));
}
static struct cli *of_ended(struct main_task *t) {
    return (struct cli *)((char *)t - offsetof(struct cli, ended_task));
}
static struct cli *of_stopped(struct main_task *t) {
    return (struct cli *)((char *)t - offsetof(struct cli, stopped_task));
}

// ---- on the main thread
static void on_stopped(struct main_task *task) { main_loop_stop(&of_stopped(task)->parts.main); }

static void stopped(void *user, struct service *service, uint64_t finished) {
    struct cli *c = user;
    (void)service;
    (void)finished;
    c->stopped_task.run = on_stopped;
    main_loop_post(&c->parts.main, &c->stopped_task);
}

// Stops the VM as soon as it is both up and over.
static void stop_when_over(struct cli *c) {
    if (!c->up || !c->over || c->stopping) return;
    c->stopping = true;
    service_stop(c->service, 0, stopped, c);
}

static void on_ended(struct main_task *task) {
    struct cli *c = of_ended(task);
    c->over = true;
    stop_when_over(c);
}

static void on_started(struct main_task *task) {
    struct cli *c = of_started(task);
    if (c->err.code != 0) {
        fprintf(stderr, "mica: the command line does not start: %s\n", c->err.text);
        c->native.code = 1;
        main_loop_stop(&c->parts.main);
        return;
    }
    c->up = true;
    stop_when_over(c);
}

static void on_interrupt(uv_signal_t *signal, int number) {
    struct cli *c = signal->data;
    (void)number;
    if (c->over || atomic_exchange(&c->native.over, true)) _exit(INTERRUPTED);
    c->native.code = INTERRUPTED;
    c->over = true;
    stop_when_over(c);
}

// ---- from workers
static void started(void *user, struct service *service, int status, const char *text) {
    struct cli *c = user;
    c->service = service;
    if (status < 0) err_set(&c->err, (enum status) - status, "%s", text);
    c->started_task.run = on_started;
    main_loop_post(&c->parts.main, &c->started_task);
}

static void ended(void *user) {
    struct cli *c = user;
    c->ended_task.run = on_ended;
    main_loop_post(&c->parts.main, &c->ended_task);
}

// ---- the source

#define FOLDER "lua/cli/"

static int add_file(struct source *s, const struct embedded_file *file) {
    struct source_file *f = &s->files[s->file_count];
    struct str path = str_of(file->path + strlen(FOLDER));
    char *copy = strndup(path.p, path.n);
    if (copy == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    *f = (struct source_file){.path = {copy, path.n}, .content = blob_new(file->bytes, file->n)};
    s->file_count++;
    return f->content == NULL ? -STATUS_RESOURCE_EXHAUSTED : 0;
}

// The files of lua/cli/, which are embedded in the order of their paths; no contract of its own.
static struct source *cli_source(struct pb_pool *platform, struct err *err) {
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL) goto fail;
    atomic_init(&s->refs, 1);
    s->name = strdup("cli");
    s->pool = pb_pool_hold(platform);
    s->files = calloc(EMBEDDED_COUNT, sizeof *s->files);
    if (s->name == NULL || s->files == NULL) goto fail;
    for (size_t i = 0; i < EMBEDDED_COUNT; i++) {
        bool ours = strncmp(EMBEDDED_FILES[i].path, FOLDER, strlen(FOLDER)) == 0;
        if (ours && add_file(s, &EMBEDDED_FILES[i]) < 0) goto fail;
    }
    return s;
fail:
    if (s != NULL) source_drop(s);
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
}

// ---- boot
static int boot(struct cli *c, struct err *err) {
    static const char *const CAPABILITIES[] = {"cli", "files", "build", NULL};
    natives_add(&c->parts.natives, &NATIVE_CLI, &c->native);
    natives_add(&c->parts.natives, &NATIVE_FILES, &c->parts.main);
    natives_add(&c->parts.natives, &NATIVE_BUILD, &c->deploy);
    struct source *source = cli_source(c->parts.platform, err);
    if (source == NULL) return -(int)err->code;
    struct service_config config = {.ns = "",
                                    .name = "cli",
                                    .version = MICA_VERSION,
                                    .instances = 1,
                                    .source = source,
                                    .limits = {.memory = MEMORY},
                                    .natives = CAPABILITIES,
                                    .host = &c->parts.host,
                                    .sched = c->parts.sched};
    struct service *s = service_start(&config, started, c, err);
    source_drop(source);
    return s == NULL ? -(int)err->code : 0;
}

int cli_run(int argc, char **argv, struct server_options *options, bool *serve) {
    struct err err = {0};
    struct cli *c = calloc(1, sizeof *c);
    log_set_level(LOG_WARN);
    *serve = false;
    if (c == NULL || parts_create(&c->parts, 1, 1, &err) < 0) {
        fprintf(stderr, "mica: %s\n", c == NULL ? "out of memory" : err.text);
        free(c);
        return 1;
    }
    c->native = (struct native_cli){.loop = &c->parts.main,
                                    .argc = argc > 0 ? argc - 1 : 0,
                                    .argv = argv + 1,
                                    .options = options,
                                    .ended = ended,
                                    .user = c,
                                    .reading = PTHREAD_MUTEX_INITIALIZER};
    deploy_create(&c->deploy, &c->parts.main, c->parts.sched, &c->parts.host, c->parts.directory);
    uv_signal_init(&c->parts.main.uv, &c->interrupt);
    c->interrupt.data = c;
    uv_signal_start(&c->interrupt, on_interrupt, SIGINT);
    if (boot(c, &err) == 0) {
        main_loop_run(&c->parts.main);
    } else {
        fprintf(stderr, "mica: the command line does not start: %s\n", err.text);
        c->native.code = 1;
    }
    uv_close((uv_handle_t *)&c->interrupt, NULL);
    parts_destroy(&c->parts);
    deploy_destroy(&c->deploy); // no job of the pool is left that could use it
    buf_free(&c->native.input);
    int code = c->native.code;
    *serve = c->native.serve;
    free(c);
    return code;
}
