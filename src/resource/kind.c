/* kind.c - see kind.h: a document becomes a resource. */
#include "resource/kind.h"
#include "base/timetext.h"
#include <stdio.h>
#include <string.h>

int resource_kind_of(struct str name)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        const struct kind_info *info = &resource_kinds[k];
        if (str_is(name, info->name) || str_is(name, info->plural) ||
            str_is(name, info->singular) || (info->short_name[0] && str_is(name, info->short_name)))
            return k;
    }
    return -1;
}

/* In a document only the kind's own name counts. */
static int kind_of_name(struct str name)
{
    for (int k = 0; k < KIND_COUNT; k++)
        if (str_is(name, resource_kinds[k].name)) return k;
    return -1;
}

bool resource_is_name(struct str name)
{
    if (name.size == 0 || name.size > RESOURCE_NAME_BYTES_MAX) return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool edge = i == 0 || i + 1 == name.size;
        if (!alnum && (edge || (c != '-' && c != '.'))) return false;
    }
    return true;
}

enum err resource_check_namespace(struct str ns, struct why *why)
{
    if (resource_is_name(ns)) return ERR_OK;
    return why_set(
        why, ERR_INVALID,
        "the namespace '%.*s%s' must be lower-case letters, digits, '-' and '.' (at most "
        "%d), and begin and end with a letter or digit",
        (int)(ns.size > 80 ? 80 : ns.size), ns.at, ns.size > 80 ? "…" : "",
        RESOURCE_NAME_BYTES_MAX);
}

static void check_metadata(struct resource *r, struct problems *problems)
{
    struct doc *name = doc_get(r->metadata, "name"), *ns = doc_get(r->metadata, "namespace");
    r->name = doc_text(name);
    if (!resource_is_name(r->name))
        problem_add(
            problems, "metadata.name", name,
            "'%.*s' must be lower-case letters, digits, '-' and '.', and begin and end with a letter or digit",
            (int)(r->name.size > 80 ? 80 : r->name.size), r->name.at);
    if (resource_kinds[r->kind].namespaced) {
        r->ns = ns ? doc_text(ns) : STR("default");
        if (!resource_is_name(r->ns))
            problem_add(problems, "metadata.namespace", ns, "is not a valid name");
    }
    r->labels = doc_get(r->metadata, "labels");
    if (r->labels && r->labels->kind != DOC_MAP && r->labels->kind != DOC_NULL)
        problem_add(problems, "metadata.labels", r->labels, "must be a map of texts");
    for (size_t i = 0; r->labels && r->labels->kind == DOC_MAP && i < r->labels->count; i++)
        if (r->labels->items[i].value->kind > DOC_STRING)
            problem_add(problems, "metadata.labels", r->labels, "must be a map of texts");
}

static void check_top(const struct doc *doc, struct problems *problems)
{
    static const char *const keys[] = {"apiVersion", "kind", "metadata", "spec", "status"};
    for (size_t i = 0; i < doc->count; i++) {
        size_t k = 0;
        while (k < 5 && !str_is(doc->items[i].key, keys[k])) k++;
        if (k < 5) continue;
        int nearest = str_nearest(doc->items[i].key, keys, 5);
        problem_add(problems, "", doc->items[i].value, "unknown key '%.*s'%s%s%s",
                    (int)doc->items[i].key.size, doc->items[i].key.at,
                    nearest >= 0 ? "; did you mean '" : "", nearest >= 0 ? keys[nearest] : "",
                    nearest >= 0 ? "'?" : "");
    }
    struct str version = doc_text(doc_get(doc, "apiVersion"));
    if (!str_is(version, RESOURCE_API_VERSION))
        problem_add(problems, "apiVersion", doc_get(doc, "apiVersion"),
                    "must be " RESOURCE_API_VERSION);
}

static void unknown_kind(const struct doc *doc, struct problems *problems)
{
    const char *names[KIND_COUNT];
    for (int k = 0; k < KIND_COUNT; k++) names[k] = resource_kinds[k].name;
    struct str given = doc_text(doc_get(doc, "kind"));
    int nearest = str_nearest(given, names, KIND_COUNT);
    problem_add(problems, "kind", doc_get(doc, "kind") ? doc_get(doc, "kind") : doc,
                "'%.*s' is not a kind%s%s%s", (int)(given.size > 80 ? 80 : given.size), given.at,
                nearest >= 0 ? "; did you mean " : "", nearest >= 0 ? names[nearest] : "",
                nearest >= 0 ? "?" : "");
}

