/* auth.h - enhanced authentication (MQTT 5.0 section 4.12): AUTH packets and the login that they
 * belong to. On the broker's task. Private to mqtt/. */
#ifndef MQTT_AUTH_H
#define MQTT_AUTH_H

#include "mqtt/broker_priv.h"

/* The one method there is (RFC 7677). */
#define AUTH_METHOD "SCRAM-SHA-256"

/* Whether a client may use it. */
bool auth_knows_method(struct str method);
/* Sends the client's first message (copies) to the login hook; the login (takes) is the
 * connection's from here on. False: no memory, nothing is taken. */
bool auth_begin(struct connection *connection, struct broker_login *login, struct str data);
/* The hook wants to hear more of the client: AUTH goes out, or the connection ends. */
void auth_continue(struct connection *connection);
/* The hook has judged a client that is in: its identity is that of now, or the connection ends
 * (false). */
bool auth_renew(struct connection *connection);
/* Method and data as properties of CONNACK or AUTH; the login has its SCRAM. A failure is the
 * buffer's. */
void auth_write(const struct broker_login *login, struct buf *out);
/* An AUTH packet. Gives 0, or the reason for which the connection ends. */
enum mqtt_reason auth_take(struct connection *connection, const struct mqtt_packet *packet,
                           struct why *why);

#endif
