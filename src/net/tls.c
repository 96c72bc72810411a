/* tls.c - a TLS stream on top of another stream.
 *
 * OpenSSL sees two memory BIOs: what the stream below reads is put into one, what appears in the
 * other is written below, after every call. Nothing blocks and no descriptor is touched, so the
 * same code runs over TCP and in tests. The owner may close the stream inside any event; memory is
 * freed when the outermost call leaves.
 *
 *     handshake → is_open → told_closed (the peer has gone, or something failed) → closed → freed
 *
 * Called by the stream below and by the owner, all on one task. Owns the stream below and OpenSSL's
 * session. Invariants: on_open comes once and before any byte; on_closed comes once, and no event
 * after it; while is_open is false the timer is the handshake's limit; a key or certificate that
 * was not checked never reaches is_open. */
#include "net/tls_priv.h"
#include "base/mem.h"
#include "base/timetext.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { TLS_STREAM_MAGIC = 0x746c7373, TLS_HANDSHAKE_SECONDS = 10, TLS_RECORD_BYTES = 16 * 1024 };

struct tls_stream {
    struct os_stream base; /* first */
    unsigned magic;        /* TLS_STREAM_MAGIC while it lives */
    struct os *os;
    struct os_stream *below; /* owned */
    SSL *ssl;                /* owns both BIOs */
    BIO *in, *out;
    struct os_timer *timer; /* the handshake's limit; later what must happen after pause(false) */
    bool has_pin, is_open, is_paused, told_closed, closed, is_shut, has_heard;
    uint8_t pin[32];
    struct tls_psk *psk;     /* shared; NULL = none */
    struct tls_names *names; /* shared; NULL = none */
    unsigned entered;
};

static struct tls_stream *tls_of(struct os_stream *s)
{
    struct tls_stream *t = (struct tls_stream *)s;
    MUST(t->magic == TLS_STREAM_MAGIC);
    return t;
}

static void release(struct tls_stream *t)
{
    MUST(t->magic == TLS_STREAM_MAGIC && !t->entered);
    if (t->timer) t->os->ops->timer_close(t->timer);
    os_stream_close(&t->below);
    SSL_free(t->ssl);
    tls_psk_release(t->psk);
    tls_names_release(t->names);
    t->magic = 0;
    mem_free(t);
}

static void leave(struct tls_stream *t)
{
    MUST(t->entered > 0);
    if (--t->entered == 0 && t->closed) release(t);
}

/* ---- telling the owner ---- */

static void tell_closed(struct tls_stream *t, enum err err, const char *text)
{
    MUST(t->magic == TLS_STREAM_MAGIC && t->entered);
    if (t->closed || t->told_closed) return;
    t->told_closed = true;
    t->os->ops->timer_set(t->timer, -1);
    os_stream_pause(t->below, true);
    if (t->base.events && t->base.events->on_closed)
        t->base.events->on_closed(t->base.owner, err, text);
}

/* Sends what OpenSSL wants to send. */
static enum err flush(struct tls_stream *t)
{
    char bytes[TLS_RECORD_BYTES];
    enum err err = ERR_OK;
    for (int n; !err && (n = BIO_read(t->out, bytes, sizeof bytes)) > 0;)
        err = os_stream_write(t->below, bytes, (size_t)n);
    return err;
}

/* Why OpenSSL gave up, for people: the certificate's trouble where that is it, the alert's name,
 * and a hint for the two commonest mistakes. */
static void tell_failure(struct tls_stream *t)
{
    char text[256];
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    long verify = SSL_get_verify_result(t->ssl);
    const char *hint = "";
    if (ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST)
        hint = " (the peer speaks HTTP without TLS; use https://)";
    if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) hint = " (the peer does not speak TLS)";
    if (verify != X509_V_OK && !t->has_pin)
        snprintf(text, sizeof text, "TLS: the peer's certificate: %s",
                 X509_verify_cert_error_string(verify));
    else
        snprintf(text, sizeof text, "TLS: %s%s", reason ? reason : "the peer broke the protocol",
                 hint);
    ERR_clear_error();
    (void)flush(t); /* the alert for the peer */
    tell_closed(t, ERR_TLS, text);
}

