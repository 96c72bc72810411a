/* bridges.c - see bridges.h.
 *
 * A document's texts are copied into the settings: the broker reads them on its own task, long
 * after a document may have gone. */
#include "listeners/bridges.h"
#include "base/num.h"
#include "mqtt/topic.h"
#include <stdio.h>
#include <string.h>

static const char component[] = "bridges";

enum { BRIDGES_MAGIC = 0x62726773, EXTERNAL_FILTERS_MAX = 64, CLIENT_ID_MAX = 256 };

struct bridges {
    uint32_t magic;
    struct service *service;
    struct arena arena; /* texts of `external` */
    struct bridges_external external;
    size_t filter_count;
    char *filters[EXTERNAL_FILTERS_MAX]; /* bridges_set_filters */
};

/* ---- making settings ---- */

/* A copy that ends with the settings; `*ok` false: no memory. */
static struct str keep(struct bridge_settings *s, struct str text, bool *ok)
{
    const char *kept = arena_strdup(&s->arena, text.size ? text.at : "", text.size);
    *ok = *ok && kept;
    return kept ? (struct str){kept, text.size} : STR("");
}

static const char *keep_path(struct bridge_settings *s, struct str text, bool *ok)
{
    return text.size ? keep(s, text, ok).at : NULL;
}

static bool set_remote(struct bridge_settings *s, struct str endpoint, bool insecure)
{
    struct bridges_remote remote;
    struct why why = WHY_NONE;
    bool ok = !bridges_endpoint(endpoint, insecure, &remote, &why);
    s->address = remote.address;
    s->is_tls = remote.is_tls;
    s->web_path = keep_path(s, str_of(remote.web_path), &ok);
    return ok;
}

static struct bridge_settings *new_settings(struct str ns, struct str key, size_t topics)
{
    struct bridge_settings *s = bridge_settings_new();
    bool ok = s != NULL;
    if (!s) return NULL;
    s->key = keep(s, key, &ok);
    s->ns = keep(s, ns, &ok);
    s->topics = arena_zero(&s->arena, topics + 1, sizeof *s->topics);
    s->topic_count = topics;
    if (ok && s->topics) return s;
    bridge_settings_free(s);
    return NULL;
}

/* Bridges of one name in two namespaces are two clients. `name` "" = the external broker's. */
static void set_client_id(struct bridges *b, struct bridge_settings *s, struct str given,
                          struct str name, bool *ok)
{
    bool is_elsewhere = !str_is(s->ns, "default");
    char made[CLIENT_ID_MAX];
    struct str node = b->service->node_name;
    int n =
        snprintf(made, sizeof made, "millrace-%.*s%s%.*s%s%.*s", (int)node.size,
                 node.size ? node.at : "", name.size ? "-" : "", is_elsewhere ? (int)s->ns.size : 0,
                 s->ns.at, is_elsewhere ? "." : "", (int)name.size, name.size ? name.at : "");
    MUST(n > 0);
    s->client_id = keep(s, given.size ? given : str_of(made), ok);
}

