/* scram_server.c - the two messages of a client, and the two answers. See scram_server.h.
 *
 *     C: n,,n=user,r=…          scram_server_first    S: r=…,s=…,i=…
 *     C: c=…,r=…,p=…            scram_server_last     (the proof is judged: access_login)
 *                               scram_server_sign     S: v=…
 *
 * Both sides sign the messages as they were sent, so they are kept byte for byte, and nothing is
 * taken apart that is not compared with what it must be. A message is bounded before it is looked
 * at; so the buffers of struct scram_server hold any that passes, which add_auth insists on. */
#include "access/scram_server.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static const char end_point[] = "p=tls-server-end-point";

static enum err malformed(struct why *why, const char *what)
{
    return why_set(why, ERR_PROTOCOL, "malformed SCRAM message: %s", what);
}

static void sign(const uint8_t key[SCRAM_KEY_BYTES], struct str text, uint8_t out[SCRAM_KEY_BYTES])
{
    unsigned size = 0;
    unsigned char *good = HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, (const unsigned char *)text.at,
                               text.size, out, &size);
    MUST(good && size == SCRAM_KEY_BYTES);
}

/* Base64; false when malformed or longer than `out`. */
static bool decode(struct str text, uint8_t *out, size_t out_bytes, size_t *size)
{
    uint8_t bytes[SCRAM_MESSAGE_BYTES];
    if (text.size == 0 || text.size % 4 || text.size > sizeof bytes) return false;
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text.at, (int)text.size);
    if (n < 0) return false;
    *size = (size_t)n - (text.at[text.size - 1] == '=') - (text.at[text.size - 2] == '=');
    if (*size > out_bytes) return false;
    memcpy(out, bytes, *size);
    return true;
}

/* "k=value" off a list separated by commas. */
static bool attribute(struct str *rest, char key, struct str *value)
{
    struct str piece;
    if (!str_split(rest, ',', &piece)) return false;
    if (piece.size < 2 || piece.at[0] != key || piece.at[1] != '=') return false;
    *value = (struct str){piece.at + 2, piece.size - 2};
    return true;
}

static void add_auth(struct scram_server *x, struct str text)
{
    MUST(x->auth_size + text.size + 1 <= sizeof x->auth);
    if (x->auth_size) x->auth[x->auth_size++] = ',';
    memcpy(x->auth + x->auth_size, text.at, text.size);
    x->auth_size += text.size;
}

/* Whether the channel is bound, and how the client says so. */
static enum err check_flag(struct str flag, bool is_plus, bool plus_offered, struct why *why)
{
    if (is_plus)
        return str_is(flag, end_point) ? ERR_OK
                                       : malformed(why, "only tls-server-end-point is known");
    if (str_is(flag, "n")) return ERR_OK;
    if (!str_is(flag, "y")) return malformed(why, "unexpected channel binding");
    /* The client can bind and believes that we cannot: somebody in between took our offer away. */
    return plus_offered ? why_set(why, ERR_PROTOCOL,
                                  "the client was not offered channel binding, but it is there")
                        : ERR_OK;
}

bool scram_client_user(struct str message, char *out, size_t out_bytes)
{
    struct str rest = message, flag, authzid, user;
    size_t n = 0;
    if (!str_split(&rest, ',', &flag) || !str_split(&rest, ',', &authzid) ||
        !attribute(&rest, 'n', &user))
        return false;
    for (size_t i = 0; i < user.size; i++) {
        struct str code = {user.at + i, user.size - i};
        char c = user.at[i];
        if (c == '=') {
            if (!str_starts(code, "=2C") && !str_starts(code, "=3D")) return false;
            c = str_starts(code, "=2C") ? ',' : '=';
            i += 2;
        }
        if (!c || n + 1 >= out_bytes) return false;
        out[n++] = c;
    }
    out[n] = 0;
    return n > 0;
}

