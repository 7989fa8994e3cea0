// SPDX-License-Identifier: Apache-2.0
// TLS with both ends in memory: what one appends to its buffer is given to the other, whole or in pieces.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/tls.h"
#include "net/tls_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "certificates.h"

static struct certificate authority, stranger, server_cert, client_cert, plain_cert;

// The SSL of an end: tls.c keeps it first.
static SSL *ssl_of(struct tls *t) { return *(SSL **)(void *)t; }

// ---- contexts

static struct tls_context *context(bool server, const struct certificate *own,
                                   const struct certificate *ca) {
    struct err err = {0};
    struct tls_options o = {
        .server = server, .cert.name = "cert", .key.name = "key", .ca.name = "ca"};
    if (own != NULL) o.cert.text = str_of(own->cert_pem);
    if (own != NULL) o.key.text = str_of(own->key_pem);
    if (ca != NULL) o.ca.text = str_of(ca->cert_pem);
    struct tls_context *c = tls_context_new(&o, &err);
    if (c == NULL) fail_msg("%s", err.text);
    return c;
}

static void refused(struct tls_options o, const char *text) {
    struct err err = {0};
    o.cert.name = "CERT";
    o.key.name = "KEY";
    o.ca.name = "CA";
    assert_null(tls_context_new(&o, &err));
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    if (strstr(err.text, text) == NULL) fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void test_contexts(void **state) {
    (void)state;
    struct certificate_options o = {.cn = "x", .passphrase = "secret"};
    struct certificate locked = certificate_make(NULL, &o);
    struct str cert = str_of(server_cert.cert_pem), key = str_of(server_cert.key_pem);
    struct str half = {cert.p, cert.n / 2}, half_key = {key.p, key.n / 2};
    refused((struct tls_options){.server = true}, "CERT holds no certificate in PEM form");
    refused((struct tls_options){.server = true, .cert.text = str_of("nonsense")}, "CERT holds no");
    refused((struct tls_options){.server = true, .cert.text = half, .key.text = key}, "CERT holds");
    refused((struct tls_options){.server = true, .cert.text = cert}, "KEY holds no private key");
    refused((struct tls_options){.server = true, .cert.text = cert, .key.text = half_key}, "KEY");
    refused((struct tls_options){.server = true,
                                 .cert.text = cert,
                                 .key.text = str_of(client_cert.key_pem)},
            "KEY does not belong to the certificate in CERT");
    refused((struct tls_options){.server = true,
                                 .cert.text = str_of(locked.cert_pem),
                                 .key.text = str_of(locked.key_pem)},
            "KEY is encrypted");
    refused(
        (struct tls_options){
            .server = true, .cert.text = cert, .key.text = key, .ca.text = str_of("x")},
        "CA holds no certificate");
    refused((struct tls_options){.ca.text = half}, "CA holds");
    certificate_free(&locked);

    struct tls_context *c = context(true, &server_cert, NULL);
    assert_false(tls_context_expired(c));
    assert_ptr_equal(tls_context_hold(c), c);
    tls_context_drop(c);
    tls_context_drop(c);
    tls_context_drop(tls_context_hold(NULL));
}

// ---- two ends

struct end {
    struct tls *tls;
    struct buf out;      // on the way to the other end
    struct buf received; // plain text
    size_t piece;        // of what is plain, at most so much at a time
    int rc;
};

struct pair {
    struct end server, client;
};

// Gives what `from` has to say to `to`, in pieces of `step` bytes.
static void carry(struct end *from, struct end *to, size_t step) {
    static char plain[64 * 1024];
    struct str in = buf_str(&from->out);
    while (in.n > 0 && to->rc == 0) {
        struct str part = {in.p, in.n < step ? in.n : step};
        size_t n;
        in = (struct str){in.p + part.n, in.n - part.n};
        do {
            to->rc = tls_read(to->tls, &part, plain, to->piece, &n, &to->out);
            buf_append(&to->received, plain, n);
        } while (n > 0 && to->rc == 0);
    }
    from->out.n = 0;
}

static void settle(struct pair *p, size_t step) {
    for (int i = 0; i < 100 && (p->client.out.n > 0 || p->server.out.n > 0); i++) {
        carry(&p->client, &p->server, step);
        carry(&p->server, &p->client, step);
    }
}

static void pair_make(struct pair *p, struct tls_context *server, struct tls_context *client,
                      const char *host) {
    struct str nothing = {"", 0};
    size_t n;
    *p = (struct pair){.server = {.piece = 64 * 1024}, .client = {.piece = 64 * 1024}};
    p->server.tls = tls_new(server, NULL);
    p->client.tls = tls_new(client, host);
    assert_non_null(p->server.tls);
    assert_non_null(p->client.tls);
    p->client.rc = tls_read(p->client.tls, &nothing, NULL, 0, &n, &p->client.out);
    assert_int_equal(p->client.rc, 0);
    assert_true(p->client.out.n > 0);
}

static void end_free(struct end *e) {
    tls_delete(e->tls);
    buf_free(&e->out);
    buf_free(&e->received);
}

static void pair_free(struct pair *p) {
    end_free(&p->server);
    end_free(&p->client);
}

static struct pair connected(struct tls_context *server, struct tls_context *client) {
    struct pair p;
    pair_make(&p, server, client, "localhost");
    settle(&p, 64 * 1024);
    if (p.client.rc != 0) fail_msg("%s", tls_fault(p.client.tls));
    if (p.server.rc != 0) fail_msg("%s", tls_fault(p.server.tls));
    assert_true(tls_ready(p.server.tls) && tls_ready(p.client.tls));
    return p;
}

static void test_handshake_byte_by_byte(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p;
    pair_make(&p, server, client, "localhost");
    assert_false(tls_begun(p.server.tls));
    settle(&p, 1);
    assert_true(tls_begun(p.server.tls));
    assert_true(tls_ready(p.server.tls) && tls_ready(p.client.tls));
    assert_int_equal(tls_alpn(p.server.tls), TLS_ALPN_H2);
    assert_int_equal(tls_alpn(p.client.tls), TLS_ALPN_H2);
    assert_null(tls_identity(p.server.tls));
    assert_int_equal(tls_write(p.client.tls, str_of("question"), &p.client.out), 0);
    assert_int_equal(tls_write(p.server.tls, str_of("answer"), &p.server.out), 0);
    settle(&p, 1);
    assert_true(str_is(buf_str(&p.server.received), "question"));
    assert_true(str_is(buf_str(&p.client.received), "answer"));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

// More than a record, in both directions, through buffers that hold less than one.
static void test_large(void **state) {
    (void)state;
    enum { SIZE = 3 * 1024 * 1024 + 17 };
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p = connected(server, client);
    unsigned char *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) data[i] = (unsigned char)(i * 7 + i / 251);
    struct str all = {(char *)data, SIZE};
    p.server.piece = 1000;
    p.client.piece = 20000;
    assert_int_equal(tls_write(p.client.tls, all, &p.client.out), 0);
    assert_int_equal(tls_write(p.server.tls, all, &p.server.out), 0);
    assert_true(p.client.out.n > SIZE && p.client.out.n < SIZE + SIZE / 100);
    settle(&p, 4099);
    assert_true(str_equal(buf_str(&p.server.received), all));
    assert_true(str_equal(buf_str(&p.client.received), all));
    assert_int_equal(tls_write(p.client.tls, (struct str){"", 0}, &p.client.out), 0);
    assert_int_equal(p.client.out.n, 0); // nothing to say is nothing said
    free(data);
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_end(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p = connected(server, client);
    tls_write(p.client.tls, str_of("last"), &p.client.out);
    tls_end(p.client.tls, &p.client.out);
    size_t said = p.client.out.n;
    tls_end(p.client.tls, &p.client.out);
    assert_int_equal(p.client.out.n, said); // once
    assert_true(tls_write(p.client.tls, str_of("more"), &p.client.out) < 0);
    assert_false(tls_peer_ended(p.server.tls));
    carry(&p.client, &p.server, 5);
    assert_true(tls_peer_ended(p.server.tls));
    assert_true(str_is(buf_str(&p.server.received), "last"));
    // The other side may still speak.
    assert_int_equal(tls_write(p.server.tls, str_of("answer"), &p.server.out), 0);
    carry(&p.server, &p.client, 64 * 1024);
    assert_true(str_is(buf_str(&p.client.received), "answer"));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

// A connection that is cut off gives what came whole, and does not look ended.
static void test_truncation(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p = connected(server, client);
    tls_write(p.client.tls, str_of("whole"), &p.client.out);
    tls_write(p.client.tls, str_of("cut off"), &p.client.out);
    p.client.out.n -= 3;
    carry(&p.client, &p.server, 64 * 1024);
    assert_int_equal(p.server.rc, 0);
    assert_true(str_is(buf_str(&p.server.received), "whole"));
    assert_false(tls_peer_ended(p.server.tls));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_forged(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p = connected(server, client);
    tls_write(p.client.tls, str_of("sound"), &p.client.out);
    size_t at = p.client.out.n;
    tls_write(p.client.tls, str_of("forged"), &p.client.out);
    buf_p(&p.client.out)[at + 8] ^= 1;
    carry(&p.client, &p.server, 64 * 1024);
    assert_true(p.server.rc < 0);
    assert_true(str_is(buf_str(&p.server.received), "sound"));
    assert_string_not_equal(tls_fault(p.server.tls), "");
    assert_true(p.server.out.n > 0); // the alert
    assert_true(tls_write(p.server.tls, str_of("x"), &p.server.out) < 0);
    carry(&p.server, &p.client, 64 * 1024);
    assert_true(p.client.rc < 0);
    assert_non_null(strstr(tls_fault(p.client.tls), "the server refused"));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

// ---- what no TLS is

static void feed_server(const char *bytes, size_t n, const char *fault) {
    struct tls_context *server = context(true, &server_cert, NULL);
    struct end e = {.tls = tls_new(server, NULL), .piece = 1024};
    struct end from = {0};
    buf_append(&from.out, bytes, n);
    carry(&from, &e, 7);
    assert_true(e.rc < 0);
    if (strstr(tls_fault(e.tls), fault) == NULL) fail_msg("%s: %s", fault, tls_fault(e.tls));
    struct str more = str_of("more");
    char plain[16];
    size_t got;
    assert_true(tls_read(e.tls, &more, plain, sizeof plain, &got, &e.out) < 0);
    end_free(&e);
    end_free(&from);
    tls_context_drop(server);
}

static void test_garbage(void **state) {
    (void)state;
    static const char GET[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char PRI[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const char ZEROS[64];
    static const char HUGE_RECORD[] = "\x16\x03\x01\xff\xff\x01\x00\x00\x00";
    static const char HUGE_HELLO[] = "\x16\x03\x01\x00\x04\x01\xff\xff\xff";
    feed_server(GET, sizeof GET - 1, "does not speak TLS");
    feed_server(PRI, sizeof PRI - 1, "does not speak TLS");
    feed_server(ZEROS, sizeof ZEROS, "does not speak TLS");
    feed_server(HUGE_RECORD, sizeof HUGE_RECORD - 1, "");
    feed_server(HUGE_HELLO, sizeof HUGE_HELLO - 1, "");
    // A client that meets a server without TLS.
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p;
    pair_make(&p, server, client, "localhost");
    buf_append_text(&p.server.out, "HTTP/1.1 400 Bad Request\r\n\r\n");
    carry(&p.server, &p.client, 64 * 1024);
    assert_true(p.client.rc < 0);
    assert_string_equal(tls_fault(p.client.tls), "the server does not speak TLS");
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

// Bytes of a handshake that were changed on the way: it fails or it succeeds, and neither side is confused by it.
static void test_changed_bytes(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    uint32_t chance = 4711;
    int failed = 0;
    for (int i = 0; i < 200; i++) {
        struct pair p;
        pair_make(&p, server, client, "localhost");
        if (i % 2 == 1) carry(&p.client, &p.server, 64 * 1024);
        struct end *changed = i % 2 == 1 ? &p.server : &p.client;
        for (int k = 0; k <= i % 3; k++) {
            chance = chance * 1664525 + 1013904223;
            buf_p(&changed->out)[(chance >> 8) % changed->out.n] ^= (char)(1 << (chance >> 29));
        }
        if (i % 5 == 4) changed->out.n -= 1 + (chance >> 8) % (changed->out.n / 2);
        settle(&p, 1 + i % 700);
        bool both = tls_ready(p.server.tls) && tls_ready(p.client.tls);
        if (!both || p.server.rc < 0 || p.client.rc < 0) failed++;
        assert_int_equal(p.server.received.n + p.client.received.n, 0);
        pair_free(&p);
    }
    assert_true(
        failed >
        150); // what is left are bytes that mean nothing, such as parts of names nobody looks at
    tls_context_drop(server);
    tls_context_drop(client);
}

// ---- certificates

// A handshake that the client ends with this fault; the server hears of it.
static void client_refuses(const struct certificate *own, const struct certificate *trusted,
                           const char *host, const char *fault) {
    struct tls_context *server = context(true, own, NULL);
    struct tls_context *client = context(false, NULL, trusted);
    struct pair p;
    pair_make(&p, server, client, host);
    settle(&p, 64 * 1024);
    assert_true(p.client.rc < 0);
    if (strstr(tls_fault(p.client.tls), fault) == NULL) fail_msg("%s", tls_fault(p.client.tls));
    assert_true(p.server.rc < 0);
    if (strstr(tls_fault(p.server.tls), "the client refused") == NULL)
        fail_msg("%s", tls_fault(p.server.tls));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_wrong_server(void **state) {
    (void)state;
    struct certificate_options old = {
        .cn = "x", .san = "DNS:localhost", .from = -3 * DAY, .to = -2 * DAY};
    struct certificate_options future = {
        .cn = "x", .san = "DNS:localhost", .from = 2 * DAY, .to = 3 * DAY};
    struct certificate expired = certificate_make(&authority, &old);
    struct certificate early = certificate_make(&authority, &future);
    client_refuses(&server_cert, &stranger, "localhost", "unknown authority");
    client_refuses(&server_cert, NULL, "localhost", "unknown authority");
    client_refuses(&server_cert, &authority, "other.example",
                   "not for other.example, but for localhost, a.example");
    client_refuses(&server_cert, &authority, "127.0.0.2", "not for 127.0.0.2");
    client_refuses(&expired, &authority, "localhost", "has expired");
    client_refuses(&early, &authority, "localhost", "not valid yet");
    struct tls_context *c = context(true, &expired, NULL);
    assert_true(tls_context_expired(c));
    tls_context_drop(c);
    certificate_free(&expired);
    certificate_free(&early);
}

static void test_right_names(void **state) {
    (void)state;
    static const char *const NAMES[] = {"localhost", "a.example", "127.0.0.1", "LOCALHOST"};
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    for (size_t i = 0; i < 4; i++) {
        struct pair p;
        pair_make(&p, server, client, NAMES[i]);
        settle(&p, 64 * 1024);
        if (p.client.rc != 0) fail_msg("%s: %s", NAMES[i], tls_fault(p.client.tls));
        pair_free(&p);
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_null(tls_new(client, longest));
    tls_context_drop(server);
    tls_context_drop(client);
}

static void client_is(const struct certificate *own, const char *name, const char *organization,
                      bool ambiguous) {
    struct tls_context *server = context(true, &server_cert, &authority);
    struct tls_context *client = context(false, own, &authority);
    struct pair p = connected(server, client);
    const struct tls_identity *who = tls_identity(p.server.tls);
    if (own == NULL) {
        assert_null(who);
    } else {
        assert_non_null(who);
        assert_true(str_is(who->name, name));
        assert_true(str_is(who->organization, organization));
        assert_int_equal(who->unsound, ambiguous);
    }
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_identity(void **state) {
    (void)state;
    struct certificate_options two = {.cn = "ada", .more = "eve"};
    struct certificate_options odd = {.cn = "a\nb"};
    struct certificate ambiguous = certificate_make(&authority, &two);
    struct certificate odd_name = certificate_make(&authority, &odd);
    client_is(&client_cert, "ada", "shop", false);
    client_is(&plain_cert, "bob", "", false);
    client_is(&ambiguous, "", "", true);
    client_is(&odd_name, "", "", true);
    client_is(NULL, NULL, NULL, false);
    certificate_free(&ambiguous);
    certificate_free(&odd_name);
}

// A session is taken up again after the client's certificate has expired: then it is nobody's.
static void test_resumed_identity(void **state) {
    (void)state;
    struct certificate_options soon = {.cn = "ada", .to = 2};
    struct certificate brief = certificate_make(&authority, &soon);
    struct tls_context *server = context(true, &server_cert, &authority);
    struct tls_context *client = context(false, &brief, &authority);
    SSL_SESSION *session = NULL;
    for (int turn = 0; turn < 3; turn++) {
        struct pair p;
        if (turn == 2) sleep(3);
        pair_make(&p, server, client, "localhost");
        p.client.out.n = 0;
        tls_delete(p.client.tls);
        p.client.tls = tls_new(client, "localhost");
        if (session != NULL) SSL_set_session(ssl_of(p.client.tls), session);
        struct str nothing = {"", 0};
        size_t n;
        tls_read(p.client.tls, &nothing, NULL, 0, &n, &p.client.out);
        settle(&p, 64 * 1024);
        assert_int_equal(p.server.rc, 0);
        assert_int_equal(SSL_session_reused(ssl_of(p.server.tls)), turn > 0);
        const struct tls_identity *who = tls_identity(p.server.tls);
        assert_non_null(who);
        assert_int_equal(who->unsound, turn == 2);
        SSL_SESSION_free(session);
        session = SSL_get1_session(ssl_of(p.client.tls));
        tls_end(p.client.tls, &p.client.out); // one that is cut off cannot be resumed
        pair_free(&p);
    }
    SSL_SESSION_free(session);
    certificate_free(&brief);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void server_refuses(const struct certificate *own, const char *fault) {
    struct tls_context *server = context(true, &server_cert, &authority);
    struct tls_context *client = context(false, own, &authority);
    struct pair p;
    pair_make(&p, server, client, "localhost");
    settle(&p, 64 * 1024);
    assert_true(p.server.rc < 0);
    assert_false(tls_ready(p.server.tls));
    if (strstr(tls_fault(p.server.tls), fault) == NULL) fail_msg("%s", tls_fault(p.server.tls));
    assert_true(p.client.rc < 0);
    assert_non_null(strstr(tls_fault(p.client.tls), "the server refused: "));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_wrong_client(void **state) {
    (void)state;
    struct certificate_options old = {.cn = "ada", .from = -3 * DAY, .to = -2 * DAY};
    struct certificate_options mine = {.cn = "ada"};
    struct certificate expired = certificate_make(&authority, &old);
    struct certificate foreign = certificate_make(&stranger, &mine);
    server_refuses(&foreign, "the client's certificate was signed by an unknown authority");
    server_refuses(&expired, "the client's certificate has expired");
    certificate_free(&expired);
    certificate_free(&foreign);
}

// ---- protocols

// A handshake with the client's own rules changed behind the layer's back.
static struct pair with_client(struct tls_context *server, struct tls_context *client) {
    struct pair p;
    pair_make(&p, server, client, "localhost");
    settle(&p, 64 * 1024);
    return p;
}

static void test_alpn(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    SSL_CTX_set_alpn_protos(client->ctx, (const unsigned char *)"\x06spdy/3\x05h2-14", 13);
    struct pair p = with_client(server, client);
    assert_true(p.server.rc < 0);
    assert_true(p.client.rc < 0);
    assert_non_null(strstr(tls_fault(p.client.tls), "no application protocol"));
    pair_free(&p);
    SSL_CTX_set_alpn_protos(client->ctx, (const unsigned char *)"\x08http/1.1\x06spdy/3", 16);
    p = with_client(server, client);
    assert_int_equal(p.server.rc, 0);
    assert_int_equal(tls_alpn(p.server.tls), TLS_ALPN_HTTP1);
    assert_string_equal(tls_fault(p.client.tls), "the server does not speak HTTP/2 (ALPN \"h2\")");
    pair_free(&p);
    SSL_CTX_set_alpn_protos(client->ctx, NULL, 0);
    p = with_client(server, client);
    assert_int_equal(p.server.rc, 0);
    assert_true(tls_ready(p.server.tls));
    assert_int_equal(tls_alpn(p.server.tls), TLS_ALPN_NONE);
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_versions(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    SSL_CTX_set_max_proto_version(client->ctx, TLS1_2_VERSION);
    struct pair p = connected(server, client);
    tls_write(p.client.tls, str_of("1.2"), &p.client.out);
    settle(&p, 3);
    assert_true(str_is(buf_str(&p.server.received), "1.2"));
    pair_free(&p);
    // Without forward secrecy, or without AEAD.
    assert_int_equal(SSL_CTX_set_cipher_list(client->ctx, "AES128-GCM-SHA256:ECDHE+AES+SHA256"), 1);
    p = with_client(server, client);
    assert_true(p.server.rc < 0);
    assert_non_null(strstr(tls_fault(p.server.tls), "no shared cipher"));
    pair_free(&p);
    tls_context_drop(client);
    client = context(false, NULL, &authority);
    SSL_CTX_set_min_proto_version(client->ctx, TLS1_1_VERSION);
    SSL_CTX_set_max_proto_version(client->ctx, TLS1_1_VERSION);
    SSL_CTX_set_cipher_list(client->ctx, "ALL:@SECLEVEL=0");
    p = with_client(server, client);
    assert_true(p.server.rc < 0);
    assert_non_null(strstr(tls_fault(p.server.tls), "unsupported protocol"));
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_chatter(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    struct pair p = connected(server, client);
    for (int i = 0; i < 50; i++) { // a few between data are fine
        assert_int_equal(SSL_key_update(ssl_of(p.client.tls), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(tls_write(p.client.tls, str_of("x"), &p.client.out), 0);
        settle(&p, 64 * 1024);
    }
    assert_int_equal(p.server.rc, 0);
    assert_int_equal(p.server.received.n, 50);
    for (int i = 0; i < 60 && p.server.rc == 0; i++) {
        SSL_key_update(ssl_of(p.client.tls), SSL_KEY_UPDATE_REQUESTED);
        tls_write(p.client.tls, str_of("x"), &p.client.out);
        carry(&p.client, &p.server, 64 * 1024);
    }
    assert_true(p.server.rc < 0);
    assert_string_equal(tls_fault(p.server.tls), "it sends records without data");
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

static void test_no_renegotiation(void **state) {
    (void)state;
    struct tls_context *server = context(true, &server_cert, NULL);
    struct tls_context *client = context(false, NULL, &authority);
    SSL_CTX_set_max_proto_version(client->ctx, TLS1_2_VERSION);
    SSL_CTX_clear_options(client->ctx, SSL_OP_NO_RENEGOTIATION);
    struct pair p = connected(server, client);
    SSL_renegotiate(ssl_of(p.client.tls));
    tls_write(p.client.tls, str_of("x"), &p.client.out);
    settle(&p, 64 * 1024);
    assert_int_equal(p.server.rc, 0); // refused by a warning, the server goes on
    assert_true(p.client.rc < 0);
    pair_free(&p);
    tls_context_drop(server);
    tls_context_drop(client);
}

// ---- all

static int set_up(void **state) {
    (void)state;
    struct certificate_options ca = {.cn = "an authority", .authority = true};
    struct certificate_options other = {.cn = "a stranger", .authority = true};
    struct certificate_options server = {.cn = "server",
                                         .san = "DNS:localhost,DNS:a.example,IP:127.0.0.1"};
    struct certificate_options client = {.cn = "ada", .o = "shop"};
    struct certificate_options plain = {.cn = "bob"};
    authority = certificate_make(NULL, &ca);
    stranger = certificate_make(NULL, &other);
    server_cert = certificate_make(&authority, &server);
    client_cert = certificate_make(&authority, &client);
    plain_cert = certificate_make(&authority, &plain);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    certificate_free(&authority);
    certificate_free(&stranger);
    certificate_free(&server_cert);
    certificate_free(&client_cert);
    certificate_free(&plain_cert);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_handshake_byte_by_byte),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_wrong_server),
        cmocka_unit_test(test_right_names),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_resumed_identity),
        cmocka_unit_test(test_wrong_client),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_chatter),
        cmocka_unit_test(test_no_renegotiation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
