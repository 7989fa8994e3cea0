// SPDX-License-Identifier: Apache-2.0
// The metrics page: what the doors count (rpc), what runs here, the threads, the process, the store, and what services count
// themselves.
//
// Everything is read while it goes on: from numbers that their owners write with relaxed stores, from counters of threads,
// from /proc. The list of services is copied under the deploy's lock, with references, and rendered without it.
//
// Labels of services are namespace, service and version, of their instances the number too. Two generations of a version that
// run side by side while one takes the other's place are one series.
#include "server_metrics.h"

#include "base/clock.h"
#include "base/counters.h"
#include "base/exposition.h"
#include "base/metrics.h"
#include "native.h"
#include "native_deploy.h"
#include "platform.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

// ---- what runs
struct row {
    char *labels;
    struct instance_counts n; // of an instance, or of all of a version
};

struct rows {
    struct row *list;
    size_t count, cap;
};

struct census {
    struct port **services; // held
    size_t count, cap;
    bool failed;
};

static void note_service(void *user, struct service *s) {
    struct census *c = user;
    if (c->count == c->cap) {
        size_t cap = c->cap == 0 ? 64 : 2 * c->cap;
        struct port **grown = realloc(c->services, cap * sizeof(struct port *));
        if (grown == NULL) {
            c->failed = true;
            return;
        }
        c->services = grown;
        c->cap = cap;
    }
    c->services[c->count++] = port_hold(service_port(s));
}

static void note_platform(struct deploy *d, struct census *c) {
    const struct str none = {"", 0};
    for (size_t i = 0; i < PLATFORM_COUNT; i++) {
        struct directory_entry entry;
        if (directory_look(d->directory, none, str_of(PLATFORM_NAMES[i]), none, &entry) < 0)
            continue;
        note_service(c, service_of_port(entry.port));
        port_drop(entry.port);
        pb_pool_drop(entry.pool);
    }
}

static void add_row(struct rows *rows, const struct buf *labels, const struct instance_counts *n,
                    bool *failed) {
    if (rows->count == rows->cap) {
        size_t cap = rows->cap == 0 ? 64 : 2 * rows->cap;
        struct row *grown = realloc(rows->list, cap * sizeof *grown);
        if (grown == NULL) {
            *failed = true;
            return;
        }
        rows->list = grown;
        rows->cap = cap;
    }
    char *text = labels->failed ? NULL : strndup(buf_str(labels).p, labels->n);
    if (text == NULL) {
        *failed = true;
        return;
    }
    rows->list[rows->count++] = (struct row){text, *n};
}

static void add_counts(struct instance_counts *to, const struct instance_counts *n) {
    to->serving = to->serving || n->serving;
    to->restarts += n->restarts;
    to->memory += n->memory;
    to->begun += n->begun;
    to->faults += n->faults;
    to->refused += n->refused;
    to->open += n->open;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) to->queue.buckets[i] += n->queue.buckets[i];
    to->queue.count += n->queue.count;
    to->queue.sum += n->queue.sum;
}

static void count_service(struct service *s, struct rows *instances, struct rows *services,
                          bool *failed) {
    struct buf labels = {0};
    struct instance_counts one, all = {0};
    exposition_label(&labels, "namespace", str_of(service_ns(s)));
    exposition_label(&labels, "service", str_of(service_name(s)));
    exposition_label(&labels, "version", str_of(service_version(s)));
    size_t n = labels.n;
    for (unsigned i = 0; service_count_instance(s, i, &one); i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        exposition_label(&labels, "instance", str_of(number));
        add_row(instances, &labels, &one, failed);
        labels.n = n;
        add_counts(&all, &one);
    }
    add_row(services, &labels, &all, failed);
    buf_free(&labels);
}

static int by_labels(const void *a, const void *b) {
    return strcmp(((const struct row *)a)->labels, ((const struct row *)b)->labels);
}

// In the order of labels, equal ones added up.
static void settle(struct rows *rows) {
    size_t kept = 0;
    if (rows->count > 0) qsort(rows->list, rows->count, sizeof *rows->list, by_labels);
    for (size_t i = 0; i < rows->count; i++) {
        if (kept > 0 && strcmp(rows->list[kept - 1].labels, rows->list[i].labels) == 0) {
            add_counts(&rows->list[kept - 1].n, &rows->list[i].n);
            free(rows->list[i].labels);
        } else {
            rows->list[kept++] = rows->list[i];
        }
    }
    rows->count = kept;
}

static void free_rows(struct rows *rows) {
    for (size_t i = 0; i < rows->count; i++) free(rows->list[i].labels);
    free(rows->list);
}

static double memory_of(const struct instance_counts *n) { return (double)n->memory; }
static double restarts_of(const struct instance_counts *n) { return n->restarts; }
static double serving_of(const struct instance_counts *n) { return n->serving; }
static double begun_of(const struct instance_counts *n) { return (double)n->begun; }
static double faults_of(const struct instance_counts *n) { return (double)n->faults; }
static double refused_of(const struct instance_counts *n) { return (double)n->refused; }
static double open_of(const struct instance_counts *n) { return (double)n->open; }

