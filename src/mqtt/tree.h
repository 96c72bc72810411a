/* tree.h - the topic tree: who subscribed to what, and the retained messages.
 *
 * A node stands for a filter or a name; its levels are interned, so that a step down is one
 * comparison of pointers. What a name matches is remembered until a subscription changes. One owner
 * (the broker's task; for the tree of Streams the main loop, until it is handed over); nothing here
 * knows of sessions but their address.
 *
 * Names and filters come in checked (topic.h): at most TOPIC_LEVELS_MAX levels, names that the node
 * makes one more.
 *
 * Source: MQTT 5.0 section 4.7 (matching), 4.8.2 (shared subscriptions). */
#ifndef MQTT_TREE_H
#define MQTT_TREE_H

#include "mqtt/message.h"

struct tree;
struct tree_node;
struct tree_group;

/* One subscription; the tree's, as long as it is subscribed. The options (from `id` on) may be
 * changed in place (tree_changed follows). */
struct subscription {
    /* Whose it is, borrowed: a struct session, or in a tree of Streams a struct broker_stream. */
    void *session;
    /* Where it hangs. */
    struct tree_node *node;
    /* Of a shared one; else NULL. */
    struct tree_group *group;
    /* At the node, or in the group. */
    struct subscription *next, *previous;
    /* The session's own list, which the session keeps. */
    struct subscription *next_of_session, *previous_of_session;
    /* Subscription identifier (3.8.2.1.2): 1 to MQTT_REMAINING_MAX; 0 = none. */
    uint32_t id;
    /* What was granted: 0 to 2. */
    uint8_t qos;
    /* Options of 5.0 (3.8.3.1). */
    bool no_local, retain_as_published;
};

/* A shared subscription: its members take turns. It goes with its last member. */
struct tree_group {
    struct tree_node *node;
    /* Of the node's groups. */
    struct tree_group *next;
    /* In the order in which they came. turn: who is next, NULL = the first. */
    struct subscription *members, *last, *turn;
    /* Members; at least 1 between two calls. */
    size_t count;
    /* As in "$share/name/filter". */
    char name[];
};

/* An empty tree (gives). `budget` (borrowed; NULL = none) pays for nodes, subscriptions and what is
 * remembered. NULL: no memory. */
struct tree *tree_new(struct budget *budget);
/* Subscriptions and retained messages that are left go with it. No walk stands in it. NULL allowed.
 */
void tree_free(struct tree *tree);

/* Subscribes a session (borrows). The filter is valid; `group` "" = not shared. Gives the
 * subscription, borrowed: new (*is_new), with all its options 0, or the one that was there. Errors:
 * NO_MEMORY; nothing has changed. */
enum err tree_subscribe(struct tree *tree, void *session, struct str group, struct str filter,
                        struct subscription **subscription, bool *is_new);
/* The session's subscription to just this filter in this group, borrowed; NULL: none. */
struct subscription *tree_find(struct tree *tree, const void *session, struct str group,
                               struct str filter);
/* Takes it away and frees it; its session has unlinked it from its own list. */
void tree_unsubscribe(struct tree *tree, struct subscription *subscription);
/* Options of a subscription were changed: what is remembered counts no more. */
void tree_changed(struct tree *tree);
/* The filter's text with "$share/…/" before it, appended; a failure is the buffer's. */
void tree_print(const struct subscription *subscription, struct buf *out);
/* Subscriptions of all sessions in it. */
size_t tree_subscription_count(const struct tree *tree);

/* What a name matches: subscriptions, those of one session next to each other, and shared groups.
 */
struct tree_matches {
    size_t count, group_count;
    struct subscription **items;
    struct tree_group **groups;
};
/* Matches a name (4.7.3). Borrowed until the tree is used again, so delivering must not change it.
 * NULL: no memory. */
const struct tree_matches *tree_match(struct tree *tree, struct str topic);

/* ---- retained messages (3.3.1.3) ---- */

/* Keeps the message (shares) for its topic, or with NULL forgets what is kept. Errors: NO_MEMORY;
 * then the old one stays. */
enum err tree_retain(struct tree *tree, struct str topic, struct message *message);
/* How many there are. */
size_t tree_retained_count(const struct tree *tree);
/* What is kept for a topic, borrowed until that changes; NULL: nothing. */
const struct message *tree_retained(const struct tree *tree, struct str topic);

/* A walk over the retained messages that fit a filter, in steps: the tree may change between two.
 * It is pinned to a node, so it must be ended. All zeros: over, and need not be. */
struct tree_walk {
    struct tree *tree;
    /* Where it stands, pinned; NULL = over. */
    struct tree_node *at;
    /* Levels of the filter, 1 to TOPIC_LEVELS_MAX; how deep `at` lies. */
    unsigned level_count, depth;
    /* The filter's, owned, with their text behind them. */
    struct str *levels;
    /* "#" means names that begin with '$', too. */
    bool with_dollar;
};
/* Begins before the first message. `filter`: valid, copied. Errors: NO_MEMORY; then the walk is
 * over. */
enum err tree_walk_begin(struct tree *tree, struct str filter, struct tree_walk *walk);
/* All of them, "$…" too. */
enum err tree_walk_begin_all(struct tree *tree, struct tree_walk *walk);
/* The next message, borrowed until the tree is used again; NULL when `*steps` (counted down, one a
 * node) are used up or it is over (walk->at NULL). */
struct message *tree_walk_next(struct tree_walk *walk, unsigned *steps);
/* Lets go of where it stands; needed also when it is over. */
void tree_walk_end(struct tree_walk *walk);

/* Nodes but for the root. */
size_t tree_node_count(const struct tree *tree);
/* MUST for every invariant of the tree: links, counts, references, and that nothing hangs about
 * that should have been pruned. Between two calls; O(nodes + subscriptions). */
void tree_verify(const struct tree *tree);

#endif
