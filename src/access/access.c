/* access.c - opening, tokens, and writing the file while the node serves.
 *
 * The main loop never waits for the disk: a change marks the state dirty, the text is made at once,
 * a worker writes it, and what changed meanwhile is written after that. */
#include "access/access_priv.h"
#include "access/scram.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static const char access_name[] = "access", token_name[] = "admin.token",
                  damaged_name[] = "access.damaged";

void access_sha256(const void *bytes, size_t size, uint8_t out[ACCESS_HASH_BYTES])
{
    int good = EVP_Digest(bytes, size, out, NULL, EVP_sha256(), NULL);
    MUST(good);
}

static struct str hash_key(const uint8_t hash[ACCESS_HASH_BYTES])
{
    return (struct str){(const char *)hash, ACCESS_HASH_BYTES};
}

/* ---- users ---- */

struct access_user *access_find_user(const struct access *a, const char *name)
{
    for (struct access_user *u = a->users; u; u = u->next)
        if (strcmp(u->name, name) == 0) return u;
    return NULL;
}

enum err access_put_user(struct access *a, const char *name, const char *roles, const char *ns,
                         const char *verifier, bool is_disabled)
{
    struct access_user *u = access_find_user(a, name);
    MUST(ns[0]);
    if (strlen(name) >= ACCESS_USER_BYTES || strlen(ns) >= ACCESS_NAMESPACE_BYTES) return ERR_LIMIT;
    if (!u) {
        if (!(u = mem_alloc_zero(1, sizeof *u))) return ERR_NO_MEMORY;
        (void)str_copy(u->name, sizeof u->name, str_of(name));
        u->next = a->users;
        a->users = u;
    }
    bool is_same = u->serial && strcmp(u->verifier, verifier) == 0;
    if (!is_same) u->serial = ++a->last_serial;
    if (!is_same) u->before[0] = 0;
    /* What does not fit is left out whole: half a role's name could be another's. */
    if (!str_copy(u->roles, sizeof u->roles, str_of(roles))) u->roles[0] = 0;
    if (!str_copy(u->verifier, sizeof u->verifier, str_of(verifier))) u->verifier[0] = 0;
    (void)str_copy(u->ns, sizeof u->ns, str_of(ns));
    u->is_disabled = is_disabled;
    if (a->is_dirty) access_save(a);
    a->epoch++;
    access_forget_known(a);
    return ERR_OK;
}

void access_remove_user(struct access *a, const char *name)
{
    for (struct access_user **at = &a->users; *at; at = &(*at)->next) {
        struct access_user *u = *at;
        if (strcmp(u->name, name) != 0) continue;
        *at = u->next;
        bool was_in_file = u->is_in_file;
        mem_free(u);
        if (was_in_file || a->is_dirty) access_save(a);
        break;
    }
    a->epoch++;
    access_forget_known(a);
}

bool access_file_user_at(const struct access *a, size_t index, struct access_file_user *out)
{
    for (const struct access_user *u = a->users; u; u = u->next) {
        if (!u->is_in_file || index--) continue;
        *out = (struct access_file_user){u->name, u->roles, u->verifier, a->is_fresh};
        return true;
    }
    return false;
}

void access_forget_file_user(struct access *a, const char *name)
{
    struct access_user *u = access_find_user(a, name);
    if (!u || !u->is_in_file) return;
    u->is_in_file = false;
    access_save(a);
}

/* ---- roles ---- */

enum err access_put_role(struct access *a, const char *name, const struct access_rule *rules,
                         size_t count)
{
    const struct access_rule *ignored;
    size_t ignored_count;
    for (size_t i = 0;; i++) {
        const char *known = access_builtin_role(i, &ignored, &ignored_count);
        if (!known) break;
        if (strcmp(known, name) == 0) return ERR_EXISTS;
    }
    struct role *role = role_new(name, rules, count);
    void *old = NULL;
    enum err err = role ? map_put(&a->roles, str_of(name), role, &old) : ERR_NO_MEMORY;
    if (err) {
        role_release(role);
        access_remove_role(a, name); /* rather none than the rights of before */
        return err;
    }
    role_release(old);
    a->epoch++;
    access_forget_known(a);
    return ERR_OK;
}

