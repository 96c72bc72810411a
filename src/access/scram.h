/* scram.h - password verifiers (RFC 5802, RFC 7677), kept as RFC 5803 writes them:
 * SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, the last three in base64.
 *
 * From a verifier nobody can log in, here or elsewhere. Passwords are taken as UTF-8 bytes without
 * SASLprep's normalisation: what is typed the same is the same. Thread: any; slow on purpose
 * (PBKDF2). */
#ifndef ACCESS_SCRAM_H
#define ACCESS_SCRAM_H

#include "base/str.h"

enum {
    SCRAM_ITERATIONS = 15000, /* RFC 7677 section 4 wants at least 4096 and advises 15000 */
    SCRAM_SALT_BYTES = 16,
    SCRAM_KEY_BYTES = 32,
    SCRAM_TEXT_BYTES = 192,
};

struct scram_verifier {
    unsigned iterations; /* of PBKDF2 with HMAC-SHA-256 */
    uint8_t salt[SCRAM_SALT_BYTES];
    uint8_t stored_key[SCRAM_KEY_BYTES], server_key[SCRAM_KEY_BYTES];
};

/* Makes the verifier of a password (RFC 5802 section 3: StoredKey and ServerKey). 1 to 10 million
 * iterations; takes as long as they do. */
void scram_make(struct str password, const uint8_t salt[SCRAM_SALT_BYTES], unsigned iterations,
                struct scram_verifier *verifier);
/* Takes the same time whether it is right or wrong. */
bool scram_check(const struct scram_verifier *verifier, struct str password);
/* The text of RFC 5803; always fits. */
void scram_print(const struct scram_verifier *verifier, char out[SCRAM_TEXT_BYTES]);
/* Reads that text; only salts of SCRAM_SALT_BYTES. False, with `verifier` half filled, when
 * malformed or with fewer than 4096 or more than 10 million iterations. */
bool scram_parse(struct str text, struct scram_verifier *verifier);

#endif
