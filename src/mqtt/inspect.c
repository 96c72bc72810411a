/* inspect.c - see inspect.h.
 *
 * A look stands at a session, a subscription or a node of the topic tree while others run. The
 * broker's list of looks lets what ends move them on (inspect_forget_…), and the tree's walk is
 * pinned, as its space is. One job for all looks (is_inspecting: it is on its way): when the broker
 * stops they are finished, and the job that may still be queued finds none.
 *
 * Looks take turns, so a short list need not wait for a long one. What an identity may not see is
 * left out where the row would be made, never afterwards; a row that finds no memory ends the look
 * with an error, since a list that lacks rows without saying so would be believed. */
#include "mqtt/inspect.h"
#include "base/timetext.h"
#include "mqtt/bridge_priv.h"
#include "mqtt/topic.h"
#include <string.h>

enum { SLICE_STEPS = 500 }; /* rows or nodes looked at in one go: some 0.2 ms */

/* ---- rights ---- */

bool broker_client_is_open_to(const struct identity *identity, enum access_verb verb, struct str ns,
                              struct str client_id, const char *user)
{
    return (identity && strcmp(identity->user, user) == 0) ||
           access_scope(identity, verb, "MqttClient", ns, client_id) == ACCESS_ALL;
}

static struct str ns_of(const struct session *s)
{
    return str_of(session_space(s)->ns);
}

/* A client's own sessions are its user's to see. */
static bool sees(const struct broker_inspect *i, const struct session *s)
{
    if (i->ns.size && !str_equal(i->ns, ns_of(s))) return false;
    if (i->sees_all) return true;
    if (!i->sees_some) return strcmp(i->identity->user, s->identity->user) == 0;
    return broker_client_is_open_to(i->identity, VERB_LIST, ns_of(s), session_client_id(s),
                                    s->identity->user);
}

/* ---- rows ---- */

/* A new row, zeroed; NULL: no memory, or there are enough. */
static void *add_row(struct broker_inspect *i, struct broker_list *rows, size_t size)
{
    if (i->rows_max && rows->count >= i->rows_max) {
        rows->is_cut = true;
        return NULL;
    }
    void *row = NULL;
    i->err = mem_grow(&rows->at, &rows->capacity, rows->count + 1, sizeof rows->at[0]);
    if (!i->err && !(row = arena_zero(&i->arena, 1, size))) i->err = ERR_BUDGET;
    if (row) rows->at[rows->count++] = row;
    return row;
}

static struct str keep(struct broker_inspect *i, struct str text)
{
    const char *kept = arena_strdup(&i->arena, text.at, text.size);
    if (!kept) i->err = ERR_BUDGET;
    return kept ? (struct str){kept, text.size} : STR("");
}

/* Texts are copied: the session may be gone when the row is read. */
static void add_client(struct broker_inspect *i, const struct session *s)
{
    const struct connection *c = s->connection;
    struct broker_client_row *row = add_row(i, &i->clients, sizeof *row);
    if (!row) return;
    *row = (struct broker_client_row){
        .ns = keep(i, ns_of(s)),
        .client_id = keep(i, session_client_id(s)),
        .user = keep(i, str_of(s->identity->user)),
        .peer = c ? keep(i, str_of(connection_peer(c))) : STR(""),
        .is_connected = c != NULL,
        .is_tls = c && c->is_tls,
        .is_slow = c && c->is_slow,
        .version = c ? c->version : 0,
        .keep_alive_s = c ? c->keep_alive_s : 0,
        .expiry_s = s->expiry_s,
        .since_ns = (int64_t)s->since_s * TIME_NS_PER_S,
        .subscriptions = s->subscription_count,
        .queued = session_queued(s),
        .queued_bytes = session_queued_bytes(s),
        .in_flight = s->outbox.in_flight,
        .received = s->messages_in,
        .sent = s->messages_out,
        .dropped = s->messages_dropped,
    };
}

static void add_subscription(struct broker_inspect *i, const struct session *s,
                             const struct subscription *sub)
{
    struct broker_subscription_row *row = add_row(i, &i->subscriptions, sizeof *row);
    struct buf filter = BUF_EMPTY;
    if (!row) return;
    tree_print(sub, &filter);
    *row = (struct broker_subscription_row){
        .ns = keep(i, ns_of(s)),
        .client_id = keep(i, session_client_id(s)),
        .filter = keep(i, buf_str(&filter)),
        .id = sub->id,
        .qos = sub->qos,
        .no_local = sub->no_local,
        .retain_as_published = sub->retain_as_published,
    };
    if (buf_failed(&filter)) i->err = ERR_NO_MEMORY;
    buf_free(&filter);
}

static void add_retained(struct broker_inspect *i, const struct message *m)
{
    struct broker_retained_row *row = add_row(i, &i->retained, sizeof *row);
    if (!row) return;
    *row = (struct broker_retained_row){
        .ns = keep(i, str_of(i->walked->ns)),
        .topic = keep(i, message_topic(m)),
        .payload = i->with_payload ? keep(i, message_payload(m)) : (struct str){0},
        .size_bytes = m->payload_size,
        .time_ns = (int64_t)m->made_s * TIME_NS_PER_S,
        .qos = m->qos,
    };
}

