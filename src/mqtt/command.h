/* command.h - what is done to the broker from the main loop: send a client away, take a
 * subscription from it, publish. One job each, answered by its completion; who may ask is the
 * asker's to check.
 *
 * The struct is the asker's and stays in place until the completion has come; meanwhile only the
 * broker's task touches it. */
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
    /* In which namespace it is done, borrowed until done as all texts here; without text = default;
     * shorter than ACCESS_NAMESPACE_BYTES. Not of bans, which have none. */
    struct str ns;
    /* Which of them counts is said at the order. */
    struct str client_id, filter, topic, payload;
    /* Of a PUBLISH, as on the wire, without their length: well-formed. */
    struct str properties;
    /* Of a KICK: told to the client and in the log; NULL = no text. */
    const char *reason;
    /* With has_expiry: how long the message counts (3.3.2.3.3). */
    uint32_t expiry_s;
    /* Of a PUBLISH: 0 to 2. */
    uint8_t qos;
    bool ends_session, retain, has_expiry;
    /* Rows of this node on their way out: never taken in again, neither under the data prefix nor
     * by Streams. */
    bool is_own;
    /* The answer: sessions that a message went to. */
    size_t reached;
    /* From here on the broker's. */
    struct job job;
    struct broker *broker;
    /* Of those that wait for the journal; what must be durable. */
    struct broker_command *next;
    uint64_t change;
};

/* Asks. The completion comes in any case. Errors: NOT_FOUND (no such client, not connected, no such
 * subscription or ban), INVALID (a topic or filter that is none, a bridge's session), LIMIT (the
 * payload, namespaces), BUDGET, CANCELLED when the broker stops. Main loop, while the broker runs.
 */
void broker_command(struct broker *broker, struct broker_command *command);

#endif
