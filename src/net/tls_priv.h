/* tls_priv.h - a TLS configuration: OpenSSL's context and what is checked beside it. */
#ifndef NET_TLS_PRIV_H
#define NET_TLS_PRIV_H

#include "net/psk.h"
#include "net/tls.h"
#include <openssl/ssl.h>

struct tls_config {
    SSL_CTX *ctx;
    bool is_server, has_pin;
    uint8_t pin[32];         /* SHA-256 of the peer's certificate */
    struct tls_psk *psk;     /* shared; NULL = none */
    struct tls_names *names; /* shared; NULL = none */
};

/* tls_config.c: a context as every configuration's; the own certificate, its chain and key. */
SSL_CTX *tls_context_new(bool is_server);
enum err tls_context_use(SSL_CTX *ctx, struct str certificate_pem, struct str key_pem,
                         struct why *why);

/* tls_psk.c: has a server's stream look keys up in `psk` (borrowed; it outlives the stream). */
void tls_psk_use(SSL *ssl, struct tls_psk *psk);

/* tls_names.c: further certificates. Shares, as of keys; release takes NULL. */
struct tls_names *tls_names_share(struct tls_names *names);
void tls_names_release(struct tls_names *names);
/* Has a server's stream look there for the name that its client asks for (borrowed; it outlives the
 * stream). */
void tls_names_use(SSL *ssl, struct tls_names *names);

#endif
