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

const struct access_user *access_find_user(const struct access *a, const char *name)
{
    for (const struct access_user *u = a->users; u; u = u->next)
        if (strcmp(u->name, name) == 0) return u;
    return NULL;
}

enum err access_add_user(struct access *a, const char *name, const char *role, const char *verifier)
{
    struct access_user *u = mem_alloc_zero(1, sizeof *u);
    if (!u) return ERR_NO_MEMORY;
    (void)str_copy(u->name, sizeof u->name, str_of(name));
    (void)str_copy(u->role, sizeof u->role, str_of(role));
    (void)str_copy(u->verifier, sizeof u->verifier, str_of(verifier));
    u->next = a->users;
    a->users = u;
    return ERR_OK;
}

/* ---- tokens ---- */

static void free_token(struct access_token *t)
{
    if (!t) return;
    identity_release(t->identity);
    mem_free(t);
}

enum err access_add_token(struct access *a, const uint8_t hash[ACCESS_HASH_BYTES],
                          struct identity *identity, int64_t expires_ns, bool is_admin_file)
{
    struct access_token *t = mem_alloc_zero(1, sizeof *t);
    void *old = NULL;
    if (!t) return ERR_NO_MEMORY;
    *t = (struct access_token){identity_share(identity), expires_ns, is_admin_file};
    enum err err = map_put(&a->tokens, hash_key(hash), t, &old);
    if (err) free_token(t);
    MUST(!old || old == t || !expires_ns);
    if (!err) free_token(old);
    if (!err && expires_ns) a->session_count++;
    return err;
}

static void drop_token(struct access *a, struct str key)
{
    struct access_token *t = map_remove(&a->tokens, key);
    if (t && t->expires_ns) a->session_count--;
    free_token(t);
}

static void drop_expired(struct access *a)
{
    int64_t now = context_mono_ns(a->context);
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        if (t->expires_ns && t->expires_ns <= now) drop_token(a, key);
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

static void start_save(struct access *a);

static void save_done(struct job *job)
{
    struct access *a = (struct access *)((char *)job - offsetof(struct access, save_job));
    a->is_saving = false;
    buf_free(&a->save_text);
    if (a->save_err) {
        diag(a->context, DIAG_ERROR, "access", "users and tokens could not be saved: %s",
             why_text(&a->save_why, a->save_err));
    } else if (a->is_dirty) {
        start_save(a);
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

static void start_save(struct access *a)
{
    a->is_dirty = true;
    if (a->is_saving) return;
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

enum err access_token_make(struct access *a, struct identity *identity, int64_t ttl_ns,
                           char token[ACCESS_TOKEN_BYTES])
{
    MUST(identity && ttl_ns >= 0 && !a->is_closing);
    uint8_t hash[ACCESS_HASH_BYTES];
    if (ttl_ns && a->session_count >= ACCESS_SESSIONS_MAX) drop_expired(a);
    if (ttl_ns && a->session_count >= ACCESS_SESSIONS_MAX) return ERR_BUSY;
    make_text(a->context->os, token);
    access_sha256(token, strlen(token), hash);
    enum err err = access_add_token(a, hash, identity,
                                    ttl_ns ? context_mono_ns(a->context) + ttl_ns : 0, false);
    if (!err && !ttl_ns) start_save(a);
    return err;
}

struct identity *access_token_find(struct access *a, struct str token)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    if (token.size == 0 || token.size >= ACCESS_TOKEN_BYTES) return NULL;
    access_sha256(token.at, token.size, hash);
    struct access_token *t = map_get(&a->tokens, hash_key(hash));
    if (!t) return NULL;
    if (t->expires_ns && t->expires_ns <= context_mono_ns(a->context)) {
        drop_token(a, hash_key(hash));
        return NULL;
    }
    return identity_share(t->identity);
}

void access_token_drop(struct access *a, struct str token)
{
    uint8_t hash[ACCESS_HASH_BYTES];
    if (token.size == 0) return;
    access_sha256(token.at, token.size, hash);
    const struct access_token *t = map_get(&a->tokens, hash_key(hash));
    bool was_kept = t && !t->expires_ns;
    drop_token(a, hash_key(hash));
    if (was_kept) start_save(a);
}

/* ---- opening ---- */

static void release(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) free_token(value);
    map_free(&a->tokens);
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

static struct access *access_new(struct context *context, const char *folder)
{
    struct access *a = mem_alloc_zero(1, sizeof *a);
    if (!a) return NULL;
    a->context = context;
    map_init(&a->tokens);
    a->folder = mem_strdup(folder);
    context->os->ops->random(context->os, a->known_key, sizeof a->known_key);
    if (a->folder) return a;
    release(a);
    return NULL;
}

/* The user admin, with the password given or a new one. */
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
    return access_add_user(a, "admin", "admin", text);
}

/* Whether admin.token holds a token that the access file knows. */
static bool token_file_is_good(struct access *a)
{
    struct buf text = BUF_EMPTY;
    bool good = false;
    if (access_file_read(a->context->os, a->folder, token_name, &text, NULL) == ERR_OK) {
        struct identity *identity = access_token_find(a, str_trim(buf_str(&text)));
        good = identity != NULL;
        identity_release(identity);
    }
    buf_free(&text);
    return good;
}

static void drop_old_file_token(struct access *a)
{
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);)
        if (((const struct access_token *)value)->is_admin_file) drop_token(a, key);
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
    struct identity *identity = identity_new("admin", "admin");
    if (!identity) return why_set(why, ERR_NO_MEMORY, "no memory for the admin token");
    make_text(a->context->os, token);
    access_sha256(token, strlen(token), hash);
    enum err err = access_add_token(a, hash, identity, 0, true);
    identity_release(identity);
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
