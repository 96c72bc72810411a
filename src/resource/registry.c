/* registry.c - see registry.h. */
#include "resource/registry.h"
#include <stdio.h>
#include <string.h>

enum { WATCHERS_MAX = 8 };

struct registry {
    struct os *os;
    uint64_t version, first_version;
    uint32_t load;
    struct map kinds[KIND_COUNT]; /* "ns/name" -> struct resource * */
    size_t watcher_count;
    struct {
        registry_watch *watch;
        void *arg;
        bool wants_status;
    } watchers[WATCHERS_MAX];
};

struct registry *registry_new(struct os *os)
{
    struct registry *registry = mem_alloc_zero(1, sizeof *registry);
    if (registry) {
        /* Versions of an earlier run, those of status included, are never given again: else a
         * client that comes back could take a new document for the one it knew. */
        int64_t now_us = os->ops->wall_ns(os) / 1000;
        registry->os = os;
        registry->version = registry->first_version = now_us > 0 ? (uint64_t)now_us : 0;
    }
    for (int k = 0; registry && k < KIND_COUNT; k++) map_init(&registry->kinds[k]);
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry) return;
    for (int k = 0; k < KIND_COUNT; k++) {
        size_t at = 0;
        void *value;
        while (map_next(&registry->kinds[k], &at, NULL, &value)) resource_release(value);
        map_free(&registry->kinds[k]);
    }
    mem_free(registry);
}

static void add_watcher(struct registry *registry, registry_watch *watch, void *arg, bool status)
{
    MUST(registry->watcher_count < WATCHERS_MAX);
    registry->watchers[registry->watcher_count].watch = watch;
    registry->watchers[registry->watcher_count].wants_status = status;
    registry->watchers[registry->watcher_count++].arg = arg;
}

void registry_watch_all(struct registry *registry, registry_watch *watch, void *arg)
{
    add_watcher(registry, watch, arg, false);
}

void registry_watch_status(struct registry *registry, registry_watch *watch, void *arg)
{
    add_watcher(registry, watch, arg, true);
}

void registry_unwatch(struct registry *registry, const void *arg)
{
    for (size_t i = 0; i < registry->watcher_count; i++) {
        if (registry->watchers[i].arg != arg) continue;
        registry->watchers[i] = registry->watchers[--registry->watcher_count];
        return;
    }
}

enum { KEY_BYTES = 520 };

static struct str make_key(char out[KEY_BYTES], struct str ns, struct str name)
{
    int n = snprintf(out, KEY_BYTES, "%.*s/%.*s", (int)ns.size, ns.at, (int)name.size, name.at);
    return (struct str){out, n < KEY_BYTES ? (size_t)n : KEY_BYTES - 1};
}

struct resource *registry_get(const struct registry *registry, enum resource_kind kind,
                              struct str ns, struct str name)
{
    char key[KEY_BYTES];
    return map_get(&registry->kinds[kind], make_key(key, ns, name));
}

struct resource *registry_next(const struct registry *registry, enum resource_kind kind, size_t *at)
{
    void *value;
    return map_next(&registry->kinds[kind], at, NULL, &value) ? value : NULL;
}

static void tell(struct registry *registry, const struct resource *old, const struct resource *now,
                 bool is_status)
{
    for (size_t i = 0; i < registry->watcher_count; i++)
        if (!is_status || registry->watchers[i].wants_status)
            registry->watchers[i].watch(registry->watchers[i].arg, old, now);
}

uint64_t registry_version(const struct registry *registry)
{
    return registry->version;
}

uint64_t registry_first_version(const struct registry *registry)
{
    return registry->first_version;
}

