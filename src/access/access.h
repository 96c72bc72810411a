/* access.h - who may do what: users, roles, tokens, and the one check that every listener calls.
 *
 * Passwords are kept as SCRAM-SHA-256 verifiers (RFC 5803 form: one for HTTP, PostgreSQL and MQTT);
 * tokens are 256-bit random, kept as SHA-256. What is known here is a mirror: users, own roles and
 * kept tokens are documents (kinds User, Role, Token), and `listeners/identities.c` tells of their
 * changes. Only the first admin, until its document is on disk, and the token of `admin.token` live
 * in a file of this module. A damaged or empty file means: nobody gets in until the operator sets a
 * new admin password.
 *
 * Nothing is allowed that no rule allows, and there are no rules that deny: so whatever cannot be
 * read, is unknown or is missing takes rights away and never gives any. Everything here lives on
 * the main loop, except what says otherwise. */
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
const char *access_verb_name(enum access_verb verb); /* "write-point"; static */
int access_verb_of(struct str name);                 /* an enum access_verb; -1 when unknown */

/* Sizes of texts, their NUL included: what is longer is refused, or left out whole, and never cut.
 */
enum {
    ACCESS_USER_BYTES = 128,
    ACCESS_NAMESPACE_BYTES = 256,
    ACCESS_ROLE_BYTES = 256,  /* of a role's name */
    ACCESS_ROLES_MAX = 16,    /* of one user */
    ACCESS_ROLES_BYTES = 512, /* of their names, joined by commas */
    ACCESS_HASH_BYTES = 32,
    ACCESS_PASSWORD_BYTES = 256, /* of UTF-8, as typed */
    ACCESS_TOKEN_BYTES = 80,     /* of a token's text, its NUL included */
    ACCESS_VERIFIER_BYTES = 192, /* of scram.h's text, or legacy.h's */
    ACCESS_JWT_BYTES = 4096,     /* of another issuer's token, its NUL included */
};

/* ---- rights ---- */

/* Texts of which one must fit; `any` = no limit. An empty list without `any` fits nothing. Borrowed
 * from whoever made the rule. */
struct access_list {
    bool any;
    size_t count;
    const struct str *items;
};

/* What a rule allows: all five must fit. Kinds are compared without case, namespaces and names byte
 * by byte, paths are filters of device paths and topics in MQTT's form ("line3/+/temp", "line3/#").
 * In paths %u stands for the user who asks, %c for his MQTT client identifier, and of the
 * certificate that his connection showed %n for the common name, %o for the organization and %d for
 * the organizational unit (department); one that is missing, or has + # /, fits nothing. A request
 * that concerns no kind (a topic) fits whatever the kinds are; one without a path or name fits only
 * rules that do not limit it.
 *
 * A rule that denies takes topics away from what the other rules of all its user's roles allow,
 * whatever their order, unless one of them is the built-in admin: its verbs are among
 * ACCESS_DENIABLE, and it has neither kinds nor names, nor what stands for a name in its paths. */
struct access_rule {
    uint32_t verbs; /* bit per enum access_verb */
    struct access_list kinds, namespaces, names, paths;
    bool denies;
};
#define ACCESS_NAME_LETTERS "ucnod" /* behind a % in paths */
#define ACCESS_DENIABLE     (1u << VERB_PUBLISH | 1u << VERB_SUBSCRIBE)

/* Verbs that move data rather than documents. */
#define ACCESS_DATA_VERBS                                                                          \
    (1u << VERB_QUERY | 1u << VERB_INGEST | 1u << VERB_PUBLISH | 1u << VERB_SUBSCRIBE |            \
     1u << VERB_WRITE_POINT)

/* Is it a filter ('#' last, '+' and '#' alone in their segment)? A segment may be empty: "/a" is
 * another topic than "a". */
bool access_filter_is_valid(struct str filter);
/* Whether every path or topic that `path` stands for fits the filter: a wildcard in `path` (a
 * subscription) is covered by a wildcard at least as wide, never by a name. */
