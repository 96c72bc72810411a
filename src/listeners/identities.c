/* identities.c - see identities.h: the mirror, and the rules of changing it. identities_check.c has
 * what a document says by itself. */
#include "listeners/identities.h"
#include "base/timetext.h"
#include "listeners/live.h"
#include "listeners/resources.h"
#include "resource/persist.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "identities";

struct identities {
    struct service *service;
    size_t saving; /* documents of the first admin on their way to the disk */
    bool is_stopping;
};

/* ---- documents become rights ---- */

static void join(char out[ACCESS_ROLES_BYTES], const struct field_strings *names)
{
    size_t size = 0;
    out[0] = 0;
    for (size_t i = 0; i < names->count; i++) {
        struct str name = names->items[i];
        if (size + name.size + 2 > ACCESS_ROLES_BYTES) return; /* checked: never */
        if (size) out[size++] = ',';
        memcpy(out + size, name.at, name.size);
        size += name.size;
        out[size] = 0;
    }
}

static void text_of(char *out, size_t out_bytes, struct str text)
{
    if (!str_copy(out, out_bytes, text)) out[0] = 0; /* rather none than a part */
}

static bool parse_hash(struct str text, uint8_t hash[ACCESS_HASH_BYTES])
{
    if (text.size != 2 * ACCESS_HASH_BYTES) return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        hash[i / 2] = (uint8_t)(i % 2 ? hash[i / 2] | digit : digit << 4);
    }
    return true;
}

/* A list left out has no limit; an empty one fits nothing. Where `star` is true, "*" stands for
 * all; elsewhere it is a name like another. */
static struct access_list list_of(const struct field_strings *names, bool star)
{
    struct access_list list = {names->items == NULL, names->count, names->items};
    for (size_t i = 0; star && list.items && i < list.count; i++)
        if (str_is(list.items[i], "*")) list.any = true;
    return list;
}

static struct access_rule rule_of(const struct role_rule_spec *spec)
{
    struct access_rule rule = {.kinds = list_of(&spec->kinds, true),
                               .namespaces = list_of(&spec->namespaces, true),
                               .names = list_of(&spec->names, false),
                               .paths = list_of(&spec->paths, false),
                               .denies = spec->effect == ROLE_EFFECT_DENY};
    for (size_t i = 0; i < spec->verbs.count; i++) {
        int verb = access_verb_of(spec->verbs.items[i]);
        if (verb >= 0) rule.verbs |= 1u << verb;
        if (str_is(spec->verbs.items[i], "*")) rule.verbs = (1u << VERB_COUNT) - 1;
    }
    if (!spec->kinds.items) rule.verbs &= ACCESS_DATA_VERBS;
    return rule;
}

/* The rules of a Role document, in `arena`; NULL: no memory. */
static struct access_rule *rules_of(const struct resource *r, struct arena *arena, size_t *count)
{
    const struct role_spec *spec = r->spec;
    const struct role_rule_spec *from = spec->rules.items;
    struct access_rule *rules = arena_alloc(arena, (spec->rules.count + 1) * sizeof *rules);
    *count = spec->rules.count;
    for (size_t i = 0; rules && i < spec->rules.count; i++) rules[i] = rule_of(&from[i]);
    return rules;
}

static enum err tell_user(struct access *access, const struct resource *r, const char *name,
                          bool is_gone)
{
    const struct user_spec *spec = r->spec;
    char roles[ACCESS_ROLES_BYTES], verifier[ACCESS_VERIFIER_BYTES], ns[ACCESS_NAMESPACE_BYTES];
    if (is_gone) {
        access_remove_user(access, name);
        return ERR_OK;
    }
    join(roles, &spec->roles);
    text_of(verifier, sizeof verifier, spec->verifier);
    text_of(ns, sizeof ns, spec->ns);
    if (!ns[0]) return ERR_INVALID; /* checked: never */
    return access_put_user(access, name, roles, ns, verifier, spec->disabled);
}

static enum err tell_role(struct access *access, const struct resource *r, const char *name,
                          bool is_gone)
{
    struct arena arena;
    size_t count;
    if (r->owner == OWNER_NODE) return ERR_OK; /* built in */
    if (is_gone) {
        access_remove_role(access, name);
        return ERR_OK;
    }
    arena_init(&arena, NULL);
    const struct access_rule *rules = rules_of(r, &arena, &count);
    enum err err = rules ? access_put_role(access, name, rules, count) : ERR_NO_MEMORY;
    arena_free(&arena);
    return err;
}

