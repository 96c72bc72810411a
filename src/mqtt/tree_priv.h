/* tree_priv.h - what the files of the topic tree share. */
#ifndef MQTT_TREE_PRIV_H
#define MQTT_TREE_PRIV_H

#include "mqtt/tree.h"

/* The text of a level, once for all nodes that have it. */
struct level {
    struct level *next; /* in its bucket */
    uint64_t hash;
    uint32_t refs, size;
    char text[];
};

static inline struct str level_text(const struct level *l)
{
    return (struct str){l->text, l->size};
}

struct tree_node {
    struct tree_node *parent; /* NULL: the root */
    struct level *level;
    struct tree_node *next_in_bucket;
    struct tree_node *children, *next, *previous;
    struct tree_node *plus, *rest; /* the children '+' and '#' */
    struct subscription *subscriptions;
    struct tree_group *groups;
    struct message *retained;
    uint32_t pins;
};

struct cache_entry;

struct tree {
    struct budget *budget;
    struct tree_node root;
    struct level **levels; /* buckets, a power of two */
    struct tree_node **nodes;
    size_t level_buckets, level_count, node_buckets, node_count;
    size_t subscription_count, retained_count;
    uint64_t epoch;
    struct cache_entry **cache; /* CACHE_PLACES of them, made with the first match */
    struct tree_matches found;  /* of the match under way */
    size_t item_capacity, group_capacity, cache_bytes;
    const struct level **path; /* levels of the name that is being matched */
    bool is_ending;
    struct level *plus, *rest; /* '+' and '#', which are no text; always there */
};

struct level *tree_find_level(const struct tree *tree, struct str text); /* NULL: no node has it */
struct tree_node *tree_child(const struct tree *tree, const struct tree_node *parent,
                             const struct level *level);
struct tree_node *tree_node_find(const struct tree *tree, struct str text);
struct tree_node *tree_node_make(struct tree *tree, struct str text); /* NULL: no memory */
void tree_prune(struct tree *tree, struct tree_node *node);
void tree_cache_free(struct tree *tree);

#endif
