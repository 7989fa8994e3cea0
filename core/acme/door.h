// SPDX-License-Identifier: Apache-2.0
// The plain HTTP door of HTTP-01 (RFC 8555 section 8.3): it answers what a certificate authority asks for, and sends everybody
// else to https.
#pragma once

#include "net/challenge.h"
#include "net/conn.h"

struct acme_door {
    struct challenges *challenges; // borrowed, as all of this
    const struct str *hosts; // where redirects may lead; the first is the place for everybody else
    size_t host_count;
    unsigned port; // of the door that speaks TLS
};

// The door for acceptor_new; `d` outlives the connections.
struct door acme_door(struct acme_door *d);
