/* access_open.c - opening and closing, and the `access` file while the node serves.
 *
 * The main loop never waits for the disk: a change marks the state dirty, the text is made at once,
 * a worker writes it, and what changed meanwhile is written after that. At a start nothing serves
 * yet, so there it is written on the spot.
 *
 * The order of writes at a first start: the file with the admin and the token's hash, then
 * admin.token. A crash in between leaves a file that opens nothing, and the next start makes
 * another token.
 *
 * Nor does anything serve at a close: what no save has in its text is written on the spot there, so
 * that no change that somebody was told of is lost with the last seconds.
 *
 * Called by node/ at start and stop. Owns struct access itself. Invariants: at most one save is
 * under way; what is_dirty says is not in the text of that one; after access_close the memory stays
 * until the save and every login have come back to the main loop. */
#include "access/access_priv.h"
#include "access/scram.h"
#include <openssl/crypto.h>
#include <string.h>

static const char access_name[] = "access", token_name[] = "admin.token",
                  damaged_name[] = "access.damaged";

/* ---- saving on the spot ---- */

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

/* What no save has in its text; nobody comes behind it. */
static void save_last(struct access *a)
{
    struct why why = WHY_NONE;
    MUST(a->is_closing);
    if (!a->is_dirty || a->is_saving) return;
    a->is_dirty = false;
    enum err err = save_now(a, &why);
    if (err)
        diag(a->context, DIAG_ERROR, "access", "users and tokens could not be saved: %s",
             why_text(&why, err));
}

/* ---- saving while serving ---- */

static void save_done(struct job *job)
{
    struct access *a = (struct access *)((char *)job - offsetof(struct access, save_job));
    MUST(is_access(a) && a->is_saving);
    a->is_saving = false;
    buf_free(&a->save_text);
    if (a->save_err) {
        diag(a->context, DIAG_ERROR, "access", "users and tokens could not be saved: %s",
             why_text(&a->save_why, a->save_err));
        a->is_dirty = true; /* the next change tries again */
    } else if (a->is_dirty) {
        access_save(a);
    }
    if (a->is_closing) save_last(a);
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
    MUST(is_access(a));
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

/* ---- opening ---- */

static void release(struct access *a)
{
    MUST(is_access(a) && a->login_count == 0 && !a->delayed && !a->is_saving);
    struct str key;
    void *value;
    access_free_tokens(a);
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
    a->magic = 0;
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
    a->magic = ACCESS_MAGIC;
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
        good = access_has_token(a, hash);
    }
    buf_free(&text);
    return good;
}

/* The new token's hash is durable before its text is: a crash between leaves a file that opens
 * nothing. */
static enum err make_token_file(struct access *a, struct why *why)
{
    char token[ACCESS_TOKEN_BYTES + 1];
    uint8_t hash[ACCESS_HASH_BYTES];
    access_drop_file_tokens(a);
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
    MUST(is_access(a) && password);
    enum err err = make_admin(a, password, NULL, why);
    return err ? err : save_now(a, why);
}

enum err access_open(struct context *context, const char *folder, const char *admin_password,
                     char new_password[64], struct access **out, struct why *why)
{
    MUST(context && folder && new_password && out);
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

/* Every count is what it counts. */
static void access_verify(const struct access *a)
{
    struct str key;
    void *value;
    size_t sessions = 0, jwts = 0, pending = 0, delayed = 0;
    for (size_t at = 0; map_next(&a->tokens, &at, &key, &value);) {
        const struct access_token *t = value;
        MUST(key.size == ACCESS_HASH_BYTES && (unsigned)t->kind <= TOKEN_JWT);
        sessions += t->kind == TOKEN_SESSION;
        jwts += t->kind == TOKEN_JWT;
    }
    for (size_t i = 0; i < ACCESS_SLOW_SLOTS; i++) pending += a->slow[i].pending;
    for (const struct access_login *l = a->delayed; l; l = l->next, delayed++)
        MUST(*l->link == l && l->timer && l->access == a);
    MUST(sessions == a->session_count && sessions <= ACCESS_SESSIONS_MAX);
    MUST(jwts == a->jwt_count && jwts <= ACCESS_JWTS_MAX);
    MUST(pending == a->login_count && delayed == a->delayed_count);
    MUST(delayed <= ACCESS_DELAYED_MAX && a->prompt_count <= ACCESS_LOGINS_MAX);
    MUST(delayed + a->prompt_count <= pending);
}

void access_free_if_over(struct access *a)
{
    MUST(is_access(a));
    if (a->is_closing && !a->is_saving && a->login_count == 0) release(a);
}

void access_close(struct access *a)
{
    if (!a) return;
    MUST(is_access(a) && !a->is_closing);
    access_verify(a);
    access_cancel_logins(a);
    a->is_closing = true;
    save_last(a);
    access_free_if_over(a);
}
