/* jwt_testlib.h - an issuer for tests and fuzzing: a key, its set, and tokens that it signs. */
#ifndef LISTENERS_JWT_TESTLIB_H
#define LISTENERS_JWT_TESTLIB_H

#include "base/str.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

struct issuer {
    const char *algorithm; /* "RS256", "ES256", "EdDSA" */
    EVP_PKEY *key;
};

static inline void add_base64url(struct buf *out, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *at = bytes;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | at[i];
        for (have += 8; have >= 6; have -= 6) buf_add_char(out, digits[bits >> (have - 6) & 63]);
    }
    if (have) buf_add_char(out, digits[bits << (6 - have) & 63]);
}

static inline struct issuer issuer_new(const char *algorithm)
{
    struct issuer issuer = {algorithm, NULL};
    issuer.key = algorithm[0] == 'R'          ? EVP_RSA_gen(2048)
                 : strcmp(algorithm, "ES256") ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                              : EVP_EC_gen("P-256");
    MUST(issuer.key);
    return issuer;
}

static inline void add_number(struct buf *out, EVP_PKEY *key, const char *what, const char *name,
                              size_t size)
{
    BIGNUM *number = NULL;
    uint8_t bytes[512];
    int good = EVP_PKEY_get_bn_param(key, what, &number);
    MUST(good == 1);
    if (!size) size = (size_t)BN_num_bytes(number);
    int n = BN_bn2binpad(number, bytes, (int)size);
    MUST(n == (int)size);
    buf_printf(out, ",\"%s\":\"", name);
    add_base64url(out, bytes, size);
    buf_add_char(out, '"');
    BN_free(number);
}

/* One key as JSON. */
static inline void add_jwk(struct buf *out, const struct issuer *issuer, const char *kid)
{
    const char *type = issuer->algorithm[0] == 'R'               ? "\"RSA\""
                       : strcmp(issuer->algorithm, "ES256") == 0 ? "\"EC\",\"crv\":\"P-256\""
                                                                 : "\"OKP\",\"crv\":\"Ed25519\"";
    buf_printf(out, "{\"use\":\"sig\",\"kid\":\"%s\",\"kty\":%s", kid, type);
    if (issuer->algorithm[0] == 'R') {
        add_number(out, issuer->key, OSSL_PKEY_PARAM_RSA_N, "n", 0);
        add_number(out, issuer->key, OSSL_PKEY_PARAM_RSA_E, "e", 0);
    } else if (strcmp(issuer->algorithm, "ES256") == 0) {
        add_number(out, issuer->key, OSSL_PKEY_PARAM_EC_PUB_X, "x", 32);
        add_number(out, issuer->key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", 32);
    } else {
        uint8_t bytes[32];
        size_t size = sizeof bytes;
        (void)EVP_PKEY_get_raw_public_key(issuer->key, bytes, &size);
        buf_add_text(out, ",\"x\":\"");
        add_base64url(out, bytes, size);
        buf_add_char(out, '"');
    }
    buf_add_char(out, '}');
}

/* HEADER.BODY.SIGNATURE */
static inline void add_token(struct buf *out, const struct issuer *issuer, const char *header,
                             struct str body)
{
    uint8_t signature[512];
    size_t size = sizeof signature, from = out->size;
    add_base64url(out, header, strlen(header));
    buf_add_char(out, '.');
    add_base64url(out, body.at, body.size);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const EVP_MD *digest = strcmp(issuer->algorithm, "EdDSA") == 0 ? NULL : EVP_sha256();
    int good = EVP_DigestSignInit(context, NULL, digest, NULL, issuer->key);
    MUST(good == 1);
    good = EVP_DigestSign(context, signature, &size, (const uint8_t *)out->at + from,
                          out->size - from);
    MUST(good == 1);
    EVP_MD_CTX_free(context);
    if (strcmp(issuer->algorithm, "ES256") == 0) {
        const unsigned char *der = signature;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)size);
        uint8_t raw[64];
        (void)BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32);
        (void)BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32);
        ECDSA_SIG_free(pair);
        memcpy(signature, raw, sizeof raw);
        size = sizeof raw;
    }
    buf_add_char(out, '.');
    add_base64url(out, signature, size);
}

#endif
