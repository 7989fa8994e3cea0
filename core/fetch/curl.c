// SPDX-License-Identifier: Apache-2.0
// The table of libcurl's functions, filled once. It is never unloaded: its threads and its caches may outlive any user of it.
#include "fetch/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>

// The ABI since 2006. CURLOPT_QUICK_EXIT came with 7.87; an older one ignores it.
#define NAME "libcurl.so.4"

static const struct {
    const char *name;
    size_t at;
} FUNCTIONS[] = {
    {"curl_global_init", offsetof(struct curl, global_init)},
    {"curl_easy_init", offsetof(struct curl, easy_init)},
    {"curl_easy_cleanup", offsetof(struct curl, easy_cleanup)},
    {"curl_easy_setopt", offsetof(struct curl, setopt)},
    {"curl_easy_getinfo", offsetof(struct curl, getinfo)},
    {"curl_easy_strerror", offsetof(struct curl, strerror)},
    {"curl_slist_append", offsetof(struct curl, slist_append)},
    {"curl_slist_free_all", offsetof(struct curl, slist_free_all)},
    {"curl_multi_init", offsetof(struct curl, multi_init)},
    {"curl_multi_cleanup", offsetof(struct curl, multi_cleanup)},
    {"curl_multi_add_handle", offsetof(struct curl, multi_add)},
    {"curl_multi_remove_handle", offsetof(struct curl, multi_remove)},
    {"curl_multi_perform", offsetof(struct curl, multi_perform)},
    {"curl_multi_poll", offsetof(struct curl, multi_poll)},
    {"curl_multi_wakeup", offsetof(struct curl, multi_wakeup)},
    {"curl_multi_info_read", offsetof(struct curl, multi_info_read)},
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct curl library;
static bool loaded;
static char fault[300];

static void load(void) {
    void *handle = dlopen(NAME, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; handle != NULL && i < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; i++) {
        void **slot = (void **)((char *)&library + FUNCTIONS[i].at);
        *slot = dlsym(handle, FUNCTIONS[i].name);
        if (*slot == NULL) handle = NULL;
    }
    loaded = handle != NULL && library.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (loaded) return;
    const char *why = handle == NULL ? dlerror() : "it cannot be set up";
    snprintf(fault, sizeof fault, "%s", why == NULL ? "it is too old" : why);
}

const struct curl *curl_library(struct err *err) {
    pthread_once(&once, load);
    if (loaded) return &library;
    err_set(err, STATUS_UNAVAILABLE,
            "no requests can be made: the library " NAME " cannot be used: install libcurl4 (%s)",
            fault);
    return NULL;
}
