/* jwt_test.c - claims about tokens of another issuer: those hold whose signature, issuer, audience
 * and time are right, by an algorithm of a private key, and no others. */
#include "listeners/jwt.h"
#include "listeners/jwt_testlib.h"
#include <openssl/hmac.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

enum { NOW = 1700000000 };
#define GOOD                                                                                       \
    "{\"iss\":\"https://login\",\"aud\":[\"other\",\"millrace\"],\"exp\":1700000100,\"sub\":"      \
    "\"ann\",\"realm_access\":{\"roles\":[\"viewer\",\"line 3\",\"a,b\"]}}"

static const struct jwt_rules rules = {.issuer = {"https://login", 13},
                                       .audience = {"millrace", 8},
                                       .user_claim = {"sub", 3},
                                       .roles_claim = {"realm_access.roles", 18},
                                       .skew_s = 10};

struct world {
    struct issuer issuers[3];
    struct jwk_set *set;
};

static int open_world(void **state)
{
    static const char *const algorithms[] = {"RS256", "ES256", "EdDSA"};
    static struct world w;
    struct buf text = BUF_EMPTY;
    buf_add_text(&text, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}");
    for (size_t i = 0; i < 3; i++) {
        w.issuers[i] = issuer_new(algorithms[i]);
        buf_add_char(&text, ',');
        add_jwk(&text, &w.issuers[i], algorithms[i]);
    }
    buf_add_text(&text, "]}");
    struct why why = WHY_NONE;
    if (jwk_set_read(buf_str(&text), &w.set, &why)) fail_msg("%s", why.text);
    assert_int_equal(jwk_set_count(w.set), 3);
    buf_free(&text);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < 3; i++) EVP_PKEY_free(w->issuers[i].key);
    jwk_set_free(w->set);
    return 0;
}

static enum err verify(const struct world *w, struct str token, struct jwt_claims *claims)
{
    struct why why = WHY_NONE;
    enum err err = jwt_verify(w->set, &rules, token, NOW, claims, &why);
    if (err) assert_true(why.text[0] && !claims->user[0] && !claims->roles[0]);
    return err;
}

static enum err verify_signed(const struct world *w, size_t issuer, const char *header,
                              const char *body, struct jwt_claims *claims)
{
    struct buf token = BUF_EMPTY;
    add_token(&token, &w->issuers[issuer], header, str_of(body));
    enum err err = verify(w, buf_str(&token), claims);
    buf_free(&token);
    return err;
}

static void a_token_of_each_algorithm_holds_and_any_changed_byte_does_not(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < 3; i++) {
        struct buf token = BUF_EMPTY;
        struct jwt_claims claims;
        char header[80];
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", w->issuers[i].algorithm,
                 w->issuers[i].algorithm);
        add_token(&token, &w->issuers[i], header, STR(GOOD));
        assert_true(jwt_is_one(buf_str(&token)));
        assert_int_equal(verify(w, buf_str(&token), &claims), ERR_OK);
        assert_string_equal(claims.user, "ann");
        assert_string_equal(claims.roles, "viewer,line 3"); /* none with a comma */
        assert_int_equal(claims.expires_s, 1700000110);
        assert_true(jwk_set_has(w->set, claims.key));
        for (size_t k = 0; k < token.size; k += 7) {
            char was = token.at[k];
            token.at[k] = was == 'A' ? 'B' : 'A';
            assert_int_equal(verify(w, buf_str(&token), &claims), ERR_UNAUTHENTICATED);
            token.at[k] = was;
        }
        for (size_t cut = 0; cut < token.size; cut += 11)
            assert_int_equal(verify(w, (struct str){token.at, cut}, &claims), ERR_UNAUTHENTICATED);
        buf_free(&token);
    }
}

