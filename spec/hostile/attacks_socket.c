// SPDX-License-Identifier: Apache-2.0
// Attacks on WebSockets (RFC 6455): raw frames, masked or not, behind an honest handshake over HTTP/1.1.
#include "attack.h"

#include <stdio.h>
#include <string.h>

#define PIECE (32 * 1024)

enum { CONTINUE, TEXT, BINARY, CLOSE = 8, SOCKET_PING, SOCKET_PONG, FIN = 0x80 };

static void handshake(struct peer *p, const char *path) {
    char head[300];
    snprintf(head, sizeof head,
             "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             path);
    put_text(&p->out, head);
}

// Masked by zeros, so the payload is as it is.
static void put_socket(struct peer *p, unsigned first, const void *payload, size_t n) {
    unsigned char head[14] = {(unsigned char)first};
    size_t at = 2;
    if (n < 126) {
        head[1] = (unsigned char)(0x80 | n);
    } else {
        size_t bytes = n < 65536 ? 2 : 8;
        head[1] = bytes == 2 ? 0xFE : 0xFF;
        for (size_t i = 0; i < bytes; i++)
            head[at++] = (unsigned char)((uint64_t)n >> 8 * (bytes - 1 - i));
    }
    put(&p->out, head, at + 4);
    put(&p->out, payload, n);
}

static void take(struct peer *p) { handshake(p, "/target/take"); }

static void endless_answer(struct peer *p) {
    handshake(p, "/target/endless");
    put_socket(p, FIN | TEXT, "{}", 2);
}

static void pings(struct peer *p) { put_socket(p, FIN | SOCKET_PING, "are you there", 13); }
static void pongs(struct peer *p) { put_socket(p, FIN | SOCKET_PONG, "", 0); }
static void crumbs(struct peer *p) {
    put_socket(p, p->turn == 0 ? BINARY : CONTINUE, "", p->turn % 7 == 0 ? 1 : 0);
}
static void fragments(struct peer *p) {
    static char piece[PIECE];
    put_socket(p, p->turn == 0 ? BINARY : CONTINUE, piece, sizeof piece);
}
static void tiny(struct peer *p) { put_socket(p, FIN | TEXT, "{}", 2); }
static void unmasked(struct peer *p) { put(&p->out, "\x81\x02{}", 4); }
static void reserved(struct peer *p) { put_socket(p, FIN | 0x40 | TEXT, "{}", 2); }
static void opcode(struct peer *p) { put_socket(p, FIN | 3, "{}", 2); }
static void interleaved(struct peer *p) { put_socket(p, TEXT, "{", 1); }
static void oversized_ping(struct peer *p) {
    static char long_one[126];
    put_socket(p, FIN | SOCKET_PING, long_one, sizeof long_one);
}
static void negative_length(struct peer *p) {
    put(&p->out, "\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFmask", 14);
}
static void announced(struct peer *p) {
    put(&p->out, "\x82\xFF\x00\x00\x00\x01\x00\x00\x00\x00maskx", 15);
}
static void broken_text(struct peer *p) {
    put_socket(p, FIN | TEXT, "{\"text\":\"\xC0\xAF\"}", 13);
}
static void after_close(struct peer *p) {
    if (p->turn == 0) put_socket(p, FIN | CLOSE, "\x03\xE8", 2);
    fragments(p);
}
static void slow_begin(struct peer *p) {
    take(p);
    put(&p->out, "\x82\xFE\xFF\xFFmask", 8); // 65,535 bytes, of which one a second comes
}
static void drip(struct peer *p) { put_text(&p->out, "a"); }
static void half_handshake(struct peer *p) {
    put_text(&p->out,
             "GET /target/take HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Up");
}

const struct attack SOCKET_ATTACKS[] = {
    {.name = "socket-pings",
     .bare = true,
     .http = "1",
     .what = "pings as fast as they go",
     .begin = take,
     .more = pings},
    {.name = "socket-pings-deaf",
     .bare = true,
     .http = "1",
     .what = "the same, never reading the pongs",
     .begin = take,
     .more = pings,
     .deaf = true},
    {.name = "socket-pongs",
     .bare = true,
     .http = "1",
     .what = "pongs that nobody asked for",
     .begin = take,
     .more = pongs},
    {.name = "socket-crumbs",
     .bare = true,
     .http = "1",
     .what = "a message in fragments of a byte or none",
     .begin = take,
     .more = crumbs},
    {.name = "socket-endless",
     .bare = true,
     .http = "1",
     .what = "a message in large fragments that never ends",
     .begin = take,
     .more = fragments},
    {.name = "socket-tiny",
     .bare = true,
     .http = "1",
     .what = "messages of two bytes for a service that takes them",
     .begin = take,
     .more = tiny},
    {.name = "socket-unmasked",
     .bare = true,
     .http = "1",
     .what = "frames without a mask",
     .begin = take,
     .more = unmasked},
    {.name = "socket-reserved",
     .bare = true,
     .http = "1",
     .what = "reserved bits",
     .begin = take,
     .more = reserved},
    {.name = "socket-opcode",
     .bare = true,
     .http = "1",
     .what = "opcodes that are not known",
     .begin = take,
     .more = opcode},
    {.name = "socket-interleaved",
     .bare = true,
     .http = "1",
     .what = "messages that begin within another one",
     .begin = take,
     .more = interleaved},
    {.name = "socket-long-ping",
     .bare = true,
     .http = "1",
     .what = "control frames of 126 bytes",
     .begin = take,
     .more = oversized_ping},
    {.name = "socket-negative",
     .bare = true,
     .http = "1",
     .what = "lengths of 2^64 - 1 bytes",
     .begin = take,
     .more = negative_length},
    {.name = "socket-announced",
     .bare = true,
     .http = "1",
     .what = "messages that announce 4 GB",
     .begin = take,
     .more = announced},
    {.name = "socket-text",
     .bare = true,
     .http = "1",
     .what = "texts that are no UTF-8",
     .begin = take,
     .more = broken_text},
    {.name = "socket-after-close",
     .bare = true,
     .http = "1",
     .what = "a flood behind its own close frame",
     .begin = take,
     .more = after_close},
    {.name = "socket-deaf",
     .bare = true,
     .http = "1",
     .what = "endless answers that are not read",
     .begin = endless_answer,
     .connections = 50,
     .deaf = true},
    {.name = "socket-slow-message",
     .bare = true,
     .http = "1",
     .what = "messages of one byte a second",
     .begin = slow_begin,
     .more = drip,
     .pace_ms = 1000,
     .connections = 100},
    {.name = "socket-half-open",
     .bare = true,
     .http = "1",
     .what = "handshakes that stop in the middle",
     .begin = half_handshake,
     .connections = 100},
    {.name = "socket-silent",
     .bare = true,
     .http = "1",
     .what = "sockets that say nothing and answer no ping",
     .begin = take,
     .connections = 300},
};
const size_t SOCKET_ATTACK_COUNT = sizeof SOCKET_ATTACKS / sizeof SOCKET_ATTACKS[0];
