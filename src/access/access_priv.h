/* access_priv.h - what the parts of access share. */
#ifndef ACCESS_ACCESS_PRIV_H
#define ACCESS_ACCESS_PRIV_H

#include "access/access.h"
#include "base/map.h"

enum {
    ACCESS_HASH_BYTES = 32,
    ACCESS_SESSIONS_MAX = 4096,
    ACCESS_LOGINS_MAX = 64,     /* waiting or running */
    ACCESS_LOGINS_PER_USER = 4, /* of them per slot of `slow` */
    ACCESS_SLOW_SLOTS = 256,    /* users by hash: bounded, whatever names strangers try */
    ACCESS_KNOWN_SLOTS = 64,
    ACCESS_FILE_BYTES_MAX = 4 * 1024 * 1024,
};

struct access_user {
    struct access_user *next;
    char name[ACCESS_USER_BYTES], role[ACCESS_ROLE_BYTES], verifier[ACCESS_VERIFIER_BYTES];
};

/* Value in `tokens`; the key is the SHA-256 of the text. */
struct access_token {
    struct identity *identity;
    int64_t expires_ns; /* monotonic; 0 = never, kept in the file */
    bool is_admin_file; /* the one in admin.token */
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
    struct map tokens;
    size_t session_count;
    struct access_slow slow[ACCESS_SLOW_SLOTS];
    struct access_known known[ACCESS_KNOWN_SLOTS];
    uint8_t known_key[ACCESS_HASH_BYTES];
    struct access_login *delayed; /* waiting for their timer */
    size_t login_count;
    bool is_saving, is_dirty, is_closing;
    struct job save_job; /* to a worker and back */
    struct buf save_text;
    enum err save_err;
    struct why save_why;
};

/* role.c */
const struct role *role_find(const char *name);

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
enum err access_add_user(struct access *access, const char *name, const char *role,
                         const char *verifier);
enum err access_add_token(struct access *access, const uint8_t hash[ACCESS_HASH_BYTES],
                          struct identity *identity, int64_t expires_ns, bool is_admin_file);
const struct access_user *access_find_user(const struct access *access, const char *name);
/* Frees when closing and nothing is under way any more. */
void access_free_if_over(struct access *access);

/* login.c */
void access_cancel_logins(struct access *access);
void access_forget_known(struct access *access);

#endif