static void only_the_key_that_is_named_and_its_own_algorithm_count(void **state)
{
    struct world *w = *state;
    struct jwt_claims claims;
    static const struct {
        size_t issuer;
        const char *header;
        enum err err;
    } cases[] = {
        {0, "{\"alg\":\"RS256\",\"kid\":\"RS256\"}", ERR_OK},
        {0, "{\"alg\":\"RS256\"}", ERR_UNAUTHENTICATED}, /* there are three keys */
        {0, "{\"alg\":\"RS256\",\"kid\":\"ES256\"}", ERR_UNAUTHENTICATED},
        {0, "{\"alg\":\"RS256\",\"kid\":\"\"}", ERR_UNAUTHENTICATED},
        {0, "{\"alg\":\"RS256\",\"kid\":7}", ERR_UNAUTHENTICATED},
        {0, "{\"alg\":\"PS256\",\"kid\":\"RS256\"}", ERR_UNAUTHENTICATED},
        {0, "{\"alg\":\"none\",\"kid\":\"RS256\"}", ERR_UNAUTHENTICATED},
        {0, "{\"alg\":\"HS256\",\"kid\":\"RS256\"}", ERR_UNAUTHENTICATED},
        {0, "{\"kid\":\"RS256\"}", ERR_UNAUTHENTICATED},
        {0, "{\"alg\":\"RS256\",\"kid\":\"RS256\",\"crit\":[\"x\"]}", ERR_UNAUTHENTICATED},
        {1, "{\"alg\":\"RS256\",\"kid\":\"ES256\"}", ERR_UNAUTHENTICATED},
        {1, "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\"}", ERR_UNAUTHENTICATED},
        {2, "[\"EdDSA\"]", ERR_UNAUTHENTICATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (verify_signed(w, cases[i].issuer, cases[i].header, GOOD, &claims) != cases[i].err)
            fail_msg("%zu: %s", i, cases[i].header);
}

/* The old trick: the public key, which everybody has, as the secret of an HMAC. */
static void a_public_key_is_no_shared_secret(void **state)
{
    struct world *w = *state;
    static const char *const algorithms[] = {"HS256", "RS256"};
    for (size_t i = 0; i < 2; i++) {
        struct buf token = BUF_EMPTY;
        struct jwt_claims claims;
        unsigned char *der = NULL, mac[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        char header[80];
        int der_size = i2d_PUBKEY(w->issuers[0].key, &der);
        int n =
            snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"RS256\"}", algorithms[i]);
        add_base64url(&token, header, (size_t)n);
        buf_add_char(&token, '.');
        add_base64url(&token, GOOD, sizeof GOOD - 1);
        (void)HMAC(EVP_sha256(), der, der_size, (unsigned char *)token.at, token.size, mac, &size);
        buf_add_char(&token, '.');
        add_base64url(&token, mac, size);
        assert_int_equal(verify(w, buf_str(&token), &claims), ERR_UNAUTHENTICATED);
        OPENSSL_free(der);
        buf_free(&token);
    }
}

static void claims_that_are_missing_or_wrong_are_refused(void **state)
{
    struct world *w = *state;
    struct jwt_claims claims;
    static const struct {
        const char *body;
        enum err err;
    } cases[] = {
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1699999991,\"sub\":\"a\"}",
         ERR_OK},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1699999990,\"sub\":\"a\"}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"sub\":\"a\"}", ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":\"1800000000\",\"sub\":\"a\"}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1e300,\"sub\":\"a\"}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://logi\",\"aud\":\"millrace\",\"exp\":1800000000,\"sub\":\"a\"}",
         ERR_UNAUTHENTICATED},
        {"{\"aud\":\"millrace\",\"exp\":1800000000,\"sub\":\"a\"}", ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"exp\":1800000000,\"sub\":\"a\"}", ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":[\"x\"],\"exp\":1800000000,\"sub\":\"a\"}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1800000000}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1800000000,\"sub\":\"a b\"}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1800000000,\"sub\":7}",
         ERR_UNAUTHENTICATED},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1800000000,\"sub\":\"a\","
         "\"nbf\":1700000010}",
         ERR_OK},
        {"{\"iss\":\"https://login\",\"aud\":\"millrace\",\"exp\":1800000000,\"sub\":\"a\","
         "\"nbf\":1700000011}",
         ERR_UNAUTHENTICATED},
        {"[]", ERR_UNAUTHENTICATED},
        {"", ERR_UNAUTHENTICATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (verify_signed(w, 2, "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\"}", cases[i].body, &claims) !=
            cases[i].err)
            fail_msg("%zu: %s", i, cases[i].body);
}

static void sets_without_a_usable_key_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", /* 17 bits */
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
        ("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}"), /* beside the curve */
        ("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct jwk_set *set = NULL;
        struct why why = WHY_NONE;
        if (!jwk_set_read(str_of(bad[i]), &set, &why)) fail_msg("taken: %s", bad[i]);
        assert_null(set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_of_each_algorithm_holds_and_any_changed_byte_does_not),
        cmocka_unit_test(only_the_key_that_is_named_and_its_own_algorithm_count),
        cmocka_unit_test(a_public_key_is_no_shared_secret),
        cmocka_unit_test(claims_that_are_missing_or_wrong_are_refused),
        cmocka_unit_test(sets_without_a_usable_key_are_refused),
    };
    return cmocka_run_group_tests_name("jwt", tests, open_world, close_world);
}