/* Keeps the spec as text, and of its tree only the top level. */
static enum err keep_spec(struct resource *r, const struct doc *spec, struct problems *problems)
{
    struct buf text = BUF_EMPTY;
    doc_write_json(&text, spec);
    char *own = buf_failed(&text) ? NULL : arena_strdup(&r->arena, text.at, text.size);
    r->spec_text = (struct str){own, text.size};
    if (text.size > DOC_BYTES_MAX)
        problem_add(problems, "spec", spec, "is larger than %d MiB", DOC_BYTES_MAX >> 20);
    buf_free(&text);
    struct doc top = {.kind = spec->kind, .line = spec->line, .column = spec->column};
    r->spec_doc = own ? doc_copy(&r->arena, &top) : NULL;
    for (size_t i = 0; r->spec_doc && spec->kind == DOC_MAP && i < spec->count; i++) {
        struct doc value = *spec->items[i].value;
        value.count = 0;
        struct doc *copy = doc_copy(&r->arena, &value);
        if (!copy || !doc_add_key(&r->arena, r->spec_doc, spec->items[i].key, copy))
            return ERR_NO_MEMORY;
    }
    return r->spec_doc ? ERR_OK : ERR_NO_MEMORY;
}

/* Reads everything into `r`, whose arena takes copies. */
static enum err fill(struct resource *r, const struct doc *doc, struct problems *problems)
{
    static const struct doc nothing = {.kind = DOC_MAP};
    const struct kind_info *info = &resource_kinds[r->kind];
    const struct doc *metadata = doc_get(doc, "metadata"), *spec = doc_get(doc, "spec");
    r->spec = arena_zero(&r->arena, 1, info->spec_bytes);
    if (!r->spec) return ERR_NO_MEMORY;
    check_top(doc, problems);
    if (!metadata || metadata->kind != DOC_MAP) {
        problem_add(problems, "metadata", doc, "is required: a map with at least a name");
        return ERR_OK;
    }
    if (!(r->metadata = doc_copy(&r->arena, metadata))) return ERR_NO_MEMORY;
    check_metadata(r, problems);
    if (!spec) spec = &nothing;
    enum err err = keep_spec(r, spec, problems);
    if (err) return err;
    struct problems here; /* bound lists live in the resource's arena, so its problems do too */
    problems_init(&here, &r->arena);
    field_bind(info->fields, spec, "spec", r->spec, &here);
    if (!here.count && info->check) info->check(r->spec, spec, &here);
    if (here.no_memory) return ERR_NO_MEMORY;
    for (struct problem *p = here.first; p; p = p->next) {
        struct doc at = {.line = p->line, .column = p->column};
        problem_add(problems, p->path, &at, "%s", p->text);
    }
    return ERR_OK;
}

static enum err first_problem(const struct resource *r, const char *file,
                              const struct problems *problems, struct why *why)
{
    const struct problem *p = problems->first;
    char place[300] = "", object[300] = "";
    if (!p) return why_set(why, ERR_NO_MEMORY, "out of memory");
    if (file[0] && p->line) snprintf(place, sizeof place, "%s:%u:%u: ", file, p->line, p->column);
    if (r && r->name.size)
        snprintf(object, sizeof object, "%s %.*s: ", resource_kinds[r->kind].name,
                 (int)r->name.size, r->name.at);
    return why_set(why, ERR_INVALID, "%s%s%s%s%s", place, object, p->path, p->path[0] ? ": " : "",
                   p->text);
}

