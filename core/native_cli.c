// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Cli. Writing happens on the worker that runs the command line's VM, the only one of the process: it may block on
// a slow terminal or pipe, and then there is nothing else to do. Reading standard input waits in the main loop's pool.
#include "native_cli.h"

#include "native.h"

#include <errno.h>
#include <mica/core/v1/core.pb-c.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_INPUT (64u << 20)

extern char **environ;

// ---- Arguments
typedef Mica__Core__V1__ArgumentsResponse__EnvironmentEntry Variable;

static bool is_ours(const char *variable) {
    return strncmp(variable, "MICA_", 5) == 0 || strncmp(variable, "HOME=", 5) == 0 ||
           strncmp(variable, "XDG_CONFIG_HOME=", 16) == 0 || strncmp(variable, "NO_COLOR=", 9) == 0;
}

struct environment {
    Variable *variables;
    Variable **list;
    size_t count;
};

static void environment_free(struct environment *e) {
    for (size_t i = 0; i < e->count; i++) free(e->variables[i].key);
    free(e->variables);
    free(e->list);
}

static bool environment_read(struct environment *e) {
    size_t n = 0;
    while (environ[n] != NULL) n++;
    *e = (struct environment){.variables = calloc(n + 1, sizeof *e->variables),
                              .list = calloc(n + 1, sizeof(Variable *))};
    if (e->variables == NULL || e->list == NULL) return false;
    for (char **v = environ; *v != NULL; v++) {
        char *mark = strchr(*v, '=');
        if (mark == NULL || !is_ours(*v)) continue;
        Variable *variable = &e->variables[e->count];
        *variable = (Variable)MICA__CORE__V1__ARGUMENTS_RESPONSE__ENVIRONMENT_ENTRY__INIT;
        variable->key = strndup(*v, (size_t)(mark - *v));
        variable->value = mark + 1;
        if (variable->key == NULL) return false;
        e->list[e->count++] = variable;
    }
    return true;
}

