/* session_subscribe.c - what a session subscribes to, and what of it its rights allow (MQTT 5.0
 * sections 3.8 to 3.11).
 *
 * A subscription lies in the space's tree and in the session's own list; the tree owns it, and both
 * are changed here alone. Subscribing again replaces the options (3.8.4) and keeps the
 * subscription.
 *
 * Rights are asked for when a client subscribes, when its user's rights change, and when it comes
 * back. Where rules deny a part of what a filter fits, the subscription is granted and the session
 * marked (is_cut): then each message is asked for before it is sent. The mark is also set when
 * rights were looked at anew while something waits, since that may have come by a subscription that
 * is gone. */
#include "mqtt/broker_priv.h"
#include "mqtt/topic.h"

enum err session_put_subscription(struct session *s, struct str group, struct str filter,
                                  const struct subscription_options *options, bool *is_new)
{
    MUST(session_is_valid(s) && options->qos <= 2);
    struct tree *tree = session_space(s)->tree;
    struct subscription *sub = NULL;
    enum err err = tree_subscribe(tree, s, group, filter, &sub, is_new);
    if (err) return err;
    sub->qos = options->qos;
    sub->no_local = options->no_local;
    sub->retain_as_published = options->retain_as_published;
    sub->id = options->id;
    tree_changed(tree);
    journal_subscribe(s, sub);
    if (!*is_new) return ERR_OK;
    sub->next_of_session = s->subscriptions;
    if (s->subscriptions) s->subscriptions->previous_of_session = sub;
    s->subscriptions = sub;
    s->subscription_count++;
    metric_add(s->broker->context, METRIC_MQTT_SUBSCRIPTIONS, 1);
    return ERR_OK;
}

void session_drop_subscription(struct session *s, struct subscription *sub)
{
    MUST(sub->session == s && s->subscription_count > 0);
    inspect_forget_subscription(s->broker, sub);
    *(sub->previous_of_session ? &sub->previous_of_session->next_of_session : &s->subscriptions) =
        sub->next_of_session;
    if (sub->next_of_session) sub->next_of_session->previous_of_session = sub->previous_of_session;
    s->subscription_count--;
    tree_unsubscribe(session_space(s)->tree, sub);
    metric_add(s->broker->context, METRIC_MQTT_SUBSCRIPTIONS, (uint64_t)-1);
}

/* Marks the session where a rule denies a part of it; the mark goes when rights are looked at
 * anew. */
static bool may_subscribe(struct session *s, const struct connection *c, struct str filter)
{
    const struct access_client client = {.id = session_client_id(s),
                                         .certificate = connection_certificate(c)};
    bool is_cut = false;
    bool may = access_check_subscription(s->identity, &client, filter, &is_cut) == ERR_OK;
    s->is_cut |= may && is_cut;
    return may;
}

/* What a client leaves behind is published with the rights that it has to the end. */
static void check_will(struct session *s, const struct connection *c)
{
    const struct access_client client = {.id = session_client_id(s),
                                         .certificate = connection_certificate(c)};
    if (s->will && access_check_topic(s->identity, VERB_PUBLISH, &client,
                                      message_topic(s->will->message)) != ERR_OK)
        session_drop_will(s);
}

void session_check_rights(struct session *s, const struct connection *c)
{
    MUST(session_is_valid(s) && (!c || connection_is_valid(c)));
    check_will(s, c);
    /* What waits may have come by a subscription that is gone, or goes now. */
    s->is_cut = session_queued(s) > 0;
    for (struct subscription *sub = s->subscriptions, *next; sub; sub = next) {
        struct buf text = BUF_EMPTY;
        struct str group, filter;
        bool bad;
        next = sub->next_of_session;
        tree_print(sub, &text);
        (void)topic_split_shared(buf_str(&text), &group, &filter, &bad);
        if (buf_failed(&text) || bad || !may_subscribe(s, c, filter)) {
            journal_unsubscribe(s, sub);
            session_drop_subscription(s, sub);
        }
        buf_free(&text);
    }
}

enum mqtt_reason session_subscribe(struct session *s, const struct mqtt_filter *wanted, uint32_t id)
{
    MUST(session_is_valid(s) && s->connection);
    struct broker *broker = s->broker;
    struct str group, filter;
    bool bad, is_new = false;
    bool is_shared = topic_split_shared(wanted->filter, &group, &filter, &bad);
    if (!bad && topic_levels(filter) > broker->config.limits.topic_levels)
        limits_act(broker, LIMIT_TOPIC_LEVELS, s->client_id), bad = true;
    if (bad || !topic_filter_is_valid(filter)) return MQTT_REASON_TOPIC_FILTER_INVALID;
    if (!may_subscribe(s, s->connection, filter)) return MQTT_REASON_NOT_AUTHORIZED;
    bool is_known = tree_find(session_space(s)->tree, s, group, filter) != NULL;
    if (!is_known && s->subscription_count >= broker->config.subscriptions_max) {
        limits_act(broker, LIMIT_SUBSCRIPTIONS, s->client_id);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    /* 3.x has no options; who says that it is a bridge means these, as with Mosquitto. */
    bool is_bridge = s->connection && s->connection->is_bridge && !is_shared;
    const struct subscription_options options = {.qos = wanted->qos,
                                                 .no_local = wanted->no_local || is_bridge,
                                                 .retain_as_published =
                                                     wanted->retain_as_published || is_bridge,
                                                 .id = id};
    bool may_keep = is_known || broker_may_keep(broker);
    if (!may_keep || session_put_subscription(s, group, filter, &options, &is_new)) {
        limits_act(broker, LIMIT_MEMORY, s->client_id);
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    bool sends =
        !is_shared && (wanted->retain_handling == 0 || (wanted->retain_handling == 1 && is_new));
    if (sends && broker_send_retained(s, filter, wanted->qos, id))
        return MQTT_REASON_QUOTA_EXCEEDED;
    return (enum mqtt_reason)wanted->qos;
}

enum mqtt_reason session_unsubscribe(struct session *s, struct str text)
{
    MUST(session_is_valid(s));
    struct str group, filter;
    bool bad;
    (void)topic_split_shared(text, &group, &filter, &bad);
    if (bad || !topic_filter_is_valid(filter)) return MQTT_REASON_TOPIC_FILTER_INVALID;
    struct subscription *sub = tree_find(session_space(s)->tree, s, group, filter);
    if (!sub) return MQTT_REASON_NO_SUBSCRIPTION_EXISTED;
    journal_unsubscribe(s, sub);
    session_drop_subscription(s, sub);
    return MQTT_REASON_SUCCESS;
}
