/* broker.c - see broker.h: the broker's life, routing, retained messages on their way, the second's
 * tick.
 *
 * Routing (broker_publish) is where everything meets: a message that a client, a will, a command or
 * the broker itself published is matched against the space's tree once, delivered to each session
 * once (session_send.c) and to one member of each shared subscription, kept if it is to be
 * retained, and written to the journal with all its places in queues as one change. It borrows what
 * the tree remembers of the match, so nothing in between may change a subscription: delivering only
 * fills queues and buffers, and whatever ends sessions or connections is done at other times.
 *
 * Retained messages go to a new subscriber in walks (struct retained_walk): a job looks at
 * WALK_STEPS nodes, delivers what fits while the subscriber can take it, and comes again when there
 * is more to do. So a subscription to '#' over a large tree holds up nobody. A walk ends with its
 * session's connection.
 *
 * The task's turn: jobs and bytes come in and are acted on at once; then on_turn gives what was
 * gathered to the journal, to the disk's workers and to the store, and after that to the sockets,
 * so that nobody reads an acknowledgement before its note is on its way. Once a second on_tick lets
 * time pass for everything that has no timer of its own.
 *
 * The end is in two parts: end() on the task, which closes what talks to others and gives the last
 * changes away; broker_stop on the main loop, after which what is still with hooks belongs to them.
 */
#include "base/hash.h"
#include "mqtt/bridge_priv.h"
#include "mqtt/copy_priv.h"
#include "mqtt/topic.h"
#include "mqtt/verify.h"
#include "mqtt/watch.h"
#include "base/timetext.h"
#include <string.h>

static const char component[] = "mqtt";

enum { WALK_STEPS = 1000 }; /* nodes of the topic tree looked at in one go */

const struct broker_config broker_defaults = {
    .acks = {.doors = {BROKER_ACK_INHERIT, BROKER_ACK_INHERIT, BROKER_ACK_INHERIT,
                       BROKER_ACK_INHERIT}},
    .memory_bytes = 16 * 1024 * 1024,
    .connections_max = 20000,
    .packet_bytes_max = 1024 * 1024,
    .receive_maximum = 1024,
    .topic_alias_maximum = 64,
    .session_expiry_max_s = UINT32_MAX,
    .queue = {1000000, 256 * 1024 * 1024, BROKER_DROP_OLDEST, 10, 0},
    .queue_memory_bytes = 256 * 1024,
    .queue_disk_bytes = (uint64_t)2 * 1024 * 1024 * 1024,
    .retained_max = 100000,
    .subscriptions_max = 1000,
    .send_bytes_max = 256 * 1024,
    .loops = BROKER_LOOPS_AUTO,
    .shared = BROKER_ROUND_ROBIN,
    .data_prefix = "data/",
    .cmd_prefix = "cmd/",
    .sys_interval_s = 10,
    .limits = {.half_open = 15000,
               .half_open_per_listener = 12000,
               .half_open_per_peer = 1000,
               .connect_s = 10,
               .login_bytes = 256 * 1024,
               .topic_levels = 201},
    .bans = {.drops = 30, .failures = 100, .window_s = 60, .time_s = 300},
};

/* ---- routing ---- */

enum { IDS_MAX = 64 }; /* subscription identifiers of one session that one message can carry */

/* The subscriptions of one session, which lie next to each other, become one delivery with the
 * highest QoS (MQTT 5.0 section 3.3.4). Gives how many they were. */
static size_t deliver_to_one(struct message *m, struct subscription *const *items, size_t count,
                             size_t *reached)
{
    MUST(count > 0);
    struct session *session = items[0]->session;
    uint32_t ids[IDS_MAX];
    struct delivery d = {.ids = ids};
    size_t n = 0, used = 0;
    for (; n < count && items[n]->session == session; n++) {
        const struct subscription *s = items[n];
        if (s->no_local && m->publisher == session->serial) continue;
        if (s->qos > d.qos) d.qos = s->qos;
        if (s->retain_as_published && m->retain) d.retain = true;
        if (s->id && d.id_count < IDS_MAX) ids[d.id_count++] = s->id;
        used++;
    }
    if (!used) return n;
    if (m->qos < d.qos) d.qos = m->qos;
    session_deliver(session, m, &d);
    (*reached)++;
    return n;
}

