/* access_token.c - tokens: what stands for a login without its password.
 *
 * Four kinds in one map from the SHA-256 of the token's text: sessions (made at a login by
 * password, only in memory), the token of admin.token, those of Token documents, and those of
 * another issuer (JWT), which the hook access_on_jwt checks once and tells of; after that they are
 * found like any other. The text itself is kept nowhere: who reads this memory or these files
 * cannot use it.
 *
 * A token holds no rights. It names a user and is resolved when it is used; the identity is kept
 * with it until something changes (`cached_epoch`), so that a request with a token costs a hash and
 * two look-ups. Time is looked at each time.
 *
 * Owns the tokens. Invariants: session_count and jwt_count are what they count, and bounded;
 * `cached` is an identity made in `cached_epoch`, by this token. */
#include "access/access_priv.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void access_sha256(const void *bytes, size_t size, uint8_t out[ACCESS_HASH_BYTES])
{
    int good = EVP_Digest(bytes, size, out, NULL, EVP_sha256(), NULL);
    MUST(good);
}

static struct str hash_key(const uint8_t hash[ACCESS_HASH_BYTES])
{
    return (struct str){(const char *)hash, ACCESS_HASH_BYTES};
}

/* ---- the map ---- */

static void free_token(struct access_token *t)
{
    if (!t) return;
    identity_release(t->cached);
    mem_free(t);
}

/* `by`: 1 when it comes, -1 when it goes. */
static void count_token(struct access *a, const struct access_token *token, int by)
{
    size_t *count = token->kind == TOKEN_SESSION ? &a->session_count
                    : token->kind == TOKEN_JWT   ? &a->jwt_count
                                                 : NULL;
    if (!count) return;
    MUST(by == 1 || (by == -1 && *count > 0));
    *count += (size_t)by;
}

/* Takes `token`. */
static enum err add_token(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES],
                          struct access_token *token)
{
    void *old = NULL;
    MUST(is_access(a) && hash);
    enum err err = token ? map_put(&a->tokens, hash_key(hash), token, &old) : ERR_NO_MEMORY;
    if (err) {
        free_token(token);
        return err;
    }
    const struct access_token *before = old;
    if (before) count_token(a, before, -1);
    count_token(a, token, 1);
    free_token(old);
    if (before || token->kind != TOKEN_JWT) a->epoch++; /* a new one changes nobody's rights */
    return ERR_OK;
}

/* NULL: no memory, or a text that is too long; cut it would be another user's or role's. */
static struct access_token *new_token(enum token_kind kind, const char *user, const char *roles)
{
    MUST(user && roles);
    struct access_token *t = mem_alloc_zero(1, sizeof *t);
    if (!t) return NULL;
    t->kind = kind;
    if (str_copy(t->user, sizeof t->user, str_of(user)) &&
        str_copy(t->roles, sizeof t->roles, str_of(roles)))
        return t;
    mem_free(t);
    return NULL;
}

enum err access_add_file_token(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES],
                               const char *user, const char *roles)
{
    return add_token(a, hash, new_token(TOKEN_FILE, user, roles));
}

enum err access_put_token(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES], const char *user,
                          const char *roles, int64_t expires_ns)
{
    struct access_token *t = new_token(TOKEN_DOCUMENT, user, roles);
    if (t) t->expires_ns = expires_ns;
    return add_token(a, hash, t);
}

/* `key` may be the map's own: it is not looked at after the removal. */
static void drop_token(struct access *a, struct str key)
{
    MUST(is_access(a) && key.size == ACCESS_HASH_BYTES);
    struct access_token *t = map_remove(&a->tokens, key);
    if (t) count_token(a, t, -1);
    free_token(t);
    a->epoch++;
}

void access_remove_token(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES])
{
    drop_token(a, hash_key(hash));
}

static bool is_over(const struct access *a, const struct access_token *t)
{
    if (!t->expires_ns) return false;
    int64_t now =
        t->kind == TOKEN_SESSION ? context_mono_ns(a->context) : context_wall_ns(a->context);
    return t->expires_ns <= now;
}

/* Makes room. Those of documents stay: their documents are there. */
static void drop_expired(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        if (t->kind != TOKEN_DOCUMENT && is_over(a, t)) drop_token(a, key);
    }
}

bool access_has_token(const struct access *a, const uint8_t hash[ACCESS_HASH_BYTES])
{
    return map_get(&a->tokens, hash_key(hash)) != NULL;
}

void access_drop_file_tokens(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);)
        if (((const struct access_token *)value)->kind == TOKEN_FILE) drop_token(a, key);
}

void access_free_tokens(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        count_token(a, value, -1);
        free_token(value);
    }
    map_free(&a->tokens);
    MUST(a->session_count == 0 && a->jwt_count == 0);
}

/* ---- sessions ---- */

/* "mr_" and 32 random bytes in hex: recognisable in logs and by scanners for leaked secrets. */
static void make_text(struct os *os, char token[ACCESS_TOKEN_BYTES])
{
    uint8_t bytes[ACCESS_HASH_BYTES];
    os->ops->random(os, bytes, sizeof bytes);
    size_t n = (size_t)snprintf(token, ACCESS_TOKEN_BYTES, "mr_");
    for (size_t i = 0; i < sizeof bytes; i++)
        n += (size_t)snprintf(token + n, ACCESS_TOKEN_BYTES - n, "%02x", bytes[i]);
    MUST(n < ACCESS_TOKEN_BYTES);
}

