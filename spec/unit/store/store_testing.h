// SPDX-License-Identifier: Apache-2.0
// For the tests of this room: a folder of each test's own, and waiting for the store's threads.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static inline int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mica-store-XXXXXX");
    return mkdtemp(root) == NULL;
}

static inline int remove_root(void **state) {
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -r %s", root, root);
    return system(command) == 0 ? 0 : 1;
}

// One of a few texts that are overwritten in turn.
static inline const char *below(const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

// What a callback tells the test.
struct signal {
    pthread_mutex_t lock;
    pthread_cond_t raised;
    unsigned count;
};
#define SIGNAL_INIT                                                                                \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }

static inline void signal_raise(struct signal *s) {
    pthread_mutex_lock(&s->lock);
    s->count++;
    pthread_cond_broadcast(&s->raised);
    pthread_mutex_unlock(&s->lock);
}

static inline void signal_wait(struct signal *s, unsigned count) {
    pthread_mutex_lock(&s->lock);
    while (s->count < count) pthread_cond_wait(&s->raised, &s->lock);
    pthread_mutex_unlock(&s->lock);
}