/* Who it is about may see it; else whoever sees all clients. */
static void add_ban(struct broker_inspect *i, const struct watched *w)
{
    const struct broker *broker = i->broker;
    struct str user = watched_user(w);
    bool is_own = user.size && str_is(user, i->identity->user);
    if (!watched_is_banned(broker, w) || (!i->sees_all && !is_own)) return;
    struct broker_ban_row *row = add_row(i, &i->bans, sizeof *row);
    if (!row) return;
    int64_t left_s = w->banned_until_s - broker_now_s(broker);
    *row = (struct broker_ban_row){
        .is_client = w->kind == WATCHED_CLIENT,
        .name = keep(i, watched_name(w)),
        .user = user.size ? keep(i, user) : STR(""),
        .count = w->ban_count,
        .since_ns = (int64_t)w->banned_wall_s * TIME_NS_PER_S,
        .until_ns = ((int64_t)broker->wall_s + left_s) * TIME_NS_PER_S,
    };
}

/* At once: they are few, or the table of those that are watched is at its bound. */
static void add_bans(struct broker_inspect *i)
{
    size_t at = 0;
    struct str key;
    void *value;
    if (!i->broker->limits.ban_count) return;
    while (!i->err && map_next(&i->broker->limits.watched, &at, &key, &value)) add_ban(i, value);
}

/* There are few: all in one go. */
static void add_bridges(struct broker_inspect *i)
{
    for (const struct bridge *b = i->broker->bridges; b && !i->err; b = b->next) {
        char remote[OS_HOST_BYTES + 8];
        struct broker_bridge_row *row = b->is_removed ? NULL : add_row(i, &i->bridges, sizeof *row);
        if (!row) continue;
        bridge_look(b, row);
        os_address_print(&b->settings->address, remote, sizeof remote);
        row->ns = keep(i, row->ns);
        row->name = keep(i, row->name);
        row->error = keep(i, row->error);
        row->remote = keep(i, str_of(remote));
    }
}

/* ---- the walk ---- */

static bool is_enough(const struct broker_inspect *i, enum broker_look look,
                      const struct broker_list *rows)
{
    return !(i->looks & look) || rows->is_cut;
}

/* One step: a session's own row, or one of its subscriptions. */
static void step_session(struct broker_inspect *i)
{
    MUST(session_is_valid(i->at));
    struct session *s = i->at;
    if (i->at_subscription) {
        struct subscription *sub = i->at_subscription;
        i->at_subscription = sub->next_of_session;
        add_subscription(i, s, sub);
    } else if (sees(i, s)) {
        if (!is_enough(i, BROKER_CLIENTS, &i->clients)) add_client(i, s);
        if (!is_enough(i, BROKER_SUBSCRIPTIONS, &i->subscriptions))
            i->at_subscription = s->subscriptions;
    }
    if (i->at_subscription && !i->subscriptions.is_cut) return;
    i->at_subscription = NULL;
    i->at = i->client_id.size ? NULL : s->next;
}

static void end_walk(struct broker_inspect *i)
{
    if (!i->walked) return;
    MUST(i->walked->pins > 0);
    tree_walk_end(i->walk);
    i->walked->pins--;
    i->walked = NULL;
}

/* Which tree comes next; NULL: none. */
static struct space *next_space(struct broker_inspect *i)
{
    const struct broker *broker = i->broker;
    if (i->ns.size) return i->next_space++ == 0 ? space_find(broker, i->ns) : NULL;
    while (i->next_space < broker->space_count) {
        struct space *space = broker->spaces[i->next_space++];
        if (space && tree_retained_count(space->tree)) return space;
    }
    return NULL;
}

/* Stands at the beginning of the next tree; false: there is none, or no memory. */
static bool next_walk(struct broker_inspect *i)
{
    end_walk(i);
    struct space *space = next_space(i);
    if (!space) return false;
    i->err = i->filter.size ? tree_walk_begin(space->tree, i->filter, i->walk)
                            : tree_walk_begin_all(space->tree, i->walk);
    if (i->err) return false;
    i->walked = space;
    space->pins++;
    return true;
}

/* One message, or the step to the next tree. */
static void step_retained(struct broker_inspect *i, unsigned *steps)
{
    MUST(i->is_walking && i->walk);
    if (!i->walk->at) { /* nothing (more) is in this one */
        i->is_walking = next_walk(i);
        return;
    }
    struct message *m = tree_walk_next(i->walk, steps);
    /* What the broker tells of itself is no message of anybody; who asks for $SYS gets it. */
    if (m && message_is_own(m) && !i->filter.size) m = NULL;
    if (m && m->expires_ns && m->expires_ns <= i->broker->now_ns) m = NULL;
    if (m && access_check(i->identity, VERB_SUBSCRIBE, "", str_of(i->walked->ns), STR(""),
                          message_topic(m), NULL) == ERR_OK)
        add_retained(i, m);
    if (i->retained.is_cut) i->is_walking = false;
}

