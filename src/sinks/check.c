/* check.c - what a Sink document says by itself: checked before it is accepted, from the API as
 * from files. Whether the columns and expressions fit the table shows when it runs: the table may
 * come later. */
#include "mqtt/topic.h"
#include "mqtt/watch.h"
#include "sinks/edge.h"
#include "sinks/sinks_priv.h"
#include <stdio.h>

/* An example of a topic: what braces stand for is one level. */
static void check_topic(const struct sink_mqtt_spec *spec, const struct doc *at,
                        struct problems *problems)
{
    struct str rest = sink_topic_template(spec), whole = rest, text, name;
    struct buf example = BUF_EMPTY;
    bool is_good = true, has_column = false;
    do {
        is_good = sink_topic_next(&rest, &text, &name);
        buf_add_str(&example, is_good ? text : STR(""));
        if (is_good && name.size) buf_add_char(&example, 'x');
        has_column |= is_good && str_is(name, "column");
    } while (is_good && rest.size);
    struct str made = buf_str(&example);
    if (!is_good)
        problem_add(problems, "spec.mqtt.topic", at,
                    "'%.*s': braces stand around a name, such as {device}", (int)whole.size,
                    whole.at);
    else if (buf_failed(&example) || !topic_name_is_valid(made) || !str_is_utf8(made))
        problem_add(problems, "spec.mqtt.topic", at, "'%.*s' makes no topic to publish to",
                    (int)whole.size, whole.at);
    else if (str_starts(made, "$SYS") || str_starts(made, "$share"))
        problem_add(problems, "spec.mqtt.topic", at, "%.*s: $SYS and $share are the broker's own",
                    (int)whole.size, whole.at);
    else if (spec->format == SINK_VALUE && !has_column)
        problem_add(problems, "spec.mqtt.topic", at,
                    "with format value the topic needs {column}: each column goes by itself");
    else if (spec->format != SINK_VALUE && has_column)
        problem_add(problems, "spec.mqtt.topic", at,
                    "{column} stands for a column of format value only");
    buf_free(&example);
}

static bool is_id(struct str id)
{
    bool is_good = id.size > 0 && str_is_utf8(id);
    for (size_t i = 0; i < id.size; i++)
        is_good &= id.at[i] != '/' && id.at[i] != '+' && id.at[i] != '#' && id.at[i] != 0;
    return is_good;
}

/* Section 4.2: ids are one level of a topic. */
static void check_edge(const struct sink_mqtt_spec *spec, const struct doc *at,
                       struct problems *problems)
{
    char topic[WATCH_TOPIC_BYTES];
    if (spec->format != SINK_SPARKPLUG) {
        if (spec->writes)
            problem_add(problems, "spec.mqtt.writes", at,
                        "is of format sparkplug; others write by messages under cmd/");
        if (spec->group.size || spec->edge.size)
            problem_add(problems, "spec.mqtt", at, "group and edge are of format sparkplug");
        return;
    }
    if (spec->topic.size)
        problem_add(problems, "spec.mqtt.topic", at, "Sparkplug says itself what topics are");
    if (!is_id(spec->group))
        problem_add(problems, "spec.mqtt.group", at,
                    "format sparkplug needs a group id, without / + #");
    if (!is_id(spec->edge))
        problem_add(problems, "spec.mqtt.edge", at,
                    "format sparkplug needs an edge node id, without / + #");
    if (!edge_command_topic(spec->group, spec->edge, topic, sizeof topic) ||
        !edge_device_topics(spec->group, spec->edge, topic, sizeof topic))
        problem_add(problems, "spec.mqtt", at, "group and edge are too long");
}

/* ---- what is read ---- */

static void refuse_schema(void *arg, struct str schema, struct str name)
{
    struct str *bad = arg;
    if (schema.size && !str_is(schema, "public")) *bad = name;
}

