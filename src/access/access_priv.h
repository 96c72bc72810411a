/* access_priv.h - what the parts of access share. */
#ifndef ACCESS_ACCESS_PRIV_H
#define ACCESS_ACCESS_PRIV_H

#include "access/access.h"
#include "base/map.h"

enum {
    ACCESS_SESSIONS_MAX = 4096,
    ACCESS_JWTS_MAX = 16384,
    ACCESS_LOGINS_MAX = 64,     /* waiting or running */
    ACCESS_LOGINS_PER_USER = 4, /* of them per slot of `slow` */
    ACCESS_SLOW_SLOTS = 256,    /* users by hash: bounded, whatever names strangers try */
    ACCESS_KNOWN_SLOTS = 64,
    ACCESS_FILE_BYTES_MAX = 4 * 1024 * 1024,
};

struct access_user {
    struct access_user *next;
    char name[ACCESS_USER_BYTES], roles[ACCESS_ROLES_BYTES], verifier[ACCESS_VERIFIER_BYTES];
    char ns[ACCESS_NAMESPACE_BYTES];
    char before[ACCESS_VERIFIER_BYTES]; /* the hash of another broker that `verifier` replaced */
    uint64_t serial; /* a new one with each password: what came with an older one holds no longer */
    bool is_disabled;
    bool is_in_file;
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
    int64_t made_ns;      /* wall */
    struct identity *cached;
    uint64_t cached_epoch;
};

/* Immutable, shared. */
struct role {
    _Atomic uint32_t refs;
    char name[ACCESS_ROLE_BYTES];
    size_t rule_count;
    const struct access_rule *rules;
    struct arena arena; /* of the rules, unless they are static */
};

struct access_slow {
    unsigned failures, pending;
    int64_t last_ns;
};

/* A pair of user and password that was right a moment ago, as HMAC under a key of this process. */
struct access_known {
    uint8_t mac[ACCESS_HASH_BYTES];
    int64_t until_ns;
    struct identity *identity;
};

struct access {
    struct context *context;
    char *folder;
    struct access_user *users;
    struct map roles; /* name → struct role *, the built-in ones too */
    uint64_t epoch, last_serial;
    bool is_fresh; /* the file was made in this start */
    struct map tokens;
    size_t session_count, jwt_count;
    void (*find_jwt)(void *arg, struct str token, const uint8_t hash[ACCESS_HASH_BYTES]);
    void *find_jwt_arg;
    struct access_slow slow[ACCESS_SLOW_SLOTS];
    struct access_known known[ACCESS_KNOWN_SLOTS];
    uint8_t known_key[ACCESS_HASH_BYTES];
    struct access_login *delayed; /* waiting for their timer */
    size_t login_count;
    bool is_saving, is_dirty, is_closing;
    void (*tell_better)(void *arg, const char *user, const char *verifier);
    void *tell_arg;
    struct job save_job; /* to a worker and back */
    struct buf save_text;
    enum err save_err;
    struct why save_why;
};

/* role.c */
struct role *role_new(const char *name, const struct access_rule *rules, size_t count); /* copies */
struct role *role_new_builtin(const char *name); /* NULL: no such role, or no memory */
struct role *role_share(struct role *role);
void role_release(struct role *role);
/* Whether a name stands in names joined by commas. */
bool role_is_among(const char *names, struct str name);
#define ACCESS_NAMESPACE "default" /* of who has no other */
/* The verbs of its rules that deny; 0 = it has none. */
uint32_t role_denies(const struct role *role);
/* An identity of the first `count` of these roles, which it shares; what all `bound` of them deny
 * is denied. */
struct identity *identity_of(const char *ns, const char *user, struct role *const *roles,
                             size_t count, size_t bound);

/* access_file.c: the text form, and files written whole (temporary file, sync, rename, sync of the
 * folder). */
enum err access_file_parse(struct access *access, struct str text, struct why *why);
void access_file_print(const struct access *access, struct buf *text);
enum err access_file_write(struct os *os, const char *folder, const char *name, struct str text,
                           struct why *why);
/* NOT_FOUND when it is not there. */
enum err access_file_read(struct os *os, const char *folder, const char *name, struct buf *text,
                          struct why *why);

/* access.c */
void access_sha256(const void *bytes, size_t size, uint8_t out[ACCESS_HASH_BYTES]);
enum err access_add_file_token(struct access *access, const uint8_t hash[ACCESS_HASH_BYTES],
                               const char *user, const char *roles);
struct access_user *access_find_user(const struct access *access, const char *name);
/* The user as it is now, with its roles that are also among `limit` ("" = all of them); NULL when
 * there is no such user, when it is disabled, or without memory. */
struct identity *access_resolve(struct access *access, const char *user, const char *limit);
void access_save(struct access *access); /* soon, on a worker */
/* Frees when closing and nothing is under way any more. */
void access_free_if_over(struct access *access);

/* login.c */
void access_cancel_logins(struct access *access);
void access_forget_known(struct access *access);

#endif