static uint32_t seconds(int64_t ns)
{
    int64_t s = ns / TIME_NS_PER_S;
    return s >= UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static void set_topics(struct bridge_settings *s, const struct bridge_spec *spec, bool *ok)
{
    const struct bridge_topic_spec *from = spec->topics.items;
    for (size_t i = 0; i < s->topic_count; i++)
        s->topics[i] = (struct bridge_topic){
            .filter = keep(s, from[i].filter, ok),
            .local_prefix = keep(s, from[i].local_prefix, ok),
            .remote_prefix = keep(s, from[i].remote_prefix, ok),
            .is_out = from[i].direction != BRIDGE_DIRECTION_IN,
            .is_in = from[i].direction != BRIDGE_DIRECTION_OUT,
            .qos = (uint8_t)from[i].qos,
        };
}

static struct session_limits limits_of(const struct bridge_spec *spec, bool *ok)
{
    static const enum broker_full fulls[] = {[BRIDGE_DROP_OLDEST] = BROKER_DROP_OLDEST,
                                             [BRIDGE_DROP_NEW] = BROKER_DROP_NEW,
                                             [BRIDGE_KEEP_EVERY_NTH] = BROKER_KEEP_EVERY_NTH};
    int64_t bytes = 0;
    *ok = *ok && num_parse_size(spec->queue.bytes, &bytes);
    return (struct session_limits){.messages = (size_t)spec->queue.messages,
                                   .bytes = (size_t)bytes,
                                   .full = fulls[spec->queue.full],
                                   .every = (uint32_t)spec->queue.every,
                                   .age_s = seconds(spec->queue.age_ns)};
}

/* False: too long, which a document of an older program may be. */
static bool key_of(const struct resource *r, char out[BRIDGE_KEY_BYTES])
{
    int n = snprintf(out, BRIDGE_KEY_BYTES, "%.*s.%.*s", (int)r->ns.size, r->ns.at,
                     (int)r->name.size, r->name.at);
    return n > 0 && n < BRIDGE_KEY_BYTES;
}

/* NULL: no memory, or a document of an older program that would not be accepted any more. */
static struct bridge_settings *settings_of(struct bridges *b, const struct resource *r)
{
    const struct bridge_spec *spec = r->spec;
    char key[BRIDGE_KEY_BYTES];
    bool ok = true;
    if (!key_of(r, key)) return NULL;
    struct bridge_settings *s = new_settings(r->ns, str_of(key), spec->topics.count);
    if (!s) return NULL;
    ok = set_remote(s, spec->endpoint, spec->insecure);
    s->is_enabled = spec->enabled;
    s->clean_start = spec->clean_start;
    s->commands = spec->commands;
    s->version = spec->version == BRIDGE_VERSION_5 ? MQTT_5 : MQTT_3_1_1;
    s->keep_alive_s = (uint16_t)seconds(spec->keep_alive_ns);
    s->session_expiry_s = seconds(spec->session_expiry_ns);
    s->in_flight = (uint16_t)spec->in_flight;
    s->has_user = spec->user.size > 0;
    s->has_password = spec->password.size > 0;
    s->user = keep(s, spec->user, &ok);
    s->password = keep(s, spec->password, &ok);
    s->ca = keep_path(s, spec->tls.ca, &ok);
    s->cert = keep_path(s, spec->tls.cert, &ok);
    s->tls_key = keep_path(s, spec->tls.key, &ok);
    s->server_name = keep_path(s, spec->tls.server_name, &ok);
    s->queue = limits_of(spec, &ok);
    set_client_id(b, s, spec->client_id, r->name, &ok);
    set_topics(s, spec, &ok);
    ok = ok && s->user.size <= MQTT_TEXT_BYTES_MAX && s->password.size <= MQTT_TEXT_BYTES_MAX &&
         s->client_id.size <= MQTT_TEXT_BYTES_MAX;
    if (ok) return s;
    bridge_settings_free(s);
    return NULL;
}

/* ---- the external broker ---- */

enum { EXTERNAL_EXPIRY_S = 7 * 86400, EXTERNAL_KEEP_ALIVE_S = 60 };

/* Out goes all that is published here, which, without clients of its own, is what the node itself
 * says. */
static struct bridge_settings *external_settings(struct bridges *b)
{
    const struct bridges_external *e = &b->external;
    const struct bridge_topic always[] = {
        {.filter = str_of(e->data_filter), .is_in = true, .qos = 1},
        {.filter = str_of(e->cmd_filter), .is_in = true, .qos = 1},
        {.filter = {"#", 1}, .is_out = true, .qos = 1},
        {.filter = {"$dead/#", 7}, .is_out = true, .qos = 1},
    };
    enum { ALWAYS = sizeof always / sizeof always[0] };
    struct bridge_settings *s =
        new_settings(STR("default"), STR(BRIDGES_EXTERNAL), ALWAYS + b->filter_count);
    if (!s) return NULL;
    bool ok = set_remote(s, e->endpoint, e->insecure);
    s->is_enabled = true;
    s->commands = e->commands;
    s->version = MQTT_5;
    s->keep_alive_s = EXTERNAL_KEEP_ALIVE_S;
    s->session_expiry_s = EXTERNAL_EXPIRY_S;
    s->has_user = e->user.size > 0;
    s->has_password = e->password.size > 0;
    s->user = keep(s, e->user, &ok);
    s->password = keep(s, e->password, &ok);
    s->ca = keep_path(s, e->ca, &ok);
    s->cert = keep_path(s, e->cert, &ok);
    s->tls_key = keep_path(s, e->key, &ok);
    s->server_name = keep_path(s, e->server_name, &ok);
    s->queue = (struct session_limits){
        .messages = 1000000, .bytes = (size_t)1 << 30, .full = BROKER_DROP_OLDEST};
    set_client_id(b, s, e->client_id, STR(""), &ok);
    memcpy(s->topics, always, sizeof always);
    for (size_t i = 0; i < ALWAYS; i++) s->topics[i].filter = keep(s, always[i].filter, &ok);
    for (size_t i = 0; i < b->filter_count; i++)
        s->topics[ALWAYS + i] = (struct bridge_topic){
            .filter = keep(s, str_of(b->filters[i]), &ok), .is_in = true, .qos = 1};
    if (ok) return s;
    bridge_settings_free(s);
    return NULL;
}

static enum err put_external(struct bridges *b)
{
    struct bridge_settings *s = external_settings(b);
    return s ? broker_bridge_put(b->service->broker, s) : ERR_NO_MEMORY;
}

static bool has_filter(const struct bridges *b, struct str filter)
{
    for (size_t i = 0; i < b->filter_count; i++)
        if (str_is(filter, b->filters[i])) return true;
    return false;
}

static void free_filters(char *filters[EXTERNAL_FILTERS_MAX], size_t count)
{
    for (size_t i = 0; i < count; i++) mem_free(filters[i]);
}

/* Behind those that there are; one of them counts once. */
static enum err add_filter(struct bridges *b, struct str filter)
{
    if (!topic_filter_is_valid(filter)) return ERR_INVALID;
    if (has_filter(b, filter)) return ERR_OK;
    if (b->filter_count == EXTERNAL_FILTERS_MAX) return ERR_LIMIT;
    char *kept = mem_alloc(filter.size + 1);
    if (!kept) return ERR_NO_MEMORY;
    (void)str_copy(kept, filter.size + 1, filter);
    b->filters[b->filter_count++] = kept;
    return ERR_OK;
}

static bool has_all(const struct bridges *b, char *const filters[EXTERNAL_FILTERS_MAX],
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!has_filter(b, str_of(filters[i]))) return false;
    return b->filter_count == count;
}

