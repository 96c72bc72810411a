/* mqtt_asks.c - see mqtt_asks.h.
 *
 * A write is one struct mqtt_ask: right, audit, collector, answer. A message under cmd/ is one; a
 * command to an edge node of Sparkplug gives one for each metric that it names (struct edge_run),
 * and its answer is a line in the log if it was refused, since Sparkplug has none. */
#include "listeners/mqtt_asks.h"
#include "listeners/device_right.h"
#include "mqtt/asks.h"
#include "sinks/sinks.h"
#include <string.h>

/* A command to an edge node, while writes of it are under way. */
struct edge_run {
    struct sink_command command; /* first */
    struct service *service;
    struct broker_ask *ask;
    void (*done)(void *arg, struct broker_ask *ask);
    void *arg;
    size_t left; /* writes, and 1 until all are known */
    unsigned refused;
    struct why why; /* of the first that was refused */
};

static void leave_run(struct edge_run *run);
static void note_refused(struct edge_run *run, const struct collect_write *op, enum err err,
                         const struct why *why);

struct mqtt_ask {
    struct collect_write op; /* first */
    struct edge_run *run;    /* NULL: a message under cmd/ */
    struct completion audited;
    struct service *service;
    struct broker_ask *ask;
    void (*done)(void *arg, struct broker_ask *ask);
    void *arg;
    struct arena arena;
    const struct doc *id; /* NULL = none */
};

static void finish(struct mqtt_ask *m)
{
    struct broker_ask *ask = m->ask;
    struct edge_run *run = m->run;
    arena_free(&m->arena);
    if (run) {
        mem_free(m);
        leave_run(run);
        return;
    }
    void (*done)(void *, struct broker_ask *) = m->done;
    void *arg = m->arg;
    mem_free(m);
    done(arg, ask);
}

static void begin_reply(struct mqtt_ask *m, bool is_good)
{
    struct buf *out = &m->ask->reply;
    buf_add_text(out, "{\"id\":");
    if (m->id)
        doc_write_json(out, m->id);
    else
        buf_add_text(out, "null");
    buf_add_text(out, is_good ? ",\"ok\":true" : ",\"ok\":false");
}

static void refuse(struct mqtt_ask *m, enum err err, const struct why *why)
{
    struct buf *out = &m->ask->reply;
    if (m->run) {
        note_refused(m->run, &m->op, err, why);
        finish(m);
        return;
    }
    metric_add(m->service->context, METRIC_MQTT_COMMANDS_REFUSED, 1);
    begin_reply(m, false);
    buf_add_text(out, ",\"error\":");
    buf_add_json(out, str_of(why_text(why, err)));
    buf_add_char(out, '}');
    finish(m);
}

static void on_written(struct completion *c)
{
    struct mqtt_ask *m = (struct mqtt_ask *)c;
    struct buf *out = &m->ask->reply;
    if (c->err) {
        refuse(m, c->err, &c->why);
        return;
    }
    if (m->run) { /* the value comes back with the next poll, as data */
        finish(m);
        return;
    }
    begin_reply(m, true);
    buf_add_text(out, ",\"value\":");
    value_add_json(out, &m->op.written);
    if (m->op.has_read_back) {
        buf_add_text(out, ",\"readBack\":");
        value_add_json(out, &m->op.read_back);
    }
    buf_add_char(out, '}');
    finish(m);
}

/* The audit log shows the command before the equipment gets it. */
static void on_audited(struct completion *c)
{
    struct mqtt_ask *m =
        (struct mqtt_ask *)(void *)((char *)c - offsetof(struct mqtt_ask, audited));
    enum err err = c->err ? c->err : m->service->stopping ? ERR_CANCELLED : ERR_OK;
    if (err) {
        refuse(m, err, &c->why);
        return;
    }
    completion_init(&m->op.completion, m->service->context->main, on_written);
    collect_write(m->service->collect, &m->op);
}

