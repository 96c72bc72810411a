/* jwt_fuzz.c - property: whatever the set, the token or the claims, reading ends; a token that
 * nobody signed is refused, and one that is believed names a user and a time. */
/* covers: src/listeners/jwt.c src/listeners/jwk.c */
#include "listeners/jwt.h"
#include "listeners/jwt_testlib.h"
#include <stdlib.h>

#define CLAIM(is_true) ((is_true) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct jwt_rules rules = {.issuer = {"i", 1},
                                       .audience = {"a", 1},
                                       .user_claim = {"sub", 3},
                                       .roles_claim = {"r.r", 3},
                                       .skew_s = 60};

static struct issuer issuer;
static struct jwk_set *own;

static void prepare(void)
{
    struct buf text = BUF_EMPTY;
    issuer = issuer_new("EdDSA");
    buf_add_text(&text, "{\"keys\":[");
    add_jwk(&text, &issuer, "k");
    buf_add_text(&text, "]}");
    CLAIM(jwk_set_read(buf_str(&text), &own, NULL) == ERR_OK);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct str text = {size ? (const char *)bytes : "", size};
    struct jwk_set *set = NULL;
    struct jwt_claims claims;
    struct buf token = BUF_EMPTY;
    if (!own) prepare();
    if (!jwk_set_read(text, &set, NULL)) CLAIM(jwk_set_count(set) > 0);
    jwk_set_free(set);
    CLAIM(jwt_verify(own, &rules, text, 1000, &claims, NULL) != ERR_OK);
    if (size > 2500) return 0;
    add_token(&token, &issuer, "{\"alg\":\"EdDSA\"}", text);
    if (!jwt_verify(own, &rules, buf_str(&token), 1000, &claims, NULL))
        CLAIM(claims.user[0] && claims.expires_s > 1000 && jwk_set_has(own, claims.key));
    else
        CLAIM(!claims.user[0] && !claims.roles[0]);
    buf_free(&token);
    return 0;
}
