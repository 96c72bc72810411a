/* review.c - rights that change while clients are connected (broker.h, struct broker_review).
 *
 * Who somebody is, is known on the main loop alone, and identities are immutable: so the broker
 * hands over those that its connected sessions have, each once, and gets a successor for each, or
 * none. Sessions that are away are looked at when their client comes back.
 *
 * One review is on its way to its beginning at most (is_reviewing); a change that comes meanwhile
 * is seen by it, since the identities are asked about later. Both arrays lie behind the struct,
 * `old` sorted by address so that a session's is found by bisection.
 *
 * By which way somebody came in is not in his identity, but in his connection: where a way is
 * closed, broker_dismiss ends those (struct broker_dismissal). */
#include "mqtt/broker_priv.h"
#include "net/psk.h"
#include <stdlib.h>
#include <string.h>

static int by_address(const void *a, const void *b)
{
    uintptr_t one = (uintptr_t) * (struct identity *const *)a;
    uintptr_t two = (uintptr_t) * (struct identity *const *)b;
    return (one > two) - (one < two);
}

static bool is_open(const struct session *s)
{
    return s->connection && s->connection->state == CONNECTION_OPEN && !s->bridge; /* no user's */
}

/* Each identity once, shared. */
static void gather(struct broker *broker, struct broker_review *r)
{
    MUST(r->capacity > 0);
    size_t count = 0;
    for (struct session *s = broker->first_session; s && count < r->capacity; s = s->next)
        if (is_open(s)) r->old[count++] = s->identity;
    if (count) qsort(r->old, count, sizeof r->old[0], by_address);
    for (size_t i = 0; i < count; i++)
        if (!r->count || r->old[r->count - 1] != r->old[i]) r->old[r->count++] = r->old[i];
    for (size_t i = 0; i < r->count; i++) (void)identity_share(r->old[i]);
}

void broker_review_free(struct broker_review *r)
{
    for (size_t i = 0; i < r->count; i++) {
        identity_release(r->old[i]);
        identity_release(r->renewed[i]);
    }
    mem_free(r);
}

/* An answer that finds no memory is no answer: the next change, or the next round, asks again. */
static void ask(struct job *job)
{
    struct broker *broker = (void *)((char *)job - offsetof(struct broker, review_job));
    size_t capacity = broker->session_count;
    struct broker_review *r =
        capacity && !broker->is_stopping && broker->hooks.review
            ? mem_alloc_zero(1, sizeof *r + 2 * capacity * sizeof(struct identity *))
            : NULL;
    atomic_store(&broker->is_reviewing, false);
    if (!r) return; /* the next one comes soon */
    r->broker = broker;
    r->capacity = capacity;
    r->old = (struct identity **)(r + 1);
    r->renewed = r->old + capacity;
    gather(broker, r);
    broker->hooks.review(broker->hooks.arg, r);
}

void broker_review(struct broker *broker)
{
    MUST(broker->magic == BROKER_MAGIC);
    if (atomic_exchange(&broker->is_reviewing, true)) return; /* the job is the broker's */
    broker->review_job.run = ask;
    loop_post(&broker->loop, &broker->review_job);
}

/* What has become of a session's identity; false: it was not asked for. */
static bool find(const struct broker_review *r, struct identity *wanted, struct identity **renewed)
{
    struct identity **at = bsearch(&wanted, r->old, r->count, sizeof r->old[0], by_address);
    if (!at) return false;
    *renewed = r->renewed[at - r->old];
    return true;
}

/* Whose identity is the same has nothing to look at. Others end, or get their new rights at
 * once. */
static void finish(struct job *job)
{
    struct broker_review *r = (struct broker_review *)job;
    struct broker *broker = r->broker;
    MUST(broker_is_valid(broker) && r->count <= r->capacity);
    broker->now_ns = loop_mono_ns(&broker->loop);
    for (struct session *s = broker->first_session, *next; s; s = next) {
        struct identity *renewed = NULL;
        next = s->next; /* ending the connection may end the session */
        if (!is_open(s) || !find(r, s->identity, &renewed) || renewed == s->identity) continue;
        if (!renewed) {
            connection_end(s->connection, MQTT_REASON_NOT_AUTHORIZED,
                           "its user, password or token holds no longer");
            continue;
        }
        if (strcmp(renewed->ns, s->identity->ns) != 0) { /* it comes back into the other tree */
            connection_end(s->connection, MQTT_REASON_ADMINISTRATIVE_ACTION,
                           "its user's namespace is another one now");
            continue;
        }
        identity_release(s->identity);
        s->identity = identity_share(renewed);
        session_check_rights(s, s->connection);
    }
    broker_review_free(r);
}

void broker_review_done(struct broker_review *r)
{
    r->job.run = finish;
    loop_post(&r->broker->loop, &r->job);
}

/* ---- ways in that were closed ---- */

struct dismissing {
    struct job job; /* first */
    struct broker *broker;
    struct broker_dismissal what; /* with shares of its keys */
};

/* Whose login is not over yet may have shown anything. Gives the reason for which it goes. */
static enum mqtt_reason judge(const struct broker_dismissal *what, const struct connection *c,
                              const char **text)
{
    const char *psk = c->origin ? c->origin->psk : NULL;
    bool is_new = c->state != CONNECTION_OPEN;
    *text = "mqtt.anonymous is off now";
    if (what->anonymous && c->is_anonymous) return MQTT_REASON_NOT_AUTHORIZED;
    *text = "its key holds no longer";
    if (what->was && psk && !tls_psk_still_has(what->was, what->now, str_of(psk)))
        return MQTT_REASON_NOT_AUTHORIZED;
    *text = "certificates are judged otherwise now: it may come again with one that holds";
    if (what->certificates && c->is_tls && !psk) return MQTT_REASON_ADMINISTRATIVE_ACTION;
    *text = "keys have changed while it logged in";
    if (what->was && c->is_tls && is_new && !psk) return MQTT_REASON_ADMINISTRATIVE_ACTION;
    return MQTT_REASON_SUCCESS;
}

static void dismiss(struct job *job)
{
    struct dismissing *d = (struct dismissing *)job;
    struct broker *broker = d->broker;
    MUST(broker_is_valid(broker));
    broker->now_ns = loop_mono_ns(&broker->loop);
    for (struct connection *c = broker->connections, *next; c; c = next) {
        const char *text;
        next = c->next;
        enum mqtt_reason reason = c->is_dialled ? MQTT_REASON_SUCCESS : judge(&d->what, c, &text);
        if (reason) connection_end(c, reason, text);
    }
    tls_psk_release(d->what.was);
    tls_psk_release(d->what.now);
    mem_free(d);
}

enum err broker_dismiss(struct broker *broker, const struct broker_dismissal *what)
{
    MUST(broker->magic == BROKER_MAGIC && broker->is_started);
    struct dismissing *d = mem_alloc(sizeof *d);
    if (!d) return ERR_NO_MEMORY;
    *d = (struct dismissing){.job.run = dismiss, .broker = broker, .what = *what};
    if (d->what.was) (void)tls_psk_share(d->what.was);
    if (d->what.now) (void)tls_psk_share(d->what.now);
    loop_post(&broker->loop, &d->job);
    return ERR_OK;
}