/* A message without payload takes away what was [MQTT-3.3.1-6]. Replacing one is allowed at any
 * limit; at three quarters of the memory new ones are refused, so that others keep theirs. */
static void retain(struct space *space, struct message *m)
{
    struct broker *broker = space->broker;
    struct str topic = message_topic(m);
    bool is_empty = m->payload_size == 0;
    bool is_more = !is_empty && !tree_retained(space->tree, topic);
    MUST(broker->retained_count >= broker->own_retained_count);
    size_t count = broker->retained_count - broker->own_retained_count;
    bool is_own = message_is_own(m); /* takes no place of the limit */
    enum err err = ERR_OK;
    if (is_more && !is_own && count >= broker->config.retained_max) err = ERR_LIMIT;
    if (is_more && !broker_may_keep(broker)) err = ERR_BUDGET;
    if (!err) err = space_retain(space, topic, is_empty ? NULL : m);
    if (err) limits_act(broker, err == ERR_LIMIT ? LIMIT_RETAINED : LIMIT_MEMORY, "");
    broker->journal.keeps = !err && !is_own ? space : NULL;
}

size_t broker_publish(struct space *space, struct message *m, struct session *publisher,
                      uint16_t packet_id, bool *logged)
{
    MUST(space_is_valid(space) && m->magic == MESSAGE_MAGIC);
    MUST(!space->broker->journal.target_count); /* one message is routed at a time */
    struct broker *broker = space->broker;
    size_t reached = 0;
    const struct tree_matches *found = tree_match(space->tree, message_topic(m));
    *logged = false;
    m->made_s = broker->wall_s;
    if (broker->watches) watches_tell(space, message_topic(m), message_payload(m));
    if (!found) {
        limits_act(broker, LIMIT_MEMORY, "");
        return 0;
    }
    for (size_t i = 0; i < found->count;)
        i += deliver_to_one(m, found->items + i, found->count - i, &reached);
    for (size_t i = 0; i < found->group_count; i++)
        reached += shared_deliver(broker, found->groups[i], m);
    if (m->retain) retain(space, m);
    *logged = journal_message(broker, m, publisher, packet_id);
    return reached;
}

/* ---- retained messages for new subscribers ---- */

static void free_walk(struct retained_walk *w)
{
    tree_walk_end(&w->walk);
    mem_free(w);
}

/* One job for all walks, on its way once. */
static void post_walks(struct broker *broker)
{
    if (broker->is_walking || !broker->walks) return;
    broker->is_walking = true;
    loop_post(&broker->loop, &broker->walk_job);
}

enum err broker_send_retained(struct session *session, struct str filter, uint8_t qos, uint32_t id)
{
    MUST(session_is_valid(session) && session->connection && qos <= 2);
    struct broker *broker = session->broker;
    struct tree *tree = session_space(session)->tree;
    if (tree_retained_count(tree) == 0) return ERR_OK;
    struct retained_walk *w = mem_alloc_zero(1, sizeof *w);
    enum err err = w ? tree_walk_begin(tree, filter, &w->walk) : ERR_NO_MEMORY;
    if (err) {
        mem_free(w);
        return err;
    }
    w->session = session;
    w->qos = qos;
    w->id = id;
    w->until = broker->last_serial;
    struct retained_walk **end = &broker->walks;
    while (*end) end = &(*end)->next;
    *end = w;
    post_walks(broker);
    return ERR_OK;
}

bool broker_has_walks(const struct session *session)
{
    MUST(session_is_valid(session));
    const struct retained_walk *w = session->broker->walks;
    while (w && w->session != session) w = w->next;
    return w != NULL;
}

void broker_forget_walks(struct session *session)
{
    MUST(session_is_valid(session));
    for (struct retained_walk **at = &session->broker->walks; *at;) {
        struct retained_walk *w = *at;
        if (w->session != session) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free_walk(w);
    }
}

