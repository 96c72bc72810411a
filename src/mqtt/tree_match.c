/* tree_match.c - see tree.h: what a name matches, and the cache of that.
 *
 * The cache is a table with one place a hash: a name that falls on a taken place drives the old one
 * out. Its entries carry the epoch of the tree, which every change of a subscription moves on; so
 * an entry whose subscriptions are gone is never looked into. Machines publish on the same names
 * again and again, and most messages are answered here with one comparison of the name.
 *
 * What is found lies in the entry or, without memory for one, in tree->found: both are borrowed
 * until the tree is used again. Subscriptions of one session are brought next to each other (by
 * address), since one message goes to it once (broker.c, deliver_to_one). */
#include "base/hash.h"
#include "mqtt/topic.h"
#include "mqtt/tree_priv.h"
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_PLACES = 4096,               /* a power of two */
    CACHE_BYTES_MAX = 2 * 1024 * 1024, /* of all entries */
};

struct cache_entry {
    uint64_t epoch, hash;
    size_t size; /* of the allocation */
    struct tree_matches matches;
    size_t topic_size;
    /* items, groups, topic */
    void *room[];
};

/* An empty place is left alone. */
static void drop_entry(struct tree *t, struct cache_entry **place)
{
    struct cache_entry *e = *place;
    if (!e) return;
    *place = NULL;
    t->cache_bytes -= e->size;
    if (t->budget) budget_give(t->budget, e->size);
    mem_free(e);
}

void tree_cache_free(struct tree *t)
{
    for (size_t i = 0; t->cache && i < CACHE_PLACES; i++) drop_entry(t, &t->cache[i]);
    mem_free(t->cache);
    t->cache = NULL;
}

void tree_cache_verify(const struct tree *t)
{
    size_t bytes = 0;
    for (size_t i = 0; t->cache && i < CACHE_PLACES; i++) {
        const struct cache_entry *e = t->cache[i];
        if (!e) continue;
        MUST((e->hash & (CACHE_PLACES - 1)) == i && e->epoch <= t->epoch);
        bytes += e->size;
    }
    MUST(bytes == t->cache_bytes && bytes <= CACHE_BYTES_MAX);
}

/* ---- going down ---- */

/* What hangs on a node that fits. False: no memory. */
static bool add_items(struct tree *t, const struct tree_node *n)
{
    struct tree_matches *found = &t->found;
    for (struct subscription *s = n->subscriptions; s; s = s->next) {
        if (mem_grow(&found->items, &t->item_capacity, found->count + 1, sizeof(void *)))
            return false;
        found->items[found->count++] = s;
    }
    for (struct tree_group *g = n->groups; g; g = g->next) {
        if (mem_grow(&found->groups, &t->group_capacity, found->group_count + 1, sizeof(void *)))
            return false;
        found->groups[found->group_count++] = g;
    }
    return true;
}

/* Recursion goes no deeper than a name has levels (TOPIC_MADE_LEVELS_MAX). */
static bool visit(struct tree *t, const struct tree_node *n, size_t depth, size_t count,
                  bool is_dollar)
{
    MUST(depth <= count);
    bool wild = depth > 0 || !is_dollar;
    if (n->rest && wild && !add_items(t, n->rest)) return false;
    if (depth == count) return add_items(t, n);
    if (n->plus && wild && !visit(t, n->plus, depth + 1, count, is_dollar)) return false;
    const struct tree_node *child = tree_child(t, n, t->path[depth]);
    return !child || visit(t, child, depth + 1, count, is_dollar);
}

static int by_session(const void *a, const void *b)
{
    const struct subscription *const *x = a, *const *y = b;
    uintptr_t one = (uintptr_t)(*x)->session, two = (uintptr_t)(*y)->session;
    return (one > two) - (one < two);
}

/* Into tree->found. Levels that no node has are NULL: only wildcards fit them. */
static bool find_all(struct tree *t, struct str topic)
{
    size_t count = 0;
    struct str level, rest = topic;
    t->found.count = t->found.group_count = 0;
    if (!t->path && !(t->path = mem_alloc(TOPIC_MADE_LEVELS_MAX * sizeof t->path[0]))) return false;
    while (count < TOPIC_MADE_LEVELS_MAX && str_split(&rest, '/', &level))
        t->path[count++] = tree_find_level(t, level);
    MUST(!rest.at);
    if (!visit(t, &t->root, 0, count, topic.size && topic.at[0] == '$')) return false;
    if (t->found.count > 1) qsort(t->found.items, t->found.count, sizeof(void *), by_session);
    return true;
}

/* ---- the cache ---- */

static struct str entry_topic(const struct cache_entry *e)
{
    size_t pointers = e->matches.count + e->matches.group_count;
    return (struct str){(const char *)(e->room + pointers), e->topic_size};
}

/* One allocation for the matches and the name, for one cache line more or less. */
static struct cache_entry *entry_new(const struct tree *t, struct str topic, uint64_t hash)
{
    size_t items = t->found.count, groups = t->found.group_count;
    size_t size = sizeof(struct cache_entry) + (items + groups) * sizeof(void *) + topic.size;
    struct cache_entry *e = mem_alloc(size);
    if (!e) return NULL;
    *e = (struct cache_entry){.epoch = t->epoch,
                              .hash = hash,
                              .size = size,
                              .topic_size = topic.size,
                              .matches = {.count = items, .group_count = groups}};
    e->matches.items = (struct subscription **)e->room;
    e->matches.groups = (struct tree_group **)(e->room + items);
    if (items) memcpy(e->matches.items, t->found.items, items * sizeof(void *));
    if (groups) memcpy(e->matches.groups, t->found.groups, groups * sizeof(void *));
    memcpy((char *)(e->room + items + groups), topic.at, topic.size);
    return e;
}

/* Keeps what was found, if there is room; else what was found serves this once. */
static const struct tree_matches *remember(struct tree *t, struct cache_entry **place,
                                           struct str topic, uint64_t hash)
{
    MUST(t->cache_bytes <= CACHE_BYTES_MAX);
    drop_entry(t, place);
    struct cache_entry *e = entry_new(t, topic, hash);
    if (e && (t->cache_bytes + e->size > CACHE_BYTES_MAX || budget_take(t->budget, e->size))) {
        mem_free(e);
        e = NULL;
    }
    if (!e) return &t->found;
    t->cache_bytes += e->size;
    *place = e;
    return &e->matches;
}

const struct tree_matches *tree_match(struct tree *t, struct str topic)
{
    uint64_t hash = hash_64(topic.at, topic.size);
    if (!t->cache && !(t->cache = mem_alloc_zero(CACHE_PLACES, sizeof t->cache[0]))) {
        return find_all(t, topic) ? &t->found : NULL;
    }
    struct cache_entry **place = &t->cache[hash & (CACHE_PLACES - 1)], *e = *place;
    if (e && e->epoch == t->epoch && e->hash == hash && str_equal(entry_topic(e), topic))
        return &e->matches;
    if (!find_all(t, topic)) return NULL;
    return remember(t, place, topic, hash);
}
