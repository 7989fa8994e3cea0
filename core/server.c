// SPDX-License-Identifier: Apache-2.0
// The life of a server, on the main thread:
//
//   check options -> lock the data folder -> storage -> parts -> bind both doors -> platform services
//   -> runtime runs what was asked for -> ready: the doors accept, one line on standard output
//   -> a signal: stop accepting, shut connections down gracefully, wait until peers have noticed (NOTICE at most) and for
//   calls (DRAIN at most)
//   -> users' services stop -> platform services stop -> parts end -> storage -> exit
//
// The doors are bound early, so that an address in use is found before anything has run, and accept
// late, so that the first connection finds everything. A fault at start is one line on standard
// error and exit code 1; it takes the same way out. A second signal ends the process at once.
//
// All functions here run on the main thread; what other threads report (ready, closed) is posted.
#include "server.h"

#include "base/clock.h"
#include "base/log.h"
#include "deploy.h"
#include "native_logs.h"
#include "native_system.h"
#include "net/conn.h"
#include "parts.h"
#include "platform.h"
#include "rpc/access_log.h"
#include "server_metrics.h"
#include "store/data_folder.h"
#include "tls_files.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAIN (10 * NS_PER_SECOND)
#define LOOK_EVERY 10 // milliseconds, while calls drain
// How long peers have to take notice that we go: what they send until then is still served.
#define NOTICE NS_PER_SECOND

struct farewell { // tells a loop to shut its connections down
    struct loop_task task;
    struct loop *loop;
};

struct server {
    const struct server_options *options;
    struct data_folder data;
    struct native_system system;
    struct native_logs logs;
    struct parts parts;
    struct deploy deploy;
    struct platform platform;
    struct native_routes routes;
    struct native_outside outside;
    struct native_server native;
    struct tls_files tls;
    struct server_acme acme;
    struct native_health health;
    struct access_log *access; // NULL: none is kept
    struct server_metrics metrics;
    struct door doors[2];
    struct acceptor *acceptors[2];
    uv_signal_t signals[2];
    uv_signal_t hangup; // only with an access log in a file
    uv_timer_t drain;
    int64_t drain_until, notice_until;
    struct farewell *farewells;
    char gateway[128]; // its URL; the acceptor closes before who has been told
    struct main_task ready_task, closed_task, stop_task;
    atomic_bool asked; // to stop, by runtime
    atomic_bool told;  // runtime has said that it is ready, or not
    char fault[1000];  // why it is not
    bool platform_up;  // or has failed
    bool ready_said;
    bool accepting;
    bool stopping;
    int code;
};

static const char *const DOOR_FLAGS[2] = {"--api", "--proxy"};

static void begin_stop(struct server *s);

// The one line that says why the server does not start.
static int complain(const char *text) {
    fprintf(stderr, "mica: %s\n", text);
    return 1;
}

// ---- options
static const char *address_of(const struct server_options *o, int door) {
    return door == 0 ? o->api : o->proxy;
}

static int check_options(const struct server_options *o, struct err *err) {
    bool sealed = o->tls_cert[0] != '\0' || server_acme_wanted(&o->acme);
    for (int door = 0; door < 2 && !o->insecure && !sealed; door++) {
        struct err why = {0};
        const char *address = address_of(o, door);
        if (address_is_loopback(address, &why)) continue;
        if (why.code != 0)
            return err_set(err, why.code, "%s %s: %.400s", DOOR_FLAGS[door], address, why.text);
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "%s %s listens beyond this machine without encryption: give --tls-cert and "
                       "--tls-key, or --acme-host, or add --insecure if you mean it",
                       DOOR_FLAGS[door], address);
    }
    int level = log_level_parse(o->log_level);
    if (level < 0)
        return err_set(err, STATUS_INVALID_ARGUMENT, "--log-level: unknown level \"%s\"",
                       o->log_level);
    log_set_level((enum log_level)level);
    return 0;
}

// ---- ready
static void go(struct server *s) {
    if (!s->platform_up || !s->ready_said || s->stopping) return;
    for (int door = 0; door < 2; door++) acceptor_start(s->acceptors[door]);
    s->accepting = true;
    printf("mica ready: api=%s proxy=%s\n", s->gateway, acceptor_address(s->acceptors[1]));
    fflush(stdout);
}

static void on_ready(struct main_task *task) {
    struct server *s = (struct server *)((char *)task - offsetof(struct server, ready_task));
    s->ready_said = true;
    if (s->fault[0] != '\0') {
        if (!s->stopping) s->code = complain(s->fault);
        begin_stop(s);
    } else {
        go(s);
    }
}