void access_token_text(struct access *a, char token[ACCESS_TOKEN_BYTES],
                       uint8_t hash[ACCESS_HASH_BYTES])
{
    make_text(a->context->os, token);
    access_sha256(token, strlen(token), hash);
}

enum err access_token_make(struct access *a, const struct identity *identity, int64_t ttl_ns,
                           char token[ACCESS_TOKEN_BYTES])
{
    MUST(is_access(a) && !a->is_closing && ttl_ns > 0);
    MUST(identity && !identity->by_token); /* a token's may have fewer roles than its user */
    uint8_t hash[ACCESS_HASH_BYTES];
    if (a->session_count >= ACCESS_SESSIONS_MAX) drop_expired(a);
    if (a->session_count >= ACCESS_SESSIONS_MAX) return ERR_BUSY;
    access_token_text(a, token, hash);
    struct access_token *t = new_token(TOKEN_SESSION, identity->user, "");
    if (!t) return ERR_NO_MEMORY;
    t->expires_ns = context_mono_ns(a->context) + ttl_ns;
    t->user_serial = identity->user_serial;
    t->made_ns = context_wall_ns(a->context);
    return add_token(a, hash, t);
}

bool access_session_next(const struct access *a, size_t *at, struct access_session *session)
{
    struct str key;
    void *value;
    MUST(is_access(a));
    while (map_next(&a->tokens, at, &key, &value)) {
        const struct access_token *t = value;
        if (t->kind != TOKEN_SESSION || is_over(a, t)) continue;
        const struct access_user *user = access_find_user(a, t->user);
        if (!user || user->is_disabled || user->serial != t->user_serial) continue;
        *session = (struct access_session){t->user, t->made_ns};
        return true;
    }
    return false;
}

/* ---- whom a token stands for ---- */

/* The token's identity with the rights of now; kept until something changes. */
static struct identity *identity_behind(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES])
{
    MUST(is_access(a));
    struct access_token *t = map_get(&a->tokens, hash_key(hash));
    if (!t) return NULL;
    MUST(!t->has_roles || t->kind == TOKEN_JWT);
    if (is_over(a, t)) {
        if (t->kind != TOKEN_DOCUMENT) drop_token(a, hash_key(hash));
        return NULL;
    }
    if (t->cached && t->cached_epoch == a->epoch) return identity_share(t->cached);
    identity_release(t->cached);
    t->cached = t->has_roles ? access_resolve_claim(a, t->user, t->roles)
                             : access_resolve(a, t->user, t->roles);
    t->cached_epoch = a->epoch;
    bool is_old = t->cached && t->kind == TOKEN_SESSION && t->cached->user_serial != t->user_serial;
    if (is_old) {
        identity_release(t->cached);
        t->cached = NULL;
    }
    if (!t->cached) return NULL;
    t->cached->by_token = true;
    memcpy(t->cached->token, hash, ACCESS_HASH_BYTES);
    return identity_share(t->cached);
}

struct identity *access_token_find(struct access *a, struct str token)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    if (token.size == 0 || token.size >= ACCESS_JWT_BYTES) return NULL;
    access_sha256(token.at, token.size, hash);
    struct identity *known = identity_behind(a, hash);
    if (known || token.size < ACCESS_TOKEN_BYTES || !a->find_jwt) return known;
    a->find_jwt(a->find_jwt_arg, token, hash);
    return identity_behind(a, hash);
}

/* ---- tokens of another issuer ---- */

void access_on_jwt(struct access *a,
                   void (*find)(void *arg, struct str token, const uint8_t hash[ACCESS_HASH_BYTES]),
                   void *arg)
{
    MUST(is_access(a) && (!find || !a->find_jwt));
    a->find_jwt = find;
    a->find_jwt_arg = arg;
}

enum err access_put_jwt(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES],
                        const struct access_jwt *jwt)
{
    MUST(jwt->user && jwt->user[0] && jwt->expires_ns > 0 && (!jwt->has_roles || jwt->roles));
    if (a->jwt_count >= ACCESS_JWTS_MAX) drop_expired(a);
    if (a->jwt_count >= ACCESS_JWTS_MAX) return ERR_LIMIT;
    struct access_token *t = new_token(TOKEN_JWT, jwt->user, jwt->has_roles ? jwt->roles : "");
    if (!t) return ERR_NO_MEMORY;
    t->has_roles = jwt->has_roles;
    t->expires_ns = jwt->expires_ns;
    t->key = jwt->key;
    return add_token(a, hash, t);
}

void access_drop_jwts(struct access *a, bool (*keep)(void *arg, uint64_t key), void *arg)
{
    struct str key;
    void *value;
    MUST(is_access(a) && keep);
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        if (t->kind == TOKEN_JWT && !keep(arg, t->key)) drop_token(a, key);
    }
}

void access_token_drop(struct access *a, struct str token)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    MUST(is_access(a));
    if (token.size == 0) return;
    access_sha256(token.at, token.size, hash);
    const struct access_token *t = map_get(&a->tokens, hash_key(hash));
    if (t && t->kind == TOKEN_SESSION) drop_token(a, hash_key(hash)); /* others: their documents */
}

struct identity *access_renew(struct access *a, struct identity *identity)
{
    MUST(is_access(a) && identity);
    if (identity->by_token) return identity_behind(a, identity->token);
    struct identity *now = access_resolve(a, identity->user, "");
    if (now && now->user_serial == identity->user_serial) return now;
    identity_release(now);
    return NULL;
}