enum err scram_server_first(struct scram_server *x, struct str message, bool is_plus,
                            bool plus_offered, const struct scram_verifier *verifier,
                            const uint8_t random[SCRAM_NONCE_RANDOM], struct buf *out,
                            struct why *why)
{
    struct str rest = message, flag, authzid, user, nonce, extension;
    *x = (struct scram_server){.is_plus = is_plus};
    if (message.size > SCRAM_MESSAGE_BYTES / 2) return malformed(why, "too long");
    if (memchr(message.at, 0, message.size)) return malformed(why, "a zero byte");
    if (!str_split(&rest, ',', &flag) || !str_split(&rest, ',', &authzid))
        return malformed(why, "no header");
    if (authzid.size) return malformed(why, "another identity to act as is not supported");
    enum err err = check_flag(flag, is_plus, plus_offered, why);
    if (err) return err;
    size_t header = message.size - rest.size;
    MUST(header < sizeof x->gs2);
    (void)str_copy(x->gs2, sizeof x->gs2, (struct str){message.at, header});
    struct str bare = rest;
    if (!attribute(&rest, 'n', &user)) return malformed(why, "no user");
    if (!attribute(&rest, 'r', &nonce) || nonce.size == 0) return malformed(why, "no nonce");
    if (str_split(&rest, ',', &extension) && str_starts(extension, "m="))
        return malformed(why, "an extension that must be known");
    uint8_t own[SCRAM_NONCE_RANDOM * 2], salt[SCRAM_SALT_BYTES * 2];
    (void)EVP_EncodeBlock(own, random, SCRAM_NONCE_RANDOM);
    (void)EVP_EncodeBlock(salt, verifier->salt, SCRAM_SALT_BYTES);
    MUST(nonce.size + sizeof own <= sizeof x->nonce);
    memcpy(x->nonce, nonce.at, nonce.size);
    memcpy(x->nonce + nonce.size, own, strlen((const char *)own) + 1);
    size_t begun = out->size;
    buf_printf(out, "r=%s,s=%s,i=%u", x->nonce, (const char *)salt, verifier->iterations);
    if (buf_failed(out)) return ERR_NO_MEMORY;
    add_auth(x, bare);
    add_auth(x, (struct str){out->at + begun, out->size - begun});
    return ERR_OK;
}

/* The header and the channel's data must be those that the exchange began with. */
static bool binding_fits(const struct scram_server *x, struct str encoded, struct str binding)
{
    uint8_t sent[SCRAM_MESSAGE_BYTES];
    size_t size, header = strlen(x->gs2), extra = x->is_plus ? binding.size : 0;
    return decode(encoded, sent, sizeof sent, &size) && size == header + extra &&
           memcmp(sent, x->gs2, header) == 0 &&
           (!extra || memcmp(sent + header, binding.at, extra) == 0);
}

enum err scram_server_last(struct scram_server *x, struct str message, struct str binding,
                           uint8_t proof[SCRAM_KEY_BYTES], struct why *why)
{
    struct str rest = message, channel, nonce;
    size_t size;
    MUST(x->nonce[0] && x->auth_size);
    if (message.size > SCRAM_MESSAGE_BYTES) return malformed(why, "too long");
    if (!attribute(&rest, 'c', &channel) || !binding_fits(x, channel, binding))
        return malformed(why, "the channel binding does not fit");
    if (!attribute(&rest, 'r', &nonce) || !str_is(nonce, x->nonce))
        return malformed(why, "the nonce does not fit");
    size_t signed_size = 0;
    for (size_t i = 0; i + 2 < message.size; i++) /* the proof is the last attribute */
        if (memcmp(message.at + i, ",p=", 3) == 0) signed_size = i;
    if (!signed_size) return malformed(why, "no proof");
    struct str encoded = {message.at + signed_size + 3, message.size - signed_size - 3};
    if (!decode(encoded, proof, SCRAM_KEY_BYTES, &size) || size != SCRAM_KEY_BYTES)
        return malformed(why, "the proof is no proof");
    add_auth(x, (struct str){message.at, signed_size});
    return ERR_OK;
}

bool scram_proof_fits(const struct scram_verifier *v, struct str auth,
                      const uint8_t proof[SCRAM_KEY_BYTES])
{
    uint8_t key[SCRAM_KEY_BYTES], stored[SCRAM_KEY_BYTES];
    sign(v->stored_key, auth, key);
    for (size_t i = 0; i < sizeof key; i++) key[i] ^= proof[i];
    int good = EVP_Digest(key, sizeof key, stored, NULL, EVP_sha256(), NULL);
    MUST(good);
    OPENSSL_cleanse(key, sizeof key);
    return CRYPTO_memcmp(stored, v->stored_key, sizeof stored) == 0;
}

void scram_server_sign(const struct scram_server *x, const struct scram_verifier *v,
                       struct buf *out)
{
    uint8_t signature[SCRAM_KEY_BYTES], text[64];
    MUST(x->auth_size && x->auth_size <= sizeof x->auth);
    sign(v->server_key, (struct str){x->auth, x->auth_size}, signature);
    (void)EVP_EncodeBlock(text, signature, SCRAM_KEY_BYTES);
    buf_printf(out, "v=%s", (const char *)text);
}