void access_remove_role(struct access *a, const char *name)
{
    role_release(map_remove(&a->roles, str_of(name)));
    a->epoch++;
    access_forget_known(a);
}

enum err access_covers_role(const struct access *a, const struct identity *identity,
                            struct str name, struct why *why)
{
    /* A role that does not exist yet may become any: only who may do everything gives it. */
    static const struct access_rule everything = {
        (1u << VERB_COUNT) - 1, {.any = true}, {.any = true}, {.any = true}, {.any = true}};
    const struct role *role = map_get(&a->roles, name);
    enum err err = role ? access_covers(identity, role->rules, role->rule_count, why)
                        : access_covers(identity, &everything, 1, why);
    return err ? why_wrap(why, err, "role %.*s", (int)name.size, name.at) : ERR_OK;
}

/* Adds the roles of the user that deny and are not among them: with fewer roles nobody is denied
 * less. Gives how many there are then. */
static size_t add_denying(struct access *a, const struct access_user *user, struct role **roles,
                          size_t count)
{
    struct str rest = str_of(user->roles), piece;
    while (rest.size && count < ACCESS_ROLES_MAX && str_split(&rest, ',', &piece)) {
        struct role *role = map_get(&a->roles, piece);
        bool is_there = !role || !role_denies(role);
        for (size_t i = 0; i < count && !is_there; i++) is_there = roles[i] == role;
        if (!is_there) roles[count++] = role;
    }
    return count;
}

struct identity *access_resolve(struct access *a, const char *name, const char *limit)
{
    struct role *roles[ACCESS_ROLES_MAX];
    size_t count = 0;
    const struct access_user *u = access_find_user(a, name);
    if (!u || u->is_disabled) return NULL;
    struct str rest = str_of(u->roles), piece;
    while (rest.size && count < ACCESS_ROLES_MAX && str_split(&rest, ',', &piece)) {
        struct role *role = map_get(&a->roles, piece);
        if (role && (!limit[0] || role_is_among(limit, piece))) roles[count++] = role;
    }
    struct identity *identity =
        identity_of(u->ns, u->name, roles, count, add_denying(a, u, roles, count));
    if (identity) identity->user_serial = u->serial;
    return identity;
}

/* ---- tokens ---- */

static void free_token(struct access_token *t)
{
    if (!t) return;
    identity_release(t->cached);
    mem_free(t);
}

static void count_token(struct access *a, const struct access_token *token, int by)
{
    size_t *count = token->kind == TOKEN_SESSION ? &a->session_count
                    : token->kind == TOKEN_JWT   ? &a->jwt_count
                                                 : NULL;
    if (!count) return;
    MUST(by > 0 || *count > 0);
    *count += (size_t)by;
}

