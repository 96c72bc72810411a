/* command.c - see command.h; and new settings, which go the same way. Each is one job on the
 * broker's task. A message that the journal takes is answered when it is durable, as its publisher
 * would be: such commands wait in a list of the broker's.
 *
 * That list is in the order of the journal's changes, so what is durable is always at its front
 * (command_resume). A command is finished exactly once: by its job, from that list, or with
 * CANCELLED when the broker stops. */
#include "mqtt/command.h"
#include "mqtt/broker_priv.h"
#include "mqtt/topic.h"

/* ---- settings ---- */

struct new_config {
    struct job job;
    struct broker *broker;
    struct broker_config config;
};

/* What is over a new limit stays until it goes by itself (broker.h). */
static void take_config(struct job *job)
{
    struct new_config *n = (struct new_config *)job;
    struct broker *broker = n->broker;
    MUST(broker->magic == BROKER_MAGIC);
    MUST(n->config.connections_max > 0 && n->config.limits.topic_levels > 0);
    broker->config = n->config;
    broker_set_loops(broker);
    broker->memory.limit_bytes = n->config.memory_bytes;
    broker_resume_walks(broker); /* a longer queue may take more of them */
    mem_free(n);
}

enum err broker_configure(struct broker *broker, const struct broker_config *config,
                          struct why *why)
{
    MUST(broker->is_started && config->connections_max);
    struct new_config *n = mem_alloc_zero(1, sizeof *n);
    if (!n) return why_set(why, ERR_NO_MEMORY, "no memory for new settings");
    n->job.run = take_config;
    n->broker = broker;
    n->config = *config;
    loop_post(&broker->loop, &n->job);
    return ERR_OK;
}

/* ---- clients ---- */

static struct str ns_of(const struct broker_command *c)
{
    return c->ns.size ? c->ns : STR(SPACE_DEFAULT);
}

static enum err find(const struct broker_command *c, struct session **session, struct why *why)
{
    *session = session_find(space_find(c->broker, ns_of(c)), c->client_id);
    return *session ? ERR_OK
                    : why_set(why, ERR_NOT_FOUND, "there is no client '%.*s'",
                              (int)c->client_id.size, c->client_id.at);
}

static enum err is_of_bridge(const struct broker_command *c, struct why *why)
{
    return why_set(why, ERR_INVALID,
                   "'%.*s' is a bridge's session: change or delete the Bridge instead",
                   (int)c->client_id.size, c->client_id.at);
}

/* The session may end with its connection: so it is looked for again. */
static enum err kick(struct broker_command *c, struct why *why)
{
    struct session *s;
    enum err err = find(c, &s, why);
    if (!err && s->bridge && c->ends_session) err = is_of_bridge(c, why);
    if (err) return err;
    if (!s->connection && !c->ends_session)
        return why_set(why, ERR_NOT_FOUND,
                       "'%.*s' is not connected; ask for its session to be ended, too",
                       (int)c->client_id.size, c->client_id.at);
    if (s->connection) connection_end(s->connection, MQTT_REASON_ADMINISTRATIVE_ACTION, c->reason);
    s = session_find(space_find(c->broker, ns_of(c)), c->client_id); /* may have ended with it */
    if (s && c->ends_session) session_end(s);
    return ERR_OK;
}

/* As by the client's own UNSUBSCRIBE; the client is not told (MQTT has no word for it). */
static enum err unsubscribe(struct broker_command *c, struct why *why)
{
    struct session *s;
    enum err err = find(c, &s, why);
    if (!err && s->bridge) err = is_of_bridge(c, why);
    if (err) return err;
    switch (session_unsubscribe(s, c->filter)) {
    case MQTT_REASON_SUCCESS: return ERR_OK;
    case MQTT_REASON_TOPIC_FILTER_INVALID:
        return why_set(why, ERR_INVALID, "'%.*s' is no topic filter", (int)c->filter.size,
                       c->filter.at);
    default:
        return why_set(why, ERR_NOT_FOUND, "'%.*s' has not subscribed to '%.*s'",
                       (int)c->client_id.size, c->client_id.at, (int)c->filter.size, c->filter.at);
    }
}

static enum err unban(struct broker_command *c, struct why *why)
{
    bool is_client = c->client_id.size != 0;
    struct str name = is_client ? c->client_id : c->topic;
    if (bans_lift(c->broker, is_client ? WATCHED_CLIENT : WATCHED_PEER, name)) return ERR_OK;
    return why_set(why, ERR_NOT_FOUND, "%s '%.*s' is not banned", is_client ? "client" : "address",
                   (int)name.size, name.size ? name.at : "");
}

