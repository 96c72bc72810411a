/* identities_check.c - what a User, Role or Token document says by itself: checked before it is
 * accepted, and the secrets that are made or kept on its way in.
 *
 * A rule that is read wrongly may only be too narrow: unknown words are refused here, and where one
 * is met all the same (a document of a later version) it fits nothing. */
#include "access/legacy.h"
#include "access/scram.h"
#include "base/timetext.h"
#include "listeners/identities.h"
#include <stdio.h>
#include <string.h>

/* metadata.name's form, for names that stand elsewhere. */
static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || i + 1 == name.size || (c != '-' && c != '.'))) return false;
    }
    return name.size > 0 && name.size < ACCESS_ROLE_BYTES;
}

static void check_roles(const struct field_strings *roles, const struct doc *at,
                        struct problems *problems)
{
    size_t size = 0;
    for (size_t i = 0; i < roles->count; i++) {
        char path[48];
        snprintf(path, sizeof path, "spec.roles[%zu]", i);
        size += roles->items[i].size + 1;
        if (!is_name(roles->items[i]))
            problem_add(problems, path, at, "'%.*s' is not the name of a Role",
                        (int)(roles->items[i].size > 80 ? 80 : roles->items[i].size),
                        roles->items[i].at);
    }
    if (roles->count > ACCESS_ROLES_MAX || size >= ACCESS_ROLES_BYTES)
        problem_add(problems, "spec.roles", at, "too many roles: at most %d, %d bytes together",
                    ACCESS_ROLES_MAX, ACCESS_ROLES_BYTES);
}

static void check_user(const struct resource *r, struct problems *problems)
{
    const struct user_spec *spec = r->spec;
    struct scram_verifier ignored;
    struct legacy_verifier other;
    if (r->name.size >= ACCESS_USER_BYTES)
        problem_add(problems, "metadata.name", NULL, "longer than %d bytes", ACCESS_USER_BYTES - 1);
    check_roles(&spec->roles, doc_get(r->spec_doc, "roles"), problems);
    struct why why = WHY_NONE;
    if (resource_check_namespace(spec->ns, &why))
        problem_add(problems, "spec.namespace", doc_get(r->spec_doc, "namespace"),
                    "%s; leave it out for 'default'", why.text);
    if (doc_get(r->spec_doc, "password"))
        problem_add(problems, "spec.password", doc_get(r->spec_doc, "password"), "%s",
                    r->owner == OWNER_FILE
                        ? "a manifest must not hold a password; put spec.verifier there, as "
                          "'millrace user verifier' prints it"
                        : "must be a text of 1 to 255 bytes");
    if (spec->verifier.size && !scram_parse(spec->verifier, &ignored) &&
        (!legacy_parse(spec->verifier, &other) || spec->verifier.size >= ACCESS_VERIFIER_BYTES))
        problem_add(problems, "spec.verifier", doc_get(r->spec_doc, "verifier"),
                    "must be what 'millrace user verifier' prints, SCRAM-SHA-256$…, or a hash of "
                    "mosquitto_passwd, $7$… or $6$…");
}

/* ---- roles ---- */

struct rule_site {
    const char *path; /* "spec.rules[0]" */
    const struct doc *at;
    struct problems *problems;
};

__attribute__((format(printf, 3, 4))) static void complain(const struct rule_site *s,
                                                           const char *key, const char *format, ...)
{
    char where[96], text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(where, sizeof where, "%s.%s", s->path, key);
    problem_add(s->problems, where, s->at, "%s", text);
}

static void check_words(const struct rule_site *s, const char *key,
                        const struct field_strings *words, const char *const *known, size_t count)
{
    for (size_t i = 0; i < words->count; i++) {
        struct str word = words->items[i];
        bool good = str_is(word, "*");
        for (size_t k = 0; k < count && !good; k++) good = str_is(word, known[k]);
        int nearest = good ? -1 : str_nearest(word, known, count);
        if (!good)
            complain(s, key, "'%.*s' is not known here%s%s%s",
                     (int)(word.size > 60 ? 60 : word.size), word.at,
                     nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? known[nearest] : "",
                     nearest >= 0 ? "?" : "");
    }
    if (words->items && !words->count)
        complain(s, key, "is empty, so the rule would fit nothing: name some, or leave it out");
}