bool access_filter_covers(struct str filter, struct str path);
/* Whether there may be a topic that fits both. With names: a segment with a % may be anything. */
bool access_filters_overlap(struct str one, struct str other, bool with_names);

/* The built-in roles by index from 0: admin, engineer, operator, viewer, anonymous; NULL at the
 * end. `rules` is static. */
const char *access_builtin_role(size_t index, const struct access_rule **rules, size_t *count);

/* Who a request comes from; immutable, shared by reference count. Thread: any. What it says is what
 * held when it was made: who keeps one for longer than a request asks access_renew. */
struct identity {
    _Atomic uint32_t refs; /* > 0 */
    char user[ACCESS_USER_BYTES];
    char role[ACCESS_ROLES_BYTES]; /* names, joined by commas */
    size_t role_count;             /* of `roles`: what it may do … */
    size_t bound_count;    /* … and with those behind them, what it is denied all the same */
    uint32_t denied_verbs; /* of which rules that deny take something away */
    size_t ns_size;        /* of `ns`, whose text most checks of a topic never look at */
    struct role *roles[ACCESS_ROLES_MAX];
    uint64_t user_serial;             /* the password it came with; for access_renew */
    bool by_token;                    /* it came with a token … */
    uint8_t token[ACCESS_HASH_BYTES]; /* … of this hash */
    char ns[];                        /* not ""; in whose topic tree its MQTT clients live */
};
/* One built-in role, for what is no login of a user ("anonymous", a test): NULL when there is no
 * such role, or no memory. */
struct identity *identity_new(const char *user, const char *role);
/* The same in another namespace than `default`. */
struct identity *identity_new_in(const char *ns, const char *user, const char *role);
/* One more share, for whoever keeps it. */
struct identity *identity_share(struct identity *identity);
void identity_release(struct identity *identity); /* NULL allowed */

/* The one check. `kind` "Device" (case-insensitive), "" = none; `ns` "" = of no namespace; `name`
 * of the document or the table's SQL name; `path` = absolute device path, or topic. NULL identity:
 * UNAUTHENTICATED. Errors: FORBIDDEN with who, verb and what. Thread: any. */
enum err access_check(const struct identity *identity, enum access_verb verb, const char *kind,
                      struct str ns, struct str name, struct str path, struct why *why);

/* Of the subject of a certificate that was checked; without text = it has none. */
struct access_certificate {
    struct str name, organization, unit;
};

/* The same for a topic of a client, or a filter all of whose topics it wants: %c, %n, %o and %d in
 * a rule's paths are its. Thread: any. */
struct access_client {
    struct str id;
    struct access_certificate certificate;
    struct str ns; /* in whose tree the topic is; without text = in the identity's */
};
enum err access_check_topic(const struct identity *identity, enum access_verb verb,
                            const struct access_client *client, struct str topic);
/* The same for a client's subscription, which rules that deny may cut: then `*is_cut` becomes true,
 * and each topic has to be checked before the client gets it. A filter of which nothing is left is
 * FORBIDDEN. */
enum err access_check_subscription(const struct identity *identity,
                                   const struct access_client *client, struct str filter,
                                   bool *is_cut);

/* How much of something an identity (NULL: NONE) may: SOME means that each object (device path,
 * name) has to be checked by itself. `ns` without text = in any namespace; `name` "" = of any name.
 * Thread: any. */
enum access_scope { ACCESS_NONE, ACCESS_SOME, ACCESS_ALL };
enum access_scope access_scope(const struct identity *identity, enum access_verb verb,
                               const char *kind, struct str ns, struct str name);

/* Whether the identity may itself do all that the rules allow, or deny, so that nobody gives away
 * more than he has, or takes away what binds him. Each verb of a rule must be covered by one rule
 * of the identity. Errors: FORBIDDEN names the verb. */
enum err access_covers(const struct identity *identity, const struct access_rule *rules,
                       size_t count, struct why *why);
/* The same for a role by name; one that there is not (yet) is covered only by who may do all. */
struct access;
enum err access_covers_role(const struct access *access, const struct identity *identity,
                            struct str role, struct why *why);

