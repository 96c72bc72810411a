/* session_will.c - a session's will (MQTT 5.0 section 3.1.2.5): kept until it is published, or not
 * wanted any more.
 *
 * It comes with CONNECT and is the session's from then on; the journal knows of it at once, so that
 * a node that is killed publishes it at its next start. It goes out when the connection ends
 * without a good DISCONNECT and its delay has passed, or the session ends, whichever is first
 * [MQTT-3.1.2-8]; not when its client is back before that [MQTT-3.1.3-9]. It is the session's own
 * message: made when CONNECT came, its expiry and its serial are set when it is published.
 *
 * A will is published once: from `will` it is taken first, and the journal says that it is gone in
 * the same note as the message. */
#include "base/timetext.h"
#include "mqtt/broker_priv.h"

struct will *will_new(struct message *message)
{
    struct will *will = message ? mem_alloc_zero(1, sizeof *will) : NULL;
    if (will) {
        will->message = message;
        will->due.kind = WHEEL_WILL;
    } else {
        message_release(message);
    }
    return will;
}

void will_free(struct will *will)
{
    if (!will) return;
    MUST(!wheel_is_set(&will->due));
    message_release(will->message);
    mem_free(will);
}

static void free_own_will(struct session *s)
{
    if (!s->will) return;
    wheel_stop(&s->broker->wheel, &s->will->due);
    will_free(s->will);
    s->will = NULL;
}

void session_drop_will(struct session *s)
{
    MUST(session_is_valid(s));
    if (s->will && s->will->is_logged) journal_will_gone(s);
    free_own_will(s);
}

void session_put_will(struct session *s, struct will *will)
{
    MUST(session_is_valid(s) && (!will || (will->message && !will->session)));
    free_own_will(s);
    s->will = will;
    if (!will) return;
    will->session = s;
    will->message->publisher = s->serial;
}

void session_publish_will(struct session *s)
{
    MUST(session_is_valid(s));
    struct will *will = s->will;
    if (s->broker->journal.is_off) { /* it stays in the journal, or is told to be gone there */
        free_own_will(s);
        return;
    }
    s->will = NULL;
    if (!will) return;
    struct message *m = will->message;
    wheel_stop(&s->broker->wheel, &will->due);
    struct rows_span span = {0};
    bool logged;
    if (will->expiry_s != WILL_NEVER_EXPIRES)
        m->expires_ns = s->broker->now_ns + (int64_t)will->expiry_s * 1000000000;
    m->serial = ++s->broker->last_serial;
    /* Nobody waits for an answer: without memory the rows are lost, as the message is. */
    (void)streams_offer(session_space(s), message_topic(m), message_payload(m), &span);
    (void)broker_publish(session_space(s), m, NULL, 0, &logged);
    if (will->is_logged) journal_will_gone(s); /* in the same note: it is published once */
    will_free(will);
}

void session_on_will_due(struct wheel_node *node)
{
    struct will *will = (void *)((char *)node - offsetof(struct will, due));
    MUST(session_is_valid(will->session) && will->session->will == will);
    session_publish_will(will->session);
}

/* The session of one who keeps none ended with the broker, and the will is due with that. */
void session_resume_will(struct session *s)
{
    MUST(session_is_valid(s) && s->will && !s->connection);
    struct will *will = s->will;
    int64_t now_s = broker_now_s(s->broker), in_s = will->delay_s;
    if (will->due_s) in_s = will->due_s - context_wall_ns(s->broker->context) / TIME_NS_PER_S;
    if (s->expiry_s == 0)
        wheel_set(&s->broker->wheel, &s->expiry, now_s);
    else
        wheel_set(&s->broker->wheel, &will->due, now_s + (in_s > 0 ? in_s : 0));
}