struct column {
    const char *name, *type, *help;
    double (*value)(const struct instance_counts *n);
};

static void put_columns(struct buf *out, const struct rows *rows, const struct column *columns,
                        size_t count) {
    for (size_t k = 0; k < count; k++) {
        exposition_family(out, columns[k].name, columns[k].type, columns[k].help);
        for (size_t i = 0; i < rows->count; i++)
            exposition_sample(out, columns[k].name, str_of(rows->list[i].labels),
                              columns[k].value(&rows->list[i].n));
    }
}

static void put_services(struct deploy *d, struct buf *out) {
    static const struct column INSTANCE[] = {
        {"mica_vm_memory_bytes", "gauge", "Memory of an instance's virtual machine.", memory_of},
        {"mica_vm_restarts_total", "counter", "How often its machine was replaced.", restarts_of},
        {"mica_vm_serving", "gauge", "1 while it answers calls.", serving_of}};
    static const struct column SERVICE[] = {
        {"mica_requests_total", "counter",
         "Requests that a service has begun, from the doors and from other services.", begun_of},
        {"mica_request_faults_total", "counter",
         "Of them, those that ended with a status that is the service's fault.", faults_of},
        {"mica_requests_refused_total", "counter",
         "Requests that were not taken: too many were waiting.", refused_of},
        {"mica_requests_open", "gauge", "Requests at work or waiting.", open_of}};
    struct census c = {0};
    struct rows instances = {0}, services = {0};
    deploy_each(d, note_service, &c);
    note_platform(d, &c);
    for (size_t i = 0; i < c.count; i++) {
        count_service(service_of_port(c.services[i]), &instances, &services, &c.failed);
        port_drop(c.services[i]);
    }
    settle(&instances);
    settle(&services);
    put_columns(out, &instances, INSTANCE, sizeof INSTANCE / sizeof INSTANCE[0]);
    put_columns(out, &services, SERVICE, sizeof SERVICE / sizeof SERVICE[0]);
    exposition_family(out, "mica_request_queue_seconds", "histogram",
                      "From the sending of a request to the moment when its service begins it.");
    for (size_t i = 0; i < services.count; i++)
        exposition_histogram(out, "mica_request_queue_seconds", str_of(services.list[i].labels),
                             &services.list[i].n.queue);
    out->failed = out->failed || c.failed;
    free_rows(&instances);
    free_rows(&services);
    free(c.services);
}

// ---- threads, messages, the store
static void put_threads(const struct parts *p, struct buf *out) {
    char labels[40];
    exposition_family(out, "mica_loop_cpu_seconds_total", "counter",
                      "CPU time of an I/O loop: its utilisation is this over time.");
    for (unsigned i = 0; i < p->loop_count; i++) {
        snprintf(labels, sizeof labels, "loop=\"%u\"", i);
        exposition_sample(out, "mica_loop_cpu_seconds_total", str_of(labels),
                          (double)loop_cpu(&p->loops[i]) / 1e9);
    }
    exposition_family(out, "mica_worker_cpu_seconds_total", "counter",
                      "CPU time of a worker, which runs virtual machines.");
    for (unsigned i = 0; i < sched_workers(p->sched); i++) {
        snprintf(labels, sizeof labels, "worker=\"%u\"", i);
        exposition_sample(out, "mica_worker_cpu_seconds_total", str_of(labels),
                          (double)sched_worker_cpu(p->sched, i) / 1e9);
    }
}

static void put_one(struct buf *out, const char *name, const char *type, const char *help,
                    double value) {
    exposition_family(out, name, type, help);
    exposition_sample(out, name, (struct str){"", 0}, value);
}

static void put_counters(struct buf *out) {
    int64_t n[COUNTERS];
    counters_sum(n);
    put_one(out, "mica_messages_alive", "gauge", "Messages between loops, services and the core.",
            (double)n[COUNTER_MESSAGES]);
    put_one(out, "mica_buffers_alive", "gauge", "Buffers that hold the body of a message.",
            (double)n[COUNTER_BODIES]);
    put_one(out, "mica_store_transactions_total", "counter",
            "Groups of writes that were committed.", (double)n[COUNTER_STORE_GROUPS]);
    put_one(out, "mica_store_writes_total", "counter", "Batches of writes, durable when answered.",
            (double)n[COUNTER_STORE_BATCHES]);
    put_one(out, "mica_store_reads_total", "counter", "Reads of the store.",
            (double)n[COUNTER_STORE_READS]);
}

// ---- TLS
static void put_certificate(struct tls_files *tls, struct buf *out) {
    int64_t expiry = atomic_load(&tls->expiry);
    if (expiry == 0) return; // the doors do not speak TLS
    put_one(out, "mica_tls_certificate_expires_in_seconds", "gauge",
            "Until the certificate that new connections get expires; negative: since it has.",
            (double)expiry - (double)clock_unix() / 1e9);
}

