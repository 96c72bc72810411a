/* tls_config.c - certificates and keys: from PEM texts to a configuration, and making a self-signed
 * one.
 *
 * One policy for both sides: TLS 1.2 and 1.3 with OpenSSL's ciphers, no renegotiation, no
 * compression, buffers given back while a connection idles. Session tickets stay on: browsers
 * reconnect often. */
#include "net/tls_priv.h"
#include "base/mem.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static enum err failed(struct why *why, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    enum err err = why_set(why, ERR_TLS, "%s: %s", what, reason ? reason : "not usable");
    ERR_clear_error();
    return err;
}

/* Keys with a passphrase are refused instead of asking at a terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static BIO *bio_of(struct str pem)
{
    return BIO_new_mem_buf(pem.size ? pem.at : "", (int)pem.size);
}

/* The first certificate is the own one, the rest its chain. */
static enum err use_certificates(SSL_CTX *ctx, struct str pem, struct why *why)
{
    BIO *bio = bio_of(pem);
    if (!bio) return ERR_NO_MEMORY;
    X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    enum err err = certificate && SSL_CTX_use_certificate(ctx, certificate) == 1
                       ? ERR_OK
                       : failed(why, "certificate");
    X509_free(certificate);
    while (!err && (certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        if (SSL_CTX_add0_chain_cert(ctx, certificate) == 1) continue;
        X509_free(certificate);
        err = failed(why, "certificate chain");
    }
    ERR_clear_error(); /* "no start line" is how the end of the list reads */
    BIO_free(bio);
    return err;
}

static enum err use_key(SSL_CTX *ctx, struct str pem, struct why *why)
{
    BIO *bio = bio_of(pem);
    if (!bio) return ERR_NO_MEMORY;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    enum err err = ERR_OK;
    if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        err = failed(why, "key");
    else if (SSL_CTX_check_private_key(ctx) != 1)
        err = failed(why, "the key does not belong to the certificate");
    EVP_PKEY_free(key);
    BIO_free(bio);
    return err;
}

static enum err use_ca(SSL_CTX *ctx, struct str pem, bool is_server, struct why *why)
{
    BIO *bio = bio_of(pem);
    if (!bio) return ERR_NO_MEMORY;
    size_t count = 0;
    enum err err = ERR_OK;
    for (X509 *ca; !err && (ca = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)); count++) {
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1) err = failed(why, "ca");
        if (is_server && SSL_CTX_add_client_CA(ctx, ca) != 1) err = failed(why, "ca");
        X509_free(ca);
    }
    if (!err && count == 0) err = failed(why, "ca");
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

SSL_CTX *tls_context_new(bool is_server)
{
    static const unsigned char session_context[] = "millrace";
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!ctx) return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1);
    return ctx;
}

enum err tls_context_use(SSL_CTX *ctx, struct str certificate, struct str key, struct why *why)
{
    enum err err = use_certificates(ctx, certificate, why);
    return err ? err : use_key(ctx, key, why);
}

static struct tls_config *config_new(bool is_server)
{
    struct tls_config *config = mem_alloc_zero(1, sizeof *config);
    if (!config) return NULL;
    config->is_server = is_server;
    config->ctx = tls_context_new(is_server);
    if (config->ctx) return config;
    mem_free(config);
    return NULL;
}

void tls_config_release(struct tls_config *config)
{
    if (!config) return;
    SSL_CTX_free(config->ctx); /* streams hold their own share */
    tls_psk_release(config->psk);
    tls_names_release(config->names);
    mem_free(config);
}

