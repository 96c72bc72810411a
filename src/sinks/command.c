/* command.c - what Sparkplug hosts want written by an edge node that is a Sink.
 *
 * Who a metric is, the births have said, and these are in the sink's state, which is the main
 * loop's only between steps: so a command waits for the end of the step under way. What is written,
 * by whom and with which right is not known here: listeners/edge_asks.c does that, as for any
 * command. The document has to allow it (mqtt.writes), for a host that may publish is not yet one
 * that may turn machines on. */
#include "mqtt/topic.h"
#include "sinks/edge.h"
#include "sinks/sinks_priv.h"
#include <string.h>

struct carrying {
    struct sink *sink;
    struct sink_command *command;
};

static struct sink_write write_of(const struct sink *s)
{
    struct sink_write write = {.device = STR(""), .point = STR(""), .value = STR("")};
    write.ns = s ? s->document->ns : STR("");
    write.sink = s ? s->document->name : STR("");
    return write;
}

static void use_order(void *arg, const struct edge_order *order, enum err err,
                      const struct why *why)
{
    struct carrying *c = arg;
    struct sink_write write = write_of(c->sink);
    struct buf text = BUF_EMPTY;
    write.device = order->device;
    write.point = order->metric;
    if (!err) value_add_text(&text, &order->value);
    if (!err && buf_failed(&text)) err = ERR_NO_MEMORY;
    write.value = buf_str(&text);
    if (err)
        c->command->refuse(c->command, &write, err, why);
    else
        c->command->write(c->command, &write);
    buf_free(&text);
}

static enum err carry_out(struct sink *s, struct sink_command *command, struct why *why)
{
    struct carrying carrying = {s, command};
    struct arena arena;
    MUST(!s->is_stepping);
    if (!s->spec->mqtt.writes)
        return why_set(why, ERR_FORBIDDEN,
                       "the Sink takes no commands: its document does not say mqtt.writes: true");
    const struct edge *edge = s->is_open && s->ops == &mqtt_sink ? mqtt_sink_edge(s->state) : NULL;
    if (!edge) return why_set(why, ERR_BUSY, "the edge node is not born");
    arena_init(&arena, &s->budget);
    enum err err = edge_read_command(edge, command->topic, command->payload, &arena, use_order,
                                     &carrying, why);
    arena_free(&arena);
    return err;
}

static void run(struct sink *s, struct sink_command *command)
{
    struct why why = WHY_NONE;
    struct sink_write write = write_of(s);
    enum err err = s ? carry_out(s, command, &why)
                     : why_set(&why, ERR_NOT_FOUND, "there is no such edge node any more");
    if (err) command->refuse(command, &write, err, &why);
    command->end(command);
}

void sink_commands_run(struct sink *s)
{
    struct sink_command *waiting = s->commands, *in_order = NULL;
    MUST(s->magic == SINK_MAGIC);
    s->commands = NULL;
    while (waiting) {
        struct sink_command *next = waiting->next;
        waiting->next = in_order;
        in_order = waiting;
        waiting = next;
    }
    while (in_order) {
        struct sink_command *next = in_order->next;
        run(s, in_order);
        in_order = next;
    }
}

void sink_commands_end(struct sink *s)
{
    while (s->commands) {
        struct sink_command *command = s->commands;
        s->commands = command->next;
        run(NULL, command);
    }
}

static bool is_for(const struct sink *s, struct str ns, struct str topic)
{
    char node[WATCH_TOPIC_BYTES], devices[WATCH_TOPIC_BYTES];
    const struct sink_mqtt_spec *mqtt = &s->spec->mqtt;
    return s->watch && !s->is_ending && str_equal(ns, s->document->ns) &&
           edge_command_topic(mqtt->group, mqtt->edge, node, sizeof node) &&
           edge_device_topics(mqtt->group, mqtt->edge, devices, sizeof devices) &&
           (str_is(topic, node) || str_starts(topic, devices));
}

void sinks_command(struct sinks *sinks, struct sink_command *command)
{
    struct sink *s = sinks && sinks->is_running ? sinks->first : NULL;
    MUST(command->write && command->refuse && command->end);
    while (s && !is_for(s, command->ns, command->topic)) s = s->next;
    if (!s || !s->is_stepping) {
        run(s, command);
        return;
    }
    command->next = s->commands;
    s->commands = command;
}
