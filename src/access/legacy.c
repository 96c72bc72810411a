/* legacy.c - another broker's password hashes: read and checked. See legacy.h.
 *
 * The texts come from a file of the operator's, by way of documents: any bytes, so sizes and work
 * are bounded before anything is done. Owns nothing; any thread. */
#include "access/legacy.h"
#include "base/num.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

/* Base64 with its padding, at most `room` bytes. */
static bool decode(struct str text, uint8_t *out, size_t room, size_t *size)
{
    unsigned char bytes[96];
    size_t padding = 0;
    MUST(room <= sizeof bytes);
    while (padding < 2 && padding < text.size && text.at[text.size - 1 - padding] == '=') padding++;
    if (!text.size || text.size % 4 || text.size / 4 * 3 > sizeof bytes) return false;
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text.at, (int)text.size);
    if (n < 0 || (size_t)n != text.size / 4 * 3 || (size_t)n - padding > room) return false;
    *size = (size_t)n - padding;
    memcpy(out, bytes, *size);
    return true;
}

bool legacy_parse(struct str text, struct legacy_verifier *v)
{
    struct str empty, kind, piece;
    uint64_t iterations = 0;
    size_t hash_size = 0;
    *v = (struct legacy_verifier){0};
    if (!str_split(&text, '$', &empty) || empty.size || !str_split(&text, '$', &kind)) return false;
    bool is_slow = str_is(kind, "7");
    if (!is_slow && !str_is(kind, "6")) return false;
    if (is_slow && (!str_split(&text, '$', &piece) || !num_parse_u64(piece, &iterations) ||
                    iterations < 1 || iterations > 10000000))
        return false;
    v->iterations = (unsigned)iterations;
    if (!text.at || !str_split(&text, '$', &piece) || !text.at) return false;
    return decode(piece, v->salt, sizeof v->salt, &v->salt_size) && v->salt_size &&
           decode(text, v->hash, sizeof v->hash, &hash_size) && hash_size == LEGACY_HASH_BYTES;
}

static bool hash_once(const struct legacy_verifier *v, struct str password,
                      uint8_t out[LEGACY_HASH_BYTES])
{
    unsigned size = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex(context, EVP_sha512(), NULL) == 1 &&
                EVP_DigestUpdate(context, password.size ? password.at : "", password.size) == 1 &&
                EVP_DigestUpdate(context, v->salt, v->salt_size) == 1 &&
                EVP_DigestFinal_ex(context, out, &size) == 1;
    EVP_MD_CTX_free(context);
    return good && size == LEGACY_HASH_BYTES;
}

bool legacy_check(const struct legacy_verifier *v, struct str password)
{
    uint8_t made[LEGACY_HASH_BYTES];
    MUST(v->salt_size && v->salt_size <= LEGACY_SALT_BYTES && password.size <= INT32_MAX);
    bool good = v->iterations
                    ? PKCS5_PBKDF2_HMAC(password.size ? password.at : "", (int)password.size,
                                        v->salt, (int)v->salt_size, (int)v->iterations,
                                        EVP_sha512(), sizeof made, made) == 1
                    : hash_once(v, password, made);
    good = good && CRYPTO_memcmp(made, v->hash, sizeof made) == 0;
    OPENSSL_cleanse(made, sizeof made);
    return good;
}