enum err tls_server_config(struct str certificate, struct str key, struct str ca,
                           struct tls_config **out, struct why *why)
{
    struct tls_config *config = config_new(true);
    if (!config) return why_set(why, ERR_NO_MEMORY, "no memory for TLS");
    enum err err = tls_context_use(config->ctx, certificate, key, why);
    if (!err && ca.size) {
        err = use_ca(config->ctx, ca, true, why);
        SSL_CTX_set_verify(config->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (err)
        tls_config_release(config);
    else
        *out = config;
    return err;
}

void tls_config_certificates_optional(struct tls_config *config)
{
    MUST(config->is_server && SSL_CTX_get_verify_mode(config->ctx) & SSL_VERIFY_PEER);
    SSL_CTX_set_verify(config->ctx, SSL_VERIFY_PEER, NULL);
}

enum err tls_client_config(struct str certificate, struct str key, struct str ca,
                           const uint8_t *pin, struct tls_config **out, struct why *why)
{
    struct tls_config *config = config_new(false);
    if (!config) return why_set(why, ERR_NO_MEMORY, "no memory for TLS");
    enum err err = ERR_OK;
    if (pin) {
        config->has_pin = true;
        memcpy(config->pin, pin, sizeof config->pin);
    } else {
        SSL_CTX_set_verify(config->ctx, SSL_VERIFY_PEER, NULL);
        if (ca.size)
            err = use_ca(config->ctx, ca, false, why);
        else if (SSL_CTX_set_default_verify_paths(config->ctx) != 1)
            err = failed(why, "the system's trust store");
    }
    if (!err && certificate.size) err = tls_context_use(config->ctx, certificate, key, why);
    if (err)
        tls_config_release(config);
    else
        *out = config;
    return err;
}

struct tls_config *tls_config_copy(const struct tls_config *config)
{
    struct tls_config *copy = mem_dup(config, sizeof *config);
    if (copy) MUST(SSL_CTX_up_ref(copy->ctx) == 1);
    if (copy && copy->psk) (void)tls_psk_share(copy->psk);
    if (copy && copy->names) (void)tls_names_share(copy->names);
    return copy;
}

void tls_config_renew(struct tls_config *config, struct tls_config *fresh)
{
    MUST(config->is_server == fresh->is_server);
    struct tls_config old = *config;
    *config = *fresh;
    *fresh = old;
    tls_config_release(fresh); /* each stream holds the OpenSSL context that it was made from */
}

static bool has_ca(const struct tls_config *config, const X509 *ca)
{
    const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(config->ctx));
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        const X509 *one = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        if (one && X509_cmp(one, ca) == 0) return true;
    }
    return false;
}

bool tls_config_is_stricter(const struct tls_config *was, const struct tls_config *now)
{
    MUST(was->is_server && now->is_server);
    int asked = SSL_CTX_get_verify_mode(was->ctx), asks = SSL_CTX_get_verify_mode(now->ctx);
    const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(was->ctx));
    if (asks & ~asked & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) return true;
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        const X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        if (ca && !has_ca(now, ca)) return true;
    }
    return false;
}

void tls_config_set_psk(struct tls_config *config, struct tls_psk *psk)
{
    MUST(config->is_server);
    tls_psk_release(config->psk);
    config->psk = psk ? tls_psk_share(psk) : NULL;
}

void tls_config_trust_anyone(struct tls_config *config)
{
    MUST(!config->is_server && !config->has_pin);
    SSL_CTX_set_verify(config->ctx, SSL_VERIFY_NONE, NULL);
}

/* ---- making one ---- */

/* "DNS:gw7,IP:10.0.0.7"; names are checked, because OpenSSL reads a little language here. */
static bool print_names(const char *const *names, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(names[i]);
        if (size == 0 || size > 255) return false;
        for (size_t k = 0; k < size; k++) {
            char c = names[i][k];
            bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
            if (!fine && !(c && strchr(".:-_*", c))) return false;
        }
        ASN1_OCTET_STRING *ip = a2i_IPADDRESS(names[i]);
        ERR_clear_error();
        if (!ip && strchr(names[i], ':')) return false;
        buf_printf(out, "%s%s:%s", i ? "," : "", ip ? "IP" : "DNS", names[i]);
        ASN1_OCTET_STRING_free(ip);
    }
    return !buf_failed(out);
}

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool good = extension && X509_add_ext(x, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

/* A serial number that no other key has: from the key itself. */
static bool set_serial(X509 *x)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (X509_pubkey_digest(x, EVP_sha1(), digest, &size) != 1 || size < 16) return false;
    digest[0] = (uint8_t)((digest[0] & 0x7f) | 0x40); /* positive, and always as long */
    BIGNUM *number = BN_bin2bn(digest, 16, NULL);
    bool good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
    BN_free(number);
    return good;
}

