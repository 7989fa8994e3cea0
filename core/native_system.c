// SPDX-License-Identifier: Apache-2.0
// mica.core.v1.System and mica.core.v1.Blobs.
//
// System: a request is read on the caller's thread and handed to the engine, whose threads answer
// it. What the engine works on lies in the unpacked request, which is kept until then. Blobs: all
// of them block on files, so they run in the main loop's pool.
#include "native_system.h"

#include "base/clock.h"
#include "native.h"

#include <mica/core/v1/core.pb-c.h>
#include <stdlib.h>

#define READERS 2
#define LOOK_EVERY 60000              // milliseconds, for idle uploads
#define READ_MOST ((uint64_t)1 << 20) // bytes of a blob in one answer

// ---- open and close
int native_system_open(struct native_system *s, const char *folder, struct err *err) {
    struct buf path = {0};
    *s = (struct native_system){0};
    buf_printf(&path, "%s/system.db", folder);
    s->engine = engine_open(buf_cstr(&path), READERS, err);
    buf_free(&path);
    if (s->engine != NULL) s->blobs = blobs_open(folder, err);
    if (s->blobs != NULL) return 0;
    native_system_close(s);
    return -(int)err->code;
}

void native_system_close(struct native_system *s) {
    engine_delete(s->engine);
    blobs_close(s->blobs);
    s->engine = NULL;
    s->blobs = NULL;
}

// ---- idle uploads
struct sweep {
    struct main_work work; // first
    struct blobs *blobs;
};

static void do_sweep(struct main_work *work) {
    blobs_expire(((struct sweep *)work)->blobs, clock_now());
}

static void free_work(struct main_work *work) { free(work); }

static void on_timer(uv_timer_t *timer) {
    struct native_system *s = timer->data;
    struct sweep *sweep = calloc(1, sizeof *sweep);
    if (sweep == NULL) return; // the next one does it
    sweep->work.run = do_sweep;
    sweep->work.done = free_work;
    sweep->blobs = s->blobs;
    main_loop_work(s->loop, &sweep->work);
}

void native_system_watch(struct native_system *s, struct main_loop *loop) {
    s->loop = loop;
    uv_timer_init(&loop->uv, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_timer, LOOK_EVERY, LOOK_EVERY);
}

void native_system_unwatch(struct native_system *s) { uv_close((uv_handle_t *)&s->timer, NULL); }

// ---- System: reading
struct reading {
    struct engine_read read; // first
    struct message *request;
    ProtobufCMessage *in; // holds what `read` points to
};

typedef Mica__Core__V1__Record Record;

static Record record_of(const struct reading *r, size_t i, char *key) {
    Record out = MICA__CORE__V1__RECORD__INIT;
    const struct engine_record *from = &r->read.records[i];
    out.table = (char *)r->read.table.p; // only read, and NUL-terminated
    out.key = key;
    out.value = (ProtobufCBinaryData){from->value.n, (uint8_t *)from->value.p};
    out.version = from->version;
    return out;
}

static void end_reading(struct reading *r) {
    engine_read_clear(&r->read);
    protobuf_c_message_free_unpacked(r->in, NULL);
    free(r);
}

static void begin_reading(struct native_system *s, struct reading *r) {
    struct err err = {0};
    if (engine_submit_read(s->engine, &r->read, &err) == 0) return;
    native_fail(r->request, &err);
    end_reading(r);
}