enum err bridges_set_filters(struct bridges *b, const struct str *filters, size_t count)
{
    MUST(b->magic == BRIDGES_MAGIC);
    char *was[EXTERNAL_FILTERS_MAX];
    size_t was_count = b->filter_count;
    enum err err = ERR_OK, put = ERR_OK;
    memcpy(was, b->filters, sizeof was);
    b->filter_count = 0;
    for (size_t i = 0; i < count && err != ERR_NO_MEMORY; i++) {
        enum err one = add_filter(b, filters[i]);
        if (one) err = one;
    }
    bool is_other = !has_all(b, was, was_count);
    if (err != ERR_NO_MEMORY && is_other && b->external.endpoint.size) put = put_external(b);
    if (err == ERR_NO_MEMORY || put) {
        free_filters(b->filters, b->filter_count);
        memcpy(b->filters, was, sizeof was);
        b->filter_count = was_count;
        return put ? put : err;
    }
    free_filters(was, was_count);
    return err;
}

/* The texts of one, in an order that both sides of a comparison or a copy share. */
enum { EXTERNAL_TEXTS = 8 };

static void texts_of(struct bridges_external *e, struct str *texts[EXTERNAL_TEXTS])
{
    struct str *const all[EXTERNAL_TEXTS] = {&e->endpoint, &e->user, &e->password, &e->client_id,
                                             &e->ca,       &e->cert, &e->key,      &e->server_name};
    memcpy(texts, all, sizeof all);
}

static bool is_same_external(struct bridges_external *a, struct bridges_external *b)
{
    struct str *was[EXTERNAL_TEXTS], *now[EXTERNAL_TEXTS];
    bool is_same = a->insecure == b->insecure && a->commands == b->commands &&
                   strcmp(a->data_filter, b->data_filter) == 0 &&
                   strcmp(a->cmd_filter, b->cmd_filter) == 0;
    texts_of(a, was);
    texts_of(b, now);
    for (size_t i = 0; i < EXTERNAL_TEXTS; i++) is_same = is_same && str_equal(*was[i], *now[i]);
    return is_same;
}

