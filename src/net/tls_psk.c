/* tls_psk.c - OpenSSL's two ways to ask for a key that both sides have (tls_config_set_psk).
 *
 * In TLS 1.2 the client names an identity within a PSK cipher, and finishing the handshake proves
 * the key. In 1.3 it offers identities, of which one may be taken and another, whose key it does
 * not have, only mentioned; so the identity is written into the session that its key makes, and
 * read from the session that the handshake ended with. There are no tickets, which would carry it
 * on after the key has gone. */
#include "net/tls_priv.h"
#include <openssl/crypto.h>
#include <string.h>

/* An unknown identity and a wrong key end alike: with an alert. */
static unsigned on_identity(SSL *ssl, const char *identity, unsigned char *key, unsigned room)
{
    const struct tls_psk *psk = SSL_get_app_data(ssl);
    uint8_t bytes[PSK_KEY_BYTES_MAX];
    /* 1.3 asks here, too, when the other call knew none: it never gets one. */
    if (!psk || !identity || SSL_version(ssl) >= TLS1_3_VERSION) return 0;
    size_t size = tls_psk_find(psk, str_of(identity), bytes);
    if (size > room) size = 0;
    memcpy(key, bytes, size);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return (unsigned)size;
}

/* The session of a key as RFC 8446 section 4.2.11 has it: SHA-256, unless said otherwise. */
static SSL_SESSION *session_of(SSL *ssl, struct str identity, const uint8_t *key, size_t size)
{
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION *session = SSL_SESSION_new();
    if (session && cipher && SSL_SESSION_set1_master_key(session, key, size) == 1 &&
        SSL_SESSION_set_cipher(session, cipher) == 1 &&
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1 &&
        SSL_SESSION_set1_ticket_appdata(session, identity.at, identity.size) == 1)
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

static int on_offer(SSL *ssl, const unsigned char *at, size_t identity_size, SSL_SESSION **session)
{
    const struct tls_psk *psk = SSL_get_app_data(ssl);
    struct str identity = {(const char *)at, identity_size};
    uint8_t bytes[PSK_KEY_BYTES_MAX];
    *session = NULL;
    size_t size = psk ? tls_psk_find(psk, identity, bytes) : 0;
    if (!size) return 1; /* perhaps the next one that it offers */
    *session = session_of(ssl, identity, bytes, size);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return *session != NULL;
}

void tls_psk_use(SSL *ssl, struct tls_psk *psk)
{
    MUST(ssl && psk);
    SSL_set_app_data(ssl, psk);
    SSL_set_psk_server_callback(ssl, on_identity);
    SSL_set_psk_find_session_callback(ssl, on_offer);
    /* A client that offers keys means them: its identity would be lost in a handshake with the
     * certificate. Keys go with SHA-256 in 1.3, so those ciphers come first there. */
    SSL_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    int good = SSL_set_cipher_list(ssl, "kECDHEPSK:kPSK:DEFAULT:!eNULL") &&
               SSL_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                                         "TLS_AES_256_GCM_SHA384") &&
               SSL_set_num_tickets(ssl, 0);
    MUST(good == 1);
}