/* {"value": …, "id": …, "reason": …} */
static enum err read_ask(struct mqtt_ask *m, struct why *why)
{
    struct broker_ask *ask = m->ask;
    struct doc *doc = NULL;
    enum err err = doc_read_json(buf_str(&ask->payload), &m->arena, &doc, why);
    if (err) return err;
    const struct doc *value = doc_get(doc, "value"), *id = doc_get(doc, "id");
    struct str reason = str_trim(doc_text(doc_get(doc, "reason")));
    if (id && id->kind <= DOC_STRING) m->id = id;
    if (!value || value->kind > DOC_STRING || value->kind == DOC_NULL)
        return why_set(why, ERR_INVALID, "send {\"value\": …, \"id\": …}; the id comes back");
    m->op.value = value->kind == DOC_BOOL ? (value->b ? STR("true") : STR("false")) : value->text;
    if (!asks_split(buf_str(&ask->topic), str_of(ask->prefix), &m->op.device, &m->op.point))
        return why_set(why, ERR_INVALID, "the topic must be %sDEVICE/POINT", ask->prefix);
    m->op.reason =
        arena_printf(&m->arena, "%.*s (MQTT client %s)", reason.size ? (int)reason.size : 7,
                     reason.size ? reason.at : "command", ask->client);
    m->op.user = ask->identity->user;
    m->op.ns = str_of(ask->identity->ns);
    if (!m->op.reason) return ERR_NO_MEMORY;
    return device_right(m->service, ask->identity, VERB_WRITE_POINT, m->op.ns, m->op.device, why);
}

static void audit_ask(struct mqtt_ask *m, enum err err, const struct why *why)
{
    struct buf detail = BUF_EMPTY;
    buf_printf(&detail, "%.*s = %.*s: %s", (int)m->op.point.size, m->op.point.at,
               (int)m->op.value.size, m->op.value.at, m->op.reason);
    struct audit_entry entry = {.user = str_of(m->ask->identity->user),
                                .verb = str_of(access_verb_name(VERB_WRITE_POINT)),
                                .kind = STR("Device"),
                                .ns = m->op.ns,
                                .path = m->op.device,
                                .detail = buf_str(&detail),
                                .outcome = err ? str_of(why_text(why, err)) : STR("asked")};
    completion_init(&m->audited, m->service->context->main, on_audited);
    if (!err)
        audit_append_durable(m->service->audit, &entry, &m->audited);
    else if (audit_rate_add(&m->service->refusals, m->service->audit, &entry,
                            context_mono_ns(m->service->context)))
        diag(m->service->context, DIAG_ERROR, "mqtt", "the audit log takes no lines");
    buf_free(&detail);
}

/* ---- Sparkplug ---- */

/* One line for a command of which something was refused. */
static void leave_run(struct edge_run *run)
{
    struct broker_ask *ask = run->ask;
    MUST(run->left > 0);
    if (--run->left) return;
    if (run->refused)
        diag(run->service->context, DIAG_WARNING, "mqtt",
             "%.*s of %s (client %s): %u refused, first: %s", (int)ask->topic.size, ask->topic.at,
             ask->identity->user, ask->client, run->refused, run->why.text);
    void (*done)(void *, struct broker_ask *) = run->done;
    void *arg = run->arg;
    mem_free(run);
    done(arg, ask);
}

static void note_refused(struct edge_run *run, const struct collect_write *op, enum err err,
                         const struct why *why)
{
    metric_add(run->service->context, METRIC_MQTT_COMMANDS_REFUSED, 1);
    if (run->refused++ == 0)
        why_set(&run->why, err, "%.*s %.*s: %s", (int)op->device.size,
                op->device.size ? op->device.at : "", (int)op->point.size,
                op->point.size ? op->point.at : "", why_text(why, err));
}

static bool copy(struct mqtt_ask *m, struct str *to, struct str from)
{
    char *kept = arena_strdup(&m->arena, from.size ? from.at : "", from.size);
    *to = (struct str){kept, from.size};
    return kept != NULL;
}

