// SPDX-License-Identifier: Apache-2.0
// What a VM asks of the world around it, filled in by main.c. A binding only sends messages: these functions find the port
// to send to, and never wait. Any thread.
#pragma once

#include "msg/message.h"
#include "pb/desc.h"

// A method that can be called. The holder drops both references.
struct vm_target {
    struct port *port;
    struct pb_pool *pool;
    const struct pb_method *method;
    uint64_t version; // changes when the answer to the same question may have changed: see `epoch`
};

struct vm_host {
    // Finds `endpoint` ("Posts.Save") of a deployed service; `version` may be empty. -STATUS_UNAVAILABLE: no such service
    // runs; -STATUS_UNIMPLEMENTED: it has no such endpoint (with a suggestion).
    int (*resolve)(struct vm_host *host, struct str ns, struct str service, struct str version,
                   struct str endpoint, struct vm_target *out, struct err *err);
    // Grows whenever services come or go, so that VMs know when what they have resolved is stale.
    uint64_t (*epoch)(struct vm_host *host);
    // A core service by capability ("routes") and method name ("Install").
    int (*native)(struct vm_host *host, struct str capability, struct str method,
                  struct vm_target *out, struct err *err);
    // A port to the gRPC server at "host:port", or at several of them with commas between; requests without a method carry
    // their path in the context's metadata under ":path". It connects when the first request comes. `tls` is empty for none, else four texts with a NUL at the
    // end of each: ca, cert, key, name (rpc/dial_tls.h).
    struct port *(*dial)(struct vm_host *host, struct str address, struct str tls, struct err *err);
    struct pb_pool *platform; // the contracts of proto/
    size_t
        max_body; // bytes of a request body over HTTP that a service reads as a whole; 0: the default
};
