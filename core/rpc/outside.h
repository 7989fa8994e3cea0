// SPDX-License-Identifier: Apache-2.0
// A service that runs elsewhere, as a port: requests sent to it go to a gRPC server at one of its addresses. With such a port
// in the directory the doors and the VMs call it as they call what runs here.
#pragma once

#include "rpc/door.h"

struct outside_options {
    struct str addresses; // "host:port", several with commas between
    bool local; // may lead to this machine and its link; else such addresses are not connected to
    void *keep; // kept alive by the port, may be NULL
    void (*drop)(void *keep);
};

// Takes `keep` also when it fails. The port must be dropped before the server's loops are freed.
struct port *rpc_outside(struct rpc_server *s, const struct outside_options *options,
                         struct err *err);
