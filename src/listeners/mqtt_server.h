/* mqtt_server.h - the broker as a part of the node: where it listens, who may log in. */
#ifndef LISTENERS_MQTT_SERVER_H
#define LISTENERS_MQTT_SERVER_H

#include "listeners/service.h"
#include "mqtt/broker.h"

struct mqtt_server;

struct mqtt_server_config {
    const struct os_address *plain, *encrypted, *local; /* NULL = it does not listen there */
    struct tls_config *tls; /* for `encrypted`; borrowed; may be renewed */
    bool proxy;             /* on plain and encrypted: PROXY headers, which are believed */
    bool anonymous;         /* who brings no user is let in as `anonymous`, on loopback only */
};

/* Starts the broker (borrowed; broker_new) and listens. `bound_*` receive the real addresses. Main
 * loop. Errors: ADDRESS_IN_USE… name the address; NO_MEMORY. */
enum err mqtt_server_start(struct service *service, struct broker *broker,
                           const struct mqtt_server_config *config, struct mqtt_server **server,
                           struct os_address *bound_plain, struct os_address *bound_encrypted,
                           struct why *why);
/* Keys that clients of the encrypted listener may prove instead of a password (shares; NULL =
 * none): who proves one is the user of its identity. For connections from now on. Main loop. */
void mqtt_server_set_psk(struct mqtt_server *server, struct tls_psk *psk);
/* Counts for logins and connections from now on. `anonymous` only while it listens on loopback.
 * Main loop. */
void mqtt_server_set_logins(struct mqtt_server *server, bool anonymous, bool proxy);
/* broker_visit, while it runs. Errors: also CANCELLED. Main loop. */
enum err mqtt_server_visit(struct mqtt_server *server, const struct broker_visitor *visitor,
                           struct os_stream **stream);
/* Blocking; logins under way are forgotten. NULL allowed. */
void mqtt_server_stop(struct mqtt_server *server);

#endif