/* ---- publishing ---- */

/* The checks that a client's PUBLISH passes (packets_in.c), but for rights, which the asker has
 * looked at. `*waits`: the journal has it. */
static enum err publish(struct broker_command *c, bool *waits, struct why *why)
{
    struct broker *broker = c->broker;
    struct mqtt_properties properties = {
        .present = c->properties.size ? 1u << MQTT_PROPERTY_USER_PROPERTY : 0,
        .raw = c->properties};
    if (!topic_name_is_valid(c->topic) || !mqtt_text_is_valid(c->topic))
        return why_set(why, ERR_INVALID, "'%.*s' is no topic to publish to", (int)c->topic.size,
                       c->topic.at);
    /* Rows belong to who publishes them and are answered when they are stored; HTTP has its own way
     * for them. */
    if (c->payload.size && !c->is_own && broker->hooks.rows && broker->config.data_prefix[0] &&
        str_starts(c->topic, broker->config.data_prefix))
        return why_set(why, ERR_INVALID,
                       "topics under %s carry rows: over HTTP they go to POST /v1/rows",
                       broker->config.data_prefix);
    if (broker->hooks.ask && broker->config.cmd_prefix[0] &&
        str_starts(c->topic, broker->config.cmd_prefix))
        return why_set(why, ERR_INVALID,
                       "topics under %s are commands: over HTTP they are POST "
                       "/apis/millrace.io/v1/namespaces/NS/devices/NAME/write",
                       broker->config.cmd_prefix);
    if (c->payload.size > broker->config.packet_bytes_max)
        return why_set(why, ERR_LIMIT, "a payload of %zu bytes; mqtt.maxPacket is %zu",
                       c->payload.size, broker->config.packet_bytes_max);
    struct message_parts parts = {
        .topic = c->topic,
        .payload = c->payload,
        .properties = &properties,
        .qos = c->qos,
        .retain = c->retain,
        .expires_ns = c->has_expiry ? broker->now_ns + (int64_t)c->expiry_s * 1000000000 : 0,
        .serial = ++broker->last_serial};
    struct space *space = space_get(broker, ns_of(c));
    struct message *m = space ? message_new(&parts, &broker->memory) : NULL;
    struct rows_span span = {0}; /* the answer does not wait for the rows */
    if (!m || (!c->is_own && !streams_offer(space, c->topic, c->payload, &span))) {
        message_release(m);
        return space ? why_set(why, ERR_BUDGET, "no memory for a message")
                     : why_set(why, ERR_LIMIT,
                               "namespace %.*s: the broker has %d of them in use, or no memory for "
                               "one more",
                               (int)ns_of(c).size, ns_of(c).at, BROKER_SPACES_MAX);
    }
    c->reached = broker_publish(space, m, NULL, 0, waits);
    message_release(m);
    return ERR_OK;
}

/* A completion that is finished here belongs to the asker at once: `c` is not touched any more. */
static void run_command(struct job *job)
{
    struct broker_command *c = (void *)((char *)job - offsetof(struct broker_command, job));
    struct broker *broker = c->broker;
    MUST(broker_is_valid(broker));
    struct why why = WHY_NONE;
    bool waits = false;
    enum err err = ERR_CANCELLED;
    broker->now_ns = loop_mono_ns(&broker->loop);
    if (!broker->is_stopping)
        err = c->order == BROKER_KICK          ? kick(c, &why)
              : c->order == BROKER_UNSUBSCRIBE ? unsubscribe(c, &why)
              : c->order == BROKER_UNBAN       ? unban(c, &why)
                                               : publish(c, &waits, &why);
    if (err || !waits) {
        completion_finish(&c->completion, err, err ? &why : NULL);
        return;
    }
    c->change = broker->journal.change;
    *broker->last_command = c;
    broker->last_command = &c->next;
}

/* The list is in the order of changes. */
void command_resume(struct broker *broker, enum err err)
{
    MUST(broker_is_valid(broker));
    while (broker->commands && (err || broker->commands->change <= broker->journal.durable)) {
        struct broker_command *c = broker->commands;
        broker->commands = c->next;
        if (!broker->commands) broker->last_command = &broker->commands;
        completion_finish(&c->completion, err, NULL);
    }
}

void broker_command(struct broker *broker, struct broker_command *c)
{
    MUST(broker->is_started && c->completion.done);
    c->broker = broker;
    c->next = NULL;
    c->job.run = run_command;
    loop_post(&broker->loop, &c->job);
}
