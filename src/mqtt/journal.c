/* journal.c - see journal.h: the writing side, and who waits for it.
 *
 * Changes gather in `out` during a turn of the task. journal_post makes one note of them, which
 * goes to the log; up to IN_FLIGHT_MAX are on their way at once, in order. When a note is durable
 * everybody who was promised something up to its change is told (move_on): acknowledgements,
 * sessions whose QoS 2 waits, commands, connections that were held up.
 *
 * A note that the log could not take (disk full, an error) is given again, and every one behind it,
 * so that the log has them in order; meanwhile nobody is told anything, and publishers are held up
 * when too much has gathered. A failure of memory while a change is written spoils the buffer of
 * the turn: then what exists is marked to be written whole (the hole, and a snapshot), before
 * anybody is told.
 *
 * The line of those who wait (acks) is one ring for all connections, in the order of their
 * promises, which is that of the changes, and is released from its front alone. A
 * connection in it stays in memory (waiting_acks) but may have ended: then there is nobody to tell.
 */
#include "mqtt/journal.h"
#include "base/timetext.h"
#include "mqtt/copy_priv.h"
#include <string.h>

static const char component[] = "mqtt";

enum { IN_FLIGHT_MAX = 4, OUT_BYTES_MAX = 1024 * 1024, ACKS_FIRST = 64 };

static struct journal *journal_of(struct session *s)
{
    return &s->broker->journal;
}

/* ---- notation ---- */

static void put_text(struct buf *out, struct str text)
{
    buf_add_varint(out, text.size);
    buf_add_str(out, text);
}

void journal_write_session_at(struct buf *out, const struct session *s, uint64_t last)
{
    buf_add_char(out, JOURNAL_SESSION);
    buf_add_varint(out, s->serial);
    put_text(out, session_client_id(s));
    put_text(out, str_of(s->identity->user));
    put_text(out, s->space ? str_of(session_space(s)->ns) : STR("")); /* the first is `default` */
    buf_add_varint(out, s->expiry_s);
    buf_add_varint(out, last);
}

void journal_write_subscribe(struct buf *out, const struct session *s,
                             const struct subscription *sub)
{
    struct buf filter = BUF_EMPTY;
    tree_print(sub, &filter);
    buf_add_char(out, JOURNAL_SUBSCRIBE);
    buf_add_varint(out, s->serial);
    put_text(out, buf_str(&filter));
    buf_add_char(out, (char)(sub->qos | sub->no_local << 2 | sub->retain_as_published << 3));
    buf_add_varint(out, sub->id);
    if (buf_failed(&filter)) out->failed = true;
    buf_free(&filter);
}

void journal_write_fields(struct buf *out, const struct broker *broker, const struct message *m,
                          const struct space *keeps)
{
    MUST(m->magic == MESSAGE_MAGIC && (!keeps || space_is_valid(keeps)));
    struct context *context = broker->context;
    bool is_elsewhere = keeps && keeps->index;
    buf_add_varint(out, m->serial);
    buf_add_char(out, (char)(m->qos | m->retain << 2 | (m->expires_ns != 0) << 3 |
                             (keeps != NULL) << 4 | is_elsewhere << 5));
    put_text(out, message_topic(m));
    put_text(out, message_properties(m));
    put_text(out, message_payload(m));
    if (m->expires_ns)
        buf_add_le64(
            out, (uint64_t)(m->expires_ns - context_mono_ns(context) + context_wall_ns(context)));
    if (is_elsewhere) put_text(out, str_of(keeps->ns));
}

void journal_write_message(struct buf *out, const struct broker *broker, const struct message *m,
                           const struct space *keeps)
{
    buf_add_char(out, JOURNAL_MESSAGE);
    journal_write_fields(out, broker, m, keeps);
    buf_add_varint(out, 0); /* no publisher */
    buf_add_varint(out, 0); /* no targets */
}

/* When it is due: wall clock, in seconds; 0: its client is connected. */
static uint64_t due_s(const struct broker *broker, const struct will *will)
{
    int64_t left_s = (int64_t)will->due.at_s - broker_now_s(broker);
    if (!wheel_is_set(&will->due)) return 0;
    return (uint64_t)(context_wall_ns(broker->context) / TIME_NS_PER_S + (left_s > 0 ? left_s : 0));
}

