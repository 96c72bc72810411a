/* journal_replay.c - see journal.h: the reading side, at a start, before the broker's task runs.
 *
 * Whatever a change refers to may be gone or be there already: then it means nothing. A change that
 * is no change ends the text with CORRUPT; what was before it has been applied. So a text of any
 * bytes leaves a broker that keeps all invariants (verify.h), with more or less in it.
 *
 * Every number is held against a limit before it is used: serials and ordinals count up from 1 and
 * could not reach NUMBER_MAX in the life of a node, texts have the limits of their kind, counts
 * those of the bytes that are left. Sums are the snapshot's and the log's; here they have been
 * checked.
 *
 * Two passes share it: the state (is_loading), whose targets refer to messages by number, and the
 * log's notes, in which a message brings its targets along. */
#include "access/access.h"
#include "base/reader.h"
#include "mqtt/bridge.h"
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

/* ---- namespaces; "" = default ---- */

static bool is_namespace(struct str ns)
{
    return ns.size < ACCESS_NAMESPACE_BYTES && !(ns.size && memchr(ns.at, 0, ns.size));
}

/* A namespace that finds no place for the number of others is damage: no broker ever had so
 * many. */
static enum err find_space(struct broker *broker, struct str ns, struct space **space,
                           struct why *why)
{
    *space = space_get(broker, ns.size ? ns : STR(SPACE_DEFAULT));
    if (*space) return ERR_OK;
    return broker->spaces_by_name.count < BROKER_SPACES_MAX
               ? ERR_NO_MEMORY
               : bad(why, "more namespaces than there can be");
}

/* ---- sessions ---- */

/* As it was when its client was last there; who he is beside his name is known when he comes
 * back. */
