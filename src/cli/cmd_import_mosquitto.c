/* cmd_import_mosquitto.c - `millrace import mosquitto --acl FILE --passwords FILE`: the users of a
 * Mosquitto broker become Users and Roles.
 *
 * Each user gets a Role of what the acl_file grants it; patterns, which hold for everybody, become
 * one Role that all have. What rules here cannot say is left out and told with its line, so that
 * nobody gets more than he had: above all `deny`, since here nothing is denied by name. A grant
 * that a deny cuts into is left out whole. Users that the node has already are left as they are.
 * Nothing is sent before both files have been read. */
#include "access/access.h"
#include "access/mosquitto.h"
#include "cli/api.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 160 };
#define PATTERN_ROLE "mosquitto-pattern"
#define NOBODY                                                                                     \
    "anonymous" /* the User whose rights those without a login have; here its name is "" */

/* One line of an acl_file that says topic or pattern. */
struct grant {
    size_t line;
    unsigned access; /* 0 = deny */
    struct str topic;
    bool is_void; /* told already */
    bool is_said; /* a deny that becomes a rule */
};

struct grants {
    struct grant *items;
    size_t count, capacity;
};

struct person {
    struct str name, hash; /* hash "" = none */
    size_t line;           /* of the password file; 0 = not in it */
    bool is_left_out;
    struct grants grants;
};

struct import {
    const struct cli_args *args;
    struct arena arena;
    const char *acl, *passwords; /* names of files; NULL = not given */
    struct person *people;
    size_t person_count, person_capacity;
    struct grants patterns;
    size_t left_out, roles, users;
    bool no_memory;
};

/* ---- what is left out ---- */

__attribute__((format(printf, 4, 5))) static void tell(struct import *import, const char *file,
                                                       size_t line, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%zu: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    import->left_out++;
}

static int shown(struct str text)
{
    return (int)(text.size > 120 ? 120 : text.size);
}

/* ---- reading ---- */

/* A User's name (RFC 1123), short enough for its Role's. */
static bool is_user_name(struct str name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || i + 1 == name.size || (c != '-' && c != '.'))) return false;
    }
    return name.size > 0 && name.size <= 100 && !str_is(name, NOBODY);
}

static struct person *person_of(struct import *import, struct str name, const char *file,
                                size_t line)
{
    for (size_t i = 0; i < import->person_count; i++)
        if (str_equal(import->people[i].name, name)) return &import->people[i];
    if (mem_grow(&import->people, &import->person_capacity, import->person_count + 1,
                 sizeof import->people[0])) {
        import->no_memory = true;
        return NULL;
    }
    struct person *p = &import->people[import->person_count++];
    *p = (struct person){.name = name, .is_left_out = name.size && !is_user_name(name)};
    if (p->is_left_out)
        tell(import, file, line,
             "user '%.*s' is left out with all that is his: names here have small letters, "
             "digits, '-' and '.', at most 100 of them, and " NOBODY " is who has no login",
             shown(name), name.at);
    return p;
}

static void add_grant(struct import *import, struct grants *to, const struct mosquitto_line *line)
{
    if (mem_grow(&to->items, &to->capacity, to->count + 1, sizeof to->items[0])) {
        import->no_memory = true;
        return;
    }
    to->items[to->count++] = (struct grant){
        .line = line->number,
        .access = line->access,
        .topic = line->text,
        .is_said = !line->access && line->kind == MOSQUITTO_TOPIC &&
                   !mosquitto_topic_problem(line->text, false),
    };
}

static void take_topic(struct import *import, const struct mosquitto_line *line, struct str user)
{
    bool is_pattern = line->kind == MOSQUITTO_PATTERN;
    const char *problem = line->access ? mosquitto_topic_problem(line->text, is_pattern) : NULL;
    struct person *p = is_pattern ? NULL : person_of(import, user, import->acl, line->number);
    if (problem)
        tell(import, import->acl, line->number, "'%.*s' is left out: %s", shown(line->text),
             line->text.at, problem);
    else if (is_pattern || (p && !p->is_left_out))
        add_grant(import, is_pattern ? &import->patterns : &p->grants, line);
}