// From a worker.
static void ready(void *user, const char *fault) {
    struct server *s = user;
    if (atomic_exchange(&s->told, true)) return; // it is said once
    snprintf(s->fault, sizeof s->fault, "%s", fault);
    for (char *p = s->fault; *p != '\0'; p++) {
        if (*p == '\n') *p = ' '; // one line
    }
    s->ready_task.run = on_ready;
    main_loop_post(&s->parts.main, &s->ready_task);
}

// ---- stop
static void platform_stopped(void *user, const struct err *err) {
    struct server *s = user;
    (void)err;
    main_loop_stop(&s->parts.main);
}

static void on_users_gone(struct main_task *task) {
    struct server *s = (struct server *)((char *)task - offsetof(struct server, closed_task));
    platform_stop(&s->platform, platform_stopped, s);
}

static void users_gone(void *user) { // any thread
    struct server *s = user;
    s->closed_task.run = on_users_gone;
    main_loop_post(&s->parts.main, &s->closed_task);
}

// Is there a peer that may not know yet that we go, and send a call that it does not expect to be refused?
static bool unnoticed(const struct server *s) {
    size_t connections = 0;
    for (unsigned i = 0; i < s->parts.loop_count; i++)
        connections += loop_open_connections(&s->parts.loops[i]);
    return connections > 0 && clock_now() < s->notice_until;
}

static void on_drain(uv_timer_t *timer) {
    struct server *s = timer->data;
    int64_t left = s->drain_until - clock_now();
    size_t open = rpc_open_calls(s->parts.rpc);
    if (left > 0 && (open > 0 || unnoticed(s))) return;
    uv_timer_stop(timer);
    if (open > 0)
        log_printf(LOG_WARN, "server", "%zu calls are cut off: they took too long to finish", open);
    deploy_close(&s->deploy, left > 0 ? left : 0, users_gone, s);
}

static void say_farewell(struct loop *loop, struct loop_task *task) {
    (void)task;
    loop_shutdown_connections(loop);
}

static void drain_connections(struct server *s) {
    s->farewells = calloc(s->parts.loop_count, sizeof *s->farewells);
    for (unsigned i = 0; s->farewells != NULL && i < s->parts.loop_count; i++) {
        s->farewells[i].task.run = say_farewell;
        loop_post(&s->parts.loops[i], &s->farewells[i].task);
    }
}

static void begin_stop(struct server *s) {
    if (s->stopping) return;
    s->stopping = true;
    native_server_stopping(&s->native);
    for (int door = 0; door < 2; door++) {
        acceptor_close(s->acceptors[door]);
        s->acceptors[door] = NULL;
    }
    server_acme_unbind(&s->acme);
    if (!s->platform_up) return; // on_platform goes on, it will be soon
    drain_connections(s);
    s->drain_until = clock_now() + DRAIN;
    s->notice_until = clock_now() + NOTICE;
    uv_timer_start(&s->drain, on_drain, 0, LOOK_EVERY);
}

static void on_platform(void *user, const struct err *err) {
    struct server *s = user;
    s->platform_up = true;
    if (err->code != 0 && !s->stopping) s->code = complain(err->text);
    if (err->code == 0 && !s->stopping) {
        go(s);
        return;
    }
    if (!s->stopping)
        begin_stop(s);
    else
        uv_timer_start(&s->drain, on_drain, 0, LOOK_EVERY);
}

static void on_stop_asked(struct main_task *task) {
    struct server *s = (struct server *)((char *)task - offsetof(struct server, stop_task));
    log_printf(LOG_INFO, "server", "stopping (an administrator asked for it)");
    begin_stop(s);
}

static void stop_asked(void *user) { // any thread
    struct server *s = user;
    if (atomic_exchange(&s->asked, true)) return; // it is posted once
    s->stop_task.run = on_stop_asked;
    main_loop_post(&s->parts.main, &s->stop_task);
}

static void on_signal(uv_signal_t *signal, int number) {
    struct server *s = signal->data;
    if (s->stopping) _exit(1); // asked twice: whoever asks has waited long enough
    log_printf(LOG_INFO, "server", "stopping (%s)", number == SIGINT ? "SIGINT" : "SIGTERM");
    begin_stop(s);
}

// ---- start
static int bind_door(struct server *s, int door, struct err *err) {
    struct err why = {0};
    const char *address = address_of(s->options, door);
    s->acceptors[door] = acceptor_new(&s->parts.main.uv, address, &s->doors[door], s->parts.loops,
                                      s->parts.loop_count, &why);
    if (s->acceptors[door] != NULL) return 0;
    if (why.code == STATUS_ALREADY_EXISTS)
        snprintf(why.text, sizeof why.text,
                 "the address is in use; stop the other program or choose another port");
    return err_set(err, why.code, "cannot listen on %s (%s): %.400s", address, DOOR_FLAGS[door],
                   why.text);
}

