/* access_priv.h - what the parts of access share: the node's users, roles and tokens as one struct.
 *
 *     access.c         users, roles, and the identity that they add up to
 *     access_token.c   sessions, kept tokens, tokens of another issuer
 *     access_open.c    opening, closing, and writing the file while the node serves
 *     access_file.c    the file's form, and files written whole
 *     login.c          passwords: slow for guessers, quick for who was right a moment ago
 *     role.c           rules, the one check, and identities
 *
 * Main loop only, but for roles and identities, which are shared by reference count and never
 * change once they are made. */
#ifndef ACCESS_ACCESS_PRIV_H
#define ACCESS_ACCESS_PRIV_H

#include "access/access.h"
#include "base/map.h"

enum {
    ACCESS_MAGIC = 0x61636373,
    ACCESS_SESSIONS_MAX = 4096, /* of all users; a stranger cannot make one */
    ACCESS_JWTS_MAX = 16384,    /* of another issuer that hold, each with the user it names */
    ACCESS_LOGINS_MAX = 64,     /* with a worker, of names without failures */
    ACCESS_DELAYED_MAX = 256,   /* waiting, of names that have some: they stand in nobody's way */
    ACCESS_LOGINS_PER_USER = 4, /* of them per slot of `slow` */
    ACCESS_SLOW_SLOTS = 256,    /* users by hash: bounded, whatever names strangers try */
    ACCESS_KNOWN_SLOTS = 64,    /* a second pair of the same slot takes the place of the first */
    ACCESS_FILE_BYTES_MAX = 4 * 1024 * 1024,
};

struct access_user {
    struct access_user *next;
    /* `roles` joined by commas; `verifier` as scram.h or legacy.h write it, "" = no password fits.
     */
    char name[ACCESS_USER_BYTES], roles[ACCESS_ROLES_BYTES], verifier[ACCESS_VERIFIER_BYTES];
    /* identity.ns of its logins; never "". */
    char ns[ACCESS_NAMESPACE_BYTES];
    char before[ACCESS_VERIFIER_BYTES]; /* the hash of another broker that `verifier` replaced */
    uint64_t serial; /* a new one with each password: what came with an older one holds no longer */
    bool is_disabled; /* nobody gets in as it, and who is in goes */
    bool is_in_file;  /* the `access` file holds it: its document is not on disk yet */
};

enum token_kind {
    TOKEN_SESSION,
    TOKEN_FILE, /* the one in admin.token */
    TOKEN_DOCUMENT,
    TOKEN_JWT /* of another issuer, for as long as it holds */
};

/* Value in `tokens`; the key is the SHA-256 of the text. */
struct access_token {
    enum token_kind kind;
    char user[ACCESS_USER_BYTES], roles[ACCESS_ROLES_BYTES]; /* "" = all of the user's */
    uint64_t user_serial; /* SESSION: of the password it was made with */
    int64_t expires_ns;   /* SESSION: monotonic; others: wall; 0 = never */
    uint64_t key;         /* JWT: what it was signed with */
    bool has_roles;       /* JWT: `roles` are all there are, "" = none */
    int64_t made_ns;      /* SESSION: wall */
    /* A share of what it stood for in this epoch; NULL = not asked for, or nobody. */
    struct identity *cached;
    uint64_t cached_epoch;
};

/* Immutable, shared by reference count. Thread: any. */
struct role {
    _Atomic uint32_t refs;
    char name[ACCESS_ROLE_BYTES];
    size_t rule_count;
    const struct access_rule *rules;
    struct arena arena; /* of the rules, unless they are static */
};

/* What is remembered of all names that fall into one slot. */
struct access_slow {
    unsigned failures; /* since the last login that was right */
    unsigned pending;  /* logins that wait or are checked; at most ACCESS_LOGINS_PER_USER */
    int64_t last_ns;   /* monotonic; when the last one failed */
};

/* A pair of user and password that was right a moment ago, as HMAC under a key of this process. */
struct access_known {
    uint8_t mac[ACCESS_HASH_BYTES];
    int64_t until_ns;          /* monotonic */
    struct identity *identity; /* a share; NULL = a free slot */
};

