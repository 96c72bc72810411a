/* bridge_order.c - what the main loop asks of bridges: put one, remove one, and that all are there.
 * Each is a job that the broker's task frees; jobs of one poster keep their order, so a bridge that
 * is removed and made again begins anew.
 *
 * A bridge that is removed leaves at once as far as anybody can see: its connection and its session
 * end in the job. Its struct stays in the broker's list, is_removed, while certificates are being
 * read for it, since the worker has a pointer to it. Settings are owned by the order until they are
 * applied, or freed with it. */
#include "mqtt/bridge_priv.h"
#include <string.h>

static const char component[] = "mqtt";

/* Namespaces and names may have dots, so the key alone could be that of two. */
static struct bridge *find(const struct broker *broker, struct str ns, struct str key)
{
    struct bridge *b = broker->bridges;
    while (b &&
           (b->is_removed || !str_equal(b->settings->key, key) || !str_equal(b->settings->ns, ns)))
        b = b->next;
    return b;
}

/* What main loop asks for. */
struct bridge_order {
    struct job job;
    struct broker *broker;
    struct bridge_settings *settings;
    size_t ns_size, key_size;
    char text[]; /* namespace, key */
};

/* From here on the settings are the bridge's, or freed. A bridge that stays without any is not
 * left behind. */
static void put(struct broker *broker, struct bridge_settings *settings)
{
    struct bridge *b = find(broker, settings->ns, settings->key);
    if (!b) b = bridge_make(broker, settings->ns, settings->key);
    enum err err = b ? bridge_apply(b, settings) : ERR_NO_MEMORY;
    if (!b || b->settings != settings) {
        diag(broker->context, DIAG_ERROR, component,
             "bridge %.*s: no memory for its settings; they count when they are applied again",
             (int)settings->key.size, settings->key.at);
        bridge_settings_free(settings);
        if (b && !b->settings) { /* it was just made */
            b->session->bridge = NULL;
            b->session = NULL;
            bridge_unlink(b);
            bridge_free(b);
        }
        return;
    }
    if (err)
        bridge_note_error(b, "not all of its local subscriptions could be made: %s", err_text(err));
    wheel_stop(&broker->wheel, &b->retry);
    b->pause_s = 1;
    if (b->connection) connection_end(b->connection, MQTT_REASON_SUCCESS, NULL);
    wheel_stop(&broker->wheel, &b->retry); /* the end has set it */
    b->pause_s = 1;
    if (settings->is_enabled)
        bridge_dial(b);
    else
        bridge_enter(b, BRIDGE_DISABLED);
}

static void run_put(struct job *job)
{
    struct bridge_order *o = (struct bridge_order *)job;
    o->broker->now_ns = loop_mono_ns(&o->broker->loop);
    if (o->broker->is_stopping)
        bridge_settings_free(o->settings);
    else
        put(o->broker, o->settings);
    mem_free(o);
}

/* The session ends now, with its queue; the struct when nobody works for it any more. */
static void end_bridge(struct bridge *b)
{
    MUST(is_bridge(b) && !b->is_removed && session_is_valid(b->session));
    struct broker *broker = b->broker;
    struct session *session = b->session;
    b->is_removed = true;
    wheel_stop(&broker->wheel, &b->retry);
    if (b->connection) connection_end(b->connection, MQTT_REASON_SUCCESS, NULL);
    diag(broker->context, DIAG_INFO, component,
         "bridge %.*s: deleted; %zu messages that waited are gone", (int)b->settings->key.size,
         b->settings->key.at, session_queued(session));
    session->bridge = NULL;
    b->session = NULL;
    session_end(session);
    if (!b->work_settings) bridge_free_removed(b);
}

static void run_remove(struct job *job)
{
    struct bridge_order *o = (struct bridge_order *)job;
    struct str ns = {o->text, o->ns_size}, key = {o->text + o->ns_size, o->key_size};
    struct bridge *b = find(o->broker, ns, key);
    o->broker->now_ns = loop_mono_ns(&o->broker->loop);
    if (b && !o->broker->is_stopping) end_bridge(b);
    mem_free(o);
}

/* Sessions of bridges have an expiry of never: without this those of a deleted one stay for
 * ever. */
static void run_settle(struct job *job)
{
    struct bridge_order *o = (struct bridge_order *)job;
    for (struct session *s = o->broker->first_session, *next; s; s = next) {
        next = s->next;
        if (!bridge_owns(session_client_id(s)) || s->bridge || o->broker->is_stopping) continue;
        diag(o->broker->context, DIAG_INFO, component,
             "%.*s: there is no such bridge any more; %zu messages that waited are gone",
             (int)s->client_id_size, s->client_id, session_queued(s));
        session_end(s);
    }
    mem_free(o);
}

/* One allocation for the order and its texts. */
static enum err post(struct broker *broker, void (*run)(struct job *job),
                     struct bridge_settings *settings, struct str ns, struct str key)
{
    MUST(broker->is_started && key.size < BRIDGE_KEY_BYTES);
    struct bridge_order *o = mem_alloc_zero(1, sizeof *o + ns.size + key.size);
    if (!o) return ERR_NO_MEMORY;
    o->job.run = run;
    o->broker = broker;
    o->settings = settings;
    o->ns_size = ns.size;
    o->key_size = key.size;
    if (ns.size) memcpy(o->text, ns.at, ns.size);
    if (key.size) memcpy(o->text + ns.size, key.at, key.size);
    loop_post(&broker->loop, &o->job);
    return ERR_OK;
}

enum err broker_bridge_put(struct broker *broker, struct bridge_settings *settings)
{
    MUST(settings->key.size && settings->key.size < BRIDGE_KEY_BYTES && settings->ns.size &&
         settings->topic_count <= BRIDGE_TOPICS_MAX);
    enum err err = post(broker, run_put, settings, STR(""), STR(""));
    if (err) bridge_settings_free(settings);
    return err;
}

enum err broker_bridge_remove(struct broker *broker, struct str ns, struct str key)
{
    return post(broker, run_remove, NULL, ns, key);
}

enum err broker_bridges_settle(struct broker *broker)
{
    return post(broker, run_settle, NULL, STR(""), STR(""));
}