static enum err tell_token(struct access *access, const struct resource *r, const char *name,
                           bool is_gone)
{
    const struct token_spec *spec = r->spec;
    uint8_t hash[ACCESS_HASH_BYTES];
    char user[ACCESS_USER_BYTES], roles[ACCESS_ROLES_BYTES];
    int64_t expires_ns = 0;
    (void)name;
    if (!parse_hash(spec->hash, hash)) return ERR_OK; /* opens nothing */
    if (is_gone) {
        access_remove_token(access, hash);
        return ERR_OK;
    }
    join(roles, &spec->roles);
    text_of(user, sizeof user, spec->user);
    bool is_damaged = (spec->expires.size && !time_parse(spec->expires, &expires_ns)) ||
                      (spec->roles.items && !spec->roles.count);
    if (spec->expires.size && !expires_ns) expires_ns = 1; /* 0 would be: never */
    if (is_damaged) {
        access_remove_token(access, hash);
        return ERR_OK;
    }
    return access_put_token(access, hash, user, roles, expires_ns);
}

static enum err (*const tells[KIND_COUNT])(struct access *access, const struct resource *r,
                                           const char *name, bool is_gone) = {
    [KIND_USER] = tell_user, [KIND_ROLE] = tell_role, [KIND_TOKEN] = tell_token};

static enum err tell(struct service *service, const struct resource *r, bool is_gone)
{
    char name[256];
    text_of(name, sizeof name, r->name);
    enum err err = tells[r->kind](service->access, r, name, is_gone);
    if (err)
        diag(service->context, DIAG_ERROR, component, "%s %s has no effect: %s",
             resource_kinds[r->kind].name, name, err_text(err));
    return err;
}

static void on_change(void *arg, const struct resource *old, const struct resource *now)
{
    struct identities *identities = arg;
    struct service *service = identities->service;
    if (!tells[(now ? now : old)->kind]) return;
    /* A token's hash may be another now. */
    if (old && (!now || old->kind == KIND_TOKEN)) (void)tell(service, old, true);
    if (now) (void)tell(service, now, false); /* an error was told */
    if (service->resources) resources_recheck(service->resources);
    if (service->live) live_recheck(service->live);
}

/* ---- who may change what ---- */

struct str resource_path(const struct service *service, const struct resource *r, char out[1024])
{
    if (r->kind != KIND_DEVICE) return (struct str){"", 0};
    const struct device_spec *spec = r->spec;
    struct str prefix = service->node_path;
    int n = snprintf(out, 1024, "%.*s%s%.*s", (int)prefix.size, prefix.size ? prefix.at : "",
                     prefix.size ? "/" : "", (int)spec->path.size, spec->path.at);
    return n > 0 && n < 1024 ? (struct str){out, (size_t)n} : (struct str){"", 0};
}

static bool is_admin(const struct resource *r)
{
    const struct user_spec *spec = r->spec;
    if (spec->disabled || !spec->verifier.size) return false;
    for (size_t i = 0; i < spec->roles.count; i++)
        if (str_is(spec->roles.items[i], "admin")) return true;
    return false;
}

/* Whether somebody beside `but` (a name, "" = nobody left out) can log in as admin. */
static bool has_an_admin(const struct registry *registry, struct str but)
{
    size_t at = 0;
    for (struct resource *r; (r = registry_next(registry, KIND_USER, &at));)
        if (!str_equal(r->name, but) && is_admin(r)) return true;
    return false;
}

bool identities_keep_an_admin(const struct registry *registry, const struct resource *old,
                              const struct resource *now)
{
    if (!old || old->kind != KIND_USER || !is_admin(old) || (now && is_admin(now))) return true;
    return has_an_admin(registry, old->name);
}

static enum err covers_roles(struct service *service, const struct identity *who,
                             const struct field_strings *roles, struct why *why)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < roles->count && !err; i++)
        err = access_covers_role(service->access, who, roles->items[i], why);
    return err;
}

