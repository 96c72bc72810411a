/* tree.c - see tree.h.
 *
 * Nodes are found by (parent, level) in one table of the whole tree, beside a list of children for
 * walks. A node lives while something hangs on it: a child, a subscription, a group, a retained
 * message, or the pin of a walk; whoever takes the last of these away prunes (tree_prune). Matching
 * goes down all branches that fit at once, at most one literal and one '+' a level; it visits only
 * nodes that exist.
 *
 * Levels are interned with a count of the nodes that have them. '+' and '#' are two levels of their
 * own that are always there, so a wildcard is told by a pointer.
 *
 * Making a node can fail half-way down a path: what was made is pruned again, so that an error has
 * changed nothing. A table that cannot grow serves on with longer chains. */
#include "mqtt/tree_priv.h"
#include "base/hash.h"
#include "mqtt/topic.h"
#include <string.h>

/* ---- levels ---- */

static uint64_t level_hash(struct str text)
{
    return hash_64(text.at, text.size);
}

struct level *tree_find_level(const struct tree *t, struct str text)
{
    if (str_is(text, "+")) return t->plus;
    if (str_is(text, "#")) return t->rest;
    if (!t->level_buckets) return NULL;
    uint64_t hash = level_hash(text);
    struct level *l = t->levels[hash & (t->level_buckets - 1)];
    while (l && !(l->hash == hash && str_equal(level_text(l), text))) l = l->next;
    return l;
}

/* A table of chains twice as large; on failure the old one serves on, with longer chains. */
static bool grow_levels(struct tree *t)
{
    size_t wanted = t->level_buckets ? t->level_buckets * 2 : 64;
    struct level **table = mem_alloc_zero(wanted, sizeof(struct level *));
    if (!table) return t->level_buckets > 0;
    for (size_t i = 0; i < t->level_buckets; i++)
        for (struct level *l = t->levels[i], *next; l; l = next) {
            next = l->next;
            l->next = table[l->hash & (wanted - 1)];
            table[l->hash & (wanted - 1)] = l;
        }
    mem_free(t->levels);
    t->levels = table;
    t->level_buckets = wanted;
    return true;
}

/* Shares the level of this text, or makes it. NULL: no memory. */
static struct level *intern(struct tree *t, struct str text)
{
    struct level *l = tree_find_level(t, text);
    if (l) {
        l->refs++;
        return l;
    }
    if (t->level_count >= t->level_buckets && !grow_levels(t)) return NULL;
    size_t size = sizeof *l + text.size;
    if (budget_take(t->budget, size)) return NULL;
    if (!(l = mem_alloc(size))) {
        if (t->budget) budget_give(t->budget, size);
        return NULL;
    }
    *l = (struct level){.hash = level_hash(text), .refs = 1, .size = (uint32_t)text.size};
    if (text.size) memcpy(l->text, text.at, text.size);
    l->next = t->levels[l->hash & (t->level_buckets - 1)];
    t->levels[l->hash & (t->level_buckets - 1)] = l;
    t->level_count++;
    return l;
}

/* Of one node less. */
static void drop_level(struct tree *t, struct level *l)
{
    MUST(l->refs > 0);
    if (--l->refs) return;
    struct level **at = &t->levels[l->hash & (t->level_buckets - 1)];
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    t->level_count--;
    if (t->budget) budget_give(t->budget, sizeof *l + l->size);
    mem_free(l);
}

/* ---- nodes ---- */

static size_t node_place(const struct tree *t, const struct tree_node *parent,
                         const struct level *l)
{
    uint64_t mixed = ((uint64_t)(uintptr_t)parent >> 4) * 0x9e3779b97f4a7c15u ^
                     ((uint64_t)(uintptr_t)l >> 4) * 0xc2b2ae3d27d4eb4fu;
    return (size_t)(mixed >> 20) & (t->node_buckets - 1);
}

struct tree_node *tree_child(const struct tree *t, const struct tree_node *parent,
                             const struct level *l)
{
    if (!l || !t->node_buckets || !parent->children) return NULL;
    struct tree_node *n = t->nodes[node_place(t, parent, l)];
    while (n && !(n->parent == parent && n->level == l)) n = n->next_in_bucket;
    return n;
}

/* A table of chains twice as large; on failure the old one serves on. */
static bool grow_nodes(struct tree *t)
{
    size_t old = t->node_buckets, wanted = old ? old * 2 : 64;
    struct tree_node **table = mem_alloc_zero(wanted, sizeof(struct tree_node *)),
                     **before = t->nodes;
    if (!table) return old > 0;
    t->nodes = table;
    t->node_buckets = wanted;
    for (size_t i = 0; i < old; i++)
        for (struct tree_node *n = before[i], *next; n; n = next) {
            next = n->next_in_bucket;
            struct tree_node **place = &table[node_place(t, n->parent, n->level)];
            n->next_in_bucket = *place;
            *place = n;
        }
    mem_free(before);
    return true;
}

