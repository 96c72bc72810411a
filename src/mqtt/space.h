/* space.h - a namespace's part of the broker: its topic tree, and what hangs on it.
 *
 * Each namespace has its own tree: its sessions, subscriptions, shared groups, retained messages
 * and Streams meet nobody of another one, and a client identifier stands for a session in one
 * namespace. A client's is that of its user (identity.ns), looked up once, at CONNECT; from there
 * on its session holds the space's place in a table, which costs no memory in it and no comparison
 * of names for a message. A space is made when somebody comes to it and goes when nothing is left
 * in it, but for `default`, which is always there. Broker's task, and before that runs whoever
 * starts the broker. */
#ifndef MQTT_SPACE_H
#define MQTT_SPACE_H

#include "mqtt/tree.h"

struct broker;

enum { BROKER_SPACES_MAX = 1000 }; /* namespaces with clients or retained messages, at once */
#define SPACE_DEFAULT "default"

struct space {
    struct broker *broker;
    struct tree *tree;    /* subscriptions, retained messages */
    struct tree *streams; /* who subscribes there are struct broker_stream; NULL = there are none */
    size_t session_count;
    uint32_t pins;  /* walks that stand in the tree */
    uint16_t index; /* of broker->spaces */
    char ns[];
};

/* NULL: there is none. */
struct space *space_find(const struct broker *broker, struct str ns);
/* Found or made. NULL: no memory, or there are BROKER_SPACES_MAX, which is told. */
struct space *space_get(struct broker *broker, struct str ns);
/* Those in which nothing is left go. Each second. */
void spaces_sweep(struct broker *broker);
void spaces_free(struct broker *broker);

/* tree_retain, counted over all spaces. */
enum err space_retain(struct space *space, struct str topic, struct message *message);

#endif