/* ---- going on with what has arrived ---- */

static bool pin_fits(struct tls_stream *t)
{
    uint8_t digest[32];
    unsigned size = 0;
    X509 *certificate = SSL_get1_peer_certificate(t->ssl);
    bool good = certificate && X509_digest(certificate, EVP_sha256(), digest, &size) &&
                size == sizeof digest && CRYPTO_memcmp(digest, t->pin, sizeof digest) == 0;
    X509_free(certificate);
    return good;
}

static void handshake(struct tls_stream *t)
{
    MUST(!t->is_open && !t->told_closed && !t->closed);
    ERR_clear_error();
    int result = SSL_do_handshake(t->ssl);
    if (result != 1 && SSL_get_error(t->ssl, result) != SSL_ERROR_WANT_READ) {
        tell_failure(t);
        return;
    }
    enum err err = flush(t);
    if (err && !t->told_closed) tell_closed(t, err, err_text(err));
    if (result != 1 || t->closed || t->told_closed) return;
    if (t->has_pin && !pin_fits(t)) {
        tell_closed(t, ERR_TLS, "TLS: the peer's certificate is not the one that was pinned");
        return;
    }
    t->is_open = true;
    t->os->ops->timer_set(t->timer, -1);
    if (t->base.events && t->base.events->on_open) t->base.events->on_open(t->base.owner);
}

static void read_on(struct tls_stream *t)
{
    uint8_t bytes[TLS_RECORD_BYTES];
    while (t->is_open && !t->closed && !t->told_closed && !t->is_paused) {
        ERR_clear_error();
        int n = SSL_read(t->ssl, bytes, sizeof bytes);
        if (n <= 0) {
            int why = SSL_get_error(t->ssl, n);
            if (why == SSL_ERROR_ZERO_RETURN)
                tell_closed(t, ERR_CLOSED, "the peer closed the connection");
            else if (why != SSL_ERROR_WANT_READ)
                tell_failure(t);
            break;
        }
        if (t->base.events && t->base.events->on_read)
            t->base.events->on_read(t->base.owner, bytes, (size_t)n);
    }
    /* Key updates and tickets may have left something to send. */
    if (!t->closed && !t->told_closed && BIO_ctrl_pending(t->out)) (void)flush(t);
}

static void go_on(struct tls_stream *t)
{
    if (!t->is_open && !t->closed && !t->told_closed) handshake(t);
    read_on(t);
}

/* ---- events of the stream below ---- */

static void below_open(void *owner)
{
    struct tls_stream *t = owner;
    t->entered++;
    go_on(t);
    leave(t);
}

static void below_read(void *owner, const uint8_t *bytes, size_t size)
{
    struct tls_stream *t = owner;
    t->entered++;
    t->has_heard = true;
    if (BIO_write(t->in, bytes, (int)size) == (int)size)
        go_on(t);
    else
        tell_closed(t, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY));
    leave(t);
}

static void below_drained(void *owner)
{
    struct tls_stream *t = owner;
    t->entered++;
    if (t->is_open && !t->told_closed && t->base.events && t->base.events->on_drained)
        t->base.events->on_drained(t->base.owner);
    leave(t);
}

static void below_closed(void *owner, enum err err, const char *text)
{
    struct tls_stream *t = owner;
    t->entered++;
    /* Who goes without a word to a server only looked whether the port is open. */
    if (!t->is_open && err == ERR_CLOSED && (t->has_heard || !SSL_is_server(t->ssl)))
        tell_closed(t, ERR_TLS, "TLS: the peer closed the connection during the handshake");
    else
        tell_closed(t, err, text);
    leave(t);
}

static const struct os_stream_events below_events = {below_open, below_read, below_drained,
                                                     below_closed};

static void on_timer(void *arg)
{
    struct tls_stream *t = arg;
    t->entered++;
    if (t->is_open)
        read_on(t);
    else
        tell_closed(t, ERR_TIMEOUT, "TLS: the handshake was not finished within 10 s");
    leave(t);
}

/* ---- what the owner does ---- */

