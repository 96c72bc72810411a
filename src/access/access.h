/* access.h - who may do what: users, roles, tokens, and the one check that every listener calls.
 *
 * Passwords are kept as SCRAM-SHA-256 verifiers (RFC 5803 form: one for HTTP, PostgreSQL and MQTT); tokens are 256-bit
 * random, kept as SHA-256. A missing, empty or damaged file means: nobody gets in but by a new admin password, which
 * the operator must set. Lives on the main loop; access_password_check is slow on purpose (PBKDF2) and may run on any
 * task. */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H

#include "loop/context.h"

struct access;

enum access_verb {
    VERB_GET, VERB_LIST, VERB_WATCH, VERB_CREATE, VERB_UPDATE, VERB_DELETE,
    VERB_QUERY, VERB_INGEST, VERB_PUBLISH, VERB_SUBSCRIBE, VERB_WRITE_POINT,
    VERB_COUNT
};
const char *access_verb_name(enum access_verb verb); /* "write-point" */

/* Who a request comes from; immutable, shared by reference count. */
struct identity {
    _Atomic uint32_t refs;
    char user[128];
    char role[64];
    const struct role *role_rules;
};
struct identity *identity_share(struct identity *identity);
void identity_release(struct identity *identity);

/* Opens the folder's access file (users, tokens), or makes it with user admin: `admin_password` NULL = a random one is
 * made and given in `new_password` (empty when the file existed). Writes `admin.token` (0600) when missing. Blocking.
 * Errors: CORRUPT names the file and says how to get in again. */
enum err access_open(struct context *context, const char *folder, const char *admin_password,
                     char new_password[64], struct access **access, struct why *why);
void access_close(struct access *access);

/* Checks user and password: done on a worker, answered on the main loop. Wrong user and wrong password take the same
 * time and read the same. Failures are counted and slowed per user (100 ms doubling to 5 s). */
struct access_login {
    struct completion completion; /* first; err UNAUTHENTICATED */
    char user[128], password[256];
    struct identity *identity; /* gives */
    struct job job;            /* from here on the module's */
    struct access *access;
};
void access_login(struct access *access, struct access_login *login);

/* Makes a session token for an identity (text form, for cookies and Bearer); `ttl_ns` 0 = for ever (then it is kept in
 * the file). */
enum err access_token_make(struct access *access, struct identity *identity, int64_t ttl_ns, char token[80]);
/* The identity behind a token's text, shared, or NULL. */
struct identity *access_token_find(struct access *access, struct str token);
void access_token_drop(struct access *access, struct str token);

/* The one check. `kind` "Device", "" = none; `path` = device path, topic or table name, "" = none. Errors: FORBIDDEN
 * with who, verb and what. */
enum err access_check(const struct identity *identity, enum access_verb verb, const char *kind, struct str ns,
                      struct str path, struct why *why);

#endif