enum err resource_read(const struct doc *doc, const char *file, struct resource **out,
                       struct problems *problems, struct why *why)
{
    *out = NULL;
    int kind = doc->kind == DOC_MAP ? kind_of_name(doc_text(doc_get(doc, "kind"))) : -1;
    if (doc->kind != DOC_MAP)
        problem_add(problems, "", doc,
                    "a resource must be a map with apiVersion, kind, metadata and spec");
    else if (kind < 0)
        unknown_kind(doc, problems);
    if (kind < 0) return first_problem(NULL, file, problems, why);
    struct resource *r = mem_alloc_zero(1, sizeof *r);
    if (!r) return ERR_NO_MEMORY;
    atomic_init(&r->refs, 1);
    arena_init(&r->arena, NULL);
    r->kind = (enum resource_kind)kind;
    r->owner = file[0] ? OWNER_FILE : OWNER_API;
    r->line = doc->line;
    r->file = arena_strdup(&r->arena, file, strlen(file));
    enum err err = r->file ? fill(r, doc, problems) : ERR_NO_MEMORY;
    if (!err && problems->count) err = first_problem(r, file, problems, why);
    if (err) {
        resource_release(r);
        return err;
    }
    *out = r;
    return ERR_OK;
}

static bool copy_key(struct arena *arena, struct doc *to, const struct doc *from, const char *key)
{
    const struct doc *value = doc_get(from, key);
    return !value || doc_set(arena, to, key, doc_copy(arena, value));
}

static const char *const owner_names[OWNER_COUNT] = {
    [OWNER_API] = "api", [OWNER_FILE] = "file", [OWNER_PARENT] = "parent", [OWNER_NODE] = "node"};

bool resource_has_secrets(enum resource_kind kind)
{
    for (const struct field *f = resource_kinds[kind].fields; f->name; f++)
        if (f->flags & FIELD_SECRET) return true;
    return false;
}

/* The spec without what is secret. */
static struct doc *shown_spec(const struct resource *r, struct arena *arena)
{
    struct doc *spec = resource_spec(r, arena);
    for (const struct field *f = resource_kinds[r->kind].fields; spec && f->name; f++)
        if (f->flags & FIELD_SECRET) doc_remove(spec, f->name);
    return spec;
}

static struct doc *metadata_of(const struct resource *r, struct arena *arena)
{
    struct doc *m = doc_new(arena, DOC_MAP);
    char created[TIME_TEXT_BYTES], version[24];
    time_format(r->created_ns - r->created_ns % TIME_NS_PER_S, created);
    snprintf(version, sizeof version, "%llu", (unsigned long long)r->version);
    bool ok = m && doc_set(arena, m, "name", doc_new_string(arena, r->name)) &&
              (!r->ns.size || doc_set(arena, m, "namespace", doc_new_string(arena, r->ns))) &&
              doc_set(arena, m, "uid", doc_new_string(arena, str_of(r->uid))) &&
              doc_set(arena, m, "resourceVersion", doc_new_string(arena, str_of(version))) &&
              doc_set(arena, m, "generation", doc_new_int(arena, (int64_t)r->generation)) &&
              doc_set(arena, m, "creationTimestamp", doc_new_string(arena, str_of(created))) &&
              doc_set(arena, m, "owner", doc_new_string(arena, str_of(owner_names[r->owner]))) &&
              copy_key(arena, m, r->metadata, "labels") &&
              copy_key(arena, m, r->metadata, "annotations");
    return ok ? m : NULL;
}

/* The document with this as its spec, without status. */
static struct doc *document(const struct resource *r, struct arena *arena, struct doc *spec)
{
    struct doc *top = doc_new(arena, DOC_MAP);
    bool ok =
        top &&
        doc_set(arena, top, "apiVersion", doc_new_string(arena, STR(RESOURCE_API_VERSION))) &&
        doc_set(arena, top, "kind", doc_new_string(arena, str_of(resource_kinds[r->kind].name))) &&
        doc_set(arena, top, "metadata", metadata_of(r, arena)) && doc_set(arena, top, "spec", spec);
    return ok ? top : NULL;
}

struct doc *resource_document(const struct resource *r, struct arena *arena)
{
    struct doc *top = document(r, arena, shown_spec(r, arena));
    bool ok = top && (!r->status || doc_set(arena, top, "status", doc_copy(arena, r->status)));
    return ok ? top : NULL;
}