static void read_acl(struct import *import, struct str text)
{
    struct mosquitto_line line = {0};
    struct str user = STR("");
    while (!import->no_memory && mosquitto_acl_next(&text, &line)) {
        if (line.kind == MOSQUITTO_WRONG) {
            tell(import, import->acl, line.number, "the line is left out: %s", line.problem);
        } else if (line.kind == MOSQUITTO_USER) {
            user = line.text;
            (void)person_of(import, user, import->acl, line.number);
        } else {
            take_topic(import, &line, user);
        }
    }
}

static void read_passwords(struct import *import, struct str text)
{
    struct mosquitto_password line = {0};
    while (!import->no_memory && mosquitto_password_next(&text, &line)) {
        struct person *p =
            line.user.size ? person_of(import, line.user, import->passwords, line.number) : NULL;
        if (p && !p->is_left_out && !line.problem) {
            p->hash = line.hash;
            p->line = line.number;
        } else if (line.problem) {
            tell(import, import->passwords, line.number, "user '%.*s' gets no password: %s",
                 shown(line.user), line.user.at, line.problem);
        }
    }
}

/* ---- denies ---- */

/* The first deny among them that no rule says and that fits what the topic fits, or NULL. */
static const struct grant *denied_by(const struct grants *list, struct str topic)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->items[i].access && !list->items[i].is_said &&
            access_filters_overlap(list->items[i].topic, topic, true))
            return &list->items[i];
    return NULL;
}

static void drop_denied(struct import *import, struct grants *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct grant *g = &list->items[i];
        const struct grant *deny = g->access ? denied_by(list, g->topic) : NULL;
        if (!deny) continue;
        g->is_void = true;
        tell(import, import->acl, g->line,
             "'%.*s' is left out: line %zu denies some or all of it by a pattern, which rules "
             "here cannot; give the rest by narrower topics",
             shown(g->topic), g->topic.at, deny->line);
    }
}

/* Whether a user's own denies that no rule says leave all patterns as they are. */
static bool keeps_patterns(const struct import *import, const struct person *p)
{
    for (size_t i = 0; i < import->patterns.count; i++)
        if (import->patterns.items[i].access &&
            denied_by(&p->grants, import->patterns.items[i].topic))
            return false;
    return true;
}

static bool gives_any(const struct grants *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].access && !list->items[i].is_void) return true;
    return false;
}

/* ---- documents ---- */

static void set(struct import *import, struct doc *map, const char *key, struct doc *value)
{
    if (!map || !value || !doc_set(&import->arena, map, key, value)) import->no_memory = true;
}

static void add(struct import *import, struct doc *list, struct str text)
{
    struct doc *item = doc_new_string(&import->arena, text);
    if (!list || !item || !doc_append(&import->arena, list, item)) import->no_memory = true;
}

static struct doc *document(struct import *import, enum resource_kind kind, const char *name,
                            struct doc **spec)
{
    struct arena *arena = &import->arena;
    struct doc *top = doc_new(arena, DOC_MAP), *metadata = doc_new(arena, DOC_MAP);
    *spec = doc_new(arena, DOC_MAP);
    set(import, top, "apiVersion", doc_new_string(arena, str_of(RESOURCE_API_VERSION)));
    set(import, top, "kind", doc_new_string(arena, str_of(resource_kinds[kind].name)));
    set(import, metadata, "name", doc_new_string(arena, str_of(name)));
    set(import, top, "metadata", metadata);
    set(import, top, "spec", *spec);
    return top;
}

static void add_rule(struct import *import, struct doc *rules, struct doc *rule, struct doc *verbs,
                     struct doc *paths)
{
    if (!paths || !paths->count) return;
    set(import, rule, "verbs", verbs);
    set(import, rule, "paths", paths);
    if (!rules || !rule || !doc_append(&import->arena, rules, rule)) import->no_memory = true;
}

/* What is denied. */
static void add_denies(struct import *import, struct doc *rules, const struct grants *list)
{
    struct doc *rule = doc_new(&import->arena, DOC_MAP), *verbs = doc_new(&import->arena, DOC_LIST),
               *paths = doc_new(&import->arena, DOC_LIST);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].is_said) add(import, paths, list->items[i].topic);
    set(import, rule, "effect", doc_new_string(&import->arena, STR("deny")));
    add(import, verbs, STR("publish"));
    add(import, verbs, STR("subscribe"));
    add_rule(import, rules, rule, verbs, paths);
}

