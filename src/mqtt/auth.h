/* auth.h - enhanced authentication: AUTH packets and the login that they belong to. On the broker's
 * task. Private to mqtt/. */
#ifndef MQTT_AUTH_H
#define MQTT_AUTH_H

#include "mqtt/broker_priv.h"

#define AUTH_METHOD "SCRAM-SHA-256"

bool auth_knows_method(struct str method);
/* Sends the client's first message to the login hook; the login (takes) is the connection's from
 * here on. False: no memory, nothing is taken. */
bool auth_begin(struct connection *connection, struct broker_login *login, struct str data);
/* The hook wants to hear more of the client. */
void auth_continue(struct connection *connection);
/* The hook has judged a client that is in: its identity is that of now, or the connection ends
 * (false). */
bool auth_renew(struct connection *connection);
/* Method and data as properties of CONNACK or AUTH. */
void auth_write(const struct broker_login *login, struct buf *out);
/* An AUTH packet. Gives 0, or the reason for which the connection ends. */
enum mqtt_reason auth_take(struct connection *connection, const struct mqtt_packet *packet,
                           struct why *why);

#endif
