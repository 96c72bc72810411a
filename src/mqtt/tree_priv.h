/* tree_priv.h - what the files of the topic tree share: tree.c (nodes, subscriptions), tree_match.c
 * (what a name matches, and the cache of that), tree_retained.c (messages, and the walk over them),
 * tree_verify.c (whether all of it still holds). */
#ifndef MQTT_TREE_PRIV_H
#define MQTT_TREE_PRIV_H

#include "mqtt/tree.h"

/* The text of a level, once for all nodes that have it. */
struct level {
    struct level *next; /* in its bucket */
    uint64_t hash;
    /* Nodes that have it, 1 or more; of '+' and '#' one more, which is never given back. */
    uint32_t refs;
    /* Bytes of the text; may be 0: "a//b" has an empty level. */
    uint32_t size;
    char text[];
};

/* Borrowed. */
static inline struct str level_text(const struct level *l)
{
    return (struct str){l->text, l->size};
}

/* It lives while something hangs on it: a child, a subscription, a group, a message, a walk. */
struct tree_node {
    struct tree_node *parent; /* NULL: the root, which stands for no level */
    struct level *level;      /* NULL: the root */
    struct tree_node *next_in_bucket;
    /* The list of its children, and its place in its parent's. */
    struct tree_node *children, *next, *previous;
    /* The children '+' and '#'; NULL = there is none. */
    struct tree_node *plus, *rest;
    struct subscription *subscriptions; /* not shared ones */
    struct tree_group *groups;
    struct message *retained; /* a share; NULL = none */
    /* Walks that stand here. */
    uint32_t pins;
};

struct cache_entry;

struct tree {
    struct budget *budget; /* borrowed; NULL = none */
    struct tree_node root;
    /* Both tables: buckets, a power of two, NULL while empty. The root is in none. */
    struct level **levels;
    struct tree_node **nodes;
    size_t level_buckets, level_count, node_buckets, node_count;
    size_t subscription_count, retained_count;
    /* Moves on with each change of a subscription; entries of the cache carry theirs. */
    uint64_t epoch;
    struct cache_entry **cache; /* CACHE_PLACES of them, made with the first match */
    struct tree_matches found;  /* of the match under way */
    size_t item_capacity, group_capacity;
    size_t cache_bytes;        /* of all entries; at most CACHE_BYTES_MAX */
    const struct level **path; /* levels of the name that is being matched */
    bool is_ending;            /* tree_free: nodes stay where they are while they are emptied */
    struct level *plus, *rest; /* '+' and '#', which are no text; always there */
};

/* ---- tree.c ---- */

/* The interned level of a text, borrowed; NULL: no node has it, so nothing can match it. */
struct level *tree_find_level(const struct tree *tree, struct str text);
/* The node's child with this level, borrowed; NULL: there is none (`level` NULL: neither). */
struct tree_node *tree_child(const struct tree *tree, const struct tree_node *parent,
                             const struct level *level);
/* The node of a name or filter, borrowed; NULL: there is none. */
struct tree_node *tree_node_find(const struct tree *tree, struct str text);
/* Found or made, borrowed; something must be hung on it, or tree_prune called. NULL: no memory, and
 * nothing has changed. */
struct tree_node *tree_node_make(struct tree *tree, struct str text);
/* Frees the node, and those above it, as far as nothing hangs on them any more. */
void tree_prune(struct tree *tree, struct tree_node *node);

/* ---- tree_match.c ---- */

/* Forgets what was remembered. */
void tree_cache_free(struct tree *tree);
/* MUST for the cache: tree_verify's part of it. */
void tree_cache_verify(const struct tree *tree);

#endif
