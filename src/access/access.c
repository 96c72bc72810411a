/* access.c - users and roles as they are now, and what they add up to: an identity.
 *
 * What is kept here is a mirror. Documents of the kinds User and Role are told with access_put_…
 * and access_remove_…; whoever asks who somebody is (a login, a token, an open connection) gets an
 * identity made from them, never a pointer into them: so a change takes effect by making another
 * identity, and nobody holds rights that change under his hands.
 *
 * Users stand in a plain list: there are tens of them, and the ways that ask often (a token, a
 * password known to be right) keep the identity they got, until `epoch` says that something has
 * changed.
 *
 * Owns users and roles. Invariants: a name stands in the list once; a role in the map is shared by
 * it once; every change of rights moves `epoch` and forgets the passwords known to be right
 * (login.c), which hold identities of before. Where memory fails, rights are lost and never kept
 * that should have gone. */
#include "access/access_priv.h"
#include <string.h>

bool is_access(const struct access *a)
{
    return a && a->magic == ACCESS_MAGIC;
}

/* Somebody's rights may be others now. */
static void rights_changed(struct access *a)
{
    a->epoch++;
    access_forget_known(a);
}

/* ---- users ---- */

struct access_user *access_find_user(const struct access *a, const char *name)
{
    MUST(name);
    for (struct access_user *u = a->users; u; u = u->next)
        if (strcmp(u->name, name) == 0) return u;
    return NULL;
}

enum err access_put_user(struct access *a, const char *name, const char *roles, const char *ns,
                         const char *verifier, bool is_disabled)
{
    MUST(is_access(a) && roles && ns && ns[0] && verifier);
    struct access_user *u = access_find_user(a, name);
    if (strlen(name) >= ACCESS_USER_BYTES || strlen(ns) >= ACCESS_NAMESPACE_BYTES) return ERR_LIMIT;
    if (!u) {
        if (!(u = mem_alloc_zero(1, sizeof *u))) return ERR_NO_MEMORY;
        (void)str_copy(u->name, sizeof u->name, str_of(name));
        u->next = a->users;
        a->users = u;
    }
    bool is_same = u->serial && strcmp(u->verifier, verifier) == 0;
    if (!is_same) u->serial = ++a->last_serial;
    if (!is_same) u->before[0] = 0;
    /* What does not fit is left out whole: half a role's name could be another's. */
    if (!str_copy(u->roles, sizeof u->roles, str_of(roles))) u->roles[0] = 0;
    if (!str_copy(u->verifier, sizeof u->verifier, str_of(verifier))) u->verifier[0] = 0;
    (void)str_copy(u->ns, sizeof u->ns, str_of(ns));
    u->is_disabled = is_disabled;
    if (a->is_dirty) access_save(a);
    rights_changed(a);
    return ERR_OK;
}

void access_remove_user(struct access *a, const char *name)
{
    MUST(is_access(a) && name);
    for (struct access_user **at = &a->users; *at; at = &(*at)->next) {
        struct access_user *u = *at;
        if (strcmp(u->name, name) != 0) continue;
        *at = u->next;
        bool was_in_file = u->is_in_file;
        mem_free(u);
        if (was_in_file || a->is_dirty) access_save(a);
        break;
    }
    rights_changed(a);
}

bool access_file_user_at(const struct access *a, size_t index, struct access_file_user *out)
{
    MUST(is_access(a) && out);
    for (const struct access_user *u = a->users; u; u = u->next) {
        if (!u->is_in_file || index--) continue;
        *out = (struct access_file_user){u->name, u->roles, u->verifier, a->is_fresh};
        return true;
    }
    return false;
}

void access_forget_file_user(struct access *a, const char *name)
{
    MUST(is_access(a));
    struct access_user *u = access_find_user(a, name);
    if (!u || !u->is_in_file) return;
    u->is_in_file = false;
    access_save(a);
}

/* ---- roles ---- */

enum err access_put_role(struct access *a, const char *name, const struct access_rule *rules,
                         size_t count)
{
    const struct access_rule *ignored;
    size_t ignored_count;
    MUST(is_access(a) && name && (rules || !count));
    for (size_t i = 0;; i++) {
        const char *known = access_builtin_role(i, &ignored, &ignored_count);
        if (!known) break;
        if (strcmp(known, name) == 0) return ERR_EXISTS;
    }
    struct role *role = role_new(name, rules, count);
    void *old = NULL;
    enum err err = role ? map_put(&a->roles, str_of(name), role, &old) : ERR_NO_MEMORY;
    if (err) {
        role_release(role);
        access_remove_role(a, name); /* rather none than the rights of before */
        return err;
    }
    role_release(old);
    rights_changed(a);
    return ERR_OK;
}

