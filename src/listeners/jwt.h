/* jwt.h - JSON Web Tokens (RFC 7519) of another issuer, signed (RFC 7515) with a key of a JWK set
 * (RFC 7517): bytes and time in, who it is out.
 *
 * Only signatures by a private key are taken: RS256, ES256, EdDSA with Ed25519 (RFC 7518, 8037).
 * There is no `none` and no HMAC, and the algorithm has to be that of the key's own type, so a
 * public key can never be used as a shared secret. Issuer, audience and expiry are demanded. What
 * cannot be read is refused: keys of other types stand in a set and are passed over. Thread: any,
 * for a set that is not changed. */
#ifndef LISTENERS_JWT_H
#define LISTENERS_JWT_H

#include "access/access.h"
#include "resource/doc.h"

enum {
    JWT_BYTES_MAX = ACCESS_JWT_BYTES, /* of a token's text */
    JWK_SET_BYTES_MAX = 256 * 1024,
    JWK_KEYS_MAX = 64,
};

struct jwk_set;

/* Reads a set. Errors: SYNTAX, INVALID (no set, or no key in it that can be used), LIMIT,
 * NO_MEMORY. */
enum err jwk_set_read(struct str text, struct jwk_set **set, struct why *why);
void jwk_set_free(struct jwk_set *set); /* NULL allowed */
size_t jwk_set_count(const struct jwk_set *set);
/* Whether the key that was told as jwt_claims.key is among them. */
bool jwk_set_has(const struct jwk_set *set, uint64_t key);

/* Whether one of its keys is called so. */
bool jwk_set_names(const struct jwk_set *set, struct str kid);

struct jwt_rules {
    struct str issuer, audience;        /* must be so; not empty */
    struct str user_claim, roles_claim; /* roles "" = those of the User of that name */
    int64_t skew_s;                     /* by which clocks may differ */
};

struct jwt_claims {
    char user[ACCESS_USER_BYTES];
    char roles[ACCESS_ROLES_BYTES]; /* joined by commas; what does not fit is left out */
    int64_t expires_s;              /* wall clock; the skew included */
    uint64_t key;                   /* what it was signed with */
};

/* Whether a text has the form of a JWT: three parts, the first begins as JSON does. */
bool jwt_is_one(struct str text);
/* Whether it names a key (kid) that the set does not have: there may be a newer set. */
bool jwt_wants_other_key(const struct jwk_set *set, struct str token);
/* Errors: UNAUTHENTICATED with why (for the log; it says nothing secret), NO_MEMORY. */
enum err jwt_verify(const struct jwk_set *set, const struct jwt_rules *rules, struct str token,
                    int64_t now_s, struct jwt_claims *claims, struct why *why);

/* For jwt.c and jwk.c alone: base64 of RFC 4648 section 5 without padding. False: not of that form,
 * or longer than `room`. */
bool jwt_decode(struct str text, void *out, size_t room, size_t *size);
/* The text of a string; "" of anything else, numbers too. */
struct str jwt_text(const struct doc *doc);
enum jwt_algorithm { JWT_RS256, JWT_ES256, JWT_EDDSA, JWT_ALGORITHMS };
int jwt_algorithm_of(struct str name); /* -1: not taken */
/* Whether `signature` over `text` is by a key of the set: the one called `kid`, or without a kid
 * the only one. `*key` tells which. */
bool jwk_set_check(const struct jwk_set *set, enum jwt_algorithm algorithm, struct str kid,
                   struct str text, struct str signature, uint64_t *key);

#endif