void journal_write_will(struct buf *out, const struct session *s)
{
    MUST(s->will && s->will->message);
    const struct will *will = s->will;
    buf_add_char(out, JOURNAL_WILL);
    buf_add_varint(out, s->serial);
    put_text(out, session_client_id(s));
    put_text(out, str_of(s->identity->user));
    put_text(out, s->space ? str_of(session_space(s)->ns) : STR(""));
    buf_add_varint(out, will->delay_s);
    buf_add_varint(out, will->expiry_s);
    buf_add_varint(out, due_s(s->broker, will));
    journal_write_fields(out, s->broker, will->message, NULL);
}

/* Of an entry in a queue: who, where, how. The message itself is said once for all of them. */
static void put_target(struct buf *out, const struct session *s, uint64_t ordinal,
                       const struct outbox_item *item)
{
    MUST(item->id_count <= OUTBOX_IDS_MAX);
    const uint32_t *ids = item->id_count > 1 ? item->ids : &item->id;
    bool is_tried = s->connection || ordinal < s->outbox.tried; /* or will be in a moment */
    buf_add_varint(out, s->serial);
    buf_add_varint(out, ordinal);
    buf_add_char(out, (char)(item->qos | item->retain << 2 | item->was_sent << 3 |
                             (item->message == NULL) << 4 | is_tried << 5 | item->is_shared << 6));
    buf_add_varint(out, item->id_count);
    for (size_t i = 0; i < item->id_count; i++) buf_add_varint(out, ids[i]);
}

void journal_write_target(struct buf *out, const struct session *s, uint64_t ordinal,
                          const struct outbox_item *item)
{
    buf_add_char(out, JOURNAL_TARGET);
    put_target(out, s, ordinal, item);
    buf_add_varint(out, item->message ? item->message->serial : 0);
}

void journal_write_pair(struct buf *out, enum journal_kind kind, const struct session *s,
                        uint64_t number)
{
    buf_add_char(out, (char)kind);
    buf_add_varint(out, s->serial);
    buf_add_varint(out, number);
}

/* ---- changes ---- */

/* Where the next change goes; NULL: nothing is written of this session. */
static struct buf *begin(struct session *s)
{
    MUST(session_is_valid(s));
    struct journal *j = journal_of(s);
    if (j->is_off || !s->is_logged) return NULL;
    j->change++;
    return &j->out;
}

void journal_session(struct session *s)
{
    s->is_logged |= s->expiry_s > 0;
    struct buf *out = begin(s);
    if (out) journal_write_session_at(out, s, session_last(s));
}

void journal_end(struct session *s)
{
    struct buf *out = begin(s);
    if (!out) return;
    buf_add_char(out, JOURNAL_END);
    buf_add_varint(out, s->serial);
}

void journal_subscribe(struct session *s, const struct subscription *sub)
{
    struct buf *out = begin(s);
    if (out) journal_write_subscribe(out, s, sub);
}

void journal_unsubscribe(struct session *s, const struct subscription *sub)
{
    struct buf *out = begin(s), filter = BUF_EMPTY;
    if (!out) return;
    tree_print(sub, &filter);
    buf_add_char(out, JOURNAL_UNSUBSCRIBE);
    buf_add_varint(out, s->serial);
    put_text(out, buf_str(&filter));
    if (buf_failed(&filter)) out->failed = true;
    buf_free(&filter);
}

void journal_done(struct session *s, uint64_t ordinal)
{
    struct buf *out = begin(s);
    if (out) journal_write_pair(out, JOURNAL_DONE, s, ordinal);
}

void journal_received(struct session *s, uint64_t ordinal)
{
    struct buf *out = begin(s);
    if (out) journal_write_pair(out, JOURNAL_RECEIVED, s, ordinal);
}

void journal_release(struct session *s, uint16_t packet_id)
{
    struct buf *out = begin(s);
    if (out) journal_write_pair(out, JOURNAL_RELEASE, s, packet_id);
}

void journal_dropped(struct session *s, uint64_t from, uint64_t until)
{
    struct buf *out = begin(s);
    if (!out) return;
    journal_write_pair(out, JOURNAL_DROPPED, s, from);
    buf_add_varint(out, until);
}

void journal_will(struct session *s)
{
    MUST(session_is_valid(s));
    struct journal *j = journal_of(s);
    if (j->is_off || !s->will) return;
    j->change++;
    s->will->is_logged = true;
    journal_write_will(&j->out, s);
}

void journal_will_gone(struct session *s)
{
    MUST(session_is_valid(s));
    struct journal *j = journal_of(s);
    if (j->is_off) return;
    j->change++;
    buf_add_char(&j->out, JOURNAL_WILL_GONE);
    buf_add_varint(&j->out, s->serial);
}

