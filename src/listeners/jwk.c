/* jwk.c - sets of public keys, and signatures by them (jwt.h). The mathematics is OpenSSL's; here
 * is which key may check what. */
#include "base/base64.h"
#include "base/hash.h"
#include "listeners/jwt.h"
#include "resource/doc.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <string.h>

enum { KEY_BYTES_MAX = 1024, KID_BYTES = 128, RSA_BITS_MIN = 2048, P256_BYTES = 32 };

struct jwk {
    char kid[KID_BYTES]; /* "" = none */
    enum jwt_algorithm algorithm;
    EVP_PKEY *key;
    uint64_t id; /* of its material */
};

struct jwk_set {
    size_t count;
    struct jwk keys[JWK_KEYS_MAX];
};

static const char *const algorithm_names[JWT_ALGORITHMS] = {"RS256", "ES256", "EdDSA"};

int jwt_algorithm_of(struct str name)
{
    for (int i = 0; i < JWT_ALGORITHMS; i++)
        if (str_is(name, algorithm_names[i])) return i;
    return -1;
}

bool jwt_decode(struct str text, void *out, size_t room, size_t *size)
{
    return base64_decode(text, BASE64_URL, out, room, size) && text.size > 0;
}

struct str jwt_text(const struct doc *doc)
{
    return doc && doc->kind == DOC_STRING ? doc_text(doc) : STR("");
}

/* ---- keys ---- */

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *parts)
{
    OSSL_PARAM *params = parts ? OSSL_PARAM_BLD_to_param(parts) : NULL;
    EVP_PKEY_CTX *context = params ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    EVP_PKEY *key = NULL;
    bool good = context && EVP_PKEY_fromdata_init(context) == 1 &&
                EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) == 1;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return good ? key : NULL;
}

static size_t bytes_of(const struct doc *doc, const char *name, uint8_t out[KEY_BYTES_MAX])
{
    size_t size;
    return jwt_decode(jwt_text(doc_get(doc, name)), out, KEY_BYTES_MAX, &size) ? size : 0;
}

static EVP_PKEY *read_rsa(const struct doc *doc)
{
    uint8_t n[KEY_BYTES_MAX], e[KEY_BYTES_MAX];
    size_t n_size = bytes_of(doc, "n", n), e_size = bytes_of(doc, "e", e);
    if (!n_size || !e_size || e_size > 8) return NULL;
    BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL), *exponent = BN_bin2bn(e, (int)e_size, NULL);
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (modulus && exponent && parts && BN_num_bits(modulus) >= RSA_BITS_MIN &&
        BN_is_odd(modulus) && BN_is_odd(exponent) && !BN_is_one(exponent) &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = key_from("RSA", parts);
    OSSL_PARAM_BLD_free(parts);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *read_ec(const struct doc *doc)
{
    uint8_t x[KEY_BYTES_MAX], y[KEY_BYTES_MAX], point[1 + 2 * P256_BYTES] = {4};
    if (!str_is(jwt_text(doc_get(doc, "crv")), "P-256") || bytes_of(doc, "x", x) != P256_BYTES ||
        bytes_of(doc, "y", y) != P256_BYTES)
        return NULL;
    memcpy(point + 1, x, P256_BYTES);
    memcpy(point + 1 + P256_BYTES, y, P256_BYTES);
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (parts &&
        OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(parts, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        key = key_from("EC", parts); /* a point beside the curve makes none */
    OSSL_PARAM_BLD_free(parts);
    return key;
}

static EVP_PKEY *read_okp(const struct doc *doc)
{
    uint8_t x[KEY_BYTES_MAX];
    if (!str_is(jwt_text(doc_get(doc, "crv")), "Ed25519") || bytes_of(doc, "x", x) != 32)
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, 32);
}

/* kty → how it is read, and the one algorithm that it is for. */
static const struct {
    const char *type;
    EVP_PKEY *(*read)(const struct doc *doc);
    enum jwt_algorithm algorithm;
} key_types[] = {
    {"RSA", read_rsa, JWT_RS256}, {"EC", read_ec, JWT_ES256}, {"OKP", read_okp, JWT_EDDSA}};

static bool may_sign(const struct doc *doc, enum jwt_algorithm algorithm)
{
    const struct doc *use = doc_get(doc, "use"), *alg = doc_get(doc, "alg");
    return (!use || str_is(jwt_text(use), "sig")) &&
           (!alg || str_is(jwt_text(alg), algorithm_names[algorithm]));
}

static uint64_t id_of(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    uint64_t id = size > 0 ? hash_64(der, (size_t)size) : 0;
    OPENSSL_free(der);
    return id;
}

/* A key that cannot be used here is passed over. */
static void add_key(struct jwk_set *set, const struct doc *doc)
{
    struct jwk *jwk = &set->keys[set->count];
    const struct doc *kid = doc_get(doc, "kid");
    for (size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++) {
        if (!str_is(jwt_text(doc_get(doc, "kty")), key_types[i].type)) continue;
        if (!may_sign(doc, key_types[i].algorithm)) return;
        if (!str_copy(jwk->kid, sizeof jwk->kid, jwt_text(kid)) || (kid && !jwk->kid[0])) return;
        jwk->algorithm = key_types[i].algorithm;
        jwk->key = key_types[i].read(doc);
        if (!jwk->key) return;
        jwk->id = id_of(jwk->key);
        set->count++;
        return;
    }
}

static enum err add_keys(struct jwk_set *set, const struct doc *keys, struct why *why)
{
    if (!keys || keys->kind != DOC_LIST)
        return why_set(why, ERR_INVALID, "is no set of keys: {\"keys\": [...]}");
    if (keys->count > JWK_KEYS_MAX)
        return why_set(why, ERR_LIMIT, "more than %d keys", JWK_KEYS_MAX);
    for (size_t i = 0; i < keys->count; i++) add_key(set, keys->items[i].value);
    if (!set->count)
        return why_set(why, ERR_INVALID,
                       "has no key that can be used: RSA of 2048 bits or more (RS256), EC P-256 "
                       "(ES256), OKP Ed25519 (EdDSA)");
    return ERR_OK;
}

enum err jwk_set_read(struct str text, struct jwk_set **out, struct why *why)
{
    struct arena arena;
    struct doc *doc = NULL;
    if (text.size > JWK_SET_BYTES_MAX)
        return why_set(why, ERR_LIMIT, "the set of keys is larger than %d KiB",
                       JWK_SET_BYTES_MAX / 1024);
    struct jwk_set *set = mem_alloc_zero(1, sizeof *set);
    if (!set) return ERR_NO_MEMORY;
    arena_init(&arena, NULL);
    enum err err = doc_read_json(text, &arena, &doc, why);
    if (!err) err = add_keys(set, doc_get(doc, "keys"), why);
    arena_free(&arena);
    if (err)
        jwk_set_free(set);
    else
        *out = set;
    return err;
}

void jwk_set_free(struct jwk_set *set)
{
    for (size_t i = 0; set && i < set->count; i++) EVP_PKEY_free(set->keys[i].key);
    mem_free(set);
}

size_t jwk_set_count(const struct jwk_set *set)
{
    return set->count;
}

bool jwk_set_has(const struct jwk_set *set, uint64_t key)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->keys[i].id == key) return true;
    return false;
}