/* In the table, in its parent's list, and where its parent looks for wildcards. */
static void link_child(struct tree *t, struct tree_node *n)
{
    MUST(n->parent && n->level && t->node_buckets);
    struct tree_node **place = &t->nodes[node_place(t, n->parent, n->level)];
    n->next_in_bucket = *place;
    *place = n;
    n->next = n->parent->children;
    if (n->next) n->next->previous = n;
    n->parent->children = n;
    if (n->level == t->plus) n->parent->plus = n;
    if (n->level == t->rest) n->parent->rest = n;
}

/* From all three. */
static void unlink_child(struct tree *t, struct tree_node *n)
{
    MUST(n->parent && !n->children);
    struct tree_node **place = &t->nodes[node_place(t, n->parent, n->level)];
    while (*place != n) place = &(*place)->next_in_bucket;
    *place = n->next_in_bucket;
    *(n->previous ? &n->previous->next : &n->parent->children) = n->next;
    if (n->next) n->next->previous = n->previous;
    if (n->level == t->plus) n->parent->plus = NULL;
    if (n->level == t->rest) n->parent->rest = NULL;
}

/* NULL: no memory, and nothing has changed. */
static struct tree_node *add_child(struct tree *t, struct tree_node *parent, struct str text)
{
    if (t->node_count >= t->node_buckets && !grow_nodes(t)) return NULL;
    if (budget_take(t->budget, sizeof(struct tree_node))) return NULL;
    struct tree_node *n = mem_alloc_zero(1, sizeof *n);
    struct level *level = n ? intern(t, text) : NULL;
    if (!level) {
        mem_free(n);
        if (t->budget) budget_give(t->budget, sizeof *n);
        return NULL;
    }
    n->parent = parent;
    n->level = level;
    link_child(t, n);
    t->node_count++;
    return n;
}

/* Takes away what nothing hangs on any more, upwards. */
void tree_prune(struct tree *t, struct tree_node *n)
{
    MUST(!t->is_ending);
    while (n && n != &t->root && !n->children && !n->subscriptions && !n->groups && !n->retained &&
           !n->pins) {
        struct tree_node *parent = n->parent;
        unlink_child(t, n);
        drop_level(t, n->level);
        mem_free(n);
        t->node_count--;
        if (t->budget) budget_give(t->budget, sizeof *n);
        n = parent;
    }
}

struct tree_node *tree_node_find(const struct tree *t, struct str text)
{
    const struct tree_node *n = &t->root;
    struct str level;
    while (n && str_split(&text, '/', &level)) n = tree_child(t, n, tree_find_level(t, level));
    return (struct tree_node *)(uintptr_t)n;
}

struct tree_node *tree_node_make(struct tree *t, struct str text)
{
    MUST(text.at && !t->is_ending);
    struct tree_node *n = &t->root, *down;
    struct str level;
    while (str_split(&text, '/', &level)) {
        down = tree_child(t, n, tree_find_level(t, level));
        if (!down && !(down = add_child(t, n, level))) {
            tree_prune(t, n);
            return NULL;
        }
        n = down;
    }
    return n;
}

/* ---- the tree ---- */

/* Of '+' or '#': in no bucket, so no text can be taken for it. */
static struct level *own_level(char letter)
{
    struct level *l = mem_alloc_zero(1, sizeof *l + 1);
    if (!l) return NULL;
    l->refs = l->size = 1; /* never dropped */
    l->text[0] = letter;
    return l;
}

struct tree *tree_new(struct budget *budget)
{
    struct tree *t = mem_alloc_zero(1, sizeof *t);
    if (!t) return NULL;
    t->budget = budget;
    t->plus = own_level('+');
    t->rest = own_level('#');
    t->epoch = 1;
    if (t->plus && t->rest) return t;
    tree_free(t);
    return NULL;
}

/* What hangs on it; the node itself goes in a second pass, when nobody looks up or down any
 * more. */
static void free_node(struct tree *t, struct tree_node *n)
{
    MUST(n->pins == 0);
    while (n->subscriptions) tree_unsubscribe(t, n->subscriptions);
    while (n->groups) tree_unsubscribe(t, n->groups->members);
    message_release(n->retained);
    n->retained = NULL;
}

void tree_free(struct tree *t)
{
    if (!t) return;
    t->is_ending = true;
    for (size_t i = 0; i < t->node_buckets; i++)
        for (struct tree_node *n = t->nodes[i]; n; n = n->next_in_bucket) free_node(t, n);
    for (size_t i = 0; i < t->node_buckets; i++)
        for (struct tree_node *n = t->nodes[i], *next; n; n = next) {
            next = n->next_in_bucket;
            drop_level(t, n->level);
            mem_free(n);
            if (t->budget) budget_give(t->budget, sizeof *n);
        }
    tree_cache_free(t);
    mem_free(t->plus);
    mem_free(t->rest);
    mem_free(t->nodes);
    mem_free(t->levels);
    mem_free(t->path);
    mem_free(t->found.items);
    mem_free(t->found.groups);
    mem_free(t);
}

