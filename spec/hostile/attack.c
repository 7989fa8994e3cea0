// SPDX-License-Identifier: Apache-2.0
// attack HOST:PORT NAME SECONDS [FROM]
//                                 one attack (from the address FROM), reported as a line of JSON
// attack --list                   the names, a line each: name, door, description
// attack HOST:PORT neighbour SECONDS [PERIOD_MS]
//                                 a well-behaved client: one gRPC call every PERIOD_MS, their latencies
// attack HOST:PORT neighbour1 SECONDS [PERIOD_MS]
//                                 the same over HTTP/1.1
//
// An attack that is thrown out comes back at once, on a new connection, until its time is over. What the
// server sends is read and its frames are counted (except by an attack that is deaf).
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH (64 * 1024)
#define ROOM_FIRST 65535
#define STREAM_ROOM (64 * 1024) // until the server's SETTINGS say otherwise
#define MOST_CONNECTIONS 20000

static struct sockaddr_in server, from;
static bool http1; // the well-behaved client speaks it, not HTTP/2

struct link {
    int fd;
    struct peer peer;
    size_t sent;             // of peer.out
    unsigned char head[9];   // of the frame that comes in
    unsigned char bytes[16]; // the first of its payload
    size_t head_n, at, length;
    int64_t next; // when `more` is due
    bool over;    // GOAWAY has come
    bool begun;
    bool plain; // HTTP/1.1 and what it becomes: nothing of it is looked at
};

static struct {
    unsigned long connections, refused, closed, resets, goaways, units, frames_in;
    unsigned long long bytes_out, bytes_in;
    uint32_t goaway_code;
    char answer[32]; // the first bytes of what was no HTTP/2
} seen;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void put(struct bytes *b, const void *p, size_t n) {
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2;
        b->p = realloc(b->p, b->cap);
        if (b->p == NULL) abort();
    }
    if (n > 0) memcpy(b->p + b->n, p, n);
    b->n += n;
}

void put_text(struct bytes *b, const char *text) { put(b, text, strlen(text)); }

void put_frame(struct bytes *b, unsigned type, unsigned flags, uint32_t id, const void *p,
               size_t n) {
    const unsigned char head[9] = {
        (unsigned char)(n >> 16),  (unsigned char)(n >> 8),  (unsigned char)n,
        (unsigned char)type,       (unsigned char)flags,     (unsigned char)(id >> 24),
        (unsigned char)(id >> 16), (unsigned char)(id >> 8), (unsigned char)id};
    put(b, head, sizeof head);
    put(b, p, n);
}

bool put_data(struct peer *p, unsigned flags, uint32_t id, const void *bytes, size_t n) {
    int64_t *stream = &p->stream_room[id / 2 % STREAMS];
    if (p->room < (int64_t)n || *stream < (int64_t)n) return false;
    p->room -= (int64_t)n;
    *stream -= (int64_t)n;
    put_frame(&p->out, DATA, flags, id, bytes, n);
    return true;
}

// ---- a connection

static bool open_link(struct link *l) {
    *l = (struct link){.fd = socket(AF_INET, SOCK_STREAM, 0), .peer = {.next_id = 1}};
    if (l->fd < 0) return false;
    if ((from.sin_family != 0 && bind(l->fd, (struct sockaddr *)&from, sizeof from) != 0) ||
        connect(l->fd, (struct sockaddr *)&server, sizeof server) != 0) {
        close(l->fd);
        l->fd = -1;
        return false;
    }
    fcntl(l->fd, F_SETFL, O_NONBLOCK);
    int on = 1;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    l->peer.room = ROOM_FIRST;
    l->peer.window = STREAM_ROOM;
    for (int i = 0; i < STREAMS; i++) l->peer.stream_room[i] = STREAM_ROOM;
    seen.connections++;
    return true;
}