/* Takes `token`. */
static enum err add_token(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES],
                          struct access_token *token)
{
    void *old = NULL;
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

static struct access_token *new_token(enum token_kind kind, const char *user, const char *roles)
{
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

static void drop_token(struct access *a, struct str key)
{
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

static void drop_expired(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        if (t->kind != TOKEN_DOCUMENT && is_over(a, t)) drop_token(a, key);
    }
}

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

/* ---- saving while serving ---- */

static void save_done(struct job *job)
{
    struct access *a = (struct access *)((char *)job - offsetof(struct access, save_job));
    a->is_saving = false;
    buf_free(&a->save_text);
    if (a->save_err) {
        diag(a->context, DIAG_ERROR, "access", "users and tokens could not be saved: %s",
             why_text(&a->save_why, a->save_err));
        a->is_dirty = true; /* the next change tries again */
    } else if (a->is_dirty) {
        access_save(a);
    }
    access_free_if_over(a);
}

static void save_run(struct job *job)
{
    struct access *a = (struct access *)((char *)job - offsetof(struct access, save_job));
    a->save_why = WHY_NONE;
    a->save_err = access_file_write(a->context->os, a->folder, access_name, buf_str(&a->save_text),
                                    &a->save_why);
    a->save_job.run = save_done;
    loop_post(a->context->main, &a->save_job);
}

void access_save(struct access *a)
{
    a->is_dirty = true;
    if (a->is_saving || a->is_closing || !a->context->workers) return;
    access_file_print(a, &a->save_text);
    if (buf_failed(&a->save_text)) {
        buf_free(&a->save_text);
        return; /* still dirty: the next change tries again */
    }
    a->is_dirty = false;
    a->is_saving = true;
    a->save_job.run = save_run;
    pool_post(a->context->workers, &a->save_job);
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
    MUST(identity && ttl_ns > 0 && !a->is_closing);
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

/* Roles of the user that deny; at most as many as an identity has. */
static size_t count_denying(const struct access *a, const struct access_user *user)
{
    size_t count = 0;
    struct str rest = str_of(user->roles), piece;
    while (rest.size && count < ACCESS_ROLES_MAX && str_split(&rest, ',', &piece)) {
        const struct role *role = map_get(&a->roles, piece);
        count += role && role_denies(role);
    }
    return count;
}

/* Roles of the claim that there are, as many as leave room for what binds the user: rather one
 * right too few than one that was taken away. A User of the name need not be there, but may forbid
 * it. */
static struct identity *resolve_jwt(struct access *a, const struct access_token *t)
{
    struct role *roles[ACCESS_ROLES_MAX];
    size_t count = 0;
    const struct access_user *user = access_find_user(a, t->user);
    struct str rest = str_of(t->roles), piece;
    if (!t->has_roles) return access_resolve(a, t->user, "");
    if (user && user->is_disabled) return NULL;
    size_t most = ACCESS_ROLES_MAX - (user ? count_denying(a, user) : 0);
    while (rest.size && count < most && str_split(&rest, ',', &piece)) {
        struct role *role = map_get(&a->roles, piece);
        if (role) roles[count++] = role;
    }
    return identity_of(user ? user->ns : ACCESS_NAMESPACE, t->user, roles, count,
                       user ? add_denying(a, user, roles, count) : count);
}

/* The token's identity with the rights of now; kept until something changes. */
static struct identity *identity_behind(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES])
{
    struct access_token *t = map_get(&a->tokens, hash_key(hash));
    if (!t) return NULL;
    if (is_over(a, t)) {
        if (t->kind != TOKEN_DOCUMENT) drop_token(a, hash_key(hash));
        return NULL;
    }
    if (t->cached && t->cached_epoch == a->epoch) return identity_share(t->cached);
    identity_release(t->cached);
    t->cached = t->kind == TOKEN_JWT ? resolve_jwt(a, t) : access_resolve(a, t->user, t->roles);
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

struct identity *access_identify(struct access *a, const char *user)
{
    return access_resolve(a, user, "");
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

void access_on_jwt(struct access *a,
                   void (*find)(void *arg, struct str token, const uint8_t hash[ACCESS_HASH_BYTES]),
                   void *arg)
{
    MUST(!find || !a->find_jwt);
    a->find_jwt = find;
    a->find_jwt_arg = arg;
}

enum err access_put_jwt(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES],
                        const struct access_jwt *jwt)
{
    MUST(jwt->user[0] && jwt->expires_ns > 0);
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
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        if (t->kind == TOKEN_JWT && !keep(arg, t->key)) drop_token(a, key);
    }
}

void access_token_drop(struct access *a, struct str token)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    if (token.size == 0) return;
    access_sha256(token.at, token.size, hash);
    const struct access_token *t = map_get(&a->tokens, hash_key(hash));
    if (t && t->kind == TOKEN_SESSION) drop_token(a, hash_key(hash)); /* others: their documents */
}

struct identity *access_renew(struct access *a, struct identity *identity)
{
    if (identity->by_token) return identity_behind(a, identity->token);
    struct identity *now = access_resolve(a, identity->user, "");
    if (now && now->user_serial == identity->user_serial) return now;
    identity_release(now);
    return NULL;
}

uint64_t access_epoch(const struct access *a)
{
    return a->epoch;
}

/* ---- opening ---- */

static void release(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) free_token(value);
    map_free(&a->tokens);
    for (size_t at = 0; map_next(&a->roles, &at, &key, &value);) role_release(value);
    map_free(&a->roles);
    while (a->users) {
        struct access_user *u = a->users;
        a->users = u->next;
        mem_free(u);
    }
    access_forget_known(a);
    OPENSSL_cleanse(a->known_key, sizeof a->known_key);
    buf_free(&a->save_text);
    mem_free(a->folder);
    mem_free(a);
}