static enum err tls_write(struct os_stream *s, const void *bytes, size_t size)
{
    struct tls_stream *t = tls_of(s);
    size_t written = 0;
    if (!t->is_open || t->is_shut || t->told_closed || t->closed) return ERR_CLOSED;
    if (size == 0) return ERR_OK;
    t->entered++;
    ERR_clear_error();
    /* Memory takes all of it; anything else is a failure of memory or of the session. */
    bool good = SSL_write_ex(t->ssl, bytes, size, &written) == 1 && written == size;
    enum err err = good ? flush(t) : ERR_NO_MEMORY;
    leave(t);
    return err;
}

static size_t tls_queued(const struct os_stream *s)
{
    return os_stream_queued(((const struct tls_stream *)s)->below);
}

/* Bytes already decrypted or in the BIO wait while paused; they are given from the timer, never
 * inside this call. */
static void tls_pause(struct os_stream *s, bool paused)
{
    struct tls_stream *t = tls_of(s);
    if (t->is_paused == paused || t->told_closed) return;
    t->is_paused = paused;
    os_stream_pause(t->below, paused && t->is_open);
    if (t->is_open) t->os->ops->timer_set(t->timer, paused ? -1 : 0);
}

static void tls_shutdown(struct os_stream *s)
{
    struct tls_stream *t = tls_of(s);
    if (!t->is_open || t->told_closed || t->closed || t->is_shut) return;
    t->entered++;
    t->is_shut = true;
    (void)SSL_shutdown(t->ssl); /* close_notify */
    (void)flush(t);
    ERR_clear_error();
    if (!t->closed) (void)os_stream_shutdown(t->below);
    leave(t);
}

static void tls_close(struct os_stream *s)
{
    struct tls_stream *t = tls_of(s);
    MUST(!t->closed);
    t->entered++;
    t->closed = true;
    if (t->is_open && !t->told_closed && !t->is_shut) {
        (void)SSL_shutdown(t->ssl); /* close_notify; nobody waits for the peer's */
        (void)flush(t);
    }
    ERR_clear_error();
    leave(t);
}

static const char *tls_peer(const struct os_stream *s)
{
    return os_stream_peer(((const struct tls_stream *)s)->below);
}

static const struct os_stream_ops tls_ops = {.write = tls_write,
                                             .queued = tls_queued,
                                             .pause = tls_pause,
                                             .close = tls_close,
                                             .shutdown = tls_shutdown,
                                             .peer = tls_peer};

/* The certificate is hashed as its signature is, but with SHA-256 where that is MD5 or SHA-1. */
size_t tls_end_point(struct os_stream *s, uint8_t out[TLS_END_POINT_BYTES])
{
    const X509 *certificate = SSL_get_certificate(tls_of(s)->ssl);
    int digest = NID_undef;
    unsigned size = 0;
    if (!certificate ||
        !X509_get_signature_info((X509 *)(uintptr_t)certificate, &digest, NULL, NULL, NULL))
        return 0;
    if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
    const EVP_MD *hash = EVP_get_digestbynid(digest);
    uint8_t bytes[EVP_MAX_MD_SIZE];
    if (!hash || X509_digest(certificate, hash, bytes, &size) != 1) return 0;
    MUST(size <= TLS_END_POINT_BYTES);
    memcpy(out, bytes, size);
    return size;
}

/* The first entry of that kind. */
static bool read_entry(const X509 *certificate, int nid, char *out, size_t out_bytes)
{
    const X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;
    int at = name ? X509_NAME_get_index_by_NID(name, nid, -1) : -1;
    uint8_t *text = NULL;
    int size =
        at < 0
            ? -1
            : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    bool good = size > 0 && !memchr(text, 0, (size_t)size) &&
                str_copy(out, out_bytes, (struct str){(const char *)text, (size_t)size});
    OPENSSL_free(text);
    return good;
}

bool tls_peer_name(struct os_stream *s, char *out, size_t out_bytes)
{
    X509 *certificate = SSL_get1_peer_certificate(tls_of(s)->ssl);
    bool good = read_entry(certificate, NID_commonName, out, out_bytes);
    X509_free(certificate);
    return good;
}

