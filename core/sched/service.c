// SPDX-License-Identifier: Apache-2.0
// A deployed version of a service: N instances and the port that chooses among them.
//
// The choice. A call of one request goes to the instance with the least mail. A call with streams goes by its caller and
// number, since what follows it (items, credit) comes to this port too and must find the same instance; numbers that follow
// each other spread evenly. A cancellation is rare and small: it goes to all, and those that do not know the call drop it.
// The set of instances never changes while the service lives.
//
// Life and references. The service is the port: the creator's reference is dropped when `stopped` (or a failed `started`)
// has been called; routes and callers may hold it longer. It holds its instances. They call back (started, stopped) on
// workers; what they count is atomic, and the one that counts last goes on.
#include "sched/service.h"

#include "base/clock.h"
#include "sched/instance.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum service_state { STARTING, SERVING, STOPPING };

struct service {
    struct port port;
    struct service_config config; // its texts are copies
    char **natives;
    uint32_t generation;
    int64_t made_at;
    atomic_int state;
    atomic_uint turn; // where the next choice begins, so that equals take turns
    // Starting.
    service_started started;
    void *started_user;
    atomic_uint to_start;
    atomic_int fault;     // of the first instance that failed; 0: none
    char fault_text[500]; // written by who set `fault`, read after the last of to_start
    // Stopping.
    service_stopped stopped;
    void *stopped_user;
    atomic_bool stop_begun; // the two above are set
    atomic_uint to_stop;
    _Atomic(uint64_t) finished;
    unsigned count;
    struct instance *instances[];
};

static struct service *of_port(struct port *port) { return (struct service *)port; }

// ---- the port
static struct instance *by_number(struct service *s, const struct message *m) {
    uint64_t h = (m->call + (uint64_t)((uintptr_t)m->reply >> 6)) *
                 0x9E3779B97F4A7C15u; // the golden ratio spreads evenly
    return s->instances[(h >> 32) * s->count >> 32];
}

static struct instance *least_loaded(struct service *s) {
    unsigned begin = atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed);
    struct instance *best = NULL;
    unsigned best_load = 0;
    for (unsigned n = 0; n < s->count; n++) {
        struct instance *i = s->instances[(begin + n) % s->count];
        enum instance_state state = instance_state(i);
        unsigned handicap = 0; // so that they are chosen when none serves
        if (state == INSTANCE_STARTING) {
            handicap = 1u << 30;
        } else if (state == INSTANCE_WAITING) {
            handicap = 1u << 31;
        } else if (state != INSTANCE_SERVING) {
            continue;
        }
        unsigned load = instance_load(i) + handicap;
        if (best == NULL || load < best_load) {
            best = i;
            best_load = load;
        }
    }
    return best;
}

static bool has_streams(const struct message *m) {
    const struct pb_method *method = m->method;
    return method == NULL /* raw HTTP */ || method->client_streaming || method->server_streaming;
}

static int cancel_everywhere(struct service *s, struct message *m) {
    for (unsigned n = 1; n < s->count; n++) {
        struct message *copy = message_new(MSG_CANCEL, m->call);
        if (copy == NULL) break; // deadlines end what is not cancelled
        copy->reply = port_hold(m->reply);
        copy->status = m->status;
        if (port_send(instance_port(s->instances[n]), copy) < 0) message_delete(copy);
    }
    return port_send(instance_port(s->instances[0]), m);
}

static int receive(struct port *port, struct message *m) {
    struct service *s = of_port(port);
    if (m->kind == MSG_REQUEST && atomic_load_explicit(&s->state, memory_order_acquire) == STOPPING)
        return -STATUS_UNAVAILABLE;
    if (s->count == 1) return port_send(instance_port(s->instances[0]), m);
    if (m->kind == MSG_CANCEL) return cancel_everywhere(s, m);
    bool numbered = m->kind != MSG_REQUEST || has_streams(m);
    struct instance *i = numbered ? by_number(s, m) : least_loaded(s);
    return i == NULL ? -STATUS_UNAVAILABLE : port_send(instance_port(i), m);
}

