/* journal_replay.c - see journal.h: the reading side, at a start, before the broker's task runs.
 *
 * Whatever a change refers to may be gone or be there already: then it means nothing. A change that
 * is no change ends the text with CORRUPT; what was before it has been applied. */
#include "access/access.h"
#include "base/reader.h"
#include "mqtt/broker_priv.h"
#include "mqtt/topic.h"
#include <inttypes.h>
#include <string.h>

static const char component[] = "mqtt";

/* Serials and ordinals count up from 1: larger ones are damage, and would overflow. */
static const uint64_t NUMBER_MAX = (uint64_t)1 << 62;

static struct str read_text(struct reader *r)
{
    uint64_t size = reader_varint(r);
    return reader_str(r, size > reader_left(r) ? SIZE_MAX : (size_t)size);
}

static struct str key_of(const uint64_t *number)
{
    return (struct str){(const char *)number, sizeof *number};
}

static struct session *find(struct broker *broker, uint64_t serial)
{
    return map_get(&broker->by_serial, key_of(&serial));
}

static enum err bad(struct why *why, const char *text)
{
    return why_set(why, ERR_CORRUPT, "the broker's journal: %s", text);
}

/* ---- sessions ---- */

static struct session *make_session(struct broker *broker, uint64_t serial, struct str client_id,
                                    struct str user)
{
    char name[ACCESS_USER_BYTES];
    struct session *old = session_find(broker, client_id);
    if (old) session_end(old); /* its end is a later change */
    (void)str_copy(name, sizeof name, user);
    struct identity *identity = identity_new(name, "anonymous"); /* until it connects again */
    struct session *s = identity ? session_new(broker, client_id, identity) : NULL;
    identity_release(identity);
    if (!s) return NULL;
    (void)map_remove(&broker->by_serial, key_of(&s->serial));
    s->serial = serial;
    if (map_put(&broker->by_serial, key_of(&s->serial), s, NULL)) {
        session_end(s);
        return NULL;
    }
    if (serial > broker->last_session) broker->last_session = serial;
    s->is_logged = true;
    return s;
}

static enum err on_session(struct broker *broker, struct reader *r, struct why *why)
{
    uint64_t serial = reader_varint(r);
    struct str client_id = read_text(r), user = read_text(r);
    uint64_t expiry_s = reader_varint(r), last = reader_varint(r);
    if (!reader_ok(r) || !client_id.size || client_id.size >= BROKER_CLIENT_ID_BYTES ||
        user.size >= ACCESS_USER_BYTES || expiry_s > UINT32_MAX || last > NUMBER_MAX ||
        serial > NUMBER_MAX)
        return bad(why, "a session that is none");
    struct session *s = find(broker, serial);
    if (!s && !(s = make_session(broker, serial, client_id, user))) return ERR_NO_MEMORY;
    s->expiry_s = (uint32_t)expiry_s;
    if (last > s->outbox.last && outbox_span(&s->outbox) == 0)
        s->outbox.first = s->outbox.next = s->outbox.last = last;
    return ERR_OK;
}

static enum err on_end(struct broker *broker, struct reader *r, struct why *why)
{
    struct session *s = find(broker, reader_varint(r));
    if (!reader_ok(r)) return bad(why, "an end that is cut off");
    if (s) session_end(s);
    return ERR_OK;
}

static enum err on_subscribe(struct broker *broker, struct reader *r, struct why *why)
{
    struct session *s = find(broker, reader_varint(r));
    struct str text = read_text(r), group, filter;
    uint8_t options = reader_u8(r);
    uint64_t id = reader_varint(r);
    bool wrong = false;
    (void)topic_split_shared(text, &group, &filter, &wrong);
    if (!reader_ok(r) || wrong || !topic_filter_is_valid(filter) || (options & 3) == 3 ||
        id > MQTT_REMAINING_MAX)
        return bad(why, "a subscription that is none");
    const struct subscription_options wanted = {.qos = options & 3,
                                                .no_local = options >> 2 & 1,
                                                .retain_as_published = options >> 3 & 1,
                                                .id = (uint32_t)id};
    bool is_new;
    return s ? session_put_subscription(s, group, filter, &wanted, &is_new) : ERR_OK;
}