/* Lets go of where it stands; the rows stay. */
static void leave(struct broker_inspect *i)
{
    end_walk(i);
    mem_free(i->walk);
    i->walk = NULL;
    i->at = NULL;
    i->at_subscription = NULL;
    i->is_walking = false;
}

/* The answer: from here on the struct is the asker's again. */
static void finish(struct broker_inspect *i, enum err err)
{
    MUST(broker_is_valid(i->broker));
    struct why why = WHY_NONE;
    leave(i);
    if (err == ERR_BUDGET)
        (void)why_set(&why, err, "the list is larger than the memory for it; ask for less");
    completion_finish(&i->completion, err, err ? &why : NULL);
}

/* SLICE_STEPS for all of them together. */
static void run_inspects(struct job *job)
{
    struct broker *broker = (void *)((char *)job - offsetof(struct broker, inspect_job));
    unsigned steps = SLICE_STEPS;
    broker->is_inspecting = false;
    while (broker->inspects && steps) {
        struct broker_inspect *i = broker->inspects;
        while (i->at && steps && !i->err) {
            steps--;
            step_session(i);
        }
        while (i->is_walking && steps && !i->err) step_retained(i, &steps);
        if ((i->at || i->is_walking) && !i->err) break;
        broker->inspects = i->next;
        finish(i, i->err);
    }
    if (!broker->inspects) return;
    /* The next one's turn, so that a short list need not wait for a long one. */
    struct broker_inspect *first = broker->inspects, **end = &first->next;
    while (*end) end = &(*end)->next;
    *end = first;
    broker->inspects = first->next;
    first->next = NULL;
    broker->is_inspecting = true;
    loop_post(&broker->loop, &broker->inspect_job);
}

/* ---- life ---- */

/* Stands before the first tree. */
static enum err begin_walk(struct broker_inspect *i)
{
    if (!(i->looks & BROKER_RETAINED)) return ERR_OK;
    if (!(i->walk = mem_alloc_zero(1, sizeof *i->walk))) return ERR_NO_MEMORY;
    i->next_space = 0;
    i->is_walking = next_walk(i);
    return i->err;
}

/* Bans and bridges are few and are taken at once; the rest in slices. */
static void begin(struct job *job)
{
    struct broker_inspect *i = (void *)((char *)job - offsetof(struct broker_inspect, job));
    struct broker *broker = i->broker;
    MUST(broker_is_valid(broker));
    enum err err = broker->is_stopping ? ERR_CANCELLED : begin_walk(i);
    if (err) {
        finish(i, err);
        return;
    }
    enum access_scope scope =
        access_scope(i->identity, VERB_LIST, "MqttClient", (struct str){0}, STR(""));
    i->sees_all = scope == ACCESS_ALL; /* in every namespace */
    i->sees_some = scope == ACCESS_SOME;
    if (i->looks & BROKER_BANS) add_bans(i);
    if (i->looks & BROKER_BRIDGES) add_bridges(i);
    if (i->looks & (BROKER_CLIENTS | BROKER_SUBSCRIPTIONS))
        i->at = i->client_id.size ? session_find(space_find(broker, i->ns), i->client_id)
                                  : broker->first_session;
    i->next = broker->inspects;
    broker->inspects = i;
    if (broker->is_inspecting) return;
    broker->is_inspecting = true;
    loop_post(&broker->loop, &broker->inspect_job);
}

void inspect_init(struct broker *broker)
{
    broker->inspect_job.run = run_inspects;
}

void inspect_stop(struct broker *broker)
{
    while (broker->inspects) {
        struct broker_inspect *i = broker->inspects;
        broker->inspects = i->next;
        finish(i, ERR_CANCELLED);
    }
}

void inspect_forget_session(struct session *s)
{
    MUST(session_is_valid(s));
    for (struct broker_inspect *i = s->broker->inspects; i; i = i->next) {
        if (i->at != s) continue;
        i->at = i->client_id.size ? NULL : s->next;
        i->at_subscription = NULL;
    }
}

void inspect_forget_subscription(struct broker *broker, struct subscription *sub)
{
    for (struct broker_inspect *i = broker->inspects; i; i = i->next) {
        if (i->at_subscription != sub) continue;
        i->at_subscription = sub->next_of_session;
        if (!i->at_subscription) i->at = i->client_id.size ? NULL : i->at->next;
    }
}

void broker_inspect(struct broker *broker, struct broker_inspect *i)
{
    MUST(broker->is_started && i->identity && i->completion.done && !i->walk);
    MUST(i->ns.size || !i->client_id.size);
    MUST(i->looks && topic_filter_is_valid(i->filter.size ? i->filter : STR("#")));
    i->broker = broker;
    i->err = ERR_OK;
    i->job.run = begin;
    loop_post(&broker->loop, &i->job);
}

void broker_inspect_free(struct broker_inspect *i)
{
    struct broker_list *rows[] = {&i->clients, &i->subscriptions, &i->retained, &i->bans,
                                  &i->bridges};
    MUST(!i->walk);
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        mem_free(rows[k]->at);
        *rows[k] = (struct broker_list){0};
    }
    arena_free(&i->arena);
    identity_release(i->identity);
    i->identity = NULL;
}