/* The topics that may be read, written, or both become one rule each. `but`: whose denies cut into
 * the list; NULL = nobody's. */
static void add_rules(struct import *import, struct doc *rules, const struct grants *list,
                      const struct person *but)
{
    for (unsigned access = MOSQUITTO_READ; access <= (MOSQUITTO_READ | MOSQUITTO_WRITE); access++) {
        struct doc *rule = doc_new(&import->arena, DOC_MAP),
                   *verbs = doc_new(&import->arena, DOC_LIST),
                   *paths = doc_new(&import->arena, DOC_LIST);
        for (size_t i = 0; i < list->count; i++) {
            const struct grant *g = &list->items[i];
            if (g->access != access || g->is_void) continue;
            if (!but || !denied_by(&but->grants, g->topic)) add(import, paths, g->topic);
        }
        if (access & MOSQUITTO_WRITE) add(import, verbs, STR("publish"));
        if (access & MOSQUITTO_READ) add(import, verbs, STR("subscribe"));
        add_rule(import, rules, rule, verbs, paths);
    }
}

/* Without rules, `*is_empty`, it is only for a node that has it from an earlier import. */
static struct doc *role_document(struct import *import, const char *name, const struct person *p,
                                 bool *is_empty)
{
    struct doc *spec, *doc = document(import, KIND_ROLE, name, &spec),
                      *rules = doc_new(&import->arena, DOC_LIST);
    if (p) add_denies(import, rules, &p->grants);
    if (p) add_rules(import, rules, &p->grants, NULL);
    if (!p || !keeps_patterns(import, p)) add_rules(import, rules, &import->patterns, p);
    set(import, spec, "rules", rules);
    set(import, spec, "description",
        doc_new_string(&import->arena, STR("from Mosquitto's acl_file")));
    *is_empty = !rules || !rules->count;
    return doc;
}

static struct doc *user_document(struct import *import, const char *name, const struct person *p,
                                 const char *own_role)
{
    struct doc *spec, *doc = document(import, KIND_USER, name, &spec),
                      *roles = doc_new(&import->arena, DOC_LIST);
    if (own_role) add(import, roles, str_of(own_role));
    if (gives_any(&import->patterns) && keeps_patterns(import, p))
        add(import, roles, STR(PATTERN_ROLE));
    set(import, spec, "roles", roles);
    if (p->hash.size) set(import, spec, "verifier", doc_new_string(&import->arena, p->hash));
    return doc;
}

/* ---- sending ---- */

/* Prints it (no node), or has it made; a Role that is there is replaced, a User stays. What is
 * empty is not made. */
static bool give(struct import *import, struct api *api, enum resource_kind kind, const char *name,
                 struct doc *doc, bool is_empty)
{
    struct buf body = BUF_EMPTY, path = BUF_EMPTY;
    if (import->no_memory) return false;
    if (!api && is_empty) return true;
    if (!api) {
        doc_write_yaml(&body, doc, 0);
        printf("---\n%.*s", (int)body.size, body.size ? body.at : "");
        buf_free(&body);
        return true;
    }
    api_path(&path, kind, NULL, name);
    bool is_known = api_call(api, "GET", &path, API_JSON, NULL, STR("")) != NULL;
    bool is_new = !is_known && api->status == 404, is_kept = is_known && kind == KIND_USER;
    if (is_new && is_empty) {
        buf_free(&path);
        return true;
    }
    if (is_kept) fprintf(stderr, "user %s is there already and stays as it is\n", name);
    buf_clear(&path);
    api_path(&path, kind, NULL, is_new ? NULL : name);
    doc_write_json(&body, doc);
    bool is_made = !is_kept && (is_new || is_known) &&
                   api_call(api, is_new ? "POST" : "PUT", &path, API_JSON, "application/json",
                            buf_str(&body)) != NULL;
    *(kind == KIND_ROLE ? &import->roles : &import->users) += is_made;
    buf_free(&path);
    buf_free(&body);
    if (!is_made && !is_kept) (void)api_fail(api);
    return is_made || is_kept;
}