static int bind_acme(struct server *s, struct err *err) {
    return server_acme_bind(&s->acme, &s->parts.main, s->parts.loops, s->parts.loop_count,
                            acceptor_address(s->acceptors[0]), err);
}

static unsigned cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

static int64_t nanoseconds(double seconds) { return (int64_t)(seconds * NS_PER_SECOND); }

static void limit_door(struct door *door, const struct server_limits *l) {
    door->limits.header_bytes = l->metadata;
    door->limits.streams = l->streams;
    door->limits.fields = l->headers;
    if (door->limits.compress_min > 0) door->limits.compress_min = l->compress; // the api door's
    door->head_timeout = nanoseconds(l->head);
    door->body_timeout = nanoseconds(l->body);
    door->max_connections = l->connections;
    door->idle_timeout = nanoseconds(l->idle);
    door->max_age = nanoseconds(l->age);
    door->age_grace = nanoseconds(l->age_grace);
    door->ping_interval = nanoseconds(l->ping_interval);
    door->ping_timeout = nanoseconds(l->ping_timeout);
}

static unsigned io_loops(const struct server_options *o) {
    return o->io != 0 ? o->io : cores() / 4 > 0 ? cores() / 4 : 1;
}

static int open_access_log(struct server *s, struct err *err) {
    const struct server_options *o = s->options;
    if (o->access_log[0] == '\0') return 0;
    s->access = access_log_open(o->access_log, o->access_json ? ACCESS_JSON : ACCESS_COMBINED,
                                io_loops(o), err);
    return s->access == NULL ? -(int)err->code : 0;
}

static int make_parts(struct server *s, struct err *err) {
    const struct server_options *o = s->options;
    unsigned workers = o->workers != 0 ? o->workers : cores();
    int rc = parts_create(&s->parts, io_loops(o), workers, err);
    if (rc < 0) return rc;
    struct parts *p = &s->parts;
    deploy_create(&s->deploy, &p->main, p->sched, &p->host, p->directory);
    s->deploy.blobs = s->system.blobs;
    s->routes = (struct native_routes){p->directory, p->api, p->proxy, p->rpc};
    s->outside = (struct native_outside){&s->deploy, p->rpc, p->platform};
    platform_choose(&s->platform, server_acme_wanted(&o->acme));
    s->native = (struct native_server){.run = (const char *const *)o->run,
                                       .run_count = o->run_count,
                                       .platform = s->platform.names,
                                       .platform_count = s->platform.count,
                                       .api = s->gateway,
                                       .ready = ready,
                                       .stop = stop_asked,
                                       .user = s};
    s->health = (struct native_health){&s->deploy, &s->native};
    rpc_serve_health(p->rpc, native_health_ready, &s->health);
    rpc_log_access(p->rpc, s->access);
    natives_add(&p->natives, &NATIVE_ROUTES, &s->routes);
    natives_add(&p->natives, &NATIVE_DEPLOY, &s->deploy);
    natives_add(&p->natives, &NATIVE_CONTRACTS, &s->deploy);
    natives_add(&p->natives, &NATIVE_OUTSIDE, &s->outside);
    natives_add(&p->natives, &NATIVE_SERVER, &s->native);
    natives_add(&p->natives, &NATIVE_HEALTH, &s->health);
    natives_add(&p->natives, &NATIVE_CRYPTO, &p->main);
    natives_add(&p->natives, &NATIVE_SYSTEM, &s->system);
    natives_add(&p->natives, &NATIVE_BLOBS, &s->system);
    natives_add(&p->natives, &NATIVE_LOGS, &s->logs);
    s->logs.loop = &p->main;
    if (server_acme_wanted(&o->acme)) {
        natives_add(&p->natives, &NATIVE_FETCH, s->acme.fetch);
        natives_add(&p->natives, &NATIVE_KEYS, &s->acme.store);
        natives_add(&p->natives, &NATIVE_ACME, &s->acme);
    }
    server_metrics_create(&s->metrics, p, &s->deploy, &s->tls);
    s->doors[0] = rpc_door_api(p->rpc);
    s->doors[1] = rpc_door_proxy(p->rpc);
    if (s->tls.context != NULL) s->doors[0].tls = s->doors[1].tls = &s->tls.context;
    rpc_limit_messages(p->rpc, o->limits.message);
    rpc_heartbeat(p->rpc, nanoseconds(o->limits.heartbeat));
    if (!rpc_allow_origins(p->rpc, (const char *const *)o->origins, o->origin_count))
        return err_set(err, STATUS_RESOURCE_EXHAUSTED, "no memory for the origins");
    p->host.max_body = o->limits.request_body;
    for (int door = 0; door < 2; door++) limit_door(&s->doors[door], &o->limits);
    return 0;
}