static enum err on_unsubscribe(struct broker *broker, struct reader *r, struct why *why)
{
    struct session *s = find(broker, reader_varint(r));
    struct str text = read_text(r);
    if (!reader_ok(r)) return bad(why, "an unsubscription that is cut off");
    if (s) (void)session_unsubscribe(s, text);
    return ERR_OK;
}

/* ---- messages ---- */

struct replayed {
    struct message *message;
    uint64_t number;
    bool keeps;
};

static enum err read_message(struct broker *broker, struct reader *r, struct replayed *out,
                             struct why *why)
{
    struct context *context = broker->context;
    out->number = reader_varint(r);
    uint8_t flags = reader_u8(r);
    struct str topic = read_text(r), properties = read_text(r), payload = read_text(r);
    int64_t expires_wall = flags & 8 ? (int64_t)reader_le64(r) : 0;
    if (!reader_ok(r) || (flags & 3) == 3 || out->number > NUMBER_MAX || expires_wall < 0 ||
        expires_wall > INT64_MAX / 2 || !topic_name_is_valid(topic) ||
        payload.size > MQTT_REMAINING_MAX)
        return bad(why, "a message that is none");
    struct mqtt_properties kept = {
        .present = properties.size ? 1u << MQTT_PROPERTY_USER_PROPERTY : 0, .raw = properties};
    int64_t expires =
        flags & 8 ? expires_wall - context_wall_ns(context) + context_mono_ns(context) : 0;
    struct message_parts parts = {.topic = topic,
                                  .payload = payload,
                                  .properties = &kept,
                                  .qos = flags & 3,
                                  .retain = flags >> 2 & 1,
                                  .expires_ns = flags & 8 && expires <= 0 ? 1 : expires,
                                  .serial = out->number};
    out->keeps = flags >> 4 & 1;
    out->message = message_new(&parts, &broker->memory);
    if (out->number > broker->last_serial) broker->last_serial = out->number;
    return out->message ? ERR_OK : ERR_NO_MEMORY;
}

struct replayed_target {
    uint64_t serial, ordinal;
    uint8_t flags;
    size_t id_count;
    uint32_t ids[OUTBOX_IDS_MAX];
};

static bool read_target(struct reader *r, struct replayed_target *t)
{
    t->serial = reader_varint(r);
    t->ordinal = reader_varint(r);
    t->flags = reader_u8(r);
    uint64_t count = reader_varint(r);
    if (!reader_ok(r) || count > OUTBOX_IDS_MAX || t->ordinal > NUMBER_MAX || (t->flags & 3) == 0 ||
        (t->flags & 3) == 3)
        return false;
    t->id_count = (size_t)count;
    for (size_t i = 0; i < t->id_count; i++) t->ids[i] = (uint32_t)reader_varint(r);
    return reader_ok(r);
}

/* `m` NULL: only its identifier is needed any more. */
static enum err put_target(struct broker *broker, const struct replayed_target *t,
                           struct message *m, struct why *why)
{
    struct session *s = find(broker, t->serial);
    if (!s || t->ordinal < s->outbox.last) return ERR_OK; /* it has it already, or it is over */
    enum err err = outbox_skip_to(&s->outbox, t->ordinal);
    if (err == ERR_LIMIT) return bad(why, "an entry far away from its queue");
    if (!err)
        err = outbox_restore(&s->outbox, m, t->flags & 3, t->flags >> 2 & 1, t->ids, t->id_count);
    if (!err) outbox_at(&s->outbox, t->ordinal)->was_sent = t->flags >> 3 & 1;
    return err;
}

static enum err keep(struct broker *broker, const struct replayed *m)
{
    struct str topic = message_topic(m->message);
    return tree_retain(broker->tree, topic, m->message->payload_size ? m->message : NULL);
}

/* Messages of the file are referred to by its targets. */
static enum err remember(struct broker *broker, const struct replayed *m)
{
    void *old = NULL;
    if (!broker->is_loading) return ERR_OK;
    enum err err = map_put(&broker->loading, key_of(&m->number), m->message, &old);
    if (!err) (void)message_share(m->message);
    message_release(old);
    return err;
}

