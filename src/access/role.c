/* role.c - rules, the one check, and identities.
 *
 * A role is a list of rules; what no rule allows is denied, as is what a rule denies. The built-in
 * roles are a table; own ones come from documents. Users, roles and tokens stand in no list of the
 * built-in roles: only admin, whose rule has none, reaches them.
 *
 * Why one check: a listener that decided by itself would one day decide otherwise. All of them ask
 * access_check or one of its two forms for topics; the broker's hot path asks with each message,
 * so nothing in here allocates or locks, and an identity says beforehand which verbs are denied at
 * all (`denied_verbs`).
 *
 * Giving rights away is the second question (access_covers): whoever makes a role, or a user with
 * one, must have himself all that it gives. It is answered rule by rule, never by trying requests:
 * so it refuses some that a cleverer proof would allow, and allows none that it should not.
 *
 * Roles and identities are immutable and shared by reference count; any thread. Invariants: an
 * identity shares its bound_count roles, role_count of which it may use; denied_verbs are all verbs
 * that some of them deny, or none for who has the built-in admin. */
#include "access/access_priv.h"
#include <string.h>

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

int access_verb_of(struct str name)
{
    for (int v = 0; v < VERB_COUNT; v++)
        if (str_is(name, verb_names[v])) return v;
    return -1;
}

/* ---- the built-in roles ---- */

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct str readable[] = {S("connection"),   S("table"),  S("device"), S("rule"),
                                      S("alarm"),        S("stream"), S("bridge"), S("sink"),
                                      S("subscription"), S("node")};
enum { READABLE = sizeof readable / sizeof readable[0], EDITABLE = READABLE - 1 }; /* not node */

#define V(verb) (1u << VERB_##verb)
enum {
    READ = V(GET) | V(LIST) | V(WATCH) | V(QUERY) | V(SUBSCRIBE),
    EDIT = V(CREATE) | V(UPDATE) | V(DELETE) | V(INGEST) | V(PUBLISH),
    ALL = (1u << VERB_COUNT) - 1,
};

#define ANY                                                                                        \
    {                                                                                              \
        .any = true                                                                                \
    }
#define RULE(verbs, count, list)                                                                   \
    {                                                                                              \
        verbs, {false, count, list}, ANY, ANY, ANY, false                                          \
    }
static const struct access_rule admin_rules[] = {{ALL, ANY, ANY, ANY, ANY, false}};
static const struct access_rule engineer_rules[] = {RULE(READ | V(WRITE_POINT), READABLE, readable),
                                                    RULE(EDIT, EDITABLE, readable)};
static const struct access_rule operator_rules[] = {
    RULE(READ | V(WRITE_POINT), READABLE, readable)};
static const struct access_rule viewer_rules[] = {RULE(READ, READABLE, readable)};

static const struct {
    const char *name;
    size_t count;
    const struct access_rule *rules;
} builtin[] = {
    {"admin", 1, admin_rules},   {"engineer", 2, engineer_rules}, {"operator", 1, operator_rules},
    {"viewer", 1, viewer_rules}, {"anonymous", 0, NULL},
};
enum { BUILTIN_COUNT = sizeof builtin / sizeof builtin[0] };

const char *access_builtin_role(size_t index, const struct access_rule **rules, size_t *count)
{
    if (index >= BUILTIN_COUNT) return NULL;
    *rules = builtin[index].rules;
    *count = builtin[index].count;
    return builtin[index].name;
}

/* ---- roles ---- */

struct role *role_new_builtin(const char *name)
{
    size_t i = 0;
    while (i < BUILTIN_COUNT && strcmp(builtin[i].name, name) != 0) i++;
    struct role *role = i < BUILTIN_COUNT ? mem_alloc_zero(1, sizeof *role) : NULL;
    if (!role) return NULL;
    atomic_init(&role->refs, 1);
    (void)str_copy(role->name, sizeof role->name, str_of(name));
    role->rules = builtin[i].rules;
    role->rule_count = builtin[i].count;
    return role;
}

