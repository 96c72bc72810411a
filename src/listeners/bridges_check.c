/* bridges_check.c - what a Bridge document says by itself: checked before it is accepted, from the
 * API as from files. */
#include "listeners/bridges.h"
#include "base/num.h"
#include "mqtt/topic.h"
#include <stdio.h>
#include <string.h>

enum { QUEUE_BYTES_MIN = 1024 };

static const struct {
    const char *scheme;
    bool is_tls, is_web;
} schemes[] = {{"tls://", true, false},
               {"tcp://", false, false},
               {"wss://", true, true},
               {"ws://", false, true}};

/* What stands behind the address is sent as it is, so it must be a path and nothing more. */
static enum err take_path(struct str *rest, struct bridges_remote *remote, struct why *why)
{
    const char *slash = memchr(rest->at, '/', rest->size);
    struct str path = STR("/mqtt");
    if (slash) {
        path = (struct str){slash, rest->size - (size_t)(slash - rest->at)};
        rest->size -= path.size;
    }
    bool is_path = str_copy(remote->web_path, sizeof remote->web_path, path);
    for (size_t i = 0; i < path.size; i++)
        is_path &= path.at[i] > ' ' && path.at[i] < 127 && path.at[i] != '#';
    if (is_path) return ERR_OK;
    return why_set(why, ERR_INVALID,
                   "'%.*s' is no path: at most %zu characters of ASCII, no space and no #",
                   (int)path.size, path.at, sizeof remote->web_path - 1);
}

enum err bridges_endpoint(struct str text, bool insecure, struct bridges_remote *remote,
                          struct why *why)
{
    size_t n = 0;
    *remote = (struct bridges_remote){.is_tls = false};
    while (n < sizeof schemes / sizeof schemes[0] && !str_starts(text, schemes[n].scheme)) n++;
    if (n == sizeof schemes / sizeof schemes[0])
        return why_set(why, ERR_INVALID,
                       "'%.*s' must be tls://HOST:PORT or tcp://HOST:PORT, such as "
                       "tls://broker.example:8883, or over WebSocket wss://HOST:PORT/PATH or "
                       "ws://HOST:PORT/PATH",
                       (int)text.size, text.size ? text.at : "");
    size_t scheme = strlen(schemes[n].scheme);
    struct str rest = {text.at + scheme, text.size - scheme};
    remote->is_tls = schemes[n].is_tls;
    enum err err = schemes[n].is_web ? take_path(&rest, remote, why) : ERR_OK;
    if (!err) err = os_address_tcp(rest, &remote->address, why);
    if (err) return err;
    if (!remote->is_tls && !insecure && !os_address_is_loopback(&remote->address))
        return why_set(why, ERR_INVALID,
                       "%.*s is another host, reached without TLS; use %s, or add insecure: true "
                       "if that is meant",
                       (int)text.size, text.at, schemes[n].is_web ? "wss://" : "tls://");
    return ERR_OK;
}

/* One side of an entry: what is subscribed to there. */
static void check_side(const struct bridge_topic *t, bool is_local, const char *path,
                       const struct doc *at, struct problems *problems)
{
    struct str prefix = is_local ? t->local_prefix : t->remote_prefix;
    struct buf filter = BUF_EMPTY;
    bridge_topic_filter(t, is_local, &filter);
    struct str text = buf_str(&filter);
    if (buf_failed(&filter) || topic_has_wildcard(prefix) || !topic_filter_is_valid(text) ||
        !str_is_utf8(text))
        problem_add(problems, path, at,
                    "%s prefix and filter make '%.*s', which is no topic filter (wildcards: + or # "
                    "alone in a level, # last, none in a prefix)",
                    is_local ? "local" : "remote", (int)text.size, text.size ? text.at : "");
    else if (str_starts(text, "$SYS") || str_starts(text, "$share"))
        problem_add(problems, path, at, "%.*s: $SYS and $share are each broker's own",
                    (int)text.size, text.at);
    buf_free(&filter);
}

static void check_topics(const struct bridge_spec *spec, const struct doc *list,
                         struct problems *problems)
{
    const struct bridge_topic_spec *topics = spec->topics.items;
    if (!spec->topics.count)
        problem_add(problems, "spec.topics", list, "is empty: nothing would be bridged");
    if (spec->topics.count > BRIDGE_TOPICS_MAX)
        problem_add(problems, "spec.topics", list, "more than %d topics", BRIDGE_TOPICS_MAX);
    for (size_t i = 0; i < spec->topics.count; i++) {
        char path[64];
        const struct bridge_topic t = {.filter = topics[i].filter,
                                       .local_prefix = topics[i].local_prefix,
                                       .remote_prefix = topics[i].remote_prefix};
        snprintf(path, sizeof path, "spec.topics[%zu]", i);
        check_side(&t, true, path, list, problems);
        check_side(&t, false, path, list, problems);
    }
}