bool jwk_set_names(const struct jwk_set *set, struct str kid)
{
    for (size_t i = 0; i < set->count; i++)
        if (str_is(kid, set->keys[i].kid)) return true;
    return false;
}

/* ---- signatures ---- */

static bool fits(EVP_PKEY *key, const EVP_MD *digest, struct str text, const uint8_t *signature,
                 size_t size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context && EVP_DigestVerifyInit(context, NULL, digest, NULL, key) == 1 &&
        EVP_DigestVerify(context, signature, size, (const uint8_t *)text.at, text.size) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

/* r and s side by side (RFC 7518 section 3.4) as OpenSSL wants them. */
static bool fits_ec(EVP_PKEY *key, struct str text, struct str signature)
{
    const uint8_t *bytes = (const uint8_t *)signature.at;
    unsigned char *der = NULL;
    if (signature.size != 2 * P256_BYTES) return false;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, P256_BYTES, NULL),
           *s = BN_bin2bn(bytes + P256_BYTES, P256_BYTES, NULL);
    bool is_set = pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1;
    int size = is_set ? i2d_ECDSA_SIG(pair, &der) : 0;
    bool good = size > 0 && fits(key, EVP_sha256(), text, der, (size_t)size);
    if (!is_set) BN_free(r);
    if (!is_set) BN_free(s);
    ECDSA_SIG_free(pair);
    OPENSSL_free(der);
    return good;
}

static bool fits_key(const struct jwk *jwk, struct str text, struct str signature)
{
    const uint8_t *bytes = (const uint8_t *)signature.at;
    switch (jwk->algorithm) {
    case JWT_RS256: return fits(jwk->key, EVP_sha256(), text, bytes, signature.size);
    case JWT_ES256: return fits_ec(jwk->key, text, signature);
    case JWT_EDDSA: return fits(jwk->key, NULL, text, bytes, signature.size);
    case JWT_ALGORITHMS: break;
    }
    return false;
}

bool jwk_set_check(const struct jwk_set *set, enum jwt_algorithm algorithm, struct str kid,
                   struct str text, struct str signature, uint64_t *key)
{
    MUST(set && algorithm < JWT_ALGORITHMS);
    if (!kid.size && set->count != 1) return false;
    for (size_t i = 0; i < set->count; i++) {
        const struct jwk *jwk = &set->keys[i];
        if (jwk->algorithm != algorithm || (kid.size && !str_is(kid, jwk->kid))) continue;
        if (!fits_key(jwk, text, signature)) continue;
        *key = jwk->id;
        return true;
    }
    return false;
}