// NULL: it is answered.
static struct reading *reading_new(struct message *request,
                                   const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *in = native_read(request, type);
    if (in == NULL) return NULL;
    struct reading *r = calloc(1, sizeof *r);
    if (r == NULL) {
        protobuf_c_message_free_unpacked(in, NULL);
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    r->request = request;
    r->in = in;
    return r;
}

static void on_got(struct engine_read *read, const struct err *err) {
    struct reading *r = (struct reading *)read;
    Mica__Core__V1__GetRequest *in = (Mica__Core__V1__GetRequest *)r->in;
    if (err->code != 0) {
        native_fail(r->request, err);
    } else if (read->count == 0) {
        struct err none;
        err_set(&none, STATUS_NOT_FOUND, "no \"%s\" in %s", in->key, in->table);
        native_fail(r->request, &none);
    } else {
        Record out = record_of(r, 0, in->key);
        native_answer(r->request, &out.base);
    }
    end_reading(r);
}

static void get(void *context, struct message *request) {
    struct reading *r = reading_new(request, &mica__core__v1__get_request__descriptor);
    if (r == NULL) return;
    Mica__Core__V1__GetRequest *in = (Mica__Core__V1__GetRequest *)r->in;
    r->read.table = str_of(in->table);
    r->read.key = str_of(in->key);
    r->read.done = on_got;
    begin_reading(context, r);
}

static void answer_list(struct reading *r) {
    Mica__Core__V1__ListResponse out = MICA__CORE__V1__LIST_RESPONSE__INIT;
    size_t count = r->read.count;
    Record *records = calloc(count + 1, sizeof *records);
    out.records = calloc(count + 1, sizeof *out.records);
    bool ok = records != NULL && out.records != NULL;
    while (ok && out.n_records < count) {
        struct str key = r->read.records[out.n_records].key;
        char *copy = strndup(key.p, key.n);
        ok = copy != NULL;
        if (!ok) break;
        records[out.n_records] = record_of(r, out.n_records, copy);
        out.records[out.n_records] = &records[out.n_records];
        out.n_records++;
    }
    out.more = r->read.more;
    if (ok) {
        native_answer(r->request, &out.base);
    } else {
        message_refuse(r->request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; i < out.n_records; i++) free(records[i].key);
    free(records);
    free(out.records);
}

static void on_listed(struct engine_read *read, const struct err *err) {
    struct reading *r = (struct reading *)read;
    if (err->code != 0) {
        native_fail(r->request, err);
    } else {
        answer_list(r);
    }
    end_reading(r);
}

static void list(void *context, struct message *request) {
    struct reading *r = reading_new(request, &mica__core__v1__list_request__descriptor);
    if (r == NULL) return;
    Mica__Core__V1__ListRequest *in = (Mica__Core__V1__ListRequest *)r->in;
    r->read.list = true;
    r->read.table = str_of(in->table);
    r->read.key = str_of(in->prefix);
    r->read.after = str_of(in->after);
    r->read.limit = in->limit;
    r->read.done = on_listed;
    begin_reading(context, r);
}

// ---- System: writing
struct writing {
    struct engine_batch batch; // first
    struct message *request;
    Mica__Core__V1__WriteBatch *in; // holds what the operations point to
    struct engine_operation operations[];
};

static void end_writing(struct writing *w) {
    protobuf_c_message_free_unpacked(&w->in->base, NULL);
    free(w);
}

static void on_written(struct engine_batch *batch, const struct err *err) {
    struct writing *w = (struct writing *)batch;
    Mica__Core__V1__WriteBatchResponse out = MICA__CORE__V1__WRITE_BATCH_RESPONSE__INIT;
    out.versions = calloc(batch->count, sizeof *out.versions);
    for (size_t i = 0; out.versions != NULL && i < batch->count; i++)
        out.versions[out.n_versions++] = batch->operations[i].version;
    if (err->code != 0) {
        native_fail(w->request, err);
    } else if (out.versions == NULL) {
        message_refuse(w->request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        native_answer(w->request, &out.base);
    }
    free(out.versions);
    end_writing(w);
}

static void write_batch(void *context, struct message *request) {
    struct native_system *s = context;
    struct err err = {0};
    Mica__Core__V1__WriteBatch *in = native_read(request, &mica__core__v1__write_batch__descriptor);
    if (in == NULL) return;
    struct writing *w = calloc(1, sizeof *w + in->n_operations * sizeof w->operations[0]);
    if (w == NULL) {
        protobuf_c_message_free_unpacked(&in->base, NULL);
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    w->request = request;
    w->in = in;
    for (size_t i = 0; i < in->n_operations; i++) {
        const Mica__Core__V1__WriteOperation *from = in->operations[i];
        w->operations[i] =
            (struct engine_operation){.table = str_of(from->table),
                                      .key = str_of(from->key),
                                      .value = {(const char *)from->value.data, from->value.len},
                                      .remove = from->delete_,
                                      .if_version = from->if_version};
    }
    w->batch.operations = w->operations;
    w->batch.count = in->n_operations;
    w->batch.done = on_written;
    if (engine_submit(s->engine, &w->batch, &err) == 0) return;
    native_fail(request, &err);
    end_writing(w);
}

// ---- Blobs
struct blob_job {
    struct main_work work; // first
    struct blobs *blobs;
    struct message *request;
};

static void begin_job(struct native_system *s, struct message *request,
                      void (*run)(struct main_work *work)) {
    struct blob_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        message_refuse(request, STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    job->work.run = run;
    job->work.done = free_work;
    job->blobs = s->blobs;
    job->request = request;
    main_loop_work(s->loop, &job->work);
}

static void answer_job(struct message *request, int rc, const struct err *err,
                       const ProtobufCMessage *out) {
    if (rc < 0) {
        native_fail(request, err);
    } else {
        native_answer(request, out);
    }
}

static void do_begin(struct main_work *work) {
    struct blob_job *job = (struct blob_job *)work;
    Mica__Core__V1__BlobBeginRequest *in =
        native_read(job->request, &mica__core__v1__blob_begin_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__BlobBeginResponse out = MICA__CORE__V1__BLOB_BEGIN_RESPONSE__INIT;
    struct err err = {0};
    int rc = blobs_begin(job->blobs, in->size_limit, &out.upload, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    answer_job(job->request, rc, &err, &out.base);
}

static void do_append(struct main_work *work) {
    struct blob_job *job = (struct blob_job *)work;
    Mica__Core__V1__BlobAppendRequest *in =
        native_read(job->request, &mica__core__v1__blob_append_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__BlobAppendResponse out = MICA__CORE__V1__BLOB_APPEND_RESPONSE__INIT;
    struct err err = {0};
    int rc = blobs_append(job->blobs, in->upload,
                          (struct str){(const char *)in->data.data, in->data.len}, &out.size, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    answer_job(job->request, rc, &err, &out.base);
}

static void do_commit(struct main_work *work) {
    struct blob_job *job = (struct blob_job *)work;
    Mica__Core__V1__BlobCommitRequest *in =
        native_read(job->request, &mica__core__v1__blob_commit_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__BlobCommitResponse out = MICA__CORE__V1__BLOB_COMMIT_RESPONSE__INIT;
    struct err err = {0};
    char name[BLOBS_NAME];
    int rc = blobs_commit(job->blobs, in->upload, in->sha256, name, &out.size, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    out.sha256 = name;
    answer_job(job->request, rc, &err, &out.base);
}

static void do_abort(struct main_work *work) {
    struct blob_job *job = (struct blob_job *)work;
    Mica__Core__V1__BlobAbortRequest *in =
        native_read(job->request, &mica__core__v1__blob_abort_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__BlobAbortResponse out = MICA__CORE__V1__BLOB_ABORT_RESPONSE__INIT;
    struct err err = {0};
    int rc = blobs_abort(job->blobs, in->upload, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    answer_job(job->request, rc, &err, &out.base);
}

static void do_read(struct main_work *work) {
    struct blob_job *job = (struct blob_job *)work;
    Mica__Core__V1__BlobReadRequest *in =
        native_read(job->request, &mica__core__v1__blob_read_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__BlobReadResponse out = MICA__CORE__V1__BLOB_READ_RESPONSE__INIT;
    struct err err = {0};
    struct buf data = {0};
    uint64_t limit = in->limit == 0 || in->limit > READ_MOST ? READ_MOST : in->limit;
    int rc = blobs_read(job->blobs, in->sha256, in->offset, limit, &data, &out.size, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    out.data = (ProtobufCBinaryData){data.n, (uint8_t *)buf_p(&data)};
    answer_job(job->request, rc, &err, &out.base);
    buf_free(&data);
}

static void do_delete(struct main_work *work) {
    struct blob_job *job = (struct blob_job *)work;
    Mica__Core__V1__BlobDeleteRequest *in =
        native_read(job->request, &mica__core__v1__blob_delete_request__descriptor);
    if (in == NULL) return;
    Mica__Core__V1__BlobDeleteResponse out = MICA__CORE__V1__BLOB_DELETE_RESPONSE__INIT;
    struct err err = {0};
    int rc = blobs_delete(job->blobs, in->sha256, &err);
    protobuf_c_message_free_unpacked(&in->base, NULL);
    answer_job(job->request, rc, &err, &out.base);
}

static void begin(void *context, struct message *request) { begin_job(context, request, do_begin); }
static void append(void *context, struct message *request) {
    begin_job(context, request, do_append);
}
static void commit(void *context, struct message *request) {
    begin_job(context, request, do_commit);
}
static void end(void *context, struct message *request) { begin_job(context, request, do_abort); }
static void read_blob(void *context, struct message *request) {
    begin_job(context, request, do_read);
}
static void delete_blob(void *context, struct message *request) {
    begin_job(context, request, do_delete);
}

static const struct native_method SYSTEM_METHODS[] = {
    {"Get", get}, {"List", list}, {"Write", write_batch}};
const struct native_service NATIVE_SYSTEM = {"system", "mica.core.v1.System", SYSTEM_METHODS, 3};

static const struct native_method BLOBS_METHODS[] = {{"Begin", begin},    {"Append", append},
                                                     {"Commit", commit},  {"Abort", end},
                                                     {"Read", read_blob}, {"Delete", delete_blob}};
const struct native_service NATIVE_BLOBS = {"blobs", "mica.core.v1.Blobs", BLOBS_METHODS, 6};
