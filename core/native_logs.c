// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.Logs: reading blocks on files, so it runs in the main loop's pool; a read that waits
// is answered on the log's thread.
#include "native_logs.h"

#include "base/clock.h"
#include "native.h"

#include <math.h>
#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

#define MOST_WAIT 60.0 // seconds

typedef Mica__Core__V1__LogReadRequest Request;
typedef Mica__Core__V1__LogRecord Record;
typedef Mica__Core__V1__LogRecord__FieldsEntry Field;

struct job {
    struct main_work work; // first
    struct log_files *files;
    struct message *request;
};

struct reading {
    struct log_read read; // first
    struct message *request;
    Request *in; // holds what the query points to
};

// ---- the answer
static size_t count_fields(const struct log_read *read) {
    size_t n = 0;
    for (const struct log_kept *k = read->first; k != NULL; k = k->next) n += k->line.field_count;
    return n;
}

// The room that an answer needs.
struct answer {
    Record *records, **record_list;
    Field *fields, **field_list;
};

static bool answer_create(struct answer *a, const struct log_read *read) {
    size_t fields = count_fields(read) + 1;
    *a = (struct answer){.records = calloc(read->count + 1, sizeof *a->records),
                         .record_list = calloc(read->count + 1, sizeof(Record *)),
                         .fields = calloc(fields, sizeof *a->fields),
                         .field_list = calloc(fields, sizeof(Field *))};
    return a->records != NULL && a->record_list != NULL && a->fields != NULL &&
           a->field_list != NULL;
}

static void answer_destroy(struct answer *a) {
    free(a->records);
    free(a->record_list);
    free(a->fields);
    free(a->field_list);
}

// Texts are borrowed from the line and only read.
static void set_record(Record *out, const struct log_line *line, const char *service) {
    *out = (Record)MICA__CORE__V1__LOG_RECORD__INIT;
    out->time = line->time;
    out->level = (char *)line->level_name;
    out->service = (char *)service;
    out->version = (char *)line->version;
    out->instance = line->instance;
    out->text = (char *)line->text;
    out->request = (char *)line->request;
    out->trace = (char *)line->trace;
}

static void answer(struct reading *r) {
    Mica__Core__V1__LogReadResponse out = MICA__CORE__V1__LOG_READ_RESPONSE__INIT;
    struct answer a;
    if (!answer_create(&a, &r->read)) {
        answer_destroy(&a);
        message_refuse(r->request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    size_t fields = 0;
    for (const struct log_kept *k = r->read.first; k != NULL; k = k->next) {
        Record *record = &a.records[out.n_records];
        set_record(record, &k->line, r->in->service);
        record->fields = &a.field_list[fields];
        record->n_fields = k->line.field_count;
        for (size_t i = 0; i < k->line.field_count; i++, fields++) {
            a.fields[fields] = (Field)MICA__CORE__V1__LOG_RECORD__FIELDS_ENTRY__INIT;
            a.fields[fields].key = (char *)k->line.fields[i].key;
            a.fields[fields].value = (char *)k->line.fields[i].value;
            a.field_list[fields] = &a.fields[fields];
        }
        a.record_list[out.n_records++] = record;
    }
    out.records = a.record_list;
    out.cursor = (ProtobufCBinaryData){LOG_CURSOR, r->read.cursor};
    native_answer(r->request, &out.base);
    answer_destroy(&a);
}

static void on_read(struct log_read *read, const struct err *err) {
    struct reading *r = (struct reading *)read;
    if (err->code != 0) {
        native_fail(r->request, err);
    } else {
        answer(r);
    }
    log_read_clear(read);
    protobuf_c_message_free_unpacked(&r->in->base, NULL);
    free(r);
}

// ---- the request
static int set_query(struct log_query *q, const Request *in, struct err *err) {
    int level = in->level[0] == '\0' ? LOG_TRACE : log_level_parse(in->level);
    if (level < 0 || level == LOG_OFF)
        return err_set(err, STATUS_INVALID_ARGUMENT, "no log level \"%.40s\"", in->level);
    if (isnan(in->since) || isnan(in->wait))
        return err_set(err, STATUS_INVALID_ARGUMENT, "since and wait are numbers of seconds");
    double wait = fmax(0, fmin(in->wait, MOST_WAIT));
    *q = (struct log_query){.ns = in->namespace_,
                            .service = in->service,
                            .version = in->version,
                            .last = in->last,
                            .since = in->since,
                            .level = (enum log_level)level,
                            .grep = in->grep,
                            .trace = in->trace,
                            .cursor = {(const char *)in->cursor.data, in->cursor.len},
                            .wait = (int64_t)(wait * (double)NS_PER_SECOND)};
    return 0;
}

static void do_read(struct main_work *work) {
    struct job *job = (struct job *)work;
    struct err err = {0};
    Request *in = native_read(job->request, &mica__core__v1__log_read_request__descriptor);
    if (in == NULL) return;
    struct reading *r = calloc(1, sizeof *r);
    int rc = r != NULL ? set_query(&r->read.query, in, &err)
                       : err_set(&err, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    if (r == NULL || rc < 0) {
        native_fail(job->request, &err);
        protobuf_c_message_free_unpacked(&in->base, NULL);
        free(r);
        return;
    }
    r->request = job->request;
    r->in = in;
    r->read.done = on_read;
    log_files_read(job->files, &r->read);
}

static void free_job(struct main_work *work) { free(work); }

static void read_log(void *context, struct message *request) {
    struct native_logs *logs = context;
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    job->work.run = do_read;
    job->work.done = free_job;
    job->files = logs->files;
    job->request = request;
    main_loop_work(logs->loop, &job->work);
}

static const struct native_method METHODS[] = {{"Read", read_log}};
const struct native_service NATIVE_LOGS = {"logs", "mica.core.v1.Logs", METHODS, 1};