/* Whether the session can take more just now; it is asked again when it has sent or heard. */
static bool can_take(const struct session *s)
{
    MUST(session_is_valid(s));
    const struct connection *c = s->connection;
    const struct broker_config *config = &s->broker->config;
    struct session_limits limits = session_limits(s);
    return c && !c->is_slow && connection_out_size(c) < config->send_bytes_max / 2 && !s->spill &&
           session_queued(s) < limits.messages / 2 && session_queued_bytes(s) < limits.bytes / 2;
}

/* True when the walk is over. */
static bool go_on(struct retained_walk *w, unsigned *steps)
{
    MUST(session_is_valid(w->session) && w->qos <= 2);
    while (*steps && can_take(w->session)) {
        struct message *m = tree_walk_next(&w->walk, steps);
        if (!m) break;
        if (m->serial > w->until) continue;
        if (w->session->bridge && bridge_keeps_here(w->session->bridge, m)) continue;
        struct delivery d = {.qos = m->qos < w->qos ? m->qos : w->qos,
                             .retain = true,
                             .ids = &w->id,
                             .id_count = w->id != 0};
        session_deliver(w->session, m, &d);
        /* The queue's entry is not to wait for the next message, and not to become one of it. */
        (void)journal_message(w->session->broker, m, NULL, 0);
    }
    return !w->walk.at;
}

/* Goes on while one of them can take more, or there was no step left to see; else whoever makes
 * room asks again (broker_resume_walks). */
static void run_walks(struct job *job)
{
    struct broker *broker = (void *)((char *)job - offsetof(struct broker, walk_job));
    unsigned steps = WALK_STEPS;
    bool goes_on = false;
    broker->is_walking = false;
    for (struct retained_walk **at = &broker->walks; *at && steps;) {
        struct retained_walk *w = *at;
        if (go_on(w, &steps)) {
            *at = w->next;
            free_walk(w);
            continue;
        }
        goes_on |= can_take(w->session);
        at = &w->next;
    }
    if (goes_on || !steps) post_walks(broker);
}

void broker_resume_walks(struct broker *broker)
{
    post_walks(broker);
}

/* ---- time ---- */

static void look_at_clocks(struct broker *broker)
{
    broker->now_ns = loop_mono_ns(&broker->loop);
    broker->wall_s = (uint32_t)(loop_wall_ns(&broker->loop) / TIME_NS_PER_S);
}

/* Just behind the next whole second, which is what the wheel counts. */
static void set_timer(struct broker *broker)
{
    int64_t into_ns = broker->now_ns % TIME_NS_PER_S;
    broker->context->os->ops->timer_set(broker->timer,
                                        TIME_NS_PER_S - into_ns + TIME_NS_PER_S / 1000);
}

/* Logins are over when a second brings none; of many, when nobody is logging in just now. */
static void trim_after_burst(struct broker *broker)
{
    enum { MANY_LOGINS = 500 };
    uint64_t fresh = broker->logins - broker->logins_trimmed;
    bool is_over = broker->logins == broker->logins_seen;
    broker->logins_seen = broker->logins;
    if (!fresh || !(is_over || (fresh >= MANY_LOGINS && !broker->login_slab))) return;
    broker->logins_trimmed = broker->logins;
    broker->context->os->ops->memory_trim(broker->context->os);
}

/* Once a second, in an order in which what ends comes before what is counted. */
static void on_tick(void *arg)
{
    struct broker *broker = arg;
    MUST(broker_is_valid(broker));
    look_at_clocks(broker);
    wheel_tick(&broker->wheel, broker_now_s(broker));
    journal_retry(broker);
    spill_tick(broker);
    connect_tick(broker);
    snapshot_look(broker);
    copying_look(broker);
    sys_topics_tick(broker);
    expiry_tick(broker);
    spaces_sweep(broker);
    limits_tick(broker);
    bridges_tick(broker);
    if (BROKER_VERIFIES) broker_verify(broker, false);
    trim_after_burst(broker);
    set_timer(broker);
}

/* Acknowledgements that wait for nothing go out with the turn's output; the journal is given what
 * the turn has changed before that, so that it is on its way. */