/* What can be said of a query without its tables. */
static void check_query(const struct resource *r, struct problems *problems)
{
    const struct sink_spec *spec = r->spec;
    const struct doc *at = doc_get(r->spec_doc, "query");
    struct sql_follow follow;
    struct arena arena;
    struct why why = WHY_NONE;
    struct str bad = STR("");
    arena_init(&arena, NULL);
    enum err err = sql_each_relation(spec->query, &arena, refuse_schema, &bad, &why);
    if (!err && !spec->every_ns) err = sql_follow(spec->query, &arena, &follow, &why);
    if (err && why.position >= 0)
        problem_add(problems, "spec.query", at, "at character %d: %s", (int)why.position + 1,
                    why_text(&why, err));
    else if (err)
        problem_add(problems, "spec.query", at, "%s", why_text(&why, err));
    else if (bad.size)
        problem_add(problems, "spec.query", at,
                    "%.*s is no table of this namespace: sinks read "
                    "those only",
                    (int)bad.size, bad.at);
    arena_free(&arena);
}

static bool is_plain_name(struct str name)
{
    bool is_plain = name.size > 0;
    for (size_t i = 0; i < name.size; i++)
        is_plain &= (name.at[i] >= 'a' && name.at[i] <= 'z') || name.at[i] == '_' ||
                    (name.at[i] >= 'A' && name.at[i] <= 'Z') || (name.at[i] & 0x80) ||
                    (i && name.at[i] >= '0' && name.at[i] <= '9');
    return is_plain;
}

/* A metric that is written must be the column itself: what is written to a point in Celsius is not
 * what a metric in Fahrenheit was set to. */
static void check_writes(const struct resource *r, struct problems *problems)
{
    const struct sink_spec *spec = r->spec;
    const struct doc *at = doc_get(r->spec_doc, "mqtt");
    if (!spec->mqtt.writes) return;
    if (spec->query.size)
        problem_add(problems, "spec.mqtt.writes", at,
                    "is of a table: metrics of a query need not be what a device calls so");
    for (size_t i = 0; i < spec->columns.count; i++)
        if (!is_plain_name(str_trim(spec->columns.items[i])))
            problem_add(problems, "spec.mqtt.writes", at,
                        "columns must be plain names then, for metrics are written as points: "
                        "'%.*s' is an expression",
                        (int)spec->columns.items[i].size, spec->columns.items[i].at);
}

static void check_source(const struct resource *r, struct problems *problems)
{
    const struct sink_spec *spec = r->spec;
    const struct doc *doc = r->spec_doc;
    static const char *const of_tables[] = {"columns", "where"};
    if (spec->table.size && spec->query.size)
        problem_add(problems, "spec.query", doc_get(doc, "query"),
                    "a Sink has a table or a query: the query names its tables itself");
    if (!spec->table.size && !spec->query.size)
        problem_add(problems, "spec.table", doc, "say what goes out: table, or query");
    if (!spec->query.size) {
        if (spec->every_ns)
            problem_add(problems, "spec.every", doc_get(doc, "every"),
                        "is of a query; rows of a table go out as they come");
        return;
    }
    for (size_t i = 0; i < sizeof of_tables / sizeof of_tables[0]; i++)
        if (doc_get(doc, of_tables[i])) {
            char path[40];
            snprintf(path, sizeof path, "spec.%s", of_tables[i]);
            problem_add(problems, path, doc_get(doc, of_tables[i]), "the query says that itself");
        }
    check_query(r, problems);
    if (!spec->every_ns) return;
    if (spec->every_ns < TIME_NS_PER_S / 10)
        problem_add(problems, "spec.every", doc_get(doc, "every"), "at least 100ms");
    if (doc_get(doc, "from"))
        problem_add(problems, "spec.from", doc_get(doc, "from"),
                    "a query that runs at an interval begins with its next run");
    if (str_is(spec->type, mqtt_sink.name) && sink_topic_has(&spec->mqtt, "table"))
        problem_add(problems, "spec.mqtt.topic", doc_get(doc, "mqtt"),
                    "a query that runs at an interval has no {table}: say the topic, such as "
                    "report/{device}");
}

