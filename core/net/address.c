// SPDX-License-Identifier: Apache-2.0
// Addresses: from text to sockets' addresses and back. Resolving blocks and is for the start of the
// server; connections resolve with libuv's threads (resolve.c).
#include "net/address.h"

#include "net/conn.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static bool port_valid(const char *text) {
    long n = 0;
    if (*text == '\0') return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') return false;
        n = n * 10 + (*p - '0');
        if (n > 65535) return false;
    }
    return true;
}

int address_split(const char *text, struct address *out, struct err *err) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strchr(colon, ']') != NULL)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "address %s has no port: write host:port, for example 127.0.0.1:8080", text);
    if (!port_valid(colon + 1) || strlen(colon + 1) >= sizeof out->port)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "address %s: the port must be a number from 0 to 65535", text);
    const char *host = text;
    size_t n = (size_t)(colon - text);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    } else if (memchr(host, ':', n) != NULL) {
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "address %s: write an IPv6 address in brackets, for example [::1]:8080",
                       text);
    }
    if (n >= sizeof out->host)
        return err_set(err, STATUS_INVALID_ARGUMENT, "address %.40s...: the name is too long",
                       text);
    memcpy(out->host, host, n);
    out->host[n] = '\0';
    memcpy(out->port, colon + 1, strlen(colon + 1) + 1);
    return 0;
}

int address_check(const char *address, struct err *err) {
    struct address split;
    return address_split(address, &split, err);
}

int address_literal(const char *text, struct sockaddr_storage *out, struct err *err) {
    struct address a;
    int rc = address_split(text, &a, err);
    if (rc < 0) return rc;
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in_port_t port =
        htons((uint16_t)strtoul(a.port, NULL, 10)); // digits, as address_split has seen
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, a.host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = port;
    } else if (inet_pton(AF_INET6, a.host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
    } else {
        return err_set(err, STATUS_INVALID_ARGUMENT, "address %s is no IP address with a port",
                       text);
    }
    return 0;
}

int address_resolve(const char *text, struct addrinfo **out, struct err *err) {
    struct address a = {0};
    int rc = address_split(text, &a, err);
    if (rc < 0) return rc;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int e = getaddrinfo(a.host[0] == '\0' ? NULL : a.host, a.port, &hints, out);
    if (e != 0)
        return err_set(err, STATUS_INVALID_ARGUMENT,
                       "address %s: the name %s is not known (%s): check its spelling", text,
                       a.host, gai_strerror(e));
    return 0;
}

size_t address_format(const struct sockaddr *addr, char *out, size_t size) {
    char host[INET6_ADDRSTRLEN] = "";
    int n;
    if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        n = snprintf(out, size, "[%s]:%u", host, (unsigned)ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const void *)addr;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        n = snprintf(out, size, "%s:%u", host, (unsigned)ntohs(in->sin_port));
    }
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

bool address_sockaddr_is_loopback(const struct sockaddr *addr) {
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (addr->sa_family != AF_INET6) return false;
    const struct sockaddr_in6 *in6 = (const void *)addr;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) return in6->sin6_addr.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static bool ipv4_is_local(uint32_t a) {
    return a >> 24 == 127 || a >> 24 == 0 || a >> 16 == 0xA9FE || a >> 28 >= 0xE;
}

bool address_sockaddr_is_local(const struct sockaddr *addr) {
    if (addr->sa_family == AF_INET)
        return ipv4_is_local(
            ntohl(((const struct sockaddr_in *)(const void *)addr)->sin_addr.s_addr));
    if (addr->sa_family != AF_INET6) return true;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    const uint8_t *b = a->s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a)) // "::" and "::1" too
        return IN6_IS_ADDR_LOOPBACK(a) ||
               ipv4_is_local((uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 |
                             b[15]);
    return IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_LINKLOCAL(a) ||
           IN6_IS_ADDR_MULTICAST(a);
}

bool address_is_loopback(const char *address, struct err *err) {
    struct addrinfo *list;
    if (address_resolve(address, &list, err) < 0) return false;
    bool all = list != NULL;
    for (struct addrinfo *ai = list; ai != NULL && all; ai = ai->ai_next)
        all = address_sockaddr_is_loopback(ai->ai_addr);
    freeaddrinfo(list);
    return all;
}
