/* tree_retained.c - see tree.h: retained messages, and the walk over those that fit a filter.
 *
 * The walk goes depth first without a stack: from a node it goes down as the filter's next level
 * says, and back up over parents, taking the next child where the level was a wildcard. The node it
 * stands on is pinned, so it stays where it is whatever happens between two steps; new children
 * come first in the list, behind the walk, for their messages reach the subscriber by themselves.
 *
 * A message that is replaced or taken away between two steps is met as it is then, or not at all;
 * one that is there all the while is met once. */
#include "mqtt/topic.h"
#include "mqtt/tree_priv.h"
#include <string.h>

enum err tree_retain(struct tree *t, struct str topic, struct message *message)
{
    MUST(topic.size > 0 && (!message || message->magic == MESSAGE_MAGIC));
    struct tree_node *n = message ? tree_node_make(t, topic) : tree_node_find(t, topic);
    if (!n) return message ? ERR_NO_MEMORY : ERR_OK;
    t->retained_count += (message != NULL) - (size_t)(n->retained != NULL);
    message_release(n->retained);
    n->retained = message ? message_share(message) : NULL;
    tree_prune(t, n);
    return ERR_OK;
}

const struct message *tree_retained(const struct tree *t, struct str topic)
{
    const struct tree_node *n = tree_node_find(t, topic);
    return n ? n->retained : NULL;
}

size_t tree_retained_count(const struct tree *t)
{
    return t->retained_count;
}

/* ---- the walk ---- */

enum err tree_walk_begin(struct tree *t, struct str filter, struct tree_walk *w)
{
    unsigned count = 1;
    for (size_t i = 0; i < filter.size; i++) count += filter.at[i] == '/';
    MUST(count <= TOPIC_LEVELS_MAX);
    *w = (struct tree_walk){.tree = t, .at = &t->root, .level_count = count};
    w->levels = mem_alloc(count * sizeof w->levels[0] + filter.size + 1);
    if (!w->levels) {
        w->at = NULL;
        return ERR_NO_MEMORY;
    }
    char *text = (char *)(w->levels + count);
    memcpy(text, filter.at, filter.size);
    struct str rest = {text, filter.size};
    for (unsigned i = 0; i < count; i++) (void)str_split(&rest, '/', &w->levels[i]);
    w->at->pins++;
    return ERR_OK;
}

enum err tree_walk_begin_all(struct tree *t, struct tree_walk *w)
{
    enum err err = tree_walk_begin(t, STR("#"), w);
    w->with_dollar = true;
    return err;
}

/* The new place is pinned before the old one may go. */
static void move_to(struct tree_walk *w, struct tree_node *n)
{
    struct tree_node *old = w->at;
    MUST(old && old->pins > 0);
    if (n) n->pins++;
    w->at = n;
    old->pins--;
    tree_prune(w->tree, old);
}

void tree_walk_end(struct tree_walk *w)
{
    if (w->at) move_to(w, NULL);
    mem_free(w->levels);
    w->levels = NULL;
}

/* How a filter's level at this depth is to be taken: under '#' everything goes. */
static bool takes_all(const struct tree_walk *w, unsigned depth)
{
    MUST(w->level_count > 0);
    unsigned last = w->level_count - 1;
    if (depth >= last && str_is(w->levels[last], "#")) return true;
    return depth < w->level_count && str_is(w->levels[depth], "+");
}

static bool is_hidden(const struct tree_walk *w, const struct tree_node *n, unsigned depth)
{
    /* Names that begin with '$' fit no wildcard in front. Subscriptions' own wildcards are no
     * names. */
    return n->level == w->tree->plus || n->level == w->tree->rest ||
           (depth == 0 && !w->with_dollar && n->level->size && n->level->text[0] == '$');
}

static struct tree_node *first_shown(const struct tree_walk *w, struct tree_node *n, unsigned depth)
{
    while (n && is_hidden(w, n, depth)) n = n->next;
    return n;
}

/* The node's first child that the filter lets through, or NULL. */
static struct tree_node *down(const struct tree_walk *w)
{
    if (takes_all(w, w->depth)) return first_shown(w, w->at->children, w->depth);
    if (w->depth >= w->level_count) return NULL;
    return tree_child(w->tree, w->at, tree_find_level(w->tree, w->levels[w->depth]));
}

/* One step of the walk; the place is NULL at the end. */
static void step(struct tree_walk *w)
{
    MUST(w->at && w->levels);
    struct tree_node *n = down(w);
    if (n) {
        w->depth++;
        move_to(w, n);
        return;
    }
    for (n = w->at; n->parent; n = n->parent) {
        MUST(w->depth > 0); /* as deep as the parents are many */
        w->depth--;
        struct tree_node *next = takes_all(w, w->depth) ? first_shown(w, n->next, w->depth) : NULL;
        if (!next) continue;
        w->depth++;
        move_to(w, next);
        return;
    }
    move_to(w, NULL);
}

static bool fits(const struct tree_walk *w)
{
    unsigned last = w->level_count - 1;
    if (w->depth == w->level_count) return true;
    return str_is(w->levels[last], "#") && w->depth >= last && w->depth > 0;
}

struct message *tree_walk_next(struct tree_walk *w, unsigned *steps)
{
    MUST(!w->at || w->levels);
    while (w->at && *steps) {
        (*steps)--;
        step(w);
        if (w->at && w->at->retained && fits(w)) return w->at->retained;
    }
    return NULL;
}