/* ---- the file, opening and closing ---- */

/* Opens the folder's `access` file, or makes it with the user admin:
 * `admin_password` NULL = a random one is made and given in `new_password` (empty when nobody needs
 * to be told). Writes `admin.token` (0600) when it is missing or no longer valid; otherwise it
 * stays as it is. An `admin_password` given for a good file is ignored; with a damaged one it
 * starts afresh, and the damaged file is kept as `access.damaged`. Blocking. Errors: CORRUPT names
 * the file and says how to get in again; INVALID for an unusable password. */
enum err access_open(struct context *context, const char *folder, const char *admin_password,
                     char new_password[64], struct access **access, struct why *why);
/* Makes the user admin anew with this password, for a node whose own documents leave nobody that
 * can log in as admin: the operator who starts the program says who it is. admin.token is good
 * again with it. Blocking, at a start. Errors: as access_open. */
enum err access_make_admin(struct access *access, const char *password, struct why *why);
/* After the listeners are closed. Logins that still wait finish CANCELLED; what runs on a worker is
 * waited for in the sense that the memory goes when it has come back to the main loop. */
void access_close(struct access *access);

/* Checks user and password: done on a worker, answered on completion.home; completion.err is
 * UNAUTHENTICATED (with one text for every reason), or BUSY when too many wait. Wrong user and
 * wrong password take the same time. Failures are counted and slowed per user (100 ms doubling to 5
 * s). A pair that was right in the last minutes is known without work, so Basic authentication with
 * each request is cheap. Call on the main loop. */
struct access_login {
    /* First; initialised by the caller. Until it is done the struct is the module's, and stays
     * where it is. */
    struct completion completion;
    char user[ACCESS_USER_BYTES], password[ACCESS_PASSWORD_BYTES]; /* the password is wiped */
    /* Instead of a password: a SCRAM proof over `auth` (borrowed until done), made for `verifier`
     * (access_scram_verifier, its text). */
    bool by_proof;
    struct str auth;
    uint8_t proof[ACCESS_HASH_BYTES];
    struct identity *identity; /* gives, when err is OK; else NULL */
    struct job job;            /* from here on the module's */
    struct access *access;
    struct os_timer *timer;
    struct access_login *next, **link; /* of those that wait for their timer */
    char verifier[ACCESS_VERIFIER_BYTES], better[ACCESS_VERIFIER_BYTES];
    uint8_t salt[16]; /* for `better`: what replaces a verifier of another broker */
    bool is_right;    /* what the worker found; judged on the main loop */
    bool is_prompt;   /* it did not have to wait */
};
/* Takes the login until its completion is finished, which is never inside the call. */
void access_login(struct access *access, struct access_login *login);
/* Whether it waits, since its user's name has failures, so that nobody is at work for it. Main
 * loop, while the login is the module's. */
bool access_login_waits(const struct access_login *login);
/* Whom to tell (one; main loop) that a login has replaced another broker's hash (access/legacy.h)
 * by a verifier of the same password: what was logged in under it stays. */
void access_on_better(struct access *access,
                      void (*tell)(void *arg, const char *user, const char *verifier), void *arg);
/* The verifier that a SCRAM exchange begins with, as text. For a user that there is not, or that
 * has no password, or one of another broker, an invented one that no password fits, the same one as
 * long as the node runs: who asks learns nothing. */
void access_scram_verifier(struct access *access, const char *user,
                           char verifier[ACCESS_VERIFIER_BYTES]);

/* ---- tokens ---- */

/* Makes a session's token for an identity that logged in by password: text form, for cookies and
 * Bearer. It ends after `ttl_ns`, and with the user, its password or its being enabled. Errors:
 * BUSY when 4096 sessions are alive. */
enum err access_token_make(struct access *access, const struct identity *identity, int64_t ttl_ns,
                           char token[ACCESS_TOKEN_BYTES]);
/* Tokens of another issuer. `find` is asked for one that is not known here, and tells of it with
 * access_put_jwt when it holds; NULL: nobody is. */
