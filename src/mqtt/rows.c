/* rows.c - see rows.h: gathering, giving to the store, and what comes of it.
 *
 * Of each source (an identity under the data prefix, or a Stream) at most one batch is with the
 * store; the next one gathers meanwhile and goes when that is back. Batches are numbered over all
 * sources, and an acknowledgement waits until all up to its number are done: simple, and never too
 * early. It follows that a batch which nobody gives would hold up everybody, so there is none
 * without a message.
 *
 * Their bytes are taken from the broker's memory when a message is added and given back with the
 * batch; when WAITING_BYTES_MAX wait, publishers are not read. */
#include "mqtt/rows.h"
#include "mqtt/broker_priv.h"
#include <string.h>

static const char component[] = "mqtt";

enum {
    BATCH_BYTES_MAX = 1024 * 1024,
    WAITING_BYTES_MAX = 4 * 1024 * 1024, /* then publishers are not read */
    ENTRY_NS = 1000,                     /* rows of one message without a time get one ns each */
};

/* ---- notation ---- */

bool rows_next(struct reader *in, struct rows_entry *entry)
{
    if (!reader_left(in)) return false;
    uint32_t topic = reader_le32(in), payload = reader_le32(in);
    entry->time_ns = (int64_t)reader_le64(in);
    entry->topic = reader_str(in, topic);
    entry->payload = reader_str(in, payload);
    MUST(reader_ok(in)); /* the broker wrote it */
    return true;
}

bool rows_split(struct str topic, struct str prefix, struct str *device, struct str *table)
{
    if (topic.size <= prefix.size || memcmp(topic.at, prefix.at, prefix.size) != 0) return false;
    struct str rest = {topic.at + prefix.size, topic.size - prefix.size};
    const char *slash = memrchr(rest.at, '/', rest.size);
    if (!slash || slash == rest.at || slash + 1 == rest.at + rest.size) return false;
    *device = (struct str){rest.at, (size_t)(slash - rest.at)};
    *table = (struct str){slash + 1, rest.size - device->size - 1};
    return true;
}

/* ---- gathering ---- */

static bool same_rights(const struct identity *a, const struct identity *b)
{
    return a == b || (strcmp(a->user, b->user) == 0 && strcmp(a->role, b->role) == 0 &&
                      strcmp(a->ns, b->ns) == 0 && a->by_token == b->by_token);
}

/* Whose rows have to stay in order: those of a Stream, or of an identity under the prefix. */
static bool same_source(const struct broker_rows *b, const struct broker_stream *stream,
                        const struct identity *identity)
{
    return b->stream == stream && (stream || same_rights(b->identity, identity));
}

/* The batch of a source that still takes entries, or a new one. */
static struct broker_rows *open_batch(struct broker *broker, struct broker_stream *stream,
                                      struct identity *identity)
{
    struct rows_intake *r = &broker->rows;
    for (struct broker_rows *b = r->first; b; b = b->next)
        if (!b->is_given && b->text.size < BATCH_BYTES_MAX && same_source(b, stream, identity) &&
            strcmp(b->prefix, broker->config.data_prefix) == 0)
            return b;
    struct broker_rows *b = mem_alloc_zero(1, sizeof *b);
    if (!b) return NULL;
    b->broker = broker;
    b->identity = identity_share(identity);
    b->stream = stream ? broker_stream_share(stream) : NULL;
    b->number = ++r->given;
    (void)str_copy(b->prefix, sizeof b->prefix, str_of(broker->config.data_prefix));
    *(r->last ? &r->last->next : &r->first) = b;
    r->last = b;
    return b;
}

/* Messages of one moment get times of their own, ENTRY_NS apart, so that no row takes another
 * one's place. */
static int64_t next_time(struct broker *broker)
{
    struct rows_intake *r = &broker->rows;
    int64_t now = context_wall_ns(broker->context);
    now -= now % ENTRY_NS;
    r->last_ns = now > r->last_ns ? now : r->last_ns + ENTRY_NS;
    return r->last_ns;
}

/* It may stand anywhere: sources are done in their own time. */
static void unlink_batch(struct rows_intake *r, struct broker_rows *b)
{
    MUST(r->first);
    struct broker_rows **at = &r->first, *before = NULL;
    while (*at != b) {
        before = *at;
        at = &(*at)->next;
    }
    *at = b->next;
    if (r->last == b) r->last = before;
}

/* There is no memory for one more: what is in the batch stays. One that was made for it goes, since
 * nobody would ever give it, and who waits for later ones would wait for it. */
static void give_up_entry(struct broker *broker, struct broker_rows *b)
{
    b->text.failed = false;
    if (b->messages) return;
    unlink_batch(&broker->rows, b);
    broker_rows_free(b);
}