static bool copy_list(struct arena *arena, struct access_list *list)
{
    MUST(!list->count || list->items);
    struct str *items = arena_alloc(arena, (list->count + 1) * sizeof *items);
    for (size_t i = 0; items && i < list->count; i++) {
        char *text = arena_strdup(arena, list->items[i].at, list->items[i].size);
        if (!text) return false;
        items[i] = (struct str){text, list->items[i].size};
    }
    list->items = items;
    return items != NULL;
}

struct role *role_new(const char *name, const struct access_rule *rules, size_t count)
{
    MUST(name && (rules || !count));
    struct role *role = mem_alloc_zero(1, sizeof *role);
    if (!role) return NULL;
    atomic_init(&role->refs, 1);
    arena_init(&role->arena, NULL);
    struct access_rule *own = arena_alloc(&role->arena, (count + 1) * sizeof *own);
    bool ok = own && str_copy(role->name, sizeof role->name, str_of(name));
    for (size_t i = 0; ok && i < count; i++) {
        own[i] = rules[i];
        ok = copy_list(&role->arena, &own[i].kinds) &&
             copy_list(&role->arena, &own[i].namespaces) &&
             copy_list(&role->arena, &own[i].names) && copy_list(&role->arena, &own[i].paths);
    }
    role->rules = own;
    role->rule_count = count;
    if (ok) return role;
    role_release(role);
    return NULL;
}

struct role *role_share(struct role *role)
{
    uint32_t before = atomic_fetch_add(&role->refs, 1);
    MUST(before > 0);
    return role;
}

void role_release(struct role *role)
{
    if (!role) return;
    uint32_t before = atomic_fetch_sub(&role->refs, 1);
    MUST(before > 0);
    if (before > 1) return;
    arena_free(&role->arena);
    mem_free(role);
}

uint32_t role_denies(const struct role *role)
{
    uint32_t verbs = 0;
    for (size_t i = 0; i < role->rule_count; i++)
        if (role->rules[i].denies) verbs |= role->rules[i].verbs;
    return verbs;
}

bool role_is_among(const char *names, struct str name)
{
    struct str rest = str_of(names), piece;
    while (rest.size && str_split(&rest, ',', &piece))
        if (str_equal(piece, name)) return true;
    return false;
}

/* ---- filters ---- */

bool access_filter_is_valid(struct str filter)
{
    struct str rest = filter, piece;
    if (!filter.size) return false;
    while (str_split(&rest, '/', &piece)) {
        if (str_is(piece, "#") && rest.at) return false;
        for (size_t i = 0; i < piece.size; i++)
            if (piece.size > 1 && (piece.at[i] == '+' || piece.at[i] == '#')) return false;
    }
    return true;
}

/* Who asks: for what %u, %c, … in a filter stand for. Without text = nobody, nothing. */
struct asker {
    struct str user, client;
    struct access_certificate certificate;
};

/* The name that a letter behind a % stands for; NULL: none. */
static const struct str *name_of(const struct asker *asker, char letter)
{
    switch (letter) { /* ACCESS_NAME_LETTERS */
    case 'u': return &asker->user;
    case 'c': return &asker->client;
    case 'n': return &asker->certificate.name;
    case 'o': return &asker->certificate.organization;
    case 'd': return &asker->certificate.unit;
    default: return NULL;
    }
}

/* A name that would be more than one whole segment, or a wildcard, fits nothing at all. */
static bool is_plain(struct str name)
{
    for (size_t i = 0; i < name.size; i++)
        if (strchr("+#/", name.at[i])) return false; /* the zero byte as well */
    return name.size > 0;
}

/* Whether a segment of a filter is this one, letter by letter; %u, %c, … are names of who asks and
 * never themselves, so that a rule with them covers no rule with them: whom it would be given
 * to has another name. */
static bool is_segment(struct str f, struct str p, const struct asker *asker)
{
    size_t at = 0;
    for (size_t i = 0; i < f.size; i++) {
        bool may_be = i + 1 < f.size && f.at[i] == '%';
        const struct str *name = may_be ? name_of(asker, f.at[i + 1]) : NULL;
        struct str piece = name ? *name : (struct str){f.at + i, 1};
        if (name && !is_plain(piece)) return false;
        if (name) i++;
        if (piece.size > p.size - at || memcmp(piece.at, p.at + at, piece.size) != 0) return false;
        at += piece.size;
    }
    return at == p.size;
}