static void on_turn(void *arg)
{
    journal_post(arg);
    spill_post(arg);
    rows_post(arg);
    connection_flush_all(arg);
    trace_post(arg);
}

/* ---- life ---- */

static void end(struct job *job);

/* The first job of the task. Without memory for a timer the broker serves without a sense of
 * time: nothing expires, which is told. */
static void begin(struct job *job)
{
    struct broker *broker = (void *)((char *)job - offsetof(struct broker, begin_job));
    const struct os_ops *ops = broker->context->os->ops;
    MUST(broker_is_valid(broker) && !broker->timer);
    look_at_clocks(broker);
    broker->began_s = broker_now_s(broker);
    ops->task_on_turn(broker->loop.task, on_turn, broker);
    if (ops->timer_make(broker->loop.task, on_tick, broker, &broker->timer))
        diag(broker->context, DIAG_ERROR, component,
             "no memory for a timer: keep-alive is not watched");
    else
        set_timer(broker);
}

void broker_free(struct broker *broker)
{
    if (!broker) return;
    MUST(broker->magic == BROKER_MAGIC && !broker->connections && !broker->is_started);
    if (BROKER_VERIFIES) broker_verify(broker, true);
    broker->journal.is_off = true;
    bridges_free(broker);
    while (broker->first_session) session_end(broker->first_session);
    spill_free(broker);
    connect_free(broker);
    copying_free(broker);
    snapshot_free(broker);
    journal_free(broker);
    sys_topics_free(broker);
    expiry_free(broker);
    limits_free(broker);
    rows_free(broker);
    streams_free(broker);
    for (size_t i = 0; i < IDENTITIES_KEPT; i++) identity_release(broker->identities[i]);
    while (broker->spare_count) {
        struct buf *spare = broker->spares[--broker->spare_count];
        buf_free(spare);
        mem_free(spare);
    }
    spaces_free(broker);
    mem_free(broker->buckets);
    map_free(&broker->by_serial);
    broker->magic = 0;
    mem_free(broker);
}

/* What the file's targets refer to is not needed any more. */
void broker_end_loading(struct broker *broker)
{
    MUST(broker_is_valid(broker) && !broker->is_started);
    size_t at = 0;
    struct str key;
    void *message;
    while (map_next(&broker->loading, &at, &key, &message)) message_release(message);
    map_free(&broker->loading);
    map_init(&broker->loading);
    broker->is_loading = false;
}

static void (*const due[WHEEL_KINDS])(struct wheel_node *node) = {
    [WHEEL_CONNECTION] = connection_on_timer,
    [WHEEL_SESSION] = session_on_expiry,
    [WHEEL_WILL] = session_on_will_due,
    [WHEEL_RETRY] = bridge_on_retry,
};

enum err broker_new(struct context *context, const struct broker_config *config, const char *folder,
                    struct broker **out, struct why *why)
{
    struct broker *broker = mem_alloc_zero(1, sizeof *broker);
    if (!broker) return why_set(why, ERR_NO_MEMORY, "no memory for the MQTT broker");
    broker->magic = BROKER_MAGIC;
    broker->context = context;
    broker->config = *config;
    (void)str_copy(broker->folder, sizeof broker->folder, str_of(folder));
    /* What was accepted once is taken up again whatever the setting is by now. */
    budget_init(&broker->memory, "mqtt", &context->memory, SIZE_MAX);
    map_init(&broker->by_serial);
    map_init(&broker->loading);
    map_init(&broker->spaces_by_name);
    broker->now_ns = context_mono_ns(context);
    wheel_init(&broker->wheel, broker_now_s(broker), due);
    broker->walk_job.run = run_walks;
    broker->begin_job.run = begin;
    broker->last_command = &broker->commands;
    inspect_init(broker);
    limits_init(broker);
    broker->end_job.run = end;
    broker->journal.is_off = broker->is_loading = true;
    enum err err = space_get(broker, STR(SPACE_DEFAULT))
                       ? snapshot_load(broker, why)
                       : why_set(why, ERR_NO_MEMORY, "no memory for the MQTT broker");
    broker_end_loading(broker);
    if (err)
        broker_free(broker);
    else
        *out = broker;
    return err;
}

