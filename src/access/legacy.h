/* legacy.h - password hashes of another broker, taken over by `millrace import mosquitto`: what
 * mosquitto_passwd writes, `$6$SALT$HASH` (SHA-512 of password and salt) and
 * `$7$ITERATIONS$SALT$HASH` (PBKDF2 with HMAC-SHA-512), salt and hash in base64.
 *
 * They prove a password that is sent, and nothing else: no SCRAM can be done with them. The first
 * login that fits replaces one by a SCRAM verifier (login.c). `$6$` is one round of a fast hash:
 * who has read it finds weak passwords quickly, which is a reason to have it replaced soon. Thread:
 * any. */
#ifndef ACCESS_LEGACY_H
#define ACCESS_LEGACY_H

#include "base/str.h"

enum { LEGACY_SALT_BYTES = 64, LEGACY_HASH_BYTES = 64 };

struct legacy_verifier {
    unsigned iterations; /* 0: a single SHA-512 */
    size_t salt_size;    /* 1 to LEGACY_SALT_BYTES */
    uint8_t salt[LEGACY_SALT_BYTES], hash[LEGACY_HASH_BYTES];
};

/* False, with `verifier` half filled, when malformed: another form, no salt, a hash of another
 * length, more than 10 million iterations. */
bool legacy_parse(struct str text, struct legacy_verifier *verifier);
/* Slow on purpose with many iterations; the comparison takes the same time either way. */
bool legacy_check(const struct legacy_verifier *verifier, struct str password);

#endif