void journal_target(struct session *s, uint64_t ordinal, const struct outbox_item *item)
{
    MUST(session_is_valid(s) && (item->qos == 1 || item->qos == 2));
    struct journal *j = journal_of(s);
    if (j->is_off || !s->is_logged) return;
    put_target(&j->targets, s, ordinal, item);
    j->target_count++;
}

bool journal_message(struct broker *broker, const struct message *m, struct session *publisher,
                     uint16_t packet_id)
{
    MUST(m->magic == MESSAGE_MAGIC && (!publisher || session_is_valid(publisher)));
    struct journal *j = &broker->journal;
    bool is_known_again = publisher && publisher->is_logged && packet_id;
    const struct space *keeps = j->keeps;
    j->keeps = NULL;
    if (j->is_off || (!j->target_count && !keeps && !is_known_again)) return false;
    buf_add_char(&j->out, JOURNAL_MESSAGE);
    journal_write_fields(&j->out, broker, m, keeps);
    buf_add_varint(&j->out, is_known_again ? publisher->serial : 0);
    if (is_known_again) buf_add_varint(&j->out, packet_id);
    buf_add_varint(&j->out, j->target_count);
    buf_add_str(&j->out, buf_str(&j->targets));
    if (buf_failed(&j->targets)) j->out.failed = true;
    buf_clear(&j->targets);
    j->target_count = 0;
    j->change++;
    return true;
}

/* ---- who waits ---- */

static void send_ack(struct connection *c, enum mqtt_type type, uint16_t packet_id,
                     enum mqtt_reason reason)
{
    MUST(packet_id > 0);
    if (!c->stream || c->state != CONNECTION_OPEN) return;
    mqtt_write_ack(connection_out(c), (enum mqtt_version)c->version, type, packet_id, reason,
                   STR(""));
    connection_touch(c);
}

/* Places are by number modulo the size, so they are moved one by one. */
static bool grow_acks(struct journal *j)
{
    MUST(j->ack_last - j->ack_first == j->ack_capacity);
    size_t wanted = j->ack_capacity ? j->ack_capacity * 2 : ACKS_FIRST;
    struct journal_ack *acks = mem_alloc(wanted * sizeof *acks);
    if (!acks) return false;
    for (uint64_t i = j->ack_first; i < j->ack_last; i++)
        acks[i & (wanted - 1)] = j->acks[i & (j->ack_capacity - 1)];
    mem_free(j->acks);
    j->acks = acks;
    j->ack_capacity = wanted;
    return true;
}

/* False: no memory, and the connection ends. */
static bool stand_in_line(struct connection *c, struct journal_ack ack)
{
    struct journal *j = &c->broker->journal;
    if (j->ack_last - j->ack_first == j->ack_capacity && !grow_acks(j)) {
        connection_end(c, MQTT_REASON_QUOTA_EXCEEDED, "no memory for an acknowledgement");
        return false;
    }
    j->acks[j->ack_last++ & (j->ack_capacity - 1)] = ack;
    c->waiting_acks++;
    return true;
}

void journal_hold_output(struct connection *c)
{
    MUST(connection_is_valid(c));
    const struct journal *j = &c->broker->journal;
    if (j->change > j->durable &&
        stand_in_line(c, (struct journal_ack){c, j->change, .is_output = true}))
        c->held_output++;
}

void journal_acknowledge(struct connection *c, enum mqtt_type type, uint16_t packet_id,
                         enum mqtt_reason reason, enum journal_wait wait, struct rows_span rows)
{
    MUST(connection_is_valid(c));
    struct journal *j = &c->broker->journal;
    bool is_written = wait == JOURNAL_WRITTEN;
    bool must_wait = wait && j->change > j->durable && (!is_written || j->change > j->written);
    j->wants_written |= must_wait && is_written;
    if (!must_wait && !rows.last && !c->waiting_acks) { /* in the order of what is acknowledged */
        send_ack(c, type, packet_id, reason);
        return;
    }
    (void)stand_in_line(c, (struct journal_ack){c, must_wait ? j->change : 0, rows, packet_id,
                                                (uint8_t)type, (uint8_t)reason, is_written, false});
}

void journal_release_acks(struct broker *broker)
{
    struct journal *j = &broker->journal;
    uint64_t rows = rows_done(broker);
    while (j->ack_first < j->ack_last) {
        struct journal_ack *a = &j->acks[j->ack_first & (j->ack_capacity - 1)];
        bool is_safe = a->change <= j->durable || (a->is_written && a->change <= j->written);
        if (!is_safe || a->rows.last > rows) return;
        j->ack_first++;
        struct connection *c = a->connection;
        MUST(connection_is_valid(c) && c->waiting_acks > 0);
        MUST(!a->is_output || c->held_output > 0);
        c->waiting_acks--;
        if (!a->is_output)
            send_ack(c, (enum mqtt_type)a->type, a->packet_id, (enum mqtt_reason)a->reason);
        else if (--c->held_output == 0 && c->stream)
            connection_touch(c);
    }
}