static void arguments(void *context, struct message *request) {
    struct native_cli *c = context;
    Mica__Core__V1__ArgumentsResponse out = MICA__CORE__V1__ARGUMENTS_RESPONSE__INIT;
    struct environment environment;
    char *folder = getcwd(NULL, 0);
    bool ok = environment_read(&environment);
    out.arguments = c->argv;
    out.n_arguments = (size_t)c->argc;
    out.environment = environment.list;
    out.n_environment = environment.count;
    out.folder = folder == NULL ? (char *)"/" : folder; // the present folder has been deleted
    out.input_is_terminal = isatty(STDIN_FILENO) != 0;
    out.output_is_terminal = isatty(STDOUT_FILENO) != 0;
    out.error_is_terminal = isatty(STDERR_FILENO) != 0;
    if (ok) {
        native_answer(request, &out.base);
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    environment_free(&environment);
    free(folder);
}

// ---- Write and ReadInput
// 0 or an errno.
static int write_all(int fd, const uint8_t *p, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        } else if (errno == EAGAIN) { // somebody has made the terminal non-blocking
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

// The command line is over: true when this is the first to say so. The caller sets the outcome, then calls `ended`.
static bool finish(struct native_cli *c) { return !atomic_exchange(&c->over, true); }

// 0 or an errno. Once it is over nothing is written: nobody wants to read that an interrupt has cancelled something.
static int write_stream(struct native_cli *c, uint32_t stream, ProtobufCBinaryData data) {
    if (stream != STDOUT_FILENO && stream != STDERR_FILENO) return EBADF;
    if (atomic_load(&c->over)) return 0;
    int error = write_all((int)stream, data.data, data.len);
    if (error != EPIPE) return error;
    if (finish(c))
        c->ended(
            c->user); // as in `mica ... | head`: who reads has had enough, and that is no fault
    return 0;
}

static void write_out(void *context, struct message *request) {
    Mica__Core__V1__WriteRequest *in =
        native_read(request, &mica__core__v1__write_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__WriteResponse out = MICA__CORE__V1__WRITE_RESPONSE__INIT;
    int error = write_stream(context, in->stream, in->data);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (error == 0) {
        native_answer(request, &out.base);
        return;
    }
    struct err err;
    err_set(&err, STATUS_DATA_LOSS, "cannot write the output: %s", strerror(error));
    native_fail(request, &err);
}

struct reading {
    struct main_work work; // first
    struct message *request;
};

static void read_all(struct main_work *work) {
    struct message *request = ((struct reading *)work)->request;
    Mica__Core__V1__ReadInputResponse out = MICA__CORE__V1__READ_INPUT_RESPONSE__INIT;
    struct buf input = {0};
    ssize_t n = 1;
    while (n > 0 && input.n <= MOST_INPUT && buf_reserve(&input, 65536)) {
        n = read(STDIN_FILENO, buf_p(&input) + input.n, 65536);
        if (n > 0) input.n += (size_t)n;
        if (n < 0 && errno == EINTR) n = 1;
    }
    out.data.data = (uint8_t *)buf_p(&input);
    out.data.len = input.n;
    if (n == 0) {
        native_answer(request, &out.base);
    } else if (n < 0) {
        message_refuse(request, STATUS_UNAVAILABLE, strerror(errno));
    } else {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "the input is longer than 64 MB");
    }
    buf_free(&input);
}

static void free_reading(struct main_work *work) { free(work); }

static void read_input(void *context, struct message *request) {
    struct native_cli *c = context;
    struct reading *r = calloc(1, sizeof *r);
    if (r == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    r->work.run = read_all;
    r->work.done = free_reading;
    r->request = request;
    main_loop_work(c->loop, &r->work);
}

// ---- Exit and Serve
static void leave(void *context, struct message *request) {
    struct native_cli *c = context;
    Mica__Core__V1__ExitRequest *in =
        native_read(request, &mica__core__v1__exit_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__ExitResponse out = MICA__CORE__V1__EXIT_RESPONSE__INIT;
    bool first = finish(c);
    if (first) c->code = (int)(in->code & 0xFF);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    native_answer(request, &out.base);
    if (first) c->ended(c->user);
}

static bool copy_options(struct server_options *o, const Mica__Core__V1__ServeRequest *in) {
    *o = (struct server_options){.data = strdup(in->data),
                                 .api = strdup(in->api),
                                 .proxy = strdup(in->proxy),
                                 .log_level = strdup(in->log_level),
                                 .io = in->io,
                                 .workers = in->workers,
                                 .run = calloc(in->n_run + 1, sizeof *o->run),
                                 .insecure = in->insecure};
    bool ok = o->data != NULL && o->api != NULL && o->proxy != NULL && o->log_level != NULL &&
              o->run != NULL;
    while (ok && o->run_count < in->n_run) {
        o->run[o->run_count] = strdup(in->run[o->run_count]);
        ok = o->run[o->run_count] != NULL;
        if (ok) o->run_count++;
    }
    if (!ok) server_options_free(o);
    return ok;
}

static void serve(void *context, struct message *request) {
    struct native_cli *c = context;
    Mica__Core__V1__ServeRequest *in =
        native_read(request, &mica__core__v1__serve_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__ServeResponse out = MICA__CORE__V1__SERVE_RESPONSE__INIT;
    bool first = finish(c);
    bool failed = first && !copy_options(c->options, in);
    if (first) c->serve = !failed;
    protobuf_c_message_free_unpacked(&in->base, NULL);
    if (failed) {
        c->code = 1;
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        native_answer(request, &out.base);
    }
    if (first) c->ended(c->user);
}

static const struct native_method METHODS[] = {{"Arguments", arguments},
                                               {"Write", write_out},
                                               {"ReadInput", read_input},
                                               {"Exit", leave},
                                               {"Serve", serve}};
const struct native_service NATIVE_CLI = {"cli", "mica.core.v1.Cli", METHODS, 5};
