/* tls.h - TLS 1.2/1.3 over any byte stream, by OpenSSL.
 *
 * A TLS stream has the same type as the stream below it (os_stream), so nothing above knows the
 * difference. OpenSSL works on memory only (sans I/O): bytes from the stream below go in, bytes for
 * it come out. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "os/os.h"

struct tls_config;
struct tls_psk;

/* A server's configuration from PEM texts; `ca` empty = clients need no certificate, else they must
 * show one signed by it. Errors: TLS says which of the files and why. */
enum err tls_server_config(struct str certificate_pem, struct str key_pem, struct str ca_pem,
                           struct tls_config **config, struct why *why);
/* A further certificate of a server's: a client that asks for a host name that this one has, and
 * the first one has not, is shown it (server_name, RFC 6066 section 3); of several that fit, the
 * one that was added first. Before the configuration is used. Errors: TLS as above; LIMIT. */
enum { TLS_NAMES_MAX = 64 };
enum err tls_config_add_certificate(struct tls_config *config, struct str certificate_pem,
                                    struct str key_pem, struct why *why);
/* Of a server's with a `ca`: who shows no certificate is let in, too; one that is shown must hold.
 */
void tls_config_certificates_optional(struct tls_config *config);
/* A client's: `ca` empty = the system's trust store; the host name is checked unless `pin_sha256`
 * (32 bytes of the certificate's SHA-256) is given. certificate and key may be empty. */
enum err tls_client_config(struct str certificate_pem, struct str key_pem, struct str ca_pem,
                           const uint8_t *pin_sha256, struct tls_config **config, struct why *why);
/* A client that takes any certificate, for equipment with one that nobody signed: its traffic is
 * hidden from onlookers, but who answers is not known. */
void tls_config_trust_anyone(struct tls_config *config);
/* Clients may also prove that they have one of these keys (shares; NULL = none): by TLS 1.2's PSK
 * ciphers or 1.3's external PSKs. Such streams are not resumed, so a key that goes is gone. Server
 * side. */
void tls_config_set_psk(struct tls_config *config, struct tls_psk *psk);
void tls_config_release(struct tls_config *config);
/* The configuration as it is now, for a stream that another task makes: what renews the first one
 * meanwhile does not touch it. Released by whoever got it. NULL: no memory. */
struct tls_config *tls_config_copy(const struct tls_config *config);
/* New streams use what `fresh` (takes; of the same side) says; those that are open keep the old. */
void tls_config_renew(struct tls_config *config, struct tls_config *fresh);
/* Whether `now` may refuse a client that `was` let in: a certificate is asked for that was not
 * before, or a CA is gone. Both of a server's. */
bool tls_config_is_stricter(const struct tls_config *was, const struct tls_config *now);

/* Makes a key (P-256) and a self-signed certificate for `common_name` and the alternative names (IP
 * addresses and host names), valid from `not_before_s` (Unix time) for `days`. */
enum err tls_make_self_signed(const char *common_name, const char *const *names, size_t name_count,
                              int64_t not_before_s, unsigned days, struct buf *certificate_pem,
                              struct buf *key_pem, struct why *why);
/* Whether a pair made by tls_make_self_signed is whole: the certificate's signature holds by the
 * key, and the key is its own. Errors: CORRUPT, NO_MEMORY. */
enum err tls_check_self_signed(struct str certificate_pem, struct str key_pem, struct why *why);
/* "SHA256:AB:CD:…" of the first certificate in the PEM text. */
bool tls_fingerprint(struct str certificate_pem, char *out, size_t out_bytes);

/* What SCRAM binds itself to (RFC 5929 section 4, tls-server-end-point): the hash of the own
 * certificate of a server's stream, into `out`. Gives its size; 0 = there is none. */
enum { TLS_END_POINT_BYTES = 64 };
size_t tls_end_point(struct os_stream *stream, uint8_t out[TLS_END_POINT_BYTES]);

/* The common name of the client's certificate, which was checked against the CA, once the stream
 * is open. False: it showed none, or one without a name of that size. */
bool tls_peer_name(struct os_stream *stream, char *out, size_t out_bytes);
/* The same with its organization and organizational unit, of each the first; "" = it has none, or
 * one that is longer. */
enum { TLS_NAME_BYTES = 128 };
struct tls_subject {
    char name[TLS_NAME_BYTES], organization[TLS_NAME_BYTES], unit[TLS_NAME_BYTES];
};
bool tls_peer_subject(struct os_stream *stream, struct tls_subject *subject);

/* The identity whose key (tls_config_set_psk) the client has proved, once the stream is open.
 * False: it has proved none. */
bool tls_peer_psk(struct os_stream *stream, char *out, size_t out_bytes);

/* Wraps a stream (takes it; on failure, which is NO_MEMORY only, it is closed). Server side: after
 * accept. The new stream's on_open comes when the handshake is done; until then write answers
 * CLOSED. A handshake that fails or lasts longer than 10 s ends in on_closed with TLS or TIMEOUT
 * and a text that says why. The configuration may be released before the stream is closed. The
 * owner must be set before the loop turns. */
enum err tls_wrap_server(struct tls_config *config, struct os *os, struct os_task *task,
                         struct os_stream *below, struct os_stream **stream);
/* Client side: `below` may still be connecting. */
enum err tls_wrap_client(struct tls_config *config, struct os *os, struct os_task *task,
                         const char *host, struct os_stream *below, struct os_stream **stream);

#endif