/* access_filter_covers, with names put in for who asks. */
static bool covers(struct str filter, struct str path, const struct asker *asker)
{
    struct str f_rest = filter, p_rest = path, f, p;
    if (!access_filter_is_valid(filter) || !path.size) return false;
    /* Topics that begin with $ are the broker's own: no wildcard reaches them (MQTT 5 §4.7.2). */
    if (path.at[0] == '$' && (filter.at[0] == '#' || filter.at[0] == '+')) return false;
    while (str_split(&f_rest, '/', &f)) {
        if (str_is(f, "#")) return true;
        if (!str_split(&p_rest, '/', &p) || str_is(p, "#")) return false;
        if (!str_is(f, "+") && !is_segment(f, p, asker)) return false;
        if (!p_rest.at) return !f_rest.at || str_is(f_rest, "#");
    }
    return false; /* the path goes on */
}

bool access_filter_covers(struct str filter, struct str path)
{
    return covers(filter, path, &(struct asker){0});
}

static bool has_name(struct str segment)
{
    return segment.size && memchr(segment.at, '%', segment.size);
}

bool access_filters_overlap(struct str one, struct str other, bool with_names)
{
    struct str a = one, b = other, x, y;
    for (;;) {
        bool more_a = str_split(&a, '/', &x), more_b = str_split(&b, '/', &y);
        if (!more_a && !more_b) return true;
        if (more_a && str_is(x, "#")) return true; /* "a/#" fits "a" as well */
        if (more_b && str_is(y, "#")) return true;
        if (!more_a || !more_b) return false;
        bool is_any =
            str_is(x, "+") || str_is(y, "+") || (with_names && (has_name(x) || has_name(y)));
        if (!is_any && !str_equal(x, y)) return false;
    }
}

/* ---- the check ---- */

static bool holds(const struct access_list *list, struct str value)
{
    if (list->any) return true;
    for (size_t i = 0; i < list->count; i++)
        if (str_equal(list->items[i], value)) return true;
    return false;
}

static bool holds_kind(const struct access_list *list, const char *kind)
{
    if (list->any || !kind[0]) return true;
    for (size_t i = 0; i < list->count; i++)
        if (str_is_nocase(list->items[i], kind)) return true;
    return false;
}

static bool holds_path(const struct access_list *list, struct str path, const struct asker *asker)
{
    if (list->any) return true;
    for (size_t i = 0; i < list->count; i++)
        if (covers(list->items[i], path, asker)) return true;
    return false;
}

/* Whether rules that deny take the path, or some of the topics of a filter. With `is_cut` a filter
 * is denied only as a whole; else that tells that something is taken. */
static bool is_denied(const struct identity *identity, enum access_verb verb, struct str ns,
                      struct str path, bool *is_cut)
{
    if (!(identity->denied_verbs & 1u << verb) || !path.size) return false;
    for (size_t r = 0; r < identity->bound_count; r++) {
        const struct role *role = identity->roles[r];
        for (size_t i = 0; i < role->rule_count; i++) {
            const struct access_rule *rule = &role->rules[i];
            bool concerns =
                rule->denies && rule->verbs & 1u << verb && holds(&rule->namespaces, ns);
            for (size_t k = 0; concerns && k < rule->paths.count; k++) {
                if (!access_filters_overlap(rule->paths.items[k], path, false)) continue;
                if (!is_cut || access_filter_covers(rule->paths.items[k], path)) return true;
                *is_cut = true;
            }
        }
    }
    return false;
}