struct doc *resource_stored(const struct resource *r, struct arena *arena)
{
    struct doc *top = document(r, arena, resource_spec(r, arena));
    bool ok = top && (r->owner != OWNER_FILE || doc_set(arena, doc_get(top, "metadata"), "file",
                                                        doc_new_string(arena, str_of(r->file))));
    return ok ? top : NULL;
}

/* A spec goes out as the text that is kept, unless something in it is secret. */
static bool write_json(struct buf *out, const struct resource *r, bool is_stored)
{
    struct arena arena;
    struct doc text = {.kind = DOC_JSON, .text = r->spec_text};
    arena_init(&arena, NULL);
    struct doc *spec = is_stored || !resource_has_secrets(r->kind) ? &text : shown_spec(r, &arena);
    struct doc *doc = document(r, &arena, spec);
    bool ok = doc != NULL;
    if (ok && is_stored && r->owner == OWNER_FILE)
        ok = doc_set(&arena, doc_get(doc, "metadata"), "file",
                     doc_new_string(&arena, str_of(r->file)));
    if (ok && !is_stored && r->status) ok = doc_set(&arena, doc, "status", r->status);
    if (ok) doc_write_json(out, doc);
    arena_free(&arena);
    return ok && !buf_failed(out);
}

bool resource_write_json(struct buf *out, const struct resource *r)
{
    return write_json(out, r, false);
}

bool resource_write_stored(struct buf *out, const struct resource *r)
{
    return write_json(out, r, true);
}

enum err resource_take_owner(struct resource *r, const struct doc *stored)
{
    struct str owner = doc_text(doc_find(stored, "metadata.owner")),
               file = doc_text(doc_find(stored, "metadata.file"));
    for (int o = 0; o < OWNER_COUNT; o++)
        if (str_is(owner, owner_names[o])) r->owner = (enum resource_owner)o;
    if (r->owner != OWNER_FILE) return ERR_OK;
    r->file = arena_strdup(&r->arena, file.at, file.size);
    return r->file ? ERR_OK : ERR_NO_MEMORY;
}

struct resource *resource_with_status(const struct resource *r, const struct doc *status)
{
    struct resource *changed = mem_dup(r, sizeof *r);
    if (!changed) return NULL;
    atomic_init(&changed->refs, 1);
    arena_init(&changed->arena, NULL);
    changed->base = resource_share(r->base ? r->base : r);
    changed->status = doc_copy(&changed->arena, status);
    if (changed->status) return changed;
    resource_release(changed);
    return NULL;
}

struct doc *resource_spec(const struct resource *r, struct arena *arena)
{
    struct doc *spec = NULL;
    enum err err = doc_read_json(r->spec_text, arena, &spec, NULL);
    return err ? NULL : spec; /* we wrote it: only memory can be missing */
}

bool resource_same_spec(const struct resource *a, const struct resource *b)
{
    struct arena arena;
    if (str_equal(a->spec_text, b->spec_text)) return true;
    arena_init(&arena, NULL);
    struct doc *one = resource_spec(a, &arena), *other = resource_spec(b, &arena);
    bool same = one && other && doc_equal(one, other); /* without memory: a change too many */
    arena_free(&arena);
    return same;
}

struct resource *resource_share(const struct resource *resource)
{
    struct resource *r = (struct resource *)(uintptr_t)resource;
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void resource_release(struct resource *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) return;
    struct resource *base = r->base;
    arena_free(&r->arena);
    mem_free(r);
    resource_release(base); /* which has none itself */
}

void table_sql_name(const struct resource *table, char out[SCHEMA_NAME_BYTES_MAX + 1])
{
    MUST(table->kind == KIND_TABLE);
    const struct table_spec *spec = table->spec;
    struct str name = spec->name.size ? spec->name : table->name;
    (void)str_copy(out, SCHEMA_NAME_BYTES_MAX + 1, name);
    for (char *p = out; *p && !spec->name.size; p++)
        if (*p == '-' || *p == '.') *p = '_';
}

void view_sql_name(const struct resource *view, char out[SCHEMA_NAME_BYTES_MAX + 1])
{
    MUST(view->kind == KIND_VIEW);
    (void)str_copy(out, SCHEMA_NAME_BYTES_MAX + 1, view->name);
    for (char *p = out; *p; p++)
        if (*p == '-' || *p == '.') *p = '_';
}