void journal_forget_acks(struct broker *broker)
{
    MUST(broker->is_stopping && !broker->connections);
    broker->journal.ack_first = broker->journal.ack_last;
}

/* Who waits for batches on both sides of it may have had nothing in it, and is told all the same:
 * it sends again what is stored already, which does no harm. MQTT 5.0 can be told; 3.x only by
 * ending the connection, after which the client sends again, as a remote broker does, which would
 * take a refusal for the end of the message. */
void journal_fail_rows(struct broker *broker, uint64_t number)
{
    struct journal *j = &broker->journal;
    for (uint64_t i = j->ack_first; i < j->ack_last; i++) {
        struct journal_ack *a = &j->acks[i & (j->ack_capacity - 1)];
        if (number < a->rows.first || number > a->rows.last) continue;
        MUST(connection_is_valid(a->connection));
        a->reason = MQTT_REASON_QUOTA_EXCEEDED;
        if (a->type == MQTT_PUBREC && a->connection->session)
            session_drop_received(a->connection->session, a->packet_id);
        if (a->connection->version != MQTT_5 || a->connection->is_dialled)
            connection_end(a->connection, MQTT_REASON_QUOTA_EXCEEDED, "rows could not be stored");
    }
}

/* Everything that waits for durable changes is told here and nowhere else. */
static void move_on(struct broker *broker, uint64_t reached)
{
    struct journal *j = &broker->journal;
    MUST(reached >= j->reached && reached <= j->change);
    j->reached = reached;
    if (j->hole) return; /* until a snapshot has filled it */
    j->durable = reached;
    journal_release_acks(broker);
    session_pump_stalled(broker);
    command_resume(broker, ERR_OK);
    connection_resume_held(broker);
}

/* ---- notes ---- */

bool journal_is_full(const struct broker *broker)
{
    const struct journal *j = &broker->journal;
    return j->in_flight >= IN_FLIGHT_MAX && j->out.size >= OUT_BYTES_MAX;
}

static void give(struct broker *broker, struct broker_note *note)
{
    MUST(broker->hooks.journal && note->change <= broker->journal.change);
    note->is_done = false;
    broker->journal.in_flight++;
    broker->hooks.journal(broker->hooks.arg, note);
}

/* What was written may stand behind something that the log did not take, or that was lost for lack
 * of memory: then it does not count yet. */
static void finish_written(struct job *job)
{
    struct broker_note *note = (void *)((char *)job - offsetof(struct broker_note, written));
    struct broker *broker = note->broker;
    MUST(broker_is_valid(broker) && note->wants_written);
    struct journal *j = &broker->journal;
    broker->now_ns = loop_mono_ns(&broker->loop);
    for (const struct broker_note *n = j->first; n && n != note; n = n->next)
        if (n->err) return;
    if (j->hole || j->is_failing || note->change <= j->written) return;
    j->written = note->change;
    journal_release_acks(broker);
}

void broker_note_written(struct broker_note *note)
{
    note->written.run = finish_written;
    loop_post(&note->broker->loop, &note->written);
}

void journal_post(struct broker *broker)
{
    MUST(broker_is_valid(broker) && !broker->journal.target_count);
    struct journal *j = &broker->journal;
    /* At the end there is no later turn. */
    bool has_room = j->in_flight < IN_FLIGHT_MAX || broker->is_stopping;
    if (j->change == j->reached || (!j->out.size && !buf_failed(&j->out)) || !has_room ||
        j->is_failing)
        return;
    if (!broker->hooks.journal) {
        buf_clear(&j->out);
        move_on(broker, j->change);
        return;
    }
    if (buf_failed(&j->out)) {
        j->hole = j->change;
        buf_free(&j->out);
        j->out = BUF_EMPTY;
        snapshot_need(broker);
        copying_fail(broker, ERR_NO_MEMORY, NULL);
        return;
    }
    struct broker_note *note = mem_alloc_zero(1, sizeof *note);
    if (!note) return; /* the next turn tries again */
    char format = JOURNAL_FORMAT;
    buf_add(&note->body, &format, 1);
    buf_add_str(&note->body, buf_str(&j->out));
    if (buf_failed(&note->body)) {
        buf_free(&note->body);
        mem_free(note);
        return;
    }
    buf_clear(&j->out);
    note->broker = broker;
    note->change = j->change;
    note->wants_written = j->wants_written;
    j->wants_written = false;
    *(j->last ? &j->last->next : &j->first) = note;
    j->last = note;
    j->log_bytes += note->body.size;
    give(broker, note);
}