static enum err check(const struct identity *identity, enum access_verb verb, const char *kind,
                      struct str ns, struct str name, struct str path,
                      const struct access_client *client, bool *is_cut, struct why *why)
{
    MUST((unsigned)verb < VERB_COUNT && kind);
    if (!identity)
        return why_set(why, ERR_UNAUTHENTICATED, "%s needs a login", access_verb_name(verb));
    MUST(identity->role_count <= identity->bound_count);
    const struct asker asker = {str_of(identity->user), client->id, client->certificate};
    bool denied = is_denied(identity, verb, ns, path, is_cut);
    for (size_t r = 0; r < identity->role_count && !denied; r++) {
        const struct role *role = identity->roles[r];
        for (size_t i = 0; i < role->rule_count; i++) {
            const struct access_rule *rule = &role->rules[i];
            if (!rule->denies && rule->verbs & 1u << verb && holds_kind(&rule->kinds, kind) &&
                holds(&rule->namespaces, ns) && holds(&rule->names, name) &&
                holds_path(&rule->paths, path, &asker))
                return ERR_OK;
        }
    }
    struct str what = path.size ? path : name;
    return why_set(why, ERR_FORBIDDEN, "user %s (role %s) may not %s%s%s%s%.*s%s%.*s",
                   identity->user, identity->role[0] ? identity->role : "none",
                   access_verb_name(verb), kind[0] ? " " : "", kind, what.size ? " " : "",
                   (int)what.size, what.size ? what.at : "", ns.size ? " in namespace " : "",
                   (int)ns.size, ns.size ? ns.at : "");
}

enum err access_check(const struct identity *identity, enum access_verb verb, const char *kind,
                      struct str ns, struct str name, struct str path, struct why *why)
{
    return check(identity, verb, kind, ns, name, path, &(struct access_client){0}, NULL, why);
}

static struct str namespace_of(const struct identity *identity, const struct access_client *client)
{
    if (client->ns.size || !identity) return client->ns;
    return (struct str){identity->ns, identity->ns_size};
}

enum err access_check_topic(const struct identity *identity, enum access_verb verb,
                            const struct access_client *client, struct str topic)
{
    return check(identity, verb, "", namespace_of(identity, client), STR(""), topic, client, NULL,
                 NULL);
}

enum err access_check_subscription(const struct identity *identity,
                                   const struct access_client *client, struct str filter,
                                   bool *is_cut)
{
    return check(identity, VERB_SUBSCRIBE, "", namespace_of(identity, client), STR(""), filter,
                 client, is_cut, NULL);
}

enum access_scope access_scope(const struct identity *identity, enum access_verb verb,
                               const char *kind, struct str ns, struct str name)
{
    MUST((unsigned)verb < VERB_COUNT && kind);
    enum access_scope best = ACCESS_NONE;
    for (size_t r = 0; identity && r < identity->role_count; r++) {
        const struct role *role = identity->roles[r];
        for (size_t i = 0; i < role->rule_count; i++) {
            const struct access_rule *rule = &role->rules[i];
            if (rule->denies || !(rule->verbs & 1u << verb) || !holds_kind(&rule->kinds, kind))
                continue;
            if (ns.size && !holds(&rule->namespaces, ns)) continue;
            if (name.size && !holds(&rule->names, name)) continue;
            bool whole = rule->paths.any && (name.size || rule->names.any) &&
                         (ns.size || rule->namespaces.any);
            if (whole) return ACCESS_ALL;
            best = ACCESS_SOME;
        }
    }
    return best;
}

/* ---- giving rights away ---- */

/* Whether all that `given` fits lies within what `mine` fits. */
static bool contains(const struct access_list *mine, const struct access_list *given,
                     bool (*one)(const struct access_list *mine, struct str item))
{
    if (mine->any) return true;
    if (given->any) return false;
    for (size_t i = 0; i < given->count; i++)
        if (!one(mine, given->items[i])) return false;
    return true;
}

/* Of a filter with %u, %c, … nobody's name is known here: only a wildcard covers it. */
static bool holds_filter(const struct access_list *list, struct str filter)
{
    return holds_path(list, filter, &(struct asker){0});
}

static bool holds_kind_text(const struct access_list *list, struct str kind)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].size == kind.size && !strncasecmp(list->items[i].at, kind.at, kind.size))
            return true;
    return false;
}

static bool lists_meet(const struct access_list *a, const struct access_list *b)
{
    if (a->any || b->any) return true;
    for (size_t i = 0; i < b->count; i++)
        if (holds(a, b->items[i])) return true;
    return false;
}

static bool paths_meet(const struct access_list *a, const struct access_list *b)
{
    if (a->any || b->any) return true;
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < b->count; k++)
            if (access_filters_overlap(a->items[i], b->items[k], true)) return true;
    return false;
}

/* Whether a rule that denies binds him in what is given. Who is denied something gives nothing away
 * that has a part of it: who gets it need not have the rule that denies. */
