// SPDX-License-Identifier: Apache-2.0
// TLS-ALPN-01 (RFC 8737): a certificate authority connects, offers the protocol "acme-tls/1" alone, names the host (SNI), and
// looks at the certificate. OpenSSL chooses the certificate before it asks for the protocol, so what is offered is read from the
// ClientHello itself. The connection ends with its handshake (tls.c). One that offers "acme-tls/1" for a name that is not being
// ordered is refused as any other unknown protocol.
#include "net/tls_internal.h"

#include "net/challenge.h"

// Two bytes of length, and a list that holds one name: again two bytes of length, a type, and so on. RFC 7301 section 3.1.
static bool offers_only_acme(SSL *ssl) {
    static const char OFFER[] = "\x00\x0b\x0a"
                                "acme-tls/1";
    const unsigned char *p;
    size_t n;
    return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
                                     &n) == 1 &&
           n == sizeof OFFER - 1 && memcmp(p, OFFER, n) == 0;
}

// The host of the server_name extension (RFC 6066 section 3); empty: there is none, or more than one.
static struct str named_host(SSL *ssl) {
    const unsigned char *p;
    size_t n;
    struct str none = {"", 0};
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 || n < 5) return none;
    size_t list = (size_t)p[0] << 8 | p[1], host = (size_t)p[3] << 8 | p[4];
    if (list != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name || host != n - 5) return none;
    return (struct str){(const char *)p + 5, host};
}

int tls_challenge_hello(SSL *ssl, int *alert, void *challenges) {
    (void)alert;
    if (!offers_only_acme(ssl) || !challenges_use_certificate(challenges, named_host(ssl), ssl))
        return SSL_CLIENT_HELLO_SUCCESS;
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    SSL_set_options(ssl,
                    SSL_OP_NO_TICKET); // neither taken, which would hide the certificate, nor given
    tls_answers_challenge(SSL_get_app_data(ssl));
    return SSL_CLIENT_HELLO_SUCCESS;
}
