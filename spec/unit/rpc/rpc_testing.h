// SPDX-License-Identifier: Apache-2.0
// For the tests of this room: the contract that they share, as a pool, and a port that keeps what it is sent.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "msg/message.h"
#include "pb/desc.h"
#include "pb/protoc.h"
#include "rpc/route.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ECHO_PROTO                                                                                 \
    "syntax = \"proto3\";\n"                                                                       \
    "package echo;\n"                                                                              \
    "service Echo {\n"                                                                             \
    "  rpc Say(Text) returns (Text);\n"                                                            \
    "  rpc Count(Text) returns (stream Text);\n"                                                   \
    "  rpc Gather(stream Text) returns (Text);\n"                                                  \
    "  rpc Chat(stream Text) returns (stream Text);\n"                                             \
    "}\n"                                                                                          \
    "service Other { rpc Say(Text) returns (Text); }\n"                                            \
    "message Text { string text = 1; repeated string tags = 2; int64 n = 3; }\n"

static inline int put_version(struct directory *d, const char *ns, const char *service,
                              const char *version, struct port *port, struct pb_pool *pool,
                              bool (*owns)(const void *, struct str), const void *source,
                              uint32_t generation) {
    return directory_put(d, &(struct directory_version){ns, service, version, port, pool, owns,
                                                        source, generation, 0, false});
}

static inline struct pb_pool *echo_pool(void) {
    char folder[] = "/tmp/rpc-test-XXXXXX", path[300];
    const char *const files[] = {"echo.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/echo.proto", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(ECHO_PROTO, file) >= 0);
    assert_int_equal(fclose(file), 0);
    int rc = protoc_compile(folder, files, 1, &set, &err);
    unlink(path);
    rmdir(folder);
    if (rc < 0) fail_msg("%s", err.text);
    struct pb_pool *pool = pb_pool_new(set, &err);
    blob_drop(set);
    if (pool == NULL) fail_msg("%s", err.text);
    return pool;
}

// ---- a port that keeps what it is sent, for any thread to wait for

struct keeper {
    struct port port; // first
    pthread_mutex_t lock;
    pthread_cond_t come;
    struct message *kept[4096];
    size_t count, taken;
    int refuse; // a negative status: refuses everything
    bool freed;
};

static inline int keeper_send(struct port *port, struct message *m) {
    struct keeper *k = (struct keeper *)port;
    pthread_mutex_lock(&k->lock);
    int rc = k->refuse;
    if (rc == 0 && k->count == sizeof k->kept / sizeof k->kept[0]) rc = -STATUS_RESOURCE_EXHAUSTED;
    if (rc == 0) k->kept[k->count++] = m;
    pthread_cond_signal(&k->come);
    pthread_mutex_unlock(&k->lock);
    return rc;
}

static inline void keeper_freed(struct port *port) { ((struct keeper *)port)->freed = true; }

static inline void keeper_create(struct keeper *k) {
    static const struct port_ops OPS = {.send = keeper_send, .free = keeper_freed};
    memset(k, 0, sizeof *k);
    port_init(&k->port, &OPS);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->come, NULL);
}

static inline void keeper_destroy(struct keeper *k) {
    for (; k->taken < k->count; k->taken++) message_delete(k->kept[k->taken]);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->come);
}

// The next message, which is the caller's; NULL when none comes in time.
static inline struct message *keeper_take(struct keeper *k, int milliseconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&k->lock);
    int rc = 0;
    while (k->taken == k->count && rc == 0) rc = pthread_cond_timedwait(&k->come, &k->lock, &until);
    struct message *m = k->taken < k->count ? k->kept[k->taken++] : NULL;
    if (k->taken == k->count) k->taken = k->count = 0;
    pthread_mutex_unlock(&k->lock);
    return m;
}