static bool takes_from(const struct identity *identity, unsigned verb,
                       const struct access_rule *given)
{
    if (!(identity->denied_verbs & 1u << verb)) return false;
    for (size_t r = 0; r < identity->bound_count; r++)
        for (size_t k = 0; k < identity->roles[r]->rule_count; k++) {
            const struct access_rule *rule = &identity->roles[r]->rules[k];
            if (rule->denies && rule->verbs & 1u << verb &&
                lists_meet(&rule->namespaces, &given->namespaces) &&
                paths_meet(&rule->paths, &given->paths))
                return true;
        }
    return false;
}

/* Whether one rule of his allows all that this one gives with the verb: two that do so together
 * are not seen. */
static bool verb_is_covered(const struct identity *identity, unsigned verb,
                            const struct access_rule *given)
{
    if (takes_from(identity, verb, given)) return false;
    for (size_t r = 0; r < identity->role_count; r++) {
        const struct role *role = identity->roles[r];
        for (size_t i = 0; i < role->rule_count; i++) {
            const struct access_rule *mine = &role->rules[i];
            if (!mine->denies && mine->verbs & 1u << verb &&
                contains(&mine->kinds, &given->kinds, holds_kind_text) &&
                contains(&mine->namespaces, &given->namespaces, holds) &&
                contains(&mine->names, &given->names, holds) &&
                contains(&mine->paths, &given->paths, holds_filter))
                return true;
        }
    }
    return false;
}

enum err access_covers(const struct identity *identity, const struct access_rule *rules,
                       size_t count, struct why *why)
{
    MUST(rules || !count);
    if (!identity) return why_set(why, ERR_UNAUTHENTICATED, "giving rights needs a login");
    for (size_t i = 0; i < count; i++)
        for (unsigned verb = 0; verb < VERB_COUNT; verb++)
            if (rules[i].verbs & 1u << verb && !verb_is_covered(identity, verb, &rules[i]))
                return why_set(
                    why, ERR_FORBIDDEN,
                    "user %s (role %s) may not give the right %s: it goes beyond its own "
                    "rights (each verb of a rule must lie within one of its own rules)",
                    identity->user, identity->role, access_verb_name(verb));
    return ERR_OK;
}

/* ---- identities ---- */

struct identity *identity_of(const char *ns, const char *user, struct role *const *roles,
                             size_t count, size_t bound)
{
    MUST(count <= bound && bound <= ACCESS_ROLES_MAX && ns[0]);
    size_t ns_bytes = strlen(ns) + 1;
    struct identity *identity = mem_alloc_zero(1, sizeof *identity + ns_bytes);
    if (!identity) return NULL;
    memcpy(identity->ns, ns, ns_bytes);
    identity->ns_size = ns_bytes - 1;
    atomic_init(&identity->refs, 1);
    (void)str_copy(identity->user, sizeof identity->user, str_of(user));
    size_t size = 0;
    for (size_t i = 0; i < bound; i++) {
        MUST(roles[i]);
        identity->roles[identity->bound_count++] = role_share(roles[i]);
        identity->denied_verbs |= role_denies(roles[i]);
    }
    /* Who may do everything is not locked out of undoing it. */
    for (size_t i = 0; i < count; i++)
        if (roles[i]->rules == admin_rules) identity->denied_verbs = 0;
    identity->role_count = count;
    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(roles[i]->name);
        if (size + name + 2 > sizeof identity->role) continue; /* only for people to read */
        if (size) identity->role[size++] = ',';
        memcpy(identity->role + size, roles[i]->name, name);
        size += name;
    }
    return identity;
}

struct identity *identity_new_in(const char *ns, const char *user, const char *name)
{
    MUST(ns && user && name);
    struct role *role = role_new_builtin(name);
    struct identity *identity = role ? identity_of(ns, user, &role, 1, 1) : NULL;
    role_release(role);
    return identity;
}

struct identity *identity_new(const char *user, const char *name)
{
    return identity_new_in(ACCESS_NAMESPACE, user, name);
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
    if (before > 1) return;
    for (size_t i = 0; i < identity->bound_count; i++) role_release(identity->roles[i]);
    mem_free(identity);
}