static enum err on_message(struct broker *broker, struct reader *r, struct why *why)
{
    struct replayed m;
    enum err err = read_message(broker, r, &m, why);
    if (err) return err;
    uint64_t publisher = reader_varint(r), packet_id = publisher ? reader_varint(r) : 0;
    struct session *from = publisher ? find(broker, publisher) : NULL;
    if (from && packet_id && packet_id <= UINT16_MAX &&
        !session_put_received(from, (uint16_t)packet_id))
        err = ERR_NO_MEMORY;
    uint64_t count = reader_varint(r);
    for (uint64_t i = 0; i < count && !err; i++) {
        struct replayed_target t;
        err = read_target(r, &t) ? put_target(broker, &t, m.message, why)
                                 : bad(why, "an entry of a queue that is none");
    }
    if (!err && m.keeps) err = keep(broker, &m);
    if (!err) err = remember(broker, &m);
    message_release(m.message);
    return err;
}

static enum err on_target(struct broker *broker, struct reader *r, struct why *why)
{
    struct replayed_target t;
    bool good = read_target(r, &t);
    uint64_t number = reader_varint(r);
    if (!good || !reader_ok(r)) return bad(why, "an entry of a queue that is none");
    struct message *m = number ? map_get(&broker->loading, key_of(&number)) : NULL;
    if (number && !m) return ERR_OK; /* its message was damaged */
    return put_target(broker, &t, m, why);
}

/* ---- pairs ---- */

static enum err on_pair(struct broker *broker, struct reader *r, enum journal_kind kind,
                        struct why *why)
{
    struct session *s = find(broker, reader_varint(r));
    uint64_t number = reader_varint(r);
    if (!reader_ok(r)) return bad(why, "a change that is cut off");
    if (!s) return ERR_OK;
    if (kind == JOURNAL_DONE) outbox_restore_done(&s->outbox, number);
    if (kind == JOURNAL_RECEIVED) outbox_restore_received(&s->outbox, number);
    if (kind == JOURNAL_RELEASE && number <= UINT16_MAX) session_drop_received(s, (uint16_t)number);
    if (kind == JOURNAL_TAKEN && number <= UINT16_MAX && !session_put_received(s, (uint16_t)number))
        return ERR_NO_MEMORY;
    return ERR_OK;
}

static enum err replay_one(struct broker *broker, struct reader *r, struct why *why)
{
    uint8_t kind = reader_u8(r);
    switch ((enum journal_kind)kind) {
    case JOURNAL_SESSION: return on_session(broker, r, why);
    case JOURNAL_END: return on_end(broker, r, why);
    case JOURNAL_SUBSCRIBE: return on_subscribe(broker, r, why);
    case JOURNAL_UNSUBSCRIBE: return on_unsubscribe(broker, r, why);
    case JOURNAL_MESSAGE: return on_message(broker, r, why);
    case JOURNAL_TARGET: return on_target(broker, r, why);
    case JOURNAL_DONE:
    case JOURNAL_RECEIVED:
    case JOURNAL_RELEASE:
    case JOURNAL_TAKEN: return on_pair(broker, r, (enum journal_kind)kind, why);
    }
    return bad(why, "a change of an unknown kind");
}

enum err journal_replay(struct broker *broker, struct str text, struct why *why)
{
    struct reader r = reader_of(text.at, text.size);
    MUST(broker->journal.is_off);
    if (reader_u8(&r) != JOURNAL_FORMAT) return bad(why, "written by another version");
    enum err err = ERR_OK;
    while (!err && reader_left(&r)) err = replay_one(broker, &r, why);
    return err;
}

void journal_replayed(struct broker *broker)
{
    size_t kept = 0, messages = 0;
    for (struct session *s = broker->first_session, *next; s; s = next) {
        next = s->next;
        if (s->expiry_s == 0) {
            session_end(s);
            continue;
        }
        outbox_rewind(&s->outbox);
        session_expire_later(s);
        kept++;
        messages += outbox_count(&s->outbox);
    }
    broker->journal.is_off = false;
    if (kept || tree_retained_count(broker->tree))
        diag(broker->context, DIAG_INFO, component,
             "%zu sessions with %zu messages to deliver, %zu retained messages", kept, messages,
             tree_retained_count(broker->tree));
    metric_set(broker->context, METRIC_MQTT_RETAINED, tree_retained_count(broker->tree));
}
