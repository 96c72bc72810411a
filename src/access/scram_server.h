/* scram_server.h - the server's side of a SCRAM exchange: messages in, messages out.
 *
 * RFC 5802 (SCRAM), RFC 7677 (SCRAM-SHA-256), RFC 5929 section 4 (tls-server-end-point). Sans I/O;
 * the proof itself is judged by access_login, which slows guessers down. Thread: any. */
#ifndef ACCESS_SCRAM_SERVER_H
#define ACCESS_SCRAM_SERVER_H

#include "access/scram.h"

enum {
    SCRAM_MESSAGE_BYTES = 1024, /* a client's message may be as long */
    SCRAM_NONCE_RANDOM = 18,    /* bytes, 24 characters in base64 */
    SCRAM_AUTH_BYTES = 3 * SCRAM_MESSAGE_BYTES,
};

/* One exchange: scram_server_first, then scram_server_last once, then the proof is judged, then
 * scram_server_sign. Lives as long as the login; of fixed size, whatever the client sends. */
struct scram_server {
    bool is_plus;                    /* bound to the TLS channel */
    char gs2[SCRAM_MESSAGE_BYTES];   /* "p=tls-server-end-point,," as sent */
    char nonce[SCRAM_MESSAGE_BYTES]; /* the client's and ours; "" before the first message */
    /* client-first-bare "," server-first "," client-final-without-proof: what both sides sign. */
    char auth[SCRAM_AUTH_BYTES];
    size_t auth_size; /* of it, in bytes; no NUL behind */
};

/* The user that a client's first message names, with "=2C" and "=3D" undone (RFC 5802 section 5.1).
 * False: it names none, or one that does not fit. */
bool scram_client_user(struct str message, char *out, size_t out_bytes);
/* The client's first message, and the answer to it into `out`. `is_plus`: it chose
 * SCRAM-SHA-256-PLUS; `plus_offered`: it could have. `verifier` of an unknown user is an invented
 * one, always the same (access_scram_verifier). Errors: PROTOCOL says what is wrong; NO_MEMORY.
 * After an error the exchange is over. */
enum err scram_server_first(struct scram_server *x, struct str message, bool is_plus,
                            bool plus_offered, const struct scram_verifier *verifier,
                            const uint8_t random[SCRAM_NONCE_RANDOM], struct buf *out,
                            struct why *why);
/* The client's last message: gives its proof. `binding` = the channel's data with PLUS. Errors:
 * PROTOCOL. */
enum err scram_server_last(struct scram_server *x, struct str message, struct str binding,
                           uint8_t proof[SCRAM_KEY_BYTES], struct why *why);
/* Whether the proof shows the password. Takes the same time whether it is right or wrong. */
bool scram_proof_fits(const struct scram_verifier *verifier, struct str auth,
                      const uint8_t proof[SCRAM_KEY_BYTES]);
/* "v=…" (RFC 5802 section 5.1): shows the client that the server knows the verifier. Appends; only
 * once the proof fits. */
void scram_server_sign(const struct scram_server *x, const struct scram_verifier *verifier,
                       struct buf *out);

#endif