/* Into `arena`, which is emptied when there is no memory. */
static bool copy_external(struct bridges_external *e, struct arena *arena)
{
    struct str *texts[EXTERNAL_TEXTS];
    bool ok = true;
    texts_of(e, texts);
    for (size_t i = 0; ok && i < EXTERNAL_TEXTS; i++) {
        if (!texts[i]->size) continue;
        texts[i]->at = arena_strdup(arena, texts[i]->at, texts[i]->size);
        ok = texts[i]->at != NULL;
    }
    if (!ok) arena_free(arena);
    return ok;
}

static void swap_external(struct bridges *b, struct bridges_external *external, struct arena *arena)
{
    struct bridges_external was = b->external;
    struct arena texts = b->arena;
    b->external = *external;
    b->arena = *arena;
    *external = was;
    *arena = texts;
}

enum err bridges_set_external(struct bridges *b, const struct bridges_external *external)
{
    MUST(b->magic == BRIDGES_MAGIC && loop_is_current(b->service->context->main));
    struct bridges_external now = *external;
    struct arena arena;
    enum err err = ERR_OK;
    if (is_same_external(&b->external, &now)) return ERR_OK;
    arena_init(&arena, NULL);
    if (!copy_external(&now, &arena)) return ERR_NO_MEMORY;
    swap_external(b, &now, &arena);
    if (b->external.endpoint.size)
        err = put_external(b);
    else if (now.endpoint.size)
        err = broker_bridge_remove(b->service->broker, STR("default"), STR(BRIDGES_EXTERNAL));
    if (err) swap_external(b, &now, &arena);
    arena_free(&arena);
    return err;
}

/* ---- documents ---- */

static void put(struct bridges *b, const struct resource *r)
{
    struct bridge_settings *s = settings_of(b, r);
    if (!s || broker_bridge_put(b->service->broker, s))
        diag(
            b->service->context, DIAG_ERROR, component,
            "Bridge %.*s has no effect: no memory for it, or it is of an older program and would not be "
            "accepted any more; apply it again",
            (int)r->name.size, r->name.at);
}

static void on_change(void *arg, const struct resource *old, const struct resource *now)
{
    struct bridges *b = arg;
    char key[BRIDGE_KEY_BYTES];
    MUST(b->magic == BRIDGES_MAGIC);
    if ((now ? now : old)->kind != KIND_BRIDGE) return;
    if (now && old && resource_same_spec(old, now)) return; /* labels */
    if (now) {
        put(b, now);
        return;
    }
    if (key_of(old, key) && broker_bridge_remove(b->service->broker, old->ns, str_of(key)))
        diag(b->service->context, DIAG_ERROR, component,
             "Bridge %.*s goes on until the next start: no memory to end it", (int)old->name.size,
             old->name.at);
}

static void free_bridges(struct bridges *b)
{
    free_filters(b->filters, b->filter_count);
    arena_free(&b->arena);
    b->magic = 0;
    mem_free(b);
}

enum err bridges_start(struct service *service, const struct bridges_external *external,
                       struct bridges **out, struct why *why)
{
    MUST(service->broker && loop_is_current(service->context->main));
    struct bridges *b = mem_alloc_zero(1, sizeof *b);
    if (!b) return why_set(why, ERR_NO_MEMORY, "no memory for bridges");
    b->magic = BRIDGES_MAGIC;
    b->service = service;
    arena_init(&b->arena, NULL);
    size_t at = 0;
    for (const struct resource *r; (r = registry_next(service->registry, KIND_BRIDGE, &at));)
        put(b, r);
    enum err err = bridges_set_external(b, external);
    if (!err) err = broker_bridges_settle(service->broker);
    if (err) {
        free_bridges(b);
        return why_set(why, err, "no memory for bridges");
    }
    registry_watch_all(service->registry, on_change, b);
    *out = service->bridges = b;
    return ERR_OK;
}

void bridges_stop(struct bridges *b)
{
    if (!b) return;
    MUST(b->magic == BRIDGES_MAGIC);
    registry_unwatch(b->service->registry, b);
    b->service->bridges = NULL;
    free_bridges(b);
}
