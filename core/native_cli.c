// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Cli. Writing happens on the worker that runs the command line's VM, the only one of
// the process: it may block on a slow terminal or pipe, and then there is nothing else to do. Reading
// standard input waits in the main loop's pool; what was read beyond a line is kept for the next
// request.
#include "native_cli.h"

#include "native.h"

#include <errno.h>
#include <mica/core/v1/core.pb-c.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define MOST_INPUT (64u << 20)

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

static ProtobufCBinaryData *argument_list(const struct native_cli *c) {
    ProtobufCBinaryData *list = calloc((size_t)c->argc + 1, sizeof *list);
    for (int i = 0; list != NULL && i < c->argc; i++)
        list[i] = (ProtobufCBinaryData){strlen(c->argv[i]), (uint8_t *)c->argv[i]};
    return list;
}

static void arguments(void *context, struct message *request) {
    struct native_cli *c = context;
    Mica__Core__V1__ArgumentsResponse out = MICA__CORE__V1__ARGUMENTS_RESPONSE__INIT;
    struct environment environment;
    char *folder = getcwd(NULL, 0);
    bool ok = environment_read(&environment);
    out.arguments = argument_list(c);
    ok = ok && out.arguments != NULL;
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
    free(out.arguments);
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

// The command line is over: true when this is the first to say so. The caller sets the outcome, then
// calls `ended`.
static bool finish(struct native_cli *c) { return !atomic_exchange(&c->over, true); }

// 0 or an errno. Once it is over nothing is written: nobody wants to read that an interrupt has
// cancelled something.
static int write_stream(struct native_cli *c, uint32_t stream, ProtobufCBinaryData data) {
    if (stream != STDOUT_FILENO && stream != STDERR_FILENO) return EBADF;
    if (atomic_load(&c->over)) return 0;
    int error = write_all((int)stream, data.data, data.len);
    if (error != EPIPE) return error;
    // As in `mica ... | head`: who reads has had enough, and that is no fault.
    if (finish(c)) c->ended(c->user);
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
    struct native_cli *cli;
    struct message *request;
};

// Waits for more input; 0, an errno, or EINTR when the command line is over: nobody waits for the
// answer then, and the process must not wait for a terminal.
static int fill(struct native_cli *c, bool *end) {
    struct pollfd terminal = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&terminal, 1, 50) == 0) {
        if (atomic_load(&c->over)) return EINTR;
    }
    if (c->input.n > MOST_INPUT || !buf_reserve(&c->input, 65536)) return EFBIG;
    ssize_t n = read(STDIN_FILENO, buf_p(&c->input) + c->input.n, 65536);
    if (n < 0 && errno != EINTR && errno != EAGAIN) return errno;
    if (n > 0) c->input.n += (size_t)n;
    *end = n == 0;
    return 0;
}

// How much of the input answers the request: a line, or all of it.
static int gather(struct native_cli *c, bool line, size_t *n) {
    bool end = false;
    size_t seen = 0;
    for (;;) {
        char *p = buf_p(&c->input);
        char *mark = line && c->input.n > seen ? memchr(p + seen, '\n', c->input.n - seen) : NULL;
        *n = mark == NULL ? c->input.n : (size_t)(mark - p) + 1;
        if (mark != NULL || end) return 0;
        seen = c->input.n;
        int error = fill(c, &end);
        if (error != 0) return error;
    }
}

static bool hide(struct termios *before) {
    if (tcgetattr(STDIN_FILENO, before) < 0) return false;
    struct termios hidden = *before;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0; // FLUSH: what was shown is not taken
}

static void answer_input(struct native_cli *c, struct message *request, int error, size_t n) {
    Mica__Core__V1__ReadInputResponse out = MICA__CORE__V1__READ_INPUT_RESPONSE__INIT;
    out.data.data = (uint8_t *)buf_p(&c->input);
    out.data.len = n;
    if (error == EFBIG) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "the input is longer than 64 MB");
    } else if (error != 0) {
        message_refuse(request, STATUS_UNKNOWN, strerror(error));
    } else {
        native_answer(request, &out.base);
        c->input.n -= n;
        if (n > 0) memmove(buf_p(&c->input), buf_p(&c->input) + n, c->input.n);
    }
}

