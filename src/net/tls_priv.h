/* tls_priv.h - a TLS configuration: OpenSSL's context and what is checked beside it. */
#ifndef NET_TLS_PRIV_H
#define NET_TLS_PRIV_H

#include "net/psk.h"
#include "net/tls.h"
#include <openssl/ssl.h>

struct tls_config {
    SSL_CTX *ctx;
    bool is_server, has_pin;
    uint8_t pin[32];     /* SHA-256 of the peer's certificate */
    struct tls_psk *psk; /* shared; NULL = none */
};

/* tls_psk.c: has a server's stream look keys up in `psk` (borrowed; it outlives the stream). */
void tls_psk_use(SSL *ssl, struct tls_psk *psk);

#endif
