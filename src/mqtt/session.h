/* session.h - what a client identifier stands for (MQTT 5.0 section 4.1): subscriptions, what is
 * still to be delivered, QoS 2 state, the will. Private to mqtt/; broker's task, and before that
 * runs whoever starts the broker.
 *
 * A session is made by the first CONNECT of its client, or at a start, and ends with its
 * connection, with its expiry, by CONNECT with clean start, or by an operator. In between it has a
 * connection or none; a bridge's always belongs to the bridge. It holds its space (session_count),
 * its identity (a share), its subscriptions, its queue and its will.
 *
 * Invariants: it stands in the broker's list and in the bucket of (space, client identifier), once;
 * its connection's `session` is it; its identity's namespace is its space's; subscription_count and
 * received_count are what they count; without a connection nothing of its outbox is in flight. */
#ifndef MQTT_SESSION_H
#define MQTT_SESSION_H

#include "mqtt/outbox.h"
#include "mqtt/broker.h"
#include "mqtt/tree.h"
#include "mqtt/wheel.h"

struct bridge;
struct connection;
struct session;
struct space;
struct spill;

enum {
    SESSION_MAGIC = 0x73657373,
    /* Bits of a session's `received`: one a packet identifier. */
    RECEIVED_IDS = 65536,
};
enum { WILL_NEVER_EXPIRES = UINT32_MAX };

/* A will that waits for its moment; its expiry runs from its publication (MQTT 5.0 3.1.3.2.4). */
struct will {
    /* One reference, the will's; not NULL. */
    struct message *message;
    /* Whose it is; NULL until the login is over. */
    struct session *session;
    /* In seconds; expiry WILL_NEVER_EXPIRES = none. */
    uint32_t delay_s, expiry_s;
    /* The journal knows of it. */
    bool is_logged;
    /* At a start: the wall clock's second when it is due; 0 = it was not waiting. */
    int64_t due_s;
    /* Set while its client is away and its delay runs. */
    struct wheel_node due;
};

struct session {
    uint32_t magic; /* SESSION_MAGIC while it lives */
    /* After the connection's end, in seconds; 0 = it ends with that; UINT32_MAX = never. */
    uint32_t expiry_s;
    /* Of `subscriptions`; of the bits in `received`. */
    uint32_t subscription_count, received_count;
    struct broker *broker;
    /* NULL = offline. */
    struct connection *connection;
    /* Names it in the journal and as a publisher; from 1, never given twice. */
    uint64_t serial;
    /* All of them. */
    struct session *next, *previous;
    struct session *next_in_bucket;
    /* Of broker->stalled, with is_stalled: QoS 2 that waits for the journal. */
    struct session *next_stalled;
    /* A share; not NULL. */
    struct identity *identity;
    /* Linked by next_of_session. */
    struct subscription *subscriptions;
    /* Messages since it began, or the start: published, sent (again, too), dropped. */
    uint64_t messages_in, messages_out, messages_dropped;
    /* Wall clock: connected, or away, since then; 0 = since before the start. */
    uint32_t since_s;
    /* Place of its namespace's in broker->spaces: session_space. */
    uint16_t space;
    /* ending: session_end is at work. stalled: it stands in broker->stalled. */
    bool is_ending : 1, is_stalled : 1;
    /* The journal knows of it: it survives. */
    bool is_logged : 1;
    /* Rules may deny what it would get: each topic is checked before it is sent. */
    bool is_cut : 1;
    /* The queue's front; what does not fit is in `spill`. */
    struct outbox outbox;
    /* What of the queue is not in it; NULL = nothing. */
    struct spill *spill;
    /* Whose it is; NULL = a client's. */
    struct bridge *bridge;
    /* QoS 2 identifiers that came in and are not released [MQTT-4.3.3]: a bitmap of RECEIVED_IDS
     * bits; NULL = none. */
    uint64_t *received;
    /* NULL = none. */
    struct will *will;
    /* Set while it is offline and is to end some day. */
    struct wheel_node expiry;
    /* session_client_id; 1 to MQTT_TEXT_BYTES_MAX bytes, and a NUL. */
    uint16_t client_id_size;
    char client_id[];
};

/* Borrowed from the session. */
static inline struct str session_client_id(const struct session *session)
{
    return (struct str){session->client_id, session->client_id_size};
}

/* ---- session.c: life ---- */

/* What the wheel calls: WHEEL_SESSION. */
void session_on_expiry(struct wheel_node *node);
/* The session of a client identifier, borrowed until the task's turn ends; `space` NULL: there is
 * none. */
struct session *session_find(const struct space *space, struct str client_id);
/* An identifier as bans and the audit log name it: itself (borrowed), or of a longer one the first
 * characters, "~" and a hash, in `room`. Two long ones of one user could be made to share a name.
 */
