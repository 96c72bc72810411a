/* space.h - a namespace's part of the broker: its topic tree, and what hangs on it.
 *
 * Each namespace has its own tree: its sessions, subscriptions, shared groups, retained messages
 * and Streams meet nobody of another one, and a client identifier stands for a session in one
 * namespace. A client's is that of its user (identity.ns), looked up once, at CONNECT; from there
 * on its session holds the space's place in a table, which costs no memory in it and no comparison
 * of names for a message. A space is made when somebody comes to it and goes when nothing is left
 * in it, but for `default`, which is always there.
 *
 * Broker's task, and before that runs whoever starts the broker. */
#ifndef MQTT_SPACE_H
#define MQTT_SPACE_H

#include "mqtt/tree.h"

struct broker;

enum {
    /* Namespaces with clients or retained messages, at once. */
    BROKER_SPACES_MAX = 1000,
    SPACE_MAGIC = 0x73706163,
};
#define SPACE_DEFAULT "default"

struct space {
    uint32_t magic; /* SPACE_MAGIC while it lives */
    /* Walks that stand in one of its trees; above 0 it stays. */
    uint32_t pins;
    struct broker *broker;
    /* Subscriptions of its sessions, and its retained messages; never NULL. */
    struct tree *tree;
    /* Who subscribes there are struct broker_stream; NULL = there are none. */
    struct tree *streams;
    /* Sessions whose `space` is this one's place. */
    size_t session_count;
    /* Its place in broker->spaces: below BROKER_SPACES_MAX; 0 = `default`. */
    uint16_t index;
    /* Its name: 1 to ACCESS_NAMESPACE_BYTES - 1 bytes. */
    char ns[];
};

/* The namespace's space, borrowed until the next second at the latest; NULL: there is none. */
struct space *space_find(const struct broker *broker, struct str ns);
/* Found or made; borrowed as above. `ns`: not empty, and shorter than ACCESS_NAMESPACE_BYTES, which
 * the caller has checked. NULL: no memory, or there are BROKER_SPACES_MAX, which is told. */
struct space *space_get(struct broker *broker, struct str ns);
/* Those in which nothing is left go. Each second. */
void spaces_sweep(struct broker *broker);
/* All of them go. The broker's end: no session and no walk is left. */
void spaces_free(struct broker *broker);

/* tree_retain (shares the message; NULL = forgets the topic's), counted over all spaces. Errors:
 * NO_MEMORY, BUDGET; then nothing has changed. */
enum err space_retain(struct space *space, struct str topic, struct message *message);

#endif