/* ---- subscriptions ---- */

static struct tree_group *find_group(const struct tree_node *n, struct str name)
{
    struct tree_group *g = n->groups;
    while (g && !str_is(name, g->name)) g = g->next;
    return g;
}

static struct tree_group *add_group(struct tree_node *n, struct str name)
{
    struct tree_group *g = mem_alloc_zero(1, sizeof *g + name.size + 1);
    if (!g) return NULL;
    g->node = n;
    memcpy(g->name, name.at, name.size);
    g->next = n->groups;
    n->groups = g;
    return g;
}

/* With its last member. */
static void drop_group(struct tree_group *g)
{
    struct tree_group **at = &g->node->groups;
    if (g->count) return;
    while (*at != g) at = &(*at)->next;
    *at = g->next;
    mem_free(g);
}

static struct subscription *find_at(const struct tree_node *n, const struct tree_group *g,
                                    const void *session)
{
    struct subscription *s = g ? g->members : n->subscriptions;
    while (s && s->session != session) s = s->next;
    return s;
}

struct subscription *tree_find(struct tree *t, const void *session, struct str group,
                               struct str filter)
{
    const struct tree_node *n = tree_node_find(t, filter);
    const struct tree_group *g = n && group.size ? find_group(n, group) : NULL;
    return !n || (group.size && !g) ? NULL : find_at(n, g, session);
}

/* NULL: no memory, and nothing has changed. */
static struct subscription *add_subscription(struct tree *t, struct tree_node *n,
                                             struct tree_group *g, void *session)
{
    if (budget_take(t->budget, sizeof(struct subscription))) return NULL;
    struct subscription *s = mem_alloc_zero(1, sizeof *s);
    if (!s) {
        if (t->budget) budget_give(t->budget, sizeof *s);
        return NULL;
    }
    s->session = session;
    s->node = n;
    s->group = g;
    if (g) { /* members take turns in the order in which they came */
        s->previous = g->last;
        *(g->last ? &g->last->next : &g->members) = s;
        g->last = s;
        g->count++;
    } else {
        s->next = n->subscriptions;
        if (s->next) s->next->previous = s;
        n->subscriptions = s;
    }
    t->subscription_count++;
    return s;
}

enum err tree_subscribe(struct tree *t, void *session, struct str group, struct str filter,
                        struct subscription **out, bool *is_new)
{
    MUST(session && filter.size > 0);
    struct tree_node *n = tree_node_make(t, filter);
    struct tree_group *g = n && group.size ? find_group(n, group) : NULL;
    if (!n) return ERR_NO_MEMORY;
    *out = group.size && !g ? NULL : find_at(n, g, session);
    *is_new = !*out;
    if (*out) return ERR_OK;
    if (group.size && !g) g = add_group(n, group);
    if (!group.size || g) *out = add_subscription(t, n, g, session);
    if (!*out) {
        if (g) drop_group(g);
        tree_prune(t, n);
        return ERR_NO_MEMORY;
    }
    tree_changed(t);
    return ERR_OK;
}

void tree_unsubscribe(struct tree *t, struct subscription *s)
{
    MUST(s->node && t->subscription_count > 0 && (!s->group || s->group->count > 0));
    struct tree_node *n = s->node;
    struct tree_group *g = s->group;
    struct subscription **list = g ? &g->members : &n->subscriptions;
    *(s->previous ? &s->previous->next : list) = s->next;
    if (s->next) s->next->previous = s->previous;
    if (g && g->turn == s) g->turn = s->next;
    if (g && g->last == s) g->last = s->previous;
    if (g) g->count--;
    if (g) drop_group(g);
    mem_free(s);
    t->subscription_count--;
    if (t->budget) budget_give(t->budget, sizeof *s);
    tree_changed(t);
    if (!t->is_ending) tree_prune(t, n);
}

void tree_changed(struct tree *t)
{
    t->epoch++;
}

size_t tree_subscription_count(const struct tree *t)
{
    return t->subscription_count;
}

size_t tree_node_count(const struct tree *t)
{
    return t->node_count;
}

void tree_print(const struct subscription *s, struct buf *out)
{
    const struct tree_node *path[TOPIC_LEVELS_MAX + 1];
    size_t depth = 0;
    for (const struct tree_node *n = s->node; n->parent; n = n->parent) {
        MUST(depth < sizeof path / sizeof path[0]);
        path[depth++] = n;
    }
    if (s->group) buf_printf(out, "$share/%s/", s->group->name);
    while (depth-- > 0) {
        buf_add_str(out, level_text(path[depth]->level));
        if (depth) buf_add_char(out, '/');
    }
}