/* Once in ten seconds: it is tried again every second. */
static void tell_failure(struct broker *broker, const struct broker_note *note)
{
    struct journal *j = &broker->journal;
    if (j->told_ns && broker->now_ns - j->told_ns < 10 * TIME_NS_PER_S) return;
    j->told_ns = broker->now_ns;
    diag(broker->context, DIAG_ERROR, component,
         "the log does not take messages: %s; publishers wait, it is tried again every second",
         why_text(&note->why, note->err));
}

void journal_retry(struct broker *broker)
{
    struct journal *j = &broker->journal;
    if (!j->is_failing || j->in_flight) return;
    j->is_failing = false;
    for (struct broker_note *n = j->first; n; n = n->next) give(broker, n);
}

/* The log's answers come in the order of the notes, but a failure keeps later ones back: what is
 * durable is what is durable from the front on. */
static void finish_note(struct job *job)
{
    struct broker_note *note = (struct broker_note *)job;
    struct broker *broker = note->broker;
    struct journal *j = &broker->journal;
    MUST(broker_is_valid(broker) && !note->is_done);
    broker->now_ns = loop_mono_ns(&broker->loop);
    MUST(j->in_flight > 0);
    j->in_flight--;
    note->is_done = true;
    if (note->err) {
        j->is_failing = true;
        tell_failure(broker, note);
        return;
    }
    uint64_t reached = j->reached;
    while (!j->is_failing && j->first && j->first->is_done && !j->first->err) {
        struct broker_note *first = j->first;
        j->first = first->next;
        if (!j->first) j->last = NULL;
        reached = first->change;
        j->done_seq = first->seq;
        copying_note(broker, first);
        broker_note_free(first);
    }
    if (reached != j->reached) move_on(broker, reached);
    journal_post(broker);
    snapshot_go_on(broker);
    copying_look(broker);
}

void journal_snapshot_done(struct broker *broker, uint64_t change)
{
    MUST(broker_is_valid(broker) && change <= broker->journal.change);
    struct journal *j = &broker->journal;
    if (!j->hole || change < j->hole) return;
    uint64_t filled = j->hole;
    j->hole = 0;
    move_on(broker, j->reached > filled ? j->reached : filled);
}

void broker_note_done(struct broker_note *note)
{
    note->job.run = finish_note;
    loop_post(&note->broker->loop, &note->job);
}

void broker_note_free(struct broker_note *note)
{
    buf_free(&note->body);
    mem_free(note);
}

void journal_disown(struct broker *broker)
{
    struct journal *j = &broker->journal;
    for (struct broker_note **at = &j->first; *at;)
        if ((*at)->is_done)
            at = &(*at)->next;
        else
            *at = (*at)->next;
    j->last = NULL;
}

void journal_free(struct broker *broker)
{
    struct journal *j = &broker->journal;
    while (j->first) {
        struct broker_note *note = j->first;
        j->first = note->next;
        broker_note_free(note);
    }
    buf_free(&j->out);
    buf_free(&j->targets);
    mem_free(j->acks);
}

void journal_verify(const struct broker *broker)
{
    const struct journal *j = &broker->journal;
    size_t in_flight = 0;
    MUST(j->durable <= j->change && j->written <= j->change && j->reached <= j->change);
    MUST(j->hole <= j->change && (j->hole || j->durable == j->reached));
    MUST(!j->target_count && !j->targets.size && !j->keeps);
    MUST((j->ack_capacity & (j->ack_capacity - 1)) == 0);
    MUST(j->ack_first <= j->ack_last && j->ack_last - j->ack_first <= j->ack_capacity);
    for (uint64_t i = j->ack_first; i < j->ack_last; i++) {
        const struct journal_ack *a = &j->acks[i & (j->ack_capacity - 1)];
        MUST(connection_is_valid(a->connection) && a->connection->waiting_acks > 0);
        MUST(a->change <= j->change && a->rows.first <= a->rows.last);
    }
    for (const struct broker_note *n = j->first; n; n = n->next) {
        MUST(n->broker == broker && n->change <= j->change);
        MUST(!n->next || n->next->change > n->change);
        MUST(n->next || j->last == n);
        in_flight += !n->is_done;
    }
    MUST(in_flight == j->in_flight);
}