static enum err add_builtin_roles(struct access *a)
{
    const struct access_rule *rules;
    size_t count;
    const char *name;
    for (size_t i = 0; (name = access_builtin_role(i, &rules, &count)); i++) {
        struct role *role = role_new_builtin(name);
        enum err err = role ? map_put(&a->roles, str_of(name), role, NULL) : ERR_NO_MEMORY;
        if (!err) continue;
        role_release(role);
        return err;
    }
    return ERR_OK;
}

static struct access *access_new(struct context *context, const char *folder)
{
    struct access *a = mem_alloc_zero(1, sizeof *a);
    if (!a) return NULL;
    a->context = context;
    map_init(&a->tokens);
    map_init(&a->roles);
    a->folder = mem_strdup(folder);
    context->os->ops->random(context->os, a->known_key, sizeof a->known_key);
    if (a->folder && !add_builtin_roles(a)) return a;
    release(a);
    return NULL;
}

/* The user admin, with the password given or, NULL, a new one. */
static enum err make_admin(struct access *a, const char *password, char new_password[64],
                           struct why *why)
{
    struct os *os = a->context->os;
    uint8_t bytes[12], salt[SCRAM_SALT_BYTES];
    struct scram_verifier verifier;
    char text[SCRAM_TEXT_BYTES];
    if (password && (!password[0] || strlen(password) >= ACCESS_PASSWORD_BYTES))
        return why_set(why, ERR_INVALID, "the admin password must have 1 to %d bytes",
                       ACCESS_PASSWORD_BYTES - 1);
    if (!password) {
        static const char alphabet[] =
            "abcdefghijkmnpqrstuvwxyz23456789"; /* 32: no bias; none looks like another */
        os->ops->random(os, bytes, sizeof bytes);
        for (size_t i = 0, n = 0; i < sizeof bytes; i++) {
            if (i && i % 4 == 0) new_password[n++] = '-';
            new_password[n++] = alphabet[bytes[i] % 32];
            new_password[n] = 0;
        }
        password = new_password;
    }
    os->ops->random(os, salt, sizeof salt);
    scram_make(str_of(password), salt, SCRAM_ITERATIONS, &verifier);
    scram_print(&verifier, text);
    enum err err = access_put_user(a, "admin", "admin", ACCESS_NAMESPACE, text, false);
    struct access_user *admin = access_find_user(a, "admin");
    if (admin) admin->is_in_file = true;
    a->is_fresh = true;
    return err;
}

/* Whether admin.token holds a token that the access file knows. */
static bool token_file_is_good(struct access *a)
{
    struct buf text = BUF_EMPTY;
    uint8_t hash[ACCESS_HASH_BYTES];
    bool good = false;
    if (access_file_read(a->context->os, a->folder, token_name, &text, NULL) == ERR_OK) {
        struct str token = str_trim(buf_str(&text));
        access_sha256(token.at, token.size, hash);
        good = map_get(&a->tokens, hash_key(hash)) != NULL;
    }
    buf_free(&text);
    return good;
}

static void drop_old_file_token(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);)
        if (((const struct access_token *)value)->kind == TOKEN_FILE) drop_token(a, key);
}