// ---- the process: the names that Prometheus' client libraries use
static double open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    double n = 0;
    if (folder == NULL) return 0;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;) n += e->d_name[0] != '.';
    closedir(folder);
    return n - 1; // the one that reads
}

static double since_boot_to_unix(double since_boot) {
    struct timespec boot, unix_time;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &unix_time);
    return (double)(unix_time.tv_sec - boot.tv_sec) + since_boot;
}

static void put_process(struct buf *out) {
    char line[1024];
    unsigned long long started = 0;
    unsigned long virtual = 0;
    long resident = 0;
    FILE *f = fopen("/proc/self/stat", "re");
    const char *p = f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    // proc(5): after the name, fields 3 to 24; 22 starttime, 23 vsize, 24 rss.
    if (p != NULL)
        sscanf(p + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu "
               "%lu %ld",
               &started, &virtual, &resident);
    if (f != NULL) fclose(f);
    struct timespec cpu;
    struct rlimit files;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    getrlimit(RLIMIT_NOFILE, &files);
    put_one(out, "process_cpu_seconds_total", "counter", "CPU time of the process.",
            (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    put_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
            (double)resident * (double)sysconf(_SC_PAGESIZE));
    put_one(out, "process_virtual_memory_bytes", "gauge", "Address space.", (double)virtual);
    put_one(out, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    put_one(out, "process_max_fds", "gauge", "How many there may be.", (double)files.rlim_cur);
    put_one(out, "process_start_time_seconds", "gauge", "When it started, unix seconds.",
            since_boot_to_unix((double)started / (double)sysconf(_SC_CLK_TCK)));
}

static void render(struct server_metrics *m, struct buf *out) {
    exposition_family(out, "mica_build_info", "gauge", "1, with the version of Mica.");
    exposition_sample(out, "mica_build_info", str_of("version=\"" MICA_VERSION "\""), 1);
    rpc_render_metrics(m->parts->rpc, out);
    put_services(m->deploy, out);
    put_threads(m->parts, out);
    put_certificate(m->tls, out);
    put_counters(out);
    put_process(out);
    metrics_render(out);
}

// ---- the port
static void answer_all(struct server_metrics *m, struct mpsc_node *requests) {
    struct buf out = {0};
    pthread_mutex_lock(&m->rendering);
    bool closed = m->closed;
    if (!closed) render(m, &out);
    pthread_mutex_unlock(&m->rendering);
    struct blob *page = buf_take(&out);
    for (struct mpsc_node *n = requests, *next; n != NULL; n = next) {
        next = n->next;
        struct message *request = message_of(n);
        message_unpark(request);
        if (closed) {
            message_refuse(request, STATUS_UNAVAILABLE, "the server is stopping");
        } else {
            native_answer_bytes(request, blob_hold(page));
        }
    }
    blob_drop(page);
}

static void work(struct main_work *w) {
    struct server_metrics *m =
        (struct server_metrics *)((char *)w - offsetof(struct server_metrics, work));
    answer_all(m, mpsc_take(&m->waiting));
}

static void begin(struct server_metrics *m) {
    if (!atomic_exchange(&m->busy, true)) main_loop_work(&m->parts->main, &m->work);
}

static void work_done(struct main_work *w) {
    struct server_metrics *m =
        (struct server_metrics *)((char *)w - offsetof(struct server_metrics, work));
    atomic_store(&m->busy, false);
    if (!mpsc_empty(&m->waiting)) begin(m); // asked while the page was made
}

static int receive(struct port *port, struct message *m) {
    struct server_metrics *metrics = (struct server_metrics *)port;
    if (m->kind != MSG_REQUEST) { // who asked has gone: the answer finds nobody
        message_delete(m);
        return 0;
    }
    message_park(m); // so that a scrape does not count itself
    mpsc_push(&metrics->waiting, &m->link);
    begin(metrics);
    return 0;
}

static void keep(struct port *port) { (void)port; } // it is part of the server

void server_metrics_create(struct server_metrics *m, struct parts *parts, struct deploy *deploy,
                           struct tls_files *tls) {
    static const struct port_ops OPS = {receive, keep};
    port_init(&m->port, &OPS);
    m->parts = parts;
    m->deploy = deploy;
    m->tls = tls;
    m->work.run = work;
    m->work.done = work_done;
    pthread_mutex_init(&m->rendering, NULL);
    rpc_serve_metrics(parts->rpc, &m->port);
}

void server_metrics_close(struct server_metrics *m) {
    pthread_mutex_lock(&m->rendering);
    m->closed = true;
    pthread_mutex_unlock(&m->rendering);
}

void server_metrics_destroy(struct server_metrics *m) { pthread_mutex_destroy(&m->rendering); }