static void read_some(struct main_work *work) {
    struct reading *r = (struct reading *)work;
    struct native_cli *c = r->cli;
    struct termios before;
    size_t n = 0;
    Mica__Core__V1__ReadInputRequest *in =
        native_read(r->request, &mica__core__v1__read_input_request__descriptor);
    if (in == NULL) return;
    pthread_mutex_lock(&c->reading);
    bool hidden = in->hidden && hide(&before); // before the prompt asks for it
    int error = write_all(STDERR_FILENO, (const uint8_t *)in->prompt, strlen(in->prompt));
    if (error == 0) error = gather(c, in->line, &n);
    if (hidden) tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    answer_input(c, r->request, error, n);
    pthread_mutex_unlock(&c->reading);
    protobuf_c_message_free_unpacked(&in->base, NULL);
}

static void free_reading(struct main_work *work) { free(work); }

static void read_input(void *context, struct message *request) {
    struct native_cli *c = context;
    struct reading *r = calloc(1, sizeof *r);
    if (r == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    r->work.run = read_some;
    r->work.done = free_reading;
    r->cli = c;
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

static struct server_limits copy_limits(const Mica__Core__V1__DoorLimits *in) {
    return (struct server_limits){.message = in->message,
                                  .request_body = in->request_body,
                                  .metadata = in->metadata,
                                  .streams = in->streams,
                                  .connections = in->connections,
                                  .idle = in->idle,
                                  .age = in->age,
                                  .age_grace = in->age_grace,
                                  .ping_interval = in->ping_interval,
                                  .ping_timeout = in->ping_timeout,
                                  .head = in->head,
                                  .body = in->body,
                                  .headers = in->headers,
                                  .compress = in->compress,
                                  .heartbeat = in->heartbeat};
}

// Copies a list of texts; what was copied before memory ended is there too.
static bool copy_texts(char ***to, size_t *count, char *const *texts, size_t n) {
    *to = calloc(n + 1, sizeof **to);
    if (*to == NULL) return false;
    while (*count < n) {
        char *copy = strdup(texts[*count]);
        if (copy == NULL) return false;
        (*to)[(*count)++] = copy;
    }
    return true;
}

static bool copy_options(struct server_options *o, const Mica__Core__V1__ServeRequest *in) {
    *o = (struct server_options){.data = strdup(in->data),
                                 .api = strdup(in->api),
                                 .proxy = strdup(in->proxy),
                                 .log_level = strdup(in->log_level),
                                 .io = in->io,
                                 .workers = in->workers,
                                 .insecure = in->insecure,
                                 .tls_cert = strdup(in->tls_cert),
                                 .tls_key = strdup(in->tls_key),
                                 .tls_client_ca = strdup(in->tls_client_ca),
                                 .access_log = strdup(in->access_log),
                                 .access_json = strcmp(in->access_log_format, "json") == 0,
                                 .limits = copy_limits(in->limits)};
    bool ok = o->data != NULL && o->api != NULL && o->proxy != NULL && o->log_level != NULL &&
              o->access_log != NULL && o->tls_cert != NULL && o->tls_key != NULL &&
              o->tls_client_ca != NULL && copy_texts(&o->run, &o->run_count, in->run, in->n_run);
    if (ok && in->cors != NULL)
        ok = copy_texts(&o->origins, &o->origin_count, in->cors->origins, in->cors->n_origins);
    if (!ok) server_options_free(o);
    return ok;
}

static void serve(void *context, struct message *request) {
    struct native_cli *c = context;
    Mica__Core__V1__ServeRequest *in =
        native_read(request, &mica__core__v1__serve_request__descriptor);
    if (in == NULL) return;
    if (in->limits == NULL) {
        protobuf_c_message_free_unpacked(&in->base, NULL);
        message_refuse(request, STATUS_INVALID_ARGUMENT, "limits are needed");
        return;
    }
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
