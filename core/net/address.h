// SPDX-License-Identifier: Apache-2.0
// "host:port" as people write it. Private to net/; any thread.
#pragma once

#include "base/status.h"

#include <sys/socket.h>

struct addrinfo;

struct address {
    char host[256]; // "" stands for every address of the machine
    char port[8];
};

// "127.0.0.1:8080", "[::1]:8080", ":8080", "name:8080". 0, or -STATUS_INVALID_ARGUMENT with what is
// wrong.
int address_split(const char *text, struct address *out, struct err *err);
// An IP address and its port, without asking anybody. 0, or -STATUS_INVALID_ARGUMENT.
int address_literal(const char *text, struct sockaddr_storage *out, struct err *err);
// All addresses of the name, blocking. Free with freeaddrinfo.
int address_resolve(const char *text, struct addrinfo **out, struct err *err);
// "127.0.0.1:8080" or "[::1]:8080" into `out`; its length.
size_t address_format(const struct sockaddr *addr, char *out, size_t size);
bool address_sockaddr_is_loopback(const struct sockaddr *addr);
// Leads to this machine or its link only, or to nobody in particular: loopback, link-local, unspecified, multicast,
// broadcast. What cloud providers answer secrets at (169.254.169.254) is among them.
bool address_sockaddr_is_local(const struct sockaddr *addr);
