/* shared.c - shared subscriptions (MQTT 5.0 section 4.8.2): which member gets a message, and what
 * becomes of that when the member's session ends.
 *
 * Then what it had not acknowledged goes to another member, as the standard wishes for QoS 1; of
 * QoS 2 only what was certainly never sent [MQTT-4.8.2-5]. It goes with the turn's other changes to
 * the journal, before the END of the session. What lies in the session's queue files ends with it:
 * a queue gets that long only while nobody else is there.
 *
 * Which of its groups brought a message is not kept with it: the groups that match are asked again,
 * in the same order. Whoever is in two that match may so hand a message of one to the other. */
#include "base/hash.h"
#include "mqtt/broker_priv.h"

static bool is_ready(const struct subscription *s)
{
    const struct session *session = s->session;
    return session->connection && session->connection->state == CONNECTION_OPEN &&
           !session->connection->is_slow;
}

static struct subscription *member_at(const struct tree_group *g, size_t index)
{
    MUST(index < g->count);
    struct subscription *s = g->members;
    while (index-- > 0) s = s->next;
    return s;
}

/* Where the search for a member begins. */
static struct subscription *first_choice(struct broker *broker, const struct tree_group *g,
                                         const struct message *m)
{
    struct str topic = message_topic(m);
    switch (broker->config.shared) {
    case BROKER_RANDOM:
        broker->random = broker->random * 1664525u + 1013904223u;
        return member_at(g, (broker->random >> 8) % g->count);
    case BROKER_HASH_TOPIC: return member_at(g, hash_64(topic.at, topic.size) % g->count);
    case BROKER_STICKY:
    case BROKER_ROUND_ROBIN: break;
    }
    return g->turn ? g->turn : g->members;
}

static bool is_ending(const struct subscription *s)
{
    return ((const struct session *)s->session)->is_ending;
}

/* One that is connected and not slow, if there is; NULL: there is none but one that ends. */
static struct subscription *choose(struct broker *broker, const struct tree_group *g,
                                   const struct message *m)
{
    MUST(g->count > 0);
    struct subscription *s = first_choice(broker, g, m), *waits = NULL;
    for (size_t i = 0; i < g->count; i++, s = s->next ? s->next : g->members) {
        if (is_ready(s) && session_may_have(s->session, message_topic(m))) return s;
        if (!waits && !is_ending(s)) waits = s;
    }
    return waits;
}

size_t shared_deliver(struct broker *broker, struct tree_group *g, struct message *m)
{
    struct subscription *chosen = choose(broker, g, m);
    if (!chosen) return 0;
    g->turn = broker->config.shared == BROKER_STICKY ? chosen : chosen->next;
    struct delivery d = {.qos = chosen->qos < m->qos ? chosen->qos : m->qos,
                         .retain = chosen->retain_as_published && m->retain,
                         .is_shared = true,
                         .ids = &chosen->id,
                         .id_count = chosen->id != 0};
    session_deliver(chosen->session, m, &d);
    return 1;
}

/* ---- a member ends ---- */

static bool has_member(const struct tree_group *g, const struct session *session)
{
    const struct subscription *s = g->members;
    while (s && s->session != session) s = s->next;
    return s != NULL;
}

/* `which`: of the session's groups that match, counted from 0. */
static void hand_on(struct session *session, struct message *m, size_t which)
{
    struct space *space = session_space(session);
    const struct tree_matches *found = tree_match(space->tree, message_topic(m));
    for (size_t i = 0; found && i < found->group_count; i++) {
        if (!has_member(found->groups[i], session) || which-- > 0) continue;
        (void)shared_deliver(space->broker, found->groups[i], m);
        (void)journal_message(space->broker, m, NULL, 0);
        return;
    }
}

void shared_hand_on(struct session *session)
{
    MUST(session_is_valid(session) && session->is_ending);
    const struct outbox *o = &session->outbox;
    const struct message *before = NULL;
    size_t which = 0;
    for (uint64_t at = o->first; at < o->last; at++) {
        const struct outbox_item *item = outbox_at(o, at);
        if (!item->is_shared || !item->message) continue;
        which = item->message == before ? which + 1 : 0;
        before = item->message;
        if (item->qos == 2 && (item->was_sent || outbox_may_be_known(o, at))) continue;
        hand_on(session, item->message, which);
    }
}