static int open_tls(struct server *s, struct err *err) {
    const struct server_options *o = s->options;
    if (o->tls_cert[0] == '\0') return 0;
    return tls_files_open(&s->tls, o->tls_cert, o->tls_key, o->tls_client_ca, NULL, err);
}

static int open_acme(struct server *s, struct err *err) {
    const struct server_options *o = s->options;
    return server_acme_open(&s->acme, &o->acme, s->data.path, &s->tls, o->tls_client_ca, err);
}

// What is kept in the data folder. From here on the log is kept too.
static int open_storage(struct server *s, struct err *err) {
    struct buf path = {0};
    int rc = data_folder_open(&s->data, s->options->data, err);
    if (rc == 0) rc = native_system_open(&s->system, s->data.path, err);
    if (rc < 0) return rc;
    buf_printf(&path, "%s/logs", s->data.path);
    struct log_files_options options = {.folder = buf_cstr(&path)};
    s->logs.files = log_files_open(&options, err);
    buf_free(&path);
    if (s->logs.files == NULL) return -(int)err->code;
    log_set_sink(log_files_sink(s->logs.files));
    return 0;
}

// Nobody else runs any more. What is queued is written first; also after an open_storage that
// failed.
static void close_storage(struct server *s) {
    native_system_close(&s->system);
    log_set_sink(NULL);
    log_files_close(s->logs.files);
    data_folder_close(&s->data);
}

// SIGHUP without an access log ends the process, as ever.
static void on_hangup(uv_signal_t *signal, int number) {
    (void)number;
    access_log_reopen(((struct server *)signal->data)->access);
}

static void watch_signals(struct server *s) {
    static const int NUMBERS[2] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&s->parts.main.uv, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, NUMBERS[i]);
    }
    uv_signal_init(&s->parts.main.uv, &s->hangup);
    s->hangup.data = s;
    if (s->access != NULL) uv_signal_start(&s->hangup, on_hangup, SIGHUP);
    uv_timer_init(&s->parts.main.uv, &s->drain);
    s->drain.data = s;
    native_system_watch(&s->system, &s->parts.main);
    tls_files_watch(&s->tls, &s->parts.main.uv);
}

static void unwatch_signals(struct server *s) {
    for (int i = 0; i < 2; i++) uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->hangup, NULL);
    uv_close((uv_handle_t *)&s->drain, NULL);
    native_system_unwatch(&s->system);
    tls_files_unwatch(&s->tls);
}

int server_run(const struct server_options *options) {
    struct server *s = calloc(1, sizeof *s);
    struct err err = {0};
    if (s == NULL) return complain("out of memory");
    s->options = options;
    s->data.lock = -1;
    if (check_options(options, &err) < 0 || open_tls(s, &err) < 0 || open_storage(s, &err) < 0 ||
        open_acme(s, &err) < 0 || open_access_log(s, &err) < 0 || make_parts(s, &err) < 0) {
        server_acme_close(&s->acme);
        access_log_close(s->access);
        close_storage(s);
        tls_files_close(&s->tls);
        free(s);
        return complain(err.text);
    }
    if (bind_door(s, 0, &err) == 0 && bind_door(s, 1, &err) == 0 && bind_acme(s, &err) == 0) {
        watch_signals(s);
        snprintf(s->gateway, sizeof s->gateway, "http%s://%s", s->tls.context == NULL ? "" : "s",
                 acceptor_address(s->acceptors[0]));
        platform_start(&s->platform, &s->parts, on_platform, s);
        main_loop_run(&s->parts.main);
        unwatch_signals(s);
    } else {
        for (int door = 0; door < 2; door++) acceptor_close(s->acceptors[door]);
        s->code = complain(err.text);
    }
    int code = s->code;
    server_acme_unfetch(&s->acme);
    server_metrics_close(&s->metrics);
    parts_destroy(&s->parts);
    access_log_close(s->access);
    server_metrics_destroy(&s->metrics);
    deploy_destroy(&s->deploy);
    close_storage(s);
    tls_files_close(&s->tls);
    server_acme_close(&s->acme);
    free(s->farewells);
    free(s);
    return code;
}

void server_options_free(struct server_options *o) {
    for (size_t i = 0; i < o->run_count; i++) free(o->run[i]);
    free(o->run);
    for (size_t i = 0; i < o->origin_count; i++) free(o->origins[i]);
    free(o->origins);
    free(o->data);
    free(o->api);
    free(o->proxy);
    free(o->log_level);
    free(o->access_log);
    free(o->tls_cert);
    free(o->tls_key);
    free(o->tls_client_ca);
    server_acme_options_free(&o->acme);
    *o = (struct server_options){0};
}