static void check_deny(const struct rule_site *s, const struct role_rule_spec *rule)
{
    for (size_t i = 0; i < rule->verbs.count; i++) {
        int verb = access_verb_of(rule->verbs.items[i]);
        if (verb < 0 || !(ACCESS_DENIABLE & 1u << verb))
            complain(s, "verbs",
                     "a rule that denies has publish, subscribe or both, and no others");
    }
    if (!rule->paths.items)
        complain(s, "paths", "is required in a rule that denies: the topics that it takes away");
    if (rule->kinds.items || rule->names.items)
        complain(s, rule->kinds.items ? "kinds" : "names",
                 "does not belong into a rule that denies topics");
    for (size_t i = 0; rule->paths.items && i < rule->paths.count; i++)
        for (size_t k = 0; k + 1 < rule->paths.items[i].size; k++)
            if (rule->paths.items[i].at[k] == '%' &&
                strchr(ACCESS_NAME_LETTERS, rule->paths.items[i].at[k + 1]))
                complain(
                    s, "paths",
                    "a rule that denies has no %%u, %%c, %%n, %%o or %%d: use + for the level");
}

static void check_rule(const struct rule_site *s, const struct role_rule_spec *rule)
{
    const char *verbs[VERB_COUNT], *kinds[KIND_COUNT + 2];
    for (int v = 0; v < VERB_COUNT; v++) verbs[v] = access_verb_name((enum access_verb)v);
    for (int k = 0; k < KIND_COUNT; k++) kinds[k] = resource_kinds[k].name;
    kinds[KIND_COUNT] = "Audit";          /* no documents: with get, the lines of sys.audit */
    kinds[KIND_COUNT + 1] = "MqttClient"; /* the broker's sessions, by client identifier */
    check_words(s, "verbs", &rule->verbs, verbs, VERB_COUNT);
    check_words(s, "kinds", &rule->kinds, kinds, KIND_COUNT + 2);
    bool needs_kinds = false;
    for (size_t i = 0; i < rule->verbs.count; i++) {
        int verb = access_verb_of(rule->verbs.items[i]);
        needs_kinds |= verb < 0 || !(ACCESS_DATA_VERBS & 1u << verb);
    }
    if (needs_kinds && !rule->kinds.items)
        complain(s, "kinds",
                 "is required with verbs for documents; '*' means all kinds, users and "
                 "roles too");
    for (size_t i = 0; i < rule->namespaces.count; i++)
        if (!str_is(rule->namespaces.items[i], "*") && !is_name(rule->namespaces.items[i]))
            complain(
                s, "namespaces",
                "'%.*s' is not the name of a namespace (only '*' alone is a "
                "wildcard here)",
                (int)(rule->namespaces.items[i].size > 60 ? 60 : rule->namespaces.items[i].size),
                rule->namespaces.items[i].at);
    for (size_t i = 0; i < rule->paths.count; i++)
        if (!access_filter_is_valid(rule->paths.items[i]))
            complain(s, "paths", "'%.*s': + and # must stand alone between slashes, # at the end",
                     (int)(rule->paths.items[i].size > 60 ? 60 : rule->paths.items[i].size),
                     rule->paths.items[i].at);
    if (rule->effect == ROLE_EFFECT_DENY) check_deny(s, rule);
    if ((rule->namespaces.items && !rule->namespaces.count) ||
        (rule->names.items && !rule->names.count) || (rule->paths.items && !rule->paths.count))
        complain(s, "paths", "an empty list fits nothing: name some, or leave the list out");
}

static void check_role(const struct resource *r, struct problems *problems)
{
    const struct role_spec *spec = r->spec;
    const struct role_rule_spec *rules = spec->rules.items;
    const struct access_rule *ignored;
    const char *name;
    size_t count;
    for (size_t i = 0; r->owner != OWNER_NODE && (name = access_builtin_role(i, &ignored, &count));
         i++)
        if (str_is(r->name, name))
            problem_add(problems, "metadata.name", NULL,
                        "%s is a built-in role, which cannot be changed; choose another name",
                        name);
    for (size_t i = 0; i < spec->rules.count; i++) {
        char path[48];
        snprintf(path, sizeof path, "spec.rules[%zu]", i);
        struct doc at = {.line = spec->rules.lines[i]};
        check_rule(&(struct rule_site){path, &at, problems}, &rules[i]);
    }
}