enum err broker_replay(struct broker *broker, uint64_t seq, struct str body, struct why *why)
{
    MUST(broker_is_valid(broker) && !broker->is_loading);
    struct journal *j = &broker->journal;
    MUST(j->is_off);
    if (seq <= j->saved_seq) return ERR_OK;
    j->done_seq = seq;
    j->log_bytes += body.size;
    return journal_replay(broker, body, why);
}

void broker_set_node(struct broker *broker, const char *node)
{
    MUST(!broker->is_started && node[0]);
    (void)str_copy(broker->node, sizeof broker->node, str_of(node)); /* the beginning will do */
}

_Static_assert((int)BROKER_LOOPS_MAX == (int)CARRIERS_MAX, "each loop is a carrier");

void broker_set_loops(struct broker *broker)
{
    MUST(broker_is_valid(broker));
    struct os *os = broker->context->os;
    int loops = broker->config.loops;
    /* A core of four moves bytes; with fewer the task switches cost more than they win. */
    if (loops == BROKER_LOOPS_AUTO) loops = (int)os->ops->processor_count(os) / 4;
    broker->loops = loops < BROKER_LOOPS_MAX ? (unsigned)loops : BROKER_LOOPS_MAX;
}

enum err broker_start(struct broker *broker, const struct broker_hooks *hooks, struct why *why)
{
    MUST(broker_is_valid(broker) && broker->journal.is_off);
    MUST(hooks->login && !broker->is_started);
    broker->hooks = *hooks;
    broker->memory.limit_bytes = broker->config.memory_bytes;
    broker_set_loops(broker);
    broker->now_ns = context_mono_ns(broker->context);
    wheel_tick(&broker->wheel, broker_now_s(broker));
    journal_replayed(broker);
    enum err err = loop_start(&broker->loop, broker->context->os, "mqtt", 0, why);
    if (err) return err;
    broker->is_started = true;
    loop_post(&broker->loop, &broker->begin_job);
    return ERR_OK;
}

void broker_save(struct broker *broker)
{
    MUST(broker_is_valid(broker));
    atomic_store(&broker->is_asked_to_save, true);
}

static void finish_work(struct job *job)
{
    struct broker_work *work = (struct broker_work *)job;
    MUST(broker_is_valid(work->owner) && work->done);
    work->done(work);
}

void broker_work_done(struct broker_work *work)
{
    work->job.run = finish_work;
    loop_post(&work->owner->loop, &work->job);
}

/* The last job that does anything. Connections first, since they give wills and changes to the
 * journal; then what is asked is answered, and no turn writes any more. */
static void end(struct job *job)
{
    struct broker *broker = (void *)((char *)job - offsetof(struct broker, end_job));
    const struct os_ops *ops = broker->context->os->ops;
    MUST(broker_is_valid(broker) && !broker->is_stopping);
    broker->is_stopping = true;
    while (broker->connections) connection_cut(broker->connections);
    journal_forget_acks(broker);
    connection_flush_all(broker);
    if (broker->carriers) { /* they post to this loop while they run, and never again */
        carriers_free(broker->carriers);
        broker->carriers = NULL;
        loop_run_jobs(&broker->loop);
    }
    journal_post(broker);
    inspect_stop(broker);
    trace_stop_all(broker);
    command_resume(broker, ERR_CANCELLED);
    copying_stop(broker);
    if (broker->timer) ops->timer_close(broker->timer);
    if (broker->limits.timer) ops->timer_close(broker->limits.timer);
    broker->timer = broker->limits.timer = NULL;
    ops->task_on_turn(broker->loop.task, NULL, NULL);
}

void broker_stop(struct broker *broker)
{
    MUST(broker->magic == BROKER_MAGIC);
    if (!broker->is_started) return;
    loop_post(&broker->loop, &broker->end_job);
    loop_stop(&broker->loop);
    journal_disown(broker);
    rows_disown(broker);
    asks_disown(broker);
    broker->is_started = false;
}
