/* verify.c - see verify.h. One function a list of struct broker, in the order in which it names
 * them; trees, outboxes, the wheel, the journal and spills know themselves whether they are whole.
 */
#include "mqtt/verify.h"
#include "mqtt/bridge_priv.h"
#include <string.h>

enum {
    ITEMS_MAX = 1000, /* of one queue, when not all are looked at */
    NODES_MAX = 5000, /* of one tree */
};

/* What the sessions of one space, and of all, add up to. */
struct sums {
    size_t sessions, stalled;
    size_t of_space[BROKER_SPACES_MAX], subscriptions[BROKER_SPACES_MAX];
};

/* ---- sessions ---- */

static size_t bits_of(const uint64_t *words)
{
    size_t bits = 0;
    for (size_t i = 0; words && i < RECEIVED_IDS / 64; i++)
        bits += (size_t)__builtin_popcountll(words[i]);
    return bits;
}

static void verify_subscriptions(const struct session *s)
{
    const struct subscription *before = NULL;
    size_t count = 0;
    for (const struct subscription *sub = s->subscriptions; sub;
         before = sub, sub = sub->next_of_session, count++)
        MUST(sub->session == s && sub->previous_of_session == before);
    MUST(count == s->subscription_count);
}

static void verify_will(const struct session *s)
{
    const struct will *w = s->will;
    if (!w) return;
    MUST(w->session == s && w->message && w->message->magic == MESSAGE_MAGIC);
    MUST(w->message->publisher == s->serial && (!wheel_is_set(&w->due) || !s->connection));
}

static void verify_session(const struct session *s, bool is_whole)
{
    const struct space *space = session_space(s);
    MUST(session_is_valid(s) && !s->is_ending && s->identity && s->client_id_size > 0);
    MUST(s->serial <= s->broker->last_session && space_is_valid(space));
    MUST(strcmp(space->ns, s->identity->ns) == 0 && session_find(space, session_client_id(s)) == s);
    MUST(!s->connection || (s->connection->session == s && connection_is_valid(s->connection)));
    MUST(s->connection || s->outbox.in_flight == 0);
    MUST(!s->connection || !wheel_is_set(&s->expiry));
    MUST((s->received != NULL) == (s->received_count > 0));
    MUST(bits_of(s->received) == s->received_count);
    MUST(!s->spill || s->spill->session == s);
    MUST(!s->bridge || (is_bridge(s->bridge) && s->bridge->session == s));
    verify_subscriptions(s);
    verify_will(s);
    outbox_verify(&s->outbox, is_whole || outbox_span(&s->outbox) <= ITEMS_MAX);
}

static void verify_sessions(const struct broker *b, struct sums *sums, bool is_whole)
{
    size_t stalled = 0;
    MUST((b->bucket_count & (b->bucket_count - 1)) == 0);
    MUST(!b->first_session || !b->first_session->previous);
    for (const struct session *s = b->first_session; s; s = s->next) {
        MUST(s->broker == b && s->space < b->space_count);
        MUST(!s->next || s->next->previous == s);
        verify_session(s, is_whole);
        sums->sessions++;
        sums->stalled += s->is_stalled;
        sums->of_space[s->space]++;
        sums->subscriptions[s->space] += s->subscription_count;
    }
    for (const struct session *s = b->stalled; s; s = s->next_stalled, stalled++)
        MUST(session_is_valid(s) && s->is_stalled);
    MUST(sums->sessions == b->session_count && sums->stalled == stalled);
}

/* ---- spaces ---- */

static void verify_spaces(const struct broker *b, const struct sums *sums, bool is_whole)
{
    size_t retained = 0, count = 0;
    MUST(b->space_count <= BROKER_SPACES_MAX);
    for (size_t i = 0; i < b->space_count; i++) {
        const struct space *space = b->spaces[i];
        if (!space) {
            MUST(i > 0 && !sums->of_space[i]); /* `default` is always there */
            continue;
        }
        MUST(space_is_valid(space) && space->broker == b && space->index == i);
        MUST(space_find(b, str_of(space->ns)) == space);
        MUST(space->session_count == sums->of_space[i]);
        MUST(tree_subscription_count(space->tree) == sums->subscriptions[i]);
        if (is_whole || tree_node_count(space->tree) <= NODES_MAX) tree_verify(space->tree);
        if (space->streams) tree_verify(space->streams);
        retained += tree_retained_count(space->tree);
        count++;
    }
    MUST(count == b->spaces_by_name.count && retained == b->retained_count);
    MUST(b->own_retained_count <= b->retained_count);
}