struct access {
    uint32_t magic;            /* ACCESS_MAGIC while it lives */
    struct context *context;   /* borrowed: the node's */
    char *folder;              /* owned, as the next */
    struct access_user *users; /* each name once */
    struct map roles;          /* name → struct role *, the built-in ones too */
    /* Counts changes of rights; the last serial given to a user's password. */
    uint64_t epoch, last_serial;
    bool is_fresh;                   /* the file was made in this start */
    struct map tokens;               /* SHA-256 of the text → struct access_token * */
    size_t session_count, jwt_count; /* of `tokens`, by kind */
    /* NULL = nobody knows tokens of another issuer. */
    void (*find_jwt)(void *arg, struct str token, const uint8_t hash[ACCESS_HASH_BYTES]);
    void *find_jwt_arg;
    struct access_slow slow[ACCESS_SLOW_SLOTS];
    struct access_known known[ACCESS_KNOWN_SLOTS];
    uint8_t known_key[ACCESS_HASH_BYTES]; /* random, of this start; wiped at the end */
    struct access_login *delayed;         /* waiting for their timer */
    size_t delayed_count;                 /* they */
    size_t login_count;                   /* waiting or with a worker: all `pending` of `slow` */
    size_t prompt_count;                  /* of them, those that did not have to wait */
    /* A worker has save_text; something has changed that the file does not say yet; access_close
     * was called. */
    bool is_saving, is_dirty, is_closing;
    void (*tell_better)(void *arg, const char *user, const char *verifier);
    void *tell_arg;
    struct job save_job;  /* to a worker and back */
    struct buf save_text; /* the worker's while is_saving, as the next two */
    enum err save_err;
    struct why save_why;
};

/* ---- role.c ---- */

/* Copies rules, lists and texts; the caller has the one share. NULL: no memory, or a name that is
 * too long. */
struct role *role_new(const char *name, const struct access_rule *rules, size_t count);
struct role *role_new_builtin(const char *name); /* NULL: no such role, or no memory */
struct role *role_share(struct role *role);      /* any thread, as the next */
void role_release(struct role *role);            /* NULL allowed */
/* Whether a name stands in names joined by commas. */
bool role_is_among(const char *names, struct str name);
#define ACCESS_NAMESPACE "default" /* of who has no other */
/* The verbs of its rules that deny; 0 = it has none. */
uint32_t role_denies(const struct role *role);
/* An identity of the first `count` of these roles, which it shares; what all `bound` of them deny
 * is denied: count ≤ bound ≤ ACCESS_ROLES_MAX. `user` longer than ACCESS_USER_BYTES is cut. Gives;
 * NULL: no memory. */
struct identity *identity_of(const char *ns, const char *user, struct role *const *roles,
                             size_t count, size_t bound);

/* ---- access_file.c: the text form, and files written whole ---- */

/* Puts what the file says into `access`. Errors: CORRUPT (why says what is wrong; some of it may
 * have been put), NO_MEMORY. */
enum err access_file_parse(struct access *access, struct str text, struct why *why);
/* Appends the whole file; buf_failed without memory. */
void access_file_print(const struct access *access, struct buf *text);
/* Durable when it returns OK: temporary file, sync, rename, sync of the folder. Blocking. After an
 * error the old file is there, or the new one. Errors: IO, DISK_FULL, LIMIT, NO_MEMORY. */
enum err access_file_write(struct os *os, const char *folder, const char *name, struct str text,
                           struct why *why);
/* Appends the whole file; blocking. Errors: NOT_FOUND when it is not there; CORRUPT: larger than
 * ACCESS_FILE_BYTES_MAX; IO, LIMIT, NO_MEMORY. */
enum err access_file_read(struct os *os, const char *folder, const char *name, struct buf *text,
                          struct why *why);

/* ---- access_token.c ---- */

void access_sha256(const void *bytes, size_t size, uint8_t out[ACCESS_HASH_BYTES]);
/* The token of admin.token. Errors: NO_MEMORY, also for a text that is too long. */
enum err access_add_file_token(struct access *access, const uint8_t hash[ACCESS_HASH_BYTES],
                               const char *user, const char *roles);
/* Any token of this hash, also one that is over. */
bool access_has_token(const struct access *access, const uint8_t hash[ACCESS_HASH_BYTES]);
void access_drop_file_tokens(struct access *access);
/* At the end: frees all of them, and the map. */
void access_free_tokens(struct access *access);

/* ---- access.c ---- */

bool is_access(const struct access *access);
/* Borrowed until a user is put or removed; NULL: there is none. */
struct access_user *access_find_user(const struct access *access, const char *name);
/* The user as it is now, with its roles that are also among `limit` ("" = all of them); NULL when
 * there is no such user, when it is disabled, or without memory. */
struct identity *access_resolve(struct access *access, const char *user, const char *limit);
/* Who a token of another issuer names, with the roles that it claims and that there are. There need
 * not be a user of that name; one that is disabled is nobody, and what one is denied stays denied.
 * Gives; NULL: nobody, or no memory. */
struct identity *access_resolve_claim(struct access *access, const char *user, const char *roles);

/* ---- access_open.c ---- */

/* Writes the file soon, on a worker; a failure is told in the diagnostics, and the next change
 * tries again. */
void access_save(struct access *access);
/* Frees when closing and nothing is under way any more. */
void access_free_if_over(struct access *access);

/* ---- login.c ---- */

/* Those that wait for their timer finish CANCELLED; those with a worker when they come back. */
void access_cancel_logins(struct access *access);
/* Rights have changed: no password is known to be right any more. */
void access_forget_known(struct access *access);

#endif