/* A write of a command; NULL: no memory. */
static struct mqtt_ask *new_write(struct edge_run *run, const struct sink_write *write)
{
    struct mqtt_ask *m = mem_alloc_zero(1, sizeof *m);
    if (!m) return NULL;
    m->service = run->service;
    m->ask = run->ask;
    m->run = run;
    arena_init(&m->arena, NULL);
    m->op.user = run->ask->identity->user;
    m->op.reason = arena_printf(&m->arena, "Sparkplug command (Sink %.*s, MQTT client %s)",
                                (int)write->sink.size, write->sink.at, run->ask->client);
    if (m->op.reason && copy(m, &m->op.ns, write->ns) && copy(m, &m->op.device, write->device) &&
        copy(m, &m->op.point, write->point) && copy(m, &m->op.value, write->value))
        return m;
    arena_free(&m->arena);
    mem_free(m);
    return NULL;
}

static void on_write(struct sink_command *command, const struct sink_write *write)
{
    struct edge_run *run = (struct edge_run *)command;
    struct why why = WHY_NONE;
    struct mqtt_ask *m = new_write(run, write);
    if (!m) {
        struct collect_write none = {.device = write->device, .point = write->point};
        note_refused(run, &none, ERR_NO_MEMORY, &why);
        return;
    }
    run->left++;
    enum err err = run->service->stopping
                       ? ERR_CANCELLED
                       : device_right(run->service, run->ask->identity, VERB_WRITE_POINT, m->op.ns,
                                      m->op.device, &why);
    if (!err || err == ERR_FORBIDDEN) audit_ask(m, err, &why);
    if (err) refuse(m, err, &why);
}

static void on_refuse(struct sink_command *command, const struct sink_write *write, enum err err,
                      const struct why *why)
{
    struct edge_run *run = (struct edge_run *)command;
    struct collect_write none = {.device = write->device, .point = write->point};
    note_refused(run, &none, err, why);
}

static void on_end(struct sink_command *command)
{
    leave_run((struct edge_run *)command);
}

static void run_edge(struct service *service, struct broker_ask *ask,
                     void (*done)(void *arg, struct broker_ask *ask), void *arg)
{
    struct edge_run *run = mem_alloc_zero(1, sizeof *run);
    if (!run) {
        metric_add(service->context, METRIC_MQTT_COMMANDS_REFUSED, 1);
        done(arg, ask);
        return;
    }
    run->command = (struct sink_command){.ns = str_of(ask->identity->ns),
                                         .topic = buf_str(&ask->topic),
                                         .payload = buf_str(&ask->payload),
                                         .write = on_write,
                                         .refuse = on_refuse,
                                         .end = on_end};
    run->service = service;
    run->ask = ask;
    run->done = done;
    run->arg = arg;
    run->left = 1;
    run->why = WHY_NONE;
    sinks_command(service->sinks, &run->command);
}

void mqtt_asks_run(struct service *service, struct broker_ask *ask,
                   void (*done)(void *arg, struct broker_ask *ask), void *arg)
{
    if (!ask->prefix[0]) {
        run_edge(service, ask, done, arg);
        return;
    }
    struct mqtt_ask *m = mem_alloc_zero(1, sizeof *m);
    struct why why = WHY_NONE;
    if (!m) {
        buf_add_text(&ask->reply, "{\"id\":null,\"ok\":false,\"error\":\"no memory\"}");
        done(arg, ask);
        return;
    }
    m->service = service;
    m->ask = ask;
    m->done = done;
    m->arg = arg;
    arena_init(&m->arena, NULL);
    enum err err = service->stopping ? ERR_CANCELLED : read_ask(m, &why);
    if (m->op.reason && (!err || err == ERR_FORBIDDEN)) audit_ask(m, err, &why);
    if (err) refuse(m, err, &why);
}