/* ---- connections ---- */

static void verify_state(const struct connection *c)
{
    switch ((enum connection_state)c->state) {
    case CONNECTION_NEW:
    case CONNECTION_DIALLED: MUST(!c->session && !c->login); return;
    case CONNECTION_LOGIN: MUST(!c->session && c->login && c->is_paused); return;
    case CONNECTION_AUTH: MUST(!c->session && c->login && c->login->scram); return;
    case CONNECTION_OPEN: MUST(c->session && c->version && !c->kept && !c->is_half_open); return;
    case CONNECTION_ENDING: MUST(!c->session && !c->bridge); return;
    }
    MUST(c->state <= CONNECTION_ENDING);
}

static void verify_connection(const struct connection *c)
{
    MUST(connection_is_valid(c));
    MUST(!c->session || (session_is_valid(c->session) && c->session->connection == c));
    MUST(!c->bridge || (is_bridge(c->bridge) && c->bridge->connection == c && c->is_dialled));
    MUST(!c->hold || c->hold->connection == c);
    MUST(c->held_output <= c->waiting_acks && c->alias_out_count <= c->alias_out_max);
    MUST(!c->watched || c->watched->connections > 0);
    MUST(!c->user || c->user->connections > 0);
    MUST(!c->login || c->login->connection == c);
    verify_state(c);
}

static void verify_connections(const struct broker *b)
{
    size_t count = 0, acks = 0, half_open = 0, dirty = 0, is_dirty = 0;
    for (const struct connection *c = b->connections; c; c = c->next, count++) {
        MUST(c->broker == b && !c->is_freeing && (!c->next || c->next->previous == c));
        verify_connection(c);
        acks += c->waiting_acks;
        half_open += c->is_half_open;
        is_dirty += c->is_dirty;
    }
    for (const struct connection *c = b->gone; c; c = c->next, count++) {
        MUST(connection_is_valid(c) && c->is_freeing && !c->session && !c->stream);
        MUST(!c->hold && !c->watched && !c->user && !c->is_half_open);
        acks += c->waiting_acks;
        is_dirty += c->is_dirty;
    }
    for (const struct connection *c = b->dirty; c; c = c->next_dirty) dirty += c->is_dirty;
    MUST(count == b->connection_count && dirty == is_dirty && half_open == b->limits.half_open);
    MUST(acks == b->journal.ack_last - b->journal.ack_first);
    MUST(b->leaving_count <= b->connection_count && b->spare_count <= SPARES_MAX);
}

/* ---- the rest ---- */

static void verify_walks(const struct broker *b)
{
    for (const struct retained_walk *w = b->walks; w; w = w->next)
        MUST(session_is_valid(w->session) && w->session->connection && w->qos <= 2);
}

static void verify_rows(const struct broker *b)
{
    size_t bytes = 0;
    uint64_t before = 0;
    for (const struct broker_rows *r = b->rows.first; r; r = r->next) {
        MUST(r->broker == b && r->identity && r->number > before && r->number <= b->rows.given);
        MUST(r->next || b->rows.last == r);
        before = r->number;
        bytes += r->text.size;
    }
    MUST(bytes == b->rows.bytes);
}

static void verify_bridges(const struct broker *b)
{
    for (const struct bridge *g = b->bridges; g; g = g->next) {
        MUST(is_bridge(g) && g->broker == b && g->settings && (g->session || g->is_removed));
        MUST(!g->session || (session_is_valid(g->session) && g->session->bridge == g));
        MUST(!g->connection || g->connection->bridge == g);
        MUST(g->state != BRIDGE_WAITING || g->is_removed || wheel_is_set(&g->retry));
    }
}

void broker_verify(const struct broker *b, bool is_whole)
{
    struct sums *sums = mem_alloc_zero(1, sizeof *sums);
    MUST(broker_is_valid(b));
    if (!sums) return; /* the next time */
    verify_sessions(b, sums, is_whole);
    verify_spaces(b, sums, is_whole);
    verify_bridges(b);
    spill_verify(b);
    wheel_verify(&b->wheel);
    if (!b->is_stopping) { /* after that what is with hooks is theirs */
        verify_connections(b);
        verify_walks(b);
        verify_rows(b);
        journal_verify(b);
    }
    mem_free(sums);
}