static enum err allow_user(struct service *service, const struct identity *who,
                           const struct resource *old, const struct resource *now, struct why *why)
{
    enum err err = ERR_OK;
    if (old) err = covers_roles(service, who, &((const struct user_spec *)old->spec)->roles, why);
    if (!err && now)
        err = covers_roles(service, who, &((const struct user_spec *)now->spec)->roles, why);
    if (!err && !identities_keep_an_admin(service->registry, old, now))
        err = why_set(why, ERR_CONFLICT,
                      "user %.*s is the last one that can log in with role admin; give another "
                      "user the role and a password first",
                      (int)old->name.size, old->name.at);
    return err;
}

static enum err covers_role(const struct identity *who, const struct resource *r, struct why *why)
{
    struct arena arena;
    size_t count;
    if (!r) return ERR_OK;
    arena_init(&arena, NULL);
    const struct access_rule *rules = rules_of(r, &arena, &count);
    enum err err = rules ? access_covers(who, rules, count, why) : ERR_NO_MEMORY;
    arena_free(&arena);
    return err;
}

static enum err allow_role(struct service *service, const struct identity *who,
                           const struct resource *old, const struct resource *now, struct why *why)
{
    (void)service;
    enum err err = covers_role(who, old, why);
    return err ? err : covers_role(who, now, why);
}

static bool same_strings(const struct field_strings *a, const struct field_strings *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (!str_equal(a->items[i], b->items[i])) return false;
    return true;
}

static enum err check_token_owner(struct service *service, const struct token_spec *spec,
                                  struct why *why)
{
    const struct resource *user = registry_get(service->registry, KIND_USER, STR(""), spec->user);
    if (!user)
        return why_set(why, ERR_INVALID, "spec.user: there is no user %.*s", (int)spec->user.size,
                       spec->user.at);
    char names[ACCESS_ROLES_BYTES];
    join(names, &((const struct user_spec *)user->spec)->roles);
    for (size_t i = 0; i < spec->roles.count; i++) {
        struct str rest = str_of(names), piece;
        bool has = false;
        while (rest.size && str_split(&rest, ',', &piece))
            has |= str_equal(piece, spec->roles.items[i]);
        if (!has)
            return why_set(why, ERR_INVALID,
                           "spec.roles[%zu]: user %.*s does not have the role %.*s; it has: %s", i,
                           (int)spec->user.size, spec->user.at, (int)spec->roles.items[i].size,
                           spec->roles.items[i].at, names[0] ? names : "none");
    }
    return ERR_OK;
}

/* What a token can do: its roles, or all of its user's. */
static enum err covers_token(struct service *service, const struct identity *who,
                             const struct resource *r, struct why *why)
{
    MUST(r);
    const struct token_spec *spec = r->spec;
    if (spec->roles.count) return covers_roles(service, who, &spec->roles, why);
    const struct resource *user = registry_get(service->registry, KIND_USER, STR(""), spec->user);
    return user ? covers_roles(service, who, &((const struct user_spec *)user->spec)->roles, why)
                : ERR_OK;
}

static enum err allow_token(struct service *service, const struct identity *who,
                            const struct resource *old, const struct resource *now, struct why *why)
{
    if (old && now) {
        const struct token_spec *a = old->spec, *b = now->spec;
        if (!str_equal(a->user, b->user) || !str_equal(a->expires, b->expires) ||
            !str_equal(a->hash, b->hash) || !same_strings(&a->roles, &b->roles))
            return why_set(why, ERR_INVALID,
                           "spec: of a token only the description can be changed; make a new token "
                           "and delete this one");
    }
    enum err err = now && !old ? check_token_owner(service, now->spec, why) : ERR_OK;
    return err ? err : covers_token(service, who, now ? now : old, why);
}

/* A Device reads and writes whatever its Connection reaches: a limit by path would mean nothing to
 * somebody who could put any address of any line under a path of his own. */
static enum err allow_device(struct service *service, const struct identity *who,
                             const struct resource *old, const struct resource *now,
                             struct why *why)
{
    (void)service;
    (void)old;
    if (!now) return ERR_OK;
    const struct device_spec *spec = now->spec;
    enum err err = access_check(who, VERB_GET, "Connection", now->ns, spec->connection,
                                (struct str){"", 0}, why);
    return err ? why_wrap(why, err, "a Device needs the right to its Connection") : ERR_OK;
}