static bool give_person(struct import *import, struct api *api, struct person *p)
{
    char name[NAME_BYTES], role[NAME_BYTES];
    bool is_empty;
    if (p->is_left_out) return true;
    drop_denied(import, &p->grants);
    snprintf(name, sizeof name, "%.*s", shown(p->name), p->name.size ? p->name.at : "");
    if (!p->name.size) snprintf(name, sizeof name, NOBODY);
    /* The patterns' is that of no user: none begins with '-'. */
    snprintf(role, sizeof role, "mosquitto-%.100s", name);
    if (strcmp(role, PATTERN_ROLE) == 0) snprintf(role, sizeof role, "mosquitto--%.100s", name);
    struct doc *doc = role_document(import, role, p, &is_empty);
    if (!give(import, api, KIND_ROLE, role, doc, is_empty)) return false;
    if (!p->hash.size && p->name.size)
        fprintf(stderr, "user %s has no password here and cannot log in until it gets one\n", name);
    return give(import, api, KIND_USER, name,
                user_document(import, name, p, is_empty ? NULL : role), false);
}

static bool give_all(struct import *import, struct api *api)
{
    drop_denied(import, &import->patterns);
    bool is_empty;
    struct doc *doc = role_document(import, PATTERN_ROLE, NULL, &is_empty);
    bool good = give(import, api, KIND_ROLE, PATTERN_ROLE, doc, is_empty);
    for (size_t i = 0; good && i < import->person_count; i++)
        good = give_person(import, api, &import->people[i]);
    if (import->no_memory) (void)cli_fail(import->args, CLI_FAILED, "out of memory");
    return good && !import->no_memory;
}

/* ---- the command ---- */

static int read_file(struct import *import, const char *path, struct buf *text)
{
    if (!path) return CLI_OK;
    if (!cli_read_file(path, text))
        return cli_fail(import->args, CLI_USAGE, "%s: %s", path, strerror(errno));
    if (!str_is_utf8(buf_str(text)))
        return cli_fail(import->args, CLI_USAGE, "%s: is not UTF-8", path);
    return CLI_OK;
}

static int run(struct import *import)
{
    struct api api;
    bool is_dry = cli_value(import->args, "--dry-run") != NULL;
    if (!is_dry && !api_open(&api, import->args)) return CLI_FAILED;
    bool good = give_all(import, is_dry ? NULL : &api);
    if (!is_dry) api_close(&api);
    fprintf(stderr, "%zu users and %zu roles made; %zu lines left out or changed\n", import->users,
            import->roles, import->left_out);
    if (!import->acl)
        fprintf(stderr, "without an acl_file (--acl) Mosquitto lets everybody do everything; here "
                        "the users have no rights until they get roles\n");
    else
        fprintf(stderr, "a subscription must lie within what its user may read: Mosquitto takes "
                        "wider ones and sends less\n");
    return good ? CLI_OK : CLI_FAILED;
}

int cli_import_mosquitto(const struct cli_args *args)
{
    struct import import = {
        .args = args, .acl = cli_value(args, "--acl"), .passwords = cli_value(args, "--passwords")};
    struct buf acl = BUF_EMPTY, passwords = BUF_EMPTY;
    if (!import.acl && !import.passwords)
        return cli_fail(args, CLI_USAGE,
                        "usage: millrace import mosquitto --acl FILE --passwords FILE");
    arena_init(&import.arena, NULL);
    int code = read_file(&import, import.acl, &acl);
    if (code == CLI_OK) code = read_file(&import, import.passwords, &passwords);
    if (code == CLI_OK) {
        if (import.acl) read_acl(&import, buf_str(&acl));
        if (import.passwords) read_passwords(&import, buf_str(&passwords));
        code = run(&import);
    }
    for (size_t i = 0; i < import.person_count; i++) mem_free(import.people[i].grants.items);
    mem_free(import.people);
    mem_free(import.patterns.items);
    buf_free(&acl);
    buf_free(&passwords);
    arena_free(&import.arena);
    return code;
}