/* RFC 9562 section 5.4. */
static void make_uid(struct registry *registry, char out[37])
{
    uint8_t b[16];
    registry->os->ops->random(registry->os, b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    char *at = out;
    for (size_t i = 0; i < 16; i++)
        at += snprintf(at, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
}

static bool same_content(const struct resource *a, const struct resource *b)
{
    return a->owner == b->owner && resource_same_spec(a, b) && doc_equal(a->labels, b->labels) &&
           doc_equal(doc_get(a->metadata, "annotations"), doc_get(b->metadata, "annotations"));
}

bool registry_prepare(struct registry *registry, struct resource *resource)
{
    const struct resource *old =
        registry_get(registry, resource->kind, resource->ns, resource->name);
    if (old && same_content(old, resource)) return false;
    resource->version = ++registry->version;
    resource->generation = !old ? 1 : old->generation + !resource_same_spec(old, resource);
    resource->created_ns = old ? old->created_ns : registry->os->ops->wall_ns(registry->os);
    if (old)
        memcpy(resource->uid, old->uid, sizeof resource->uid);
    else
        make_uid(registry, resource->uid);
    return true;
}

enum err registry_put(struct registry *registry, struct resource *resource)
{
    if (registry_prepare(registry, resource)) return registry_restore(registry, resource);
    registry_get(registry, resource->kind, resource->ns, resource->name)->load = resource->load;
    resource_release(resource);
    return ERR_OK;
}

enum err registry_restore(struct registry *registry, struct resource *resource)
{
    char key[KEY_BYTES];
    void *old = NULL;
    const struct resource *before =
        registry_get(registry, resource->kind, resource->ns, resource->name);
    if (before && before->status && !resource->status)
        resource->status = doc_copy(&resource->arena, before->status);
    enum err err = map_put(&registry->kinds[resource->kind],
                           make_key(key, resource->ns, resource->name), resource, &old);
    if (err) {
        resource_release(resource);
        return err;
    }
    if (resource->version > registry->version) registry->version = resource->version;
    tell(registry, old, resource, false);
    resource_release(old);
    return ERR_OK;
}

bool registry_remove(struct registry *registry, enum resource_kind kind, struct str ns,
                     struct str name)
{
    char key[KEY_BYTES];
    struct resource *old = map_remove(&registry->kinds[kind], make_key(key, ns, name));
    if (!old) return false;
    registry->version++;
    tell(registry, old, NULL, false);
    resource_release(old);
    return true;
}

/* ---- status ---- */

bool registry_set_status(struct registry *registry, enum resource_kind kind, struct str ns,
                         struct str name, const struct doc *status)
{
    char key[KEY_BYTES];
    void *old = NULL;
    struct str text = make_key(key, ns, name);
    const struct resource *held = map_get(&registry->kinds[kind], text);
    if (!held || (held->status && doc_equal(held->status, status))) return false;
    struct resource *now = resource_with_status(held, status);
    if (!now) return false;
    if (map_put(&registry->kinds[kind], text, now, &old)) {
        resource_release(now);
        return false;
    }
    now->version = ++registry->version;
    tell(registry, old, now, true);
    resource_release(old);
    return true;
}

void registry_adopt(struct registry *registry, struct resource *held, const struct resource *stored)
{
    MUST(held->kind == stored->kind && str_equal(held->name, stored->name));
    memcpy(held->uid, stored->uid, sizeof held->uid);
    held->created_ns = stored->created_ns;
    held->is_stored = same_content(held, stored);
    held->generation = stored->generation + !resource_same_spec(held, stored);
    if (held->is_stored) held->version = stored->version;
    if (stored->version > registry->version) registry->version = stored->version;
}

/* ---- manifests ---- */

void registry_begin_load(struct registry *registry)
{
    registry->load++;
}

enum err registry_put_loaded(struct registry *registry, struct resource *resource)
{
    resource->load = registry->load;
    return registry_put(registry, resource);
}

bool registry_has_vanished(const struct registry *registry, const struct resource *r)
{
    return r->owner == OWNER_FILE && r->load != registry->load;
}

/* One file being read: its resources, which go into the registry together. */
struct loading {
    struct registry *registry;
    const char *file;
    struct resource **items; /* owned */
    size_t count, capacity;
    struct map names; /* of items, by kind */
    struct why *why;
};

static enum err check_twice(struct loading *l, struct resource *r)
{
    char key[KEY_BYTES + 4];
    const struct resource *other = registry_get(l->registry, r->kind, r->ns, r->name);
    struct str name = make_key(key + 1, r->ns, r->name);
    key[0] = (char)('A' + r->kind);
    name = (struct str){key, name.size + 1};
    if (!other) other = map_get(&l->names, name);
    if (!other || other->owner != OWNER_FILE || registry_has_vanished(l->registry, other))
        return map_put(&l->names, name, r, NULL);
    return why_set(l->why, ERR_EXISTS, "%s:%u: %s %.*s is defined already in %s:%u", r->file,
                   r->line, resource_kinds[r->kind].name, (int)r->name.size, r->name.at,
                   other->file, other->line);
}

static enum err load_document(void *arg, const struct doc *doc)
{
    struct loading *l = arg;
    struct problems problems;
    struct arena arena;
    struct resource *r = NULL;
    arena_init(&arena, NULL);
    problems_init(&problems, &arena);
    enum err err = mem_grow(&l->items, &l->capacity, l->count + 1, sizeof *l->items);
    if (!err) err = resource_read(doc, l->file, &r, &problems, l->why);
    if (!err) {
        r->load = l->registry->load;
        l->items[l->count++] = r;
        err = check_twice(l, r);
    }
    arena_free(&arena);
    return err;
}

enum err registry_load_yaml(struct registry *registry, struct str text, const char *file,
                            struct why *why)
{
    struct loading l = {.registry = registry, .file = file, .why = why};
    map_init(&l.names);
    enum err err = doc_each_yaml(text, file, load_document, &l, why);
    for (size_t i = 0; i < l.count; i++) {
        if (err)
            resource_release(l.items[i]);
        else
            err = registry_put(registry, l.items[i]);
    }
    map_free(&l.names);
    mem_free(l.items);
    return err;
}
