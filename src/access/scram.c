/* scram.c - password verifiers: made, checked, written and read. See scram.h.
 *
 * The text is the one form in which passwords are kept, in documents and in the `access` file, so
 * reading it is strict: each part in base64 of exactly its size. Owns nothing; what leads back to a
 * password is wiped before a function returns. A failure of OpenSSL's own (it cannot be bad input:
 * sizes are fixed) ends the program, for the alternative is to let somebody in. */
#include "access/scram.h"
#include "base/num.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

static void hmac(const uint8_t key[SCRAM_KEY_BYTES], const char *text, uint8_t out[SCRAM_KEY_BYTES])
{
    unsigned size = 0;
    unsigned char *good = HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, (const unsigned char *)text,
                               strlen(text), out, &size);
    MUST(good && size == SCRAM_KEY_BYTES);
}

void scram_make(struct str password, const uint8_t salt[SCRAM_SALT_BYTES], unsigned iterations,
                struct scram_verifier *v)
{
    MUST(iterations > 0 && iterations <= 10000000 && password.size <= INT32_MAX);
    uint8_t salted[SCRAM_KEY_BYTES], client_key[SCRAM_KEY_BYTES];
    v->iterations = iterations;
    memcpy(v->salt, salt, SCRAM_SALT_BYTES);
    int good =
        PKCS5_PBKDF2_HMAC(password.size ? password.at : "", (int)password.size, v->salt,
                          SCRAM_SALT_BYTES, (int)iterations, EVP_sha256(), sizeof salted, salted);
    MUST(good);
    hmac(salted, "Client Key", client_key);
    hmac(salted, "Server Key", v->server_key);
    good = EVP_Digest(client_key, sizeof client_key, v->stored_key, NULL, EVP_sha256(), NULL);
    MUST(good);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client_key, sizeof client_key);
}

bool scram_check(const struct scram_verifier *v, struct str password)
{
    struct scram_verifier made;
    MUST(v->iterations > 0);
    scram_make(password, v->salt, v->iterations, &made);
    return CRYPTO_memcmp(made.stored_key, v->stored_key, SCRAM_KEY_BYTES) == 0;
}

void scram_print(const struct scram_verifier *v, char out[SCRAM_TEXT_BYTES])
{
    unsigned char salt[32], stored[48], server[48];
    (void)EVP_EncodeBlock(salt, v->salt, SCRAM_SALT_BYTES);
    (void)EVP_EncodeBlock(stored, v->stored_key, SCRAM_KEY_BYTES);
    (void)EVP_EncodeBlock(server, v->server_key, SCRAM_KEY_BYTES);
    int n = snprintf(out, SCRAM_TEXT_BYTES, "SCRAM-SHA-256$%u:%s$%s:%s", v->iterations, salt,
                     stored, server);
    MUST(n > 0 && n < SCRAM_TEXT_BYTES);
}

/* Base64 of exactly `size` bytes. */
static bool decode(struct str text, uint8_t *out, size_t size)
{
    unsigned char bytes[64];
    size_t padded = (size + 2) / 3;
    if (text.size != padded * 4 || padded * 3 > sizeof bytes) return false;
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text.at, (int)text.size);
    if (n != (int)(padded * 3)) return false;
    memcpy(out, bytes, size);
    return true;
}

bool scram_parse(struct str text, struct scram_verifier *v)
{
    struct str scheme, work, iterations, salt, stored;
    uint64_t count;
    if (!str_split(&text, '$', &scheme) || !str_is(scheme, "SCRAM-SHA-256")) return false;
    if (!str_split(&text, '$', &work) || !str_split(&work, ':', &iterations) || !work.at)
        return false;
    salt = work;
    if (!str_split(&text, ':', &stored) || !text.at) return false;
    if (!num_parse_u64(iterations, &count) || count < 4096 || count > 10000000) return false;
    v->iterations = (unsigned)count;
    return decode(salt, v->salt, SCRAM_SALT_BYTES) &&
           decode(stored, v->stored_key, SCRAM_KEY_BYTES) &&
           decode(text, v->server_key, SCRAM_KEY_BYTES);
}