void access_remove_role(struct access *a, const char *name)
{
    MUST(is_access(a) && name);
    role_release(map_remove(&a->roles, str_of(name)));
    rights_changed(a);
}

enum err access_covers_role(const struct access *a, const struct identity *identity,
                            struct str name, struct why *why)
{
    /* A role that does not exist yet may become any: only who may do everything gives it. */
    static const struct access_rule everything = {
        (1u << VERB_COUNT) - 1, {.any = true}, {.any = true}, {.any = true}, {.any = true}};
    MUST(is_access(a));
    const struct role *role = map_get(&a->roles, name);
    enum err err = role ? access_covers(identity, role->rules, role->rule_count, why)
                        : access_covers(identity, &everything, 1, why);
    return err ? why_wrap(why, err, "role %.*s", (int)name.size, name.at) : ERR_OK;
}

/* Adds the roles of the user that deny and are not among them: with fewer roles nobody is denied
 * less. Gives how many there are then. The caller has left room for all of them. */
static size_t add_denying(struct access *a, const struct access_user *user, struct role **roles,
                          size_t count)
{
    struct str rest = str_of(user->roles), piece;
    MUST(count <= ACCESS_ROLES_MAX);
    while (rest.size && count < ACCESS_ROLES_MAX && str_split(&rest, ',', &piece)) {
        struct role *role = map_get(&a->roles, piece);
        bool is_there = !role || !role_denies(role);
        for (size_t i = 0; i < count && !is_there; i++) is_there = roles[i] == role;
        if (!is_there) roles[count++] = role;
    }
    return count;
}

struct identity *access_resolve(struct access *a, const char *name, const char *limit)
{
    struct role *roles[ACCESS_ROLES_MAX];
    size_t count = 0;
    MUST(is_access(a) && limit);
    const struct access_user *u = access_find_user(a, name);
    if (!u || u->is_disabled) return NULL;
    struct str rest = str_of(u->roles), piece;
    while (rest.size && count < ACCESS_ROLES_MAX && str_split(&rest, ',', &piece)) {
        struct role *role = map_get(&a->roles, piece);
        if (role && (!limit[0] || role_is_among(limit, piece))) roles[count++] = role;
    }
    struct identity *identity =
        identity_of(u->ns, u->name, roles, count, add_denying(a, u, roles, count));
    if (identity) identity->user_serial = u->serial;
    return identity;
}

/* Roles of the user that deny; at most as many as an identity has. */
static size_t count_denying(const struct access *a, const struct access_user *user)
{
    size_t count = 0;
    struct str rest = str_of(user->roles), piece;
    while (rest.size && count < ACCESS_ROLES_MAX && str_split(&rest, ',', &piece)) {
        const struct role *role = map_get(&a->roles, piece);
        count += role && role_denies(role);
    }
    return count;
}

/* Only roles that there are count, as many as leave room for what binds the user: rather one
 * right too few than one that was taken away. A User of the name need not be there, but may forbid
 * it. */
struct identity *access_resolve_claim(struct access *a, const char *name, const char *claimed)
{
    struct role *roles[ACCESS_ROLES_MAX];
    size_t count = 0;
    MUST(is_access(a));
    const struct access_user *user = access_find_user(a, name);
    struct str rest = str_of(claimed), piece;
    if (user && user->is_disabled) return NULL;
    size_t most = ACCESS_ROLES_MAX - (user ? count_denying(a, user) : 0);
    while (rest.size && count < most && str_split(&rest, ',', &piece)) {
        struct role *role = map_get(&a->roles, piece);
        if (role) roles[count++] = role;
    }
    return identity_of(user ? user->ns : ACCESS_NAMESPACE, name, roles, count,
                       user ? add_denying(a, user, roles, count) : count);
}

struct identity *access_identify(struct access *a, const char *user)
{
    return access_resolve(a, user, "");
}

uint64_t access_epoch(const struct access *a)
{
    MUST(is_access(a));
    return a->epoch;
}