static void begin(const struct attack *a, struct link *l) {
    if (!a->bare) {
        put_text(&l->peer.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        put_frame(&l->peer.out, SETTINGS, 0, 0, NULL, 0);
        put_frame(&l->peer.out, WINDOW_UPDATE, 0, 0, "\x3f\xff\x00\x00", 4);
        if (!a->no_ack) put_frame(&l->peer.out, SETTINGS, ACK, 0, NULL, 0);
    }
    if (a->begin != NULL) a->begin(&l->peer);
    l->begun = true;
    l->plain = a->http != NULL;
}

static void close_link(struct link *l) {
    if (l->fd >= 0) close(l->fd);
    free(l->peer.out.p);
    *l = (struct link){.fd = -1};
}

static uint32_t u32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// The window of streams is the first entry that Mica sends.
static void on_settings(struct link *l) {
    if (l->length < 6 || l->bytes[1] != 4) return;
    for (int i = 0; i < STREAMS; i++)
        l->peer.stream_room[i] += (int64_t)u32(l->bytes + 2) - STREAM_ROOM;
    l->peer.window = u32(l->bytes + 2);
}

static void on_frame(struct link *l) {
    uint32_t id = u32(l->head + 5) & 0x7fffffff;
    seen.frames_in++;
    bool ends = (l->head[3] == HEADERS || l->head[3] == DATA) && l->head[4] & END_STREAM;
    // NO_ERROR follows an answer that has ended already.
    if (ends || (l->head[3] == RST_STREAM && u32(l->bytes) != 0)) l->peer.open--;
    switch (l->head[3]) {
    case RST_STREAM: seen.resets++; break;
    case SETTINGS: on_settings(l); break;
    case GOAWAY:
        seen.goaways++;
        seen.goaway_code = u32(l->bytes + 4);
        l->over = true;
        break;
    case WINDOW_UPDATE:
        if (id == 0) {
            l->peer.room += u32(l->bytes);
        } else {
            l->peer.stream_room[id / 2 % STREAMS] += u32(l->bytes);
        }
        break;
    default: break;
    }
}

static void take_in(struct link *l, const unsigned char *p, size_t n) {
    if (seen.bytes_in == 0) snprintf(seen.answer, sizeof seen.answer, "%.*s", (int)n, p);
    seen.bytes_in += n;
    while (n > 0 && !l->plain) {
        if (l->head_n < 9) {
            l->head[l->head_n++] = *p++;
            n--;
            if (l->head_n < 9) continue;
            l->length = (size_t)l->head[0] << 16 | (size_t)l->head[1] << 8 | l->head[2];
            l->at = 0;
        }
        size_t part = l->length - l->at < n ? l->length - l->at : n;
        for (size_t i = 0; i < part && l->at + i < sizeof l->bytes; i++) l->bytes[l->at + i] = p[i];
        l->at += part;
        p += part;
        n -= part;
        if (l->at == l->length) {
            on_frame(l);
            l->head_n = 0;
        }
    }
}

// False: the connection has ended.
static bool read_some(struct link *l) {
    static unsigned char buffer[256 * 1024];
    ssize_t n = recv(l->fd, buffer, sizeof buffer, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n > 0) take_in(l, buffer, (size_t)n);
    return n > 0;
}

static void fill(const struct attack *a, struct link *l, int64_t now) {
    struct bytes *out = &l->peer.out;
    if (!l->begun) begin(a, l);
    if (a->more == NULL || l->sent < out->n || now < l->next) return;
    out->n = l->sent = 0;
    do {
        size_t before = out->n;
        a->more(&l->peer);
        if (out->n == before) break; // no room in the windows
        l->peer.turn++;
        seen.units++;
    } while (a->pace_ms == 0 && out->n < BATCH);
    l->next = now + a->pace_ms * 1000000LL;
}

static bool write_some(struct link *l) {
    struct bytes *out = &l->peer.out;
    if (l->sent == out->n) return true;
    ssize_t n = send(l->fd, out->p + l->sent, out->n - l->sent, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    l->sent += (size_t)n;
    seen.bytes_out += (unsigned long long)n;
    return true;
}

// One round with a connection; false: it is over.
static bool turn(const struct attack *a, struct link *l, short ready) {
    bool alive = true;
    if (ready & (POLLERR | POLLHUP) && a->deaf) alive = false;
    if (ready & (POLLIN | POLLHUP | POLLERR) && !a->deaf) alive = read_some(l);
    if (!alive || l->over) return false;
    fill(a, l, now_ns());
    if (!write_some(l)) {
        read_some(l); // its last words
        return false;
    }
    if (a->half_close && l->sent == l->peer.out.n) shutdown(l->fd, SHUT_WR);
    return true;
}

static void attack_with(const struct attack *a, int64_t end) {
    unsigned count = a->connections == 0 ? 1 : a->connections;
    struct link *links = calloc(count, sizeof *links);
    struct pollfd *polls = calloc(count, sizeof *polls);
    if (links == NULL || polls == NULL) abort();
    for (unsigned i = 0; i < count; i++) links[i].fd = -1;
    while (now_ns() < end) {
        for (unsigned i = 0; i < count; i++) {
            if (links[i].fd < 0 && !open_link(&links[i])) {
                seen.refused++;
                usleep(1000);
                if (count > 1) break;
            }
            bool sends = links[i].sent < links[i].peer.out.n ||
                         (a->more != NULL && a->pace_ms == 0) || !links[i].begun;
            polls[i] = (struct pollfd){links[i].fd,
                                       (short)((a->deaf ? 0 : POLLIN) | (sends ? POLLOUT : 0)), 0};
        }
        poll(polls, count, a->pace_ms == 0 ? 50 : 1);
        for (unsigned i = 0; i < count; i++) {
            if (links[i].fd < 0 || turn(a, &links[i], polls[i].revents)) continue;
            bool thrown_out = links[i].over;
            seen.closed++;
            close_link(&links[i]);
            if (!thrown_out && count == 1) usleep(10000);
        }
        if (a->more != NULL && polls[0].revents == POLLOUT && links[0].sent == links[0].peer.out.n)
            usleep(100); // waits for room in the windows
    }
    for (unsigned i = 0; i < count; i++) close_link(&links[i]);
    free(links);
    free(polls);
}

// ---- the well-behaved client

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void report_latencies(int64_t *took, size_t n, unsigned long failed) {
    qsort(took, n, sizeof *took, by_size);
    double p50 = n == 0 ? 0 : (double)took[n / 2] / 1000;
    double p99 = n == 0 ? 0 : (double)took[n * 99 / 100] / 1000;
    double most = n == 0 ? 0 : (double)took[n - 1] / 1000;
    printf("{\"calls\":%zu,\"failed\":%lu,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n", n,
           failed, p50, p99, most);
}

// Waits for the answer of put_call1.
static bool await1(struct link *l, int64_t until) {
    size_t got = 0;
    char buffer[4096];
    while (now_ns() < until) {
        struct pollfd poll_in = {l->fd, POLLIN, 0};
        if (poll(&poll_in, 1, 100) < 0) return false;
        if (poll_in.revents == 0) continue;
        ssize_t n = recv(l->fd, buffer + got, sizeof buffer - 1 - got, 0);
        if (n <= 0) return false;
        got += (size_t)n;
        buffer[got] = '\0';
        const char *body = strstr(buffer, "\r\n\r\n");
        if (body != NULL && strstr(body, "{\"text\":\"Ada\"}") != NULL) return true;
    }
    return false;
}

static void put_call1(struct peer *p) {
    put_text(&p->out, "POST /target/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n"
                      "{\"text\":\"Ada\"}");
}

// Waits for the end of the answer (a HEADERS frame with END_STREAM).
static bool await(struct link *l, int64_t until) {
    for (;;) {
        struct pollfd poll_in = {l->fd, POLLIN, 0};
        if (poll(&poll_in, 1, 100) < 0 || now_ns() > until) return false;
        if (poll_in.revents == 0) continue;
        unsigned char buffer[4096];
        ssize_t n = recv(l->fd, buffer, sizeof buffer, 0);
        if (n <= 0) return false;
        unsigned long before = seen.frames_in;
        for (ssize_t i = 0; i < n; i++) {
            take_in(l, buffer + i, 1);
            bool whole = seen.frames_in != before && l->head_n == 0;
            before = seen.frames_in;
            if (whole && l->head[3] == HEADERS && l->head[4] & END_STREAM) return true;
        }
        if (l->over) return false;
    }
}

static int neighbour(int64_t end, int64_t period) {
    size_t cap = (size_t)((end - now_ns()) / period) + 16, n = 0;
    int64_t *took = calloc(cap, sizeof *took);
    unsigned long failed = 0;
    struct link l;
    const struct attack CALM = {.name = "neighbour", .bare = http1};
    if (took == NULL || !open_link(&l)) return 1;
    begin(&CALM, &l);
    for (int64_t at = now_ns(); at < end && n < cap; at += period) {
        while (now_ns() < at) usleep((useconds_t)((at - now_ns()) / 1000 + 1));
        int64_t began = now_ns();
        (http1 ? put_call1 : put_call)(&l.peer);
        while (l.sent < l.peer.out.n && write_some(&l)) {
        }
        l.sent = l.peer.out.n = 0;
        if ((http1 ? await1 : await)(&l, began + 5000000000LL)) {
            took[n++] = now_ns() - began;
            if (now_ns() > at + period) at = now_ns();
            continue;
        }
        failed++;
        close_link(&l);
        if (!open_link(&l)) break;
        begin(&CALM, &l);
    }
    report_latencies(took, n, failed);
    free(took);
    close_link(&l);
    return 0;
}

// ---- the command

static const struct attack *attack_at(size_t i) { // NULL behind the last one
    if (i < ATTACK_COUNT) return &ATTACKS[i];
    i -= ATTACK_COUNT;
    if (i < ATTACKS_HTTP1_COUNT) return &ATTACKS_HTTP1[i];
    i -= ATTACKS_HTTP1_COUNT;
    return i < SOCKET_ATTACK_COUNT ? &SOCKET_ATTACKS[i] : NULL;
}

static void report(const char *name) {
    for (char *c = seen.answer; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') *c = '.';
    }
    printf("{\"attack\":\"%s\",\"connections\":%lu,\"refused\":%lu,\"closed\":%lu,\"units\":%lu,"
           "\"sent\":%llu,\"received\":%llu,\"resets\":%lu,\"goaways\":%lu,\"code\":%u,"
           "\"answer\":\"%s\"}\n",
           name, seen.connections, seen.refused, seen.closed, seen.units, seen.bytes_out,
           seen.bytes_in, seen.resets, seen.goaways, seen.goaway_code, seen.answer);
}

static bool address(const char *text) {
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host) return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(colon + 1));
    return inet_pton(AF_INET, host, &server.sin_addr) == 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        const struct attack *a;
        for (size_t i = 0; (a = attack_at(i)) != NULL; i++) {
            printf("%s\t%s\t%s\n", a->name, a->http == NULL ? "proxy" : "api", a->what);
        }
        return 0;
    }
    if (argc < 4 || !address(argv[1])) {
        fprintf(stderr, "usage: attack HOST:PORT NAME SECONDS [FROM] | attack --list\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < MOST_CONNECTIONS ? files.rlim_max : MOST_CONNECTIONS;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int64_t end = now_ns() + (int64_t)(atof(argv[3]) * 1e9);
    if (strcmp(argv[2], "neighbour") == 0)
        return neighbour(end, (argc > 4 ? atoi(argv[4]) : 2) * 1000000LL);
    if (strcmp(argv[2], "neighbour1") == 0) {
        http1 = true;
        return neighbour(end, (argc > 4 ? atoi(argv[4]) : 2) * 1000000LL);
    }
    for (size_t i = 0; attack_at(i) != NULL; i++) {
        if (strcmp(attack_at(i)->name, argv[2]) != 0) continue;
        from.sin_family =
            argc > 4 && inet_pton(AF_INET, argv[4], &from.sin_addr) == 1 ? AF_INET : 0;
        attack_with(attack_at(i), end);
        report(argv[2]);
        return 0;
    }
    fprintf(stderr, "attack: there is none named %s\n", argv[2]);
    return 2;
}
