/* tree.h - the topic tree: who subscribed to what, and the retained messages.
 *
 * A node stands for a filter or a name; its levels are interned, so that a step down is one
 * comparison of pointers. What a name matches is remembered until a subscription changes. One owner
 * (the broker's loop); nothing here knows of sessions but their address.
 *
 * Source: MQTT 5.0 section 4.7 (matching), 4.8.2 (shared subscriptions). */
#ifndef MQTT_TREE_H
#define MQTT_TREE_H

#include "mqtt/message.h"

struct tree;
struct tree_node;
struct tree_group;

/* One subscription. The options may be changed in place (tree_changed follows). */
struct subscription {
    void *session; /* borrowed */
    struct tree_node *node;
    struct tree_group *group;                                   /* of a shared one; else NULL */
    struct subscription *next, *previous;                       /* at the node, or in the group */
    struct subscription *next_of_session, *previous_of_session; /* the session's own list */
    uint32_t id; /* subscription identifier, 0 = none */
    uint8_t qos;
    bool no_local, retain_as_published;
};

/* A shared subscription: its members take turns. */
struct tree_group {
    struct tree_node *node;
    struct tree_group *next;
    struct subscription *members, *last, *turn; /* turn: who is next, NULL = the first */
    size_t count;
    char name[]; /* as in "$share/name/filter" */
};

/* NULL: no memory. `budget` (may be NULL) pays for nodes, subscriptions and retained messages. */
struct tree *tree_new(struct budget *budget);
/* Subscriptions and retained messages that are left go with it. */
void tree_free(struct tree *tree);

/* Subscribes a session. The filter is valid; `group` "" = not shared. Gives the subscription, which
 * is new (*is_new) or the one that was there. Errors: NO_MEMORY, BUDGET; nothing has changed. */
enum err tree_subscribe(struct tree *tree, void *session, struct str group, struct str filter,
                        struct subscription **subscription, bool *is_new);
struct subscription *tree_find(struct tree *tree, const void *session, struct str group,
                               struct str filter);                           /* NULL: none */
void tree_unsubscribe(struct tree *tree, struct subscription *subscription); /* frees it */
void tree_changed(struct tree *tree); /* options of a subscription were changed */
/* The filter's text with "$share/…/" before it, appended. */
void tree_print(const struct subscription *subscription, struct buf *out);
size_t tree_subscription_count(const struct tree *tree);

/* What a name matches: subscriptions, those of one session next to each other, and shared groups.
 * Borrowed until the tree is used again. NULL: no memory. */
struct tree_matches {
    size_t count, group_count;
    struct subscription **items;
    struct tree_group **groups;
};
const struct tree_matches *tree_match(struct tree *tree, struct str topic);

/* ---- retained messages ---- */

/* Keeps (shares) the message for its topic, or with NULL forgets what is kept. Errors: NO_MEMORY,
 * BUDGET; then the old one stays. */
enum err tree_retain(struct tree *tree, struct str topic, struct message *message);
size_t tree_retained_count(const struct tree *tree);
bool tree_has_retained(struct tree *tree, struct str topic);

/* A walk over the retained messages that fit a filter, in steps: the tree may change between two.
 * It is pinned to a node, so it must be ended. */
struct tree_walk {
    struct tree *tree;
    struct tree_node *at; /* pinned; NULL = over */
    unsigned level_count, depth;
    struct str *levels; /* owned, with their text behind them */
    bool with_dollar;
};
enum err tree_walk_begin(struct tree *tree, struct str filter, struct tree_walk *walk);
/* All of them, "$…" too. */
enum err tree_walk_begin_all(struct tree *tree, struct tree_walk *walk);
/* The next message, borrowed; NULL when `*steps` (counted down) are used up or it is over
 * (walk->at NULL). */
struct message *tree_walk_next(struct tree_walk *walk, unsigned *steps);
void tree_walk_end(struct tree_walk *walk);

#endif
