/* access.h - who may do what: users, roles, tokens, and the one check that every listener calls.
 *
 * Passwords are kept as SCRAM-SHA-256 verifiers (RFC 5803 form: one for HTTP, PostgreSQL and MQTT);
 * tokens are 256-bit random, kept as SHA-256. A damaged or empty file means: nobody gets in until
 * the operator sets a new admin password. Everything here lives on the main loop, except what says
 * otherwise. */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H

#include "loop/context.h"

struct access;
struct role;

/* X(symbol, name) */
#define ACCESS_VERB_TABLE(X)                                                                       \
    X(GET, "get")                                                                                  \
    X(LIST, "list")                                                                                \
    X(WATCH, "watch")                                                                              \
    X(CREATE, "create")                                                                            \
    X(UPDATE, "update")                                                                            \
    X(DELETE, "delete")                                                                            \
    X(QUERY, "query")                                                                              \
    X(INGEST, "ingest")                                                                            \
    X(PUBLISH, "publish")                                                                          \
    X(SUBSCRIBE, "subscribe")                                                                      \
    X(WRITE_POINT, "write-point")

enum access_verb {
#define X(symbol, name) VERB_##symbol,
    ACCESS_VERB_TABLE(X)
#undef X
        VERB_COUNT
};
const char *access_verb_name(enum access_verb verb); /* "write-point" */

enum {
    ACCESS_USER_BYTES = 128,
    ACCESS_ROLE_BYTES = 64,
    ACCESS_PASSWORD_BYTES = 256,
    ACCESS_TOKEN_BYTES = 80, /* of a token's text, its NUL included */
    ACCESS_VERIFIER_BYTES = 192,
};

/* Who a request comes from; immutable, shared by reference count. Thread: any. */
struct identity {
    _Atomic uint32_t refs;
    char user[ACCESS_USER_BYTES];
    char role[ACCESS_ROLE_BYTES];
    const struct role *role_rules;
};
/* For what is no login of a user ("anonymous", a test): NULL when there is no such role, or no
 * memory. */
struct identity *identity_new(const char *user, const char *role);
struct identity *identity_share(struct identity *identity);
void identity_release(struct identity *identity); /* NULL allowed */

/* Opens the folder's `access` file (users, kept tokens), or makes it with the user admin:
 * `admin_password` NULL = a random one is made and given in `new_password` (empty when nobody needs
 * to be told). Writes `admin.token` (0600) when it is missing or no longer valid; otherwise it
 * stays as it is. An `admin_password` given for a good file is ignored; with a damaged one it
 * starts afresh, and the damaged file is kept as `access.damaged`. Blocking. Errors: CORRUPT names
 * the file and says how to get in again; INVALID for an unusable password. */
enum err access_open(struct context *context, const char *folder, const char *admin_password,
                     char new_password[64], struct access **access, struct why *why);
/* After the listeners are closed. Logins that still wait finish CANCELLED; what runs on a worker is
 * waited for in the sense that the memory goes when it has come back to the main loop. */
void access_close(struct access *access);

/* Checks user and password: done on a worker, answered on completion.home; completion.err is
 * UNAUTHENTICATED (with one text for every reason), or BUSY when too many wait. Wrong user and
 * wrong password take the same time. Failures are counted and slowed per user (100 ms doubling to 5
 * s). A pair that was right in the last minutes is known without work, so Basic authentication with
 * each request is cheap. Call on the main loop. */
struct access_login {
    struct completion completion; /* first; initialised by the caller */
    char user[ACCESS_USER_BYTES], password[ACCESS_PASSWORD_BYTES]; /* the password is wiped */
    struct identity *identity;                                     /* gives, when err is OK */
    struct job job;                                                /* from here on the module's */
    struct access *access;
    struct os_timer *timer;
    struct access_login *next, **link;
    char verifier[ACCESS_VERIFIER_BYTES];
    bool is_right;
};
void access_login(struct access *access, struct access_login *login);

/* Makes a token for an identity (text form, for cookies and Bearer); `ttl_ns` 0 = for ever: then
 * its hash is kept in the file, which a worker writes afterwards (a failure is a diagnostic line
 * and is tried again with the next change). Errors: BUSY when 4096 sessions are alive. */
enum err access_token_make(struct access *access, struct identity *identity, int64_t ttl_ns,
                           char token[ACCESS_TOKEN_BYTES]);
/* The identity behind a token's text, shared, or NULL. */
struct identity *access_token_find(struct access *access, struct str token);
void access_token_drop(struct access *access, struct str token);

/* The one check. `kind` "Device" (case-insensitive), "" = none; `ns` namespace; `path` = device
 * path, topic or table name, "" = none. NULL identity: UNAUTHENTICATED. Errors: FORBIDDEN with who,
 * verb and what. Thread: any. */
enum err access_check(const struct identity *identity, enum access_verb verb, const char *kind,
                      struct str ns, struct str path, struct why *why);

#endif
