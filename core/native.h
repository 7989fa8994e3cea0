// SPDX-License-Identifier: Apache-2.0
// The core services (mica.core.v1) as ports: what the platform's Lua asks of C. A VM reaches one by
// a capability that it was granted; no socket reaches them. Each native_*.c is one service; what it
// works on is its context.
//
// A method is called on the thread of whoever sent the request, usually a worker in the middle of a
// turn, so it must not block: what takes long goes to the main loop's pool. A request is answered
// once, from any thread. Cancellations are ignored: what was begun is finished, and the answer
// finds nobody.
#pragma once

#include "msg/message.h"
#include "vm/host.h"

#include <protobuf-c/protobuf-c.h>

struct native_method {
    const char *name; // "Install"
    void (*run)(void *context, struct message *take_request);
};

struct native_service {
    const char *capability; // "routes"
    const char *full_name;  // "mica.core.v1.Routes"
    const struct native_method *methods;
    size_t count;
};

extern const struct native_service NATIVE_ROUTES;    // context: struct native_routes
extern const struct native_service NATIVE_DEPLOY;    // struct deploy (deploy.h)
extern const struct native_service NATIVE_SERVER;    // struct native_server
extern const struct native_service NATIVE_CRYPTO;    // struct main_loop
extern const struct native_service NATIVE_CLI;       // struct native_cli
extern const struct native_service NATIVE_SYSTEM;    // struct native_system
extern const struct native_service NATIVE_BLOBS;     // struct native_system
extern const struct native_service NATIVE_LOGS;      // struct native_logs
extern const struct native_service NATIVE_BUILD;     // struct deploy
extern const struct native_service NATIVE_CONTRACTS; // struct deploy
extern const struct native_service NATIVE_HEALTH;    // struct native_health
extern const struct native_service NATIVE_OUTSIDE;   // struct native_outside
extern const struct native_service NATIVE_FETCH;     // struct fetch
extern const struct native_service NATIVE_KEYS;      // struct acme_store
extern const struct native_service NATIVE_ACME;      // struct server_acme (server_acme.h)

struct native_port {
    struct port port; // first; never freed by its references
    const struct native_service *service;
    void *context;
};

#define NATIVES_MAX 16
struct natives {
    struct native_port ports[NATIVES_MAX];
    size_t count;
};

void natives_add(struct natives *n, const struct native_service *service,
                 void *context); // before VMs run
// For vm_host.native.
int natives_find(struct natives *n, struct pb_pool *platform, struct str capability,
                 struct str method, struct vm_target *out, struct err *err);

// ---- for the methods
// The request's body, to be freed with protobuf_c_message_free_unpacked; NULL: malformed, and the
// request is answered.
void *native_read(struct message *take_request_if_null, const ProtobufCMessageDescriptor *type);
void native_answer(struct message *take_request, const ProtobufCMessage *response);
void native_answer_bytes(struct message *take_request,
                         struct blob *take_body); // NULL: memory ended
void native_fail(struct message *take_request, const struct err *err);

// ---- contexts
struct native_routes {
    struct directory *directory;
    struct route_slot *api, *proxy;
    struct rpc_server *rpc;
};

struct native_outside {
    struct deploy *deploy;
    struct rpc_server *rpc;
    struct pb_pool *platform;
};

struct native_server {
    const char *const *run; // folders
    size_t run_count;
    const char *const *platform; // names
    size_t platform_count;
    const char *api;                              // the gateway's URL
    void (*ready)(void *user, const char *fault); // any thread; fault "" when all is well
    void (*stop)(void *user);                     // any thread; begins to drain and returns
    void *user;
    struct mpsc waiting; // requests to Stopping
    atomic_bool stopping;
};
// Answers those who wait for the end, now and from now on. Any thread.
void native_server_stopping(struct native_server *s);
void native_server_wait(struct native_server *s, struct message *take_request);

struct native_health {
    struct deploy *deploy;
    struct native_server *server;
};
// Is the server ready for requests? An rpc_ready with a struct native_health. Any thread.
bool native_health_ready(void *user, char *why, size_t size);