static void free_service(struct port *port) {
    struct service *s = of_port(port);
    for (unsigned n = 0; n < s->count; n++) port_drop(instance_port(s->instances[n]));
    for (char **native = s->natives; native != NULL && *native != NULL; native++) free(*native);
    free(s->natives);
    free((char *)s->config.ns);
    free((char *)s->config.name);
    free((char *)s->config.version);
    if (s->config.source != NULL) source_drop(s->config.source);
    free(s);
}

// ---- stopping
static void all_stopped(struct service *s) {
    if (s->stopped != NULL) s->stopped(s->stopped_user, s, atomic_load(&s->finished));
    port_drop(&s->port); // the creator's
}

static void instance_stopped(void *user, uint64_t finished) {
    struct service *s = user;
    atomic_fetch_add(&s->finished, finished);
    if (atomic_fetch_sub(&s->to_stop, 1) == 1) all_stopped(s);
}

static void stop_instances(struct service *s, int64_t drain, service_stopped stopped, void *user) {
    int64_t until = clock_now() + drain;
    s->stopped = stopped;
    s->stopped_user = user;
    atomic_store(&s->stop_begun, true);
    port_hold(&s->port); // the last instance may end, and drop the creator's, before the loop does
    for (unsigned n = 0; n < s->count; n++) instance_stop(s->instances[n], until);
    port_drop(&s->port);
}

void service_stop(struct service *s, int64_t drain, service_stopped stopped, void *user) {
    int before = atomic_exchange(&s->state, STOPPING);
    assert(before != STOPPING);
    (void)before;
    stop_instances(s, drain, stopped, user);
}

void service_hurry(struct service *s, int64_t drain) {
    if (!atomic_load(&s->stop_begun)) return; // a moment ago: it will have its whole time
    int64_t until = clock_now() + drain;
    for (unsigned n = 0; n < s->count; n++) instance_stop(s->instances[n], until);
}

// ---- starting
static void tell_failed(void *user, struct service *s, uint64_t finished) {
    (void)user;
    (void)finished;
    s->started(s->started_user, s, atomic_load(&s->fault), s->fault_text);
}

static void all_started(struct service *s) {
    int starting = STARTING;
    int fault = atomic_load(&s->fault);
    bool ours =
        atomic_compare_exchange_strong(&s->state, &starting, fault == 0 ? SERVING : STOPPING);
    if (fault == 0) {
        s->started(s->started_user, s, ours ? 0 : -STATUS_CANCELLED,
                   ours ? "" : "stopped while it was starting");
    } else if (ours) {
        stop_instances(s, 0, tell_failed, NULL);
    } else { // service_stop was quicker
        s->started(s->started_user, s, fault, s->fault_text);
    }
}

static void instance_started(void *user, int status, const char *text) {
    struct service *s = user;
    int none = 0;
    if (status < 0 && atomic_compare_exchange_strong(&s->fault, &none, status))
        snprintf(s->fault_text, sizeof s->fault_text, "%s", text);
    if (atomic_fetch_sub(&s->to_start, 1) == 1) all_started(s);
}