static bool fill(X509 *x, EVP_PKEY *key, const char *common_name, const char *names,
                 int64_t not_before_s, unsigned days)
{
    /* No "CA:TRUE": browsers refuse an authority's certificate as a server's. */
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth,clientAuth"},
        {NID_subject_key_identifier, "hash"},
    };
    X509_NAME *name = X509_get_subject_name(x);
    bool good = X509_set_version(x, 2) == 1 && X509_set_pubkey(x, key) == 1 && set_serial(x) &&
                ASN1_TIME_set(X509_getm_notBefore(x), (time_t)not_before_s) &&
                ASN1_TIME_adj(X509_getm_notAfter(x), (time_t)not_before_s, (int)days, 0) &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                           (const unsigned char *)common_name, -1, -1, 0) &&
                X509_set_issuer_name(x, name) == 1;
    for (size_t i = 0; good && i < sizeof extensions / sizeof extensions[0]; i++)
        good = add_extension(x, extensions[i].nid, extensions[i].value);
    if (good && names[0]) good = add_extension(x, NID_subject_alt_name, names);
    return good && X509_sign(x, key, EVP_sha256()) > 0;
}

static bool take_text(BIO *bio, struct buf *out)
{
    char *at = NULL;
    long size = BIO_get_mem_data(bio, &at);
    buf_add(out, at, size > 0 ? (size_t)size : 0);
    return !buf_failed(out) && size > 0;
}

enum err tls_make_self_signed(const char *common_name, const char *const *names, size_t name_count,
                              int64_t not_before_s, unsigned days, struct buf *certificate_pem,
                              struct buf *key_pem, struct why *why)
{
    MUST(days > 0 && days < 36500);
    struct buf list = BUF_EMPTY;
    if (!print_names(names, name_count, &list)) {
        buf_free(&list);
        return why_set(why, ERR_INVALID,
                       "certificate for %s: a name is neither host name nor IP address",
                       common_name);
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *text = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
    const char *alternatives = buf_cstr(&list);
    bool good = key && x && text && secret && alternatives &&
                fill(x, key, common_name, alternatives, not_before_s, days) &&
                PEM_write_bio_X509(text, x) == 1 &&
                PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                take_text(text, certificate_pem) && take_text(secret, key_pem);
    BIO_free(text);
    BIO_free(secret);
    X509_free(x);
    EVP_PKEY_free(key);
    buf_free(&list);
    if (good) return ERR_OK;
    enum err err = failed(why, "making a certificate");
    return why ? why_wrap(why, err, "certificate for %s", common_name) : err;
}

/* The private part is that of the public one: a flipped bit may be in either. */
static bool is_pair(EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    bool good = context && EVP_PKEY_pairwise_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return good;
}

enum err tls_check_self_signed(struct str certificate_pem, struct str key_pem, struct why *why)
{
    BIO *text = bio_of(certificate_pem), *secret = bio_of(key_pem);
    X509 *x = text ? PEM_read_bio_X509(text, NULL, no_passphrase, NULL) : NULL;
    EVP_PKEY *key = secret ? PEM_read_bio_PrivateKey(secret, NULL, no_passphrase, NULL) : NULL;
    const char *damage = !x                                    ? "the certificate is damaged"
                         : !key || !is_pair(key)               ? "the key is damaged"
                         : X509_check_private_key(x, key) != 1 ? "the key is not the certificate's"
                         : X509_verify(x, key) != 1            ? "the certificate is damaged"
                                                               : NULL;
    bool has_memory = text && secret;
    X509_free(x);
    EVP_PKEY_free(key);
    BIO_free(text);
    BIO_free(secret);
    ERR_clear_error();
    if (!has_memory) return ERR_NO_MEMORY;
    return damage ? why_set(why, ERR_CORRUPT, "%s", damage) : ERR_OK;
}

bool tls_fingerprint(struct str certificate_pem, char *out, size_t out_bytes)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    BIO *bio = bio_of(certificate_pem);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
    bool good =
        x && X509_digest(x, EVP_sha256(), digest, &size) == 1 && out_bytes >= 7 + 3 * (size_t)size;
    X509_free(x);
    BIO_free(bio);
    ERR_clear_error();
    if (!good) return false;
    size_t n = (size_t)snprintf(out, out_bytes, "SHA256");
    for (unsigned i = 0; i < size; i++)
        n += (size_t)snprintf(out + n, out_bytes - n, ":%02X", digest[i]);
    return true;
}
