/* role.c - the built-in roles as a table, and the one check.
 *
 * A role is a list of rules; what no rule allows is denied. A rule without kinds fits every kind;
 * one with kinds fits those, and requests that concern no kind at all (a query, a topic). Users,
 * roles and tokens stand in no list: only admin, whose rule has none, reaches them. */
#include "access/access_priv.h"
#include <string.h>

struct role_rule {
    uint32_t verbs;           /* bit per enum access_verb; 0 ends the list */
    const char *const *kinds; /* lower case, ended by NULL; NULL = all */
};

struct role {
    const char *name;
    struct role_rule rules[4];
};

static const char *const verb_names[VERB_COUNT] = {
#define X(symbol, name) name,
    ACCESS_VERB_TABLE(X)
#undef X
};

const char *access_verb_name(enum access_verb verb)
{
    MUST((unsigned)verb < VERB_COUNT);
    return verb_names[verb];
}

static const char *const readable[] = {"connection",   "table",  "device", "rule",
                                       "alarm",        "stream", "bridge", "sink",
                                       "subscription", "node",   NULL};
static const char *const editable[] = {"connection", "table",  "device", "rule",         "alarm",
                                       "stream",     "bridge", "sink",   "subscription", NULL};

#define V(verb) (1u << VERB_##verb)
enum {
    READ = V(GET) | V(LIST) | V(WATCH) | V(QUERY) | V(SUBSCRIBE),
    EDIT = V(CREATE) | V(UPDATE) | V(DELETE) | V(INGEST) | V(PUBLISH),
    ALL = (1u << VERB_COUNT) - 1,
};

static const struct role roles[] = {
    {"admin", {{ALL, NULL}}},
    {"engineer", {{READ | V(WRITE_POINT), readable}, {EDIT, editable}}},
    {"operator", {{READ | V(WRITE_POINT), readable}}},
    {"viewer", {{READ, readable}}},
};

const struct role *role_find(const char *name)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(roles[i].name, name) == 0) return &roles[i];
    return NULL;
}

static bool allows(const struct role_rule *rule, enum access_verb verb, const char *kind)
{
    if (!(rule->verbs & 1u << verb)) return false;
    if (!rule->kinds || !kind[0]) return true;
    for (size_t i = 0; rule->kinds[i]; i++)
        if (str_is_nocase(str_of(kind), rule->kinds[i])) return true;
    return false;
}

enum err access_check(const struct identity *identity, enum access_verb verb, const char *kind,
                      struct str ns, struct str path, struct why *why)
{
    MUST((unsigned)verb < VERB_COUNT && kind);
    if (!identity)
        return why_set(why, ERR_UNAUTHENTICATED, "%s needs a login", access_verb_name(verb));
    const struct role *role = identity->role_rules;
    size_t count = role ? sizeof role->rules / sizeof role->rules[0] : 0;
    for (size_t i = 0; i < count && role->rules[i].verbs; i++)
        if (allows(&role->rules[i], verb, kind)) return ERR_OK;
    return why_set(why, ERR_FORBIDDEN, "user %s (role %s) may not %s%s%s%s%.*s in namespace %.*s",
                   identity->user, identity->role, access_verb_name(verb), kind[0] ? " " : "", kind,
                   path.size ? " " : "", (int)path.size, path.size ? path.at : "",
                   ns.size ? (int)ns.size : 7, ns.size ? ns.at : "default");
}

/* ---- identities ---- */

struct identity *identity_new(const char *user, const char *role)
{
    const struct role *rules = role_find(role);
    if (!rules) return NULL;
    struct identity *identity = mem_alloc_zero(1, sizeof *identity);
    if (!identity) return NULL;
    atomic_init(&identity->refs, 1);
    (void)str_copy(identity->user, sizeof identity->user, str_of(user));
    (void)str_copy(identity->role, sizeof identity->role, str_of(role));
    identity->role_rules = rules;
    return identity;
}

struct identity *identity_share(struct identity *identity)
{
    uint32_t before = atomic_fetch_add(&identity->refs, 1);
    MUST(before > 0);
    return identity;
}

void identity_release(struct identity *identity)
{
    if (!identity) return;
    uint32_t before = atomic_fetch_sub(&identity->refs, 1);
    MUST(before > 0);
    if (before == 1) mem_free(identity);
}