static struct session *make_session(struct space *space, uint64_t serial, struct str client_id,
                                    struct str user)
{
    MUST(space_is_valid(space) && !space->broker->is_started);
    struct broker *broker = space->broker;
    char name[ACCESS_USER_BYTES];
    struct session *old = session_find(space, client_id);
    if (old) session_end(old); /* its end is a later change */
    (void)str_copy(name, sizeof name, user);
    /* Until it connects again. */
    struct identity *identity = identity_new_in(space->ns, name, "anonymous");
    struct session *s = identity ? session_new(space, client_id, identity) : NULL;
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

/* Format 1 has no namespaces, but a Bridge's session was called after its own: "$bridge/NS.NAME",
 * and what waits in it is to find it there. Others: `default`. */
static struct str ns_of_old(struct str client_id)
{
    const size_t prefix = sizeof BRIDGE_PREFIX - 1;
    if (!bridge_owns(client_id)) return STR("");
    struct str key = {client_id.at + prefix, client_id.size - prefix};
    const char *dot = memchr(key.at, '.', key.size);
    return dot && dot > key.at ? (struct str){key.at, (size_t)(dot - key.at)} : STR("");
}

/* The last ordinal counts where the queue is behind it: what lay between was delivered. */
static enum err on_session(struct broker *broker, struct reader *r, struct why *why)
{
    uint64_t serial = reader_varint(r);
    struct str client_id = read_text(r), user = read_text(r);
    struct str ns = broker->journal.reading > 1 ? read_text(r) : ns_of_old(client_id);
    uint64_t expiry_s = reader_varint(r), last = reader_varint(r);
    if (!reader_ok(r) || !client_id.size || client_id.size > MQTT_TEXT_BYTES_MAX ||
        user.size >= ACCESS_USER_BYTES || expiry_s > UINT32_MAX || last > NUMBER_MAX ||
        serial > NUMBER_MAX || !is_namespace(ns))
        return bad(why, "a session that is none");
    struct session *s = find(broker, serial);
    if (!s) {
        struct space *space;
        enum err err = find_space(broker, ns, &space, why);
        if (err) return err;
        if (!(s = make_session(space, serial, client_id, user))) return ERR_NO_MEMORY;
    } else {
        outbox_restore_tried(&s->outbox); /* its client came, and what waited went out */
    }
    s->expiry_s = (uint32_t)expiry_s;
    if (last <= session_last(s)) return ERR_OK;
    if (s->spill) /* its records come first, whether the ring is empty just now or not */
        s->spill->last = last;
    else if (outbox_span(&s->outbox) == 0)
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

/* Rights are asked for when the client comes back (session_check_rights). */
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
    struct str ns; /* with keeps: where; "" = default */
};

/* Properties were well-formed when they were written and are walked as such; what is damaged in
 * them is left out by message_new. Expiry is told by the wall clock, which is all that survives. */
static enum err read_message(struct broker *broker, struct reader *r, struct replayed *out,
                             struct why *why)
{
    struct context *context = broker->context;
    out->number = reader_varint(r);
    uint8_t flags = reader_u8(r);
    struct str topic = read_text(r), properties = read_text(r), payload = read_text(r);
    int64_t expires_wall = flags & 8 ? (int64_t)reader_le64(r) : 0;
    out->ns = flags & 32 ? read_text(r) : STR("");
    if (!reader_ok(r) || !is_namespace(out->ns) || (flags & 3) == 3 || out->number > NUMBER_MAX ||
        expires_wall < 0 || expires_wall > INT64_MAX / 2 || !topic_name_is_made(topic) ||
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

enum err journal_read_fields(struct broker *broker, struct reader *in, struct message **message,
                             struct why *why)
{
    struct replayed m = {0};
    enum err err = read_message(broker, in, &m, why);
    *message = m.message;
    return err;
}

struct replayed_target {
    uint64_t serial, ordinal;
    uint8_t flags;
    size_t id_count;
    uint32_t ids[OUTBOX_IDS_MAX];
};

/* False: it is none. */
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

/* The identifiers are in `ids` or in the union, as outbox.h has them. */
static enum err spill_target(struct session *s, const struct replayed_target *t,
                             const struct message *m)
{
    uint32_t ids[OUTBOX_IDS_MAX];
    struct outbox_item how = {.qos = t->flags & 3,
                              .retain = t->flags >> 2 & 1,
                              .is_shared = t->flags >> 6 & 1,
                              .id_count = (uint16_t)t->id_count};
    memcpy(ids, t->ids, sizeof ids);
    if (t->id_count > 1)
        how.ids = ids;
    else
        how.id = ids[0];
    return spill_add(s, t->ordinal, m, &how);
}

/* `m` NULL: only its identifier is needed any more. */
static enum err put_target(struct broker *broker, const struct replayed_target *t,
                           struct message *m, struct why *why)
{
    MUST(t->id_count <= OUTBOX_IDS_MAX);
    struct session *s = find(broker, t->serial);
    if (!s || t->ordinal < session_last(s)) return ERR_OK; /* it has it already, or it is over */
    /* What the file says of a queue's beginning was in memory. */
    if (m && !broker->is_loading && spill_must_take(s, m)) return spill_target(s, t, m);
    enum err err = outbox_skip_to(&s->outbox, t->ordinal);
    if (err == ERR_LIMIT) return bad(why, "an entry far away from its queue");
    if (!err)
        err = outbox_restore(&s->outbox, m, t->flags & 3, t->flags >> 2 & 1, t->ids, t->id_count);
    if (err) return err;
    struct outbox_item *item = outbox_at(&s->outbox, t->ordinal);
    item->was_sent = t->flags >> 3 & 1;
    item->is_shared = t->flags >> 6 & 1;
    if (t->flags >> 5 & 1) outbox_restore_tried(&s->outbox);
    return ERR_OK;
}

/* A message without payload takes away what was retained. */
static enum err keep(struct broker *broker, const struct replayed *m, struct why *why)
{
    struct str topic = message_topic(m->message);
    struct space *space;
    enum err err = find_space(broker, m->ns, &space, why);
    if (err) return err;
    return space_retain(space, topic, m->message->payload_size ? m->message : NULL);
}

/* Messages of the file are referred to by its targets. */
static enum err remember(struct broker *broker, const struct replayed *m)
{
    MUST(m->message);
    void *old = NULL;
    if (!broker->is_loading) return ERR_OK;
    enum err err = map_put(&broker->loading, key_of(&m->number), m->message, &old);
    if (!err) (void)message_share(m->message);
    message_release(old);
    return err;
}

/* The message, then who must know its packet identifier again, then its places in queues, then
 * whether it is retained. */
static enum err on_message(struct broker *broker, struct reader *r, struct why *why)
{
    struct replayed m = {0};
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
    if (!err && m.keeps) err = keep(broker, &m, why);
    if (!err) err = remember(broker, &m);
    message_release(m.message);
    return err;
}

/* An entry of the state file: its message stood before it, under a number. */
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

/* ---- wills ---- */

/* Also of one who keeps no session: then there is one until the will is published. */
static enum err on_will(struct broker *broker, struct reader *r, struct why *why)
{
    struct replayed m = {0};
    uint64_t serial = reader_varint(r);
    struct str client_id = read_text(r), user = read_text(r), ns = read_text(r);
    uint64_t delay_s = reader_varint(r), expiry_s = reader_varint(r), due_s = reader_varint(r);
    if (!reader_ok(r) || !client_id.size || client_id.size > MQTT_TEXT_BYTES_MAX ||
        user.size >= ACCESS_USER_BYTES || serial > NUMBER_MAX || delay_s > UINT32_MAX ||
        expiry_s > UINT32_MAX || due_s > INT64_MAX / 2 / 1000000000 || !is_namespace(ns))
        return bad(why, "a will that is none");
    struct session *s = find(broker, serial);
    struct space *space = NULL;
    enum err err = s ? ERR_OK : find_space(broker, ns, &space, why);
    if (!err) err = read_message(broker, r, &m, why);
    if (err) return err;
    if (!s) s = make_session(space, serial, client_id, user);
    if (!s) message_release(m.message);
    struct will *will = s ? will_new(m.message) : NULL;
    if (!will) return ERR_NO_MEMORY;
    will->delay_s = (uint32_t)delay_s;
    will->expiry_s = (uint32_t)expiry_s;
    will->due_s = (int64_t)due_s;
    will->is_logged = true;
    session_put_will(s, will);
    return ERR_OK;
}

/* Of one who keeps no session nothing is left then. */
static enum err on_will_gone(struct broker *broker, struct reader *r, struct why *why)
{
    struct session *s = find(broker, reader_varint(r));
    if (!reader_ok(r)) return bad(why, "the end of a will that is cut off");
    if (s) session_put_will(s, NULL);
    if (s && s->expiry_s == 0) session_end(s);
    return ERR_OK;
}

/* ---- pairs ---- */

/* DONE and RECEIVED name an entry that may still lie in a file: the files are read up to it
 * first. */
static enum err on_pair(struct broker *broker, struct reader *r, enum journal_kind kind,
                        struct why *why)
{
    struct session *s = find(broker, reader_varint(r));
    uint64_t number = reader_varint(r);
    uint64_t until = kind == JOURNAL_DROPPED ? reader_varint(r) : 0;
    if (!reader_ok(r)) return bad(why, "a change that is cut off");
    if (!s) return ERR_OK;
    if (kind == JOURNAL_DONE || kind == JOURNAL_RECEIVED) spill_reach(s, number);
    if (kind == JOURNAL_DROPPED) spill_skip(s, number, until);
    if (kind == JOURNAL_DONE) outbox_restore_done(&s->outbox, number);
    if (kind == JOURNAL_RECEIVED) outbox_restore_received(&s->outbox, number);
    if (kind == JOURNAL_RELEASE && number <= UINT16_MAX) session_drop_received(s, (uint16_t)number);
    if (kind == JOURNAL_TAKEN && number <= UINT16_MAX && !session_put_received(s, (uint16_t)number))
        return ERR_NO_MEMORY;
    return ERR_OK;
}

/* ---- long queues ---- */

/* Five numbers a file, each at least a byte: a count that could not be in the text is none. */
static enum err on_queue(struct broker *broker, struct reader *r, struct why *why)
{
    static const uint64_t SIZE_LIMIT = (uint64_t)1 << 48;
    struct session *s = find(broker, reader_varint(r));
    struct spill_named named = {.last = reader_varint(r)};
    named.read_offset = reader_varint(r);
    named.read_records = reader_varint(r);
    named.read_weight = reader_varint(r);
    uint64_t count = reader_varint(r);
    if (!reader_ok(r) || count == 0 || count > reader_left(r) / 5 || named.last > NUMBER_MAX)
        return bad(why, "queue files that are none");
    struct spill_file *files = mem_alloc_zero((size_t)count, sizeof *files);
    if (!files) return ERR_NO_MEMORY;
    bool good = true;
    for (uint64_t i = 0; i < count; i++) {
        struct spill_file *f = &files[i];
        f->number = reader_varint(r);
        f->first = reader_varint(r);
        f->bytes = reader_varint(r);
        f->records = reader_varint(r);
        f->weight = reader_varint(r);
        good &= f->number < NUMBER_MAX && f->bytes < SIZE_LIMIT && f->weight < SIZE_LIMIT &&
                f->records <= f->bytes && f->first < named.last;
    }
    named.count = (size_t)count;
    named.files = files;
    enum err err = !good || !reader_ok(r) ? bad(why, "queue files that are none") : ERR_OK;
    if (!err && s && !s->spill) err = spill_restore(s, &named, why);
    mem_free(files);
    return err;
}

/* A list, so that the compiler sees a kind that is missing. */
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
    case JOURNAL_QUEUE: return on_queue(broker, r, why);
    case JOURNAL_WILL: return on_will(broker, r, why);
    case JOURNAL_WILL_GONE: return on_will_gone(broker, r, why);
    case JOURNAL_DONE:
    case JOURNAL_RECEIVED:
    case JOURNAL_RELEASE:
    case JOURNAL_DROPPED:
    case JOURNAL_TAKEN: return on_pair(broker, r, (enum journal_kind)kind, why);
    }
    return bad(why, "a change of an unknown kind");
}

enum err journal_replay(struct broker *broker, struct str text, struct why *why)
{
    struct reader r = reader_of(text.at, text.size);
    MUST(broker->journal.is_off);
    uint8_t format = reader_u8(&r);
    if (format < JOURNAL_FORMAT_OLDEST || format > JOURNAL_FORMAT)
        return bad(why, "written by another version");
    broker->journal.reading = format;
    enum err err = ERR_OK;
    while (!err && reader_left(&r)) err = replay_one(broker, &r, why);
    return err;
}

void journal_replayed(struct broker *broker)
{
    MUST(broker->journal.is_off && !broker->is_started && !broker->is_loading);
    size_t kept = 0, messages = 0;
    for (struct session *s = broker->first_session, *next; s; s = next) {
        next = s->next;
        if (s->will) session_resume_will(s);
        if (s->expiry_s == 0) {
            if (!s->will) session_end(s);
            continue;
        }
        outbox_restored(&s->outbox, !s->spill);
        session_expire_later(s);
        kept++;
        messages += session_queued(s);
    }
    broker->journal.is_off = false;
    if (kept || broker->retained_count)
        diag(broker->context, DIAG_INFO, component,
             "%zu sessions with %zu messages to deliver, %zu retained messages", kept, messages,
             broker->retained_count);
    metric_set(broker->context, METRIC_MQTT_RETAINED, broker->retained_count);
}