static enum err save_now(struct access *a, struct why *why)
{
    struct buf text = BUF_EMPTY;
    access_file_print(a, &text);
    enum err err =
        buf_failed(&text)
            ? why_set(why, ERR_NO_MEMORY, "no memory to save users and tokens")
            : access_file_write(a->context->os, a->folder, access_name, buf_str(&text), why);
    buf_free(&text);
    return err;
}

/* The new token's hash is durable before its text is: a crash between leaves a file that opens
 * nothing. */
static enum err make_token_file(struct access *a, struct why *why)
{
    char token[ACCESS_TOKEN_BYTES + 1];
    uint8_t hash[ACCESS_HASH_BYTES];
    drop_old_file_token(a);
    access_token_text(a, token, hash);
    enum err err = access_add_file_token(a, hash, "admin", "");
    if (!err) err = save_now(a, why);
    size_t size = strlen(token);
    token[size] = '\n'; /* there is room: one byte more than a token's text and its NUL */
    if (!err)
        err = access_file_write(a->context->os, a->folder, token_name,
                                (struct str){token, size + 1}, why);
    OPENSSL_cleanse(token, sizeof token);
    return err;
}

/* What to do about a damaged file: nothing, unless the operator brought a new password. */
static enum err start_afresh(struct access *a, const char *admin_password, enum err err,
                             struct buf *text, struct why *why)
{
    if (err != ERR_CORRUPT) return err;
    if (!admin_password) {
        char reason[200];
        (void)str_copy(reason, sizeof reason, str_of(why ? why->text : ""));
        return why_set(
            why, ERR_CORRUPT,
            "%s/%s is damaged (%s), so nobody can log in; start once with MILLRACE_ADMIN_PASSWORD set to make a "
            "new one (users and tokens in it are lost), or put back a good copy",
            a->folder, access_name, reason);
    }
    diag(a->context, DIAG_WARNING, "access", "%s/%s is damaged and kept as %s; a new one was made",
         a->folder, access_name, damaged_name);
    return access_file_write(a->context->os, a->folder, damaged_name, buf_str(text), why);
}

static enum err load(struct access **a, const char *admin_password, char new_password[64],
                     struct why *why)
{
    struct buf text = BUF_EMPTY;
    struct context *context = (*a)->context;
    enum err err = access_file_read(context->os, (*a)->folder, access_name, &text, why);
    bool is_new = err == ERR_NOT_FOUND;
    if (!err) err = access_file_parse(*a, buf_str(&text), why);
    if (err && !is_new) {
        err = start_afresh(*a, admin_password, err, &text, why);
        struct access *fresh =
            err ? NULL : access_new(context, (*a)->folder); /* nothing of the damaged one stays */
        if (!err && !fresh) err = why_set(why, ERR_NO_MEMORY, "no memory for users and tokens");
        if (fresh) {
            release(*a);
            *a = fresh;
            is_new = true;
        }
    }
    buf_free(&text);
    if (is_new) err = make_admin(*a, admin_password, new_password, why);
    if (err) return err;
    return is_new || !token_file_is_good(*a) ? make_token_file(*a, why) : ERR_OK;
}

enum err access_make_admin(struct access *a, const char *password, struct why *why)
{
    MUST(password);
    enum err err = make_admin(a, password, NULL, why);
    return err ? err : save_now(a, why);
}

enum err access_open(struct context *context, const char *folder, const char *admin_password,
                     char new_password[64], struct access **out, struct why *why)
{
    new_password[0] = 0;
    struct access *a = access_new(context, folder);
    if (!a) return why_set(why, ERR_NO_MEMORY, "no memory for users and tokens");
    enum err err = load(&a, admin_password, new_password, why);
    if (err) {
        release(a);
        return err;
    }
    *out = a;
    return ERR_OK;
}

void access_free_if_over(struct access *a)
{
    if (a->is_closing && !a->is_saving && a->login_count == 0) release(a);
}

void access_close(struct access *a)
{
    if (!a) return;
    MUST(!a->is_closing);
    access_cancel_logins(a);
    a->is_closing = true;
    access_free_if_over(a);
}
