/* command.h - what is done to the broker from the main loop: send a client away, take a
 * subscription from it, publish. One job each, answered by its completion; who may ask is the
 * asker's to check. */
#ifndef MQTT_COMMAND_H
#define MQTT_COMMAND_H

#include "mqtt/broker.h"

enum broker_order {
    BROKER_KICK, /* ends client_id's connection (0x98), and with `ends_session` its session */
    BROKER_UNSUBSCRIBE, /* takes `filter` ("$share/…" too) from client_id's session */
    BROKER_UNBAN,       /* lifts the bans of client_id, or of the address in `topic` */
    BROKER_PUBLISH,     /* `topic`, `payload`, …; done when what must be durable is */
};

struct broker_command {
    struct completion completion; /* first; the asker's */
    enum broker_order order;
    /* Borrowed until done. */
    struct str ns; /* in which it is done; without text = default; not of bans, which have none */
    struct str client_id, filter, topic, payload;
    struct str properties; /* of a PUBLISH, as on the wire, without their length */
    const char *reason;    /* told to the client and in the log */
    uint32_t expiry_s;     /* with has_expiry */
    uint8_t qos;
    bool ends_session, retain, has_expiry;
    bool is_own; /* rows of this node on their way out: never taken in again, neither under the data
                    prefix nor by Streams */
    size_t reached; /* the answer: sessions that a message went to */
    /* from here on the broker's */
    struct job job;
    struct broker *broker;
    struct broker_command *next;
    uint64_t change;
};

/* Asks. The completion comes in any case. Errors: NOT_FOUND (no such client, not connected, no such
 * subscription), INVALID (a topic or filter that is none), NO_MEMORY, CANCELLED when the broker
 * stops. Main loop, while the broker runs. */
void broker_command(struct broker *broker, struct broker_command *command);

#endif