uint64_t rows_add(struct broker *broker, struct identity *identity, struct broker_stream *stream,
                  struct str topic, struct str payload)
{
    MUST(broker_is_valid(broker) && identity && topic.size > 0);
    size_t size = 16 + topic.size + payload.size;
    if (budget_take(&broker->memory, size)) return 0;
    struct broker_rows *b = open_batch(broker, stream, identity);
    if (!b || !buf_reserve(&b->text, size)) {
        if (b) give_up_entry(broker, b);
        budget_give(&broker->memory, size);
        return 0;
    }
    buf_add_le32(&b->text, (uint32_t)topic.size);
    buf_add_le32(&b->text, (uint32_t)payload.size);
    buf_add_le64(&b->text, (uint64_t)next_time(broker));
    buf_add_str(&b->text, topic);
    buf_add_str(&b->text, payload);
    b->messages++;
    broker->rows.bytes += size;
    return b->number;
}

uint64_t rows_done(const struct broker *broker)
{
    const struct rows_intake *r = &broker->rows;
    return r->first ? r->first->number - 1 : r->given;
}

bool rows_are_full(const struct broker *broker)
{
    return broker->rows.bytes >= WAITING_BYTES_MAX;
}

/* One batch of a source at a time: its rows stay in order. */
static bool may_go(const struct broker *broker, const struct broker_rows *wanted)
{
    for (const struct broker_rows *b = broker->rows.first; b != wanted; b = b->next)
        if (same_source(b, wanted->stream, wanted->identity)) return false;
    return true;
}

void rows_post(struct broker *broker)
{
    for (struct broker_rows *b = broker->rows.first; b; b = b->next) {
        if (b->is_given || !b->messages || !may_go(broker, b)) continue;
        b->is_given = true;
        broker->hooks.rows(broker->hooks.arg, b);
    }
}

/* ---- the answer ---- */

/* What was no row is told to whoever subscribes to $dead/…, as a message of the node itself. */
static void bury(struct broker *broker, const struct broker_rows *b,
                 const struct rows_refusal *refusal)
{
    MUST(refusal->offset <= b->text.size);
    struct reader in = reader_of(b->text.at + refusal->offset, b->text.size - refusal->offset);
    struct rows_entry entry;
    struct buf topic = BUF_EMPTY, properties = BUF_EMPTY;
    struct mqtt_properties given = {.present = 1u << MQTT_PROPERTY_USER_PROPERTY};
    if (!rows_next(&in, &entry)) return;
    buf_printf(&topic, "$dead/%.*s", (int)entry.topic.size, entry.topic.at);
    mqtt_write_user_property(&properties, STR("reason"), str_of(refusal->text));
    given.raw = buf_str(&properties);
    struct message_parts parts = {.topic = buf_str(&topic),
                                  .payload = entry.payload,
                                  .properties = &given,
                                  .qos = 1,
                                  .serial = ++broker->last_serial};
    struct message *m =
        buf_failed(&topic) || buf_failed(&properties) ? NULL : message_new(&parts, &broker->memory);
    struct space *space = m ? space_get(broker, str_of(b->identity->ns)) : NULL;
    bool logged;
    if (space) (void)broker_publish(space, m, NULL, 0, &logged);
    message_release(m);
    buf_free(&topic);
    buf_free(&properties);
}

void broker_rows_free(struct broker_rows *b)
{
    identity_release(b->identity);
    broker_stream_release(b->stream);
    buf_free(&b->text);
    mem_free(b->refusals);
    mem_free(b);
}

/* Acknowledgements that waited for it are sent, or failed, before the next turn. */
static void finish_batch(struct job *job)
{
    struct broker_rows *b = (struct broker_rows *)job;
    struct broker *broker = b->broker;
    MUST(broker_is_valid(broker) && b->is_given && broker->rows.bytes >= b->text.size);
    broker->now_ns = loop_mono_ns(&broker->loop);
    if (b->err)
        diag(broker->context, DIAG_WARNING, component, "%zu messages were not stored: %s",
             b->messages, why_text(&b->why, b->err));
    metric_add(broker->context, b->stream ? METRIC_STREAM_ROWS : METRIC_MQTT_ROWS, b->rows);
    metric_add(broker->context, b->stream ? METRIC_STREAM_REFUSED : METRIC_MQTT_DEAD, b->refused);
    for (size_t i = 0; i < b->refusal_count && !(b->stream && b->stream->drops); i++)
        bury(broker, b, &b->refusals[i]);
    if (b->err) journal_fail_rows(broker, b->number);
    broker->rows.bytes -= b->text.size;
    budget_give(&broker->memory, b->text.size);
    unlink_batch(&broker->rows, b);
    broker_rows_free(b);
    journal_release_acks(broker);
    connection_resume_held(broker);
}

void broker_rows_done(struct broker_rows *b)
{
    MUST(broker_is_valid(b->broker) && b->is_given);
    b->job.run = finish_batch;
    loop_post(&b->broker->loop, &b->job);
}

void rows_disown(struct broker *broker)
{
    struct rows_intake *r = &broker->rows;
    for (struct broker_rows **at = &r->first; *at;) {
        struct broker_rows *b = *at;
        if (!b->is_given) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        budget_give(&broker->memory, b->text.size);
    }
    r->last = NULL;
}

void rows_free(struct broker *broker)
{
    struct rows_intake *r = &broker->rows;
    while (r->first) {
        struct broker_rows *b = r->first;
        r->first = b->next;
        MUST(!b->is_given);
        budget_give(&broker->memory, b->text.size);
        broker_rows_free(b);
    }
    r->last = NULL;
}
