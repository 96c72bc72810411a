/* tls_names.c - further certificates of a server (tls_config_add_certificate): which of them a
 * client is shown is said by the host name that it asks for.
 *
 * Each lies in an OpenSSL context of its own, which has checked that the key is the certificate's;
 * only certificate, chain and key are taken from there. The stream's own context stays in use, and
 * with it who may come in: the name must not choose among clients' authorities. */
#include "net/tls_priv.h"
#include "base/mem.h"
#include <openssl/x509v3.h>
#include <stdatomic.h>

struct tls_names {
    _Atomic uint32_t refs;
    size_t count;
    SSL_CTX *at[TLS_NAMES_MAX];
};

struct tls_names *tls_names_share(struct tls_names *names)
{
    MUST(names && atomic_fetch_add(&names->refs, 1) > 0);
    return names;
}

void tls_names_release(struct tls_names *names)
{
    if (!names || atomic_fetch_sub(&names->refs, 1) > 1) return;
    for (size_t i = 0; i < names->count; i++) SSL_CTX_free(names->at[i]);
    mem_free(names);
}

static bool has_name(X509 *certificate, const char *name)
{
    return certificate && X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

/* What OpenSSL asks before it shows a certificate; 0 ends the handshake. The first one's key may be
 * of another kind and would be preferred, so it goes. */
static int on_certificate(SSL *ssl, void *arg)
{
    const struct tls_names *names = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name || has_name(SSL_get_certificate(ssl), name)) return 1;
    for (size_t i = 0; i < names->count; i++) {
        STACK_OF(X509) *chain = NULL;
        X509 *certificate = SSL_CTX_get0_certificate(names->at[i]);
        if (!has_name(certificate, name)) continue;
        SSL_certs_clear(ssl);
        SSL_CTX_get0_chain_certs(names->at[i], &chain);
        return SSL_use_cert_and_key(ssl, certificate, SSL_CTX_get0_privatekey(names->at[i]), chain,
                                    1) == 1;
    }
    return 1;
}

void tls_names_use(SSL *ssl, struct tls_names *names)
{
    MUST(ssl && names);
    SSL_set_cert_cb(ssl, on_certificate, names);
}

enum err tls_config_add_certificate(struct tls_config *config, struct str certificate,
                                    struct str key, struct why *why)
{
    MUST(config->is_server);
    if (!config->names && !(config->names = mem_alloc_zero(1, sizeof *config->names)))
        return why_set(why, ERR_NO_MEMORY, "no memory for TLS");
    struct tls_names *names = config->names;
    if (!names->count) atomic_init(&names->refs, 1);
    MUST(atomic_load(&names->refs) == 1);
    if (names->count == TLS_NAMES_MAX)
        return why_set(why, ERR_LIMIT, "more than %d further certificates", TLS_NAMES_MAX);
    SSL_CTX *ctx = tls_context_new(true);
    if (!ctx) return why_set(why, ERR_NO_MEMORY, "no memory for TLS");
    enum err err = tls_context_use(ctx, certificate, key, why);
    if (err)
        SSL_CTX_free(ctx);
    else
        names->at[names->count++] = ctx;
    return err;
}