static enum err allow_node(struct service *service, const struct identity *who,
                           const struct resource *old, const struct resource *now, struct why *why)
{
    (void)service;
    (void)who;
    if (old && now) return ERR_OK;
    return why_set(why, ERR_FORBIDDEN,
                   "a node makes and keeps its own document; only labels, "
                   "annotations and the description can be changed");
}

enum err identities_allow(struct service *service, const struct identity *who,
                          const struct resource *old, const struct resource *now, struct why *why)
{
    static enum err (*const allows[KIND_COUNT])(
        struct service * service, const struct identity *who, const struct resource *old,
        const struct resource *now, struct why *why) = {[KIND_USER] = allow_user,
                                                        [KIND_ROLE] = allow_role,
                                                        [KIND_TOKEN] = allow_token,
                                                        [KIND_NODE] = allow_node,
                                                        [KIND_DEVICE] = allow_device};
    const struct resource *either = now ? now : old;
    MUST(either);
    return allows[either->kind] ? allows[either->kind](service, who, old, now, why) : ERR_OK;
}

/* ---- documents that the node makes ---- */

static bool set_text(struct arena *arena, struct doc *map, const char *key, const char *text)
{
    return doc_set(arena, map, key, doc_new_string(arena, str_of(text)));
}

static struct doc *new_document(struct arena *arena, enum resource_kind kind, const char *name,
                                struct doc **spec)
{
    struct doc *top = doc_new(arena, DOC_MAP), *metadata = doc_new(arena, DOC_MAP);
    *spec = doc_new(arena, DOC_MAP);
    bool ok = top && metadata && *spec &&
              set_text(arena, top, "apiVersion", RESOURCE_API_VERSION) &&
              set_text(arena, top, "kind", resource_kinds[kind].name) &&
              doc_set(arena, top, "metadata", metadata) &&
              set_text(arena, metadata, "name", name) && doc_set(arena, top, "spec", *spec);
    return ok ? top : NULL;
}

/* Reads and puts; gives the resource as the registry holds it. */
static enum err put(struct identities *identities, const struct doc *doc, enum resource_owner owner,
                    struct arena *arena, struct resource **out, struct why *why)
{
    struct registry *registry = identities->service->registry;
    struct problems problems;
    struct resource *r = NULL;
    problems_init(&problems, arena);
    enum err err = doc ? resource_read(doc, "", &r, &problems, why) : ERR_NO_MEMORY;
    if (err) return err;
    enum resource_kind kind = r->kind;
    char name[256];
    text_of(name, sizeof name, r->name);
    r->owner = owner;
    err = registry_put(registry, r);
    *out = err ? NULL : registry_get(registry, kind, STR(""), str_of(name));
    return err;
}

static bool add_kinds(struct arena *arena, struct doc *map, const struct access_list *list)
{
    struct doc *items = doc_new(arena, DOC_LIST);
    bool ok = items && (!list->any || doc_append(arena, items, doc_new_string(arena, STR("*"))));
    for (size_t i = 0; ok && i < list->count; i++) {
        int kind = resource_kind_of(list->items[i]); /* kinds of later versions are left out */
        if (kind >= 0)
            ok = doc_append(arena, items, doc_new_string(arena, str_of(resource_kinds[kind].name)));
    }
    return ok && doc_set(arena, map, "kinds", items);
}

static bool add_rule(struct arena *arena, struct doc *rules, const struct access_rule *rule)
{
    struct doc *map = doc_new(arena, DOC_MAP), *verbs = doc_new(arena, DOC_LIST);
    bool ok = map && verbs;
    for (int v = 0; ok && v < VERB_COUNT; v++)
        if (rule->verbs & 1u << v)
            ok = doc_append(arena, verbs,
                            doc_new_string(arena, str_of(access_verb_name((enum access_verb)v))));
    return ok && doc_set(arena, map, "verbs", verbs) && add_kinds(arena, map, &rule->kinds) &&
           doc_append(arena, rules, map);
}

