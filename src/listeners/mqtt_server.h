/* mqtt_server.h - the broker as a part of the node: where it listens, who may log in. */
#ifndef LISTENERS_MQTT_SERVER_H
#define LISTENERS_MQTT_SERVER_H

#include "listeners/service.h"
#include "mqtt/broker.h"

struct mqtt_server;

/* Starts the broker (borrowed; broker_new), which listens nowhere yet and lets nobody in without a
 * login. Main loop. Errors: NO_MEMORY; those of broker_start. */
enum err mqtt_server_start(struct service *service, struct broker *broker,
                           struct mqtt_server **server, struct why *why);
/* Listens at BROKER_PLAIN, BROKER_TLS or BROKER_LOCAL where `address` says (NULL: nowhere), instead
 * of where it did; connections go on. `tls` is shown at BROKER_TLS: borrowed, may be renewed.
 * `bound` (may be NULL) receives the real address; .kind 0 = it does not listen. The same address
 * again changes nothing. After an error it listens where it did, or says that it does not. Main
 * loop. Errors: ADDRESS_IN_USE… name the address; NO_MEMORY. */
enum err mqtt_server_listen(struct mqtt_server *server, enum broker_door door,
                            const struct os_address *address, struct tls_config *tls,
                            struct os_address *bound, struct why *why);
/* Keys that clients of the encrypted listener may prove instead of a password (shares; NULL =
 * none): who proves one is the user of its identity. Who has proved one that is gone, or another
 * one now, is sent away; his session stays. True: there was such a key. Main loop. */
bool mqtt_server_set_psk(struct mqtt_server *server, struct tls_psk *psk);
/* `anonymous`: who brings no user is let in as `anonymous`; only while BROKER_PLAIN is on loopback.
 * When that ends, those who came so are sent away. `proxy`: PROXY headers at BROKER_PLAIN and
 * BROKER_TLS, which are believed; for connections from now on. Main loop. */
void mqtt_server_set_logins(struct mqtt_server *server, bool anonymous, bool proxy);
/* Certificates are judged more strictly now (tls_config_is_stricter): who came over TLS, and not by
 * a key, is sent away, and may come again with a certificate that holds. Main loop. */
void mqtt_server_recheck_certificates(struct mqtt_server *server);
/* broker_visit, while it runs. Errors: also CANCELLED. Main loop. */
enum err mqtt_server_visit(struct mqtt_server *server, const struct broker_visitor *visitor,
                           struct os_stream **stream);
/* Blocking; logins under way are forgotten. NULL allowed. */
void mqtt_server_stop(struct mqtt_server *server);

#endif