struct str session_short(struct str client_id, char room[BROKER_CLIENT_SHORT_BYTES]);
/* Makes one for an identifier that has none (copies it, shares the identity), in the space that is
 * the identity's. Neither connected nor kept yet. NULL: no memory. */
struct session *session_new(struct space *space, struct str client_id, struct identity *identity);
/* Ends it and frees it: subscriptions, queue and state go. A will that waits is published. It has
 * no connection and no bridge. */
void session_end(struct session *session);
/* The connection is gone: the session goes on, or ends (and is freed), as its expiry says.
 * `with_will` false: the client has said good-bye, and its will is not wanted [MQTT-3.14.4-3]. */
void session_detach(struct session *session, bool with_will);
/* Has the session ended at its time, counted from now. */
void session_expire_later(struct session *session);

/* QoS 2 identifiers that came in (1 to 65,535), until they are released: */
bool session_has_received(const struct session *session, uint16_t packet_id);
/* False: no memory, and nothing has changed. */
bool session_put_received(struct session *session, uint16_t packet_id);
/* One that is not there is passed over. */
void session_drop_received(struct session *session, uint16_t packet_id);

/* ---- session_will.c ---- */

/* What the wheel calls: WHEEL_WILL. */
void session_on_will_due(struct wheel_node *node);
/* Takes the message, in any case; without delay and expiry. NULL: no memory, or no message was
 * given. */
struct will *will_new(struct message *message);
/* One that is nobody's, or unlinked from its session, and not due. NULL allowed. */
void will_free(struct will *will);
/* It is not wanted any more. A session without one is left alone. */
void session_drop_will(struct session *session);
/* Takes the will, as its own; NULL = none. One that it has goes without saying. */
void session_put_will(struct session *session, struct will *will);
/* At a start: the will of one who was connected, or had not come back yet, has its time again. It
 * has one. */
void session_resume_will(struct session *session);
/* Publishes the will that waits, now. A session without one is left alone. */
void session_publish_will(struct session *session);

/* ---- session_send.c ---- */

/* How a message goes to one session; borrowed during the call. */
struct delivery {
    /* What is granted to it: at most the message's own. */
    uint8_t qos;
    /* As the receiver is to see it (3.3.1.3). */
    bool retain;
    /* It comes by a shared subscription. */
    bool is_shared;
    /* Subscription identifiers; at most OUTBOX_IDS_MAX. */
    size_t id_count;
    const uint32_t *ids;
};
/* Delivers (shares the message if it has to wait): at once, or into the queue; or drops it, which
 * is counted. journal_message follows, so that what was queued survives. */
void session_deliver(struct session *session, struct message *message, const struct delivery *how);
/* Sends what may be sent: within the receive maximum, the connection's buffer, and what is durable.
 */
void session_pump(struct session *session);
/* Those that waited for the journal. */
void session_pump_stalled(struct broker *broker);
/* It waits for the journal no more. */
void session_forget_stalled(struct session *session);
/* What its queue may hold: its bridge's own, or the broker's. */
struct session_limits session_limits(const struct session *session);
/* An item that is in flight, with its ordinal, is delivered or given up. */
void session_finish(struct session *session, struct outbox_item *item, uint64_t ordinal);
/* Whether no rule denies it a message that one of its subscriptions fits. */
bool session_may_have(const struct session *session, struct str topic);

/* ---- session_subscribe.c ---- */

/* What a subscription asks for (3.8.3.1); id 0 = no identifier. */
struct subscription_options {
    uint8_t qos;
    bool no_local, retain_as_published;
    uint32_t id;
};
/* Subscribes without asking for rights or limits; the filter is valid. `*is_new`: there was none.
 * Errors: NO_MEMORY, and nothing has changed. */
enum err session_put_subscription(struct session *session, struct str group, struct str filter,
                                  const struct subscription_options *options, bool *is_new);
/* A client's SUBSCRIBE of one filter, with its subscription identifier (0 = none). Gives the code
 * for SUBACK: the QoS that is granted, or why not (3.9.3). The session is connected. */
enum mqtt_reason session_subscribe(struct session *session, const struct mqtt_filter *filter,
                                   uint32_t id);
/* The same of UNSUBSCRIBE (3.11.3); `filter` with its "$share/…/". */
enum mqtt_reason session_unsubscribe(struct session *session, struct str filter);
/* Takes one of its subscriptions away and frees it, without a word to the journal. */
void session_drop_subscription(struct session *session, struct subscription *subscription);
/* New rights: subscriptions, and the will, that are not allowed any more go. `connection`: the
 * session's, also when it is only about to be. */
void session_check_rights(struct session *session, const struct connection *connection);

#endif