static void check_token(const struct resource *r, struct problems *problems)
{
    const struct token_spec *spec = r->spec;
    int64_t ns;
    check_roles(&spec->roles, doc_get(r->spec_doc, "roles"), problems);
    if (spec->roles.items && !spec->roles.count)
        problem_add(problems, "spec.roles", doc_get(r->spec_doc, "roles"),
                    "is empty, so the token could do nothing: name some, or leave it out");
    if (spec->expires.size && !time_parse(spec->expires, &ns))
        problem_add(problems, "spec.expires", doc_get(r->spec_doc, "expires"),
                    "must be a time such as 2027-01-01T00:00:00Z");
    bool is_hash = spec->hash.size == 2 * ACCESS_HASH_BYTES;
    for (size_t i = 0; i < spec->hash.size && is_hash; i++)
        is_hash = strchr("0123456789abcdef", spec->hash.at[i]) && spec->hash.at[i];
    if (!is_hash)
        problem_add(problems, "spec.hash", doc_get(r->spec_doc, "hash"),
                    "must be the SHA-256 of the secret, as 64 hex digits");
}

void identities_check(const struct resource *r, struct problems *problems)
{
    static void (*const checks[KIND_COUNT])(const struct resource *r, struct problems *problems) = {
        [KIND_USER] = check_user, [KIND_ROLE] = check_role, [KIND_TOKEN] = check_token};
    if (checks[r->kind]) checks[r->kind](r, problems);
}

/* ---- secrets on their way in ---- */

/* kubectl keeps what was applied in an annotation: what is secret must not stay there. */
static enum err clean_annotation(struct doc *doc, struct arena *arena)
{
    static const char key[] = "kubectl.kubernetes.io/last-applied-configuration";
    struct doc *annotations = doc_find(doc, "metadata.annotations"), *applied = NULL;
    struct str text = doc_text(doc_get(annotations, key));
    if (!text.size) return ERR_OK;
    if (doc_read_json(text, arena, &applied, NULL)) {
        doc_remove(annotations, key);
        return ERR_OK;
    }
    int kind = resource_kind_of(doc_text(doc_get(doc, "kind")));
    for (const struct field *f = kind < 0 ? NULL : resource_kinds[kind].fields; f && f->name; f++)
        if (f->flags & FIELD_SECRET) doc_remove(doc_get(applied, "spec"), f->name);
    struct buf out = BUF_EMPTY;
    doc_write_json(&out, applied);
    bool ok =
        !buf_failed(&out) && doc_set(arena, annotations, key, doc_new_string(arena, buf_str(&out)));
    buf_free(&out);
    return ok ? ERR_OK : ERR_NO_MEMORY;
}

static bool keep(struct doc *spec, const struct resource *old, const char *key, struct arena *arena)
{
    const struct doc *before = old ? doc_get(old->spec_doc, key) : NULL;
    if (!before || doc_get(spec, key)) return true;
    return doc_set(arena, spec, key, doc_copy(arena, before));
}

/* A Bridge's password is for the broker that it was given for: whoever points the bridge somewhere
 * else has to know it. */
static bool stays_there(const struct doc *spec, const struct resource *old)
{
    return old && str_equal(doc_text(doc_get(spec, "endpoint")),
                            doc_text(doc_get(old->spec_doc, "endpoint")));
}

static bool make_secret(struct service *service, struct doc *spec, struct arena *arena,
                        char secret[ACCESS_TOKEN_BYTES])
{
    uint8_t hash[ACCESS_HASH_BYTES];
    char text[2 * ACCESS_HASH_BYTES + 1];
    access_token_text(service->access, secret, hash);
    for (size_t i = 0; i < sizeof hash; i++) snprintf(text + 2 * i, 3, "%02x", hash[i]);
    return doc_set(arena, spec, "hash", doc_new_string(arena, str_of(text)));
}

enum err identities_complete(struct service *service, enum resource_kind kind,
                             const struct resource *old, const char *verifier, struct doc *doc,
                             struct arena *arena, char secret[ACCESS_TOKEN_BYTES])
{
    struct doc *spec = doc_get(doc, "spec");
    secret[0] = 0;
    if (!resource_has_secrets(kind) || !spec || spec->kind != DOC_MAP) return ERR_OK;
    enum err err = clean_annotation(doc, arena);
    bool ok = true;
    if (kind == KIND_USER && verifier[0]) {
        doc_remove(spec, "password");
        ok = doc_set(arena, spec, "verifier", doc_new_string(arena, str_of(verifier)));
    }
    if (!err && ok && kind == KIND_BRIDGE && stays_there(spec, old))
        ok = keep(spec, old, "password", arena);
    if (!err && ok && kind != KIND_BRIDGE)
        ok = keep(spec, old, kind == KIND_USER ? "verifier" : "hash", arena);
    if (!err && ok && kind == KIND_TOKEN && !doc_get(spec, "hash"))
        ok = make_secret(service, spec, arena, secret);
    return err ? err : ok ? ERR_OK : ERR_NO_MEMORY;
}