static enum err put_builtin_roles(struct identities *identities, struct arena *arena,
                                  struct why *why)
{
    const struct access_rule *rules;
    const char *name;
    size_t count;
    struct resource *ignored;
    enum err err = ERR_OK;
    for (size_t i = 0; !err && (name = access_builtin_role(i, &rules, &count)); i++) {
        struct doc *spec, *list = doc_new(arena, DOC_LIST),
                          *doc = new_document(arena, KIND_ROLE, name, &spec);
        bool ok = doc && list && set_text(arena, spec, "description", "built in") &&
                  doc_set(arena, spec, "rules", list);
        for (size_t r = 0; ok && r < count; r++) ok = add_rule(arena, list, &rules[r]);
        err = put(identities, ok ? doc : NULL, OWNER_NODE, arena, &ignored, why);
    }
    return err;
}

/* metadata.name of this node: its name made fit for one. */
static void node_document_name(struct service *service, char out[256])
{
    size_t size = 0;
    for (size_t i = 0; i < service->node_name.size && size < 250; i++) {
        char c = service->node_name.at[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (alnum || size) out[size++] = alnum || c == '.' ? c : '-';
    }
    while (size && (out[size - 1] == '-' || out[size - 1] == '.')) size--;
    out[size] = 0;
    if (!size) memcpy(out, "node", 5);
}

static enum err put_node(struct identities *identities, struct arena *arena, struct why *why)
{
    struct service *service = identities->service;
    struct resource *ignored;
    struct doc *spec;
    node_document_name(service, service->node_document);
    struct str name = str_of(service->node_document);
    if (registry_get(service->registry, KIND_NODE, STR(""), name)) return ERR_OK;
    return put(identities, new_document(arena, KIND_NODE, service->node_document, &spec), OWNER_API,
               arena, &ignored, why);
}

/* ---- the first admin ---- */

struct save {
    struct persist_change change; /* first */
    struct identities *identities;
    struct resource *resource;
    char name[ACCESS_USER_BYTES];
};

static void free_if_over(struct identities *identities)
{
    if (identities->is_stopping && identities->saving == 0) mem_free(identities);
}

static void on_saved(struct completion *c)
{
    struct save *save = (struct save *)c;
    struct identities *identities = save->identities;
    if (c->err)
        diag(identities->service->context, DIAG_ERROR, component,
             "user %s stays in the access file: %s", save->name, why_text(&c->why, c->err));
    else if (!identities->is_stopping)
        access_forget_file_user(identities->service->access, save->name);
    resource_release(save->resource);
    mem_free(save);
    identities->saving--;
    free_if_over(identities);
}

static enum err save_document(struct identities *identities, const char *name,
                              const struct resource *r)
{
    struct save *save = mem_alloc_zero(1, sizeof *save);
    if (!save) return ERR_NO_MEMORY;
    save->identities = identities;
    save->resource = resource_share(r);
    save->change.resource = r;
    (void)str_copy(save->name, sizeof save->name, str_of(name));
    completion_init(&save->change.completion, identities->service->context->main, on_saved);
    identities->saving++;
    persist_submit(identities->service->persist, &save->change);
    return ERR_OK;
}

static enum err take_user(struct identities *identities, const struct access_file_user *user,
                          struct arena *arena, struct why *why)
{
    struct service *service = identities->service;
    const struct resource *known =
        registry_get(service->registry, KIND_USER, STR(""), str_of(user->name));
    struct resource *made = NULL;
    if (known && (!user->is_fresh || known->owner == OWNER_FILE)) {
        access_forget_file_user(service->access, user->name); /* the document has the last word */
        return ERR_OK;
    }
    struct doc *spec, *roles = doc_new(arena, DOC_LIST),
                      *doc = new_document(arena, KIND_USER, user->name, &spec);
    struct str rest = str_of(user->roles), piece;
    bool ok = doc && roles && doc_set(arena, spec, "roles", roles) &&
              set_text(arena, spec, "verifier", user->verifier);
    while (ok && rest.size && str_split(&rest, ',', &piece))
        ok = doc_append(arena, roles, doc_new_string(arena, piece));
    enum err err = put(identities, ok ? doc : NULL, OWNER_API, arena, &made, why);
    return err ? err : save_document(identities, user->name, made);
}

/* Each step may change the list, so it is begun anew: what was taken stays in it until it is saved,
 * so one walk by number suffices. */
static enum err take_file_users(struct identities *identities, struct arena *arena, struct why *why)
{
    struct access_file_user user;
    enum err err = ERR_OK;
    for (size_t i = 0; !err && access_file_user_at(identities->service->access, i, &user);) {
        char name[ACCESS_USER_BYTES];
        (void)str_copy(name, sizeof name, str_of(user.name));
        err = take_user(identities, &user, arena, why);
        struct access_file_user same;
        if (access_file_user_at(identities->service->access, i, &same) &&
            strcmp(same.name, name) == 0)
            i++;
    }
    return err;
}

/* Damage may have taken the last admin's document: who starts the program can say who it is. */
static enum err replace_lost_admin(struct identities *identities, const char *password,
                                   struct arena *arena, struct why *why)
{
    struct service *service = identities->service;
    if (!service->persist || !persist_left_out(service->persist) ||
        has_an_admin(service->registry, STR("")))
        return ERR_OK;
    if (!password) {
        diag(service->context, DIAG_ERROR, component,
             "nobody can log in with role admin any more, for documents are damaged; start once "
             "with MILLRACE_ADMIN_PASSWORD set to make the user admin anew");
        return ERR_OK;
    }
    enum err err = access_make_admin(service->access, password, why);
    if (!err) err = take_file_users(identities, arena, why);
    if (!err)
        diag(service->context, DIAG_WARNING, component,
             "user admin was made anew with the password of MILLRACE_ADMIN_PASSWORD: damage had "
             "left nobody with role admin");
    return err;
}

/* A login has replaced another broker's hash by a verifier of the same password: so does the
 * document. A manifest's stays as its file says, and one that is just being changed has its turn at
 * a later login: until then the hash holds. */
static void on_better(void *arg, const char *user, const char *verifier)
{
    struct identities *identities = arg;
    struct service *service = identities->service;
    const struct resource *old = registry_get(service->registry, KIND_USER, STR(""), str_of(user));
    struct resource *made = NULL;
    struct arena arena;
    struct why why = WHY_NONE;
    bool waits = service->resources && resources_is_busy(service->resources);
    if (!old || old->owner != OWNER_API || !service->persist || waits || service->stopping) return;
    arena_init(&arena, NULL);
    struct doc *doc = resource_stored(old, &arena);
    bool ok = doc && set_text(&arena, doc_get(doc, "spec"), "verifier", verifier);
    enum err err = put(identities, ok ? doc : NULL, OWNER_API, &arena, &made, &why);
    if (!err) err = save_document(identities, user, made);
    if (err)
        diag(service->context, DIAG_WARNING, component,
             "user %s keeps another broker's hash of its password: %s", user, why_text(&why, err));
    arena_free(&arena);
}

enum err identities_start(struct service *service, const char *admin_password,
                          struct identities **out, struct why *why)
{
    struct identities *identities = mem_alloc_zero(1, sizeof *identities);
    struct arena arena;
    if (!identities) return ERR_NO_MEMORY;
    identities->service = service;
    arena_init(&arena, NULL);
    enum err err = put_builtin_roles(identities, &arena, why);
    if (!err) err = put_node(identities, &arena, why);
    if (!err) err = take_file_users(identities, &arena, why);
    if (!err) err = replace_lost_admin(identities, admin_password, &arena, why);
    arena_free(&arena);
    static const enum resource_kind order[] = {KIND_ROLE, KIND_USER, KIND_TOKEN};
    for (size_t k = 0; !err && k < sizeof order / sizeof order[0]; k++) {
        size_t at = 0;
        for (struct resource *r; !err && (r = registry_next(service->registry, order[k], &at));)
            /* A document that gives nothing is told of; one there is no memory for can be tried
             * again by starting again, and nobody is locked out meanwhile. */
            err = tell(service, r, false) == ERR_NO_MEMORY ? ERR_NO_MEMORY : ERR_OK;
    }
    if (err) {
        identities->is_stopping = true;
        free_if_over(identities);
        return err;
    }
    registry_watch_all(service->registry, on_change, identities);
    access_on_better(service->access, on_better, identities);
    *out = identities;
    return ERR_OK;
}

void identities_stop(struct identities *identities)
{
    if (!identities) return;
    registry_unwatch(identities->service->registry, identities);
    access_on_better(identities->service->access, NULL, NULL);
    identities->is_stopping = true;
    free_if_over(identities);
}