bool tls_peer_subject(struct os_stream *s, struct tls_subject *to)
{
    X509 *x = SSL_get1_peer_certificate(tls_of(s)->ssl);
    bool good = read_entry(x, NID_commonName, to->name, sizeof to->name);
    if (!good || !read_entry(x, NID_organizationName, to->organization, sizeof to->organization))
        to->organization[0] = 0;
    if (!good || !read_entry(x, NID_organizationalUnitName, to->unit, sizeof to->unit))
        to->unit[0] = 0;
    X509_free(x);
    return good;
}

bool tls_peer_psk(struct os_stream *s, char *out, size_t out_bytes)
{
    struct tls_stream *t = tls_of(s);
    if (!t->psk || !t->is_open) return false;
    if (SSL_version(t->ssl) < TLS1_3_VERSION) {
        const char *identity = SSL_get_psk_identity(t->ssl);
        return identity && identity[0] && str_copy(out, out_bytes, str_of(identity));
    }
    /* What the client offered is not what was proved: that is the session's own (tls_psk.c). */
    void *at = NULL;
    size_t size = 0;
    SSL_SESSION *session = SSL_get0_session(t->ssl);
    if (!session || !SSL_session_reused(t->ssl) ||
        SSL_SESSION_get0_ticket_appdata(session, &at, &size) != 1 || !size)
        return false;
    return str_copy(out, out_bytes, (struct str){at, size});
}

/* ---- wrapping ---- */

static struct tls_stream *tls_new(struct tls_config *config, struct os *os, struct os_task *task)
{
    struct tls_stream *t = mem_alloc_zero(1, sizeof *t);
    if (!t) return NULL;
    *t = (struct tls_stream){
        .base.ops = &tls_ops, .magic = TLS_STREAM_MAGIC, .os = os, .has_pin = config->has_pin};
    memcpy(t->pin, config->pin, sizeof t->pin);
    t->ssl = SSL_new(config->ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    bool good =
        t->ssl && t->in && t->out && os->ops->timer_make(task, on_timer, t, &t->timer) == ERR_OK;
    if (good && config->psk) {
        t->psk = tls_psk_share(config->psk);
        tls_psk_use(t->ssl, t->psk);
    }
    if (good && config->names) {
        t->names = tls_names_share(config->names);
        tls_names_use(t->ssl, t->names);
    }
    if (good) {
        SSL_set_bio(t->ssl, t->in, t->out);
        return t;
    }
    BIO_free(t->in);
    BIO_free(t->out);
    release(t);
    return NULL;
}

static enum err wrap(struct tls_stream *t, struct os_stream *below, struct os_stream **stream)
{
    if (!t) {
        os_stream_close(&below);
        return ERR_NO_MEMORY;
    }
    t->below = below;
    os_stream_own(below, &below_events, t);
    t->os->ops->timer_set(t->timer, TLS_HANDSHAKE_SECONDS * TIME_NS_PER_S);
    *stream = &t->base;
    return ERR_OK;
}

enum err tls_wrap_server(struct tls_config *config, struct os *os, struct os_task *task,
                         struct os_stream *below, struct os_stream **stream)
{
    MUST(config && config->is_server && below);
    struct tls_stream *t = tls_new(config, os, task);
    if (t) SSL_set_accept_state(t->ssl);
    return wrap(t, below, stream);
}

/* The name to send and to check; an IP address is checked but not sent (RFC 6066 section 3). */
static bool set_host(SSL *ssl, const char *host, bool check)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ERR_clear_error();
    bool good = true;
    if (!ip) good = SSL_set_tlsext_host_name(ssl, host) == 1;
    if (good && check)
        good = ip ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1
                  : SSL_set1_host(ssl, host) == 1;
    ASN1_OCTET_STRING_free(ip);
    return good;
}

enum err tls_wrap_client(struct tls_config *config, struct os *os, struct os_task *task,
                         const char *host, struct os_stream *below, struct os_stream **stream)
{
    MUST(config && !config->is_server && below && host);
    struct tls_stream *t = tls_new(config, os, task);
    if (t) {
        SSL_set_connect_state(t->ssl);
        if (!set_host(t->ssl, host, !config->has_pin)) {
            release(t);
            t = NULL;
        }
    }
    return wrap(t, below, stream);
}
