// SPDX-License-Identifier: Apache-2.0
// A hostile peer on HTTP/2 and HTTP/1.1, for the tests of the server only: raw frames (RFC 9113) and header
// blocks (RFC 7541) without a library that would refuse to send them.
//
// attack.c drives a connection; attacks.c, attacks_http1.c and attacks_socket.c are the tables of attacks. An attack appends its frames to
// `out`: `begin` once for each connection, `more` again and again.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAMS 128 // as many as the server allows at once

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };

struct bytes {
    unsigned char *p;
    size_t n, cap;
};

struct peer {
    struct bytes out;
    uint32_t next_id;             // of the next stream
    uint32_t turn;                // how often `more` was called
    int open;                     // streams that have not ended, by what the server said
    int64_t window;               // of a new stream
    int64_t room;                 // the server's window for the connection
    int64_t stream_room[STREAMS]; // and those of the first streams
};

struct attack {
    const char *name, *what;
    void (*begin)(struct peer *p); // NULL: only the preface
    void (*more)(struct peer *p);  // NULL: nothing more is sent
    unsigned pace_ms;              // between two calls of `more`; 0: as fast as the server reads
    unsigned connections;          // 0: one
    bool deaf;                     // never reads
    bool bare;                     // not even the preface
    bool no_ack;                   // does not acknowledge the server's SETTINGS
    bool half_close;               // ends its side of the socket after `begin`
    const char *http;              // "1": speaks HTTP/1.1 to the api door
};

extern const struct attack ATTACKS[]; // attacks.c
extern const size_t ATTACK_COUNT;
extern const struct attack ATTACKS_HTTP1[]; // attacks_http1.c
extern const size_t ATTACKS_HTTP1_COUNT;
extern const struct attack SOCKET_ATTACKS[];
extern const size_t SOCKET_ATTACK_COUNT;

void put(struct bytes *b, const void *p, size_t n);
void put_text(struct bytes *b, const char *text);
void put_frame(struct bytes *b, unsigned type, unsigned flags, uint32_t id, const void *p,
               size_t n);
// DATA within the server's windows; false (and nothing is put): there is no room.
bool put_data(struct peer *p, unsigned flags, uint32_t id, const void *bytes, size_t n);
void put_call(struct peer *p);           // an honest unary call
struct bytes gzip_bomb(size_t unfolded); // a gzip member of so many blanks
