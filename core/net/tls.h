// SPDX-License-Identifier: Apache-2.0
// TLS 1.2 and 1.3 (RFC 5246, RFC 8446; OpenSSL does the work) as pure functions over buffers: bytes from the peer go in, bytes
// for the peer are appended to a buffer, and no socket is in sight. What carries it is conn_tls.c.
//
// A context holds what connections have in common: certificate, key, whom to trust. It never changes after it was made, and may
// be held and used by any thread; a new certificate is a new context. A `struct tls` is one end of one connection, and belongs
// to the thread of that connection.
//
// The rules, for both sides: 1.2 at least, ECDHE with AEAD ciphers only, no compression, no renegotiation, no early data.
// ALPN (RFC 7301): a server takes "h2" and "http/1.1", and refuses who offers others only; a client offers "h2" and insists, or "http/1.1",
// which a server need not know of.
#pragma once

#include "base/buf.h"
#include "base/status.h"

struct challenges;
struct tls_context;
struct tls;

struct tls_pem {
    struct str text;  // PEM; empty: none
    const char *name; // what messages call it: "--tls-cert /etc/mica/cert.pem"
};

struct tls_options {
    bool server;
    bool http1;          // client: it speaks HTTP/1.1 instead of HTTP/2
    struct tls_pem cert; // with its chain, the own certificate first. A client may have none
    struct tls_pem key;
    // Server: who may vouch for clients; empty: they are not asked for a certificate. One that is given must be sound, none is
    // fine. Client: who may vouch for servers; empty: whom the system trusts.
    struct tls_pem ca;
    // Server: what is answered to who offers "acme-tls/1" alone (challenge.h); NULL: nothing. It outlives the context.
    struct challenges *challenges;
};

// NULL: INVALID_ARGUMENT with what is wrong with which text; RESOURCE_EXHAUSTED.
struct tls_context *tls_context_new(const struct tls_options *options, struct err *err);
struct tls_context *tls_context_hold(struct tls_context *context); // accepts NULL, as the next
void tls_context_drop(struct tls_context *context);
bool tls_context_expired(const struct tls_context *context); // its own certificate has, by now
// Unix seconds of the moment when its own certificate expires; 0: it has none.
int64_t tls_context_expiry(const struct tls_context *context);

// One end. `host`, client side: the name or address that the server's certificate must be for; a server gives NULL.
// NULL: memory has ended, or the host is longer than a name can be.
struct tls *tls_new(struct tls_context *context, const char *host);
void tls_delete(struct tls *t); // accepts NULL

// Takes *in, which is from the peer and advances, and decrypts into `plain`, which has room for `cap` bytes: *n of them are
// there. What the peer is to be sent for it is appended to `out`. To be called until *n is 0; a client begins its handshake
// by a call with nothing in. Negative: it is broken (tls_fault says how), and is of no use after; `out` may hold an alert that the
// peer should get.
int tls_read(struct tls *t, struct str *in, char *plain, size_t cap, size_t *n, struct buf *out);
// Encrypts all of `plain` and appends it to `out`. Only when tls_ready. Negative: it is broken.
int tls_write(struct tls *t, struct str plain, struct buf *out);
void tls_end(struct tls *t, struct buf *out); // close_notify, once; nothing may be written after

bool tls_begun(const struct tls *t);        // something has come from the peer
bool tls_ready(const struct tls *t);        // the handshake is complete
bool tls_peer_ended(const struct tls *t);   // close_notify has come: the end was not cut off
const char *tls_fault(const struct tls *t); // one line; "" while nothing is wrong

enum tls_alpn { TLS_ALPN_NONE, TLS_ALPN_HTTP1, TLS_ALPN_H2 };
enum tls_alpn tls_alpn(const struct tls *t); // what was agreed on; NONE: the client offered nothing

// Who the client is, by its verified certificate. UTF-8 without control characters; empty: the certificate does not say it, or
// says it more than once.
struct tls_identity {
    struct str name;         // CN of the subject
    struct str organization; // O of the subject
    bool unsound; // it names nobody: said more than once, no text for people, or expired by now
};
const struct tls_identity *tls_identity(const struct tls *t); // NULL: no certificate was given