/* What is said of itself to the remote broker has the room that MQTT gives a text. */
static void check_texts(const struct bridge_spec *spec, const struct doc *doc,
                        struct problems *problems)
{
    const struct {
        const char *name, *path;
        struct str text;
    } texts[] = {{"clientId", "spec.clientId", spec->client_id},
                 {"user", "spec.user", spec->user},
                 {"password", "spec.password", spec->password}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].text.size > MQTT_TEXT_BYTES_MAX)
            problem_add(problems, texts[i].path, doc_get(doc, texts[i].name),
                        "has %zu bytes; MQTT has room for %d", texts[i].text.size,
                        MQTT_TEXT_BYTES_MAX);
}

void bridges_check(const struct resource *r, struct problems *problems)
{
    const struct bridge_spec *spec = r->spec;
    struct bridges_remote remote;
    struct why why = WHY_NONE;
    int64_t bytes;
    if (r->kind != KIND_BRIDGE || problems->count) return;
    if (bridges_endpoint(spec->endpoint, spec->insecure, &remote, &why))
        problem_add(problems, "spec.endpoint", doc_get(r->spec_doc, "endpoint"), "%s", why.text);
    if (!spec->tls.cert.size != !spec->tls.key.size)
        problem_add(problems, "spec.tls", doc_get(r->spec_doc, "tls"),
                    "cert and key belong together");
    if (spec->password.size && !spec->user.size && spec->version == BRIDGE_VERSION_3_1_1)
        problem_add(problems, "spec.user", NULL, "MQTT 3.1.1 has no password without a user");
    if (r->ns.size + r->name.size + 2 > BRIDGE_KEY_BYTES)
        problem_add(problems, "metadata.name", NULL,
                    "is too long: namespace and name together have "
                    "less than %d bytes",
                    BRIDGE_KEY_BYTES - 1);
    if (!num_parse_size(spec->queue.bytes, &bytes) || bytes < QUEUE_BYTES_MIN)
        problem_add(problems, "spec.queue", doc_get(r->spec_doc, "queue"),
                    "bytes: '%.*s' must be a size of at least 1KiB, such as 64MiB",
                    (int)spec->queue.bytes.size,
                    spec->queue.bytes.size ? spec->queue.bytes.at : "");
    check_texts(spec, r->spec_doc, problems);
    check_topics(spec, doc_get(r->spec_doc, "topics"), problems);
}

/* One entry's local side: what goes out is read here, what comes in is published here. */
static enum err allow_topic(const struct identity *who, struct str ns,
                            const struct bridge_topic_spec *t, enum access_verb verb,
                            struct why *why)
{
    const struct bridge_topic topic = {.filter = t->filter, .local_prefix = t->local_prefix};
    const struct access_client nobody = {.ns = ns};
    struct buf filter = BUF_EMPTY;
    bridge_topic_filter(&topic, true, &filter);
    enum err err = buf_failed(&filter) ? ERR_NO_MEMORY
                                       : access_check_topic(who, verb, &nobody, buf_str(&filter));
    if (err == ERR_FORBIDDEN)
        err = why_set(why, err,
                      "user %s may not %s %.*s, and so may make no Bridge that does: give the user "
                      "that right first",
                      who->user, access_verb_name(verb), (int)filter.size,
                      filter.size ? filter.at : "");
    buf_free(&filter);
    return err;
}

enum err bridges_allow(const struct identity *who, const struct resource *now, struct why *why)
{
    if (!now || now->kind != KIND_BRIDGE) return ERR_OK;
    const struct bridge_spec *spec = now->spec;
    const struct bridge_topic_spec *topics = spec->topics.items;
    enum err err = ERR_OK;
    if (spec->commands) /* it may then write whatever the other side asks for */
        err = access_check(who, VERB_WRITE_POINT, "Device", now->ns, STR(""), STR(""), why);
    for (size_t i = 0; i < spec->topics.count && !err; i++) {
        if (topics[i].direction != BRIDGE_DIRECTION_IN)
            err = allow_topic(who, now->ns, &topics[i], VERB_SUBSCRIBE, why);
        if (!err && topics[i].direction != BRIDGE_DIRECTION_OUT)
            err = allow_topic(who, now->ns, &topics[i], VERB_PUBLISH, why);
    }
    return err;
}