void sinks_check(const struct resource *r, struct problems *problems)
{
    const struct sink_spec *spec = r->spec;
    if (r->kind != KIND_SINK || problems->count) return;
    for (size_t i = 0; i < spec->devices.count; i++) {
        struct str filter = spec->devices.items[i];
        char path[40];
        snprintf(path, sizeof path, "spec.devices[%zu]", i);
        if (!topic_filter_is_valid(filter))
            problem_add(problems, path, doc_get(r->spec_doc, "devices"),
                        "'%.*s' is no filter: a path with + for one level, and # for the rest",
                        (int)filter.size, filter.at);
    }
    for (size_t i = 0; i < spec->columns.count; i++)
        if (!str_trim(spec->columns.items[i]).size)
            problem_add(problems, "spec.columns", doc_get(r->spec_doc, "columns"),
                        "a column is empty");
    bool is_mqtt = str_is(spec->type, mqtt_sink.name);
    check_source(r, problems);
    check_writes(r, problems);
    if (is_mqtt) check_topic(&spec->mqtt, doc_get(r->spec_doc, "mqtt"), problems);
    if (is_mqtt) check_edge(&spec->mqtt, doc_get(r->spec_doc, "mqtt"), problems);
    if (is_mqtt && spec->options)
        problem_add(problems, "spec.options", doc_get(r->spec_doc, "options"),
                    "are those of shared objects; type mqtt has mqtt");
    for (size_t i = 0; i < spec->type.size; i++)
        if (spec->type.at[i] == '/' || spec->type.at[i] == '.')
            problem_add(problems, "spec.type", doc_get(r->spec_doc, "type"),
                        "must be a name without / and .");
}

/* The filter of all topics that a template can make: from the first name on anything may stand. */
static void topics_of(const struct sink_mqtt_spec *spec, struct buf *filter)
{
    struct str rest = sink_topic_template(spec), text, name = STR("");
    if (spec->format == SINK_SPARKPLUG) {
        buf_printf(filter, "spBv1.0/%.*s/+/%.*s/#", (int)spec->group.size, spec->group.at,
                   (int)spec->edge.size, spec->edge.at);
        return;
    }
    if (!sink_topic_next(&rest, &text, &name)) text = STR("");
    if (!name.size) { /* one topic */
        buf_add_str(filter, text);
        return;
    }
    while (text.size && text.at[text.size - 1] != '/') text.size--;
    buf_add_str(filter, text);
    buf_add_char(filter, '#');
}

/* Whose right to the tables is looked at. */
struct reading {
    const struct identity *who;
    struct str ns;
    struct why *why;
    enum err err;
};

static void allow_table(void *arg, struct str schema, struct str table)
{
    struct reading *r = arg;
    (void)
        schema; /* sinks_check: tables only; a name of WITH counts as one, to be on the safe side */
    if (r->err || access_scope(r->who, VERB_QUERY, "Table", r->ns, table) == ACCESS_ALL) return;
    r->err = why_set(r->why, ERR_FORBIDDEN,
                     "user %s may not query all of table %.*s, and so may make no Sink that reads "
                     "it: give the user that right first",
                     r->who->user, (int)table.size, table.at);
}

static enum err allow_tables(const struct identity *who, const struct resource *now,
                             struct why *why)
{
    const struct sink_spec *spec = now->spec;
    struct reading reading = {.who = who, .ns = now->ns, .why = why};
    struct arena arena;
    if (!spec->query.size) {
        allow_table(&reading, STR(""), spec->table);
        return reading.err;
    }
    arena_init(&arena, NULL);
    enum err err = sql_each_relation(spec->query, &arena, allow_table, &reading, why);
    arena_free(&arena);
    /* What is no query is refused by sinks_check, which says where the mistake is. */
    return err == ERR_NO_MEMORY ? err : reading.err;
}

enum err sinks_allow(const struct identity *who, const struct resource *now, struct why *why)
{
    if (!now || now->kind != KIND_SINK) return ERR_OK;
    const struct sink_spec *spec = now->spec;
    const struct access_client nobody = {.ns = now->ns};
    enum err refused = allow_tables(who, now, why);
    if (refused) return refused;
    if (!str_is(spec->type, mqtt_sink.name)) return ERR_OK;
    if (spec->mqtt.writes) { /* it may then write whatever hosts ask for */
        refused = access_check(who, VERB_WRITE_POINT, "Device", now->ns, STR(""), STR(""), why);
        if (refused) return refused;
    }
    struct buf filter = BUF_EMPTY;
    topics_of(&spec->mqtt, &filter);
    enum err err = buf_failed(&filter)
                       ? ERR_NO_MEMORY
                       : access_check_topic(who, VERB_PUBLISH, &nobody, buf_str(&filter));
    if (err == ERR_FORBIDDEN)
        err =
            why_set(why, err,
                    "user %s may not publish to %.*s, and so may make no Sink that does: give the "
                    "user that right first",
                    who->user, (int)filter.size, filter.size ? filter.at : "");
    buf_free(&filter);
    return err;
}