static int copy_config(struct service *s, const struct service_config *config) {
    size_t natives = 0;
    while (config->natives != NULL && config->natives[natives] != NULL) natives++;
    s->config = *config;
    s->config.source = source_hold(config->source);
    s->config.ns = strdup(config->ns);
    s->config.name = strdup(config->name);
    s->config.version = strdup(config->version);
    s->natives = calloc(natives + 1, sizeof *s->natives);
    s->config.natives = (const char *const *)s->natives;
    if (s->config.ns == NULL || s->config.name == NULL || s->config.version == NULL ||
        s->natives == NULL)
        return -STATUS_RESOURCE_EXHAUSTED;
    for (size_t n = 0; n < natives; n++) {
        s->natives[n] = strdup(config->natives[n]);
        if (s->natives[n] == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    }
    return 0;
}

static struct instance *make_instance(struct service *s, unsigned index, struct err *err) {
    const struct service_config *c = &s->config;
    struct instance_config config = {.vm = {.ns = c->ns,
                                            .service = c->name,
                                            .version = c->version,
                                            .instance = index,
                                            .generation = s->generation,
                                            .source = c->source,
                                            .limits = c->limits,
                                            .natives = c->natives,
                                            .host = c->host},
                                     .sched = c->sched,
                                     .events = {instance_started, instance_stopped},
                                     .user = s};
    return instance_new(&config, err);
}

struct service *service_start(const struct service_config *config, service_started started,
                              void *user, struct err *err) {
    static const struct port_ops OPS = {receive, free_service};
    static atomic_uint generations;
    unsigned count = config->instances == 0 ? 1 : config->instances;
    struct service *s = calloc(1, sizeof *s + count * sizeof s->instances[0]);
    if (s == NULL) goto fail;
    port_init(&s->port, &OPS);
    s->made_at = clock_now();
    s->generation = atomic_fetch_add(&generations, 1) + 1;
    s->started = started;
    s->started_user = user;
    if (copy_config(s, config) < 0) goto fail;
    for (; s->count < count; s->count++) {
        s->instances[s->count] = make_instance(s, s->count, err);
        if (s->instances[s->count] == NULL) goto fail;
    }
    atomic_init(&s->to_start, count);
    atomic_init(&s->to_stop, count);
    port_hold(&s->port); // it may fail, and be gone, before the loop ends
    for (unsigned n = 0; n < count; n++) instance_start(s->instances[n]);
    port_drop(&s->port);
    return s;
fail:
    if (s != NULL) port_drop(&s->port);
    err_set(err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
}

void service_count(struct service *s, struct service_counts *out) {
    *out = (struct service_counts){.instances = s->count, .started = s->made_at};
    for (unsigned n = 0; n < s->count; n++) {
        struct instance *i = s->instances[n];
        out->serving += instance_state(i) == INSTANCE_SERVING;
        out->restarts += atomic_load_explicit(&i->restarts, memory_order_relaxed);
        out->memory += atomic_load_explicit(&i->memory, memory_order_relaxed);
        out->begun += atomic_load_explicit(&i->begun, memory_order_relaxed);
        out->faults += atomic_load_explicit(&i->faults, memory_order_relaxed);
        out->open += instance_load(i);
        pthread_mutex_lock(&i->error_lock);
        if (i->last_error[0] != '\0')
            memcpy(out->last_error, i->last_error, sizeof out->last_error);
        pthread_mutex_unlock(&i->error_lock);
    }
}

bool service_count_instance(struct service *s, unsigned number, struct instance_counts *out) {
    if (number >= s->count) return false;
    struct instance *i = s->instances[number];
    *out = (struct instance_counts){
        .serving = instance_state(i) == INSTANCE_SERVING,
        .restarts = atomic_load_explicit(&i->restarts, memory_order_relaxed),
        .memory = atomic_load_explicit(&i->memory, memory_order_relaxed),
        .begun = atomic_load_explicit(&i->begun, memory_order_relaxed),
        .faults = atomic_load_explicit(&i->faults, memory_order_relaxed),
        .refused = atomic_load_explicit(&i->box.refused, memory_order_relaxed),
        .open = instance_load(i)};
    histogram_add_to(&i->queue, &out->queue);
    return true;
}

struct port *service_port(struct service *s) {
    return &s->port;
}
struct source *service_source(struct service *s) {
    return s->config.source;
}
uint32_t service_generation(const struct service *s) { return s->generation; }
const char *service_name(const struct service *s) { return s->config.name; }
const char *service_version(const struct service *s) { return s->config.version; }
const char *service_ns(const struct service *s) { return s->config.ns; }
uint64_t service_order(const struct service *s) { return s->config.order; }
struct service *service_of_port(struct port *port) {
    return of_port(port);
}

struct vm_limits service_limits(const struct service *s) {
    struct vm_limits l = s->config.limits;
    if (l.memory == 0) l.memory = VM_LIMITS.memory;
    if (!(l.deadline > 0)) l.deadline = VM_LIMITS.deadline;
    if (l.concurrency == 0) l.concurrency = VM_LIMITS.concurrency;
    if (l.queue == 0) l.queue = VM_LIMITS.queue;
    if (l.message == 0) l.message = VM_LIMITS.message;
    return l;
}
