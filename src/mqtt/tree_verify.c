/* tree_verify.c - whether a topic tree still is what tree.h and tree_priv.h say: for debug builds,
 * tests and fuzz targets. In production nobody walks a whole tree to find out; there each change
 * keeps to its own small part (tree.c). */
#include "mqtt/tree_priv.h"

/* What was counted over all nodes. */
struct found {
    size_t nodes, subscriptions, retained;
    size_t level_refs; /* nodes that have '+' or '#' aside */
    size_t plus, rest;
};

static void verify_children(const struct tree *t, const struct tree_node *parent)
{
    const struct tree_node *before = NULL;
    for (const struct tree_node *n = parent->children; n; before = n, n = n->next) {
        MUST(n->parent == parent && n->previous == before && n->level);
        MUST(tree_child(t, parent, n->level) == n);
        MUST((n->level == t->plus) == (parent->plus == n));
        MUST((n->level == t->rest) == (parent->rest == n));
    }
}

static void verify_group(const struct tree_node *n, const struct tree_group *g, struct found *f)
{
    const struct subscription *before = NULL;
    size_t count = 0;
    bool has_turn = !g->turn;
    MUST(g->node == n && g->count > 0 && g->name[0]);
    for (const struct subscription *s = g->members; s; before = s, s = s->next, count++) {
        MUST(s->session && s->node == n && s->group == g && s->previous == before && s->qos <= 2);
        has_turn |= g->turn == s;
    }
    MUST(count == g->count && g->last == before && has_turn);
    f->subscriptions += count;
}

static void verify_node(const struct tree *t, const struct tree_node *n, struct found *f)
{
    const struct subscription *before = NULL;
    for (const struct subscription *s = n->subscriptions; s; before = s, s = s->next) {
        MUST(s->session && s->node == n && !s->group && s->previous == before && s->qos <= 2);
        f->subscriptions++;
    }
    for (const struct tree_group *g = n->groups; g; g = g->next) verify_group(n, g, f);
    if (n->retained) {
        MUST(n->retained->magic == MESSAGE_MAGIC && atomic_load(&n->retained->refs) > 0);
        MUST(n->level != t->plus && n->level != t->rest);
        f->retained++;
    }
    verify_children(t, n);
}

static void verify_levels(const struct tree *t, const struct found *f)
{
    size_t count = 0, refs = 0;
    MUST((t->level_buckets & (t->level_buckets - 1)) == 0);
    for (size_t i = 0; i < t->level_buckets; i++)
        for (const struct level *l = t->levels[i]; l; l = l->next) {
            MUST(l->refs > 0 && (l->hash & (t->level_buckets - 1)) == i);
            refs += l->refs;
            count++;
        }
    MUST(count == t->level_count && refs == f->level_refs);
    MUST(t->plus->refs == 1 + f->plus && t->rest->refs == 1 + f->rest);
}

void tree_verify(const struct tree *t)
{
    struct found f = {0};
    MUST(t->plus && t->rest && !t->is_ending && !t->root.parent && !t->root.level);
    for (size_t i = 0; i < t->node_buckets; i++)
        for (const struct tree_node *n = t->nodes[i]; n; n = n->next_in_bucket) {
            MUST(n->parent && n->level);
            /* Something hangs on it, or it would have been pruned. */
            MUST(n->children || n->subscriptions || n->groups || n->retained || n->pins);
            f.nodes++;
            f.plus += n->level == t->plus;
            f.rest += n->level == t->rest;
            f.level_refs += n->level != t->plus && n->level != t->rest;
            verify_node(t, n, &f);
        }
    verify_children(t, &t->root);
    MUST(!t->root.subscriptions && !t->root.groups && !t->root.retained);
    MUST(f.nodes == t->node_count && f.subscriptions == t->subscription_count);
    MUST(f.retained == t->retained_count);
    verify_levels(t, &f);
    tree_cache_verify(t);
}