void access_on_jwt(struct access *access,
                   void (*find)(void *arg, struct str token, const uint8_t hash[ACCESS_HASH_BYTES]),
                   void *arg);
struct access_jwt {
    const char *user;
    const char *roles;  /* with has_roles: names joined by commas; those that there are count */
    bool has_roles;     /* else the roles of the user of that name, which there must be */
    int64_t expires_ns; /* wall clock */
    uint64_t key;       /* what it was signed with */
};
/* Errors: LIMIT (16,384 of them hold), NO_MEMORY. */
enum err access_put_jwt(struct access *access, const uint8_t hash[ACCESS_HASH_BYTES],
                        const struct access_jwt *jwt);
/* Those whose key is not to be kept hold no longer. */
void access_drop_jwts(struct access *access, bool (*keep)(void *arg, uint64_t key), void *arg);
/* The identity behind a token's text (any bytes), with the rights of now. Gives a share; NULL: no
 * such token, it is over, its user is gone or disabled, or no memory. */
struct identity *access_token_find(struct access *access, struct str token);
/* The identity of a user that something other than a password or token has proved, such as a
 * client's certificate; NULL when there is no such user, or it is disabled. Gives. */
struct identity *access_identify(struct access *access, const char *user);
/* Ends a session by its token's text; any other token, or none, is left alone. */
void access_token_drop(struct access *access, struct str token);
/* Walks over the logins whose sessions' tokens are good: start with *at = 0; false at the end. No
 * changes meanwhile. */
struct access_session {
    const char *user; /* borrowed */
    int64_t since_ns; /* wall clock */
};
bool access_session_next(const struct access *access, size_t *at, struct access_session *session);
/* A fresh token's text and the hash to keep of it. */
void access_token_text(struct access *access, char token[ACCESS_TOKEN_BYTES],
                       uint8_t hash[ACCESS_HASH_BYTES]);

/* What the identity of an open connection (a watch, a live view) has become: a share of it or of
 * its successor with the rights of now (gives; the caller still has the old one), or NULL when the
 * token, the user or the password it came with holds no longer. */
struct identity *access_renew(struct access *access, struct identity *identity);
/* Counts changes of users, roles and tokens: when it stands still, access_renew need only be asked
 * for expiry. */
uint64_t access_epoch(const struct access *access);

/* ---- the mirror of the documents ---- */

/* Roles are names joined by commas; one that there is not gives nothing. `ns`: identity.ns.
 * `verifier` "" = no password fits. Errors: LIMIT (the name, the namespace), NO_MEMORY. */
enum err access_put_user(struct access *access, const char *name, const char *roles, const char *ns,
                         const char *verifier, bool is_disabled);
/* Its sessions and tokens open nothing any more. One that is not there is passed over. */
void access_remove_user(struct access *access, const char *name);
/* Own roles; built-in names are refused (EXISTS). Lists and texts are copied. Errors: EXISTS,
 * NO_MEMORY; after NO_MEMORY there is no role of that name. */
enum err access_put_role(struct access *access, const char *name, const struct access_rule *rules,
                         size_t count);
/* Who has it has a role less. One that is not there is passed over. */
void access_remove_role(struct access *access, const char *name);
/* `roles` "" = all of the user's; else those that the user has as well. `expires_ns` is wall time,
 * 0 = never. Errors: NO_MEMORY, and nothing has changed. */
enum err access_put_token(struct access *access, const uint8_t hash[ACCESS_HASH_BYTES],
                          const char *user, const char *roles, int64_t expires_ns);
void access_remove_token(struct access *access, const uint8_t hash[ACCESS_HASH_BYTES]);

/* Users that only the file holds: the first admin, until its document is on disk. `is_fresh`: the
 * file was made in this start, so it says more than a document. False at the end. */
struct access_file_user {
    const char *name, *roles, *verifier;
    bool is_fresh;
};
bool access_file_user_at(const struct access *access, size_t index, struct access_file_user *user);
/* The document is on disk: the file need not hold the user any more. */
void access_forget_file_user(struct access *access, const char *name);

#endif
